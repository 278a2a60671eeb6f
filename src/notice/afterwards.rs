//! What people are told after the switch: that all of it has moved, and how it ended.

use chrono::{DateTime, Utc};

use super::commands::{finish, offer};
use super::denied::list_revisions;
use super::form::{Form, Mark, Offer};
use super::reader::Reader;
use super::story::{after, judged, plain_links, sentence, trouble};
use super::texts::{self, Ending, Say, Values};
use super::words::{COMMAND, name, update_traffic};
use super::{Message, percents};
use crate::domain::evidence::{self, Judgement};
use crate::domain::policy::Policy;
use crate::domain::record::{Phase, Rollback};
use crate::domain::service::ServiceName;
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
pub fn verdict(policy: &Policy, verdict: &Verdict<'_>) -> Message {
    let Verdict { service, rollback, ended, follows_latest, .. } = verdict;
    let reader = &Reader::of(policy, Some(service));
    let revisions = (rollback.culprit.as_str(), rollback.target.as_str());
    let ending = match ending_of(*ended) {
        Ending::NotArrived if rollback.phase == Phase::Restoring => Ending::BackNotArrived,
        ending => ending,
    };
    let mut form = form(reader, ending, revisions, rollback.step, ended.code(), &rollback.incident);
    form.links = plain_links(reader, Some(&rollback.culprit));
    let [target, culprit] = [
        judged(reader, &rollback.target, verdict.target),
        judged(reader, &rollback.culprit, verdict.culprit),
    ];
    form.story.extend(target.into_iter().chain(culprit));
    match ended {
        Afterwards::Recovered => form.story.push(times(reader, verdict)),
        Afterwards::Unjudged if verdict.target.is_none() => {
            form.story = vec![reader.word(Say::MonitoringUnread).to_owned()];
        }
        Afterwards::StillReached | Afterwards::NeverLeft => reached(reader, verdict, &mut form),
        Afterwards::StepRefused | Afterwards::BackRefused | Afterwards::NotArrived => {
            form.story.push(trouble(reader, verdict.trouble));
        }
        Afterwards::Restored | Afterwards::Cleared => {
            form.story.extend(rollback.why.as_deref().map(|why| format!("{}.", sentence(why))));
        }
        _ => {}
    }
    form.later = Some(match follows_latest {
        true => reader.word(Say::LaterFollows).to_owned(),
        false => reader.say(Say::LaterPinned, &reader.values()),
    });
    form.finish(reader)
}

fn ending_of(ended: Afterwards) -> Ending {
    match ended {
        Afterwards::Recovered => Ending::Recovered,
        Afterwards::NotHelped => Ending::NotHelped,
        Afterwards::Restored => Ending::Restored,
        Afterwards::StillReached => Ending::StillReached,
        Afterwards::NeverLeft => Ending::NeverLeft,
        Afterwards::Unjudged => Ending::Unjudged,
        Afterwards::Halted => Ending::Halted,
        Afterwards::Cleared => Ending::Cleared,
        Afterwards::Undecided => Ending::Undecided,
        Afterwards::Forbidden => Ending::Forbidden,
        Afterwards::Overruled => Ending::Overruled,
        Afterwards::NotArrived => Ending::NotArrived,
        Afterwards::StepRefused => Ending::StepRefused,
        Afterwards::BackRefused => Ending::BackRefused,
    }
}

/// How a rollback ended or stands, without figures. Whoever has some adds them.
pub(super) fn form(
    reader: &Reader<'_>,
    ending: Ending,
    (culprit, target): (&str, &str),
    step: u8,
    code: &str,
    incident: &str,
) -> Form {
    let values = reader
        .values()
        .with("culprit", reader.short(culprit))
        .with("target", reader.short(target))
        .with("percent", percents(step));
    let told = texts::ending(reader.language(), ending);
    let mark = mark_of(ending);
    let mut form = Form::new(mark, reader.header(mark, told.title, &values), code, incident);
    form.story.push(values.fill(told.story));
    form.now = values.fill(told.now);
    match ending {
        Ending::NotHelped => form.offer = offer(reader, Say::PutBack, "undo"),
        Ending::Halted | Ending::Stopped | Ending::Undecided | Ending::Forbidden => {
            form.offer = finish(reader, target);
            form.aside.extend(offer(reader, Say::PutBack, "undo"));
        }
        // Cloud Run has just refused that.
        Ending::StepRefused | Ending::NotArrived | Ending::BackNotArrived => {
            form.offer = offer(reader, Say::Status, "status");
        }
        Ending::BackRefused => {
            form.offer = offer(reader, Say::Status, "status");
            form.aside.extend(list_revisions(reader));
        }
        Ending::Restored | Ending::Restoring | Ending::Cleared | Ending::Overruled | Ending::Undone => {
            form.offer = offer(reader, Say::Status, "status");
        }
        Ending::Recovered | Ending::StillReached | Ending::NeverLeft | Ending::Unjudged => {}
    }
    form
}

fn mark_of(ending: Ending) -> Mark {
    match ending {
        Ending::Recovered => Mark::Recovered,
        Ending::Unjudged | Ending::StillReached | Ending::NeverLeft => Mark::Warning,
        // Whoever did it knows.
        Ending::Overruled | Ending::Undone => Mark::HandsOff,
        Ending::Restoring => Mark::UnderWay,
        Ending::NotHelped
        | Ending::Restored
        | Ending::Halted
        | Ending::Stopped
        | Ending::Cleared
        | Ending::Undecided
        | Ending::Forbidden
        | Ending::NotArrived
        | Ending::BackNotArrived
        | Ending::StepRefused
        | Ending::BackRefused => Mark::NeedsYou,
    }
}

/// How long it took. What an old record does not know is not claimed.
fn times(reader: &Reader<'_>, verdict: &Verdict<'_>) -> String {
    let Verdict { rollback, now, .. } = verdict;
    match rollback.alerted {
        Some(alerted) => {
            let values = Values::default()
                .with("first", after(reader, rollback.at - alerted))
                .with("proven", after(reader, *now - alerted));
            reader.say(Say::Took, &values)
        }
        None => {
            let values = Values::default().with("proven", after(reader, *now - rollback.at));
            reader.say(Say::ProvenAfter, &values)
        }
    }
}

/// The percentages have moved, and the requests have not, or not all of them.
fn reached(reader: &Reader<'_>, verdict: &Verdict<'_>, form: &mut Form) {
    let Verdict { service, rollback, tags, ended, .. } = verdict;
    let again = *ended == Afterwards::StillReached;
    if tags.is_empty() {
        form.story.push(reader.word(Say::ReachedWithoutTag).to_owned());
        form.now = reader.word(if again { Say::NowAgain } else { Say::NowTry }).to_owned();
        return;
    }
    let listed: Vec<String> = tags.iter().take(6).map(|tag| format!("`{}`", name(tag))).collect();
    let values = Values::default().with("tags", listed.join(", "));
    form.story.push(reader.say(Say::ReachedByTag, &values));
    form.now = reader.word(Say::NowTag).to_owned();
    form.now += &format!(" {}", reader.word(if again { Say::NowAgain } else { Say::NowTry }));
    let target = name(&rollback.target);
    let moved: Vec<String> = tags.iter().map(|tag| format!("{}={target}", name(tag))).collect();
    let command = update_traffic(service, &format!("--update-tags {}", moved.join(",")));
    let say = reader.word(Say::MoveTag).to_owned();
    form.offer = (command.len() <= COMMAND).then_some(Offer { say, command });
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
