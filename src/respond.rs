//! The shell: read, decide, act, observe, tell. The only file that knows both the judgement and the clients.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep, timeout_at};

use crate::clients::cloud_run::{CloudRun, ServiceDocument};
use crate::clients::google::CallError;
use crate::clients::monitoring::Monitoring;
use crate::clients::slack::Slack;
use crate::clients::tasks::Tasks;
use crate::domain::alert::{Alert, Content, Delivery};
use crate::domain::decide::{Answer, Facts, History, Seen, axis_of, decide};
use crate::domain::decision::{Decision, Outcome, Plan, Reason};
use crate::domain::policy::Policy;
use crate::domain::record::{Phase, Quarantined, Record, Rollback};
use crate::domain::service::{Revision, ServiceName};
use crate::domain::traffic;
use crate::follow_up::{FIRST_LOOK, Task};
use crate::memory::Memory;
use crate::notice::{self, Arrival, Notice};
use crate::record_json;

/// Eventarc waits 10 seconds for the answer and then delivers again in parallel; the answer is out before that.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(7_500);

/// Reading the service and its revisions.
const READ: Duration = Duration::from_secs(4);

/// Reading the evidence. Then the alert's word stands.
const READ_EVIDENCE: Duration = Duration::from_millis(2_500);

/// Waiting for the answer to a write. Then reading settles what became of it.
const WRITE: Duration = Duration::from_secs(3);

/// What is left for Slack at the end.
const TELL: Duration = Duration::from_millis(1_500);

/// How often a decision is made anew when the service keeps changing under it.
const MOST_LOOKS: usize = 5;

/// A rollback written this recently by another process is still that process's to report.
const OWNED_FOR: TimeDelta = TimeDelta::seconds(4);

/// A switch that the status does not show after this long is reported as not arrived.
const ARRIVES_WITHIN: TimeDelta = TimeDelta::minutes(5);

/// A refusal by IAM is worth repeating for this long: rights may be on their way.
const DENIED_FOR: TimeDelta = TimeDelta::hours(1);

/// Everything that a response needs. One for the process.
pub struct Runback {
    pub(crate) policy: Policy,
    pub(crate) cloud_run: CloudRun,
    pub(crate) monitoring: Monitoring,
    slack: Option<Slack>,
    pub(crate) tasks: Option<Tasks>,
    /// Runback's own service account, where it is known.
    account: Option<String>,
    /// Alerts on one service queue rather than race.
    queues: BTreeMap<ServiceName, Mutex<()>>,
    pub(crate) memory: Memory,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// Decided, and done if anything was to be done: acknowledge.
    Decided(Box<Decision>),
    /// Not now: it has to come again.
    Later(String),
}

/// When a message arrived.
#[derive(Debug, Clone, Copy)]
pub struct Received {
    /// By the clock on the wall.
    pub at: DateTime<Utc>,
    /// For measuring.
    pub instant: Instant,
}

impl Received {
    /// Now. The one place that reads the clock for a decision.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the shell")]
    pub fn now() -> Self {
        Self { at: Utc::now(), instant: Instant::now() }
    }

    /// The time now, by the wall clock of the arrival.
    pub(crate) fn time(&self) -> DateTime<Utc> {
        self.at + self.instant.elapsed()
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.instant + ANSWER_WITHIN
    }
}

/// One alert on its way through.
#[derive(Clone, Copy)]
struct Case<'a> {
    alert: &'a Alert,
    published_at: Option<DateTime<Utc>>,
    received: Received,
}

/// A service that was read and decided about.
struct Look {
    decision: Decision,
    document: ServiceDocument,
    record: Result<Record, String>,
    revisions: Vec<Revision>,
}

