//! Telling people, once.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::Instant;

use super::{Case, Ending, Runback};
use crate::domain::decision::{Decision, Outcome, Reason};
use crate::domain::record::Rollback;
use crate::domain::service::ServiceName;
use crate::notice::{self, Arrival, Notice};

/// A refusal by IAM is worth repeating for this long: rights may be on their way.
const DENIED_FOR: TimeDelta = TimeDelta::hours(1);

impl Runback {
    /// Tells people about a decision that touches nothing, once for an incident and reason.
    pub(super) async fn conclude(
        &self,
        case: &Case<'_>,
        decision: Decision,
        service_url: Option<&str>,
    ) -> Ending {
        match decision.outcome {
            Outcome::Wait => return Ending::Later(decision.headline()),
            Outcome::Notify if self.memory.first_post(&decision.incident, decision.reason.code()) => {
                let notice = Notice {
                    decision: &decision,
                    alert: case.alert,
                    service_url,
                    arrival: Arrival::NothingMoved,
                };
                if !self.tell(&notice::render(&notice), case.received.deadline()).await {
                    self.memory.forget_post(&decision.incident, decision.reason.code());
                }
            }
            _ => {}
        }
        Ending::Decided(Box::new(decision))
    }

    /// Cloud Run refuses us. People hear once which permission is missing; the message comes again for an hour.
    pub(super) async fn denied(
        &self,
        case: &Case<'_>,
        name: &ServiceName,
        message: &str,
        permission: &str,
    ) -> Ending {
        if self.memory.first_post(&name.to_string(), permission) {
            let account = self.account.as_deref();
            let text = notice::permission_denied(name, Some(permission), account, &case.alert.incident);
            if !self.tell(&text, case.received.deadline()).await {
                self.memory.forget_post(&name.to_string(), permission);
            }
        }
        let since = case.published_at.or(case.alert.started_at).unwrap_or(case.received.at);
        let why = format!("Cloud Run refuses us, the permission {permission} is missing: {message}");
        if case.received.at - since < DENIED_FOR {
            return Ending::Later(why);
        }
        let (incident, reason) = (&case.alert.incident, Reason::PermissionDenied);
        Ending::Decided(Box::new(Decision::stopped(incident, name, reason, "permission", why)))
    }

    /// Tells people of a rollback, and remembers that.
    pub(super) async fn tell_of(&self, rollback: &Rollback, notice: &Notice<'_>, deadline: Instant) -> bool {
        let told = self.tell(&notice::render(notice), deadline).await;
        if told {
            self.memory.tell(&rollback.id);
        }
        told
    }

    /// Whether the message reached Slack. Slack's failure is logged and stops nothing. Without Slack the log is what
    /// people read.
    pub(super) async fn tell(&self, message: &notice::Message, deadline: Instant) -> bool {
        let Some(slack) = &self.slack else { return true };
        let time = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(500));
        match slack.post(message, time).await {
            Ok(_) => true,
            Err(error) => {
                tracing::error!(%error, text = message.text, "Slack could not be told");
                false
            }
        }
    }
}
