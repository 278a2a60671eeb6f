//! What people are told after the switch: that all of it has moved, and how it ended.

use chrono::{DateTime, TimeDelta, Utc};

use super::next::{PIN, Step, describe, list_revisions, not_arrived, release};
use super::words::{COMMAND, name, split_command, update_traffic};
use super::{Draft, Message, listed, sections, sentence};
use crate::domain::by_tag;
use crate::domain::evidence::{self, Judgement};
use crate::domain::record::{Phase, Rollback, Share};
use crate::domain::service::ServiceName;
use crate::domain::steps;
use crate::domain::text;

/// How a rollback ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// The target is healthy.
    Recovered,
    /// It fails as well.
    NotHelped,
    /// It fails as well, and the previous split is back.
    Restored,
    /// Not an end yet: the culprit still gets requests, and fails.
    StillReached,
    /// The culprit still got requests at the last look.
    NeverLeft,
    /// There was nothing to tell by.
    Unjudged,
    /// Stopped on its way: the target is no better than the culprit.
    Halted,
    /// A trial showed that the target is no better: the culprit is cleared, and the previous split is back.
    Cleared,
    /// A trial could not tell whether the culprit is to blame: the traffic stays split.
    Undecided,
    /// Stopped on its way: the policy no longer lets Runback act.
    Forbidden,
    /// Stopped on its way: somebody else has moved the traffic.
    Overruled,
    /// The status never showed the last write.
    NotArrived,
    /// Stopped on its way: Cloud Run refuses the next step for good.
    StepRefused,
    /// It fails as well, and Cloud Run refuses to put the previous split back.
    BackRefused,
}

impl Afterwards {
    /// The phase in which it leaves the rollback.
    #[must_use]
    pub fn phase(self) -> Phase {
        match self {
            Self::Recovered => Phase::Recovered,
            Self::NotHelped | Self::BackRefused => Phase::NotHelped,
            Self::Restored | Self::Cleared => Phase::Restored,
            Self::StillReached => Phase::Told,
            Self::NeverLeft | Self::Unjudged => Phase::Unjudged,
            Self::Halted | Self::Undecided | Self::Forbidden | Self::StepRefused => Phase::Halted,
            Self::Overruled => Phase::Overruled,
            Self::NotArrived => Phase::NotArrived,
        }
    }

    /// The reason code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::NotHelped | Self::Restored => "not_helped",
            Self::StillReached => "still_reached",
            Self::NeverLeft | Self::Unjudged => "unjudged",
            Self::Cleared => "dependency_outage",
            Self::Halted | Self::Undecided => "halted",
            Self::Forbidden => "observe_mode",
            Self::Overruled => "overruled",
            Self::NotArrived => "not_arrived",
            Self::StepRefused | Self::BackRefused => "write_refused",
        }
    }
}

/// How a rollback ended, with everything that people want to know of it.
#[derive(Debug, Clone)]
pub struct Verdict<'a> {
    /// The service.
    pub service: &'a ServiceName,
    /// The rollback, as it is on record.
    pub rollback: &'a Rollback,
    /// How it ended.
    pub ended: Afterwards,
    /// The target since the last write, where it was judged.
    pub target: Option<Judgement>,
    /// The culprit, where it was judged beside it.
    pub culprit: Option<Judgement>,
    /// The tags that lead to the culprit.
    pub tags: &'a [&'a str],
    /// What Cloud Run's conditions say is wrong, if they do; where it refused a write, its answer.
    pub trouble: Option<&'a str>,
    /// Whether deploys are served without being released.
    pub follows_latest: bool,
    /// The moment of the verdict.
    pub now: DateTime<Utc>,
}

/// Renders how a rollback ended.
#[must_use]
pub fn verdict(verdict: &Verdict<'_>) -> Message {
    let Verdict { service, rollback, ended, .. } = verdict;
    let subject = name(&service.service);
    let (title, story, steps) = match ended {
        Afterwards::Recovered => recovered(verdict),
        Afterwards::NotHelped => not_helped(verdict),
        Afterwards::Restored | Afterwards::Cleared => restored(verdict),
        Afterwards::StillReached | Afterwards::NeverLeft => reached(verdict),
        Afterwards::Unjudged => unjudged(verdict),
        Afterwards::Halted
        | Afterwards::Undecided
        | Afterwards::Forbidden
        | Afterwards::Overruled
        | Afterwards::StepRefused => stopped(verdict),
        Afterwards::BackRefused => kept(verdict),
        Afterwards::NotArrived => lost(verdict),
    };
    let urgent = *ended != Afterwards::Recovered;
    let message = draft(format!("{subject}: {title}"), story, &steps, ended.code(), &rollback.incident);
    Message { urgent, ..message }
}

