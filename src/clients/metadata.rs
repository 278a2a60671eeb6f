//! The metadata server of Cloud Run: who we are there, and tokens that say so.

use std::time::Duration;

use reqwest::header::HeaderName;
use reqwest::{Method, Url};
use tokio::time::{Instant, timeout_at};

use super::transport::{Network, Request, SharedTransport};

/// Off Google Cloud there is no metadata server, and nobody waits long for it.
const PATIENCE: Duration = Duration::from_millis(500);

/// Without an access token nothing works, so it is worth waiting for.
const PATIENCE_FOR_ACCESS: Duration = Duration::from_millis(1_500);

/// Nothing that it says is longer.
const ANSWER_LIMIT: usize = 64 * 1024;

const BASE: &str = "http://metadata.google.internal";

/// The metadata server.
#[derive(Clone)]
pub struct Metadata {
    transport: SharedTransport,
    base: String,
}

impl Metadata {
    /// Over the network.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn of_this_machine() -> Result<Self, String> {
        Ok(Self::by(std::sync::Arc::new(Network::without_proxy()?)))
    }

    /// Through this transport.
    #[must_use]
    pub fn by(transport: SharedTransport) -> Self {
        Self::at(transport, BASE)
    }

    pub(super) fn at(transport: SharedTransport, base: &str) -> Self {
        Self { transport, base: base.to_owned() }
    }

    /// The e-mail address of the service account that we run as.
    pub async fn account(&self, deadline: Instant) -> Option<String> {
        self.text("email", &[], deadline).await
    }

    /// An identity token for a service behind IAM.
    pub async fn identity(&self, audience: &str, deadline: Instant) -> Option<String> {
        self.text("identity", &[("audience", audience)], deadline).await
    }

    /// An access token, as JSON.
    pub(super) async fn access_token(&self, deadline: Instant) -> Option<Vec<u8>> {
        self.ask("token", &[], deadline.min(Instant::now() + PATIENCE_FOR_ACCESS)).await
    }

    async fn text(&self, what: &str, query: &[(&str, &str)], deadline: Instant) -> Option<String> {
        let end = deadline.min(Instant::now() + PATIENCE);
        let text = String::from_utf8(self.ask(what, query, end).await?).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    async fn ask(&self, what: &str, query: &[(&str, &str)], end: Instant) -> Option<Vec<u8>> {
        let url = format!("{}/computeMetadata/v1/instance/service-accounts/default/{what}", self.base);
        let mut url = Url::parse(&url).ok()?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = Request::new(Method::GET, url)
            .header(HeaderName::from_static("metadata-flavor"), "Google")
            .reads_at_most(ANSWER_LIMIT);
        let answer = timeout_at(end, self.transport.exchange(request)).await.ok()?.ok()?;
        answer.status.is_success().then_some(answer.body)
    }
}
