//! `runback quarantine`: what must not come back: for people, and as a gate for a pipeline.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::person::{Person, Place};
use super::status::moment;
use super::terminal::{Consent, Paint, Tone, patiently, table};
use super::write::WRITE;
use super::{Stopped, failed, refused, say};
use crate::clients::google::CallError;
use crate::config::Subject;
use crate::domain::by_hand::{is_commit, same_commit};
use crate::domain::record::{Quarantined, Record};
use crate::domain::service::Revision;
use crate::domain::text;
use crate::record_json;
use crate::respond::Received;

/// Reading the revisions.
const READ: Duration = Duration::from_secs(8);

/// So often a service that somebody else keeps changing is read again.
const TRIES: usize = 3;

/// What `runback quarantine` is told.
#[derive(Debug, Args)]
pub(super) struct QuarantineArgs {
    /// The service: its short name, or projects/P/locations/R/services/S
    #[arg(value_name = "SERVICE")]
    service: String,

    /// Exit with 3 if this revision, commit or image digest is in quarantine
    #[arg(long, value_name = "WHAT", conflicts_with = "lift")]
    check: Option<String>,

    /// Let this revision come back
    #[arg(long, value_name = "REVISION")]
    lift: Option<String>,

    #[command(flatten)]
    consent: Consent,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: Place,
}

/// Lists the quarantine, asks it, or lets a revision out.
pub(super) async fn quarantine(arguments: QuarantineArgs) -> Result<(), Stopped> {
    if arguments.lift.is_some() {
        arguments.consent.can_be_had()?;
    }
    let (subject, person) = arguments.place.open(&arguments.service).await?;
    if let Some(revision) = &arguments.lift {
        return lift(&arguments, &subject, &person, revision).await;
    }
    let document = person.service(&subject.name).await?;
    let record = record_json::parse(document.record.as_deref())
        .map_err(|error| failed(format!("nobody can tell what is in quarantine: {error}")))?;
    let name = &subject.name.service;
    match &arguments.check {
        None if arguments.json => say(&format!("{:#}", to_json(&subject, &record, None))),
        None => list(&subject, &record),
        Some(what) => {
            let read = person.cloud_run.revisions(&subject.name, Instant::now() + READ);
            let revisions = patiently("Reading the revisions", read).await;
            let revisions = revisions.map_err(|error| person.explain(&subject.name, error))?;
            let entry = banned(&record, &revisions, what);
            if arguments.json {
                say(&format!("{:#}", to_json(&subject, &record, Some(entry.is_none()))))?;
            }
            match entry {
                Some(entry) => Err(refused(format!(
                    "quarantine: {what} must not come back to {name}: {} was rolled back at {}. Deploy a fix instead, or lift \
                     it: runback quarantine {} --lift {}",
                    entry.revision,
                    text::clock(entry.at),
                    subject.called,
                    entry.revision
                ))),
                None if arguments.json => Ok(()),
                None => say(&format!("{what} is not in the quarantine of {name}.")),
            }
        }
    }
}

fn list(subject: &Subject, record: &Record) -> Result<(), Stopped> {
    let name = &subject.name.service;
    if record.quarantine.is_empty() {
        return say(&format!("Nothing of {name} is in quarantine."));
    }
    let now = Received::now().at;
    let rows: Vec<_> = record
        .quarantine
        .iter()
        .map(|entry| {
            let commit = entry.commit.as_deref().map_or(String::new(), text::short_commit);
            vec![
                (Tone::Plain, entry.revision.clone()),
                (Tone::Plain, commit),
                (Tone::Plain, moment(entry.at, now)),
                (Tone::Faint, entry.digest.clone().unwrap_or_default()),
            ]
        })
        .collect();
    let text = table(&["REVISION", "COMMIT", "ROLLED BACK", "IMAGE"], &rows, Paint::of_output());
    say(&format!(
        "What must not come back to {name}, by name or as the same image:\n\n{text}\nTo let one out:\n  runback quarantine {} --lift {}",
        subject.called, record.quarantine[0].revision
    ))
}

