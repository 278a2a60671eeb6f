//! Where a service stands: what a person wants to see at a glance, and the one next thing to do.

use chrono::{DateTime, TimeDelta, Utc};

use super::by_hand::Situation;
use super::decide::Case;
use super::evidence::{self, Evidence, Verdict};
use super::gates::failing::judge_revision;
use super::gates::target::{self, Past};
use super::pins;
use super::record::{Rollback, age};
use super::service::{Destination, Revision};
use super::text;

/// A service at a glance.
#[derive(Debug, Clone, PartialEq)]
pub struct Overview<'a> {
    /// Its revisions, newest first.
    pub revisions: Vec<Standing<'a>>,
    /// Whose pin keeps later deploys from being served, if one does.
    pub pin: Option<Pin<'a>>,
    /// Automatic rollbacks in the last 24 hours.
    pub rollbacks_today: usize,
    /// Until when there is no further automatic rollback.
    pub cooldown_until: Option<DateTime<Utc>>,
    /// The revision that a rollback would go to now, or why there is none.
    pub next_target: Result<&'a Revision, String>,
    /// The one next thing to do.
    pub next: Next<'a>,
}

/// Why nothing that is deployed later gets traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin<'a> {
    /// A rollback on record wrote the split.
    Rollback(&'a Rollback),
    /// Somebody else did.
    Other,
}

/// A revision at a glance.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing<'a> {
    /// The revision.
    pub revision: &'a Revision,
    /// Its part of the traffic, by the status.
    pub percent: u8,
    /// The traffic tags that lead to it.
    pub tags: Vec<&'a str>,
    /// Requests and bad ones in the policy's window; nothing when Monitoring cannot be read.
    pub now: Option<(u64, u64)>,
    /// The same over the policy's history.
    pub history: Option<(u64, u64)>,
    /// Whether it fails now, with confidence.
    pub fails: bool,
    /// What it is.
    pub state: State,
}

/// The first of these that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It takes traffic.
    Serving,
    /// It, or its image, was rolled back.
    Quarantined,
    /// It cannot serve.
    NotReady,
    /// It is newer than what the service is pinned to.
    Waiting,
    /// Its requests fail now.
    Failing,
    /// Its history is bad.
    Unhealthy,
    /// Its history is good.
    Healthy,
    /// Nothing is known of it.
    Unproven,
}

impl State {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Quarantined => "quarantined",
            Self::NotReady => "not_ready",
            Self::Waiting => "waiting",
            Self::Failing => "failing",
            Self::Unhealthy => "unhealthy",
            Self::Healthy => "healthy",
            Self::Unproven => "unproven",
        }
    }
}

/// The one next thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next<'a> {
    /// A change is under way: look again.
    Wait(&'static str),
    /// This revision fails, and there is one to go back to.
    GoBack(&'a Revision, &'a Revision),
    /// This revision fails, and there is none to go back to.
    FixForward(&'a Revision),
    /// Somebody holds the service.
    Resume,
    /// This revision waits behind the pin.
    Release(&'a Revision),
    /// The rolled back deploy has to be repaired first.
    Repair(&'a Rollback),
    /// Somebody has pinned the service: later deploys get no traffic.
    Follow,
    /// Nothing; this is where a rollback would go to.
    Nothing(Option<&'a Revision>),
}

/// Looks at a service.
#[must_use]
pub fn overview<'a>(situation: &Situation<'a>) -> Overview<'a> {
    let Situation { service, record, rules, now, .. } = *situation;
    let pin = pin(situation);
    let revisions = situation.with_case(|case| standings(situation, case, pin));
    let automatic = || record.rollbacks.iter().filter(|rollback| !rollback.is_by_hand());
    let cooldown = text::delta(rules.cooldown);
    let last = automatic().next().filter(|last| age(last.at, now) < cooldown);
    let next_target = situation.best().map(|(revision, _)| revision);
    let failing = revisions.iter().find(|standing| standing.percent > 0 && standing.fails);
    let waiting = pins::waiting(service, record, situation.revisions).filter(|waiting| waiting.ban.is_none());
    let under_way =
        record.rollbacks.first().filter(|newest| newest.is_under_way() && newest.is_wanted(service));
    let next = match (failing, &next_target) {
        _ if service.in_flight => Next::Wait("A change is being rolled out."),
        _ if under_way.is_some() => Next::Wait("A rollback is under way."),
        (Some(failing), Ok(target)) => Next::GoBack(failing.revision, target),
        (Some(failing), Err(_)) => Next::FixForward(failing.revision),
        _ if service.held(now).is_some() => Next::Resume,
        (None, target) => match (waiting, pin) {
            (Some(waiting), _) => Next::Release(waiting.revision),
            (None, Some(Pin::Rollback(rollback))) => Next::Repair(rollback),
            (None, Some(Pin::Other)) => Next::Follow,
            (None, None) => Next::Nothing(target.as_ref().ok().copied()),
        },
    };
    Overview {
        revisions,
        pin,
        rollbacks_today: automatic().filter(|rollback| age(rollback.at, now) < TimeDelta::hours(24)).count(),
        cooldown_until: last.map(|last| last.at + cooldown),
        next_target,
        next,
    }
}

/// Whose pin it is, if nothing follows LATEST. A rollback that is still moving traffic in steps pins it as well.
fn pin<'a>(situation: &Situation<'a>) -> Option<Pin<'a>> {
    let Situation { service, record, .. } = *situation;
    let follows = service.spec_traffic.is_empty()
        || service.spec_traffic.iter().any(|target| target.to == Destination::Latest && target.percent > 0);
    if follows {
        return None;
    }
    let ours = record.rollbacks.first().filter(|rollback| rollback.is_wanted(service));
    Some(ours.map_or(Pin::Other, Pin::Rollback))
}

