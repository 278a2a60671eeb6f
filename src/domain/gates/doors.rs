//! Gates `open`, `guarded`, `new` and `settled`: whether the alert is any of our business now.

use chrono::TimeDelta;

use crate::domain::afterwards::{is_futile, is_still_reached, judge_target};
use crate::domain::alert::{Alert, IncidentState};
use crate::domain::decide::{Case, Facts, Halt, Passage, Seen, Trail, Walked};
use crate::domain::decision::{Outcome, Reason};
use crate::domain::evidence::{Evidence, Verdict};
use crate::domain::policy::{Mode, Policy, Rules};
use crate::domain::record::{Phase, Record, Rollback, age};
use crate::domain::service::{Revision, Service, ServiceName};
use crate::domain::text;

use super::failing;

/// A message about a deploy in flight is worth repeating for this long after it was published.
const SETTLE_FOR: TimeDelta = TimeDelta::minutes(5);

const CLOSED: &str = "the incident is closed";

/// A closed incident matters when we acted on it and nobody has reported yet how that ended. Monitoring also closes
/// incidents whose data has stopped, so the evidence has to agree.
pub(in crate::domain) fn closed(facts: &Facts<'_>, trail: &mut Trail) -> Result<Walked, Halt> {
    let nothing = || Err(Halt::ignore(Reason::Closed, CLOSED));
    let Ok(((name, rules), _)) = guarded(facts.alert, facts.policy) else {
        return trail.gate("open", nothing());
    };
    trail.service = Some(name.clone());
    let Some(seen) = facts.seen else { return Ok(Walked::NeedsService(name)) };
    let newest = seen.record.as_ref().ok().and_then(|record| record.rollbacks.first());
    let ours = newest.filter(|rollback| {
        rollback.awaits_verdict()
            && !rollback.is_under_way()
            && !rollback.incident.is_empty()
            && rollback.incident == facts.alert.incident
            && rollback.has_arrived(seen.service)
    });
    let Some(rollback) = ours else { return trail.gate("open", nothing()) };
    let Some(history) = facts.history else { return Ok(Walked::NeedsHistory) };
    let Evidence::Read(readings) = history.evidence else { return trail.gate("open", nothing()) };
    let rules = &rules.slow_above(rollback.slower_than);
    let judgement = judge_target(readings, rollback, rules);
    let detail = failing::sentence(rules, readings.axis, &judgement, facts.now - rollback.at);
    if judgement.verdict != Verdict::Healthy {
        let detail = format!("{CLOSED}, but since the switch to {} {detail}", rollback.target);
        return trail.gate("open", Err(Halt::ignore(Reason::Closed, detail)));
    }
    let detail = format!("{CLOSED}; since the switch to {} {detail}", rollback.target);
    if let Some(reached) = is_still_reached(readings, rollback, rules) {
        let judgement = reached.judgement;
        let (bad, requests) = (text::count(judgement.bad), text::count(judgement.requests));
        let detail = format!(
            "{detail}; but {} still gets requests, and {bad} of the last {requests} failed",
            rollback.culprit
        );
        return trail.gate("open", Err(Halt::ignore(Reason::Closed, detail)));
    }
    let outcome = Outcome::Recovered(Box::new((rollback.clone(), judgement)));
    trail.gate("open", Err(Halt { outcome, reason: Reason::Recovered, detail }))
}

