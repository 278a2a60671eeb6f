//! Text that is safe to show in Slack and to copy into a shell, whatever it was made from.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::evidence::{Sample, ratio};
use crate::domain::record::Share;
use crate::domain::service::ServiceName;
use crate::domain::text;

/// Longer than any name that Google allows; what is longer is cut.
const NAME: usize = 80;

/// A longer command is not one for people.
pub(super) const COMMAND: usize = 1_500;

/// Minutes in a sparkline, at most.
const COLUMNS: i64 = 60;

/// A name (of a project, region, service or revision) without anything that Slack or a shell would read.
///
/// Real names pass unchanged.
pub(super) fn name(raw: &str) -> String {
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || "-._:".contains(c) { c } else { '_' }
    };
    cut(&raw.chars().map(safe).collect::<String>(), NAME)
}

/// A revision's name without the service's name in front, where it is there: `00042-abc`.
pub(super) fn short(revision: &str, service: &str) -> String {
    let rest = revision.strip_prefix(service).and_then(|rest| rest.strip_prefix('-'));
    name(rest.filter(|rest| !rest.is_empty()).unwrap_or(revision))
}

/// Prose from outside on one line, for mrkdwn: no formatting, no links, no pings; at most `max` long as escaped.
pub(super) fn prose(raw: &str, max: usize) -> String {
    let mut safe = String::new();
    let mut length = 0;
    let mut characters = raw.trim().chars().filter(|c| !is_invisible(*c)).peekable();
    while let Some(c) = characters.next() {
        let mut single = [0; 4];
        let piece: &str = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            // Their look-alikes format nothing.
            '`' => "'",
            '*' => "\u{2217}",
            '~' => "\u{223c}",
            // Slack completes `@here` by itself, but not around an invisible space.
            '@' => "@\u{200b}",
            c if c.is_whitespace() || c.is_control() => " ",
            c => c.encode_utf8(&mut single),
        };
        if piece == " " && safe.ends_with(' ') {
            continue;
        }
        length += units(piece);
        let room = if characters.peek().is_some() { max.saturating_sub(1) } else { max };
        if length > room {
            safe.push('…');
            break;
        }
        safe.push_str(piece);
    }
    safe
}

/// Marks that reorder or hide text, and so could make a message say what it does not.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            // Tags: whole sentences that nobody sees.
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// The text, or its beginning with an ellipsis.
pub(super) fn cut(raw: &str, max: usize) -> String {
    if units(raw) <= max {
        return raw.to_owned();
    }
    let mut length = 1;
    let fits = |c: &char| {
        length += c.len_utf16();
        length <= max
    };
    raw.chars().take_while(fits).chain(['…']).collect()
}

/// A moment that Slack shows in the reader's own zone; elsewhere it is in UTC.
pub(super) fn moment(at: DateTime<Utc>) -> String {
    format!("<!date^{}^{{time}}|{}>", at.timestamp(), at.format("%H:%M UTC"))
}

/// The same where the day may be another one.
pub(super) fn day(at: DateTime<Utc>) -> String {
    format!("<!date^{}^{{date_short_pretty}} {{time}}|{}>", at.timestamp(), at.format("%Y-%m-%d %H:%M UTC"))
}

/// `40%`.
pub(super) fn percent(share: f64) -> String {
    text::percent(share).replace(' ', "")
}

/// Sentences with times as they are logged, `2026-11-22T03:14:00Z`, with times as people read them.
pub(super) fn dated(sentence: &str) -> String {
    const STAMP: usize = 20;
    let stamp = |word: &str| {
        let (stamp, rest) = word.split_at_checked(STAMP)?;
        let at = DateTime::parse_from_rfc3339(stamp).ok().filter(|_| stamp.ends_with('Z'))?;
        Some(day(at.to_utc()) + rest)
    };
    sentence.split(' ').map(|word| stamp(word).unwrap_or(word.to_owned())).collect::<Vec<_>>().join(" ")
}

/// The length as the strictest reader of Slack's limits counts it.
fn units(raw: &str) -> usize {
    raw.chars().map(char::len_utf16).sum()
}

