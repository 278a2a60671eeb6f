//! How a rollback ended: told, then recorded.

use chrono::{DateTime, Utc};

use super::{Received, Runback};
use crate::clients::cloud_run::ServiceDocument;
use crate::domain::by_tag;
use crate::domain::evidence::Judgement;
use crate::domain::record::Rollback;
use crate::domain::service::{Destination, TrafficTarget};
use crate::notice::{self, Afterwards};

/// Target and culprit, as far as they were judged.
type Judged = (Option<Judgement>, Option<Judgement>);

impl Runback {
    /// Tells how a rollback ended, then records it: who finds it recorded does not tell again.
    pub(super) async fn report(
        &self,
        document: &ServiceDocument,
        rollback: &Rollback,
        ended: Afterwards,
        judged: Judged,
        thread: Option<&str>,
        received: Received,
    ) -> Result<String, String> {
        let message = self.verdict_on(document, rollback, ended, judged, received.time());
        let news = (rollback.id.as_str(), ended.code());
        if !self.tell_once(news, || &message, thread, received.deadline()).await {
            return Err("Slack could not be told".into());
        }
        let recorded = self.record_or_leave(document, rollback, ended.phase(), received.deadline()).await;
        recorded.map_err(|error| error.to_string())?;
        tracing::warn!(
            rollback = rollback.id,
            incident = rollback.incident,
            verdict = ended.code(),
            service = %document.service.name,
            "{}",
            message.text
        );
        Ok(format!("{} has ended: {}", rollback.id, ended.code()))
    }

    /// The message of how a rollback ended.
    pub(super) fn verdict_on(
        &self,
        document: &ServiceDocument,
        rollback: &Rollback,
        ended: Afterwards,
        (target, culprit): Judged,
        now: DateTime<Utc>,
    ) -> notice::Message {
        let service = &document.service;
        let latest = |target: &TrafficTarget| target.to == Destination::Latest && target.percent > 0;
        let verdict = notice::Verdict {
            service: &service.name,
            rollback,
            ended,
            target,
            culprit,
            tags: &by_tag::tags_of(service, &rollback.culprit),
            trouble: service.trouble.as_deref(),
            follows_latest: service.spec_traffic.iter().any(latest),
            now,
        };
        notice::verdict(&self.policy, &verdict)
    }
}
