//! What a request is answered once it is let in: which ending is acknowledged and which one comes again.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answered::Answered;
use crate::answer::{self, Answer};
use crate::domain::alert::{Content, Delivery};
use crate::domain::decision::Decision;
use crate::domain::service::ServiceName;
use crate::intake;
use crate::respond::{Ending, Received, Runback};

/// Seconds after which a message is worth delivering again.
const RETRY_AFTER: &str = "10";

/// A call to `/watch` holds one name.
const LONGEST_CALL: usize = 4 * 1024;

/// An event of a batch is begun within this time, and answered in what is left of the answer's; the rest comes again.
const TAKE_WITHIN: Duration = Duration::from_secs(5);

/// Answers requests. It knows neither sockets nor clocks.
pub struct Desk {
    runback: Arc<Runback>,
    answered: Answered,
}

impl Desk {
    /// One that has answered nothing yet.
    #[must_use]
    pub fn new(runback: Arc<Runback>) -> Self {
        Self { runback, answered: Answered::default() }
    }

    /// Answers what was posted to one of the server's paths.
    pub async fn answer(&self, path: &str, headers: &HeaderMap, body: &[u8], received: Received) -> Response {
        match path {
            "/tasks" => self.call_back(body, received).await,
            "/watch" => self.watch(body, received).await,
            _ => self.take(headers, body, received).await,
        }
    }

    /// A task's time has come.
    async fn call_back(&self, body: &[u8], received: Received) -> Response {
        match self.runback.follow_up(body, received).await {
            Ok(done) => {
                tracing::info!("task: {done}");
                Json(json!({"done": done})).into_response()
            }
            Err(why) => later(json!({"error": why})),
        }
    }

    /// A pipeline says that it has deployed.
    async fn watch(&self, body: &[u8], received: Received) -> Response {
        let Some(name) = named_service(body) else {
            let error = "Expected {\"service\": \"projects/P/locations/R/services/S\"}.";
            return (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response();
        };
        let content = Content::ServiceChanged(name);
        let delivery = Delivery { message_id: None, published_at: Some(received.at), content };
        let ending = self.runback.respond(&delivery, received).await;
        log(&delivery, &ending, received);
        match ending {
            Ending::Decided(decision) => json_text(answer(&decision)),
            Ending::Later(why) => later(json!({"error": why})),
        }
    }

    /// Events, one or several.
    async fn take(&self, headers: &HeaderMap, body: &[u8], received: Received) -> Response {
        let read = match intake::read(headers, body) {
            Ok(read) => read,
            Err(malformed) => {
                tracing::warn!("refused: {malformed}");
                return (StatusCode::BAD_REQUEST, Json(json!({"error": malformed.to_string()})))
                    .into_response();
            }
        };
        let mut answers = Vec::new();
        let mut again = None;
        for delivery in &read.deliveries {
            if let Some(answer) = self.answered.before(delivery) {
                answers.push(answer);
                continue;
            }
            if received.instant.elapsed() > TAKE_WITHIN {
                let left = read.deliveries.len() - answers.len();
                again = Some(format!("time is up, and {left} of {} events are left", read.deliveries.len()));
                break;
            }
            let ending = self.runback.respond(delivery, received).await;
            log(delivery, &ending, received);
            match ending {
                Ending::Decided(decision) => {
                    answers.push(answer(&decision));
                    if read.batched {
                        self.answered.keep(delivery, answers.last().cloned().unwrap_or_default());
                    }
                }
                Ending::Later(why) => again = Some(why),
            }
        }
        match again {
            Some(why) => later(json!({"error": why})),
            None if read.batched => json_text(format!("[{}]", answers.join(","))),
            None => json_text(answers.pop().unwrap_or_default()),
        }
    }
}

fn named_service(body: &[u8]) -> Option<ServiceName> {
    let body = body.get(..LONGEST_CALL).map_or(body, |_| &[]);
    let body: Value = serde_json::from_slice(body).ok()?;
    body["service"].as_str()?.parse().ok()
}

/// The answer to a request whose work has panicked.
pub(super) fn broken() -> Response {
    later(json!({"error": "Something went wrong inside; the log says what."}))
}

/// The decision in the order of the contract: `serde_json::Value` would sort the keys.
fn answer(decision: &Decision) -> String {
    serde_json::to_string(&Answer::from(decision)).unwrap_or_default()
}

fn json_text(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn later(body: Value) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER)], Json(body)).into_response()
}

/// One log entry for each message, with everything that led to its ending.
fn log(delivery: &Delivery, ending: &Ending, received: Received) {
    let message_id = delivery.message_id.as_deref().unwrap_or("none");
    let millis = u64::try_from(received.instant.elapsed().as_millis()).unwrap_or(u64::MAX);
    let decision = match ending {
        Ending::Decided(decision) => decision,
        Ending::Later(why) => {
            tracing::warn!(message_id, millis, "to be delivered again: {why}");
            return;
        }
    };
    answer::log(decision, "decided", Some(message_id), received.instant.elapsed());
}
