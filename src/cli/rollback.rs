//! `runback rollback`: all traffic to a revision, by hand, with the gates that a running Runback passes.

use clap::{Args, ValueEnum};

use super::drive::{Done, Draft, Drive, Driven, Prepared};
use super::person::{Person, Seen};
use super::preflight::wish;
use super::status::split;
use super::terminal::{Consent, Paint, Tone, patiently, table};
use super::write::{Move, new_id};
use super::{Stopped, bad, refused, say};
use crate::config::{GoogleArgs, Subject, SubjectArgs};
use crate::domain::by_hand::{Answer, Plan, Wish};
use crate::domain::decision::Gate;
use crate::domain::record::{BY_HAND, Phase, Quarantined, Rollback, age};
use crate::domain::service::{Destination, Revision, Split};
use crate::domain::{steps, text, traffic};
use crate::record_json;

/// So many revisions are listed where the wanted one is not among them.
const LISTED: usize = 20;

/// What `runback rollback` is told.
#[derive(Debug, Args)]
pub(super) struct RollbackArgs {
    /// The service: its short name, or projects/P/locations/R/services/S
    #[arg(value_name = "SERVICE")]
    service: String,

    /// A revision, or a commit by 7 or more of its hex digits; without one, the revision that Runback would choose
    #[arg(value_name = "TARGET")]
    target: Option<String>,

    /// Pass this gate all the same; may be given several times
    #[arg(long, value_name = "GATE")]
    force: Vec<Forced>,

    /// Why, for the record and for Slack
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

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

/// A gate that a person may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Forced {
    /// The target was rolled back before
    Quarantine,
    /// The target needs another database schema
    Schema,
    /// The target fails, or has failed
    Healthy,
    /// The target fails its probes
    Preflight,
}

impl Forced {
    fn gate(self) -> &'static str {
        match self {
            Self::Quarantine => "quarantine",
            Self::Schema => "schema",
            Self::Healthy => "healthy",
            Self::Preflight => "preflight",
        }
    }
}

/// Rolls a service back by hand.
pub(super) async fn rollback(arguments: RollbackArgs) -> Result<(), Stopped> {
    arguments.consent.can_be_had()?;
    let subject = arguments.subject.subject(&arguments.service).map_err(bad)?;
    let person = Person::sign_in(arguments.google.clone()).await?;
    let by = person.account().await;
    let order = Order { arguments: &arguments, subject: &subject, person: &person, by };
    let drive =
        Drive { person: &person, subject: &subject, consent: arguments.consent, json: arguments.json };
    match drive.run(async |seen| order.prepare(seen).await).await? {
        Driven::Over => Ok(()),
        Driven::Done(done) => order.done(&done),
    }
}

struct Order<'a> {
    arguments: &'a RollbackArgs,
    subject: &'a Subject,
    person: &'a Person,
    by: Option<String>,
}

