//! Who may call which path. Cloud Run has checked the token; here its account is compared.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::alert::{Alert, Delivery, Envelope, Kind};
use crate::harness::{Launch, Runback};
use crate::simulator::{ACCOUNT, Simulator, minutes};
use crate::situation::{
    BAD, FULL_NAME, SERVICE, a_failing_deploy, assert_contains, assert_rolled_back, assert_untouched, k_back,
    on_record, one_story, under_policy,
};

const TRIGGER: &str = "runback-trigger@demo-project.iam.gserviceaccount.com";
const PERSON: &str = "person@example.com";
const PIPELINE: &str = "ci@demo-project.iam.gserviceaccount.com";

/// Runback with a trigger and a person who may send alerts, and a pipeline that may only report deploys.
async fn with_callers() -> (Simulator, Runback, Alert) {
    with_callers_and(0.4).await
}

/// The same, and a deploy that fails so much.
async fn with_callers_and(errors: f64) -> (Simulator, Runback, Alert) {
    let simulator = Simulator::with([k_back(errors)]).await;
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

/// A task that nobody has planned.
fn forged(what: Value) -> Delivery {
    let mut body = json!({
        "project": "demo-project", "region": "asia-northeast1", "service": SERVICE, "thread": null, "slowness": false,
    });
    body.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
    Delivery::new("/tasks", &[("content-type", "application/json")], body.to_string())
}

fn a_forged_task() -> Delivery {
    forged(json!({"task": "judge", "incident": "0.forged", "revision": null, "deadline": true}))
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
    let answers: Vec<Value> = serde_json::from_str(&again.text).unwrap();
    assert_eq!((again.status, answers.len()), (200, 12));
    let mut decided = decided(&runback);
    assert_eq!(decided.len(), 12, "what was decided is not decided anew: {decided:?}");
    decided.sort();
    decided.dedup();
    assert_eq!(decided.len(), 12);
    assert_untouched(&simulator);
    runback.finish().await;
}

/// Where a token can be had, a task can be forged. What is due is not the body's to say.
#[tokio::test]
async fn a_forged_deadline_rolls_nothing_back_at_warning_level() {
    let mut service = k_back(0.03);
    service.rpm = 600.0;
    let (simulator, runback, alert) = under_policy(service, json!({"warning": 0.02})).await;
    runback.deliver(&alert).await.is(200, "notify", "warning");
    let warned = |incident: &str| {
        forged(json!({"task": "judge", "incident": incident, "revision": null, "deadline": true})).by(ACCOUNT)
    };
    for incident in ["0.forged", "0.n1incident01"] {
        assert_eq!(runback.send(&warned(incident)).await.status, 200);
    }
    assert!(simulator.calls("run.put").is_empty(), "nobody was warned half an hour ago");
    simulator.advance(minutes(31));
    assert_eq!(runback.send(&warned("0.forged")).await.status, 200);
    assert!(simulator.calls("run.put").is_empty(), "nobody was warned of this one");
    runback.deliver_due_tasks().await;
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn what_is_longer_or_larger_than_runback_makes_it_is_no_task() {
    let (simulator, runback, _) = a_failing_deploy().await;
    let long = "x".repeat(201);
    for what in [
        json!({"task": "judge", "incident": long, "revision": null, "deadline": false}),
        json!({"task": "judge", "incident": "0.1", "revision": long, "deadline": false}),
        json!({"task": "judge", "incident": "0.1", "revision": null, "deadline": false, "why": "x".repeat(500_000)}),
        json!({"task": "deploy", "revision": "k-back-00042-abc", "percent": 100, "look": 4_000_000_000_u32}),
        json!({"task": "check", "rollback": long, "look": 1, "told": true}),
    ] {
        let answer = runback.send(&forged(what).by(ACCOUNT)).await;
        assert_contains(&answer.text, &["nothing: the task's body cannot be read"]);
    }
    assert_untouched(&simulator);
    assert!(simulator.calls("run.*").is_empty());
    runback.finish().await;
}

#[tokio::test]
async fn a_forged_check_neither_ends_the_checks_nor_posts_into_another_thread() {
    let mut service = k_back(0.4);
    service.rpm = 20.0;
    let simulator = Simulator::with([service]).await;
    let runback = Launch::beside(&simulator).bot().start().await;
    runback.deliver(&Alert::on(&simulator, SERVICE)).await.is(200, "rollback", "confirmed");
    simulator.change(SERVICE, |service| service.service.rpm = 1.0);
    simulator.advance(minutes(6));
    let id = on_record(&simulator)["id"].clone();
    let check = json!({"task": "check", "rollback": id, "look": 5, "told": true, "thread": "C9:1.1"});
    let answer = runback.send(&forged(check).by(ACCOUNT)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(on_record(&simulator)["phase"], "told", "{}", answer.text);
    assert_contains(&answer.text, &["look 2 follows"]);
    let elsewhere = simulator.slack().into_iter().filter(|message| message.thread.as_deref() == Some("1.1"));
    assert_eq!(elsewhere.count(), 0);
    runback.finish().await;
}

#[tokio::test]
async fn a_forged_look_does_not_silence_a_watch() {
    let simulator = Simulator::with([k_back(0.9)]).await;
    let runback = Launch::beside(&simulator).policy(json!({"mode": "observe"})).start().await;
    let look = json!({
        "task": "deploy", "revision": BAD, "percent": 100, "look": 1, "told": ["observe_mode", "warning"],
    });
    assert_eq!(runback.send(&forged(look).by(ACCOUNT)).await.status, 200);
    assert_contains(&one_story(&simulator), &["observe_mode"]);
    runback.finish().await;
}

/// Whoever may write alert policies in some project can name any service in them.
#[tokio::test]
async fn an_alert_of_another_project_touches_nothing_and_says_what_would_allow_it() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    let foreign = alert.set("/incident/scoping_project_id", json!("somebody-elses"));
    runback.deliver(&foreign).await.is(200, "notify", "explain_only");
    assert_untouched(&simulator);
    assert_contains(&one_story(&simulator), &["somebody-elses", "alert_projects"]);
    runback.finish().await;
    let policy = json!({"alert_projects": ["somebody-elses"]});
    let (simulator, runback, alert) = under_policy(k_back(0.4), policy).await;
    let listed = alert.set("/incident/scoping_project_id", json!("somebody-elses"));
    runback.deliver(&listed).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    runback.finish().await;
}

const POLICY: &str = "demo-project/1625606300149248055";

/// A healthy deploy, and an alert on its uptime that claims that its policy vouches for it.
fn an_alert_that_claims(alert: &Alert, label: &str) -> Delivery {
    let alert = alert.again().kind(Kind::Saturation);
    from_the_trigger(&alert.set("/incident/policy_user_labels", json!({"runback": label})))
}

fn from_the_trigger(alert: &Alert) -> Delivery {
    alert.wrapped(Envelope::Eventarc).by(TRIGGER)
}

#[tokio::test]
async fn a_label_that_lets_an_alert_do_more_counts_where_the_policy_itself_carries_it() {
    for label in ["rollback", "critical"] {
        let (simulator, runback, alert) = with_callers_and(0.0).await;
        simulator.world().policies.insert(POLICY.into(), json!({"runback": label, "team": "web"}));
        let answer = runback.send(&an_alert_that_claims(&alert, label)).await;
        answer.is(200, "rollback", if label == "critical" { "critical" } else { "confirmed" });
        assert_rolled_back(&simulator);
        runback.finish().await;
    }
}

#[tokio::test]
async fn a_label_that_only_the_alert_claims_explains_and_nothing_is_touched() {
    let not_found = "demo-project has no alert policy 1625606300149248055";
    for (labels, says) in [
        (Some(json!(null)), "does not carry the label runback = critical"),
        (Some(json!({"runback": "notify"})), "label is runback = notify, not critical"),
        (None, not_found),
    ] {
        let (simulator, runback, alert) = with_callers_and(0.0).await;
        if let Some(labels) = labels {
            simulator.world().policies.insert(POLICY.into(), labels);
        }
        let answer = runback.send(&an_alert_that_claims(&alert, "critical")).await;
        answer.is(200, "notify", "explain_only");
        assert_contains(&answer.text, &[says]);
        assert_untouched(&simulator);
        runback.finish().await;
    }
}

#[tokio::test]
async fn a_label_that_cannot_be_read_names_the_permission_and_nothing_is_touched() {
    let (simulator, runback, alert) = with_callers_and(0.0).await;
    simulator.at("monitoring.policy").always().fails(403);
    let claims = an_alert_that_claims(&alert, "rollback");
    let answer = runback.send(&claims).await;
    answer.is(200, "notify", "explain_only");
    assert_contains(&answer.text, &["monitoring.alertPolicies.get in demo-project is missing"]);
    assert_untouched(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn requests_that_fail_need_no_label() {
    let (simulator, runback, alert) = with_callers().await;
    let failing = alert.again().set("/incident/policy_user_labels", json!({"runback": "rollback"}));
    runback.send(&from_the_trigger(&failing)).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    runback.finish().await;
}
