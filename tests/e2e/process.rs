//! The process: how it starts, how it stops, what it writes.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::alert::{Alert, Envelope};
use crate::harness::{Launch, Runback};
use crate::simulator::Simulator;
use crate::situation::{
    BAD, SERVICE, a_failing_deploy, assert_contains, assert_rolled_back, assert_untouched, k_back, one_story,
    until, with_trouble,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The token that is fetched ahead of the first alert is all that it asks for, and nothing waits for that.
#[tokio::test]
async fn it_starts_serves_and_stops_without_calling_anyone() {
    let (simulator, runback, _) =
        with_trouble(|simulator| simulator.at("token").always().hangs(Duration::from_secs(30))).await;
    assert_eq!(simulator.calls("*").len(), simulator.calls("token").len());
    runback.finish().await;
}

#[tokio::test]
async fn sigterm_right_after_the_start_ends_with_zero() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    for _ in 0..20 {
        let mut runback = Launch::beside(&simulator).start().await;
        runback.terminate();
        let status = runback.wait(Duration::from_secs(9)).await;
        assert_eq!(status.and_then(|status| status.code()), Some(0));
        runback.finish().await;
    }
}

#[tokio::test]
async fn sigterm_in_the_middle_of_a_rollback_finishes_it_and_ends_with_zero() {
    let (simulator, mut runback, alert) = a_failing_deploy().await;
    simulator.at("run.put").takes(Duration::from_millis(800));
    let answer = runback.sending(alert.wrapped(Envelope::Eventarc));
    until("the write", || !simulator.calls("run.put").is_empty()).await;
    runback.terminate();
    let status = runback.wait(Duration::from_secs(9)).await;
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    answer.await.unwrap().is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    one_story(&simulator);
    assert_eq!(simulator.tasks().len(), 1);
    runback.finish().await;
}

