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

use super::google::{Call, CallError, Google};

/// A queue, and how its tasks reach us.
#[derive(Clone)]
pub struct Tasks {
    google: Google,
    base: String,
    queue: String,
    callback: String,
    service_account: String,
}

/// A task, as `tasks.get` shows it.
#[derive(Default, Deserialize)]
struct Named {
    #[serde(default)]
    name: String,
}

impl Tasks {
    /// `queue` is the queue's full name, `public_url` where Runback is reached, `service_account` as whom.
    #[must_use]
    pub fn new(google: Google, base: &str, queue: &str, public_url: &str, service_account: &str) -> Self {
        Self {
            google,
            base: base.trim_end_matches('/').to_owned(),
            queue: queue.to_owned(),
            callback: format!("{}/tasks", public_url.trim_end_matches('/')),
            service_account: service_account.to_owned(),
        }
    }

    fn url(&self, rest: &str) -> Result<Url, CallError> {
        let text = format!("{}/v2/{}/tasks{rest}", self.base, self.queue);
        Url::parse(&text).map_err(|error| CallError::Rejected(format!("{text} is no URL: {error}")))
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
                "url": self.callback,
                "httpMethod": "POST",
                "headers": {"Content-Type": "application/json"},
                "body": STANDARD.encode(body),
                "oidcToken": {"serviceAccountEmail": self.service_account},
            },
        }})
        .to_string();
        let permission = "cloudtasks.tasks.create";
        let call = Call {
            method: Method::POST,
            url: self.url("")?,
            body: Some(&task),
            permission,
            repeatable: true,
            deadline,
        };
        match self.google.call(call).await {
            Ok(_) => Ok(()),
            Err(CallError::Rejected(message)) if message.starts_with("HTTP 409") => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether a task with this name waits or runs (`cloudtasks.tasks.get`).
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn exists(&self, id: &str, deadline: Instant) -> Result<bool, CallError> {
        let url = self.url(&format!("/{id}"))?;
        let call = Call {
            method: Method::GET,
            url,
            body: None,
            permission: "cloudtasks.tasks.get",
            repeatable: true,
            deadline,
        };
        match self.google.call(call).await {
            Ok(body) => {
                let task: Named = serde_json::from_slice(&body).unwrap_or_default();
                Ok(task.name.rsplit('/').next() == Some(id))
            }
            Err(CallError::NotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
