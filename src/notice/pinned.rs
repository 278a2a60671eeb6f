//! What people are told of a deploy that waits behind a pin.

use super::Message;
use super::form::{Form, Mark, Offer};
use super::reader::Reader;
use super::story::plain_links;
use super::texts::Say;
use super::words::{day, name, update_traffic};
use crate::domain::pins::Waiting;
use crate::domain::policy::Policy;
use crate::domain::service::ServiceName;

/// The reason code.
pub const PINNED: &str = "pinned";

/// Says that a revision is deployed and gets no traffic, why, and how to change that.
#[must_use]
pub fn pinned(policy: &Policy, service: &ServiceName, waiting: &Waiting<'_>) -> Message {
    let Waiting { rollback, revision, ban } = waiting;
    let reader = &Reader::of(policy, Some(service));
    let values = reader
        .values()
        .with("revision", reader.short(&revision.name))
        .with("culprit", reader.short(&rollback.culprit))
        .with("target", reader.short(&rollback.target))
        .with("time", day(rollback.at));
    let header = reader.header(Mark::Pinned, reader.word(Say::Pinned), &values);
    let mut form = Form::new(Mark::Pinned, header, PINNED, &rollback.incident);
    form.story = vec![reader.say(Say::PinnedSince, &values)];
    form.links = plain_links(reader, Some(&revision.name));
    if ban.is_some() {
        form.story.push(reader.word(Say::PinnedBanned).to_owned());
        form.now = reader.word(Say::NowPinnedBanned).to_owned();
    } else {
        form.now = reader.say(Say::NowPinned, &values);
        let command = update_traffic(service, &format!("--update-tags fix={}", name(&revision.name)));
        form.offer = Some(Offer { say: reader.word(Say::TryByTag).to_owned(), command });
    }
    form.finish(reader)
}
#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::policy::Rules;
    use crate::domain::record::Quarantined;
    use crate::domain::service::Revision;
    use crate::record_json;

    const RECORD: &str = r#"{"v":1,"rollbacks":[{"id":"rb-1","incident":"0.a","at":"2026-11-21T18:04:00Z",
        "culprit":"k-back-00042-abc","target":"k-back-00041-xyz","step":100,"phase":"told"}]}"#;

    #[test]
    fn a_deploy_that_waits_is_told_with_the_way_out_and_a_banned_one_without() {
        let record = record_json::parse(Some(RECORD)).unwrap();
        let created_at = DateTime::UNIX_EPOCH;
        let revision = Revision {
            name: "k-back-00043-fix".into(),
            created_at,
            ready: true,
            deleting: false,
            digest: None,
            commit: None,
            schema: None,
        };
        let service: ServiceName = "projects/demo/locations/asia-northeast1/services/k-back".parse().unwrap();
        let good = Waiting { rollback: &record.rollbacks[0], revision: &revision, ban: None };
        let policy = Policy { services: [(service.clone(), Rules::default())].into() };
        let text = pinned(&policy, &service, &good).text;
        for part in [
            "📌 k-back: 00043-fix gets no traffic",
            "2026-11-21 18:04 UTC",
            "runback release k-back",
            "--update-tags fix=k-back-00043-fix",
            "reason: pinned · incident 0.a",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        let ban =
            Quarantined { revision: "k-back-00042-abc".into(), digest: None, commit: None, at: created_at };
        let text = pinned(&policy, &service, &Waiting { ban: Some(&ban), ..good }).text;
        assert!(text.contains("has the image that was rolled back"), "{text}");
        assert!(!text.contains("--update-tags"), "{text}");
    }
}
