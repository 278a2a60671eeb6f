//! Many schedules of the real shell, each in one process and in virtual time: one seed decides every delay, fault, death
//! and foreign change. After each, everything is drained, and it is checked that nothing was done that must not be, and
//! that all that must come about did.
//!
//! `make schedules` plays thousands of them; `cargo test --profile schedules --test schedules -- --seed 17 --trace` plays
//! one and shows all that happened.

#![allow(missing_docs, reason = "a program, not an interface")]
#![allow(clippy::unwrap_used, reason = "a defect here should end the test at once")]

#[path = "../e2e/alert.rs"]
mod alert;
#[path = "../e2e/audit_log.rs"]
mod audit_log;
#[path = "../e2e/simulator/mod.rs"]
mod simulator;

mod arguments;
mod case;
mod chance;
mod crashes;
mod crew;
mod faults;
mod flows;
mod hiccups;
mod liveness;
mod plan;
mod post;
mod run;
mod safety;
mod seam;
mod stage;
mod tally;
mod trace;
mod weather;

use std::process::{Command, ExitCode};

use arguments::Arguments;
use case::Case;

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    if let Some(elsewhere) = away_from_home() {
        return elsewhere;
    }
    if let Some(name) = &arguments.play {
        return one(name, arguments.trace);
    }
    let tally = tally::all(&arguments);
    println!("{tally}");
    if tally.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One case, with everything that happened.
fn one(name: &str, traced: bool) -> ExitCode {
    let case = match Case::named(name) {
        Ok(case) => case,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    if traced {
        println!("{:#?}", case.plan);
    }
    let outcome = case.play(traced);
    println!("{}", outcome.trace);
    for why in &outcome.broken {
        println!("BROKEN: {why}");
    }
    if outcome.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs this program again where nobody is signed in to Google: whoever starts it may be, and then Runback would not ask the
/// world for its token.
fn away_from_home() -> Option<ExitCode> {
    const NOWHERE: &str = "/nonexistent";
    if std::env::home_dir().is_some_and(|home| home.as_os_str() == NOWHERE) {
        return None;
    }
    let program = std::env::current_exe().unwrap();
    let ended =
        Command::new(program).args(std::env::args_os().skip(1)).env("HOME", NOWHERE).status().unwrap();
    Some(if ended.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
