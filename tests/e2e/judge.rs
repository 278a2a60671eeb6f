//! `runback judge`: the decision, without doing anything.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::alert::{Alert, Kind};
use crate::command::{Said, folder, run};
use crate::harness::{Launch, assert_nothing_is_touched};
use crate::simulator::Simulator;
use crate::situation::{BAD, FULL_NAME, GOOD, SERVICE, assert_contains, assert_untouched, k_back};

const POLICY: &str = r#"
[defaults]
mode = "enforce"

[[service]]
project = "demo-project"
region = "asia-northeast1"
service = "k-back"
"#;

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// The policy as a file of this test.
fn policy(name: &str, text: &str) -> String {
    let file = folder(name).join("policy.toml");
    fs::write(&file, text).unwrap();
    file.display().to_string()
}

async fn judge(simulator: &Simulator, arguments: &[&str], input: &str) -> Said {
    run(simulator, &[&["judge"], arguments].concat(), input).await
}

fn notification(simulator: &Simulator) -> String {
    Alert::on(simulator, SERVICE).notification().to_string()
}

#[tokio::test]
async fn a_live_service_is_judged_and_nothing_is_touched() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let policy = policy("live", POLICY);
    let said = judge(&simulator, &["--policy", &policy], &notification(&simulator)).await;
    assert_eq!(said.status, 0, "{}", said.errors);
    let moved = format!("traffic: {BAD} 100 % -> {GOOD} 100 %");
    assert_contains(&said.output, &["rollback (confirmed)", "✓ failing", "limit 5 %", &moved]);
    assert_untouched(&simulator);
    assert!(simulator.slack().is_empty() && simulator.tasks().is_empty());
}

#[tokio::test]
async fn the_text_is_the_one_that_the_answer_carries() {
    let simulator = Simulator::with([k_back(0.02)]).await;
    let policy = policy("same", POLICY);
    let said = judge(&simulator, &["--policy", &policy], &notification(&simulator)).await;
    let runback = Launch::beside(&simulator).start().await;
    let answer = runback.deliver(&Alert::on(&simulator, SERVICE)).await;
    // Who only asks for a judgement is not called back.
    let explained =
        answer.json()["explanation"].as_str().unwrap().replace("; Runback looks again in 5 min", "");
    assert_eq!(said.output.trim_end(), format!("DRY RUN: nothing is touched.\n{explained}"));
    runback.finish().await;
}

#[tokio::test]
async fn no_target_is_probed_because_that_takes_a_tag() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let policy = policy("unprobed", &POLICY.replace("[defaults]", "[defaults]\nhealth_path = \"/health\""));
    let said = judge(&simulator, &["--policy", &policy], &notification(&simulator)).await;
    assert_contains(&said.output, &["rollback (confirmed)", "was not probed: a judgement only reads"]);
    assert_untouched(&simulator);
}

#[tokio::test]
async fn what_was_saved_is_judged_the_same_without_any_call() {
    for (name, kind) in [("errors", Kind::Errors), ("latency", Kind::Latency)] {
        let simulator = Simulator::with([k_back(0.4)]).await;
        let (policy, snapshot) = (policy(name, POLICY), text(&folder(name).join("saved.json")));
        let alert = Alert::on(&simulator, SERVICE).kind(kind).notification().to_string();
        let live = judge(&simulator, &["--policy", &policy, "--save", &snapshot], &alert).await;
        let calls = simulator.calls("*").len();
        let saved = judge(&simulator, &["--policy", &policy, "--snapshot", &snapshot], "").await;
        assert_eq!((saved.status, saved.output), (0, live.output));
        assert_eq!(simulator.calls("*").len(), calls);
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_written_does_not_hide_the_decision() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let (policy, nowhere) = (policy("unwritable", POLICY), text(&folder("unwritable").join("no/such.json")));
    let said = judge(&simulator, &["--policy", &policy, "--save", &nowhere], &notification(&simulator)).await;
    assert_eq!(said.status, 1, "{}", said.errors);
    assert_contains(&said.output, &["rollback (confirmed)", GOOD]);
    assert_contains(&said.errors, &["no/such.json cannot be written"]);
}

#[tokio::test]
async fn a_snapshot_holds_no_environment_variable_of_the_service() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let (policy, snapshot) = (policy("secretless", POLICY), folder("secretless").join("saved.json"));
    judge(&simulator, &["--policy", &policy, "--save", &text(&snapshot)], &notification(&simulator)).await;
    let saved = fs::read_to_string(snapshot).unwrap();
    let document = simulator.change(SERVICE, |running| running.render().to_string());
    assert!(document.contains("\"env\"") && !saved.contains("\"env\""), "{document}");
}

