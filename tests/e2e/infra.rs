//! What Terraform and Runback must agree on: the policy's keys, the words in the log that metrics count, the heartbeat.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::alert::{Alert, Delivery};
use crate::harness::{Launch, Runback, assert_nothing_is_touched};
use crate::simulator::{Simulator, minutes};
use crate::situation::{SERVICE, a_failing_deploy, a_world_with, assert_contains, k_back, under_policy};

fn infra(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("infra").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text between two others, which have to be there.
#[track_caller]
fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = text.split_once(begin).unwrap_or_else(|| panic!("{begin:?} is nowhere"));
    rest.split_once(end).unwrap_or_else(|| panic!("{end:?} does not follow {begin:?}")).0
}

/// The attributes of an object type in HCL, those of objects within it left out.
fn attributes(object: &str) -> Vec<String> {
    let mut depth = 0;
    let mut found = Vec::new();
    for line in object.lines().map(|line| line.split('#').next().unwrap_or_default()) {
        let name = line.split_once('=').map(|(name, _)| name.trim()).unwrap_or_default();
        if depth == 0 && !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            found.push(name.to_owned());
        }
        depth += line.matches('{').count() as i32 - line.matches('}').count() as i32;
    }
    found
}

/// The keys as the program itself lists them, when it is given one that it does not know.
async fn keys_of_the_program() -> Vec<String> {
    let simulator = Simulator::with([k_back(0.0)]).await;
    let said = Launch::beside(&simulator).policy(json!({"no_such_key": 1})).refused().await;
    between(&said, "it knows ", "\n").split(", ").map(|key| key.trim().to_owned()).collect()
}

#[tokio::test]
async fn terraform_knows_every_key_of_the_policy_and_no_other() {
    let keys = keys_of_the_program().await;
    assert!(keys.contains(&"max_rollbacks_per_day".to_owned()), "{keys:?}");

    let list = infra("policy.tf");
    let list = between(&list, "policy_keys = [", "]");
    let listed: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    assert_eq!(listed, keys, "local.policy_keys in infra/policy.tf");

    let variables = infra("variables.tf");
    let service = attributes(between(&variables, "list(object({\n", "validation {"));
    let of_service: Vec<&String> = service.iter().filter(|key| keys.contains(key)).collect();
    assert_eq!(of_service, keys.iter().collect::<Vec<_>>(), "the variable `services`");
    let others: Vec<&String> = service.iter().filter(|key| !keys.contains(key)).collect();
    assert_eq!(
        others,
        [
            "service",
            "project",
            "region",
            "service_account",
            "image_repository",
            "image_repositories",
            "alerts"
        ]
    );

    let (_, defaults) = variables.split_once("variable \"defaults\"").unwrap();
    let defaults = attributes(between(defaults, "object({\n", "})"));
    assert_eq!(defaults, keys[1..], "the variable `defaults`, which leaves `mode` to a variable of its own");
    assert_eq!(keys[0], "mode");
}

/// `make test-infra` holds Terraform to the same cases.
#[tokio::test]
async fn the_program_accepts_and_refuses_the_policies_that_terraform_does() {
    let cases: Value = serde_json::from_str(&infra("tests/policy_cases.json")).unwrap();
    let simulator = Simulator::with([k_back(0.0)]).await;
    for keys in cases["accepted"].as_array().unwrap() {
        let launch = Launch::beside(&simulator).policy(keys.clone());
        launch.start().await.finish().await;
    }
    for keys in cases["refused"].as_array().unwrap() {
        let said = Launch::beside(&simulator).policy(keys.clone()).refused().await;
        let (key, _) = keys.as_object().unwrap().iter().next().unwrap();
        assert_contains(&said, &["RUNBACK_POLICY", &format!("`{key}`")]);
    }
}

/// What Monitoring's push and Eventarc make of a message with this body.
fn carrying(body: &str) -> Vec<Delivery> {
    use base64::Engine;
    let data = base64::engine::general_purpose::STANDARD.encode(body);
    let push = json!({
        "message": {"data": data, "messageId": "1", "publishTime": "2026-11-22T03:00:00Z"},
        "subscription": "projects/demo-project/subscriptions/runback-alerts",
    });
    let event = [
        ("content-type", "application/json"),
        ("ce-id", "1"),
        ("ce-specversion", "1.0"),
        ("ce-type", "google.cloud.pubsub.topic.v1.messagePublished"),
        ("ce-source", "//pubsub.googleapis.com/projects/demo-project/topics/runback-alerts"),
    ];
    let plain = [("content-type", "application/json")];
    vec![
        Delivery::new("/events", &event, push.to_string()),
        Delivery::new("/events", &plain, push.to_string()),
    ]
}

fn decided(runback: &Runback) -> Vec<Value> {
    runback.log().into_iter().filter(|entry| entry["stage"] == "decided").collect()
}

