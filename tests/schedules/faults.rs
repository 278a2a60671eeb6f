//! The fault table: each call of each stage of each flow, answered in each wrong way for some minutes. Whatever it is,
//! nobody waits longer than eight seconds, and in the end everything is done or people know why not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use super::case::Case;
use super::flows::Flow;
use super::plan::{Spell, Trouble};
use super::run::{self, Outcome};
use crate::simulator::minutes;

/// A call is answered wrongly for so long from the beginning of a stage.
const LASTS: Duration = minutes(2);

/// So many of the flows, the first ones, are shown in full.
const IN_FULL: usize = 4;

/// The columns of the table.
pub const KINDS: &[(&str, Trouble)] = &[
    ("hangs", Trouble::Hangs),
    ("lost", Trouble::LostBefore),
    ("done, lost", Trouble::LostAfter),
    ("429", Trouble::TooMany(0)),
    ("500", Trouble::Status(500)),
    ("503", Trouble::Status(503)),
    ("403", Trouble::Denied),
    ("404", Trouble::Status(404)),
    ("garbage", Trouble::Html),
    ("endless", Trouble::Endless),
];

/// One cell.
pub struct Fault {
    /// The flow, the stage and the call.
    pub row: String,
    pub kind: &'static str,
    pub case: Case,
}

/// Every cell of the first flows; of the others what no flow before them has.
pub fn all(flows: &[Flow]) -> Vec<Fault> {
    let (mut known, mut cells) = (BTreeSet::new(), Vec::new());
    for (number, flow) in flows.iter().enumerate() {
        let of_flow = of(flow);
        let part = |fault: &Fault| fault.row.split_once(": ").map(|(_, part)| part.to_owned());
        let new: BTreeSet<_> = of_flow.iter().filter_map(part).collect();
        let main = |part: &String| number < IN_FULL && !part.starts_with("heartbeat");
        cells.extend(
            of_flow
                .into_iter()
                .filter(|fault| part(fault).is_some_and(|part| main(&part) || !known.contains(&part))),
        );
        known.extend(new);
    }
    cells
}

/// Every cell of a flow.
pub fn of(flow: &Flow) -> Vec<Fault> {
    let quiet = run::play(flow.plan.clone(), Vec::new(), false);
    // A stage that comes more than once, such as a heartbeat, is struck for the first time only.
    let mut rows: BTreeMap<(String, String), Duration> = BTreeMap::new();
    for stage in quiet.requests.iter().filter(|stage| stage.from < flow.plan.calm) {
        for call in &stage.calls {
            rows.entry((stage.what.clone(), call.clone())).or_insert(stage.from);
        }
    }
    let mut cells = Vec::new();
    for ((stage, call), from) in rows {
        let row = format!("{}: {stage}, {call}", flow.plan.name);
        for (kind, trouble) in KINDS {
            let (mut plan, calls) = (flow.plan.clone(), call.clone().into());
            plan.spells.push(Spell { calls, trouble: *trouble, from, until: from + LASTS, odds: 100 });
            let case = Case {
                name: format!("{row}, {kind}"),
                plan,
                strokes: Vec::new(),
                ends_like: None,
                moves: None,
            };
            cells.push(Fault { row: row.clone(), kind, case });
        }
    }
    cells
}

/// What came of each cell.
#[derive(Default)]
pub struct Table(BTreeMap<String, BTreeMap<&'static str, String>>);

impl Table {
    pub fn count(&mut self, fault: (String, &'static str), outcome: &Outcome) {
        let cell = format!("{:.1}", outcome.slowest().as_secs_f64());
        self.0.entry(fault.0).or_default().insert(fault.1, cell);
    }

    /// As Markdown: the slowest answer of each cell, in seconds.
    pub fn text(&self) -> String {
        let kinds: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
        let mut text = format!("| | {} |\n|---|{}\n", kinds.join(" | "), "---:|".repeat(kinds.len()));
        for (row, cells) in &self.0 {
            let cells: Vec<&str> =
                kinds.iter().map(|kind| cells.get(kind).map_or("", String::as_str)).collect();
            writeln!(text, "| {row} | {} |", cells.join(" | ")).unwrap();
        }
        text
    }
}
