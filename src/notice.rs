//! What people are told: a decision and what came of it, as a Slack message. Pure: no network, no clock.
//!
//! The most important things come first, because the reader is tired. The fallback text says everything that
//! matters on its own: notifications and screen readers show nothing else. Text from outside is escaped, and
//! whatever it is, Slack's limits hold.

use std::time::Duration;

use serde_json::{Value, json};

use crate::domain::alert::{Alert, Signal};
use crate::domain::decision::{Decision, Gate, Reason};
use crate::domain::probe::Probed;
use crate::domain::steps;
use crate::domain::text;

mod afterwards;
mod denied;
mod next;
mod on_the_way;
mod phase;
mod pinned;
mod shift;
mod under_way;
mod words;

#[cfg(test)]
mod tests;

pub(crate) use afterwards::figures;
pub use afterwards::{Afterwards, Verdict, verdict};
pub use denied::{permission_denied, rights_lost};
use next::{Step, after_switch, describe, not_arrived, untouched};
pub use on_the_way::{held_up, no_look_ahead, out_of_sight, step};
pub use phase::standing;
pub use pinned::{PINNED, pinned};
use shift::Shift;
pub use under_way::under_way;
use words::{cut, link, logs_url, name, plain, prose, short, sparkline};

/// What a Slack message is about.
#[derive(Debug, Clone)]
pub struct Notice<'a> {
    /// The decision.
    pub decision: &'a Decision,
    /// The alert that it was made about.
    pub alert: &'a Alert,
    /// Where the service's requests arrive, once the service has been read.
    pub service_url: Option<&'a str>,
    /// What has been seen of the switch.
    pub arrival: Arrival,
    /// What Runback does later.
    pub ahead: Ahead,
    /// What the service itself answered to probes after the switch, where the policy has a health path.
    pub probed: Option<&'a Probed>,
}

/// What Runback does about a rollback later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ahead {
    /// Nothing: there is no queue to call it back.
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
    /// What a bot puts into the thread, and a webhook before the last block.
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
        let text = format!("Details: {}", self.text.lines().next().unwrap_or_default());
        let blocks = [&self.kept[..], &self.details].concat();
        let (details, kept) = (Vec::new(), Vec::new());
        (!blocks.is_empty()).then_some(Self { text, blocks, details, kept, urgent: false })
    }
}

/// Slack's limits: a header's text, and every other text.
const HEADER: usize = 150;
const SECTION: usize = 3_000;

/// Slack advises 4,000 for the fallback.
const FALLBACK: usize = 3_500;

/// Room for one gate's sentence where it is the message, and in the list.
const SENTENCE: usize = 500;
const LISTED: usize = 160;

/// Renders a notice.
#[must_use]
pub fn render(notice: &Notice<'_>) -> Message {
    let Notice { decision, alert, .. } = notice;
    let service = decision.service.as_ref();
    let shift = Shift::of(decision);
    let moved = notice.arrival != Arrival::NothingMoved;
    let subject = service.map_or("Runback".to_owned(), |service| name(&service.service));

    let arrow = shift.as_ref().map_or(String::new(), |shift| {
        let service = service.map_or("", |service| &service.service);
        format!("{} → {}", short(shift.culprit, service), short(shift.target, service))
    });
    let (header, steps) = match (&notice.arrival, &shift) {
        (Arrival::Overruled, Some(_)) => (
            format!("{subject}: rolled back, then moved by somebody else: {arrow}"),
            vec![Step::run("Check that the traffic is where it should be:", service.map(describe))],
        ),
        (Arrival::NotYet { .. }, Some(shift)) => {
            let title = format!("{subject}: rollback written, but not in effect: {arrow}");
            (title, not_arrived(service, &shift.to))
        }
        (Arrival::Arrived { .. } | Arrival::Resumed, Some(shift)) => {
            let title = match shift.step {
                steps::ALL => format!("{subject} rolled back: {arrow}"),
                step if matches!(notice.ahead, Ahead::Trial { .. }) => {
                    format!("{subject}: rollback on trial, {step} % moved: {arrow}")
                }
                step => format!("{subject}: rollback begun, {step} % moved: {arrow}"),
            };
            (title, after_switch(service, shift.culprit, shift.target, decision.reason, notice.ahead))
        }
        (_, shift) => {
            let split = shift.as_ref().map(|shift| shift.to.as_slice());
            let advice = untouched(decision.reason, service, split);
            let title = match decision.reason {
                Reason::ObserveMode => format!("{subject} would be rolled back (observe mode): {arrow}"),
                Reason::OnHold => format!("{subject} would be rolled back (on hold): {arrow}"),
                _ => format!("{subject}: {}", advice.title),
            };
            (title, advice.steps)
        }
    };

    let mut body = vec![story(notice, shift.as_ref())];
    body.extend(shift.as_ref().map(|shift| shift.describe(moved)));
    let mut shown = body.clone();
    shown.extend(evidence(notice, shift.as_ref()));
    let kept = if moved { shown.clone() } else { Vec::new() };
    let alert_line = alert_line(alert, shift.is_none());
    body.extend(alert_line.as_ref().map(|line| format!("{line}.")));
    body.push(listed(&steps, str::to_owned));
    shown.extend(sections(&steps));

    let mut small: Vec<String> = [links(notice, shift.as_ref()), alert_line].into_iter().flatten().collect();
    // A single gate is the story itself.
    if decision.gates.len() > 1 {
        small.extend(gates(&decision.gates));
    }
    Draft { header, body, shown, small, kept }.finish(decision.reason.code(), &decision.incident)
}

