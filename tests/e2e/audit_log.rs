//! What Cloud Run's audit log tells of a change.

#![allow(dead_code, reason = "the tests and the schedules each use a part")]
#![allow(missing_docs, reason = "for tests")]

use serde_json::{Value, json};

use crate::alert::Delivery;
use crate::simulator::{PROJECT, REGION, Simulator};

/// The API by which a service was changed: they leave different entries.
#[derive(Clone, Copy, Debug)]
pub enum Api {
    V1,
    /// One entry when the operation starts, and one when it ends.
    V2First,
    V2Last,
    /// Cloud Run itself: the service is ready.
    System,
}

/// The entry of a change, as Eventarc delivers it now.
pub fn audit_event(simulator: &Simulator, service: &str, api: Api) -> Delivery {
    let clock = simulator.world().clock.clone();
    let now = clock.text(clock.now());
    let full = format!("projects/{PROJECT}/locations/{REGION}/services/{service}");
    let short = format!("namespaces/{PROJECT}/services/{service}");
    let (method, resource, log) = match api {
        Api::V1 => ("google.cloud.run.v1.Services.ReplaceService", short, "activity"),
        Api::V2First | Api::V2Last => ("google.cloud.run.v2.Services.UpdateService", full, "activity"),
        Api::System => ("/Services.ReplaceService", short, "system_event"),
    };
    let operation = match api {
        Api::V2First => json!({"id": "op-1", "producer": "run.googleapis.com", "first": true}),
        Api::V2Last => json!({"id": "op-1", "producer": "run.googleapis.com", "last": true}),
        Api::V1 | Api::System => Value::Null,
    };
    let remark = json!({"message": format!("Ready condition status changed to True for Service {service}.")});
    let status = if matches!(api, Api::System) { remark } else { json!({}) };
    let entry = json!({
        "insertId": format!("{api:?}"),
        "logName": format!("projects/{PROJECT}/logs/cloudaudit.googleapis.com%2F{log}"),
        "operation": operation,
        "protoPayload": {
            "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
            "authenticationInfo": {"principalEmail": format!("deployer@{PROJECT}.iam.gserviceaccount.com")},
            "methodName": method, "resourceName": resource, "serviceName": "run.googleapis.com",
            "resourceLocation": {"currentLocations": [REGION]}, "status": status,
        },
        "resource": {"type": "cloud_run_revision", "labels": {
            "configuration_name": "", "location": REGION, "project_id": PROJECT, "revision_name": "",
            "service_name": service,
        }},
        "severity": "NOTICE",
        "timestamp": now,
    });
    let id = format!("audit-{api:?}-{now}");
    let source = format!("//cloudaudit.googleapis.com/projects/{PROJECT}/logs/{log}");
    let subject = format!("run.googleapis.com/{resource}");
    let headers = [
        ("content-type", "application/json; charset=utf-8"),
        ("ce-specversion", "1.0"),
        ("ce-type", "google.cloud.audit.log.v1.written"),
        ("ce-source", source.as_str()),
        ("ce-id", id.as_str()),
        ("ce-time", now.as_str()),
        ("ce-subject", subject.as_str()),
        ("ce-servicename", "run.googleapis.com"),
        ("ce-methodname", method),
        ("ce-resourcename", resource.as_str()),
        ("ce-recordedtime", now.as_str()),
    ];
    Delivery::new("/", &headers, entry.to_string())
}
