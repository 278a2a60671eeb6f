//! The labelled decision bench: incidents as people would tell them, each with the right answer and why.
//!
//! `make decisions` prints it; `make test` runs it. Every situation is judged as it is told, through the snapshot
//! format of `runback judge`, and again with counts that chance has drawn around it. One answer that is not the right
//! one fails the bench. The labels come from the situations, never from what the code answers.

#![expect(clippy::unwrap_used, reason = "a situation that cannot be read has to fail loudly")]
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of requests"
)]

mod noise;
mod plot;
mod situation;
mod worlds;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use noise::Noise;
use runback::domain::decision::{Decision, Outcome, Plan};
use runback::snapshot::Snapshot;
use situation::{Expect, Family, Situation};

/// How often chance draws the counts of a situation.
const DRAWS: u64 = 20;

/// In so many of a situation's draws chance may have made another situation of it: three failures of ten where one was
/// told.
const CHANCE: usize = 2;

/// So many of all draws are right all the same.
const RIGHT_IN_1000: usize = 998;

/// Fewer situations than this are no bench.
const LEAST: usize = 60;

/// What explains the statistics, and the picture in it; its figures come from the code that decides.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/statistics.md");
const PLOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/verdicts.svg");

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--plot") {
        std::fs::write(PLOT, plot::svg()).unwrap();
        return ExitCode::SUCCESS;
    }
    if let Some(each) = std::env::args().find_map(|argument| argument.strip_prefix("--worlds=")?.parse().ok())
    {
        worlds::report(each, std::env::args().any(|argument| argument == "--tune"));
        return ExitCode::SUCCESS;
    }
    // While a rule is being written: each situation once, as it is told.
    let draws = if std::env::args().any(|argument| argument == "--told") { 0 } else { DRAWS };
    let families = families();
    let mut told = Score::default();
    let mut drawn = Score::default();
    let mut wrong = Vec::new();
    let mut unlucky = Vec::new();
    for Family { family, situation } in &families {
        println!("{family}");
        for situation in situation {
            let decision = judged(situation, &Noise::none());
            let right = told.count(&situation.expect, &decision);
            println!("  {} {:<70} {}", mark(right), situation.name, summary(&decision));
            if !right {
                wrong.push(complaint(situation, &decision, "as it is told"));
            }
            let mut missed = Vec::new();
            for seed in 1..=draws {
                let decision = judged(situation, &Noise::seeded(seed));
                if !drawn.count(&situation.expect, &decision) {
                    missed.push((seed, decision));
                }
            }
            if let Some((seed, decision)) = missed.first() {
                let how = format!("in {} of {DRAWS} draws, first in draw {seed}", missed.len());
                let complaint = complaint(situation, decision, &how);
                if missed.len() > CHANCE { wrong.push(complaint) } else { unlucky.push(complaint) }
            }
        }
    }
    println!("\n{:<28} {told}", "as told");
    println!("{:<28} {drawn}", format!("{DRAWS} draws of each"));
    if draws == 0 {
        wrong.iter().for_each(|complaint| println!("\n{complaint}"));
        return ExitCode::SUCCESS;
    }
    for complaint in &unlucky {
        println!("\n{complaint}");
    }
    if drawn.right * 1_000 < drawn.situations * RIGHT_IN_1000 {
        wrong.push(format!("Fewer than {RIGHT_IN_1000} in 1,000 draws are right."));
    }
    println!("\nGenerated incidents with known causes");
    let generated = worlds::report(worlds::EACH, false);
    for complaint in &wrong {
        println!("\n{complaint}");
    }
    for worse in generated.worse() {
        wrong.push(format!("The generated incidents fare worse than they did; {worse}"));
        println!("\n{}", wrong[wrong.len() - 1]);
    }
    if told.situations < LEAST {
        println!("\nOnly {} situations: {LEAST} are wanted.", told.situations);
        return ExitCode::FAILURE;
    }
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    if read(PLOT) != plot::svg() {
        println!("\nThe plot is not what the code decides: make plot");
        return ExitCode::FAILURE;
    }
    if !read(PAGE).contains(&plot::table()) {
        println!("\nThe table in docs/statistics.md is not what the code decides:\n{}", plot::table());
        return ExitCode::FAILURE;
    }
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn families() -> Vec<Family> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decisions/situations");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |file: &std::path::PathBuf| {
        let text = std::fs::read_to_string(file).unwrap();
        toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    files.iter().map(read).collect()
}

