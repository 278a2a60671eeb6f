//! A switch that takes longer than the answer: tasks go on watching, and people hear how it came out.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::alert::Alert;
use crate::harness::{Runback, split};
use crate::simulator::{Reconcile, Simulator, minutes};
use crate::situation::{
    BAD, GOOD, IN_TIME, SERVICE, a_world_with, assert_contains, delivered, k_back, last_message, later,
    moves, on_record, one_story,
};

const A_WHILE: Duration = Duration::from_secs(20);

/// The switch is written and answered for; the status does not show it.
async fn on_its_way() -> (Simulator, Runback, Alert) {
    let mut service = k_back(0.4);
    service.reconcile = Reconcile::Never;
    let (simulator, runback, alert) = a_world_with(service).await;
    let started = Instant::now();
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert!(started.elapsed() < IN_TIME);
    assert_contains(
        &one_story(&simulator),
        &["⏳ k-back: going back to 00041-xyz", "240 of 600", "does not show it yet"],
    );
    assert_eq!(simulator.tasks().len(), 1);
    (simulator, runback, alert)
}

/// What people hear after the word that it is under way, once.
#[track_caller]
fn how_it_came_out(simulator: &Simulator) -> String {
    assert_eq!(simulator.slack().len(), 2, "{:#?}", simulator.slack());
    last_message(simulator)
}

#[tokio::test]
async fn it_is_watched_until_it_arrives_and_then_the_whole_story_is_told() {
    let (simulator, runback, alert) = on_its_way().await;
    for _ in 0..3 {
        assert_eq!(later(&simulator, &runback, A_WHILE).await, [200]);
        assert_eq!((simulator.tasks().len(), simulator.slack().len()), (1, 1));
    }
    simulator.change(SERVICE, |service| service.catch_up());
    later(&simulator, &runback, A_WHILE).await;
    assert_contains(
        &how_it_came_out(&simulator),
        &["rolled back", BAD, GOOD, "240 of 600", "runback release"],
    );
    assert!(simulator.tasks()[0].id().ends_with("-check-1"));
    runback.deliver(&alert).await.is(200, "ignore", "already_handled");
    later(&simulator, &runback, minutes(6)).await;
    assert_contains(&last_message(&simulator), &["recovered"]);
    assert_eq!((simulator.slack().len(), moves(&simulator)), (3, 1));
    runback.finish().await;
}

#[tokio::test]
async fn what_took_long_is_logged_once() {
    let (simulator, runback, _) = on_its_way().await;
    simulator.change(SERVICE, |service| service.catch_up());
    later(&simulator, &runback, A_WHILE).await;
    later(&simulator, &runback, minutes(6)).await;
    let log = runback.log();
    let with = |key: &str| log.iter().filter(|entry| entry[key].is_string()).count();
    assert_eq!((with("decision"), with("verdict")), (1, 1), "{log:#?}");
    let says =
        |text: &str| log.iter().filter(|entry| entry["message"].as_str().unwrap().contains(text)).count();
    assert_eq!((says("goes back from"), says("% bad (")), (1, 1), "{log:#?}");
    runback.finish().await;
}

/// On Cloud Run the next call seldom reaches the same process.
#[tokio::test]
async fn another_process_tells_what_the_record_has_of_it() {
    let (simulator, mut runback, _) = on_its_way().await;
    runback.restart().await;
    simulator.change(SERVICE, |service| service.catch_up());
    later(&simulator, &runback, A_WHILE).await;
    assert_contains(
        &how_it_came_out(&simulator),
        &["rolled back", BAD, GOOD, "240 of 600", "reason: confirmed", "runback release"],
    );
    assert!(simulator.tasks()[0].id().ends_with("-check-1"));
    runback.finish().await;
}

