//! Who may call which path. Cloud Run has checked the token; here its account is compared.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::alert::{Alert, Delivery, Envelope};
use crate::harness::{Launch, Runback};
use crate::simulator::Simulator;
use crate::situation::{
    FULL_NAME, SERVICE, a_failing_deploy, assert_contains, assert_rolled_back, assert_untouched, k_back,
};

const TRIGGER: &str = "runback-trigger@demo-project.iam.gserviceaccount.com";
const PERSON: &str = "person@example.com";
const PIPELINE: &str = "ci@demo-project.iam.gserviceaccount.com";

/// Runback with a trigger and a person who may send alerts, and a pipeline that may only report deploys.
async fn with_callers() -> (Simulator, Runback, Alert) {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let events = format!("{TRIGGER}, {PERSON}");
    let runback = Launch::beside(&simulator)
        .variable("RUNBACK_CALLERS_EVENTS", &events)
        .variable("RUNBACK_CALLERS_WATCH", &format!("{PIPELINE},{PERSON}"))
        .start()
        .await;
    let alert = Alert::on(&simulator, SERVICE);
    (simulator, runback, alert)
}

fn a_deploy() -> Delivery {
    Delivery::new(
        "/watch",
        &[("content-type", "application/json")],
        json!({"service": FULL_NAME}).to_string(),
    )
}

fn a_forged_task() -> Delivery {
    let body = json!({
        "project": "demo-project", "region": "asia-northeast1", "service": SERVICE, "thread": null,
        "task": "judge", "incident": "0.forged", "revision": null, "slowness": false, "deadline": true,
    });
    Delivery::new("/tasks", &[("content-type", "application/json")], body.to_string())
}

#[tokio::test]
async fn whom_a_path_is_not_for_is_refused_and_nothing_is_touched() {
    let (simulator, runback, alert) = with_callers().await;
    let alerts = [alert.wrapped(Envelope::Eventarc), alert.wrapped(Envelope::Events)];
    let mut refused: Vec<Delivery> = alerts.iter().map(|alert| alert.clone().by(PIPELINE)).collect();
    refused.extend(alerts.iter().cloned());
    refused.extend([a_deploy(), a_deploy().by(TRIGGER), a_forged_task(), a_forged_task().by(TRIGGER)]);
    // Cloud Run passes an `Authorization` on that it has not checked, beside the header that it has.
    let mut disguised = alerts[0].clone().by(TRIGGER);
    disguised.headers.extend(a_deploy().by(PIPELINE).headers.into_iter().filter_map(|(name, value)| {
        (name == "authorization").then(|| ("x-serverless-authorization".into(), value))
    }));
    refused.push(disguised);
    for delivery in refused {
        let answer = runback.send(&delivery).await;
        assert_eq!(answer.status, 403, "{}: {}", delivery.path, answer.text);
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.ends_with('.') && error.contains("RUNBACK_"), "{error}");
    }
    assert_untouched(&simulator);
    assert!(simulator.calls("run.*").is_empty());
    runback.finish().await;
}

#[tokio::test]
async fn whom_a_path_is_for_is_let_in() {
    let (simulator, runback, alert) = with_callers().await;
    for caller in [PIPELINE, PERSON] {
        runback.send(&a_deploy().by(caller)).await.is(200, "ignore", "watching");
    }
    let test = alert.again().incident("0.test").set("/version", json!("test"));
    runback.send(&test.wrapped(Envelope::Push).by(PERSON)).await.is(200, "notify", "test_notification");
    runback.send(&alert.wrapped(Envelope::Events).by(TRIGGER)).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    simulator.advance(Duration::from_secs(6 * 60));
    let answers = runback.deliver_due_tasks().await;
    assert!(!answers.is_empty() && answers.iter().all(|answer| answer.status == 200), "{answers:#?}");
    assert!(!json!(runback.log()).to_string().contains("whoever Cloud Run lets in"));
    runback.finish().await;
}

