//! The generated bench: thousands of incidents with known causes, each with counts of its own, and all that Runback
//! would go through. What is right follows from the world's causes, never from what the code answers.

mod families;
mod story;
mod world;

use std::fmt;

use families::{KINDS, Kind};
use story::Course;
use world::World;

use crate::noise::Noise;

/// The rules were tuned on worlds of other seeds than those that are reported.
const TUNED_FROM: u64 = 1_000_000;

/// So many worlds of each kind are told in every run; the figures must not fall below these.
pub const EACH: u64 = 12;
const PRECISION: f64 = 0.89;
const RECALL: f64 = 0.98;
const UNWANTED_IN_1000: f64 = 60.0;
const FRESH_DELAY: f64 = 4.6;

/// Moving away gains at least so much, or nothing.
const GAINS: f64 = 0.02;
const NOTHING: f64 = 0.01;

/// What a world asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    /// A rollback is right.
    Should,
    /// It is wrong.
    Not,
    /// It gains too little to be missed, or costs too little to be wrong.
    Either,
}

/// How far ahead of serving `culprit` the best other revision would be from a moment on, and what `target` would be worth.
fn gain(world: &World, culprit: usize, when: f64) -> (f64, f64) {
    let others = (0..culprit).filter(|revision| world.revisions[*revision].ready);
    let best = others.map(|revision| world.ahead(revision, when)).fold(1.0, f64::min);
    (world.ahead(culprit, when), best)
}

/// Whether the newest serving revision should have gone in the end: early in the incident, and still some minutes later.
fn truth(world: &World) -> Truth {
    let newest = |when: f64| world.shares(when).iter().map(|(revision, _)| *revision).max().unwrap();
    let culprit = newest(1.0);
    let gains = |when| {
        let (bad, best) = gain(world, culprit, when);
        (bad - best, bad >= 2.0 * best)
    };
    let looks = [3.0, 12.0].map(gains);
    if looks.iter().all(|(gain, twice)| *gain >= GAINS && *twice) {
        Truth::Should
    } else if looks.iter().all(|(gain, _)| *gain < NOTHING) {
        Truth::Not
    } else {
        Truth::Either
    }
}

/// Counts over worlds.
#[derive(Debug, Clone, Default)]
struct Tally {
    worlds: usize,
    should: usize,
    hits: usize,
    unwanted: usize,
    astray: usize,
    taken_back: usize,
    delays: Vec<f64>,
}

impl Tally {
    fn count(&mut self, before: Truth, world: &World, course: &Course) -> &'static str {
        self.worlds += 1;
        self.should += usize::from(before == Truth::Should);
        self.taken_back += usize::from(course.taken_back);
        let (Some(first), Some(finished)) = (course.first, course.finished) else {
            return if before == Truth::Should { "missed" } else { "" };
        };
        let (bad, best) = gain(world, course.culprit, finished);
        let landed = world.ahead(course.target, finished);
        if bad - best < NOTHING {
            self.unwanted += 1;
            "unwanted"
        } else if landed - best > GAINS && landed > bad / 3.0 {
            self.astray += 1;
            "astray"
        } else if before == Truth::Should {
            self.hits += 1;
            self.delays.push(first);
            ""
        } else {
            ""
        }
    }

    fn add(&mut self, other: &Self) {
        self.worlds += other.worlds;
        self.should += other.should;
        self.hits += other.hits;
        self.unwanted += other.unwanted;
        self.astray += other.astray;
        self.taken_back += other.taken_back;
        self.delays.extend(&other.delays);
    }

    fn precision(&self) -> f64 {
        self.hits as f64 / (self.hits + self.unwanted + self.astray).max(1) as f64
    }

    fn recall(&self) -> f64 {
        self.hits as f64 / self.should.max(1) as f64
    }

    fn unwanted_in_1000(&self) -> f64 {
        1_000.0 * self.unwanted as f64 / self.worlds.max(1) as f64
    }

    /// The middle one of the delays, in minutes.
    fn delay(&self) -> f64 {
        let mut delays = self.delays.clone();
        delays.sort_by(f64::total_cmp);
        delays.get(delays.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { worlds, should, hits, unwanted, astray, taken_back, .. } = self;
        write!(
            f,
            "{worlds:>5} worlds {hits:>4} of {should:>4} rolled back, {unwanted:>3} unwanted, {astray} astray"
        )?;
        write!(f, ", {taken_back:>3} tried and taken back")?;
        if *hits > 0 { write!(f, ", after {:.1} min", self.delay()) } else { Ok(()) }
    }
}

/// What the bench came to.
#[derive(Default)]
pub struct Report {
    all: Tally,
    /// Deploys that fail from their first request on.
    fresh: Tally,
}

impl Report {
    /// What has become worse than it was, in words.
    pub fn worse(&self) -> Vec<String> {
        let Self { all, fresh } = self;
        let figures = [
            ("precision", all.precision() >= PRECISION, format!("{:.3}, was {PRECISION}", all.precision())),
            ("recall", all.recall() >= RECALL, format!("{:.3}, was {RECALL}", all.recall())),
            (
                "unwanted rollbacks in 1,000",
                all.unwanted_in_1000() <= UNWANTED_IN_1000,
                format!("{:.0}, were {UNWANTED_IN_1000}", all.unwanted_in_1000()),
            ),
            ("wrong targets", all.astray == 0, format!("{}, were none", all.astray)),
            (
                "minutes until a bad deploy goes",
                fresh.delay() <= FRESH_DELAY,
                format!("{:.1}, were {FRESH_DELAY}", fresh.delay()),
            ),
        ];
        figures
            .into_iter()
            .filter(|(_, good, _)| !good)
            .map(|(what, _, how)| format!("{what}: {how}"))
            .collect()
    }
}

/// Tells so many stories of each kind and prints what became of them.
pub fn report(each: u64, tuning: bool) -> Report {
    let mut report = Report::default();
    let show = std::env::args().find_map(|argument| argument.strip_prefix("--show=").map(str::to_owned));
    for (number, kind) in KINDS.iter().enumerate() {
        let mut tally = Tally::default();
        for draw in 0..each {
            let seed = if tuning { TUNED_FROM } else { 0 } + draw * 1_000 + number as u64;
            let (truth, world, course) = lived(kind, seed);
            let wrong = tally.count(truth, &world, &course);
            if !wrong.is_empty() && show.as_deref() == Some(kind.name) {
                println!("--- {} {seed} {wrong} rpm {:.0} base {:.4}", kind.name, world.rpm, world.base);
                println!("{:?}\n{:?}\n{:?}", world.alerts, world.splits, world.faults);
                course.log.iter().for_each(|line| println!("{line}"));
            }
        }
        println!("  {:<28} {tally}", kind.name.replace('_', " "));
        report.all.add(&tally);
        if kind.name.starts_with("fresh") {
            report.fresh.add(&tally);
        }
    }
    let Report { all, fresh } = &report;
    println!("\n  {:<28} {all}", "all kinds");
    println!(
        "  precision {:.3}, recall {:.3}, {:.0} unwanted in 1,000; bad from the first request: after {:.1} min",
        all.precision(),
        all.recall(),
        all.unwanted_in_1000(),
        fresh.delay()
    );
    report
}

fn lived(kind: &Kind, seed: u64) -> (Truth, World, Course) {
    let noise = Noise::seeded(seed.wrapping_mul(0x9E37_79B9) + 1);
    let world = (kind.make)(&noise);
    let truth = truth(&world);
    let (world, course) = story::tell(world, &noise);
    (truth, world, course)
}
