//! A decision: a value that prints itself. The same text is the answer, the log entry and the Slack message.

use std::fmt;

use super::evidence::{Judgement, Sample};
use super::record::{Rollback, Share};
use super::service::{Revision, ServiceName};
use super::steps;

/// What was decided about one alert, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What is to be done.
    pub outcome: Outcome,
    /// The reason code.
    pub reason: Reason,
    /// The service, once it is known.
    pub service: Option<ServiceName>,
    /// The incident.
    pub incident: String,
    /// The gates that were evaluated, in order.
    pub gates: Vec<Gate>,
    /// The move that was decided on, or would be (`observe_mode`).
    pub plan: Option<Plan>,
    /// The culprit's requests over the window, oldest first, for the sparkline; empty when there are none.
    pub minutes: Vec<Sample>,
    /// Who is blamed and where to go back to, for people, also where an earlier gate stopped.
    pub advice: Option<Advice>,
}

/// What helps a person who wants to go back by hand.
#[derive(Debug, Clone, PartialEq)]
pub struct Advice {
    /// The revision that is blamed.
    pub culprit: Revision,
    /// The best revision to go back to, where there is one.
    pub target: Option<Revision>,
    /// What the target served in the policy's history: requests, and the share of bad ones.
    pub past: Option<(u64, f64)>,
    /// The permission that Runback lacks to read Monitoring.
    pub lacks: Option<String>,
}

/// What a decision asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Move the traffic as planned.
    Rollback,
    /// A rollback that our record already shows, and that nobody has reported as finished: observe it and tell.
    Resume(Box<Rollback>),
    /// A gradual rollback that is under way: move the rest now, because the culprit has become critical.
    Hasten(Box<Rollback>),
    /// Tell people; touch nothing.
    Notify,
    /// Tell people that a rollback of ours helped: its incident is closed, and the evidence agrees.
    Recovered(Box<(Rollback, Judgement)>),
    /// Log only.
    Ignore,
    /// Cannot be decided now: the message has to come again.
    Wait,
}

/// One check with its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// The gate's name, as in the table of gates.
    pub name: &'static str,
    /// Whether it let the rollback through.
    pub passed: bool,
    /// The figures, as a sentence.
    pub detail: String,
}

/// A planned move of traffic.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The revision that loses its traffic.
    pub culprit: Revision,
    /// The revision that gets it.
    pub target: Revision,
    /// Whether Monitoring's history shows that the target served healthily.
    pub proven: bool,
    /// Which requests ignore percentages and stay with the culprit, where there are such; a sentence.
    pub stays: Option<String>,
    /// The split before, by the status.
    pub from: Vec<Share>,
    /// The split after the first step.
    pub to: Vec<Share>,
    /// Percent of the culprit's share that the first step moves; 100 when everything goes at once.
    pub step: u8,
    /// Whether the first step is a trial: the rest follows only if the target turns out better on the same minutes.
    pub trial: bool,
}

impl Plan {
    /// The split when everything has moved.
    #[must_use]
    pub fn end(&self) -> Vec<Share> {
        steps::split(&self.from, &self.culprit.name, &self.target.name, steps::ALL)
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// Why a decision came out as it did.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// Every reason, in the order of the gates.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code in answers, logs, Slack and the record.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The reason with this code.
            #[must_use]
            pub fn of_code(code: &str) -> Option<Self> {
                Self::ALL.iter().find(|reason| reason.code() == code).copied()
            }
        }
    };
}

reasons! {
    /// The evidence confirms that the culprit fails.
    Confirmed = "confirmed",
    /// It fails at or above the policy's `critical`, or the alert policy says that its alerts are critical.
    Critical = "critical",
    /// Monitoring could not be read, so Runback trusted the alert.
    Unconfirmed = "unconfirmed",
    /// Well delivered, but no incident.
    NotAnIncident = "not_an_incident",
    /// The console's test notification.
    TestNotification = "test_notification",
    /// The incident that we acted on is closed, and the evidence shows the target healthy.
    Recovered = "recovered",
    /// The incident is closed.
    Closed = "closed",
    /// The incident is neither open nor closed.
    UnknownState = "unknown_state",
    /// Not a service that the policy lists.
    NotGuarded = "not_guarded",
    /// A Cloud Run alert that names no service, or one that Cloud Run does not know.
    UnresolvedService = "unresolved_service",
    /// The incident, or its culprit, has been rolled back before.
    AlreadyHandled = "already_handled",
    /// Our record cannot be read, or a newer version wrote it.
    UnreadableRecord = "unreadable_record",
    /// A deploy is in flight and does not settle.
    DeployInProgress = "deploy_in_progress",
    /// The alert's revision takes no traffic.
    CulpritNotServing = "culprit_not_serving",
    /// Several revisions serve and nothing tells them apart.
    AmbiguousCulprit = "ambiguous_culprit",
    /// Something that every revision depends on fails.
    DependencyOutage = "dependency_outage",
    /// The evidence shows health.
    Healthy = "healthy",
    /// The evidence shows neither health nor failure.
    Inconclusive = "inconclusive",
    /// Monitoring answered and has nothing for the window.
    NoData = "no_data",
    /// Between the policy's `warning` and `rollback`.
    Warning = "warning",
    /// An alert that is only to be explained.
    ExplainOnly = "explain_only",
    /// The culprit has served for longer than `deploy_window`, or began after the incident.
    NotDeployRelated = "not_deploy_related",
    /// Another rollback was made within `cooldown`.
    Cooldown = "cooldown",
    /// The day's rollbacks are used up.
    BudgetExhausted = "budget_exhausted",
    /// No revision qualifies as a target.
    NoCandidate = "no_candidate",
    /// Culprit and target need different database schemas.
    SchemaFence = "schema_fence",
    /// The policy says to explain only.
    ObserveMode = "observe_mode",
    /// Somebody holds the service: explain only, until then.
    OnHold = "on_hold",
    /// A deploy is watched from now on.
    Watching = "watching",
    /// A change of a service that put no new revision into traffic.
    NothingToWatch = "nothing_to_watch",
    /// Cloud Run refused us for an hour.
    PermissionDenied = "permission_denied",
    /// Cloud Run refuses the write for good.
    WriteRefused = "write_refused",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Outcome {
    /// The decision in answers and logs: `rollback`, `notify` or `ignore`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Rollback | Self::Resume(_) | Self::Hasten(_) => "rollback",
            Self::Notify | Self::Recovered(_) => "notify",
            Self::Ignore => "ignore",
            Self::Wait => "wait",
        }
    }
}

