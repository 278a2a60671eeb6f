//! Cloud Monitoring's notifications, and the envelopes in which they arrive.

#![allow(dead_code, reason = "the tests, the demonstration and the benchmark each use a part")]
#![allow(missing_docs, clippy::unwrap_used, reason = "a defect here should end the test at once")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::simulator::{Clock, Running, Service, Simulator};

const COUNT: &str = "run.googleapis.com/request_count";
const SOURCE: &str = "//pubsub.googleapis.com/projects/demo-project/topics/alerts";
const TYPE: &str = "google.cloud.pubsub.topic.v1.messagePublished";

static MESSAGES: AtomicUsize = AtomicUsize::new(1);

/// What the alert policy watches.
#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Errors,
    Ratio,
    Latency,
    Saturation,
    SloBurn,
    LogMatch,
}

/// One Pub/Sub message. Delivering the same value again is a redelivery.
#[derive(Clone)]
pub struct Alert {
    clock: Clock,
    service: Service,
    revision: String,
    kind: Kind,
    incident: String,
    closed: bool,
    started: f64,
    published: f64,
    message_id: String,
    changes: Vec<(String, Option<Value>)>,
}

impl Alert {
    /// An open incident about the serving revision that does worst, begun four minutes ago, published now.
    pub fn on(simulator: &Simulator, service: &str) -> Self {
        let clock = simulator.world().clock.clone();
        let now = clock.now();
        let (service, revision) =
            simulator.change(service, |running| (running.service.clone(), worst(running, now)));
        Self {
            service,
            revision,
            kind: Kind::Errors,
            incident: "0.n1incident01".into(),
            closed: false,
            started: now - 240.0,
            published: now,
            message_id: next_message_id(),
            changes: Vec::new(),
            clock,
        }
    }

    pub fn kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    pub fn incident(self, id: &str) -> Self {
        Self { incident: id.into(), ..self }
    }

    pub fn closed(self) -> Self {
        Self { closed: true, ..self }
    }

    pub fn begun(self, ago: Duration) -> Self {
        Self { started: self.published - ago.as_secs_f64(), ..self }
    }

    /// Published at this moment, as this message.
    pub fn published(self, at: f64, message_id: &str) -> Self {
        let started = self.started - self.published + at;
        Self { started, published: at, message_id: message_id.into(), ..self }
    }

    pub fn about(self, revision: &str) -> Self {
        Self { revision: revision.into(), ..self }
    }

    /// Another message about the same incident, published now.
    pub fn again(&self) -> Self {
        Self { published: self.clock.now(), message_id: next_message_id(), ..self.clone() }
    }

    /// Sets a field of the notification, by JSON pointer.
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        self.changes.push((pointer.into(), Some(value)));
        self
    }

    pub fn without(mut self, pointer: &str) -> Self {
        self.changes.push((pointer.into(), None));
        self
    }

    /// The body as Monitoring publishes it.
    pub fn notification(&self) -> Value {
        let Service { project, region, name, .. } = &self.service;
        let unix = |moment: f64| self.clock.at(moment).timestamp();
        let (metric, metric_labels) = match self.kind {
            Kind::Errors => (COUNT, json!({"response_code": "500", "response_code_class": "5xx"})),
            Kind::Latency => ("run.googleapis.com/request_latencies", json!({"response_code_class": "2xx"})),
            Kind::Saturation => ("run.googleapis.com/container/cpu/utilizations", json!({})),
            Kind::Ratio | Kind::SloBurn | Kind::LogMatch => ("", json!({})),
        };
        let mut condition = condition(self.kind, metric, name, project);
        condition["displayName"] = json!(format!("condition of {name}"));
        condition["name"] =
            json!(format!("projects/{project}/alertPolicies/1625606300149248055/conditions/16"));
        let mut notification = json!({"version": "1.2", "incident": {
            "condition": condition,
            "condition_name": format!("errors of {name}"),
            "ended_at": self.closed.then(|| unix(self.clock.now())),
            "incident_id": self.incident,
            "metadata": {"system_labels": {}, "user_labels": {}},
            "metric": {"displayName": "", "labels": metric_labels, "type": metric},
            "observed_value": "10.000",
            "policy_name": format!("{name} alert policy"),
            "resource": {"type": "cloud_run_revision", "labels": {
                "configuration_name": name, "location": region, "project_id": project,
                "revision_name": self.revision, "service_name": name,
            }},
            "resource_id": "",
            "resource_name": format!("{project} Cloud Run Revision"),
            "resource_type_display_name": "Cloud Run Revision",
            "scoping_project_id": project,
            "scoping_project_number": 345_678_901_234_i64,
            "severity": "No severity",
            "started_at": unix(self.started),
            "state": if self.closed { "closed" } else { "open" },
            "summary": format!("{metric} for {project} {name} is above the threshold of 0.000."),
            "threshold_value": "0",
            "url": format!("https://console.cloud.google.com/monitoring/alerting/alerts/{}", self.incident),
        }});
        for (pointer, value) in &self.changes {
            patch(&mut notification, pointer, value.clone());
        }
        notification
    }
}

