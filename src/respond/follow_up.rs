//! After the switch: a task calls back, and the target is judged on requests that it has answered since.
//!
//! A task may come twice, early, a day late or for a rollback that another one has overtaken. So its body only says
//! what to look at; what is due is read from the service and its record.

use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::{Received, Runback, check_task};
use crate::clients::cloud_run::ServiceDocument;
use crate::domain::alert::Alert;
use crate::domain::decide::limit_of;
use crate::domain::decision::Decision;
use crate::domain::evidence::{self, Axis, Evidence, Judgement, Verdict};
use crate::domain::policy::Rules;
use crate::domain::record::{Phase, Rollback};
use crate::domain::service::ServiceName;
use crate::notice::{self, Afterwards, Arrival, Notice};
use crate::record_json;

/// The first look at the target after the switch: Monitoring shows a minute's requests after up to three more.
pub(super) const FIRST_LOOK: Duration = Duration::from_secs(5 * 60);

/// The next one, when there were too few requests.
const NEXT_LOOK: Duration = Duration::from_secs(3 * 60);

/// After so many looks people are told that nothing could be told.
const MOST_LOOKS: u32 = 5;

/// A task's body.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Task {
    project: String,
    region: String,
    service: String,
    rollback: String,
    look: u32,
    slowness: bool,
    /// Whether people had been told of the rollback when the task was made.
    told: bool,
}

impl Task {
    /// The first look after a rollback.
    pub(super) fn first(name: &ServiceName, rollback: &Rollback, axis: Axis, told: bool) -> Self {
        let ServiceName { project, region, service } = name.clone();
        let (rollback, slowness) = (rollback.id.clone(), axis == Axis::Slowness);
        Self { project, region, service, rollback, look: 1, slowness, told }
    }

    /// As it travels.
    pub(super) fn body(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    fn axis(&self) -> Axis {
        if self.slowness { Axis::Slowness } else { Axis::Errors }
    }
}

impl Runback {
    /// Does what is due about a rollback, or nothing. The text says what was done.
    ///
    /// # Errors
    /// With a sentence, when the task has to come again.
    pub async fn follow_up(&self, body: &[u8], received: Received) -> Result<String, String> {
        let Ok(task) = serde_json::from_slice::<Task>(body) else {
            return Ok("nothing: the task's body cannot be read".into());
        };
        let name = ServiceName {
            project: task.project.clone(),
            region: task.region.clone(),
            service: task.service.clone(),
        };
        let Some(rules) = self.policy.services.get(&name) else {
            return Ok(format!("nothing: {name} is not guarded"));
        };
        let Some(_turn) = self.turn(&name, received.deadline()).await else {
            return Err(format!("alerts on {name} are still being handled"));
        };
        self.look_after(&task, &name, rules, received).await
    }

    async fn look_after(
        &self,
        task: &Task,
        name: &ServiceName,
        rules: &Rules,
        received: Received,
    ) -> Result<String, String> {
        let deadline = received.deadline();
        let now = received.time();
        let document = self.cloud_run.service(name, deadline).await.map_err(|error| error.to_string())?;
        let record = record_json::parse(document.record.as_deref()).map_err(|error| error.to_string());
        let Some(rollback) = record.ok().and_then(|record| record.rollbacks.into_iter().next()) else {
            return Ok("nothing: the record cannot be read or is empty".into());
        };
        if rollback.id != task.rollback || !matches!(rollback.phase, Phase::Switching | Phase::Told) {
            return Ok(format!("nothing: {} is over", task.rollback));
        }
        if !rollback.is_wanted(&document.service) {
            return Ok(format!("nothing: somebody else has moved the traffic away from {}", rollback.target));
        }
        if !rollback.has_arrived(&document.service) {
            return Err("the status does not show the switch yet".into());
        }
        if !task.told && !self.tell_late(name, &rollback, &document, received).await {
            return Err("Slack could not be told of the rollback".into());
        }
        if now - rollback.at < TimeDelta::minutes(1) {
            return Err("it is too early to judge".into());
        }
        let evidence = self.monitoring.evidence(name, task.axis(), rules, now, deadline).await;
        let Evidence::Read(readings) = evidence else { return Err("Monitoring cannot be read".into()) };
        let samples: Vec<_> = readings
            .of(&rollback.target)
            .iter()
            .filter(|sample| sample.start >= rollback.at)
            .copied()
            .collect();
        let bar = limit_of(rules, task.axis());
        let judgement = evidence::judge(&samples, bar, rules.min_requests);
        let (phase, verdict) = match judgement.verdict {
            Verdict::Confirmed => (Phase::NotHelped, Afterwards::NotHelped),
            Verdict::Healthy => (Phase::Recovered, Afterwards::Recovered),
            _ if task.look < MOST_LOOKS => return self.look_again(task, &rollback, received).await,
            _ => (Phase::Unjudged, Afterwards::Unjudged),
        };
        self.report(&document, &rollback, phase, verdict, &judgement, received).await
    }

    async fn look_again(
        &self,
        task: &Task,
        rollback: &Rollback,
        received: Received,
    ) -> Result<String, String> {
        let next = Task { look: task.look + 1, ..task.clone() };
        let Some(tasks) = &self.tasks else { return Ok("nothing: there is no queue".into()) };
        let name = check_task(rollback, next.look);
        tasks
            .create(&name, &next.body(), received.time() + NEXT_LOOK, received.deadline())
            .await
            .map_err(|error| error.to_string())?;
        Ok(format!("too few requests since the switch: look {} follows", next.look))
    }

    /// Slack was down when the rollback was made.
    async fn tell_late(
        &self,
        name: &ServiceName,
        rollback: &Rollback,
        document: &ServiceDocument,
        received: Received,
    ) -> bool {
        if self.memory.told(&rollback.id) {
            return true;
        }
        let alert = Alert::known_by(&rollback.incident);
        let decision = Decision::resumed(name, rollback.clone());
        let url = Some(document.service.url.as_str());
        let notice =
            Notice { decision: &decision, alert: &alert, service_url: url, arrival: Arrival::Resumed };
        self.tell_of(rollback, &notice, received.deadline()).await
    }

    /// Tells, then records the phase: who finds it recorded does not tell again.
    async fn report(
        &self,
        document: &ServiceDocument,
        rollback: &Rollback,
        phase: Phase,
        verdict: Afterwards,
        judgement: &Judgement,
        received: Received,
    ) -> Result<String, String> {
        let after = received.time() - rollback.at;
        let message = notice::afterwards(&document.service.name, rollback, verdict, judgement, after);
        if self.memory.first_post(&rollback.id, verdict.code())
            && !self.tell(&message, received.deadline()).await
        {
            self.memory.forget_post(&rollback.id, verdict.code());
            return Err("Slack could not be told".into());
        }
        self.record_phase(document, rollback, phase, received.deadline())
            .await
            .map_err(|error| error.to_string())?;
        tracing::warn!(rollback = rollback.id, incident = rollback.incident, "{}", message.text);
        Ok(message.text)
    }
}
