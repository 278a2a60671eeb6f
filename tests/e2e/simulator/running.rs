//! A service while the world turns: its stored document, what its status shows, and what others do to it.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::clock::Clock;
use super::documents::{self, STATE};
use super::setup::{Reconcile, Revision, Service, target};

/// Percent by revision, without the zeros.
pub type Split = BTreeMap<String, u64>;

pub struct Running {
    pub service: Service,
    /// The stored object: everything but status, version and generation.
    pub document: Value,
    /// Which split the status showed, and since when: requests follow it.
    pub shown: Vec<(f64, Split)>,
    applied: Vec<Value>,
    pending: Option<(Vec<Value>, Instant)>,
    failed: bool,
    version: u32,
    generation: u64,
    clock: Clock,
    /// Where the tags' URLs lead, instead of to names that nobody resolves.
    pub tags_lead_to: Option<String>,
    /// Visits of a revision by a tag, and how many of them failed.
    visits: BTreeMap<String, (u32, u32)>,
}

impl Running {
    pub fn begin(mut service: Service, clock: &Clock) -> Self {
        let revisions = std::mem::take(&mut service.revisions);
        service.revisions = revisions.into_iter().map(|revision| complete(&service, revision, 0.0)).collect();
        let oldest = service.revisions.iter().map(|revision| revision.created).fold(0.0, f64::min);
        let template = documents::template(&service, &service.revisions[0], service.template_named);
        let document = documents::service(&service, &clock.text(oldest), &template, &service.traffic);
        let applied = service.status_traffic.clone().unwrap_or_else(|| service.traffic.clone());
        let mut running = Self {
            service,
            document,
            shown: Vec::new(),
            applied,
            pending: None,
            failed: false,
            version: 7,
            generation: 12,
            clock: clock.clone(),
            tags_lead_to: None,
            visits: BTreeMap::new(),
        };
        running.shown.push((0.0, running.split(&running.applied)));
        running
    }

    // What others do.

    /// A new revision. It serves at once where traffic follows LATEST, else not at all.
    pub fn deploy(&mut self, revision: Revision) {
        let revision = complete(&self.service, revision, self.clock.now());
        self.document["spec"]["template"] =
            documents::template(&self.service, &revision, self.service.template_named);
        self.service.revisions.insert(0, revision);
        self.changed();
    }

    pub fn move_traffic(&mut self, split: &[(&str, u32)]) {
        let targets: Vec<Value> = split.iter().map(|(name, percent)| target(name, *percent)).collect();
        self.document["spec"]["traffic"] = json!(targets);
        (self.applied, self.pending, self.failed) = (targets, None, false);
        self.changed();
    }

    /// What the spec asks for shows in the status after all.
    pub fn catch_up(&mut self) {
        (self.applied, self.pending, self.failed) = (self.spec_traffic().to_vec(), None, false);
        self.service.reconcile = Reconcile::After(std::time::Duration::ZERO);
        self.changed();
    }

    pub fn annotate(&mut self, key: &str, value: &str) {
        self.document["metadata"]["annotations"][key] = json!(value);
        self.changed();
    }

    pub fn set_deploying(&mut self, deploying: bool) {
        self.service.deploying = deploying;
        self.changed();
    }

    /// The share of 5xx from now on.
    pub fn set_errors(&mut self, revision: &str, share: f64) {
        let since = self.clock.now();
        let health = &mut self.revision_mut(revision).health;
        health.push(super::setup::Health { since, errors: share, ..health[health.len() - 1] });
    }

    pub fn set_ready(&mut self, revision: &str, ready: bool) {
        self.revision_mut(revision).ready = ready;
        self.changed();
    }

    fn revision_mut(&mut self, name: &str) -> &mut Revision {
        self.service.revisions.iter_mut().find(|revision| revision.name == name).unwrap()
    }

    /// A target is added that takes no traffic, such as a tag's.
    pub fn add_target(&mut self, target: &Value) {
        self.applied.push(target.clone());
        if let Some(targets) = self.document["spec"]["traffic"].as_array_mut() {
            targets.push(target.clone());
        }
        self.changed();
    }

    fn changed(&mut self) {
        self.settle();
        let (now, shown) = (self.clock.now(), self.split(&self.applied));
        self.show(now, shown);
        if let Some((traffic, due)) = &self.pending {
            let then = now + due.saturating_duration_since(Instant::now()).as_secs_f64();
            let shown = self.split(traffic);
            self.show(then, shown);
        }
        self.version += 1;
        self.generation += 1;
    }

    /// From this moment on the status shows this split, whatever it was to show then.
    fn show(&mut self, from: f64, split: Split) {
        self.shown.retain(|(since, _)| *since < from);
        self.shown.push((from, split));
    }

    // What it is.

    pub fn key(&self) -> String {
        let Service { project, region, name, .. } = &self.service;
        format!("{project}/{region}/{name}")
    }

    pub fn resource_version(&self) -> String {
        format!("AAYx7Kq{:05}", self.version)
    }

    pub fn revision(&self, name: &str) -> Option<&Revision> {
        self.service.revisions.iter().find(|revision| revision.name == name)
    }

    pub fn latest_created(&self) -> &str {
        &self.service.revisions[0].name
    }

    pub fn latest_ready(&self) -> &str {
        let served = |name: &str| self.shown.iter().any(|(_, split)| split.contains_key(name));
        let picky = self.service.ready_once_served && !self.shown.is_empty();
        let counts = |revision: &&Revision| !picky || served(&revision.name);
        let ready = self.service.revisions.iter().filter(counts).find(|revision| revision.ready);
        ready.map_or("", |revision| &revision.name)
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.document["metadata"]["annotations"][key].as_str()
    }

    pub fn record(&self) -> Option<&str> {
        self.annotation(STATE)
    }

