//! `runback hold` and `runback resume`: Runback keeps its hands off a service for a while. Neither asks anything.

use std::time::Duration;

use chrono::TimeDelta;
use clap::Args;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::person::{Person, Place};
use super::status::clock;
use super::terminal::patiently;
use super::write::WRITE;
use super::{Stopped, bad, failed, say};
use crate::clients::cloud_run::ServiceDocument;
use crate::clients::google::CallError;
use crate::config::Subject;
use crate::domain::hold::Hold;
use crate::domain::policy::Mode;
use crate::domain::text;
use crate::hold_json;
use crate::respond::Received;

/// Whoever wants a longer one leaves the end open.
const LONGEST: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// So often a service that somebody else keeps changing is read again.
const TRIES: usize = 4;

/// What `runback hold` is told.
#[derive(Debug, Args)]
pub(super) struct HoldArgs {
    /// The service: its short name, or projects/P/locations/R/services/S
    #[arg(value_name = "SERVICE")]
    service: String,

    /// For how long, for example 2h or 90m; without it until somebody resumes it
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    time: Option<Duration>,

    /// Why, for whoever wants to know why nothing moves
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    #[command(flatten)]
    shared: Shared,
}

/// What `runback resume` is told.
#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    /// The service: its short name, or projects/P/locations/R/services/S
    #[arg(value_name = "SERVICE")]
    service: String,

    #[command(flatten)]
    shared: Shared,
}

#[derive(Debug, Args)]
struct Shared {
    /// For scripts: this command never asks
    #[arg(long)]
    yes: bool,

    /// Show what would be done; write nothing
    #[arg(long)]
    dry_run: bool,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: Place,
}

/// Holds a service.
pub(super) async fn hold(arguments: HoldArgs) -> Result<(), Stopped> {
    let HoldArgs { service, time, reason, shared } = arguments;
    if time.is_some_and(|time| time.is_zero() || time > LONGEST) {
        return Err(bad("--for must be above zero and at most 90 days; without it the hold has no end"));
    }
    let (subject, person) = shared.place.open(&service).await?;
    let now = Received::now().at;
    let hold = Hold {
        until: time.and_then(|time| TimeDelta::from_std(time).ok()).map(|time| now + time),
        by: person.account().await.unwrap_or_else(|| "somebody".to_owned()),
        why: reason.map(|reason| reason.trim().to_owned()).unwrap_or_default(),
    };
    let before = change(&person, &subject, Some(&hold), shared.dry_run).await?;
    if shared.json {
        return say(&format!("{:#}", to_json(&subject, Some(&hold), true, shared.dry_run)));
    }
    let name = &subject.name.service;
    if let Some(before) = before.service.held(now) {
        eprintln!("runback: this replaces another hold: {}", before.sentence());
    }
    let until = match (hold.until, time) {
        (Some(until), Some(time)) => {
            format!("until {}, {} from now", clock(until, now), text::duration(time))
        }
        _ => "until somebody resumes it".to_owned(),
    };
    if shared.dry_run {
        return say(&format!("{name} would be held {until}. A dry run: nothing was written."));
    }
    let watched = match (subject.listed, subject.rules.mode) {
        (true, Mode::Enforce) => "Runback explains and does not act",
        (true, Mode::Observe) => "Runback only observes it anyway",
        (false, _) => "The policy does not list it, so Runback does nothing for it anyway",
    };
    say(&format!(
        "{name} is held {until}. {watched}.\nTo end it before:\n  runback resume {}",
        subject.called
    ))
}

/// Ends a hold.
pub(super) async fn resume(arguments: ResumeArgs) -> Result<(), Stopped> {
    let ResumeArgs { service, shared } = arguments;
    let (subject, person) = shared.place.open(&service).await?;
    let before = change(&person, &subject, None, shared.dry_run).await?;
    let held = before.service.hold.is_some();
    if shared.json {
        return say(&format!("{:#}", to_json(&subject, None, held, shared.dry_run)));
    }
    let name = &subject.name.service;
    match &before.service.hold {
        None => say(&format!("Nothing to do: nobody holds {name}.")),
        Some(hold) if shared.dry_run => {
            say(&format!("{name} is {}. It would end now. A dry run: nothing was written.", hold.sentence()))
        }
        Some(hold) if hold.is_on(Received::now().at) => {
            say(&format!("Runback acts on {name} again. It was {}.", hold.sentence()))
        }
        Some(_) => say(&format!("The hold of {name} was over already; it is cleared away.")),
    }
}

/// Writes the hold, or takes it away; nothing where there is none to take. The service as it was before.
async fn change(
    person: &Person,
    subject: &Subject,
    hold: Option<&Hold>,
    dry_run: bool,
) -> Result<ServiceDocument, Stopped> {
    let name = &subject.name;
    let text = hold.map(hold_json::write);
    for _ in 0..TRIES {
        let document = person.service(name).await?;
        if dry_run || (hold.is_none() && document.service.hold.is_none()) {
            return Ok(document);
        }
        let write = person.cloud_run.set_hold(&document, text.as_deref(), Instant::now() + WRITE);
        match patiently("Writing", write).await {
            Ok(_) => return Ok(document),
            // Whatever somebody else has changed, a hold is a hold.
            Err(CallError::Conflict(_)) => {}
            Err(CallError::Unavailable(why)) => {
                let read = person.service(name).await?;
                if read.service.hold == text.as_deref().and_then(|text| hold_json::parse(Some(text))) {
                    return Ok(document);
                }
                eprintln!("runback: the write came to nothing ({why}); trying again");
            }
            Err(error) => return Err(person.explain(name, error)),
        }
    }
    Err(failed("somebody else keeps changing the service, or Cloud Run does not answer; nothing was written"))
}

fn to_json(subject: &Subject, hold: Option<&Hold>, changed: bool, dry_run: bool) -> Value {
    let hold = hold.map(hold_json::write).and_then(|text| serde_json::from_str::<Value>(&text).ok());
    json!({
        "schema": 1,
        "done": changed && !dry_run,
        "dry_run": dry_run,
        "service": subject.name.to_string(),
        "hold": hold,
    })
}
