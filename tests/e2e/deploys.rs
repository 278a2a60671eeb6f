//! Deploys that are watched.

use serde_json::json;

use crate::alert::Delivery;
use crate::audit_log::{Api, audit_event};
use crate::harness::{Runback, guarding};
use crate::simulator::{NOW, Revision, Service, Simulator, days, minutes};
use crate::situation::{BAD, GOOD, SERVICE, assert_rolled_back, moves};

/// k-back, healthy for days and on LATEST.
pub fn healthy() -> Service {
    Service::named(SERVICE)
        .revision(Revision::named(GOOD).age(days(3)).errors(0.001).served(days(3)..NOW))
        .traffic(&[("LATEST", 100)])
}

/// A new revision with this share of errors, which LATEST leads to.
pub fn deploy(simulator: &Simulator, errors: f64) {
    simulator.change(SERVICE, |service| service.deploy(Revision::named(BAD).errors(errors)));
}

/// What `runback watch` and any other pipeline send.
pub fn called(service: &str) -> Delivery {
    Delivery::new("/watch", &[("content-type", "application/json")], json!({"service": service}).to_string())
}

/// A minute passes, and what is due then is delivered.
pub async fn a_minute(simulator: &Simulator, runback: &Runback) {
    simulator.advance(minutes(1));
    for answer in runback.deliver_due_tasks().await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// k-back has been deployed with this share of errors, and Runback has heard of it.
pub async fn watched(errors: f64) -> (Simulator, Runback) {
    let (simulator, runback) = guarding([healthy()]).await;
    deploy(&simulator, errors);
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "watching");
    (simulator, runback)
}

/// Minutes pass until the deploy is rolled back: six at most, three to see and three of delay in Monitoring.
pub async fn until_rolled_back(simulator: &Simulator, runback: &Runback) {
    for _ in 0..6 {
        a_minute(simulator, runback).await;
        if moves(simulator) > 0 {
            break;
        }
    }
    assert_rolled_back(simulator);
}

/// A watch has come and gone.
#[track_caller]
pub fn assert_left_alone(simulator: &Simulator) {
    assert!(simulator.writes().is_empty(), "{:#?}", simulator.writes());
    assert_eq!(waiting(simulator), Vec::<String>::new());
}

/// The ids of the tasks that wait.
pub fn waiting(simulator: &Simulator) -> Vec<String> {
    simulator.tasks().iter().map(|task| task.id().to_owned()).collect()
}
