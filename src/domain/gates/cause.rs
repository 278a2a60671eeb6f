//! Gates `deployed_recently` and `caused_by_it`: whether the deploy is to blame.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::alert::Signal;
use crate::domain::decide::{Case, Halt, Passage};
use crate::domain::decision::Reason;
use crate::domain::evidence::{self, Evidence, Judgement, Readings, Sample, Verdict};
use crate::domain::service::Revision;
use crate::domain::text;

use super::failing::judge_against;

/// How much of a revision's life before the switch is compared with the culprit.
const BEFORE: TimeDelta = TimeDelta::minutes(10);

/// Passes with the moment from which the culprit took traffic.
pub(in crate::domain) fn deployed_recently(case: &Case<'_>, culprit: &Revision) -> Passage<DateTime<Utc>> {
    let name = &culprit.name;
    let first = readings(case).and_then(|readings| first_traffic(case, readings, name));
    let (began, verb) = first.map_or((culprit.created_at, "was created"), |at| (at, "began to take traffic"));
    let incident = case.incident_began();
    let limit = text::duration(case.rules.deploy_window);
    if began > incident {
        let detail = format!("{name} {verb} {} after the incident began", text::span(began - incident));
        return Err(Halt::notify(Reason::NotDeployRelated, detail));
    }
    let detail = format!("{name} {verb} {} before the incident; limit {limit}", text::span(incident - began));
    if incident - began > text::delta(case.rules.deploy_window) {
        return Err(Halt::notify(Reason::NotDeployRelated, detail));
    }
    Ok((began, detail))
}

/// Whether no other revision failed the same way: now beside the culprit, or before it took over.
pub(in crate::domain) fn caused_by_it(
    case: &Case<'_>,
    culprit: &Revision,
    began: DateTime<Utc>,
) -> Passage<()> {
    if let Some(rollback) = case.record.absolved(&culprit.name) {
        let detail = format!(
            "going back from {} to {} did not help at {}, and was undone: it is not to blame",
            rollback.culprit,
            rollback.target,
            text::clock(rollback.at)
        );
        return Err(Halt::notify(Reason::DependencyOutage, detail));
    }
    let Some(readings) = readings(case) else {
        return Ok(((), "other revisions cannot be compared without Monitoring".into()));
    };
    let window = |revision: &str| case.window_of(revision).unwrap_or_default();
    let culprits = evidence::total(&window(&culprit.name));
    let culprit_ratio = evidence::ratio(culprits.1, culprits.0);
    // What burns slowly is accused of less than the limit, so less is compared.
    let slow_burn = case.alert.signal == Signal::SlowBurn;
    let bar = if slow_burn { case.limit().min(culprit_ratio / 2.0) } else { case.limit() };
    // Errors at a fraction of the culprit's rate are not what it is accused of.
    for other in case.service.split().keys().filter(|name| **name != culprit.name) {
        let as_bad = |judgement: Judgement| {
            judgement.verdict == Verdict::Confirmed && judgement.ratio >= culprit_ratio / 2.0
        };
        if as_bad(judge_against(case, &window(other), bar)) {
            let detail = format!("{other} serves too and fails the same way; going back would not help");
            return Err(Halt::notify(Reason::DependencyOutage, detail));
        }
    }
    let (mut name, mut switch) = (culprit.name.as_str(), began);
    let mut skipped = Vec::new();
    while let Some(before) = predecessor(case, readings, name, switch) {
        let samples = &case.real_traffic(before);
        let handed_over = handed_over(samples, readings.of(name)).map_or(switch, |end| end.max(switch));
        // With little traffic a few failures are enough to hold back: here doubt speaks for the culprit.
        let last = evidence::judge_ending(&last_minutes(samples, handed_over), bar, evidence::MIN_BAD);
        let figures = format!("{} before {name} took over", text::percent(last.ratio));
        if last.verdict != Verdict::Confirmed || last.ratio < culprit_ratio / 2.0 {
            let also = if skipped.is_empty() {
                String::new()
            } else {
                format!(" ({} was bad too)", skipped.join(", "))
            };
            return Ok(((), format!("{before} was not failing like this: {figures}{also}")));
        }
        if !failed_from_the_start(samples, bar, case.rules.min_requests) {
            let detail = format!("{before} already failed like this in the middle of its life: {figures}");
            return Err(Halt::notify(Reason::DependencyOutage, detail));
        }
        skipped.push(before);
        let Some(first) = samples.first() else { break };
        (name, switch) = (before, first.start);
    }
    Ok(((), "Monitoring knows no revision before it to compare with".into()))
}

fn readings<'a>(case: &Case<'a>) -> Option<&'a Readings> {
    match case.evidence {
        Evidence::Read(readings) => Some(readings),
        Evidence::Unreadable { .. } => None,
    }
}

/// Until when a revision had at least as many requests as its successor, which may have begun as a canary beside it.
fn handed_over(samples: &[Sample], successors: &[Sample]) -> Option<DateTime<Utc>> {
    let theirs: BTreeMap<_, _> = successors.iter().map(|sample| (sample.start, sample.requests)).collect();
    let led = |sample: &&Sample| sample.requests >= theirs.get(&sample.start).copied().unwrap_or(0);
    samples.iter().rfind(led).map(|sample| sample.end)
}

/// When a revision began to take real traffic.
fn first_traffic(case: &Case<'_>, readings: &Readings, revision: &str) -> Option<DateTime<Utc>> {
    case.real_traffic(revision).first().or(readings.of(revision).first()).map(|sample| sample.start)
}

/// The older revision that had most of the traffic shortly before `switch`.
fn predecessor<'a>(
    case: &Case<'a>,
    readings: &Readings,
    successor: &str,
    switch: DateTime<Utc>,
) -> Option<&'a str> {
    let successor = case.revision(successor)?;
    let older = case.revisions.iter().filter(|revision| revision.created_at < successor.created_at);
    older
        .map(|revision| (revision, evidence::total(&last_minutes(readings.of(&revision.name), switch)).0))
        .filter(|(_, requests)| *requests > 0)
        .max_by_key(|(revision, requests)| (*requests, revision.created_at))
        .map(|(revision, _)| revision.name.as_str())
}

/// The samples of the last minutes before a switch; further back, where samples are coarser, the last one.
fn last_minutes(samples: &[Sample], switch: DateTime<Utc>) -> Vec<Sample> {
    let before: Vec<Sample> = samples.iter().filter(|sample| sample.end <= switch).copied().collect();
    let near: Vec<Sample> = before.iter().filter(|sample| sample.start >= switch - BEFORE).copied().collect();
    if near.is_empty() {
        // An hour or so of silence is no longer "just before".
        let recent = |sample: &&Sample| sample.end > switch - TimeDelta::hours(1) - BEFORE;
        return before.last().filter(recent).into_iter().copied().collect();
    }
    near
}

/// Whether a revision was bad from its own first requests: another bad deploy, not a sign of an outage.
fn failed_from_the_start(samples: &[Sample], bar: f64, min_requests: u64) -> bool {
    let Some(first) = samples.first() else { return false };
    let mut seen = 0;
    let opening: Vec<Sample> = samples
        .iter()
        .take_while(|sample| {
            let wanted = sample.end <= first.start + BEFORE || seen < min_requests;
            seen += sample.requests;
            wanted
        })
        .copied()
        .collect();
    evidence::judge(&opening, bar, min_requests).verdict == Verdict::Confirmed
}
