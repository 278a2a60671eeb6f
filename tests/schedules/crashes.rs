//! Deaths at chosen calls: each call of each flow, before and after it is carried out; in the main flows also every pair.
//! However often the process dies, the flow ends as it would have.

use super::case::Case;
use super::flows::Flow;
use super::plan::Trouble;
use super::run::Outcome;

/// When a process dies: at the call of this number, before or after it is carried out.
type Death = (usize, bool);

/// So many of the flows, the first ones, are tried with two deaths.
pub const IN_PAIRS: usize = 3;

/// Each call of a flow, before and after.
pub fn points(quiet: &Outcome) -> Vec<Death> {
    both((0..quiet.early_calls.len()).collect())
}

/// A flow with one death; where it is tried in pairs, also every second death that can follow the first.
pub fn at(flow: &Flow, first: Death, in_pairs: bool, mut count: impl FnMut(String, Outcome)) {
    let once = case(flow, &[first]);
    let (name, outcome) = (once.name.clone(), once.play(false));
    let last = outcome.early_calls.len();
    count(name, outcome);
    if in_pairs {
        for second in both((first.0 + 1..last).collect()) {
            let twice = case(flow, &[first, second]);
            count(twice.name.clone(), twice.play(false));
        }
    }
}

fn both(calls: Vec<usize>) -> Vec<Death> {
    calls.into_iter().flat_map(|call| [(call, false), (call, true)]).collect()
}

pub fn case(flow: &Flow, deaths: &[Death]) -> Case {
    let when =
        |(call, after): &Death| format!("dies {} call {call}", if *after { "after" } else { "before" });
    let name = deaths.iter().map(when).collect::<Vec<_>>().join(", ");
    let stroke = |(call, after): &Death| match after {
        true => (*call, Trouble::DiesAfter),
        false => (*call, Trouble::DiesBefore),
    };
    let strokes = deaths.iter().map(stroke).collect();
    Case { name: format!("{}: {name}", flow.plan.name), strokes, ..Case::quiet(flow.clone()) }
}

/// The deaths that the name of a case tells.
pub fn read(text: &str) -> Option<Vec<Death>> {
    let death = |text: &str| {
        let (when, call) = text.strip_prefix("dies ")?.split_once(" call ")?;
        Some((call.parse().ok()?, when == "after"))
    };
    text.split(", ").map(death).collect()
}
