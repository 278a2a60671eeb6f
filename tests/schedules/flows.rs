//! The flows that people count on, each as a schedule in which nothing goes wrong, with how it ends.

use std::time::Duration;

use serde_json::json;

use super::plan::{BAD, Deed, Door, GOOD, Incident, Late, Letter, Plan, Setup, Signal, What};
use crate::simulator::minutes;

/// A flow, and its end.
#[derive(Clone)]
pub struct Flow {
    pub plan: Plan,
    /// The split in the end.
    pub serves: &'static [(&'static str, u64)],
    /// The phase of the rollback on record in the end.
    pub phase: Option<&'static str>,
    /// How often the channel shows something new.
    pub told: usize,
}

/// Every flow. The first three are those whose crash points are also tried in pairs.
pub fn flows() -> Vec<Flow> {
    let rolled_back: &[(&str, u64)] = &[(GOOD, 100)];
    let flow = |plan: Plan, serves: &'static [(&'static str, u64)], phase: &'static str, told: usize| {
        let phase = (!phase.is_empty()).then_some(phase);
        Flow { plan, serves, phase, told }
    };
    let with = |name: &str, change: fn(&mut Plan)| {
        let mut plan = Plan::quiet(name);
        change(&mut plan);
        plan
    };
    vec![
        flow(with("immediate", |_| {}), rolled_back, "recovered", 2),
        flow(with("gradual", gradual), rolled_back, "recovered", 3),
        flow(with("restore", restore), &[(BAD, 100)], "restored", 2),
        flow(with("trial", trial), rolled_back, "recovered", 3),
        flow(with("bot", |plan| plan.setup.door = Door::Bot), rolled_back, "recovered", 2),
        flow(with("canary", |plan| plan.setup.share = 20), rolled_back, "recovered", 2),
        flow(with("warning", warning), rolled_back, "recovered", 3),
        flow(with("latency", latency), rolled_back, "recovered", 2),
        flow(with("without a queue", |plan| plan.setup.queue = false), rolled_back, "recovered", 2),
        flow(with("probed", probed), rolled_back, "recovered", 2),
        flow(with("watched", watched), rolled_back, "recovered", 2),
        flow(with("hastened", hastened), rolled_back, "recovered", 3),
        flow(with("closed", closed), rolled_back, "recovered", 2),
        flow(with("halted", halted), &[(BAD, 90), (GOOD, 10)], "halted", 2),
        flow(with("not helped", not_helped), rolled_back, "not_helped", 2),
        flow(with("unjudged", unjudged), rolled_back, "unjudged", 2),
        flow(with("overruled", overruled), &[(BAD, 100)], "overruled", 2),
        flow(with("not arrived", not_arrived), &[(BAD, 90), (GOOD, 10)], "not_arrived", 2),
        flow(with("observed", observed), &[(BAD, 100)], "", 1),
    ]
}

fn gradual(plan: &mut Plan) {
    plan.setup.policy = json!({"strategy": "gradual"});
}

/// It served well for a while, and then began to fail.
fn trial(plan: &mut Plan) {
    plan.setup.errors = 0.001;
    plan.deeds.push((Duration::ZERO, Deed::Errors(BAD, 0.4)));
    plan.letters = vec![Letter::new(minutes(8), What::Incident(Incident::open("0.first")))];
}

/// The target fails like the culprit as soon as it serves.
fn restore(plan: &mut Plan) {
    plan.setup.policy = json!({"not_helped": "restore"});
    not_helped(plan);
}

fn not_helped(plan: &mut Plan) {
    plan.deeds.push((Duration::from_secs(5), Deed::Errors(GOOD, 0.5)));
}

/// Hardly anybody comes any more.
fn unjudged(plan: &mut Plan) {
    plan.deeds.push((Duration::from_secs(5), Deed::Requests(0.2)));
}

/// Between two steps somebody gives everything back to the culprit.
fn overruled(plan: &mut Plan) {
    gradual(plan);
    plan.deeds.push((minutes(2), Deed::Move(vec![(BAD, 100)])));
}

/// The status never shows the second step.
fn not_arrived(plan: &mut Plan) {
    gradual(plan);
    plan.deeds.push((minutes(2), Deed::Reconcile(Late::Never)));
}

fn halted(plan: &mut Plan) {
    gradual(plan);
    plan.deeds.push((Duration::from_secs(5), Deed::Errors(GOOD, 0.9)));
}

fn warning(plan: &mut Plan) {
    plan.setup.policy = json!({"warning": 0.02});
    plan.setup.errors = 0.03;
}

fn latency(plan: &mut Plan) {
    plan.setup = Setup { errors: 0.001, slow: 0.3, ..plan.setup.clone() };
    let slow = Incident { kind: Signal::Latency, ..Incident::open("0.first") };
    plan.letters = vec![Letter::new(Duration::ZERO, What::Incident(slow))];
}

fn probed(plan: &mut Plan) {
    plan.setup.policy = json!({"health_path": "/health"});
}

fn watched(plan: &mut Plan) {
    plan.letters = vec![Letter::new(Duration::ZERO, What::Deployed)];
}

/// Between two steps the culprit turns critical, and another alert says so.
fn hastened(plan: &mut Plan) {
    plan.setup.policy = json!({"strategy": "gradual", "step_interval": "20m"});
    plan.deeds.push((minutes(1), Deed::Errors(BAD, 1.0)));
    plan.letters.push(Letter::new(minutes(15), What::Incident(Incident::open("0.second"))));
}

/// Monitoring closes the incident before the check comes.
fn closed(plan: &mut Plan) {
    plan.letters.push(Letter::new(minutes(4), What::Incident(Incident::closed("0.first"))));
}

fn observed(plan: &mut Plan) {
    plan.setup.policy = json!({"mode": "observe"});
}
