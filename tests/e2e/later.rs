//! What else happens later: incidents close, warnings have a deadline.

use crate::alert::Alert;
use crate::harness::{Launch, assert_nothing_is_touched, split};
use crate::simulator::{NOW, Revision, Served, Service, Simulator, days, hours, minutes};
use crate::situation::{
    BAD, GOOD, SERVICE, a_failing_deploy, a_second_rollback, a_world_with, assert_contains,
    assert_rolled_back, delivered, k_back, later, moves, under_policy,
};
use serde_json::json;

#[tokio::test]
async fn a_closed_incident_that_we_acted_on_is_reported_as_recovered_once() {
    let (simulator, mut runback, alert) = a_failing_deploy().await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    simulator.advance(minutes(8));
    let closed = alert.again().closed();
    runback.deliver(&closed).await.is(200, "notify", "recovered");
    assert_contains(&simulator.slack().last().unwrap().text, &["recovered", GOOD, "runback release"]);
    runback.restart().await;
    runback.deliver(&closed).await.is(200, "ignore", "closed");
    runback.deliver_due_tasks().await;
    assert_eq!(simulator.slack().len(), 2, "the check finds it reported");
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_closed_incident_is_no_proof_while_the_target_fails() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    simulator.change(SERVICE, |service| service.set_errors(GOOD, 0.4));
    simulator.advance(minutes(8));
    runback.deliver(&alert.again().closed()).await.is(200, "ignore", "closed");
    assert_eq!(simulator.slack().len(), 1);
    runback.finish().await;
}

/// 3 % of many requests: between a warning from 2 % and a rollback from 5 %.
async fn a_warning() -> (Simulator, crate::harness::Runback, Alert) {
    let mut service = k_back(0.03);
    service.rpm = 600.0;
    under_policy(service, json!({"warning": 0.02})).await
}

#[tokio::test]
async fn a_warning_that_lasts_until_its_deadline_is_rolled_back() {
    let (simulator, mut runback, alert) = a_warning().await;
    for _ in 0..2 {
        runback.deliver(&alert).await.is(200, "notify", "warning");
    }
    assert_eq!((simulator.slack().len(), simulator.tasks().len(), moves(&simulator)), (1, 1, 0));
    assert_contains(&simulator.slack()[0].text, &["Runback decides at"]);
    simulator.advance(minutes(31));
    runback.restart().await;
    let answers = runback.deliver_due_tasks().await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:#?}");
    assert_rolled_back(&simulator);
    assert_contains(&simulator.slack()[1].text, &[BAD, GOOD, "runback release"]);
    runback.finish().await;
}