    pub fn spec_traffic(&self) -> &[Value] {
        self.document["spec"]["traffic"].as_array().map_or(&[], Vec::as_slice)
    }

    pub fn spec_split(&self) -> Split {
        self.split(self.spec_traffic())
    }

    pub fn status_split(&mut self) -> Split {
        self.settle();
        self.split(&self.applied)
    }

    pub fn split(&self, traffic: &[Value]) -> Split {
        let mut shares = Split::new();
        for target in traffic {
            if let Some(percent @ 1..) = target["percent"].as_u64() {
                *shares.entry(self.resolve(target)).or_default() += percent;
            }
        }
        shares
    }

    fn resolve(&self, target: &Value) -> String {
        let named = target["revisionName"].as_str().unwrap_or_default();
        let latest = target["latestRevision"] == json!(true);
        if latest { self.latest_ready() } else { named }.to_owned()
    }

    // How a write takes effect.

    /// The write stands: what is stored changes now, and the status follows in its own time.
    pub fn accept(&mut self, document: Value) {
        self.document = document;
        self.version += 1;
        self.generation += 1;
        self.service.deploying = false;
        self.failed = false;
        self.settle();
        let now = self.clock.now();
        if self.pending.take().is_some() {
            // What was on its way never shows.
            let shown = self.split(&self.applied);
            self.show(now, shown);
        }
        let traffic = self.spec_traffic().to_vec();
        // A revision that is not ready gets no traffic, whatever the spec says.
        let serves =
            self.split(&traffic).into_keys().all(|name| self.revision(&name).is_some_and(|it| it.ready));
        match self.service.reconcile {
            Reconcile::After(delay) if serves => {
                let shown = self.split(&traffic);
                self.show(now + delay.as_secs_f64(), shown);
                self.pending = Some((traffic, Instant::now() + delay));
            }
            _ => self.failed = true,
        }
    }

    /// A request to a tag's URL: 404 while the status does not show the tag, else by the revision's share of errors.
    /// `-` is the service's own URL, where the revision with most of the traffic answers.
    pub fn visit(&mut self, tag: &str) -> u16 {
        self.settle();
        let tagged = match tag {
            "-" => self.applied.iter().max_by_key(|target| target["percent"].as_u64().unwrap_or(0)),
            _ => self.applied.iter().find(|target| target["tag"] == json!(tag)),
        };
        let Some(revision) = tagged.map(|target| self.resolve(target)) else { return 404 };
        let now = self.clock.now();
        let (visits, last) = self.visits.entry(revision.clone()).or_default();
        let share = self
            .service
            .revisions
            .iter()
            .find(|each| each.name == revision)
            .map_or(0.0, |each| each.health_at(now).errors);
        *visits += 1;
        let failed = (f64::from(*visits) * share + 1e-9) as u32;
        let fails = failed > std::mem::replace(last, failed);
        if fails { 503 } else { 200 }
    }

    fn settle(&mut self) {
        if let Some((traffic, _)) = self.pending.take_if(|(_, due)| *due <= Instant::now()) {
            self.applied = traffic;
        }
    }

    /// The object as a `GET` shows it.
    pub fn render(&mut self) -> Value {
        self.settle();
        let reconciling = self.service.deploying || self.pending.is_some();
        let mut shown = self.document.clone();
        shown["metadata"]["resourceVersion"] = json!(self.resource_version());
        shown["metadata"]["generation"] = json!(self.generation);
        let name = &self.service.name;
        let url = self
            .tags_lead_to
            .as_ref()
            .map_or(format!("https://{name}-x7kq3abcda-an.a.run.app"), |base| format!("{base}/app/{name}/-"));
        shown["status"] = json!({
            "observedGeneration": self.generation - u64::from(reconciling),
            "conditions": self.conditions(reconciling),
            "latestReadyRevisionName": self.latest_ready(),
            "latestCreatedRevisionName": self.latest_created(),
            "traffic": self.applied.iter().map(|target| self.render_target(target)).collect::<Vec<_>>(),
            "url": url,
            "address": {"url": url},
        });
        shown
    }

    fn conditions(&self, reconciling: bool) -> Vec<Value> {
        let at = self.clock.text(-1800.0);
        let text = format!("Revision '{}' is not ready and cannot serve traffic.", self.latest_created());
        let (status, reason) = match (reconciling, self.failed) {
            (true, _) => ("Unknown", Some(("Deploying", "Deploying revision..."))),
            (_, true) => ("False", Some(("RevisionFailed", text.as_str()))),
            _ => ("True", None),
        };
        let kinds = ["Ready", "ConfigurationsReady", "RoutesReady"];
        kinds.iter().map(|kind| documents::condition(kind, status, &at, reason)).collect()
    }

    fn render_target(&self, target: &Value) -> Value {
        let mut shown = target.clone();
        shown["revisionName"] = json!(self.resolve(target));
        if let Some(tag) = target["tag"].as_str() {
            let name = &self.service.name;
            let url = self.tags_lead_to.as_ref().map_or_else(
                || format!("https://{tag}---{name}-x7kq3abcda-an.a.run.app"),
                |base| format!("{base}/app/{name}/{tag}"),
            );
            shown["url"] = json!(url);
        }
        shown
    }
}

/// The revision with everything that its service decides, and with its ages counted from `now`.
fn complete(service: &Service, mut revision: Revision, now: f64) -> Revision {
    revision.created += now;
    for period in &mut revision.served {
        period.from += now;
        period.to += now;
    }
    revision.health[0].since = revision.created;
    if revision.image.is_empty() {
        revision.image = documents::default_image(service, &revision.name);
    }
    if revision.digest.is_empty() {
        revision.digest = documents::default_digest(&revision.image);
    }
    revision
}
