//! A snapshot: everything that one decision was, or would be, made from, as a JSON file that can be judged again.
//!
//! It holds what Runback understands of a service, never its template: environment variables often are secrets.

mod wire;

use std::time::Duration;

use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::time::Instant;

use crate::clients::cloud_run::CloudRun;
use crate::clients::google::CallError;
use crate::clients::monitoring::Monitoring;
use crate::domain::alert::{Content, Delivery};
use crate::domain::decide::{Answer, Facts, History, Round, Seen, axis_of, decide};
use crate::domain::decision::Decision;
use crate::domain::evidence::{Axis, Evidence};
use crate::domain::policy::Policy;
use crate::domain::probe::{Outcome, Probed};
use crate::domain::service::{Revision, Service, ServiceName};
use crate::intake;
use crate::record_json;

/// Reading the live service, its revisions and its evidence.
const READ: Duration = Duration::from_secs(30);

/// What one decision is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The moment of the decision.
    pub at: DateTime<Utc>,
    /// The message as it came: a notification of Monitoring, or an envelope around one.
    pub message: Value,
    /// Whether a warning's 30 minutes are over.
    pub deadline_passed: bool,
    /// The service, when the alert is about one that the policy guards.
    pub scene: Option<Scene>,
}

/// A service as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Scene {
    /// The service.
    pub service: Service,
    /// The annotation `runback.dev/state`.
    pub record: Option<String>,
    /// Its revisions.
    pub revisions: Vec<Revision>,
    /// What Monitoring counted.
    pub evidence: Evidence,
    /// What a slow request was, where slow requests were counted: the counts hold for no other limit.
    pub slow: Option<Duration>,
    /// What probes found; a snapshot of a live service has none, because taking one only reads.
    pub probes: Vec<Probed>,
}

/// A file that is no snapshot: one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SnapshotError(String);

/// Why a live service could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The message is nothing that could be judged.
    #[error("{0}")]
    Message(#[from] SnapshotError),
    /// Google did not answer, or refused.
    #[error("{0}")]
    Google(String),
}

impl Snapshot {
    /// A message that nothing has been read for yet.
    ///
    /// # Errors
    /// When it is not JSON, or nothing that Runback takes, or several messages in one.
    pub fn of_message(message: &[u8], at: DateTime<Utc>) -> Result<Self, SnapshotError> {
        let message = serde_json::from_slice(message)
            .map_err(|error| SnapshotError(format!("The alert is not JSON: {error}.")))?;
        let snapshot = Self { at, message, deadline_passed: false, scene: None };
        snapshot.delivery()?;
        Ok(snapshot)
    }

    /// Reads a snapshot file.
    ///
    /// # Errors
    /// With a sentence, when it is not JSON of our version, or lacks what a decision needs.
    pub fn parse(text: &[u8]) -> Result<Self, SnapshotError> {
        let snapshot = wire::parse(text).map_err(SnapshotError)?;
        snapshot.delivery()?;
        Ok(snapshot)
    }

    /// As a file.
    #[must_use]
    pub fn to_json(&self) -> String {
        wire::write(self)
    }

    fn delivery(&self) -> Result<Delivery, SnapshotError> {
        let body = self.message.to_string();
        let intake = intake::read(&HeaderMap::new(), body.as_bytes())
            .map_err(|malformed| SnapshotError(malformed.to_string()))?;
        match <[Delivery; 1]>::try_from(intake.deliveries) {
            Ok([delivery]) => Ok(delivery),
            Err(several) => Err(SnapshotError(format!(
                "Expected one alert, but got a batch of {}: judge them one by one.",
                several.len()
            ))),
        }
    }

    /// The decision that Runback would make by a policy.
    ///
    /// # Errors
    /// When the policy guards the service, but the snapshot has nothing of it.
    pub fn decide(&self, policy: &Policy) -> Result<Decision, SnapshotError> {
        match self.ask(policy)? {
            Asked::Decided(decision) => Ok(*decision),
            Asked::Reads(name) => Err(SnapshotError(format!("The snapshot has nothing of {name}."))),
        }
    }

