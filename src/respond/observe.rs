//! After a write: watching until the status shows it, telling people, and planning what comes next.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::follow_up::{Task, check_task, next_task, refused, step_task, watch_task};
use super::{Case, OWNED_FOR, Runback, TELL};
use crate::clients::cloud_run::ServiceDocument;
use crate::clients::google::CallError;
use crate::clients::slack::Posted;
use crate::domain::afterwards::{ARRIVES_WITHIN, FIRST_LOOK};
use crate::domain::decide::axis_of;
use crate::domain::decision::Decision;
use crate::domain::policy::Rules;
use crate::domain::record::{Phase, Rollback};
use crate::domain::service::ServiceName;
use crate::domain::steps;
use crate::notice::{self, Afterwards, Ahead, Arrival, Notice};
use crate::record_json;

/// What people hear of a write that takes long.
const UNDER_WAY: &str = "under way";

/// What is left for planning the next look when people hear of that.
const PLAN: Duration = Duration::from_millis(500);

/// Between two looks at a write that takes long to arrive.
const WATCH_AGAIN: Duration = Duration::from_secs(15);

/// Moving everything at once, where the queue does not take the next step.
const WITHOUT_QUEUE: Duration = Duration::from_secs(3);

/// The queue gets at least this long.
const ASK_QUEUE: Duration = Duration::from_millis(500);

/// A write that is to be seen, told of and continued.
pub(super) struct Course<'a> {
    /// What led to it, as far as it is known.
    pub(super) decision: &'a Decision,
    /// The rollback as it was written.
    pub(super) rollback: Rollback,
    /// The service since.
    pub(super) document: ServiceDocument,
    /// The policy for it.
    pub(super) rules: &'a Rules,
    /// The Slack message to answer to, where there is one.
    pub(super) thread: Option<String>,
    /// Whether to wait for the status; else one look is enough.
    pub(super) patient: bool,
    /// Whether people hear of it later than they should have.
    pub(super) late: bool,
    /// Whether it is certain that nobody has told people yet.
    pub(super) untold: bool,
    /// Whether this request has read the evidence that the last write rests on. Only then it may move more.
    pub(super) judged: bool,
}

/// What came of watching.
pub(super) enum Followed {
    /// It is seen and told of, and what comes next is planned. False: people could not be told.
    Done(bool),
    /// The status does not show it yet; what Cloud Run's conditions say.
    OnItsWay(String),
    /// It has to be looked at again, for this reason.
    Again(String),
    /// It is seen and told of, but the queue refuses the next step, for this reason. Moving more needs a look first.
    Unplanned(String),
}

impl Runback {
    /// Watches until the status shows the last write, then tells, and plans what comes next.
    pub(super) async fn follow(&self, case: &Case<'_>, course: Course<'_>) -> Followed {
        let mut course = course;
        let until = case.received.deadline() - TELL;
        loop {
            let wait = course.patient.then_some(until);
            let Course { rollback, document, late, .. } = &mut course;
            let Some(arrival) = self.arrival(case, rollback, document, *late, wait).await else {
                let trouble = document.service.trouble.as_deref();
                return Followed::OnItsWay(trouble.unwrap_or("no condition says why").to_owned());
            };
            if self.others_told(case, &course, until).await {
                return Followed::Done(true);
            }
            let ended = match &arrival {
                Arrival::Overruled => Some(Afterwards::Overruled),
                Arrival::NotYet { .. } => Some(Afterwards::NotArrived),
                _ => None,
            };
            let told = self.announce(case, &course, arrival, ended).await;
            let known = told.is_some();
            // What was an answer in a thread is no message to answer to.
            course.thread = course.thread.take().or(told.and_then(|posted| posted.thread));
            if let Some(thread) = &course.thread {
                self.memory.keep_thread(&course.rollback.id, thread);
            }
            let deadline = case.received.end();
            let Course { rollback, document, .. } = &course;
            match ended {
                Some(ended) if known => {
                    let recorded = self.record_phase(document, rollback, ended.phase(), deadline).await;
                    if let Err(error) = recorded {
                        tracing::warn!(%error, rollback = rollback.id, "how the rollback ended cannot be recorded");
                    }
                    return Followed::Done(true);
                }
                None if rollback.step < steps::ALL => {}
                // Should nobody know how it ended, the task tells.
                _ => {
                    let comes_back = self.plan_check(case, &course, known, deadline).await;
                    return match comes_back {
                        Err(why) if !known => Followed::Again(format!(
                            "Slack could not be told, and the queue takes no task: {why}"
                        )),
                        _ => Followed::Done(known),
                    };
                }
            }
            let Err(why) = self.plan_step(case, &course, known, deadline).await else {
                return Followed::Done(known);
            };
            if rollback.trial {
                tracing::error!(%why, rollback = rollback.id, "the trial's end cannot be planned; people decide");
                let (ended, thread) = (Afterwards::Undecided, course.thread.as_deref());
                let told = self.report(document, rollback, ended, (None, None), thread, case.received).await;
                return told.map_or_else(Followed::Again, |_| Followed::Done(true));
            }
            if !course.judged {
                // Traffic moves on evidence, and this request has read none.
                self.memory.forget(&next_task(rollback, course.rules));
                return Followed::Unplanned(format!("the next step cannot be planned: {why}"));
            }
            // Nobody would come back for the next step, and a rollback that stays half-way helps nobody.
            tracing::error!(%why, rollback = rollback.id, "the next step cannot be planned; moving all traffic now");
            let why = format!("All of it at once, because the task queue refuses the next step ({why})");
            let all = stepped(case, rollback, steps::ALL, Some(why));
            match self.go_on(document, &all, deadline).await {
                Ok(written) => (course.rollback, course.document) = (all, written),
                Err(CallError::Rejected(why) | CallError::NotFound(why)) => {
                    let Course { rollback, document, thread, .. } = course;
                    let (document, ended) = (refused(document, why), Afterwards::StepRefused);
                    let thread = thread.as_deref();
                    let told =
                        self.report(&document, &rollback, ended, (None, None), thread, case.received).await;
                    return told.map_or_else(Followed::Again, |_| Followed::Done(true));
                }
                Err(error) => {
                    // People know, but nobody comes back for the rest unless this is taken up again.
                    self.memory.forget(&next_task(rollback, course.rules));
                    return Followed::Again(format!("the rest of the traffic cannot be moved: {error}"));
                }
            }
        }
    }

