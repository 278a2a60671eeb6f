//! What all moves by hand have in common: look, show, ask, probe, write once, and look again where somebody else was faster.

use std::time::Duration;

use super::person::{Person, Seen};
use super::preflight::wish;
use super::terminal::{Consent, Paint, patiently};
use super::write::{Move, Outcome};
use super::{Stopped, failed, refused, say};
use crate::clients::cloud_run::ServiceDocument;
use crate::config::Subject;
use crate::domain::by_hand::FORCEABLE;
use crate::domain::decision::Gate;
use crate::domain::probe::Wish;
use crate::domain::record::Record;

/// What is to be done, by one look at the service.
pub(super) enum Prepared {
    /// Move traffic, or say which gate stands against it.
    Move(Box<Draft>),
    /// Nothing, and why.
    Nothing(String),
}

/// A move that can be shown.
pub(super) struct Draft {
    /// Its headline.
    pub(super) head: String,
    /// What it brings with it.
    pub(super) tail: String,
    pub(super) shift: Move,
    /// What has still to be probed, by a tag of ours.
    pub(super) probe: Option<Box<Wish>>,
}

/// How it ended.
pub(super) enum Driven {
    /// The status shows it.
    Done(Box<Done>),
    /// Nothing was to be done, or a dry run was asked for, and people have been told.
    Over,
}

/// A move that is done.
pub(super) struct Done {
    pub(super) document: ServiceDocument,
    pub(super) shift: Move,
    pub(super) took: Duration,
    /// What probes of the service found afterwards, where it has a health path.
    pub(super) probed: Option<String>,
}

impl Done {
    /// Reports it: what the service serves now, and what comes next.
    pub(super) fn report(&self, subject: &Subject, json: bool, now: &str, next: &str) -> Result<(), Stopped> {
        if json {
            return say(&format!("{:#}", self.shift.to_json(subject, true, false)));
        }
        let probed = self.probed.as_ref().map_or(String::new(), |probed| format!("\nProbed: {probed}."));
        let (took, name) = (self.took.as_secs_f64(), &subject.name.service);
        say(&format!("Done in {took:.1} s: {name} {now}.{probed}{next}"))
    }
}

/// A move by hand on its way.
pub(super) struct Drive<'a> {
    pub(super) person: &'a Person,
    pub(super) subject: &'a Subject,
    pub(super) consent: Consent,
    pub(super) json: bool,
}