impl Decision {
    /// A well delivered message that carries no incident.
    #[must_use]
    pub fn not_an_incident(why: &str) -> Self {
        let gates = vec![Gate { name: "open", passed: false, detail: why.to_owned() }];
        let (outcome, reason, minutes) = (Outcome::Ignore, Reason::NotAnIncident, Vec::new());
        let incident = String::new();
        Self { outcome, reason, service: None, incident, gates, plan: None, minutes, advice: None }
    }

    /// What ends outside the gates and concerns people.
    #[must_use]
    pub fn stopped(
        incident: &str,
        name: &ServiceName,
        reason: Reason,
        gate: &'static str,
        why: String,
    ) -> Self {
        let gates = vec![Gate { name: gate, passed: false, detail: why }];
        let (outcome, service, incident) = (Outcome::Notify, Some(name.clone()), incident.to_owned());
        Self { outcome, reason, service, incident, gates, plan: None, minutes: Vec::new(), advice: None }
    }

    /// A rollback that only the record still tells of.
    #[must_use]
    pub fn resumed(name: &ServiceName, rollback: Rollback) -> Self {
        let reason = Reason::of_code(&rollback.reason).unwrap_or(Reason::Confirmed);
        let (service, incident) = (Some(name.clone()), rollback.incident.clone());
        let outcome = Outcome::Resume(Box::new(rollback.clone()));
        let (gates, minutes) = (Vec::new(), Vec::new());
        Self { outcome, reason, service, incident, gates, plan: None, minutes, advice: None }
            .recalling(&rollback)
    }

    /// With the figures that the record still has of a rollback.
    #[must_use]
    pub fn recalling(mut self, rollback: &Rollback) -> Self {
        let detail = rollback.why.clone();
        self.gates.extend(detail.map(|detail| Gate { name: "failing", passed: true, detail }));
        self
    }

    /// Adds to the sentence that settled it.
    pub fn add(&mut self, words: &str) {
        if let Some(gate) = self.gates.last_mut() {
            gate.detail += words;
        }
    }

    /// This rollback, when Cloud Run refuses to write it for good. The plan stays: people may want to follow it.
    #[must_use]
    pub fn refused(mut self, why: String) -> Self {
        self.gates.push(Gate {
            name: "write",
            passed: false,
            detail: format!("Cloud Run refuses the write: {why}"),
        });
        Self { outcome: Outcome::Notify, reason: Reason::WriteRefused, ..self }
    }

    /// The last gate's sentence: what settled it.
    #[must_use]
    pub fn settled_by(&self) -> Option<&Gate> {
        self.gates.iter().find(|gate| !gate.passed).or(self.gates.last())
    }

    /// One sentence for people: what, from where to where, and what settled it.
    #[must_use]
    pub fn headline(&self) -> String {
        let subject = self.service.as_ref().map_or("this alert", |name| name.service.as_str());
        let why = self.settled_by().map_or(String::new(), |gate| format!(": {}", gate.detail));
        match (&self.outcome, &self.plan) {
            (Outcome::Rollback, Some(plan)) => {
                let failing = self.gates.iter().find(|gate| gate.name == "failing");
                let why = failing.map_or(String::new(), |gate| format!(": {}", gate.detail));
                let part = match plan.step {
                    steps::ALL => String::new(),
                    step if plan.trial => format!(", on trial: {step} % of its traffic first"),
                    step => format!(", {step} % of its traffic first"),
                };
                format!("{subject} goes back from {} to {}{part}{why}", plan.culprit.name, plan.target.name)
            }
            (Outcome::Resume(rollback), _) => {
                format!("{subject} was rolled back from {} to {}", rollback.culprit, rollback.target)
            }
            (Outcome::Hasten(rollback), _) => {
                format!("{subject} goes back from {} to {} at once{why}", rollback.culprit, rollback.target)
            }
            (Outcome::Recovered(afterwards), _) => {
                format!("{subject} has recovered after it was rolled back to {}{why}", afterwards.0.target)
            }
            (Outcome::Notify, Some(plan)) => format!(
                "Nothing was touched on {subject}; the plan was {} to {}{why}",
                plan.culprit.name, plan.target.name
            ),
            (Outcome::Wait, _) => format!("Nothing can be decided about {subject} yet{why}"),
            _ if self.service.is_none() => format!("Nothing was touched{why}"),
            _ => format!("Nothing was touched on {subject}{why}"),
        }
    }
}

/// The whole decision as text: headline with the reason code, then the gates like a short argument.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}). {}", self.outcome.word(), self.reason, self.headline())?;
        for gate in &self.gates {
            write!(f, "\n  {} {:<17} {}", if gate.passed { '✓' } else { '✗' }, gate.name, gate.detail)?;
        }
        Ok(())
    }
}