#[tokio::test]
async fn five_minutes_after_the_write_people_are_told_that_it_did_not_arrive() {
    let (simulator, runback, alert) = on_its_way().await;
    later(&simulator, &runback, minutes(4)).await;
    one_story(&simulator);
    later(&simulator, &runback, minutes(1)).await;
    assert_contains(
        &how_it_came_out(&simulator),
        &["not in effect", "not_arrived", GOOD, "is not ready and cannot serve traffic", "runback status"],
    );
    assert_eq!((&on_record(&simulator)["phase"], simulator.tasks().len()), (&json!("not_arrived"), 0));
    runback.deliver(&alert).await.is(200, "ignore", "already_handled");
    how_it_came_out(&simulator);
    assert_eq!(moves(&simulator), 1);
    runback.finish().await;
}

#[tokio::test]
async fn looks_that_come_twice_or_a_day_late_do_no_harm() {
    let (simulator, mut runback, _) = on_its_way().await;
    let watch = simulator.tasks().remove(0);
    simulator.advance(A_WHILE);
    for _ in 0..3 {
        assert_eq!(runback.send(&delivered(&watch)).await.status, 200);
    }
    assert_eq!(simulator.tasks().len(), 2, "the next look is planned once");
    simulator.change(SERVICE, |service| service.catch_up());
    let answers = runback.send_at_once(&delivered(&watch), 5).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:#?}");
    how_it_came_out(&simulator);
    runback.restart().await;
    assert_eq!(runback.send(&delivered(&watch)).await.status, 200);
    how_it_came_out(&simulator);
    simulator.advance(crate::simulator::days(1));
    assert_eq!(runback.send(&delivered(&watch)).await.status, 200);
    how_it_came_out(&simulator);
    assert_eq!((simulator.traffic(SERVICE), moves(&simulator)), (split([(GOOD, 100)]), 1));
    runback.finish().await;
}

#[tokio::test]
async fn somebody_elses_change_meanwhile_is_left_alone_and_told() {
    let (simulator, runback, _) = on_its_way().await;
    simulator.change(SERVICE, |service| service.move_traffic(&[(BAD, 100)]));
    later(&simulator, &runback, A_WHILE).await;
    assert_contains(&how_it_came_out(&simulator), &["someone else moved the traffic", "overruled"]);
    assert_eq!((simulator.traffic(SERVICE), moves(&simulator)), (split([(BAD, 100)]), 1));
    assert_eq!((&on_record(&simulator)["phase"], simulator.tasks().len()), (&json!("overruled"), 0));
    runback.finish().await;
}

#[tokio::test]
async fn killed_at_any_call_of_a_look_the_next_one_tells() {
    let calls = ["run.get", "slack.webhook", "tasks.create", "tasks.get"];
    let cases = calls.iter().flat_map(|call| [(*call, false), (*call, true)]);
    // Each waits for seconds, so all of them wait together.
    let running: Vec<_> = cases.map(|(call, done)| tokio::spawn(killed_at(call, done))).collect();
    for each in running {
        each.await.unwrap();
    }
}

async fn killed_at(call: &str, done: bool) {
    let (simulator, mut runback, _) = on_its_way().await;
    simulator.change(SERVICE, |service| service.catch_up());
    let at = simulator.at(call);
    if done {
        at.carried_out().does(runback.killer())
    } else {
        at.does(runback.killer())
    }
    assert_eq!(later(&simulator, &runback, A_WHILE).await, [0], "{call} {done}");
    runback.restart().await;
    simulator.repair();
    runback.deliver_due_tasks().await;
    let told = simulator.slack().len() - 1;
    assert!((1..=2).contains(&told), "{call} {done}: {told}");
    assert!(simulator.tasks().iter().any(|task| task.id().ends_with("-check-1")), "{call} {done}");
    assert_eq!(moves(&simulator), 1);
    runback.finish().await;
}

#[tokio::test]
async fn where_the_queue_refuses_the_look_the_message_comes_again() {
    let mut service = k_back(0.4);
    service.reconcile = Reconcile::Never;
    let (simulator, runback, alert) = a_world_with(service).await;
    simulator.at("tasks.create").always().fails(503);
    assert_eq!(runback.deliver(&alert).await.status, 503);
    simulator.repair();
    simulator.change(SERVICE, |service| service.catch_up());
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_contains(&how_it_came_out(&simulator), &["rolled back", BAD, GOOD]);
    assert_eq!(moves(&simulator), 1);
    runback.finish().await;
}
