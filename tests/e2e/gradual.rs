//! A rollback in steps: each is one write after one look, and whatever happens in between, it ends in one place.

use std::time::Duration;

use serde_json::{Value, json};

use crate::alert::{Alert, Envelope};
use crate::harness::{Launch, Runback, split};
use crate::simulator::{Reconcile, Revision, Service, Simulator, days, minutes};
use crate::situation::{
    BAD, GOOD, SERVICE, a_first_step, assert_contains, busy, delivered, k_back, last_message, later, moves,
    on_record, under_policy, until,
};

const STEP: Duration = minutes(4);

fn policy() -> Value {
    json!({"strategy": "gradual"})
}

async fn begun() -> (Simulator, Runback, Alert) {
    a_first_step(json!({})).await
}

fn tasks(simulator: &Simulator) -> Vec<String> {
    let id = on_record(simulator)["id"].as_str().unwrap().to_owned() + "-";
    simulator.tasks().iter().map(|task| task.id().replace(&id, "")).collect()
}

#[track_caller]
fn assert_all_moved(simulator: &Simulator, steps: usize) {
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
    assert_eq!((moves(simulator), &on_record(simulator)["step"]), (steps, &json!(100)));
}

#[tokio::test]
async fn each_step_is_one_write_after_one_look_and_recovery_is_judged_after_the_last() {
    let (simulator, runback, alert) = under_policy(busy(), policy()).await;
    let answer = runback.deliver(&alert).await;
    answer.is(200, "rollback", "confirmed");
    assert_eq!(
        answer.json()["to"],
        json!([{"revision": GOOD, "percent": 10}, {"revision": BAD, "percent": 90}])
    );
    assert_contains(&answer.text, &["10 % of its traffic first"]);
    assert_contains(
        &last_message(&simulator),
        &["10% moved back to", "Runback goes on to 50%", "runback release"],
    );
    let task = simulator.tasks().remove(0);
    assert_eq!(tasks(&simulator), ["step-50"]);
    assert!((235.0..=245.0).contains(&(task.due - task.created)), "{task:#?}");
    assert_eq!(
        (&on_record(&simulator)["step"], &on_record(&simulator)["phase"]),
        (&json!(10), &json!("switching"))
    );

    assert_eq!(later(&simulator, &runback, STEP).await, [200]);
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 50), (GOOD, 50)]));
    assert_eq!((tasks(&simulator), simulator.slack().len()), (vec!["step-100".to_owned()], 1));

    assert_eq!(later(&simulator, &runback, STEP).await, [200]);
    assert_all_moved(&simulator, 3);
    assert_eq!((tasks(&simulator), simulator.slack().len()), (vec!["check-1".to_owned()], 2));
    assert_contains(
        &last_message(&simulator),
        &["rolled back to", BAD, GOOD, "runback release", "confirmed"],
    );
    assert_eq!(simulator.calls("run.put").len(), 3, "nothing is written between the steps");
    let task = simulator.tasks().remove(0);
    assert!((295.0..=305.0).contains(&(task.due - task.created)), "{task:#?}");

    assert_eq!(later(&simulator, &runback, minutes(5)).await, [200]);
    assert_contains(
        &last_message(&simulator),
        &["recovered", "from the alert to the switch", "13 min until"],
    );
    assert_eq!((&on_record(&simulator)["phase"], tasks(&simulator).len()), (&json!("recovered"), 0));
    runback.finish().await;
}

#[tokio::test]
async fn a_critical_incident_ignores_the_strategy() {
    let (simulator, runback, alert) = under_policy(Service { rpm: 600.0, ..k_back(0.8) }, policy()).await;
    runback.deliver(&alert).await.is(200, "rollback", "critical");
    assert_all_moved(&simulator, 1);
    runback.finish().await;
}

#[tokio::test]
async fn without_a_queue_all_traffic_moves_at_once_and_the_start_says_so() {
    let simulator = Simulator::with([busy()]).await;
    let runback = Launch::beside(&simulator).policy(policy()).without("RUNBACK_TASKS_QUEUE").start().await;
    assert_contains(&runback.said(), &["gradual", "all traffic moves at once"]);
    runback.deliver(&Alert::on(&simulator, SERVICE)).await.is(200, "rollback", "confirmed");
    assert_all_moved(&simulator, 1);
    runback.finish().await;
}

