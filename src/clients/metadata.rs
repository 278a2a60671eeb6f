//! The metadata server of Cloud Run: who we are there, and tokens that say so. gcp_auth has no identity tokens.

use std::time::Duration;

use reqwest::redirect::Policy;
use tokio::time::{Instant, timeout_at};

/// Off Google Cloud there is no metadata server, and nobody waits for it.
const PATIENCE: Duration = Duration::from_millis(500);

const BASE: &str = "http://metadata.google.internal";

/// The metadata server.
#[derive(Debug, Clone)]
pub struct Metadata {
    /// None where no client could be made.
    http: Option<reqwest::Client>,
    base: String,
}

impl Default for Metadata {
    fn default() -> Self {
        Self::at(BASE)
    }
}

impl Metadata {
    pub(super) fn at(base: &str) -> Self {
        let http = reqwest::Client::builder().redirect(Policy::none()).no_proxy().build().ok();
        Self { http, base: base.to_owned() }
    }

    /// The e-mail address of the service account that we run as.
    pub async fn account(&self, deadline: Instant) -> Option<String> {
        self.ask("email", &[], deadline).await
    }

    /// An identity token for a service behind IAM.
    pub async fn identity(&self, audience: &str, deadline: Instant) -> Option<String> {
        self.ask("identity", &[("audience", audience)], deadline).await
    }

    async fn ask(&self, what: &str, query: &[(&str, &str)], deadline: Instant) -> Option<String> {
        let url = format!("{}/computeMetadata/v1/instance/service-accounts/default/{what}", self.base);
        let request = self.http.as_ref()?.get(url).query(query).header("Metadata-Flavor", "Google");
        let fetch = async { request.send().await?.error_for_status()?.text().await };
        let text = timeout_at(deadline.min(Instant::now() + PATIENCE), fetch).await.ok()?.ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }
}
