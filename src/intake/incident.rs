//! The notification itself: `{"version": "1.2", "incident": {…}}`.
//!
//! It is read field by field from a JSON value, and no field that is missing or of another type costs us the
//! rest. Google itself sends a number where a string is documented, a string where an object is, zero for no time,
//! and a version without resource, metric and condition when it cannot render the full one.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{audit, condition};
use crate::domain::alert::{Alert, Content, IncidentState};

/// A display name is at most 512 characters, a summary is a paragraph. Whoever shows more helps nobody.
const LONGEST_TEXT: usize = 2_000;

/// Identifiers end up in our record, an annotation of limited size.
const LONGEST_NAME: usize = 200;

/// infra/self_watch.tf counts these words: they are how a heartbeat shows that alerts would arrive.
const PING: &str = "A ping: a version without an incident, as a new channel and the heartbeat send it.";

/// Google allows 64 labels on an alert policy, and a resource has fewer.
const MOST_LABELS: usize = 100;

/// Unix seconds below this lie before the year 5138; a greater number was meant as milliseconds.
const FIRST_MILLISECOND: f64 = 1e11;

/// The first second of the year 10000. Beyond it, adding a window to a time may overflow.
const END_OF_TIME: i64 = 253_402_300_800;

/// Whether a body that nobody vouches for is Monitoring's: an incident, or the ping that tests a new channel.
pub(super) fn is_notification(body: &Value) -> bool {
    body.get("incident").is_some() || is_ping(body)
}

/// A version and nothing else. Error Reporting's notifications have a version and no incident as well.
fn is_ping(body: &Value) -> bool {
    let alone = body.as_object().is_some_and(|body| body.len() == 1);
    alone && (body["version"].is_string() || body["version"].is_number())
}

/// What was published, as bytes that may be anything.
pub(super) fn parse(data: &[u8]) -> Content {
    match serde_json::from_slice(data) {
        Ok(notification) => read(&notification),
        Err(_) => Content::NotAnIncident("A message that is not JSON.".to_owned()),
    }
}

/// What was published, as JSON that may be anything.
pub(super) fn read(notification: &Value) -> Content {
    let sentence = match &notification["incident"] {
        Value::Object(_) => return Content::Alert(Box::new(alert(notification))),
        // A log sink publishes the same entries that Eventarc brings as events.
        Value::Null if audit::is_entry(notification) => return audit::read(notification),
        Value::Null if is_ping(notification) => return Content::Ping(PING.to_owned()),
        Value::Null => "A message without an incident.",
        _ => "A message whose incident is not an object.",
    };
    Content::NotAnIncident(sentence.to_owned())
}

fn alert(notification: &Value) -> Alert {
    let incident = &notification["incident"];
    let resource = &incident["resource"];
    let version = known(&notification["version"]);
    let (signal, condition) = condition::read(incident);
    let mut resource_labels = labels(&resource["labels"]);
    for (name, value) in condition::place_of_series(incident) {
        if let Some(value) = known(value) {
            resource_labels.entry(name.to_owned()).or_insert(value);
        }
    }
    Alert {
        incident: known(&incident["incident_id"]).unwrap_or_default(),
        state: state(&incident["state"]),
        is_test: version.is_some_and(|version| version.eq_ignore_ascii_case("test")),
        started_at: started_at(&incident["started_at"]),
        resource_type: known(&resource["type"]).unwrap_or_default(),
        resource_labels,
        policy_labels: labels(&incident["policy_user_labels"]),
        policy_id: policy_id(&incident["condition"]["name"]),
        scoping_project: known(&incident["scoping_project_id"]),
        signal,
        condition,
        policy_name: prose(&incident["policy_name"]),
        condition_name: prose(&incident["condition_name"]),
        summary: prose(&incident["summary"]),
        url: prose(&incident["url"]),
    }
}

/// From `projects/P/alertPolicies/ID/conditions/C`; P may be the project's number.
fn policy_id(condition: &Value) -> Option<String> {
    let mut parts = condition.as_str()?.split('/').skip_while(|part| *part != "alertPolicies").skip(1);
    known(&Value::from(parts.next()?))
}

fn state(value: &Value) -> IncidentState {
    let state = scalar(value).unwrap_or_default();
    match state.trim().to_ascii_lowercase().as_str() {
        "open" => IncidentState::Open,
        "closed" => IncidentState::Closed,
        _ => IncidentState::Unknown(start(&state, LONGEST_NAME)),
    }
}

/// Unix seconds as any kind of number or as text, or an RFC 3339 time. Zero is the console's "no time".
fn started_at(value: &Value) -> Option<DateTime<Utc>> {
    let text = scalar(value)?;
    let time = match text.trim().parse::<f64>() {
        // The cast saturates, and what lies outside of chrono's range is no time.
        Ok(number) if number < FIRST_MILLISECOND => DateTime::from_timestamp(number as i64, 0)?,
        Ok(number) => DateTime::from_timestamp_millis(number as i64)?,
        Err(_) => DateTime::parse_from_rfc3339(text.trim()).ok()?.to_utc(),
    };
    (1..END_OF_TIME).contains(&time.timestamp()).then_some(time)
}

/// Labels are strings; whatever else is in their place is spelled out, or left out where it cannot be. Google drops
/// labels without a value, and so do we.
fn labels(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten().take(MOST_LABELS);
    let labels = entries.filter_map(|(name, value)| {
        let text = scalar(value).filter(|text| !text.is_empty())?;
        Some((start(name, LONGEST_NAME), start(&text, LONGEST_TEXT)))
    });
    labels.collect()
}

/// A name that decides something. Nothing, and the words that scripts write for nothing, are no name.
pub(super) fn known(value: &Value) -> Option<String> {
    let text = scalar(value)?;
    let name = text.trim();
    let is_known = !["", "None", "null"].contains(&name);
    is_known.then(|| start(name, LONGEST_NAME))
}

/// A text for people, as it was written.
fn prose(value: &Value) -> String {
    start(&scalar(value).unwrap_or_default(), LONGEST_TEXT)
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn start(text: &str, longest: usize) -> String {
    text.chars().take(longest).collect()
}
