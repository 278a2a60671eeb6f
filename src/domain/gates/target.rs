//! Gate `target`: the last healthy revision.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::by_tag;
use crate::domain::decide::{Case, Halt, Passage};
use crate::domain::decision::{Advice, Plan, Reason};
use crate::domain::evidence::{self, Evidence, Judgement, Readings, Sample, Verdict};
use crate::domain::record::{Quarantined, Share};
use crate::domain::service::{Revision, Split};
use crate::domain::steps;
use crate::domain::text;

use super::failing::judge_revision;
use super::{cause, released};

/// A revision that was healthy all along has to have ended healthily as well: its last stretch is judged by itself.
const LAST_STRETCH: TimeDelta = TimeDelta::minutes(30);

/// So great a share of bad requests disqualifies however short before the end it began.
const COLLAPSE: f64 = 0.5;

/// What a revision was like longer before it was replaced says less than its last day.
const LAST_DAY: TimeDelta = TimeDelta::hours(24);

/// Revisions that served until so close to each other served at the same time.
const SAME_TIME: TimeDelta = TimeDelta::minutes(10);

/// The revision to go back to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::domain) struct Target<'a> {
    pub(in crate::domain) revision: &'a Revision,
    pub(in crate::domain) proven: bool,
    /// The requests of the history that prove it, and the share of bad ones.
    pub(in crate::domain) past: Option<(u64, f64)>,
}

/// What Monitoring's history says of a candidate.
pub(in crate::domain) enum Past {
    /// Users were sent to it, last at this time, and it served them healthily; `below` the limit, or merely better than the
    /// culprit.
    Healthy { last: DateTime<Utc>, requests: u64, ratio: f64, below: bool },
    /// It served enough traffic, and not healthily.
    Bad,
    /// It served too little to tell, or nothing, or no users were ever sent to it.
    Unknown,
}

/// Chooses among the older, ready, unquarantined revisions that do not fail now, but for those whose probes failed.
pub(in crate::domain) fn choose<'a>(
    case: &Case<'a>,
    culprit: &Revision,
    unhealthy: &[&str],
) -> Passage<Target<'a>> {
    let mut refused = Vec::new();
    let mut candidates = Vec::new();
    let mut history = false;
    let bar = tolerated(case, culprit);
    for revision in case.revisions.iter().filter(|revision| revision.created_at < culprit.created_at) {
        let past = past(case, revision, bar);
        history |= !matches!(past, Past::Unknown);
        let probed = unhealthy.contains(&revision.name.as_str()).then_some("fails its probes");
        match ineligible(case, culprit, revision).or(probed) {
            Some(why) => refused.push(format!("{} {why}", revision.name)),
            None => candidates.push((revision, past)),
        }
    }
    let split = case.service.split();
    let serves = |revision: &Revision| split.contains_key(&revision.name);
    let proven: Vec<_> = candidates
        .iter()
        .filter_map(|(revision, past)| match past {
            Past::Healthy { last, requests, ratio, below } => {
                Some(((*below, *revision, *last), (*requests, *ratio)))
            }
            _ => None,
        })
        .collect();
    // Of two that served side by side until the same minutes, chance would decide: the newer one is taken.
    let latest = proven.iter().map(|((_, _, last), _)| *last).max();
    let before = cause::carried_before(case, culprit);
    let order = |(below, revision, last): (bool, &Revision, DateTime<Utc>)| {
        let late = latest.is_some_and(|latest| last > latest - SAME_TIME);
        (below, serves(revision), before.contains(&revision.name), late, revision.created_at)
    };
    if let Some(((_, revision, _), (requests, ratio))) =
        proven.into_iter().max_by_key(|(rank, _)| order(*rank))
    {
        let history = text::duration(case.rules.history);
        let detail = format!(
            "{} served {} requests in the last {history}, {} bad",
            revision.name,
            text::count(requests),
            text::percent(ratio)
        );
        return Ok((Target { revision, proven: true, past: Some((requests, ratio)) }, detail));
    }
    let bad = candidates.iter().find(|(_, past)| matches!(past, Past::Bad));
    let newest = candidates.iter().max_by_key(|(revision, _)| {
        (serves(revision), released::has_sign(case, &revision.name), revision.created_at)
    });
    match (bad, newest) {
        // Where Monitoring has history, only a revision that it proves healthy will do.
        (Some((revision, _)), _) => refused.push(format!("{} served, and not healthily", revision.name)),
        (None, Some((revision, _))) if history => {
            refused.push(format!("{} has no history that shows it healthy", revision.name));
        }
        (None, Some((revision, _))) => {
            let which = if released::has_sign(case, &revision.name) {
                "the newest older ready revision that is known to have served"
            } else {
                "the newest older ready revision"
            };
            let detail = format!("{} is {which}; unproven: no history shows it healthy", revision.name);
            return Ok((Target { revision, proven: false, past: None }, detail));
        }
        (None, None) => {}
    }
    let detail = match refused.len() {
        0 => format!("no revision is older than {}", culprit.name),
        _ => format!("no older revision qualifies: {}", shortened(&refused)),
    };
    Err(Halt::notify(Reason::NoCandidate, detail))
}

