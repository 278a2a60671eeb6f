//! A rollback that did not help, under a policy that wants the previous split back.

use std::time::Duration;

use serde_json::json;

use crate::alert::Alert;
use crate::harness::{Runback, split};
use crate::simulator::{Reconcile, Revision, Service, Simulator, hours, minutes};
use crate::situation::{
    BAD, GOOD, SERVICE, a_second_rollback, assert_contains, delivered, k_back, last_message, later, moves,
    on_record, under_policy,
};

/// Both revisions fail alike after the switch; the look at it is due.
async fn not_helped_by(service: Service) -> (Simulator, Runback, Alert) {
    let (simulator, runback, alert) = under_policy(service, json!({"not_helped": "restore"})).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    simulator.change(SERVICE, |service| service.set_errors(GOOD, 0.4));
    simulator.advance(minutes(6));
    (simulator, runback, alert)
}

async fn not_helped() -> (Simulator, Runback, Alert) {
    not_helped_by(k_back(0.4)).await
}

#[track_caller]
fn assert_restored(simulator: &Simulator) {
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 100)]));
    assert_eq!((moves(simulator), &on_record(simulator)["phase"]), (2, &json!("restored")));
    assert_eq!(simulator.record(SERVICE).unwrap()["quarantine"], json!([]));
    assert!(simulator.tasks().is_empty());
}

#[tokio::test]
async fn the_previous_split_comes_back_and_the_culprit_is_not_to_blame() {
    let (simulator, mut runback, alert) = not_helped().await;
    runback.deliver_due_tasks().await;
    assert_restored(&simulator);
    assert_contains(
        &last_message(&simulator),
        &[
            "not_helped",
            "rollback undone",
            "put the previous split back",
            "will not roll",
            "40 %",
            "runback release",
        ],
    );
    assert_eq!(simulator.slack().len(), 2);

    // It stays where it is, whoever alerts on it later.
    runback.restart().await;
    runback.deliver(&alert).await.is(200, "ignore", "already_handled");
    simulator.advance(hours(1));
    let second = Alert::on(&simulator, SERVICE).incident("0.second");
    runback.deliver(&second).await.is(200, "notify", "dependency_outage");
    assert_contains(&last_message(&simulator), &["Going back would not help", "dependency_outage"]);
    assert_restored(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn another_deploy_may_be_rolled_back_to_it() {
    let (simulator, runback, _) = not_helped().await;
    runback.deliver_due_tasks().await;
    simulator.change(SERVICE, |service| {
        service.set_errors(BAD, 0.0);
        service.set_errors(GOOD, 0.0);
    });
    simulator.advance(hours(25));
    a_second_rollback(&simulator, &runback).await;
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 100)]), "its quarantine is lifted");
    runback.finish().await;
}

#[tokio::test]
async fn a_service_that_followed_latest_follows_it_again() {
    let (simulator, runback, _) = not_helped_by(k_back(0.4).traffic(&[("LATEST", 100)])).await;
    runback.deliver_due_tasks().await;
    assert_restored(&simulator);
    assert_contains(&last_message(&simulator), &["follows LATEST again"]);
    simulator.change(SERVICE, |service| service.deploy(Revision::named("k-back-00043-fix")));
    assert_eq!(simulator.spec_traffic(SERVICE), split([("k-back-00043-fix", 100)]));
    runback.finish().await;
}

/// LATEST means a revision now that never had this traffic.
#[tokio::test]
async fn a_deploy_since_does_not_get_the_traffic_that_comes_back() {
    let (simulator, runback, _) = not_helped_by(k_back(0.4).traffic(&[("LATEST", 100)])).await;
    simulator.change(SERVICE, |service| service.deploy(Revision::named("k-back-00043-fix")));
    runback.deliver_due_tasks().await;
    assert_restored(&simulator);
    assert_contains(&last_message(&simulator), &["runback release"]);
    runback.finish().await;
}

