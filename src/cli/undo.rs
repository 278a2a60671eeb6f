//! `runback undo`: the split from before the last rollback on record, with one command.

use clap::Args;

use super::Stopped;
use super::drive::{Draft, Drive, Driven, Prepared};
use super::person::{Place, Seen};
use super::status::{moment, split};
use super::terminal::Consent;
use super::write::Move;
use crate::config::Subject;
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
    place: Place,
}

/// Takes the last rollback back.
pub(super) async fn undo(arguments: UndoArgs) -> Result<(), Stopped> {
    let UndoArgs { service, consent, json, place } = arguments;
    consent.can_be_had()?;
    let (subject, person) = place.open(&service).await?;
    let drive = Drive { person: &person, subject: &subject, consent, json };
    match drive.run(async |seen| prepare(seen, &subject)).await? {
        Driven::Over => Ok(()),
        Driven::Done(done) => {
            let now = format!("serves {} again", split(&done.shift.to));
            let next = format!("\nKeep an eye on it:\n  runback status {} --watch", subject.called);
            done.report(&subject, json, &now, &next)
        }
    }
}

fn prepare(seen: &Seen, subject: &Subject) -> Result<Prepared, Stopped> {
    let record = seen.readable_record()?;
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
