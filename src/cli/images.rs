//! Images whose revision is gone: what a commit was built into, and a revision that is made of it again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::person::{Person, Seen};
use super::terminal::patiently;
use super::{Stopped, failed};
use crate::clients::cloud_run::{Deploy, ServiceDocument};
use crate::clients::google::CallError;
use crate::clients::registry::{Image, Package};
use crate::config::Subject;
use crate::domain::by_hand::same_commit;
use crate::domain::service::{Destination, Service, TrafficTarget};
use crate::domain::steps;
use crate::domain::text;
use crate::domain::traffic::{self, PROBE_TAG};

/// Reading the registry.
const READ: Duration = Duration::from_secs(6);

/// Waiting for the answer to a write.
const WRITE: Duration = Duration::from_secs(10);

/// Cloud Run pulls the image and starts a container within this, or it is given up.
const READY_WITHIN: Duration = Duration::from_secs(180);

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Longer names Cloud Run refuses.
const LONGEST_NAME: usize = 63;

impl Person {
    /// The images of the service's package, newest first; nothing where its images are not in Artifact Registry.
    pub(super) async fn images(&self, seen: &Seen) -> Result<Vec<Image>, CallError> {
        let newest = seen.listed.iter().max_by_key(|(revision, _)| revision.created_at);
        let Some(package) = newest.and_then(|(_, image)| Package::of(image)) else { return Ok(Vec::new()) };
        let read = self.registry.images(package, Instant::now() + READ);
        patiently("Reading the registry", read).await
    }

    /// Deploys an image at 0 %, and waits until its revision is ready. Nothing, when somebody else has changed the service.
    pub(super) async fn deploy_image(
        &self,
        subject: &Subject,
        read: &ServiceDocument,
        deploy: &Deploy,
    ) -> Result<Option<ServiceDocument>, Stopped> {
        let name = &subject.name;
        let list = beside(&read.service, &deploy.revision);
        let write = self.cloud_run.deploy(read, deploy, &list, Instant::now() + WRITE);
        match patiently("Deploying the image", write).await {
            Ok(_) => {}
            Err(CallError::Conflict(_)) => return Ok(None),
            // Whether it was carried out shows below: the revision is there or not.
            Err(CallError::Unavailable(_)) => {}
            Err(error) => return Err(self.explain(name, error)),
        }
        patiently("Waiting for the new revision", self.revision_is_ready(subject, &deploy.revision))
            .await
            .map(Some)
    }

    async fn revision_is_ready(&self, subject: &Subject, revision: &str) -> Result<ServiceDocument, Stopped> {
        let name = &subject.name;
        let end = Instant::now() + READY_WITHIN;
        let given_up = |why: &str| {
            failed(format!(
                "{revision} does not become ready, and the traffic is where it was: {why}\n  runback status {}",
                subject.called
            ))
        };
        loop {
            let deadline = Instant::now() + READ;
            let (document, revisions) = tokio::join!(
                self.cloud_run.service(name, deadline),
                self.cloud_run.revisions(name, deadline)
            );
            if let (Ok(document), Ok(revisions)) = (document, revisions) {
                let found = revisions.iter().find(|known| known.name == revision);
                let settled = !document.service.in_flight;
                if settled && found.is_some_and(|found| found.ready) {
                    return Ok(document);
                }
                if settled && let Some(why) = &document.service.trouble {
                    self.untag(&document).await;
                    return Err(given_up(&format!("Cloud Run says: {why}")));
                }
                if settled && found.is_none() && Instant::now() + READY_WITHIN > end + READ {
                    return Err(given_up("the write was not carried out"));
                }
            }
            if Instant::now() + PAUSE > end {
                return Err(given_up(&format!("{} s have passed", READY_WITHIN.as_secs())));
            }
            sleep(PAUSE).await;
        }
    }
}

/// The image that was built from a commit, by its tag.
pub(super) fn of_commit<'a>(images: &'a [Image], text: &str) -> Option<(&'a Image, &'a str)> {
    images.iter().find_map(|image| {
        let tag = image.tags.iter().find(|tag| same_commit(tag, text))?;
        Some((image, tag.as_str()))
    })
}

/// What is deployed for an image: a name that no revision has had, and the commit that its tag names.
pub(super) fn deploy_of(service: &Service, image: &Image, commit: &str) -> Deploy {
    let chance = RandomState::new().build_hasher().finish() & 0xffff;
    let suffix = format!("-{}-{chance:04x}", text::short_commit(commit));
    let short: String = service.name.service.chars().take(LONGEST_NAME - suffix.len()).collect();
    Deploy { revision: format!("{short}{suffix}"), image: image.uri.clone(), commit: commit.to_owned() }
}

/// The present split by name, so that nothing follows the new revision, and that one by our tag.
fn beside(service: &Service, revision: &str) -> Vec<TrafficTarget> {
    let by_name = |(name, percent): (String, u8)| TrafficTarget {
        to: Destination::Revision(name),
        percent: percent.min(steps::ALL),
        tag: None,
    };
    let tags = service
        .spec_traffic
        .iter()
        .filter(|target| target.tag.as_deref().is_some_and(|tag| tag != PROBE_TAG));
    let tags = tags.map(|target| TrafficTarget { percent: 0, ..target.clone() });
    let list = service.split().into_iter().map(by_name).chain(tags).collect();
    traffic::with_probe(&Service { spec_traffic: list, ..service.clone() }, revision)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn image(digest: &str, tags: &[&str]) -> Image {
        Image {
            uri: format!("r-docker.pkg.dev/p/repo/k-back@{digest}"),
            digest: digest.into(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            uploaded_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn an_image_is_found_by_the_commit_in_its_tag() {
        let images = [image("sha256:1", &["latest", "9bb1fbf"]), image("sha256:2", &["77aa88b"])];
        let found =
            |text: &str| of_commit(&images, text).map(|(image, tag)| format!("{} {tag}", image.digest));
        assert_eq!(found("77aa88b").as_deref(), Some("sha256:2 77aa88b"));
        assert_eq!(found("9bb1fbf0c1d2").as_deref(), Some("sha256:1 9bb1fbf"));
        assert_eq!(found("latest"), None);
        assert_eq!(found("77aa88c"), None);
    }
}
