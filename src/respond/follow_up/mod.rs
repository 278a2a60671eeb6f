//! What is due later: Cloud Tasks calls back, and a rollback is looked at again, or an alert is judged again.
//!
//! A task may come twice, early, a day late or for a rollback that another one has overtaken. So its body only says
//! what to look at; what is due is read from the service and its record.

mod due;
mod task;

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::{Case, Ending, Received, Runback, TELL};
use crate::answer;
use crate::clients::google::CallError;
use crate::domain::alert::{Alert, Condition, IncidentState};
use crate::domain::decide::Round;
use crate::domain::decision::Reason;
use crate::domain::evidence::Axis;
use crate::domain::overdue::Act;
use crate::domain::policy::Rules;
use crate::domain::record::Rollback;
use crate::domain::service::ServiceName;
use crate::domain::steps;
pub(super) use due::refused;
use task::What;
pub(super) use task::{
    LONGEST_NAME, Task, WARNING, check_task, judge_task, next_task, step_task, watch_task,
};

/// The queue's clock and ours may differ.
const CLOCKS: TimeDelta = TimeDelta::seconds(5);

impl Runback {
    /// Does what is due, or nothing. The text says what was done.
    ///
    /// # Errors
    /// With a sentence, when the task has to come again.
    pub async fn follow_up(&self, body: &[u8], received: Received) -> Result<String, String> {
        let Some(task) = Task::read(body) else {
            return Ok("nothing: the task's body cannot be read".into());
        };
        let name = task.service();
        let Some(rules) = self.policy.services.get(&name) else {
            if task.rollback().is_some() {
                let why = "the policy no longer lists it";
                return self.lost(&task, why, Reason::NotGuarded, received).await;
            }
            return Ok(format!("nothing: {name} is not guarded"));
        };
        if let Some((rollback, axis)) = task.rollback() {
            let Some(mut turn) = self.turn(&name, received.deadline()).await else {
                return Err(format!("alerts on {name} are still being handled"));
            };
            // What follows writes to the service.
            turn.reading.forget();
            let done = self.look_after(&task, (rollback, axis), &name, rules, received).await?;
            self.show_phase(&name, rollback, task.thread.as_deref(), received.deadline()).await;
            self.look_after_pin(&name, task.thread.as_deref(), received).await;
            return Ok(done);
        }
        let judge = match &task.what {
            What::Judge(judge) => judge,
            What::Deploy(look) => return self.look_at(&name, look, received).await,
            What::Settle(settle) => return self.settle(&name, settle, received).await,
            What::Pin(pin) => {
                let Some(mut turn) = self.turn(&name, received.deadline()).await else {
                    return Err(format!("alerts on {name} are still being handled"));
                };
                turn.reading.forget();
                return self.daily(&name, pin, task.thread.as_deref(), received).await;
            }
            What::Rights => {
                let found = self.check_rights(&name, received).await;
                return found.map_err(|error| error.to_string());
            }
            What::Check(_) | What::Step(_) | What::Watch(_) => {
                return Ok("nothing: the task is about no alert".into());
            }
        };
        let condition = Condition { slower_than: judge.slower_than(), ..Condition::default() };
        let known = known_of(&name, &judge.incident, judge.revision.as_deref());
        let alert = Alert { signal: judge.signal(), condition, ..known };
        let over = judge.deadline && self.deadline_is_over(&name, &judge.incident, received).await?;
        let round = if over { Round::Deadline } else { Round::Again };
        let case = Case { looks: judge.look, ..Case::later(&alert, received, round) };
        match self.answer(&case).await {
            Ending::Decided(decision) => {
                answer::log(&decision, "decided", None, received.instant.elapsed());
                Ok(decision.to_string())
            }
            Ending::Later(why) => Err(why),
        }
    }
}

impl Runback {
    /// Does an act of a rollback whose task does not come.
    ///
    /// # Errors
    /// With a sentence, when it cannot be done now.
    pub(super) async fn act_late(
        &self,
        name: &ServiceName,
        rules: &Rules,
        rollback: &Rollback,
        act: Act,
        received: Received,
    ) -> Result<String, String> {
        let axis = if rollback.slow { Axis::Slowness } else { Axis::Errors };
        let thread = self.memory.thread(&rollback.id);
        let told = self.is_told(rollback, rules, received.deadline() - TELL).await;
        let task = match act {
            Act::Watch => Task::watch(name, rollback, axis, 1, thread),
            Act::Step => {
                let next = steps::next(rules, rollback.share(), rollback.step);
                Task::step(name, rollback, axis, next, told, thread)
            }
            Act::Check(look) => Task::check(name, rollback, axis, look, told, thread),
        };
        let done = self.look_after(&task, (&rollback.id, axis), name, rules, received).await?;
        self.show_phase(name, &rollback.id, task.thread.as_deref(), received.deadline()).await;
        Ok(done)
    }

    /// Whether people were warned of an incident half an hour ago. The queue says so, which only Runback puts tasks into:
    /// the body of a task is anybody's word.
    async fn deadline_is_over(
        &self,
        name: &ServiceName,
        incident: &str,
        received: Received,
    ) -> Result<bool, String> {
        let Some(tasks) = &self.tasks else { return Ok(false) };
        match tasks.due(&judge_task(WARNING, name, incident), received.deadline() - TELL).await {
            Ok(due) => Ok(due.is_some_and(|due| due <= received.time() + CLOCKS)),
            Err(CallError::Unavailable(why)) => Err(why),
            Err(error) => {
                tracing::error!(%error, "whether a warning's deadline is over cannot be read: it is taken not to be");
                Ok(false)
            }
        }
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
