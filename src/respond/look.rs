//! Reading everything, and deciding from it.

use std::time::Duration;

use tokio::time::Instant;

use super::follow_up::next_task;
use super::{Case, Look, Received, Runback, TELL, Turn};
use crate::clients::cloud_run::ServiceDocument;
use crate::clients::google::CallError;
use crate::domain::alert::{Alert, IncidentState};
use crate::domain::decide::{Answer, History, Seen, axis_of, decide};
use crate::domain::evidence::{Axis, Evidence};
use crate::domain::overdue::Act;
use crate::domain::policy::Rules;
use crate::domain::probe::Probed;
use crate::domain::record::{Phase, Rollback};
use crate::domain::service::{Revision, ServiceName};
use crate::record_json;

/// Reading the service and its revisions.
const READ: Duration = Duration::from_secs(4);

/// Asking the queue for a task. Then people are taken not to know, and hear of it at worst twice.
const ASK_QUEUE: Duration = Duration::from_secs(1);

/// Monitoring gets this long. When it has not answered by then, it cannot be read.
pub(super) const READ_EVIDENCE: Duration = Duration::from_millis(3_500);

/// A write gets at least this long, or it is not begun.
pub(super) const WRITE_LEAST: Duration = Duration::from_millis(500);

/// Too little time is left to read the evidence. That says nothing about the service, nor about Monitoring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too little time is left to read the evidence and act on it")]
pub(super) struct OutOfTime;

/// What was read of a service. Alerts that arrived before it was read, and waited, are judged by it too.
#[derive(Default)]
pub(super) struct Reading {
    service: Option<(Instant, ServiceDocument)>,
    past: Option<Past>,
}

/// A service's revisions and their requests.
#[derive(Clone)]
struct Past {
    read_at: Instant,
    axis: Axis,
    /// What was counted as slow.
    slow: Duration,
    revisions: Vec<Revision>,
    evidence: Evidence,
}

impl Reading {
    /// Nothing of it holds any more: the service has been written to, or is to be looked at anew.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Keeps what has just been read.
    fn keep(&mut self, document: ServiceDocument) -> ServiceDocument {
        self.service = Some((Instant::now(), document.clone()));
        document
    }

    fn service(&self, received: Received) -> Option<ServiceDocument> {
        let (read_at, document) = self.service.as_ref()?;
        (*read_at >= received.instant).then(|| document.clone())
    }

    fn past(&self, received: Received, axis: Axis, slow: Duration) -> Option<Past> {
        let fits = |past: &&Past| (past.axis, past.slow) == (axis, slow) && past.read_at >= received.instant;
        self.past.as_ref().filter(fits).cloned()
    }
}

impl Runback {
    /// A service's requests. Monitoring has its full time, or is not asked.
    ///
    /// # Errors
    /// [`OutOfTime`] when that would leave no time to act on the answer.
    pub(super) async fn evidence(
        &self,
        name: &ServiceName,
        axis: Axis,
        rules: &Rules,
        received: Received,
    ) -> Result<Evidence, OutOfTime> {
        let until = Instant::now() + READ_EVIDENCE;
        if until + WRITE_LEAST > received.deadline() - TELL {
            return Err(OutOfTime);
        }
        Ok(self.monitoring.evidence(name, axis, rules, received.time(), until).await)
    }