impl Drive<'_> {
    /// Carries a move out. `prepare` says what it is by what was read; it is asked again after a conflict.
    pub(super) async fn run(
        &self,
        prepare: impl AsyncFn(&Seen) -> Result<Prepared, Stopped>,
    ) -> Result<Driven, Stopped> {
        let Self { person, subject, .. } = self;
        let mut seen = person.look(subject).await?;
        let mut shown: Option<Move> = None;
        loop {
            let draft = match prepare(&seen).await? {
                Prepared::Move(draft) => *draft,
                Prepared::Nothing(why) => return self.nothing(&seen, &why, shown.is_some()),
            };
            let Draft { mut shift, ref probe, .. } = self.show(draft, shown.as_ref())?;
            if shift.stopped_by().is_some() {
                return self.refuse(&shift);
            }
            if self.consent.dry_run {
                return self.dry_run(&shift);
            }
            if shown.is_none() && !self.consent.asked("Do it?")? {
                return Err(failed("nothing was written"));
            }
            let mut document = seen.document.clone();
            if let Some(probe) = probe {
                match self.preflight(&seen, probe, &mut document).await? {
                    Some(gate) => shift.gates.push(gate),
                    None => {
                        let why = "somebody else changed the service meanwhile";
                        (seen, shown) = self.look_again(why, shown.is_some(), shift).await?;
                        continue;
                    }
                }
                if shift.stopped_by().is_some() {
                    person.untag(&document).await;
                    return self.refuse(&shift);
                }
            }
            match shift.carry_out(person, &document).await? {
                Outcome::Done(document, took) => {
                    let probed = match wish(subject, &document.service, "the service") {
                        Some(wish) => Some(person.probe(&wish, &document.service.url).await.sentence()),
                        None => None,
                    };
                    return Ok(Driven::Done(Box::new(Done { document: *document, shift, took, probed })));
                }
                Outcome::Stuck(why) => return self.stuck(&shift, &why),
                Outcome::Again(why) => (seen, shown) = self.look_again(&why, shown.is_some(), shift).await?,
            }
        }
    }

    /// Shows a draft, or compares it with what was shown and asked for before.
    fn show(&self, draft: Draft, before: Option<&Move>) -> Result<Draft, Stopped> {
        match before {
            // The same by the new facts: that somebody has touched the service changes nothing.
            Some(before) if before.is_like(&draft.shift) => Ok(draft),
            Some(_) => {
                eprint!("{}\n{}", draft.head, draft.shift.to_text(Paint::of_errors()));
                Err(failed(
                    "somebody else changed the service meanwhile, and this is what it would be now. Nothing was written",
                ))
            }
            None if self.json => Ok(draft),
            None => {
                let Draft { head, tail, shift, .. } = &draft;
                let tail = if shift.stopped_by().is_some() || tail.is_empty() {
                    String::new()
                } else {
                    format!("\n{tail}\n")
                };
                if self.consent.dry_run {
                    say(format!("{head}\n\n{}{tail}", shift.to_text(Paint::of_output())).trim_end())?;
                } else {
                    eprintln!("{head}\n\n{}{tail}", shift.to_text(Paint::of_errors()));
                }
                Ok(draft)
            }
        }
    }

    /// Probes by a tag of ours; nothing, when somebody else has changed the service.
    async fn preflight(
        &self,
        seen: &Seen,
        probe: &Wish,
        document: &mut ServiceDocument,
    ) -> Result<Option<Gate>, Stopped> {
        let work = self.person.probe_by_own_tag(probe, document);
        let Some(probed) = patiently("Probing the target", work).await? else { return Ok(None) };
        let empty = Record::default();
        Ok(Some(seen.situation(self.subject, &empty).preflight(&probed)))
    }

    fn refuse(&self, shift: &Move) -> Result<Driven, Stopped> {
        if self.json {
            say(&format!("{:#}", shift.to_json(self.subject, false, self.consent.dry_run)))?;
        }
        let Some(gate) = shift.stopped_by() else { return Err(failed("nothing was written")) };
        let way = match shift.forces && FORCEABLE.contains(&gate.name) {
            true => format!(". To do it all the same: --force {}", gate.name),
            false => String::new(),
        };
        Err(refused(format!("{}: {}{way}", gate.name, gate.detail)))
    }

    fn nothing(&self, seen: &Seen, why: &str, after_conflict: bool) -> Result<Driven, Stopped> {
        if after_conflict {
            let newest = seen.record.as_ref().ok().and_then(|record| record.rollbacks.first());
            let who = newest.and_then(|newest| newest.by.as_deref()).unwrap_or("somebody else");
            eprintln!("runback: {who} has just done the same");
        }
        if self.json {
            let shift = Move::none(seen.document.service.split());
            say(&format!("{:#}", shift.to_json(self.subject, false, self.consent.dry_run)))?;
        } else {
            say(&format!("Nothing to do: {why}."))?;
        }
        Ok(Driven::Over)
    }

    fn dry_run(&self, shift: &Move) -> Result<Driven, Stopped> {
        if self.json {
            say(&format!("{:#}", shift.to_json(self.subject, false, true)))?;
        } else {
            say("\nA dry run: nothing was written.")?;
        }
        Ok(Driven::Over)
    }

    fn stuck(&self, shift: &Move, why: &str) -> Result<Driven, Stopped> {
        if self.json {
            say(&format!("{:#}", shift.to_json(self.subject, false, false)))?;
        }
        Err(failed(format!(
            "the switch is written and on record, but it has not taken effect: {why}\n  runback status {} --watch",
            self.subject.called
        )))
    }

    /// Reads again after a conflict: once.
    async fn look_again(&self, why: &str, again: bool, shift: Move) -> Result<(Seen, Option<Move>), Stopped> {
        if again {
            return Err(failed(format!("{why}, again; nothing was written. Look, then try again")));
        }
        eprintln!("runback: {why}; looking again");
        Ok((self.person.look(self.subject).await?, Some(shift)))
    }
}