/// What people may want to know of going back, whatever a later gate says.
pub(in crate::domain) fn advice(case: &Case<'_>, culprit: &Revision) -> Advice {
    let target = choose(case, culprit, &[]).ok().map(|(target, _)| target);
    let lacks = match case.evidence {
        Evidence::Unreadable { permission, .. } => permission.clone(),
        Evidence::Read(_) => None,
    };
    Advice {
        culprit: culprit.clone(),
        target: target.map(|target| target.revision.clone()),
        past: target.and_then(|target| target.past),
        lacks,
    }
}

/// Why a revision cannot be a target, if so.
fn ineligible(case: &Case<'_>, culprit: &Revision, revision: &Revision) -> Option<&'static str> {
    let ban = ban(case, revision, Some(culprit));
    if !revision.ready {
        Some("is not ready")
    } else if revision.deleting {
        Some("is being deleted")
    } else if released::only_tagged(case, &revision.name) {
        Some("is reached by its tag alone, and was never released as far as is known")
    } else if ban.is_some_and(|entry| entry.revision == revision.name) {
        Some("is in quarantine")
    } else if ban.is_some() {
        Some("has a quarantined image")
    } else if judge_revision(case, &revision.name)
        .is_some_and(|judgement| judgement.verdict == Verdict::Confirmed)
    {
        Some("is failing now")
    } else {
        None
    }
}

/// The entry that bars a revision, by its name or by its image.
///
/// The same image under the culprit's own digest is no different from it: then the configuration is to blame, and going back
/// to the same image is right. What people put back into production, and what served well there, is proven.
pub(in crate::domain) fn ban<'a>(
    case: &Case<'a>,
    revision: &Revision,
    culprit: Option<&Revision>,
) -> Option<&'a Quarantined> {
    let redeemed = |of: &Revision, entry: &Quarantined| released::redeemed(case, &of.name, entry.at);
    let banned = |entry: &&Quarantined| entry.revision == revision.name && !redeemed(revision, entry);
    let same_image = |of: &&Revision| of.digest == revision.digest;
    let banned_image = |entry: &&Quarantined| {
        let mut images = case.revisions.iter().filter(same_image);
        entry.digest == revision.digest && !images.any(|of| redeemed(of, entry))
    };
    let quarantine = &case.record.quarantine;
    let differs = culprit.is_none_or(|culprit| revision.digest != culprit.digest);
    let by_image = || quarantine.iter().find(banned_image).filter(|_| differs && revision.digest.is_some());
    quarantine.iter().find(banned).or_else(by_image)
}

/// The share of bad requests that a target may have had: the limit, or a third of what the culprit has now. Who fails at
/// 64 % is better off with one that has always had 6 %.
pub(in crate::domain) fn tolerated(case: &Case<'_>, culprit: &Revision) -> f64 {
    let (requests, bad) = evidence::total(&case.window_of(&culprit.name).unwrap_or_default());
    let third = if requests < case.rules.min_requests { 0.0 } else { evidence::ratio(bad, requests) / 3.0 };
    case.limit().max(third)
}

pub(in crate::domain) fn past(case: &Case<'_>, revision: &Revision, bar: f64) -> Past {
    let Evidence::Read(readings) = case.evidence else { return Past::Unknown };
    let since = case.now - text::delta(case.rules.history);
    let samples = &evidence::since(&case.real_traffic(&revision.name), since);
    let Some(last) = released::until(case, &revision.name) else { return Past::Unknown };
    match stayed_healthy(samples, bar, case.rules.min_requests) {
        None => Past::Unknown,
        Some(true) if free_of_errors(case, readings, revision, since) => {
            let (requests, bad) = evidence::total(samples);
            let below = last_day_of(samples, case.rules.min_requests) <= case.limit();
            Past::Healthy { last, requests, ratio: evidence::ratio(bad, requests), below }
        }
        Some(_) => Past::Bad,
    }
}

