//! Google answers with errors: what cannot be done now comes again, and what can be done is done.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::alert::{Alert, Delivery};
use crate::harness::{Launch, split};
use crate::simulator::{Reconcile, Reply, Service, Simulator, minutes, refusal};
use crate::situation::{
    BAD, FULL_NAME, GOOD, IN_TIME, SERVICE, a_failing_deploy, a_world_with, assert_contains,
    assert_rolled_back, assert_untouched, k_back, last_message, later, moves, on_record, one_story,
    under_policy, with_trouble,
};

#[tokio::test]
async fn while_cloud_run_is_down_the_message_comes_again_and_then_it_is_done() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("run.*").always().fails(500);
    let started = Instant::now();
    let answer = runback.deliver(&alert).await;
    assert!(started.elapsed() < IN_TIME);
    assert_eq!(answer.status, 503, "{answer:#?}");
    assert!(answer.headers.contains_key("retry-after"));
    assert_untouched(&simulator);
    simulator.repair();
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    one_story(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_read_that_fails_once_is_repeated_and_nobody_notices() {
    for (call, status) in [("run.get", 503), ("run.revisions", 500), ("monitoring.list", 502)] {
        let (simulator, runback, alert) = a_failing_deploy().await;
        simulator.at(call).fails(status);
        runback.deliver(&alert).await.is(200, "rollback", "confirmed");
        assert_rolled_back(&simulator);
        one_story(&simulator);
        runback.finish().await;
    }
}

#[tokio::test]
async fn a_limit_on_reads_is_waited_for_as_long_as_google_says() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("run.get").replies(refusal(429, "Quota exceeded.").retry_after(1));
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    let reads = simulator.calls("run.get");
    assert!((0.95..4.0).contains(&(reads[1].at - reads[0].at)), "{reads:#?}");
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn without_revisions_nothing_is_decided() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("run.revisions").always().fails(500);
    assert_eq!(runback.deliver(&alert).await.status, 503);
    assert_untouched(&simulator);
    assert!(simulator.slack().is_empty());
    runback.finish().await;
}

#[tokio::test]
async fn without_monitoring_the_alerts_word_stands_and_people_are_told() {
    for trouble in ["503", "cut", "403", "incomplete"] {
        let (simulator, runback, alert) = a_failing_deploy().await;
        let list = simulator.at("monitoring.*").always();
        match trouble {
            "503" => list.fails(503),
            "cut" => list.cuts(),
            "403" => list.denies("monitoring.timeSeries.list"),
            _ => {
                let error = json!({"code": 13, "message": "internal error on a shard"});
                simulator.world().execution_errors.push(error);
            }
        }
        let started = Instant::now();
        let answer = runback.deliver(&alert).await;
        assert!(started.elapsed() < IN_TIME, "{trouble}");
        answer.is(200, "rollback", "unconfirmed");
        assert_rolled_back(&simulator);
        let story = one_story(&simulator);
        assert_contains(&story, &["unconfirmed", BAD, GOOD]);
        if trouble == "403" {
            assert_contains(&story, &["monitoring.timeSeries.list"]);
        }
        runback.finish().await;
    }
}

#[tokio::test]
async fn a_forbidden_write_is_told_once_and_given_up_after_an_hour() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("run.put").always().denies("run.services.update");
    for _ in 0..2 {
        let answer = runback.deliver(&alert).await;
        assert_eq!(answer.status, 503, "{answer:#?}");
        assert!(answer.headers.contains_key("retry-after"));
        assert_contains(&one_story(&simulator), &["permission_denied", "run.services.update"]);
    }
    simulator.advance(minutes(70));
    runback.deliver(&alert).await.is(200, "notify", "permission_denied");
    one_story(&simulator);
    assert_eq!((simulator.writes().len(), simulator.tasks().len()), (0, 0));
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 100)]));
    runback.finish().await;
}

#[tokio::test]
async fn a_permission_that_is_granted_within_the_hour_is_used() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("run.put").denies("iam.serviceaccounts.actAs");
    assert_eq!(runback.deliver(&alert).await.status, 503);
    assert_contains(&one_story(&simulator), &["iam.serviceaccounts.actAs"]);
    simulator.advance(minutes(2));
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    assert_eq!(simulator.slack().len(), 2);
    runback.finish().await;
}

#[tokio::test]
async fn a_forbidden_read_names_the_permission_to_read() {
    for (call, permission) in [("run.get", "run.services.get"), ("run.revisions", "run.revisions.list")] {
        let (simulator, runback, alert) = a_failing_deploy().await;
        simulator.at(call).always().fails(403);
        assert_eq!(runback.deliver(&alert).await.status, 503);
        assert_contains(&one_story(&simulator), &[permission]);
        assert_untouched(&simulator);
        runback.finish().await;
    }
}

#[tokio::test]
async fn a_service_that_is_gone_is_a_matter_for_people() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    let deleted = simulator.world().services.pop();
    for waited in [0, 4] {
        simulator.advance(minutes(waited));
        assert_eq!(runback.deliver(&alert).await.status, 503);
    }
    assert!(simulator.slack().is_empty(), "a 404 may be a moment's");
    simulator.advance(minutes(1));
    runback.deliver(&alert).await.is(200, "notify", "unresolved_service");
    assert_contains(&one_story(&simulator), &["Cloud Run does not know it", "take it out"]);
    simulator.world().services.extend(deleted);
    assert_untouched(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn one_404_costs_an_alert_nothing_but_time() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("run.get").fails(404);
    assert_eq!(runback.deliver(&alert).await.status, 503);
    assert!(simulator.slack().is_empty());
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    one_story(&simulator);
    runback.finish().await;
}

