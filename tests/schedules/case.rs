//! One schedule with a name that plays it again: a seed, a flow, or a flow with what strikes it.

use super::flows::{Flow, flows};
use super::plan::{Plan, Trouble};
use super::run::Outcome;
use super::{crashes, faults, hiccups, run};

/// A schedule that can be played.
pub struct Case {
    /// Plays it again, after `--play`.
    pub name: String,
    pub plan: Plan,
    /// What happens at the calls of these numbers, counted from 0.
    pub strokes: Vec<(usize, Trouble)>,
    /// The flow that it comes from, if it has to end like that.
    pub ends_like: Option<Flow>,
    /// So often traffic has to have moved, if that is known.
    pub moves: Option<usize>,
}

impl Case {
    pub fn seed(seed: u64) -> Self {
        let plan = Plan::of(seed);
        Self { name: plan.name.clone(), plan, strokes: Vec::new(), ends_like: None, moves: None }
    }

    /// A flow in which nothing goes wrong.
    pub fn quiet(flow: Flow) -> Self {
        Self {
            name: flow.plan.name.clone(),
            plan: flow.plan.clone(),
            strokes: Vec::new(),
            ends_like: Some(flow),
            moves: None,
        }
    }

    /// The case of this name.
    pub fn named(name: &str) -> Result<Self, String> {
        if let Some(seed) = name.strip_prefix("seed ") {
            return seed.parse().map(Self::seed).map_err(|_| format!("{seed:?} is no number"));
        }
        let (flow, struck) = name.split_once(": ").unwrap_or((name, ""));
        let known = flows().into_iter().find(|known| known.plan.name == flow);
        let Some(known) = known else {
            let all: Vec<String> = flows().into_iter().map(|known| known.plan.name).collect();
            return Err(format!("{flow:?} is no flow; there are: {}", all.join(", ")));
        };
        if struck.is_empty() {
            return Ok(Self::quiet(known));
        }
        if let Some(deaths) = crashes::read(struck) {
            return Ok(crashes::case(&known, &deaths));
        }
        let quiet = run::play(known.plan.clone(), Vec::new(), false);
        let faults = faults::of(&known).into_iter().map(|fault| fault.case);
        let found = hiccups::of(&known, &quiet).into_iter().chain(faults).find(|case| case.name == name);
        found.ok_or(format!("{struck:?} strikes nothing in {flow}"))
    }

    /// Plays it, and says what is wrong with its end as well.
    pub fn play(self, traced: bool) -> Outcome {
        let Self { plan, strokes, ends_like, moves, .. } = self;
        let quiet = strokes.is_empty();
        let mut outcome = run::play(plan, strokes, traced);
        if let Some(Flow { serves, phase, told, .. }) = ends_like {
            let served = serves.iter().map(|(name, percent)| ((*name).to_owned(), *percent)).collect();
            let end = outcome.end.as_ref();
            if !end.is_some_and(|end| end.traffic == served && end.phase.as_deref() == phase) {
                let found = end.map(|end| (&end.traffic, &end.phase));
                outcome.broken.push(format!("expected {serves:?} and {phase:?}, found {found:?}"));
            }
            // Nothing on record says that Slack had a message: after a death twice is better than never.
            let most = told + outcome.deaths;
            if outcome.messages > most || (quiet && outcome.messages < told) {
                outcome.broken.push(format!("{} messages instead of {told}", outcome.messages));
            }
        }
        if moves.is_some_and(|moves| moves != outcome.moves) {
            outcome.broken.push(format!("traffic moved {} times instead of {moves:?}", outcome.moves));
        }
        outcome
    }
}
