//! `runback rollback`: all traffic to a revision, by hand, with the gates that a running Runback passes.

use clap::{Args, ValueEnum};

use super::drive::{Done, Draft, Drive, Driven, Prepared};
use super::images::{deploy_of, of_commit};
use super::person::{Person, Place, Seen};
use super::preflight::wish;
use super::status::split;
use super::terminal::{Consent, Paint, Tone, patiently, table};
use super::write::{Move, new_id};
use super::{Stopped, failed, refused, say};
use crate::clients::registry::Image;
use crate::config::Subject;
use crate::domain::by_hand::{Answer, Plan, Wish, same_commit};
use crate::domain::decision::Gate;
use crate::domain::record::{BY_HAND, Phase, Quarantined, Record, Rollback, age};
use crate::domain::service::{Destination, Revision, Split};
use crate::domain::{steps, text, traffic};
use crate::record_json;

/// So often a service that somebody else keeps changing is looked at again.
const TRIES: usize = 2;

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

    /// The commit's revision is gone and its image is not: deploy that with today's settings, then move the traffic
    #[arg(long, requires = "target")]
    from_image: bool,

    #[command(flatten)]
    consent: Consent,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: Place,
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
    let (subject, person) = arguments.place.open(&arguments.service).await?;
    let by = person.account().await;
    let target = arguments.target.clone();
    let mut order =
        Order { arguments: &arguments, subject: &subject, person: &person, by, target, old_image: false };
    if arguments.from_image && !order.make_revision().await? {
        return Ok(());
    }
    // A revision that was made for this has been asked for already.
    let consent = Consent { yes: arguments.consent.yes || order.old_image, ..arguments.consent };
    let drive = Drive { person: &person, subject: &subject, consent, json: arguments.json };
    let driven = drive.run(async |seen| order.prepare(seen).await).await;
    if order.old_image && driven.is_err() {
        person.untag(&person.service(&subject.name).await?).await;
    }
    match driven? {
        Driven::Over => Ok(()),
        Driven::Done(done) => order.done(&done),
    }
}

struct Order<'a> {
    arguments: &'a RollbackArgs,
    subject: &'a Subject,
    person: &'a Person,
    by: Option<String>,
    /// What is to serve.
    target: Option<String>,
    /// Whether that is a revision which was made of an image older than what serves.
    old_image: bool,
}

