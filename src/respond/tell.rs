//! Telling people, once.

use std::borrow::Borrow;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::Instant;

use super::follow_up::{Task, WARNING, judge_task};
use super::{Case, Ending, OVERTIME, Runback};
use crate::clients::slack::{Posted, SlackError};
use crate::domain::decide::Round;
use crate::domain::decision::{Decision, Outcome, Reason};
use crate::domain::looks;
use crate::domain::service::ServiceName;
use crate::domain::watch;
use crate::notice::{self, Ahead, Arrival, Notice};
use crate::record_json;

/// Slack gets at most this long, so that an early message leaves time for a late one.
const MOST: Duration = Duration::from_secs(3);

/// How often a message is changed when phases overtake each other.
const MOST_SHOWN: usize = 3;

/// A refusal by IAM is worth repeating for this long: rights may be on their way.
const DENIED_FOR: TimeDelta = TimeDelta::hours(1);

impl Runback {
    /// Tells people about a decision that touches nothing, once for an incident and reason.
    pub(super) async fn conclude(&self, case: &Case<'_>, decision: Decision) -> Ending {
        let deadline = case.received.deadline();
        let mut decision = decision;
        let ahead = self.plan_later_look(case, &mut decision).await;
        // Nobody looks again: what is still open is people's.
        let left_open = case.looks >= looks::MOST && decision.reason == Reason::Inconclusive;
        // Whoever was warned is told that nothing follows, too.
        let wanted = match case.watch {
            Some(told) => watch::is_news(&decision, told),
            None if decision.reason == Reason::AlreadyHandled => false,
            None => decision.outcome == Outcome::Notify || case.round == Round::Deadline || left_open,
        };
        if decision.outcome == Outcome::Wait {
            if case.round != Round::First {
                self.memory.wait(&decision.incident, case.received.time());
            }
            return Ending::Later(decision.headline());
        }
        if wanted {
            let (arrival, alert, at) = (Arrival::NothingMoved, case.alert, case.received.time());
            let notice = Notice { decision: &decision, alert, at, arrival, ahead, probed: None };
            // The console's test has the same incident each time, and whoever presses the button wants to see it.
            if decision.reason == Reason::TestNotification {
                self.tell(&notice::render(&self.policy, &notice), None, deadline).await;
            } else {
                let subject = subject(&decision);
                let news = (subject.as_str(), decision.reason.code());
                self.tell_once(news, || notice::render(&self.policy, &notice), None, deadline).await;
            }
        }
        Ending::Decided(Box::new(decision))
    }

    /// Runback's own service account, as far as it can be known.
    pub(super) async fn own_account(&self, deadline: Instant) -> Option<String> {
        match &self.account {
            Some(account) => Some(account.clone()),
            None => self.metadata.account(deadline).await,
        }
    }

    /// Whether this process has told people of a decision like this.
    pub(super) fn has_told(&self, decision: &Decision) -> bool {
        self.memory.has_posted(&subject(decision), decision.reason.code())
    }

    /// Cloud Run refuses us. People hear once which permission is missing; the message comes again for an hour.
    pub(super) async fn denied(
        &self,
        case: &Case<'_>,
        name: &ServiceName,
        message: &str,
        permission: &str,
    ) -> Ending {
        let account = self.own_account(case.received.deadline()).await;
        let (subject, account) = (name.to_string(), account.as_deref());
        let text =
            || notice::permission_denied(&self.policy, name, Some(permission), account, &case.alert.incident);
        self.tell_once((&subject, permission), text, None, case.received.deadline()).await;
        let since = case.published_at.or(case.alert.started_at).unwrap_or(case.received.at);
        let why = format!("Cloud Run refuses us, the permission {permission} is missing: {message}");
        if case.received.at - since < DENIED_FOR {
            return Ending::Later(why);
        }
        let (incident, reason) = (&case.alert.incident, Reason::PermissionDenied);
        Ending::Decided(Box::new(Decision::stopped(incident, name, reason, "permission", why)))
    }

    /// An alert that shows no failure yet is judged again while its incident may still be open, and a warning when its
    /// deadline comes; the decision says so.
    async fn plan_later_look(&self, case: &Case<'_>, decision: &mut Decision) -> Ahead {
        if decision.outcome == Outcome::Wait || case.round == Round::Deadline {
            return Ahead::Nothing;
        }
        let Some(again) = looks::again(case.alert.signal, decision.reason, case.looks) else {
            return Ahead::Nothing;
        };
        let (Some(tasks), Some(name)) = (&self.tasks, &decision.service) else { return Ahead::Nothing };
        let kind = match case.looks {
            _ if again.deadline => WARNING.to_owned(),
            0 => "again".to_owned(),
            looks => format!("again-{}", looks + 1),
        };
        let id = judge_task(&kind, name, &decision.incident);
        let body = Task::judge(name, case.alert, case.looks + 1, again.deadline).body();
        match tasks.create(&id, &body, case.received.time() + again.wait, case.received.deadline()).await {
            Ok(()) if again.deadline => decision.add("; Runback decides in 30 min"),
            Ok(()) => decision.add("; Runback looks again in 5 min"),
            Err(error) => {
                tracing::error!(%error, "a later judgement cannot be planned");
                return Ahead::Nothing;
            }
        }
        Ahead::Look { wait: again.wait, decides: again.deadline }
    }

