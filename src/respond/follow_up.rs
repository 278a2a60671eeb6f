//! What is due later: Cloud Tasks calls back, and the target is judged, or a warning is judged again.
//!
//! A task may come twice, early, a day late or for a rollback that another one has overtaken. So its body only says
//! what to look at; what is due is read from the service and its record.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::pins::Pin;
use super::watch::{Look, Settle};
use super::{Case, Ending, Received, Runback, check_task};
use crate::clients::cloud_run::ServiceDocument;
use crate::domain::afterwards::judge_target;
use crate::domain::alert::{Alert, IncidentState, Signal};
use crate::domain::decision::Decision;
use crate::domain::evidence::{Axis, Evidence, Judgement, Verdict};
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

/// An alert that nothing could be told of is judged once more after this long: Monitoring sends it only once, and what
/// has failed for four of ten minutes when it comes may have failed for nine by then.
pub(super) const ONCE_MORE: Duration = Duration::from_secs(5 * 60);

/// A warning is judged again after this long (the users' handbook: to be decided within 30 minutes).
pub(super) const DEADLINE: Duration = Duration::from_secs(30 * 60);

/// A task's body.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Task {
    project: String,
    region: String,
    service: String,
    /// The Slack message to answer to, where there is one.
    thread: Option<String>,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
enum What {
    /// Judge a rollback's target.
    Check(Check),
    /// Judge an alert again: a warning whose patience is over, or one that came too early to tell.
    Judge {
        incident: String,
        revision: Option<String>,
        slowness: bool,
        deadline: bool,
        /// Whether there is no alert, only a deploy that was watched.
        #[serde(default)]
        watched: bool,
    },
    /// Look at a deploy that is watched.
    Watch(Look),
    /// Look after a service that is pinned.
    Pin(Pin),
    /// Look whether a change has been rolled out, and what there is to watch then.
    Settle(Settle),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Check {
    rollback: String,
    look: u32,
    /// Whether the incident is about slow requests.
    slowness: bool,
    /// Whether people had been told of the rollback when the task was made.
    told: bool,
}

impl Task {
    fn on(name: &ServiceName, thread: Option<String>, what: What) -> Self {
        let ServiceName { project, region, service } = name.clone();
        Self { project, region, service, thread, what }
    }

    /// The first look after a rollback. `told` is the message that people were told by, if they were.
    pub(super) fn first_look(
        name: &ServiceName,
        rollback: &Rollback,
        axis: Axis,
        told: bool,
        thread: Option<String>,
    ) -> Self {
        let (rollback, slowness) = (rollback.id.clone(), axis == Axis::Slowness);
        Self::on(name, thread, What::Check(Check { rollback, look: 1, slowness, told }))
    }

    /// A second judgement; with `deadline`, the end of a warning's patience.
    pub(super) fn judge(name: &ServiceName, alert: &Alert, deadline: bool) -> Self {
        let (incident, revision) = (alert.incident.clone(), alert.revision().map(str::to_owned));
        let slowness = alert.signal == Signal::Latency;
        let watched = alert.signal == Signal::Deploy;
        Self::on(name, None, What::Judge { incident, revision, slowness, deadline, watched })
    }

    /// A look at a deploy.
    pub(super) fn watch(name: &ServiceName, look: Look) -> Self {
        Self::on(name, None, What::Watch(look))
    }

    /// The daily look at a pinned service.
    pub(super) fn pin(name: &ServiceName, thread: Option<&str>, pin: Pin) -> Self {
        Self::on(name, thread.map(str::to_owned), What::Pin(pin))
    }

    /// A look whether a change has been rolled out.
    pub(super) fn settle(name: &ServiceName, settle: Settle) -> Self {
        Self::on(name, None, What::Settle(settle))
    }