impl Runback {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        policy: Policy,
        cloud_run: CloudRun,
        monitoring: Monitoring,
        slack: Option<Slack>,
        tasks: Option<Tasks>,
        account: Option<String>,
    ) -> Self {
        let queues = policy.services.keys().map(|name| (name.clone(), Mutex::new(()))).collect();
        Self { policy, cloud_run, monitoring, slack, tasks, account, queues, memory: Memory::default() }
    }

    /// Answers one message.
    pub async fn respond(&self, delivery: &Delivery, received: Received) -> Ending {
        let alert = match &delivery.content {
            Content::Alert(alert) => alert,
            Content::NotAnIncident(why) => return Ending::Decided(Box::new(Decision::not_an_incident(why))),
        };
        let case = Case { alert, published_at: delivery.published_at, received };
        match self.facts_or_decision(&case) {
            Ok(decision) => self.conclude(&case, decision, None).await,
            Err(name) => {
                let Some(_turn) = self.turn(&name, received.deadline()).await else {
                    return Ending::Later("other alerts on the same service are still being handled".into());
                };
                match self.handle(&case, &name, _turn.waited).await {
                    Ok(ending) => ending,
                    Err(CallError::Denied { message, permission }) => {
                        self.denied(&case, &name, &message, &permission).await
                    }
                    Err(CallError::NotFound(message)) => {
                        let why = format!("Cloud Run does not know the service: {message}");
                        let decision = Decision::stopped(
                            &alert.incident,
                            &name,
                            Reason::UnresolvedService,
                            "guarded",
                            why,
                        );
                        self.conclude(&case, decision, None).await
                    }
                    Err(error) => Ending::Later(error.to_string()),
                }
            }
        }
    }

    /// What the alert alone decides, or the service that has to be read.
    fn facts_or_decision(&self, case: &Case<'_>) -> Result<Decision, ServiceName> {
        match decide(&self.facts(case, None, None)) {
            Answer::Decided(decision) => Ok(*decision),
            Answer::ReadService(name) => Err(name),
            Answer::ReadHistory => unreachable!("the service comes before its history"),
        }
    }

    fn facts<'a>(
        &'a self,
        case: &Case<'a>,
        seen: Option<Seen<'a>>,
        history: Option<History<'a>>,
    ) -> Facts<'a> {
        let Case { alert, published_at, received } = *case;
        Facts { alert, policy: &self.policy, now: received.time(), published_at, seen, history }
    }

    /// Waits for this service's turn; nothing when it does not come in time.
    pub(crate) async fn turn(&self, name: &ServiceName, deadline: Instant) -> Option<Turn<'_>> {
        let queue = self.queues.get(name)?;
        if let Ok(guard) = queue.try_lock() {
            return Some(Turn { waited: false, _guard: guard });
        }
        let guard = timeout_at(deadline - TELL, queue.lock()).await.ok()?;
        Some(Turn { waited: true, _guard: guard })
    }

    /// Looks, decides and does, anew as often as somebody else changes the service meanwhile.
    async fn handle(&self, case: &Case<'_>, name: &ServiceName, waited: bool) -> Result<Ending, CallError> {
        let deadline = case.received.deadline();
        let mut sent: Option<(Decision, Rollback)> = None;
        for _ in 0..MOST_LOOKS {
            let look = self.look(case, name, waited).await?;
            let Look { decision, document, .. } = &look;
            match &decision.outcome {
                Outcome::Rollback => {}
                Outcome::Resume(rollback) => {
                    let ours = self.memory.wrote(&rollback.id);
                    let age = case.received.time() - rollback.at;
                    if !ours && age < OWNED_FOR {
                        sleep(
                            (OWNED_FOR - age)
                                .to_std()
                                .unwrap_or_default()
                                .min(OWNED_FOR.to_std().unwrap_or_default()),
                        )
                        .await;
                        self.memory.adopt(&rollback.id);
                        continue;
                    }
                    // A write whose answer was lost: the story is the decision that led to it.
                    let (decision, rollback) = match sent.take() {
                        Some((decision, own)) if own.id == rollback.id => (decision, own),
                        _ => (decision.clone(), Rollback::clone(rollback)),
                    };
                    return self.follow(case, decision, rollback, look.document).await;
                }
                Outcome::Notify | Outcome::Ignore | Outcome::Wait => {
                    let (decision, url) = (decision.clone(), document.service.url.clone());
                    return Ok(self.conclude(case, decision, Some(&url)).await);
                }
            }
            let Some((rollback, written)) = self.switch(case, &look).await else {
                return Ok(Ending::Later("a rollback without a plan or a readable record".into()));
            };
            match written {
                Ok(document) => return self.follow(case, look.decision, rollback, document).await,
                Err(CallError::Conflict(why)) => {
                    tracing::warn!(%why, "the service changed while it was judged; looking again")
                }
                Err(CallError::Unavailable(why)) => {
                    tracing::warn!(%why, "the answer to the write was lost; reading what became of it");
                    sent = Some((look.decision, rollback));
                    sleep(Duration::from_millis(200)).await;
                }
                Err(CallError::Rejected(why) | CallError::NotFound(why)) => {
                    let url = look.document.service.url.clone();
                    return Ok(self.conclude(case, look.decision.refused(why), Some(&url)).await);
                }
                Err(denied @ CallError::Denied { .. }) => return Err(denied),
            }
            if Instant::now() + TELL >= deadline {
                break;
            }
        }
        Ok(Ending::Later("the service could not be changed in time".into()))
    }

    /// Reads the service, its revisions and its evidence at the same time, and decides as soon as it can.
    async fn look(&self, case: &Case<'_>, name: &ServiceName, waited: bool) -> Result<Look, CallError> {
        let Case { alert, received, .. } = *case;
        let deadline = received.deadline() - TELL;
        let reads_end = deadline.min(Instant::now() + READ);
        let rules = self.policy.services.get(name).cloned().unwrap_or_default();
        let history = async {
            let evidence_end = deadline.min(Instant::now() + READ_EVIDENCE);
            let evidence =
                self.monitoring.evidence(name, axis_of(alert.signal), &rules, received.time(), evidence_end);
            tokio::join!(self.cloud_run.revisions(name, reads_end), evidence)
        };
        tokio::pin!(history);
        let mut past = None;
        let service = self.cloud_run.service(name, reads_end);
        // Who has waited in the queue most likely finds the work done: one read shows it.
        let document = if waited {
            service.await?
        } else {
            tokio::pin!(service);
            loop {
                tokio::select! {
                    document = &mut service => break document?,
                    read = &mut history, if past.is_none() => past = Some(read),
                }
            }
        };
        let record = record_json::parse(document.record.as_deref()).map_err(|error| error.to_string());
        let told = self.told(case, &record, deadline).await;
        let seen = Seen { service: &document.service, record: &record, told };
        if let Answer::Decided(decision) = decide(&self.facts(case, Some(seen), None)) {
            return Ok(Look { decision: *decision, document, record, revisions: Vec::new() });
        }
        let (revisions, evidence) = match past {
            Some(past) => past,
            None => history.await,
        };
        let revisions = revisions?;
        let past = History { revisions: &revisions, evidence: &evidence };
        let Answer::Decided(decision) = decide(&self.facts(case, Some(seen), Some(past))) else {
            unreachable!("all facts are there");
        };
        Ok(Look { decision: *decision, document, record, revisions })
    }

    /// Whether people know of the newest rollback, though the record does not say so yet: we told them ourselves, or
    /// the check that is planned once they have been told is planned.
    async fn told(&self, case: &Case<'_>, record: &Result<Record, String>, deadline: Instant) -> bool {
        let Some(newest) = record.as_ref().ok().and_then(|record| record.rollbacks.first()) else {
            return false;
        };
        let concerns =
            newest.incident == case.alert.incident || case.alert.revision() == Some(newest.culprit.as_str());
        if newest.phase != Phase::Switching || !concerns {
            return false;
        }
        if self.memory.told(&newest.id) {
            return true;
        }
        match &self.tasks {
            Some(tasks) if !self.memory.wrote(&newest.id) => tasks
                .exists(&check_task(newest, 1), deadline.min(Instant::now() + READ))
                .await
                .unwrap_or_else(|error| {
                    tracing::warn!(%error, "whether the check after the rollback is planned cannot be read");
                    false
                }),
            _ => false,
        }
    }

    /// The one write: traffic and record together.
    async fn switch(
        &self,
        case: &Case<'_>,
        look: &Look,
    ) -> Option<(Rollback, Result<ServiceDocument, CallError>)> {
        let plan = look.decision.plan.as_ref()?;
        let record = look.record.as_ref().ok()?;
        let rollback = started(case, &look.decision, plan);
        let bad = Quarantined {
            revision: plan.culprit.name.clone(),
            digest: plan.culprit.digest.clone(),
            commit: plan.culprit.commit.clone(),
            at: rollback.at,
        };
        let exists = |name: &str| look.revisions.iter().any(|revision| revision.name == name);
        let record = record.with(rollback.clone(), bad, exists);
        let list = traffic::after(&look.document.service, plan);
        let deadline = (case.received.deadline() - TELL).min(Instant::now() + WRITE);
        self.memory.adopt(&rollback.id);
        let written =
            self.cloud_run.replace(&look.document, &list, &record_json::write(&record), deadline).await;
        Some((rollback, written))
    }

    /// Watches until the status shows the switch, then tells.
    async fn follow(
        &self,
        case: &Case<'_>,
        decision: Decision,
        rollback: Rollback,
        document: ServiceDocument,
    ) -> Result<Ending, CallError> {
        let until = case.received.deadline() - TELL;
        let resumed = matches!(decision.outcome, Outcome::Resume(_));
        let mut document = document;
        let mut pause = Duration::from_millis(100);
        let arrival = loop {
            let service = &document.service;
            if rollback.has_arrived(service) {
                let after = case.received.instant.elapsed();
                break if resumed { Arrival::Resumed } else { Arrival::Arrived { after } };
            }
            if !rollback.is_wanted(service) {
                break Arrival::NotYet {
                    trouble: Some("the traffic has been changed by somebody else since".into()),
                };
            }
            if case.received.time() - rollback.at > ARRIVES_WITHIN {
                break Arrival::NotYet { trouble: service.trouble.clone() };
            }
            if Instant::now() + pause >= until {
                let trouble = service.trouble.as_deref().unwrap_or("no condition says why");
                return Ok(Ending::Later(format!(
                    "the switch is written; the status does not show it yet ({trouble})"
                )));
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(1));
            match self.cloud_run.service(&service.name, until).await {
                Ok(read) => document = read,
                Err(error) => {
                    tracing::warn!(%error, "the service cannot be read while waiting for the switch")
                }
            }
        };
        let url = document.service.url.clone();
        let notice = Notice { decision: &decision, alert: case.alert, service_url: Some(&url), arrival };
        let told = self.tell_of(&rollback, &notice, case.received.deadline()).await;
        self.plan_check(case, &rollback, &document, told).await;
        Ok(Ending::Decided(Box::new(decision)))
    }

    /// Plans the look after the switch. That it is planned under its first name also says that people were told.
    /// Without a queue the record has to say so itself.
    async fn plan_check(&self, case: &Case<'_>, rollback: &Rollback, document: &ServiceDocument, told: bool) {
        let deadline = case.received.deadline().max(Instant::now() + Duration::from_millis(500));
        let result = match &self.tasks {
            Some(tasks) => {
                let task = Task::first(&document.service.name, rollback, axis_of(case.alert.signal), told);
                let name = check_task(rollback, u32::from(told));
                tasks.create(&name, &task.body(), rollback.at + FIRST_LOOK, deadline).await
            }
            None if told => self.record_phase(document, rollback, Phase::Told, deadline).await,
            None => Ok(()),
        };
        if let Err(error) = result {
            tracing::error!(%error, rollback = rollback.id, "the rollback stands, but its later check cannot be planned");
        }
    }

    /// Writes how far a rollback has come; the traffic stays as it was read.
    pub(crate) async fn record_phase(
        &self,
        document: &ServiceDocument,
        rollback: &Rollback,
        phase: Phase,
        deadline: Instant,
    ) -> Result<(), CallError> {
        let Ok(mut record) = record_json::parse(document.record.as_deref()) else { return Ok(()) };
        let Some(entry) = record.rollbacks.iter_mut().find(|entry| entry.id == rollback.id) else {
            return Ok(());
        };
        entry.phase = phase;
        let traffic = &document.service.spec_traffic;
        self.cloud_run.replace(document, traffic, &record_json::write(&record), deadline).await.map(|_| ())
    }

    /// Tells people about a decision that touches nothing, once for an incident and reason.
    async fn conclude(&self, case: &Case<'_>, decision: Decision, service_url: Option<&str>) -> Ending {
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
    async fn denied(&self, case: &Case<'_>, name: &ServiceName, message: &str, permission: &str) -> Ending {
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
    pub(crate) async fn tell_of(&self, rollback: &Rollback, notice: &Notice<'_>, deadline: Instant) -> bool {
        let told = self.tell(&notice::render(notice), deadline).await;
        if told {
            self.memory.tell(&rollback.id);
        }
        told
    }

    /// Whether the message reached Slack. Slack's failure is logged and stops nothing. Without Slack the log is what
    /// people read.
    pub(crate) async fn tell(&self, message: &notice::Message, deadline: Instant) -> bool {
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

pub(crate) struct Turn<'a> {
    /// Whether somebody else was at work on the service before.
    waited: bool,
    _guard: MutexGuard<'a, ()>,
}

/// The record's entry for a rollback that is about to be written.
fn started(case: &Case<'_>, decision: &Decision, plan: &Plan) -> Rollback {
    let at = case.received.time();
    // Unique for the service: nothing is rolled back twice within a second. Other services share the task queue.
    let service =
        decision.service.as_ref().map_or(String::new(), |name| format!("{}-{}", name.region, name.service));
    Rollback {
        id: format!("rb-{}-{service}", at.timestamp()),
        incident: decision.incident.clone(),
        at,
        culprit: plan.culprit.name.clone(),
        from: plan.from.clone(),
        target: plan.target.name.clone(),
        step: 100,
        phase: Phase::Switching,
        reason: decision.reason.code().to_owned(),
    }
}

/// The name of a check after a rollback: 1 is the first, 0 the first one of which people have not been told.
pub(crate) fn check_task(rollback: &Rollback, number: u32) -> String {
    format!("{}-check-{number}", rollback.id)
}
