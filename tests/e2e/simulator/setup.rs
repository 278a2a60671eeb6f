//! What a scenario says about the world: services, their revisions, and how those behave.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use serde_json::{Value, json};

use super::documents;

pub const PROJECT: &str = "demo-project";
pub const REGION: &str = "asia-northeast1";

/// The start of the world, as the end of a period that lasts until then.
pub const NOW: Duration = Duration::ZERO;

pub type Labels = BTreeMap<String, String>;

/// When the status shows what the spec asks for.
#[derive(Clone, Copy, PartialEq)]
pub enum Reconcile {
    After(Duration),
    Never,
}

/// A service as it stands when the world begins.
#[derive(Clone)]
pub struct Service {
    pub project: String,
    pub region: String,
    pub name: String,
    /// Listed in the policy.
    pub guarded: bool,
    /// Its own keys in the policy.
    pub policy: Value,
    /// Requests per minute from now on.
    pub rpm: f64,
    /// Newest first.
    pub revisions: Vec<Revision>,
    pub annotations: Labels,
    /// `spec.traffic`, and `status.traffic` where it differs.
    pub traffic: Vec<Value>,
    pub status_traffic: Option<Vec<Value>>,
    pub reconcile: Reconcile,
    /// A deploy is in flight.
    pub deploying: bool,
    /// Whether the template that a `GET` shows names its revision.
    pub template_named: bool,
    /// Cloud Run has forgotten what its stored template was: every echoed name is refused, every missing one mints.
    pub refuses_echoed_names: bool,
    /// Whether a revision that never served is not called the latest ready one, as was seen live.
    pub ready_once_served: bool,
    pub page_size: usize,
}

impl Service {
    pub fn named(name: &str) -> Self {
        Self {
            project: PROJECT.into(),
            region: REGION.into(),
            name: name.into(),
            guarded: true,
            policy: json!({}),
            rpm: 60.0,
            revisions: Vec::new(),
            annotations: Labels::new(),
            traffic: Vec::new(),
            status_traffic: None,
            reconcile: Reconcile::After(Duration::ZERO),
            deploying: false,
            template_named: true,
            refuses_echoed_names: false,
            ready_once_served: false,
            page_size: 1000,
        }
    }

    /// Revisions are given newest first. Until `traffic` says otherwise, the newest serves alone.
    pub fn revision(mut self, revision: Revision) -> Self {
        if self.traffic.is_empty() {
            self.traffic = vec![target(&revision.name, 100)];
        }
        self.revisions.push(revision);
        self
    }

    /// Percent by revision, or by `LATEST`.
    pub fn traffic(self, split: &[(&str, u32)]) -> Self {
        self.traffic_targets(split.iter().map(|(name, percent)| target(name, *percent)).collect())
    }

    /// Traffic as Knative writes it, for tags and anything unusual.
    pub fn traffic_targets(mut self, targets: Vec<Value>) -> Self {
        self.traffic = targets;
        self
    }

    pub fn annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    /// Our own record, as text.
    pub fn record(self, record: &str) -> Self {
        self.annotation(documents::STATE, record)
    }

    pub fn policy(mut self, keys: Value) -> Self {
        self.policy = keys;
        self
    }
}

/// A traffic target as Knative writes it.
pub fn target(name: &str, percent: u32) -> Value {
    match name {
        "LATEST" => json!({"latestRevision": true, "percent": percent}),
        _ => json!({"revisionName": name, "percent": percent}),
    }
}

/// How a revision answers, from a moment on.
#[derive(Clone, Copy)]
pub struct Health {
    pub since: f64,
    /// Shares of all requests: 5xx, 4xx, and slow ones (which succeed).
    pub errors: f64,
    pub client_errors: f64,
    pub slow: f64,
}

/// Requests that a revision served before the world began.
#[derive(Clone)]
pub struct Served {
    pub from: f64,
    pub to: f64,
    pub rpm: Option<f64>,
    pub errors: Option<f64>,
    pub slow: Option<f64>,
}

impl Served {
    /// A period from so long ago to so long ago. It goes by the revision's own figures until told otherwise.
    pub fn ago(period: Range<Duration>) -> Self {
        Self {
            from: -period.start.as_secs_f64(),
            to: -period.end.as_secs_f64(),
            rpm: None,
            errors: None,
            slow: None,
        }
    }

    pub fn rpm(self, rpm: f64) -> Self {
        Self { rpm: Some(rpm), ..self }
    }

    pub fn errors(self, share: f64) -> Self {
        Self { errors: Some(share), ..self }
    }

    pub fn slow(self, share: f64) -> Self {
        Self { slow: Some(share), ..self }
    }
}

impl From<Range<Duration>> for Served {
    fn from(period: Range<Duration>) -> Self {
        Self::ago(period)
    }
}

#[derive(Clone)]
pub struct Revision {
    pub name: String,
    pub created: f64,
    /// Empty until the revision belongs to a service, unless the scenario says what it is.
    pub image: String,
    pub digest: String,
    pub labels: Labels,
    pub ready: bool,
    pub served: Vec<Served>,
    /// Oldest first, never empty.
    pub health: Vec<Health>,
}

impl Revision {
    /// A healthy revision, created just now.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.into(),
            created: 0.0,
            image: String::new(),
            digest: String::new(),
            labels: Labels::new(),
            ready: true,
            served: Vec::new(),
            health: vec![Health { since: 0.0, errors: 0.0, client_errors: 0.0, slow: 0.0 }],
        }
    }

    pub fn age(mut self, age: Duration) -> Self {
        self.created = -age.as_secs_f64();
        self
    }

    pub fn errors(mut self, share: f64) -> Self {
        self.health[0].errors = share;
        self
    }

    pub fn client_errors(mut self, share: f64) -> Self {
        self.health[0].client_errors = share;
        self
    }

    pub fn slow(mut self, share: f64) -> Self {
        self.health[0].slow = share;
        self
    }

    pub fn served(mut self, period: impl Into<Served>) -> Self {
        self.served.push(period.into());
        self
    }

    pub fn not_ready(mut self) -> Self {
        self.ready = false;
        self
    }

    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    pub fn image(mut self, image: &str) -> Self {
        self.image = image.into();
        self
    }

    pub fn digest(mut self, digest: &str) -> Self {
        self.digest = digest.into();
        self
    }

    pub fn health_at(&self, moment: f64) -> &Health {
        let begun = self.health.iter().rfind(|health| health.since <= moment);
        begun.unwrap_or(&self.health[0])
    }
}