#[tokio::test]
async fn a_queue_that_refuses_the_next_step_leaves_no_rollback_half_way() {
    for (status, times) in [(403, usize::MAX), (503, usize::MAX)] {
        let (simulator, runback, alert) = under_policy(busy(), policy()).await;
        simulator.at("tasks.create").times(times).fails(status);
        runback.deliver(&alert).await.is(200, "rollback", "confirmed");
        assert_all_moved(&simulator, 2);
        let told: String = simulator.slack().iter().map(|message| message.text.as_str()).collect();
        assert_contains(&told, &["the task queue refuses the next step", "nobody will check the rollback"]);
        runback.finish().await;
    }
}

#[tokio::test]
async fn a_queue_that_fails_for_a_moment_is_asked_again() {
    let (simulator, runback, alert) = under_policy(busy(), policy()).await;
    simulator.at("tasks.create").times(4).fails(503);
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_eq!((tasks(&simulator), moves(&simulator)), (vec!["step-50".to_owned()], 1));
    runback.finish().await;
}

#[tokio::test]
async fn a_culprit_that_turns_critical_loses_the_rest_at_once() {
    let (simulator, runback, _) = begun().await;
    simulator.change(SERVICE, |service| service.set_errors(BAD, 0.9));
    later(&simulator, &runback, STEP).await;
    assert_all_moved(&simulator, 2);
    assert_contains(
        &last_message(&simulator),
        &["rolled back to", "has become critical", "reason: critical"],
    );
    runback.finish().await;
}

/// The step is only due in minutes, and nobody should wait for it.
#[tokio::test]
async fn a_new_critical_alert_on_the_culprit_moves_the_rest_at_once() {
    let (simulator, runback, alert) = begun().await;
    let id = on_record(&simulator)["id"].clone();
    simulator.change(SERVICE, |service| service.set_errors(BAD, 1.0));
    simulator.advance(minutes(3));
    // Over the whole window it is not critical yet.
    let second = Alert::on(&simulator, SERVICE).incident("0.second");
    runback.deliver(&second).await.is(200, "ignore", "already_handled");
    assert_eq!(moves(&simulator), 1);
    let critical = second
        .incident("0.third")
        .again()
        .set("/incident/policy_user_labels", json!({"runback": "critical"}));
    let answer = runback.deliver(&critical).await;
    answer.is(200, "rollback", "critical");
    assert_eq!(answer.json()["to"], json!([{"revision": GOOD, "percent": 100}]));
    assert_all_moved(&simulator, 2);
    assert_eq!(on_record(&simulator)["id"], id, "it is the same rollback");
    assert_contains(
        &last_message(&simulator),
        &["All of it at once", "critical by another alert", "reason: critical"],
    );
    for again in [&critical, &alert] {
        runback.deliver(again).await.is(200, "ignore", "already_handled");
    }
    later(&simulator, &runback, minutes(2)).await;
    assert_eq!((moves(&simulator), simulator.slack().len()), (2, 2), "the old step finds nothing to do");
    runback.finish().await;
}

#[tokio::test]
async fn a_target_that_is_no_better_halts_it_and_people_are_told() {
    for (target, culprit) in [(0.4, 0.2), (0.9, 0.9)] {
        let (simulator, runback, _) = begun().await;
        simulator.change(SERVICE, |service| {
            service.set_errors(GOOD, target);
            service.set_errors(BAD, culprit);
        });
        later(&simulator, &runback, STEP).await;
        assert_eq!(simulator.traffic(SERVICE), split([(BAD, 90), (GOOD, 10)]));
        assert_contains(&last_message(&simulator), &["halted at 10%", "no better than", BAD, GOOD]);
        assert_eq!((&on_record(&simulator)["phase"], tasks(&simulator).len()), (&json!("halted"), 0));
        assert_eq!((moves(&simulator), simulator.slack().len()), (1, 2));
        runback.finish().await;
    }
}

#[tokio::test]
async fn a_target_that_is_no_better_gives_the_split_back_where_the_policy_says_so() {
    let (simulator, runback, _) = a_first_step(json!({"not_helped": "restore"})).await;
    simulator.change(SERVICE, |service| service.set_errors(GOOD, 0.4));
    later(&simulator, &runback, STEP).await;
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 100)]));
    assert_eq!(on_record(&simulator)["phase"], "restored");
    assert_eq!(simulator.record(SERVICE).unwrap()["quarantine"], json!([]));
    assert_contains(
        &last_message(&simulator),
        &["not_helped", "put the previous split back", "It will not roll"],
    );
    assert_eq!((moves(&simulator), simulator.slack().len(), tasks(&simulator).len()), (2, 2, 0));
    runback.finish().await;
}

