//! `runback release`: gives a pinned service's traffic back to LATEST, so that deploys are served again.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::clients::cloud_run::{CloudRun, ServiceDocument};
use crate::clients::google::CallError;
use crate::domain::service::{Destination, ServiceName};
use crate::domain::traffic;
use crate::record_json;

const TIME: Duration = Duration::from_secs(60);

/// What became of it, as a sentence.
///
/// # Errors
/// With a sentence: the service cannot be read or written, the record cannot be read, or its newest revision is in
/// quarantine.
pub async fn release(cloud_run: &CloudRun, name: &ServiceName) -> Result<String, String> {
    let deadline = Instant::now() + TIME;
    let mut document = cloud_run.service(name, deadline).await.map_err(explain)?;
    let service = &document.service;
    let record = record_json::parse(document.record.as_deref()).map_err(|error| error.to_string())?;
    if service.in_flight {
        return Err("a deploy is in flight; try again when it has settled".into());
    }
    let latest = service.latest_ready.clone().ok_or("no revision of the service is ready")?;
    if service.spec_traffic.iter().any(|target| target.to == Destination::Latest && target.percent == 100) {
        return Ok(format!("{name} already sends all traffic to LATEST ({latest})"));
    }
    let revisions = cloud_run.revisions(name, deadline).await.map_err(explain)?;
    let ready = revisions.iter().filter(|revision| revision.ready && !revision.deleting);
    let newest =
        ready.max_by_key(|revision| revision.created_at).ok_or("no revision of the service is ready")?;
    // A revision of a rolled-back image is as bad under another name.
    if let Some(entry) = record.ban(newest) {
        return Err(format!(
            "the newest revision is {}, which is in quarantine since {} was rolled back; deploy a fix first",
            newest.name, entry.revision
        ));
    }
    let newest = newest.name.as_str();
    let record = record_json::write(&record, document.record.as_deref());
    // Cloud Run was seen not to call a revision its latest ready one before that has served (agentic-org#606). Then LATEST
    // would mean the one that was rolled back, so the newest gets the traffic by its name first.
    if latest != newest {
        let by_name = Destination::Revision(newest.to_owned());
        document = write(cloud_run, &document, by_name, &record, newest, deadline).await?;
        while document.service.latest_ready.as_deref() != Some(newest) {
            document = read_again(cloud_run, name, deadline).await?.ok_or_else(|| {
                format!(
                    "all traffic goes to {newest}, but by its name: Cloud Run still calls {latest} its latest ready revision; try again later"
                )
            })?;
        }
    }
    write(cloud_run, &document, Destination::Latest, &record, newest, deadline).await?;
    Ok(format!("{name} sends all traffic to LATEST ({newest}); later deploys are served again"))
}

/// Sends all traffic to a destination, and waits until the status shows it at the revision that this means.
async fn write(
    cloud_run: &CloudRun,
    document: &ServiceDocument,
    to: Destination,
    record: &str,
    revision: &str,
    deadline: Instant,
) -> Result<ServiceDocument, String> {
    let list = traffic::all_to(&document.service, to);
    let mut written = match cloud_run.replace(document, &list, record, deadline).await {
        Ok(written) => written,
        Err(CallError::Conflict(_)) => {
            return Err("somebody else changed the service meanwhile; look, then try again".into());
        }
        Err(error) => return Err(explain(error)),
    };
    while written.service.split().get(revision) != Some(&100) {
        let again = read_again(cloud_run, &document.service.name, deadline).await?;
        written = again.ok_or("it is written, but the status does not show it within a minute")?;
    }
    Ok(written)
}

/// Reads the service a second later; nothing when the time is up.
async fn read_again(
    cloud_run: &CloudRun,
    name: &ServiceName,
    deadline: Instant,
) -> Result<Option<ServiceDocument>, String> {
    const PAUSE: Duration = Duration::from_secs(1);
    if Instant::now() + PAUSE >= deadline {
        return Ok(None);
    }
    sleep(PAUSE).await;
    cloud_run.service(name, deadline).await.map(Some).map_err(explain)
}

fn explain(error: CallError) -> String {
    match error {
        CallError::Denied { message, permission } => {
            format!("the permission {permission} is missing: {message}")
        }
        error => error.to_string(),
    }
}
