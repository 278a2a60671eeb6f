//! What people are told: a decision and what came of it, as a Slack message. Pure: no network, no clock.
//!
//! The most important things come first, because the reader is tired and holds a telephone. The fallback text says
//! everything that matters on its own: notifications and screen readers show nothing else. Text from outside is escaped,
//! and whatever it is, Slack's limits hold.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::domain::alert::Alert;
use crate::domain::decision::{Decision, Reason};
use crate::domain::policy::Policy;
use crate::domain::probe::Probed;
use crate::domain::steps;

mod afterwards;
mod commands;
mod denied;
mod form;
mod on_the_way;
mod phase;
mod pinned;
mod reader;
mod shift;
mod story;
mod texts;
mod under_way;
mod untouched;
mod words;

#[cfg(test)]
mod tests;

pub(crate) use afterwards::figures;
pub use afterwards::{Afterwards, Verdict, verdict};
pub use denied::{permission_denied, rights_lost};
use form::{Form, Mark};
pub use on_the_way::{held_up, no_look_ahead, on_hold, out_of_sight, step};
pub use phase::standing;
pub use pinned::{PINNED, pinned};
use reader::Reader;
use shift::Shift;
use texts::{Ending, Say};
pub use under_way::under_way;
use words::{name, percent};

/// What a Slack message is about.
#[derive(Debug, Clone)]
pub struct Notice<'a> {
    /// The decision.
    pub decision: &'a Decision,
    /// The alert that it was made about.
    pub alert: &'a Alert,
    /// When traffic was moved; when the decision was made, if none was.
    pub at: DateTime<Utc>,
    /// What has been seen of the switch.
    pub arrival: Arrival,
    /// What Runback does later.
    pub ahead: Ahead,
    /// What the service itself answered to probes after the switch, where the policy has a health path.
    pub probed: Option<&'a Probed>,
}

/// What Runback does about an incident later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ahead {
    /// Nothing: there is no queue to call it back, or no need.
    Nothing,
    /// It judges the target.
    Check,
    /// It compares culprit and target on the same minutes, and then moves the rest or puts the split back.
    Trial {
        /// In how long.
        wait: Duration,
    },
    /// It takes the next gradual step.
    Step {
        /// Percent of the culprit's share that will have moved then.
        percent: u8,
        /// In how long.
        wait: Duration,
    },
    /// Nothing has moved, and it looks again.
    Look {
        /// In how long.
        wait: Duration,
        /// Whether it decides then, come what may.
        decides: bool,
    },
}

/// What has been seen of a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// There was none.
    NothingMoved,
    /// The service's status shows it.
    Arrived {
        /// From the alert's arrival until then.
        after: Duration,
    },
    /// It is written, and the status has not shown it for minutes.
    NotYet {
        /// What Cloud Run says is wrong, if it does.
        trouble: Option<String>,
    },
    /// Somebody else has moved the traffic since.
    Overruled,
    /// The status shows it; told late, by another process or after a crash, so nobody knows how long it took.
    Resumed,
}

/// A message for Slack.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The fallback: complete on its own.
    pub text: String,
    /// Block Kit, without the details.
    pub blocks: Vec<Value>,
    /// What a bot puts into the thread. A webhook has none and leaves them to the log.
    pub details: Vec<Value>,
    /// What the thread keeps besides, because the message itself will change.
    pub kept: Vec<Value>,
    /// Whether somebody has to look: an answer in a thread is then shown in the channel too.
    pub urgent: bool,
}

impl Message {
    /// Everything in one message.
    #[must_use]
    pub fn complete(&self) -> Vec<Value> {
        let (mark, blocks) =
            self.blocks.split_last().map_or((None, &[][..]), |(last, rest)| (Some(last), rest));
        blocks.iter().chain(&self.details).chain(mark).cloned().collect()
    }

    /// The details as a message of their own; nothing where there are none.
    #[must_use]
    pub fn detail(&self) -> Option<Self> {
        let text = self.text.lines().next().unwrap_or_default().to_owned();
        let blocks = [&self.kept[..], &self.details].concat();
        let (details, kept) = (Vec::new(), Vec::new());
        (!blocks.is_empty()).then_some(Self { text, blocks, details, kept, urgent: false })
    }
}

