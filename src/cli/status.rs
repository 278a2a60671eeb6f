//! `runback status`: where a service stands, on one screen, and the one next command.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clap::Args;
use serde_json::{Value, json};

use super::person::{Person, Place, Seen, grant};
use super::terminal::{Paint, Tone, table};
use super::{Stopped, say};
use crate::config::Subject;
use crate::domain::evidence::Evidence;
use crate::domain::overview::{Next, Overview, Pin, Standing, State, overview};
use crate::domain::policy::Mode;
use crate::domain::record::{Record, age};
use crate::domain::text;
use crate::{hold_json, record_json};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);

/// So many revisions fit on a screen.
const SHOWN: usize = 20;

/// What `runback status` is told.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// The service: its short name, or projects/P/locations/R/services/S
    #[arg(value_name = "SERVICE")]
    service: String,

    /// Look again every five seconds, until Ctrl-C
    #[arg(long, conflicts_with = "json")]
    watch: bool,

    /// Show all revisions, not just the newest twenty
    #[arg(long)]
    all: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: Place,
}

/// Prints where the service stands.
pub(super) async fn status(arguments: StatusArgs) -> Result<(), Stopped> {
    let (subject, person) = arguments.place.open(&arguments.service).await?;
    let paint = Paint::of_output();
    loop {
        let seen = person.look(&subject).await?;
        let empty = Record::default();
        let overview = overview(&seen.situation(&subject, &empty));
        let page = Page { subject: &subject, seen: &seen, overview: &overview, person: &person, paint };
        if arguments.json {
            return say(&format!("{:#}", page.to_json()));
        }
        let text = page.to_text(arguments.all);
        if !arguments.watch {
            return say(text.trim_end());
        }
        // Home, clear, and what has scrolled away.
        let clear = if paint.is_on() { "\x1b[H\x1b[2J\x1b[3J" } else { "" };
        say(&format!("{clear}{text}"))?;
        tokio::time::sleep(EVERY).await;
    }
}

struct Page<'a> {
    subject: &'a Subject,
    seen: &'a Seen,
    overview: &'a Overview<'a>,
    person: &'a Person,
    paint: Paint,
}

