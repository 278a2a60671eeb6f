//! The gates in order: facts in, decision out.
//!
//! `decide` is asked again with more facts until it has decided. What it wants to know next is part of its
//! answer, so that an alert that is none of our business costs no call at all.

use chrono::{DateTime, TimeDelta, Utc};

use super::alert::{Alert, IncidentState, PolicyWish};
use super::decision::{Advice, Decision, Gate, Outcome, Plan, Reason};
use super::evidence::{self, Evidence, Sample, Samples, Totals};
pub use super::gates::failing::{
    axis as axis_of, judge_on as judge_against, judge_requests, threshold as limit_of,
};
use super::gates::preflight::Preflight;
use super::gates::{cause, culprit, doors, failing, limits, preflight, target};
use super::policy::{Policy, Rules};
use super::probe::{Probed, Wish};
use super::record::Record;
use super::service::{Revision, Service, ServiceName, Split};
use super::text;

/// Everything that is known when a decision is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What fired.
    pub alert: &'a Alert,
    /// What is guarded, and how.
    pub policy: &'a Policy,
    /// The moment of the decision.
    pub now: DateTime<Utc>,
    /// When the alert's message was published, if the transport says so.
    pub published_at: Option<DateTime<Utc>>,
    /// Which of the alert's judgements this is.
    pub round: Round,
    /// Why the label `runback` that the alert claims for its policy does not count: Runback has looked the policy up.
    pub disputed: Option<&'a str>,
    /// Whether Runback has heard that the incident is closed, whatever this message says.
    pub known_closed: bool,
    /// Since when a later judgement of this alert has been waiting for a Monitoring that cannot be read.
    pub waiting_since: Option<DateTime<Utc>>,
    /// The service, once it has been read.
    pub seen: Option<Seen<'a>>,
    /// Its past, once it has been read.
    pub history: Option<History<'a>>,
    /// Whether Runback is called back later: without that, nobody would make a gradual rollback's next step.
    pub comes_back: bool,
    /// What probes of possible targets found, as far as they were wished for.
    pub probes: &'a [Probed],
}

/// Which judgement of an alert this is. Monitoring sends a notification once, so Runback judges again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// The judgement of the message itself.
    First,
    /// A later one, of an alert that could not be told before.
    Again,
    /// The one at the end of the 30 minutes after a warning: what was a warning then is a failure now.
    Deadline,
}

/// The service and our record on it.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The service.
    pub service: &'a Service,
    /// Our record, or why it cannot be read.
    pub record: &'a Result<Record, String>,
    /// Whether people are known to have been told of the record's newest rollback, though its phase does not say so.
    pub told: bool,
}

/// What is known of the service's revisions.
#[derive(Debug, Clone, Copy)]
pub struct History<'a> {
    /// All revisions.
    pub revisions: &'a [Revision],
    /// What Monitoring counted.
    pub evidence: &'a Evidence,
}

/// A decision, or what has to be known first.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The decision.
    Decided(Box<Decision>),
    /// Read this service, its revisions and its evidence; [`Facts::seen`] is looked at first.
    ReadService(ServiceName),
    /// [`Facts::history`] is needed as well.
    ReadHistory,
    /// Probe this revision; the result belongs to [`Facts::probes`].
    Probe(Box<Wish>),
}

/// Why a gate stopped a rollback.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Halt {
    pub(super) outcome: Outcome,
    pub(super) reason: Reason,
    pub(super) detail: String,
}

impl Halt {
    pub(super) fn notify(reason: Reason, detail: impl Into<String>) -> Self {
        Self { outcome: Outcome::Notify, reason, detail: detail.into() }
    }

    pub(super) fn ignore(reason: Reason, detail: impl Into<String>) -> Self {
        Self { outcome: Outcome::Ignore, reason, detail: detail.into() }
    }
}

/// A gate's result: what later gates need and the gate's sentence, or why it stopped.
pub(super) type Passage<T> = Result<(T, String), Halt>;

/// Decides about an alert. Pure: the same facts give the same decision.
#[must_use]
pub fn decide(facts: &Facts<'_>) -> Answer {
    let mut trail = Trail::default();
    match walk(facts, &mut trail) {
        Ok(Walked::Reached(reason)) => trail.decided(facts.alert, Outcome::Rollback, reason),
        Ok(Walked::NeedsService(name)) => Answer::ReadService(name),
        Ok(Walked::NeedsHistory) => Answer::ReadHistory,
        Ok(Walked::NeedsProbe(wish)) => Answer::Probe(wish),
        Err(halt) => trail.decided(facts.alert, halt.outcome, halt.reason),
    }
}