pub(super) fn draft(header: String, story: String, steps: &[Step], reason: &str, incident: &str) -> Message {
    let body = vec![story.clone(), listed(steps, |command| command.to_owned())];
    let shown = std::iter::once(story).chain(sections(steps)).collect();
    Draft { header, body, shown, small: Vec::new(), kept: Vec::new() }.finish(reason, incident)
}

type Parts = (String, String, Vec<Step>);

fn recovered(verdict: &Verdict<'_>) -> Parts {
    let Verdict { service, rollback, now, .. } = verdict;
    let (culprit, target) = (name(&rollback.culprit), name(&rollback.target));
    let first = if rollback.moved.is_some() { "first step" } else { "switch" };
    // What an old record does not know it does not claim.
    let times = match rollback.alerted {
        Some(alerted) => format!(
            "It took {} from the alert to the {first}, and {} until this was proven.",
            span(rollback.at - alerted),
            span(*now - alerted)
        ),
        None => format!("This was proven {} after the {first}.", span(*now - rollback.at)),
    };
    let story = format!(
        "`{target}`, which has taken over from `{culprit}`, is healthy: {}. {times}",
        figures(verdict.target)
    );
    ("recovered".into(), story, vec![pinned(service)])
}

fn not_helped(verdict: &Verdict<'_>) -> Parts {
    let Verdict { service, rollback, .. } = verdict;
    let target = name(&rollback.target);
    let story = format!(
        "*`{target}` fails as well*, {} after the switch: {}.{} The traffic stays where it is; somebody has to look.",
        span(verdict.now - rollback.last_write()),
        figures(verdict.target),
        compared(verdict)
    );
    let steps = vec![
        dependencies(),
        Step::run(
            "If the deploy was not to blame, put the traffic back as it was:",
            split_command(service, &rollback.from),
        ),
        pinned(service),
    ];
    ("the rollback did not help".into(), story, steps)
}

fn restored(verdict: &Verdict<'_>) -> Parts {
    let Verdict { service, rollback, follows_latest, .. } = verdict;
    let (culprit, target) = (name(&rollback.culprit), name(&rollback.target));
    let why = rollback.why.as_deref().map_or(String::new(), |why| format!("\n{}.", sentence(why)));
    let story = format!(
        "*`{target}` is no better than `{culprit}`*, so the traffic is back as it was before ({}). `{culprit}` is \
         not to blame: Runback does not roll it back again.{why}",
        shares(&rollback.from)
    );
    let story = if verdict.ended == Afterwards::Cleared {
        format!(
            "The trial is over: *`{target}` is no better than `{culprit}`* on the same minutes, so this deploy is not to \
             blame. The traffic is back as it was before ({}).{why}",
            shares(&rollback.from)
        )
    } else {
        story
    };
    let pin = if *follows_latest {
        Step::say("The service follows LATEST again: the next deploy is served.")
    } else {
        Step::run(format!("The service is still pinned. {PIN}:"), release(service))
    };
    let title = match verdict.ended {
        Afterwards::Cleared => "not the deploy, the trial is undone",
        _ => "the rollback did not help and is undone",
    };
    (title.into(), story, vec![dependencies(), pin])
}

