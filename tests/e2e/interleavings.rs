//! What goes wrong in the middle of a rollback, or between its looks: it neither hangs nor says what is not so.

use std::time::Duration;

use serde_json::{Value, json};

use crate::alert::Alert;
use crate::harness::{Launch, Runback, split};
use crate::simulator::{Revision, Service, Simulator, minutes, refusal};
use crate::situation::{
    BAD, GOOD, SERVICE, a_first_step, assert_contains, busy, delivered, k_back, last_message, later, moves,
    on_record, under_policy,
};

const STEP: Duration = minutes(4);
const FIX: &str = "k-back-00043-fix";

/// Everything has moved, and the target fails like the culprit; the look at it is due.
async fn not_helped_by(service: Service) -> (Simulator, Runback, Alert) {
    let (simulator, runback, alert) = under_policy(service, json!({"not_helped": "restore"})).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    simulator.change(SERVICE, |service| service.set_errors(GOOD, 0.4));
    simulator.advance(minutes(6));
    (simulator, runback, alert)
}

fn told(simulator: &Simulator) -> String {
    simulator.slack().iter().map(|message| message.text.as_str()).collect::<Vec<_>>().join("\n\n")
}

fn messages_with(simulator: &Simulator, part: &str) -> usize {
    simulator.slack().iter().filter(|message| message.text.contains(part)).count()
}

/// Somebody tries a fix on a part of the target's traffic: the way back would take that away from it.
#[tokio::test]
async fn a_split_that_somebody_has_changed_since_is_not_given_back() {
    let (simulator, runback, _) = not_helped_by(k_back(0.4)).await;
    simulator.change(SERVICE, |service| {
        service.deploy(Revision::named(FIX));
        service.move_traffic(&[(GOOD, 80), (FIX, 20)]);
    });
    assert_eq!(runback.deliver_due_tasks().await[0].status, 200);
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 80), (FIX, 20)]));
    assert_eq!((moves(&simulator), &on_record(&simulator)["phase"]), (1, &json!("not_helped")));
    runback.finish().await;
}

#[tokio::test]
async fn a_queue_that_hangs_leaves_no_rollback_half_way() {
    let (simulator, runback, alert) = under_policy(busy(), json!({"strategy": "gradual"})).await;
    simulator.at("tasks.*").always().hangs(Duration::from_secs(20));
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
    assert_contains(&told(&simulator), &["the task queue refuses the next step"]);
    runback.finish().await;
}

#[tokio::test]
async fn when_neither_the_next_step_nor_the_rest_can_be_had_the_alert_comes_again_and_ends_it() {
    let (simulator, runback, alert) = under_policy(busy(), json!({"strategy": "gradual"})).await;
    simulator.at("tasks.create").always().fails(403);
    simulator.at("run.put").skip(1).fails(503);
    assert_eq!(runback.deliver(&alert).await.status, 503);
    // It has read no evidence for more: that is read once the step is due.
    assert_eq!(runback.deliver(&alert).await.status, 503);
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 90), (GOOD, 10)]));
    simulator.advance(minutes(10));
    assert_eq!(runback.deliver(&alert).await.status, 200);
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
    assert_eq!(messages_with(&simulator, "moved back to"), 1, "{}", told(&simulator));
    runback.finish().await;
}

#[tokio::test]
async fn when_neither_can_be_had_at_a_further_step_the_task_comes_again_and_ends_it() {
    let (simulator, runback, _) = a_first_step(json!({})).await;
    simulator.at("tasks.create").always().fails(403);
    simulator.at("run.put").skip(1).fails(503);
    assert_eq!(later(&simulator, &runback, STEP).await, [503]);
    // The next look at the evidence is due when the next step is.
    assert_eq!(later(&simulator, &runback, Duration::from_secs(20)).await, [503]);
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 50), (GOOD, 50)]));
    assert_eq!(later(&simulator, &runback, minutes(10)).await, [200]);
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
    runback.finish().await;
}

