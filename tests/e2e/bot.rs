//! With a bot an incident is one message, which changes as phases pass; everything else is in its thread.

use std::time::Duration;

use serde_json::{Value, json};

use crate::alert::Alert;
use crate::harness::{Launch, Runback};
use crate::simulator::{CHANNEL_NAME, Message, Reconcile, Revision, Service, Simulator, Task, minutes};
use crate::situation::{
    BAD, GOOD, SERVICE, assert_contains, assert_rolled_back, delivered, k_back, later, on_record,
};

/// A rollback that a bot has told of.
async fn rolled_back_under(service: Service, policy: Value) -> (Simulator, Runback, Alert) {
    let simulator = Simulator::with([service]).await;
    let runback = Launch::beside(&simulator).bot().policy(policy).start().await;
    let alert = Alert::on(&simulator, SERVICE);
    assert_eq!(runback.deliver(&alert).await.status, 200);
    (simulator, runback, alert)
}

async fn rolled_back() -> (Simulator, Runback, Alert) {
    rolled_back_under(k_back(0.4), json!({})).await
}

/// The incident's one message, and what its thread holds.
#[track_caller]
fn root_and_thread(simulator: &Simulator) -> (Message, Vec<Message>) {
    let (roots, thread): (Vec<_>, Vec<_>) =
        simulator.slack().into_iter().partition(|message| message.thread.is_none());
    let [root] = roots.as_slice() else { panic!("{roots:#?}") };
    assert!(thread.iter().all(|answer| answer.thread.as_ref() == Some(&root.ts)), "{thread:#?}");
    (root.clone(), thread)
}

#[tokio::test]
async fn recovery_changes_the_message_and_disturbs_nobody() {
    let (simulator, mut runback, _) = rolled_back().await;
    let first = root_and_thread(&simulator).0;
    runback.restart().await;
    assert_eq!(later(&simulator, &runback, minutes(6)).await, [200]);
    let (root, thread) = root_and_thread(&simulator);
    assert_eq!((root.updates, &root.before), (1, &vec![first.text.clone()]));
    assert_contains(&root.text, &["✅ k-back recovered", "reason: recovered", "runback release"]);
    let [details, verdict] = thread.as_slice() else { panic!("{thread:#?}") };
    // What the message said at first is kept.
    assert_contains(&first.text, &["240 of 600"]);
    assert_contains(&details.text, &["240 of 600", "100% → 0%", "deployed_recently"]);
    assert_contains(&verdict.text, &["recovered", "% bad (", "deploys get no traffic"]);
    assert!(!details.in_channel() && !verdict.in_channel());
    assert_rolled_back(&simulator);
    runback.finish().await;
}

/// People hear at once that a switch takes long, and read how it went in the same place.
#[tokio::test]
async fn the_word_that_it_is_under_way_becomes_the_final_message() {
    for restarts in [false, true] {
        let service = Service { reconcile: Reconcile::Never, ..k_back(0.4) };
        let (simulator, mut runback, _) = rolled_back_under(service, json!({})).await;
        let (first, thread) = root_and_thread(&simulator);
        assert_contains(&first.text, &["⏳ k-back: going back to 00041-xyz", "240 of 600"]);
        assert!(thread.is_empty() && !first.text.contains("to-latest"), "{thread:#?}");
        if restarts {
            runback.restart().await;
        }
        simulator.change(SERVICE, |service| service.catch_up());
        later(&simulator, &runback, Duration::from_secs(20)).await;
        let (root, thread) = root_and_thread(&simulator);
        assert_contains(&root.text, &["rolled back", BAD, GOOD, "runback release"]);
        assert_eq!((root.updates, root.before), (1, vec![first.text]));
        assert!(thread.iter().all(|answer| !answer.in_channel()), "{thread:#?}");
        runback.finish().await;
    }
}

#[tokio::test]
async fn a_switch_that_never_arrives_is_said_aloud() {
    let service = Service { reconcile: Reconcile::Never, ..k_back(0.4) };
    let (simulator, runback, _) = rolled_back_under(service, json!({})).await;
    later(&simulator, &runback, minutes(6)).await;
    let (root, thread) = root_and_thread(&simulator);
    assert_contains(&root.text, &["not in effect", "not_arrived"]);
    let [verdict] = thread.as_slice() else { panic!("{thread:#?}") };
    assert!(verdict.in_channel());
    assert_contains(&verdict.text, &["not_arrived", "is not ready"]);
    runback.finish().await;
}

