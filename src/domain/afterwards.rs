//! After the switch: what a look at a rollback finds, and what is due then.
//!
//! Looks come from tasks, which may come twice, early, a day late or out of order. So a look is judged by the service
//! and its record alone: [`find`] names what it finds, and [`next`] is the table of what follows from that.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::by_tag::{StillReached, still_reached};
use super::decide::{judge_against, judge_requests, limit_of};
use super::evidence::{
    Axis, Evidence, Judgement, MIN_BAD, Readings, Sample, Verdict, burns, ratio, significantly_worse, total,
};
use super::policy::{Mode, NotHelped, Rules};
use super::record::{Phase, Rollback, age};
use super::service::Service;
use super::steps;
use super::text;

/// A write that the status does not show after this long is reported as not arrived.
pub const ARRIVES_WITHIN: TimeDelta = TimeDelta::minutes(5);

/// The first look at the target after everything has moved: Monitoring shows a minute's requests after up to three more.
pub const FIRST_LOOK: Duration = Duration::from_secs(5 * 60);

/// The next one, when there were too few requests.
pub const NEXT_LOOK: Duration = Duration::from_secs(3 * 60);

/// After so many looks people are told that nothing could be told.
pub const MOST_LOOKS: u32 = 5;

/// A step waits this much longer for Monitoring, or for a deploy to settle. Then it goes on: the culprit is convicted,
/// the target's past was healthy, and waiting leaves users with the culprit.
const STEP_PATIENCE: TimeDelta = TimeDelta::minutes(5);

/// A trial with little traffic takes so much longer. Then people decide.
const TRIAL_PATIENCE: TimeDelta = TimeDelta::minutes(12);

/// The verdict waits this long for Monitoring. Then people are told that nothing could be told.
const VERDICT_PATIENCE: TimeDelta = TimeDelta::minutes(30);

/// In a minute there is nothing to judge yet.
const TOO_EARLY: TimeDelta = TimeDelta::minutes(1);

/// The queue's clock and ours may differ.
const CLOCKS: TimeDelta = TimeDelta::seconds(5);

/// What is known when a look is judged.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The rollback, as it is on record.
    pub rollback: &'a Rollback,
    /// The service.
    pub service: &'a Service,
    /// The policy for it.
    pub rules: &'a Rules,
    /// Whether people know of the last write.
    pub told: bool,
    /// Whether this is the last look that is worth its while.
    pub last_look: bool,
    /// The moment of the look.
    pub now: DateTime<Utc>,
    /// What Monitoring counted, once it has been read.
    pub evidence: Option<&'a Evidence>,
}

macro_rules! findings {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// What a look finds.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Finding { $($(#[$doc])* $name,)* }

        impl Finding {
            /// Every finding, in the order in which they are looked for.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The word for it in the diagram of states.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

findings! {
    /// Somebody else has moved the traffic since it had all arrived: they know.
    Overruled = "moved by others",
    /// Somebody else has moved the traffic in the middle of it.
    Interrupted = "interrupted",
    /// The status does not show the last write yet.
    OnItsWay = "on its way",
    /// The status has not shown the last write for five minutes.
    NotArrived = "not arrived",
    /// The status shows the last write, and people do not know yet.
    Arrived = "arrived",
    /// What comes next is not due yet.
    Early = "early",
    /// The policy no longer lets Runback act.
    Forbidden = "observe only",
    /// It is due, but Monitoring cannot be read, or a deploy is in flight.
    Waiting = "waiting",
    /// A step is due, and Monitoring could not be read for longer than that may wait.
    Blind = "blind",
    /// A step is due, and the culprit has become critical.
    Critical = "critical",
    /// A step is due, and nothing speaks against it.
    GoOn = "go on",
    /// The target is no better than the culprit, before everything has moved.
    Worse = "no better",
    /// On trial, the target is as bad as the culprit, or neither fails any more.
    Alike = "alike",
    /// On trial, and after a quarter of an hour still nothing tells the two apart.
    Undecided = "undecided",
    /// The target is healthy.
    Healthy = "healthy",
    /// The target fails as well.
    Failing = "failing",
    /// The target is no better than the culprit, and the policy wants the previous split back.
    GiveBack = "give back",
    /// The target has not failed, but the culprit still gets requests, by a tag for example, and fails.
    StillReached = "still reached",
    /// It still did at the last look.
    NeverLeft = "never left",
    /// There were too few requests to judge the target by, or they are not clear.
    TooFew = "too few",
    /// There still are, and it was the last look; or Monitoring could not be read for long.
    Unclear = "unclear",
}

/// A finding with the figures that it rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// What was found.
    pub finding: Finding,
    /// The target since the last write, where it was judged.
    pub target: Option<Judgement>,
    /// The culprit, where it was judged beside it.
    pub culprit: Option<Judgement>,
}

/// A finding, or what has to be known first.
#[derive(Debug, Clone, PartialEq)]
pub enum Look {
    /// What was found.
    Found(Box<Found>),
    /// [`View::evidence`] is needed.
    ReadEvidence,
}

/// What is due after a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Only the phase is recorded.
    Record,
    /// The task has to come again.
    ComeAgain,
    /// Look again in a few seconds, for as long as it takes to arrive.
    Watch,
    /// Tell people of the last write, and plan what comes after it.
    Announce,
    /// Write the next step.
    Step,
    /// Write the last step.
    StepToTheEnd,
    /// Write the previous split.
    Restore,
    /// Look again when there may be more requests.
    LookAgain,
    /// Tell people how it stands; it is theirs now.
    Report,
}