#[tokio::test]
async fn while_monitoring_hangs_a_step_goes_on_as_well() {
    let (simulator, runback, _) = a_first_step(json!({})).await;
    simulator.at("monitoring.list").always().hangs(Duration::from_secs(20));
    assert_eq!(later(&simulator, &runback, minutes(10)).await, [200]);
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 50), (GOOD, 50)]));
    assert_contains(&last_message(&simulator), &["50 % without a look"]);
    runback.finish().await;
}

#[tokio::test]
async fn a_step_that_cloud_run_refuses_for_good_is_told() {
    let (simulator, runback, _) = a_first_step(json!({})).await;
    simulator.at("run.put").fails(400);
    assert_eq!(later(&simulator, &runback, STEP).await, [200]);
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 90), (GOOD, 10)]));
    assert_contains(&last_message(&simulator), &["write_refused", "told to fail", "10%", GOOD]);
    assert_eq!((&on_record(&simulator)["phase"], simulator.tasks().len()), (&json!("halted"), 0));
    assert_eq!(simulator.slack().len(), 2);
    runback.finish().await;
}

/// The culprit has no traffic, so somebody may delete it: then there is nothing to give the traffic back to.
#[tokio::test]
async fn a_way_back_that_cloud_run_refuses_for_good_is_told() {
    let (simulator, runback, _) = not_helped_by(k_back(0.4)).await;
    simulator.at("run.put").fails(400);
    assert_eq!(runback.deliver_due_tasks().await[0].status, 200);
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
    assert_contains(
        &last_message(&simulator),
        &["write_refused", "told to fail", "fails as well", GOOD, "no way back"],
    );
    assert_eq!((&on_record(&simulator)["phase"], simulator.tasks().len()), (&json!("not_helped"), 0));
    assert_eq!(simulator.slack().len(), 2);
    runback.finish().await;
}

#[tokio::test]
async fn a_step_that_lacks_a_permission_is_told_and_comes_again() {
    let (simulator, mut runback, _) = a_first_step(json!({})).await;
    simulator.at("run.put").always().denies("run.services.update");
    assert_eq!(later(&simulator, &runback, STEP).await, [503]);
    assert_contains(&last_message(&simulator), &["run.services.update", "permission_denied"]);
    assert!(!last_message(&simulator).contains("Nothing was touched"), "{}", last_message(&simulator));
    simulator.repair();
    runback.restart().await;
    assert_eq!(later(&simulator, &runback, Duration::from_secs(20)).await, [200]);
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 50), (GOOD, 50)]));
    runback.finish().await;
}

#[tokio::test]
async fn a_critical_alert_does_not_move_the_rest_to_a_target_that_is_no_better() {
    let (simulator, runback, _) = a_first_step(json!({})).await;
    simulator.change(SERVICE, |service| {
        service.set_errors(GOOD, 1.0);
        service.set_errors(BAD, 1.0);
    });
    simulator.advance(minutes(3));
    let critical = Alert::on(&simulator, SERVICE)
        .incident("0.second")
        .set("/incident/policy_user_labels", json!({"runback": "critical"}));
    runback.deliver(&critical).await.is(200, "ignore", "already_handled");
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 90), (GOOD, 10)]));
    runback.finish().await;
}

/// 3 % of many requests, rolled back at the warning's deadline; the target then fails at the same 3 %.
async fn rolled_back_for_a_warning(target: f64) -> (Simulator, Runback) {
    let service = Service { rpm: 600.0, ..k_back(0.03) };
    let (simulator, runback, alert) = under_policy(service, json!({"warning": 0.02})).await;
    runback.deliver(&alert).await.is(200, "notify", "warning");
    simulator.advance(minutes(31));
    runback.deliver_due_tasks().await;
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
    simulator.change(SERVICE, |service| service.set_errors(GOOD, target));
    simulator.advance(minutes(6));
    runback.deliver_due_tasks().await;
    (simulator, runback)
}

#[tokio::test]
async fn what_was_rolled_back_for_little_has_not_recovered_while_it_fails_as_much() {
    let (simulator, runback) = rolled_back_for_a_warning(0.03).await;
    assert_contains(&last_message(&simulator), &["not_helped", "fails as well"]);
    assert_eq!(on_record(&simulator)["phase"], "not_helped");
    runback.finish().await;
}