#[tokio::test]
async fn that_it_did_not_help_is_said_in_the_channel_too() {
    let (simulator, runback, _) = rolled_back().await;
    simulator.change(SERVICE, |service| service.set_errors(GOOD, 0.4));
    later(&simulator, &runback, minutes(6)).await;
    let (root, thread) = root_and_thread(&simulator);
    assert_contains(&root.text, &["the rollback did not help", "reason: not_helped"]);
    assert!(thread.last().unwrap().in_channel(), "{thread:#?}");
    assert_contains(&thread.last().unwrap().text, &["not_helped", "deploys get no traffic"]);
    runback.finish().await;
}

#[tokio::test]
async fn a_gradual_rollback_changes_its_message_step_by_step() {
    let service = Service { rpm: 600.0, ..k_back(0.3) };
    let (simulator, mut runback, _) = rolled_back_under(service, json!({"strategy": "gradual"})).await;
    assert_contains(&root_and_thread(&simulator).0.text, &["10% moved back to"]);
    let mut titles = Vec::new();
    for _ in 0..3 {
        later(&simulator, &runback, minutes(5)).await;
        runback.restart().await;
        titles.push(root_and_thread(&simulator).0.text.lines().next().unwrap().to_owned());
    }
    later(&simulator, &runback, minutes(2)).await;
    let (root, thread) = root_and_thread(&simulator);
    assert_contains(&titles[0], &["50% moved back to"]);
    assert_contains(&titles[1], &["rolled back"]);
    assert_contains(&root.text, &["recovered"]);
    assert!(thread.iter().all(|answer| !answer.in_channel()), "{thread:#?}");
    assert_eq!(on_record(&simulator)["phase"], "recovered");
    runback.finish().await;
}

#[tokio::test]
async fn a_split_that_is_put_back_changes_the_message() {
    let service = Service { rpm: 600.0, ..k_back(0.4) };
    let (simulator, runback, _) = rolled_back_under(service, json!({"not_helped": "restore"})).await;
    simulator.change(SERVICE, |service| service.set_errors(GOOD, 0.5));
    for _ in 0..3 {
        later(&simulator, &runback, minutes(6)).await;
    }
    assert_eq!(on_record(&simulator)["phase"], "restored");
    let (root, thread) = root_and_thread(&simulator);
    assert_contains(&root.text, &["rollback undone"]);
    assert!(thread.last().unwrap().in_channel());
    runback.finish().await;
}

#[tokio::test]
async fn a_rollback_that_somebody_overrules_is_shown_as_that() {
    let (simulator, runback, _) = rolled_back().await;
    simulator.change(SERVICE, |service| service.move_traffic(&[(BAD, 100)]));
    later(&simulator, &runback, minutes(6)).await;
    let (root, thread) = root_and_thread(&simulator);
    assert_contains(&root.text, &["someone else moved the traffic", "reason: overruled"]);
    assert_eq!(thread.len(), 1, "who moved it knows");
    runback.finish().await;
}

#[tokio::test]
async fn an_old_task_never_shows_an_older_phase() {
    let service = Service { rpm: 600.0, ..k_back(0.3) };
    let (simulator, mut runback, _) = rolled_back_under(service, json!({"strategy": "gradual"})).await;
    let mut tasks: Vec<Task> = simulator.tasks();
    for _ in 0..3 {
        later(&simulator, &runback, minutes(5)).await;
        tasks.extend(simulator.tasks());
    }
    later(&simulator, &runback, minutes(2)).await;
    let recovered = root_and_thread(&simulator);
    assert_contains(&recovered.0.text, &["recovered"]);
    for task in tasks.iter().rev().chain(&tasks) {
        runback.restart().await;
        assert_eq!(runback.send(&delivered(task)).await.status, 200, "{task:?}");
    }
    let (root, thread) = root_and_thread(&simulator);
    assert_contains(&root.text, &["k-back recovered", "reason: recovered"]);
    assert_eq!(thread.len(), recovered.1.len());
    runback.finish().await;
}

/// While Slack takes its time to show one phase, another process records the next one and shows it.
#[tokio::test]
async fn a_process_that_is_overtaken_shows_the_newer_phase_once_more() {
    let (simulator, runback, _) = rolled_back().await;
    simulator.advance(minutes(6));
    let records = |world: &mut crate::simulator::World| {
        let service = world.service(SERVICE);
        let mut record: Value = serde_json::from_str(service.record().unwrap()).unwrap();
        record["rollbacks"][0]["phase"] = json!("overruled");
        service.annotate("runback.dev/state", &record.to_string());
    };
    simulator.at("slack.update").carried_out().does(records);
    runback.deliver_due_tasks().await;
    let root = root_and_thread(&simulator).0;
    assert_eq!(root.updates, 2);
    assert_contains(&root.before[1], &["recovered"]);
    assert_contains(&root.text, &["reason: overruled"]);
    runback.finish().await;
}