impl Order<'_> {
    async fn prepare(&self, seen: &Seen) -> Result<Prepared, Stopped> {
        let Self { subject, person, arguments, .. } = self;
        let record = seen
            .record
            .as_ref()
            .map_err(|why| refused(format!("record: {why}. It is left alone, and so is the traffic")))?;
        let situation = seen.situation(subject, record);
        let wanted = arguments.target.as_deref().map_or(Wish::Best, Wish::Named);
        let forced: Vec<&'static str> = arguments.force.iter().map(|force| force.gate()).collect();
        let service = &seen.document.service;
        let plan = match situation.weigh(wanted) {
            Answer::Planned(plan) => plan,
            Answer::Nothing(target) => {
                return Ok(Prepared::Nothing(format!("{} serves all traffic already", target.name)));
            }
            Answer::NoTarget(gates) => {
                if let Wish::Named(text) = wanted {
                    self.list_what_there_is(seen, text);
                }
                let head = format!("{}: there is no such target", subject.name.service);
                let shift = Move { gates, ..Move::none(service.split()) };
                return Ok(Prepared::Move(Box::new(Draft { head, tail: String::new(), shift, probe: None })));
            }
        };
        let mut gates = plan.gates.clone();
        let mut probe = None;
        if let Some(wish) = wish(subject, service, &plan.target.name)
            && gates.iter().all(|gate| gate.passed || forced.contains(&gate.name))
        {
            let unprobed = |why: &str| {
                Some(Gate { name: "preflight", passed: true, detail: format!("not probed: {why}") })
            };
            let gate = match &wish.url {
                Some(url) => {
                    let probed = patiently("Probing the target", person.probe(&wish, url)).await;
                    Some(situation.preflight(&probed))
                }
                None if arguments.consent.dry_run => unprobed("that takes a tag, and a dry run writes none"),
                None if forced.contains(&"preflight") => unprobed("that would take a tag"),
                None => {
                    probe = Some(Box::new(wish));
                    None
                }
            };
            gates.extend(gate);
        }
        let (rollback, bad) = self.entry(seen, &plan);
        let exists = |name: &str| seen.revisions.iter().any(|revision| revision.name == name);
        let id = rollback.id.clone();
        let annotation =
            record_json::write(&record.with(rollback, bad, exists), seen.document.record.as_deref());
        let to = Destination::Revision(plan.target.name.clone());
        let shift = Move {
            from: service.split(),
            to: Split::from([(plan.target.name.clone(), steps::ALL)]),
            gates,
            forced,
            forces: true,
            list: traffic::all_to(service, to),
            record: annotation,
            id: Some(id),
        };
        let (head, tail) = self.words(&plan, probe.is_some());
        Ok(Prepared::Move(Box::new(Draft { head, tail, shift, probe })))
    }

    /// What could have been meant, where nothing is called like that.
    fn list_what_there_is(&self, seen: &Seen, text: &str) {
        let mut revisions: Vec<&Revision> = seen.revisions.iter().collect();
        revisions.sort_by_key(|revision| std::cmp::Reverse(revision.created_at));
        let row = |revision: &&Revision| {
            let commit = revision.commit.iter().flat_map(|commit| commit.chars().take(7)).collect();
            let old = text::span(age(revision.created_at, seen.at.at));
            let ready = if revision.ready { String::new() } else { "not ready".to_owned() };
            [revision.name.clone(), commit, old, ready].map(|cell| (Tone::Plain, cell)).to_vec()
        };
        let rows: Vec<_> = revisions.iter().take(LISTED).map(row).collect();
        let head = ["REVISION", "COMMIT", "AGE", ""];
        eprintln!(
            "{} has no revision {text}, nor one of a commit {text}. It has:",
            self.subject.name.service
        );
        eprint!("{}", table(&head, &rows, Paint::of_errors()));
    }

    /// What goes on record, and into quarantine.
    fn entry(&self, seen: &Seen, plan: &Plan) -> (Rollback, Option<Quarantined>) {
        let at = seen.at.at;
        let reason = self.arguments.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
        let Plan { culprit, target, from, .. } = plan;
        let rollback = Rollback {
            id: new_id(at, &self.subject.name),
            incident: format!("{BY_HAND}-{}", at.timestamp()),
            alerted: None,
            at,
            moved: None,
            culprit: culprit.name.clone(),
            from: from.clone(),
            latest: traffic::as_latest(&seen.document.service, &culprit.name),
            slow: false,
            slower_than: None,
            target: target.name.clone(),
            step: steps::ALL,
            trial: false,
            phase: Phase::Switching,
            reason: BY_HAND.to_owned(),
            why: reason.map(str::to_owned),
            by: self.by.clone(),
        };
        (rollback, plan.goes_back().then(|| Quarantined::of(culprit, target, at)))
    }

    /// What it is, and what it brings with it.
    fn words(&self, plan: &Plan, probes: bool) -> (String, String) {
        let named = |revision: &Revision| {
            let commit = revision.commit.as_ref();
            let short = commit
                .map_or(String::new(), |commit| format!(" ({})", commit.chars().take(7).collect::<String>()));
            format!("{}{short}", revision.name)
        };
        let Self { subject, .. } = self;
        let head =
            format!("{}: from {} to {}", subject.name.service, named(&plan.culprit), named(&plan.target));
        let mut tail = String::new();
        if probes {
            tail += &format!("{} is probed by a tag before the traffic moves. ", plan.target.name);
        }
        if plan.goes_back() {
            tail += &format!("{} goes into quarantine. ", plan.culprit.name);
        }
        tail += &format!("Later deploys get no traffic until `runback release {}`.", subject.called);
        (head, tail)
    }

    fn done(&self, done: &Done) -> Result<(), Stopped> {
        let Self { subject, arguments, .. } = self;
        if arguments.json {
            return say(&format!("{:#}", done.shift.to_json(subject, true, false)));
        }
        let called = &subject.called;
        let mut text = format!(
            "Done in {:.1} s: {} serves {}.",
            done.took.as_secs_f64(),
            subject.name.service,
            split(&done.shift.to)
        );
        if let Some(probed) = &done.probed {
            text += &format!("\nProbed: {probed}.");
        }
        text += &format!(
            "\nLater deploys get no traffic until you release it:\n  runback release {called}\nTo take this back:\n  runback undo {called}"
        );
        say(&text)
    }
}