/// The task that judged the warning again does not know when the alert came.
#[tokio::test]
async fn a_rollback_at_a_warnings_deadline_claims_no_time_from_the_alert_to_the_switch() {
    let (simulator, runback) = rolled_back_for_a_warning(0.001).await;
    assert_contains(&last_message(&simulator), &["recovered", "from the switch until"]);
    assert!(!last_message(&simulator).contains("from the alert"), "{}", last_message(&simulator));
    runback.finish().await;
}

/// LATEST is still the culprit when the split goes back, and another revision a moment later.
#[tokio::test]
async fn a_deploy_in_flight_does_not_get_the_traffic_that_comes_back() {
    let (simulator, runback, _) = not_helped_by(k_back(0.4).traffic(&[("LATEST", 100)])).await;
    simulator.change(SERVICE, |service| service.set_deploying(true));
    runback.deliver_due_tasks().await;
    simulator.change(SERVICE, |service| service.deploy(Revision::named(FIX)));
    assert_eq!(simulator.spec_traffic(SERVICE), split([(BAD, 100)]));
    runback.finish().await;
}

/// While it is told that a rollback halted, an alert in another process moves the rest: that one is judged.
#[tokio::test]
async fn how_it_ended_is_not_recorded_over_a_step_that_came_in_between() {
    let (simulator, runback, _) = a_first_step(json!({})).await;
    simulator.change(SERVICE, |service| service.set_errors(GOOD, 0.9));
    simulator.at("run.put").does(|world| {
        let running = world.service(SERVICE);
        let mut record: Value = serde_json::from_str(running.record().unwrap()).unwrap();
        record["rollbacks"][0]["step"] = json!(100);
        running.move_traffic(&[(GOOD, 100)]);
        running.annotate(crate::simulator::STATE, &record.to_string());
    });
    later(&simulator, &runback, STEP).await;
    assert_eq!(
        (&on_record(&simulator)["step"], &on_record(&simulator)["phase"]),
        (&json!(100), &json!("switching"))
    );
    runback.finish().await;
}

/// Nothing would change if the task came again, and the queue would bring it twenty times.
#[tokio::test]
async fn an_ending_that_cloud_run_refuses_to_record_is_told_once_and_is_over() {
    for ending in ["recovered", "overruled"] {
        let (simulator, runback, alert) = under_policy(k_back(0.4), json!({})).await;
        runback.deliver(&alert).await.is(200, "rollback", "confirmed");
        if ending == "overruled" {
            simulator.change(SERVICE, |service| service.move_traffic(&[(BAD, 100)]));
        }
        let told = simulator.slack().len();
        simulator.at("run.put").always().replies(refusal(400, "metadata.annotations: too large"));
        assert_eq!(later(&simulator, &runback, minutes(6)).await, [200], "{ending}");
        assert_eq!(simulator.slack().len() - told, usize::from(ending == "recovered"), "{ending}");
        assert!(simulator.tasks().is_empty(), "{ending}: {:#?}", simulator.tasks());
        assert_eq!((&on_record(&simulator)["phase"], moves(&simulator)), (&json!("switching"), 1));
        runback.finish().await;
    }
}

/// Each try would be a new process's, which does not know that people have been told.
#[tokio::test]
async fn a_verdict_that_cloud_run_refuses_to_record_is_told_once() {
    for status in [400, 403] {
        let (simulator, mut runback, alert) = under_policy(k_back(0.4), json!({})).await;
        runback.deliver(&alert).await.is(200, "rollback", "confirmed");
        simulator.at("run.put").always().fails(status);
        for _ in 0..3 {
            later(&simulator, &runback, minutes(6)).await;
            runback.restart().await;
        }
        assert_eq!(messages_with(&simulator, "reason: recovered"), 1, "{}", told(&simulator));
        runback.finish().await;
    }
}

