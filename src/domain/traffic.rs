//! The traffic list to write: the plan's percentages on top of everything that the list already said.

use super::record::{Rollback, Share};
use super::service::{Destination, Service, Split, TrafficTarget};

/// Our own traffic tag, by which a target is probed that has none.
pub const PROBE_TAG: &str = "runback-probe";

/// The spec's traffic list with another split, in which the culprit's share has changed.
///
/// Entries that this does not concern stay as they are: other shares, LATEST where it is not the culprit, and every tag
/// but our own with what it points at. When the status differs from the spec (a rollout that failed), the percentages
/// come from the wanted split, which was made from the status. What the culprit keeps, it keeps by its name.
#[must_use]
pub fn after(service: &Service, culprit: &str, wanted: &[Share]) -> Vec<TrafficTarget> {
    let in_step = service.spec_split() == service.split();
    let mut open: Split = wanted.iter().map(|share| (share.revision.clone(), share.percent)).collect();
    let mut list = Vec::new();
    for target in service.spec_traffic.iter().filter(|target| !is_ours(target)) {
        let revision = service.resolve(&target.to).filter(|name| in_step && *name != culprit);
        let percent = revision.and_then(|name| open.get_mut(name)).map_or(0, |open| {
            let stays = target.percent.min(*open);
            *open -= stays;
            stays
        });
        if percent > 0 || target.tag.is_some() {
            list.push(TrafficTarget { percent, ..target.clone() });
        }
    }
    // What is missing of the wanted split becomes entries of its own, before those that only carry a tag.
    let mut missing = Vec::new();
    for (revision, percent) in open.into_iter().filter(|(_, percent)| *percent > 0) {
        let to = Destination::Revision(revision);
        match list.iter_mut().find(|target| target.to == to && target.percent > 0) {
            Some(target) => target.percent += percent,
            None => missing.push(TrafficTarget { to, percent, tag: None }),
        }
    }
    missing.extend(list);
    missing
}

/// The spec's traffic list with the split from before a rollback again.
///
/// Where the culprit was LATEST it is followed again, but only as long as LATEST is still the culprit, and no deploy is in
/// flight that is about to be LATEST: another revision has never had that traffic, and would get it from us.
#[must_use]
pub fn restored(service: &Service, rollback: &Rollback) -> Vec<TrafficTarget> {
    let mut list = after(service, &rollback.culprit, &rollback.from);
    if service.in_flight || service.latest_ready.as_ref() != Some(&rollback.culprit) {
        return list;
    }
    let mut latest = 0;
    for target in &mut list {
        if target.to == Destination::Revision(rollback.culprit.clone()) {
            let follows = target.percent.min(rollback.latest - latest);
            target.percent -= follows;
            latest += follows;
        }
    }
    list.retain(|target| target.percent > 0 || target.tag.is_some());
    if latest > 0 {
        list.insert(0, TrafficTarget { to: Destination::Latest, percent: latest, tag: None });
    }
    list
}

/// Percent of all requests that a revision has as LATEST and not by its name, by the spec.
#[must_use]
pub fn as_latest(service: &Service, revision: &str) -> u8 {
    if service.latest_ready.as_deref() != Some(revision) {
        return 0;
    }
    let latest = service.spec_traffic.iter().filter(|target| target.to == Destination::Latest);
    // An empty list means LATEST.
    if service.spec_traffic.is_empty() { 100 } else { latest.map(|target| target.percent).sum() }
}

/// The spec's traffic list with a revision tagged for probes, and nothing else changed.
#[must_use]
pub fn with_probe(service: &Service, revision: &str) -> Vec<TrafficTarget> {
    let to = Destination::Revision(revision.to_owned());
    let ours = TrafficTarget { to, percent: 0, tag: Some(PROBE_TAG.to_owned()) };
    without_probe(service).into_iter().chain([ours]).collect()
}

/// The spec's traffic list without our own tag.
#[must_use]
pub fn without_probe(service: &Service) -> Vec<TrafficTarget> {
    service.spec_traffic.iter().filter(|target| !is_ours(target)).cloned().collect()
}

/// Whether our tag is in the spec: a probe is under way, or was interrupted.
#[must_use]
pub fn has_probe(service: &Service) -> bool {
    service.spec_traffic.iter().any(is_ours)
}

/// With a share of the traffic the tag has been taken over by somebody.
fn is_ours(target: &TrafficTarget) -> bool {
    target.percent == 0 && target.tag.as_deref() == Some(PROBE_TAG)
}

/// The spec's traffic list with everything on one destination; tags stay.
#[must_use]
pub fn all_to(service: &Service, to: Destination) -> Vec<TrafficTarget> {
    let tags = service.spec_traffic.iter().filter(|target| target.tag.is_some() && !is_ours(target));
    let tags = tags.map(|target| TrafficTarget { percent: 0, ..target.clone() });
    std::iter::once(TrafficTarget { to, percent: 100, tag: None }).chain(tags).collect()
}

#[cfg(test)]
mod tests;
