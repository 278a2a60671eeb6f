//! Everything that the fakes share, behind one lock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::clock::{Clock, rfc3339};
use super::cloud_run::Write;
use super::cloud_tasks::CloudTasks;
use super::running::Running;
use super::slack::Message;
use super::wire::Caller;

/// One line of the journal.
#[derive(Clone, Debug)]
pub struct Call {
    /// `run.put`, `slack.webhook`, and so on.
    pub name: String,
    pub method: String,
    pub target: String,
    pub body: String,
    /// Seconds since the world began.
    pub at: f64,
    /// None while it is under way, and when it was cut off.
    pub status: Option<u16>,
    /// When it was answered.
    pub answered: Option<f64>,
    /// Whether it was answered with 200 and something that can be read.
    pub intact: bool,
    /// Who calls, where several processes share the world.
    pub caller: Option<Caller>,
}

pub struct World {
    pub clock: Clock,
    pub base: String,
    pub services: Vec<Running>,
    /// Services that somebody has deleted.
    pub gone: Vec<Running>,
    pub writes: Vec<Write>,
    pub tasks: CloudTasks,
    pub slack: Vec<Message>,
    pub journal: Vec<Call>,
    /// What Runback must never do, as it was seen.
    pub violations: Vec<String>,
    /// Every call takes at least this long.
    pub latency: Duration,
    /// Monitoring's newest data is this old.
    pub lag: Duration,
    pub execution_errors: Vec<Value>,
    /// The user labels of alert policies, by `PROJECT/ID`.
    pub policies: BTreeMap<String, Value>,
    pub tokens: BTreeSet<String>,
    /// Permissions that somebody has taken away from Runback.
    pub lost: BTreeSet<String>,
}

impl World {
    pub fn begin(base: String, clock: Clock) -> Self {
        Self {
            clock,
            base,
            services: Vec::new(),
            gone: Vec::new(),
            writes: Vec::new(),
            tasks: CloudTasks::default(),
            slack: Vec::new(),
            journal: Vec::new(),
            violations: Vec::new(),
            latency: Duration::ZERO,
            lag: Duration::ZERO,
            execution_errors: Vec::new(),
            policies: BTreeMap::new(),
            tokens: BTreeSet::new(),
            lost: BTreeSet::new(),
        }
    }

    pub fn service(&mut self, name: &str) -> &mut Running {
        let all = self.services.iter_mut().chain(&mut self.gone);
        let found = all.into_iter().find(|running| running.service.name == name);
        found.unwrap_or_else(|| panic!("there is no service {name}"))
    }

    /// Time passes: what has happened moves into the past, also where documents name a time.
    pub fn advance(&mut self, by: Duration) {
        self.clock.advance(by);
        let by = TimeDelta::from_std(by).unwrap();
        for running in &mut self.services {
            shift_times(&mut running.document, by);
        }
    }
}

/// Moves every timestamp into the past, also inside texts that are JSON, such as our own record.
fn shift_times(value: &mut Value, by: TimeDelta) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| shift_times(item, by)),
        Value::Object(fields) => fields.values_mut().for_each(|field| shift_times(field, by)),
        Value::String(text) => {
            if let Ok(at) = DateTime::parse_from_rfc3339(text) {
                *text = rfc3339(at.with_timezone(&Utc) - by);
            } else if let Ok(mut inner) = serde_json::from_str::<Value>(text)
                && (inner.is_object() || inner.is_array())
            {
                let before = inner.clone();
                shift_times(&mut inner, by);
                if inner != before {
                    *text = inner.to_string();
                }
            }
        }
        _ => {}
    }
}