#[tokio::test]
async fn a_deadline_that_comes_twice_says_nothing_after_the_rollback() {
    let (simulator, mut runback, alert) = a_warning().await;
    runback.deliver(&alert).await.is(200, "notify", "warning");
    let deadline = delivered(&simulator.tasks()[0]);
    simulator.advance(minutes(31));
    for _ in 0..3 {
        assert_eq!(runback.send(&deadline).await.status, 200);
        assert_eq!(simulator.slack().len(), 2, "the warning and the rollback: {:#?}", simulator.slack());
        runback.restart().await;
    }
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_warning_that_is_over_by_its_deadline_stands_down_and_says_so() {
    let (simulator, runback, alert) = a_warning().await;
    runback.deliver(&alert).await.is(200, "notify", "warning");
    simulator.change(SERVICE, |service| service.set_errors(BAD, 0.0));
    simulator.advance(minutes(31));
    runback.deliver_due_tasks().await;
    assert_contains(&simulator.slack()[1].text, &["healthy"]);
    assert_eq!((simulator.slack().len(), moves(&simulator)), (2, 0));
    runback.finish().await;
}

#[tokio::test]
async fn without_a_queue_a_warning_promises_no_deadline() {
    let mut service = k_back(0.03);
    service.rpm = 600.0;
    let simulator = Simulator::with([service]).await;
    let launch = Launch::beside(&simulator).policy(json!({"warning": 0.02})).without("RUNBACK_TASKS_QUEUE");
    let runback = launch.start().await;
    runback.deliver(&Alert::on(&simulator, SERVICE)).await.is(200, "notify", "warning");
    assert!(!simulator.slack()[0].text.contains("looks again"));
    assert_nothing_is_touched(&simulator);
    runback.finish().await;
}

/// A deploy that changed only the configuration must not put its image, which served well for days, under a ban.
#[tokio::test]
async fn the_image_that_culprit_and_target_share_is_not_quarantined() {
    const IMAGE: &str = "asia-northeast1-docker.pkg.dev/demo-project/k-back-repo/k-back:same";
    let mut service = k_back(0.4);
    for revision in &mut service.revisions {
        *revision = revision.clone().image(IMAGE);
    }
    let (simulator, runback) = crate::harness::guarding([service]).await;
    runback.deliver(&Alert::on(&simulator, SERVICE)).await.is(200, "rollback", "confirmed");
    simulator.advance(hours(1));
    a_second_rollback(&simulator, &runback).await;
    assert_eq!(simulator.traffic(SERVICE), crate::harness::split([(GOOD, 100)]));
    runback.finish().await;
}

/// Cloud Run touches a service while it reconciles: that must not cost the note that people were told.
#[tokio::test]
async fn that_people_were_told_is_recorded_although_the_service_changed_meanwhile() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let mut runback = Launch::beside(&simulator).without("RUNBACK_TASKS_QUEUE").start().await;
    simulator
        .at("run.put")
        .skip(1)
        .does(|world| world.service(SERVICE).annotate("example.com/touched", "yes"));
    let alert = Alert::on(&simulator, SERVICE);
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_eq!(simulator.record(SERVICE).unwrap()["rollbacks"][0]["phase"], "told");
    runback.restart().await;
    runback.deliver(&alert).await.is(200, "ignore", "already_handled");
    assert_eq!(simulator.slack().len(), 1);
    runback.finish().await;
}

/// It served well for an hour and has failed for four minutes when its only alert comes.
#[tokio::test]
async fn an_alert_that_comes_too_early_to_tell_is_judged_once_more() {
    let culprit = Revision::named(BAD)
        .age(minutes(60))
        .errors(0.9)
        .served(Served::ago(minutes(60)..minutes(4)).errors(0.0))
        .served(minutes(4)..NOW);
    let service = Service::named(SERVICE)
        .revision(culprit)
        .revision(Revision::named(GOOD).age(days(3)).served(days(3)..minutes(60)));
    let (simulator, mut runback, alert) = a_world_with(service).await;
    runback.deliver(&alert).await.is(200, "ignore", "inconclusive");
    assert_eq!((simulator.slack().len(), simulator.tasks().len(), moves(&simulator)), (0, 1, 0));
    simulator.advance(minutes(5));
    runback.restart().await;
    runback.deliver_due_tasks().await;
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 50), (GOOD, 50)]), "it served well before: a trial");
    later(&simulator, &runback, minutes(4)).await;
    assert_eq!((simulator.traffic(SERVICE), moves(&simulator)), (split([(GOOD, 100)]), 2));
    runback.finish().await;
}

#[tokio::test]
async fn a_spike_is_looked_at_until_it_is_over_and_then_left_alone() {
    let culprit = Revision::named(BAD)
        .age(minutes(60))
        .served(minutes(60)..minutes(4))
        .served(Served::ago(minutes(4)..minutes(3)).errors(1.0))
        .served(minutes(3)..NOW);
    let service = Service::named(SERVICE)
        .revision(culprit)
        .revision(Revision::named(GOOD).age(days(3)).served(days(3)..minutes(60)));
    let (simulator, runback, alert) = a_world_with(service).await;
    runback.deliver(&alert).await.is(200, "ignore", "inconclusive");
    later(&simulator, &runback, minutes(5)).await;
    assert_eq!((simulator.slack().len(), simulator.tasks().len(), moves(&simulator)), (0, 1, 0));
    later(&simulator, &runback, minutes(5)).await;
    assert_eq!((simulator.slack().len(), simulator.tasks().len(), moves(&simulator)), (0, 0, 0));
    runback.finish().await;
}