#[tokio::test]
async fn somebody_elses_change_ends_it_and_people_are_told() {
    let by_hand: [&[(&str, u32)]; 3] = [&[(BAD, 100)], &[(GOOD, 100)], &[(BAD, 80), (GOOD, 20)]];
    for theirs in by_hand {
        let (simulator, runback, _) = begun().await;
        simulator.change(SERVICE, |service| service.move_traffic(theirs));
        later(&simulator, &runback, STEP).await;
        let kept = theirs.iter().map(|(name, share)| ((*name).to_owned(), u64::from(*share))).collect();
        assert_eq!(simulator.traffic(SERVICE), kept);
        assert_contains(&last_message(&simulator), &["someone else moved the traffic", "overruled"]);
        assert_eq!((&on_record(&simulator)["phase"], tasks(&simulator).len()), (&json!("overruled"), 0));
        assert_eq!((moves(&simulator), simulator.slack().len()), (1, 2));
        runback.finish().await;
    }
}

/// Somebody acts between the look and the write: it is looked at again, and theirs stays.
#[tokio::test]
async fn a_change_at_the_last_moment_is_not_written_over() {
    let (simulator, runback, _) = begun().await;
    simulator.at("run.put").does(|world| world.service(SERVICE).move_traffic(&[(BAD, 70), (GOOD, 30)]));
    later(&simulator, &runback, STEP).await;
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 70), (GOOD, 30)]));
    assert_eq!((moves(&simulator), &on_record(&simulator)["phase"]), (1, &json!("overruled")));
    runback.finish().await;

    let (simulator, runback, _) = begun().await;
    simulator.at("run.put").does(|world| world.service(SERVICE).annotate("example.com/touched", "yes"));
    later(&simulator, &runback, STEP).await;
    assert_eq!((simulator.traffic(SERVICE), moves(&simulator)), (split([(BAD, 50), (GOOD, 50)]), 2));
    runback.finish().await;
}

#[tokio::test]
async fn while_monitoring_is_down_a_step_waits_five_minutes_and_then_goes_on_and_says_so() {
    let (simulator, runback, _) = begun().await;
    simulator.at("monitoring.list").always().fails(503);
    assert_eq!(later(&simulator, &runback, STEP).await, [503]);
    assert_eq!(later(&simulator, &runback, minutes(4)).await, [503]);
    assert_eq!((moves(&simulator), simulator.slack().len()), (1, 1));
    assert_eq!(later(&simulator, &runback, minutes(1)).await, [200]);
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 50), (GOOD, 50)]));
    assert_contains(
        &last_message(&simulator),
        &["50% moved back to", "50 % without a look", "Cloud Monitoring cannot be read"],
    );
    assert_eq!(later(&simulator, &runback, minutes(9)).await, [200]);
    assert_all_moved(&simulator, 3);
    assert_contains(&last_message(&simulator), &["100 % without a look"]);
    runback.finish().await;
}

#[tokio::test]
async fn a_canarys_share_moves_in_whole_percents_and_other_shares_stay() {
    const OTHER: &str = "k-back-00040-uvw";
    let other = Revision::named(OTHER).age(days(5)).served(days(5)..days(3)).errors(0.001);
    let service = busy().revision(other).traffic(&[(BAD, 15), (GOOD, 60), (OTHER, 25)]);
    let (simulator, runback, alert) = under_policy(service, policy()).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 13), (GOOD, 62), (OTHER, 25)]));
    later(&simulator, &runback, STEP).await;
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 7), (GOOD, 68), (OTHER, 25)]));
    later(&simulator, &runback, STEP).await;
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 75), (OTHER, 25)]));
    assert_eq!(moves(&simulator), 3);
    runback.finish().await;
}

/// The service follows LATEST. In the middle of it somebody deploys: that must not inherit the culprit's share.
#[tokio::test]
async fn a_deploy_in_the_middle_gets_no_traffic() {
    let (simulator, runback, alert) = under_policy(busy().traffic(&[("LATEST", 100)]), policy()).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    simulator.change(SERVICE, |service| service.deploy(Revision::named("k-back-00043-fix")));
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 90), (GOOD, 10)]));
    later(&simulator, &runback, STEP).await;
    later(&simulator, &runback, STEP).await;
    assert_all_moved(&simulator, 3);
    runback.finish().await;
}

#[tokio::test]
async fn an_incident_that_closes_in_the_middle_does_not_end_it() {
    let (simulator, runback, alert) = begun().await;
    simulator.advance(minutes(3));
    runback.deliver(&alert.again().closed()).await.is(200, "ignore", "closed");
    later(&simulator, &runback, minutes(1)).await;
    later(&simulator, &runback, STEP).await;
    assert_all_moved(&simulator, 3);
    runback.finish().await;
}

