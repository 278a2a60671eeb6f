//! `runback undo`: the split from before the last rollback on record, with one command.

use clap::Args;

use super::drive::{Draft, Drive, Driven, Prepared};
use super::person::{Person, Seen};
use super::status::{moment, split};
use super::terminal::Consent;
use super::write::Move;
use super::{Stopped, bad, refused, say};
use crate::config::{GoogleArgs, Subject, SubjectArgs};
use crate::domain::by_hand::Undo;
use crate::domain::record::{Phase, Rollback};
use crate::domain::traffic;
use crate::record_json;

/// What `runback undo` is told.
#[derive(Debug, Args)]
pub(super) struct UndoArgs {
    /// The service: its short name, or projects/P/locations/R/services/S
    #[arg(value_name = "SERVICE")]
    service: String,

    #[command(flatten)]
    consent: Consent,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    subject: SubjectArgs,

    #[command(flatten)]
    google: GoogleArgs,
}

/// Takes the last rollback back.
pub(super) async fn undo(arguments: UndoArgs) -> Result<(), Stopped> {
    let UndoArgs { service, consent, json, subject: place, google } = arguments;
    consent.can_be_had()?;
    let subject = place.subject(&service).map_err(bad)?;
    let person = Person::sign_in(google, &place).await?;
    let drive = Drive { person: &person, subject: &subject, consent, json };
    match drive.run(async |seen| prepare(seen, &subject)).await? {
        Driven::Over => Ok(()),
        Driven::Done(done) if json => say(&format!("{:#}", done.shift.to_json(&subject, true, false))),
        Driven::Done(done) => {
            let mut text = format!(
                "Done in {:.1} s: {} serves {} again.",
                done.took.as_secs_f64(),
                subject.name.service,
                split(&done.shift.to)
            );
            if let Some(probed) = &done.probed {
                text += &format!("\nProbed: {probed}.");
            }
            text += &format!("\nKeep an eye on it:\n  runback status {} --watch", subject.called);
            say(&text)
        }
    }
}

fn prepare(seen: &Seen, subject: &Subject) -> Result<Prepared, Stopped> {
    let record = seen
        .record
        .as_ref()
        .map_err(|why| refused(format!("record: {why}. It is left alone, and so is the traffic")))?;
    let service = &seen.document.service;
    let (rollback, gates) = match seen.situation(subject, record).undo() {
        Undo::Nothing(why) => return Ok(Prepared::Nothing(why)),
        Undo::Planned(rollback, gates) => (rollback, gates),
    };
    let undone = Rollback { phase: Phase::Undone, moved: Some(seen.at.at), ..rollback.clone() };
    let to = rollback.from.iter().map(|share| (share.revision.clone(), share.percent)).collect();
    let shift = Move {
        to,
        gates,
        list: traffic::restored(service, rollback),
        record: record_json::write(&record.with_changed(&undone), seen.document.record.as_deref()),
        id: Some(rollback.id.clone()),
        ..Move::none(service.split())
    };
    let by = rollback.by.as_ref().map_or(String::new(), |by| format!(" by {by}"));
    let head = format!(
        "{}: undo the rollback from {} to {} of {}{by}",
        subject.name.service,
        rollback.culprit,
        rollback.target,
        moment(rollback.at, seen.at.at)
    );
    let tail = format!("{} comes out of quarantine.", rollback.culprit);
    Ok(Prepared::Move(Box::new(Draft { head, tail, shift, probe: None })))
}
