//! Which deploy is watched after a service has changed.

use chrono::{DateTime, TimeDelta, Utc};

use super::decision::{Decision, Outcome, Reason};
use super::evidence::Evidence;
use super::gates::released;
use super::record::{Phase, Record, Rollback};
use super::service::{Revision, Service};

/// What a changed service gives to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject<'a> {
    /// The change is still being rolled out: look again.
    Unsettled,
    /// This revision, which takes traffic.
    Revision(&'a Revision),
    /// The same if it has only just begun to, by [`is_new`]: its newest revision takes none.
    IfNew(&'a Revision),
    /// Nothing, and why.
    Nothing(String),
}

/// What had traffic before that was there before the change: as late as this an entry of the audit log comes.
const LATE: TimeDelta = TimeDelta::minutes(10);

/// Finds the revision to watch: the newest one that takes traffic. Where a still newer one takes none, a preview for example,
/// the change was either about that, or it has promoted the other.
///
/// Our own switch makes its target serve, or leaves its culprit a part while it moves in steps: both belong to that
/// rollback. A culprit that comes back after that was over is a deploy: an apply of infrastructure code has done it, perhaps.
#[must_use]
pub fn subject<'a>(
    service: &Service,
    record: &Result<Record, String>,
    revisions: &'a [Revision],
) -> Subject<'a> {
    if service.in_flight {
        return Subject::Unsettled;
    }
    let Some(newest) = revisions.iter().max_by_key(|revision| revision.created_at) else {
        return Subject::Nothing("the service has no revision".into());
    };
    let split = service.split();
    let serving = revisions.iter().filter(|revision| split.contains_key(&revision.name));
    let idle = || Subject::Nothing(format!("its newest revision {} takes no traffic", newest.name));
    let Some(found) = serving.max_by_key(|revision| revision.created_at) else { return idle() };
    // What cannot be read is told of by the gate that reads it.
    let last = record.as_ref().ok().and_then(|record| record.rollbacks.first());
    match last.filter(|last| belongs(service, last, &found.name)) {
        Some(_) if found != newest => idle(),
        Some(last) => {
            Subject::Nothing(format!("{} serves by a rollback, or in spite of it ({})", found.name, last.id))
        }
        None if found == newest || returns(record, &found.name) > 0 => Subject::Revision(found),
        None => Subject::IfNew(found),
    }
}

/// Whether a revision serves by the last rollback, or because people have just overruled it: whatever they put back is theirs.
fn belongs(service: &Service, last: &Rollback, revision: &str) -> bool {
    let written = last.is_wanted(service) || last.is_untouched(service);
    let overruled = last.awaits_verdict() || matches!(last.phase, Phase::Overruled | Phase::Undone);
    match revision {
        _ if revision == last.culprit => written || overruled,
        _ => written && revision == last.target,
    }
}

/// Whether a revision has only just begun to be what users are sent to, so that a change of the service has promoted it.
#[must_use]
pub fn is_new(evidence: &Evidence, revision: &str, now: DateTime<Utc>) -> bool {
    match evidence {
        Evidence::Read(readings) => !released::by(readings, revision, now - LATE),
        Evidence::Unreadable { .. } => false,
    }
}

/// How often a revision has been rolled back, as far as the record knows: when it serves all the same, it has returned.
#[must_use]
pub fn returns(record: &Result<Record, String>, revision: &str) -> usize {
    let rollbacks = record.as_ref().map_or(&[][..], |record| &record.rollbacks);
    rollbacks.iter().filter(|rollback| rollback.culprit == revision).count()
}

/// Whether people are to hear of a decision that a watch came to: a reason is told once, whatever process judges next.
#[must_use]
pub fn is_news(decision: &Decision, told: &[String]) -> bool {
    // A deleted service, and one that fails long after its deploy, are no news of a deploy.
    let of_deploy = !matches!(decision.reason, Reason::UnresolvedService | Reason::NotDeployRelated);
    decision.outcome == Outcome::Notify
        && of_deploy
        && !told.iter().any(|reason| reason == decision.reason.code())
}

/// Why a watch is over before its time, if so.
#[must_use]
pub fn over(decision: &Decision) -> Option<&'static str> {
    match (&decision.outcome, decision.reason) {
        (Outcome::Rollback | Outcome::Resume(_) | Outcome::Hasten(_), _) => Some("it has been rolled back"),
        (_, Reason::AlreadyHandled) => Some("it has been rolled back already"),
        (_, Reason::CulpritNotServing) => Some("it takes no traffic any more"),
        (_, Reason::NotDeployRelated) => Some("it has served for too long to be a deploy"),
        (_, Reason::NotGuarded | Reason::UnresolvedService | Reason::PermissionDenied) => {
            Some("the service cannot be judged")
        }
        _ => None,
    }
}

/// The incident under which a watched deploy is judged: the same for every look, and another one each time that it returns.
#[must_use]
pub fn incident(revision: &str, returns: usize) -> String {
    match returns {
        0 => format!("watch-{revision}"),
        returns => format!("watch-{revision}-back-{returns}"),
    }
}

#[cfg(test)]
mod tests;
