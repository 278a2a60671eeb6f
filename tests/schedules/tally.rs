//! Everything that is asked for, on every core, and what came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use super::arguments::Arguments;
use super::case::Case;
use super::faults::{self, Table};
use super::flows::flows;
use super::plan::Plan;
use super::run::{Outcome, play};
use super::{crashes, hiccups};

/// So many seeds are played twice.
const SAME: u64 = 20;

/// After so many failures there is enough to look at.
const MOST_FAILURES: usize = 20;

#[derive(Default)]
pub struct Tally {
    /// How many schedules of each kind.
    schedules: BTreeMap<&'static str, u64>,
    calls: usize,
    deaths: usize,
    troubles: usize,
    moves: usize,
    requests: usize,
    seconds: f64,
    table: Table,
    /// What went wrong, by the name of the schedule.
    pub failed: BTreeMap<String, Vec<String>>,
}

impl Tally {
    fn count(&mut self, kind: &'static str, name: String, outcome: Outcome) {
        *self.schedules.entry(kind).or_default() += 1;
        self.calls += outcome.calls;
        self.deaths += outcome.deaths;
        self.troubles += outcome.troubles;
        self.moves += outcome.moves;
        self.requests += outcome.requests.len();
        if !outcome.broken.is_empty() {
            self.failed.insert(name, outcome.broken);
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
        let schedules: u64 = self.schedules.values().sum();
        let kinds: Vec<String> =
            self.schedules.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        writeln!(
            f,
            "{schedules} schedules ({}): {} requests, {} calls, {} troubles, {} deaths, {} moves of traffic, in {:.1} s",
            kinds.join(", "),
            self.requests,
            self.calls,
            self.troubles,
            self.deaths,
            self.moves,
            self.seconds
        )?;
        if let Some(name) = self.failed.keys().next() {
            writeln!(
                f,
                "replay: cargo test --profile schedules --test schedules -- --trace --play {name:?}"
            )?;
        }
        write!(f, "{} passed, {} failed", schedules - self.failed.len() as u64, self.failed.len())
    }
}

/// Everything that is asked for.
pub fn all(arguments: &Arguments) -> Tally {
    let (tally, started) = (Mutex::new(Tally::default()), Instant::now());
    let count = |kind, name, outcome| tally.lock().unwrap().count(kind, name, outcome);
    let enough = || !arguments.keep_going && tally.lock().unwrap().failed.len() >= MOST_FAILURES;
    let every = |numbers: Range<u64>, play: &(dyn Fn(u64) + Sync)| {
        on_every_core(arguments.jobs, numbers, &enough, play);
    };
    let flows = flows();
    every(0..flows.len() as u64, &|index| {
        let quiet = Case::quiet(flows[index as usize].clone());
        count("quiet", quiet.name.clone(), quiet.play(false));
    });
    every(0..SAME, &|seed| count("twice", format!("seed {seed}"), same_again(seed)));
    if arguments.crashes {
        let points = flows.iter().enumerate().flat_map(|(number, flow)| {
            let quiet = play(flow.plan.clone(), Vec::new(), false);
            crashes::points(&quiet).into_iter().map(move |point| (number, point))
        });
        let points: Vec<_> = points.collect();
        every(0..points.len() as u64, &|index| {
            let (number, point) = points[index as usize];
            let in_pairs = number < crashes::IN_PAIRS;
            crashes::at(&flows[number], point, in_pairs, |name, outcome| count("with deaths", name, outcome));
        });
    }
    if arguments.faults {
        let hiccups = flows.iter().flat_map(|flow| {
            let quiet = play(flow.plan.clone(), Vec::new(), false);
            hiccups::of(flow, &quiet).into_iter().map(|case| Mutex::new(Some(case)))
        });
        let hiccups: Vec<_> = hiccups.collect();
        every(0..hiccups.len() as u64, &|index| {
            let Some(case) = hiccups[index as usize].lock().unwrap().take() else { return };
            count("with a hiccup", case.name.clone(), case.play(false));
        });
        let faults: Vec<_> = faults::all(&flows).into_iter().map(|fault| Mutex::new(Some(fault))).collect();
        every(0..faults.len() as u64, &|index| {
            let fault = faults[index as usize].lock().unwrap().take();
            let Some(faults::Fault { row, kind, case }) = fault else { return };
            let (name, outcome) = (case.name.clone(), case.play(false));
            let mut tally = tally.lock().unwrap();
            tally.table.count((row, kind), &outcome);
            tally.count("with faults", name, outcome);
        });
    }
    every(arguments.from..arguments.from + arguments.seeds, &|seed| {
        let case = Case::seed(seed);
        count("by chance", case.name.clone(), case.play(false));
    });
    let mut tally = tally.into_inner().unwrap();
    tally.seconds = started.elapsed().as_secs_f64();
    if arguments.table {
        println!("{}", tally.table.text());
    }
    tally
}

fn on_every_core(
    jobs: usize,
    numbers: Range<u64>,
    enough: &(dyn Fn() -> bool + Sync),
    play: &(dyn Fn(u64) + Sync),
) {
    let next = AtomicU64::new(numbers.start);
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= numbers.end || enough() {
                        break;
                    }
                    play(number);
                }
            });
        }
    });
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
