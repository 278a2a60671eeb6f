//! The gates in order: facts in, decision out.
//!
//! `decide` is asked again with more facts until it has decided. What it wants to know next is part of its
//! answer, so that an alert that is none of our business costs no call at all.

use chrono::{DateTime, TimeDelta, Utc};

use super::afterwards::judge_target;
use super::alert::{Alert, IncidentState};
use super::decision::{Decision, Gate, Outcome, Plan, Reason};
use super::evidence::{self, Evidence, Sample, Verdict};
pub use super::gates::failing::{axis as axis_of, threshold as limit_of};
use super::gates::preflight::Preflight;
use super::gates::{cause, culprit, failing, preflight, target};
use super::policy::{Mode, Policy, Rules, SchemaRule};
use super::probe::{Probed, Wish};
use super::record::{Phase, Record, Rollback};
use super::service::{Revision, Service, ServiceName};
use super::text;

/// A message about a deploy in flight is worth repeating for this long after it was published.
const SETTLE_FOR: TimeDelta = TimeDelta::minutes(5);

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
    /// Whether the 30 minutes after a warning are over: what was a warning then is a failure now.
    pub deadline_passed: bool,
    /// The service, once it has been read.
    pub seen: Option<Seen<'a>>,
    /// Its past, once it has been read.
    pub history: Option<History<'a>>,
    /// What probes of possible targets found, as far as they were wished for.
    pub probes: &'a [Probed],
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
    outcome: Outcome,
    reason: Reason,
    detail: String,
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

enum Walked {
    Reached(Reason),
    NeedsService(ServiceName),
    NeedsHistory,
    NeedsProbe(Box<Wish>),
}

fn walk(facts: &Facts<'_>, trail: &mut Trail) -> Result<Walked, Halt> {
    let Facts { alert, now, .. } = *facts;
    if alert.state == IncidentState::Closed && !alert.is_test {
        return closed(facts, trail);
    }
    trail.gate("open", open(alert))?;
    let (name, rules) = trail.gate("guarded", guarded(alert, facts.policy))?;
    trail.service = Some(name.clone());
    let Some(seen) = facts.seen else { return Ok(Walked::NeedsService(name)) };
    let record = trail.gate("new", new(facts, rules, &seen))?;
    trail.gate("settled", settled(facts, seen.service))?;
    let Some(History { revisions, evidence }) = facts.history else { return Ok(Walked::NeedsHistory) };

    let deadline_passed = facts.deadline_passed;
    let case =
        Case { alert, rules, now, deadline_passed, service: seen.service, record, revisions, evidence };
    let culprit = trail.gate("culprit", culprit::find(&case))?;
    trail.minutes = case.window_of(&culprit.name).unwrap_or_default();
    let reason = trail.gate("failing", failing::judge(&case, culprit))?;
    let began = trail.gate("deployed_recently", cause::deployed_recently(&case, culprit))?;
    trail.gate("caused_by_it", cause::caused_by_it(&case, culprit, began))?;
    trail.gate("allowed", allowed(&case))?;
    let unhealthy = preflight::convicted(facts.probes);
    // When every candidate fails its probes, the first one is the plan that people are told of.
    let chosen = match target::choose(&case, culprit, &unhealthy) {
        Err(_) if !unhealthy.is_empty() => target::choose(&case, culprit, &[]),
        chosen => chosen,
    };
    let target = trail.gate("target", chosen)?;
    trail.plan = Some(target::plan(&case, culprit, &target));
    trail.gate("schema", schema(rules, culprit, target.revision))?;
    trail.gate("enforce", enforce(rules))?;
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
    pub(super) deadline_passed: bool,
    pub(super) service: &'a Service,
    pub(super) record: &'a Record,
    pub(super) revisions: &'a [Revision],
    pub(super) evidence: &'a Evidence,
}

impl<'a> Case<'a> {
    /// The share of bad requests that counts as failing: the warning's, once its deadline has passed.
    pub(super) fn limit(&self) -> f64 {
        let axis = axis_of(self.alert.signal);
        let warned = self.rules.warning.filter(|_| self.deadline_passed && axis == evidence::Axis::Errors);
        warned.unwrap_or(limit_of(self.rules, axis))
    }

    pub(super) fn revision(&self, name: &str) -> Option<&'a Revision> {
        self.revisions.iter().find(|revision| revision.name == name)
    }

    /// A revision's samples within the policy's window, or nothing when Monitoring could not be read.
    pub(super) fn window_of(&self, revision: &str) -> Option<Vec<Sample>> {
        let Evidence::Read(readings) = self.evidence else { return None };
        Some(evidence::since(readings.of(revision), self.now - text::delta(self.rules.window)))
    }

    /// When the incident began; now, when the alert does not say.
    pub(super) fn incident_began(&self) -> DateTime<Utc> {
        self.alert.started_at.map_or(self.now, |at| at.min(self.now))
    }
}

/// What has been decided so far.
#[derive(Debug, Default)]
struct Trail {
    service: Option<ServiceName>,
    gates: Vec<Gate>,
    plan: Option<Plan>,
    minutes: Vec<Sample>,
}