pub(in crate::domain) fn open(facts: &Facts<'_>) -> Passage<()> {
    let alert = facts.alert;
    if alert.is_test {
        return Err(Halt::notify(Reason::TestNotification, "this is a test notification; the wiring works"));
    }
    match &alert.state {
        IncidentState::Open if facts.known_closed => Err(Halt::ignore(Reason::Closed, CLOSED)),
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
pub(in crate::domain) fn guarded<'a>(alert: &Alert, policy: &'a Policy) -> Passage<(ServiceName, &'a Rules)> {
    let filled = |value: &&String| !value.is_empty();
    let user = |key: &str| alert.policy_labels.get(key).filter(filled);
    // Labels of other kinds of resources use the same names for other things. A query's series need not have a
    // resource of its own: then it is about Cloud Run because its metric is.
    let kind = alert.resource_type.as_str();
    let of_cloud_run = ["", "cloud_run_revision"].contains(&kind) || alert.condition.queries_cloud_run;
    let resource =
        |key: &str| alert.resource_labels.get(key).filter(|value| of_cloud_run && !value.is_empty());
    let monitored = alert.resource_labels.get("project_id").filter(filled);
    let pinned = |key: &str| alert.condition.labels.get(key).filter(|_| of_cloud_run);
    let named = |label: &str, wish: &str| resource(label).or_else(|| user(wish)).or_else(|| pinned(label));
    let said = named("project_id", "runback_project").or(monitored);
    let project = said.or(alert.scoping_project.as_ref().filter(filled));
    let region = named("location", "runback_location");
    let service = named("service_name", "runback_service");

    if !of_cloud_run && service.is_none() {
        return Err(Halt::ignore(
            Reason::NotGuarded,
            format!("the alert is about a {kind}, not a Cloud Run service"),
        ));
    }
    // A name that a label gives is enough where only one guarded service has it. One that the condition only filters
    // by is not: the same filter lets through services of that name in every region.
    let by_name = resource("service_name").or_else(|| user("runback_service"));
    if let Some(name) = by_name.filter(|_| region.is_none() || project.is_none()) {
        let fits = |guarded: &ServiceName| {
            guarded.service == *name
                && said.is_none_or(|project| guarded.project == *project)
                && region.is_none_or(|region| guarded.region == *region)
        };
        let mut fitting = policy.services.iter().filter(|(guarded, _)| fits(guarded));
        if let (Some((guarded, rules)), None) = (fitting.next(), fitting.next()) {
            let detail = format!("the policy lists one service called {name}: {guarded}");
            return Ok(((guarded.clone(), rules), detail));
        }
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

/// A gradual rollback that has still a part to move, when another alert is about its culprit, or about no revision. One
/// that people have not been told of is finished first, as any other.
pub(in crate::domain) fn under_way<'a>(
    facts: &Facts<'_>,
    seen: &Seen<'a>,
) -> Option<(&'a Record, &'a Rollback)> {
    let record = seen.record.as_ref().ok()?;
    let rollback = record.rollbacks.first()?;
    let about_it = facts.alert.revision().is_none_or(|revision| revision == rollback.culprit);
    let another = facts.alert.incident != rollback.incident;
    let ours =
        rollback.is_under_way() && !unfinished(rollback, seen.told) && rollback.is_wanted(seen.service);
    (about_it && another && ours).then_some((record, rollback))
}

/// Nothing new, unless the culprit is critical by now: then the rest does not wait.
pub(in crate::domain) fn hasten(case: &Case<'_>, rollback: &Rollback) -> Halt {
    let Rollback { culprit, target, step, .. } = rollback;
    let detail = format!("{culprit} is being rolled back to {target}, {step} % of its traffic so far");
    if rollback.is_on_trial() {
        let detail = format!("{detail}, on trial: the rest follows only if {target} turns out better");
        return Halt::ignore(Reason::AlreadyHandled, detail);
    }
    if let Evidence::Read(readings) = case.evidence
        && is_futile(readings, rollback, case.rules)
    {
        let detail =
            format!("{detail}; {target} is no better by now, so the rest is not moved for this alert");
        return Halt::ignore(Reason::AlreadyHandled, detail);
    }
    let judged = case.revision(culprit).map(|culprit| failing::judge(case, culprit));
    match judged {
        Some(Ok((Reason::Critical, figures)))
            if case.rules.mode == Mode::Enforce && case.service.held(case.now).is_none() =>
        {
            Halt {
                outcome: Outcome::Hasten(Box::new(Rollback {
                    reason: Reason::Critical.code().into(),
                    why: Some(format!(
                        "All of it at once, because {culprit} is critical by another alert: {figures}"
                    )),
                    ..rollback.clone()
                })),
                reason: Reason::Critical,
                detail: format!("{detail}; critical now, so the rest goes at once: {figures}"),
            }
        }
        _ => Halt::ignore(Reason::AlreadyHandled, detail),
    }
}

/// Whether our record knows nothing of this incident or of its culprit.
pub(in crate::domain) fn new<'a>(facts: &Facts<'_>, rules: &Rules, seen: &Seen<'a>) -> Passage<&'a Record> {
    let Facts { alert, now, .. } = *facts;
    let record = match seen.record {
        Ok(record) => record,
        Err(why) => {
            let detail = format!("our record on the service cannot be read and is left alone: {why}");
            return Err(Halt::notify(Reason::UnreadableRecord, detail));
        }
    };
    if record.closed.contains(&alert.incident) {
        return Err(Halt::ignore(Reason::Closed, CLOSED));
    }
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
        alert.revision().is_none() && before && age(rollback.at, now) < text::delta(rules.cooldown)
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

pub(in crate::domain) fn settled(facts: &Facts<'_>, service: &Service) -> Passage<()> {
    if !service.in_flight {
        return Ok(((), "no deploy is in flight".into()));
    }
    Err(unsettled(facts, "a deploy is in flight"))
}

/// The culprit, unless the spec takes all traffic from it already: then somebody has done what a rollback would do, and the
/// status has yet to follow.
pub(in crate::domain) fn still_wanted<'a>(
    facts: &Facts<'_>,
    case: &Case<'_>,
    (culprit, detail): (&'a Revision, String),
) -> Passage<&'a Revision> {
    if case.wish().is_none_or(|split| split.contains_key(&culprit.name)) {
        return Ok((culprit, detail));
    }
    let moved =
        format!("somebody has taken all traffic from {}, and the status does not show it", culprit.name);
    Err(unsettled(facts, &moved))
}

/// What is so now may settle by itself; when it does not for minutes, people have to look.
fn unsettled(facts: &Facts<'_>, what: &str) -> Halt {
    let since = facts.published_at.or(facts.alert.started_at).unwrap_or(facts.now);
    let waited = facts.now - since;
    let (outcome, detail) = if waited < SETTLE_FOR {
        (Outcome::Wait, format!("{what}; decided when it has settled"))
    } else {
        (Outcome::Notify, format!("{what} and has not settled for {}", text::span(waited)))
    };
    Halt { outcome, reason: Reason::DeployInProgress, detail }
}