    /// Another process may have taken the rollback over while the status took its time.
    async fn others_told(&self, case: &Case<'_>, course: &Course<'_>, deadline: Instant) -> bool {
        let Course { rollback, document, rules, untold, .. } = course;
        if *untold || case.received.time() - rollback.last_write() <= OWNED_FOR {
            return false;
        }
        let record = record_json::parse(document.record.as_deref()).unwrap_or_default();
        let now = record.rollbacks.iter().find(|entry| entry.id == rollback.id).unwrap_or(rollback);
        self.is_told(now, rules, deadline).await
    }

    /// What the status shows of the last write; nothing while it is on its way. Without `until` it is looked at once.
    pub(super) async fn arrival(
        &self,
        case: &Case<'_>,
        rollback: &Rollback,
        document: &mut ServiceDocument,
        late: bool,
        until: Option<Instant>,
    ) -> Option<Arrival> {
        let mut pause = Duration::from_millis(100);
        loop {
            let service = &document.service;
            let since = case.received.time() - rollback.last_write();
            if rollback.has_arrived(service) {
                let written = since.to_std().unwrap_or_default();
                let after = case.received.instant.elapsed().max(written);
                let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                let Rollback { id, target, step, .. } = rollback;
                tracing::info!(rollback = id, step, millis, "the status shows the traffic at {target}");
                return Some(if late { Arrival::Resumed } else { Arrival::Arrived { after } });
            }
            if !rollback.is_wanted(service) {
                return Some(Arrival::Overruled);
            }
            if since > ARRIVES_WITHIN {
                return Some(Arrival::NotYet { trouble: service.trouble.clone() });
            }
            let until = until.filter(|until| Instant::now() + pause < *until)?;
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
            match self.cloud_run.service(&service.name, until).await {
                Ok(read) => *document = read,
                Err(error) => {
                    tracing::warn!(%error, "the service cannot be read while waiting for the switch")
                }
            }
        }
    }

    /// Tells people of the last write, or that it `ended` there. Of a step in the middle there is nothing to tell: they
    /// know the plan.
    async fn announce(
        &self,
        case: &Case<'_>,
        course: &Course<'_>,
        arrival: Arrival,
        ended: Option<Afterwards>,
    ) -> Option<Posted> {
        let Course { decision, rollback, document, rules, thread, late, .. } = course;
        let service = &document.service;
        let further = rollback.moved.is_some();
        let as_announced = rollback.step < steps::ALL && rollback.why.is_none();
        if further && ended.is_none() && as_announced {
            return Some(Posted { thread: thread.clone() });
        }
        let what = ended.map_or_else(|| format!("step {}", rollback.step), |ended| ended.code().to_owned());
        if !self.memory.first_post(&rollback.id, &what) {
            return Some(Posted { thread: thread.clone() });
        }
        let probed = match ended {
            None => self.probe_service(case, rollback, service, rules).await,
            Some(_) => None,
        };
        let (ahead, probed) = (self.ahead(rollback, rules), probed.as_ref());
        let message = match ended {
            Some(ended) if further => {
                self.verdict_on(document, rollback, ended, (None, None), case.received.time())
            }
            None if further => notice::step(&self.policy, &service.name, rollback, *late, ahead, probed),
            _ => {
                let (alert, at) = (case.alert, rollback.last_write());
                notice::render(&self.policy, &Notice { decision, alert, at, arrival, ahead, probed })
            }
        };
        let deadline = case.received.deadline();
        let told = match thread {
            // What said that the first write is under way now says how it went.
            Some(first) if !further && ended.is_none() => self.tell_instead(&message, first, deadline).await,
            _ => self.tell(&message, thread.as_deref(), deadline).await,
        };
        match &told {
            Some(_) => self.memory.tell(&next_task(rollback, rules)),
            None => self.memory.forget_post(&rollback.id, &what),
        }
        told
    }

