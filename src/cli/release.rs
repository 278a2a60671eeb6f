//! `runback release`: gives a pinned service's traffic back to LATEST, so that deploys are served again.

use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use super::drive::{Done, Draft, Drive, Driven, Prepared};
use super::person::{Person, Place, Seen};
use super::preflight::wish;
use super::terminal::{Consent, patiently};
use super::write::{Move, Outcome};
use super::{Stopped, failed, refused};
use crate::clients::cloud_run::ServiceDocument;
use crate::config::Subject;
use crate::domain::by_hand::Release;
use crate::domain::service::{Destination, Split};
use crate::domain::{steps, traffic};
use crate::record_json;

/// Cloud Run calls a revision its latest ready one soon after it has begun to serve.
const BECOMES_LATEST: Duration = Duration::from_secs(10);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// What `runback release` is told.
#[derive(Debug, Args)]
pub(super) struct ReleaseArgs {
    /// The service: its short name, or projects/P/locations/R/services/S
    #[arg(value_name = "SERVICE", required_unless_present = "service")]
    positional: Option<String>,

    /// Another spelling of SERVICE
    #[arg(long, value_name = "SERVICE", conflicts_with = "positional")]
    service: Option<String>,

    #[command(flatten)]
    consent: Consent,

    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: Place,
}

/// Releases a service.
pub(super) async fn release(arguments: ReleaseArgs) -> Result<(), Stopped> {
    let ReleaseArgs { positional, service, consent, json, place } = arguments;
    consent.can_be_had()?;
    let (subject, person) = place.open(&positional.or(service).unwrap_or_default()).await?;
    let drive = Drive { person: &person, subject: &subject, consent, json };
    let done = match drive.run(async |seen| prepare(seen, &subject, &person).await).await? {
        Driven::Over => return Ok(()),
        Driven::Done(done) => follow_latest(&person, *done).await?,
    };
    let newest = done.shift.to.keys().next().map_or("", String::as_str);
    let now = format!("sends all traffic to LATEST ({newest}). Later deploys are served again");
    done.report(&subject, json, &now, "")
}

async fn prepare(seen: &Seen, subject: &Subject, person: &Person) -> Result<Prepared, Stopped> {
    let record = seen
        .record
        .as_ref()
        .map_err(|why| refused(format!("record: {why}. Nobody can tell what is in quarantine")))?;
    let service = &seen.document.service;
    let situation = seen.situation(subject, record);
    let name = &subject.name.service;
    let (newest, mut gates) = match situation.release() {
        Release::Nothing(newest) => {
            return Ok(Prepared::Nothing(format!("{name} sends all traffic to LATEST ({newest}) already")));
        }
        Release::NoTarget(gates) => {
            let head = format!("{name}: there is nothing to release");
            let shift = Move { gates, ..Move::none(service.split()) };
            return Ok(Prepared::Move(Box::new(Draft { head, tail: String::new(), shift, probe: None })));
        }
        Release::Planned(newest, gates) => (newest, gates),
    };
    if let Some(wish) = wish(subject, service, &newest.name)
        && let Some(url) = &wish.url
        && gates.iter().all(|gate| gate.passed)
    {
        let probed = patiently("Probing the newest revision", person.probe(&wish, url)).await;
        gates.push(situation.preflight(&probed));
    }
    // Cloud Run was seen not to call a revision its latest ready one before that has served (agentic-org#606). Then LATEST
    // would mean the one that was rolled back, so the newest gets the traffic by its name first.
    let to = match service.latest_ready.as_deref() == Some(&newest.name) {
        true => Destination::Latest,
        false => Destination::Revision(newest.name.clone()),
    };
    let shift = Move {
        to: Split::from([(newest.name.clone(), steps::ALL)]),
        gates,
        list: traffic::all_to(service, to),
        record: record_json::write(record, seen.document.record.as_deref()),
        ..Move::none(service.split())
    };
    let head = format!("{name}: all traffic to LATEST ({})", newest.name);
    let tail = "Later deploys are served as they come.".to_owned();
    Ok(Prepared::Move(Box::new(Draft { head, tail, shift, probe: None })))
}

/// Where the traffic had to go to the newest revision by its name, it is given to LATEST once that means the same.
async fn follow_latest(person: &Person, done: Done) -> Result<Done, Stopped> {
    let named = |document: &ServiceDocument| {
        let mut targets = document.service.spec_traffic.iter().filter(|target| target.percent > 0);
        targets.find_map(|target| match &target.to {
            Destination::Revision(name) => Some(name.clone()),
            Destination::Latest => None,
        })
    };
    let Some(newest) = named(&done.document) else { return Ok(done) };
    let unfinished = |why: &str| {
        failed(format!(
            "all traffic goes to {newest}, but by its name: {why}; later deploys get none. Try again"
        ))
    };
    let mut document = done.document;
    let end = Instant::now() + BECOMES_LATEST;
    while document.service.latest_ready.as_deref() != Some(&newest) {
        if Instant::now() + PAUSE > end {
            let latest = document.service.latest_ready.as_deref().unwrap_or("none");
            return Err(unfinished(&format!("Cloud Run still calls {latest} its latest ready revision")));
        }
        sleep(PAUSE).await;
        document = person.service(&document.service.name).await?;
    }
    let shift = Move { list: traffic::all_to(&document.service, Destination::Latest), ..done.shift };
    match shift.carry_out(person, &document).await? {
        Outcome::Done(document, took) => {
            Ok(Done { document: *document, shift, took: done.took + took, probed: done.probed })
        }
        Outcome::Stuck(why) => Err(unfinished(&why)),
        Outcome::Again(why) => Err(unfinished(&why)),
    }
}