    /// Reads the service, its revisions and its evidence at the same time, and decides as soon as it can. Nothing: what was
    /// overdue on record is done, once, and the service has to be looked at anew.
    pub(super) async fn look(
        &self,
        case: &Case<'_>,
        name: &ServiceName,
        turn: &mut Turn<'_>,
        probes: &mut Vec<Probed>,
    ) -> Result<Option<Look>, CallError> {
        let Case { alert, received, .. } = *case;
        let deadline = received.deadline() - TELL;
        let reads_end = deadline.min(Instant::now() + READ);
        let rules = self.policy.services.get(name).cloned().unwrap_or_default();
        let rules = rules.slow_above(alert.condition.slower_than);
        let axis = axis_of(alert.signal);
        // Requests of minutes ago stay what they are while this alert is looked at again.
        let counted = turn.evidence.take().filter(|(of, _)| *of == axis);
        let history = async {
            let evidence = async {
                match counted {
                    Some((_, evidence)) => Ok(evidence),
                    None => self.evidence(name, axis, &rules, received).await,
                }
            };
            let label = self.disputed(alert, name, reads_end);
            tokio::join!(self.cloud_run.revisions(name, reads_end), evidence, label)
        };
        tokio::pin!(history);
        let mut read = None;
        let shared = turn.reading.service(received);
        let past = turn.reading.past(received, axis, rules.slow).filter(|_| shared.is_some());
        let service = self.cloud_run.service(name, reads_end);
        let mut document = match shared {
            Some(document) => document,
            // An alert that has waited most likely finds the work done: one read shows it.
            None if turn.waited => turn.reading.keep(service.await?),
            None => {
                tokio::pin!(service);
                loop {
                    tokio::select! {
                        biased;
                        document = &mut service => break turn.reading.keep(document?),
                        past = &mut history, if read.is_none() => read = Some(past),
                    }
                }
            }
        };
        let record = record_json::parse(document.record.as_deref()).map_err(|error| error.to_string());
        if !std::mem::replace(&mut turn.caught_up, true)
            && let Some((rollback, act)) = self.overdue(record.as_ref().ok(), &rules, received)
            // A closed incident is the verdict itself, where the evidence agrees.
            && !(alert.state == IncidentState::Closed && matches!(act, Act::Check(_)))
        {
            turn.reading.forget();
            // Both ask Monitoring. One after the other, a Monitoring that does not answer would use up the time of both.
            let caught_up = self.catch_up(name, &rules, &rollback, act, received);
            let (caught_up, (_, evidence, _)) = match read {
                Some(read) => (caught_up.await, read),
                None => tokio::join!(caught_up, history),
            };
            caught_up?;
            turn.evidence = evidence.ok().map(|evidence| (axis, evidence));
            return Ok(None);
        }
        let told = match record.as_ref().ok().and_then(|record| record.rollbacks.first()) {
            Some(newest) => self.is_told(newest, &rules, deadline).await,
            None => false,
        };
        // The decision is about the service as it was read, also when a probe has meanwhile tagged it.
        let service = document.service.clone();
        let seen = Seen { service: &service, record: &record, told };
        if let Answer::Decided(decision) = decide(&self.facts(case, Some(seen), None, None, &[])) {
            return Ok(Some(Look { decision: *decision, document, record, revisions: Vec::new() }));
        }
        let (Past { revisions, evidence, .. }, disputed) = match past {
            Some(past) => (past, self.disputed(alert, name, reads_end).await),
            None => {
                let (revisions, evidence, disputed) = match read {
                    Some(read) => read,
                    None => history.await,
                };
                let evidence = evidence.map_err(|error| CallError::Unavailable(error.to_string()))?;
                let past =
                    Past { read_at: Instant::now(), axis, slow: rules.slow, revisions: revisions?, evidence };
                turn.reading.past = Some(past.clone());
                (past, disputed)
            }
        };
        turn.evidence = Some((axis, evidence.clone()));
        let past = History { revisions: &revisions, evidence: &evidence };
        let decision = loop {
            match decide(&self.facts(case, Some(seen), disputed.as_deref(), Some(past), probes)) {
                Answer::Decided(decision) => break decision,
                Answer::Probe(wish) => {
                    let probed = self.preflight(case, &wish, &mut document).await;
                    if wish.url.is_none() {
                        // The tag that this took is a write.
                        turn.reading.forget();
                    }
                    probes.push(probed?);
                }
                Answer::ReadService(_) | Answer::ReadHistory => unreachable!("all of it has been read"),
            }
        };
        Ok(Some(Look { decision: *decision, document, record, revisions }))
    }

    /// Why the label that lets an alert do more than its condition alone does not count. Anyone who may publish on the
    /// topic can write what an alert claims; its policy only those can label who may change alert policies.
    async fn disputed(&self, alert: &Alert, name: &ServiceName, deadline: Instant) -> Option<String> {
        let claimed = alert.allowing_label().filter(|_| self.checks_labels)?;
        let Some(policy) = &alert.policy_id else {
            return Some("the alert does not say which policy carries its label runback".into());
        };
        let project = alert.scoping_project.as_ref().unwrap_or(&name.project);
        let unread = format!("whether its policy carries the label runback = {claimed} cannot be read");
        match self.monitoring.policy_label(project, policy, "runback", deadline).await {
            Ok(Some(label)) if label == claimed => None,
            Ok(Some(label)) => Some(format!("its policy's label is runback = {label}, not {claimed}")),
            Ok(None) => Some(format!("its policy does not carry the label runback = {claimed}")),
            Err(CallError::NotFound(_)) => {
                Some(format!("{project} has no alert policy {policy} to carry its label"))
            }
            Err(CallError::Denied { permission, .. }) => {
                Some(format!("{unread}: the permission {permission} in {project} is missing"))
            }
            Err(error) => Some(format!("{unread} ({error})")),
        }
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
