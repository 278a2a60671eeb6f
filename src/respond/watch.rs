//! Watching a deploy: a judgement a minute for ten minutes (the users' handbook), by the gates that alerts pass, without
//! one. A chain of named tasks; each look creates the next, and a name can be used once.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::follow_up::{LONGEST_NAME, Task, known_of};
use super::{Case, Ending, Received, Runback, TELL};
use crate::answer;
use crate::clients::google::CallError;
use crate::clients::tasks::Tasks;
use crate::domain::alert::{Alert, Signal};
use crate::domain::decision::{Decision, Gate, Outcome, Reason};
use crate::domain::evidence::Axis;
use crate::domain::service::ServiceName;
use crate::domain::watch::{self, Subject};
use crate::record_json;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(60);

/// So many in all.
const LOOKS: u32 = 10;

/// A change that is still being rolled out is looked at again after this long …
const SETTLE: Duration = Duration::from_secs(30);

/// … and so often: as long as Cloud Run lets a container take to start, twice over.
const MOST_SETTLES: u32 = 20;

/// Look at a revision.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Look {
    revision: String,
    /// Its percent of the traffic when the watch began: a canary that is given more is watched anew.
    percent: u8,
    /// How often it has been rolled back before.
    #[serde(default)]
    returns: usize,
    look: u32,
    /// The reasons that people have been told of.
    #[serde(default)]
    told: Vec<String>,
}

/// Look whether a change has been rolled out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Settle {
    generation: i64,
    look: u32,
}

impl Look {
    /// The name of its task. It says of what people know: a body is anybody's word, and a name that waits in the queue is
    /// ours.
    fn task(&self, name: &ServiceName) -> String {
        let incident = watch::incident(&self.revision, self.returns);
        let revision = incident.strip_prefix("watch-").unwrap_or(&incident);
        named(name, &[revision, &self.percent.to_string(), &self.told.join("-")], self.look)
    }
}

impl Runback {
    /// A service has changed: watches what has begun to take traffic by that, now or soon.
    pub(super) async fn changed(
        &self,
        name: &ServiceName,
        published_at: Option<DateTime<Utc>>,
        received: Received,
    ) -> Ending {
        let nothing = |reason, why: String| Ending::Decided(Box::new(noted(name, reason, why)));
        if !self.policy.services.contains_key(name) {
            return nothing(Reason::NotGuarded, format!("the policy does not list {name}"));
        }
        match self.begin(name, 0, received).await {
            Ok(decision) => Ending::Decided(Box::new(decision)),
            Err(CallError::Denied { message, permission }) => {
                let alert = Alert::known_by("");
                let case = Case { published_at, ..Case::new(&alert, received) };
                self.denied(&case, name, &message, &permission).await
            }
            Err(CallError::NotFound(why)) if !self.is_gone(name, published_at, received) => {
                Ending::Later(format!("Cloud Run does not find the service: {why}"))
            }
            Err(CallError::NotFound(why) | CallError::Rejected(why)) => {
                nothing(Reason::NothingToWatch, format!("it cannot be watched: {why}"))
            }
            Err(error) => Ending::Later(error.to_string()),
        }
    }

    /// Reads the service and creates the first task: of the watch, or one that looks again whether there is anything to
    /// watch. `settles` is how often that has been looked for.
    async fn begin(
        &self,
        name: &ServiceName,
        settles: u32,
        received: Received,
    ) -> Result<Decision, CallError> {
        let nothing = |why: String| Ok(noted(name, Reason::NothingToWatch, why));
        let deadline = received.deadline();
        let (document, revisions) =
            tokio::join!(self.cloud_run.service(name, deadline), self.cloud_run.revisions(name, deadline));
        let (mut document, revisions) = (document?, revisions?);
        let mut record = record_json::parse(document.record.as_deref()).map_err(|error| error.to_string());
        let rules = self.policy.services.get(name).cloned().unwrap_or_default();
        if self.overdue(record.as_ref().ok(), &rules, received).is_some() {
            let Some(mut turn) = self.turn(name, deadline).await else {
                return Err(CallError::Unavailable("alerts on the service are still being handled".into()));
            };
            turn.reading.forget();
            document = self.service_caught_up(name, received).await?;
            record = record_json::parse(document.record.as_deref()).map_err(|error| error.to_string());
        }
        if let Err(why) = self.tell_of_waiting(&document, Some(&revisions), None, received).await {
            return Err(CallError::Unavailable(why));
        }
        let Some(tasks) = &self.tasks else {
            tracing::warn!("a deploy of {name} is not watched: RUNBACK_TASKS_QUEUE is unset");
            return nothing("without RUNBACK_TASKS_QUEUE there are no later looks".into());
        };
        let subject = match watch::subject(&document.service, &record, &revisions) {
            Subject::IfNew(revision) => {
                let evidence = self.evidence(name, Axis::Errors, &rules, received).await;
                let evidence = evidence.map_err(|late| CallError::Unavailable(late.to_string()))?;
                match watch::is_new(&evidence, &revision.name, received.time()) {
                    true => Subject::Revision(revision),
                    false => Subject::Nothing(format!(
                        "its newest revision takes no traffic, and {} did before",
                        revision.name
                    )),
                }
            }
            subject => subject,
        };
        match subject {
            Subject::IfNew(_) => unreachable!("it has been looked at"),
            Subject::Nothing(why) => nothing(why),
            Subject::Unsettled if settles >= MOST_SETTLES => {
                nothing("the change has not been rolled out for ten minutes".into())
            }
            Subject::Unsettled => {
                let settle = Settle { generation: document.generation(), look: settles + 1 };
                let id = named(name, &["settle", &settle.generation.to_string()], settle.look);
                let due = received.time() + SETTLE;
                let created = tasks.create(&id, &Task::settle(name, settle).body(), due, deadline).await;
                if let Some(why) = refused(created)? {
                    return nothing(why);
                }
                let why = "the change is being rolled out; what serves then is watched";
                Ok(noted(name, Reason::Watching, why.into()))
            }
            Subject::Revision(revision) => {
                let percent = document.service.split().get(&revision.name).copied().unwrap_or_default();
                let returns = watch::returns(&record, &revision.name);
                let look =
                    Look { revision: revision.name.clone(), percent, returns, look: 1, told: Vec::new() };
                if let Some(why) = refused(self.plan_look(tasks, name, look, received).await)? {
                    return nothing(why);
                }
                let why =
                    format!("{} takes traffic and is judged every minute, {LOOKS} times", revision.name);
                let incident = watch::incident(&revision.name, returns);
                Ok(Decision { incident, ..noted(name, Reason::Watching, why) })
            }
        }
    }

