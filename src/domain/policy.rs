//! The policy: which services are guarded, and what counts as failing, recent and allowed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::service::ServiceName;

/// Every guarded service with its rules. Only listed services are ever touched.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The rules by service.
    pub services: BTreeMap<ServiceName, Rules>,
}

/// The rules for one service; [`Rules::default`] has the defaults of the policy document.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Whether to act or to explain only.
    pub mode: Mode,
    /// Error ratio from which people are told, as a share of 1; unset: no warning band.
    pub warning: Option<f64>,
    /// Error ratio from which traffic is rolled back, as a share of 1.
    pub rollback: f64,
    /// Error ratio from which everything moves at once, as a share of 1.
    pub critical: f64,
    /// A request that takes longer than this is slow.
    pub slow: Duration,
    /// Share of slow requests that counts as failing.
    pub slow_share: f64,
    /// How far back evidence is judged.
    pub window: Duration,
    /// How long after it began to take traffic a revision can be blamed.
    pub deploy_window: Duration,
    /// How far back health is proven.
    pub history: Duration,
    /// Fewer requests than this, in the window or in the history, prove nothing.
    pub min_requests: u64,
    /// No second automatic rollback of the service within this time.
    pub cooldown: Duration,
    /// Automatic rollbacks of the service in 24 hours, at most.
    pub max_rollbacks_per_day: u32,
    /// One step or several.
    pub strategy: Strategy,
    /// Percent of the culprit's share that has moved after each gradual step; the last is 100.
    pub steps: Vec<u8>,
    /// Time between two gradual steps.
    pub step_interval: Duration,
    /// Percent of the culprit's share that a trial moves; 100: everything moves without one.
    pub trial_share: u8,
    /// Path to probe on the target before and on the service after the switch.
    pub health_path: Option<String>,
    /// What to do when the rollback did not help.
    pub not_helped: NotHelped,
    /// What to do when culprit and target need different database schemas.
    pub schema: SchemaRule,
    /// Projects, beside the service's own, whose alert policies may have it rolled back.
    pub alert_projects: Vec<String>,
    /// Where the service's code is: messages link the difference between two commits.
    pub repository: Option<String>,
    /// The language of messages. Reason codes and commands stay as they are.
    pub language: Language,
    /// Whom Slack calls when a person is needed now.
    pub mention: Option<String>,
}

/// `language`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// Japanese.
    Japanese,
}

/// `mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Explain what would be done.
    Observe,
    /// Do it.
    Enforce,
}

/// `strategy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// All traffic in one write.
    Immediate,
    /// In `steps`, with a judgement between them.
    Gradual,
}

/// `not_helped`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotHelped {
    /// Leave the traffic on the target and escalate.
    Hold,
    /// Put the previous split back and escalate.
    Restore,
}

/// `schema`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaRule {
    /// A rollback across a schema change is left to people.
    Block,
    /// It is allowed.
    Allow,
}

impl Rules {
    /// The rules with another limit for slow requests, where an alert has one of its own.
    #[must_use]
    pub fn slow_above(&self, limit: Option<Duration>) -> Self {
        Self { slow: limit.unwrap_or(self.slow), ..self.clone() }
    }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

impl Default for Rules {
    fn default() -> Self {
        Self {
            mode: Mode::Observe,
            warning: None,
            rollback: 0.05,
            critical: 0.50,
            slow: Duration::from_secs(3),
            slow_share: 0.05,
            window: Duration::from_secs(10 * MINUTE),
            deploy_window: Duration::from_secs(DAY),
            history: Duration::from_secs(7 * DAY),
            min_requests: 20,
            cooldown: Duration::from_secs(30 * MINUTE),
            max_rollbacks_per_day: 3,
            strategy: Strategy::Immediate,
            steps: vec![10, 50, 100],
            step_interval: Duration::from_secs(4 * MINUTE),
            trial_share: 50,
            health_path: None,
            not_helped: NotHelped::Hold,
            schema: SchemaRule::Block,
            alert_projects: Vec::new(),
            repository: None,
            language: Language::English,
            mention: None,
        }
    }
}