#[tokio::test]
async fn a_folder_of_snapshots_becomes_a_table_by_which_a_policy_is_tried() {
    let recorded = folder("table");
    let strict = policy("table-strict", POLICY);
    for (name, errors) in [("bad", 0.4), ("mild", 0.03)] {
        let simulator = Simulator::with([k_back(errors)]).await;
        let file = text(&recorded.join(format!("{name}.json")));
        judge(&simulator, &["--policy", &strict, "--save", &file], &notification(&simulator)).await;
    }
    let simulator = Simulator::with([]).await;
    let folder = text(&recorded);
    let table = judge(&simulator, &["--policy", &strict, "--snapshot", &folder], "").await;
    let lines: Vec<&str> = table.output.lines().collect();
    assert_eq!((table.status, lines.len()), (0, 3), "{}", table.output);
    assert_contains(lines[1], &["bad ", "rollback", "confirmed", GOOD, "40 %"]);
    assert_contains(lines[2], &["mild ", "ignore", "limit 5 %"]);

    let eager = policy("table-eager", &POLICY.replace("[defaults]", "[defaults]\nrollback = 0.01"));
    let table = judge(&simulator, &["--policy", &eager, "--snapshot", &folder], "").await;
    assert_contains(table.output.lines().nth(2).unwrap(), &["mild ", "rollback", "confirmed", "limit 1 %"]);

    fs::write(recorded.join("zzz.json"), "{").unwrap();
    let table = judge(&simulator, &["--policy", &strict, "--snapshot", &folder], "").await;
    assert_eq!((table.status, table.output.lines().count()), (2, 4), "{}", table.output);
    assert_contains(&table.output, &["zzz", "unreadable", "is not JSON"]);
    assert_contains(&table.errors, &["1 of 3 files"]);
}

#[tokio::test]
async fn machines_get_the_decision_as_json() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let (policy, recorded) = (policy("json", POLICY), folder("json-recorded"));
    let file = text(&recorded.join("one.json"));
    let said =
        judge(&simulator, &["--policy", &policy, "--json", "--save", &file], &notification(&simulator)).await;
    let answer: Value = serde_json::from_str(&said.output).unwrap();
    assert_eq!((&answer["decision"], &answer["service"]), (&json!("rollback"), &json!(FULL_NAME)));
    assert_eq!(answer["to"], json!([{"revision": GOOD, "percent": 100}]));
    let said = judge(&simulator, &["--policy", &policy, "--json", "--snapshot", &text(&recorded)], "").await;
    let answers: Value = serde_json::from_str(&said.output).unwrap();
    assert_eq!((&answers[0]["snapshot"], &answers[0]["answer"]), (&json!("one"), &answer));
}

#[tokio::test]
async fn whatever_is_decided_is_no_error() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let policy = policy("decided", POLICY);
    for (input, wanted) in [
        (json!({"version": "1.2"}), "ignore (not_an_incident)"),
        (json!({"version": "test", "incident": {"state": "open"}}), "notify (test_notification)"),
        (json!({"version": "1.2", "incident": {"state": "closed"}}), "ignore (closed)"),
    ] {
        let said = judge(&simulator, &["--policy", &policy], &input.to_string()).await;
        assert_eq!(said.status, 0, "{}", said.errors);
        assert_contains(&said.output, &[wanted]);
    }
}

#[tokio::test]
async fn bad_input_is_one_sentence_and_status_2() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let good = policy("bad-input", POLICY);
    let wrong = policy("bad-input-policy", "[defaults]\ncolour = 1\n");
    let missing = "/nowhere/at/all.json";
    let empty = text(&folder("bad-input-empty"));
    let alert = notification(&simulator);
    let table: [(&[&str], &str, &str); 8] = [
        (&["--policy", &good], "{", "The alert is not JSON"),
        (&["--policy", &good], "[]", "Expected a CloudEvent"),
        (&["--policy", &wrong], &alert, "colour"),
        (&["--policy", missing], &alert, "cannot be read"),
        (&["--policy", &good, missing], "", "there is no file"),
        (&["--policy", &good, "--snapshot", missing], "", "cannot be read"),
        (&["--policy", &good, "--snapshot", &empty], "", "holds no *.json file"),
        (&["--policy", &good, "--snapshot", &good], "", "The snapshot is not JSON"),
    ];
    for (arguments, input, wanted) in table {
        let said = judge(&simulator, arguments, input).await;
        assert_eq!((said.status, said.output.as_str()), (2, ""), "{arguments:?}");
        assert_contains(&said.errors, &["runback: ", wanted]);
        assert_eq!(said.errors.lines().count(), 1, "{}", said.errors);
    }
    assert_nothing_is_touched(&simulator);
}

#[tokio::test]
async fn a_service_that_cannot_be_read_is_no_decision() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    simulator.at("run.get").always().denies("run.services.get");
    let policy = policy("denied", POLICY);
    let said = judge(&simulator, &["--policy", &policy], &notification(&simulator)).await;
    assert_eq!((said.status, said.output.as_str()), (1, ""));
    assert_contains(&said.errors, &["run.services.get"]);
}

#[tokio::test]
async fn a_bare_service_is_judged_as_if_an_alert_on_its_errors_had_come() {
    let policy = policy("bare", POLICY);
    for (errors, wanted, status) in [(0.4, "rollback (confirmed)", 3), (0.0, "ignore (healthy)", 0)] {
        let simulator = Simulator::with([k_back(errors)]).await;
        let saved = text(&folder("bare").join("saved.json"));
        for name in [SERVICE, FULL_NAME] {
            let said = judge(&simulator, &[name, "--policy", &policy, "--save", &saved], "").await;
            assert_eq!(said.status, 0, "{}", said.errors);
            assert_contains(&said.output, &["DRY RUN", wanted]);
            assert_contains(&said.errors, &["saved in", &saved]);
        }
        let said = judge(&simulator, &[SERVICE, "--policy", &policy, "--exit-code"], "").await;
        assert_eq!(said.status, status, "{}", said.errors);
        let said = judge(&simulator, &["--policy", &policy, "--snapshot", &saved, "--exit-code"], "").await;
        assert_eq!(said.status, status, "{}", said.errors);
        assert_untouched(&simulator);
    }
}
