//! Audit log entries in the shapes in which Cloud Run writes them.

use serde_json::{Value, json};

use super::*;

const CHANGED: &str = "projects/demo-project/locations/asia-northeast1/services/k-back";

/// What v1 `ReplaceService` leaves, as far as it matters.
fn entry() -> Value {
    json!({
        "insertId": "qd23mgd4u3f",
        "logName": "projects/demo-project/logs/cloudaudit.googleapis.com%2Factivity",
        "protoPayload": {
            "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
            "authenticationInfo": {"principalEmail": "deployer@demo-project.iam.gserviceaccount.com"},
            "methodName": "google.cloud.run.v1.Services.ReplaceService",
            "request": {"@type": "type.googleapis.com/google.cloud.run.v1.ReplaceServiceRequest", "name": CHANGED},
            "resourceLocation": {"currentLocations": ["asia-northeast1"]},
            "resourceName": "namespaces/demo-project/services/k-back",
            "serviceName": "run.googleapis.com",
        },
        "resource": {"type": "cloud_run_revision", "labels": {
            "configuration_name": "", "location": "asia-northeast1", "project_id": "demo-project",
            "revision_name": "", "service_name": "k-back",
        }},
        "severity": "NOTICE",
        "timestamp": "2026-11-21T22:58:04.355675Z",
    })
}

fn with(changes: &[(&str, Value)]) -> Value {
    let mut entry = entry();
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        entry.pointer_mut(parent).unwrap()[key] = value.clone();
    }
    entry
}

fn eventarc(entry: &Value) -> Delivery {
    let headers = [
        ("content-type", "application/json; charset=utf-8"),
        ("ce-specversion", "1.0"),
        ("ce-type", "google.cloud.audit.log.v1.written"),
        ("ce-source", "//cloudaudit.googleapis.com/projects/demo-project/logs/activity"),
        ("ce-id", "projects/demo-project/logs/cloudaudit.googleapis.com%2Factivityqd23mgd4u3f1732"),
        ("ce-time", "2026-11-21T22:58:04.779921Z"),
        ("ce-subject", "run.googleapis.com/namespaces/demo-project/services/k-back"),
        ("ce-servicename", "run.googleapis.com"),
        ("ce-methodname", "google.cloud.run.v1.Services.ReplaceService"),
        ("ce-resourcename", "namespaces/demo-project/services/k-back"),
        ("ce-recordedtime", "2026-11-21T22:58:04.355675Z"),
        ("ce-dataschema", "https://googleapis.github.io/google-cloudevents/jsonschema/LogEntryData.json"),
    ];
    only(&headers, &entry.to_string())
}

fn said(content: Content) -> String {
    match content {
        Content::ServiceChanged(name) => name.to_string(),
        Content::Ping(sentence) | Content::NotAnIncident(sentence) => sentence,
        Content::Alert(alert) => panic!("{alert:?}"),
    }
}

#[test]
fn every_form_of_a_change_names_the_service() {
    let method = |name: &str| ("/protoPayload/methodName", json!(name));
    let resource = |name: &str| ("/protoPayload/resourceName", json!(name));
    let forms = [
        vec![],
        vec![method("google.cloud.run.v1.Services.CreateService")],
        // v2 is a long-running operation: an entry when it starts and another when it ends.
        vec![
            method("google.cloud.run.v2.Services.UpdateService"),
            resource(CHANGED),
            ("/operation", json!({"id": "op", "producer": "run.googleapis.com", "first": true})),
        ],
        vec![
            method("google.cloud.run.v2.Services.CreateService"),
            resource(CHANGED),
            ("/operation", json!({"id": "op", "producer": "run.googleapis.com", "last": true})),
            ("/resource/labels", json!({})),
            ("/protoPayload/resourceLocation", json!(null)),
        ],
        // Cloud Run itself says that the service is ready: with a remark for a status, and nobody's name.
        vec![
            method("/Services.ReplaceService"),
            ("/protoPayload/authenticationInfo", json!(null)),
            (
                "/protoPayload/status",
                json!({"message": "Ready condition status changed to True for Service k-back."}),
            ),
        ],
        vec![method("google.cloud.serverless.internal.InternalServices.ReplaceInternalService")],
        vec![("/resource/labels/location", json!(""))],
        vec![resource("namespaces/123456789012/services/k-back")],
    ];
    for form in forms {
        let entry = with(&form);
        assert_eq!(said(eventarc(&entry).content), CHANGED, "{form:?}");
        // A log sink publishes the same entry to a topic.
        assert_eq!(said(only(NONE, &pushed(&entry.to_string())).content), CHANGED, "{form:?}");
    }
    assert_eq!(eventarc(&entry()).published_at, Some(at("2026-11-21T22:58:04.779921Z")));
}

#[test]
fn everything_else_is_acknowledged_and_changes_nothing() {
    let cases = [
        (with(&[("/protoPayload/serviceName", json!("storage.googleapis.com"))]), "not of Cloud Run"),
        (
            with(&[("/protoPayload/methodName", json!("google.cloud.run.v1.Services.DeleteService"))]),
            "no service",
        ),
        (
            with(&[("/protoPayload/methodName", json!("google.cloud.run.v1.Services.SetIamPolicy"))]),
            "no service",
        ),
        (with(&[("/protoPayload/methodName", json!("google.cloud.run.v2.Jobs.UpdateJob"))]), "no service"),
        (with(&[("/protoPayload/methodName", json!(7))]), "no service"),
        (
            with(&[("/protoPayload/status", json!({"code": 10, "message": "Conflict for resource"}))]),
            "failed",
        ),
        (
            with(&[(
                "/protoPayload/resourceName",
                json!("namespaces/demo-project/revisions/k-back-00042-abc"),
            )]),
            "names no",
        ),
        (with(&[("/protoPayload/resourceName", json!("namespaces//services/"))]), "names no"),
        (with(&[("/protoPayload/resourceName", json!(null))]), "names no"),
        (json!({"protoPayload": "text"}), "without an entry"),
        (json!([1, 2]), "without an entry"),
        (json!(null), "without an entry"),
    ];
    for (entry, part) in cases {
        let sentence = said(eventarc(&entry).content);
        assert!(sentence.contains(part), "{sentence} for {entry}");
    }
}
