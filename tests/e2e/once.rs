//! One rollback per incident, however often, late, or at the same time a message comes.

use serde_json::Value;

use crate::alert::{Alert, Envelope};
use crate::harness::Launch;
use crate::simulator::{NOW, Revision, Simulator, days, minutes};
use crate::situation::{
    BAD, SERVICE, a_failing_deploy, a_world_with, assert_rolled_back, k_back, one_story, with_trouble,
};

#[tokio::test]
async fn fifty_copies_at_once_are_one_rollback_and_one_story() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    let answers = runback.send_at_once(&alert.wrapped(Envelope::Eventarc), 50).await;
    assert!(answers.iter().all(|answer| [200, 503].contains(&answer.status)), "{answers:#?}");
    assert!(answers.iter().any(|answer| answer.verdict().1 == "rollback"), "{answers:#?}");
    assert_rolled_back(&simulator);
    runback.deliver(&alert).await.is(200, "ignore", "already_handled");
    assert_rolled_back(&simulator);
    one_story(&simulator);
    assert_eq!(simulator.tasks().len(), 1);
    runback.finish().await;
}

#[tokio::test]
async fn copies_at_once_over_a_slow_network_are_one_rollback_and_one_story() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.latency(std::time::Duration::from_millis(150));
    let answers = runback.send_at_once(&alert.wrapped(Envelope::Eventarc), 12).await;
    assert!(answers.iter().all(|answer| [200, 503].contains(&answer.status)), "{answers:#?}");
    assert_rolled_back(&simulator);
    one_story(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_redelivery_is_already_handled() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    for again in [alert.clone(), alert.again(), alert] {
        runback.deliver(&again).await.is(200, "ignore", "already_handled");
    }
    assert_rolled_back(&simulator);
    one_story(&simulator);
    assert_eq!(simulator.tasks().len(), 1);
    runback.finish().await;
}

#[tokio::test]
async fn a_redelivery_a_day_later_is_already_handled() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    simulator.advance(days(1));
    runback.deliver(&alert).await.is(200, "ignore", "already_handled");
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_second_incident_of_the_same_outage_finds_the_culprit_rolled_back() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    let second = alert.again().incident("0.code503");
    runback.deliver(&alert.incident("0.code500")).await.is(200, "rollback", "confirmed");
    runback.deliver(&second).await.is(200, "ignore", "already_handled");
    assert_rolled_back(&simulator);
    one_story(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn two_incidents_of_one_outage_at_once_are_one_rollback_and_one_story() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    let second = runback.sending(alert.again().incident("0.code503").wrapped(Envelope::Push));
    let first = runback.deliver(&alert.incident("0.code500")).await;
    let second = second.await.unwrap();
    assert_eq!((first.status, second.status), (200, 200), "{first:#?} {second:#?}");
    assert_rolled_back(&simulator);
    one_story(&simulator);
    runback.finish().await;
}

/// The healthy revision is now the only one that serves: it must not be taken for the next culprit.
#[tokio::test]
async fn in_the_dark_the_target_is_never_taken_for_the_next_culprit() {
    let older = Revision::named("k-back-00040-uvw").age(days(9)).served(days(9)..days(3));
    let (simulator, runback, alert) = a_world_with(k_back(0.4).revision(older)).await;
    simulator.at("monitoring.*").always().fails(503);
    let alert = alert.without("/incident/resource/labels/revision_name");
    runback.deliver(&alert).await.is(200, "rollback", "unconfirmed");
    runback.deliver(&alert).await.is(200, "ignore", "already_handled");
    let other = alert.again().incident("0.other");
    runback.deliver(&other).await.is(200, "notify", "cooldown");
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn after_a_restart_a_redelivery_moves_nothing_and_tells_nothing() {
    for queue in [true, false] {
        let simulator = Simulator::with([k_back(0.4)]).await;
        let launch = Launch::beside(&simulator);
        let launch = if queue { launch } else { launch.without("RUNBACK_TASKS_QUEUE") };
        let mut runback = launch.start().await;
        let alert = Alert::on(&simulator, SERVICE);
        runback.deliver(&alert).await.is(200, "rollback", "confirmed");
        runback.restart().await;
        runback.deliver(&alert).await.is(200, "ignore", "already_handled");
        assert_rolled_back(&simulator);
        one_story(&simulator);
        runback.finish().await;
    }
}

#[tokio::test]
async fn two_processes_with_the_same_message_are_one_rollback_and_one_story() {
    let (simulator, one, alert) = with_trouble(|simulator| {
        simulator.latency(std::time::Duration::from_millis(20));
    })
    .await;
    let other = Launch::beside(&simulator).start().await;
    let (first, second) = tokio::join!(one.deliver(&alert), other.deliver(&alert));
    assert_eq!((first.status, second.status), (200, 200), "{first:#?} {second:#?}");
    assert_rolled_back(&simulator);
    one_story(&simulator);
    for process in [&one, &other] {
        process.deliver(&alert).await.is(200, "ignore", "already_handled");
    }
    one_story(&simulator);
    assert_eq!(simulator.tasks().len(), 1);
    one.finish().await;
    other.finish().await;
}

#[tokio::test]
async fn two_processes_without_a_queue_are_one_rollback_and_one_story() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let launch = || Launch::beside(&simulator).without("RUNBACK_TASKS_QUEUE");
    let (one, other) = (launch().start().await, launch().start().await);
    let alert = Alert::on(&simulator, SERVICE);
    let (first, second) = tokio::join!(one.deliver(&alert), other.deliver(&alert));
    assert_eq!((first.status, second.status), (200, 200), "{first:#?} {second:#?}");
    assert_rolled_back(&simulator);
    one_story(&simulator);
    one.finish().await;
    other.finish().await;
}

/// Somebody has put the culprit into traffic again, and it fails again: that is a new case, and not ours to repeat.
#[tokio::test]
async fn a_culprit_that_people_put_back_is_not_rolled_back_within_the_cooldown() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    simulator.change(SERVICE, |service| service.move_traffic(&[(BAD, 100)]));
    simulator.advance(minutes(10));
    runback.deliver(&alert).await.is(200, "ignore", "already_handled");
    let second = Alert::on(&simulator, SERVICE).incident("0.second");
    runback.deliver(&second).await.is(200, "notify", "cooldown");
    assert_eq!(simulator.writes().len(), 1);
    runback.finish().await;
}

#[tokio::test]
async fn a_repeated_notification_of_another_kind_is_posted_once_per_incident_and_reason() {
    let mut service = k_back(0.4);
    service.revisions[1].ready = false;
    let (simulator, runback, alert) = a_world_with(service).await;
    for again in [&alert, &alert.again(), &alert] {
        runback.deliver(again).await.is(200, "notify", "no_candidate");
    }
    one_story(&simulator);
    runback.deliver(&alert.again().incident("0.other")).await.is(200, "notify", "no_candidate");
    assert_eq!(simulator.slack().len(), 2);
    simulator.change(SERVICE, |service| service.set_ready(crate::situation::GOOD, true));
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    let ours = |call: &crate::simulator::Call| call.name == "run.put";
    assert_eq!(simulator.calls("run.*").iter().filter(|call| ours(call)).count(), 1);
    let record: Value = simulator.record(SERVICE).unwrap();
    assert_eq!(record["rollbacks"].as_array().unwrap().len(), 1);
    let _ = NOW;
    runback.finish().await;
}