    /// Tells people that a rollback's first write takes longer than the answer may. Of a further one they know the plan.
    pub(super) async fn tell_under_way(
        &self,
        case: &Case<'_>,
        service: &ServiceName,
        decision: &Decision,
        rollback: &Rollback,
    ) {
        if rollback.moved.is_some() || !self.memory.first_post(&rollback.id, UNDER_WAY) {
            return;
        }
        let message = notice::under_way(&self.policy, service, rollback, decision, case.alert);
        // The task that watches on has to be planned in this time as well.
        match self.tell(&message, None, case.received.deadline() - PLAN).await {
            Some(Posted { thread: Some(thread) }) => self.memory.keep_thread(&rollback.id, &thread),
            Some(_) => {}
            None => self.memory.forget_post(&rollback.id, UNDER_WAY),
        }
    }

    /// What Runback does next about a rollback.
    fn ahead(&self, rollback: &Rollback, rules: &Rules) -> Ahead {
        match (&self.tasks, rollback.step) {
            (None, _) => Ahead::Nothing,
            (Some(_), steps::ALL) => Ahead::Check,
            (Some(_), _) if rollback.trial => Ahead::Trial { wait: rules.step_interval },
            (Some(_), step) => {
                Ahead::Step { percent: steps::next(rules, rollback.share(), step), wait: rules.step_interval }
            }
        }
    }

    /// Plans the next step. A queue that takes it only after a while is asked again, as long as there is time to move
    /// everything without it.
    async fn plan_step(
        &self,
        case: &Case<'_>,
        course: &Course<'_>,
        told: bool,
        deadline: Instant,
    ) -> Result<(), CallError> {
        let Course { rollback, document, rules, thread, .. } = course;
        let Some(tasks) = &self.tasks else { return Err(CallError::Rejected("there is no queue".into())) };
        let percent = steps::next(rules, rollback.share(), rollback.step);
        let axis = axis_of(case.alert.signal);
        let body = Task::step(&document.service.name, rollback, axis, percent, told, thread.clone()).body();
        let (name, due) = (step_task(rollback, percent), rollback.last_write() + rules.step_interval);
        let until = (deadline - WITHOUT_QUEUE).max(Instant::now() + ASK_QUEUE).min(deadline);
        tasks.create(&name, &body, due, until).await
    }

    /// Plans the look after everything has moved. That it is planned under its first name also says that people were
    /// told. Without a queue the record has to say so itself.
    ///
    /// # Errors
    /// When the queue does not take the task. People hear of that.
    async fn plan_check(
        &self,
        case: &Case<'_>,
        course: &Course<'_>,
        told: bool,
        deadline: Instant,
    ) -> Result<(), CallError> {
        let mut planned = Ok(());
        let Course { rollback, document, thread, .. } = course;
        let service = &document.service.name;
        if let Some(tasks) = &self.tasks {
            let axis = axis_of(case.alert.signal);
            let body = Task::check(service, rollback, axis, 1, told, thread.clone()).body();
            let name = check_task(rollback, u32::from(told));
            match tasks.create(&name, &body, rollback.last_write() + FIRST_LOOK, deadline).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    tracing::error!(%error, rollback = rollback.id, "the rollback stands, but no later check is planned");
                    let text = || notice::no_look_ahead(&self.policy, service, rollback, &error.to_string());
                    let news = (rollback.id.as_str(), "no check");
                    self.tell_once(news, text, thread.as_deref(), case.received.deadline()).await;
                    planned = Err(error);
                }
            }
        }
        if told && let Err(error) = self.record_phase(document, rollback, Phase::Told, deadline).await {
            tracing::warn!(%error, rollback = rollback.id, "that people were told cannot be recorded");
        }
        planned
    }

    /// Plans to look at a write again that takes long to arrive.
    ///
    /// # Errors
    /// With a sentence, when there is no queue, or it refuses.
    pub(super) async fn keep_watching(
        &self,
        case: &Case<'_>,
        service: &ServiceName,
        rollback: &Rollback,
        look: u32,
        thread: Option<String>,
    ) -> Result<(), String> {
        let Some(tasks) = &self.tasks else { return Err("there is no queue to watch it on".into()) };
        let body = Task::watch(service, rollback, axis_of(case.alert.signal), look, thread).body();
        let due = case.received.time() + WATCH_AGAIN;
        let name = watch_task(rollback, look);
        tasks.create(&name, &body, due, case.received.end()).await.map_err(|error| error.to_string())
    }
}

/// The rollback after another step, as it is about to be written.
pub(super) fn stepped(case: &Case<'_>, rollback: &Rollback, step: u8, why: Option<String>) -> Rollback {
    let moved = Some(case.received.time());
    Rollback { step, moved, phase: Phase::Switching, why, ..rollback.clone() }
}