/// The entry that keeps a revision, a commit or an image from coming back: by what it says itself, or by what Cloud Run
/// knows of its revision.
fn banned<'a>(record: &'a Record, revisions: &[Revision], what: &str) -> Option<&'a Quarantined> {
    let what = what.trim();
    let digest = what.rsplit_once('@').map_or(what, |(_, digest)| digest);
    let meant = |revision: &&Revision| {
        revision.name == what || revision.digest.as_deref() == Some(digest) || is_commit(revision, what)
    };
    let by_itself = record.quarantine.iter().find(|entry| is_about(entry, what, digest));
    by_itself.or_else(|| revisions.iter().filter(meant).find_map(|revision| record.ban(revision)))
}

/// Whether a text is the entry's revision, its commit or its digest.
fn is_about(entry: &Quarantined, what: &str, digest: &str) -> bool {
    entry.revision == what
        || entry.digest.as_deref() == Some(digest)
        || entry.commit.as_ref().is_some_and(|commit| same_commit(commit, what))
}

async fn lift(
    arguments: &QuarantineArgs,
    subject: &Subject,
    person: &Person,
    revision: &str,
) -> Result<(), Stopped> {
    let mut asked = false;
    for _ in 0..TRIES {
        let document = person.service(&subject.name).await?;
        let record = record_json::parse(document.record.as_deref())
            .map_err(|error| refused(format!("record: {error}. It is left alone")))?;
        let (out, kept): (Vec<_>, Vec<_>) =
            record.quarantine.iter().cloned().partition(|entry| entry.revision == revision);
        let after = Record { quarantine: kept, ..record };
        let report = |done: bool| {
            let mut value = to_json(subject, &after, None);
            value["done"] = json!(done);
            value["dry_run"] = json!(arguments.consent.dry_run);
            say(&format!("{value:#}"))
        };
        let Some(entry) = out.first() else {
            if arguments.json {
                return report(false);
            }
            return say(&format!("Nothing to do: {revision} is not in quarantine."));
        };
        if arguments.consent.dry_run {
            if arguments.json {
                return report(false);
            }
            return say(&format!("{revision} would be let out. A dry run: nothing was written."));
        }
        if !asked {
            eprintln!(
                "{revision} was rolled back at {}. Out of quarantine, Runback may go back to it, and `runback release` may serve it.",
                text::clock(entry.at)
            );
            if !arguments.consent.asked("Let it out?")? {
                return Err(failed("nothing was written"));
            }
            asked = true;
        }
        let text = record_json::write(&after, document.record.as_deref());
        let traffic = &document.service.spec_traffic;
        let write = person.cloud_run.replace(&document, traffic, &text, Instant::now() + WRITE);
        match patiently("Writing", write).await {
            Ok(_) if arguments.json => return report(true),
            Ok(_) => return say(&format!("{revision} is out of quarantine.")),
            // Read again: then it is out, or it is tried once more.
            Err(CallError::Conflict(_) | CallError::Unavailable(_)) => {}
            Err(error) => return Err(person.explain(&subject.name, error)),
        }
    }
    Err(failed(
        "somebody else keeps changing the service, or Cloud Run does not answer; look before you try again",
    ))
}

fn to_json(subject: &Subject, record: &Record, allowed: Option<bool>) -> Value {
    let entry = |entry: &Quarantined| {
        json!({
            "revision": entry.revision,
            "digest": entry.digest,
            "commit": entry.commit,
            "at": text::clock(entry.at),
        })
    };
    let mut value = json!({
        "schema": 1,
        "service": subject.name.to_string(),
        "quarantine": record.quarantine.iter().map(entry).collect::<Vec<_>>(),
    });
    if let Some(allowed) = allowed {
        value["allowed"] = json!(allowed);
    }
    value
}