/// A message's parts, before Slack's limits and format.
struct Draft {
    header: String,
    /// The fallback's paragraphs in mrkdwn.
    body: Vec<String>,
    /// The sections.
    shown: Vec<String>,
    /// The small print.
    small: Vec<String>,
    /// What a bot's thread keeps of the sections.
    kept: Vec<String>,
}

impl Draft {
    fn finish(self, reason: &str, incident: &str) -> Message {
        let incident = if incident.is_empty() { "none".to_owned() } else { prose(incident, 120) };
        let mark = format!("reason: {reason} · incident {incident}");
        let header = cut(&self.header, HEADER);
        let paragraphs: Vec<String> =
            std::iter::once(self.header).chain(self.body).map(|part| plain(&part)).collect();
        let text = format!("{}\n{mark}", cut(&paragraphs.join("\n"), FALLBACK));

        // `verbatim` keeps Slack from making links, mentions and channels of what looks like some.
        let mrkdwn = |part: &str| json!({"type": "mrkdwn", "text": cut(part, SECTION), "verbatim": true});
        let context = |part: &String| json!({"type": "context", "elements": [mrkdwn(part)]});
        let mut blocks =
            vec![json!({"type": "header", "text": {"type": "plain_text", "text": header, "emoji": false}})];
        let section = |part: &String| json!({"type": "section", "text": mrkdwn(part)});
        blocks.extend(self.shown.iter().map(section));
        blocks.push(context(&mark));
        let details = self.small.iter().map(context).collect();
        let kept = self.kept.iter().map(section).collect();
        Message { text, blocks, details, kept, urgent: true }
    }
}

/// What happened and why.
fn story(notice: &Notice<'_>, shift: Option<&Shift<'_>>) -> String {
    let Notice { decision, arrival, .. } = notice;
    let failing = decision.gates.iter().find(|gate| gate.name == "failing");
    let accusation = failing.zip(shift).map(|(gate, shift)| {
        let doubt =
            if decision.reason == Reason::Unconfirmed { "*Nothing confirmed that it fails.* " } else { "" };
        format!("{doubt}`{}`: {}.", name(shift.culprit), prose(&gate.detail, SENTENCE))
    });
    let seen = match arrival {
        Arrival::NothingMoved => {
            let why = decision
                .settled_by()
                .map_or(".*".to_owned(), |gate| format!(":* {}.", sentence(&gate.detail)));
            format!("*Nothing was touched{why}")
        }
        Arrival::Arrived { after } => {
            let after = match after.as_secs() {
                0 => "less than a second".to_owned(),
                _ => text::duration(*after),
            };
            let cause = match notice.alert.signal {
                Signal::Deploy => "Runback, which watches deploys, had looked",
                _ => "the alert arrived",
            };
            let health = health(notice.probed);
            format!("Cloud Run's status shows the new traffic, {after} after {cause}.{health}")
        }
        Arrival::Overruled => {
            "Runback moved the traffic, and somebody else has moved it again since.".to_owned()
        }
        Arrival::NotYet { trouble } => {
            let trouble = trouble.as_deref().map_or(" No condition says why.".to_owned(), |why| {
                format!(" Cloud Run says: {}.", sentence(why))
            });
            format!("*Cloud Run accepted the switch, but its status still does not show it.*{trouble}")
        }
        Arrival::Resumed => format!(
            "Cloud Run's status shows the new traffic. You hear of it late: it took long, or Runback was interrupted.{}",
            health(notice.probed)
        ),
    };
    match arrival {
        Arrival::NothingMoved => {
            [Some(seen), accusation].into_iter().flatten().collect::<Vec<_>>().join("\n")
        }
        _ => accusation.into_iter().chain([seen]).collect::<Vec<_>>().join("\n"),
    }
}

