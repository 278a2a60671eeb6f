//! Envelopes: CloudEvents and Pub/Sub messages, and what is known of them before they are opened.

use axum::http::{HeaderMap, HeaderValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use cloudevents::binding::http::to_event;
use cloudevents::{AttributesReader, Event};
use serde_json::Value;

use super::{Malformed, audit, incident, kind, short};
use crate::domain::alert::{Content, Delivery};

/// What we read of an event, and its header in binary mode.
const ATTRIBUTES: [(&str, &str); 5] = [
    ("specversion", "ce-specversion"),
    ("id", "ce-id"),
    ("source", "ce-source"),
    ("type", "ce-type"),
    ("time", "ce-time"),
];

/// Keys of a structured event beside its attributes that say what its data are.
const DATA: [&str; 3] = ["data", "data_base64", "datacontentencoding"];

/// A Pub/Sub message in today's words, and in those of older triggers.
const PUBSUB_TYPES: [&str; 4] = [
    "google.cloud.pubsub.topic.v1.messagePublished",
    "com.google.cloud.pubsub.topic.publish",
    "google.pubsub.topic.publish",
    "providers/cloud.pubsub/eventTypes/topic.publish",
];

const PUSH_MESSAGE_ID: &str = "x-goog-pubsub-message-id";
const PUSH_PUBLISH_TIME: &str = "x-goog-pubsub-publish-time";

/// Whether the headers claim a binary-mode CloudEvent, rightly or not. A stray extension or time is no claim.
pub(super) fn has_event_headers(headers: &HeaderMap) -> bool {
    ATTRIBUTES[..4].iter().any(|(_, header)| headers.contains_key(*header))
}

/// A CloudEvent in binary mode, as Eventarc sends it.
///
/// The SDK sees only the attributes that we read. It refuses a whole event for a character in an extension that
/// nobody asked for, and takes an empty id and the last of two.
pub(super) fn binary(headers: &HeaderMap, body: &[u8]) -> Result<Event, Malformed> {
    let mut known = HeaderMap::new();
    for (attribute, header) in ATTRIBUTES {
        let mut values = headers.get_all(header).iter();
        let value = values.next();
        if values.next().is_some() {
            return Err(invalid(header, "given twice"));
        }
        let text = value.map(HeaderValue::to_str).transpose();
        let text = text.map_err(|_| invalid(header, "not plain text"))?;
        check(attribute, text).map_err(|fault| invalid(header, fault))?;
        if let (Some(value), Some(_)) = (value, text.filter(|it| !it.is_empty())) {
            known.insert(header, value.clone());
        }
    }
    to_event(&known, body.to_vec()).map_err(|error| unreadable(&error.to_string()))
}

/// A CloudEvent in structured mode, or one of a batch.
///
/// Reading the data does not take their content type, which the SDK compares as it was written: without it, it
/// takes JSON for JSON.
pub(super) fn structured(mut event: Value) -> Result<Event, Malformed> {
    let not_an_object = Malformed::new("a CloudEvent as a JSON object", kind(&event));
    let known = event.as_object_mut().ok_or(not_an_object)?;
    for (attribute, _) in ATTRIBUTES {
        let text = match known.get(attribute) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text.as_str()),
            Some(_) => return Err(invalid(attribute, "not a string")),
        };
        check(attribute, text).map_err(|fault| invalid(attribute, fault))?;
    }
    known.retain(|key, value| {
        let read = ATTRIBUTES.iter().any(|(name, _)| name == key) || DATA.contains(&&**key);
        read && value.as_str() != Some("")
    });
    serde_json::from_value(event).map_err(|error| unreadable(&error.to_string()))
}

fn check(attribute: &str, value: Option<&str>) -> Result<(), &'static str> {
    match (attribute, value) {
        ("time", None | Some("")) => Ok(()),
        ("time", Some(time)) if instant(time).is_none() => Err("not an RFC 3339 time"),
        (_, None) => Err("missing"),
        (_, Some(text)) if text.trim().is_empty() => Err("empty"),
        ("specversion", Some(version)) if !["1.0", "0.3"].contains(&version) => Err("neither 1.0 nor 0.3"),
        _ => Ok(()),
    }
}

fn invalid(name: &str, fault: &str) -> Malformed {
    Malformed::new("a CloudEvent", &format!("one whose `{name}` is {fault}"))
}

fn unreadable(error: &str) -> Malformed {
    Malformed::new("a CloudEvent", &format!("an error: {}", short(error)))
}

/// What a valid event carries. From here on everything is acknowledged.
pub(super) fn event(mut event: Event) -> Delivery {
    let (_, _, data) = event.take_data();
    let (id, time) = (Some(short(event.id())), event.time().copied());
    let not_an_incident = |sentence| Delivery {
        message_id: id.clone(),
        published_at: time,
        content: Content::NotAnIncident(sentence),
    };
    if event.ty() == audit::TYPE {
        let entry = data.map(Value::try_from).and_then(Result::ok).unwrap_or_default();
        return Delivery { message_id: id, published_at: time, content: audit::read(&entry) };
    }
    if !PUBSUB_TYPES.contains(&event.ty()) {
        let ty = short(event.ty());
        return not_an_incident(format!("An event of type `{ty}`, which is no Pub/Sub message."));
    }
    match data.map(Value::try_from) {
        Some(Ok(data)) if data["message"].is_object() => message(&data["message"], id, time),
        Some(Ok(_)) => not_an_incident("A Pub/Sub event without a message.".to_owned()),
        Some(Err(_)) => not_an_incident("A Pub/Sub event whose data is not JSON.".to_owned()),
        None => not_an_incident("A Pub/Sub event without data.".to_owned()),
    }
}

/// A Pub/Sub message, with the id and the time of the event around it for what the message leaves out.
///
/// Google's own samples spell each key in camelCase and in snake_case side by side, which a derived `Deserialize`
/// with an alias refuses as a duplicate.
pub(super) fn message(
    message: &Value,
    event_id: Option<String>,
    event_time: Option<DateTime<Utc>>,
) -> Delivery {
    let either = |camel: &str, snake: &str| {
        let both = [&message[camel], &message[snake]];
        both.into_iter().find_map(incident::known)
    };
    let time = either("publishTime", "publish_time");
    Delivery {
        message_id: either("messageId", "message_id").or(event_id),
        published_at: time.as_deref().and_then(instant).or(event_time),
        content: match &message["data"] {
            Value::Null => nothing("no data"),
            Value::String(data) if data.is_empty() => nothing("no data"),
            Value::String(data) => match STANDARD.decode(data) {
                Ok(data) => incident::parse(&data),
                Err(_) => nothing("data that is not base64"),
            },
            other => nothing(&format!("{} where its data should be base64", kind(other))),
        },
    }
}

fn nothing(instead: &str) -> Content {
    Content::NotAnIncident(format!("A Pub/Sub message with {instead}."))
}

/// Whether this is Pub/Sub's push without a wrapper: the body is what was published, the rest is in headers.
pub(super) fn is_unwrapped_push(headers: &HeaderMap) -> bool {
    headers.contains_key(PUSH_MESSAGE_ID)
}

/// A body that is itself what was published. A webhook looks the same but has none of the headers.
pub(super) fn unwrapped(headers: &HeaderMap, content: Content) -> Delivery {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    Delivery {
        message_id: header(PUSH_MESSAGE_ID).map(short),
        published_at: header(PUSH_PUBLISH_TIME).and_then(instant),
        content,
    }
}

fn instant(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}
