//! A rollback is looked at again: what the look finds and what follows is the domain's to say; here it is done.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::{Instant, sleep};

use super::task::{Task, What, check_task, next_task};
use crate::clients::cloud_run::ServiceDocument;
use crate::clients::google::CallError;
use crate::domain::afterwards::{self, Action, Finding, Found, Look, MOST_LOOKS, NEXT_LOOK, View};
use crate::domain::alert::{Alert, Signal};
use crate::domain::decide::Round;
use crate::domain::decision::{Decision, Reason};
use crate::domain::evidence::{Axis, Evidence};
use crate::domain::overdue::look;
use crate::domain::policy::Rules;
use crate::domain::record::{Phase, Rollback, age};
use crate::domain::service::ServiceName;
use crate::domain::steps;
use crate::domain::text;
use crate::notice::{self, Afterwards, figures};
use crate::record_json;
use crate::respond::look::OutOfTime;
use crate::respond::observe::{Course, Followed, stepped};
use crate::respond::{Case, MOST_LOOKS_AT_ONCE, Received, Runback, TELL};

/// A step that waits for so long has been told of: the queue calls again every five minutes at least.
const LONG_OVERDUE: TimeDelta = TimeDelta::minutes(10);

/// A rollback under a look.
struct Due<'a> {
    task: &'a Task,
    rollback: Rollback,
    document: ServiceDocument,
    rules: &'a Rules,
    case: Case<'a>,
    found: Found,
    /// The phase that follows.
    phase: Phase,
}

/// What one task has done before it looks once more.
#[derive(Default)]
struct DoneSoFar {
    announced: bool,
    /// Whether the queue refuses the next step, so that this task takes it once it is due.
    stands_in: bool,
    evidence: Option<Evidence>,
}

/// What a look came to: a sentence, or one why the task has to come again; with an error where a call failed.
type Done = Result<Result<String, String>, CallError>;

impl Runback {
    /// Looks at a rollback and does what is due, anew as often as somebody else changes the service meanwhile.
    pub(super) async fn look_after(
        &self,
        task: &Task,
        (id, axis): (&str, Axis),
        name: &ServiceName,
        rules: &Rules,
        received: Received,
    ) -> Result<String, String> {
        let mut done_so_far = DoneSoFar::default();
        for _ in 0..MOST_LOOKS_AT_ONCE {
            match self.look_once(task, (id, axis), name, rules, received, &mut done_so_far).await {
                Ok(Some(done)) => return done,
                Ok(None) => {}
                Err(CallError::Conflict(why)) => {
                    tracing::warn!(%why, rollback = id, "the service changed while it was judged; looking again");
                }
                Err(CallError::Unavailable(why)) if Instant::now() + TELL < received.deadline() => {
                    tracing::warn!(%why, rollback = id, "a call was lost; reading what became of it");
                    sleep(Duration::from_millis(200)).await;
                }
                Err(CallError::Denied { message, permission }) => {
                    let account = self.own_account(received.deadline()).await;
                    let text = || notice::held_up(&self.policy, name, &permission, account.as_deref());
                    self.tell_once((id, &permission), text, task.thread.as_deref(), received.deadline())
                        .await;
                    return Err(message);
                }
                Err(CallError::NotFound(why)) if self.is_gone(name, None, received) => {
                    let why = format!("Cloud Run does not know the service any more: {why}");
                    return self.lost(task, &why, Reason::UnresolvedService, received).await;
                }
                Err(error) => return Err(error.to_string()),
            }
        }
        Err("the service keeps changing".into())
    }

    /// Reads the evidence, once for a task.
    async fn count(
        &self,
        name: &ServiceName,
        axis: Axis,
        rules: &Rules,
        received: Received,
        done_so_far: &mut DoneSoFar,
    ) -> Result<(), OutOfTime> {
        if done_so_far.evidence.is_none() {
            done_so_far.evidence = Some(self.evidence(name, axis, rules, received).await?);
        }
        Ok(())
    }

    /// Nothing can be done about a rollback any more, but people count on it: they are told.
    pub(super) async fn lost(
        &self,
        task: &Task,
        why: &str,
        reason: Reason,
        received: Received,
    ) -> Result<String, String> {
        let (name, thread, deadline) = (task.service(), task.thread.as_deref(), received.deadline());
        let id = task.rollback().map_or("", |(id, _)| id);
        let text = || notice::out_of_sight(&self.policy, &name, why, reason);
        if !self.tell_once((id, reason.code()), text, thread, deadline).await {
            return Err("Slack could not be told".into());
        }
        Ok(format!("nothing: {why}"))
    }

