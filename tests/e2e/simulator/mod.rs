//! A small world around Runback: Cloud Run, Cloud Monitoring, Cloud Tasks, Slack and the token endpoint. It behaves as
//! they do, remembers every call, and writes down whatever Runback must not do.
//!
//! The real binary finds it over HTTP on a loopback port: the URLs of its environment lead here instead of to Google and
//! Slack. Within one process the calls come without a socket, and time is whatever the runtime says it is.
//!
//! In reading order:

#![allow(
    dead_code,
    unused_imports,
    reason = "the tests, the demonstration and the benchmark each use a part"
)]
#![allow(missing_docs, clippy::unwrap_used, reason = "a defect here should end the test at once")]
#![allow(
    clippy::disallowed_methods,
    reason = "this world has a clock of its own, and that one needs the real one"
)]

mod setup;

mod clock;

mod world;

mod traps;

mod calls;

mod server;

mod cloud_run;

mod audit;

mod promises;

mod permissions;

mod running;

mod documents;

mod monitoring;

mod monitoring_query;

mod requests;

mod cloud_tasks;

mod slack;

mod token;

mod wire;

mod listener;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::net::TcpListener;

pub use clock::{Clock, days, hours, minutes, rfc3339};
pub use cloud_run::Write;
pub use cloud_tasks::{QUEUE, Task};
pub use documents::STATE;
pub use permissions::{Permission, permissions};
pub use requests::Totals;
pub use running::{Running, Split};
pub use setup::{NOW, PROJECT, REGION, Reconcile, Revision, Served, Service, target};
pub use slack::{BOT_TOKEN, CHANNEL, CHANNEL_NAME, Message};
pub use token::ACCOUNT;
pub use traps::{At, Effect, Weather};
pub use wire::{Caller, Reply, Request, permission_denied, refusal, refusal_as};
pub use world::{Call, World};

use requests::running_totals;
use traps::Trap;

/// A handle on the world. Clones are the same world.
#[derive(Clone)]
pub struct Simulator {
    world: Arc<Mutex<World>>,
    traps: Arc<Mutex<Vec<Trap>>>,
    weather: Arc<Mutex<Option<Box<dyn Weather>>>>,
}

