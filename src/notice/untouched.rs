//! Messages about decisions that move nothing.

use super::commands::{go_back, offer};
use super::form::{Form, Mark};
use super::reader::Reader;
use super::shift::Shift;
use super::story::{figures, sentence};
use super::texts::{self, Say, Values};
use super::words::{dated, moment, name, percent};
use super::{Ahead, Notice, denied};
use crate::domain::decision::{Outcome, Reason};
use crate::domain::evidence;

/// Why nothing was moved, and what helps.
pub(super) fn form(reader: &Reader<'_>, notice: &Notice<'_>, shift: Option<&Shift<'_>>) -> Form {
    let decision = notice.decision;
    let reason = decision.reason;
    let advice = decision.advice.as_ref();
    let (mark, helps) = kind(reason);
    let culprit = shift.map(|shift| shift.culprit).or(advice.map(|advice| advice.culprit.name.as_str()));
    let target = advice.and_then(|advice| advice.target.as_ref()).map(|target| target.name.as_str());
    let target = shift.map(|shift| shift.target).or(target);
    let (requests, bad) = evidence::total(&decision.minutes);
    let share = if requests > 0 { percent(evidence::ratio(bad, requests)) } else { String::new() };
    let values = reader
        .values()
        .with("culprit", culprit.map_or(String::new(), |it| reader.short(it)))
        .with("target", target.map_or(String::new(), |it| reader.short(it)))
        .with("percent", share);

    let told = texts::untouched(reader.language(), reason);
    let lost = reason == Reason::UnresolvedService && reader.service.is_some();
    let title = if lost { reader.word(Say::UnknownService) } else { told.title };
    let mut form = Form::new(mark, reader.header(mark, title, &values), reason.code(), &decision.incident);
    let seen = culprit.and_then(|culprit| figures(reader, decision, notice.alert, culprit));
    let story = if lost { reader.word(Say::UnknownStory) } else { told.story };
    form.story = seen.into_iter().chain([values.fill(story)]).collect();
    form.now = values.fill(if lost { reader.word(Say::NowUnknown) } else { told.now });
    if let Ahead::Look { wait, decides } = notice.ahead {
        let say = if decides { Say::DecidesAt } else { Say::LooksAgain };
        let time = Values::default().with("time", moment(notice.at + wait));
        form.now += &format!(" {}", reader.say(say, &time));
    }
    // The figures of these are the story.
    let shown = matches!(reason, Reason::Warning | Reason::ObserveMode | Reason::TestNotification);
    let gate = decision.settled_by().filter(|_| !shown && decision.outcome == Outcome::Notify);
    form.small.extend(gate.map(|gate| format!("✗ {}: {}", gate.name, dated(&sentence(&gate.detail)))));
    match helps {
        Helps::Nothing => {}
        Helps::Looking => form.offer = offer(reader, Say::Status, "status"),
        Helps::GoingBack => {
            let (by_hand, gcloud) = go_back(reader, reason, advice, shift);
            form.offer = by_hand;
            form.aside.extend(gcloud);
        }
    }
    if reason == Reason::OnHold {
        let values = Values::default().with("resume", reader.command("resume"));
        form.later = Some(reader.say(Say::LaterResume, &values));
    }
    if let Some(lacks) = advice.and_then(|advice| advice.lacks.as_deref()) {
        let values = Values::default().with("missing", format!("`{}`", name(lacks)));
        form.story.push(reader.say(Say::MonitoringRole, &values));
        form.aside.extend(denied::grant(reader, Some(lacks), None));
    }
    form
}

/// The command that helps.
enum Helps {
    Nothing,
    /// To see where the service stands: going back would be refused, or would not help.
    Looking,
    GoingBack,
}

fn kind(reason: Reason) -> (Mark, Helps) {
    match reason {
        Reason::TestNotification => (Mark::Test, Helps::Nothing),
        Reason::ObserveMode | Reason::OnHold => (Mark::HandsOff, Helps::GoingBack),
        Reason::Warning | Reason::ExplainOnly | Reason::Inconclusive => (Mark::Warning, Helps::GoingBack),
        Reason::UnresolvedService => (Mark::Warning, Helps::Nothing),
        Reason::NoData
        | Reason::NotDeployRelated
        | Reason::Cooldown
        | Reason::BudgetExhausted
        | Reason::SchemaFence
        | Reason::PermissionDenied
        | Reason::Confirmed
        | Reason::Critical
        | Reason::Unconfirmed => (Mark::NeedsYou, Helps::GoingBack),
        Reason::UnreadableRecord
        | Reason::DeployInProgress
        | Reason::AmbiguousCulprit
        | Reason::DependencyOutage
        | Reason::NoCandidate
        | Reason::WriteRefused => (Mark::NeedsYou, Helps::Looking),
        Reason::Healthy | Reason::Recovered | Reason::Closed => (Mark::Recovered, Helps::Nothing),
        Reason::NotAnIncident
        | Reason::UnknownState
        | Reason::NotGuarded
        | Reason::AlreadyHandled
        | Reason::CulpritNotServing
        | Reason::Watching
        | Reason::NothingToWatch => (Mark::HandsOff, Helps::Nothing),
    }
}
