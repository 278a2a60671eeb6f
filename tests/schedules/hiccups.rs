//! One call goes wrong once, and works when it is tried again: nothing comes of it. The flow ends as it would have, with the
//! same moves of traffic.

use super::case::Case;
use super::flows::Flow;
use super::plan::Trouble;
use super::run::Outcome;

const KINDS: &[(&str, Trouble)] = &[
    ("503", Trouble::Status(503)),
    ("429", Trouble::TooMany(0)),
    ("lost", Trouble::LostBefore),
    ("404", Trouble::Status(404)),
];

/// Every hiccup of a flow: the number of the call, and what comes instead of an answer.
pub fn of(flow: &Flow, quiet: &Outcome) -> Vec<Case> {
    let struck = quiet.early_calls.iter().enumerate().filter(|(_, call)| is_repeated(call));
    let each = struck.flat_map(|(number, call)| {
        // Only for what has to be there a 404 is a hiccup.
        let kinds = KINDS.iter().filter(|(kind, _)| *kind != "404" || call.starts_with("run.get"));
        kinds.map(move |(kind, trouble)| Case {
            name: format!("{}: {kind} at call {number}", flow.plan.name),
            strokes: vec![(number, *trouble)],
            moves: Some(quiet.moves),
            ..Case::quiet(flow.clone())
        })
    });
    each.collect()
}

/// Slack may lose a message, and what a probe gets is an answer of the guarded service.
fn is_repeated(call: &str) -> bool {
    ["run.", "monitoring.", "tasks."].iter().any(|api| call.starts_with(api))
}