impl Order<'_> {
    async fn prepare(&self, seen: &Seen) -> Result<Prepared, Stopped> {
        let Self { subject, person, arguments, .. } = self;
        let record = seen.readable_record()?;
        let situation = seen.situation(subject, record);
        let wanted = self.target.as_deref().map_or(Wish::Best, Wish::Named);
        let forced: Vec<&'static str> = arguments.force.iter().map(|force| force.gate()).collect();
        let service = &seen.document.service;
        let plan = match situation.weigh(wanted) {
            Answer::Planned(plan) => plan,
            Answer::Nothing(target) => {
                return Ok(Prepared::Nothing(format!("{} serves all traffic already", target.name)));
            }
            Answer::NoTarget(gates) => {
                if let Wish::Named(text) = wanted {
                    self.list_what_there_is(seen, text).await;
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
    async fn list_what_there_is(&self, seen: &Seen, text: &str) {
        let mut revisions: Vec<&Revision> = seen.revisions.iter().collect();
        revisions.sort_by_key(|revision| std::cmp::Reverse(revision.created_at));
        let row = |revision: &&Revision| {
            let commit = revision.commit.as_deref().map_or(String::new(), text::short_commit);
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
        let images = match self.person.images(seen).await {
            Ok(images) => images,
            Err(error) => {
                let (_, why) = self.person.explain(&self.subject.name, error);
                eprintln!("Which images there are cannot be read: {why}");
                return;
            }
        };
        if let Some((_, commit)) = of_commit(&images, text) {
            eprintln!("\nIts image is still there, though: add --from-image to deploy {commit} again.");
        }
        let known = |image: &Image| {
            seen.revisions.iter().any(|revision| revision.digest.as_deref() == Some(&image.digest))
        };
        let old: Vec<_> = images
            .iter()
            .filter(|image| !known(image) && !image.tags.is_empty())
            .take(LISTED)
            .map(|image| {
                let age = text::span(age(image.uploaded_at, seen.at.at));
                [image.tags.join(" "), age].map(|cell| (Tone::Plain, cell)).to_vec()
            })
            .collect();
        if !old.is_empty() {
            eprintln!("\nImages without a revision (rollback COMMIT --from-image deploys one again):");
            eprint!("{}", table(&["TAGS", "AGE"], &old, Paint::of_errors()));
        }
    }

    /// Makes a revision of the commit's image, at 0 % of the traffic, and aims at that from now on. False, when there is
    /// nothing more to do: a dry run has shown it.
    async fn make_revision(&mut self) -> Result<bool, Stopped> {
        let Self { subject, person, arguments, .. } = *self;
        let text = arguments.target.as_deref().unwrap_or_default();
        for _ in 0..TRIES {
            let seen = person.look(subject).await?;
            let empty = Record::default();
            if seen.record.is_err() || seen.situation(subject, &empty).named(text).is_some() {
                // Nothing has to be made; the gates say the rest.
                return Ok(true);
            }
            let images = person.images(&seen).await.map_err(|error| person.explain(&subject.name, error))?;
            let Some((image, commit)) = of_commit(&images, text) else { return Ok(true) };
            let deploy = deploy_of(&seen.document.service, image, commit);
            let shift = self.of_image(&seen, image, commit, &deploy.revision);
            let head = format!(
                "{}: {} from the image of {commit}, pushed {} ago, with today's settings",
                subject.name.service,
                deploy.revision,
                text::span(age(image.uploaded_at, seen.at.at))
            );
            let shown = format!("{head}\n\n{}", shift.to_text(Paint::of_errors()));
            if let Some(gate) = shift.stopped_by() {
                eprintln!("{shown}");
                if arguments.json {
                    say(&format!("{:#}", shift.to_json(subject, false, arguments.consent.dry_run)))?;
                }
                return Err(refused(format!("{}: {}", gate.name, gate.detail)));
            }
            if arguments.consent.dry_run {
                let shown = format!("{head}\n\n{}", shift.to_text(Paint::of_output()));
                let text = match arguments.json {
                    true => format!("{:#}", shift.to_json(subject, false, true)),
                    false => format!("{shown}\nA dry run: nothing was written."),
                };
                say(&text)?;
                return Ok(false);
            }
            eprintln!("{shown}");
            if !arguments.consent.asked("Deploy it at 0 %, then move the traffic?")? {
                return Err(failed("nothing was written"));
            }
            if person.deploy_image(subject, &seen.document, &deploy).await?.is_some() {
                (self.target, self.old_image) = (Some(deploy.revision), true);
                return Ok(true);
            }
            eprintln!("runback: somebody else changed the service meanwhile; looking again");
        }
        Err(failed("somebody else keeps changing the service; nothing was written"))
    }

    /// The move to a revision that is still to be made.
    fn of_image(&self, seen: &Seen, image: &Image, commit: &str, revision: &str) -> Move {
        let service = &seen.document.service;
        let gate = |name, passed, detail: String| Gate { name, passed, detail };
        let banned = seen.record.iter().flat_map(|record| &record.quarantine).find(|entry| {
            let same_commit = entry.commit.as_ref().is_some_and(|known| same_commit(known, commit));
            entry.digest.as_ref() == Some(&image.digest) || same_commit
        });
        let quarantine = match banned {
            Some(entry) => format!("it is what {} was rolled back for", entry.revision),
            None => "it was not rolled back before".to_owned(),
        };
        let settled = if service.in_flight { "a deploy is in flight" } else { "no deploy is in flight" };
        Move {
            to: Split::from([(revision.to_owned(), steps::ALL)]),
            gates: vec![
                gate("settled", !service.in_flight, settled.to_owned()),
                gate("target", true, format!("its revision is gone, the image {} is there", image.uri)),
                gate("quarantine", banned.is_none(), quarantine),
                gate(
                    "schema",
                    true,
                    "nobody knows what the old image needs; its settings are today's".to_owned(),
                ),
                gate("healthy", true, "unproven: a new revision has no history".to_owned()),
            ],
            forced: self.arguments.force.iter().map(|force| force.gate()).collect(),
            forces: true,
            ..Move::none(service.split())
        }
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
        let back = plan.goes_back() || self.old_image;
        (rollback, back.then(|| Quarantined::of(culprit, target, at)))
    }

    /// What it is, and what it brings with it.
    fn words(&self, plan: &Plan, probes: bool) -> (String, String) {
        let named = |revision: &Revision| {
            let commit = revision.commit.as_deref();
            let short = commit.map_or(String::new(), |commit| format!(" ({})", text::short_commit(commit)));
            format!("{}{short}", revision.name)
        };
        let Self { subject, .. } = self;
        let head =
            format!("{}: from {} to {}", subject.name.service, named(&plan.culprit), named(&plan.target));
        let mut tail = String::new();
        if probes {
            tail += &format!("{} is probed by a tag before the traffic moves. ", plan.target.name);
        }
        if plan.goes_back() || self.old_image {
            tail += &format!("{} goes into quarantine. ", plan.culprit.name);
        }
        tail += &format!("Later deploys get no traffic until `runback release {}`.", subject.called);
        (head, tail)
    }

    fn done(&self, done: &Done) -> Result<(), Stopped> {
        let called = &self.subject.called;
        let next = format!(
            "\nLater deploys get no traffic until you release it:\n  runback release {called}\nTo take this back:\n  runback undo {called}"
        );
        done.report(self.subject, self.arguments.json, &format!("serves {}", split(&done.shift.to)), &next)
    }
}
