//! The shell: read, decide, act, observe, tell. The only file that knows both the judgement and the clients.

mod act;
mod follow_up;
mod look;
mod memory;
mod observe;
mod pins;
mod probe;
mod tell;
mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep, timeout_at};

use crate::answer;
use crate::clients::cloud_run::{CloudRun, ServiceDocument};
use crate::clients::google::CallError;
use crate::clients::metadata::Metadata;
use crate::clients::monitoring::Monitoring;
use crate::clients::probe::Prober;
use crate::clients::slack::Slack;
use crate::clients::tasks::Tasks;
use crate::domain::alert::{Alert, Content, Delivery};
use crate::domain::decide::{Answer, Facts, History, Seen, decide};
use crate::domain::decision::{Decision, Outcome, Reason};
use crate::domain::policy::Policy;
use crate::domain::probe::Probed;
use crate::domain::record::{Record, Rollback};
use crate::domain::service::{Revision, ServiceName};
use crate::domain::steps;
use crate::notice::Afterwards;
use memory::Memory;
use observe::{Course, Followed, stepped};

/// Eventarc waits 10 seconds for the answer and then delivers again in parallel; the answer is out before that.
pub const ANSWER_WITHIN: Duration = Duration::from_millis(7_500);

/// What is left for Slack at the end.
const TELL: Duration = Duration::from_millis(1_500);

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
    /// Alerts on one service queue rather than race.
    queues: BTreeMap<ServiceName, Mutex<()>>,
    memory: Memory,
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
}

/// One alert on its way through.
#[derive(Clone, Copy)]
struct Case<'a> {
    alert: &'a Alert,
    published_at: Option<DateTime<Utc>>,
    received: Received,
    /// Whether a warning's patience is over.
    deadline_passed: bool,
    /// Whether this is an alert's second judgement; there is no third.
    second_look: bool,
    /// While a deploy is watched: the reasons that people have been told of.
    watch: Option<&'a [String]>,
}

impl<'a> Case<'a> {
    /// One that comes up for the first time.
    fn new(alert: &'a Alert, received: Received) -> Self {
        let (deadline_passed, second_look) = (false, false);
        Self { alert, published_at: None, received, deadline_passed, second_look, watch: None }
    }

    /// One that a task brings up again.
    fn later(alert: &'a Alert, received: Received, deadline_passed: bool) -> Self {
        Self { deadline_passed, second_look: true, ..Self::new(alert, received) }
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
        let (metadata, memory) = (Metadata::default(), Memory::default());
        let prober = Prober::new(metadata.clone());
        Self { policy, cloud_run, monitoring, prober, metadata, slack, tasks, account, queues, memory }
    }

    /// Answers one message.
    pub async fn respond(&self, delivery: &Delivery, received: Received) -> Ending {
        let alert = match &delivery.content {
            Content::Alert(alert) => alert,
            Content::ServiceChanged(name) => {
                return self.changed(name, delivery.published_at, received).await;
            }
            Content::NotAnIncident(why) => return Ending::Decided(Box::new(Decision::not_an_incident(why))),
        };
        let case = Case { published_at: delivery.published_at, ..Case::new(alert, received) };
        self.answer(&case).await
    }

    /// Answers one alert: what it decides alone, or what the service shows when its turn has come.
    async fn answer(&self, case: &Case<'_>) -> Ending {
        let Case { alert, received, .. } = *case;
        let name = match decide(&self.facts(case, None, None, &[])) {
            Answer::Decided(decision) => return self.conclude(case, *decision, None).await,
            Answer::ReadService(name) => name,
            Answer::ReadHistory | Answer::Probe(_) => unreachable!("the service comes first"),
        };
        let Some(turn) = self.turn(&name, received.deadline()).await else {
            return Ending::Later("other alerts on the same service are still being handled".into());
        };
        match self.handle(case, &name, turn.waited).await {
            Ok(ending) => ending,
            Err(CallError::Denied { message, permission }) => {
                self.denied(case, &name, &message, &permission).await
            }
            Err(CallError::NotFound(message)) => {
                let (reason, why) =
                    (Reason::UnresolvedService, format!("Cloud Run does not know it: {message}"));
                let decision = Decision::stopped(&alert.incident, &name, reason, "guarded", why);
                self.conclude(case, decision, None).await
            }
            Err(error) => Ending::Later(error.to_string()),
        }
    }