pub(super) enum Walked {
    Reached(Reason),
    NeedsService(ServiceName),
    NeedsHistory,
    NeedsProbe(Box<Wish>),
}

fn walk(facts: &Facts<'_>, trail: &mut Trail) -> Result<Walked, Halt> {
    let alert = facts.alert;
    if alert.state == IncidentState::Closed && !alert.is_test {
        return doors::closed(facts, trail);
    }
    trail.gate("open", doors::open(facts))?;
    let (name, rules) = trail.gate("guarded", doors::guarded(alert, facts.policy))?;
    trail.service = Some(name.clone());
    let rules = &rules.slow_above(alert.condition.slower_than);
    let Some(seen) = facts.seen else { return Ok(Walked::NeedsService(name)) };
    if let Some((record, rollback)) = doors::under_way(facts, &seen) {
        let Some(history) = facts.history else { return Ok(Walked::NeedsHistory) };
        let totals = totals(history.evidence);
        let case = Case::new(facts, rules, seen.service, record, history, &totals);
        return trail.gate("new", Err(doors::hasten(&case, rollback)));
    }
    let record = trail.gate("new", doors::new(facts, rules, &seen))?;
    trail.gate("settled", doors::settled(facts, seen.service))?;
    let Some(history) = facts.history else { return Ok(Walked::NeedsHistory) };

    let totals = totals(history.evidence);
    let case = Case::new(facts, rules, seen.service, record, history, &totals);
    let found = culprit::find(&case).and_then(|found| doors::still_wanted(facts, &case, found));
    let culprit = trail.gate("culprit", found)?;
    trail.minutes = case.window_of(&culprit.name).unwrap_or_default();
    trail.advice = Some(target::advice(&case, culprit));
    let reason = trail.gate("failing", failing::judge(&case, culprit))?;
    let began = trail.gate("deployed_recently", cause::deployed_recently(&case, culprit))?;
    let doubt = trail.gate("caused_by_it", cause::caused_by_it(&case, culprit, began))?;
    trail.gate("allowed", limits::allowed(&case))?;
    let unhealthy = preflight::convicted(&case, facts.probes);
    // When every candidate fails its probes, the first one is the plan that people are told of.
    let chosen = match target::choose(&case, culprit, &unhealthy) {
        Err(_) if !unhealthy.is_empty() => target::choose(&case, culprit, &[]),
        chosen => chosen,
    };
    let gains = |(target, detail)| cause::gains(&case, culprit, &target).map(|()| (target, detail));
    let target = trail.gate("target", chosen.and_then(gains))?;
    let tried = cause::served_well(&case, culprit, began)
        .or(doubt)
        .filter(|_| !target::is_proven_better(&case, culprit, &target));
    let plan = target::plan(&case, culprit, &target, reason, tried.is_some());
    trail.add(plan.stays.as_deref());
    trail.plan = Some(plan);
    trail.gate("schema", limits::schema(rules, culprit, target.revision))?;
    if let Some(why) = tried {
        trail.gate("trial", limits::trial(&case, culprit, why))?;
    }
    trail.gate("enforce", limits::enforce(&case))?;
    match preflight::check(&case, &target, reason == Reason::Critical, facts.probes) {
        Some(Preflight::Wanted(wish)) => return Ok(Walked::NeedsProbe(wish)),
        Some(Preflight::Known(passage)) => trail.gate("preflight", passage)?,
        None => {}
    }
    Ok(Walked::Reached(reason))
}

/// What the gates behind `settled` look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) alert: &'a Alert,
    pub(super) rules: &'a Rules,
    pub(super) now: DateTime<Utc>,
    pub(super) published_at: Option<DateTime<Utc>>,
    pub(super) disputed: Option<&'a str>,
    pub(super) round: Round,
    pub(super) waiting_since: Option<DateTime<Utc>>,
    pub(super) comes_back: bool,
    pub(super) service: &'a Service,
    pub(super) record: &'a Record,
    pub(super) revisions: &'a [Revision],
    pub(super) evidence: &'a Evidence,
    /// The service's requests, added up once.
    pub(super) totals: &'a Totals,
}

pub(super) fn totals(evidence: &Evidence) -> Totals {
    match evidence {
        Evidence::Read(readings) => readings.totals(),
        Evidence::Unreadable { .. } => Totals::new(),
    }
}

