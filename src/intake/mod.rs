//! The door: the bytes of one HTTP request become the alerts that they carry, or the reason why not.
//!
//! There are five outcomes, and the difference decides whether Pub/Sub sends the message again:
//!
//! * [`Malformed`]: nobody's delivery system sent this. The sender is a person, who is told what was expected.
//! * [`Content::NotAnIncident`]: well delivered, but no incident. It is acknowledged, because the same bytes would
//!   otherwise come again for a day.
//! * [`Content::Ping`]: well delivered, and only to see whether anybody hears it.
//! * [`Content::Alert`]: an incident, or the console's test of one.
//! * [`Content::ServiceChanged`]: a Cloud Run service has changed, as its audit log says.

mod audit;

mod condition;

mod envelope;

mod incident;

#[cfg(test)]
mod tests;

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use serde_json::Value;

use crate::domain::alert::{Alert, Content, Delivery, IncidentState};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

/// Every event of a batch may cost several calls to Google within the one answer.
const MOST_EVENTS: usize = 100;

/// What one request brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intake {
    /// The notifications, in the order in which they stood in the request. Never empty.
    pub deliveries: Vec<Delivery>,
    /// Whether they came as a batch, which is answered with a list.
    pub batched: bool,
}

/// A request that is no CloudEvent, no Pub/Sub push and no incident: one sentence for the person who sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

impl Malformed {
    fn new(expected: &str, got: &str) -> Self {
        Self(format!("Expected {expected}, but got {got}."))
    }
}

/// Reads one HTTP request into deliveries, in order.
///
/// A content type of CloudEvents and `ce-` headers are believed. Anything else is told apart by the shape of its
/// body: a person with curl and Pub/Sub's unwrapped push do not send a content type that could be relied on.
///
/// # Errors
///
/// [`Malformed`] when the request is none of the shapes that we take.
pub fn read(headers: &HeaderMap, body: &[u8]) -> Result<Intake, Malformed> {
    let media_type = media_type(headers);
    if media_type == BATCH {
        return batch(body);
    }
    let delivery = if media_type == STRUCTURED {
        let event = json(body).map_err(|got| Malformed::new("a structured CloudEvent", &got))?;
        envelope::event(envelope::structured(event)?)
    } else if envelope::has_event_headers(headers) {
        envelope::event(envelope::binary(headers, body)?)
    } else {
        by_shape(headers, body)?
    };
    Ok(Intake { deliveries: vec![named(delivery)], batched: false })
}

/// An open incident without an id is told from others by its message, so that each is handled once. A webhook has no
/// message either; there what fired, and when, stands for it.
fn named(mut delivery: Delivery) -> Delivery {
    if let Content::Alert(alert) = &mut delivery.content
        && alert.incident.is_empty()
        && alert.state == IncidentState::Open
    {
        alert.incident = match &delivery.message_id {
            Some(id) => format!("message-{id}"),
            None => {
                let mut hasher = DefaultHasher::new();
                let Alert { started_at, resource_labels, policy_name, condition_name, .. } = &**alert;
                (started_at, resource_labels, policy_name, condition_name).hash(&mut hasher);
                format!("unnamed-{:016x}", hasher.finish())
            }
        };
    }
    delivery
}

/// Each event of a batch is answered for, so a bad one must not take its siblings with it.
fn batch(body: &[u8]) -> Result<Intake, Malformed> {
    let expected = format!("a JSON array of 1 to {MOST_EVENTS} CloudEvents");
    let refuse = |got: &str| Malformed::new(&expected, got);
    let events = match json(body).map_err(|got| refuse(&got))? {
        Value::Array(events) if events.is_empty() => return Err(refuse("an empty one")),
        Value::Array(events) if events.len() > MOST_EVENTS => {
            return Err(refuse(&format!("{} of them", events.len())));
        }
        Value::Array(events) => events,
        other => return Err(refuse(kind(&other))),
    };
    let read_event = |event: Value| {
        let message_id = event["id"].as_str().map(short);
        envelope::structured(event).map_or_else(
            |malformed| Delivery {
                message_id,
                published_at: None,
                content: Content::NotAnIncident(malformed.to_string()),
            },
            |event| named(envelope::event(event)),
        )
    };
    Ok(Intake { deliveries: events.into_iter().map(read_event).collect(), batched: true })
}

/// A request that no header calls a CloudEvent.
fn by_shape(headers: &HeaderMap, body: &[u8]) -> Result<Delivery, Malformed> {
    let parsed = json(body);
    match parsed {
        Ok(event) if event["specversion"].is_string() => Ok(envelope::event(envelope::structured(event)?)),
        Ok(notification) if incident::is_notification(&notification) => {
            Ok(envelope::unwrapped(headers, incident::read(&notification)))
        }
        Ok(push) if push["message"].is_object() => Ok(envelope::message(&push["message"], None, None)),
        // Pub/Sub vouches for the delivery, so whatever it brought is acknowledged.
        _ if envelope::is_unwrapped_push(headers) => Ok(envelope::unwrapped(headers, incident::parse(body))),
        parsed => {
            let got = match &parsed {
                Ok(Value::Object(_)) => "a JSON object with neither `message` nor `incident`",
                Ok(other) => kind(other),
                Err(got) => got,
            };
            let expected = "a CloudEvent, a Pub/Sub push or a Cloud Monitoring notification";
            Err(Malformed::new(expected, got))
        }
    }
}

/// The content type without its parameters, in lower case: the SDK compares it as it was written.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let essence = value.and_then(|it| it.split(';').next()).unwrap_or("");
    essence.trim().to_ascii_lowercase()
}

/// The error says what came instead of JSON, by its place only, so that nothing of it is repeated.
fn json(body: &[u8]) -> Result<Value, String> {
    if body.trim_ascii().is_empty() {
        return Err("an empty body".to_owned());
    }
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("a body that is not JSON (line {line}, column {column})")
    })
}

/// What a JSON value is, in words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The start of a foreign text, fit to be part of a sentence.
fn short(text: &str) -> String {
    let printable = text.chars().filter(|character| !character.is_control());
    printable.take(100).collect()
}
