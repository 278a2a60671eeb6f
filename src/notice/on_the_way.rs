//! What people are told on the way: a further step, and that nobody will look later.

use chrono::{DateTime, Utc};

use super::commands::{finish, offer};
use super::denied::{grant, missing, needs_you};
use super::form::{Form, Mark};
use super::reader::Reader;
use super::story::{health, plain_links, sentence};
use super::texts::{Say, Values};
use super::words::{moment, prose};
use super::{Ahead, Message, percents};
use crate::domain::afterwards::FIRST_LOOK;
use crate::domain::decision::Reason;
use crate::domain::policy::Policy;
use crate::domain::probe::Probed;
use crate::domain::record::Rollback;
use crate::domain::service::ServiceName;
use crate::domain::steps;

/// Room for a queue's answer.
const ANSWER: usize = 300;

/// Renders a further step of a gradual rollback: the last one, or one of which there is something to say.
#[must_use]
pub fn step(
    policy: &Policy,
    service: &ServiceName,
    rollback: &Rollback,
    late: bool,
    ahead: Ahead,
    probed: Option<&Probed>,
) -> Message {
    let Rollback { culprit, target, why, .. } = rollback;
    let reader = &Reader::of(policy, Some(service));
    let reason = Reason::of_code(&rollback.reason).unwrap_or(Reason::Confirmed);
    let mut form = moved(reader, rollback, reason.code());
    form.story.extend(why.as_deref().map(|why| format!("{}.", sentence(why))));
    form.story.extend(late.then(|| reader.word(Say::Late).to_owned()));
    form.story.extend(health(reader, probed));
    form.now = now(reader, culprit, target, rollback.last_write(), ahead);
    form.links = plain_links(reader, Some(culprit));
    form.finish(reader)
}

/// A part of the culprit's traffic, or all of it, has moved.
pub(super) fn moved(reader: &Reader<'_>, rollback: &Rollback, code: &str) -> Form {
    let values = split(reader, rollback).with("time", moment(rollback.last_write()));
    let (mark, title) = match rollback.step {
        steps::ALL => (Mark::RolledBack, Say::RolledBack),
        _ => (Mark::UnderWay, Say::StepMoved),
    };
    let header = reader.header(mark, reader.word(title), &values);
    let mut form = Form::new(mark, header, code, &rollback.incident);
    form.story = vec![reader.say(Say::MovedLate, &values)];
    form.later = Some(reader.say(Say::LaterPinned, &values));
    form
}

/// Between whom the traffic is split.
fn split(reader: &Reader<'_>, rollback: &Rollback) -> Values {
    let Rollback { culprit, target, step, .. } = rollback;
    reader
        .values()
        .with("culprit", reader.short(culprit))
        .with("target", reader.short(target))
        .with("percent", percents(*step))
}

/// What people have to do after a write, and what Runback does next.
pub(super) fn now(
    reader: &Reader<'_>,
    culprit: &str,
    target: &str,
    at: DateTime<Utc>,
    ahead: Ahead,
) -> String {
    let values =
        Values::default().with("culprit", reader.short(culprit)).with("target", reader.short(target));
    match ahead {
        Ahead::Check => reader.say(Say::NowCheck, &values.with("time", moment(at + FIRST_LOOK))),
        Ahead::Trial { wait } => reader.say(Say::NowTrial, &values.with("time", moment(at + wait))),
        Ahead::Step { percent, wait } => {
            let values = values.with("time", moment(at + wait)).with("percent", percents(percent));
            reader.say(Say::NowStep, &values)
        }
        Ahead::Nothing | Ahead::Look { .. } => reader.word(Say::NowAlone).to_owned(),
    }
}

/// Renders that nobody will look at a rollback later: its queue refuses the task.
#[must_use]
pub fn no_look_ahead(policy: &Policy, service: &ServiceName, rollback: &Rollback, why: &str) -> Message {
    let reader = &Reader::of(policy, Some(service));
    let values =
        reader.values().with("target", reader.short(&rollback.target)).with("detail", prose(why, ANSWER));
    let header = reader.header(Mark::NeedsYou, reader.word(Say::NoCheckAhead), &values);
    let mut form = Form::new(Mark::NeedsYou, header, &rollback.reason, &rollback.incident);
    form.story = vec![reader.say(Say::NoCheckStory, &values)];
    form.now = reader.word(Say::NowQueue).to_owned();
    form.links = plain_links(reader, Some(&rollback.culprit));
    form.finish(reader)
}

/// Renders that the next step waits until people no longer hold the service.
#[must_use]
pub fn on_hold(policy: &Policy, service: &ServiceName, rollback: &Rollback) -> Message {
    let reader = &Reader::of(policy, Some(service));
    let values = split(reader, rollback).with("resume", reader.command("resume"));
    let header = reader.header(Mark::HandsOff, reader.word(Say::StepOnHold), &values);
    let mut form = Form::new(Mark::HandsOff, header, Reason::OnHold.code(), &rollback.incident);
    form.story = vec![reader.say(Say::StepOnHoldStory, &values)];
    form.now = reader.word(Say::NowHeld).to_owned();
    form.later = Some(reader.say(Say::LaterResume, &values));
    form.offer = finish(reader, &rollback.target);
    form.links = plain_links(reader, Some(&rollback.culprit));
    form.finish(reader)
}

/// Renders that Google refuses Runback in the middle of a rollback. `account` is Runback's own, where it is known.
#[must_use]
pub fn held_up(policy: &Policy, service: &ServiceName, permission: &str, account: Option<&str>) -> Message {
    let reader = &Reader::of(policy, Some(service));
    let values = reader.values().with("missing", missing(reader, Some(permission)));
    let mut form = needs_you(reader, Say::HeldUp, "");
    form.story = vec![reader.say(Say::HeldUpStory, &values)];
    let queue = permission.starts_with("cloudtasks.");
    form.now = reader.word(if queue { Say::NowGrantQueue } else { Say::NowGrant }).to_owned();
    form.later = Some(reader.word(Say::HeldUpPatience).to_owned());
    form.offer = grant(reader, Some(permission), account);
    form.aside.extend(offer(reader, Say::Status, "status"));
    form.finish(reader)
}

/// Renders that Runback no longer looks after a rollback, because it may not or cannot know of it any more.
#[must_use]
pub fn out_of_sight(policy: &Policy, service: &ServiceName, why: &str, reason: Reason) -> Message {
    let reader = &Reader::of(policy, Some(service));
    let values = reader.values().with("detail", sentence(why));
    let header = reader.header(Mark::NeedsYou, reader.word(Say::OutOfSight), &values);
    let mut form = Form::new(Mark::NeedsYou, header, reason.code(), "");
    form.story = vec![reader.say(Say::OutOfSightStory, &values)];
    form.now = reader.word(Say::NowLook).to_owned();
    form.later = Some(reader.say(Say::LaterPinned, &values));
    form.offer = offer(reader, Say::Status, "status");
    form.links = plain_links(reader, None);
    form.finish(reader)
}
