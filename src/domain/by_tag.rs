//! Requests that a traffic tag brings. A tag has a URL of its own, and a domain, a load balancer's URL mask or a hosting
//! product may lead there: such requests ignore the percentages, so no rollback moves them.

use chrono::TimeDelta;

use super::decide::judge_against;
use super::evidence::{self, Judgement, MIN_BAD, Readings, Sample, Samples};
use super::policy::Rules;
use super::record::Rollback;
use super::service::{Service, TrafficTarget};
use super::text;
use super::traffic::PROBE_TAG;

/// Less than this part of the service's requests is somebody who tries a revision.
const MATERIAL: f64 = 0.1;

/// What a revision has had in so long a time it still has.
const LATELY: TimeDelta = TimeDelta::minutes(5);

/// Long requests of before the switch end within the first minutes after it.
const STRAGGLERS: usize = 2;

/// What a rolled-back revision still answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StillReached {
    /// How it answers.
    pub judgement: Judgement,
    /// Whether that has gone on for too long to be the end of what began before the switch.
    pub lasts: bool,
}

/// What the culprit has answered lately, when that is a material part of the service's requests since the last write and
/// above the limit. Then the service has not recovered, whatever the target answers.
#[must_use]
pub fn still_reached(
    readings: &Readings,
    rollback: &Rollback,
    rules: &Rules,
    limit: f64,
) -> Option<StillReached> {
    let totals = readings.totals();
    let since: Vec<_> = totals.range(rollback.last_write()..).collect();
    let (newest, _) = since.last()?;
    // Five minutes; where there is little traffic, as many more as it takes to tell.
    let mut all = 0;
    let mut from = **newest;
    for (start, requests) in since.iter().rev() {
        if **start <= **newest - LATELY && all >= rules.min_requests {
            break;
        }
        (from, all) = (**start, all + **requests);
    }
    let own = readings.of(&rollback.culprit).iter().filter(|sample| sample.start >= from);
    let own: Vec<Sample> = own.copied().collect();
    let judgement = judge_against(rules, readings.axis, &own, limit);
    let material = evidence::ratio(judgement.requests, all) >= MATERIAL;
    let fails = judgement.bad >= MIN_BAD && judgement.ratio > limit;
    (material && fails).then_some(StillReached { judgement, lasts: own.len() > STRAGGLERS })
}

/// What of the service's requests a change of percentages leaves where it is, as far as tags and the requests of the
/// window show it.
#[must_use]
pub fn stays(service: &Service, window: &Samples, culprit: &str) -> Option<String> {
    let counts: Vec<(&String, u64)> =
        window.iter().map(|(revision, samples)| (revision, evidence::total(samples).0)).collect();
    let all: u64 = counts.iter().map(|(_, requests)| requests).sum();
    let split = service.split();
    let arrives = counts.into_iter().find_map(|(revision, requests)| {
        let given = f64::from(split.get(revision).copied().unwrap_or_default()) / 100.0;
        let tag = named(&tags_of(service, revision))?;
        (evidence::wilson(requests, all).0 > given + MATERIAL).then(|| {
            let (share, given) = (text::percent(evidence::ratio(requests, all)), text::percent(given));
            format!("{share} of the requests reach {revision}, which is given {given}: they arrive by {tag}")
        })
    });
    let own = named(&tags_of(service, culprit))
        .map(|tag| format!("what arrives by {tag} stays with {culprit}, whatever its percentage"));
    match (arrives, own) {
        (None, own) => own,
        (Some(arrives), None) => Some(format!("{arrives}, and no percentages move those")),
        (Some(arrives), Some(own)) => Some(format!("{arrives}; {own}")),
    }
}

/// The tags that lead to a revision, by the status; not our own one for probes.
#[must_use]
pub fn tags_of<'a>(service: &'a Service, revision: &str) -> Vec<&'a str> {
    let leads = |target: &&TrafficTarget| service.resolve(&target.to) == Some(revision);
    let tags = service.status_traffic.iter().filter(leads).filter_map(|target| target.tag.as_deref());
    tags.filter(|tag| *tag != PROBE_TAG).collect()
}

/// "its tag live", "its tags live and next".
#[must_use]
pub fn named(tags: &[&str]) -> Option<String> {
    match tags {
        [] => None,
        [only] => Some(format!("its tag {only}")),
        [first @ .., last] => Some(format!("its tags {} and {last}", first.join(", "))),
    }
}

#[cfg(test)]
mod tests;
