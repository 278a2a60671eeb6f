//! A deploy is watched: a judgement a minute for ten minutes, without any alert.

use std::time::Duration;

use serde_json::json;

use crate::alert::Alert;
use crate::audit_log::{Api, audit_event};
use crate::deploys::{
    a_minute, assert_left_alone, called, deploy, healthy, until_rolled_back, waiting, watched,
};
use crate::harness::{Launch, assert_nothing_is_touched, guarding, split};
use crate::simulator::{Revision, Service, Simulator, hours, minutes, target};
use crate::situation::{
    BAD, FULL_NAME, GOOD, SERVICE, assert_contains, assert_rolled_back, delivered, k_back, later, moves,
    one_story,
};

#[tokio::test]
async fn a_bad_deploy_is_rolled_back_without_an_alert() {
    let (simulator, runback) = watched(0.4).await;
    simulator.world().lag = minutes(3);
    until_rolled_back(&simulator, &runback).await;
    let story = one_story(&simulator);
    assert_contains(&story, &[BAD, GOOD, "confirmed", "watch-k-back-00042-abc", "watch", "runback release"]);
    let rollback = simulator.record(SERVICE).unwrap()["rollbacks"][0].clone();
    assert_eq!(rollback["incident"], "watch-k-back-00042-abc");
    assert_eq!(rollback["culprit"], BAD);
    // The look after the switch is all that waits.
    assert_eq!(waiting(&simulator), [format!("{}-check-1", rollback["id"].as_str().unwrap())]);
    runback.finish().await;
}

