//! A service that Cloud Run does not find. One 404 may be a moment's; one that lasts is an answer.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Received, Runback};
use crate::domain::service::ServiceName;

/// Until then, whatever asks for the service has to come again.
const LASTS: TimeDelta = TimeDelta::minutes(5);

impl Runback {
    /// Whether Cloud Run has had its time to find a service: since the message was published, where there is one, or since
    /// this process first heard that it does not.
    pub(super) fn is_gone(
        &self,
        name: &ServiceName,
        published_at: Option<DateTime<Utc>>,
        received: Received,
    ) -> bool {
        let missed = self.memory.missing_since(name, received.at);
        received.at - published_at.map_or(missed, |published| published.min(missed)) >= LASTS
    }
}