    /// Reads what the decision about a live service needs. Nothing is written, and no target is probed.
    ///
    /// # Errors
    /// When Cloud Run cannot be read. That Monitoring cannot be read is a fact like others.
    pub async fn take(
        mut self,
        policy: &Policy,
        cloud_run: &CloudRun,
        monitoring: &Monitoring,
    ) -> Result<Self, TakeError> {
        let Asked::Reads(name) = self.ask(policy)? else { return Ok(self) };
        let deadline = Instant::now() + READ;
        let rules = policy.services.get(&name).cloned().unwrap_or_default();
        let Content::Alert(alert) = self.delivery()?.content else { return Ok(self) };
        let (axis, rules) = (axis_of(alert.signal), rules.slow_above(alert.condition.slower_than));
        let (document, revisions, evidence) = tokio::join!(
            cloud_run.service(&name, deadline),
            cloud_run.revisions(&name, deadline),
            monitoring.evidence(&name, axis, &rules, self.at, deadline)
        );
        let explain = |error: CallError| {
            TakeError::Google(match error {
                CallError::Denied { message, permission } => {
                    format!(
                        "Cloud Run refuses to show {name}, the permission {permission} is missing: {message}"
                    )
                }
                CallError::NotFound(message) => format!("Cloud Run does not know {name}: {message}"),
                error => format!("{name} cannot be read: {error}"),
            })
        };
        let (document, revisions) = (document.map_err(explain)?, revisions.map_err(explain)?);
        let (service, record) = (document.service, document.record);
        let counted = matches!(&evidence, Evidence::Read(readings) if readings.axis == Axis::Slowness);
        let (slow, probes) = (counted.then_some(rules.slow), Vec::new());
        self.scene = Some(Scene { service, record, revisions, evidence, slow, probes });
        Ok(self)
    }

    fn ask(&self, policy: &Policy) -> Result<Asked, SnapshotError> {
        let delivery = self.delivery()?;
        let alert = match &delivery.content {
            Content::Alert(alert) => alert,
            Content::Ping(why) | Content::NotAnIncident(why) => {
                return Ok(Asked::Decided(Box::new(Decision::not_an_incident(why))));
            }
            Content::ServiceChanged(name) => {
                let why = format!(
                    "A change of {name}, which may start a watch. It is no alert that could be judged."
                );
                return Ok(Asked::Decided(Box::new(Decision::not_an_incident(&why))));
            }
        };
        let scene = self.scene.as_ref();
        let record = record_json::parse(scene.and_then(|scene| scene.record.as_deref()))
            .map_err(|error| error.to_string());
        let mut probes = scene.map(|scene| scene.probes.clone()).unwrap_or_default();
        loop {
            let facts = Facts {
                alert,
                policy,
                now: self.at,
                published_at: delivery.published_at,
                // Whoever asks vouches for the alert.
                disputed: None,
                round: if self.deadline_passed { Round::Deadline } else { Round::First },
                known_closed: false,
                waiting_since: None,
                comes_back: true,
                // Whether people have been told of a rollback is of no interest to who asks for a judgement.
                seen: scene.map(|scene| Seen { service: &scene.service, record: &record, told: true }),
                history: scene
                    .map(|scene| History { revisions: &scene.revisions, evidence: &scene.evidence }),
                probes: &probes,
            };
            match decide(&facts) {
                Answer::Decided(decision) => return Ok(Asked::Decided(decision)),
                Answer::ReadService(name) => return Ok(Asked::Reads(name)),
                Answer::ReadHistory => unreachable!("a scene has its history"),
                Answer::Probe(wish) => {
                    let why = "was not probed: a judgement only reads".to_owned();
                    probes.push(Probed { revision: wish.revision, outcome: Outcome::Inconclusive(why) });
                }
            }
        }
    }

    /// What to say before a snapshot's decision, if its figures do not fit the policy.
    #[must_use]
    pub fn misfit(&self, policy: &Policy) -> Option<String> {
        let scene = self.scene.as_ref()?;
        let own = match self.delivery().ok()?.content {
            Content::Alert(alert) => alert.condition.slower_than,
            Content::Ping(_) | Content::NotAnIncident(_) | Content::ServiceChanged(_) => None,
        };
        let (counted, of_policy) = (scene.slow?, policy.services.get(&scene.service.name)?.slow);
        let wanted = own.unwrap_or(of_policy);
        (counted != wanted).then(|| {
            format!(
                "slow requests were counted above {}, and the {} {}",
                humantime::format_duration(counted),
                if own.is_some() { "alert's own limit is" } else { "policy's slow is" },
                humantime::format_duration(wanted)
            )
        })
    }
}

enum Asked {
    Decided(Box<Decision>),
    Reads(ServiceName),
}

#[cfg(test)]
mod tests;
