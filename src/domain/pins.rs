//! Deploys that wait behind a pin: after a rollback Cloud Run gives new revisions no traffic until the service is
//! released, and whoever deploys may not know.

use super::by_tag;
use super::record::{Phase, Quarantined, Record, Rollback};
use super::service::{Destination, Revision, Service};
use super::steps;

/// A revision that waits for the service to be released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting<'a> {
    /// The rollback that pinned the service.
    pub rollback: &'a Rollback,
    /// The newest ready revision, newer than the culprit and without traffic.
    pub revision: &'a Revision,
    /// Why a release would be refused, if so: it, or its image, was rolled back.
    pub ban: Option<&'a Quarantined>,
}

/// The rollback that the service is pinned by: it moves nothing any more, the spec still says what it wrote, and nothing
/// follows LATEST.
#[must_use]
pub fn pinned_by<'a>(service: &Service, record: &'a Record) -> Option<&'a Rollback> {
    let rollback = record.rollbacks.first()?;
    let follows =
        service.spec_traffic.iter().any(|target| target.to == Destination::Latest && target.percent > 0);
    let stands = rollback.step >= steps::ALL || rollback.phase == Phase::Halted;
    let pins = stands && rollback.is_wanted(service) && !follows;
    pins.then_some(rollback)
}

/// The newest revision that waits behind the pin, whether or not people know of it.
#[must_use]
pub fn waiting<'a>(service: &Service, record: &'a Record, revisions: &'a [Revision]) -> Option<Waiting<'a>> {
    let rollback = pinned_by(service, record)?;
    let culprit = revisions.iter().find(|revision| revision.name == rollback.culprit);
    let since = culprit.map_or(rollback.at, |culprit| culprit.created_at);
    let split = service.split();
    let stays = |revision: &&Revision| revision.ready && !revision.deleting;
    // Where deploys were released by name before, a tag leads to a preview that waits for nothing.
    let preview =
        |revision: &&Revision| rollback.latest == 0 && !by_tag::tags_of(service, &revision.name).is_empty();
    let newer = revisions.iter().filter(stays).filter(|revision| revision.created_at > since);
    let newer = newer.filter(|revision| !preview(revision));
    // Where a still newer one serves already, somebody knows of the pin, and a release would be about that one.
    let newest = newer.max_by_key(|revision| revision.created_at);
    let revision = newest.filter(|revision| !split.contains_key(&revision.name))?;
    Some(Waiting { rollback, revision, ban: record.ban(revision) })
}

/// The same, unless people have been told of it.
#[must_use]
pub fn news<'a>(service: &Service, record: &'a Record, revisions: &'a [Revision]) -> Option<Waiting<'a>> {
    waiting(service, record, revisions)
        .filter(|waiting| record.waiting.as_ref() != Some(&waiting.revision.name))
}

#[cfg(test)]
mod tests;