#[tokio::test]
async fn without_callers_the_log_says_who_may_call() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    let said = json!(runback.log()).to_string();
    assert_contains(&said, &["RUNBACK_CALLERS_EVENTS is unset", "RUNBACK_CALLERS_WATCH is unset"]);
    // Whose tasks are taken is known as soon as there is a queue.
    assert!(!said.contains("RUNBACK_SERVICE_ACCOUNT is unset"), "{said}");
    assert_eq!(runback.send(&a_forged_task()).await.status, 403);
    assert_eq!(runback.send(&a_forged_task().by(PIPELINE)).await.status, 403);
    assert_untouched(&simulator);
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    runback.finish().await;
}

/// The first line of the answer to a request whose body never comes.
async fn answer_without_a_body(runback: &Runback, head: &str) -> String {
    let address = runback.url("").replace("http://", "");
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream.write_all(head.replace("ADDRESS", &address).as_bytes()).await.unwrap();
    let mut answer = [0; 64];
    let read = tokio::time::timeout(Duration::from_secs(3), stream.read(&mut answer)).await;
    let read = read.unwrap_or_else(|_| panic!("the body is waited for: {head}")).unwrap();
    String::from_utf8_lossy(&answer[..read]).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn whoever_may_not_call_is_refused_before_the_body_is_read() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let runback = Launch::beside(&simulator).webhook().start().await;
    let head = |path: &str| format!("POST {path} HTTP/1.1\r\nHost: ADDRESS\r\nContent-Length: 1000\r\n\r\n");
    assert_eq!(answer_without_a_body(&runback, &head("/webhook")).await, "HTTP/1.1 401 Unauthorized");
    assert_eq!(answer_without_a_body(&runback, &head("/tasks")).await, "HTTP/1.1 403 Forbidden");
    runback.finish().await;
}

#[tokio::test]
async fn only_http_1_is_spoken() {
    let (_, runback, _) = a_failing_deploy().await;
    let settings = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0";
    let answer = answer_without_a_body(&runback, settings).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer:?}");
    assert_eq!(
        answer_without_a_body(&runback, "GET /health HTTP/1.1\r\nHost: ADDRESS\r\n\r\n").await,
        "HTTP/1.1 200 OK"
    );
    runback.finish().await;
}

/// Each event of a batch is answered for, in one answer or after the other.
#[tokio::test]
async fn a_long_batch_is_answered_in_time_and_goes_on_when_it_comes_again() {
    let mut service = k_back(0.4);
    service.policy = json!({"mode": "observe"});
    let simulator = Simulator::with([service]).await;
    simulator.at("slack.webhook").always().hangs(Duration::from_secs(30));
    let runback = Launch::beside(&simulator).start().await;
    let alert = Alert::on(&simulator, SERVICE);
    let events: Vec<Alert> = (0..12).map(|n| alert.again().incident(&format!("0.batch{n}"))).collect();
    let batch = Alert::batched(&events);
    let began = Instant::now();
    let first = runback.send(&batch).await;
    assert!(began.elapsed() < Duration::from_millis(9_500), "{:?}", began.elapsed());
    assert_eq!(first.status, 503, "{}", first.text);
    assert_contains(&first.text, &["time is up", "of 12 events are left"]);
    let decided = |runback: &Runback| {
        let log = runback.log();
        let decided = log.iter().filter(|entry| entry["stage"] == "decided");
        decided.map(|entry| entry["incident"].to_string()).collect::<Vec<_>>()
    };
    assert!(!decided(&runback).is_empty());
    simulator.repair();
    let mut again = runback.send(&batch).await;
    for _ in 0..5 {
        if again.status == 503 {
            again = runback.send(&batch).await;
        }
    }
    let answers: Vec<serde_json::Value> = serde_json::from_str(&again.text).unwrap();
    assert_eq!((again.status, answers.len()), (200, 12));
    let mut decided = decided(&runback);
    assert_eq!(decided.len(), 12, "what was decided is not decided anew: {decided:?}");
    decided.sort();
    decided.dedup();
    assert_eq!(decided.len(), 12);
    assert_untouched(&simulator);
    runback.finish().await;
}
