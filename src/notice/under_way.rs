//! A switch that is written and takes long to arrive: told at once, because nobody should have to guess meanwhile. How it
//! comes out replaces this.

use super::words::{cut, link, logs_url, name, prose, short};
use super::{Draft, Message, SENTENCE};
use crate::domain::alert::Alert;
use crate::domain::decision::Decision;
use crate::domain::record::Rollback;
use crate::domain::service::ServiceName;

/// A telephone shows this much of a header.
const HEADER: usize = 60;

/// Renders that a rollback's first write is on its way.
#[must_use]
pub fn under_way(service: &ServiceName, rollback: &Rollback, decision: &Decision, alert: &Alert) -> Message {
    let Rollback { culprit, target, reason, incident, .. } = rollback;
    let (from, to) = (short(culprit, &service.service), short(target, &service.service));
    let failing = decision.gates.iter().find(|gate| gate.name == "failing");
    let figures = failing.map_or(String::new(), |gate| {
        format!("`{from}`: {}.\n", prose(gate.detail.trim_end_matches('.'), SENTENCE))
    });
    let story = format!(
        "{figures}Traffic goes back to `{to}`. Cloud Run has accepted that and does not show it yet."
    );
    let now = "*Now:* nothing to do. Runback watches it and reports here, within five minutes.".to_owned();
    let google = ["https://console.cloud.google.com/", "https://app.google.stackdriver.com/"];
    let since = decision.minutes.first().map(|sample| sample.start).or(alert.started_at);
    let place = format!("{}, {}", name(&service.project), name(&service.region));
    let links = [
        link("Error logs", &logs_url(service, Some(culprit), since), &google),
        link("Alert", &alert.url, &google),
        Some(place),
    ];
    let links = links.into_iter().flatten().collect::<Vec<_>>().join(" · ");
    let header = cut(&format!("⏳ {}: going back to {to}", name(&service.service)), HEADER);
    let (body, shown) = (vec![story.clone(), now.clone()], vec![story, now, links]);
    let message = Draft { header, body, shown, small: Vec::new(), kept: Vec::new() }.finish(reason, incident);
    Message { urgent: false, ..message }
}
