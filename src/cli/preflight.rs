//! Probing a target for a person: by its own tag, or by one of ours for as long as it takes.

use std::time::Duration;

use tokio::time::{Instant, sleep};

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

/// A new tag shows up within this, or the target is not probed.
const TAGGED_WITHIN: Duration = Duration::from_secs(3);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);

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
        let inconclusive = |why: String| {
            Ok(Some(Probed { revision: wish.revision.clone(), outcome: Outcome::Inconclusive(why) }))
        };
        let list = traffic::with_probe(&document.service, &wish.revision);
        let end = Instant::now() + TAGGED_WITHIN;
        match self.cloud_run.retarget(document, &list, end).await {
            Ok(written) => *document = written,
            // Whether a write whose answer is lost was carried out, the next look shows.
            Err(CallError::Conflict(_) | CallError::Unavailable(_)) => return Ok(None),
            Err(CallError::Rejected(why)) => {
                return inconclusive(format!("was not probed: Cloud Run refuses to tag it: {why}"));
            }
            Err(error) => return Err(self.explain(&document.service.name, error)),
        }
        while !document.service.tagged.contains_key(&wish.revision) {
            if Instant::now() + PAUSE > end {
                return inconclusive(
                    "was not probed: its tag does not show up in the service's status".into(),
                );
            }
            sleep(PAUSE).await;
            match self.cloud_run.service(&document.service.name, end).await {
                Ok(read) if !read.is_still(document) => return Ok(None),
                Ok(read) => *document = read,
                Err(_) => {}
            }
        }
        let url = document.service.tagged[&wish.revision].clone();
        Ok(Some(self.probe(wish, &url).await))
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
