//! Probing a target for a person: by its own tag, or by one of ours for as long as it takes.

use std::time::Duration;

use tokio::time::Instant;

use super::Stopped;
use super::person::Person;
use crate::clients::cloud_run::ServiceDocument;
use crate::clients::google::CallError;
use crate::config::Subject;
use crate::domain::evidence::Axis;
use crate::domain::probe::{Outcome, Probed, Wish};
use crate::domain::service::Service;
use crate::domain::traffic;

/// All probes of one revision.
const PROBE: Duration = Duration::from_secs(4);

/// A new tag is written and shows up within this, or the target is not probed.
const TAGGED_WITHIN: Duration = Duration::from_secs(3);

/// The wish to probe a revision; nothing without a health path.
pub(super) fn wish(subject: &Subject, service: &Service, revision: &str) -> Option<Wish> {
    let path = subject.rules.health_path.clone()?;
    Some(Wish {
        revision: revision.to_owned(),
        url: service.tagged.get(revision).cloned(),
        path,
        audience: service.url.clone(),
        axis: Axis::Errors,
        slow: subject.rules.slow,
    })
}

impl Person {
    /// Probes by a URL.
    pub(super) async fn probe(&self, wish: &Wish, url: &str) -> Probed {
        let outcome = self.prober.probe(wish, url, Instant::now() + PROBE).await;
        Probed { revision: wish.revision.clone(), outcome }
    }

    /// Tags the target and probes it. `document` is the service with the tag afterwards; nothing, when somebody else has
    /// changed it.
    pub(super) async fn probe_by_own_tag(
        &self,
        wish: &Wish,
        document: &mut ServiceDocument,
    ) -> Result<Option<Probed>, Stopped> {
        let end = Instant::now() + TAGGED_WITHIN;
        let url = match self.cloud_run.tag_to_probe(document, &wish.revision, TAGGED_WITHIN, end).await {
            Err(CallError::Conflict(_)) => return Ok(None),
            url => url.map_err(|error| self.explain(&document.service.name, error))?,
        };
        Ok(Some(match url {
            Ok(url) => self.probe(wish, &url).await,
            Err(why) => {
                let outcome = Outcome::Inconclusive(format!("was not probed: {why}"));
                Probed { revision: wish.revision.clone(), outcome }
            }
        }))
    }

    /// Takes our tag away again, where no switch does.
    pub(super) async fn untag(&self, document: &ServiceDocument) {
        if !traffic::has_probe(&document.service) {
            return;
        }
        let list = traffic::without_probe(&document.service);
        if let Err(error) = self.cloud_run.retarget(document, &list, Instant::now() + PROBE).await {
            eprintln!("runback: the tag {} stays on the service: {error}", traffic::PROBE_TAG);
        }
    }
}
