//! An incident's message as it stands now: a bot changes its first message as phases pass, and puts the rest into the
//! thread. It is made from the record alone, so whoever comes late shows what is true, and not what was.

use super::form::Form;
use super::reader::Reader;
use super::shift::Shift;
use super::story::plain_links;
use super::texts::{Ending, Say};
use super::words::{day, name};
use super::{Message, afterwards, on_the_way};
use crate::domain::decision::Decision;
use crate::domain::policy::Policy;
use crate::domain::record::{Phase, Rollback};
use crate::domain::service::ServiceName;
use crate::domain::steps;

/// Renders a rollback's phase; nothing as long as the first message is still right.
#[must_use]
pub fn standing(policy: &Policy, service: &ServiceName, rollback: &Rollback) -> Option<Message> {
    let Rollback { culprit, target, step, phase, moved, .. } = rollback;
    let reader = &Reader::of(policy, Some(service));
    let (ending, code) = match phase {
        Phase::Switching | Phase::Told if moved.is_none() => return None,
        Phase::Switching | Phase::Told => return Some(on_its_way(reader, rollback)),
        Phase::Recovered => (Ending::Recovered, "recovered"),
        Phase::NotHelped => (Ending::NotHelped, "not_helped"),
        Phase::Restoring => (Ending::Restoring, "not_helped"),
        Phase::Restored if rollback.trial && *step < steps::ALL => (Ending::Cleared, "dependency_outage"),
        Phase::Restored => (Ending::Restored, "not_helped"),
        Phase::Undone => (Ending::Undone, "undone"),
        Phase::Unjudged => (Ending::Unjudged, "unjudged"),
        Phase::Overruled => (Ending::Overruled, "overruled"),
        Phase::NotArrived => (Ending::NotArrived, "not_arrived"),
        Phase::Halted => (Ending::Stopped, "halted"),
        // A later version knows what it means.
        Phase::Other(_) => return None,
    };
    let mut form = afterwards::form(reader, ending, (culprit, target), *step, code, &rollback.incident);
    // Nobody knows what somebody else, or Cloud Run, has made of it.
    let settled = !matches!(phase, Phase::Overruled | Phase::NotArrived | Phase::Restoring | Phase::Restored);
    if settled && *phase != Phase::Undone {
        form.later = Some(reader.say(Say::LaterPinned, &reader.values()));
    }
    Some(finished(reader, rollback, form, settled))
}

fn on_its_way(reader: &Reader<'_>, rollback: &Rollback) -> Message {
    let mut form = on_the_way::moved(reader, rollback, &rollback.reason);
    form.now = reader.word(Say::NowWaits).to_owned();
    finished(reader, rollback, form, true)
}

fn finished(reader: &Reader<'_>, rollback: &Rollback, mut form: Form, settled: bool) -> Message {
    let values = reader.values().with("time", day(rollback.at)).with("reason", name(&rollback.reason));
    form.story.push(reader.say(Say::Began, &values));
    if let Some(service) = reader.service.filter(|_| settled && !rollback.from.is_empty()) {
        let decision = Decision::resumed(service, rollback.clone());
        form.story.extend(Shift::of(&decision).map(|shift| shift.describe(reader)));
    }
    form.links = plain_links(reader, Some(&rollback.culprit));
    let message = form.finish(reader);
    // What was said before is in the thread already.
    Message { details: Vec::new(), kept: Vec::new(), ..message }
}

#[cfg(test)]
mod tests;