/// Traffic has moved and nobody knows: that must not be acknowledged because of a 404.
#[tokio::test]
async fn a_404_at_the_redelivery_after_a_crash_behind_the_write_hides_nothing() {
    let (simulator, mut runback, alert) = a_failing_deploy().await;
    simulator.at("run.put").carried_out().does(runback.killer());
    assert_eq!(runback.deliver(&alert).await.status, 0);
    runback.restart().await;
    simulator.at("run.get").fails(404);
    assert_eq!(runback.deliver(&alert).await.status, 503);
    assert!(simulator.slack().is_empty());
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    one_story(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn one_404_ends_neither_a_step_nor_a_check_nor_a_watch() {
    let policy = json!({"strategy": "gradual"});
    let (simulator, runback, alert) = under_policy(Service { rpm: 600.0, ..k_back(0.2) }, policy).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    let told = simulator.slack().len();
    simulator.advance(minutes(4));
    for (what, wait) in [("step-50", 4), ("step-100", 5), ("check-1", 0)] {
        assert!(simulator.tasks()[0].id().ends_with(what), "{:#?}", simulator.tasks());
        simulator.at("run.get").fails(404);
        for status in [503, 200] {
            assert_eq!(later(&simulator, &runback, Duration::ZERO).await, [status], "{what}");
        }
        simulator.advance(minutes(wait));
    }
    assert_eq!((&on_record(&simulator)["phase"], moves(&simulator)), (&json!("recovered"), 3));
    assert_eq!(simulator.slack().len(), told + 2, "the last step and the verdict");
    runback.finish().await;
}

#[tokio::test]
async fn a_pipeline_that_is_not_found_for_a_moment_asks_again() {
    let (simulator, runback, _) = a_failing_deploy().await;
    simulator.at("run.get").fails(404);
    let body = json!({"service": FULL_NAME}).to_string();
    let watch = Delivery::new("/watch", &[("content-type", "application/json")], body);
    assert_eq!(runback.send(&watch).await.status, 503);
    runback.send(&watch).await.is(200, "ignore", "watching");
    runback.finish().await;
}

#[tokio::test]
async fn a_token_endpoint_that_fails_is_asked_again_with_the_redelivery() {
    let (simulator, runback, alert) =
        with_trouble(|simulator| simulator.at("token").always().fails(500)).await;
    let started = Instant::now();
    let answer = runback.deliver(&alert).await;
    assert!(started.elapsed() < IN_TIME);
    assert_eq!(answer.status, 503, "{answer:#?}");
    assert_untouched(&simulator);
    simulator.repair();
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_queue_that_is_down_stops_no_rollback_and_no_story() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("tasks.*").always().fails(503);
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    runback.deliver(&alert).await.is(200, "ignore", "already_handled");
    assert_rolled_back(&simulator);
    let messages = simulator.slack();
    assert_eq!(messages.len(), 2, "{messages:#?}");
    assert_contains(&messages[0].text, &["rolled back", BAD, GOOD]);
    assert_contains(&messages[1].text, &["nobody will check the rollback", "the queue"]);
    runback.finish().await;
}

/// Google never says so much; something in between might.
#[tokio::test]
async fn an_answer_far_too_long_is_not_read_and_the_message_comes_again() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("run.get").always().replies(Reply::text(200, &"x".repeat(40 * 1024 * 1024)));
    let answer = runback.deliver(&alert).await;
    assert_eq!(answer.status, 503, "{answer:#?}");
    assert_contains(&answer.json()["error"].to_string(), &["an answer of more than"]);
    assert!(runback.resident().unwrap() < 100 * 1024 * 1024);
    simulator.repair();
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn success_is_reported_when_the_status_shows_it_and_not_before() {
    let mut service = k_back(0.4);
    service.reconcile = Reconcile::After(Duration::from_millis(1500));
    let (simulator, runback, alert) = a_world_with(service).await;
    let started = Instant::now();
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert!(started.elapsed() >= Duration::from_millis(1500));
    assert_rolled_back(&simulator);
    let told = simulator.calls("slack.webhook");
    let written = simulator.calls("run.put");
    assert!(told[0].at - written[0].at >= 1.4, "people were told before the status showed it");
    runback.finish().await;
}

#[tokio::test]
async fn without_a_queue_a_switch_that_never_arrives_comes_again_for_five_minutes_and_then_people_are_told() {
    let mut service = k_back(0.4);
    service.reconcile = Reconcile::Never;
    let simulator = Simulator::with([service]).await;
    let runback = Launch::beside(&simulator).without("RUNBACK_TASKS_QUEUE").start().await;
    let alert = Alert::on(&simulator, SERVICE);
    let started = Instant::now();
    let answer = runback.deliver(&alert).await;
    assert!(started.elapsed() < IN_TIME);
    assert_eq!(answer.status, 503, "{answer:#?}");
    assert!(answer.headers.contains_key("retry-after"));
    assert_contains(&one_story(&simulator), &["⏳", "does not show it yet"]);
    simulator.advance(minutes(6));
    let answer = runback.deliver(&alert).await;
    assert_eq!(answer.status, 200, "{answer:#?}");
    assert_contains(&last_message(&simulator), &["not in effect", GOOD, "is not ready"]);
    assert_eq!(moves(&simulator), 1);
    runback.deliver(&alert).await.is(200, "ignore", "already_handled");
    assert_eq!(simulator.slack().len(), 2);
    runback.finish().await;
}
