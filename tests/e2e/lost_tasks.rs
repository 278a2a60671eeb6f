//! Tasks are lost: the queue is purged or paused, its account may not call, a service is not found for a moment. The
//! record still says what is due, so whatever comes next about the service does it, and the heartbeat comes always.

use std::time::Duration;

use serde_json::{Value, json};

use crate::alert::{Alert, Delivery, Envelope};
use crate::harness::{Launch, Runback, assert_nothing_is_touched, split};
use crate::simulator::{Reconcile, Revision, Service, Simulator, days, minutes};
use crate::situation::{
    BAD, FULL_NAME, GOOD, SERVICE, assert_contains, busy, heartbeat, k_back, last_message, later, moves,
    on_record, under_policy,
};

/// A rollback is written and told, and the task that was to follow is gone. Nobody remembers anything.
async fn forgotten(strategy: &str) -> (Simulator, Runback, Alert) {
    let (simulator, mut runback, alert) = under_policy(busy(), json!({"strategy": strategy})).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    simulator.purge_tasks();
    runback.restart().await;
    (simulator, runback, alert)
}

/// Runs the heartbeat every half hour, and loses every task in between.
async fn half_an_hour_later(simulator: &Simulator, runback: &Runback) {
    simulator.purge_tasks();
    simulator.advance(minutes(30));
    heartbeat(runback).await.is(200, "ignore", "not_an_incident");
}

#[tokio::test]
async fn with_the_heartbeat_a_gradual_rollback_ends_although_every_task_is_lost() {
    let (simulator, mut runback, _) = forgotten("gradual").await;
    for (shares, steps) in [(split([(BAD, 50), (GOOD, 50)]), 2), (split([(GOOD, 100)]), 3)] {
        half_an_hour_later(&simulator, &runback).await;
        assert_eq!((simulator.traffic(SERVICE), moves(&simulator)), (shares, steps));
        runback.restart().await;
    }
    half_an_hour_later(&simulator, &runback).await;
    assert_eq!((&on_record(&simulator)["phase"], moves(&simulator)), (&json!("recovered"), 3));
    assert_contains(&last_message(&simulator), &["recovered", GOOD]);
    let (told, written) = (simulator.slack().len(), simulator.calls("run.put").len());
    half_an_hour_later(&simulator, &runback).await;
    assert_eq!((simulator.slack().len(), simulator.calls("run.put").len()), (told, written), "it is over");
    runback.finish().await;
}

#[tokio::test]
async fn a_step_whose_task_may_not_call_is_made_up_for_by_whatever_comes_next() {
    type Next = fn(&Alert) -> Delivery;
    let watch = |_: &Alert| {
        let body = json!({"service": FULL_NAME}).to_string();
        Delivery::new("/watch", &[("content-type", "application/json")], body)
    };
    let nexts: [(&str, Next); 4] = [
        ("the same alert again", |alert| alert.again().wrapped(Envelope::Eventarc)),
        ("another incident", |alert| alert.again().incident("0.other").wrapped(Envelope::Eventarc)),
        ("its incident is closed", |alert| alert.again().closed().wrapped(Envelope::Eventarc)),
        ("a pipeline deploys", watch),
    ];
    for (about, next) in nexts {
        let (simulator, runback, alert) = under_policy(busy(), json!({"strategy": "gradual"})).await;
        runback.deliver(&alert).await.is(200, "rollback", "confirmed");
        // Cloud Tasks calls, and Cloud Run's own check refuses it before Runback hears of it.
        simulator.advance(minutes(6));
        let answer = runback.send(&next(&alert)).await;
        assert_eq!(answer.status, 200, "{about}: {answer:#?}");
        assert_eq!(
            (simulator.traffic(SERVICE), moves(&simulator)),
            (split([(BAD, 50), (GOOD, 50)]), 2),
            "{about}"
        );
        assert_eq!(simulator.slack().len(), 1, "{about}: people know the plan");
        runback.finish().await;
    }
}

#[tokio::test]
async fn what_is_not_overdue_is_left_to_its_task() {
    let (simulator, runback, alert) = under_policy(busy(), json!({"strategy": "gradual"})).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    simulator.advance(minutes(5));
    heartbeat(&runback).await.is(200, "ignore", "not_an_incident");
    runback.deliver(&alert.again()).await.is(200, "ignore", "already_handled");
    assert_eq!((moves(&simulator), simulator.slack().len()), (1, 1));
    let step_and_heartbeat = later(&simulator, &runback, Duration::ZERO).await;
    assert_eq!((step_and_heartbeat, moves(&simulator)), (vec![200, 200], 2));
    runback.finish().await;
}

