//! Tasks: what Cloud Tasks is asked to call back with, and under which name.
//!
//! A body says only what to look at, and holds no times: what is due is read from the service and its record.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::alert::{Alert, Signal};
use crate::domain::evidence::Axis;
use crate::domain::policy::Rules;
use crate::domain::record::{Phase, Rollback};
use crate::domain::service::ServiceName;
use crate::domain::steps;
use crate::record_json::LONGEST_TEXT;
use crate::respond::pins::Pin;
use crate::respond::watch::{Look, Settle};

/// A body is shorter than this, whatever Runback writes into it.
const LONGEST_BODY: usize = 8 * 1024;

/// What Runback counts in a task stays below this.
const LARGEST_NUMBER: i64 = 1_000_000_000;

/// A task's name has at most this many characters (Cloud Tasks API v2, `Task.name`).
pub(in crate::respond) const LONGEST_NAME: usize = 500;

/// A task's body.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::respond) struct Task {
    project: String,
    region: String,
    service: String,
    /// The Slack message to answer to, where there is one.
    pub(super) thread: Option<String>,
    #[serde(flatten)]
    pub(super) what: What,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "snake_case")]
pub(super) enum What {
    /// Judge a rollback's target.
    Check(Check),
    /// Take a gradual rollback's next step.
    Step(Step),
    /// See whether the last write has arrived.
    Watch(Watch),
    /// Judge an alert again: a warning whose patience is over, or one that came too early to tell.
    Judge(Judge),
    /// Look at a deploy that is watched.
    Deploy(Look),
    /// Look whether a change has been rolled out, and what there is to watch then.
    Settle(Settle),
    /// Look after a service that is pinned.
    Pin(Pin),
    /// See whether Runback may still roll the service back.
    Rights,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Check {
    pub(super) rollback: String,
    pub(super) look: u32,
    /// Whether the incident is about slow requests.
    pub(super) slowness: bool,
    /// Whether people had been told of the rollback when the task was made.
    pub(super) told: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Step {
    pub(super) rollback: String,
    /// The step that was due next when the task was made.
    pub(super) percent: u8,
    pub(super) slowness: bool,
    pub(super) told: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Watch {
    pub(super) rollback: String,
    pub(super) look: u32,
    pub(super) slowness: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Judge {
    pub(super) incident: String,
    pub(super) revision: Option<String>,
    slowness: bool,
    /// A latency alert's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slower_than_ms: Option<u32>,
    pub(super) deadline: bool,
    /// Whether there is no alert, only a deploy that was watched.
    #[serde(default)]
    watched: bool,
    /// Whether the alert is about a slow burn.
    #[serde(default)]
    slow_burn: bool,
    /// How often it will have been looked at again then.
    #[serde(default = "once")]
    pub(super) look: u32,
}

fn once() -> u32 {
    1
}

impl Judge {
    pub(super) fn slower_than(&self) -> Option<Duration> {
        self.slower_than_ms.map(|limit| Duration::from_millis(limit.into()))
    }

    pub(super) fn signal(&self) -> Signal {
        match self {
            Self { slowness: true, .. } => Signal::Latency,
            Self { watched: true, .. } => Signal::Deploy,
            Self { slow_burn: true, .. } => Signal::SlowBurn,
            _ => Signal::Errors,
        }
    }
}

impl Task {
    fn on(name: &ServiceName, thread: Option<String>, what: What) -> Self {
        let ServiceName { project, region, service } = name.clone();
        Self { project, region, service, thread, what }
    }

    /// The look at the target that is to come so many looks after everything has moved. `told`: people know of it.
    pub(in crate::respond) fn check(
        name: &ServiceName,
        rollback: &Rollback,
        axis: Axis,
        look: u32,
        told: bool,
        thread: Option<String>,
    ) -> Self {
        let (rollback, slowness) = (rollback.id.clone(), axis == Axis::Slowness);
        Self::on(name, thread, What::Check(Check { rollback, look, slowness, told }))
    }

    /// The step after the one that was written last.
    pub(in crate::respond) fn step(
        name: &ServiceName,
        rollback: &Rollback,
        axis: Axis,
        percent: u8,
        told: bool,
        thread: Option<String>,
    ) -> Self {
        let (rollback, slowness) = (rollback.id.clone(), axis == Axis::Slowness);
        Self::on(name, thread, What::Step(Step { rollback, percent, slowness, told }))
    }

    /// Watching on for a write that takes long to arrive.
    pub(in crate::respond) fn watch(
        name: &ServiceName,
        rollback: &Rollback,
        axis: Axis,
        look: u32,
        thread: Option<String>,
    ) -> Self {
        let (rollback, slowness) = (rollback.id.clone(), axis == Axis::Slowness);
        Self::on(name, thread, What::Watch(Watch { rollback, look, slowness }))
    }

    /// A later judgement; with `deadline`, the end of a warning's patience.
    pub(in crate::respond) fn judge(name: &ServiceName, alert: &Alert, look: u32, deadline: bool) -> Self {
        let (incident, revision) = (alert.incident.clone(), alert.revision().map(str::to_owned));
        let slowness = alert.signal == Signal::Latency;
        let slower_than_ms = alert.condition.slower_than.and_then(|limit| limit.as_millis().try_into().ok());
        let (watched, slow_burn) = (alert.signal == Signal::Deploy, alert.signal == Signal::SlowBurn);
        let judge =
            Judge { incident, revision, slowness, slower_than_ms, deadline, watched, slow_burn, look };
        Self::on(name, None, What::Judge(judge))
    }

    /// A look at a deploy.
    pub(in crate::respond) fn deploy(name: &ServiceName, look: Look) -> Self {
        Self::on(name, None, What::Deploy(look))
    }

    /// A look whether a change has been rolled out.
    pub(in crate::respond) fn settle(name: &ServiceName, settle: Settle) -> Self {
        Self::on(name, None, What::Settle(settle))
    }

    /// The daily look at a pinned service.
    pub(in crate::respond) fn pin(name: &ServiceName, thread: Option<&str>, pin: Pin) -> Self {
        Self::on(name, thread.map(str::to_owned), What::Pin(pin))
    }

    /// A look whether Runback may still roll a service back.
    pub(in crate::respond) fn rights(name: &ServiceName) -> Self {
        Self::on(name, None, What::Rights)
    }

    /// Reads a body that anybody may have written: what is longer or larger than Runback makes it is no task.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(body.get(..LONGEST_BODY).map_or(body, |_| &[])).ok()?;
        is_bounded(&value).then(|| serde_json::from_value(value).ok())?
    }

    /// As it travels.
    pub(in crate::respond) fn body(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn service(&self) -> ServiceName {
        let Self { project, region, service, .. } = self.clone();
        ServiceName { project, region, service }
    }

    /// The rollback that it is about, and whether that is about slow requests.
    pub(super) fn rollback(&self) -> Option<(&str, Axis)> {
        let (rollback, slowness) = match &self.what {
            What::Check(check) => (&check.rollback, check.slowness),
            What::Step(step) => (&step.rollback, step.slowness),
            What::Watch(watch) => (&watch.rollback, watch.slowness),
            What::Judge(_) | What::Deploy(_) | What::Settle(_) | What::Pin(_) | What::Rights => {
                return None;
            }
        };
        Some((rollback, if slowness { Axis::Slowness } else { Axis::Errors }))
    }

    /// Whether it is this task's turn to do what comes after the last write: to judge it, or to make the next one.
    pub(super) fn goes_on(&self, rollback: &Rollback) -> bool {
        match &self.what {
            What::Check(_) => rollback.step >= steps::ALL,
            What::Step(step) => step.percent > rollback.step,
            _ => false,
        }
    }

    /// Whether people knew of the last write when the task was made, where it can know.
    pub(super) fn told(&self, rollback: &Rollback) -> Option<bool> {
        match &self.what {
            What::Check(check) => Some(check.told),
            What::Step(step) if self.goes_on(rollback) => Some(step.told),
            _ => None,
        }
    }

    /// The number of this look at a rollback's target, as the task has it.
    pub(super) fn look(&self) -> Option<u32> {
        if let What::Check(check) = &self.what { Some(check.look) } else { None }
    }

    pub(super) fn is_step(&self) -> bool {
        matches!(self.what, What::Step(_))
    }
}

/// Texts are cut to this length in the record. What is longer would be compared with its own beginning there.
fn is_bounded(value: &Value) -> bool {
    match value {
        Value::String(text) => text.chars().count() <= LONGEST_TEXT,
        Value::Number(number) => number.as_i64().is_some_and(|number| (0..=LARGEST_NUMBER).contains(&number)),
        Value::Array(list) => list.iter().all(is_bounded),
        Value::Object(object) => object.values().all(is_bounded),
        Value::Null | Value::Bool(_) => true,
    }
}

/// The kind of a judgement at the end of a warning's patience.
pub(in crate::respond) const WARNING: &str = "warning";

/// The name of a later judgement of an alert: the same for every process.
pub(in crate::respond) fn judge_task(kind: &str, name: &ServiceName, incident: &str) -> String {
    let ServiceName { project, region, service } = name;
    let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let id = format!("{kind}-{project}-{region}-{service}-{incident}");
    id.chars().map(word).take(LONGEST_NAME).collect()
}

/// The name of a check after a rollback: 1 is the first, 0 the first one of which people have not been told.
pub(in crate::respond) fn check_task(rollback: &Rollback, number: u32) -> String {
    format!("{}-check-{number}", rollback.id)
}

pub(in crate::respond) fn step_task(rollback: &Rollback, percent: u8) -> String {
    format!("{}-step-{percent}", rollback.id)
}

pub(in crate::respond) fn watch_task(rollback: &Rollback, number: u32) -> String {
    let what = if rollback.phase == Phase::Restoring { "back".to_owned() } else { rollback.step.to_string() };
    format!("{}-watch-{what}-{number}", rollback.id)
}

/// The task that is planned once people know of the last write. That it exists says that they do.
pub(in crate::respond) fn next_task(rollback: &Rollback, rules: &Rules) -> String {
    match rollback.step {
        steps::ALL => check_task(rollback, 1),
        step => step_task(rollback, steps::next(rules, rollback.share(), step)),
    }
}