/// Finds what a look shows; the first finding that holds.
#[must_use]
pub fn find(view: &View<'_>) -> Look {
    let View { rollback, service, rules, told, now, .. } = *view;
    let bare = |finding| Look::Found(Box::new(Found { finding, target: None, culprit: None }));
    let restoring = rollback.phase == Phase::Restoring;
    let age = age(rollback.last_write(), now);
    if !rollback.is_wanted(service) {
        let in_the_middle = restoring || !told || rollback.step < steps::ALL;
        return bare(if in_the_middle { Finding::Interrupted } else { Finding::Overruled });
    }
    if !rollback.has_arrived(service) {
        return bare(if age > ARRIVES_WITHIN { Finding::NotArrived } else { Finding::OnItsWay });
    }
    if restoring || !told {
        return bare(Finding::Arrived);
    }
    let due = if rollback.step < steps::ALL { text::delta(rules.step_interval) } else { TOO_EARLY };
    if age + CLOCKS < due {
        return bare(Finding::Early);
    }
    if rollback.step < steps::ALL { step(view, age - due) } else { verdict(view, age) }
}

/// A step is due, and has been for so long.
fn step(view: &View<'_>, overdue: TimeDelta) -> Look {
    let View { rollback, service, rules, .. } = *view;
    let bare = |finding| Look::Found(Box::new(Found { finding, target: None, culprit: None }));
    let patient = overdue < STEP_PATIENCE;
    if rules.mode != Mode::Enforce {
        return bare(Finding::Forbidden);
    }
    if service.in_flight && patient {
        return bare(Finding::Waiting);
    }
    let readings = match view.evidence {
        None => return Look::ReadEvidence,
        Some(Evidence::Unreadable { .. }) if patient => return bare(Finding::Waiting),
        // What is on trial is not convicted.
        Some(Evidence::Unreadable { .. }) if rollback.trial => return bare(Finding::Undecided),
        Some(Evidence::Unreadable { .. }) => return bare(Finding::Blind),
        Some(Evidence::Read(readings)) => readings,
    };
    if rollback.trial {
        return trial(view, readings, overdue);
    }
    let target = judge_target(readings, rollback, rules);
    let culprit = judge_culprit(readings, rollback, rules);
    let finding = if is_no_better(&target, &culprit, rules) {
        if gives_back(view) { Finding::GiveBack } else { Finding::Worse }
    } else if readings.axis == Axis::Errors
        && culprit.verdict == Verdict::Confirmed
        && culprit.ratio >= rules.critical
    {
        Finding::Critical
    } else {
        // Too little traffic on the target is no objection: the culprit is convicted.
        Finding::GoOn
    };
    Look::Found(Box::new(Found { finding, target: Some(target), culprit: Some(culprit) }))
}

