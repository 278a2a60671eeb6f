//! Gate `preflight`: with a health path, the target is asked before traffic goes to it.

use crate::domain::decide::{Case, Halt, Passage, axis_of};
use crate::domain::decision::Reason;
use crate::domain::evidence::Verdict;
use crate::domain::probe::{Probed, Wish};

use super::failing::judge_revision;
use super::target::Target;

/// What the gate says.
pub(in crate::domain) enum Preflight {
    /// The target has to be probed first.
    Wanted(Box<Wish>),
    /// Everything is known.
    Known(Passage<()>),
}

/// The revisions that the probes found confidently unhealthy.
pub(in crate::domain) fn convicted<'a>(case: &Case<'_>, probes: &'a [Probed]) -> Vec<&'a str> {
    probes.iter().filter(|probed| convicts(case, probed)).map(|probed| probed.revision.as_str()).collect()
}

/// Real requests outweigh probes: a revision that serves healthily has a wrong health path.
pub(in crate::domain) fn convicts(case: &Case<'_>, probed: &Probed) -> bool {
    probed.convicts() && !serves_healthily(case, &probed.revision)
}

fn serves_healthily(case: &Case<'_>, revision: &str) -> bool {
    case.service.split().contains_key(revision)
        && judge_revision(case, revision).is_some_and(|judgement| judgement.verdict == Verdict::Healthy)
}

/// Weighs the target's probes; nothing without a health path. When critical, nothing is written for a probe's sake.
pub(in crate::domain) fn check(
    case: &Case<'_>,
    target: &Target<'_>,
    critical: bool,
    probes: &[Probed],
) -> Option<Preflight> {
    let path = case.rules.health_path.clone()?;
    let name = &target.revision.name;
    let failed: Vec<String> =
        probes.iter().filter(|probed| convicts(case, probed)).map(Probed::sentence).collect();
    let before = |sentence: String| [vec![sentence], failed.clone()].concat().join("; ");
    let passed = |sentence: String| Some(Preflight::Known(Ok(((), before(sentence)))));
    if let Some(probed) = probes.iter().find(|probed| probed.revision == *name) {
        if !probed.convicts() {
            return passed(probed.sentence());
        }
        if !convicts(case, probed) {
            let sentence = probed.sentence();
            return passed(format!("{sentence}, but it serves healthily: {path} is no health path of it"));
        }
        // An unhealthy target is only chosen again when there is no other.
        let detail = format!("{}; no other candidate is left", failed.join("; "));
        return Some(Preflight::Known(Err(Halt::notify(Reason::DependencyOutage, detail))));
    }
    let url = case.service.tagged.get(name).cloned();
    if critical && url.is_none() {
        return passed(format!(
            "{name} was not probed: it has no tag to probe it by, and a critical incident does not wait for one"
        ));
    }
    Some(Preflight::Wanted(Box::new(Wish {
        revision: name.clone(),
        url,
        path,
        audience: case.service.url.clone(),
        axis: axis_of(case.alert.signal),
        slow: case.rules.slow,
    })))
}