#[tokio::test]
async fn a_target_that_is_much_better_than_the_culprit_keeps_the_traffic() {
    let (simulator, runback, alert) =
        under_policy(Service { rpm: 600.0, ..k_back(0.8) }, json!({"not_helped": "restore"})).await;
    runback.deliver(&alert).await.is(200, "rollback", "critical");
    simulator.change(SERVICE, |service| service.set_errors(GOOD, 0.1));
    later(&simulator, &runback, minutes(6)).await;
    assert_eq!((simulator.traffic(SERVICE), moves(&simulator)), (split([(GOOD, 100)]), 1));
    assert_contains(&last_message(&simulator), &["fails as well", "80% bad (", "traffic stays"]);
    assert_eq!(on_record(&simulator)["phase"], "not_helped");
    runback.finish().await;
}

#[tokio::test]
async fn copies_of_the_task_put_it_back_once_and_tell_once() {
    let (simulator, mut runback, _) = not_helped().await;
    let check = simulator.tasks().remove(0);
    let answers = runback.send_at_once(&delivered(&check), 6).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:#?}");
    simulator.task_answered(&check.name, 200);
    runback.restart().await;
    assert_eq!(runback.send(&delivered(&check)).await.status, 200);
    simulator.advance(hours(24));
    assert_eq!(runback.send(&delivered(&check)).await.status, 200);
    assert_restored(&simulator);
    assert_eq!(simulator.slack().len(), 2);
    runback.finish().await;
}

#[tokio::test]
async fn killed_at_any_call_it_ends_in_the_same_place() {
    for call in ["run.get", "monitoring.list", "run.put", "slack.webhook"] {
        for (skip, done) in [(0, false), (0, true), (1, false), (1, true)] {
            let (simulator, mut runback, _) = not_helped().await;
            let at = simulator.at(call).skip(skip);
            if done {
                at.carried_out().does(runback.killer())
            } else {
                at.does(runback.killer())
            }
            runback.deliver_due_tasks().await;
            runback.restart().await;
            simulator.repair();
            runback.deliver_due_tasks().await;
            assert_restored(&simulator);
            let told = simulator.slack().len();
            assert!((2..=3).contains(&told), "{call} {skip} {done}: {told}");
            runback.finish().await;
        }
    }
}

#[tokio::test]
async fn a_change_at_the_last_moment_is_not_written_over() {
    let (simulator, runback, _) = not_helped().await;
    const FIX: &str = "k-back-00043-fix";
    simulator.at("run.put").does(|world| {
        world.service(SERVICE).deploy(Revision::named(FIX));
        world.service(SERVICE).move_traffic(&[(FIX, 100)]);
    });
    runback.deliver_due_tasks().await;
    assert_eq!((simulator.traffic(SERVICE), moves(&simulator)), (split([(FIX, 100)]), 1));
    assert_eq!(on_record(&simulator)["phase"], "overruled");
    runback.finish().await;
}

#[tokio::test]
async fn a_way_back_that_does_not_arrive_is_told() {
    let (simulator, runback, _) = not_helped().await;
    simulator.change(SERVICE, |service| service.service.reconcile = Reconcile::Never);
    assert_eq!(runback.deliver_due_tasks().await[0].status, 503);
    assert_eq!(simulator.slack().len(), 1);
    assert_eq!(later(&simulator, &runback, minutes(6)).await, [200]);
    assert_contains(&last_message(&simulator), &["previous split not in effect", "not_arrived"]);
    assert_eq!((moves(&simulator), &on_record(&simulator)["phase"]), (2, &json!("not_arrived")));
    runback.finish().await;
}

#[tokio::test]
async fn somebody_who_acts_while_it_comes_back_is_left_alone() {
    let (simulator, runback, _) = not_helped().await;
    simulator.change(SERVICE, |service| service.service.reconcile = Reconcile::Never);
    runback.deliver_due_tasks().await;
    simulator.change(SERVICE, |service| service.move_traffic(&[(GOOD, 100)]));
    assert_eq!(later(&simulator, &runback, Duration::from_secs(30)).await, [200]);
    assert_contains(&last_message(&simulator), &["someone else moved the traffic", "overruled"]);
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
    runback.finish().await;
}
