//! After a rollback the service is pinned: people hear once of each deploy that gets no traffic, until it is released.

use crate::alert::Alert;
use crate::audit_log::{Api, audit_event};
use crate::harness::{Launch, Runback};
use crate::simulator::{Revision, Simulator, days, hours, minutes};
use crate::situation::{BAD, GOOD, SERVICE, assert_contains, assert_rolled_back, k_back, moves};
use serde_json::json;
use std::time::Duration;

const FIX: &str = "k-back-00043-fix";

/// Rolled back, and the target has been judged.
async fn recovered() -> (Simulator, Runback) {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let runback = Launch::beside(&simulator).start().await;
    rolled_back(&simulator, &runback).await;
    (simulator, runback)
}

async fn rolled_back(simulator: &Simulator, runback: &Runback) {
    runback.deliver(&Alert::on(simulator, SERVICE)).await.is(200, "rollback", "confirmed");
    simulator.advance(minutes(6));
    runback.deliver_due_tasks().await;
}

fn deploy(simulator: &Simulator, revision: Revision) {
    simulator.change(SERVICE, |service| service.deploy(revision));
}

async fn a_day(simulator: &Simulator, runback: &Runback) {
    simulator.advance(days(1) + minutes(1));
    for answer in runback.deliver_due_tasks().await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// Messages about deploys that wait.
fn pinned(simulator: &Simulator) -> Vec<String> {
    let messages = simulator.slack().into_iter().map(|message| message.text);
    messages.filter(|text| text.contains("reason: pinned")).collect()
}

fn daily(simulator: &Simulator) -> usize {
    simulator.daily_tasks().len()
}

#[tokio::test]
async fn the_daily_look_tells_once_of_each_deploy_that_waits_and_ends_with_the_release() {
    let (simulator, mut runback) = recovered().await;
    assert_eq!((daily(&simulator), pinned(&simulator).len()), (1, 0));
    a_day(&simulator, &runback).await;
    assert_eq!((daily(&simulator), pinned(&simulator).len()), (1, 0));
    deploy(&simulator, Revision::named(FIX));
    a_day(&simulator, &runback).await;
    let told = pinned(&simulator);
    assert_eq!(told.len(), 1);
    let release = "runback release k-back";
    assert_contains(&told[0], &[FIX, GOOD, BAD, release, "--update-tags fix=k-back-00043-fix"]);
    for _ in 0..2 {
        runback.restart().await;
        a_day(&simulator, &runback).await;
    }
    assert_eq!((daily(&simulator), pinned(&simulator).len()), (1, 1));
    deploy(&simulator, Revision::named("k-back-00044-fix"));
    a_day(&simulator, &runback).await;
    assert_eq!(pinned(&simulator).len(), 2);
    assert_contains(&pinned(&simulator)[1], &["k-back-00044-fix"]);
    simulator.change(SERVICE, |service| service.move_traffic(&[("LATEST", 100)]));
    a_day(&simulator, &runback).await;
    assert_eq!((daily(&simulator), pinned(&simulator).len()), (0, 2));
    assert_eq!(moves(&simulator), 1);
    runback.finish().await;
}

#[tokio::test]
async fn a_deploy_that_waits_is_told_of_when_the_audit_log_shows_it() {
    let (simulator, mut runback) = recovered().await;
    deploy(&simulator, Revision::named(FIX));
    for api in [Api::V1, Api::System, Api::V2Last] {
        runback.send(&audit_event(&simulator, SERVICE, api)).await.is(200, "ignore", "nothing_to_watch");
        runback.restart().await;
    }
    assert_eq!(pinned(&simulator).len(), 1);
    assert_eq!(simulator.record(SERVICE).unwrap()["waiting"], FIX);
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn without_a_queue_the_audit_log_is_enough() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let runback = Launch::beside(&simulator).without("RUNBACK_TASKS_QUEUE").start().await;
    runback.deliver(&Alert::on(&simulator, SERVICE)).await.is(200, "rollback", "confirmed");
    deploy(&simulator, Revision::named(FIX));
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "nothing_to_watch");
    assert_eq!(pinned(&simulator).len(), 1);
    runback.finish().await;
}

/// Somebody deploys a fix within minutes: the check after the rollback sees it.
#[tokio::test]
async fn the_check_after_the_rollback_tells_of_a_deploy_that_waits() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let runback = Launch::beside(&simulator).start().await;
    runback.deliver(&Alert::on(&simulator, SERVICE)).await.is(200, "rollback", "confirmed");
    simulator.advance(minutes(3));
    deploy(&simulator, Revision::named(FIX));
    simulator.advance(minutes(3));
    runback.deliver_due_tasks().await;
    assert_eq!(pinned(&simulator).len(), 1);
    assert_contains(&simulator.slack()[1].text, &["recovered"]);
    assert_contains(&simulator.slack()[1].text, &["deploys get no traffic"]);
    runback.finish().await;
}

#[tokio::test]
async fn the_rolled_back_image_under_a_new_name_is_told_to_be_refused() {
    let (simulator, runback) = recovered().await;
    let digest = simulator.change(SERVICE, |service| service.revision(BAD).unwrap().digest.clone());
    deploy(&simulator, Revision::named(FIX).digest(&digest));
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "nothing_to_watch");
    let told = pinned(&simulator);
    assert_contains(&told[0], &[FIX, "has the image that was rolled back", "refuses"]);
    assert!(!told[0].contains("--to-latest"), "{}", told[0]);
    runback.finish().await;
}

