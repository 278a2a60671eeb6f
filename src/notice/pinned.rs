//! What people are told of a deploy that waits behind a pin.

use super::next::{Step, release};
use super::words::{name, short, update_traffic};
use super::{Draft, Message, listed, sections};
use crate::domain::pins::Waiting;
use crate::domain::service::ServiceName;
use crate::domain::text;

/// The reason code.
pub const PINNED: &str = "pinned";

/// Says that a revision is deployed and gets no traffic, why, and how to change that.
#[must_use]
pub fn pinned(service: &ServiceName, waiting: &Waiting<'_>) -> Message {
    let Waiting { rollback, revision, ban } = waiting;
    let (waits, target, culprit) = (name(&revision.name), name(&rollback.target), name(&rollback.culprit));
    let since = text::clock(rollback.at);
    let story = format!(
        "`{waits}` is ready and gets 0 % of the traffic. Runback rolled `{culprit}` back at {since} and pinned the \
         service to `{target}`: nothing that is deployed later is served until somebody releases it."
    );
    let latest = || update_traffic(service, "--to-latest");
    let steps = match ban {
        Some(_) => vec![Step::say(format!(
            "*`{waits}` has the image that was rolled back*, so `runback release` refuses it. Deploy a repaired one."
        ))],
        None => vec![
            Step::run(
                "Give it a tag and try its own URL:",
                update_traffic(service, &format!("--update-tags fix={waits}")),
            ),
            Step::run("If it is good, release the service:", release(service)),
            Step::run(
                "The same with gcloud, which does not check that the newest revision is a good one:",
                latest(),
            ),
        ],
    };
    let body = vec![story.clone(), listed(&steps, str::to_owned)];
    let shown = std::iter::once(story).chain(sections(&steps)).collect();
    let header = format!(
        "{}: {} is deployed and gets no traffic",
        name(&service.service),
        short(&revision.name, &service.service)
    );
    Draft { header, body, shown, small: Vec::new(), kept: Vec::new() }.finish(PINNED, &rollback.incident)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
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
        let text = pinned(&service, &good).text;
        for part in
            ["k-back: 00043-fix is deployed and gets no traffic", "2026-11-21T18:04:00Z", "runback release"]
        {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(text.contains("--to-latest") && text.contains("reason: pinned · incident 0.a"), "{text}");
        let ban =
            Quarantined { revision: "k-back-00042-abc".into(), digest: None, commit: None, at: created_at };
        let text = pinned(&service, &Waiting { ban: Some(&ban), ..good }).text;
        assert!(text.contains("has the image that was rolled back"), "{text}");
        assert!(!text.contains("--to-latest"), "{text}");
    }
}
