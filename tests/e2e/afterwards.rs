//! After the switch: a task judges the target on what it has answered since, and people are told once.

use std::time::Duration;

use serde_json::json;

use crate::alert::Alert;
use crate::harness::{Launch, Runback, split};
use crate::simulator::{Served, Service, Simulator, Task, hours, minutes, target};
use crate::situation::{
    BAD, GOOD, SERVICE, a_failing_deploy, a_second_rollback, a_world_with, assert_contains,
    assert_rolled_back, delivered, deployed, k_back, later, moves, proven,
};

/// A rollback, and its check five minutes later.
async fn rolled_back() -> (Simulator, Runback, Alert, Task) {
    let (simulator, runback, alert) = a_failing_deploy().await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    let task = simulator.tasks().remove(0);
    (simulator, runback, alert, task)
}

fn phase(simulator: &Simulator) -> String {
    simulator.record(SERVICE).unwrap()["rollbacks"][0]["phase"].as_str().unwrap().to_owned()
}

fn last_message(simulator: &Simulator) -> String {
    simulator.slack().last().unwrap().text.clone()
}

#[tokio::test]
async fn a_healthy_target_is_reported_as_recovered() {
    let (simulator, runback, _, _) = rolled_back().await;
    assert!(simulator.due_tasks().is_empty());
    simulator.advance(minutes(6));
    let answers = runback.deliver_due_tasks().await;
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200]);
    assert_eq!(simulator.slack().len(), 2);
    assert_contains(&last_message(&simulator), &["recovered", GOOD, "runback release"]);
    assert_eq!(phase(&simulator), "recovered");
    assert!(simulator.tasks().is_empty());
    assert_rolled_back(&simulator);
    runback.finish().await;
}

/// A domain leads to the culprit's tag: of 60 requests a minute this many still arrive there after the switch.
async fn reached_by_a_tag(rpm: f64) -> (Simulator, Runback) {
    let hour = 3_600.0;
    let stays = Served { from: 0.0, to: hour, rpm: Some(rpm), errors: Some(0.4), slow: None };
    let mut service = Service::named(SERVICE)
        .revision(deployed(0.4).served(stays))
        .revision(proven())
        .traffic_targets(vec![target(BAD, 100), json!({"revisionName": BAD, "tag": "live"})]);
    service.rpm = 60.0 - rpm;
    let (simulator, runback, alert) = a_world_with(service).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
    assert_contains(&last_message(&simulator), &["Requests to a tag ignore percentages"]);
    (simulator, runback)
}

#[tokio::test]
async fn nothing_has_recovered_while_requests_reach_the_culprit_by_a_tag() {
    let (simulator, runback) = reached_by_a_tag(20.0).await;
    assert_eq!(later(&simulator, &runback, minutes(6)).await, [200]);
    let said = ["still gets requests", "by the tag `live`", "40% bad (40 of 100", "--update-tags live="];
    assert_contains(&last_message(&simulator), &said);
    assert_eq!((phase(&simulator).as_str(), simulator.slack().len()), ("told", 2));
    // Each look may come late: there are five all the same.
    for _ in 0..4 {
        assert_eq!(later(&simulator, &runback, minutes(4)).await, [200]);
    }
    assert_contains(
        &last_message(&simulator),
        &["by the tag `live`", "does not look again", "reason: unjudged"],
    );
    assert_eq!((phase(&simulator).as_str(), simulator.slack().len()), ("unjudged", 3));
    runback.finish().await;
}

#[tokio::test]
async fn when_the_tag_has_moved_as_well_the_service_has_recovered() {
    let (simulator, runback) = reached_by_a_tag(20.0).await;
    later(&simulator, &runback, minutes(6)).await;
    simulator.change(SERVICE, |running| {
        let culprit = running.service.revisions.iter_mut().find(|revision| revision.name == BAD).unwrap();
        culprit.served.last_mut().unwrap().to = minutes(6).as_secs_f64();
    });
    later(&simulator, &runback, minutes(4)).await;
    later(&simulator, &runback, minutes(4)).await;
    assert_contains(&last_message(&simulator), &["recovered", GOOD]);
    assert_eq!(phase(&simulator), "recovered");
    runback.finish().await;
}

#[tokio::test]
async fn whoever_tries_the_culprit_by_its_tag_does_not_keep_it_from_recovering() {
    let (simulator, runback) = reached_by_a_tag(3.0).await;
    later(&simulator, &runback, minutes(6)).await;
    assert_eq!(phase(&simulator), "recovered");
    runback.finish().await;
}

