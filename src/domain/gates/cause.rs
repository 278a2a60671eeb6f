//! Gates `deployed_recently` and `caused_by_it`: whether the deploy is to blame.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::alert::Signal;
use crate::domain::decide::{Case, Halt, Passage};
use crate::domain::decision::Reason;
use crate::domain::evidence::{self, Evidence, Judgement, Readings, Sample, Verdict};
use crate::domain::service::Revision;
use crate::domain::steps;
use crate::domain::text;

use super::failing::judge_against;
use super::released;
use super::target::Target;

/// How much of a revision's life before the switch is compared with the culprit.
const BEFORE: TimeDelta = TimeDelta::minutes(10);

/// A stretch of production traffic began when a revision last had less than this part of its present share.
const LESS: f64 = 0.25;

/// Who carried at least this part of what the foremost one did shared the service with it.
const NEARLY: f64 = 0.8;

/// A trial clears a deploy of one failing. What fails after so long may be another one.
const CLEARED_FOR: TimeDelta = TimeDelta::hours(1);

/// What began within so many of the last periods is what the alert is about.
const FAILING_BEGAN: usize = 60;

/// Passes with the moment from which the culprit took traffic.
pub(in crate::domain) fn deployed_recently(case: &Case<'_>, culprit: &Revision) -> Passage<DateTime<Utc>> {
    let name = &culprit.name;
    let first = first_traffic(case, name);
    // Nobody knows since when. That it serves in spite of its quarantine says that it has been put back.
    let quarantined = case.record.quarantine.iter().find(|entry| entry.revision == *name);
    if let (None, Some(entry)) = (readings(case), quarantined) {
        let since = text::clock(entry.at);
        let detail = format!("{name} was rolled back at {since} and serves again: its return is a deploy");
        return Ok((culprit.created_at, detail));
    }
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
) -> Passage<Option<String>> {
    if let Some(rollback) = case.record.absolved(&culprit.name, case.now, CLEARED_FOR) {
        let detail = format!(
            "going back from {} to {} did not help at {}, and was undone: it is not to blame",
            rollback.culprit,
            rollback.target,
            text::clock(rollback.at)
        );
        return Err(Halt::notify(Reason::DependencyOutage, detail));
    }
    let Some(readings) = readings(case) else {
        return Ok((None, "other revisions cannot be compared without Monitoring".into()));
    };
    let window = |revision: &str| case.window_of(revision).unwrap_or_default();
    let culprits = evidence::total(&window(&culprit.name));
    let culprit_ratio = evidence::ratio(culprits.1, culprits.0);
    // What burns slowly is accused of less than the limit, so less is compared.
    let slow_burn = case.alert.signal == Signal::SlowBurn;
    let bar = if slow_burn { case.limit().min(culprit_ratio / 2.0) } else { case.limit() };
    // Errors at a fraction of the culprit's rate are not what it is accused of.
    for other in case.service.split().keys().filter(|name| **name != culprit.name) {
        let samples = window(other);
        let as_bad = |judgement: Judgement| {
            judgement.verdict == Verdict::Confirmed && judgement.ratio >= culprit_ratio / 2.0
        };
        let (requests, bad) = evidence::total(&samples);
        // A canary has few requests: they cannot convict it, but they can exonerate the stable revision beside it.
        let few = evidence::alike((bad, requests), (culprits.1, culprits.0));
        if few || as_bad(judge_against(case, &samples, bar)) {
            let detail = format!("{other} serves too and fails the same way; going back would not help");
            return Err(Halt::notify(Reason::DependencyOutage, detail));
        }
    }
    let (mut name, mut switch) = (culprit.name.as_str(), began);
    let (mut skipped, mut doubt) = (Vec::new(), None);
    while let Some(before) = predecessor(case, readings, name, switch) {
        let samples = &case.real_traffic(before);
        let handed_over = handed_over(samples, readings.of(name)).map_or(switch, |end| end.max(switch));
        // With little traffic a few failures are enough to hold back: here doubt speaks for the culprit.
        let last = evidence::judge_ending(&last_minutes(samples, handed_over), bar, evidence::MIN_BAD);
        let figures = format!("{} before {name} took over", text::percent(last.ratio));
        let until: Vec<Sample> = samples.iter().filter(|sample| sample.end <= handed_over).copied().collect();
        if let Some((periods, requests, bad)) =
            evidence::ends_sharply(&lately(&until), (culprits.1, culprits.0))
        {
            let detail = format!(
                "{before} began to fail like this before {name} took over: {bad} of its last {requests} requests, {}",
                text::percent(evidence::ratio(bad, requests))
            );
            if periods > 1 {
                return Err(Halt::notify(Reason::DependencyOutage, detail));
            }
            // One minute may be the requests that the switch itself cut off.
            doubt = Some(detail);
        }
        if last.verdict != Verdict::Confirmed || last.ratio < culprit_ratio / 2.0 {
            let also = if skipped.is_empty() {
                String::new()
            } else {
                format!(" ({} was bad too)", skipped.join(", "))
            };
            return Ok((doubt, format!("{before} was not failing like this: {figures}{also}")));
        }
        if !failed_from_the_start(samples, bar, case.rules.min_requests) {
            let detail = format!("{before} already failed like this in the middle of its life: {figures}");
            return Err(Halt::notify(Reason::DependencyOutage, detail));
        }
        skipped.push(before);
        let Some(first) = samples.first() else { break };
        (name, switch) = (before, first.start);
    }
    Ok((doubt, "Monitoring knows no revision before it to compare with".into()))
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

/// When a revision's present stretch of production traffic began; nothing where Monitoring does not know.
fn first_traffic(case: &Case<'_>, revision: &str) -> Option<DateTime<Utc>> {
    let percent = case.service.split().get(revision).copied().unwrap_or(steps::ALL);
    stretch(case, readings(case)?, revision, f64::from(percent) / f64::from(steps::ALL))
}

/// Who carried the service before a revision took over, first the one that had most of it. What had nearly as much shared
/// it: of those the newest comes first.
pub(in crate::domain) fn carried_before(case: &Case<'_>, revision: &Revision) -> Vec<String> {
    let Some(readings) = readings(case) else { return Vec::new() };
    let switch = first_traffic(case, &revision.name).unwrap_or(revision.created_at);
    let carriers = carriers(case, readings, &revision.name, switch);
    let most = carriers.iter().map(|(_, carried)| *carried).fold(0.0, f64::max);
    let mut shared: Vec<_> =
        carriers.into_iter().filter(|(_, carried)| *carried >= most * NEARLY).map(|(name, _)| name).collect();
    shared.sort_by_key(|revision| std::cmp::Reverse(revision.created_at));
    shared.into_iter().map(|revision| revision.name.clone()).collect()
}

/// When a revision's present stretch of production traffic began: after it last had less than a quarter of its present
/// `share` of the service's requests, over more than a minute and by enough requests to be sure. A canary's promotion
/// begins one, and so does the return of a revision that was away.
fn stretch(case: &Case<'_>, readings: &Readings, revision: &str, share: f64) -> Option<DateTime<Utc>> {
    let own: BTreeMap<_, _> = readings.of(revision).iter().map(|sample| (sample.start, *sample)).collect();
    let (mut began, mut away) = (None, Away::default());
    for (start, all) in case.totals().iter().rev() {
        let requests = own.get(start).map_or(0, |sample| sample.requests);
        if evidence::ratio(requests, *all) >= LESS * share {
            (began, away) = (Some(*start), Away::default());
            continue;
        }
        away.add(requests, *all);
        if began.is_some() && away.is_sure(LESS * share) {
            return began;
        }
    }
    began.or(case.real_traffic(revision).first().or(readings.of(revision).first()).map(|sample| sample.start))
}

/// Periods in a row in which a revision had hardly any of the requests.
#[derive(Default)]
struct Away {
    periods: usize,
    requests: u64,
    all: u64,
}

impl Away {
    fn add(&mut self, requests: u64, all: u64) {
        (self.periods, self.requests, self.all) =
            (self.periods + 1, self.requests + requests, self.all + all);
    }

    fn is_sure(&self, bar: f64) -> bool {
        self.periods > 1 && evidence::wilson(self.requests, self.all).1 < bar
    }
}

/// What a culprit's failing was preceded by in its present stretch of traffic, when that was well: then timing proves
/// nothing, because a dependency, a client or the load may be to blame as well as a leak or a path that is hit late.
pub(in crate::domain) fn served_well(
    case: &Case<'_>,
    culprit: &Revision,
    began: DateTime<Utc>,
) -> Option<String> {
    let samples: Vec<Sample> =
        readings(case)?.of(&culprit.name).iter().filter(|sample| sample.start >= began).copied().collect();
    let (before, since) = evidence::rise(&samples, FAILING_BEGAN, case.rules.min_requests)?;
    let well = evidence::ratio(before.0, before.1) <= case.limit();
    // What requests do not show, a trial on requests cannot show either.
    let shows = case.alert.signal != Signal::Other || evidence::ratio(since.0, since.1) > case.limit();
    (well && shows).then(|| {
        format!(
            "{} served well before, {} of {} requests bad, and then {} of {}",
            culprit.name,
            text::count(before.0),
            text::count(before.1),
            text::count(since.0),
            text::count(since.1)
        )
    })
}

/// Whether going back gains something: a target that has always had nearly as many bad requests is no better. Fails with
/// the target's figures.
pub(in crate::domain) fn gains(case: &Case<'_>, culprit: &Revision, target: &Target<'_>) -> Result<(), Halt> {
    let window = case.window_of(&culprit.name).unwrap_or_default();
    let (requests, bad) = evidence::total(&window);
    let past = last_day(&case.real_traffic(&target.revision.name));
    let (of, were) = evidence::total(&past);
    let confirmed = evidence::ratio(bad, requests) > case.limit();
    if !target.proven || !confirmed || evidence::burns((bad, requests), (were, of), evidence::MIN_BAD) {
        return Ok(());
    }
    let name = &target.revision.name;
    let detail = format!(
        "{name} would be no better: {} of its requests were bad in its last day, {} of {}'s are now",
        text::percent(evidence::ratio(were, of)),
        text::percent(evidence::ratio(bad, requests)),
        culprit.name
    );
    Err(Halt::notify(Reason::DependencyOutage, detail))
}

fn last_day(samples: &[Sample]) -> Vec<Sample> {
    samples.last().map_or(Vec::new(), |last| evidence::since(samples, last.end - TimeDelta::hours(24)))
}

/// A revision's last hour of samples.
fn lately(samples: &[Sample]) -> Vec<Sample> {
    samples.last().map_or(Vec::new(), |last| evidence::since(samples, last.end - TimeDelta::hours(1)))
}

/// The older revision that carried most of the service shortly before `switch`.
fn predecessor<'a>(
    case: &Case<'a>,
    readings: &Readings,
    successor: &str,
    switch: DateTime<Utc>,
) -> Option<&'a str> {
    let carriers = carriers(case, readings, successor, switch).into_iter();
    let most = carriers
        .max_by(|(one, a), (other, b)| a.total_cmp(b).then_with(|| one.created_at.cmp(&other.created_at)));
    most.map(|(revision, _)| revision.name.as_str())
}

/// The older revisions that users were sent to shortly before `switch`, each with the shares of the service's requests that
/// it had, added up over the periods: a suite that ran for two minutes had most of the requests, and two minutes.
fn carriers<'a>(
    case: &Case<'a>,
    readings: &Readings,
    successor: &str,
    switch: DateTime<Utc>,
) -> Vec<(&'a Revision, f64)> {
    let Some(successor) = case.revision(successor) else { return Vec::new() };
    let older = case.revisions.iter().filter(|revision| revision.created_at < successor.created_at);
    older
        .map(|revision| {
            let samples = last_minutes(readings.of(&revision.name), switch);
            let share = |sample: &Sample| {
                let all = case.totals().get(&sample.start).copied().unwrap_or(sample.requests);
                evidence::ratio(sample.requests, all)
            };
            (revision, samples.iter().map(share).sum())
        })
        .filter(|(revision, carried)| *carried > 0.0 && !released::only_tagged(case, &revision.name))
        .collect()
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
