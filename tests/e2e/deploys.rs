//! Deploys, and what Cloud Run's audit log tells of them.

use serde_json::{Value, json};

use crate::alert::Delivery;
use crate::harness::{Runback, guarding};
use crate::simulator::{NOW, PROJECT, REGION, Revision, Service, Simulator, days, minutes};
use crate::situation::{BAD, GOOD, SERVICE, assert_rolled_back, moves};

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

/// k-back, healthy for days and on LATEST.
pub fn healthy() -> Service {
    Service::named(SERVICE)
        .revision(Revision::named(GOOD).age(days(3)).errors(0.001).served(days(3)..NOW))
        .traffic(&[("LATEST", 100)])
}

/// A new revision with this share of errors, which LATEST leads to.
pub fn deploy(simulator: &Simulator, errors: f64) {
    simulator.change(SERVICE, |service| service.deploy(Revision::named(BAD).errors(errors)));
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

/// What `runback watch` and any other pipeline send.
pub fn called(service: &str) -> Delivery {
    Delivery::new("/watch", &[("content-type", "application/json")], json!({"service": service}).to_string())
}

/// A minute passes, and what is due then is delivered.
pub async fn a_minute(simulator: &Simulator, runback: &Runback) {
    simulator.advance(minutes(1));
    for answer in runback.deliver_due_tasks().await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

/// k-back has been deployed with this share of errors, and Runback has heard of it.
pub async fn watched(errors: f64) -> (Simulator, Runback) {
    let (simulator, runback) = guarding([healthy()]).await;
    deploy(&simulator, errors);
    runback.send(&audit_event(&simulator, SERVICE, Api::V1)).await.is(200, "ignore", "watching");
    (simulator, runback)
}

/// Minutes pass until the deploy is rolled back: six at most, three to see and three of delay in Monitoring.
pub async fn until_rolled_back(simulator: &Simulator, runback: &Runback) {
    for _ in 0..6 {
        a_minute(simulator, runback).await;
        if moves(simulator) > 0 {
            break;
        }
    }
    assert_rolled_back(simulator);
}

/// A watch has come and gone.
#[track_caller]
pub fn assert_left_alone(simulator: &Simulator) {
    assert!(simulator.writes().is_empty(), "{:#?}", simulator.writes());
    assert_eq!(waiting(simulator), Vec::<String>::new());
}

/// The ids of the tasks that wait.
pub fn waiting(simulator: &Simulator) -> Vec<String> {
    simulator.tasks().iter().map(|task| task.id().to_owned()).collect()
}
