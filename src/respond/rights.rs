//! Whether Runback may still do what a rollback takes. Terraform elsewhere may own a service's IAM policy and take the right
//! away without a word. The heartbeat looks, so that people hear of it before an incident does.
//!
//! A task named by the day keeps two things for a day: that people have been told, and the queue in use. Cloud Tasks puts a
//! queue away that nothing has used for 30 days, and takes minutes to bring it back.

use chrono::{DateTime, TimeDelta, Utc};

use super::follow_up::{Task, judge_task};
use super::{Received, Runback};
use crate::clients::google::CallError;
use crate::domain::service::ServiceName;
use crate::notice;

/// What a rollback takes, of the permissions that are granted on the service itself.
const NEEDED: [&str; 2] = ["run.services.get", "run.services.update"];

const DAY: TimeDelta = TimeDelta::days(1);

impl Runback {
    /// Uses the queue once a day: it calls back, and what it calls for is another look at a service's rights.
    pub(super) async fn use_queue(&self, received: Received) {
        let (Some(tasks), Some(name)) = (&self.tasks, self.policy.services.keys().next()) else { return };
        let id = format!("in-use-{}", received.at.format("%Y%m%d"));
        if !self.memory.first_post("queue", &id) {
            return;
        }
        let body = Task::rights(name).body();
        if let Err(error) = tasks.create(&id, &body, received.time(), received.deadline()).await {
            self.memory.forget_post("queue", &id);
            tracing::error!(%error, "the queue takes no tasks: without it, what is due after a rollback waits for the heartbeat");
        }
    }

    /// Tells people, once a day, that a rollback would be refused. The text says what was found.
    ///
    /// # Errors
    /// When it cannot be found out, or nobody could be told.
    pub(super) async fn check_rights(
        &self,
        name: &ServiceName,
        received: Received,
    ) -> Result<String, CallError> {
        let deadline = received.deadline();
        let missing = self.cloud_run.missing_permissions(name, &NEEDED, deadline).await?;
        if missing.is_empty() {
            return Ok("every right is there".into());
        }
        let missing = missing.join(" and ");
        let found = format!("Runback lacks {missing} on {name}: a rollback would be refused");
        tracing::error!(service = %name, "{found}");
        // Without a queue nothing keeps in mind that people know, and they would hear of it with every heartbeat.
        let Some(tasks) = &self.tasks else { return Ok(found) };
        for at in [received.time(), received.time() + DAY] {
            let due = tasks.due(&marker(name, at), deadline).await?;
            if due.is_some_and(|due| due > received.time()) {
                return Ok(format!("{found}; people were told within the last day"));
            }
        }
        let account = self.own_account(deadline).await;
        let message = notice::rights_lost(&self.policy, name, &missing, account.as_deref());
        if self.tell(&message, None, deadline).await.is_none() {
            return Err(CallError::Unavailable(format!("{found}, and Slack could not be told")));
        }
        let again = received.time() + DAY;
        tasks.create(&marker(name, again), &Task::rights(name).body(), again, deadline).await?;
        Ok(found)
    }
}

/// Stands for people having been told, until it is due.
fn marker(name: &ServiceName, due: DateTime<Utc>) -> String {
    judge_task("rights", name, &due.format("%Y%m%d").to_string())
}
