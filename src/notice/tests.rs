use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::domain::alert::IncidentState;
use crate::domain::decision::{Outcome, Plan};
use crate::domain::evidence::Sample;
use crate::domain::record::{Phase, Rollback, Share};
use crate::domain::service::Revision;

const SINGLE: [(&str, &str); 3] =
    [("open", "the incident is open"), ("guarded", "listed"), ("settled", "no deploy")];

const FAILING: &str = "412 of 1,760 requests failed in 10 min, 23 %, at least 21 % with 95 % confidence, \
                       above the limit in 9 of 10 minutes; limit 5 %";

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-11-21T18:04:00Z").unwrap().to_utc() + TimeDelta::minutes(minute)
}

/// Minutes with `(requests, bad)` each; without requests there is no sample, as Monitoring has it.
fn minutes(counts: &[(u64, u64)]) -> Vec<Sample> {
    let sample = |(minute, &(requests, bad)): (i64, &(u64, u64))| Sample {
        start: at(minute),
        end: at(minute + 1),
        requests,
        bad,
    };
    (0..).zip(counts).map(sample).filter(|sample| sample.requests > 0).collect()
}

fn alert() -> Alert {
    Alert {
        incident: "0.n4gk2x".into(),
        state: IncidentState::Open,
        is_test: false,
        started_at: Some(at(5)),
        resource_type: "cloud_run_revision".into(),
        resource_labels: BTreeMap::new(),
        policy_labels: BTreeMap::new(),
        scoping_project: Some("demo-project".into()),
        signal: Signal::Errors,
        policy_name: "High error rate".into(),
        condition_name: "5xx above 5 %".into(),
        summary: "Ratio for demo-project is above the threshold of 0.05 with a value of 0.234.".into(),
        url: "https://console.cloud.google.com/monitoring/alerting/alerts/0.n4gk2x?channelType=pubsub&project=demo-project"
            .into(),
    }
}

fn service() -> ServiceName {
    ServiceName { project: "demo-project".into(), region: "asia-northeast1".into(), service: "k-back".into() }
}

fn revision(name: &str, commit: Option<&str>) -> Revision {
    Revision {
        name: name.into(),
        created_at: at(-30),
        ready: true,
        digest: None,
        commit: commit.map(str::to_owned),
        schema: None,
    }
}

fn share(revision: &str, percent: u8) -> Share {
    Share { revision: revision.into(), percent }
}

fn plan() -> Plan {
    Plan {
        culprit: revision("k-back-00042-abc", Some("9bb1fbf0c4c2f8a0c4a0e3a5d0f2b6b2e7a1d3c4")),
        target: revision("k-back-00041-xyz", Some("832c940aa4c2f8a0c4a0e3a5d0f2b6b2e7a1d3c4")),
        proven: true,
        from: vec![share("k-back-00042-abc", 100)],
        to: vec![share("k-back-00041-xyz", 100)],
    }
}

fn gate(name: &'static str, passed: bool, detail: &str) -> Gate {
    Gate { name, passed, detail: detail.into() }
}

fn rollback() -> Decision {
    Decision {
        outcome: Outcome::Rollback,
        reason: Reason::Confirmed,
        service: Some(service()),
        incident: "0.n4gk2x".into(),
        gates: vec![
            gate("open", true, "the incident is open"),
            gate(
                "guarded",
                true,
                "the policy lists projects/demo-project/locations/asia-northeast1/services/k-back",
            ),
            gate("new", true, "no rollback of this service is on record"),
            gate("settled", true, "no deploy is in flight"),
            gate("culprit", true, "k-back-00042-abc takes 100 % of the traffic"),
            gate("failing", true, FAILING),
            gate(
                "deployed_recently",
                true,
                "k-back-00042-abc began to take traffic 20 min before the incident; limit 24 h",
            ),
            gate(
                "caused_by_it",
                true,
                "k-back-00041-xyz was not failing like this: 0.1 % before k-back-00042-abc took over",
            ),
            gate("allowed", true, "0 of 3 automatic rollbacks in the last 24 h"),
            gate("target", true, "k-back-00041-xyz served 756,000 requests in the last 7 d, 0.1 % bad"),
            gate("schema", true, "no schema labels"),
            gate("enforce", true, "the policy says to act"),
        ],
        plan: Some(plan()),
        minutes: minutes(&[
            (180, 2),
            (170, 20),
            (176, 40),
            (0, 0),
            (180, 80),
            (175, 82),
            (170, 70),
            (180, 60),
            (179, 40),
        ]),
    }
}