/// The percentages have moved, and the requests have not, or not all of them.
fn reached(verdict: &Verdict<'_>) -> Parts {
    let Verdict { service, rollback, ended, tags, now, .. } = verdict;
    let (culprit, target) = (name(&rollback.culprit), name(&rollback.target));
    let safe: Vec<String> = tags.iter().map(|tag| name(tag)).collect();
    let by = by_tag::named(&safe.iter().map(String::as_str).collect::<Vec<_>>());
    let ignore = if safe.len() > 1 { "ignore" } else { "ignores" };
    let how = by.map_or(String::new(), |by| format!(", by {by}, which {ignore} the percentages"));
    let story = format!(
        "*`{culprit}` still gets requests*{how}, {} after the switch: {}.\n`{target}`: {}.",
        span(*now - rollback.last_write()),
        figures(verdict.culprit),
        figures(verdict.target)
    );
    let moved: Vec<String> = safe.iter().map(|tag| format!("{tag}={target}")).collect();
    let mend = if moved.is_empty() {
        Step::say("It has no tag: look for long requests, or a caller that has kept its connection.")
    } else {
        let command = update_traffic(service, &format!("--update-tags {}", moved.join(",")));
        let command = (command.len() <= COMMAND).then_some(command);
        Step::run("If users come that way, a tag has to move as well. Ask whoever set it, then:", command)
    };
    let again = match ended {
        Afterwards::StillReached => "Runback looks again in three minutes.",
        _ => "Runback does not look again: try the service yourself.",
    };
    let steps = vec![mend, Step::say(again), pinned(service)];
    ("requests still reach the rolled-back revision".into(), story, steps)
}

fn unjudged(verdict: &Verdict<'_>) -> Parts {
    let after = span(verdict.now - verdict.rollback.last_write());
    let story = match verdict.target {
        Some(_) => format!("Too little to tell by, {after} after the switch: {}.", figures(verdict.target)),
        None => format!("Cloud Monitoring could not be read for {after}."),
    };
    let again = Step::say("Try the service yourself; Runback does not look again.");
    let steps = vec![again, pinned(verdict.service)];
    ("not clear whether the rollback helped".into(), story, steps)
}

/// A gradual rollback, or the way back, that did not come to its end.
fn stopped(verdict: &Verdict<'_>) -> Parts {
    let Verdict { service, rollback, ended, .. } = verdict;
    let (culprit, target) = (name(&rollback.culprit), name(&rollback.target));
    let part = match rollback.step {
        _ if rollback.phase == Phase::Restoring => "while it put the previous split back".to_owned(),
        steps::ALL => format!("after Runback had moved `{culprit}`'s to `{target}`"),
        step => format!("after Runback had moved {step} % of `{culprit}`'s to `{target}`"),
    };
    let (title, story) = match ended {
        Afterwards::Halted => (
            format!("rollback halted at {} %", rollback.step),
            format!(
                "*`{target}` is no better than `{culprit}`*, so Runback stopped. The traffic stays where it is, {} % \
                 of `{culprit}`'s at `{target}`; somebody has to look.\n`{target}`: {}.\n`{culprit}`: {}.",
                rollback.step,
                figures(verdict.target),
                figures(verdict.culprit)
            ),
        ),
        Afterwards::Undecided => (
            format!("trial undecided at {} %", rollback.step),
            format!(
                "The trial does not show whether `{culprit}` is to blame. *The traffic stays split*, {} % of `{culprit}`'s at \
                 `{target}`; somebody has to decide.\n`{target}`: {}.\n`{culprit}`: {}.",
                rollback.step,
                figures(verdict.target),
                figures(verdict.culprit)
            ),
        ),
        Afterwards::Forbidden => (
            format!("rollback stopped at {} %", rollback.step),
            format!(
                "Runback's policy says to observe only by now, so it stopped. *The traffic is split*, {} % of \
                 `{culprit}`'s at `{target}`.",
                rollback.step
            ),
        ),
        Afterwards::StepRefused => (
            format!("rollback stopped at {} %", rollback.step),
            format!(
                "*Cloud Run refuses the next step*{}. *The traffic is split*, {} % of `{culprit}`'s at `{target}`; \
                 somebody has to look.",
                said(verdict),
                rollback.step
            ),
        ),
        _ => (
            "rollback stopped, somebody else moved the traffic".to_owned(),
            format!("Somebody else moved the traffic {part}. Runback leaves it alone from here on."),
        ),
    };
    let mut steps = vec![Step::run("Check that the traffic is where it should be:", describe(service))];
    if *ended == Afterwards::Halted {
        steps = vec![dependencies()];
    }
    let finish = |say: &str, split: &[Share]| Step::run(say, split_command(service, split));
    steps.push(finish("To move all of it after all:", &rollback.end()));
    if *ended != Afterwards::Overruled {
        steps.push(finish("To put it back as it was:", &rollback.from));
    }
    steps.extend(still_pinned(verdict));
    (title, story, steps)
}

