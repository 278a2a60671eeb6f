//! `runback watch`: the last step of a pipeline asks a running Runback to watch the deploy.

use crate::clients::metadata::Metadata;
use crate::clients::runback;
use crate::clients::transport::Transport;
use crate::config::{Secret, WatchConfig};
use crate::domain::decision::Reason;
use crate::domain::service::ServiceName;

/// What became of it, in Runback's words. A deploy that takes no traffic is nothing to watch and no error.
///
/// # Errors
/// With a sentence: Runback cannot be asked, or does not guard the service.
pub async fn watch(
    transport: &dyn Transport,
    metadata: &Metadata,
    config: &WatchConfig,
    service: &ServiceName,
) -> Result<String, String> {
    let token = config.token.as_ref().map(Secret::expose);
    let (reason, words) = runback::watch(transport, metadata, &config.url, token, service).await?;
    let fine = [Reason::Watching, Reason::NothingToWatch].iter().any(|known| known.code() == reason);
    if fine { Ok(words) } else { Err(words) }
}
