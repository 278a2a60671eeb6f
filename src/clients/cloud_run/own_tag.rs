//! A tag of our own on a revision, for as long as it takes to probe it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{CloudRun, ServiceDocument};
use crate::clients::google::CallError;
use crate::domain::traffic;

/// Between two looks for the tag.
const PAUSE: Duration = Duration::from_millis(150);

impl CloudRun {
    /// Tags a revision at 0% and gives the tag's URL, or why there is none: the status has to show it in so long after the
    /// write. `document` is the service with the tag afterwards.
    ///
    /// # Errors
    /// [`CallError::Conflict`] when the service has to be looked at again; else as any write.
    pub async fn tag_to_probe(
        &self,
        document: &mut ServiceDocument,
        revision: &str,
        shows_within: Duration,
        end: Instant,
    ) -> Result<Result<String, String>, CallError> {
        let list = traffic::with_probe(&document.service, revision);
        match self.retarget(document, &list, end).await {
            Ok(written) => *document = written,
            Err(CallError::Rejected(why)) => return Ok(Err(format!("Cloud Run refuses to tag it: {why}"))),
            // Reading shows whether it was carried out.
            Err(CallError::Unavailable(why)) => {
                return Err(CallError::Conflict(format!("the answer to the tag's write was lost: {why}")));
            }
            Err(error) => return Err(error),
        }
        let until = end.min(Instant::now() + shows_within);
        loop {
            if let Some(url) = document.service.tagged.get(revision) {
                return Ok(Ok(url.clone()));
            }
            if Instant::now() + PAUSE >= until {
                return Ok(Err("its tag does not show up in the service's status".into()));
            }
            sleep(PAUSE).await;
            match self.service(&document.service.name, until).await {
                // Whoever has changed the service since changed what was decided about.
                Ok(read) if !read.is_still(document) => {
                    return Err(CallError::Conflict("the service changed while its tag was awaited".into()));
                }
                Ok(read) => *document = read,
                Err(error) => tracing::warn!(%error, "the service cannot be read while its tag is awaited"),
            }
        }
    }
}
