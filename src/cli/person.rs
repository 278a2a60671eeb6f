//! What every command of a person needs: Google, who they are, and the service as it stands.

use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::terminal::patiently;
use super::{Stopped, bad, failed, google, network, refused};
use crate::clients::cloud_run::{CloudRun, ServiceDocument};
use crate::clients::google::{CallError, Google};
use crate::clients::metadata::Metadata;
use crate::clients::monitoring::Monitoring;
use crate::clients::probe::Prober;
use crate::clients::registry::Registry;
use crate::config::{GoogleArgs, GoogleConfig, Subject, SubjectArgs};
use crate::domain::by_hand::Situation;
use crate::domain::evidence::{Axis, Evidence};
use crate::domain::record::Record;
use crate::domain::service::{Revision, ServiceName};
use crate::record_json;
use crate::respond::Received;

/// Reading the service and its revisions.
const READ: Duration = Duration::from_secs(8);

/// Monitoring gets less: without it a person sees the rest.
const READ_EVIDENCE: Duration = Duration::from_secs(6);

/// Signing in takes one answer, or there is nobody to sign in as.
const SIGN_IN: Duration = Duration::from_millis(1_900);

/// Which service a command is about, and how Google is reached.
#[derive(Debug, Args)]
pub(super) struct Place {
    #[command(flatten)]
    subject: SubjectArgs,

    #[command(flatten)]
    google: GoogleArgs,
}

impl Place {
    /// The service of that name, and who signs in to act on it.
    pub(super) async fn open(&self, service: &str) -> Result<(Subject, Person), Stopped> {
        let subject = self.subject.subject(service).map_err(bad)?;
        let person = Person::sign_in(self.google.clone(), &self.subject).await?;
        Ok((subject, person))
    }
}

/// Google as a person reaches it.
pub(super) struct Person {
    pub(super) cloud_run: CloudRun,
    pub(super) prober: Prober,
    pub(super) registry: Registry,
    monitoring: Monitoring,
    google: Google,
    metadata: Metadata,
    pub(super) config: GoogleConfig,
}

/// A service as it was read.
pub(super) struct Seen {
    pub(super) document: ServiceDocument,
    pub(super) record: Result<Record, String>,
    /// Each with its image as it was deployed.
    pub(super) listed: Vec<(Revision, String)>,
    pub(super) revisions: Vec<Revision>,
    pub(super) evidence: Evidence,
    pub(super) at: Received,
}

impl Person {
    /// Signs in. Whoever cannot hears of it before anything else.
    async fn sign_in(arguments: GoogleArgs, place: &SubjectArgs) -> Result<Self, Stopped> {
        let config = arguments.check_with(place.access_token()).map_err(bad)?;
        let transport = network()?;
        let metadata = Metadata::of_this_machine().map_err(failed)?;
        let google = google(&config, &transport, &metadata)?;
        // With any other error every call tries again, and says what is wrong.
        if let Err(error @ CallError::SignedOut(_)) = google.warm_up(Instant::now() + SIGN_IN).await {
            return Err(failed(error));
        }
        Ok(Self {
            cloud_run: CloudRun::new(google.clone(), &config.run_url),
            monitoring: Monitoring::new(google.clone(), &config.monitoring_url),
            prober: Prober::new(transport, metadata.clone()),
            registry: Registry::new(google.clone(), &config.registry_url),
            google,
            metadata,
            config,
        })
    }

    /// The account that acts, where it is known.
    pub(super) async fn account(&self) -> Option<String> {
        let deadline = Instant::now() + Duration::from_millis(500);
        match self.google.account(deadline).await {
            Some(account) => Some(account),
            None => self.metadata.account(deadline).await,
        }
    }

    /// Reads the service, its revisions and its requests, all at once.
    pub(super) async fn look(&self, subject: &Subject) -> Result<Seen, Stopped> {
        let name = &subject.name;
        let at = Received::now();
        let deadline = at.instant + READ;
        let reads = async {
            tokio::join!(
                self.cloud_run.service(name, deadline),
                self.cloud_run.revisions_with_images(name, deadline),
                self.monitoring.evidence(
                    name,
                    Axis::Errors,
                    &subject.rules,
                    at.at,
                    at.instant + READ_EVIDENCE
                )
            )
        };
        let (document, listed, evidence) = patiently(&format!("Reading {}", name.service), reads).await;
        let explain = |error| self.explain(name, error);
        let (document, listed) = (document.map_err(explain)?, listed.map_err(explain)?);
        let record = record_json::parse(document.record.as_deref()).map_err(|error| error.to_string());
        let revisions = listed.iter().map(|(revision, _)| revision.clone()).collect();
        Ok(Seen { document, record, listed, revisions, evidence, at })
    }

    /// Reads the service alone.
    pub(super) async fn service(&self, name: &ServiceName) -> Result<ServiceDocument, Stopped> {
        let read = self.cloud_run.service(name, Instant::now() + READ);
        let read = patiently(&format!("Reading {}", name.service), read).await;
        read.map_err(|error| self.explain(name, error))
    }

    /// Why a call to Cloud Run came to nothing, and what helps.
    pub(super) fn explain(&self, name: &ServiceName, error: CallError) -> Stopped {
        match error {
            CallError::Denied { message, permission } => failed(format!(
                "the permission {permission} is missing: {message}\n  {}",
                grant(name, &permission, self.config.account.as_deref())
            )),
            CallError::NotFound(message) => failed(format!("Cloud Run does not know {name}: {message}")),
            error => failed(error),
        }
    }
}

impl Seen {
    /// The record, for a command that writes it.
    pub(super) fn readable_record(&self) -> Result<&Record, Stopped> {
        let record = self.record.as_ref();
        record.map_err(|why| refused(format!("record: {why}. It is left alone, and so is the traffic")))
    }

    /// What the gates look at; an unreadable record counts as an empty one, which no command writes over.
    pub(super) fn situation<'a>(&'a self, subject: &'a Subject, empty: &'a Record) -> Situation<'a> {
        Situation {
            service: &self.document.service,
            record: self.record.as_ref().unwrap_or(empty),
            revisions: &self.revisions,
            evidence: &self.evidence,
            rules: &subject.rules,
            now: self.at.at,
        }
    }
}

/// How to be given a permission.
pub(super) fn grant(name: &ServiceName, permission: &str, account: Option<&str>) -> String {
    let ServiceName { project, region, service } = name;
    let member = match account {
        Some(account) if account.ends_with(".gserviceaccount.com") => format!("serviceAccount:{account}"),
        Some(account) => format!("user:{account}"),
        None => "user:YOUR_ACCOUNT".to_owned(),
    };
    let of_project = |role: &str| {
        format!("gcloud projects add-iam-policy-binding {project} --member {member} --role {role}")
    };
    let of_service = |role: &str| {
        format!(
            "gcloud run services add-iam-policy-binding {service} --region {region} --project {project} --member {member} --role {role}"
        )
    };
    match permission {
        // Listing takes the project.
        "run.revisions.list" | "run.services.list" => of_project("roles/run.viewer"),
        _ if permission.starts_with("run.") && permission.ends_with(".get") => of_service("roles/run.viewer"),
        _ if permission.starts_with("monitoring.") => of_project("roles/monitoring.viewer"),
        _ if permission.starts_with("artifactregistry.") => of_project("roles/artifactregistry.reader"),
        _ if permission.starts_with("iam.") => of_project("roles/iam.serviceAccountUser"),
        _ => of_service("roles/run.developer"),
    }
}
