//! A command of the binary, run as a person would, with what `runback serve` was given.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::harness::{Launch, binary};
use crate::simulator::Simulator;

/// What a command said, and how it ended.
pub struct Said {
    pub status: i32,
    pub output: String,
    pub errors: String,
}

/// Runs `runback` with these arguments and this on its standard input.
pub async fn run(simulator: &Simulator, arguments: &[&str], input: &str) -> Said {
    let environment = Launch::beside(simulator).environment;
    let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    let input = input.to_owned();
    let run = move || {
        let mut child = Command::new(binary())
            .args(&arguments)
            .env_clear()
            .envs(&environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Whoever does not read the input has ended already, and what it said counts.
        child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
        child.wait_with_output().unwrap()
    };
    // The simulator answers on this thread, so somebody else has to wait.
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    Said {
        status: output.status.code().unwrap(),
        output: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A folder of this test's own.
pub fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("runback-e2e-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
