//! The shell: read, decide, act, observe, tell. The only file that knows both the judgement and the clients.

mod act;
mod catch_up;
mod follow_up;
mod gone;
mod handle;
mod look;
mod memory;
mod observe;
mod pins;
mod probe;
mod rights;
mod tell;
mod verdict;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout_at};

use crate::clients::cloud_run::{CloudRun, ServiceDocument};
use crate::clients::google::CallError;
use crate::clients::metadata::Metadata;
use crate::clients::monitoring::Monitoring;
use crate::clients::probe::Prober;
use crate::clients::slack::Slack;
use crate::clients::tasks::Tasks;
use crate::domain::alert::IncidentState;
use crate::domain::alert::{Alert, Content, Delivery};
use crate::domain::decide::{Answer, Facts, History, Round, Seen, decide};
use crate::domain::decision::{Decision, Reason};
use crate::domain::evidence::{Axis, Evidence};
use crate::domain::policy::Policy;
use crate::domain::probe::Probed;
use crate::domain::record::Record;
use crate::domain::service::{Revision, ServiceName};
use look::Reading;
use memory::Memory;

/// Eventarc waits 10 seconds for the answer and then delivers again in parallel; the answer is out before that.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(7_500);

/// What is left for Slack at the end.
const TELL: Duration = Duration::from_millis(1_500);

/// What is under way when time is up gets this much more, all of it together.
const OVERTIME: Duration = Duration::from_millis(400);

/// How often a decision is made anew when the service keeps changing under it.
const MOST_LOOKS_AT_ONCE: usize = 5;

/// A rollback written this recently by another process is still that process's to report.
const OWNED_FOR: TimeDelta = TimeDelta::seconds(8);

/// What has to be left of the time for looking once more after waiting for another process.
const PATIENCE_LEFT: Duration = Duration::from_secs(1);

/// Everything that a response needs. One for the process.
pub struct Runback {
    policy: Policy,
    cloud_run: CloudRun,
    monitoring: Monitoring,
    prober: Prober,
    metadata: Metadata,
    slack: Option<Slack>,
    tasks: Option<Tasks>,
    /// Runback's own service account, where a key file names it.
    account: Option<String>,
    /// Whether an alert policy is asked for the label that an alert claims for it.
    checks_labels: bool,
    /// Alerts on one service queue rather than race, and share what was read meanwhile.
    queues: BTreeMap<ServiceName, Mutex<Reading>>,
    /// Held while people are told of a deploy that waits behind a pin, until that is recorded.
    telling: Mutex<()>,
    memory: Memory,
}

/// Whom Runback speaks to.
pub struct Clients {
    /// The services.
    pub cloud_run: CloudRun,
    /// Their requests.
    pub monitoring: Monitoring,
    /// Their health paths.
    pub prober: Prober,
    /// Who Runback is.
    pub metadata: Metadata,
    /// People; unset: the log is all there is.
    pub slack: Option<Slack>,
    /// The queue; unset: nothing happens later.
    pub tasks: Option<Tasks>,
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
    fn time(&self) -> DateTime<Utc> {
        self.at + self.instant.elapsed()
    }

    fn deadline(&self) -> Instant {
        self.instant + ANSWER_WITHIN
    }

    /// After this no call is waited for.
    fn end(&self) -> Instant {
        self.deadline() + OVERTIME
    }
}

/// One alert on its way through.
#[derive(Clone, Copy)]
struct Case<'a> {
    alert: &'a Alert,
    published_at: Option<DateTime<Utc>>,
    received: Received,
    round: Round,
    /// How often this alert has been looked at again.
    looks: u32,
    /// While a deploy is watched: the reasons that people have been told of.
    watch: Option<&'a [String]>,
}

impl<'a> Case<'a> {
    /// One that comes up for the first time.
    fn new(alert: &'a Alert, received: Received) -> Self {
        Self { alert, published_at: None, received, round: Round::First, looks: 0, watch: None }
    }

    /// One that a task brings up again.
    fn later(alert: &'a Alert, received: Received, round: Round) -> Self {
        Self { round, ..Self::new(alert, received) }
    }
}

/// A service that was read and decided about.
struct Look {
    decision: Decision,
    document: ServiceDocument,
    record: Result<Record, String>,
    revisions: Vec<Revision>,
}