    fn facts<'a>(
        &'a self,
        case: &Case<'a>,
        seen: Option<Seen<'a>>,
        history: Option<History<'a>>,
        probes: &'a [Probed],
    ) -> Facts<'a> {
        let Case { alert, published_at, received, deadline_passed, .. } = *case;
        Facts {
            alert,
            policy: &self.policy,
            now: received.time(),
            published_at,
            deadline_passed,
            comes_back: self.tasks.is_some(),
            seen,
            history,
            probes,
        }
    }

    /// Waits for this service's turn; nothing when it does not come in time.
    async fn turn(&self, name: &ServiceName, deadline: Instant) -> Option<Turn<'_>> {
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
        let mut waited = waited;
        let mut looks = 0;
        // What a probe found stays true for the seconds that this takes.
        let mut probes = Vec::new();
        while looks < MOST_LOOKS_AT_ONCE {
            let look = match self.look(case, name, waited, &mut probes).await {
                Err(CallError::Conflict(why)) if Instant::now() + TELL < deadline => {
                    tracing::warn!(%why, "the service changed while its target was tagged; looking again");
                    looks += 1;
                    continue;
                }
                look => look?,
            };
            let Look { decision, document, .. } = &look;
            match &decision.outcome {
                Outcome::Rollback => looks += 1,
                Outcome::Resume(rollback) => {
                    let story = self.memory.story(&rollback.id);
                    let age = case.received.time() - rollback.last_write();
                    // Whether its owner lives cannot be known, only whether it has told: that is looked for.
                    if story.is_none() && age < OWNED_FOR && Instant::now() + PATIENCE_LEFT < deadline - TELL
                    {
                        sleep(Duration::from_millis(500)).await;
                        waited = true;
                        continue;
                    }
                    // Our own write, whose answer was lost or whose switch took long: its story is the whole decision.
                    let decision =
                        story.map_or_else(|| decision.clone().recalling(rollback), |(decision, _)| decision);
                    return Ok(self.pursue(case, decision, Rollback::clone(rollback), look.document).await);
                }
                Outcome::Hasten(rollback) => {
                    looks += 1;
                    let why = format!(
                        "All of it at once: {}",
                        decision.settled_by().map_or("", |gate| &gate.detail)
                    );
                    let reason = decision.reason.code().to_owned();
                    let all = Rollback { reason, ..stepped(case, rollback, steps::ALL, Some(why)) };
                    match self.go_on(document, &all, deadline - TELL).await {
                        Ok(written) => {
                            let ending = self.pursue(case, look.decision, all.clone(), written).await;
                            self.show_phase(name, &all.id, None, deadline).await;
                            return Ok(ending);
                        }
                        Err(CallError::Conflict(why) | CallError::Unavailable(why)) => {
                            tracing::warn!(%why, "the rest could not be moved; looking again");
                            sleep(Duration::from_millis(200)).await;
                        }
                        Err(error) => return Err(error),
                    }
                    if Instant::now() + TELL >= deadline {
                        break;
                    }
                    continue;
                }
                Outcome::Recovered(end) => {
                    let (rollback, judgement) = &**end;
                    let (ended, judged) = (Afterwards::Recovered, (Some(*judgement), None));
                    let thread = self.memory.thread(&rollback.id);
                    let told = self
                        .report(document, rollback, ended, judged, thread.as_deref(), case.received)
                        .await;
                    self.show_phase(name, &rollback.id, None, deadline).await;
                    return Ok(
                        told.map_or_else(Ending::Later, |_| Ending::Decided(Box::new(decision.clone())))
                    );
                }
                Outcome::Notify | Outcome::Ignore | Outcome::Wait => {
                    if decision.reason != Reason::DeployInProgress {
                        self.untag(case, document).await;
                    }
                    let (decision, url) = (decision.clone(), document.service.url.clone());
                    return Ok(self.conclude(case, decision, Some(&url)).await);
                }
            }
            let Some((rollback, written)) = self.switch(case, &look).await else {
                return Ok(Ending::Later("a rollback without a plan or a readable record".into()));
            };
            match written {
                Ok(document) => return Ok(self.pursue(case, look.decision, rollback, document).await),
                Err(CallError::Conflict(why)) => {
                    tracing::warn!(%why, "the service changed while it was judged; looking again")
                }
                Err(CallError::Unavailable(why)) => {
                    tracing::warn!(%why, "the answer to the write was lost; reading what became of it");
                    sleep(Duration::from_millis(200)).await;
                }
                Err(CallError::Rejected(why) | CallError::NotFound(why)) => {
                    self.untag(case, &look.document).await;
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
}

impl Runback {
    /// Sees a write of this alert's through, as far as the time for its answer reaches. Then a task goes on watching;
    /// without a queue the message has to come again.
    async fn pursue(
        &self,
        case: &Case<'_>,
        decision: Decision,
        rollback: Rollback,
        document: ServiceDocument,
    ) -> Ending {
        let name = document.service.name.clone();
        let (written, thread) = (rollback.clone(), self.memory.thread(&rollback.id));
        let late = matches!(decision.outcome, Outcome::Resume(_));
        let course =
            Course { decision: &decision, rollback, document, thread, patient: true, late, untold: false };
        match self.follow(case, course).await {
            Followed::Done(_) => Ending::Decided(Box::new(decision)),
            Followed::OnItsWay(trouble) => {
                answer::log(&decision, "written, not arrived yet", None, case.received.instant.elapsed());
                match self.keep_watching(case, &name, &written, 1, self.memory.thread(&written.id)).await {
                    Ok(()) => Ending::Decided(Box::new(decision)),
                    Err(why) => Ending::Later(format!(
                        "the switch is written; the status does not show it yet ({trouble}), and {why}"
                    )),
                }
            }
            Followed::Again(why) => Ending::Later(why),
        }
    }
}

struct Turn<'a> {
    /// Whether somebody else was at work on the service before.
    waited: bool,
    _guard: MutexGuard<'a, ()>,
}