impl Trail {
    fn gate<T>(&mut self, name: &'static str, passage: Passage<T>) -> Result<T, Halt> {
        let (detail, passed) = match &passage {
            Ok((_, detail)) => (detail.clone(), true),
            Err(halt) => (halt.detail.clone(), false),
        };
        self.gates.push(Gate { name, passed, detail });
        passage.map(|(value, _)| value)
    }

    fn decided(self, alert: &Alert, outcome: Outcome, reason: Reason) -> Answer {
        let incident = alert.incident.clone();
        let Self { service, gates, plan, minutes } = self;
        Answer::Decided(Box::new(Decision { outcome, reason, service, incident, gates, plan, minutes }))
    }
}

const CLOSED: &str = "the incident is closed";

/// A closed incident matters when we acted on it and nobody has reported yet how that ended. Monitoring also closes
/// incidents whose data has stopped, so the evidence has to agree.
fn closed(facts: &Facts<'_>, trail: &mut Trail) -> Result<Walked, Halt> {
    let nothing = || Err(Halt::ignore(Reason::Closed, CLOSED));
    let Ok(((name, rules), _)) = guarded(facts.alert, facts.policy) else {
        return trail.gate("open", nothing());
    };
    trail.service = Some(name.clone());
    let Some(seen) = facts.seen else { return Ok(Walked::NeedsService(name)) };
    let newest = seen.record.as_ref().ok().and_then(|record| record.rollbacks.first());
    let ours = newest.filter(|rollback| {
        let open_ended = matches!(rollback.phase, Phase::Switching | Phase::Told);
        open_ended
            && !rollback.incident.is_empty()
            && rollback.incident == facts.alert.incident
            && rollback.has_arrived(seen.service)
    });
    let Some(rollback) = ours else { return trail.gate("open", nothing()) };
    let Some(history) = facts.history else { return Ok(Walked::NeedsHistory) };
    let Evidence::Read(readings) = history.evidence else { return trail.gate("open", nothing()) };
    let judgement = judge_target(readings, rollback, rules);
    let detail = failing::sentence(rules, readings.axis, &judgement, facts.now - rollback.at);
    if judgement.verdict != Verdict::Healthy {
        let detail = format!("{CLOSED}, but since the switch to {} {detail}", rollback.target);
        return trail.gate("open", Err(Halt::ignore(Reason::Closed, detail)));
    }
    let detail = format!("{CLOSED}; since the switch to {} {detail}", rollback.target);
    let outcome = Outcome::Recovered(Box::new((rollback.clone(), judgement)));
    trail.gate("open", Err(Halt { outcome, reason: Reason::Recovered, detail }))
}

fn open(alert: &Alert) -> Passage<()> {
    if alert.is_test {
        return Err(Halt::notify(Reason::TestNotification, "this is a test notification; the wiring works"));
    }
    match &alert.state {
        IncidentState::Open => Ok(((), "the incident is open".into())),
        IncidentState::Closed => Err(Halt::ignore(Reason::Closed, CLOSED)),
        IncidentState::Unknown(word) if word.is_empty() => Err(Halt::ignore(
            Reason::UnknownState,
            "the notification does not say whether the incident is open",
        )),
        IncidentState::Unknown(word) => Err(Halt::ignore(
            Reason::UnknownState,
            format!("the incident's state is {word:?}, neither open nor closed"),
        )),
    }
}

/// Which service is meant, and whether the policy lists it.
fn guarded<'a>(alert: &Alert, policy: &'a Policy) -> Passage<(ServiceName, &'a Rules)> {
    let user = |key: &str| alert.policy_labels.get(key).filter(|value| !value.is_empty());
    // Labels of other kinds of resources use the same names for other things.
    let of_cloud_run = alert.resource_type == "cloud_run_revision" || alert.resource_type.is_empty();
    let resource =
        |key: &str| alert.resource_labels.get(key).filter(|value| of_cloud_run && !value.is_empty());
    let monitored = alert.resource_labels.get("project_id").filter(|value| !value.is_empty());
    let project = resource("project_id").or_else(|| user("runback_project")).or(monitored);
    let project = project.or(alert.scoping_project.as_ref()).filter(|value| !value.is_empty());
    let region = resource("location").or_else(|| user("runback_location"));
    let service = resource("service_name").or_else(|| user("runback_service"));

    if !of_cloud_run && service.is_none() {
        let kind = &alert.resource_type;
        return Err(Halt::ignore(
            Reason::NotGuarded,
            format!("the alert is about a {kind}, not a Cloud Run service"),
        ));
    }
    let missing: Vec<_> = [("project", project), ("region", region), ("service", service)]
        .into_iter()
        .filter_map(|(what, value)| value.is_none().then_some(what))
        .collect();
    let (Some(project), Some(region), Some(service)) = (project, region, service) else {
        let detail =
            format!("neither the alert nor its policy's user labels name the {}", missing.join(" and "));
        return Err(Halt::notify(Reason::UnresolvedService, detail));
    };
    let name = ServiceName { project: project.clone(), region: region.clone(), service: service.clone() };
    match policy.services.get(&name) {
        Some(rules) => Ok(((name.clone(), rules), format!("the policy lists {name}"))),
        None => Err(Halt::ignore(Reason::NotGuarded, format!("the policy does not list {name}"))),
    }
}

