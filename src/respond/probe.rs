//! Carrying out a wish to probe: the target's own tag, or ours for as long as it takes.

use std::time::Duration;

use tokio::time::Instant;

use super::{Case, Runback, TELL};
use crate::clients::cloud_run::ServiceDocument;
use crate::clients::google::CallError;
use crate::domain::decide::axis_of;
use crate::domain::policy::{Mode, Rules};
use crate::domain::probe::{Outcome, Probed, Wish};
use crate::domain::record::Rollback;
use crate::domain::service::Service;
use crate::domain::steps;
use crate::domain::traffic;

/// What is left for the switch and for watching it, besides [`TELL`].
const SWITCH: Duration = Duration::from_millis(1_500);

/// Less than this is no time to probe in.
const LEAST: Duration = Duration::from_millis(300);

/// Probes of the service after the switch, all of them.
const AFTERWARDS: Duration = Duration::from_secs(2);

/// The status shows a new tag within this, or the target is not probed.
const TAGGED_WITHIN: Duration = Duration::from_millis(1_500);

impl Runback {
    /// Probes a target. Where that takes a tag of our own, `document` is the service with it afterwards.
    ///
    /// # Errors
    /// [`CallError::Conflict`] when the service has to be looked at again; [`CallError::Denied`].
    pub(super) async fn preflight(
        &self,
        case: &Case<'_>,
        wish: &Wish,
        document: &mut ServiceDocument,
    ) -> Result<Probed, CallError> {
        let end = case.received.deadline() - TELL - SWITCH;
        let began = Instant::now();
        let outcome = if began + LEAST >= end {
            Outcome::Inconclusive("was not probed: no time is left for it".into())
        } else {
            let url = match &wish.url {
                Some(url) => Ok(url.clone()),
                None => self.cloud_run.tag_to_probe(document, &wish.revision, TAGGED_WITHIN, end).await?,
            };
            match url {
                Ok(url) => self.prober.probe(wish, &url, end).await,
                Err(why) => Outcome::Inconclusive(format!("was not probed: {why}")),
            }
        };
        let probed = Probed { revision: wish.revision.clone(), outcome };
        let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(millis, "preflight: {}", probed.sentence());
        Ok(probed)
    }

    /// Removes our tag where no switch does: the decision is another one, or a process died between tag and switch.
    pub(super) async fn untag(&self, case: &Case<'_>, document: &ServiceDocument) {
        let service = &document.service;
        let rules = self.policy.services.get(&service.name);
        let enforced = rules.is_some_and(|rules| rules.mode == Mode::Enforce);
        if !enforced || !traffic::has_probe(service) {
            return;
        }
        let list = traffic::without_probe(service);
        let deadline = case.received.deadline() - TELL;
        if let Err(error) = self.cloud_run.retarget(document, &list, deadline).await {
            tracing::warn!(%error, "our tag stays for now; the next decision removes it");
        }
    }

    /// The service itself, asked by its health path once all traffic has moved. It must not hold up the message.
    pub(super) async fn probe_service(
        &self,
        case: &Case<'_>,
        rollback: &Rollback,
        service: &Service,
        rules: &Rules,
    ) -> Option<Probed> {
        let path = rules.health_path.clone()?;
        let (revision, axis) = ("the service".to_owned(), axis_of(case.alert.signal));
        let (audience, slow) = (service.url.clone(), rules.slow);
        let end = (case.received.deadline() - TELL).min(Instant::now() + AFTERWARDS);
        if rollback.step < steps::ALL || service.url.is_empty() || Instant::now() + LEAST >= end {
            return None;
        }
        let wish = Wish { revision, url: None, path, audience, axis, slow };
        let outcome = self.prober.probe(&wish, &service.url, end).await;
        Some(Probed { revision: wish.revision, outcome })
    }
}
