//! Cloud Run objects in full, as the v1 (Knative) API shows them, with fields that no client models.

use serde_json::{Map, Value, json};

use super::setup::{Labels, Revision, Service};

pub const STATE: &str = "runback.dev/state";

/// Enough of a hash for names that look real and are the same in every run (FNV-1a).
pub fn hash(text: &str) -> String {
    let mix = |state: u64, byte: u8| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
}

pub fn default_image(service: &Service, revision: &str) -> String {
    let Service { project, region, name, .. } = service;
    let commit = &hash(revision)[..7];
    format!("{region}-docker.pkg.dev/{project}/{name}-repo/{name}:{commit}")
}

pub fn default_digest(image: &str) -> String {
    format!("sha256:{}", hash(image).repeat(4))
}

/// `spec.template`. The names that begin with `future` stand for fields that are newer than the client.
pub fn template(service: &Service, revision: &Revision, named: bool) -> Value {
    let Service { project, region, name, .. } = service;
    let mut metadata = json!({
        "labels": with(json!({"managed-by": "gcp-cloud-build-deploy-cloud-run"}), &revision.labels),
        "annotations": {
            "run.googleapis.com/client-name": "gcloud",
            "run.googleapis.com/client-version": "528.0.0",
            "autoscaling.knative.dev/maxScale": "20",
            "run.googleapis.com/cloudsql-instances": format!("{project}:{region}:main"),
            "run.googleapis.com/startup-cpu-boost": "true",
        },
    });
    if named {
        metadata["name"] = json!(revision.name);
    }
    json!({
        "metadata": metadata,
        "spec": {
            "containerConcurrency": 80,
            "timeoutSeconds": 300,
            "serviceAccountName": format!("runtime@{project}.iam.gserviceaccount.com"),
            "containers": [{
                "name": format!("{name}-1"),
                "image": revision.image,
                "ports": [{"name": "http1", "containerPort": 8080}],
                "env": [
                    {"name": "LOG_LEVEL", "value": "info"},
                    {"name": "EMPTY", "value": ""},
                    {"name": "GREETING", "value": "けいかくん ☀ \"quoted\" \\ \u{2028}"},
                    {"name": "DATABASE_URL",
                     "valueFrom": {"secretKeyRef": {"name": "database-url", "key": "latest"}}},
                ],
                "resources": {"limits": {"cpu": "1000m", "memory": "512Mi"}},
                "startupProbe": {"timeoutSeconds": 240, "periodSeconds": 240, "failureThreshold": 1,
                                 "tcpSocket": {"port": 8080}},
                "futureTuning": {"weight": 0.1, "budget": 9_007_199_254_740_993_i64, "enabled": false, "note": null},
            }],
            "volumes": [{"name": "certificates",
                         "secret": {"secretName": "certificates", "items": [{"key": "latest", "path": "ca.pem"}]}}],
            "futurePlacement": {"zones": ["a", "b"]},
        },
    })
}

/// The stored part of a service: everything but status, version and generation.
pub fn service(service: &Service, created: &str, template: &Value, traffic: &[Value]) -> Value {
    let Service { region, name, .. } = service;
    let annotations = json!({
        "run.googleapis.com/client-name": "gcloud",
        "run.googleapis.com/client-version": "528.0.0",
        "run.googleapis.com/ingress": "all",
        "run.googleapis.com/operation-id": "5d1b7f9e-7b4c-4c0e-9d5f-1f8f3c8a2b11",
        "run.googleapis.com/urls": format!("[\"https://{name}-345678901234.{region}.run.app\"]"),
        "serving.knative.dev/creator": "deployer@example.com",
        "serving.knative.dev/lastModifier": "deployer@example.com",
        "example.com/owner": "けいかくん",
    });
    json!({
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": "345678901234",
            "selfLink": format!("/apis/serving.knative.dev/v1/namespaces/345678901234/services/{name}"),
            "uid": hash(name),
            "creationTimestamp": created,
            "labels": {"cloud.googleapis.com/location": region, "team": "platform"},
            "annotations": with(annotations, &service.annotations),
            "futureMarker": {"kept": true},
        },
        "spec": {"template": template, "traffic": traffic, "futurePolicy": {"mode": "strict"}},
    })
}

pub fn revision(service: &Service, revision: &Revision, created: &str, serving: bool) -> Value {
    let template = template(service, revision, false);
    let name = &revision.name;
    let labels = with(template["metadata"]["labels"].clone(), &revision.labels);
    let own = Labels::from([
        ("cloud.googleapis.com/location".into(), service.region.clone()),
        ("serving.knative.dev/configuration".into(), service.name.clone()),
        ("serving.knative.dev/configurationGeneration".into(), "1".into()),
        ("serving.knative.dev/service".into(), service.name.clone()),
    ]);
    let repository = revision.image.rsplit_once(':').map_or("", |(repository, _)| repository);
    json!({
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Revision",
        "metadata": {
            "name": name,
            "namespace": "345678901234",
            "selfLink": format!("/apis/serving.knative.dev/v1/namespaces/345678901234/revisions/{name}"),
            "uid": hash(name),
            "resourceVersion": format!("AAY{}", &hash(name)[..8]),
            "generation": 1,
            "creationTimestamp": created,
            "labels": with(labels, &own),
            "annotations": template["metadata"]["annotations"],
            "ownerReferences": [{"apiVersion": "serving.knative.dev/v1", "kind": "Configuration",
                                 "name": service.name, "controller": true, "blockOwnerDeletion": true}],
        },
        "spec": template["spec"],
        "status": {
            "observedGeneration": 1,
            "conditions": revision_conditions(revision.ready, serving, created),
            "logUrl": format!("https://console.cloud.google.com/logs/viewer?project={}", service.project),
            "imageDigest": format!("{repository}@{}", revision.digest),
        },
    })
}

pub fn condition(kind: &str, status: &str, at: &str, reason: Option<(&str, &str)>) -> Value {
    let mut condition = json!({"type": kind, "status": status, "lastTransitionTime": at});
    if let Some((reason, message)) = reason {
        condition["reason"] = json!(reason);
        condition["message"] = json!(message);
    }
    condition
}

/// A revision without traffic stays Ready; the reason is `Retired` and it is not Active.
fn revision_conditions(ready: bool, serving: bool, at: &str) -> Value {
    let failed = (
        "HealthCheckContainerError",
        "The user-provided container failed to start and listen on the port defined provided by the PORT=8080 \
         environment variable within the allocated timeout.",
    );
    let retired = (!serving).then_some(("Retired", "Revision retired."));
    let (ready, active, healthy) = match ready {
        true => (
            condition("Ready", "True", at, retired),
            retired,
            condition("ContainerHealthy", "True", at, None),
        ),
        false => (
            condition("Ready", "False", at, Some(failed)),
            Some(("Reserve", "Revision has no traffic.")),
            condition("ContainerHealthy", "False", at, Some(failed)),
        ),
    };
    let mut active = condition("Active", if active.is_none() { "True" } else { "False" }, at, active);
    active["severity"] = json!("Info");
    json!([ready, active, healthy, condition("ResourcesAvailable", "True", at, None)])
}

fn with(base: Value, more: &Labels) -> Value {
    let mut all: Map<String, Value> = base.as_object().cloned().unwrap_or_default();
    all.extend(more.iter().map(|(key, value)| (key.clone(), json!(value))));
    Value::Object(all)
}
