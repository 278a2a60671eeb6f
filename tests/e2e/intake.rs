//! The door: every envelope leads to the same decision, and whoever sends nonsense is told so in a sentence.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::alert::{Alert, Delivery, Envelope};
use crate::harness::Runback;
use crate::situation::{
    SERVICE, a_failing_deploy, a_world_with, assert_rolled_back, assert_untouched, k_back,
};

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn every_envelope_leads_to_the_same_decision() {
    let envelopes =
        [Envelope::Eventarc, Envelope::Events, Envelope::Structured, Envelope::Push, Envelope::Unwrapped];
    let (simulator, runback, alert) = a_world_with(k_back(0.001)).await;
    for envelope in envelopes {
        let incident = format!("0.{envelope:?}");
        let answer = runback.send(&alert.again().incident(&incident).wrapped(envelope)).await;
        answer.is(200, "ignore", "healthy");
        assert_eq!(answer.json()["incident"], json!(incident));
    }
    assert_untouched(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn every_envelope_can_roll_back() {
    for envelope in [Envelope::Events, Envelope::Structured, Envelope::Push, Envelope::Unwrapped] {
        let (simulator, runback, alert) = a_failing_deploy().await;
        runback.send(&alert.wrapped(envelope)).await.is(200, "rollback", "confirmed");
        assert_rolled_back(&simulator);
        runback.finish().await;
    }
}

#[tokio::test]
async fn a_batch_is_answered_in_order() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    let named = |incident: &str| alert.again().incident(incident);
    let batch = Alert::batched(&[named("0.one").closed(), named("0.two"), named("0.three")]);
    let answer = runback.send(&batch).await;
    assert_eq!(answer.status, 200, "{answer:#?}");
    let answers: Vec<Value> = serde_json::from_str(&answer.text).unwrap();
    let told: Vec<_> =
        answers.iter().map(|each| (each["incident"].clone(), each["reason"].clone())).collect();
    let wanted = [("0.one", "closed"), ("0.two", "confirmed"), ("0.three", "already_handled")];
    assert_eq!(told, wanted.map(|(incident, reason)| (json!(incident), json!(reason))));
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_batch_comes_again_when_one_of_its_events_has_to() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.change(SERVICE, |service| service.set_deploying(true));
    let batch = Alert::batched(&[alert.again().incident("0.one").closed(), alert.again().incident("0.two")]);
    let answer = runback.send(&batch).await;
    assert_eq!(answer.status, 503, "{answer:#?}");
    assert!(answer.headers.contains_key("retry-after"));
    assert_untouched(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_bad_event_does_not_take_its_siblings_with_it() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    let good: Vec<Value> = serde_json::from_slice(&Alert::batched(&[alert]).body).unwrap();
    let batch = json!([7, {"specversion": "1.0"}, good[0]]).to_string();
    let delivery = Delivery::new("/", &[("content-type", "application/cloudevents-batch+json")], batch);
    let answer = runback.send(&delivery).await;
    let answers: Vec<Value> = serde_json::from_str(&answer.text).unwrap();
    let reasons: Vec<_> = answers.iter().map(|each| each["reason"].as_str().unwrap()).collect();
    assert_eq!((answer.status, reasons), (200, vec!["not_an_incident", "not_an_incident", "confirmed"]));
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_person_with_curl_is_told_what_was_expected() {
    let (simulator, runback, _) = a_failing_deploy().await;
    let text = [("content-type", "text/plain")];
    let event = [JSON, ("ce-specversion", "1.0"), ("ce-id", "1")];
    let batch = [("content-type", "application/cloudevents-batch+json")];
    let structured = [("content-type", "application/cloudevents+json")];
    for (headers, body) in [
        (&text[..], "hello"),
        (&[JSON], ""),
        (&[JSON], "{\"foo\": 1}"),
        (&[JSON], "[1, 2"),
        (&[JSON], "[]"),
        (&[JSON], "null"),
        (&[JSON], "\u{feff}{}"),
        (&[], "message=1"),
        (&event, "{}"),
        (&batch, "{}"),
        (&batch, "[]"),
        (&structured, "{}"),
        (&structured, "[1]"),
    ] {
        let answer = runback.send(&Delivery::new("/", headers, body)).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text);
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.starts_with("Expected ") && error.ends_with('.'), "{body}: {error}");
        assert_eq!(error.matches(". ").count(), 0, "{body}: more than one sentence: {error}");
    }
    assert_untouched(&simulator);
    assert!(simulator.calls("run.*").is_empty());
    runback.finish().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_the_program_goes_on() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    let large = format!("{{\"message\": \"{}\"}}", "x".repeat(1_100_000));
    let with_length = runback.send(&Delivery::new("/", &[JSON], large.clone())).await;
    assert!([413, 0].contains(&with_length.status), "{with_length:#?}");
    for path in ["/", "/events", "/watch"] {
        assert_eq!(chunked(&runback, path, &large).await, 413, "{path}");
    }
    assert_untouched(&simulator);
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    runback.finish().await;
}

/// CloudEvents pass through a reader of their own; it has to respect the limit as well.
#[tokio::test]
async fn a_cloud_event_that_is_too_large_is_refused_as_well() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    for envelope in [Envelope::Eventarc, Envelope::Structured] {
        let mut delivery = alert.wrapped(envelope);
        delivery.body.splice(0..0, vec![b' '; 1_100_000]);
        let answer = runback.send(&delivery).await;
        assert!([413, 0].contains(&answer.status), "{envelope:?}: {answer:#?}");
    }
    let mut fits = alert.wrapped(Envelope::Eventarc);
    fits.body.splice(0..0, vec![b' '; 1_000_000]);
    assert_untouched(&simulator);
    runback.send(&fits).await.is(200, "rollback", "confirmed");
    runback.finish().await;
}

/// The status of a body that is sent in chunks, without a length.
async fn chunked(runback: &Runback, path: &str, body: &str) -> u16 {
    let address = runback.url("").replace("http://", "");
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for chunk in body.as_bytes().chunks(64 * 1024) {
        let sent = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
        if stream.write_all(&sent).await.is_err() {
            break;
        }
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[9..]).parse().unwrap()
}

#[tokio::test]
async fn other_paths_and_methods_are_not_there() {
    let (simulator, runback, _) = a_failing_deploy().await;
    assert_eq!(runback.send(&Delivery::new("/health", &[JSON], "{}")).await.status, 405);
    assert_eq!(runback.send(&Delivery::new("/admin", &[JSON], "{}")).await.status, 404);
    assert_untouched(&simulator);
    runback.finish().await;
}