#[tokio::test]
async fn the_alert_of_the_same_outage_finds_the_deploy_rolled_back() {
    let (simulator, runback) = watched(0.9).await;
    until_rolled_back(&simulator, &runback).await;
    let alert = Alert::on(&simulator, SERVICE).about(BAD).begun(minutes(1));
    runback.deliver(&alert).await.is(200, "ignore", "already_handled");
    let unnamed = alert.again().incident("0.unnamed").without("/incident/resource/labels/revision_name");
    runback.deliver(&unnamed).await.is(200, "ignore", "already_handled");
    assert_rolled_back(&simulator);
    one_story(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_watch_ends_once_an_alert_has_rolled_its_deploy_back() {
    let (simulator, runback) = watched(0.9).await;
    simulator.advance(minutes(2));
    let alert = Alert::on(&simulator, SERVICE).begun(minutes(1));
    runback.deliver(&alert).await.is(200, "rollback", "critical");
    runback.deliver_due_tasks().await;
    assert!(waiting(&simulator).iter().all(|id| id.contains("-check-")), "{:?}", waiting(&simulator));
    assert_rolled_back(&simulator);
    one_story(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_good_deploy_is_judged_ten_times_and_nobody_hears_of_it() {
    let (simulator, mut runback) = watched(0.0).await;
    for minute in 1..=10 {
        assert_eq!(waiting(&simulator).len(), 1, "minute {minute}");
        if minute == 5 {
            runback.restart().await;
        }
        a_minute(&simulator, &runback).await;
    }
    assert!(simulator.slack().is_empty());
    assert_left_alone(&simulator);
    let judged = runback.log().iter().filter(|entry| entry["stage"] == "watched").count();
    assert_eq!(judged, 10);
    runback.finish().await;
}

#[tokio::test]
async fn every_entry_of_one_deploy_and_every_copy_start_one_watch() {
    let (simulator, runback) = watched(0.0).await;
    let entries = [Api::V1, Api::V2First, Api::V2Last, Api::System, Api::V1];
    for api in entries {
        runback.send(&audit_event(&simulator, SERVICE, api)).await.is(200, "ignore", "watching");
    }
    runback.send_at_once(&audit_event(&simulator, SERVICE, Api::V1), 8).await;
    runback.send(&called(FULL_NAME)).await.is(200, "ignore", "watching");
    assert_eq!(waiting(&simulator).len(), 1);
    let task = simulator.tasks().remove(0);
    simulator.advance(minutes(1));
    // Cloud Tasks delivers at least once.
    for _ in 0..3 {
        assert_eq!(runback.send(&delivered(&task)).await.status, 200);
    }
    simulator.task_answered(&task.name, 200);
    assert_eq!(waiting(&simulator).len(), 1);
    runback.send(&audit_event(&simulator, SERVICE, Api::System)).await.is(200, "ignore", "watching");
    assert_eq!(waiting(&simulator).len(), 1);
    runback.finish().await;
}

#[tokio::test]
async fn a_change_that_is_still_rolled_out_is_watched_once_it_serves() {
    let (simulator, runback) = guarding([healthy()]).await;
    deploy(&simulator, 0.4);
    simulator.change(SERVICE, |service| service.set_deploying(true));
    for api in [Api::V1, Api::V2First] {
        runback.send(&audit_event(&simulator, SERVICE, api)).await.is(200, "ignore", "watching");
    }
    assert_eq!(waiting(&simulator).len(), 1);
    a_minute(&simulator, &runback).await;
    assert!(waiting(&simulator)[0].contains("settle"), "{:?}", waiting(&simulator));
    simulator.change(SERVICE, |service| service.set_deploying(false));
    a_minute(&simulator, &runback).await;
    assert!(waiting(&simulator)[0].contains(BAD), "{:?}", waiting(&simulator));
    until_rolled_back(&simulator, &runback).await;
    runback.finish().await;
}

#[tokio::test]
async fn a_change_that_never_settles_is_given_up_quietly() {
    let (simulator, runback) = guarding([healthy()]).await;
    simulator.change(SERVICE, |service| service.set_deploying(true));
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "watching");
    for _ in 0..25 {
        a_minute(&simulator, &runback).await;
    }
    assert!(simulator.slack().is_empty());
    assert_left_alone(&simulator);
    runback.finish().await;
}

/// Our own write makes an entry too, and its target must not be the next suspect.
#[tokio::test]
async fn our_own_switch_starts_no_watch() {
    let (simulator, runback) = watched(0.9).await;
    until_rolled_back(&simulator, &runback).await;
    simulator.change(SERVICE, |service| service.set_errors(GOOD, 0.9));
    let before = waiting(&simulator);
    for api in [Api::V1, Api::System] {
        runback.send(&audit_event(&simulator, SERVICE, api)).await.is(200, "ignore", "nothing_to_watch");
    }
    assert_eq!(waiting(&simulator), before);
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_culprit_that_people_put_back_is_not_watched() {
    let (simulator, runback) = watched(0.9).await;
    until_rolled_back(&simulator, &runback).await;
    simulator.change(SERVICE, |service| service.move_traffic(&[(BAD, 100)]));
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "nothing_to_watch");
    assert_eq!(moves(&simulator), 1);
    runback.finish().await;
}

/// Two hours later an apply of infrastructure code sends the traffic to LATEST again, which still is that revision.
#[tokio::test]
async fn a_rolled_back_revision_that_returns_is_watched_like_a_deploy() {
    let (simulator, runback) = watched(0.4).await;
    until_rolled_back(&simulator, &runback).await;
    later(&simulator, &runback, minutes(6)).await;
    assert_eq!(simulator.record(SERVICE).unwrap()["rollbacks"][0]["phase"], "recovered");
    simulator.advance(hours(2));
    simulator.change(SERVICE, |service| service.move_traffic(&[(BAD, 100)]));
    let said = runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await;
    said.is(200, "ignore", "watching");
    for _ in 0..6 {
        a_minute(&simulator, &runback).await;
    }
    assert_eq!((simulator.traffic(SERVICE), moves(&simulator)), (split([(GOOD, 100)]), 2));
    let rollback = simulator.record(SERVICE).unwrap()["rollbacks"][0].clone();
    assert_eq!(rollback["incident"], "watch-k-back-00042-abc-back-1");
    runback.finish().await;
}

/// A pull request gets its preview, and two minutes later a release is promoted by its name.
#[tokio::test]
async fn a_promotion_beside_a_newer_preview_is_watched() {
    let preview = "k-back-00043-pr17";
    let mut service = healthy();
    service.revisions.insert(0, Revision::named(BAD).age(hours(3)).errors(0.9));
    service.revisions.insert(0, Revision::named(preview).age(minutes(2)));
    let tag = json!({"revisionName": preview, "tag": "pr-17"});
    let (simulator, runback) = guarding([service.traffic_targets(vec![target(GOOD, 100), tag])]).await;
    let pushed = runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await;
    pushed.is(200, "ignore", "nothing_to_watch");
    simulator.change(SERVICE, |service| service.move_traffic(&[(BAD, 100)]));
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "watching");
    until_rolled_back(&simulator, &runback).await;
    assert_eq!((simulator.traffic(SERVICE), moves(&simulator)), (split([(GOOD, 100)]), 1));
    runback.finish().await;
}

#[tokio::test]
async fn a_deploy_that_gets_no_traffic_is_nothing_to_watch() {
    let mut service = k_back(0.0);
    service.revisions.insert(0, Revision::named("k-back-00043-new").errors(0.9));
    let (simulator, runback) = guarding([service]).await;
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "nothing_to_watch");
    // Somebody goes back by hand: no deploy either.
    simulator.change(SERVICE, |service| service.move_traffic(&[(GOOD, 100)]));
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "nothing_to_watch");
    assert!(simulator.tasks().is_empty());
    assert_nothing_is_touched(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_revision_that_is_promoted_later_is_watched_then_and_a_canary_loses_only_its_share() {
    let mut service = healthy();
    service.revisions.insert(0, Revision::named(BAD).age(hours(3)).errors(0.9));
    let (simulator, runback) = guarding([service.traffic(&[(GOOD, 100)])]).await;
    simulator.change(SERVICE, |service| service.move_traffic(&[(GOOD, 80), (BAD, 20)]));
    runback.send(&audit_event(&simulator, SERVICE, Api::V2Last)).await.is(200, "ignore", "watching");
    until_rolled_back(&simulator, &runback).await;
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
    assert_eq!(moves(&simulator), 1);
    runback.finish().await;
}

/// The names of the first watch's tasks are used up for an hour.
#[tokio::test]
async fn a_canary_that_is_given_more_traffic_is_watched_anew() {
    let mut service = healthy();
    service.revisions.insert(0, Revision::named(BAD).age(hours(3)));
    let (simulator, runback) = guarding([service.traffic(&[(GOOD, 90), (BAD, 10)])]).await;
    for _ in 0..2 {
        runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "watching");
    }
    for _ in 0..10 {
        a_minute(&simulator, &runback).await;
    }
    assert_left_alone(&simulator);
    simulator.change(SERVICE, |service| {
        service.set_errors(BAD, 0.9);
        service.move_traffic(&[(BAD, 100)]);
    });
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "watching");
    assert_eq!(waiting(&simulator).len(), 1);
    for _ in 0..10 {
        a_minute(&simulator, &runback).await;
    }
    assert_rolled_back(&simulator);
    runback.finish().await;
}

