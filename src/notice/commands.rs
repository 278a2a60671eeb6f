//! Commands that can be pasted as they are, and never undo what was just done.

use super::form::Offer;
use super::reader::Reader;
use super::shift::Shift;
use super::texts::{Say, Values};
use super::words::{name, percent, split_command};
use crate::domain::decision::{Advice, Reason};
use crate::domain::record::Share;
use crate::domain::steps;
use crate::domain::text;

/// Going back by hand, and the same with gcloud.
pub(super) fn go_back(
    reader: &Reader<'_>,
    reason: Reason,
    advice: Option<&Advice>,
    shift: Option<&Shift<'_>>,
) -> (Option<Offer>, Option<Offer>) {
    if reader.service.is_none() {
        return (None, None);
    }
    let planned = shift.map(|shift| shift.target);
    let advised = advice.and_then(|advice| advice.target.as_ref()).map(|target| target.name.as_str());
    let Some(target) = planned.or(advised) else {
        let (say, command) = (reader.word(Say::GoBackAny).to_owned(), reader.command("rollback"));
        return (Some(Offer { say, command }), None);
    };
    let values = Values::default().with("target", reader.short(target));
    let say = match advice.and_then(|advice| advice.past).filter(|_| advised == Some(target)) {
        Some((requests, ratio)) => {
            let values = values.with("percent", percent(ratio)).with("requests", text::count(requests));
            reader.say(Say::GoBack, &values)
        }
        None => reader.say(Say::GoBackUnproven, &values),
    };
    let force = if reason == Reason::SchemaFence { " --force schema" } else { "" };
    let command = format!("{} {}{force}", reader.command("rollback"), name(target));
    let whole = [Share { revision: target.to_owned(), percent: steps::ALL }];
    let split = shift.map_or(&whole[..], |shift| &shift.to);
    (Some(Offer { say, command }), gcloud(reader, split))
}

/// A split with gcloud, which asks for no check.
pub(super) fn gcloud(reader: &Reader<'_>, split: &[Share]) -> Option<Offer> {
    let command = split_command(reader.service?, split)?;
    Some(Offer { say: reader.word(Say::Gcloud).to_owned(), command })
}

pub(super) fn offer(reader: &Reader<'_>, say: Say, verb: &str) -> Option<Offer> {
    reader.service?;
    Some(Offer { say: reader.word(say).to_owned(), command: reader.command(verb) })
}

/// The rest of a rollback that stopped half-way.
pub(super) fn finish(reader: &Reader<'_>, target: &str) -> Option<Offer> {
    let command = format!("{} {}", reader.command("rollback"), name(target));
    Some(Offer { say: reader.word(Say::Finish).to_owned(), command })
}

/// The traffic is back; the code is not.
pub(super) fn revert(reader: &Reader<'_>, shift: &Shift<'_>) -> Option<Offer> {
    let [Some(culprit), Some(target)] = shift.commits else { return None };
    let command = format!("git revert --no-edit {}..{}", name(target), name(culprit));
    Some(Offer { say: reader.word(Say::GitRevert).to_owned(), command })
}