fn standings<'a>(situation: &Situation<'a>, case: &Case<'_>, pin: Option<Pin<'a>>) -> Vec<Standing<'a>> {
    let Situation { service, revisions, rules, now, .. } = *situation;
    let split = service.split();
    let serving = revisions.iter().filter(|revision| split.contains_key(&revision.name));
    let culprit = match pin {
        Some(Pin::Rollback(rollback)) => revisions.iter().find(|revision| revision.name == rollback.culprit),
        _ => None,
    };
    let pinned_at = pin.and_then(|_| serving.chain(culprit).map(|revision| revision.created_at).max());
    // Next to a culprit that fails at 64 % one with 6 % looks healthy, as it does to a rollback.
    let bar = situation.suspect().map_or(rules.rollback, |suspect| target::tolerated(case, suspect));
    let standing = |revision: &'a Revision| {
        let percent = split.get(&revision.name).copied().unwrap_or_default();
        let judgement = judge_revision(case, &revision.name);
        let fails = judgement.is_some_and(|judgement| judgement.verdict == Verdict::Confirmed);
        let waits = pinned_at.is_some_and(|pinned_at| revision.created_at > pinned_at);
        let state = if percent > 0 {
            State::Serving
        } else if target::ban(case, revision, None).is_some() {
            State::Quarantined
        } else if !revision.ready || revision.deleting {
            State::NotReady
        } else if waits {
            State::Waiting
        } else if fails {
            State::Failing
        } else {
            match target::past(case, revision, bar) {
                Past::Healthy { .. } => State::Healthy,
                Past::Bad => State::Unhealthy,
                Past::Unknown => State::Unproven,
            }
        };
        let counted = |since: DateTime<Utc>| match case.evidence {
            Evidence::Read(readings) => {
                Some(evidence::total(&evidence::since(readings.of(&revision.name), since)))
            }
            Evidence::Unreadable { .. } => None,
        };
        Standing {
            revision,
            percent,
            tags: tags(situation, revision),
            now: counted(now - text::delta(rules.window)),
            history: counted(now - text::delta(rules.history)),
            fails,
            state,
        }
    };
    let mut list: Vec<Standing<'a>> = revisions.iter().map(standing).collect();
    list.sort_by_key(|standing| std::cmp::Reverse(standing.revision.created_at));
    list
}

fn tags<'a>(situation: &Situation<'a>, revision: &Revision) -> Vec<&'a str> {
    let Situation { service, .. } = *situation;
    let leads = |target: &&super::service::TrafficTarget| service.resolve(&target.to) == Some(&revision.name);
    let tagged = service.spec_traffic.iter().filter(leads);
    tagged.filter_map(|target| target.tag.as_deref()).collect()
}