/// Instances start, caches are cold: one hot minute, which is all that there is to see then.
#[tokio::test]
async fn the_first_minute_of_a_deploy_is_no_proof() {
    let (simulator, runback) = guarding([Service { rpm: 600.0, ..healthy() }]).await;
    deploy(&simulator, 0.8);
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "watching");
    simulator.advance(Duration::from_secs(45));
    simulator.change(SERVICE, |service| service.set_errors(BAD, 0.0));
    for _ in 0..11 {
        a_minute(&simulator, &runback).await;
    }
    assert!(simulator.slack().is_empty(), "{:#?}", simulator.slack());
    assert_left_alone(&simulator);
    runback.finish().await;
}

/// Its database was away; people moved the traffic, waited for the database, and put the deploy back. No alert says that
/// it still fails, and the window still holds what failed before.
#[tokio::test]
async fn what_failed_before_and_does_not_any_more_is_no_reason_for_a_watch() {
    let (simulator, runback) = guarding([Service { rpm: 600.0, ..healthy() }]).await;
    deploy(&simulator, 0.9);
    simulator.advance(minutes(4));
    simulator.change(SERVICE, |service| {
        service.set_errors(BAD, 0.0);
        service.move_traffic(&[(GOOD, 100)]);
    });
    simulator.advance(minutes(1));
    simulator.change(SERVICE, |service| service.move_traffic(&[(BAD, 100)]));
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "watching");
    for _ in 0..11 {
        simulator.advance(minutes(1) + Duration::from_secs(1));
        runback.deliver_due_tasks().await;
    }
    assert!(simulator.slack().is_empty(), "{:#?}", simulator.slack());
    assert_left_alone(&simulator);
    runback.finish().await;
}

