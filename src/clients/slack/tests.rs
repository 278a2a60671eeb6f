use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::*;

const SECRET: &str = "T000-B000-XXXXSECRETXXXX";

/// One scripted answer: status, headers, body. Status 0 never answers.
type Scripted = (u16, &'static [(&'static str, &'static str)], &'static str);

type Requests = Arc<Mutex<Vec<(HeaderMap, Value, Instant)>>>;

#[derive(Clone)]
struct Fake {
    answers: Arc<Mutex<VecDeque<Scripted>>>,
    requests: Requests,
}

/// A real HTTP server that gives these answers, the last one again and again.
async fn serve(answers: &[Scripted]) -> (String, Requests) {
    let requests = Requests::default();
    let fake =
        Fake { answers: Arc::new(Mutex::new(answers.iter().copied().collect())), requests: requests.clone() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(fake);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (base, requests)
}

async fn answer(State(fake): State<Fake>, headers: HeaderMap, body: String) -> Response {
    let body = serde_json::from_str(&body).unwrap();
    fake.requests.lock().unwrap().push((headers, body, Instant::now()));
    let (status, headers, body) = {
        let mut answers = fake.answers.lock().unwrap();
        if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0] }
    };
    if status == 0 {
        std::future::pending::<()>().await;
    }
    let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}

fn client() -> SharedTransport {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Arc::new(crate::clients::transport::Network::new().unwrap())
}

fn webhook(base: &str) -> Slack {
    Slack::webhook(client(), format!("{base}/services/{SECRET}"))
}

fn bot(base: &str) -> Slack {
    Slack::bot(client(), &format!("{base}/api/"), SECRET.to_owned(), "C1".to_owned())
}

fn message() -> Message {
    let text = "k-back rolled back".to_owned();
    let (blocks, details, kept) = (vec![json!({"type": "divider"})], Vec::new(), Vec::new());
    Message { text, blocks, details, kept, urgent: true }
}

async fn post(slack: &Slack, milliseconds: u64) -> Result<Posted, SlackError> {
    slack.post(&message(), None, Duration::from_millis(milliseconds)).await
}

#[tokio::test]
async fn an_error_of_slacks_own_is_tried_again() {
    let (base, requests) = serve(&[(500, &[], "internal_error"), (200, &[], "ok")]).await;
    assert_eq!(post(&webhook(&base), 5_000).await.unwrap(), Posted { thread: None });
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].1, requests[1].1);
    assert_eq!(requests[0].1["text"], "k-back rolled back");
    assert_eq!(requests[0].1["blocks"], json!([{"type": "divider"}]));
}

