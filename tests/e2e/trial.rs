//! A trial: the culprit served well before, so timing does not show who is to blame, and both are judged on the same minutes.

use std::time::Duration;

use serde_json::json;

use crate::alert::Alert;
use crate::harness::{Launch, Runback, split};
use crate::simulator::{Service, Simulator, hours, minutes};
use crate::situation::{
    BAD, GOOD, SERVICE, assert_contains, k_back, last_message, later, moves, on_record, under_policy,
};

const WAIT: Duration = minutes(4);

/// The newest revision has served well for an hour, and for some minutes now most of its requests have failed, which may
/// be its own doing or that of something that every revision depends on.
async fn failing_late(everybody: bool) -> (Simulator, Runback, Alert) {
    let (simulator, runback, alert) = under_policy(Service { rpm: 600.0, ..k_back(0.0) }, json!({})).await;
    simulator.advance(hours(1));
    simulator.change(SERVICE, |service| {
        service.set_errors(BAD, 0.8);
        if everybody {
            service.set_errors(GOOD, 0.8);
        }
    });
    simulator.advance(minutes(9));
    (simulator, runback, alert)
}

#[tokio::test]
async fn the_rest_follows_when_the_target_is_better_on_the_same_minutes() {
    let (simulator, runback, alert) = failing_late(false).await;
    let answer = runback.deliver(&alert).await;
    answer.is(200, "rollback", "critical");
    assert_contains(&answer.text, &["on trial", "served well before"]);
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 50), (GOOD, 50)]));
    assert_eq!(on_record(&simulator)["trial"], json!(true));
    assert_contains(&last_message(&simulator), &["trial, 50% moved to", "Runback compares both"]);

    later(&simulator, &runback, WAIT).await;
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
    assert_contains(&last_message(&simulator), &["rolled back to", "The trial shows that", "is to blame"]);

    assert_eq!(later(&simulator, &runback, minutes(5)).await, [200]);
    assert_contains(&last_message(&simulator), &["recovered"]);
    assert_eq!(on_record(&simulator)["phase"], json!("recovered"));
    runback.finish().await;
}

#[tokio::test]
async fn a_target_that_fails_as_well_gives_the_traffic_back_and_clears_the_deploy() {
    let (simulator, runback, alert) = failing_late(true).await;
    runback.deliver(&alert).await.is(200, "rollback", "critical");
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 50), (GOOD, 50)]));

    later(&simulator, &runback, WAIT).await;
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 100)]));
    assert_eq!((moves(&simulator), &on_record(&simulator)["phase"]), (2, &json!("restored")));
    assert_eq!(simulator.record(SERVICE).unwrap()["quarantine"], json!([]));
    assert_contains(
        &last_message(&simulator),
        &["dependency_outage", "trial undone", "no better", "80 %", "put the previous split back"],
    );

    // It is cleared of this failing.
    let second = Alert::on(&simulator, SERVICE).incident("0.second");
    runback.deliver(&second).await.is(200, "notify", "dependency_outage");
    assert_eq!(moves(&simulator), 2);
    runback.finish().await;
}

#[tokio::test]
async fn what_nothing_tells_apart_is_left_to_people() {
    let (simulator, runback, alert) = failing_late(false).await;
    runback.deliver(&alert).await.is(200, "rollback", "critical");
    simulator.at("monitoring.list").times(usize::MAX).fails(403);
    later(&simulator, &runback, WAIT + minutes(6)).await;
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 50), (GOOD, 50)]));
    assert_eq!((moves(&simulator), &on_record(&simulator)["phase"]), (1, &json!("halted")));
    assert_contains(&last_message(&simulator), &["trial undecided", "decide: finish the rollback", "halted"]);
    runback.finish().await;
}

#[tokio::test]
async fn without_a_queue_nobody_would_end_it_so_people_get_the_plan() {
    let simulator = Simulator::with([Service { rpm: 600.0, ..k_back(0.0) }]).await;
    let runback = Launch::beside(&simulator).without("RUNBACK_TASKS_QUEUE").start().await;
    simulator.advance(hours(1));
    simulator.change(SERVICE, |service| service.set_errors(BAD, 0.8));
    simulator.advance(minutes(9));
    runback.deliver(&Alert::on(&simulator, SERVICE)).await.is(200, "notify", "not_deploy_related");
    assert_eq!(moves(&simulator), 0);
    assert_contains(&last_message(&simulator), &["a trial would show", "task queue", GOOD]);
    runback.finish().await;
}
