//! Telling people of a deploy that waits behind a pin: by the checks after a rollback, when the audit log tells of a
//! change, and once a day as long as the service is pinned. That people know of a revision is in the record.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout_at;

use super::follow_up::Task;
use super::{Received, Runback};
use crate::clients::cloud_run::ServiceDocument;
use crate::clients::google::CallError;
use crate::domain::pins;
use crate::domain::policy::Mode;
use crate::domain::record::Record;
use crate::domain::service::{Revision, ServiceName};
use crate::notice;
use crate::record_json;

const DAILY: Duration = Duration::from_secs(24 * 60 * 60);

/// Look after a pinned service.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Pin {
    rollback: String,
    day: u32,
}

impl Runback {
    /// The daily look at a pinned service. The chain ends when it is released, or another rollback has pinned it.
    ///
    /// # Errors
    /// With a sentence, when the task has to come again.
    pub(super) async fn daily(
        &self,
        name: &ServiceName,
        pin: &Pin,
        thread: Option<&str>,
        received: Received,
    ) -> Result<String, String> {
        let document = match self.service_caught_up(name, received).await {
            Err(CallError::NotFound(_)) if self.is_gone(name, None, received) => {
                return Ok("nothing: the service is gone".into());
            }
            read => read.map_err(|error| error.to_string())?,
        };
        let record = record_json::parse(document.record.as_deref()).map_err(|error| error.to_string());
        let Ok(record) = record else { return Ok("nothing: the record cannot be read".into()) };
        match pins::pinned_by(&document.service, &record) {
            Some(rollback) if rollback.id == pin.rollback => {}
            Some(_) => return Ok(format!("nothing: another rollback has overtaken {}", pin.rollback)),
            None => return Ok("nothing: the service is not pinned any more".into()),
        }
        // First the next look: the queue gives a task up that fails too often, and with it would go all that follow.
        let next = Pin { day: pin.day.saturating_add(1), ..pin.clone() };
        self.plan_pin(name, next, thread, received).await.map_err(|error| error.to_string())?;
        let said = self.tell_of_waiting(&document, None, thread, received).await?;
        Ok(said.unwrap_or_else(|| "nothing: no newer revision waits".into()))
    }

    /// What the checks after a rollback do beside their own task: a look, and the first of the daily ones. What fails is
    /// left to that.
    pub(super) async fn look_after_pin(&self, name: &ServiceName, thread: Option<&str>, received: Received) {
        let look = async {
            let document = self.service_caught_up(name, received).await.map_err(|error| error.to_string())?;
            let record = record_json::parse(document.record.as_deref()).map_err(|error| error.to_string())?;
            let Some(rollback) = pins::pinned_by(&document.service, &record) else { return Ok(()) };
            let pin = Pin { rollback: rollback.id.clone(), day: 1 };
            self.plan_pin(name, pin, thread, received).await.map_err(|error| error.to_string())?;
            self.tell_of_waiting(&document, None, thread, received).await.map(|_| ())
        };
        let looked: Result<(), String> = look.await;
        if let Err(why) = looked {
            tracing::warn!(%why, "whether a deploy of {name} waits behind the pin is left to a later look");
        }
    }

    async fn plan_pin(
        &self,
        name: &ServiceName,
        pin: Pin,
        thread: Option<&str>,
        received: Received,
    ) -> Result<(), CallError> {
        let Some(tasks) = &self.tasks else { return Ok(()) };
        let id = format!("{}-pin-{}", pin.rollback, pin.day);
        let body = Task::pin(name, thread, pin).body();
        tasks.create(&id, &body, received.time() + DAILY, received.deadline()).await
    }

    /// Tells people of a revision that waits behind the pin, then records that they know. What was said, if anything was.
    ///
    /// # Errors
    /// With a sentence, when it is worth trying again.
    pub(super) async fn tell_of_waiting(
        &self,
        document: &ServiceDocument,
        revisions: Option<&[Revision]>,
        thread: Option<&str>,
        received: Received,
    ) -> Result<Option<String>, String> {
        let (service, deadline) = (&document.service, received.deadline());
        let Ok(record) = record_json::parse(document.record.as_deref()) else { return Ok(None) };
        if service.in_flight || pins::pinned_by(service, &record).is_none() {
            return Ok(None);
        }
        let read = match revisions {
            Some(_) => Vec::new(),
            None => {
                self.cloud_run.revisions(&service.name, deadline).await.map_err(|error| error.to_string())?
            }
        };
        let Some(waiting) = pins::news(service, &record, revisions.unwrap_or(&read)) else { return Ok(None) };
        // One deploy makes several entries at once. Who comes second must not record what the first fails to tell.
        let Ok(_telling) = timeout_at(deadline, self.telling.lock()).await else {
            return Err("a deploy that waits is still being told of".into());
        };
        let (subject, revision) = (&waiting.rollback.id, waiting.revision.name.as_str());
        let message = notice::pinned(&self.policy, &service.name, &waiting);
        if !self.tell_once((subject, revision), || &message, thread, deadline).await {
            return Err("Slack could not be told of a deploy that waits".into());
        }
        tracing::warn!(revision, rollback = subject, "{}", message.text);
        // Who only observes writes nothing, and says it again after a restart.
        let rules = self.policy.services.get(&service.name);
        if rules.is_some_and(|rules| rules.mode == Mode::Enforce) {
            let known = |record: &mut Record| record.waiting = Some(revision.to_owned());
            self.amend(document, known, received).await.map_err(|error| error.to_string())?;
        }
        Ok(Some(message.text))
    }

    /// Changes the record and nothing else; a service that has changed since is read again.
    async fn amend(
        &self,
        document: &ServiceDocument,
        change: impl Fn(&mut Record),
        received: Received,
    ) -> Result<(), CallError> {
        let deadline = received.deadline();
        let write = async |document: &ServiceDocument| {
            let Ok(mut record) = record_json::parse(document.record.as_deref()) else { return Ok(()) };
            change(&mut record);
            let record = self.annotation(document, record);
            self.cloud_run
                .replace(document, &document.service.spec_traffic, &record, deadline)
                .await
                .map(|_| ())
        };
        let mut result = write(document).await;
        for _ in 0..2 {
            let Err(CallError::Conflict(_)) = result else { break };
            let read = self.cloud_run.service(&document.service.name, deadline).await?;
            result = write(&read).await;
        }
        result
    }
}
