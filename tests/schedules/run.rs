//! Running schedules: one of them, or as many as are asked for, on every core.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use super::flows::{Flow, flows};
use super::plan::{Plan, SERVICE, Trouble};
use super::stage::Stage;
use super::{liveness, safety};
use crate::simulator::Split;

/// So many seeds when nobody says how many.
const SEEDS: u64 = 0;

/// So many seeds are played twice.
const SAME: u64 = 20;

/// After so many failures there is enough to look at.
const MOST_FAILURES: usize = 20;

pub struct Arguments {
    pub seeds: u64,
    pub from: u64,
    pub seed: Option<u64>,
    pub trace: bool,
    pub jobs: usize,
    pub keep_going: bool,
}

impl Arguments {
    pub fn read(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        let jobs = thread::available_parallelism().map_or(1, usize::from);
        let mut read = Self { seeds: SEEDS, from: 0, seed: None, trace: false, jobs, keep_going: false };
        while let Some(name) = given.next() {
            let mut number = || -> Result<u64, String> {
                let value = given.next().ok_or(format!("{name} needs a number"))?;
                value.replace('_', "").parse().map_err(|_| format!("{name}: {value:?} is no number"))
            };
            match name.as_str() {
                "--seeds" => read.seeds = number()?,
                "--from" => read.from = number()?,
                "--seed" => read.seed = Some(number()?),
                "--jobs" => read.jobs = number()?.max(1) as usize,
                "--trace" => read.trace = true,
                "--keep-going" => read.keep_going = true,
                // What cargo hands to every test.
                "--quiet" | "-q" | "--nocapture" | "--show-output" => {}
                other => {
                    return Err(format!(
                        "{other}: expected --seeds, --from, --seed, --trace, --jobs or --keep-going"
                    ));
                }
            }
        }
        Ok(read)
    }
}

/// What came of one schedule.
pub struct Outcome {
    pub broken: Vec<String>,
    pub trace: String,
    pub calls: usize,
    pub deaths: usize,
    pub troubles: usize,
    pub moves: usize,
    pub requests: usize,
    pub end: Option<End>,
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
            let mut broken = safety::broken(&stage);
            broken.extend(liveness::unfulfilled(&stage));
            let trace = if traced || !broken.is_empty() { stage.trace.text() } else { String::new() };
            let moves = stage.simulator.writes().iter().filter(|write| write.moved_traffic()).count();
            let calls = stage.simulator.world().journal.len();
            let (deaths, troubles) = (stage.crew.lock().unwrap().deaths(), stage.trace.troubles().len());
            let requests = stage.trace.requests().len();
            let end = Some(End::of(&stage));
            Outcome { broken, trace, calls, deaths, troubles, moves, requests, end }
        })
    }));
    played.unwrap_or_else(|_| Outcome::panicked())
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

impl Outcome {
    fn panicked() -> Self {
        let (trace, broken) = (String::new(), vec!["it panicked".to_owned()]);
        Self { broken, trace, calls: 0, deaths: 0, troubles: 0, moves: 0, requests: 0, end: None }
    }
}

#[derive(Default)]
pub struct Tally {
    schedules: u64,
    calls: usize,
    deaths: usize,
    troubles: usize,
    moves: usize,
    requests: usize,
    seconds: f64,
    /// What went wrong, by the name of the schedule.
    pub failed: BTreeMap<String, Vec<String>>,
}

impl Tally {
    fn count(&mut self, name: &str, outcome: Outcome) {
        self.schedules += 1;
        self.calls += outcome.calls;
        self.deaths += outcome.deaths;
        self.troubles += outcome.troubles;
        self.moves += outcome.moves;
        self.requests += outcome.requests;
        if !outcome.broken.is_empty() {
            self.failed.insert(name.to_owned(), outcome.broken);
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, broken) in &self.failed {
            writeln!(f, "{name}:")?;
            for why in broken {
                writeln!(f, "    {why}")?;
            }
        }
        writeln!(
            f,
            "{} schedules: {} requests, {} calls, {} troubles, {} deaths, {} moves of traffic, in {:.1} s",
            self.schedules, self.requests, self.calls, self.troubles, self.deaths, self.moves, self.seconds
        )?;
        if let Some(seed) = self.failed.keys().find_map(|name| name.strip_prefix("seed ")) {
            writeln!(f, "replay: cargo test --test schedules -- --seed {seed} --trace")?;
        }
        write!(f, "{} passed, {} failed", self.schedules - self.failed.len() as u64, self.failed.len())
    }
}

/// Everything that is asked for, on every core.
pub fn all(arguments: &Arguments) -> Tally {
    let tally = Mutex::new(Tally::default());
    let started = Instant::now();
    on_every_core(arguments, 0..flows().len() as u64, &tally, |index| {
        let flow = flows().swap_remove(index as usize);
        (flow.plan.name.clone(), as_it_should_be(flow))
    });
    on_every_core(arguments, 0..SAME, &tally, |seed| (format!("seed {seed}, twice"), same_again(seed)));
    let seeds = arguments.from..arguments.from + arguments.seeds;
    on_every_core(arguments, seeds, &tally, |seed| {
        (format!("seed {seed}"), play(Plan::of(seed), Vec::new(), false))
    });
    let mut tally = tally.into_inner().unwrap();
    tally.seconds = started.elapsed().as_secs_f64();
    tally
}

fn on_every_core(
    arguments: &Arguments,
    numbers: Range<u64>,
    tally: &Mutex<Tally>,
    play: impl Fn(u64) -> (String, Outcome) + Sync,
) {
    let next = AtomicU64::new(numbers.start);
    let enough = || !arguments.keep_going && tally.lock().unwrap().failed.len() >= MOST_FAILURES;
    thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= numbers.end || enough() {
                        break;
                    }
                    let (name, outcome) = play(number);
                    tally.lock().unwrap().count(&name, outcome);
                }
            });
        }
    });
}

/// One seed, with everything that happened.
pub fn one(seed: u64, traced: bool) -> ExitCode {
    let plan = Plan::of(seed);
    if traced {
        println!("{plan:#?}");
    }
    let outcome = play(plan, Vec::new(), traced);
    println!("{}", outcome.trace);
    for why in &outcome.broken {
        println!("BROKEN: {why}");
    }
    if outcome.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A flow in which nothing goes wrong ends as it should.
fn as_it_should_be(flow: Flow) -> Outcome {
    let Flow { plan, serves, phase } = flow;
    let mut outcome = play(plan, Vec::new(), false);
    let served = serves.iter().map(|(name, percent)| ((*name).to_owned(), *percent)).collect();
    let end = outcome.end.as_ref();
    if !end.is_some_and(|end| end.traffic == served && end.phase.as_deref() == phase) {
        let found = end.map(|end| (&end.traffic, &end.phase));
        outcome.broken.push(format!("expected {serves:?} and {phase:?}, found {found:?}"));
    }
    outcome
}

/// What chance decides it decides in the same way again. What else is wrong with the seed is not asked here.
fn same_again(seed: u64) -> Outcome {
    let [first, second] = [0, 1].map(|_| play(Plan::of(seed), Vec::new(), true));
    let mut broken = Vec::new();
    if first.trace != second.trace || first.trace.is_empty() {
        let mut lines = first.trace.lines().zip(second.trace.lines());
        broken.push(format!("it went differently: {:?}", lines.find(|(one, other)| one != other)));
    }
    Outcome { broken, ..first }
}