/// What the service itself answered after the switch.
fn health(probed: Option<&Probed>) -> String {
    probed.map_or(String::new(), |probed| {
        let still =
            if probed.convicts() { "*The service still fails:* " } else { "Asked by its health path: " };
        format!("\n{still}{}.", sentence(&probed.sentence()))
    })
}

/// A gate's detail or Cloud Run's words, without a full stop.
fn sentence(raw: &str) -> String {
    prose(raw.trim_end_matches('.'), SENTENCE)
}

/// The culprit's minutes.
fn evidence(notice: &Notice<'_>, shift: Option<&Shift<'_>>) -> Option<String> {
    let minutes = &notice.decision.minutes;
    let (bars, top) = sparkline(minutes)?;
    let what = if notice.alert.signal == Signal::Latency { "Slow requests" } else { "Errors" };
    let revision = shift.map(|shift| shift.culprit).or(notice.alert.revision());
    let whose = revision.map_or(String::new(), |revision| format!(" of `{}`", name(revision)));
    let until = minutes.iter().map(|sample| sample.end).max()?.format("%H:%M");
    Some(format!(
        "*{what} per minute*{whose}, until {until} UTC\n`{bars}` on a scale from 0 to {}",
        text::percent(top)
    ))
}

fn alert_line(alert: &Alert, with_summary: bool) -> Option<String> {
    if alert.signal == Signal::Deploy {
        return Some("No alert: Runback watches this deploy for ten minutes".to_owned());
    }
    let summary = if with_summary { alert.summary.as_str() } else { "" };
    let parts = [(alert.policy_name.as_str(), 150), (alert.condition_name.as_str(), 150), (summary, 300)];
    let parts: Vec<_> =
        parts.iter().map(|(raw, max)| prose(raw, *max)).filter(|part| !part.is_empty()).collect();
    (!parts.is_empty()).then(|| format!("Alert: {}", parts.join(" · ").trim_end_matches('.')))
}

fn links(notice: &Notice<'_>, shift: Option<&Shift<'_>>) -> Option<String> {
    let Notice { decision, alert, service_url, .. } = notice;
    let google = ["https://console.cloud.google.com/", "https://app.google.stackdriver.com/"];
    let logs = decision.service.as_ref().map(|service| {
        let revision = shift.map(|shift| shift.culprit).or(alert.revision());
        let since = decision.minutes.first().map(|sample| sample.start).or(alert.started_at);
        logs_url(service, revision, since)
    });
    let links: Vec<_> = [
        link("Incident", &alert.url, &google),
        logs.and_then(|url| link("Error logs", &url, &google)),
        service_url.and_then(|url| link("Service", url, &["https://"])),
    ]
    .into_iter()
    .flatten()
    .collect();
    // Not buttons: those would need an app that answers Slack's callbacks.
    (!links.is_empty()).then(|| links.join(" · "))
}

/// The gates as a compact list; in several parts if it is long.
fn gates(gates: &[Gate]) -> Vec<String> {
    let line = |gate: &Gate| {
        format!("{} {}: {}", if gate.passed { '✓' } else { '✗' }, gate.name, prose(&gate.detail, LISTED))
    };
    gates.chunks(12).take(4).map(|part| part.iter().map(line).collect::<Vec<_>>().join("\n")).collect()
}

/// The steps, one below the other, with their commands.
fn listed(steps: &[Step], show: impl Fn(&str) -> String) -> String {
    steps.iter().map(|step| step.show(&show)).collect::<Vec<_>>().join("\n")
}

/// Each step in a section of its own: Slack folds long ones.
fn sections(steps: &[Step]) -> Vec<String> {
    let shown = steps.iter().map(|step| step.show(|command| format!("```{command}```")));
    let heading = std::iter::once("*What comes next*\n").chain(std::iter::repeat(""));
    heading.zip(shown).map(|(heading, step)| format!("{heading}{step}")).collect()
}