fn condition(kind: Kind, metric: &str, service: &str, project: &str) -> Value {
    let filter = format!(
        "resource.type = \"cloud_run_revision\" AND resource.labels.service_name = \"{service}\" \
         AND metric.type = \"{metric}\""
    );
    let slo = format!(
        "select_slo_burn_rate(\"projects/{project}/services/{service}/serviceLevelObjectives/main\", \"3600s\")"
    );
    let aggregations = json!([{"alignmentPeriod": "60s", "perSeriesAligner": "ALIGN_DELTA"}]);
    let threshold = json!({"aggregations": aggregations, "comparison": "COMPARISON_GT", "duration": "0s", "filter": filter});
    match kind {
        Kind::LogMatch => json!({"conditionMatchedLog": {"filter": "severity>=ERROR"}}),
        Kind::SloBurn => {
            json!({"conditionThreshold": {"comparison": "COMPARISON_GT", "filter": slo, "thresholdValue": 10}})
        }
        Kind::Ratio => {
            let mut ratio = threshold;
            ratio["denominatorFilter"] = json!(filter);
            json!({ "conditionThreshold": ratio })
        }
        _ => json!({ "conditionThreshold": threshold }),
    }
}

fn worst(running: &mut Running, now: f64) -> String {
    let serving = running.status_split();
    let harm = |name: &String| {
        let health = running.revision(name).map(|revision| revision.health_at(now));
        health.map_or(0.0, |health| health.errors + health.slow)
    };
    serving.keys().max_by(|one, other| harm(one).total_cmp(&harm(other))).cloned().unwrap_or_default()
}

fn patch(document: &mut Value, pointer: &str, value: Option<Value>) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).and_then(Value::as_object_mut).unwrap();
    match value {
        Some(value) => parent.insert(key.to_owned(), value),
        None => parent.remove(key),
    };
}

fn next_message_id() -> String {
    format!("80000000000{:05}", MESSAGES.fetch_add(1, Ordering::SeqCst))
}

/// How a notification is wrapped on its way.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Envelope {
    Eventarc,
    /// Eventarc with a path.
    Events,
    Structured,
    Push,
    Unwrapped,
    Webhook,
}

/// One HTTP request to Runback.
#[derive(Clone)]
pub struct Delivery {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Delivery {
    pub fn new(path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { path: path.to_owned(), headers: headers.collect(), body: body.into() }
    }

    /// With the identity token of this account, as Cloud Run passes it on once it has checked it.
    pub fn by(mut self, account: &str) -> Self {
        let claims = json!({"email": account, "email_verified": true}).to_string();
        let token =
            format!("Bearer e30.{}.SIGNATURE_REMOVED_BY_GOOGLE", BASE64_URL_SAFE_NO_PAD.encode(claims));
        self.headers.push(("authorization".into(), token));
        self
    }
}

impl Alert {
    pub fn wrapped(&self, envelope: Envelope) -> Delivery {
        let published = self.clock.text(self.published);
        let json = ("content-type", "application/json; charset=utf-8");
        let cloud_event = [
            json,
            ("ce-specversion", "1.0"),
            ("ce-type", TYPE),
            ("ce-source", SOURCE),
            ("ce-id", self.message_id.as_str()),
            ("ce-time", published.as_str()),
        ];
        let unwrapped = [
            json,
            ("x-goog-pubsub-message-id", self.message_id.as_str()),
            ("x-goog-pubsub-publish-time", published.as_str()),
            ("x-goog-pubsub-subscription-name", "projects/demo-project/subscriptions/alerts-push"),
        ];
        let structured = [("content-type", "application/cloudevents+json; charset=utf-8")];
        match envelope {
            Envelope::Eventarc => Delivery::new("/", &cloud_event, self.message().to_string()),
            Envelope::Events => Delivery::new("/events", &cloud_event, self.message().to_string()),
            Envelope::Structured => Delivery::new("/", &structured, self.event().to_string()),
            Envelope::Push => Delivery::new("/", &[json], self.message().to_string()),
            Envelope::Unwrapped => Delivery::new("/", &unwrapped, self.notification().to_string()),
            Envelope::Webhook => Delivery::new("/webhook", &[json], self.notification().to_string()),
        }
    }

    /// Several alerts as one batch of CloudEvents.
    pub fn batched(alerts: &[Self]) -> Delivery {
        let events: Vec<Value> = alerts.iter().map(Self::event).collect();
        Delivery::new(
            "/",
            &[("content-type", "application/cloudevents-batch+json")],
            json!(events).to_string(),
        )
    }

    fn event(&self) -> Value {
        json!({
            "specversion": "1.0", "type": TYPE, "source": SOURCE, "id": self.message_id,
            "time": self.clock.text(self.published), "datacontenttype": "application/json", "data": self.message(),
        })
    }

    fn message(&self) -> Value {
        let data = BASE64_STANDARD.encode(self.notification().to_string());
        json!({
            "message": {"attributes": {}, "data": data, "messageId": self.message_id,
                        "publishTime": self.clock.text(self.published)},
            "subscription": "projects/demo-project/subscriptions/eventarc-asia-northeast1-alerts-sub-001",
        })
    }
}
