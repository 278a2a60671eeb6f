//! A deploy is watched: a judgement a minute for ten minutes, without any alert.

use std::process::{Command, Output};

use serde_json::json;

use crate::alert::Alert;
use crate::deploys::{Api, audit_event, called, deploy, healthy};
use crate::harness::{Launch, Runback, assert_nothing_is_touched, binary, guarding, split};
use crate::simulator::{Revision, Service, Simulator, hours, minutes};
use crate::situation::{
    BAD, FULL_NAME, GOOD, SERVICE, assert_contains, assert_rolled_back, delivered, k_back, moves, one_story,
    until,
};

/// A minute passes, and what is due then is delivered.
async fn a_minute(simulator: &Simulator, runback: &Runback) {
    simulator.advance(minutes(1));
    for answer in runback.deliver_due_tasks().await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// k-back has been deployed with this share of errors, and Runback has heard of it.
async fn watched(errors: f64) -> (Simulator, Runback) {
    let (simulator, runback) = guarding([healthy()]).await;
    deploy(&simulator, errors);
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "watching");
    (simulator, runback)
}

/// Minutes pass until the deploy is rolled back: five at most, with whatever delay Monitoring has.
async fn until_rolled_back(simulator: &Simulator, runback: &Runback) {
    for _ in 0..5 {
        a_minute(simulator, runback).await;
        if moves(simulator) > 0 {
            break;
        }
    }
    assert_rolled_back(simulator);
}

/// A watch has come and gone.
#[track_caller]
fn assert_left_alone(simulator: &Simulator) {
    assert!(simulator.writes().is_empty(), "{:#?}", simulator.writes());
    assert_eq!(waiting(simulator), Vec::<String>::new());
}

/// The ids of the tasks that wait.
fn waiting(simulator: &Simulator) -> Vec<String> {
    simulator.tasks().iter().map(|task| task.id().to_owned()).collect()
}

#[tokio::test]
async fn a_bad_deploy_is_rolled_back_without_an_alert() {
    let (simulator, runback) = watched(0.4).await;
    simulator.world().lag = minutes(3);
    until_rolled_back(&simulator, &runback).await;
    let story = one_story(&simulator);
    assert_contains(&story, &[BAD, GOOD, "confirmed", "watch-k-back-00042-abc", "watch", "runback release"]);
    let rollback = simulator.record(SERVICE).unwrap()["rollbacks"][0].clone();
    assert_eq!(rollback["incident"], "watch-k-back-00042-abc");
    assert_eq!(rollback["culprit"], BAD);
    // The look after the switch is all that waits.
    assert_eq!(waiting(&simulator), [format!("{}-check-1", rollback["id"].as_str().unwrap())]);
    runback.finish().await;
}

