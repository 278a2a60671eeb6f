//! A switch that is written and takes long to arrive: told at once, because nobody should have to guess meanwhile. How it
//! comes out replaces this.

use super::Message;
use super::form::{Form, Mark};
use super::reader::Reader;
use super::story::{figures, links, sparkline_of};
use super::texts::Say;
use super::words::moment;
use crate::domain::alert::Alert;
use crate::domain::decision::Decision;
use crate::domain::policy::Policy;
use crate::domain::record::Rollback;
use crate::domain::service::ServiceName;

/// Renders that a rollback's first write is on its way.
#[must_use]
pub fn under_way(
    policy: &Policy,
    service: &ServiceName,
    rollback: &Rollback,
    decision: &Decision,
    alert: &Alert,
) -> Message {
    let reader = &Reader::of(policy, Some(service));
    let values = reader
        .values()
        .with("target", reader.short(&rollback.target))
        .with("time", moment(rollback.last_write()));
    let header = reader.header(Mark::UnderWay, reader.word(Say::UnderWay), &values);
    let mut form = Form::new(Mark::UnderWay, header, &rollback.reason, &rollback.incident);
    form.story.extend(figures(reader, decision, alert, &rollback.culprit));
    form.story.push(reader.say(Say::Accepted, &values));
    form.now = reader.word(Say::NowWatched).to_owned();
    form.links = links(reader, decision, alert);
    form.small.extend(sparkline_of(reader, decision, alert));
    form.finish(reader)
}
