//! The record drives what happens, not the task: a task can be lost, and a rollback must not stay half-way for that. So
//! every request about a guarded service first does what is overdue there, and the heartbeat does it for all of them.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::look::{READ_EVIDENCE, WRITE_LEAST};
use super::{Received, Runback, TELL};
use crate::clients::cloud_run::ServiceDocument;
use crate::clients::google::CallError;
use crate::domain::overdue::{self, Act};
use crate::domain::policy::{Mode, Rules};
use crate::domain::record::{Record, Rollback};
use crate::domain::service::ServiceName;
use crate::record_json;

impl Runback {
    /// What is overdue on record, if anything is.
    pub(super) fn overdue(
        &self,
        record: Option<&Record>,
        rules: &Rules,
        received: Received,
    ) -> Option<(Rollback, Act)> {
        let rollback = record?.rollbacks.first()?;
        let act = overdue::overdue(rollback, rules, self.tasks.is_some(), received.time())?;
        Some((rollback.clone(), act))
    }

    /// Does what is overdue. Where that fails, the next request tries again; this one goes on with its own business.
    ///
    /// # Errors
    /// When there is too little time left for it: then whatever asks for it has to come again.
    pub(super) async fn catch_up(
        &self,
        name: &ServiceName,
        rules: &Rules,
        rollback: &Rollback,
        act: Act,
        received: Received,
    ) -> Result<(), CallError> {
        if !has_time(received) {
            let why = format!("{} is overdue, and there is too little time left for it", rollback.id);
            return Err(CallError::Unavailable(why));
        }
        tracing::warn!(rollback = rollback.id, service = %name, "overdue: {act:?}; a task must have been lost");
        // Rare, and far too large to be part of every request's future.
        let act_late = Box::pin(self.act_late(name, rules, rollback, act, received));
        match act_late.await {
            Ok(done) => tracing::info!(rollback = rollback.id, "overdue: {done}"),
            Err(why) => tracing::warn!(%why, rollback = rollback.id, "what is overdue could not be done"),
        }
        Ok(())
    }

    /// Reads a service once what is overdue there is done. Its turn has to be held.
    ///
    /// # Errors
    /// As [`crate::clients::cloud_run::CloudRun::service`].
    pub(super) async fn service_caught_up(
        &self,
        name: &ServiceName,
        received: Received,
    ) -> Result<ServiceDocument, CallError> {
        let deadline = received.deadline();
        let document = self.cloud_run.service(name, deadline).await?;
        let record = record_json::parse(document.record.as_deref());
        let Some(rules) = self.policy.services.get(name) else { return Ok(document) };
        let Some((rollback, act)) = self.overdue(record.as_ref().ok(), rules, received) else {
            return Ok(document);
        };
        self.catch_up(name, rules, &rollback, act, received).await?;
        self.cloud_run.service(name, deadline).await
    }

    /// Does what is overdue at every listed service and checks Runback's rights on it, several services at a time, as far as
    /// the time reaches. The order is another one every minute, so that what does not fit comes first some other time.
    pub(super) async fn sweep(&self, received: Received) {
        let mut names: Vec<&ServiceName> = self.policy.services.keys().collect();
        let minute = usize::try_from(received.at.timestamp() / 60).unwrap_or_default();
        let first = minute.checked_rem(names.len()).unwrap_or_default();
        names.rotate_left(first);
        let waiting = Mutex::new(VecDeque::from(names));
        let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let worker = async || {
            while has_time(received)
                && let Some(name) = next()
            {
                self.sweep_one(name, received).await;
            }
        };
        tokio::join!(worker(), worker(), worker(), worker(), worker(), worker(), worker(), worker());
        let left = waiting.lock().unwrap_or_else(PoisonError::into_inner).len();
        if left > 0 {
            tracing::warn!(left, "services were not looked at in time; the next heartbeat looks at them");
        }
    }

    async fn sweep_one(&self, name: &ServiceName, received: Received) {
        if let Err(error) = self.check_rights(name, received).await {
            tracing::warn!(%error, service = %name, "whether Runback may still roll back cannot be seen");
        }
        // Where only observing is allowed, an ending is not recorded: it would be told with every heartbeat.
        if self.policy.services.get(name).is_none_or(|rules| rules.mode != Mode::Enforce) {
            return;
        }
        // Whoever is at work there does it.
        let Some(mut reading) = self.queues.get(name).and_then(|queue| queue.try_lock().ok()) else { return };
        reading.forget();
        if let Err(error) = self.service_caught_up(name, received).await {
            tracing::warn!(%error, service = %name, "whether anything is overdue cannot be seen");
        }
    }
}

/// Whether there is time left to judge and to write.
fn has_time(received: Received) -> bool {
    Instant::now() + READ_EVIDENCE + WRITE_LEAST + TELL <= received.deadline()
}