/// Both have a part of the same traffic: the rest follows when the culprit is significantly worse on the same minutes.
fn trial(view: &View<'_>, readings: &Readings, overdue: TimeDelta) -> Look {
    let View { rollback, rules, .. } = *view;
    let limit = limit_for(readings, rollback, rules);
    let judged = |revision: &str| {
        let samples = since(readings, revision, rollback.last_write());
        judge_against(rules, readings.axis, &samples, limit)
    };
    let (target, culprit) = (judged(&rollback.target), judged(&rollback.culprit));
    let counts = |judgement: &Judgement| (judgement.bad, judgement.requests);
    let alike_in_health = target.verdict == Verdict::Healthy && culprit.verdict == Verdict::Healthy;
    let finding = if burns(counts(&culprit), counts(&target), MIN_BAD) {
        let critical = readings.axis == Axis::Errors && culprit.ratio >= rules.critical;
        if critical { Finding::Critical } else { Finding::GoOn }
    } else if is_no_better(&target, &culprit, rules) || alike_in_health {
        let untouched = rules.mode == Mode::Enforce && rollback.is_untouched(view.service);
        if untouched { Finding::Alike } else { Finding::Undecided }
    } else if overdue < TRIAL_PATIENCE {
        Finding::Waiting
    } else {
        Finding::Undecided
    };
    Look::Found(Box::new(Found { finding, target: Some(target), culprit: Some(culprit) }))
}

/// Everything has moved since so long.
fn verdict(view: &View<'_>, age: TimeDelta) -> Look {
    let View { rollback, rules, .. } = *view;
    let bare = |finding| Look::Found(Box::new(Found { finding, target: None, culprit: None }));
    let readings = match view.evidence {
        None => return Look::ReadEvidence,
        Some(Evidence::Unreadable { .. }) if age < VERDICT_PATIENCE => return bare(Finding::Waiting),
        Some(Evidence::Unreadable { .. }) => return bare(Finding::Unclear),
        Some(Evidence::Read(readings)) => readings,
    };
    let target = judge_target(readings, rollback, rules);
    let culprit = judge_culprit(readings, rollback, rules);
    let reached = is_still_reached(readings, rollback, rules);
    if let Some(reached) = reached.filter(|_| target.verdict != Verdict::Confirmed) {
        let finding = match () {
            () if view.last_look => Finding::NeverLeft,
            () if reached.lasts => Finding::StillReached,
            // Perhaps only what began before the switch.
            () => Finding::TooFew,
        };
        let culprit = Some(reached.judgement);
        return Look::Found(Box::new(Found { finding, target: Some(target), culprit }));
    }
    let finding = match target.verdict {
        Verdict::Healthy => Finding::Healthy,
        Verdict::Confirmed if gives_back(view) && is_no_better(&target, &culprit, rules) => Finding::GiveBack,
        Verdict::Confirmed => Finding::Failing,
        _ if view.last_look => Finding::Unclear,
        _ => Finding::TooFew,
    };
    Look::Found(Box::new(Found { finding, target: Some(target), culprit: Some(culprit) }))
}

/// Judges a rollback's target on whole minutes since the last write, against the limit that its culprit was over.
#[must_use]
pub fn judge_target(readings: &Readings, rollback: &Rollback, rules: &Rules) -> Judgement {
    let samples = since(readings, &rollback.target, rollback.last_write());
    judge_against(rules, readings.axis, &samples, limit_for(readings, rollback, rules))
}

/// What keeps a rollback from having helped although its target is healthy: requests that its culprit still gets.
#[must_use]
pub fn is_still_reached(readings: &Readings, rollback: &Rollback, rules: &Rules) -> Option<StillReached> {
    still_reached(readings, rollback, rules, limit_for(readings, rollback, rules))
}

/// A culprit may have been rolled back for less than the policy's limit, because a warning lasted or the alert was about
/// a slow burn. What is below that limit anyway would always have recovered.
fn limit_for(readings: &Readings, rollback: &Rollback, rules: &Rules) -> f64 {
    let limit = limit_of(rules, readings.axis);
    let until = |revision: &str, from: DateTime<Utc>| -> Vec<Sample> {
        since(readings, revision, from).into_iter().filter(|sample| sample.end <= rollback.at).collect()
    };
    let window = until(&rollback.culprit, rollback.at - text::delta(rules.window));
    let over = |limit: f64| judge_against(rules, readings.axis, &window, limit).verdict == Verdict::Confirmed;
    if over(limit) {
        // A target that has always had more than the limit was good enough at a third of the culprit's share.
        let (requests, bad) = total(&window);
        let past = total(&until(&rollback.target, rollback.at - text::delta(rules.history)));
        let used_to = ratio(past.1, past.0);
        return if used_to > limit / 2.0 { limit.max(ratio(bad, requests) / 2.0) } else { limit };
    }
    if let Some(warning) = rules.warning.filter(|warning| readings.axis == Axis::Errors && over(*warning)) {
        return warning;
    }
    let (requests, bad) = total(&window);
    let past = total(&until(&rollback.target, rollback.at - text::delta(rules.history)));
    if burns((bad, requests), (past.1, past.0), rules.min_requests) {
        limit.min(ratio(bad, requests) / 2.0)
    } else {
        limit
    }
}

