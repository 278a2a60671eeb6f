//! The guarded service: its name, its revisions and its traffic.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};

use super::hold::Hold;

/// The full name of a Cloud Run service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    /// Project id.
    pub project: String,
    /// Region, for example `asia-northeast1`.
    pub region: String,
    /// The service's short name.
    pub service: String,
}

/// A text that names no service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a service is named projects/P/locations/R/services/S")]
pub struct NoService;

impl FromStr for ServiceName {
    type Err = NoService;

    fn from_str(text: &str) -> Result<Self, NoService> {
        match text.split('/').collect::<Vec<_>>()[..] {
            ["projects", project, "locations", region, "services", service]
                if [project, region, service].iter().all(|part| !part.is_empty()) =>
            {
                Ok(Self { project: project.into(), region: region.into(), service: service.into() })
            }
            _ => Err(NoService),
        }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "projects/{}/locations/{}/services/{}", self.project, self.region, self.service)
    }
}

/// The service as Cloud Run showed it at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// Where its requests arrive (`status.url`).
    pub url: String,
    /// What the spec asks for. Writes start from here.
    pub spec_traffic: Vec<TrafficTarget>,
    /// What really happens (`status.traffic`). Decisions start from here.
    pub status_traffic: Vec<TrafficTarget>,
    /// Where a traffic tag leads to a revision, whatever its share, by the status.
    pub tagged: BTreeMap<String, String>,
    /// Whether a change is being rolled out: the controller has not caught up with the spec yet.
    pub in_flight: bool,
    /// What the condition `Ready` says as long as it is not true; for people.
    pub trouble: Option<String>,
    /// The newest revision that became ready: what LATEST means.
    pub latest_ready: Option<String>,
    /// Who wants Runback to keep its hands off, if somebody has said so; it may be over.
    pub hold: Option<Hold>,
}

/// One entry of a traffic list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficTarget {
    /// What the entry points at. In a status LATEST is resolved to a revision.
    pub to: Destination,
    /// Percent of the requests; 0 for an entry that only carries a tag.
    pub percent: u8,
    /// Traffic tag: a URL of its own.
    pub tag: Option<String>,
}

/// What a traffic target points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// The newest ready revision, whatever it is.
    Latest,
    /// One revision, by its short name.
    Revision(String),
}

/// One revision of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Short name.
    pub name: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// Whether its `Ready` condition is true. At 0 % it stays ready with reason `Retired`.
    pub ready: bool,
    /// Whether somebody has deleted it: it stays in the list, ready, until Cloud Run has removed it.
    pub deleting: bool,
    /// The digest of the application's image, `sha256:…`.
    pub digest: Option<String>,
    /// The commit it was built from: label `commit-sha`, else a tag of the application's image that is a commit hash.
    pub commit: Option<String>,
    /// Label `runback-schema`: the database schema that it needs.
    pub schema: Option<String>,
}

/// A split: percent by revision, without the zeros.
pub type Split = BTreeMap<String, u8>;

impl Service {
    /// How requests are split now, by the status.
    #[must_use]
    pub fn split(&self) -> Split {
        added_up(&self.status_traffic, |to| match to {
            Destination::Revision(name) => Some(name),
            Destination::Latest => None,
        })
    }

    /// How requests are to be split, by the spec, with LATEST resolved; under no name, when it means nothing yet.
    #[must_use]
    pub fn spec_split(&self) -> Split {
        added_up(&self.spec_traffic, |to| Some(self.resolve(to).unwrap_or_default()))
    }

    /// The hold that is in force, if one is.
    #[must_use]
    pub fn held(&self, now: DateTime<Utc>) -> Option<&Hold> {
        self.hold.as_ref().filter(|hold| hold.is_on(now))
    }

    /// The revision that a destination means; nothing when no revision is ready.
    #[must_use]
    pub fn resolve<'a>(&'a self, to: &'a Destination) -> Option<&'a str> {
        match to {
            Destination::Latest => self.latest_ready.as_deref(),
            Destination::Revision(name) => Some(name),
        }
    }
}

/// Percent by name, without the zeros and what has no name.
fn added_up<'a>(targets: &'a [TrafficTarget], name: impl Fn(&'a Destination) -> Option<&'a str>) -> Split {
    let mut split = Split::new();
    for target in targets.iter().filter(|target| target.percent > 0) {
        if let Some(name) = name(&target.to) {
            *split.entry(name.to_owned()).or_insert(0) += target.percent;
        }
    }
    split
}
