//! What we read of Cloud Run's objects (discovery document run.v1).

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::domain::service::{Destination, Revision, TrafficTarget};

#[derive(Deserialize)]
pub(super) struct WireService {
    pub(super) metadata: WireMetadata,
    pub(super) spec: WireSpec,
    #[serde(default)]
    pub(super) status: WireStatus,
}

#[derive(Deserialize)]
pub(super) struct WireMetadata {
    #[serde(default)]
    pub(super) generation: i64,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
pub(super) struct WireSpec {
    #[serde(default)]
    pub(super) traffic: Vec<WireTarget>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WireStatus {
    pub(super) observed_generation: i64,
    pub(super) conditions: Vec<WireCondition>,
    pub(super) traffic: Vec<WireTarget>,
    pub(super) url: Option<String>,
    #[serde(rename = "latestReadyRevisionName")]
    pub(super) latest_ready: Option<String>,
    #[serde(rename = "latestCreatedRevisionName")]
    pub(super) latest_created: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct WireCondition {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) status: String,
    pub(super) message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireTarget {
    pub(super) revision_name: Option<String>,
    #[serde(default)]
    pub(super) percent: Option<u8>,
    pub(super) tag: Option<String>,
    pub(super) url: Option<String>,
}

impl WireTarget {
    /// The revision that a tag leads to, and by which URL.
    pub(super) fn tagged(&self) -> Option<(String, String)> {
        self.tag.as_ref().filter(|tag| !tag.is_empty())?;
        Some((self.revision_name.clone()?, self.url.clone().filter(|url| !url.is_empty())?))
    }

    /// In a status, LATEST comes with the revision that it means.
    pub(super) fn understood_to(&self) -> Destination {
        self.revision_name
            .clone()
            .filter(|name| !name.is_empty())
            .map_or(Destination::Latest, Destination::Revision)
    }

    pub(super) fn understood(self) -> TrafficTarget {
        TrafficTarget {
            to: self.understood_to(),
            percent: self.percent.unwrap_or(0),
            tag: self.tag.filter(|tag| !tag.is_empty()),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct RevisionList {
    #[serde(default)]
    pub(super) metadata: ListMetadata,
    #[serde(default)]
    pub(super) items: Vec<WireRevision>,
}

#[derive(Deserialize, Default)]
pub(super) struct ListMetadata {
    #[serde(rename = "continue")]
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct WireRevision {
    pub(super) metadata: RevisionMetadata,
    #[serde(default)]
    pub(super) spec: RevisionSpec,
    #[serde(default)]
    pub(super) status: RevisionStatus,
}

#[derive(Deserialize)]
pub(super) struct RevisionMetadata {
    pub(super) name: String,
    #[serde(rename = "creationTimestamp")]
    pub(super) created: String,
    #[serde(rename = "deletionTimestamp")]
    pub(super) deleted: Option<String>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
pub(super) struct RevisionSpec {
    #[serde(default)]
    pub(super) containers: Vec<Container>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) image: String,
    pub(super) ports: Vec<serde::de::IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct RevisionStatus {
    pub(super) conditions: Vec<WireCondition>,
    pub(super) image_digest: Option<String>,
    pub(super) container_statuses: Vec<ContainerStatus>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ContainerStatus {
    pub(super) name: String,
    pub(super) image_digest: Option<String>,
}

impl RevisionSpec {
    /// The container that answers the requests. Among several it is the one with a port; the others are sidecars, in any
    /// order.
    fn app(&self) -> Option<&Container> {
        match &self.containers[..] {
            [only] => Some(only),
            several => several.iter().find(|container| !container.ports.is_empty()),
        }
    }
}

impl RevisionStatus {
    /// The image of that very container, where Cloud Run says so for each. `imageDigest` is documented for one container.
    fn digest_of(&self, app: &Container) -> Option<&str> {
        self.container_statuses.iter().find(|status| status.name == app.name)?.image_digest.as_deref()
    }
}

impl WireRevision {
    /// A revision whose age cannot be read is no candidate for anything.
    pub(super) fn understood(self) -> Option<(Revision, String)> {
        let created_at = chrono::DateTime::parse_from_rfc3339(&self.metadata.created).ok()?.to_utc();
        let app = self.spec.app();
        let image = app.map_or_else(String::new, |container| container.image.clone());
        let labels = &self.metadata.labels;
        let revision = Revision {
            created_at,
            ready: self
                .status
                .conditions
                .iter()
                .any(|condition| condition.kind == "Ready" && condition.status == "True"),
            deleting: self.metadata.deleted.is_some(),
            digest: app
                .and_then(|app| self.status.digest_of(app))
                .or(self.status.image_digest.as_deref())
                .and_then(|image| image.split_once('@'))
                .map(|(_, digest)| digest.into()),
            commit: labels
                .get("commit-sha")
                .filter(|sha| !sha.is_empty())
                .cloned()
                .or_else(|| commit_tag(&image)),
            schema: labels.get("runback-schema").cloned(),
            name: self.metadata.name,
        };
        Some((revision, image))
    }
}

/// The image's tag, when it is a commit hash.
fn commit_tag(image: &str) -> Option<String> {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    let (_, tag) = name.rsplit_once('/')?.1.split_once(':')?;
    let is_hash = (7..=40).contains(&tag.len()) && tag.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
    // `20261122` is a date, not a commit: seven digits and no letter in a hash are one in 200.
    let is_hash = is_hash && (tag.len() == 40 || tag.chars().any(|c| c.is_ascii_lowercase()));
    is_hash.then(|| tag.to_owned())
}