impl Simulator {
    /// An empty world that answers from now on, for as long as the runtime lives.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let simulator = Self::unreached(&base, Utc::now());
        server::serve(listener, simulator.clone());
        simulator
    }

    /// An empty world that begins at this time and that no socket leads to: whoever calls hands [`Self::answer`] the
    /// requests.
    pub fn unreached(base: &str, start: DateTime<Utc>) -> Self {
        let world = World::begin(base.to_owned(), Clock::starting(start));
        Self { world: Arc::new(Mutex::new(world)), traps: Arc::default(), weather: Arc::default() }
    }

    /// From now on this happens at calls as well; nothing, when it is over.
    pub fn weather(&self, weather: Option<Box<dyn Weather>>) {
        *self.weather.lock().unwrap() = weather;
    }

    pub async fn with(services: impl IntoIterator<Item = Service>) -> Self {
        let simulator = Self::start().await;
        services.into_iter().for_each(|service| simulator.add(service));
        simulator
    }

    /// The world itself, for what has no method here. Do not hold it across an await.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    // What a scenario sets up and changes.

    pub fn add(&self, service: Service) {
        let mut world = self.world();
        let running = Running::begin(service, &world.clock);
        world.services.push(running);
    }

    /// Somebody else acts, or a revision's health changes.
    pub fn change<T>(&self, service: &str, change: impl FnOnce(&mut Running) -> T) -> T {
        change(self.world().service(service))
    }

    pub fn advance(&self, by: Duration) {
        self.world().advance(by);
    }

    /// Tags' URLs lead here, so that a health path can be asked for.
    pub fn answer_at_tags(&self, service: &str) {
        let base = self.base();
        self.change(service, |running| running.tags_lead_to = Some(base));
    }

    /// Every call takes at least this long.
    pub fn latency(&self, latency: Duration) {
        self.world().latency = latency;
    }

    // What Runback is given.

    /// The variables of the contract that lead here, and the rest that has no default. Slack is the webhook.
    pub fn environment(&self, public_url: &str) -> BTreeMap<String, String> {
        let base = self.base();
        [
            ("RUNBACK_RUN_URL", format!("{base}/run/{{region}}")),
            ("RUNBACK_MONITORING_URL", format!("{base}/monitoring")),
            ("RUNBACK_TASKS_URL", format!("{base}/tasks")),
            ("RUNBACK_REGISTRY_URL", format!("{base}/registry")),
            ("RUNBACK_TASKS_QUEUE", QUEUE.to_owned()),
            ("RUNBACK_SERVICE_ACCOUNT", ACCOUNT.to_owned()),
            ("RUNBACK_PUBLIC_URL", public_url.to_owned()),
            ("RUNBACK_POLICY", self.policy(json!({})).to_string()),
            ("SLACK_WEBHOOK_URL", format!("{base}/slack/webhook")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// A policy that lists the guarded services. The mode is `enforce` unless `defaults` says otherwise.
    pub fn policy(&self, defaults: Value) -> Value {
        let mut all = json!({"mode": "enforce"});
        all.as_object_mut().unwrap().extend(defaults.as_object().cloned().unwrap_or_default());
        let world = self.world();
        let guarded = world.services.iter().map(|running| &running.service).filter(|service| service.guarded);
        let services = guarded.map(|service| {
            let mut keys = service.policy.clone();
            keys["project"] = json!(service.project);
            keys["region"] = json!(service.region);
            keys["service"] = json!(service.name);
            keys
        });
        json!({"defaults": all, "service": services.collect::<Vec<_>>()})
    }

    /// The service account key file, for `GOOGLE_APPLICATION_CREDENTIALS`.
    pub fn credentials(&self) -> Value {
        token::credentials(&self.base())
    }

    pub fn base(&self) -> String {
        self.world().base.clone()
    }

    // What there is to see.

    /// What a revision has answered between two moments, in truth.
    pub fn counts(&self, service: &str, revision: &str, from: f64, to: f64) -> Totals {
        self.change(service, |running| {
            let found = running.revision(revision).cloned();
            found.map_or_else(Totals::default, |found| running_totals(running, &found, &[(from, to)])[0])
        })
    }

    /// Percent by revision, as the status shows it.
    pub fn traffic(&self, service: &str) -> Split {
        self.change(service, Running::status_split)
    }

    pub fn spec_traffic(&self, service: &str) -> Split {
        self.change(service, |running| running.spec_split())
    }

    pub fn tags(&self, service: &str) -> BTreeMap<String, String> {
        self.change(service, |running| audit::tags(&running.document["spec"]["traffic"]))
    }

    /// Our record on the service, if there is one that can be read.
    pub fn record(&self, service: &str) -> Option<Value> {
        self.change(service, |running| serde_json::from_str(running.record()?).ok())
    }

    /// Accepted writes, the oldest first.
    pub fn writes(&self) -> Vec<Write> {
        self.world().writes.clone()
    }

    /// Calls so far by name, such as `run.put`; `*` at the end stands for anything.
    pub fn calls(&self, pattern: &str) -> Vec<Call> {
        let prefix = pattern.strip_suffix('*');
        let wanted =
            |call: &&Call| prefix.map_or(call.name == pattern, |prefix| call.name.starts_with(prefix));
        self.world().journal.iter().filter(wanted).cloned().collect()
    }

    pub fn slack(&self) -> Vec<Message> {
        self.world().slack.clone()
    }

    /// The tasks that wait, but for the daily looks at pinned services, which come for ever.
    pub fn tasks(&self) -> Vec<Task> {
        self.pending(false)
    }

    /// The daily looks.
    pub fn daily_tasks(&self) -> Vec<Task> {
        self.pending(true)
    }

    fn pending(&self, daily: bool) -> Vec<Task> {
        let world = self.world();
        world.tasks.pending.iter().filter(|task| task.id().contains("-pin-") == daily).cloned().collect()
    }

    /// The tasks whose time has come.
    pub fn due_tasks(&self) -> Vec<Task> {
        let world = self.world();
        world.tasks.due(&world.clock)
    }

    /// Every task is gone. Their names stay used, as in a real queue.
    pub fn purge_tasks(&self) {
        self.world().tasks.pending.clear();
    }

    /// How a delivered task was answered.
    pub fn task_answered(&self, name: &str, status: u16) {
        self.world().tasks.delivered(name, status);
    }

    /// What Runback did and must never do.
    pub fn violations(&self) -> Vec<String> {
        let mut world = self.world();
        let broken = world.broken_promises();
        let unpermitted = permissions::unpermitted(&world.journal);
        world.violations.iter().cloned().chain(broken).chain(unpermitted).collect()
    }

    /// The traps that this call sets off: whether it is carried out first, and what happens.
    fn sprung(&self, call: &str, caller: Option<Caller>) -> Vec<(bool, Effect)> {
        let mut traps = self.traps.lock().unwrap();
        let sprung = traps
            .iter_mut()
            .filter_map(|trap| trap.springs_at(call).then(|| (trap.carried_out, trap.effect.clone())));
        let weather = self.weather.lock().unwrap().as_mut().map(|weather| weather.at(call, caller));
        sprung.chain(weather.unwrap_or_default()).collect()
    }
}