    /// Whether the queue has a task of this name. Who cannot tell takes it for no.
    async fn is_planned(&self, task: &str, received: Received) -> bool {
        let Some(tasks) = &self.tasks else { return false };
        tasks.exists(task, received.deadline() - TELL).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "whether a look is planned cannot be read: people may hear of something twice");
            false
        })
    }

    async fn plan_look(
        &self,
        tasks: &Tasks,
        name: &ServiceName,
        look: Look,
        received: Received,
    ) -> Result<(), CallError> {
        let id = look.task(name);
        let due = received.time() + EVERY;
        tasks.create(&id, &Task::deploy(name, look).body(), due, received.deadline()).await
    }

    /// Looks again whether a change has been rolled out.
    ///
    /// # Errors
    /// With a sentence, when the task has to come again.
    pub(super) async fn settle(
        &self,
        name: &ServiceName,
        settle: &Settle,
        received: Received,
    ) -> Result<String, String> {
        match self.begin(name, settle.look, received).await {
            Ok(decision) => Ok(decision.headline()),
            Err(CallError::NotFound(_)) if self.is_gone(name, None, received) => {
                Ok("nothing: the service is gone".into())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// One look: judges the revision like an alert would, then plans the next one. What cannot be decided now is left to
    /// that.
    ///
    /// # Errors
    /// With a sentence, when the task has to come again.
    pub(super) async fn look_at(
        &self,
        name: &ServiceName,
        look: &Look,
        received: Received,
    ) -> Result<String, String> {
        let alert = deploy_of(name, look);
        let known = look.told.is_empty() || self.is_planned(&look.task(name), received).await;
        let mut told = if known { look.told.clone() } else { Vec::new() };
        let before = told.clone();
        let case = Case { watch: Some(&before), ..Case::new(&alert, received) };
        let said = match self.answer(&case).await {
            Ending::Later(why) => why,
            Ending::Decided(decision) => {
                // Metrics count what was decided; that all is well is said ten times for each deploy.
                let stage = if decision.outcome == Outcome::Ignore { "watched" } else { "decided" };
                answer::log(&decision, stage, None, received.instant.elapsed());
                if let Some(why) = watch::over(&decision) {
                    return Ok(format!("the watch of {} ends: {why}", look.revision));
                }
                if self.has_told(&decision) {
                    told.push(decision.reason.code().to_owned());
                }
                decision.headline()
            }
        };
        let Some(tasks) = self.tasks.as_ref().filter(|_| look.look < LOOKS) else {
            return Ok(format!("{said}; the watch of {} is over", look.revision));
        };
        let next = Look { look: look.look + 1, told, ..look.clone() };
        self.plan_look(tasks, name, next, received).await.map_err(|error| error.to_string())?;
        Ok(said)
    }
}

/// Why no task was created, where trying again does not help. A lost deploy's watch is no reason to wake anybody.
fn refused(created: Result<(), CallError>) -> Result<Option<String>, CallError> {
    let why = match created {
        Ok(()) => return Ok(None),
        Err(error @ CallError::Unavailable(_)) => return Err(error),
        Err(CallError::Denied { message, permission }) => format!("{permission} is missing: {message}"),
        Err(error) => error.to_string(),
    };
    tracing::error!(%why, "the queue refuses a task: a deploy is not watched");
    Ok(Some(format!("it cannot be watched, the queue refuses a task: {why}")))
}

/// What stands for the alert that there is not.
fn deploy_of(name: &ServiceName, look: &Look) -> Alert {
    let incident = watch::incident(&look.revision, look.returns);
    Alert { signal: Signal::Deploy, ..known_of(name, &incident, Some(&look.revision)) }
}

/// Something about a change that is only logged.
fn noted(name: &ServiceName, reason: Reason, why: String) -> Decision {
    let gates = vec![Gate { name: "watch", passed: reason == Reason::Watching, detail: why }];
    let (outcome, service, incident) = (Outcome::Ignore, Some(name.clone()), String::new());
    Decision { outcome, reason, service, incident, gates, plan: None, minutes: Vec::new(), advice: None }
}

/// A task's name: the same for the same look at the same revision of the same service, with the same traffic.
fn named(name: &ServiceName, what: &[&str], number: u32) -> String {
    let ServiceName { project, region, service } = name;
    let number = number.to_string();
    let parts = [&["watch", project, region, service], what, &[&number]].concat();
    let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    parts.join("-").chars().map(word).take(LONGEST_NAME).collect()
}
