//! Somebody else changes the service, or a write's answer never comes: read again, decide again, never overwrite.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{assert_nothing_is_touched, split};
use crate::simulator::{Revision, Service, minutes, refusal};
use crate::situation::{
    BAD, GOOD, IN_TIME, SERVICE, a_failing_deploy, a_world_with, assert_contains, assert_rolled_back,
    assert_untouched, k_back, moves, one_story, under_policy,
};

const NOTE: &str = "example.com/note";

#[tokio::test]
async fn a_harmless_change_in_between_is_kept_and_the_second_try_goes_through() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("run.put").does(|world| world.service(SERVICE).annotate(NOTE, "meanwhile"));
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    assert_eq!(simulator.calls("run.put").len(), 2);
    let note = simulator.change(SERVICE, |service| service.annotation(NOTE).map(str::to_owned));
    assert_eq!(note.as_deref(), Some("meanwhile"));
    one_story(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_fix_that_somebody_deploys_in_between_is_left_alone() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("run.put").does(|world| {
        world.service(SERVICE).deploy(Revision::named("k-back-00043-fix"));
        world.service(SERVICE).move_traffic(&[("k-back-00043-fix", 100)]);
    });
    runback.deliver(&alert).await.is(200, "ignore", "culprit_not_serving");
    assert_eq!(simulator.traffic(SERVICE), split([("k-back-00043-fix", 100)]));
    assert_eq!(simulator.calls("run.put").len(), 1);
    assert_eq!((simulator.writes().len(), simulator.slack().len(), simulator.tasks().len()), (0, 0, 0));
    runback.finish().await;
}

#[tokio::test]
async fn a_rollback_by_hand_in_between_is_left_alone() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("run.put").does(|world| world.service(SERVICE).move_traffic(&[(GOOD, 100)]));
    runback.deliver(&alert).await.is(200, "ignore", "culprit_not_serving");
    assert_eq!((simulator.calls("run.put").len(), simulator.writes().len()), (1, 0));
    runback.finish().await;
}

#[tokio::test]
async fn a_deploy_that_begins_in_between_is_waited_for() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("run.put").does(|world| world.service(SERVICE).set_deploying(true));
    let answer = runback.deliver(&alert).await;
    assert_eq!(answer.status, 503);
    assert_eq!((simulator.calls("run.put").len(), simulator.writes().len()), (1, 0));
    simulator.change(SERVICE, |service| service.set_deploying(false));
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn endless_conflicts_end_after_a_few_tries_and_the_message_comes_again() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("run.put").always().does(|world| world.service(SERVICE).annotate(NOTE, "again"));
    let answer = runback.deliver(&alert).await;
    assert_eq!(answer.status, 503, "{answer:#?}");
    assert!(answer.headers.contains_key("retry-after"));
    assert!((2..=5).contains(&simulator.calls("run.put").len()));
    assert_eq!((simulator.writes().len(), simulator.slack().len()), (0, 0));
    simulator.repair();
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    one_story(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_settled_by_reading() {
    for lost in ["cut", "503", "hanging"] {
        let (simulator, runback, alert) = a_failing_deploy().await;
        let put = simulator.at("run.put").carried_out();
        match lost {
            "cut" => put.cuts(),
            "503" => put.fails(503),
            _ => put.hangs(Duration::from_secs(20)),
        }
        let started = Instant::now();
        runback.deliver(&alert).await.is(200, "rollback", "confirmed");
        assert!(started.elapsed() < IN_TIME, "{lost}");
        assert_rolled_back(&simulator);
        assert_eq!(simulator.calls("run.put").len(), 1, "{lost}");
        // The story is the decision that led to the write, not the finding of it.
        assert_contains(&one_story(&simulator), &[BAD, GOOD, "requests failed"]);
        assert_eq!(simulator.tasks().len(), 1, "{lost}");
        runback.deliver(&alert).await.is(200, "ignore", "already_handled");
        runback.finish().await;
    }
}

#[tokio::test]
async fn a_write_that_was_lost_on_the_way_is_decided_again() {
    for lost in ["cut", "503", "429"] {
        let (simulator, runback, alert) = a_failing_deploy().await;
        match lost {
            "cut" => simulator.at("run.put").cuts(),
            status => simulator.at("run.put").fails(status.parse().unwrap()),
        }
        runback.deliver(&alert).await.is(200, "rollback", "confirmed");
        assert_rolled_back(&simulator);
        assert_eq!(simulator.calls("run.put").len(), 2, "{lost}");
        assert!(simulator.calls("run.get").len() >= 2, "{lost}: a write was sent again without reading");
        one_story(&simulator);
        runback.finish().await;
    }
}

#[tokio::test]
async fn a_service_whose_template_cloud_run_has_forgotten_is_not_written_and_mints_nothing() {
    let mut service = k_back(0.4);
    service.refuses_echoed_names = true;
    let (simulator, runback, alert) = a_world_with(service).await;
    let answer = runback.deliver(&alert).await;
    answer.is(200, "notify", "write_refused");
    assert_eq!(answer.json()["to"], json!([{"revision": GOOD, "percent": 100}]));
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 100)]));
    assert_eq!((simulator.writes().len(), simulator.tasks().len()), (0, 0));
    assert_eq!(simulator.calls("run.put").len(), 1);
    assert_contains(&one_story(&simulator), &["write_refused", BAD, GOOD, "already exists"]);
    runback.finish().await;
}

