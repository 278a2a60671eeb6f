//! Identity tokens, with which private services on Cloud Run are called. gcp_auth cannot get one.

use std::time::Duration;

use reqwest::Client;
use reqwest::header::HeaderValue;
use tokio::time::{Instant, timeout_at};

/// Google Cloud's metadata server.
pub(crate) const METADATA: &str = "http://metadata.google.internal";

/// Off Google Cloud there is no metadata server, and nobody waits for it.
const PATIENCE: Duration = Duration::from_millis(500);

/// A value for `Authorization`, as the metadata server gives it; nothing where there is none.
pub(crate) async fn token(
    http: &Client,
    metadata: &str,
    audience: &str,
    end: Instant,
) -> Option<HeaderValue> {
    let url = format!("{metadata}/computeMetadata/v1/instance/service-accounts/default/identity");
    let fetch = async {
        let request = http.get(url).query(&[("audience", audience)]).header("Metadata-Flavor", "Google");
        request.send().await?.error_for_status()?.text().await
    };
    let token = timeout_at(end.min(Instant::now() + PATIENCE), fetch).await.ok()?.ok()?;
    bearer(token.trim())
}

/// A token as a value for `Authorization`, which no log shows.
pub(crate) fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}
