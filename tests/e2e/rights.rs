//! Rights that somebody takes away between two incidents: the heartbeat sees it, and people hear of it once a day.

use std::time::Duration;

use crate::harness::Launch;
use crate::simulator::{Simulator, hours, minutes};
use crate::situation::{
    SERVICE, a_failing_deploy, assert_contains, assert_untouched, heartbeat, k_back, last_message, later,
};

#[tokio::test]
async fn a_lost_right_is_told_once_a_day_with_the_grant_and_nothing_is_touched() {
    let (simulator, mut runback, _) = a_failing_deploy().await;
    heartbeat(&runback).await;
    later(&simulator, &runback, Duration::ZERO).await;
    assert!(simulator.slack().is_empty(), "every right is there");
    simulator.world().lost.insert("run.services.update".into());
    for told in [1, 1, 1] {
        simulator.advance(minutes(30));
        heartbeat(&runback).await.is(200, "ignore", "not_an_incident");
        assert_eq!(simulator.slack().len(), told);
        // A new process has no memory of its own.
        runback.restart().await;
    }
    let grant =
        "gcloud run services add-iam-policy-binding k-back --region asia-northeast1 --project demo-project";
    assert_contains(&last_message(&simulator), &["cannot roll back", "run.services.update", grant]);
    later(&simulator, &runback, hours(24)).await;
    assert_eq!(simulator.slack().len(), 2, "a day later it is still missing");
    simulator.world().lost.clear();
    later(&simulator, &runback, hours(24)).await;
    assert_eq!(simulator.slack().len(), 2, "it has come back");
    assert_untouched(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn without_a_queue_a_lost_right_is_an_error_in_the_log_and_no_message_each_half_hour() {
    let simulator = Simulator::with([k_back(0.0)]).await;
    let runback = Launch::beside(&simulator).without("RUNBACK_TASKS_QUEUE").start().await;
    simulator.world().lost.insert("run.services.get".into());
    heartbeat(&runback).await;
    let log = runback.log();
    let error = log.iter().find(|entry| entry["severity"] == "ERROR").expect("an error");
    assert_contains(error["message"].as_str().unwrap(), &["run.services.get", SERVICE]);
    assert!(simulator.slack().is_empty());
    runback.finish().await;
}

#[tokio::test]
async fn the_heartbeat_keeps_the_queue_in_use() {
    let (simulator, runback, _) = a_failing_deploy().await;
    for _ in 0..3 {
        heartbeat(&runback).await;
    }
    assert_eq!(simulator.calls("tasks.create").len(), 1, "once a day");
    assert_eq!(later(&simulator, &runback, Duration::ZERO).await, [200]);
    assert_untouched(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_queue_that_takes_no_tasks_is_an_error_in_the_log_until_it_does() {
    let (simulator, runback, _) = a_failing_deploy().await;
    simulator.at("tasks.create").always().fails(404);
    heartbeat(&runback).await.is(200, "ignore", "not_an_incident");
    let log = runback.log();
    let error = log.iter().find(|entry| entry["severity"] == "ERROR").expect("an error");
    assert_contains(error["message"].as_str().unwrap(), &["the queue takes no tasks"]);
    simulator.repair();
    heartbeat(&runback).await;
    assert_eq!(later(&simulator, &runback, Duration::ZERO).await, [200]);
    assert_untouched(&simulator);
    runback.finish().await;
}