    /// One look. Nothing: it has to be looked at once more, now.
    async fn look_once(
        &self,
        task: &Task,
        (id, axis): (&str, Axis),
        name: &ServiceName,
        rules: &Rules,
        received: Received,
        done_so_far: &mut DoneSoFar,
    ) -> Result<Option<Result<String, String>>, CallError> {
        let deadline = received.deadline();
        let document = self.cloud_run.service(name, deadline - TELL).await?;
        let record = record_json::parse(document.record.as_deref());
        let rollback = match record.map(|record| record.rollbacks.into_iter().next()) {
            Ok(Some(rollback)) => rollback,
            Ok(None) => {
                let why = "its record on the service is gone";
                return Ok(Some(self.lost(task, why, Reason::UnreadableRecord, received).await));
            }
            Err(why) => {
                let why = why.to_string();
                return Ok(Some(self.lost(task, &why, Reason::UnreadableRecord, received).await));
            }
        };
        if rollback.id != id {
            return Ok(Some(Ok(format!("nothing: {id} is over"))));
        }
        let rules = &rules.slow_above(rollback.slower_than);
        let told = done_so_far.announced
            || match task.told(&rollback) {
                Some(true) => true,
                // That it exists itself is no sign that people know.
                Some(false) if task.is_step() => {
                    rollback.phase != Phase::Switching || self.memory.told(&next_task(&rollback, rules))
                }
                _ => self.is_told(&rollback, rules, deadline - TELL).await,
            };
        let last_look = look(&rollback, task.look(), received.time()) >= MOST_LOOKS;
        let service = &document.service;
        let now = received.time();
        let mut view = View { rollback: &rollback, service, rules, told, last_look, now, evidence: None };
        let goes_on = task.goes_on(&rollback) || done_so_far.stands_in;
        let mut look = afterwards::find(&view);
        if look == Look::ReadEvidence {
            if !goes_on || afterwards::next(&rollback.phase, Finding::Early).is_none() {
                return Ok(Some(Ok(format!("nothing: {id} has gone on"))));
            }
            if let Err(out_of_time) = self.count(name, axis, rules, received, done_so_far).await {
                return Ok(Some(Err(out_of_time.to_string())));
            }
            view.evidence = done_so_far.evidence.as_ref();
            look = afterwards::find(&view);
        }
        let Look::Found(found) = look else { unreachable!("the evidence has been read") };
        let found = *found;
        let Some((phase, action)) = afterwards::next(&rollback.phase, found.finding) else {
            return Ok(Some(Ok(format!("nothing: {id} is over"))));
        };
        tracing::info!(rollback = id, finding = found.finding.word(), step = rollback.step, "{action:?}");

        let alert = self.memory.story(id).map_or_else(|| known_by(&rollback, axis), |(_, alert)| alert);
        let case = Case::later(&alert, received, Round::Again);
        let moves = matches!(action, Action::Step | Action::StepToTheEnd | Action::Restore);
        if moves && let Some(hold) = document.service.held(now) {
            let until = hold.sentence();
            self.tell_of_hold(name, rules, &rollback, task.thread.as_deref(), received).await;
            return Ok(Some(Err(format!("{id} waits: the service is {until}"))));
        }
        let due = Due { task, rollback, document, rules, case, found, phase };
        let done = match action {
            Action::Record => self.record_end(&due).await,
            Action::ComeAgain if goes_on => Ok(Err(format!("{}: it has to wait", due.found.finding.word()))),
            Action::ComeAgain => Ok(Ok(format!("nothing: {id} has gone on"))),
            Action::Watch if goes_on => Ok(Err("the status does not show the switch yet".into())),
            Action::Watch => Ok(self.watch_on(&due).await),
            Action::Announce => {
                // Slack may take what time there is, and what follows needs its own.
                if goes_on
                    && let Err(out_of_time) = self.count(name, axis, rules, received, done_so_far).await
                {
                    return Ok(Some(Err(out_of_time.to_string())));
                }
                done_so_far.announced = true;
                return Ok(match self.announce_late(due).await {
                    Followed::Done(false) if !task.is_step() => {
                        Some(Err("Slack could not be told of the rollback".into()))
                    }
                    // Slack's failure does not hold up a step.
                    Followed::Done(_) if goes_on => None,
                    Followed::Done(_) => Some(Ok(format!("people have been told of {id}"))),
                    Followed::Unplanned(_) => {
                        done_so_far.stands_in = true;
                        None
                    }
                    Followed::OnItsWay(why) | Followed::Again(why) => Some(Err(why)),
                });
            }
            Action::Step | Action::StepToTheEnd => self.step(due, action == Action::StepToTheEnd).await,
            Action::Restore => return self.restore(due).await,
            Action::LookAgain => self.look_again(&due).await,
            Action::Report => self.report_end(&due).await,
        };
        done.map(Some)
    }