#[tokio::test]
async fn the_alert_of_the_same_outage_finds_the_deploy_rolled_back() {
    let (simulator, runback) = watched(0.9).await;
    until_rolled_back(&simulator, &runback).await;
    let alert = Alert::on(&simulator, SERVICE).about(BAD).begun(minutes(1));
    runback.deliver(&alert).await.is(200, "ignore", "already_handled");
    let unnamed = alert.again().incident("0.unnamed").without("/incident/resource/labels/revision_name");
    runback.deliver(&unnamed).await.is(200, "ignore", "already_handled");
    assert_rolled_back(&simulator);
    one_story(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_watch_ends_once_an_alert_has_rolled_its_deploy_back() {
    let (simulator, runback) = watched(0.0).await;
    a_minute(&simulator, &runback).await;
    simulator.change(SERVICE, |service| service.set_errors(BAD, 0.9));
    simulator.advance(minutes(9));
    runback.deliver(&Alert::on(&simulator, SERVICE)).await.is(200, "rollback", "critical");
    runback.deliver_due_tasks().await;
    assert!(waiting(&simulator).iter().all(|id| id.contains("-check-")), "{:?}", waiting(&simulator));
    assert_rolled_back(&simulator);
    one_story(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_good_deploy_is_judged_ten_times_and_nobody_hears_of_it() {
    let (simulator, mut runback) = watched(0.0).await;
    for minute in 1..=10 {
        assert_eq!(waiting(&simulator).len(), 1, "minute {minute}");
        if minute == 5 {
            runback.restart().await;
        }
        a_minute(&simulator, &runback).await;
    }
    assert!(simulator.slack().is_empty());
    assert_left_alone(&simulator);
    let judged = runback.log().iter().filter(|entry| entry["stage"] == "watched").count();
    assert_eq!(judged, 10);
    runback.finish().await;
}

#[tokio::test]
async fn every_entry_of_one_deploy_and_every_copy_start_one_watch() {
    let (simulator, runback) = watched(0.0).await;
    let entries = [Api::V1, Api::V2First, Api::V2Last, Api::System, Api::V1];
    for api in entries {
        runback.send(&audit_event(&simulator, SERVICE, api)).await.is(200, "ignore", "watching");
    }
    runback.send_at_once(&audit_event(&simulator, SERVICE, Api::V1), 8).await;
    runback.send(&called(FULL_NAME)).await.is(200, "ignore", "watching");
    assert_eq!(waiting(&simulator).len(), 1);
    let task = simulator.tasks().remove(0);
    simulator.advance(minutes(1));
    // Cloud Tasks delivers at least once.
    for _ in 0..3 {
        assert_eq!(runback.send(&delivered(&task)).await.status, 200);
    }
    simulator.task_answered(&task.name, 200);
    assert_eq!(waiting(&simulator).len(), 1);
    runback.send(&audit_event(&simulator, SERVICE, Api::System)).await.is(200, "ignore", "watching");
    assert_eq!(waiting(&simulator).len(), 1);
    runback.finish().await;
}

#[tokio::test]
async fn a_change_that_is_still_rolled_out_is_watched_once_it_serves() {
    let (simulator, runback) = guarding([healthy()]).await;
    deploy(&simulator, 0.4);
    simulator.change(SERVICE, |service| service.set_deploying(true));
    for api in [Api::V1, Api::V2First] {
        runback.send(&audit_event(&simulator, SERVICE, api)).await.is(200, "ignore", "watching");
    }
    assert_eq!(waiting(&simulator).len(), 1);
    a_minute(&simulator, &runback).await;
    assert!(waiting(&simulator)[0].contains("settle"), "{:?}", waiting(&simulator));
    simulator.change(SERVICE, |service| service.set_deploying(false));
    a_minute(&simulator, &runback).await;
    assert!(waiting(&simulator)[0].contains(BAD), "{:?}", waiting(&simulator));
    until_rolled_back(&simulator, &runback).await;
    runback.finish().await;
}

#[tokio::test]
async fn a_change_that_never_settles_is_given_up_quietly() {
    let (simulator, runback) = guarding([healthy()]).await;
    simulator.change(SERVICE, |service| service.set_deploying(true));
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "watching");
    for _ in 0..25 {
        a_minute(&simulator, &runback).await;
    }
    assert!(simulator.slack().is_empty());
    assert_left_alone(&simulator);
    runback.finish().await;
}

/// Our own write makes an entry too, and its target must not be the next suspect.
#[tokio::test]
async fn our_own_switch_starts_no_watch() {
    let (simulator, runback) = watched(0.9).await;
    until_rolled_back(&simulator, &runback).await;
    simulator.change(SERVICE, |service| service.set_errors(GOOD, 0.9));
    let before = waiting(&simulator);
    for api in [Api::V1, Api::System] {
        runback.send(&audit_event(&simulator, SERVICE, api)).await.is(200, "ignore", "nothing_to_watch");
    }
    assert_eq!(waiting(&simulator), before);
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_culprit_that_people_put_back_is_not_watched() {
    let (simulator, runback) = watched(0.9).await;
    until_rolled_back(&simulator, &runback).await;
    simulator.change(SERVICE, |service| service.move_traffic(&[(BAD, 100)]));
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "nothing_to_watch");
    assert_eq!(moves(&simulator), 1);
    runback.finish().await;
}

#[tokio::test]
async fn a_deploy_that_gets_no_traffic_is_nothing_to_watch() {
    let mut service = k_back(0.0);
    service.revisions.insert(0, Revision::named("k-back-00043-new").errors(0.9));
    let (simulator, runback) = guarding([service]).await;
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "nothing_to_watch");
    // Somebody goes back by hand: no deploy either.
    simulator.change(SERVICE, |service| service.move_traffic(&[(GOOD, 100)]));
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "nothing_to_watch");
    assert!(simulator.tasks().is_empty());
    assert_nothing_is_touched(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_revision_that_is_promoted_later_is_watched_then_and_a_canary_loses_only_its_share() {
    let mut service = healthy();
    service.revisions.insert(0, Revision::named(BAD).age(hours(3)).errors(0.9));
    let (simulator, runback) = guarding([service.traffic(&[(GOOD, 100)])]).await;
    simulator.change(SERVICE, |service| service.move_traffic(&[(GOOD, 80), (BAD, 20)]));
    runback.send(&audit_event(&simulator, SERVICE, Api::V2Last)).await.is(200, "ignore", "watching");
    until_rolled_back(&simulator, &runback).await;
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
    assert_eq!(moves(&simulator), 1);
    runback.finish().await;
}

#[tokio::test]
async fn a_watch_ends_when_somebody_takes_the_traffic_away() {
    let (simulator, runback) = watched(0.0).await;
    simulator.change(SERVICE, |service| service.move_traffic(&[(GOOD, 100)]));
    a_minute(&simulator, &runback).await;
    assert!(simulator.slack().is_empty());
    assert_left_alone(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn without_requests_nobody_hears_of_a_watch() {
    let mut service = healthy();
    service.rpm = 0.0;
    let (simulator, runback) = guarding([service]).await;
    deploy(&simulator, 0.9);
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "watching");
    for _ in 0..10 {
        a_minute(&simulator, &runback).await;
    }
    assert!(simulator.slack().is_empty());
    assert_left_alone(&simulator);
    runback.finish().await;
}

/// Without an alert nobody's word stands: a deploy is never rolled back in the dark.
#[tokio::test]
async fn in_the_dark_a_deploy_is_left_alone() {
    let (simulator, runback) = watched(0.9).await;
    simulator.at("monitoring.*").always().denies("monitoring.timeSeries.list");
    for _ in 0..10 {
        a_minute(&simulator, &runback).await;
    }
    assert!(simulator.slack().is_empty());
    assert_left_alone(&simulator);
    assert!(runback.said().contains("monitoring.timeSeries.list"));
    runback.finish().await;
}

#[tokio::test]
async fn what_people_have_to_look_at_is_told_once_in_a_watch_whatever_process_looks() {
    let simulator = Simulator::with([healthy()]).await;
    let mut runback = Launch::beside(&simulator).policy(json!({"mode": "observe"})).start().await;
    deploy(&simulator, 0.9);
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "watching");
    for _ in 0..10 {
        a_minute(&simulator, &runback).await;
        runback.restart().await;
    }
    assert_contains(&one_story(&simulator), &["observe_mode", "watch-k-back-00042-abc", BAD, GOOD]);
    assert_left_alone(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_warning_in_a_watch_has_its_deadline_and_is_still_no_word_in_the_dark() {
    let mut service = healthy();
    service.rpm = 3000.0;
    let simulator = Simulator::with([service]).await;
    let runback = Launch::beside(&simulator).policy(json!({"warning": 0.02})).start().await;
    deploy(&simulator, 0.03);
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "watching");
    for _ in 0..10 {
        a_minute(&simulator, &runback).await;
    }
    assert_contains(&one_story(&simulator), &["warning", "judged again in 30 min"]);
    assert_eq!(waiting(&simulator).len(), 1);
    simulator.at("monitoring.*").always().fails(503);
    simulator.advance(minutes(31));
    runback.deliver_due_tasks().await;
    assert_left_alone(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_service_that_is_not_guarded_is_not_even_read() {
    let mut other = Service::named("other").revision(Revision::named("other-1").errors(0.9));
    other.guarded = false;
    let (simulator, runback) = guarding([healthy(), other]).await;
    runback.send(&audit_event(&simulator, "other", Api::V1)).await.is(200, "ignore", "not_guarded");
    runback.send(&called("projects/p/locations/r/services/s")).await.is(200, "ignore", "not_guarded");
    assert!(simulator.calls("run.*").is_empty() && simulator.tasks().is_empty());
    runback.finish().await;
}

#[tokio::test]
async fn without_a_queue_the_log_says_that_nothing_is_watched() {
    let simulator = Simulator::with([healthy()]).await;
    let runback = Launch::beside(&simulator).without("RUNBACK_TASKS_QUEUE").start().await;
    deploy(&simulator, 0.9);
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "nothing_to_watch");
    assert!(runback.said().contains("is not watched: RUNBACK_TASKS_QUEUE is unset"));
    assert_nothing_is_touched(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_queue_that_is_down_is_asked_again_and_one_that_refuses_is_not() {
    let (simulator, runback) = guarding([healthy()]).await;
    deploy(&simulator, 0.4);
    let event = audit_event(&simulator, SERVICE, Api::V1);
    simulator.at("tasks.create").fails(503);
    assert_eq!(runback.send(&event).await.status, 503);
    simulator.at("tasks.create").denies("cloudtasks.tasks.create");
    runback.send(&event).await.is(200, "ignore", "nothing_to_watch");
    assert!(runback.said().contains("cloudtasks.tasks.create"));
    runback.send(&event).await.is(200, "ignore", "watching");
    assert_eq!(waiting(&simulator).len(), 1);
    assert!(simulator.slack().is_empty());
    runback.finish().await;
}

#[tokio::test]
async fn a_look_that_fails_is_left_to_the_next_minute() {
    let (simulator, runback) = watched(0.9).await;
    simulator.at("run.get").times(60).fails(503);
    a_minute(&simulator, &runback).await;
    simulator.repair();
    assert_eq!(waiting(&simulator).len(), 1);
    until_rolled_back(&simulator, &runback).await;
    runback.finish().await;
}

#[tokio::test]
async fn killed_at_any_call_of_a_look_the_watch_goes_on_and_moves_traffic_once() {
    for call in ["run.get", "run.revisions", "monitoring.list", "run.put", "slack.webhook", "tasks.create"] {
        let (simulator, mut runback) = watched(0.9).await;
        simulator.advance(minutes(4));
        simulator.at(call).carried_out().does(runback.killer());
        assert_eq!(runback.deliver_due_tasks().await[0].status, 0, "{call}");
        runback.restart().await;
        simulator.repair();
        for _ in 0..3 {
            a_minute(&simulator, &runback).await;
        }
        assert_eq!(moves(&simulator), 1, "{call}");
        assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]), "{call}");
        assert!((1..=2).contains(&simulator.slack().len()), "{call}: {:#?}", simulator.slack());
        runback.finish().await;
    }
}

#[tokio::test]
async fn an_event_a_day_late_watches_what_serves_then() {
    let (simulator, runback) = guarding([healthy()]).await;
    deploy(&simulator, 0.0);
    let event = audit_event(&simulator, SERVICE, Api::V1);
    simulator.advance(hours(23));
    runback.send(&event).await.is(200, "ignore", "watching");
    simulator.change(SERVICE, |service| service.set_errors(BAD, 0.9));
    for _ in 0..10 {
        a_minute(&simulator, &runback).await;
    }
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_call_that_names_no_service_is_told_what_was_expected() {
    let (simulator, runback) = guarding([healthy()]).await;
    for body in ["", "{}", "{\"service\": \"k-back\"}", "{\"service\": 7}", "[]"] {
        let delivery = crate::alert::Delivery::new("/watch", &[], body);
        let answer = runback.send(&delivery).await;
        assert_eq!(answer.status, 400, "{body}");
        assert_contains(&answer.text, &["projects/P/locations/R/services/S"]);
    }
    assert!(simulator.tasks().is_empty());
    runback.finish().await;
}

/// Runs `runback watch` as the last step of a pipeline.
async fn watch(arguments: &[&str]) -> (i32, String) {
    let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    let run = move || -> Output {
        let mut command = Command::new(binary());
        command
            .arg("watch")
            .args(&arguments)
            .env_clear()
            .env("RUNBACK_IDENTITY_TOKEN", "token")
            .output()
            .unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn a_pipeline_starts_a_watch_by_the_command() {
    let (simulator, runback) = guarding([healthy()]).await;
    deploy(&simulator, 0.9);
    let url = runback.url("");
    let (status, said) = watch(&["--service", FULL_NAME, "--public-url", &url]).await;
    assert_eq!(status, 0, "{said}");
    assert_contains(&said, &["watching", BAD]);
    until("the task", || simulator.tasks().len() == 1).await;
    until_rolled_back(&simulator, &runback).await;
    let (status, said) = watch(&["--service", FULL_NAME, "--public-url", &url]).await;
    assert_eq!(status, 0, "{said}");
    assert_contains(&said, &["nothing_to_watch", BAD, "takes no traffic"]);
    let (status, said) =
        watch(&["--service", "projects/p/locations/r/services/s", "--public-url", &url]).await;
    assert_eq!(status, 1, "{said}");
    assert_contains(&said, &["not_guarded"]);
    let (status, said) = watch(&["--service", "k-back", "--public-url", &url]).await;
    assert_eq!(status, 2, "{said}");
    let (status, said) = watch(&["--service", FULL_NAME]).await;
    assert_eq!(status, 2, "{said}");
    assert_contains(&said, &["RUNBACK_PUBLIC_URL"]);
    runback.finish().await;
}