/// Whether our record knows nothing of this incident or of its culprit.
fn new<'a>(facts: &Facts<'_>, rules: &Rules, seen: &Seen<'a>) -> Passage<&'a Record> {
    let Facts { alert, now, .. } = *facts;
    let record = match seen.record {
        Ok(record) => record,
        Err(why) => {
            let detail = format!("our record on the service cannot be read and is left alone: {why}");
            return Err(Halt::notify(Reason::UnreadableRecord, detail));
        }
    };
    let split = seen.service.split();
    let newest = record.rollbacks.first();
    // When somebody has put a rolled-back culprit into traffic again, it is a new case.
    let same_culprit = newest.filter(|rollback| {
        let still_ours = unfinished(rollback, seen.told) && rollback.is_wanted(seen.service);
        alert.revision() == Some(rollback.culprit.as_str())
            && (!split.contains_key(&rollback.culprit) || still_ours)
    });
    // An incident that began before the switch and names no revision is the outage that the switch was made for.
    let same_outage = newest.filter(|rollback| {
        let before = alert.started_at.is_some_and(|at| at <= rollback.at);
        alert.revision().is_none() && before && now - rollback.at < text::delta(rules.cooldown)
    });
    let known = record.of_incident(&alert.incident).or(same_culprit).or(same_outage);
    let Some(rollback) = known else {
        let detail = match newest {
            Some(rollback) => {
                format!("another incident than the last one that was rolled back ({})", rollback.incident)
            }
            None => "no rollback of this service is on record".into(),
        };
        return Ok((record, detail));
    };
    let at = text::clock(rollback.at);
    let detail = format!("{} was rolled back to {} at {at}", rollback.culprit, rollback.target);
    if newest == Some(rollback) && unfinished(rollback, seen.told) {
        let reason = Reason::of_code(&rollback.reason).unwrap_or(Reason::Confirmed);
        let outcome = Outcome::Resume(Box::new(rollback.clone()));
        return Err(Halt { outcome, reason, detail: detail + "; not yet reported" });
    }
    Err(Halt::ignore(Reason::AlreadyHandled, detail))
}

fn unfinished(rollback: &Rollback, told: bool) -> bool {
    rollback.phase == Phase::Switching && !told
}

fn settled(facts: &Facts<'_>, service: &Service) -> Passage<()> {
    if !service.in_flight {
        return Ok(((), "no deploy is in flight".into()));
    }
    let since = facts.published_at.or(facts.alert.started_at).unwrap_or(facts.now);
    let waited = facts.now - since;
    let (outcome, detail) = if waited < SETTLE_FOR {
        (Outcome::Wait, "a deploy is in flight; decided when it has settled".into())
    } else {
        (Outcome::Notify, format!("a deploy is in flight and has not settled for {}", text::span(waited)))
    };
    Err(Halt { outcome, reason: Reason::DeployInProgress, detail })
}

/// Cooldown and daily budget, by our record.
fn allowed(case: &Case<'_>) -> Passage<()> {
    let Case { record, rules, now, .. } = *case;
    if let Some(last) = record.rollbacks.first() {
        let ago = now - last.at;
        if ago < text::delta(rules.cooldown) {
            let detail = format!(
                "the last rollback ({} to {}) is {} old; the cooldown is {}",
                last.culprit,
                last.target,
                text::span(ago),
                text::duration(rules.cooldown)
            );
            return Err(Halt::notify(Reason::Cooldown, detail));
        }
    }
    let today = record.rollbacks.iter().filter(|rollback| now - rollback.at < TimeDelta::hours(24)).count();
    let most = rules.max_rollbacks_per_day;
    let detail = format!("{today} of {most} automatic rollbacks in the last 24 h");
    if today >= usize::try_from(most).unwrap_or(usize::MAX) {
        return Err(Halt::notify(Reason::BudgetExhausted, detail + " are used up"));
    }
    Ok(((), detail))
}

fn schema(rules: &Rules, culprit: &Revision, target: &Revision) -> Passage<()> {
    let name = |revision: &Revision| revision.schema.clone().unwrap_or_else(|| "none".into());
    if culprit.schema == target.schema {
        let detail = culprit
            .schema
            .as_ref()
            .map_or("no schema labels".into(), |schema| format!("both need schema {schema}"));
        return Ok(((), detail));
    }
    let detail =
        format!("{} needs schema {}, {} needs {}", culprit.name, name(culprit), target.name, name(target));
    match rules.schema {
        SchemaRule::Allow => Ok(((), detail + "; the policy allows to cross it")),
        SchemaRule::Block => Err(Halt::notify(Reason::SchemaFence, detail)),
    }
}

fn enforce(rules: &Rules) -> Passage<()> {
    match rules.mode {
        Mode::Enforce => Ok(((), "the policy says to act".into())),
        Mode::Observe => Err(Halt::notify(Reason::ObserveMode, "the policy says to observe only")),
    }
}

#[cfg(test)]
mod tests;
