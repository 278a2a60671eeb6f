//! The one write, watching what becomes of it, and planning the look after it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::{Instant, sleep};

use super::follow_up::{FIRST_LOOK, Task};
use super::{Case, Ending, Look, OWNED_FOR, Runback, TELL, check_task};
use crate::answer;
use crate::clients::cloud_run::ServiceDocument;
use crate::clients::google::CallError;
use crate::clients::slack::Posted;
use crate::domain::decide::axis_of;
use crate::domain::decision::{Decision, Outcome, Plan};
use crate::domain::record::{Phase, Quarantined, Rollback};
use crate::domain::traffic;
use crate::notice::{Arrival, Notice};
use crate::record_json;

/// Waiting for the answer to a write. Then reading settles what became of it.
const WRITE: Duration = Duration::from_secs(3);

/// A switch that the status does not show after this long is reported as not arrived.
const ARRIVES_WITHIN: TimeDelta = TimeDelta::minutes(5);

impl Runback {
    /// The one write: traffic and record together.
    pub(super) async fn switch(
        &self,
        case: &Case<'_>,
        look: &Look,
    ) -> Option<(Rollback, Result<ServiceDocument, CallError>)> {
        let plan = look.decision.plan.as_ref()?;
        let record = look.record.as_ref().ok()?;
        let rollback = started(case, &look.decision, plan);
        let bad = Quarantined {
            revision: plan.culprit.name.clone(),
            // The same image on both sides: then the configuration is to blame, and the image may come back.
            digest: plan.culprit.digest.clone().filter(|_| plan.culprit.digest != plan.target.digest),
            commit: plan.culprit.commit.clone(),
            at: rollback.at,
        };
        let exists = |name: &str| look.revisions.iter().any(|revision| revision.name == name);
        let record = record.with(rollback.clone(), bad, exists);
        let list = traffic::after(&look.document.service, plan);
        let deadline = (case.received.deadline() - TELL).min(Instant::now() + WRITE);
        self.memory.keep_story(&rollback.id, &look.decision);
        let written =
            self.cloud_run.replace(&look.document, &list, &record_json::write(&record), deadline).await;
        Some((rollback, written))
    }

