//! The traffic list to write: the plan's percentages on top of everything that the list already said.

use super::decision::Plan;
use super::service::{Destination, Service, TrafficTarget};

/// Our own traffic tag, by which a target is probed that has none.
pub const PROBE_TAG: &str = "runback-probe";

/// The spec's traffic list after the plan.
///
/// Entries that the plan does not concern stay as they are: other shares, LATEST where it is not the culprit, and
/// every tag but our own with what it points at. When the status differs from the spec (a rollout that failed), the
/// percentages come from the status, on which the plan was made.
#[must_use]
pub fn after(service: &Service, plan: &Plan) -> Vec<TrafficTarget> {
    let in_step = service.spec_split() == service.split();
    let culprit = plan.culprit.name.as_str();
    let stays = |target: &TrafficTarget| in_step && service.resolve(&target.to) != Some(culprit);

    let mut list = Vec::new();
    for target in service.spec_traffic.iter().filter(|target| !is_ours(target)) {
        let percent = if stays(target) { target.percent } else { 0 };
        if percent > 0 || target.tag.is_some() {
            list.push(TrafficTarget { percent, ..target.clone() });
        }
    }
    // What is missing of the planned split becomes entries of its own, before those that only carry a tag.
    let mut missing = Vec::new();
    for share in &plan.to {
        let already: u8 = list
            .iter()
            .filter(|target| service.resolve(&target.to) == Some(share.revision.as_str()))
            .map(|target| target.percent)
            .sum();
        let to = Destination::Revision(share.revision.clone());
        let percent = share.percent.saturating_sub(already);
        if percent == 0 {
            continue;
        }
        match list.iter_mut().find(|target| target.to == to && target.percent > 0) {
            Some(target) => target.percent += percent,
            None => missing.push(TrafficTarget { to, percent, tag: None }),
        }
    }
    missing.extend(list);
    missing
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

/// The spec's traffic list with everything on LATEST again; tags stay.
#[must_use]
pub fn released(service: &Service) -> Vec<TrafficTarget> {
    let tags = service.spec_traffic.iter().filter(|target| target.tag.is_some() && !is_ours(target));
    let tags = tags.map(|target| TrafficTarget { percent: 0, ..target.clone() });
    std::iter::once(TrafficTarget { to: Destination::Latest, percent: 100, tag: None }).chain(tags).collect()
}

#[cfg(test)]
mod tests;