#[tokio::test]
async fn a_write_that_cloud_run_refuses_for_good_is_told_with_the_plan() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("run.put").always().replies(refusal(400, "spec.traffic: the simulator does not like it."));
    let answer = runback.deliver(&alert).await;
    answer.is(200, "notify", "write_refused");
    assert_eq!(answer.json()["from"], json!([{"revision": BAD, "percent": 100}]));
    assert_contains(&one_story(&simulator), &["write_refused", GOOD, "the simulator does not like it"]);
    assert_eq!((simulator.writes().len(), simulator.tasks().len()), (0, 0));
    runback.deliver(&alert).await.is(200, "notify", "write_refused");
    one_story(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_deploy_in_flight_is_waited_for_and_then_the_rollback_follows() {
    let mut service = k_back(0.4);
    service.deploying = true;
    let (simulator, runback, alert) = a_world_with(service).await;
    let answer = runback.deliver(&alert).await;
    assert_eq!(answer.status, 503, "{answer:#?}");
    assert!(answer.headers.contains_key("retry-after"));
    assert_untouched(&simulator);
    assert!(simulator.slack().is_empty());
    simulator.change(SERVICE, |service| service.set_deploying(false));
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_deploy_that_does_not_settle_is_a_matter_for_people_after_five_minutes() {
    let mut service = k_back(0.4);
    service.deploying = true;
    let (simulator, runback, alert) = a_world_with(service).await;
    for waited in [0, 4] {
        simulator.advance(minutes(waited));
        assert_eq!(runback.deliver(&alert).await.status, 503);
    }
    assert!(simulator.slack().is_empty());
    simulator.advance(minutes(2));
    runback.deliver(&alert).await.is(200, "notify", "deploy_in_progress");
    assert_untouched(&simulator);
    assert_contains(&one_story(&simulator), &["deploy_in_progress"]);
    assert_eq!(moves(&simulator), 0);
    runback.finish().await;
}

/// The status lags, and no deploy is in flight.
fn on_its_way_to(split: &[(&str, u32)]) -> Service {
    let service = Service { rpm: 600.0, ..k_back(0.2) };
    Service { status_traffic: Some(service.traffic.clone()), ..service }.traffic(split)
}

#[tokio::test]
async fn a_rollback_that_somebody_has_already_written_is_not_taken_back_to_a_tenth() {
    let (simulator, runback, alert) =
        under_policy(on_its_way_to(&[(GOOD, 100)]), json!({"strategy": "gradual"})).await;
    assert_eq!(runback.deliver(&alert).await.status, 503);
    simulator.advance(minutes(6));
    runback.deliver(&alert).await.is(200, "notify", "deploy_in_progress");
    assert_nothing_is_touched(&simulator);
    assert_contains(&one_story(&simulator), &["somebody has taken all traffic from", BAD]);
    runback.finish().await;
}

#[tokio::test]
async fn a_culprit_never_gets_more_than_somebody_has_left_it() {
    let spec = [(BAD, 20), (GOOD, 80)];
    let (simulator, runback, alert) =
        under_policy(on_its_way_to(&spec), json!({"strategy": "gradual"})).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_eq!(simulator.spec_traffic(SERVICE), split([(BAD, 18), (GOOD, 82)]));
    runback.finish().await;
}
