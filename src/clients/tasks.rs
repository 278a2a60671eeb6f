//! Cloud Tasks API v2: named tasks that call Runback back.
//!
//! A task's name can be used once, for about an hour after the task is gone; creating it twice is a no-op.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;

use super::google::{Call, CallError, Google, address};

/// A queue, and how its tasks reach us.
#[derive(Clone)]
pub struct Tasks {
    google: Google,
    base: String,
    queue: String,
    /// Where Runback is reached. Cloud Run wants it as the token's audience; a task's own default has the path as well.
    audience: String,
    service_account: String,
}

/// A task, as `tasks.get` shows it.
#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(rename = "scheduleTime")]
    schedule_time: Option<String>,
}

impl Tasks {
    /// `queue` is the queue's full name, `public_url` where Runback is reached, `service_account` as whom.
    #[must_use]
    pub fn new(google: Google, base: &str, queue: &str, public_url: &str, service_account: &str) -> Self {
        Self {
            google,
            base: base.trim_end_matches('/').to_owned(),
            queue: queue.to_owned(),
            audience: public_url.trim_end_matches('/').to_owned(),
            service_account: service_account.to_owned(),
        }
    }

    fn url(&self, rest: &[&str]) -> Result<Url, CallError> {
        let tasks = self.queue.split('/').chain(["tasks"]);
        address(&self.base, ["v2"].into_iter().chain(tasks).chain(rest.iter().copied()))
    }

    /// Creates a task that posts `body` at `due` (`cloudtasks.tasks.create`). One that exists stays as it is, so it is tried
    /// again until the deadline.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn create(
        &self,
        id: &str,
        body: &str,
        due: DateTime<Utc>,
        deadline: Instant,
    ) -> Result<(), CallError> {
        let task = json!({"task": {
            "name": format!("{}/tasks/{id}", self.queue),
            "scheduleTime": due.to_rfc3339_opts(SecondsFormat::Secs, true),
            "httpRequest": {
                "url": format!("{}/tasks", self.audience),
                "httpMethod": "POST",
                "headers": {"Content-Type": "application/json"},
                "body": STANDARD.encode(body),
                "oidcToken": {"serviceAccountEmail": self.service_account, "audience": self.audience},
            },
        }})
        .to_string();
        let permission = "cloudtasks.tasks.create";
        let call = Call {
            method: Method::POST,
            url: self.url(&[])?,
            body: Some(&task),
            permission,
            repeatable: true,
            deadline,
        };
        match self.google.call(call).await {
            Ok(_) => Ok(()),
            Err(CallError::Rejected(message)) if message.starts_with("HTTP 409") => Ok(()),
            // Google puts a queue away that nothing has used for 30 days, and takes minutes to bring it back.
            Err(CallError::NotFound(message)) => Err(CallError::Unavailable(format!(
                "the queue is not there ({message}): after 30 idle days Cloud Tasks takes minutes to bring it back, unless it \
                 was deleted"
            ))),
            Err(error) => Err(error),
        }
    }

    /// Whether a task with this name waits or runs (`cloudtasks.tasks.get`).
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn exists(&self, id: &str, deadline: Instant) -> Result<bool, CallError> {
        Ok(self.get(id, deadline).await?.is_some())
    }

    /// When a task with this name was to be brought; nothing when none waits or runs (`cloudtasks.tasks.get`).
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn due(&self, id: &str, deadline: Instant) -> Result<Option<DateTime<Utc>>, CallError> {
        let Some(task) = self.get(id, deadline).await? else { return Ok(None) };
        let time = task.schedule_time.as_deref().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        match time {
            Some(time) => Ok(Some(time.to_utc())),
            None => Err(CallError::Unavailable(format!("the task {id} does not say when it is due"))),
        }
    }

    async fn get(&self, id: &str, deadline: Instant) -> Result<Option<Named>, CallError> {
        let url = self.url(&[id])?;
        let call = Call {
            method: Method::GET,
            url,
            body: None,
            permission: "cloudtasks.tasks.get",
            repeatable: true,
            deadline,
        };
        match self.google.call(call).await {
            // Whatever else answers instead, an empty 200 among it, has not said that the task is there.
            Ok(body) => match serde_json::from_slice::<Named>(&body) {
                Ok(task) if task.name.rsplit('/').next() == Some(id) => Ok(Some(task)),
                _ => Err(CallError::Unavailable(format!("an answer that is not about the task {id}"))),
            },
            Err(CallError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