    /// As it travels.
    pub(super) fn body(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Runback {
    /// Does what is due, or nothing. The text says what was done.
    ///
    /// # Errors
    /// With a sentence, when the task has to come again.
    pub async fn follow_up(&self, body: &[u8], received: Received) -> Result<String, String> {
        let Ok(task) = serde_json::from_slice::<Task>(body) else {
            return Ok("nothing: the task's body cannot be read".into());
        };
        let Task { project, region, service, .. } = task.clone();
        let name = ServiceName { project, region, service };
        let Some(rules) = self.policy.services.get(&name) else {
            return Ok(format!("nothing: {name} is not guarded"));
        };
        match &task.what {
            What::Check(check) => {
                let Some(_turn) = self.turn(&name, received.deadline()).await else {
                    return Err(format!("alerts on {name} are still being handled"));
                };
                let done = self.check(&task, check, &name, rules, received).await?;
                self.look_after_pin(&name, task.thread.as_deref(), received).await;
                Ok(done)
            }
            What::Pin(pin) => {
                let Some(_turn) = self.turn(&name, received.deadline()).await else {
                    return Err(format!("alerts on {name} are still being handled"));
                };
                self.daily(&name, pin, task.thread.as_deref(), received).await
            }
            What::Watch(look) => self.look_at(&name, look, received).await,
            What::Settle(settle) => self.settle(&name, settle, received).await,
            What::Judge { incident, revision, slowness, deadline, watched } => {
                let signal = match (slowness, watched) {
                    (true, _) => Signal::Latency,
                    (false, true) => Signal::Deploy,
                    (false, false) => Signal::Errors,
                };
                let alert = Alert { signal, ..known_of(&name, incident, revision.as_deref()) };
                let (deadline_passed, second_look) = (*deadline, true);
                let case = Case { deadline_passed, second_look, ..Case::task(&alert, received) };
                match self.answer(&case).await {
                    Ending::Decided(decision) => Ok(decision.to_string()),
                    Ending::Later(why) => Err(why),
                }
            }
        }
    }

    async fn check(
        &self,
        task: &Task,
        check: &Check,
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
        if rollback.id != check.rollback || !rollback.awaits_verdict() {
            return Ok(format!("nothing: {} is over", check.rollback));
        }
        if !rollback.is_wanted(&document.service) {
            self.record_phase(&document, &rollback, Phase::Overruled, deadline)
                .await
                .map_err(|error| error.to_string())?;
            return Ok(format!(
                "nothing to judge: somebody else has moved the traffic since {}",
                rollback.id
            ));
        }
        if !rollback.has_arrived(&document.service) {
            return Err("the status does not show the switch yet".into());
        }
        if !check.told && !self.tell_late(name, &rollback, &document, received).await {
            return Err("Slack could not be told of the rollback".into());
        }
        if now - rollback.at < TimeDelta::minutes(1) {
            return Err("it is too early to judge".into());
        }
        let axis = if check.slowness { Axis::Slowness } else { Axis::Errors };
        let evidence = self.monitoring.evidence(name, axis, rules, now, deadline).await;
        let Evidence::Read(readings) = evidence else { return Err("Monitoring cannot be read".into()) };
        let judgement = judge_target(&readings, &rollback, rules);
        let verdict = match judgement.verdict {
            Verdict::Confirmed => Afterwards::NotHelped,
            Verdict::Healthy => Afterwards::Recovered,
            _ if check.look < MOST_LOOKS => {
                return self.look_again(task, check, &rollback, &document, received).await;
            }
            _ => Afterwards::Unjudged,
        };
        let thread = task.thread.as_deref();
        self.report(&document, &rollback, verdict, &judgement, thread, received).await
    }

    async fn look_again(
        &self,
        task: &Task,
        check: &Check,
        rollback: &Rollback,
        document: &ServiceDocument,
        received: Received,
    ) -> Result<String, String> {
        let next = Check { look: check.look + 1, told: true, ..check.clone() };
        let Some(tasks) = &self.tasks else { return Ok("nothing: there is no queue".into()) };
        let name = check_task(rollback, next.look);
        let look = next.look;
        let task = Task { what: What::Check(next), ..task.clone() };
        tasks
            .create(&name, &task.body(), received.time() + NEXT_LOOK, received.deadline())
            .await
            .map_err(|error| error.to_string())?;
        // This task's name will be gone, and with it the sign that people were told.
        if rollback.phase == Phase::Switching {
            let recorded = self.record_phase(document, rollback, Phase::Told, received.deadline()).await;
            recorded.map_err(|error| error.to_string())?;
        }
        Ok(format!("too few requests since the switch: look {look} follows"))
    }

    /// Slack was down when the rollback was made.
    async fn tell_late(
        &self,
        name: &ServiceName,
        rollback: &Rollback,
        document: &ServiceDocument,
        received: Received,
    ) -> bool {
        if self.is_told(rollback, received.deadline()).await {
            return true;
        }
        let alert = Alert::known_by(&rollback.incident);
        let decision = Decision::resumed(name, rollback.clone());
        let url = Some(document.service.url.as_str());
        let notice = Notice {
            decision: &decision,
            alert: &alert,
            service_url: url,
            arrival: Arrival::Resumed,
            looks_again: true,
        };
        self.tell_of(rollback, &notice, received.deadline()).await.is_some()
    }

    /// Tells how a rollback ended, then records it: who finds it recorded does not tell again.
    pub(super) async fn report(
        &self,
        document: &ServiceDocument,
        rollback: &Rollback,
        verdict: Afterwards,
        judgement: &Judgement,
        thread: Option<&str>,
        received: Received,
    ) -> Result<String, String> {
        let after = received.time() - rollback.at;
        let message = notice::afterwards(&document.service.name, rollback, verdict, judgement, after);
        if !self.tell_once((&rollback.id, verdict.code()), || &message, thread, received.deadline()).await {
            return Err("Slack could not be told".into());
        }
        self.record_phase(document, rollback, verdict.phase(), received.deadline())
            .await
            .map_err(|error| error.to_string())?;
        tracing::warn!(rollback = rollback.id, incident = rollback.incident, "{}", message.text);
        Ok(message.text)
    }
}

/// The alert that a task is about, as far as judging it again needs it.
pub(super) fn known_of(name: &ServiceName, incident: &str, revision: Option<&str>) -> Alert {
    let mut labels = BTreeMap::from([
        ("project_id".to_owned(), name.project.clone()),
        ("location".to_owned(), name.region.clone()),
        ("service_name".to_owned(), name.service.clone()),
    ]);
    labels.extend(revision.map(|revision| ("revision_name".to_owned(), revision.to_owned())));
    Alert {
        state: IncidentState::Open,
        resource_type: "cloud_run_revision".into(),
        resource_labels: labels,
        ..Alert::known_by(incident)
    }
}