impl Runback {
    /// Guards what the policy lists. `account` is Runback's own service account, where a key file names it.
    #[must_use]
    pub fn new(policy: Policy, clients: Clients, account: Option<String>) -> Self {
        let queues = policy.services.keys().map(|name| (name.clone(), Mutex::default())).collect();
        let Clients { cloud_run, monitoring, prober, metadata, slack, tasks } = clients;
        Self {
            policy,
            cloud_run,
            monitoring,
            prober,
            metadata,
            slack,
            tasks,
            account,
            checks_labels: false,
            queues,
            telling: Mutex::new(()),
            memory: Memory::default(),
        }
    }

    /// Lets the label `runback` count only where the alert policy itself carries it, whatever an alert says.
    #[must_use]
    pub fn checking_labels(self) -> Self {
        Self { checks_labels: true, ..self }
    }

    /// Answers one message.
    pub async fn respond(&self, delivery: &Delivery, received: Received) -> Ending {
        let alert = match &delivery.content {
            Content::Alert(alert) => alert,
            Content::ServiceChanged(name) => {
                return self.changed(name, delivery.published_at, received).await;
            }
            Content::Ping(why) => {
                tokio::join!(self.sweep(received), self.use_queue(received));
                return Ending::Decided(Box::new(Decision::not_an_incident(why)));
            }
            Content::NotAnIncident(why) => return Ending::Decided(Box::new(Decision::not_an_incident(why))),
        };
        let case = Case { published_at: delivery.published_at, ..Case::new(alert, received) };
        self.answer(&case).await
    }

    /// Answers one alert: what it decides alone, or what the service shows when its turn has come.
    async fn answer(&self, case: &Case<'_>) -> Ending {
        let Case { alert, received, .. } = *case;
        let name = match decide(&self.facts(case, None, None, None, &[])) {
            Answer::Decided(decision) => return self.conclude(case, *decision).await,
            Answer::ReadService(name) => name,
            Answer::ReadHistory | Answer::Probe(_) => unreachable!("the service comes first"),
        };
        if alert.state == IncidentState::Closed {
            self.memory.close(&alert.incident, &name);
        }
        let Some(mut turn) = self.turn(&name, received.deadline()).await else {
            return Ending::Later("other alerts on the same service are still being handled".into());
        };
        match self.handle(case, &name, &mut turn).await {
            Ok(ending) => ending,
            Err(CallError::Denied { message, permission }) => {
                self.denied(case, &name, &message, &permission).await
            }
            Err(CallError::NotFound(message)) if !self.is_gone(&name, case.published_at, received) => {
                Ending::Later(format!("Cloud Run does not find the service: {message}"))
            }
            Err(CallError::NotFound(message)) => {
                let (reason, why) =
                    (Reason::UnresolvedService, format!("Cloud Run does not know it: {message}"));
                let decision = Decision::stopped(&alert.incident, &name, reason, "guarded", why);
                self.conclude(case, decision).await
            }
            Err(error) => Ending::Later(error.to_string()),
        }
    }

    fn facts<'a>(
        &'a self,
        case: &Case<'a>,
        seen: Option<Seen<'a>>,
        disputed: Option<&'a str>,
        history: Option<History<'a>>,
        probes: &'a [Probed],
    ) -> Facts<'a> {
        let Case { alert, published_at, received, round, .. } = *case;
        Facts {
            alert,
            policy: &self.policy,
            now: received.time(),
            published_at,
            disputed,
            round,
            known_closed: self.memory.is_closed(&alert.incident),
            waiting_since: self.memory.waiting_since(&alert.incident),
            comes_back: self.tasks.is_some(),
            seen,
            history,
            probes,
        }
    }

    /// Waits for this service's turn; nothing when it does not come in time.
    async fn turn(&self, name: &ServiceName, deadline: Instant) -> Option<Turn<'_>> {
        let queue = self.queues.get(name)?;
        let (waited, reading) = match queue.try_lock() {
            Ok(reading) => (false, reading),
            Err(_) => (true, timeout_at(deadline - TELL, queue.lock()).await.ok()?),
        };
        Some(Turn { waited, caught_up: false, reading, evidence: None })
    }
}

/// The right to work on a service, until it is dropped.
struct Turn<'a> {
    /// Whether somebody else was at work on the service before.
    waited: bool,
    /// Whether what was overdue on record has been done.
    caught_up: bool,
    /// What was read last.
    reading: MutexGuard<'a, Reading>,
    /// What Monitoring counted when this alert was last looked at.
    evidence: Option<(Axis, Evidence)>,
}
