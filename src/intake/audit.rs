//! Entries of Cloud Run's audit log: somebody has changed a service.
//!
//! One change makes several entries: of v1 `ReplaceService` one when it is accepted, of v2 `UpdateService`, a long-running
//! operation, one when it starts and one when it ends; then Cloud Run itself writes when a revision and the service have
//! become ready, under the same method with a slash in front and nobody's name. Long entries are split. v1 and Cloud Run
//! name the service `namespaces/P/services/S`, v2 `projects/P/locations/L/services/S`; the region is among the labels.
//! (<https://cloud.google.com/run/docs/audit-logging>, <https://cloud.google.com/logging/docs/audit/understanding-audit-logs>)

use serde_json::Value;

use super::incident::known;
use super::short;
use crate::domain::alert::Content;
use crate::domain::service::ServiceName;

/// The type of Eventarc's events for audit logs.
pub(super) const TYPE: &str = "google.cloud.audit.log.v1.written";

const CLOUD_RUN: &str = "run.googleapis.com";

/// What makes or changes a service. Functions are deployed by the methods of `InternalServices`.
const CHANGES: [&str; 5] =
    ["CreateService", "ReplaceService", "UpdateService", "CreateInternalService", "ReplaceInternalService"];

/// Whether a JSON value is an entry of an audit log.
pub(super) fn is_entry(value: &Value) -> bool {
    value["protoPayload"].is_object()
}

/// Reads an entry. It starts nothing but a look at the service, so it is believed.
pub(super) fn read(entry: &Value) -> Content {
    let payload = &entry["protoPayload"];
    let text = |value: &Value| known(value).unwrap_or_default();
    let nothing = |sentence: String| Content::NotAnIncident(sentence);
    if !is_entry(entry) {
        return nothing("An audit event without an entry of an audit log.".to_owned());
    }
    let (origin, method) = (text(&payload["serviceName"]), text(&payload["methodName"]));
    if origin != CLOUD_RUN {
        return nothing(format!("An audit event of `{}`, not of Cloud Run.", short(&origin)));
    }
    let last = method.rsplit(['.', '/']).next().unwrap_or_default();
    if !CHANGES.contains(&last) {
        return nothing(format!("An audit event of `{}`, which changes no service.", short(&method)));
    }
    // Without a code the status is a remark, such as that the service is ready.
    if payload["status"]["code"].as_i64().is_some_and(|code| code != 0) {
        return nothing("An audit event of a change that failed.".to_owned());
    }
    match service(entry) {
        Some(name) => Content::ServiceChanged(name),
        None => nothing("An audit event that names no service.".to_owned()),
    }
}

/// The service. The name in `namespaces/…` may hold the project's number; then the label knows its id.
fn service(entry: &Value) -> Option<ServiceName> {
    let (payload, labels) = (&entry["protoPayload"], &entry["resource"]["labels"]);
    let resource = known(&payload["resourceName"])?;
    let (project, region, service) = match resource.split('/').collect::<Vec<_>>()[..] {
        ["namespaces", project, "services", service] => (project, None, service),
        ["projects", project, "locations", region, "services", service] => (project, Some(region), service),
        _ => return None,
    };
    let region = region.map(str::to_owned).or_else(|| known(&labels["location"]));
    let region = region.or_else(|| known(&payload["resourceLocation"]["currentLocations"][0]))?;
    let project = known(&labels["project_id"]).unwrap_or_else(|| project.to_owned());
    let named = !project.is_empty() && !service.is_empty();
    named.then(|| ServiceName { project, region, service: service.to_owned() })
}
