//! The writes: the switch, a further step, the way back, and how far it has come. Each is compare-and-swap on what was
//! read, traffic and record together.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use tokio::time::Instant;

use super::{Case, Look, Runback, TELL};
use crate::clients::cloud_run::ServiceDocument;
use crate::clients::google::CallError;
use crate::domain::decide::{Round, axis_of};
use crate::domain::decision::{Decision, Plan};
use crate::domain::evidence::Axis;
use crate::domain::policy::Mode;
use crate::domain::record::{Phase, Quarantined, Record, Rollback};
use crate::domain::service::Service;
use crate::domain::traffic;
use crate::record_json;

/// Waiting for the answer to a write. Then reading settles what became of it.
const WRITE: Duration = Duration::from_secs(3);

impl Runback {
    /// The first write: traffic and record together.
    pub(super) async fn switch(
        &self,
        case: &Case<'_>,
        look: &Look,
    ) -> Option<(Rollback, Result<ServiceDocument, CallError>)> {
        let plan = look.decision.plan.as_ref()?;
        let record = look.record.as_ref().ok()?;
        let service = &look.document.service;
        let rollback = started(case, &look.decision, plan, service);
        let bad = Quarantined::of(&plan.culprit, &plan.target, rollback.at);
        let exists = |name: &str| look.revisions.iter().any(|revision| revision.name == name);
        let record = record.with(rollback.clone(), bad, exists);
        let list = traffic::after(service, &plan.culprit.name, &plan.to);
        let record = self.annotation(&look.document, record);
        let deadline = (case.received.deadline() - TELL).min(Instant::now() + WRITE);
        self.memory.keep_story(&rollback.id, &look.decision, case.alert);
        self.memory.write(&rollback);
        let written = self.cloud_run.replace(&look.document, &list, &record, deadline).await;
        Some((rollback, written))
    }

    /// The record as it is written, with what else this process has heard of the service.
    pub(super) fn annotation(&self, document: &ServiceDocument, record: Record) -> String {
        let closed = self.memory.closed(&document.service.name);
        record_json::write(&record.with_closed(closed), document.record.as_deref())
    }

    /// A further write of a rollback that is under way: `changed` says how far it has then come. It belongs to the same
    /// rollback, so neither cooldown nor budget stands against it.
    ///
    /// # Errors
    /// As [`crate::clients::cloud_run::CloudRun::replace`].
    pub(super) async fn go_on(
        &self,
        document: &ServiceDocument,
        changed: &Rollback,
        deadline: Instant,
    ) -> Result<ServiceDocument, CallError> {
        let record = record_json::parse(document.record.as_deref())
            .map_err(|error| CallError::Rejected(error.to_string()))?;
        let service = &document.service;
        let list = match changed.phase {
            Phase::Restoring => traffic::restored(service, changed),
            _ => traffic::after(service, &changed.culprit, &changed.to()),
        };
        let record = self.annotation(document, record.with_changed(changed));
        self.memory.write(changed);
        self.cloud_run.replace(document, &list, &record, deadline.min(Instant::now() + WRITE)).await
    }

    /// Writes how far a rollback has come; the traffic stays as it was read. Nothing is decided here, so a service that
    /// has changed since is simply read again, unless the rollback itself has gone on: then this is no longer so. A
    /// service that is only observed is not touched for it.
    pub(super) async fn record_phase(
        &self,
        document: &ServiceDocument,
        rollback: &Rollback,
        phase: Phase,
        deadline: Instant,
    ) -> Result<(), CallError> {
        let rules = self.policy.services.get(&document.service.name);
        if rules.is_none_or(|rules| rules.mode != Mode::Enforce) {
            return Ok(());
        }
        let mut result = self.record_once(document, rollback, &phase, deadline).await;
        for _ in 0..2 {
            let Err(CallError::Conflict(_)) = result else { break };
            let read = self.cloud_run.service(&document.service.name, deadline).await?;
            result = self.record_once(&read, rollback, &phase, deadline).await;
        }
        result
    }

    /// The same, where a refusal for good ends it: coming again would not change that, and nobody is waiting for the note.
    ///
    /// # Errors
    /// As [`Self::record_phase`], when trying again may help.
    pub(super) async fn record_or_leave(
        &self,
        document: &ServiceDocument,
        rollback: &Rollback,
        phase: Phase,
        deadline: Instant,
    ) -> Result<(), CallError> {
        match self.record_phase(document, rollback, phase, deadline).await {
            Err(error @ (CallError::Conflict(_) | CallError::Unavailable(_))) => Err(error),
            Err(error) => {
                tracing::error!(%error, rollback = rollback.id, "how far it has come cannot be recorded");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    async fn record_once(
        &self,
        document: &ServiceDocument,
        rollback: &Rollback,
        phase: &Phase,
        deadline: Instant,
    ) -> Result<(), CallError> {
        let Ok(record) = record_json::parse(document.record.as_deref()) else { return Ok(()) };
        let as_known = |entry: &&Rollback| {
            (&entry.id, entry.step, &entry.phase) == (&rollback.id, rollback.step, &rollback.phase)
        };
        let Some(entry) = record.rollbacks.iter().find(as_known) else {
            return Ok(());
        };
        let record = record.with_changed(&Rollback { phase: phase.clone(), ..entry.clone() });
        let service = &document.service;
        let record = self.annotation(document, record);
        self.cloud_run.replace(document, &service.spec_traffic, &record, deadline).await.map(|_| ())
    }
}

/// The record's entry for a rollback that is about to be written.
fn started(case: &Case<'_>, decision: &Decision, plan: &Plan, service: &Service) -> Rollback {
    let at = case.received.time();
    // Unique over processes and services: a write that lost against another process's must not look like our own,
    // and all services share the task queue.
    let chance = RandomState::new().build_hasher().finish();
    let name = decision.service.as_ref().map_or("", |name| name.service.as_str());
    let failing = decision.gates.iter().find(|gate| gate.name == "failing");
    Rollback {
        id: format!("rb-{}-{chance:016x}-{name}", at.timestamp()),
        incident: decision.incident.clone(),
        // A task that judges an alert again does not know when that came.
        alerted: (case.round == Round::First)
            .then(|| case.published_at.map_or(case.received.at, |published| published.min(case.received.at))),
        at,
        moved: None,
        culprit: plan.culprit.name.clone(),
        from: plan.from.clone(),
        latest: traffic::as_latest(service, &plan.culprit.name),
        slow: axis_of(case.alert.signal) == Axis::Slowness,
        slower_than: case.alert.condition.slower_than,
        target: plan.target.name.clone(),
        step: plan.step,
        trial: plan.trial,
        phase: Phase::Switching,
        reason: decision.reason.code().to_owned(),
        why: failing.map(|gate| gate.detail.clone()),
        by: None,
    }
}