#[tokio::test]
async fn a_lost_check_ends_with_a_verdict_after_all() {
    for (errors, verdict) in [(0.0, "recovered"), (0.4, "not_helped")] {
        let (simulator, runback, alert) = forgotten("immediate").await;
        simulator.change(SERVICE, |service| service.set_errors(GOOD, errors));
        simulator.advance(minutes(8));
        runback.deliver(&alert.again().incident("0.other")).await;
        assert_eq!((&on_record(&simulator)["phase"], moves(&simulator)), (&json!(verdict), 1));
        assert_contains(&last_message(&simulator), &[verdict]);
        runback.finish().await;
    }
}

#[tokio::test]
async fn a_switch_that_arrives_late_is_told_although_nobody_watches_any_more() {
    let (simulator, runback, _) =
        under_policy(Service { reconcile: Reconcile::Never, ..busy() }, json!({})).await;
    let alert = Alert::on(&simulator, SERVICE);
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    simulator.purge_tasks();
    simulator.change(SERVICE, |service| service.catch_up());
    simulator.advance(minutes(3));
    heartbeat(&runback).await.is(200, "ignore", "not_an_incident");
    assert_contains(&last_message(&simulator), &["rolled back", BAD, GOOD]);
    assert!(simulator.tasks().iter().any(|task| task.id().ends_with("-check-1")));
    runback.finish().await;
}

#[tokio::test]
async fn without_a_queue_the_heartbeat_judges() {
    for (rpm, verdict) in [(600.0, "recovered"), (0.2, "unjudged")] {
        let simulator = Simulator::with([busy()]).await;
        let runback = Launch::beside(&simulator).without("RUNBACK_TASKS_QUEUE").start().await;
        runback.deliver(&Alert::on(&simulator, SERVICE)).await.is(200, "rollback", "confirmed");
        assert_eq!(on_record(&simulator)["phase"], "told");
        simulator.change(SERVICE, |service| service.service.rpm = rpm);
        simulator.advance(minutes(30));
        heartbeat(&runback).await.is(200, "ignore", "not_an_incident");
        assert_eq!((&on_record(&simulator)["phase"], moves(&simulator)), (&json!(verdict), 1));
        assert_contains(&last_message(&simulator), &[verdict]);
        runback.finish().await;
    }
}

#[tokio::test]
async fn a_heartbeat_touches_nothing_where_nothing_is_overdue() {
    let old: Value = json!({"v": 1, "quarantine": [], "rollbacks": [{
        "id": "rb-1", "incident": "0.old", "at": "2026-01-02T03:04:05Z", "culprit": BAD, "target": GOOD,
        "from": [{"revision": BAD, "percent": 100}], "step": 100, "phase": "told", "reason": "confirmed"}]});
    for service in [k_back(0.4), k_back(0.4).record(&old.to_string()), k_back(0.4).record("not ours")] {
        let (simulator, runback, _) = under_policy(service, json!({})).await;
        heartbeat(&runback).await.is(200, "ignore", "not_an_incident");
        assert_nothing_is_touched(&simulator);
        assert!(simulator.slack().is_empty());
        runback.finish().await;
    }
}

#[tokio::test]
async fn a_heartbeat_looks_at_every_listed_service_and_is_answered_in_time() {
    let named = |number: u32| {
        let (bad, good) = (format!("svc{number}-00002-bad"), format!("svc{number}-00001-old"));
        let bad = Revision::named(&bad).age(minutes(20)).errors(0.4).served(minutes(20)..Duration::ZERO);
        let good = Revision::named(&good).age(days(3)).served(days(3)..minutes(20));
        Service::named(&format!("svc{number}")).revision(bad).revision(good)
    };
    let simulator = Simulator::with((0..20).map(named)).await;
    let runback = Launch::beside(&simulator).start().await;
    for number in [3, 17] {
        let name = format!("svc{number}");
        let alert = Alert::on(&simulator, &name).incident(&format!("0.{name}"));
        runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    }
    simulator.purge_tasks();
    simulator.advance(minutes(30));
    simulator.at("run.get").always().takes(Duration::from_millis(200));
    let started = std::time::Instant::now();
    heartbeat(&runback).await.is(200, "ignore", "not_an_incident");
    assert!(started.elapsed() < Duration::from_secs(8));
    for number in [3, 17] {
        let record = simulator.record(&format!("svc{number}")).unwrap();
        assert_eq!(record["rollbacks"][0]["phase"], "recovered");
    }
    let read =
        |number| simulator.calls("run.get").iter().any(|call| call.target.contains(&format!("svc{number}")));
    assert!((0..20).all(read));
    runback.finish().await;
}
