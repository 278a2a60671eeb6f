//! An incident's message as it stands now: a bot changes its first message as phases pass, and puts the rest into the
//! thread. It is made from the record alone, so whoever comes late shows what is true, and not what was.

use super::next::{Step, describe, release};
use super::shift::Shift;
use super::words::{name, short};
use super::{Draft, Message, listed, sections};
use crate::domain::decision::Decision;
use crate::domain::record::{Phase, Rollback};
use crate::domain::service::ServiceName;
use crate::domain::steps;
use crate::domain::text;

/// Renders a rollback's phase; nothing as long as the first message is still right.
#[must_use]
pub fn standing(service: &ServiceName, rollback: &Rollback) -> Option<Message> {
    let Rollback { culprit, target, step, phase, moved, .. } = rollback;
    let (from, to) = (name(culprit), name(target));
    let (title, code, story) = match phase {
        Phase::Switching | Phase::Told if moved.is_none() => return None,
        Phase::Switching | Phase::Told if *step < steps::ALL => (
            format!("rollback under way, {step} % moved"),
            rollback.reason.as_str(),
            format!("{step} % of the traffic of `{from}` is at `{to}`."),
        ),
        Phase::Switching | Phase::Told => {
            ("rolled back".into(), rollback.reason.as_str(), format!("All traffic of `{from}` is at `{to}`."))
        }
        Phase::Recovered => ("recovered".into(), "recovered", format!("`{to}` is healthy since it serves.")),
        Phase::NotHelped => (
            "the rollback did not help".into(),
            "not_helped",
            format!("*`{to}` fails as well.* The traffic stays there; somebody has to look."),
        ),
        Phase::Restoring => (
            "the rollback did not help and is being undone".into(),
            "not_helped",
            format!("*`{to}` is no better than `{from}`.* The previous split is written again."),
        ),
        Phase::Restored if rollback.trial && *step < steps::ALL => (
            "not the deploy, the trial is undone".into(),
            "dependency_outage",
            format!(
                "*`{to}` is no better than `{from}`* on the same minutes. The traffic is back as it was before."
            ),
        ),
        Phase::Restored => (
            "the rollback did not help and is undone".into(),
            "not_helped",
            format!("*`{to}` is no better than `{from}`.* The traffic is back as it was before."),
        ),
        Phase::Undone => (
            "the rollback is undone by hand".into(),
            "undone",
            format!("Somebody took `runback undo`: `{from}` has its traffic back."),
        ),
        Phase::Unjudged => (
            "not clear whether the rollback helped".into(),
            "unjudged",
            format!("There was too little to tell by whether `{to}` is healthy."),
        ),
        Phase::Overruled => (
            "rolled back, then moved by somebody else".into(),
            "overruled",
            "Somebody else has moved the traffic since. Runback leaves it alone.".into(),
        ),
        Phase::NotArrived => (
            "rollback written, but not in effect".into(),
            "not_arrived",
            "*Cloud Run accepted the traffic, but its status has not shown it for minutes.*".into(),
        ),
        Phase::Halted => (
            format!("rollback halted at {step} %"),
            "halted",
            format!(
                "*`{to}` is no better than `{from}`, or Runback may not go on.* The traffic stays split."
            ),
        ),
        // A later version knows what it means.
        Phase::Other(_) => return None,
    };
    let began = format!(
        "Runback began to move it at {}, reason `{}`. What was seen and done since is in the thread.",
        text::clock(rollback.at),
        name(&rollback.reason)
    );
    let pinned = "The service is pinned: later deploys get 0 % of the traffic until it is released:";
    let steps = match phase {
        Phase::Overruled | Phase::NotArrived | Phase::Restoring | Phase::Restored => {
            vec![Step::run("What it serves now:", describe(service))]
        }
        _ => vec![Step::run(pinned, release(service))],
    };
    let arrow = format!("{} → {}", short(culprit, &service.service), short(target, &service.service));
    let header = format!("{}: {title}: {arrow}", name(&service.service));
    let story = format!("{story}\n{began}");
    let mut shown = vec![story];
    // Nobody knows what somebody else, or Cloud Run, has made of it.
    let settled = !matches!(phase, Phase::Overruled | Phase::NotArrived | Phase::Restoring | Phase::Restored);
    if settled && !rollback.from.is_empty() {
        let decision = Decision::resumed(service, rollback.clone());
        shown.extend(Shift::of(&decision).map(|shift| shift.describe(true)));
    }
    let body = shown.iter().cloned().chain([listed(&steps, str::to_owned)]).collect();
    let shown = shown.into_iter().chain(sections(&steps)).collect();
    Some(Draft { header, body, shown, small: Vec::new(), kept: Vec::new() }.finish(code, &rollback.incident))
}

#[cfg(test)]
mod tests;