#[tokio::test]
async fn a_closed_incident_changes_the_message_as_well() {
    let (simulator, runback, alert) = rolled_back().await;
    simulator.advance(minutes(8));
    runback.deliver(&alert.again().closed()).await.is(200, "notify", "recovered");
    let (root, thread) = root_and_thread(&simulator);
    assert_contains(&root.text, &["recovered", "reason: recovered"]);
    assert_eq!(thread.len(), 2);
    runback.deliver_due_tasks().await;
    assert_eq!(root_and_thread(&simulator).1.len(), 2);
    runback.finish().await;
}

#[tokio::test]
async fn a_message_that_cannot_be_changed_loses_nothing() {
    for status in [500, 404] {
        let (simulator, runback, _) = rolled_back().await;
        simulator.at("slack.update").always().fails(status);
        simulator.advance(minutes(6));
        assert_eq!(runback.deliver_due_tasks().await[0].status, 200, "{status}");
        let (root, thread) = root_and_thread(&simulator);
        assert_eq!((root.updates, thread.len()), (0, 2), "{status}");
        assert_eq!(on_record(&simulator)["phase"], "recovered", "{status}");
        assert!(runback.said().contains("does not show how the rollback stands"));
        runback.finish().await;
    }
}

/// The first message was deleted, or its channel archived: the verdict must not be lost with it.
#[tokio::test]
async fn what_a_thread_refuses_is_told_in_the_channel() {
    let (simulator, mut runback, _) = rolled_back().await;
    runback.restart().await;
    simulator.at("slack.update").always().fails(404);
    simulator.at("slack.post").fails(404);
    assert_eq!(later(&simulator, &runback, minutes(6)).await, [200]);
    let told: Vec<_> = simulator.slack().into_iter().filter(Message::in_channel).collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert_contains(&told[1].text, &["recovered", "deploys get no traffic"]);
    assert_eq!(on_record(&simulator)["phase"], "recovered");
    runback.finish().await;
}

#[tokio::test]
async fn details_that_slack_does_not_take_hold_nothing_up() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let runback = Launch::beside(&simulator).bot().start().await;
    simulator.at("slack.post").skip(1).always().fails(500);
    let alert = Alert::on(&simulator, SERVICE);
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_eq!((simulator.slack().len(), simulator.tasks().len()), (1, 1));
    simulator.repair();
    runback.deliver(&alert).await.is(200, "ignore", "already_handled");
    assert_eq!(simulator.slack().len(), 1);
    runback.finish().await;
}

#[tokio::test]
async fn a_channel_by_its_name_is_changed_by_its_id() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let runback = Launch::beside(&simulator).bot().variable("SLACK_CHANNEL", CHANNEL_NAME).start().await;
    runback.deliver(&Alert::on(&simulator, SERVICE)).await.is(200, "rollback", "confirmed");
    later(&simulator, &runback, minutes(6)).await;
    assert_eq!(root_and_thread(&simulator).0.updates, 1);
    runback.finish().await;
}

#[tokio::test]
async fn killed_before_the_message_is_changed_the_task_changes_it() {
    let (simulator, mut runback, _) = rolled_back().await;
    simulator.advance(minutes(6));
    simulator.at("slack.update").fails(503);
    simulator.at("slack.update").does(runback.killer());
    assert_eq!(runback.deliver_due_tasks().await[0].status, 0);
    runback.restart().await;
    simulator.repair();
    runback.deliver_due_tasks().await;
    let (root, thread) = root_and_thread(&simulator);
    assert_contains(&root.text, &["recovered"]);
    assert_eq!(thread.len(), 2);
    runback.finish().await;
}

#[tokio::test]
async fn a_deploy_that_waits_is_told_of_in_the_thread_and_in_the_channel() {
    let (simulator, runback, _) = rolled_back().await;
    simulator.change(SERVICE, |service| service.deploy(Revision::named("k-back-00043-fix")));
    later(&simulator, &runback, minutes(6)).await;
    let (_, thread) = root_and_thread(&simulator);
    assert_contains(&thread.last().unwrap().text, &["k-back-00043-fix", "reason: pinned"]);
    assert!(thread.last().unwrap().in_channel());
    runback.finish().await;
}

#[tokio::test]
async fn a_webhook_posts_few_and_complete_messages() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let runback = Launch::beside(&simulator).start().await;
    runback.deliver(&Alert::on(&simulator, SERVICE)).await.is(200, "rollback", "confirmed");
    later(&simulator, &runback, minutes(6) + Duration::from_secs(1)).await;
    let messages = simulator.slack();
    assert_eq!(messages.len(), 2, "{messages:#?}");
    assert_contains(&messages[0].text, &["checks passed", "requests failed", "runback release"]);
    assert_contains(&messages[1].text, &["recovered", "deploys get no traffic"]);
    assert!(messages.iter().all(|message| message.updates == 0 && message.in_channel()));
    runback.finish().await;
}