/// Sends the alert, and hangs up while Runback reads.
async fn hang_up(simulator: &Simulator, runback: &Runback, alert: &Alert) {
    simulator.at("run.revisions").takes(Duration::from_millis(300));
    let delivery = alert.wrapped(Envelope::Eventarc);
    let address = runback.url("").replace("http://", "");
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let headers: String =
        delivery.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = delivery.body.len();
    let head = format!("POST / HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n{headers}\r\n");
    stream.write_all(&[head.as_bytes(), &delivery.body].concat()).await.unwrap();
    until("the read", || !simulator.calls("run.revisions").is_empty()).await;
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_stop_the_rollback() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    hang_up(&simulator, &runback, &alert).await;
    until("the check", || !simulator.tasks().is_empty()).await;
    assert_rolled_back(&simulator);
    one_story(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_client_that_hangs_up_and_a_sigterm_do_not_stop_the_rollback() {
    let (simulator, mut runback, alert) = a_failing_deploy().await;
    hang_up(&simulator, &runback, &alert).await;
    runback.terminate();
    let status = runback.wait(Duration::from_secs(9)).await;
    assert_eq!(status.and_then(|status| status.code()), Some(0));
    assert_rolled_back(&simulator);
    one_story(&simulator);
    assert_eq!(simulator.tasks().len(), 1);
    runback.finish().await;
}

#[tokio::test]
async fn a_start_that_cannot_work_is_refused_and_names_what_is_wrong() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let launch = || Launch::beside(&simulator);
    let set = |name: &str, value: &str| launch().variable(name, value);
    let policy = |text: &str| launch().policy_file(text);
    let guarded = "[[service]]\nproject = \"p\"\nregion = \"r\"\nservice = \"s\"\n";
    let cases: Vec<(Launch, &[&str])> = vec![
        (launch().without("RUNBACK_POLICY"), &["RUNBACK_POLICY", "RUNBACK_POLICY_FILE"]),
        (set("RUNBACK_POLICY", "{"), &["RUNBACK_POLICY"]),
        (launch().policy(json!({"rolback": 0.1})), &["RUNBACK_POLICY", "rolback"]),
        (launch().policy(json!({"rollback": 5})), &["RUNBACK_POLICY", "rollback"]),
        (launch().policy(json!({"mode": "enforced"})), &["RUNBACK_POLICY", "mode", "enforced"]),
        (launch().policy(json!({"window": "ten minutes"})), &["RUNBACK_POLICY", "window"]),
        (launch().policy(json!({"max_rollbacks_per_day": 11})), &["max_rollbacks_per_day"]),
        (policy(&format!("{guarded}colour = \"red\"\n")), &["RUNBACK_POLICY_FILE", "colour"]),
        (policy(&guarded.repeat(2)), &["RUNBACK_POLICY_FILE", "service"]),
        (set("RUNBACK_POLICY_FILE", "/nowhere/policy.toml"), &["RUNBACK_POLICY_FILE"]),
        (set("PORT", "http"), &["PORT"]),
        (set("RUST_LOG", "inof"), &["RUST_LOG", "inof"]),
        (set("PORT", "70000"), &["PORT"]),
        (set("RUNBACK_RUN_URL", "run.googleapis.com"), &["RUNBACK_RUN_URL"]),
        (set("RUNBACK_MONITORING_URL", "ftp://x"), &["RUNBACK_MONITORING_URL"]),
        (set("RUNBACK_TASKS_QUEUE", "runback"), &["RUNBACK_TASKS_QUEUE"]),
        (launch().without("RUNBACK_PUBLIC_URL"), &["RUNBACK_PUBLIC_URL"]),
        (launch().without("RUNBACK_SERVICE_ACCOUNT"), &["RUNBACK_SERVICE_ACCOUNT"]),
        (set("RUNBACK_WEBHOOK_USER", "monitoring"), &["RUNBACK_WEBHOOK_PASSWORD"]),
        (launch().bot().without("SLACK_CHANNEL"), &["SLACK_CHANNEL"]),
        (set("SLACK_CHANNEL", "C1"), &["SLACK_CHANNEL"]),
        (set("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json"), &["GOOGLE_APPLICATION_CREDENTIALS"]),
    ];
    for (launch, parts) in cases {
        let said = launch.refused().await;
        assert_contains(&said, parts);
        assert!(said.lines().count() <= 6, "more than a sentence:\n{said}");
    }
    assert!(simulator.calls("*").is_empty());
}

#[tokio::test]
async fn the_policy_can_be_a_toml_file() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let policy = "[defaults]\nmode = \"enforce\"\nwindow = \"5m\"\nsteps = [10, 50, 100]\n\n[[service]]\n\
                  project = \"demo-project\"\nregion = \"asia-northeast1\"\nservice = \"k-back\"\n";
    let runback = Launch::beside(&simulator).policy_file(policy).start().await;
    let answer = runback.deliver(&Alert::on(&simulator, SERVICE)).await;
    answer.is(200, "rollback", "confirmed");
    assert_contains(&answer.text, &["in 5 min"]);
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_policy_that_says_nothing_observes() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let policy =
        "[[service]]\nproject = \"demo-project\"\nregion = \"asia-northeast1\"\nservice = \"k-back\"\n";
    let runback = Launch::beside(&simulator).policy_file(policy).start().await;
    runback.deliver(&Alert::on(&simulator, SERVICE)).await.is(200, "notify", "observe_mode");
    assert_untouched(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn log_lines_link_to_the_trace_of_their_request() {
    let headers = [
        ("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01")),
        ("x-cloud-trace-context", format!("{TRACE}/67667974448284343;o=1")),
    ];
    for (name, value) in headers {
        let (_, runback, alert) = a_failing_deploy().await;
        let mut delivery = alert.incident("0.traced").wrapped(Envelope::Eventarc);
        delivery.headers.push((name.into(), value));
        runback.send(&delivery).await.is(200, "rollback", "confirmed");
        let log = runback.log();
        let about = |entry: &&Value| entry["message"].as_str().unwrap().contains("0.traced");
        let entry = log.iter().find(about).unwrap();
        let trace = format!("projects/demo-project/traces/{TRACE}");
        assert_eq!(entry["logging.googleapis.com/trace"], json!(trace), "{name}: {entry:#}");
        assert_contains(&entry.to_string(), &["rollback", BAD]);
        runback.finish().await;
    }
}

#[tokio::test]
async fn nonsense_in_a_trace_header_costs_nothing() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    let mut delivery = alert.wrapped(Envelope::Eventarc);
    delivery.headers.push(("traceparent".into(), "00-zz-1".into()));
    delivery.headers.push(("x-cloud-trace-context".into(), "é/;o=".into()));
    runback.send(&delivery).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn it_says_its_version_and_completes_commands_in_a_shell() {
    let simulator = Simulator::with([]).await;
    let version = crate::command::run(&simulator, &["--version"], "").await;
    assert!(version.output.starts_with(concat!("runback ", env!("CARGO_PKG_VERSION"))), "{}", version.output);
    for shell in ["bash", "zsh", "fish"] {
        let said = crate::command::run(&simulator, &["completions", shell], "").await;
        assert_eq!(said.status, 0, "{}", said.errors);
        assert!(said.output.contains("quarantine") && said.output.contains("rollback"), "{shell}");
    }
    let said = crate::command::run(&simulator, &["rolback", "k-back"], "").await;
    assert_eq!(said.status, 2);
    assert!(said.errors.contains("'rollback'"), "{}", said.errors);
}