/// The decision; as it is told, by way of the file that `runback judge` would read.
fn judged(situation: &Situation, noise: &Noise) -> Decision {
    let snapshot = situation.snapshot(noise);
    if noise.is_drawn() {
        return snapshot.decide(&situation.policy()).unwrap();
    }
    let read = Snapshot::parse(snapshot.to_json().as_bytes()).unwrap();
    assert!(read == snapshot, "{}: the file says something else", situation.name);
    read.decide(&situation.policy()).unwrap()
}

fn mark(right: bool) -> char {
    if right { '✓' } else { '✗' }
}

fn summary(decision: &Decision) -> String {
    let target = decision.plan.as_ref().filter(|_| decision.outcome == Outcome::Rollback);
    let how = |plan: &Plan| if plan.trial { " on trial" } else { "" };
    let target = target.map_or_else(String::new, |plan| format!(" to {}{}", plan.target.name, how(plan)));
    format!("{} {}{target}", decision.outcome.word(), decision.reason)
}

fn complaint(situation: &Situation, decision: &Decision, how: &str) -> String {
    let Situation { name, why, expect, .. } = situation;
    let target = expect.target.as_ref().map_or_else(String::new, |target| format!(" to {target}"));
    format!("WRONG {how}: {name}\n  wanted {}{target}, because {why}\n  got    {decision}", expect.decision)
}

/// How many answers were right, and how the rollbacks among them fared.
#[derive(Default)]
struct Score {
    situations: usize,
    right: usize,
    /// Rollbacks that were wanted.
    wanted: usize,
    /// Rollbacks that were wanted and made, to the right revision.
    hits: usize,
    /// Rollbacks that nobody wanted.
    unwanted: usize,
    /// Rollbacks that were wanted, to a wrong revision or split.
    astray: usize,
}

impl Score {
    fn count(&mut self, expect: &Expect, decision: &Decision) -> bool {
        self.situations += 1;
        let wanted = expect.decision == "rollback";
        let made = decision.outcome == Outcome::Rollback;
        let on_target = expect.goes_to(decision);
        self.wanted += usize::from(wanted);
        self.hits += usize::from(wanted && made && on_target);
        self.unwanted += usize::from(made && !wanted);
        self.astray += usize::from(made && wanted && !on_target);
        let reason = expect.reason.as_ref().is_none_or(|reason| reason.has(decision.reason.code()));
        let right = decision.outcome.word() == expect.decision && reason && (!wanted || on_target);
        self.right += usize::from(right);
        right
    }
}

impl Expect {
    fn goes_to(&self, decision: &Decision) -> bool {
        let Some(plan) = &decision.plan else { return false };
        let to: BTreeMap<_, _> =
            plan.to.iter().map(|share| (share.revision.clone(), share.percent)).collect();
        self.trial == plan.trial
            && self.target.as_ref().is_none_or(|target| *target == plan.target.name)
            && self.to.as_ref().is_none_or(|wanted| *wanted == to)
    }
}

impl std::fmt::Display for Score {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { situations, right, wanted, hits, unwanted, astray } = self;
        let made = hits + unwanted + astray;
        let share = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
        write!(
            f,
            "{right} of {situations} right; precision {hits}/{made} ({:.1} %), recall {hits}/{wanted} ({:.1} %), \
             {unwanted} false rollbacks, {astray} wrong targets",
            share(*hits, made),
            share(*hits, *wanted)
        )
    }
}
