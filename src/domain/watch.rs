//! Which deploy is watched after a service has changed.

use super::decision::{Decision, Outcome, Reason};
use super::record::Record;
use super::service::{Revision, Service};

/// What a changed service gives to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject<'a> {
    /// The change is still being rolled out: look again.
    Unsettled,
    /// Its newest revision, which takes traffic.
    Revision(&'a Revision),
    /// Nothing, and why.
    Nothing(String),
}

/// Finds the revision to watch: the newest one, if it takes traffic.
///
/// Our own switch makes its target serve, or leaves its culprit a part while it moves in steps: both belong to that
/// rollback. So does a culprit that somebody, or we, put back.
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
    let name = &newest.name;
    if !service.split().contains_key(name) {
        return Subject::Nothing(format!("its newest revision {name} takes no traffic"));
    }
    // What cannot be read is told of by the gate that reads it.
    let rollbacks = record.as_ref().map_or(&[][..], |record| &record.rollbacks);
    match rollbacks.iter().find(|rollback| rollback.culprit == *name) {
        Some(rollback) => Subject::Nothing(format!("{name} has been rolled back before ({})", rollback.id)),
        None => Subject::Revision(newest),
    }
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

/// The incident under which a watched deploy is judged: the same for every look.
#[must_use]
pub fn incident(revision: &str) -> String {
    format!("watch-{revision}")
}

#[cfg(test)]
mod tests;
