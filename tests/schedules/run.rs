//! Playing one schedule, and what came of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::plan::{Plan, SERVICE, Trouble};
use super::stage::Stage;
use super::{liveness, safety};
use crate::simulator::Split;

/// What came of one schedule.
#[derive(Default)]
pub struct Outcome {
    pub broken: Vec<String>,
    pub trace: String,
    pub calls: usize,
    pub deaths: usize,
    pub troubles: usize,
    pub moves: usize,
    /// How often the channel showed something new.
    pub messages: usize,
    pub requests: Vec<Asked>,
    /// The names of the calls before everything works again, in their order.
    pub early_calls: Vec<String>,
    pub end: Option<End>,
}

/// What Runback was asked.
pub struct Asked {
    /// In a word or two, without ids.
    pub what: String,
    pub from: Duration,
    pub took: Option<Duration>,
    /// The names of the calls that it made.
    pub calls: Vec<String>,
}

/// Where the world stands in the end.
pub struct End {
    pub traffic: Split,
    pub phase: Option<String>,
}

/// Plays a schedule in a runtime of its own, whose time is paused.
pub fn play(plan: Plan, strokes: Vec<(usize, Trouble)>, traced: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let played = catch_unwind(AssertUnwindSafe(|| {
        runtime.unwrap().block_on(async {
            let stage = Arc::new(Stage::set(plan, strokes));
            stage.play().await;
            Outcome::of(&stage, traced)
        })
    }));
    played.unwrap_or_else(|_| Outcome { broken: vec!["it panicked".to_owned()], ..Outcome::default() })
}

impl Outcome {
    fn of(stage: &Stage, traced: bool) -> Self {
        let mut broken = safety::broken(stage);
        broken.extend(liveness::unfulfilled(stage));
        let trace = if traced { stage.trace.text() } else { String::new() };
        let moves = stage.simulator.writes().iter().filter(|write| write.moved_traffic()).count();
        let slack = stage.simulator.slack();
        let messages = slack.iter().filter(|message| message.in_channel());
        let messages = messages.map(|message| 1 + message.updates as usize).sum();
        let (deaths, troubles) = (stage.crew.lock().unwrap().deaths(), stage.trace.troubles().len());
        let calm = stage.plan.calm.as_secs_f64();
        let (calls, early_calls) = {
            let world = stage.simulator.world();
            let early = world.journal.iter().filter(|call| call.at < calm);
            (world.journal.len(), early.map(|call| call.name.clone()).collect())
        };
        let (requests, end) = (asked(stage), Some(End::of(stage)));
        Self { broken, trace, calls, deaths, troubles, moves, messages, requests, early_calls, end }
    }

    /// The longest that anybody waited for an answer.
    pub fn slowest(&self) -> Duration {
        self.requests.iter().filter_map(|asked| asked.took).max().unwrap_or_default()
    }
}

fn asked(stage: &Stage) -> Vec<Asked> {
    let world = stage.simulator.world();
    let asked = stage.trace.requests().into_iter().map(|request| {
        let calls = world.journal.iter().filter(|call| call.caller == Some(request.caller));
        let mut calls: Vec<String> = calls.map(|call| call.name.clone()).collect();
        calls.sort();
        calls.dedup();
        let took = request.done.map(|done| done.saturating_sub(request.asked));
        Asked { what: without_id(&request.what), from: request.asked, took, calls }
    });
    asked.collect()
}

/// `task rb-1780000020-0123456789abcdef-k-back-check-1` becomes `check-1`.
fn without_id(what: &str) -> String {
    let task = what.strip_prefix("task ").unwrap_or(what);
    task.split_once("-k-back-").map_or(task, |(_, kind)| kind).to_owned()
}

impl End {
    fn of(stage: &Stage) -> Self {
        let gone = stage.plan.deletes_the_service();
        let traffic = if gone { Split::new() } else { stage.simulator.traffic(SERVICE) };
        let record = stage.simulator.record(SERVICE).unwrap_or_default();
        let phase = record["rollbacks"][0]["phase"].as_str().map(str::to_owned);
        Self { traffic, phase }
    }
}