    /// Tells what about a subject has not been told yet, once per process. False: people have still not been told.
    pub(super) async fn tell_once<M: Borrow<notice::Message>>(
        &self,
        (subject, what): (&str, &str),
        message: impl FnOnce() -> M,
        thread: Option<&str>,
        deadline: Instant,
    ) -> bool {
        if !self.memory.first_post(subject, what) {
            return true;
        }
        let told = self.tell(message().borrow(), thread, deadline).await.is_some();
        if !told {
            self.memory.forget_post(subject, what);
        }
        told
    }

    /// What came of telling Slack; nothing when it failed, which is logged and stops nothing. Without Slack the log is
    /// what people read.
    pub(super) async fn tell(
        &self,
        message: &notice::Message,
        thread: Option<&str>,
        deadline: Instant,
    ) -> Option<Posted> {
        let Some(slack) = &self.slack else { return Some(Posted { thread: None }) };
        let mut thread = thread;
        let mut answer = slack.post(message, thread, time_until(deadline)).await;
        if let (Err(SlackError::Refused(why)), Some(gone)) = (&answer, thread) {
            // Its message was deleted, its channel archived, or Runback posts to another one now.
            tracing::warn!(why, thread = gone, "Slack refuses the thread; telling the channel");
            thread = None;
            answer = slack.post(message, None, time_until(deadline)).await;
        }
        let posted = match answer {
            Ok(posted) => posted,
            Err(error) => {
                tracing::error!(%error, text = message.text, "Slack could not be told");
                return None;
            }
        };
        // The details of a new message go into its thread. Without them it is complete all the same.
        if let (Some(details), Some(new), None) = (message.detail(), &posted.thread, thread)
            && let Err(error) = slack.post(&details, Some(new), time_until(deadline)).await
        {
            tracing::warn!(%error, "Slack did not take the details");
        }
        Some(posted)
    }

    /// Puts a message in the place of a bot's first one, and its details into the thread. One that cannot be changed gets an
    /// answer instead.
    pub(super) async fn tell_instead(
        &self,
        message: &notice::Message,
        first: &str,
        deadline: Instant,
    ) -> Option<Posted> {
        let Some(slack) = self.slack.as_ref().filter(|slack| slack.changes_messages()) else {
            return self.tell(message, None, deadline).await;
        };
        if let Err(error) = slack.update(message, first, time_until(deadline)).await {
            tracing::warn!(%error, "Slack does not change the first message; answering it");
            return self.tell(message, Some(first), deadline).await;
        }
        if let Some(details) = message.detail()
            && let Err(error) = slack.post(&details, Some(first), time_until(deadline)).await
        {
            tracing::warn!(%error, "Slack did not take the details");
        }
        Some(Posted { thread: Some(first.to_owned()) })
    }

    /// Makes a bot's first message of a rollback show its phase as it is on record now.
    ///
    /// Slack changes whatever it is told to, in any order. So what is shown is read before and again afterwards: who was
    /// overtaken in between shows the newer phase once more.
    pub(super) async fn show_phase(
        &self,
        name: &ServiceName,
        rollback: &str,
        thread: Option<&str>,
        deadline: Instant,
    ) {
        let known = self.memory.thread(rollback);
        let (Some(slack), Some(thread)) = (&self.slack, thread.or(known.as_deref())) else { return };
        let mut shown = None;
        for _ in 0..MOST_SHOWN {
            let Ok(document) = self.cloud_run.service(name, deadline).await else { return };
            let Ok(record) = record_json::parse(document.record.as_deref()) else { return };
            let Some(now) = record.rollbacks.into_iter().find(|entry| entry.id == rollback) else { return };
            let state = (now.phase.clone(), now.step);
            let Some(message) =
                notice::standing(&self.policy, name, &now).filter(|_| shown.as_ref() != Some(&state))
            else {
                return;
            };
            if let Err(error) = slack.update(&message, thread, time_until(deadline)).await {
                tracing::warn!(%error, rollback, "the first message does not show how the rollback stands");
                return;
            }
            shown = Some(state);
        }
    }
}

/// Slack's time.
fn time_until(deadline: Instant) -> Duration {
    (deadline + OVERTIME).saturating_duration_since(Instant::now()).min(MOST)
}

/// What is told once for each reason.
fn subject(decision: &Decision) -> String {
    let service = decision.service.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{service} {}", decision.incident)
}
