//! How a notification is delivered, and what is acknowledged.

use serde_json::json;

use super::*;
use crate::intake::BATCH;

#[test]
fn a_message_keeps_its_own_id_and_time_and_borrows_the_events_for_what_it_lacks() {
    let own = json!({"message_id": "own", "publish_time": "2026-01-01T00:00:00Z"});
    let own = only(&eventarc(), &json!({"message": own}).to_string());
    assert_eq!(own.message_id.as_deref(), Some("own"));
    assert_eq!(own.published_at, Some(at("2026-01-01T00:00:00Z")));

    let none = only(&eventarc(), r#"{"message":{"messageId":""}}"#);
    assert_eq!(none.message_id.as_deref(), Some("1300"));
    assert_eq!(none.published_at, Some(at("2025-11-20T12:00:00Z")));
}

#[test]
fn an_unwrapped_push_is_known_by_its_headers_and_a_webhook_by_its_body() {
    let (headers, body) = request("23-CONSTRUCTED-unwrapped-push-cloudrun-open.http", "");
    let push = read(&headers, &body).unwrap().deliveries.remove(0);
    assert_eq!(push.message_id.as_deref(), Some("13000000000000001"));
    assert_eq!(push.published_at, Some(at("2025-11-20T12:00:00.123Z")));

    let webhook = read(&HeaderMap::new(), &body).unwrap().deliveries.remove(0);
    assert_eq!((webhook.message_id, webhook.published_at, webhook.content), (None, None, push.content));
}

#[test]
fn an_unwrapped_push_is_acknowledged_whatever_it_carries() {
    for poison in ["", "hello", "[1, 2", "{\"foo\":1}"] {
        not_an_incident(&[("x-goog-pubsub-message-id", "1")], poison);
    }
}

#[test]
fn the_shape_of_a_body_decides_where_no_content_type_helps() {
    let notification = recorded().to_string();
    let event = event(&notification).to_string();
    for body in [&notification, &pushed(&notification), &event] {
        for content_type in ["text/plain", "application/x-www-form-urlencoded", "", "Ünsinn"] {
            let delivery = only(&[("content-type", content_type)], body);
            assert!(matches!(delivery.content, Content::Alert(_)), "{content_type}");
        }
    }
}

#[test]
fn the_content_type_of_a_structured_event_is_read_in_any_case_and_with_parameters() {
    let event = event(&recorded().to_string()).to_string();
    for content_type in [
        "application/cloudevents+json",
        "Application/CloudEvents+JSON",
        "application/cloudevents+json; charset=utf-8",
        "application/cloudevents+json ;charset=UTF-8",
    ] {
        let delivery = only(&[("content-type", content_type)], &event);
        assert_eq!(delivery.message_id.as_deref(), Some("1300"));
    }
}

#[test]
fn an_attribute_that_nobody_reads_cannot_turn_an_alert_away() {
    let mut headers = eventarc();
    headers.extend([("ce-env", "Ünsinn"), ("ce-dataschema", "./relative")]);
    let body = pushed(&recorded().to_string());
    assert!(matches!(only(&headers, &body).content, Content::Alert(_)));

    let mut event = event(&recorded().to_string());
    event["ratio"] = json!(0.5);
    event["dataschema"] = json!("./relative");
    event["datacontenttype"] = json!("Application/JSON");
    let structured = only(&[("content-type", STRUCTURED)], &event.to_string());
    assert!(matches!(structured.content, Content::Alert(_)));
}

#[test]
fn an_empty_time_of_an_event_is_no_time() {
    let mut headers = eventarc();
    headers.retain(|(name, _)| *name != "ce-time");
    headers.push(("ce-time", ""));
    let body = pushed(&recorded().to_string());
    let mut event = event(&recorded().to_string());
    event["time"] = json!("");
    let structured = only(&[("content-type", STRUCTURED)], &event.to_string());
    for delivery in [only(&headers, &body), structured] {
        assert!(matches!(delivery.content, Content::Alert(_)));
        assert_eq!(delivery.published_at, None);
    }
}

#[test]
fn a_structured_event_may_carry_its_data_as_base64() {
    let mut event = event("{}");
    let data = STANDARD.encode(pushed(&recorded().to_string()));
    let event = event.as_object_mut().unwrap();
    event.remove("data");
    event.insert("data_base64".to_owned(), json!(data));
    let event = json!(event).to_string();
    let delivery = only(&[("content-type", STRUCTURED)], &event);
    assert!(matches!(delivery.content, Content::Alert(_)));
}

#[test]
fn an_event_without_a_valid_attribute_is_refused_by_its_name() {
    for (name, faults) in [
        ("specversion", ["", "2.0", "ä"]),
        ("id", ["", " ", "ä"]),
        ("source", ["", " ", "ä"]),
        ("type", ["", " ", "ä"]),
        ("time", ["yesterday", "12:00", "ä"]),
    ] {
        let header = format!("ce-{name}");
        for fault in faults {
            let mut headers = eventarc();
            headers.retain(|(name, _)| *name != header);
            headers.push((&header, fault));
            let body = pushed(&recorded().to_string());
            assert!(refusal(&headers, &body).contains(&header), "{name}={fault}");
            if fault != "ä" {
                let mut event = event("{}");
                event[name] = json!(fault);
                let refusal = refusal(&[("content-type", STRUCTURED)], &event.to_string());
                assert!(refusal.contains(&format!("`{name}`")), "{refusal}");
            }
        }
        let twice = [eventarc(), vec![(&*header, "1.0")]].concat();
        assert!(refusal(&twice, "{}").contains("given twice"));
        let mut event = event("{}");
        event[name] = json!(7);
        let refusal = refusal(&[("content-type", STRUCTURED)], &event.to_string());
        assert!(refusal.contains("not a string"), "{refusal}");
    }
    let incomplete = refusal(&[("ce-id", "1")], "{}");
    assert_eq!(incomplete, "Expected a CloudEvent, but got one whose `ce-specversion` is missing.");
}

#[test]
fn a_valid_event_is_acknowledged_whatever_its_data_are() {
    for data in ["", "hello", "[]", "{}", "{\"message\":\"text\"}", "{\"incident\":{}}"] {
        not_an_incident(&eventarc(), data);
    }
    for message in [
        json!({}),
        json!({"data": null}),
        json!({"data": ""}),
        json!({"data": 7}),
        json!({"data": ["e30="]}),
        json!({"data": "e30"}),
    ] {
        not_an_incident(&eventarc(), &json!({ "message": message }).to_string());
    }
}

#[test]
fn an_old_name_of_the_pubsub_event_is_accepted() {
    for ty in ["com.google.cloud.pubsub.topic.publish", "google.pubsub.topic.publish"] {
        let mut headers = eventarc();
        headers.retain(|(name, _)| *name != "ce-type");
        headers.push(("ce-type", ty));
        let delivery = only(&headers, &pushed(&recorded().to_string()));
        assert!(matches!(delivery.content, Content::Alert(_)), "{ty}");
    }
}

#[test]
fn each_event_of_a_batch_is_answered_for() {
    let mut bad = event(&recorded().to_string());
    bad["source"] = json!("");
    let batch = json!([event(&recorded().to_string()), bad, 7, event("{}")]).to_string();
    // The SDK would take this for one binary event whose data are the list.
    let headers = [("content-type", "Application/cloudevents-batch+json; a=b"), ("ce-id", "1")];
    let intake = read(&header_map(&headers), batch.as_bytes()).unwrap();
    assert!(intake.batched);
    let contents: Vec<_> = intake.deliveries.iter().map(|it| &it.content).collect();
    assert!(matches!(contents[0], Content::Alert(_)));
    for (index, part) in [(1, "`source` is empty"), (2, "a number"), (3, "incident")] {
        let Content::NotAnIncident(sentence) = contents[index] else { panic!("{:?}", contents[index]) };
        assert!(sentence.contains(part), "{sentence}");
    }
    assert_eq!(intake.deliveries[1].message_id.as_deref(), Some("1300"));
}

#[test]
fn a_batch_is_a_list_of_at_least_one_and_at_most_a_hundred() {
    let many = format!("[{}]", vec!["0"; 101].join(","));
    for (body, part) in [("[]", "an empty one"), ("{}", "an object"), ("[1", "not JSON"), (&many, "101")] {
        let refusal = refusal(&[("content-type", BATCH)], body);
        assert!(refusal.contains(part), "{refusal}");
    }
}

#[test]
fn a_body_of_a_person_is_refused_in_one_sentence_that_repeats_nothing_of_it() {
    for (body, got) in [
        ("hello", "a body that is not JSON (line 1, column 1)"),
        ("", "an empty body"),
        (" \r\n", "an empty body"),
        ("[1, 2", "a body that is not JSON (line 1, column 5)"),
        ("[1, 2]", "an array"),
        ("{\"foo\":1}", "a JSON object with neither `message` nor `incident`"),
        ("{\"version\":1,\"x\":1}", "a JSON object with neither `message` nor `incident`"),
        ("\"<!channel>\"", "a string"),
        ("\u{feff}{}", "a body that is not JSON (line 1, column 1)"),
    ] {
        let expected = "a CloudEvent, a Pub/Sub push or a Cloud Monitoring notification";
        let sentence = format!("Expected {expected}, but got {got}.");
        assert_eq!(refusal(NONE, body), sentence, "{body}");
    }
}

#[test]
fn monitorings_ping_is_no_incident_however_it_comes() {
    let ping = r#"{"version":"1.2"}"#;
    assert!(not_an_incident(NONE, ping).contains("ping"));
    assert!(not_an_incident(NONE, &pushed(ping)).contains("ping"));
    assert!(not_an_incident(&eventarc(), &pushed(r#"{"version":1.2}"#)).contains("ping"));
    // Error Reporting's notifications have a version as well, and are no sign that alerts would arrive.
    let reported = r#"{"version":"1.0","subject":"[k-back] New error","group_info":{"project_id":"p"}}"#;
    assert_eq!(not_an_incident(NONE, &pushed(reported)), "A message without an incident.");
}