#[tokio::test]
async fn a_heartbeat_is_acknowledged_and_counted_and_nobody_is_told() {
    let watch = infra("self_watch.tf");
    let words = between(&watch, "ping = \"jsonPayload.message:\\\"", "\\\"\"");
    // The one in `pubsub_target`, as Terraform writes it.
    assert_contains(&watch, &["base64encode(jsonencode({ version = \"1.2\" }))"]);
    let (simulator, runback, _) = a_world_with(k_back(0.4)).await;
    for (sent, delivery) in carrying(r#"{"version":"1.2"}"#).iter().enumerate() {
        runback.send(delivery).await.is(200, "ignore", "not_an_incident");
        let counted: Vec<Value> = decided(&runback)
            .into_iter()
            .filter(|entry| entry["message"].as_str().unwrap().contains(words))
            .collect();
        assert_eq!(counted.len(), sent + 1, "infra/self_watch.tf counts lines with {words:?}");
        assert_eq!(counted[sent]["severity"], "INFO");
    }
    assert_nothing_is_touched(&simulator);
    assert!(simulator.slack().is_empty());
    runback.finish().await;
}

/// The metric `decisions` reads these fields.
#[track_caller]
fn assert_countable(entry: &Value, decision: &str, reason: &str) {
    let fields = [&entry["decision"], &entry["reason"], &entry["service"]];
    let service = "projects/demo-project/locations/asia-northeast1/services/k-back";
    assert_eq!(fields, [&json!(decision), &json!(reason), &json!(service)], "{entry:#}");
}

#[tokio::test]
async fn a_decision_and_how_the_rollback_ended_can_be_counted() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_countable(&decided(&runback)[0], "rollback", "confirmed");
    simulator.advance(minutes(6));
    runback.deliver_due_tasks().await;
    let verdicts: Vec<Value> =
        runback.log().into_iter().filter(|entry| entry["verdict"].is_string()).collect();
    assert_eq!(verdicts.len(), 1, "{verdicts:#?}");
    assert_eq!(verdicts[0]["verdict"], "recovered");
    assert_eq!(verdicts[0]["service"], "projects/demo-project/locations/asia-northeast1/services/k-back");
    runback.finish().await;
}

/// A task decides as an event does, and its decision has as much in the log.
#[tokio::test]
async fn a_decision_that_a_task_made_can_be_counted_too() {
    let mut service = k_back(0.03);
    service.rpm = 600.0;
    let (simulator, runback, alert) = under_policy(service, json!({"warning": 0.02})).await;
    runback.deliver(&alert).await.is(200, "notify", "warning");
    simulator.advance(minutes(31));
    runback.deliver_due_tasks().await;
    let decided = decided(&runback);
    assert_eq!(decided.len(), 2, "{decided:#?}");
    assert_countable(&decided[1], "rollback", "confirmed");
    assert!(decided[1]["gates"].as_array().is_some_and(|gates| gates.len() > 5), "{:#}", decided[1]);
    runback.finish().await;
}

/// The metric's alert counts on it: an error in the log is one that people should hear of.
#[tokio::test]
async fn an_ordinary_rollback_logs_no_error() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    runback.deliver(&Alert::on(&simulator, SERVICE).closed()).await;
    simulator.advance(minutes(6));
    runback.deliver_due_tasks().await;
    let errors: Vec<Value> = runback
        .log()
        .into_iter()
        .filter(|entry| !["INFO", "WARNING", "NOTICE"].contains(&entry["severity"].as_str().unwrap()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    runback.finish().await;
}

/// `make test-infra` holds the filter of Terraform's log sinks to the same entries.
#[tokio::test]
async fn what_a_sink_delivers_is_understood_and_what_is_not_understood_is_not_delivered() {
    let cases: Value = serde_json::from_str(&infra("tests/audit_cases.json")).unwrap();
    // Guards another project: how an entry is understood shows in the answer.
    let (simulator, runback, _) = a_world_with(k_back(0.4)).await;
    for case in cases.as_array().unwrap() {
        let about = case["about"].as_str().unwrap();
        for delivery in carrying(&case["entry"].to_string()) {
            let answer = runback.send(&delivery).await;
            let reason = if case["changes"].is_null() { "not_an_incident" } else { "not_guarded" };
            assert_eq!(answer.verdict(), (200, "ignore".into(), reason.into()), "{about}: {}", answer.text);
            assert_eq!(answer.json()["service"], case["changes"], "{about}: {}", answer.text);
        }
        assert!(!(case["delivered"] == true && case["changes"].is_null()), "{about}");
    }
    assert!(simulator.slack().is_empty());
    runback.finish().await;
}

#[test]
fn terraform_knows_every_method_that_changes_a_service_and_no_other() {
    let quoted = |text: &str| text.split('"').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let source = include_str!("../../src/intake/audit.rs");
    let changes = quoted(between(source, "const CHANGES", ";\n\n"));
    assert!(changes.contains(&"ReplaceService".to_owned()), "{changes:?}");
    let watch = infra("watch.tf");
    assert_eq!(
        quoted(between(&watch, "service_changes = [", "]")),
        changes,
        "local.service_changes in infra/watch.tf"
    );
    let cases = infra("tests/audit_cases.json");
    for method in changes {
        assert!(cases.contains(&method), "infra/tests/audit_cases.json has no {method}");
    }
}