/// mrkdwn that we wrote, as plain text for notifications and screen readers.
pub(super) fn plain(mrkdwn: &str) -> String {
    let mut dated = String::new();
    let mut rest = mrkdwn;
    while let Some((before, (token, after))) =
        rest.split_once("<!date^").and_then(|(before, rest)| Some((before, rest.split_once('>')?)))
    {
        dated += before;
        dated += token.rsplit_once('|').map_or("", |(_, shown)| shown);
        rest = after;
    }
    dated += rest;
    let bare = dated.replace("```", "").replace(['`', '*'], "");
    bare.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// `gcloud run services update-traffic` with the given flags.
pub(super) fn update_traffic(service: &ServiceName, flags: &str) -> String {
    let ServiceName { project, region, service } = service;
    let (project, region, service) = (name(project), name(region), name(service));
    format!("gcloud run services update-traffic {service} {flags} --region {region} --project {project}")
}

/// The command that makes a split; nothing for one that nobody would type.
pub(super) fn split_command(service: &ServiceName, split: &[Share]) -> Option<String> {
    let shares = split.iter().filter(|share| share.percent > 0);
    let shares: Vec<_> = shares.map(|share| format!("{}={}", name(&share.revision), share.percent)).collect();
    let command = update_traffic(service, &format!("--to-revisions {}", shares.join(",")));
    (!shares.is_empty() && command.len() <= COMMAND).then_some(command)
}

/// A link with a label, if the address starts with one of `bases` and cannot break out of the link.
pub(super) fn link(label: &str, address: &str, bases: &[&str]) -> Option<String> {
    let safe = |c: char| c.is_ascii_graphic() && !"<>|\"'`\\*".contains(c);
    let leads_there = bases.iter().any(|base| address.starts_with(base) && address.len() > base.len());
    let fine = leads_there && address.len() <= 1_000 && address.chars().all(safe);
    fine.then(|| format!("<{}|{label}>", address.replace('&', "&amp;")))
}

/// The Logs Explorer with a revision's errors since a moment.
pub(super) fn logs_url(
    service: &ServiceName,
    revision: Option<&str>,
    since: Option<DateTime<Utc>>,
) -> String {
    let mut query = format!(
        "resource.type=\"cloud_run_revision\"\nresource.labels.service_name=\"{}\"\nresource.labels.location=\"{}\"",
        name(&service.service),
        name(&service.region)
    );
    if let Some(revision) = revision {
        query += &format!("\nresource.labels.revision_name=\"{}\"", name(revision));
    }
    // A traceback on standard error carries no level: such a line is found by its words.
    query += "\n(severity>=ERROR OR textPayload=~\"ERROR|CRITICAL|Exception|Traceback\")";
    if let Some(since) = since {
        query += &format!("\ntimestamp>=\"{}\"", text::clock(since));
    }
    let project = encoded(&name(&service.project));
    format!("https://console.cloud.google.com/logs/query;query={}?project={project}", encoded(&query))
}

/// Percent-encoded as RFC 3986 has it: all but the unreserved characters.
fn encoded(raw: &str) -> String {
    let mut address = String::new();
    for byte in raw.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                address.push(char::from(byte))
            }
            _ => {
                // Writing to a String cannot fail.
                let _ = write!(address, "%{byte:02X}");
            }
        }
    }
    address
}

/// The share of bad requests minute by minute, and its maximum: the top of the scale.
///
/// A minute without requests is a gap (`·`); one without bad requests is the lowest bar, and only that.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 1, times 7")]
pub(super) fn sparkline(samples: &[Sample]) -> Option<(String, f64)> {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let first = samples.iter().map(|sample| sample.start).min()?;
    let last = samples.iter().map(|sample| sample.end).max()?;
    // Rounded up, so that an end within a minute has its column.
    let minutes = (last - first + TimeDelta::seconds(59)).num_minutes().max(1);
    let columns: Vec<Option<f64>> = ((minutes - COLUMNS).max(0)..minutes)
        .map(|minute| {
            let at = first + TimeDelta::minutes(minute);
            let covering = samples.iter().filter(|sample| sample.start <= at && at < sample.end);
            let (bad, all) =
                covering.fold((0, 0), |sum, sample| (sum.0 + sample.bad, sum.1 + sample.requests));
            (all > 0).then(|| ratio(bad, all))
        })
        .collect();
    let top = columns.iter().flatten().copied().reduce(f64::max)?;
    let bar = |share: f64| {
        let level = if top > 0.0 { (share / top * 7.0).round() as usize } else { 0 };
        BARS[level.clamp(usize::from(share > 0.0), 7)]
    };
    Some((columns.into_iter().map(|column| column.map_or('·', bar)).collect(), top))
}