/// Judges its culprit on the same minutes; where it had too few requests then, on those that led to the rollback too.
fn judge_culprit(readings: &Readings, rollback: &Rollback, rules: &Rules) -> Judgement {
    let lately = judge_since(readings, &rollback.culprit, rollback.last_write(), rules);
    if lately.requests >= rules.min_requests {
        return lately;
    }
    judge_since(readings, &rollback.culprit, rollback.at - text::delta(rules.window), rules)
}

fn judge_since(readings: &Readings, revision: &str, since: DateTime<Utc>, rules: &Rules) -> Judgement {
    judge_requests(rules, readings.axis, &self::since(readings, revision, since))
}

fn since(readings: &Readings, revision: &str, since: DateTime<Utc>) -> Vec<Sample> {
    readings.of(revision).iter().filter(|sample| sample.start >= since).copied().collect()
}

/// Whether going on does not help, by what the target and the culprit have answered since the last write.
#[must_use]
pub fn is_futile(readings: &Readings, rollback: &Rollback, rules: &Rules) -> bool {
    is_no_better(&judge_target(readings, rollback, rules), &judge_culprit(readings, rollback, rules), rules)
}

/// Whether the target is significantly worse than the culprit, or fails as well and not at a fraction of its rate: then
/// going on does not help, and neither does staying.
fn is_no_better(target: &Judgement, culprit: &Judgement, rules: &Rules) -> bool {
    let enough = |judgement: &Judgement| judgement.requests >= rules.min_requests;
    let counts = |judgement: &Judgement| (judgement.bad, judgement.requests);
    let significant = target.bad >= MIN_BAD && significantly_worse(counts(target), counts(culprit));
    let worse = enough(target) && enough(culprit) && significant;
    let alike = target.verdict == Verdict::Confirmed && target.ratio >= culprit.ratio / 2.0;
    worse || alike
}

/// The previous split would overwrite whatever somebody has changed since, so every share has to be as it was written.
fn gives_back(view: &View<'_>) -> bool {
    let View { rollback, service, rules, .. } = *view;
    let wanted =
        rules.not_helped == NotHelped::Restore && rules.mode == Mode::Enforce && !rollback.is_by_hand();
    wanted && !rollback.from.is_empty() && rollback.is_untouched(service)
}

/// What follows from a finding: the phase afterwards, and what is to be done. Nothing for a rollback that is over.
#[must_use]
pub fn next(phase: &Phase, finding: Finding) -> Option<(Phase, Action)> {
    use Finding as F;
    let back = *phase == Phase::Restoring;
    let told = *phase == Phase::Told;
    if !back && !told && *phase != Phase::Switching {
        return None;
    }
    let same = phase.clone();
    Some(match finding {
        F::Interrupted => (Phase::Overruled, Action::Report),
        F::NotArrived => (Phase::NotArrived, Action::Report),
        F::OnItsWay => (same, Action::Watch),
        F::Arrived if back => (Phase::Restored, Action::Report),
        // Nothing else is looked for on the way back.
        _ if back => return None,
        F::Overruled => (Phase::Overruled, Action::Record),
        F::Early | F::Waiting => (same, Action::ComeAgain),
        F::Healthy => (Phase::Recovered, Action::Report),
        F::Failing => (Phase::NotHelped, Action::Report),
        F::GiveBack | F::Alike => (Phase::Restoring, Action::Restore),
        F::TooFew | F::StillReached => (Phase::Told, Action::LookAgain),
        F::Unclear | F::NeverLeft => (Phase::Unjudged, Action::Report),
        // What people were told of has arrived, and all of it has moved.
        _ if told => return None,
        F::Arrived => (same, Action::Announce),
        F::Forbidden => (Phase::Halted, Action::Report),
        F::Worse | F::Undecided => (Phase::Halted, Action::Report),
        F::Blind | F::GoOn => (same, Action::Step),
        F::Critical => (same, Action::StepToTheEnd),
    })
}

#[cfg(test)]
mod tests;
