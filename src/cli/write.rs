//! One write by hand: shown, asked for, made by compare-and-swap, and watched until the service's status shows it.

use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::person::Person;
use super::status::{shares, split};
use super::terminal::{Paint, Tone, patiently};
use super::{Stopped, failed};
use crate::clients::cloud_run::ServiceDocument;
use crate::clients::google::CallError;
use crate::config::Subject;
use crate::domain::decision::Gate;
use crate::domain::service::{ServiceName, Split, TrafficTarget};

/// Waiting for the answer to a write. Then reading settles what became of it.
pub(super) const WRITE: Duration = Duration::from_secs(5);

/// The status shows a switch within seconds, or something is wrong.
const ARRIVES: Duration = Duration::from_secs(15);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(400);

/// A write that is wanted.
pub(super) struct Move {
    /// The split before, by the status.
    pub(super) from: Split,
    /// The split afterwards.
    pub(super) to: Split,
    pub(super) gates: Vec<Gate>,
    /// The gates that a person passes by name.
    pub(super) forced: Vec<&'static str>,
    /// Whether the command can be told to pass a gate.
    pub(super) forces: bool,
    /// The traffic list to write.
    pub(super) list: Vec<TrafficTarget>,
    /// The record to write.
    pub(super) record: String,
    /// The rollback that it becomes on record.
    pub(super) id: Option<String>,
}

/// What became of a write.
pub(super) enum Outcome {
    /// The status shows it, so long after the write.
    Done(Box<ServiceDocument>, Duration),
    /// It is not written, for this reason, and the service has to be looked at again.
    Again(String),
    /// It is written, and this is what keeps it from taking effect.
    Stuck(String),
}

impl Move {
    /// Nothing moves.
    pub(super) fn none(split: Split) -> Self {
        Self {
            from: split.clone(),
            to: split,
            gates: Vec::new(),
            forced: Vec::new(),
            forces: false,
            list: Vec::new(),
            record: String::new(),
            id: None,
        }
    }

    /// The first gate that stands against it.
    pub(super) fn stopped_by(&self) -> Option<&Gate> {
        self.gates.iter().find(|gate| !gate.passed && !self.forced.contains(&gate.name))
    }

    /// Whether it is the same move by the same facts: a conflict changes nothing then.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let passed = |gates: &[Gate]| gates.iter().map(|gate| (gate.name, gate.passed)).collect::<Vec<_>>();
        (&self.from, &self.to, passed(&self.gates)) == (&other.from, &other.to, passed(&other.gates))
    }

    /// The split before and after, and the gates.
    pub(super) fn to_text(&self, paint: Paint) -> String {
        let mut text = format!(
            "  now    {}\n  then   {}\n\n",
            split(&self.from),
            paint.paint(Tone::Strong, &split(&self.to))
        );
        for gate in &self.gates {
            let forced = self.forced.contains(&gate.name);
            let (mark, tone) = match gate.passed {
                true => ("✓", Tone::Good),
                false if forced => ("!", Tone::Warn),
                false => ("✗", Tone::Bad),
            };
            let word = if forced && !gate.passed { " (forced)" } else { "" };
            let _ = writeln!(text, "  {} {:<11} {}{word}", paint.paint(tone, mark), gate.name, gate.detail);
        }
        text
    }

    pub(super) fn to_json(&self, subject: &Subject, done: bool, dry_run: bool) -> Value {
        let gate = |gate: &Gate| json!({"gate": gate.name, "passed": gate.passed, "detail": gate.detail});
        json!({
            "schema": 1,
            "done": done,
            "dry_run": dry_run,
            "service": subject.name.to_string(),
            "from": shares(&self.from),
            "to": shares(&self.to),
            "gates": self.gates.iter().map(gate).collect::<Vec<_>>(),
            "rollback": self.id.as_ref().filter(|_| done),
        })
    }

    /// Writes it once, and waits for the status.
    pub(super) async fn carry_out(
        &self,
        person: &Person,
        read: &ServiceDocument,
    ) -> Result<Outcome, Stopped> {
        let name = &read.service.name;
        let begun = Instant::now();
        let write = person.cloud_run.replace(read, &self.list, &self.record, begun + WRITE);
        let written = match patiently("Writing", write).await {
            Ok(written) => written,
            Err(CallError::Conflict(_)) => {
                return Ok(Outcome::Again("somebody else changed the service meanwhile".into()));
            }
            Err(CallError::Unavailable(why)) => match self.was_carried_out(person, read, &why).await? {
                Some(document) => document,
                None => return Ok(Outcome::Again(format!("the write was not carried out ({why})"))),
            },
            Err(error) => return Err(person.explain(name, error)),
        };
        patiently("Waiting for Cloud Run", self.arrival(person, written, begun)).await
    }

    /// The answer is lost: reading settles what became of the write. Nothing, when it was not carried out.
    async fn was_carried_out(
        &self,
        person: &Person,
        before: &ServiceDocument,
        why: &str,
    ) -> Result<Option<ServiceDocument>, Stopped> {
        let name = &before.service.name;
        let read = person.cloud_run.service(name, Instant::now() + WRITE).await.map_err(|error| {
            failed(format!(
                "the answer to the write is lost ({why}), and {name} cannot be read ({error}): it may have been carried out. \
                 Look before you try again"
            ))
        })?;
        let ours = read.generation() > before.generation()
            && read.service.spec_traffic == self.list
            && read.record.as_deref() == Some(&self.record);
        Ok(ours.then_some(read))
    }

    async fn arrival(
        &self,
        person: &Person,
        mut document: ServiceDocument,
        begun: Instant,
    ) -> Result<Outcome, Stopped> {
        let wanted = document.service.spec_split();
        loop {
            let service = &document.service;
            if service.split() == self.to && !service.in_flight {
                return Ok(Outcome::Done(Box::new(document), begun.elapsed()));
            }
            if service.spec_split() != wanted {
                return Ok(Outcome::Stuck("somebody else has moved the traffic since".into()));
            }
            if !service.in_flight
                && let Some(why) = &service.trouble
            {
                return Ok(Outcome::Stuck(format!("Cloud Run says: {why}")));
            }
            if begun.elapsed() + PAUSE > ARRIVES {
                let why =
                    service.trouble.as_ref().map_or(String::new(), |why| format!(" Cloud Run says: {why}"));
                return Ok(Outcome::Stuck(format!(
                    "the service's status does not show it after {} s.{why}",
                    ARRIVES.as_secs()
                )));
            }
            sleep(PAUSE).await;
            // Whoever cannot read now looks again.
            if let Ok(read) = person.cloud_run.service(&service.name, Instant::now() + WRITE).await {
                document = read;
            }
        }
    }
}

/// A name for a rollback: unique over people and services, as those that a running Runback makes.
pub(super) fn new_id(at: DateTime<Utc>, name: &ServiceName) -> String {
    let chance = RandomState::new().build_hasher().finish();
    format!("rb-{}-{chance:016x}-{}", at.timestamp(), name.service)
}
