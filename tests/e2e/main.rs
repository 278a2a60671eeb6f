//! Runback as a black box: the real binary in a simulated world. Each test is a sentence of its policy.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod situation;

mod rights;
mod rollback;

mod target;
mod trial;

mod preflight;

mod afterwards;

mod gradual;

mod arrival;

mod restore;

mod interleavings;

mod once;

mod crashes;

mod conflicts;

mod failures;

mod silence;

mod slack;

mod refusals;

mod restraint;

mod grounds;

mod intake;

mod callers;

mod later;

mod lost_tasks;

mod watch;

mod watch_calls;

mod bot;

mod pins;

mod recorded;

mod send_test;

mod webhook;

mod process;

mod secrets;

mod release;

mod infra;

mod permissions;

mod judge;

mod command;

mod status;

mod by_hand;

mod hold;

mod alert;

mod audit_log;

mod deploys;

mod harness;

mod simulator;

mod simulator_behaves;
