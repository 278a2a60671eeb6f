//! What fired: one notification of a Cloud Monitoring incident, as far as Runback understands it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::service::ServiceName;

/// An incident notification (schema 1.2 or 1.1), or the console's test notification.
///
/// Every field that Google may leave out is optional: labels depend on the condition's aggregation, and a
/// notification that Google could not render as 1.2 arrives as 1.1 without resource, metric and condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// `incident_id`. Empty when the payload has none.
    pub incident: String,
    /// Whether the incident is open, closed or something that we do not know.
    pub state: IncidentState,
    /// Whether this is the console's "Send test notification" (`version` is `"test"`).
    pub is_test: bool,
    /// When the incident began (`started_at`, Unix seconds on the wire). `None` for 0 and for prose.
    pub started_at: Option<DateTime<Utc>>,
    /// The monitored resource's type, for example `cloud_run_revision`. Empty when the payload has no resource.
    pub resource_type: String,
    /// The monitored resource's labels. Which ones are there depends on the condition's aggregation.
    pub resource_labels: BTreeMap<String, String>,
    /// The alert policy's user labels (`policy_user_labels`).
    pub policy_labels: BTreeMap<String, String>,
    /// The alert policy's id, from the condition's resource name. An alert in schema 1.1 has none.
    pub policy_id: Option<String>,
    /// The project that the alert policy lives in (`scoping_project_id`).
    pub scoping_project: Option<String>,
    /// What the condition measures, or the policy's user label `runback_signal` says that it does.
    pub signal: Signal,
    /// What else the condition says.
    pub condition: Condition,
    /// The alert policy's display name. Text of the policy's author: escape it.
    pub policy_name: String,
    /// The condition's display name. Text of the policy's author: escape it.
    pub condition_name: String,
    /// Google's summary. Prose: shown to people, never decided on.
    pub summary: String,
    /// The incident's page in the console. Untrusted: shown as a link only when it leads to Google's console.
    pub url: String,
}

/// The alert policy's condition, as far as its text says more than what it measures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// Whether it fires because there are too many failed or slow requests: it, or the series that fired, selects 5xx
    /// or latency, and it fires above its threshold. Too many 4xx, or too few requests, are no such thing.
    pub accuses: bool,
    /// Whether it is a query on one of Cloud Run's metrics: its series need not have a resource that says so.
    pub queries_cloud_run: bool,
    /// `project_id`, `location` and `service_name`, where its text pins them to one value.
    pub labels: BTreeMap<String, String>,
    /// A latency condition's own limit, where it has one: its requests are slow above that, whatever the policy says.
    pub slower_than: Option<Duration>,
}

/// `incident.state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IncidentState {
    /// `open`, in any case.
    Open,
    /// `closed`, in any case.
    Closed,
    /// Anything else, or nothing: never acted on.
    Unknown(String),
}

/// What the alert's condition measures, and so on which axis the evidence is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// `run.googleapis.com/request_count`, or a ratio of it: judged by the share of 5xx answers.
    Errors,
    /// `run.googleapis.com/request_latencies`: judged by the share of slow requests.
    Latency,
    /// A burn rate (`select_slo_burn_rate`, or written out as a query): a small error ratio that lasts.
    SlowBurn,
    /// No alert at all: Runback watches a deploy. Judged like [`Signal::Errors`], with no alert to trust.
    Deploy,
    /// Anything that requests need not show: uptime, log match, saturation, absence, an unknown metric.
    Other,
}

/// The alert policy's user label `runback`: what its author wants of an alert on [`Signal::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyWish {
    /// `runback = rollback`: the alert counts as confirmed.
    Rollback,
    /// `runback = always`: the same, also when requests are proven well and the alert says that they are not.
    Always,
    /// `runback = critical`: it counts as confirmed and critical.
    Critical,
    /// `runback = notify`: it is only ever explained.
    Notify,
}

impl Alert {
    /// An alert of which nothing is known any more but its incident.
    #[must_use]
    pub fn known_by(incident: &str) -> Self {
        Self {
            incident: incident.to_owned(),
            state: IncidentState::Unknown(String::new()),
            is_test: false,
            started_at: None,
            resource_type: String::new(),
            resource_labels: BTreeMap::new(),
            policy_labels: BTreeMap::new(),
            policy_id: None,
            scoping_project: None,
            signal: Signal::Other,
            condition: Condition::default(),
            policy_name: String::new(),
            condition_name: String::new(),
            summary: String::new(),
            url: String::new(),
        }
    }

    /// The wish in the policy's user labels. An unknown value is no wish.
    #[must_use]
    pub fn wish(&self) -> Option<PolicyWish> {
        match self.policy_labels.get("runback")?.as_str() {
            "rollback" => Some(PolicyWish::Rollback),
            "always" => Some(PolicyWish::Always),
            "critical" => Some(PolicyWish::Critical),
            "notify" => Some(PolicyWish::Notify),
            _ => None,
        }
    }

    /// The label `runback`, where it lets this alert do more than its condition alone.
    #[must_use]
    pub fn allowing_label(&self) -> Option<&str> {
        let value = self.policy_labels.get("runback")?;
        self.wish().is_some_and(|wish| wish != PolicyWish::Notify).then_some(value)
    }

    /// Whether it measures what requests show as well: an uptime check is a request.
    #[must_use]
    pub fn is_contradicted_by_requests(&self) -> bool {
        self.signal == Signal::Other && self.resource_type == "uptime_url"
    }

    /// The revision that the alert names, if its condition kept the label.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        self.resource_labels.get("revision_name").map(String::as_str).filter(|name| !name.is_empty())
    }
}

/// How a notification reached us: what the acknowledgement rules need to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The transport's message id (`ce-id`, `messageId`), for the log.
    pub message_id: Option<String>,
    /// When the message was published. Decides how long a refusal is worth repeating.
    pub published_at: Option<DateTime<Utc>>,
    /// What the message carries.
    pub content: Content,
}

/// What a well delivered message carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// An incident notification.
    Alert(Box<Alert>),
    /// Somebody has changed a service, or its pipeline says so: if a revision has begun to serve, it is watched.
    ServiceChanged(ServiceName),
    /// Monitoring's test of a new channel, or the heartbeat, which shows that alerts would arrive: what is overdue at any
    /// service is done. The text is what is logged, and counted.
    Ping(String),
    /// No incident: acknowledged, logged, nothing touched. The text says in one sentence what it is instead.
    NotAnIncident(String),
}