impl Page<'_> {
    fn to_json(&self) -> Value {
        let Self { subject, seen, overview, .. } = self;
        let service = &seen.document.service;
        let images: BTreeMap<&str, &str> =
            seen.listed.iter().map(|(revision, image)| (revision.name.as_str(), image.as_str())).collect();
        let counts = |counts: Option<(u64, u64)>| {
            counts.map(|(requests, bad)| json!({"requests": requests, "bad": bad}))
        };
        let revision = |standing: &Standing<'_>| {
            let revision = standing.revision;
            json!({
                "revision": revision.name,
                "commit": revision.commit,
                "image": images.get(revision.name.as_str()),
                "created": time(revision.created_at),
                "ready": revision.ready,
                "percent": standing.percent,
                "tags": standing.tags,
                "now": counts(standing.now),
                "history": counts(standing.history),
                "state": standing.state.word(),
            })
        };
        let hold = service.held(seen.at.at).map(hold_json::write);
        json!({
            "schema": 1,
            "service": subject.name.to_string(),
            "url": service.url,
            "mode": mode(subject),
            "traffic": shares(&service.split()),
            "pinned": overview.pin.map(|pin| match pin {
                Pin::Rollback(_) => "runback",
                Pin::Other => "other",
            }),
            "deploying": service.in_flight,
            "hold": hold.and_then(|hold| serde_json::from_str::<Value>(&hold).ok()),
            "rollback": record_json::newest(seen.document.record.as_deref()).filter(|_| seen.record.is_ok()),
            "rollbacks_today": overview.rollbacks_today,
            "cooldown_until": overview.cooldown_until.map(time),
            "next_target": overview.next_target.as_ref().ok().map(|revision| &revision.name),
            "next": self.next().1,
            "revisions": overview.revisions.iter().map(revision).collect::<Vec<_>>(),
            "warnings": self.warnings(),
        })
    }

    fn to_text(&self, all: bool) -> String {
        let Self { subject, seen, overview, paint, .. } = self;
        let (service, now) = (&seen.document.service, seen.at.at);
        let name = &subject.name;
        let mut text = format!(
            "{}  {} · {} · {}\n",
            paint.paint(Tone::Strong, &name.service),
            name.region,
            name.project,
            service.url
        );
        let mut line = |head: &str, tone: Tone, words: &str| {
            let _ = writeln!(
                text,
                "  {} {}",
                paint.paint(Tone::Faint, &format!("{head:<9}")),
                paint.paint(tone, words)
            );
        };
        let (words, tone) = match (subject.listed, subject.rules.mode) {
            (false, _) => ("not in the policy: Runback does nothing for it", Tone::Plain),
            (true, Mode::Observe) => ("observe: Runback explains, people act", Tone::Plain),
            (true, Mode::Enforce) => ("enforce: Runback rolls back by itself", Tone::Plain),
        };
        line("mode", tone, words);
        line("traffic", Tone::Strong, &split(&service.split()));
        if service.in_flight {
            line("deploy", Tone::Warn, "a change is being rolled out");
        }
        match overview.pin {
            None => line("pinned", Tone::Plain, "no: the next deploy is served"),
            Some(Pin::Other) => line("pinned", Tone::Warn, "by hand: later deploys get no traffic"),
            Some(Pin::Rollback(_)) => {
                line("pinned", Tone::Warn, "by the last rollback: later deploys get no traffic")
            }
        }
        if let Ok(record) = &seen.record
            && let Some(last) = record.rollbacks.first()
        {
            let who = match &last.by {
                Some(by) => format!(" by {by}"),
                None => String::new(),
            };
            let words = format!(
                "{} → {}, {}, {}{who}: {}",
                last.culprit,
                last.target,
                moment(last.at, now),
                last.reason,
                last.phase.word()
            );
            line("rollback", Tone::Plain, &words);
            if let Some(why) = last.why.as_ref().filter(|why| !why.is_empty()) {
                line("", Tone::Faint, why);
            }
        }
        if let Some(hold) = service.held(now) {
            line("hold", Tone::Warn, &hold.sentence());
        }
        if subject.listed && subject.rules.mode == Mode::Enforce {
            let mut words = format!(
                "{} of {} automatic rollbacks in 24 h",
                overview.rollbacks_today, subject.rules.max_rollbacks_per_day
            );
            if let Some(until) = overview.cooldown_until {
                let _ = write!(words, "; cooldown until {}", clock(until, now));
            }
            line("limits", Tone::Plain, &words);
        }
        match &overview.next_target {
            Ok(target) => line("go back", Tone::Plain, &format!("to {}", target.name)),
            Err(why) => line("go back", Tone::Plain, &format!("nowhere: {why}")),
        }
        text.push('\n');
        text += &self.revisions(all);
        let warnings = self.warnings();
        if !warnings.is_empty() {
            text.push('\n');
        }
        for warning in warnings {
            let _ = writeln!(text, "{}", paint.paint(Tone::Warn, &format!("! {warning}")));
        }
        let (words, command) = self.next();
        let _ = writeln!(text, "\n{words}\n  {}", paint.paint(Tone::Strong, &command));
        text
    }

    fn revisions(&self, all: bool) -> String {
        let Self { subject, seen, overview, paint, .. } = self;
        let now = seen.at.at;
        let total = overview.revisions.len();
        let shown = if all { total } else { total.min(SHOWN) };
        // What takes traffic is shown however old it is.
        let (first, rest) = overview.revisions.split_at(shown);
        let list: Vec<&Standing<'_>> =
            first.iter().chain(rest.iter().filter(|standing| standing.percent > 0)).collect();
        let subjects = commit_subjects(&list);
        let window = format!("FAILED {}", text::duration(subject.rules.window).to_uppercase());
        let history = format!("FAILED {}", text::duration(subject.rules.history).to_uppercase());
        let head = ["REVISION", "COMMIT", "AGE", "TRAFFIC", &window, &history, "STATE", ""];
        let rows: Vec<Vec<(Tone, String)>> = list
            .iter()
            .map(|standing| {
                let revision = standing.revision;
                let commit = revision.commit.as_deref().unwrap_or_default();
                let traffic = match standing.percent {
                    0 => String::new(),
                    percent => format!("{percent}%"),
                };
                let failing = if standing.fails { Tone::Bad } else { Tone::Plain };
                let mut notes: Vec<String> = standing.tags.iter().map(|tag| format!("tag {tag}")).collect();
                notes.extend(subjects.get(commit).cloned());
                vec![
                    (if standing.percent > 0 { Tone::Strong } else { Tone::Plain }, revision.name.clone()),
                    (Tone::Plain, text::short_commit(commit)),
                    (Tone::Plain, text::span(age(revision.created_at, now))),
                    (Tone::Strong, traffic),
                    (failing, figures(standing.now)),
                    (Tone::Plain, figures(standing.history)),
                    state(standing),
                    (Tone::Faint, notes.join("; ")),
                ]
            })
            .collect();
        let mut text = table(&head, &rows, *paint);
        if rows.len() < total {
            let _ = writeln!(text, "  … and {} older ones (--all)", total - rows.len());
        }
        text
    }

    /// What to do next: in words, and the command.
    fn next(&self) -> (String, String) {
        let Self { subject, overview, .. } = self;
        let called = &subject.called;
        let command = |verb: &str| format!("runback {verb} {called}");
        if self.seen.record.is_err() {
            let name = &subject.name;
            let look = format!(
                "gcloud run services describe {} --region {} --project {} --format 'value(metadata.annotations[\"{}\"])'",
                name.service,
                name.region,
                name.project,
                record_json::ANNOTATION
            );
            return (
                "Runback's record cannot be read, and nothing is written over it. Look at it:".into(),
                look,
            );
        }
        match &overview.next {
            Next::Wait(why) => (format!("{why} Watch it:"), format!("{} --watch", command("status"))),
            Next::GoBack(bad, target) => {
                (format!("{} fails. Go back to {}:", bad.name, target.name), command("rollback"))
            }
            Next::FixForward(bad) => (
                format!(
                    "{} fails, and there is nowhere to go back to. Deploy a fix, and watch it:",
                    bad.name
                ),
                format!("{} --watch", command("status")),
            ),
            Next::Resume => ("To let Runback act again:".into(), command("resume")),
            Next::Release(waiting) => (
                format!("{} waits for its traffic. Try it by a tag; when it is good:", waiting.name),
                command("release"),
            ),
            Next::Repair(rollback) => (
                format!("Repair what {} broke and deploy it; when that is good:", rollback.culprit),
                command("release"),
            ),
            Next::Follow => ("To serve later deploys again:".into(), command("release")),
            Next::Nothing(Some(target)) => {
                (format!("Nothing to do. To go back to {} all the same:", target.name), command("rollback"))
            }
            Next::Nothing(None) => {
                ("Nothing to do. To keep an eye on it:".into(), format!("{} --watch", command("status")))
            }
        }
    }

    fn warnings(&self) -> Vec<String> {
        let Self { subject, seen, person, .. } = self;
        let service = &seen.document.service;
        let mut warnings = Vec::new();
        if let Err(why) = &seen.record {
            warnings.push(format!("The record cannot be read: {why}."));
        }
        if let Evidence::Unreadable { why, permission } = &seen.evidence {
            let help = permission.as_ref().map_or(String::new(), |permission| {
                let grant = grant(&subject.name, permission, person.config.account.as_deref());
                format!(" The permission {permission} is missing: {grant}")
            });
            warnings.push(format!("Monitoring cannot be read, so nobody knows what fails: {why}.{help}"));
        }
        if service.spec_split() != service.split() && !service.in_flight {
            let why = service.trouble.as_ref().map_or(String::new(), |why| format!(": {why}"));
            let wanted = split(&service.spec_split());
            warnings.push(format!("The service does not do what it was told ({wanted}){why}"));
        }
        warnings
    }
}