/// A policy that says `observe` by now ends it where it is; Runback writes nothing any more.
#[tokio::test]
async fn a_policy_that_observes_by_now_stops_it() {
    let (simulator, runback, _) = begun().await;
    let task = simulator.tasks().remove(0);
    let observes =
        Launch::beside(&simulator).policy(json!({"mode": "observe", "strategy": "gradual"})).start().await;
    simulator.advance(STEP);
    let written = simulator.calls("run.put").len();
    assert_eq!(observes.send(&delivered(&task)).await.status, 200);
    assert_contains(&last_message(&simulator), &["observe", "stopped at 10%"]);
    assert_eq!(simulator.calls("run.put").len(), written);
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 90), (GOOD, 10)]));
    observes.finish().await;
    runback.finish().await;
}

#[tokio::test]
async fn tasks_that_come_twice_early_or_late_do_no_harm() {
    let (simulator, mut runback, _) = begun().await;
    let first = simulator.tasks().remove(0);
    assert_eq!(runback.send(&delivered(&first)).await.status, 503, "too early");
    assert_eq!(moves(&simulator), 1);
    simulator.advance(STEP);
    let answers = runback.send_at_once(&delivered(&first), 6).await;
    assert!(answers.iter().all(|answer| answer.status == 200), "{answers:#?}");
    assert_eq!((simulator.traffic(SERVICE), moves(&simulator)), (split([(BAD, 50), (GOOD, 50)]), 2));
    simulator.task_answered(&first.name, 200);
    let second = simulator.tasks().remove(0);
    assert_eq!(runback.send(&delivered(&second)).await.status, 503, "too early");
    runback.restart().await;
    assert_eq!(runback.send(&delivered(&first)).await.status, 200, "again, in a new process");
    assert_eq!((moves(&simulator), simulator.tasks().len()), (2, 1));

    // A day late, and then the whole past once more.
    simulator.advance(days(1));
    assert_eq!(runback.send(&delivered(&second)).await.status, 200);
    assert_all_moved(&simulator, 3);
    simulator.task_answered(&second.name, 200);
    for task in [&first, &second, &first] {
        assert_eq!(runback.send(&delivered(task)).await.status, 200);
    }
    assert_all_moved(&simulator, 3);
    assert_eq!((tasks(&simulator), simulator.slack().len()), (vec!["check-1".to_owned()], 2));
    later(&simulator, &runback, minutes(6)).await;
    assert_eq!((simulator.slack().len(), &on_record(&simulator)["phase"]), (3, &json!("recovered")));
    for task in [&first, &second] {
        assert_eq!(runback.send(&delivered(task)).await.status, 200);
    }
    assert_eq!((simulator.slack().len(), moves(&simulator)), (3, 3));
    runback.finish().await;
}

#[tokio::test]
async fn the_alert_that_comes_again_does_nothing_at_any_step() {
    let (simulator, mut runback, alert) = begun().await;
    for steps in 1..=3 {
        runback.deliver(&alert).await.is(200, "ignore", "already_handled");
        runback.restart().await;
        let answers = runback.send_at_once(&alert.wrapped(Envelope::Eventarc), 4).await;
        assert!(answers.iter().all(|answer| answer.status == 200), "{answers:#?}");
        assert_eq!(moves(&simulator), steps);
        later(&simulator, &runback, STEP).await;
    }
    assert_eq!(simulator.slack().len(), 2);
    runback.finish().await;
}

/// Killed at every call of the first two deliveries, before and after it is carried out.
#[tokio::test]
async fn wherever_it_is_killed_at_the_first_step_it_goes_on_from_there() {
    for (call, done) in calls() {
        let (simulator, mut runback, alert) = under_policy(busy(), policy()).await;
        kill_at(&simulator, &runback, call, done);
        runback.deliver(&alert).await;
        runback.restart().await;
        simulator.repair();
        simulator.advance(Duration::from_secs(15));
        assert_eq!(runback.deliver(&alert).await.status, 200, "{call} {done}");
        assert_eq!(simulator.traffic(SERVICE), split([(BAD, 90), (GOOD, 10)]), "{call} {done}");
        goes_to_its_end(&simulator, &runback, (call, done)).await;
        runback.finish().await;
    }
}