impl<'a> Case<'a> {
    fn new(
        facts: &Facts<'a>,
        rules: &'a Rules,
        service: &'a Service,
        record: &'a Record,
        History { revisions, evidence }: History<'a>,
        totals: &'a Totals,
    ) -> Self {
        let Facts { alert, now, published_at, disputed, round, waiting_since, comes_back, .. } = *facts;
        Self {
            alert,
            rules,
            now,
            published_at,
            disputed,
            round,
            waiting_since,
            comes_back,
            service,
            record,
            revisions,
            evidence,
            totals,
        }
    }

    /// What the alert policy's label `runback` asks for. One that is in doubt still may ask for less, never for more.
    pub(super) fn policy_wish(&self) -> Option<PolicyWish> {
        self.alert.wish().filter(|wish| *wish == PolicyWish::Notify || self.disputed.is_none())
    }

    /// The service's requests by the beginning of a period.
    pub(super) fn totals(&self) -> &'a Totals {
        self.totals
    }

    /// A revision's real traffic in Monitoring's history; nothing when that could not be read.
    pub(super) fn real_traffic(&self, revision: &str) -> Vec<Sample> {
        match self.evidence {
            Evidence::Read(readings) => readings.real_traffic(revision, self.totals),
            Evidence::Unreadable { .. } => Vec::new(),
        }
    }

    /// The share of bad requests that counts as failing: the warning's, once its deadline has passed.
    pub(super) fn limit(&self) -> f64 {
        let axis = axis_of(self.alert.signal);
        let at_deadline = self.round == Round::Deadline && axis == evidence::Axis::Errors;
        let warned = self.rules.warning.filter(|_| at_deadline);
        warned.unwrap_or(limit_of(self.rules, axis))
    }

    /// The split that the spec asks for, where it can come true: a rollout that failed asks for what is not ready.
    pub(super) fn wish(&self) -> Option<Split> {
        let split = self.service.spec_split();
        let ready = |name: &String| self.revision(name).is_some_and(|revision| revision.ready);
        split.keys().all(ready).then_some(split)
    }

    pub(super) fn revision(&self, name: &str) -> Option<&'a Revision> {
        self.revisions.iter().find(|revision| revision.name == name)
    }

    /// A revision's samples within the policy's window, or nothing when Monitoring could not be read.
    pub(super) fn window_of(&self, revision: &str) -> Option<Vec<Sample>> {
        matches!(self.evidence, Evidence::Read(_))
            .then(|| self.lately(revision, text::delta(self.rules.window)))
    }

    /// The same of every revision.
    pub(super) fn window(&self) -> Samples {
        let Evidence::Read(readings) = self.evidence else { return Samples::new() };
        let lately = |name: &String| (name.clone(), self.window_of(name).unwrap_or_default());
        readings.samples.keys().map(lately).collect()
    }

    /// A revision's samples of the last so long.
    pub(super) fn lately(&self, revision: &str, time: TimeDelta) -> Vec<Sample> {
        let Evidence::Read(readings) = self.evidence else { return Vec::new() };
        evidence::since(readings.of(revision), self.now - time)
    }

    /// When the incident began; now, when the alert does not say.
    pub(super) fn incident_began(&self) -> DateTime<Utc> {
        self.alert.started_at.map_or(self.now, |at| at.min(self.now))
    }
}

/// What has been decided so far.
#[derive(Debug, Default)]
pub(super) struct Trail {
    pub(super) service: Option<ServiceName>,
    gates: Vec<Gate>,
    plan: Option<Plan>,
    minutes: Vec<Sample>,
    advice: Option<Advice>,
}

impl Trail {
    pub(super) fn gate<T>(&mut self, name: &'static str, passage: Passage<T>) -> Result<T, Halt> {
        let (detail, passed) = match &passage {
            Ok((_, detail)) => (detail.clone(), true),
            Err(halt) => (halt.detail.clone(), false),
        };
        self.gates.push(Gate { name, passed, detail });
        passage.map(|(value, _)| value)
    }

    /// Adds to the last gate's sentence.
    fn add(&mut self, words: Option<&str>) {
        if let (Some(gate), Some(words)) = (self.gates.last_mut(), words) {
            gate.detail += &format!("; {words}");
        }
    }

    fn decided(self, alert: &Alert, outcome: Outcome, reason: Reason) -> Answer {
        let incident = alert.incident.clone();
        let Self { service, gates, plan, minutes, advice } = self;
        let decision = Decision { outcome, reason, service, incident, gates, plan, minutes, advice };
        Answer::Decided(Box::new(decision))
    }
}

#[cfg(test)]
mod tests;