#[tokio::test]
async fn what_is_not_ready_or_serves_or_belongs_to_no_rollback_of_ours_is_not_told() {
    let (simulator, runback) = recovered().await;
    deploy(&simulator, Revision::named(FIX).not_ready());
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await;
    simulator.change(SERVICE, |service| {
        service.set_ready(FIX, true);
        service.move_traffic(&[(GOOD, 90), (FIX, 10)]);
    });
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await;
    // Somebody else has pinned it to something else.
    simulator.change(SERVICE, |service| service.move_traffic(&[(BAD, 100)]));
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await;
    assert!(pinned(&simulator).is_empty());
    runback.finish().await;
}

#[tokio::test]
async fn a_message_that_slack_refuses_comes_again() {
    let (simulator, runback) = recovered().await;
    deploy(&simulator, Revision::named(FIX));
    let event = audit_event(&simulator, SERVICE, Api::V1);
    simulator.at("slack.webhook").always().fails(500);
    assert_eq!(runback.send(&event).await.status, 503);
    simulator.advance(days(1) + minutes(1));
    assert_eq!(runback.deliver_due_tasks().await[0].status, 503);
    simulator.repair();
    runback.deliver_due_tasks().await;
    runback.send(&event).await.is(200, "ignore", "nothing_to_watch");
    assert_eq!(pinned(&simulator).len(), 1);
    runback.finish().await;
}

/// The queue gives a task up after some attempts; the looks of later days must not go with it.
#[tokio::test]
async fn while_slack_is_down_the_next_days_look_is_planned_all_the_same() {
    let (simulator, runback) = recovered().await;
    deploy(&simulator, Revision::named(FIX));
    simulator.at("slack.webhook").always().fails(500);
    simulator.advance(days(1) + minutes(1));
    for _ in 0..2 {
        assert_eq!(runback.deliver_due_tasks().await[0].status, 503);
        assert_eq!(daily(&simulator), 2);
    }
    runback.finish().await;
}

#[tokio::test]
async fn the_daily_look_outlives_a_service_that_is_not_found_for_a_moment() {
    let (simulator, runback) = recovered().await;
    simulator.at("run.get").fails(404);
    simulator.advance(days(1) + minutes(1));
    for status in [503, 200] {
        assert_eq!(runback.deliver_due_tasks().await[0].status, status);
        assert_eq!((daily(&simulator), pinned(&simulator).len()), (1, 0));
    }
    runback.finish().await;
}

/// One deploy makes several entries. Whoever comes second must not record what the first one fails to tell.
#[tokio::test]
async fn what_slack_refuses_is_not_recorded_by_another_entry_of_the_same_deploy() {
    let (simulator, runback) = recovered().await;
    deploy(&simulator, Revision::named(FIX));
    simulator.at("slack.webhook").always().takes(Duration::from_millis(300));
    simulator.at("slack.webhook").always().fails(500);
    let event = audit_event(&simulator, SERVICE, Api::V1);
    for answer in runback.send_at_once(&event, 3).await {
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    assert!(simulator.record(SERVICE).unwrap()["waiting"].is_null());
    simulator.repair();
    runback.send_at_once(&event, 3).await;
    assert_eq!(pinned(&simulator).len(), 1);
    assert_eq!(simulator.record(SERVICE).unwrap()["waiting"], FIX);
    runback.finish().await;
}

#[tokio::test]
async fn killed_between_telling_and_recording_it_is_told_twice_at_most() {
    let (simulator, mut runback) = recovered().await;
    deploy(&simulator, Revision::named(FIX));
    let event = audit_event(&simulator, SERVICE, Api::V1);
    simulator.at("slack.webhook").carried_out().does(runback.killer());
    assert_eq!(runback.send(&event).await.status, 0);
    for _ in 0..2 {
        runback.restart().await;
        runback.send(&event).await.is(200, "ignore", "nothing_to_watch");
    }
    assert_eq!(pinned(&simulator).len(), 2);
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn that_people_know_is_recorded_although_the_service_changed_meanwhile() {
    let (simulator, mut runback) = recovered().await;
    deploy(&simulator, Revision::named(FIX));
    let event = audit_event(&simulator, SERVICE, Api::V1);
    simulator.at("run.put").does(|world| world.service(SERVICE).annotate("example.com/touched", "yes"));
    runback.send(&event).await.is(200, "ignore", "nothing_to_watch");
    runback.restart().await;
    runback.send(&event).await.is(200, "ignore", "nothing_to_watch");
    assert_eq!(pinned(&simulator).len(), 1);
    runback.finish().await;
}

#[tokio::test]
async fn who_only_observes_is_told_and_nothing_is_written() {
    let (simulator, runback) = recovered().await;
    runback.finish().await;
    let runback = Launch::beside(&simulator).policy(json!({"mode": "observe"})).start().await;
    deploy(&simulator, Revision::named(FIX));
    let written = simulator.writes().len();
    for _ in 0..2 {
        runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "nothing_to_watch");
    }
    assert_eq!((pinned(&simulator).len(), simulator.writes().len()), (1, written));
    runback.finish().await;
}

#[tokio::test]
async fn another_rollback_takes_the_daily_look_over() {
    let (simulator, runback) = recovered().await;
    simulator.advance(hours(2));
    simulator.change(SERVICE, |service| {
        service.deploy(Revision::named(FIX).errors(0.4));
        service.move_traffic(&[("LATEST", 100)]);
    });
    simulator.advance(minutes(15));
    let second = Alert::on(&simulator, SERVICE).incident("0.second");
    runback.deliver(&second).await.is(200, "rollback", "confirmed");
    simulator.advance(minutes(6));
    runback.deliver_due_tasks().await;
    assert_eq!(daily(&simulator), 2);
    a_day(&simulator, &runback).await;
    assert_eq!((daily(&simulator), pinned(&simulator).len()), (1, 0));
    runback.finish().await;
}