#[tokio::test]
async fn a_limit_is_waited_for_as_long_as_slack_says() {
    let (base, requests) = serve(&[(429, &[("retry-after", "1")], "rate_limited"), (200, &[], "ok")]).await;
    post(&webhook(&base), 5_000).await.unwrap();
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 2);
    assert!(requests[1].2 - requests[0].2 >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_limit_beyond_the_deadline_is_not_waited_for() {
    let (base, requests) = serve(&[(429, &[("retry-after", "30")], "rate_limited")]).await;
    let start = Instant::now();
    let error = post(&webhook(&base), 2_000).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(1), "{error}");
    assert_eq!(error.to_string(), "Slack did not take the message within 2 s: HTTP 429 (rate_limited)");
    assert_eq!(requests.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn silence_ends_with_the_deadline() {
    let (base, _) = serve(&[(0, &[], "")]).await;
    let start = Instant::now();
    let error = post(&webhook(&base), 300).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(matches!(&error, SlackError::TooLate { last, .. } if last == "no answer"), "{error}");
}

#[tokio::test]
async fn a_bot_says_who_it_is_and_keeps_the_messages_handle() {
    let (base, requests) = serve(&[
        (200, &[("retry-after", "0")], r#"{"ok":false,"error":"ratelimited"}"#),
        (200, &[], r#"{"ok":true,"channel":"C0123","ts":"1700000000.000001"}"#),
    ])
    .await;
    let posted = post(&bot(&base), 5_000).await.unwrap();
    let handle = posted.thread.unwrap();
    assert!(handle.starts_with("C0123:1700000000.000001:") && handle.len() < 100, "{handle}");
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].0["authorization"], format!("Bearer {SECRET}"));
    assert_eq!(requests[1].1["channel"], "C1");
}

fn with_details(urgent: bool) -> Message {
    let details = vec![json!({"type": "context", "elements": []})];
    Message { blocks: vec![json!({"type": "header"}), json!({"type": "mark"})], details, urgent, ..message() }
}

fn kinds(sent: &Value) -> Vec<&str> {
    sent["blocks"].as_array().unwrap().iter().map(|block| block["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_webhook_leaves_the_details_to_the_log_and_changes_nothing() {
    let (base, requests) = serve(&[(200, &[], "ok")]).await;
    let slack = webhook(&base);
    slack.post(&with_details(true), None, Duration::from_secs(5)).await.unwrap();
    slack.update(&with_details(true), "C0123:17.1", Duration::from_secs(5)).await.unwrap();
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 1);
    assert_eq!(kinds(&requests[0].1), ["header", "mark"]);
}

#[tokio::test]
async fn a_bot_answers_and_changes_by_the_channels_id() {
    let (base, requests) = serve(&[(200, &[], r#"{"ok":true,"channel":"C0123","ts":"17.2"}"#)]).await;
    let (slack, time) = (bot(&base), Duration::from_secs(5));
    let handle = slack.post(&with_details(true), None, time).await.unwrap().thread.unwrap();
    slack.post(&with_details(true), Some(&handle), time).await.unwrap();
    slack.post(&with_details(false), Some(&handle), time).await.unwrap();
    slack.update(&with_details(false), &handle, time).await.unwrap();
    let requests = requests.lock().unwrap();
    let sent: Vec<&Value> = requests.iter().map(|(_, sent, _)| sent).collect();
    assert_eq!((kinds(sent[0]), &sent[0]["channel"]), (vec!["header", "mark"], &json!("C1")));
    assert_eq!((&sent[1]["channel"], &sent[1]["thread_ts"]), (&json!("C0123"), &json!("17.2")));
    assert_eq!((&sent[1]["reply_broadcast"], &sent[2]["reply_broadcast"]), (&json!(true), &Value::Null));
    assert_eq!((&sent[3]["channel"], &sent[3]["ts"]), (&json!("C0123"), &json!("17.2")));
    assert_eq!(sent[3]["thread_ts"], Value::Null);
}

/// Handles travel in tasks. Whoever forges one reaches no thread by it.
#[tokio::test]
async fn a_handle_that_we_did_not_make_is_refused_before_it_is_sent() {
    let (base, requests) = serve(&[(200, &[], r#"{"ok":true,"channel":"C0123","ts":"17.2"}"#)]).await;
    let (slack, time) = (bot(&base), Duration::from_secs(5));
    let handle = slack.post(&with_details(false), None, time).await.unwrap().thread.unwrap();
    let (_, seal) = handle.rsplit_once(':').unwrap();
    for forged in ["17.2", "C0123:17.2", "C0123:17.2:", &format!("C9:17.2:{seal}"), &format!("{handle}A"), ""]
    {
        let refused = slack.post(&with_details(false), Some(forged), time).await;
        assert!(matches!(refused, Err(SlackError::Refused(_))), "{forged}");
        let refused = slack.update(&with_details(false), forged, time).await;
        assert!(matches!(refused, Err(SlackError::Refused(_))), "{forged}");
    }
    assert_eq!(requests.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_refusal_is_final() {
    for (about, bot_door, answer, wanted) in [
        ("unknown channel", true, (200, r#"{"ok":false,"error":"channel_not_found"}"#), "channel_not_found"),
        ("revoked webhook", false, (404, "no_service"), "HTTP 404 (no_service)"),
        ("malformed message", false, (400, "invalid_blocks"), "HTTP 400 (invalid_blocks)"),
    ] {
        let (base, requests) = serve(&[(answer.0, &[], answer.1)]).await;
        let slack = if bot_door { bot(&base) } else { webhook(&base) };
        let error = post(&slack, 3_000).await.unwrap_err();
        assert_eq!(error.to_string(), format!("Slack refuses the message: {wanted}"), "{about}");
        assert_eq!(requests.lock().unwrap().len(), 1, "{about}");
    }
}

#[tokio::test]
async fn no_error_tells_a_secret() {
    let echo = "no webhook T000-B000-XXXXSECRETXXXX here";
    let (refusing, _) = serve(&[(403, &[], echo)]).await;
    let (failing, _) = serve(&[(503, &[], echo)]).await;
    let (silent, _) = serve(&[(0, &[], "")]).await;
    let nobody = "http://127.0.0.1:1".to_owned();
    let no_address = "not an address".to_owned();
    for base in [refusing, failing, silent, nobody, no_address] {
        for slack in [webhook(&base), bot(&base)] {
            let error = post(&slack, 300).await.unwrap_err();
            let told = format!("{error} {error:?} {slack:?}");
            assert!(!told.contains("SECRET"), "{told}");
        }
    }
}
