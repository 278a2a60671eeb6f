//! What people are told when the target has been judged after the switch.

use chrono::TimeDelta;

use super::next::{Step, release};
use super::words::{name, split_command};
use super::{Draft, Message, listed, sections};
use crate::domain::evidence::{Judgement, Verdict};
use crate::domain::record::{Phase, Rollback};
use crate::domain::service::ServiceName;
use crate::domain::text;

/// What the requests since the switch showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// The target is healthy.
    Recovered,
    /// It fails as well.
    NotHelped,
    /// Too few requests to tell.
    Unjudged,
}

impl Afterwards {
    /// The phase in which it leaves the rollback.
    #[must_use]
    pub fn phase(self) -> Phase {
        match self {
            Self::Recovered => Phase::Recovered,
            Self::NotHelped => Phase::NotHelped,
            Self::Unjudged => Phase::Unjudged,
        }
    }

    /// The reason code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Recovered => "recovered",
            Self::NotHelped => "not_helped",
            Self::Unjudged => "unjudged",
        }
    }
}

/// Renders the verdict on a rollback, `after` this long since the switch.
#[must_use]
pub fn afterwards(
    service: &ServiceName,
    rollback: &Rollback,
    verdict: Afterwards,
    judgement: &Judgement,
    after: TimeDelta,
) -> Message {
    let short = name(&service.service);
    let (target, after) = (name(&rollback.target), text::span(after));
    let figures = figures(judgement);
    let (title, story, steps) = match verdict {
        Afterwards::Recovered => (
            "recovered",
            format!("`{target}` is healthy, {after} after the switch: {figures}."),
            vec![Step::run(
                "The service stays pinned: the next deploy gets 0 % of the traffic. When the fix is deployed and tried:",
                release(service),
            )],
        ),
        Afterwards::NotHelped => (
            "the rollback did not help",
            format!(
                "*`{target}` fails as well*, {after} after the switch: {figures}. The traffic stays where it is; \
                 somebody has to look."
            ),
            vec![
                Step::say(
                    "Look at what every revision depends on: the database, other APIs, secrets, the network.",
                ),
                Step::run(
                    "If the deploy was not to blame, put the traffic back as it was:",
                    split_command(service, &rollback.from),
                ),
            ],
        ),
        Afterwards::Unjudged => (
            "not clear whether the rollback helped",
            format!("Too little to tell by, {after} after the switch: {figures}."),
            vec![Step::say("Try the service yourself; Runback does not look again.")],
        ),
    };
    let body = vec![story.clone(), listed(&steps, |command| command.to_owned())];
    let shown = std::iter::once(story).chain(sections(&steps)).collect();
    Draft { header: format!("{short}: {title}"), body, shown, small: Vec::new() }
        .finish(verdict.code(), &rollback.incident)
}

fn figures(judgement: &Judgement) -> String {
    let Judgement { requests, bad, ratio, threshold, .. } = *judgement;
    if judgement.verdict == Verdict::NoData {
        return "no requests since".into();
    }
    format!(
        "{} of {} requests were bad, {}; limit {}",
        text::count(bad),
        text::count(requests),
        text::percent(ratio),
        text::percent(threshold)
    )
}
