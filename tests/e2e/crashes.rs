//! A real process dies behind the write: the redelivery finishes what was begun, and traffic moves once. Every other place
//! to die is tried in `tests/schedules`.

use std::time::{Duration, Instant};

use crate::alert::{Alert, Envelope};
use crate::harness::Runback;
use crate::simulator::{Simulator, minutes};
use crate::situation::{
    BAD, GOOD, IN_TIME, a_failing_deploy, assert_contains, assert_rolled_back, one_story,
};

/// It dies, comes back and gets the message again, a little later.
async fn dies_and_gets_it_again(simulator: &Simulator, runback: &mut Runback, alert: &Alert) {
    assert_eq!(runback.deliver(alert).await.status, 0);
    runback.restart().await;
    simulator.repair();
    simulator.advance(Duration::from_secs(15));
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