#[tokio::test]
async fn wherever_it_is_killed_at_a_further_step_it_goes_on_from_there() {
    for step in [2, 3] {
        for (call, done) in calls() {
            let (simulator, mut runback, _) = begun().await;
            if step == 3 {
                later(&simulator, &runback, STEP).await;
            }
            kill_at(&simulator, &runback, call, done);
            later(&simulator, &runback, STEP).await;
            runback.restart().await;
            simulator.repair();
            runback.deliver_due_tasks().await;
            goes_to_its_end(&simulator, &runback, (call, done)).await;
            runback.finish().await;
        }
    }
}

fn calls() -> Vec<(&'static str, bool)> {
    let calls = ["run.get", "monitoring.list", "run.put", "slack.webhook", "tasks.create", "tasks.get"];
    calls.iter().flat_map(|call| [(*call, false), (*call, true)]).collect()
}

fn kill_at(simulator: &Simulator, runback: &Runback, call: &str, done: bool) {
    let at = simulator.at(call);
    if done { at.carried_out().does(runback.killer()) } else { at.does(runback.killer()) }
}

/// Whatever happened: three moves, all traffic at the target, and its recovery told. At most one message comes twice.
async fn goes_to_its_end(simulator: &Simulator, runback: &Runback, about: (&str, bool)) {
    for _ in 0..4 {
        later(simulator, runback, STEP).await;
    }
    later(simulator, runback, minutes(6)).await;
    assert_all_moved(simulator, 3);
    assert_eq!(on_record(simulator)["phase"], "recovered", "{about:?}");
    assert!((3..=4).contains(&simulator.slack().len()), "{about:?}: {:#?}", simulator.slack());
    assert!(simulator.tasks().is_empty(), "{about:?}");
}

#[tokio::test]
async fn slack_that_is_down_holds_up_no_step_and_hears_of_it_later() {
    let (simulator, mut runback, alert) = under_policy(busy(), policy()).await;
    simulator.at("slack.*").always().fails(500);
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    runback.restart().await;
    later(&simulator, &runback, STEP).await;
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 50), (GOOD, 50)]));
    simulator.repair();
    later(&simulator, &runback, STEP).await;
    assert_all_moved(&simulator, 3);
    assert_contains(&last_message(&simulator), &["rolled back to", BAD, GOOD, "runback release"]);
    runback.finish().await;
}

#[tokio::test]
async fn a_step_that_takes_long_to_arrive_is_watched_before_the_next_is_planned() {
    let (simulator, runback, _) = begun().await;
    simulator.change(SERVICE, |service| service.service.reconcile = Reconcile::Never);
    assert_eq!(later(&simulator, &runback, STEP).await, [200]);
    assert_eq!(tasks(&simulator), ["watch-50-1"]);
    later(&simulator, &runback, Duration::from_secs(20)).await;
    assert_eq!(tasks(&simulator), ["watch-50-2"]);
    simulator.change(SERVICE, |service| service.catch_up());
    later(&simulator, &runback, Duration::from_secs(20)).await;
    assert_eq!((tasks(&simulator), moves(&simulator)), (vec!["step-100".to_owned()], 2));
    assert_eq!(simulator.slack().len(), 1, "there is nothing to tell of it");
    later(&simulator, &runback, STEP).await;
    assert_all_moved(&simulator, 3);
    runback.finish().await;
}

#[tokio::test]
async fn a_step_that_never_arrives_is_told_and_no_other_follows() {
    let (simulator, runback, _) = begun().await;
    simulator.change(SERVICE, |service| service.service.reconcile = Reconcile::Never);
    later(&simulator, &runback, STEP).await;
    later(&simulator, &runback, minutes(6)).await;
    assert_contains(&last_message(&simulator), &["not in effect", "not_arrived", "is not ready"]);
    assert_eq!((tasks(&simulator).len(), moves(&simulator)), (0, 2));
    runback.finish().await;
}

/// The one remembers the alert and the first step, the other writes the last one and is still telling of it.
#[tokio::test]
async fn a_step_is_announced_by_the_process_that_wrote_it() {
    let (simulator, one, alert) = begun().await;
    let other = Launch::beside(&simulator).policy(policy()).start().await;
    later(&simulator, &one, STEP).await;
    simulator.advance(STEP);
    let last = delivered(&simulator.tasks()[0]);
    simulator.at("slack.webhook").takes(Duration::from_secs(1));
    let step = other.sending(last);
    until("the last step is written", || moves(&simulator) == 3).await;
    one.deliver(&alert.again()).await.is(200, "ignore", "already_handled");
    assert_eq!(step.await.unwrap().status, 200);
    assert_all_moved(&simulator, 3);
    assert_eq!(simulator.slack().len(), 2, "the first step and the last: {:#?}", simulator.slack());
    one.finish().await;
    other.finish().await;
}