#[tokio::test]
async fn a_task_that_comes_twice_reports_once_even_in_a_new_process() {
    let (simulator, mut runback, _, task) = rolled_back().await;
    simulator.advance(minutes(6));
    for _ in 0..2 {
        assert_eq!(runback.send(&delivered(&task)).await.status, 200);
    }
    runback.restart().await;
    assert_eq!(runback.send(&delivered(&task)).await.status, 200);
    assert_eq!(simulator.slack().len(), 2);
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn copies_of_a_task_at_once_report_once() {
    let (simulator, runback, _, task) = rolled_back().await;
    simulator.advance(minutes(6));
    let answers = runback.send_at_once(&delivered(&task), 8).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:#?}");
    assert_eq!(simulator.slack().len(), 2);
    assert_eq!(phase(&simulator), "recovered");
    runback.finish().await;
}

#[tokio::test]
async fn a_target_that_fails_as_well_is_reported_and_the_traffic_stays() {
    let (simulator, runback, _, _) = rolled_back().await;
    simulator.change(SERVICE, |service| service.set_errors(GOOD, 0.4));
    simulator.advance(minutes(6));
    runback.deliver_due_tasks().await;
    assert_contains(&last_message(&simulator), &["not_helped", "did not help", GOOD, "runback release"]);
    assert!(!last_message(&simulator).contains("recovered"));
    assert_eq!(phase(&simulator), "not_helped");
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_task_that_comes_early_comes_again() {
    let (simulator, runback, _, task) = rolled_back().await;
    assert_eq!(runback.send(&delivered(&task)).await.status, 503);
    assert_eq!((simulator.slack().len(), moves(&simulator)), (1, 1));
    runback.finish().await;
}

#[tokio::test]
async fn a_target_with_too_few_requests_is_looked_at_again_and_then_given_up() {
    let mut service = k_back(0.4);
    service.rpm = 0.5;
    // The days before were busier; only the time since the switch is quiet.
    for revision in &mut service.revisions {
        revision.served.iter_mut().for_each(|period| period.rpm = Some(60.0));
    }
    let (simulator, runback, alert) = a_world_with(service).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    simulator.advance(minutes(5));
    for look in 2..=5 {
        runback.deliver_due_tasks().await;
        let tasks = simulator.tasks();
        let [next] = tasks.as_slice() else { panic!("look {look}: {tasks:#?}") };
        assert!((175.0..=185.0).contains(&(next.due - next.created)), "{next:#?}");
        assert_eq!(simulator.slack().len(), 1);
        simulator.advance(minutes(3) + Duration::from_secs(1));
    }
    runback.deliver_due_tasks().await;
    assert!(simulator.tasks().is_empty());
    assert_eq!(simulator.slack().len(), 2);
    assert_contains(&last_message(&simulator), &["unjudged", "% bad (", "runback release"]);
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_task_of_a_rollback_that_another_one_overtook_does_nothing() {
    let (simulator, runback, _, old) = rolled_back().await;
    // Time passes for the world only; names of rollbacks hold the process's own seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    simulator.advance(hours(1));
    a_second_rollback(&simulator, &runback).await;
    simulator.advance(minutes(6));
    let (told, written) = (simulator.slack().len(), simulator.writes().len());
    assert_eq!(runback.send(&delivered(&old)).await.status, 200);
    assert_eq!((simulator.slack().len(), simulator.writes().len()), (told, written));
    runback.finish().await;
}

#[tokio::test]
async fn a_task_does_nothing_once_somebody_has_moved_the_traffic() {
    let (simulator, runback, _, _) = rolled_back().await;
    simulator.change(SERVICE, |service| service.move_traffic(&[(BAD, 100)]));
    simulator.advance(minutes(6));
    runback.deliver_due_tasks().await;
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 100)]));
    assert_eq!((simulator.slack().len(), moves(&simulator)), (1, 1));
    assert!(simulator.tasks().is_empty());
    runback.finish().await;
}

#[tokio::test]
async fn a_report_that_slack_or_monitoring_refuses_comes_again_with_the_task() {
    for trouble in ["slack.webhook", "monitoring.list"] {
        let (simulator, runback, _, _) = rolled_back().await;
        simulator.advance(minutes(6));
        simulator.at(trouble).always().fails(500);
        let answers = runback.deliver_due_tasks().await;
        assert_eq!(answers[0].status, 503, "{trouble}");
        assert_eq!(simulator.slack().len(), 1, "{trouble}");
        simulator.repair();
        runback.deliver_due_tasks().await;
        assert_eq!(simulator.slack().len(), 2, "{trouble}");
        assert_eq!(phase(&simulator), "recovered", "{trouble}");
        runback.finish().await;
    }
}

#[tokio::test]
async fn without_a_queue_the_record_itself_says_that_people_know() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let runback = Launch::beside(&simulator).without("RUNBACK_TASKS_QUEUE").start().await;
    runback.deliver(&Alert::on(&simulator, SERVICE)).await.is(200, "rollback", "confirmed");
    assert_eq!(phase(&simulator), "told");
    assert_rolled_back(&simulator);
    assert!(simulator.calls("tasks.*").is_empty());
    let said = json!(runback.log()).to_string();
    assert_contains(&said, &["RUNBACK_TASKS_QUEUE", "later checks are off"]);
    runback.finish().await;
}

#[tokio::test]
async fn what_is_no_task_of_ours_is_acknowledged_and_left_alone() {
    let (simulator, runback, _) = a_failing_deploy().await;
    for body in [
        "",
        "{}",
        "[1",
        r#"{"project":"p","region":"r","service":"s","rollback":"x","look":1,"slowness":false,"told":true}"#,
    ] {
        let json = [("content-type", "application/json")];
        let delivery = crate::alert::Delivery::new("/tasks", &json, body).by(crate::simulator::ACCOUNT);
        assert_eq!(runback.send(&delivery).await.status, 200, "{body}");
    }
    assert!(simulator.calls("run.*").is_empty());
    runback.finish().await;
}