/// A revision that was quick but failed is no target for a latency incident.
fn free_of_errors(case: &Case<'_>, readings: &Readings, revision: &Revision, since: DateTime<Utc>) -> bool {
    let errors = evidence::since(readings.errors_of(&revision.name), since);
    readings.errors.is_none()
        || stayed_healthy(&errors, case.rules.rollback, case.rules.min_requests) != Some(false)
}

/// Whether enough requests were served below the threshold, over its last day and at the end; nothing when there were
/// too few. An outage that it has lived through since does not count against it.
pub(super) fn stayed_healthy(samples: &[Sample], bar: f64, min_requests: u64) -> Option<bool> {
    let end = samples.last()?.end;
    if evidence::total(samples).0 < min_requests {
        return None;
    }
    let stretch = evidence::since(samples, end - LAST_STRETCH);
    let failing = |judgement: Judgement| judgement.verdict == Verdict::Confirmed;
    let ended_badly = failing(evidence::judge(&stretch, bar, min_requests))
        || failing(evidence::judge_ending(&stretch, bar.max(COLLAPSE), min_requests));
    Some(last_day_of(samples, min_requests) <= bar && !ended_badly)
}

/// The share of bad requests in a revision's last day, or of all of them where that had too few.
fn last_day_of(samples: &[Sample], min_requests: u64) -> f64 {
    let day = samples.last().map_or(Vec::new(), |last| evidence::since(samples, last.end - LAST_DAY));
    let (requests, bad) = match evidence::total(&day) {
        (requests, _) if requests < min_requests => evidence::total(samples),
        day => day,
    };
    evidence::ratio(bad, requests)
}

/// The move: the culprit's share goes to the target, other shares stay. Gradually, where the policy says so, unless the
/// incident is critical or nobody would come back for the next step.
pub(in crate::domain) fn plan(
    case: &Case<'_>,
    culprit: &Revision,
    target: &Target<'_>,
    reason: Reason,
    tried: bool,
) -> Plan {
    let share = |(revision, percent): (String, u8)| Share { revision, percent };
    let given = |split: &Split| split.get(&culprit.name).copied().unwrap_or_default();
    let shown = case.service.split();
    let wanted = case.wish().unwrap_or_else(|| shown.clone());
    // Somebody has begun to take traffic from the culprit, and the status lags: nothing gives it more again.
    let split = if given(&wanted) < given(&shown) { wanted } else { shown };
    let from: Vec<Share> = split.into_iter().map(share).collect();
    let at_once = reason == Reason::Critical || !case.comes_back;
    let share = steps::share_of(&from, &culprit.name);
    let whole = steps::moved(share, case.rules.trial_share) >= share;
    let trial = tried && !whole && case.comes_back;
    let step = match (trial, at_once) {
        // A gradual rollback's first step may be smaller than a trial, but shows no more.
        (true, _) => case.rules.trial_share,
        (false, true) => steps::ALL,
        (false, false) => steps::next(case.rules, share, 0),
    };
    let mut to = steps::split(&from, &culprit.name, &target.revision.name, step);
    to.sort_by(|a, b| a.revision.cmp(&b.revision));
    Plan {
        culprit: culprit.clone(),
        target: target.revision.clone(),
        proven: target.proven,
        stays: by_tag::stays(case.service, &case.window(), &culprit.name),
        from,
        to,
        step,
        trial,
    }
}

/// Whether the target serves beside the culprit already and is better on the same minutes: a trial that is made.
pub(in crate::domain) fn is_proven_better(case: &Case<'_>, culprit: &Revision, target: &Target<'_>) -> bool {
    let counts = |revision: &Revision| {
        let (requests, bad) = evidence::total(&case.window_of(&revision.name).unwrap_or_default());
        (bad, requests)
    };
    let (culprits, targets) = (counts(culprit), counts(target.revision));
    let serves = case.service.split().contains_key(&target.revision.name);
    serves && targets.1 >= case.rules.min_requests && evidence::burns(culprits, targets, evidence::MIN_BAD)
}

fn shortened(items: &[String]) -> String {
    const MOST: usize = 4;
    let more = items.len().saturating_sub(MOST);
    let mut text = items.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    if more > 0 {
        text += &format!(" and {more} more");
    }
    text
}