/// Renders a notice.
#[must_use]
pub fn render(policy: &Policy, notice: &Notice<'_>) -> Message {
    let Notice { decision, alert, .. } = notice;
    let reader = &Reader::of(policy, decision.service.as_ref());
    let shift = Shift::of(decision);
    let mut form = match (&notice.arrival, &shift) {
        (Arrival::Overruled, Some(shift)) => ended(reader, notice, shift, Ending::Overruled),
        (Arrival::NotYet { .. }, Some(shift)) => ended(reader, notice, shift, Ending::NotArrived),
        (Arrival::Arrived { .. } | Arrival::Resumed, Some(shift)) => moved(reader, notice, shift),
        _ => untouched::form(reader, notice, shift.as_ref()),
    };
    form.links = story::links(reader, decision, alert);
    if notice.arrival != Arrival::NothingMoved {
        form.kept = vec![form.story.join("\n")];
        form.kept.extend(shift.as_ref().map(|shift| shift.describe(reader)));
    } else if let Some(shift) = &shift {
        form.details.push(shift.describe(reader));
    }
    form.small.extend(story::sparkline_of(reader, decision, alert));
    form.details.extend(story::alert_line(reader, alert));
    // A single gate is the story itself.
    if decision.gates.len() > 1 {
        form.small.push(story::checks(reader, &decision.gates));
        form.details.extend(story::gates(&decision.gates));
    }
    form.finish(reader)
}

/// Traffic has moved, all of it or a part, and the status shows it.
fn moved(reader: &Reader<'_>, notice: &Notice<'_>, shift: &Shift<'_>) -> Form {
    let decision = notice.decision;
    let values = reader
        .values()
        .with("culprit", reader.short(shift.culprit))
        .with("target", reader.short(shift.target))
        .with("percent", format!("{}%", shift.step));
    let (mark, title) = match shift.step {
        steps::ALL => (Mark::RolledBack, Say::RolledBack),
        _ if matches!(notice.ahead, Ahead::Trial { .. }) => (Mark::UnderWay, Say::TrialMoved),
        _ => (Mark::UnderWay, Say::StepMoved),
    };
    let header = reader.header(mark, reader.word(title), &values);
    let mut form = Form::new(mark, header, decision.reason.code(), &decision.incident);
    form.story = story::blame(reader, notice, shift);
    form.story.extend(story::arrived(reader, notice, shift));
    form.story.extend(story::health(reader, notice.probed));
    form.now = on_the_way::now(reader, shift.culprit, shift.target, notice.at, notice.ahead);
    form.later = Some(reader.say(Say::LaterPinned, &values));
    if decision.reason == Reason::Unconfirmed
        && let Some(lacks) = decision.advice.as_ref().and_then(|advice| advice.lacks.as_deref())
    {
        form.story
            .push(reader.say(Say::MonitoringRole, &values.with("missing", format!("`{}`", name(lacks)))));
        form.aside.extend(denied::grant(reader, Some(lacks), None));
    }
    form.aside.extend(commands::revert(reader, shift));
    form
}

/// The first write ended otherwise.
fn ended(reader: &Reader<'_>, notice: &Notice<'_>, shift: &Shift<'_>, ending: Ending) -> Form {
    let decision = notice.decision;
    let revisions = (shift.culprit, shift.target);
    let code = if ending == Ending::Overruled { "overruled" } else { "not_arrived" };
    let mut form = afterwards::form(reader, ending, revisions, shift.step, code, &decision.incident);
    form.story.extend(story::blame(reader, notice, shift));
    if let Arrival::NotYet { trouble } = &notice.arrival {
        form.story.push(story::trouble(reader, trouble.as_deref()));
        form.later = Some(reader.say(Say::LaterPinned, &reader.values()));
    }
    form
}

/// `10%`.
fn percents(step: u8) -> String {
    percent(f64::from(step) / 100.0)
}