fn mode(subject: &Subject) -> &'static str {
    match subject.rules.mode {
        Mode::Observe => "observe",
        Mode::Enforce => "enforce",
    }
}

fn state(standing: &Standing<'_>) -> (Tone, String) {
    let tone = match standing.state {
        State::Serving if standing.fails => Tone::Bad,
        State::Serving | State::Healthy => Tone::Good,
        State::Quarantined | State::Failing | State::Unhealthy => Tone::Bad,
        State::Waiting => Tone::Warn,
        State::NotReady | State::Unproven => Tone::Faint,
    };
    let word = match standing.state {
        State::Serving if standing.fails => "serving, fails",
        State::NotReady => "not ready",
        state => state.word(),
    };
    (tone, word.to_owned())
}

/// `1.2% of 6,000`.
fn figures(counts: Option<(u64, u64)>) -> String {
    match counts {
        None => "?".to_owned(),
        Some((0, _)) => "-".to_owned(),
        Some((requests, bad)) => {
            #[expect(clippy::cast_precision_loss, reason = "a share for people")]
            let share = bad as f64 / requests as f64;
            format!("{} of {}", text::percent(share).replace(' ', ""), text::count(requests))
        }
    }
}

pub(super) fn shares(split: &crate::domain::service::Split) -> Vec<Value> {
    let mut list: Vec<(&String, &u8)> = split.iter().collect();
    list.sort_by_key(|(_, percent)| std::cmp::Reverse(**percent));
    list.into_iter().map(|(revision, percent)| json!({"revision": revision, "percent": percent})).collect()
}

