//! Nobody answers: every wait is bounded, and the answer is out before Eventarc delivers again.

use std::time::{Duration, Instant};

use crate::alert::Alert;
use crate::harness::Runback;
use crate::simulator::Simulator;
use crate::situation::{
    IN_TIME, a_failing_deploy, assert_contains, assert_rolled_back, assert_untouched, one_story, until,
    with_trouble,
};

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_silent_cloud_run_is_not_waited_for() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("run.*").always().hangs(LONG);
    let started = Instant::now();
    let answer = runback.deliver(&alert).await;
    assert!(started.elapsed() < IN_TIME, "{:?}", started.elapsed());
    assert_eq!(answer.status, 503, "{answer:#?}");
    assert_untouched(&simulator);
    simulator.repair();
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_silent_token_endpoint_is_not_waited_for() {
    let (simulator, runback, alert) =
        with_trouble(|simulator| simulator.at("token").always().hangs(LONG)).await;
    let started = Instant::now();
    let answer = runback.deliver(&alert).await;
    assert!(started.elapsed() < IN_TIME, "{:?}", started.elapsed());
    assert_eq!(answer.status, 503, "{answer:#?}");
    assert_untouched(&simulator);
    runback.finish().await;
}

/// The alert is answered before Eventarc gives up, and the traffic is back by then.
async fn assert_rolled_back_in_time(simulator: &Simulator, runback: &Runback, alert: &Alert, reason: &str) {
    let started = Instant::now();
    runback.deliver(alert).await.is(200, "rollback", reason);
    assert!(started.elapsed() < IN_TIME, "{:?}", started.elapsed());
    assert_rolled_back(simulator);
}

/// One lost connection, such as at a cold start: the next try for a token does not wait for the first.
#[tokio::test]
async fn a_lost_connection_to_the_token_endpoint_does_not_hold_up_the_alert() {
    let (simulator, runback, alert) = with_trouble(|simulator| simulator.at("token").hangs(LONG)).await;
    until("the first try", || !simulator.calls("token").is_empty()).await;
    assert_rolled_back_in_time(&simulator, &runback, &alert, "confirmed").await;
    runback.finish().await;
}

#[tokio::test]
async fn a_silent_monitoring_is_not_waited_for_and_the_alerts_word_stands() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("monitoring.*").always().hangs(LONG);
    assert_rolled_back_in_time(&simulator, &runback, &alert, "unconfirmed").await;
    assert_contains(&one_story(&simulator), &["unconfirmed"]);
    runback.finish().await;
}

#[tokio::test]
async fn a_silent_slack_holds_up_no_rollback() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("slack.*").always().hangs(LONG);
    assert_rolled_back_in_time(&simulator, &runback, &alert, "confirmed").await;
    runback.finish().await;
}

#[tokio::test]
async fn a_silent_queue_holds_up_no_rollback() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("tasks.*").always().hangs(LONG);
    assert_rolled_back_in_time(&simulator, &runback, &alert, "confirmed").await;
    let messages = simulator.slack();
    assert_eq!(messages.len(), 2, "{messages:#?}");
    assert_contains(&messages[1].text, &["nobody will check the rollback"]);
    runback.finish().await;
}

/// Everything takes a second, as on a bad day: slower than usual and in time all the same.
#[tokio::test]
async fn a_slow_day_is_still_answered_in_time() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.latency(Duration::from_millis(900));
    assert_rolled_back_in_time(&simulator, &runback, &alert, "confirmed").await;
    one_story(&simulator);
    runback.finish().await;
}
