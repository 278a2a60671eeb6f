//! Runback as a black box: the real binary in a simulated world. Each test is a sentence of its policy.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod alert;

mod harness;

mod process;

mod simulator;

mod simulator_behaves;