/// A decision to tell people and touch nothing, stopped at the last gate.
fn notify(reason: Reason, name: &'static str, detail: &str) -> Decision {
    let mut gates: Vec<_> = SINGLE.iter().map(|(name, detail)| gate(name, true, detail)).collect();
    gates.push(gate(name, false, detail));
    Decision { outcome: Outcome::Notify, reason, gates, plan: None, minutes: Vec::new(), ..rollback() }
}

fn told(decision: &Decision, arrival: Arrival) -> Message {
    let url = Some("https://k-back-abcdefghij-an.a.run.app");
    render(&Notice { decision, alert: &alert(), service_url: url, arrival })
}

fn arrived() -> Arrival {
    Arrival::Arrived { after: Duration::from_secs(14) }
}

/// Every text of the blocks, one below the other.
fn readable(message: &Message) -> String {
    let texts = message.blocks.iter().flat_map(|block| {
        let elements = block["elements"].as_array().cloned().unwrap_or_default();
        std::iter::once(block["text"].clone()).chain(elements)
    });
    texts.filter_map(|text| Some(text["text"].as_str()?.to_owned())).collect::<Vec<_>>().join("\n---\n")
}

/// Slack's limits by Block Kit's reference, and ours for the fallback.
fn assert_fits(message: &Message, about: &str) {
    let long = |text: &Value| text["text"].as_str().unwrap().encode_utf16().count();
    assert!(!message.text.is_empty() && message.text.encode_utf16().count() < 4_000, "{about}: fallback");
    assert!((1..=50).contains(&message.blocks.len()), "{about}: {} blocks", message.blocks.len());
    for block in &message.blocks {
        match block["type"].as_str().unwrap() {
            "header" => {
                assert_eq!(block["text"]["type"], "plain_text", "{about}");
                assert!((1..=150).contains(&long(&block["text"])), "{about}: header");
            }
            "section" => assert!((1..=3_000).contains(&long(&block["text"])), "{about}: section"),
            "context" => {
                let elements = block["elements"].as_array().unwrap();
                assert!((1..=10).contains(&elements.len()), "{about}");
                assert!(elements.iter().all(|text| (1..=3_000).contains(&long(text))), "{about}: context");
            }
            other => panic!("{about}: {other}"),
        }
    }
}

#[test]
fn a_rollback_is_told_in_full_without_the_blocks() {
    let message = told(&rollback(), arrived());
    assert_eq!(
        message.text,
        "\
k-back rolled back: 00042-abc → 00041-xyz
k-back-00042-abc: 412 of 1,760 requests failed in 10 min, 23 %, at least 21 % with 95 % confidence, above the limit in 9 of 10 minutes; limit 5 %.
Cloud Run's status shows the new traffic, 14 s after the alert arrived.
Traffic
k-back-00042-abc (commit 9bb1fbf): 100 % → 0 %
k-back-00041-xyz (commit 832c940): 0 % → 100 %
Alert: High error rate · 5xx above 5 %.
Look whether the errors stop now that k-back-00041-xyz serves.
Fix it and deploy. Then give the new revision a tag and try its own URL:
gcloud run services update-traffic k-back --update-tags fix=REVISION --region asia-northeast1 --project demo-project
Only then release the service. Later deploys get 0 % of the traffic until it is released:
runback release --service projects/demo-project/locations/asia-northeast1/services/k-back
The same with gcloud, which does not check that the newest revision is a good one:
gcloud run services update-traffic k-back --to-latest --region asia-northeast1 --project demo-project
reason: confirmed · incident 0.n4gk2x"
    );
    assert_fits(&message, "rollback");
}

#[test]
#[ignore = "prints a message for people to judge"]
fn show_a_rollback() {
    let message = told(&rollback(), arrived());
    println!("{}\n\n=== blocks ===\n{}", message.text, readable(&message));
}
