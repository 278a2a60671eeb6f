//! Gate `culprit`: which serving revision the alert is about.

use crate::domain::alert::Signal;
use crate::domain::decide::{Case, Halt, Passage};
use crate::domain::decision::Reason;
use crate::domain::evidence::{Evidence, Judgement, Verdict};
use crate::domain::service::Revision;

use super::failing::judge_revision;

/// The revision that the alert names, the only one that serves, or the one that the evidence convicts.
pub(in crate::domain) fn find<'a>(case: &Case<'a>) -> Passage<&'a Revision> {
    let split = case.service.split();
    let serving: Vec<&str> = split.keys().map(String::as_str).collect();
    if let Some(named) = case.alert.revision() {
        return match split.get(named) {
            Some(percent) => known(case, named, format!("{named} takes {percent} % of the traffic")),
            None => Err(Halt::ignore(
                Reason::CulpritNotServing,
                format!("{named} takes no traffic; serving: {}", list(&serving)),
            )),
        };
    }
    match serving[..] {
        [] => Err(Halt::ignore(Reason::CulpritNotServing, "no revision takes traffic")),
        [only] => {
            known(case, only, format!("the alert names no revision; {only} is the only one that serves"))
        }
        _ => convict(case, &serving),
    }
}

/// Several revisions serve and the alert does not say which one is meant.
fn convict<'a>(case: &Case<'a>, serving: &[&str]) -> Passage<&'a Revision> {
    let ambiguous = |why: &str| {
        let detail = format!("the alert names no revision, {} serve, and {why}", list(serving));
        Err(Halt::notify(Reason::AmbiguousCulprit, detail))
    };
    if let Evidence::Unreadable { .. } = case.evidence {
        return ambiguous("Monitoring cannot be read to tell them apart");
    }
    let judged: Vec<(&str, Judgement)> =
        serving.iter().filter_map(|name| Some((*name, judge_revision(case, name)?))).collect();
    if judged.iter().all(|(_, judgement)| judgement.verdict == Verdict::NoData) {
        return ambiguous("Monitoring has no requests of any of them");
    }
    let convicted: Vec<&str> = judged
        .iter()
        .filter(|(_, judgement)| judgement.verdict == Verdict::Confirmed)
        .map(|(name, _)| *name)
        .collect();
    if convicted.len() == serving.len() {
        let detail = format!("every serving revision fails ({}); going back would not help", list(serving));
        return Err(Halt::notify(Reason::DependencyOutage, detail));
    }
    let vouched = case.alert.signal == Signal::Other && case.policy_wish().is_some();
    if convicted.is_empty() && vouched {
        return ambiguous("what it measures, their requests do not show");
    }
    let newest = |name: &&&str| case.revision(name).map(|revision| revision.created_at);
    match convicted.iter().max_by_key(newest) {
        Some(name) => known(
            case,
            name,
            format!("the alert names no revision; of {} the evidence convicts {name}", list(serving)),
        ),
        // Nobody is convicted: the one that looks worst says whether the service is healthy.
        None => match judged.iter().max_by(|a, b| a.1.lower.total_cmp(&b.1.lower)) {
            Some((name, _)) => known(
                case,
                name,
                format!("the alert names no revision; of {} {name} looks worst", list(serving)),
            ),
            None => ambiguous("nothing tells them apart"),
        },
    }
}

/// A serving revision that Cloud Run does not list cannot be judged by its age.
fn known<'a>(case: &Case<'a>, name: &str, detail: String) -> Passage<&'a Revision> {
    case.revision(name).map(|revision| (revision, detail)).ok_or_else(|| {
        Halt::notify(
            Reason::AmbiguousCulprit,
            format!("{name} serves, but Cloud Run does not list it among the revisions"),
        )
    })
}

fn list(names: &[&str]) -> String {
    names.join(", ")
}