/// Somebody changes a label of a service that has not been deployed for days; its database fails just then.
#[tokio::test]
async fn a_failure_long_after_the_deploy_is_no_news_of_a_watch() {
    let (simulator, runback) = guarding([healthy()]).await;
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "watching");
    simulator.change(SERVICE, |service| service.set_errors(GOOD, 0.4));
    for _ in 0..11 {
        a_minute(&simulator, &runback).await;
    }
    assert!(simulator.slack().is_empty(), "{:#?}", simulator.slack());
    assert_left_alone(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_watch_ends_when_somebody_takes_the_traffic_away() {
    let (simulator, runback) = watched(0.0).await;
    simulator.change(SERVICE, |service| service.move_traffic(&[(GOOD, 100)]));
    a_minute(&simulator, &runback).await;
    assert!(simulator.slack().is_empty());
    assert_left_alone(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn without_requests_nobody_hears_of_a_watch() {
    let mut service = healthy();
    service.rpm = 0.0;
    let (simulator, runback) = guarding([service]).await;
    deploy(&simulator, 0.9);
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "watching");
    for _ in 0..10 {
        a_minute(&simulator, &runback).await;
    }
    assert!(simulator.slack().is_empty());
    assert_left_alone(&simulator);
    runback.finish().await;
}

/// Without an alert there is nothing to trust: a deploy is never rolled back in the dark.
#[tokio::test]
async fn in_the_dark_a_deploy_is_left_alone() {
    let (simulator, runback) = watched(0.9).await;
    simulator.at("monitoring.*").always().denies("monitoring.timeSeries.list");
    for _ in 0..10 {
        a_minute(&simulator, &runback).await;
    }
    assert!(simulator.slack().is_empty());
    assert_left_alone(&simulator);
    assert!(runback.said().contains("monitoring.timeSeries.list"));
    runback.finish().await;
}

#[tokio::test]
async fn what_people_have_to_look_at_is_told_once_in_a_watch_whatever_process_looks() {
    let simulator = Simulator::with([healthy()]).await;
    let mut runback = Launch::beside(&simulator).policy(json!({"mode": "observe"})).start().await;
    deploy(&simulator, 0.9);
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "watching");
    for _ in 0..10 {
        a_minute(&simulator, &runback).await;
        runback.restart().await;
    }
    assert_contains(&one_story(&simulator), &["observe_mode", "watch-k-back-00042-abc", BAD, GOOD]);
    assert_left_alone(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_warning_in_a_watch_has_its_deadline_and_is_still_no_word_in_the_dark() {
    let mut service = healthy();
    service.rpm = 3000.0;
    let simulator = Simulator::with([service]).await;
    let runback = Launch::beside(&simulator).policy(json!({"warning": 0.02})).start().await;
    deploy(&simulator, 0.03);
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "watching");
    for _ in 0..10 {
        a_minute(&simulator, &runback).await;
    }
    assert_contains(&one_story(&simulator), &["warning", "Runback decides at"]);
    assert_eq!(waiting(&simulator).len(), 1);
    simulator.at("monitoring.*").always().fails(503);
    simulator.advance(minutes(31));
    runback.deliver_due_tasks().await;
    assert_left_alone(&simulator);
    runback.finish().await;
}
