//! Reading everything, and deciding from it.

use std::time::Duration;

use tokio::time::Instant;

use super::follow_up::next_task;
use super::{Case, Look, Runback, TELL};
use crate::clients::google::CallError;
use crate::domain::decide::{Answer, History, Seen, axis_of, decide};
use crate::domain::policy::Rules;
use crate::domain::probe::Probed;
use crate::domain::record::{Phase, Rollback};
use crate::domain::service::ServiceName;
use crate::record_json;

/// Reading the service and its revisions.
const READ: Duration = Duration::from_secs(4);

/// Asking the queue for a task. Then people are taken not to know, and hear of it at worst twice.
const ASK_QUEUE: Duration = Duration::from_secs(1);

/// Reading the evidence. Then the alert's word stands.
pub(super) const READ_EVIDENCE: Duration = Duration::from_millis(3_500);

impl Runback {
    /// Reads the service, its revisions and its evidence at the same time, and decides as soon as it can.
    pub(super) async fn look(
        &self,
        case: &Case<'_>,
        name: &ServiceName,
        waited: bool,
        probes: &mut Vec<Probed>,
    ) -> Result<Look, CallError> {
        let Case { alert, received, .. } = *case;
        let deadline = received.deadline() - TELL;
        let reads_end = deadline.min(Instant::now() + READ);
        let rules = self.policy.services.get(name).cloned().unwrap_or_default();
        let history = async {
            let evidence_end = deadline.min(Instant::now() + READ_EVIDENCE);
            let evidence =
                self.monitoring.evidence(name, axis_of(alert.signal), &rules, received.time(), evidence_end);
            tokio::join!(self.cloud_run.revisions(name, reads_end), evidence)
        };
        tokio::pin!(history);
        let mut past = None;
        let service = self.cloud_run.service(name, reads_end);
        // Who has waited in the queue most likely finds the work done: one read shows it.
        let mut document = if waited {
            service.await?
        } else {
            tokio::pin!(service);
            loop {
                tokio::select! {
                    document = &mut service => break document?,
                    read = &mut history, if past.is_none() => past = Some(read),
                }
            }
        };
        let record = record_json::parse(document.record.as_deref()).map_err(|error| error.to_string());
        let told = match record.as_ref().ok().and_then(|record| record.rollbacks.first()) {
            Some(newest) => self.is_told(newest, &rules, deadline).await,
            None => false,
        };
        // The decision is about the service as it was read, also when a probe has meanwhile tagged it.
        let service = document.service.clone();
        let seen = Seen { service: &service, record: &record, told };
        if let Answer::Decided(decision) = decide(&self.facts(case, Some(seen), None, &[])) {
            return Ok(Look { decision: *decision, document, record, revisions: Vec::new() });
        }
        let (revisions, evidence) = match past {
            Some(past) => past,
            None => history.await,
        };
        let revisions = revisions?;
        let past = History { revisions: &revisions, evidence: &evidence };
        let decision = loop {
            match decide(&self.facts(case, Some(seen), Some(past), probes)) {
                Answer::Decided(decision) => break decision,
                Answer::Probe(wish) => {
                    let probed = self.preflight(case, &wish, &mut document).await?;
                    probes.push(probed);
                }
                Answer::ReadService(_) | Answer::ReadHistory => unreachable!("all of it has been read"),
            }
        };
        Ok(Look { decision: *decision, document, record, revisions })
    }

    /// Whether people have been told of a rollback's last write, as it is on record now: its phase says so, we did it
    /// ourselves, or the task that is planned after that is planned.
    pub(super) async fn is_told(&self, rollback: &Rollback, rules: &Rules, deadline: Instant) -> bool {
        let next = next_task(rollback, rules);
        if rollback.phase != Phase::Switching || self.memory.told(&next) {
            return true;
        }
        let Some(tasks) = &self.tasks else { return false };
        let end = deadline.min(Instant::now() + ASK_QUEUE);
        tasks.exists(&next, end).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "whether the task after the rollback is planned cannot be read");
            false
        })
    }
}