/// `90% k-back-00041-xyz, 10% k-back-00042-abc`.
pub(super) fn split(split: &crate::domain::service::Split) -> String {
    let mut list: Vec<(&String, &u8)> = split.iter().collect();
    list.sort_by_key(|(_, percent)| std::cmp::Reverse(**percent));
    let list: Vec<String> =
        list.into_iter().map(|(revision, percent)| format!("{percent}% {revision}")).collect();
    if list.is_empty() { "nothing serves".to_owned() } else { list.join(", ") }
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// `09:32 UTC (20 min ago)`, with the day where it is another one.
pub(super) fn moment(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    format!("{} ({} ago)", clock(at, now), text::span(age(at, now)))
}

pub(super) fn clock(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let far = (at - now).abs() > TimeDelta::hours(20);
    at.format(if far { "%F %H:%M UTC" } else { "%H:%M UTC" }).to_string()
}

/// The first lines of the commits' messages, where this is a checkout that has them.
fn commit_subjects(list: &[&Standing<'_>]) -> BTreeMap<String, String> {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        let output = command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    if git(&["rev-parse", "--is-inside-work-tree"]).as_deref() != Some("true") {
        return BTreeMap::new();
    }
    let commits = list.iter().filter_map(|standing| standing.revision.commit.as_deref());
    let is_hash = |commit: &&str| commit.len() >= 7 && commit.chars().all(|c| c.is_ascii_hexdigit());
    let subject = |commit: &str| {
        let subject = git(&["log", "-1", "--format=%s", &format!("{commit}^{{commit}}"), "--"])?;
        let short: String = subject.chars().filter(|c| !c.is_control()).take(60).collect();
        (!short.is_empty()).then(|| (commit.to_owned(), short))
    };
    commits.filter(is_hash).take(SHOWN).filter_map(subject).collect()
}
