//! Which revisions users were sent to. Requests alone do not show it: previews, smoke tests and load tests reach a revision
//! by its tag, and a canary that was taken back was never released.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::by_tag;
use crate::domain::decide::Case;
use crate::domain::evidence::{self, Evidence, Readings, Sample, Totals};
use crate::domain::record::age;
use crate::domain::text;

use super::target::stayed_healthy;

/// A real share of the service's requests …
const REAL: f64 = 0.25;

/// … in every period of so long a time.
const SEVERAL: TimeDelta = TimeDelta::minutes(5);

/// What takes over has at least this part of the requests, and leaves the others no more than the rest of what they had.
const MOST: f64 = 0.75;

/// What the others had is measured over so long before.
const BEFORE: TimeDelta = TimeDelta::hours(1);

/// So many requests of the others have to be missing: fewer are missing by chance.
const MISSED: f64 = 10.0;

/// Where nothing is known of the time before, only what lasted longer than any test took over.
const NO_TEST: TimeDelta = TimeDelta::hours(2);

/// So long a time in production outweighs what a revision, or its image, was rolled back for: the busy hours of a day.
const REDEEMS: TimeDelta = TimeDelta::hours(6);

/// Consecutive periods of the service in which a revision had a share of its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    periods: usize,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    /// What other revisions had meanwhile.
    others: u64,
}

/// Until when users were last sent to a revision, as far as Monitoring shows it: it serves now, or it had a real share of the
/// requests for minutes on end. Where a tag leads to it, it must have taken the others' place besides.
pub(in crate::domain) fn until(case: &Case<'_>, revision: &str) -> Option<DateTime<Utc>> {
    let Evidence::Read(readings) = case.evidence else { return None };
    if case.service.split().contains_key(revision) {
        return Some(case.now);
    }
    let since = case.now - text::delta(case.rules.history);
    sent(case, revision, &evidence::since(readings.of(revision), since)).last().map(|run| run.to)
}

/// Whether a revision has carried production since a moment, for long enough to prove that it is well.
pub(in crate::domain) fn redeemed(case: &Case<'_>, revision: &str, since: DateTime<Utc>) -> bool {
    let Evidence::Read(readings) = case.evidence else { return false };
    let after = |samples: &[Sample]| -> Vec<Sample> {
        samples.iter().filter(|sample| sample.start >= since).copied().collect()
    };
    let own = after(readings.of(revision));
    let time: TimeDelta = sent(case, revision, &own).iter().map(|run| run.to - run.from).sum();
    let (limit, least) = (case.limit(), case.rules.min_requests);
    let well = |samples: &[Sample], limit| stayed_healthy(samples, limit, least) == Some(true);
    let errors =
        || readings.errors.is_none() || well(&after(readings.errors_of(revision)), case.rules.rollback);
    time >= REDEEMS && well(&own, limit) && errors()
}

/// Whether users had been sent to a revision by a moment.
pub(in crate::domain) fn by(readings: &Readings, revision: &str, moment: DateTime<Utc>) -> bool {
    let own: Vec<Sample> =
        readings.of(revision).iter().filter(|sample| sample.end <= moment).copied().collect();
    !runs(&own, &readings.totals(), REAL).is_empty()
}

/// The times in which users were sent to a revision. Where a tag leads to it, it must have taken the others' place.
fn sent(case: &Case<'_>, revision: &str, own: &[Sample]) -> Vec<Run> {
    let serves = case.service.split().contains_key(revision);
    let tagged = !serves && is_tagged(case, revision);
    let mut runs = runs(own, case.totals(), if tagged { MOST } else { REAL });
    runs.retain(|run| !tagged || took_over(run, own, case.totals()));
    runs
}

/// Why a revision cannot be taken for one that was released: only its tag leads to it, and nothing shows that more ever did.
pub(in crate::domain) fn only_tagged(case: &Case<'_>, revision: &str) -> bool {
    let serves = case.service.split().contains_key(revision);
    !serves && is_tagged(case, revision) && until(case, revision).is_none() && !is_on_record(case, revision)
}

/// Whether something else than Monitoring shows that users were sent to a revision: the split, as it is or as it is wanted,
/// or one on our record.
pub(in crate::domain) fn has_sign(case: &Case<'_>, revision: &str) -> bool {
    let [shown, wanted] = [case.service.split(), case.service.spec_split()];
    shown.contains_key(revision) || wanted.contains_key(revision) || is_on_record(case, revision)
}

fn is_on_record(case: &Case<'_>, revision: &str) -> bool {
    let recent = case.record.rollbacks.iter();
    let recent = recent.filter(|rollback| age(rollback.at, case.now) < text::delta(case.rules.history));
    recent.into_iter().any(|rollback| {
        rollback.target == revision || rollback.from.iter().any(|share| share.revision == revision)
    })
}

fn is_tagged(case: &Case<'_>, revision: &str) -> bool {
    !by_tag::tags_of(case.service, revision).is_empty()
}

fn runs(own: &[Sample], totals: &Totals, share: f64) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut run: Option<Run> = None;
    let mut periods = own.iter().peekable();
    for (start, all) in own.first().into_iter().flat_map(|first| totals.range(first.start..)) {
        let sample = periods.next_if(|sample| sample.start == *start);
        let real = sample.filter(|sample| evidence::ratio(sample.requests, *all) >= share);
        match (real, &mut run) {
            (None, _) => runs.extend(run.take()),
            (Some(sample), Some(run)) => {
                (run.periods, run.to) = (run.periods + 1, sample.end);
                run.others += all - sample.requests;
            }
            (Some(sample), None) => {
                let others = all - sample.requests;
                run = Some(Run { periods: 1, from: sample.start, to: sample.end, others });
            }
        }
    }
    runs.extend(run);
    runs.retain(|run| run.periods > 1 && run.to - run.from >= SEVERAL);
    runs
}

/// A release takes requests away from the others. A test comes on top of them.
fn took_over(run: &Run, own: &[Sample], totals: &Totals) -> bool {
    let before = totals.range(run.from - BEFORE..run.from);
    let Some((first, _)) = before.clone().next() else { return run.to - run.from >= NO_TEST };
    let all: u64 = before.clone().map(|(_, requests)| requests).sum();
    let mine: u64 = own
        .iter()
        .filter(|sample| (run.from - BEFORE..run.from).contains(&sample.start))
        .map(|sample| sample.requests)
        .sum();
    let minutes = |time: TimeDelta| f64::from(i32::try_from(time.num_minutes()).unwrap_or(i32::MAX));
    let per_minute = as_float(all - mine) / minutes(run.from - *first).max(1.0);
    let expected = per_minute * minutes(run.to - run.from);
    expected >= MISSED && as_float(run.others) <= expected * (1.0 - MOST)
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
fn as_float(count: u64) -> f64 {
    count as f64
}
