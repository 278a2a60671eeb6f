//! Artifact Registry v1: which images there are, with their tags (`dockerImages.list`).

use chrono::{DateTime, Utc};
use reqwest::{Method, Url};
use serde::Deserialize;
use tokio::time::Instant;

use super::google::{Call, CallError, Google, address, read};

/// What Google gives at most in one page.
const PAGE: &str = "1000";

/// A repository that is never cleaned up is not read to its end.
const MOST_PAGES: usize = 10;

/// Artifact Registry.
#[derive(Clone)]
pub struct Registry {
    google: Google,
    base: String,
}

/// An image that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// How to pull it: its name, by digest.
    pub uri: String,
    /// The digest alone, `sha256:…`.
    pub digest: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// When it was pushed.
    pub uploaded_at: DateTime<Utc>,
}

/// Where an image lives: `LOCATION-docker.pkg.dev/PROJECT/REPOSITORY/PACKAGE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package<'a> {
    location: &'a str,
    project: &'a str,
    repository: &'a str,
    /// Without tag and digest.
    name: &'a str,
}

impl<'a> Package<'a> {
    /// The package of an image; nothing for one of another registry.
    #[must_use]
    pub fn of(image: &'a str) -> Option<Self> {
        let name = image.split_once('@').map_or(image, |(name, _)| name);
        // A host of Artifact Registry has no port, so a colon begins the tag.
        let name = name.split_once(':').map_or(name, |(name, _)| name);
        let mut parts = name.splitn(4, '/');
        let (host, project, repository, _) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let location = host.strip_suffix("-docker.pkg.dev")?;
        Some(Self { location, project, repository, name })
    }
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct List {
    docker_images: Vec<WireImage>,
    next_page_token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireImage {
    uri: String,
    #[serde(default)]
    tags: Vec<String>,
    upload_time: String,
}

impl Registry {
    /// `base` is the API's address.
    #[must_use]
    pub fn new(google: Google, base: &str) -> Self {
        Self { google, base: base.trim_end_matches('/').to_owned() }
    }

    /// The images of a package, newest first (`artifactregistry.dockerimages.list`).
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn images(&self, package: Package<'_>, deadline: Instant) -> Result<Vec<Image>, CallError> {
        let Package { location, project, repository, name } = package;
        let path =
            ["v1", "projects", project, "locations", location, "repositories", repository, "dockerImages"];
        let mut images = Vec::new();
        let mut page = String::new();
        for _ in 0..MOST_PAGES {
            let mut url: Url = address(&self.base, path)?;
            url.query_pairs_mut().append_pair("pageSize", PAGE);
            if !page.is_empty() {
                url.query_pairs_mut().append_pair("pageToken", &page);
            }
            let permission = "artifactregistry.dockerimages.list";
            let call = Call { method: Method::GET, url, body: None, permission, repeatable: true, deadline };
            let body = self.google.call(call).await?;
            let list: List = read(&body)?;
            images.extend(list.docker_images.into_iter().filter_map(|image| image.understood(name)));
            page = list.next_page_token;
            if page.is_empty() {
                break;
            }
        }
        images.sort_by_key(|image| std::cmp::Reverse(image.uploaded_at));
        Ok(images)
    }
}

impl WireImage {
    /// An image of this package.
    fn understood(self, package: &str) -> Option<Image> {
        let (name, digest) = self.uri.split_once('@')?;
        let uploaded_at = DateTime::parse_from_rfc3339(&self.upload_time).ok()?.to_utc();
        (name == package).then(|| Image {
            digest: digest.to_owned(),
            uploaded_at,
            tags: self.tags,
            uri: self.uri.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_artifact_registry_has_a_package_and_others_have_none() {
        let name = "asia-northeast1-docker.pkg.dev/demo/k-back-repo/team/k-back";
        let package =
            Package { location: "asia-northeast1", project: "demo", repository: "k-back-repo", name };
        for image in [
            name.to_owned(),
            format!("{name}:9bb1fbf"),
            format!("{name}@sha256:12"),
            format!("{name}:a@sha256:12"),
        ] {
            assert_eq!(Package::of(&image), Some(package), "{image}");
        }
        for image in [
            "",
            "gcr.io/demo/k-back",
            "docker.io/library/nginx:1",
            "asia-northeast1-docker.pkg.dev/demo/repo",
        ] {
            assert_eq!(Package::of(image), None, "{image}");
        }
    }

    #[test]
    fn only_images_of_the_package_count() {
        let image = |uri: &str| {
            let image =
                WireImage { uri: uri.into(), tags: vec![], upload_time: "2026-10-22T01:02:03Z".into() };
            image.understood("r-docker.pkg.dev/p/repo/k-back").map(|image| image.digest)
        };
        assert_eq!(image("r-docker.pkg.dev/p/repo/k-back@sha256:12").as_deref(), Some("sha256:12"));
        assert_eq!(image("r-docker.pkg.dev/p/repo/k-back-2@sha256:12"), None);
        assert_eq!(image("r-docker.pkg.dev/p/repo/k-back"), None);
    }
}