    /// Tells people, when a step comes due, that it waits for the hold to end. They know when it is long overdue.
    async fn tell_of_hold(
        &self,
        name: &ServiceName,
        rules: &Rules,
        rollback: &Rollback,
        thread: Option<&str>,
        received: Received,
    ) {
        let overdue = age(rollback.last_write(), received.time()) - text::delta(rules.step_interval);
        if overdue > LONG_OVERDUE {
            return;
        }
        let message = || notice::on_hold(&self.policy, name, rollback);
        self.tell_once((&rollback.id, "on hold"), message, thread, received.deadline()).await;
    }

    /// The last write has arrived and nobody knows, because it took long, Slack was down or a process died.
    async fn announce_late(&self, due: Due<'_>) -> Followed {
        let Due { task, rollback, document, rules, case, .. } = due;
        let name = document.service.name.clone();
        let story = self.memory.story(&rollback.id).filter(|_| self.memory.wrote(&rollback));
        let late = story.is_none();
        let untold = task.is_step() && task.told(&rollback) == Some(false);
        let decision =
            story.map_or_else(|| Decision::resumed(&name, rollback.clone()), |(decision, _)| decision);
        let thread = task.thread.clone();
        let (patient, judged) = (false, false);
        let course =
            Course { decision: &decision, rollback, document, rules, thread, patient, late, untold, judged };
        self.follow(&case, course).await
    }

    /// The next step: one write, and what follows from it.
    async fn step(&self, due: Due<'_>, to_the_end: bool) -> Done {
        let Due { task, rollback, document, rules, case, found, .. } = due;
        let next = steps::next(rules, rollback.share(), rollback.step);
        let step = if to_the_end { steps::ALL } else { next };
        let why = why_step(&found, &rollback, step);
        let mut changed = stepped(&case, &rollback, step, why);
        if to_the_end {
            changed.reason = Reason::Critical.code().into();
        }
        let document = match self.go_on(&document, &changed, case.received.deadline() - TELL).await {
            Err(CallError::Rejected(why) | CallError::NotFound(why)) => {
                let (ended, judged) = (Afterwards::StepRefused, (found.target, found.culprit));
                let refused = refused(document, why);
                let thread = task.thread.as_deref();
                return Ok(self.report(&refused, &rollback, ended, judged, thread, case.received).await);
            }
            written => written?,
        };
        tracing::warn!(rollback = rollback.id, step, "a further step is written");
        let decision = Decision::resumed(&document.service.name, changed.clone());
        let (name, thread) = (document.service.name.clone(), task.thread.clone());
        let course = Course {
            decision: &decision,
            rollback: changed.clone(),
            document,
            rules,
            thread: thread.clone(),
            patient: true,
            late: false,
            untold: false,
            judged: true,
        };
        Ok(match self.follow(&case, course).await {
            Followed::Done(_) => Ok(format!("{}: {step} % of the culprit's share has moved", rollback.id)),
            Followed::OnItsWay(_) => self
                .keep_watching(&case, &name, &changed, 1, thread)
                .await
                .map(|()| format!("{}: {step} % is written and watched", rollback.id)),
            Followed::Again(why) | Followed::Unplanned(why) => Err(why),
        })
    }

    /// The previous split again: one write. The next look tells that it has arrived.
    async fn restore(&self, due: Due<'_>) -> Result<Option<Result<String, String>>, CallError> {
        let Due { task, rollback, document, case, found, phase, .. } = due;
        let (target, culprit) = (figures(found.target), figures(found.culprit));
        let why = Some(format!("{}: {target}. {}: {culprit}", rollback.target, rollback.culprit));
        let moved = Some(case.received.time());
        let changed = Rollback { phase, moved, why, ..rollback.clone() };
        let until = case.received.deadline() - TELL;
        let mut written = match self.go_on(&document, &changed, until).await {
            // The culprit may be gone: without traffic anybody may delete it.
            Err(CallError::Rejected(why) | CallError::NotFound(why)) => {
                let (ended, judged) = (Afterwards::BackRefused, (found.target, found.culprit));
                let refused = refused(document, why);
                let thread = task.thread.as_deref();
                return Ok(Some(
                    self.report(&refused, &rollback, ended, judged, thread, case.received).await,
                ));
            }
            written => written?,
        };
        tracing::warn!(rollback = changed.id, "the previous split is written again");
        self.arrival(&case, &changed, &mut written, false, Some(until)).await;
        Ok(None)
    }

