//! The metadata server of Cloud Run: who we are there, and tokens that say so.

use std::time::Duration;

use reqwest::header::HeaderName;
use reqwest::{Method, StatusCode, Url};
use tokio::time::{Instant, timeout_at};

use super::transport::{Answer, Network, Request, SharedTransport};

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
    ///
    /// # Errors
    /// With whether there is a metadata server with an account, so that another try may go better.
    pub(super) async fn access_token(&self, deadline: Instant) -> Result<Vec<u8>, bool> {
        let end = deadline.min(Instant::now() + PATIENCE_FOR_ACCESS);
        let answer = self.ask("token", &[], end).await.ok_or(false)?;
        match answer.status {
            StatusCode::NOT_FOUND => Err(false),
            StatusCode::TOO_MANY_REQUESTS => Err(true),
            status if status.is_server_error() => Err(true),
            // A name server that knows every name leads to some web page instead.
            _ if answer.body.starts_with(b"<") => Err(false),
            status if status.is_success() => Ok(answer.body),
            _ => Err(false),
        }
    }

    async fn text(&self, what: &str, query: &[(&str, &str)], deadline: Instant) -> Option<String> {
        let end = deadline.min(Instant::now() + PATIENCE);
        let answer = self.ask(what, query, end).await.filter(|answer| answer.status.is_success())?;
        let text = String::from_utf8(answer.body).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    async fn ask(&self, what: &str, query: &[(&str, &str)], end: Instant) -> Option<Answer> {
        let url = format!("{}/computeMetadata/v1/instance/service-accounts/default/{what}", self.base);
        let mut url = Url::parse(&url).ok()?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = Request::new(Method::GET, url)
            .header(HeaderName::from_static("metadata-flavor"), "Google")
            .reads_at_most(ANSWER_LIMIT);
        timeout_at(end, self.transport.exchange(request)).await.ok()?.ok()
    }
}
