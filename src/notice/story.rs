//! What was seen, in a sentence or two with the deciding figures, and the links and the small print below.

use chrono::TimeDelta;

use super::reader::Reader;
use super::shift::{Shift, abbreviated};
use super::texts::{Say, Values};
use super::words::{link, logs_url, moment, name, percent, prose, sparkline};
use super::{Arrival, Notice, percents};
use crate::domain::alert::{Alert, Signal};
use crate::domain::decide::{axis_of, limit_of};
use crate::domain::decision::{Decision, Gate, Reason};
use crate::domain::evidence::{self, Judgement, Verdict};
use crate::domain::probe::Probed;
use crate::domain::steps;
use crate::domain::text;

/// Room for a sentence from elsewhere: Cloud Run's, or a check's.
const SENTENCE: usize = 300;

/// Room for one gate in the list.
const LISTED: usize = 160;

const GOOGLE: [&str; 2] = ["https://console.cloud.google.com/", "https://app.google.stackdriver.com/"];

/// What is held against the culprit, and what speaks for the target.
pub(super) fn blame(reader: &Reader<'_>, notice: &Notice<'_>, shift: &Shift<'_>) -> Vec<String> {
    let Notice { decision, alert, .. } = notice;
    let values = Values::default()
        .with("culprit", reader.short(shift.culprit))
        .with("target", reader.short(shift.target));
    let said = |say| Some(reader.say(say, &values));
    let mut first = match decision.reason {
        Reason::Unconfirmed => said(Say::Trusted),
        _ if alert.signal == Signal::Other => said(Say::Vouched),
        _ => figures(reader, decision, alert, shift.culprit).or_else(|| recalled(decision)),
    };
    let past = decision.advice.as_ref().filter(|it| named(it.target.as_ref()) == Some(shift.target));
    if let (Some(first), Some((_, ratio))) = (&mut first, past.and_then(|advice| advice.past)) {
        let values = values.clone().with("percent", percent(ratio));
        *first += &format!(" {}", reader.say(Say::TargetWas, &values));
    }
    let unproven = shift.unproven.then(|| reader.say(Say::Unproven, &values));
    let tags = shift.tags_stay.then(|| reader.say(Say::TagsStay, &values));
    [first, unproven, tags].into_iter().flatten().collect()
}

fn named(revision: Option<&crate::domain::service::Revision>) -> Option<&str> {
    revision.map(|revision| revision.name.as_str())
}

/// The culprit's requests in the window; nothing when there were none, or none could be counted.
pub(super) fn figures(
    reader: &Reader<'_>,
    decision: &Decision,
    alert: &Alert,
    culprit: &str,
) -> Option<String> {
    let (requests, bad) = evidence::total(&decision.minutes);
    if requests == 0 {
        return None;
    }
    let rules = reader.rules.slow_above(alert.condition.slower_than);
    let limit = limit_of(&rules, axis_of(alert.signal));
    let values = Values::default()
        .with("culprit", reader.short(culprit))
        .with("percent", percent(evidence::ratio(bad, requests)))
        .with("bad", text::count(bad))
        .with("requests", text::count(requests))
        .with("window", reader.span(text::delta(rules.window)))
        .with("limit", percent(limit))
        .with("slow", text::time(rules.slow))
        .with("warning", rules.warning.map_or(String::new(), percent));
    let say = match alert.signal {
        Signal::Latency => Say::Slow,
        _ if decision.reason == Reason::Warning => Say::WithWarning,
        _ => Say::Failed,
    };
    Some(reader.say(say, &values))
}

/// What the record still has of the figures.
fn recalled(decision: &Decision) -> Option<String> {
    let gate = decision.gates.iter().find(|gate| gate.name == "failing")?;
    Some(format!("{}.", sentence(&gate.detail)))
}

/// That and when the traffic moved.
pub(super) fn arrived(reader: &Reader<'_>, notice: &Notice<'_>, shift: &Shift<'_>) -> Vec<String> {
    let values = Values::default()
        .with("culprit", reader.short(shift.culprit))
        .with("percent", percents(shift.step))
        .with("time", moment(notice.at));
    let Arrival::Arrived { after } = notice.arrival else {
        return vec![reader.say(Say::MovedLate, &values), reader.word(Say::Late).to_owned()];
    };
    let values = values.with("after", reader.span(text::delta(after)));
    let say = match shift.step {
        steps::ALL if notice.alert.signal == Signal::Deploy => Say::AllMovedOnWatch,
        steps::ALL => Say::AllMoved,
        _ => Say::PartMoved,
    };
    vec![reader.say(say, &values)]
}

/// What the service itself answered after the switch.
pub(super) fn health(reader: &Reader<'_>, probed: Option<&Probed>) -> Option<String> {
    let probed = probed?;
    let say = if probed.convicts() { Say::StillFails } else { Say::HealthCheck };
    Some(reader.say(say, &Values::default().with("detail", sentence(&probed.sentence()))))
}

/// What Cloud Run says is wrong.
pub(super) fn trouble(reader: &Reader<'_>, trouble: Option<&str>) -> String {
    trouble.map_or(reader.word(Say::CloudRunSilent).to_owned(), |why| {
        reader.say(Say::CloudRunSays, &Values::default().with("detail", sentence(why)))
    })
}

