//! `runback release`: gives a pinned service's traffic back to LATEST, so that deploys are served again.

use std::time::Duration;

use tokio::time::Instant;

use crate::clients::cloud_run::CloudRun;
use crate::clients::google::CallError;
use crate::domain::service::{Destination, ServiceName};
use crate::domain::traffic;
use crate::record_json;

const TIME: Duration = Duration::from_secs(60);

/// What became of it, as a sentence.
///
/// # Errors
/// With a sentence: the service cannot be read or written, the record cannot be read, or LATEST is in quarantine.
pub async fn release(cloud_run: &CloudRun, name: &ServiceName) -> Result<String, String> {
    let deadline = Instant::now() + TIME;
    let explain = |error: CallError| match error {
        CallError::Denied { message, permission } => {
            format!("the permission {permission} is missing: {message}")
        }
        error => error.to_string(),
    };
    let document = cloud_run.service(name, deadline).await.map_err(explain)?;
    let service = &document.service;
    let record = record_json::parse(document.record.as_deref()).map_err(|error| error.to_string())?;
    let latest = service.latest_ready.as_deref().ok_or("no revision of the service is ready")?;
    if service.in_flight {
        return Err("a deploy is in flight; try again when it has settled".into());
    }
    if service.spec_traffic.iter().any(|target| target.to == Destination::Latest && target.percent == 100) {
        return Ok(format!("{name} already sends all traffic to LATEST ({latest})"));
    }
    let revisions = cloud_run.revisions(name, deadline).await.map_err(explain)?;
    let revision = revisions.iter().find(|revision| revision.name == latest);
    let revision = revision.ok_or("Cloud Run does not list its newest ready revision")?;
    // A revision of a rolled-back image is as bad under another name.
    if let Some(entry) = record.ban(revision) {
        return Err(format!(
            "LATEST is {latest}, which is in quarantine since {} was rolled back; deploy a fix first",
            entry.revision
        ));
    }
    let text = record_json::write(&record);
    let mut written = match cloud_run.replace(&document, &traffic::released(service), &text, deadline).await {
        Ok(written) => written,
        Err(CallError::Conflict(_)) => {
            return Err("somebody else changed the service meanwhile; look, then try again".into());
        }
        Err(error) => return Err(explain(error)),
    };
    while written.service.split().get(latest) != Some(&100) {
        if Instant::now() + Duration::from_secs(1) >= deadline {
            return Err("it is written, but the status does not show it within a minute".into());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        written = cloud_run.service(name, deadline).await.map_err(explain)?;
    }
    Ok(format!("{name} sends all traffic to LATEST ({latest}); later deploys are served again"))
}
