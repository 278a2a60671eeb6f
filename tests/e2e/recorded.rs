//! Bodies and envelopes that Google sends, from its documentation, public captures and other people's tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::alert::Delivery;
use crate::situation::{a_failing_deploy, assert_untouched};

const JSON: (&str, &str) = ("content-type", "application/json");

/// What each recorded notification leads to in a policy that lists none of its services.
const PAYLOADS: [(&str, &str); 22] = [
    ("01-cloudrun-request-count-5xx-open.json", "not_guarded"),
    ("02-gce-cpu-usage-open-webhook-threshold0.json", "not_guarded"),
    ("03-gce-packets-open-severity-error.json", "not_guarded"),
    ("05-uptime-url-open-2020.json", "not_guarded"),
    ("06-uptime-url-closed-2020.json", "closed"),
    ("07-uptime-fraction-groupby-host-open.json", "not_guarded"),
    ("08-uptime-closed-policy-user-labels.json", "closed"),
    ("10-gce-cpu-reduce-mean-nogroupby-open.json", "not_guarded"),
    ("11-gce-cpu-reduce-mean-nogroupby-closed.json", "closed"),
    ("17-log-match-k8s-open.json", "not_guarded"),
    ("22-docs-example-2022-closed-INVALID.json.txt", "not_an_incident"),
    ("24-alerta-v1.1-open-doc-json.json", "unresolved_service"),
    ("25-alerta-v1.1-closed-summary-unchanged.json", "closed"),
    ("26-console-test-notification.json", "test_notification"),
    ("29-keep-mock-5xx-v1.0.json", "not_guarded"),
    ("30-cloudsql-logmetric-closed-severity-warning.json", "closed"),
    ("32-handmade-renotify-true-OPEN.json", "not_guarded"),
    ("39-handmade-unknown-state.json", "unknown_state"),
    ("40-handmade-cloudrun-log-match.json", "unknown_state"),
    ("44-handmade-unicode-key.json", "unknown_state"),
    ("45-docs-example-2021-closed-ended-null.json", "closed"),
    ("46-docs-example-v1.1-downgrade-errors.json", "unresolved_service"),
];

/// How each recorded request is answered: the status, and the reason where there is one.
const ENVELOPES: [(&str, u16, &str); 23] = [
    ("01-binary-body-simple.json", 200, "not_an_incident"),
    ("02-binary-body-complex.json", 200, "not_an_incident"),
    ("03-structured.json", 200, "not_an_incident"),
    ("04-body-duplicated-fields.json", 200, "not_an_incident"),
    ("05-body-with-attype-text.json", 200, "not_an_incident"),
    ("06-body-with-attype-binary.json", 200, "not_an_incident"),
    ("07-pubsub_text-cloudevent-input.json", 200, "not_an_incident"),
    ("08-pubsub_binary-cloudevent-input.json", 200, "not_an_incident"),
    ("09-legacy_pubsub-cloudevent-input.json", 200, "not_an_incident"),
    // The events of the first Cloud Functions: neither an envelope that we take nor an incident.
    ("10-legacy_pubsub-legacy-input.json", 400, ""),
    ("11-legacy_pubsub-legacy-output-converted.json", 400, ""),
    ("12-raw-push-no-publishtime-emulator.json", 200, "not_an_incident"),
    ("13-raw-push-docs-minimal.json", 200, "not_an_incident"),
    ("14-raw-push-docs-maximal-PARTIAL.json", 200, "not_an_incident"),
    ("15-eventarc-request-docs.http", 200, "not_an_incident"),
    ("16-gcf-old-cetype-object-data.http", 200, "not_an_incident"),
    ("17-eventarc-advanced-headers.http", 200, "not_an_incident"),
    ("20-CONSTRUCTED-eventarc-binary-cloudrun-open.http", 200, "not_guarded"),
    ("21-CONSTRUCTED-structured-cloudrun-open.json", 200, "not_guarded"),
    ("22-CONSTRUCTED-raw-push-duplicates-cloudrun-open.json", 200, "not_guarded"),
    ("23-CONSTRUCTED-unwrapped-push-cloudrun-open.http", 200, "not_guarded"),
    ("24-CONSTRUCTED-bad-base64.json", 200, "not_an_incident"),
    ("25-CONSTRUCTED-attributes-only-no-data.json", 200, "not_an_incident"),
];

/// The fixtures of a folder, by name.
fn fixtures(folder: &str) -> BTreeMap<String, Vec<u8>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let files = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    let named = files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()));
    named.filter(|(name, _)| name != "INDEX.md").collect()
}

/// A request as it was written down: headers up to the first empty line. What the client sets itself is left to it.
fn request(text: &str) -> Delivery {
    let (head, body) = text.split_once("\n\n").unwrap();
    let headers = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let kept: Vec<_> = headers
        .filter(|(name, _)| !["host", "content-length"].contains(&name.to_lowercase().as_str()))
        .collect();
    Delivery::new("/", &kept, body)
}

#[tokio::test]
async fn every_recorded_notification_is_understood_and_touches_nothing() {
    let fixtures = fixtures("payloads");
    assert!(fixtures.keys().eq(PAYLOADS.iter().map(|(name, _)| *name)), "{:#?}", fixtures.keys());
    let (simulator, runback, _) = a_failing_deploy().await;
    let mut wrong = Vec::new();
    for (name, reason) in PAYLOADS {
        let body = &fixtures[name];
        let message = json!({"message": {"data": BASE64_STANDARD.encode(body), "messageId": name}});
        let pushed = runback.send(&Delivery::new("/", &[JSON], message.to_string())).await;
        let bare = runback.send(&Delivery::new("/", &[JSON], body.clone())).await;
        let is_json = !name.ends_with(".txt");
        // Whoever posts something that is no JSON is a person; Pub/Sub vouches for whatever it brings.
        let bare_as_wanted = if is_json { bare.text == pushed.text } else { bare.status == 400 };
        if pushed.status != 200 || pushed.verdict().2 != reason || !bare_as_wanted {
            wrong.push(format!("{name}: {} / {}", pushed.text, bare.text));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_untouched(&simulator);
    assert!(simulator.calls("run.*").is_empty());
    runback.finish().await;
}

#[tokio::test]
async fn every_recorded_envelope_is_taken_or_refused_for_good() {
    let fixtures = fixtures("envelopes");
    assert!(fixtures.keys().eq(ENVELOPES.iter().map(|(name, ..)| *name)), "{:#?}", fixtures.keys());
    let (simulator, runback, _) = a_failing_deploy().await;
    let mut wrong = Vec::new();
    for (name, status, reason) in ENVELOPES {
        let text = String::from_utf8(fixtures[name].clone()).unwrap();
        let delivery = match name.ends_with(".http") {
            true => request(&text),
            false => Delivery::new("/", &[JSON], text),
        };
        let answer = runback.send(&delivery).await;
        if answer.status != status || answer.verdict().2 != reason {
            wrong.push(format!("{name}: {} {}", answer.status, answer.text));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_untouched(&simulator);
    assert!(simulator.calls("run.*").is_empty());
    runback.finish().await;
}
