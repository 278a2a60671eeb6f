//! Telling people, once.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::Instant;

use super::follow_up::{DEADLINE, Task};
use super::{Case, Ending, Runback};
use crate::clients::slack::Posted;
use crate::domain::decision::{Decision, Outcome, Reason};
use crate::domain::record::Rollback;
use crate::domain::service::ServiceName;
use crate::notice::{self, Arrival, Notice};

/// Slack gets at least and at most this long, so that neither an early nor a late message starves.
const LEAST: Duration = Duration::from_millis(500);
const MOST: Duration = Duration::from_secs(3);

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
        let mut decision = decision;
        if decision.reason == Reason::Warning {
            self.set_deadline(case, &mut decision).await;
        }
        // Whoever was warned is told that nothing follows, too.
        let wanted = decision.outcome == Outcome::Notify || case.deadline_passed;
        match decision.outcome {
            Outcome::Wait => return Ending::Later(decision.headline()),
            _ if wanted && self.is_news(&decision) => {
                let notice = Notice {
                    decision: &decision,
                    alert: case.alert,
                    service_url,
                    arrival: Arrival::NothingMoved,
                    looks_again: false,
                };
                if self.tell(&notice::render(&notice), None, case.received.deadline()).await.is_none() {
                    self.memory.forget_post(&subject(&decision), decision.reason.code());
                }
            }
            _ => {}
        }
        Ending::Decided(Box::new(decision))
    }

    /// Whether nobody has been told yet. The console's test has the same incident each time, and whoever presses the
    /// button wants to see the message.
    fn is_news(&self, decision: &Decision) -> bool {
        decision.reason == Reason::TestNotification
            || self.memory.first_post(&subject(decision), decision.reason.code())
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
            if self.tell(&text, None, case.received.deadline()).await.is_none() {
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
    pub(super) async fn tell_of(
        &self,
        rollback: &Rollback,
        notice: &Notice<'_>,
        deadline: Instant,
    ) -> Option<Posted> {
        let told = self.tell(&notice::render(notice), None, deadline).await;
        if told.is_some() {
            self.memory.tell(&rollback.id);
        }
        told
    }

    /// A warning is judged again when its deadline comes, and says so.
    async fn set_deadline(&self, case: &Case<'_>, decision: &mut Decision) {
        let (Some(tasks), Some(name)) = (&self.tasks, &decision.service) else { return };
        let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let id: String = format!("warning-{}-{}-{}", name.region, name.service, decision.incident)
            .chars()
            .map(word)
            .collect();
        let due = case.received.time() + DEADLINE;
        let body = Task::deadline(name, case.alert).body();
        match tasks.create(&id, &body, due, case.received.deadline()).await {
            Ok(()) => decision.add("; judged again in 30 min, then rolled back or not"),
            Err(error) => tracing::error!(%error, "the warning's deadline cannot be planned"),
        }
    }

    /// What came of telling Slack; nothing when it failed, which is logged and stops nothing. Without Slack the log is
    /// what people read.
    pub(super) async fn tell(
        &self,
        message: &notice::Message,
        thread: Option<&str>,
        deadline: Instant,
    ) -> Option<Posted> {
        let Some(slack) = &self.slack else { return Some(Posted { ts: None }) };
        let time = deadline.saturating_duration_since(Instant::now()).clamp(LEAST, MOST);
        match slack.post(message, thread, time).await {
            Ok(posted) => Some(posted),
            Err(error) => {
                tracing::error!(%error, text = message.text, "Slack could not be told");
                None
            }
        }
    }
}

/// What a decision is about, for not telling it twice.
fn subject(decision: &Decision) -> String {
    let service = decision.service.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{service} {}", decision.incident)
}