/// "`00041-wex`: 0.25% bad (3 of 1,200; limit 5%)."
pub(super) fn judged(reader: &Reader<'_>, revision: &str, judgement: Option<Judgement>) -> Option<String> {
    let judgement = judgement?;
    let values = Values::default().with("revision", reader.short(revision));
    if judgement.verdict == Verdict::NoData {
        return Some(reader.say(Say::NoRequests, &values));
    }
    let values = values
        .with("percent", percent(judgement.ratio))
        .with("bad", text::count(judgement.bad))
        .with("requests", text::count(judgement.requests))
        .with("limit", percent(judgement.threshold));
    Some(reader.say(Say::Figures, &values))
}

/// A gate's detail or Cloud Run's words, without a full stop.
pub(super) fn sentence(raw: &str) -> String {
    prose(raw.trim_end_matches('.'), SENTENCE)
}

/// Where to look. Not buttons: those would need an app that answers Slack's callbacks.
pub(super) fn links(reader: &Reader<'_>, decision: &Decision, alert: &Alert) -> Vec<String> {
    let shift = Shift::of(decision);
    let blamed = decision.advice.as_ref().map(|advice| advice.culprit.name.as_str());
    let revision = shift.as_ref().map(|shift| shift.culprit).or(blamed).or(alert.revision());
    let logs = reader.service.and_then(|service| {
        let since = decision.minutes.first().map(|sample| sample.start).or(alert.started_at);
        link(reader.word(Say::Logs), &logs_url(service, revision, since), &GOOGLE)
    });
    let links = [
        logs,
        revisions_link(reader),
        shift.and_then(|shift| diff_link(reader, &shift)),
        link(reader.word(Say::Alert), &alert.url, &GOOGLE),
    ];
    links.into_iter().flatten().collect()
}

/// The links of what is known by the record alone.
pub(super) fn plain_links(reader: &Reader<'_>, revision: Option<&str>) -> Vec<String> {
    let logs = reader
        .service
        .and_then(|service| link(reader.word(Say::Logs), &logs_url(service, revision, None), &GOOGLE));
    logs.into_iter().chain(revisions_link(reader)).collect()
}

fn revisions_link(reader: &Reader<'_>) -> Option<String> {
    let service = reader.service?;
    let (project, region) = (name(&service.project), name(&service.region));
    let address = format!(
        "https://console.cloud.google.com/run/detail/{region}/{}/revisions?project={project}",
        name(&service.service)
    );
    link(reader.word(Say::Revisions), &address, &GOOGLE)
}

/// From the target's commit to the culprit's: what the bad deploy brought. Without a repository only their names.
fn diff_link(reader: &Reader<'_>, shift: &Shift<'_>) -> Option<String> {
    let [Some(culprit), Some(target)] = shift.commits else { return None };
    let values = Values::default().with("from", abbreviated(target)).with("to", abbreviated(culprit));
    let label = reader.say(Say::Diff, &values);
    let Some(repository) = reader.rules.repository.as_deref() else { return Some(label) };
    let address = format!("{repository}/compare/{}...{}", name(target), name(culprit));
    link(&label, &address, &[&format!("{repository}/")])
}

/// The culprit's minutes.
pub(super) fn sparkline_of(reader: &Reader<'_>, decision: &Decision, alert: &Alert) -> Option<String> {
    let (bars, top) = sparkline(&decision.minutes)?;
    let limit = limit_of(&reader.rules, axis_of(alert.signal));
    let values =
        Values::default().with("bars", bars).with("peak", percent(top)).with("limit", percent(limit));
    let slow = alert.signal == Signal::Latency;
    Some(reader.say(if slow { Say::SlowPerMinute } else { Say::ErrorsPerMinute }, &values))
}

/// What fired.
pub(super) fn alert_line(reader: &Reader<'_>, alert: &Alert) -> Option<String> {
    if alert.signal == Signal::Deploy {
        return Some(reader.word(Say::Watched).to_owned());
    }
    let parts = [(&alert.policy_name, 150), (&alert.condition_name, 150), (&alert.summary, 300)];
    let parts: Vec<_> =
        parts.iter().map(|(raw, max)| prose(raw, *max)).filter(|part| !part.is_empty()).collect();
    let line = || format!("{}: {}", reader.word(Say::Alert), parts.join(" · ").trim_end_matches('.'));
    (!parts.is_empty()).then(line)
}

pub(super) fn checks(reader: &Reader<'_>, gates: &[Gate]) -> String {
    let passed = gates.iter().filter(|gate| gate.passed).count();
    let values = Values::default().with("passed", passed.to_string()).with("all", gates.len().to_string());
    reader.say(Say::ChecksPassed, &values)
}

/// The gates as a compact list; in several parts if it is long.
pub(super) fn gates(gates: &[Gate]) -> Vec<String> {
    let line = |gate: &Gate| {
        format!("{} {}: {}", if gate.passed { '✓' } else { '✗' }, gate.name, prose(&gate.detail, LISTED))
    };
    gates.chunks(12).take(4).map(|part| part.iter().map(line).collect::<Vec<_>>().join("\n")).collect()
}

/// A difference of times, from when something happened until a moment.
pub(super) fn after(reader: &Reader<'_>, time: TimeDelta) -> String {
    reader.span(time.max(TimeDelta::zero()))
}
