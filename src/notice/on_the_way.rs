//! What people are told on the way: a further step, and that nobody will look later.

use super::afterwards::draft;
use super::next::{PIN, Step, after_switch, describe, grant, release};
use super::words::{name, prose, short};
use super::{Ahead, Message, SENTENCE, health, sentence};
use crate::domain::decision::Reason;
use crate::domain::probe::Probed;
use crate::domain::record::Rollback;
use crate::domain::service::ServiceName;
use crate::domain::steps;

/// Renders a further step of a gradual rollback: the last one, or one of which there is something to say.
#[must_use]
pub fn step(
    service: &ServiceName,
    rollback: &Rollback,
    late: bool,
    ahead: Ahead,
    probed: Option<&Probed>,
) -> Message {
    let Rollback { culprit, target, why, step, .. } = rollback;
    let (from, to) = (short(culprit, &service.service), short(target, &service.service));
    let why = why.as_deref().map_or(String::new(), |why| format!(" {}.", sentence(why)));
    let late = if late { " You hear of it late: it took long, or Runback was interrupted." } else { "" };
    let (done, part) = match *step {
        steps::ALL => ("rolled back, last step".to_owned(), "all".to_owned()),
        step => (format!("rollback goes on, {step} % moved"), format!("{step} %")),
    };
    let story = format!(
        "Cloud Run's status shows {part} of `{}`'s traffic at `{}`.{why}{late}{}",
        name(culprit),
        name(target),
        health(probed)
    );
    let reason = Reason::of_code(&rollback.reason).unwrap_or(Reason::Confirmed);
    let steps = after_switch(Some(service), culprit, target, reason, ahead);
    let header = format!("{} {done}: {from} → {to}", name(&service.service));
    let message = draft(header, story, &steps, reason.code(), &rollback.incident);
    Message { urgent: false, ..message }
}

/// Renders that nobody will look at a rollback later: its queue refuses the task.
#[must_use]
pub fn no_look_ahead(service: &ServiceName, rollback: &Rollback, why: &str) -> Message {
    let story = format!(
        "The rollback to `{}` stands. *Runback does not look whether it helped:* its task queue refuses the task ({}).",
        name(&rollback.target),
        prose(why, SENTENCE)
    );
    let steps = [
        Step::say(format!(
            "Check yourself that the errors stop now that `{}` serves.",
            name(&rollback.target)
        )),
        Step::say(
            "Check the queue (RUNBACK_TASKS_QUEUE) and Runback's roles `roles/cloudtasks.enqueuer` and `roles/cloudtasks.viewer` on it.",
        ),
    ];
    let header = format!("{}: no look at the rollback later", name(&service.service));
    draft(header, story, &steps, &rollback.reason, &rollback.incident)
}

/// Renders that Google refuses Runback in the middle of a rollback. `account` is Runback's own, where it is known.
#[must_use]
pub fn held_up(service: &ServiceName, permission: &str, account: Option<&str>) -> Message {
    let story = format!(
        "Google refuses Runback in the middle of a rollback: permission `{}` is missing. *The traffic stays as it is \
         meanwhile.*",
        name(permission)
    );
    let steps = [
        grant(service, Some(permission), account),
        Step::say(
            "The task queue calls Runback again for about an hour; then the rollback is left as it is.",
        ),
        Step::run("Until then, check that the traffic is where it should be:", describe(service)),
    ];
    let header = format!("{}: a rollback is held up", name(&service.service));
    draft(header, story, &steps, Reason::PermissionDenied.code(), "")
}

/// Renders that Runback no longer looks after a rollback, because it may not or cannot know of it any more.
#[must_use]
pub fn out_of_sight(service: &ServiceName, why: &str, reason: Reason) -> Message {
    let story = format!(
        "Runback was to go on with a rollback, or to see whether it helped, but {}. *It leaves the service as it is:* no \
         further step comes, and no verdict.",
        sentence(why)
    );
    let steps = [
        Step::run("Check that the traffic is where it should be:", describe(service)),
        Step::run(format!("Where it is still pinned: {PIN}:"), release(service)),
    ];
    let header = format!("{}: a rollback is no longer looked after", name(&service.service));
    draft(header, story, &steps, reason.code(), "")
}
