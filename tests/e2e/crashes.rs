//! Wherever the process dies, the redelivery finishes what was begun, and traffic moves once.

use std::time::{Duration, Instant};

use crate::alert::{Alert, Envelope};
use crate::harness::{Launch, Runback};
use crate::simulator::{Simulator, minutes};
use crate::situation::{
    BAD, GOOD, IN_TIME, SERVICE, a_failing_deploy, assert_contains, assert_rolled_back, assert_untouched,
    k_back, moves, one_story,
};

/// It dies, comes back and gets the message again, a little later.
async fn dies_and_gets_it_again(simulator: &Simulator, runback: &mut Runback, alert: &Alert) {
    assert_eq!(runback.deliver(alert).await.status, 0);
    runback.restart().await;
    simulator.repair();
    simulator.advance(Duration::from_secs(15));
}

#[tokio::test]
async fn killed_while_it_reads_it_has_done_nothing_and_the_redelivery_rolls_back() {
    let (simulator, mut runback, alert) = a_failing_deploy().await;
    simulator.at("monitoring.list").does(runback.killer());
    assert_eq!(runback.deliver(&alert).await.status, 0);
    assert_untouched(&simulator);
    runback.restart().await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    one_story(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn killed_before_the_write_arrives_the_redelivery_rolls_back() {
    let (simulator, mut runback, alert) = a_failing_deploy().await;
    let kill = runback.killer();
    simulator.at("run.put").fails(503);
    simulator.at("run.put").does(kill);
    dies_and_gets_it_again(&simulator, &mut runback, &alert).await;
    assert_eq!(moves(&simulator), 0);
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    one_story(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn killed_after_the_write_the_redelivery_tells_the_story_once_and_plans_the_check() {
    let (simulator, mut runback, alert) = a_failing_deploy().await;
    simulator.at("run.put").carried_out().does(runback.killer());
    dies_and_gets_it_again(&simulator, &mut runback, &alert).await;
    assert!(simulator.slack().is_empty() && simulator.tasks().is_empty());
    let answer = runback.deliver(&alert).await;
    answer.is(200, "rollback", "confirmed");
    assert_contains(&answer.text, &[BAD, GOOD]);
    assert_contains(&one_story(&simulator), &[BAD, GOOD, "confirmed", "runback release"]);
    assert_eq!(simulator.tasks().len(), 1);
    runback.deliver(&alert).await.is(200, "ignore", "already_handled");
    assert_rolled_back(&simulator);
    one_story(&simulator);
    simulator.advance(minutes(6));
    runback.deliver_due_tasks().await;
    assert_eq!(simulator.slack().len(), 2);
    runback.finish().await;
}

#[tokio::test]
async fn killed_after_the_write_without_a_queue_the_redelivery_tells_the_story_once() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let mut runback = Launch::beside(&simulator).without("RUNBACK_TASKS_QUEUE").start().await;
    let alert = Alert::on(&simulator, SERVICE);
    simulator.at("run.put").carried_out().does(runback.killer());
    dies_and_gets_it_again(&simulator, &mut runback, &alert).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    runback.restart().await;
    runback.deliver(&alert).await.is(200, "ignore", "already_handled");
    assert_rolled_back(&simulator);
    one_story(&simulator);
    runback.finish().await;
}

/// The redelivery comes while another process could still be at work: it waits a moment rather than tell twice.
#[tokio::test]
async fn killed_after_the_write_a_redelivery_at_once_tells_the_story_in_time() {
    let (simulator, mut runback, alert) = a_failing_deploy().await;
    simulator.at("run.put").carried_out().does(runback.killer());
    assert_eq!(runback.deliver(&alert).await.status, 0);
    runback.restart().await;
    let started = Instant::now();
    let answers = runback.send_at_once(&alert.wrapped(Envelope::Eventarc), 5).await;
    assert!(started.elapsed() < IN_TIME);
    assert!(answers.iter().all(|answer| [200, 503].contains(&answer.status)), "{answers:#?}");
    assert_rolled_back(&simulator);
    one_story(&simulator);
    assert_eq!(simulator.tasks().len(), 1);
    runback.finish().await;
}

#[tokio::test]
async fn killed_right_after_slack_has_it_nothing_moves_again_and_the_check_is_planned() {
    let (simulator, mut runback, alert) = a_failing_deploy().await;
    simulator.at("slack.webhook").carried_out().does(runback.killer());
    dies_and_gets_it_again(&simulator, &mut runback, &alert).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    // Nothing on record says that Slack had it: twice is better than never.
    assert!((1..=2).contains(&simulator.slack().len()));
    assert_eq!(simulator.tasks().len(), 1);
    runback.finish().await;
}

#[tokio::test]
async fn killed_once_the_check_is_planned_everything_is_done() {
    let (simulator, mut runback, alert) = a_failing_deploy().await;
    simulator.at("tasks.create").carried_out().does(runback.killer());
    dies_and_gets_it_again(&simulator, &mut runback, &alert).await;
    runback.deliver(&alert).await.is(200, "ignore", "already_handled");
    assert_rolled_back(&simulator);
    one_story(&simulator);
    assert_eq!(simulator.tasks().len(), 1);
    runback.finish().await;
}

#[tokio::test]
async fn killed_in_the_middle_of_a_check_the_task_reports_once_more_at_most() {
    let (simulator, mut runback, alert) = a_failing_deploy().await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    simulator.advance(minutes(6));
    simulator.at("monitoring.list").does(runback.killer());
    assert_eq!(runback.deliver_due_tasks().await[0].status, 0);
    runback.restart().await;
    assert_eq!(runback.deliver_due_tasks().await[0].status, 200);
    assert_eq!(simulator.slack().len(), 2);
    assert_rolled_back(&simulator);
    runback.finish().await;
}