    /// Watches until the status shows the switch, then tells.
    pub(super) async fn follow(
        &self,
        case: &Case<'_>,
        decision: Decision,
        rollback: Rollback,
        document: ServiceDocument,
    ) -> Result<Ending, CallError> {
        let until = case.received.deadline() - TELL;
        let resumed = matches!(decision.outcome, Outcome::Resume(_));
        let mut document = document;
        let mut pause = Duration::from_millis(100);
        let arrival = loop {
            let service = &document.service;
            if rollback.has_arrived(service) {
                let written = (case.received.time() - rollback.at).to_std().unwrap_or_default();
                let after = case.received.instant.elapsed().max(written);
                let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                tracing::info!(
                    rollback = rollback.id,
                    millis,
                    "the status shows the traffic at {}",
                    rollback.target
                );
                break if resumed { Arrival::Resumed } else { Arrival::Arrived { after } };
            }
            if !rollback.is_wanted(service) {
                break Arrival::Overruled;
            }
            if case.received.time() - rollback.at > ARRIVES_WITHIN {
                break Arrival::NotYet { trouble: service.trouble.clone() };
            }
            if Instant::now() + pause >= until {
                let trouble = service.trouble.as_deref().unwrap_or("no condition says why");
                answer::log(&decision, "written, not arrived yet", None, case.received.instant.elapsed());
                if self.tasks.is_some() {
                    // Should the message never come again, the task tells.
                    self.plan_check(case, &rollback, &document, None).await;
                }
                return Ok(Ending::Later(format!(
                    "the switch is written; the status does not show it yet ({trouble})"
                )));
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
            match self.cloud_run.service(&service.name, until).await {
                Ok(read) => document = read,
                Err(error) => {
                    tracing::warn!(%error, "the service cannot be read while waiting for the switch")
                }
            }
        };
        // Another process may have taken the rollback over while the status took its time.
        if case.received.time() - rollback.at > OWNED_FOR {
            let record = record_json::parse(document.record.as_deref()).unwrap_or_default();
            let now = record.rollbacks.iter().find(|entry| entry.id == rollback.id).unwrap_or(&rollback);
            if self.is_told(now, until).await {
                return Ok(Ending::Decided(Box::new(decision)));
            }
        }
        let url = document.service.url.clone();
        let looks_again = self.tasks.is_some();
        let notice =
            Notice { decision: &decision, alert: case.alert, service_url: Some(&url), arrival, looks_again };
        let overruled = notice.arrival == Arrival::Overruled;
        let told = self.tell_of(&rollback, &notice, case.received.deadline()).await;
        if overruled && told.is_some() {
            let written =
                self.record_phase(&document, &rollback, Phase::Overruled, case.received.deadline()).await;
            if let Err(error) = written {
                tracing::warn!(%error, rollback = rollback.id, "that somebody else moved the traffic cannot be recorded");
            }
            return Ok(Ending::Decided(Box::new(decision)));
        }
        self.plan_check(case, &rollback, &document, told).await;
        Ok(Ending::Decided(Box::new(decision)))
    }

    /// Plans the look after the switch. That it is planned under its first name also says that people were told.
    /// Without a queue the record has to say so itself.
    pub(super) async fn plan_check(
        &self,
        case: &Case<'_>,
        rollback: &Rollback,
        document: &ServiceDocument,
        posted: Option<Posted>,
    ) {
        let told = posted.is_some();
        let deadline = case.received.deadline().max(Instant::now() + Duration::from_millis(500));
        if let Some(tasks) = &self.tasks {
            let task = Task::first_look(
                &document.service.name,
                rollback,
                axis_of(case.alert.signal),
                told,
                posted.and_then(|posted| posted.ts),
            );
            let name = check_task(rollback, u32::from(told));
            match tasks.create(&name, &task.body(), rollback.at + FIRST_LOOK, deadline).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!(%error, rollback = rollback.id, "the rollback stands, but no later check is planned");
                }
            }
        }
        if told && let Err(error) = self.record_phase(document, rollback, Phase::Told, deadline).await {
            tracing::warn!(%error, rollback = rollback.id, "that people were told cannot be recorded");
        }
    }

    /// Writes how far a rollback has come; the traffic stays as it was read. Nothing is decided here, so a service that
    /// has changed since is simply read again.
    pub(super) async fn record_phase(
        &self,
        document: &ServiceDocument,
        rollback: &Rollback,
        phase: Phase,
        deadline: Instant,
    ) -> Result<(), CallError> {
        let mut result = self.record_once(document, rollback, &phase, deadline).await;
        for _ in 0..2 {
            let Err(CallError::Conflict(_)) = result else { break };
            let read = self.cloud_run.service(&document.service.name, deadline).await?;
            result = self.record_once(&read, rollback, &phase, deadline).await;
        }
        result
    }

    async fn record_once(
        &self,
        document: &ServiceDocument,
        rollback: &Rollback,
        phase: &Phase,
        deadline: Instant,
    ) -> Result<(), CallError> {
        let Ok(mut record) = record_json::parse(document.record.as_deref()) else { return Ok(()) };
        let Some(entry) = record.rollbacks.iter_mut().find(|entry| entry.id == rollback.id) else {
            return Ok(());
        };
        entry.phase = phase.clone();
        let traffic = &document.service.spec_traffic;
        self.cloud_run.replace(document, traffic, &record_json::write(&record), deadline).await.map(|_| ())
    }
}

/// The record's entry for a rollback that is about to be written.
fn started(case: &Case<'_>, decision: &Decision, plan: &Plan) -> Rollback {
    let at = case.received.time();
    // Unique over processes and services: a write that lost against another process's must not look like our own,
    // and all services share the task queue.
    let chance = RandomState::new().build_hasher().finish();
    let service = decision.service.as_ref().map_or("", |name| name.service.as_str());
    Rollback {
        id: format!("rb-{}-{chance:016x}-{service}", at.timestamp()),
        incident: decision.incident.clone(),
        at,
        culprit: plan.culprit.name.clone(),
        from: plan.from.clone(),
        target: plan.target.name.clone(),
        step: 100,
        phase: Phase::Switching,
        reason: decision.reason.code().to_owned(),
    }
}
