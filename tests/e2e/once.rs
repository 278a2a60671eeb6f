//! One rollback per incident, however often, late, or at the same time a message comes.

use std::time::Duration;

use crate::alert::{Alert, Envelope};
use crate::harness::Launch;
use crate::simulator::{Revision, Service, Simulator, days, hours, minutes};
use crate::situation::{
    BAD, GOOD, SERVICE, a_failing_deploy, a_world_with, assert_rolled_back, deployed, k_back, moves,
    one_story,
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
    simulator.latency(Duration::from_millis(150));
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
    let young = Revision::named(GOOD).age(hours(20)).served(hours(20)..minutes(20));
    let older = Revision::named("k-back-00040-uvw").age(days(9)).served(days(9)..hours(20));
    let service = Service::named(SERVICE).revision(deployed(0.4)).revision(young).revision(older);
    let (simulator, runback, alert) = a_world_with(service).await;
    simulator.at("monitoring.*").always().fails(503);
    let alert = alert.without("/incident/resource/labels/revision_name");
    runback.deliver(&alert).await.is(200, "rollback", "unconfirmed");
    runback.deliver(&alert).await.is(200, "ignore", "already_handled");
    let other = alert.again().incident("0.other");
    runback.deliver(&other).await.is(200, "ignore", "already_handled");
    assert_rolled_back(&simulator);
    one_story(&simulator);
    // An incident that began after the switch is another one, and in the dark nobody is blamed so soon again.
    simulator.advance(minutes(10));
    let later = alert.again().begun(minutes(1)).incident("0.later");
    runback.deliver(&later).await.is(200, "notify", "cooldown");
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

/// Both have decided before the first of them writes, and that one takes its time to tell people.
#[tokio::test]
async fn two_processes_with_the_same_message_are_one_rollback_and_one_story() {
    for queue in [true, false] {
        let simulator = Simulator::with([k_back(0.4)]).await;
        let launch = || match Launch::beside(&simulator) {
            launch if queue => launch,
            launch => launch.without("RUNBACK_TASKS_QUEUE"),
        };
        let (one, other) = (launch().start().await, launch().start().await);
        simulator.at("run.put").takes(Duration::from_millis(300));
        simulator.at("slack.webhook").takes(Duration::from_secs(1));
        let alert = Alert::on(&simulator, SERVICE);
        let (first, second) = tokio::join!(one.deliver(&alert), other.deliver(&alert));
        assert_eq!((first.status, second.status), (200, 200), "{first:#?} {second:#?}");
        assert_rolled_back(&simulator);
        one_story(&simulator);
        for process in [&one, &other] {
            process.deliver(&alert).await.is(200, "ignore", "already_handled");
        }
        one_story(&simulator);
        assert_eq!(simulator.tasks().len(), usize::from(queue));
        one.finish().await;
        other.finish().await;
    }
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
    assert_eq!(moves(&simulator), 1);
    runback.finish().await;
}

#[tokio::test]
async fn what_people_have_to_look_at_is_posted_once_per_incident_and_reason() {
    let mut service = k_back(0.4);
    service.revisions[1].ready = false;
    let (simulator, runback, alert) = a_world_with(service).await;
    for again in [&alert, &alert.again(), &alert] {
        runback.deliver(again).await.is(200, "notify", "no_candidate");
    }
    one_story(&simulator);
    runback.deliver(&alert.again().incident("0.other")).await.is(200, "notify", "no_candidate");
    assert_eq!(simulator.slack().len(), 2);
    simulator.change(SERVICE, |service| service.set_ready(GOOD, true));
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    runback.finish().await;
}
