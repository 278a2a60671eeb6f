//! How a watch is asked for, and what stands in its way.

use std::process::{Command, Output};

use crate::audit_log::{Api, audit_event};
use crate::deploys::{a_minute, called, deploy, healthy, until_rolled_back, waiting, watched};
use crate::harness::{Launch, assert_nothing_is_touched, binary, guarding, split};
use crate::simulator::{Revision, Service, Simulator, hours, minutes};
use crate::situation::{BAD, FULL_NAME, GOOD, SERVICE, assert_contains, later, moves, until};

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
    simulator.at("tasks.create").always().fails(503);
    assert_eq!(runback.send(&event).await.status, 503);
    simulator.repair();
    // As it is for minutes after 30 days in which nothing used the queue.
    simulator.at("tasks.create").always().fails(404);
    assert_eq!(runback.send(&event).await.status, 503);
    assert!(runback.said().contains("after 30 idle days Cloud Tasks takes minutes to bring it back"));
    simulator.repair();
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
    // It served well for a day, so half of its traffic is tried elsewhere first.
    assert_eq!((simulator.traffic(SERVICE), moves(&simulator)), (split([(GOOD, 100)]), 2));
    runback.finish().await;
}

#[tokio::test]
async fn a_service_that_is_deleted_while_it_is_watched_is_nobodys_trouble() {
    for deploying in [false, true] {
        let (simulator, runback) = guarding([healthy()]).await;
        deploy(&simulator, 0.9);
        simulator.change(SERVICE, |service| service.set_deploying(deploying));
        runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "watching");
        simulator.world().services.clear();
        if deploying {
            // What waits for the change to be rolled out comes again until the 404 has lasted.
            assert_eq!(later(&simulator, &runback, minutes(1)).await, [503]);
        } else {
            for _ in 0..10 {
                a_minute(&simulator, &runback).await;
            }
            assert!(waiting(&simulator).is_empty());
        }
        assert!(simulator.slack().is_empty(), "{:#?}", simulator.slack());
        runback.finish().await;
    }
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
    assert_eq!(
        said.trim_end(),
        format!("watching: {BAD} takes traffic and is judged every minute, 10 times")
    );
    until("the task", || simulator.tasks().len() == 1).await;
    until_rolled_back(&simulator, &runback).await;
    let (status, said) = watch(&["--service", FULL_NAME, "--public-url", &url]).await;
    assert_eq!(status, 0, "{said}");
    assert_eq!(said.trim_end(), format!("nothing_to_watch: its newest revision {BAD} takes no traffic"));
    let (status, said) =
        watch(&["--service", "projects/p/locations/r/services/s", "--public-url", &url]).await;
    assert_eq!(status, 1, "{said}");
    assert_contains(&said, &["not_guarded"]);
    let (status, said) = watch(&["--service", "k-back", "--public-url", &url]).await;
    assert_eq!(status, 2, "{said}");
    let (status, said) = watch(&["--service", FULL_NAME]).await;
    assert_eq!(status, 2, "{said}");
    assert_contains(&said, &["RUNBACK_PUBLIC_URL"]);
    simulator.at("run.get").always().fails(503);
    let (status, said) = watch(&["--service", FULL_NAME, "--public-url", &url]).await;
    assert_eq!(status, 1, "{said}");
    assert_contains(&said, &["is not watched: HTTP 503", "The simulator was told to fail"]);
    runback.finish().await;
}