/// The target is no better, and what was before cannot be had again.
fn kept(verdict: &Verdict<'_>) -> Parts {
    let Verdict { service, rollback, .. } = verdict;
    let (culprit, target) = (name(&rollback.culprit), name(&rollback.target));
    let story = format!(
        "*`{target}` fails as well*, no better than `{culprit}`, and *Cloud Run refuses to put the previous split back*{}. \
         The traffic stays where it is; somebody has to look.\n`{target}`: {}.\n`{culprit}`: {}.",
        said(verdict),
        figures(verdict.target),
        figures(verdict.culprit)
    );
    let mut steps = vec![
        dependencies(),
        Step::run("See which revisions the service still has:", list_revisions(service)),
        Step::run("To put the traffic back as it was:", split_command(service, &rollback.from)),
    ];
    steps.extend(still_pinned(verdict));
    ("the rollback did not help, and cannot be undone".into(), story, steps)
}

/// Every message says that the service is pinned, as long as it is.
fn still_pinned(verdict: &Verdict<'_>) -> Option<Step> {
    let step = || Step::run(format!("The service is pinned. {PIN}:"), release(verdict.service));
    (!verdict.follows_latest).then(step)
}

fn said(verdict: &Verdict<'_>) -> String {
    verdict.trouble.map_or(String::new(), |why| format!(": {}", sentence(why)))
}

fn lost(verdict: &Verdict<'_>) -> Parts {
    let Verdict { service, rollback, .. } = verdict;
    let trouble = verdict
        .trouble
        .map_or("No condition says why.".to_owned(), |why| format!("Cloud Run says: {}.", sentence(why)));
    let split = rollback.to();
    let story = format!(
        "*Cloud Run accepted the traffic ({}), but its status has not shown it for {}.* {trouble}",
        shares(&split),
        span(verdict.now - rollback.last_write())
    );
    let title = if rollback.phase == Phase::Restoring {
        "the previous split is written, but not in effect"
    } else {
        "rollback written, but not in effect"
    };
    let wanted = if rollback.phase == Phase::Restoring { split } else { rollback.end() };
    (title.into(), story, not_arrived(Some(service), &wanted))
}

/// What the next deploy will do.
fn pinned(service: &ServiceName) -> Step {
    let say = "The service stays pinned: the next deploy gets 0 % of the traffic. When the fix is deployed and tried:";
    Step::run(say, release(service))
}

fn dependencies() -> Step {
    Step::say("Look at what every revision depends on: the database, other APIs, secrets, the network.")
}

/// What the culprit was like, where it was much worse than the target: then going back was right all the same.
fn compared(verdict: &Verdict<'_>) -> String {
    match (verdict.target, verdict.culprit) {
        (Some(target), Some(culprit)) if target.ratio < culprit.ratio / 2.0 => format!(
            " That is less than the {} of `{}`.",
            text::percent(culprit.ratio),
            name(&verdict.rollback.culprit)
        ),
        _ => String::new(),
    }
}

fn shares(split: &[Share]) -> String {
    let share = |share: &Share| format!("`{}` {} %", name(&share.revision), share.percent);
    let most: Vec<_> = split.iter().take(6).map(share).collect();
    let more = if split.len() > most.len() { " and others" } else { "" };
    most.join(", ") + more
}

fn span(time: TimeDelta) -> String {
    match time.num_seconds() {
        ..1 => "less than a second".into(),
        _ => text::span(time),
    }
}

/// "3 of 1,200 requests were bad, 0.25 %; limit 5 %".
#[must_use]
pub(crate) fn figures(judgement: Option<Judgement>) -> String {
    match judgement {
        Some(Judgement { verdict: evidence::Verdict::NoData, .. }) | None => "no requests since".into(),
        Some(Judgement { requests, bad, ratio, threshold, .. }) => format!(
            "{} of {} requests were bad, {}; limit {}",
            text::count(bad),
            text::count(requests),
            text::percent(ratio),
            text::percent(threshold)
        ),
    }
}
