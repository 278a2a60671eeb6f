//! Recorded payloads and envelopes, and what the other tests share.

mod audit;

mod envelopes;

mod incidents;

use std::fs;
use std::path::PathBuf;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{STRUCTURED, read};
use crate::domain::alert::{Alert, Content, Delivery, IncidentState, Signal};

const PUBSUB: &str = "google.cloud.pubsub.topic.v1.messagePublished";
const PUSH: &str = "push";
const NONE: &[(&str, &str)] = &[];

/// File, incident, state, test or not, beginning, resource type, scoping project, signal.
type Row = (&'static str, &'static str, &'static str, bool, i64, &'static str, &'static str, Signal);

/// Every recorded body that is an incident.
#[rustfmt::skip]
const PAYLOADS: [Row; 21] = [
    ("01-cloudrun-request-count-5xx-open.json", "0.nzkl1309yzci", "open", false, 1_763_211_782, "cloud_run_revision", "prj-croud-dev-dst-sandbox", Signal::Errors),
    ("02-gce-cpu-usage-open-webhook-threshold0.json", "0.nzm8u2jxkaq5", "open", false, 1_763_324_240, "gce_instance", "opsimate", Signal::Other),
    ("03-gce-packets-open-severity-error.json", "0.nrwotmyokd9n", "open", false, 1_746_178_794, "gce_instance", "flanksource-sandbox", Signal::Other),
    ("05-uptime-url-open-2020.json", "0.ligwyr056k2l", "open", false, 1_579_559_444, "uptime_url", "", Signal::Other),
    ("06-uptime-url-closed-2020.json", "0.ligwyr056k2l", "closed", false, 1_579_559_444, "uptime_url", "", Signal::Other),
    ("07-uptime-fraction-groupby-host-open.json", "0.ll5vihtvirr7", "open", false, 1_585_430_537, "uptime_url", "", Signal::Other),
    ("08-uptime-closed-policy-user-labels.json", "0.mqbylsu02i30", "closed", false, 1_671_054_972, "uptime_url", "service-sub", Signal::Other),
    ("10-gce-cpu-reduce-mean-nogroupby-open.json", "0.mtdi83m6w8ao", "open", false, 1_675_315_787, "gce_instance", "xxxxxxxxxxxxxxxxxxxxxxxx", Signal::Other),
    ("11-gce-cpu-reduce-mean-nogroupby-closed.json", "0.mteuirnn0v0k", "closed", false, 1_675_398_007, "gce_instance", "YYYYYYYYYYYYYYYYYYYYY13", Signal::Other),
    ("17-log-match-k8s-open.json", "0.mybdstmr76pg", "open", false, 1_686_076_691, "k8s_container", "hpb-bank-of-anthos", Signal::Other),
    ("24-alerta-v1.1-open-doc-json.json", "f2e08c333dc64cb09f75eaab355393bz", "open", false, 1_499_368_214, "", "", Signal::Other),
    ("25-alerta-v1.1-closed-summary-unchanged.json", "f2e08c333dc64cb09f75eaab355393bz", "closed", false, 1_499_368_214, "", "", Signal::Other),
    ("26-console-test-notification.json", "12345", "open", true, 0, "example_resource", "12345", Signal::Other),
    ("29-keep-mock-5xx-v1.0.json", "prod-5xx-123", "open", false, 0, "gae_app", "prod-web-cluster", Signal::Other),
    ("30-cloudsql-logmetric-closed-severity-warning.json", "", "closed", false, 0, "cloudsql_database", "", Signal::Other),
    ("32-handmade-renotify-true-OPEN.json", "12345", "open", false, 1_678_886_400, "cloud_function", "test-project", Signal::Other),
    ("39-handmade-unknown-state.json", "0.mno345", "unknown_future", false, 1_700_000_400, "", "", Signal::Other),
    ("40-handmade-cloudrun-log-match.json", "", "", false, 1_778_515_562, "", "", Signal::Other),
    ("44-handmade-unicode-key.json", "", "", false, 0, "", "", Signal::Other),
    ("45-docs-example-2021-closed-ended-null.json", "0.opqiw61fsv7p", "closed", false, 1_577_840_461, "gce_instance", "", Signal::Other),
    ("46-docs-example-v1.1-downgrade-errors.json", "f2e08c333dc64cb09f75eaab355393bz", "open", false, 1_385_085_727, "", "", Signal::Other),
];

/// Google's own example with quotes escaped twice.
const NO_JSON: &str = "22-docs-example-2022-closed-INVALID.json.txt";

/// Every recorded envelope, how it is posted, and what comes out: "0." begins an incident, anything else is a part
/// of the sentence that says why there is none, or, after "400", of the one for the person who sent it.
#[rustfmt::skip]
const ENVELOPES: [(&str, &str, &str); 25] = [
    ("01-binary-body-simple.json", PUSH, "not JSON"),
    ("01-binary-body-simple.json", PUBSUB, "not JSON"),
    ("02-binary-body-complex.json", PUSH, "not JSON"),
    ("02-binary-body-complex.json", PUBSUB, "not JSON"),
    ("03-structured.json", STRUCTURED, "not JSON"),
    ("04-body-duplicated-fields.json", PUBSUB, "not JSON"),
    ("05-body-with-attype-text.json", PUBSUB, "not JSON"),
    ("06-body-with-attype-binary.json", PUBSUB, "not JSON"),
    ("07-pubsub_text-cloudevent-input.json", STRUCTURED, "not JSON"),
    ("08-pubsub_binary-cloudevent-input.json", STRUCTURED, "not JSON"),
    ("09-legacy_pubsub-cloudevent-input.json", STRUCTURED, "not JSON"),
    ("10-legacy_pubsub-legacy-input.json", PUSH, "400 neither"),
    ("11-legacy_pubsub-legacy-output-converted.json", PUSH, "400 neither"),
    ("12-raw-push-no-publishtime-emulator.json", PUSH, "without an incident"),
    ("13-raw-push-docs-minimal.json", PUSH, "not JSON"),
    ("14-raw-push-docs-maximal-PARTIAL.json", PUSH, "not JSON"),
    ("15-eventarc-request-docs.http", "", "without an incident"),
    ("16-gcf-old-cetype-object-data.http", "", "an object where"),
    ("17-eventarc-advanced-headers.http", "", "type `order.created`"),
    ("20-CONSTRUCTED-eventarc-binary-cloudrun-open.http", "", "0.nzkl1309yzci"),
    ("21-CONSTRUCTED-structured-cloudrun-open.json", STRUCTURED, "0.nzkl1309yzci"),
    ("22-CONSTRUCTED-raw-push-duplicates-cloudrun-open.json", PUSH, "0.nzkl1309yzci"),
    ("23-CONSTRUCTED-unwrapped-push-cloudrun-open.http", "", "0.nzkl1309yzci"),
    ("24-CONSTRUCTED-bad-base64.json", PUSH, "not base64"),
    ("25-CONSTRUCTED-attributes-only-no-data.json", PUSH, "no data"),
];

#[test]
fn every_recorded_payload_is_read_as_the_table_says() {
    let named: Vec<_> = PAYLOADS.iter().map(|row| row.0).chain([NO_JSON]).collect();
    assert_all_files_are_named("payloads", &named);
    for (file, incident, state, is_test, started_at, resource, project, signal) in PAYLOADS {
        let payload = fixture("payloads", file);
        let Content::Alert(alert) = only(NONE, &pushed(&payload)).content else {
            panic!("{file} is an incident")
        };
        assert_eq!(alert.incident, incident, "{file}");
        assert_eq!(alert.state, state_of(state), "{file}");
        assert_eq!(alert.is_test, is_test, "{file}");
        let began = alert.started_at.map_or(0, |it| it.timestamp());
        assert_eq!(began, started_at, "{file}");
        assert_eq!(alert.resource_type, resource, "{file}");
        assert_eq!(alert.scoping_project.as_deref().unwrap_or(""), project, "{file}");
        assert_eq!(alert.signal, signal, "{file}");
        let webhook = only(NONE, &payload).content;
        assert_eq!(webhook, Content::Alert(alert), "{file}");
    }
    let invalid = fixture("payloads", NO_JSON);
    assert!(not_an_incident(NONE, &pushed(&invalid)).contains("not JSON"));
    assert!(refusal(NONE, &invalid).contains("not JSON"));
}

#[test]
fn every_recorded_envelope_is_opened_as_the_table_says() {
    let named: Vec<_> = ENVELOPES.iter().map(|row| row.0).collect();
    assert_all_files_are_named("envelopes", &named);
    for (file, posted, outcome) in ENVELOPES {
        let (headers, body) = request(file, posted);
        let got = match read(&headers, &body) {
            Err(malformed) => format!("400 {malformed}"),
            Ok(intake) => match &intake.deliveries[0].content {
                Content::Alert(alert) => alert.incident.clone(),
                Content::Ping(sentence) | Content::NotAnIncident(sentence) => sentence.clone(),
                Content::ServiceChanged(name) => name.to_string(),
            },
        };
        let (status, part) = outcome.split_once("400 ").unwrap_or((outcome, outcome));
        assert!(got.contains(part), "{file}: {got}");
        assert_eq!(got.starts_with("400"), status.is_empty(), "{file}: {got}");
    }
}

#[test]
fn a_recorded_cloud_run_alert_keeps_everything_that_a_decision_needs() {
    let alert = alert(&recorded());
    let labels: Vec<_> = alert.resource_labels.iter().collect();
    let expected = [
        ("configuration_name", "error-simulator"),
        ("location", "us-central1"),
        ("project_id", "prj-croud-dev-dst-sandbox"),
        ("revision_name", "error-simulator-00002-5gc"),
        ("service_name", "error-simulator"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let expected: Vec<_> = expected.iter().map(|(name, value)| (name, value)).collect();
    assert_eq!(labels, expected);
    assert_eq!(alert.policy_name, "Error Simulator - Any Error Alert");
    assert_eq!(alert.condition_name, "Any 5xx error detected");
    assert!(alert.summary.starts_with("Request Count for prj-croud"));
    assert!(alert.url.starts_with("https://console.cloud.google.com/"));
    assert!(alert.policy_labels.is_empty());
}

#[test]
fn a_cut_or_damaged_request_never_panics() {
    for (file, posted, _) in ENVELOPES {
        let (headers, body) = request(file, posted);
        for position in 0..body.len() {
            let _ = read(&headers, &body[..position]);
            let mut damaged = body.clone();
            damaged[position] ^= 0x15;
            let _ = read(&headers, &damaged);
        }
    }
}

// Helpers.

fn fixture(folder: &str, file: &str) -> String {
    fs::read_to_string(fixtures(folder).join(file)).unwrap()
}

fn fixtures(folder: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/fixtures").join(folder)
}

fn assert_all_files_are_named(folder: &str, named: &[&str]) {
    for entry in fs::read_dir(fixtures(folder)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_named = name == "INDEX.md" || named.contains(&&*name);
        assert!(is_named, "no expectation for {folder}/{name}");
    }
}

/// A recorded envelope as a request. The `.http` ones bring their headers; the others are posted as `posted` says:
/// as a push, as a structured event, or as the data of an event of that type.
fn request(file: &str, posted: &str) -> (HeaderMap, Vec<u8>) {
    let text = fixture("envelopes", file);
    if !file.ends_with(".http") {
        let headers = match posted {
            PUSH => vec![("content-type", "application/json")],
            STRUCTURED => vec![("content-type", STRUCTURED)],
            _ => eventarc(),
        };
        return (header_map(&headers), text.into_bytes());
    }
    let text = text.replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap();
    let headers: Vec<_> = head.lines().skip(1).map(|line| line.split_once(": ").unwrap()).collect();
    (header_map(&headers), body.as_bytes().to_vec())
}

fn eventarc() -> Vec<(&'static str, &'static str)> {
    vec![
        ("content-type", "application/json; charset=utf-8"),
        ("ce-specversion", "1.0"),
        ("ce-source", "//pubsub.googleapis.com/projects/p/topics/alerts"),
        ("ce-id", "1300"),
        ("ce-type", PUBSUB),
        ("ce-time", "2025-11-20T12:00:00Z"),
    ]
}

fn event(notification: &str) -> Value {
    let data: Value = serde_json::from_str(&pushed(notification)).unwrap();
    json!({"specversion": "1.0", "type": PUBSUB, "source": "//pubsub", "id": "1300", "data": data})
}

fn pushed(notification: &str) -> String {
    let message = json!({"data": STANDARD.encode(notification)});
    json!({"message": message, "subscription": "projects/p/subscriptions/s"}).to_string()
}

fn recorded() -> Value {
    let text = fixture("payloads", "01-cloudrun-request-count-5xx-open.json");
    serde_json::from_str(&text).unwrap()
}

fn header_map(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.to_ascii_lowercase().parse().unwrap();
        map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    map
}

fn only(headers: &[(&str, &str)], body: &str) -> Delivery {
    let mut intake = read(&header_map(headers), body.as_bytes()).unwrap();
    assert_eq!((intake.deliveries.len(), intake.batched), (1, false));
    intake.deliveries.remove(0)
}

fn refusal(headers: &[(&str, &str)], body: &str) -> String {
    let malformed = read(&header_map(headers), body.as_bytes()).unwrap_err();
    malformed.to_string()
}

fn not_an_incident(headers: &[(&str, &str)], body: &str) -> String {
    match only(headers, body).content {
        Content::Ping(sentence) | Content::NotAnIncident(sentence) => sentence,
        other => panic!("{other:?}"),
    }
}

fn alert(notification: &Value) -> Alert {
    match only(NONE, &notification.to_string()).content {
        Content::Alert(alert) => *alert,
        other => panic!("{other:?}"),
    }
}

fn alert_with(field: &str, value: Value) -> Alert {
    let mut notification = recorded();
    notification["incident"][field] = value;
    alert(&notification)
}

fn state_of(name: &str) -> IncidentState {
    match name {
        "open" => IncidentState::Open,
        "closed" => IncidentState::Closed,
        other => IncidentState::Unknown(other.to_owned()),
    }
}

fn at(time: &str) -> DateTime<Utc> {
    time.parse().unwrap()
}