#[tokio::test]
async fn a_rollback_under_way_is_not_replaced_by_another_one_when_the_cooldown_is_short() {
    let service = Service { revisions: vec![], ..busy() }
        .revision(crate::situation::deployed(0.2))
        .revision(
            Revision::named(GOOD)
                .age(crate::simulator::hours(5))
                .served(crate::simulator::hours(5)..minutes(20)),
        )
        .revision(
            Revision::named("k-back-00040-uvw")
                .age(crate::simulator::days(5))
                .served(crate::simulator::days(5)..crate::simulator::hours(5)),
        );
    let keys = json!({"strategy": "gradual", "step_interval": "20m", "cooldown": "5m"});
    let (simulator, runback, alert) = under_policy(service, keys).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    simulator.change(SERVICE, |service| service.set_errors(GOOD, 1.0));
    simulator.advance(minutes(12));
    let second = Alert::on(&simulator, SERVICE)
        .incident("0.second")
        .set("/incident/resource/labels/revision_name", json!(GOOD));
    runback.deliver(&second).await.is(200, "notify", "cooldown");
    assert_eq!((simulator.traffic(SERVICE), moves(&simulator)), (split([(BAD, 90), (GOOD, 10)]), 1));
    runback.finish().await;
}

#[tokio::test]
async fn a_service_that_is_no_longer_guarded_in_the_middle_is_told_of() {
    let (simulator, runback, _) = a_first_step(json!({})).await;
    simulator.advance(STEP);
    let task = simulator.tasks().remove(0);
    let mut policy = simulator.policy(json!({}));
    policy["service"][0]["service"] = json!("another");
    let other = Launch::beside(&simulator).variable("RUNBACK_POLICY", &policy.to_string()).start().await;
    assert_eq!(other.send(&delivered(&task)).await.status, 200);
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 90), (GOOD, 10)]));
    assert_contains(&last_message(&simulator), &["the policy no longer lists it", "runback status"]);
    other.finish().await;
    runback.finish().await;
}

/// Whoever applies the service's whole configuration anew removes our annotation with it.
#[tokio::test]
async fn a_record_that_is_gone_in_the_middle_is_told_of() {
    let (simulator, runback, _) = a_first_step(json!({})).await;
    simulator.change(SERVICE, |service| service.annotate(crate::simulator::STATE, ""));
    assert_eq!(later(&simulator, &runback, STEP).await, [200]);
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 90), (GOOD, 10)]));
    assert_contains(&last_message(&simulator), &["record", "runback status"]);
    assert_eq!(simulator.slack().len(), 2);
    runback.finish().await;
}

/// Each day's usual errors are no sign that a rollback for something else did not help.
#[tokio::test]
async fn the_usual_errors_do_not_count_against_a_target() {
    let (simulator, runback, alert) = under_policy(Service { rpm: 600.0, ..k_back(0.001) }, json!({})).await;
    let alert = crate::situation::uptime(alert, json!({"runback": "always"}));
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    later(&simulator, &runback, minutes(6)).await;
    assert_eq!(on_record(&simulator)["phase"], "recovered", "{}", last_message(&simulator));
    runback.finish().await;
}

#[tokio::test]
async fn the_rest_that_cloud_run_refuses_for_good_is_told_as_well() {
    let (simulator, runback, alert) = under_policy(busy(), json!({"strategy": "gradual"})).await;
    simulator.at("tasks.create").always().fails(403);
    simulator.at("run.put").skip(1).fails(400);
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_contains(&last_message(&simulator), &["write_refused", "told to fail", "stopped at 10%"]);
    assert_eq!(on_record(&simulator)["phase"], "halted");
    runback.finish().await;

    let (simulator, runback, _) = a_first_step(json!({})).await;
    simulator.at("run.put").always().fails(400);
    let critical = Alert::on(&simulator, SERVICE)
        .incident("0.second")
        .set("/incident/policy_user_labels", json!({"runback": "critical"}));
    simulator.change(SERVICE, |service| service.set_errors(BAD, 1.0));
    simulator.advance(minutes(3));
    runback.deliver(&critical).await.is(200, "notify", "write_refused");
    runback.finish().await;
}