    async fn watch_on(&self, due: &Due<'_>) -> Result<String, String> {
        let Due { task, rollback, document, case, .. } = due;
        let look = if let What::Watch(watch) = &task.what { watch.look + 1 } else { 1 };
        let thread = task.thread.clone();
        self.keep_watching(case, &document.service.name, rollback, look, thread).await?;
        Ok(format!("{} has not arrived yet; watched on", rollback.id))
    }

    async fn look_again(&self, due: &Due<'_>) -> Done {
        let Due { task, rollback, document, case, found, phase, .. } = due;
        if found.finding == Finding::StillReached {
            let (reached, judged) = (Afterwards::StillReached, (found.target, found.culprit));
            let message = || self.verdict_on(document, rollback, reached, judged, case.received.time());
            let news = (rollback.id.as_str(), reached.code());
            // The next look comes whether or not Slack listens.
            self.tell_once(news, message, task.thread.as_deref(), case.received.deadline()).await;
        }
        let Some(tasks) = &self.tasks else { return Ok(Ok("nothing: there is no queue".into())) };
        let look = look(rollback, task.look(), case.received.time()) + 1;
        let axis = task.rollback().map_or(Axis::Errors, |(_, axis)| axis);
        let next = Task::check(&document.service.name, rollback, axis, look, true, task.thread.clone());
        let (time, deadline) = (case.received.time(), case.received.deadline());
        let created =
            tasks.create(&check_task(rollback, look), &next.body(), time + NEXT_LOOK, deadline).await;
        match created {
            // The queue, and not the service, is what was not found.
            Err(CallError::NotFound(why)) => return Err(CallError::Rejected(why)),
            created => created?,
        }
        // This task's name will be gone, and with it the sign that people were told.
        if rollback.phase != *phase {
            self.record_or_leave(document, rollback, phase.clone(), deadline).await?;
        }
        Ok(Ok(format!("{} since the switch: look {look} follows", found.finding.word())))
    }

    async fn record_end(&self, due: &Due<'_>) -> Done {
        let Due { rollback, document, case, phase, .. } = due;
        self.record_or_leave(document, rollback, phase.clone(), case.received.deadline()).await?;
        Ok(Ok(format!("nothing to judge: somebody else has moved the traffic since {}", rollback.id)))
    }

    async fn report_end(&self, due: &Due<'_>) -> Done {
        let Due { task, rollback, document, case, found, .. } = due;
        let ended = match found.finding {
            Finding::Interrupted => Afterwards::Overruled,
            Finding::NotArrived => Afterwards::NotArrived,
            Finding::Arrived if rollback.trial => Afterwards::Cleared,
            Finding::Arrived => Afterwards::Restored,
            Finding::Undecided => Afterwards::Undecided,
            Finding::Forbidden => Afterwards::Forbidden,
            Finding::Worse => Afterwards::Halted,
            Finding::Healthy => Afterwards::Recovered,
            Finding::Failing => Afterwards::NotHelped,
            Finding::NeverLeft => Afterwards::NeverLeft,
            _ => Afterwards::Unjudged,
        };
        let judged = (found.target, found.culprit);
        Ok(self.report(document, rollback, ended, judged, task.thread.as_deref(), case.received).await)
    }
}

/// The service with Cloud Run's answer to a write in the place of what its conditions say.
pub(in crate::respond) fn refused(mut document: ServiceDocument, why: String) -> ServiceDocument {
    document.service.trouble = Some(why);
    document
}

/// What people are to know about a step; nothing where it went as announced.
fn why_step(found: &Found, rollback: &Rollback, step: u8) -> Option<String> {
    let Rollback { culprit, target, .. } = rollback;
    match found.finding {
        Finding::Critical if !rollback.trial => Some(format!(
            "All of it at once, because {culprit} has become critical: {}",
            figures(found.culprit)
        )),
        Finding::Blind => {
            Some(format!("{step} % without a look at {target}: Cloud Monitoring cannot be read"))
        }
        _ if rollback.trial => Some(format!(
            "The trial shows that {culprit} is to blame. On the same minutes, {culprit}: {}; {target}: {}",
            figures(found.culprit),
            figures(found.target)
        )),
        _ if step >= steps::ALL => Some(format!("Before that, at {target}: {}", figures(found.target))),
        _ => None,
    }
}

/// The alert of which only the record still tells.
fn known_by(rollback: &Rollback, axis: Axis) -> Alert {
    let signal = if axis == Axis::Slowness { Signal::Latency } else { Signal::Errors };
    Alert { signal, ..Alert::known_by(&rollback.incident) }
}
