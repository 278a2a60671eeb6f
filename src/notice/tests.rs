use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::domain::alert::{Condition, IncidentState};
use crate::domain::decision::{Outcome, Plan};
use crate::domain::evidence::{self, Sample};
use crate::domain::record::{Phase, Rollback, Share};
use crate::domain::service::{Revision, ServiceName};

const PASSED: [(&str, &str); 3] =
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
        policy_id: None,
        scoping_project: Some("demo-project".into()),
        signal: Signal::Errors,
        condition: Condition::default(),
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
        deleting: false,
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
        stays: None,
        from: vec![share("k-back-00042-abc", 100)],
        to: vec![share("k-back-00041-xyz", 100)],
        step: 100,
        trial: false,
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
    let mut gates: Vec<_> = PASSED.iter().map(|(name, detail)| gate(name, true, detail)).collect();
    gates.push(gate(name, false, detail));
    Decision { outcome: Outcome::Notify, reason, gates, plan: None, minutes: Vec::new(), ..rollback() }
}

fn told(decision: &Decision, arrival: Arrival) -> Message {
    let url = Some("https://k-back-abcdefghij-an.a.run.app");
    render(&Notice {
        decision,
        alert: &alert(),
        service_url: url,
        arrival,
        ahead: Ahead::Nothing,
        probed: None,
    })
}

fn arrived() -> Arrival {
    Arrival::Arrived { after: Duration::from_secs(14) }
}

/// Every text of the blocks, one below the other.
fn readable(message: &Message) -> String {
    let blocks = message.complete();
    let texts = blocks.iter().flat_map(|block| {
        let elements = block["elements"].as_array().cloned().unwrap_or_default();
        std::iter::once(block["text"].clone()).chain(elements)
    });
    texts.filter_map(|text| Some(text["text"].as_str()?.to_owned())).collect::<Vec<_>>().join("\n---\n")
}

/// Slack's limits by Block Kit's reference, and ours for the fallback.
fn assert_fits(message: &Message, about: &str) {
    let long = |text: &Value| text["text"].as_str().unwrap().encode_utf16().count();
    assert!(!message.text.is_empty() && message.text.encode_utf16().count() < 4_000, "{about}: fallback");
    assert!((1..=50).contains(&message.complete().len()), "{about}: {} blocks", message.complete().len());
    for block in &message.complete() {
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
    assert_eq!(message.text, "\
k-back rolled back: 00042-abc → 00041-xyz
k-back-00042-abc: 412 of 1,760 requests failed in 10 min, 23 %, at least 21 % with 95 % confidence, above the limit in 9 of 10 minutes; limit 5 %.
Cloud Run's status shows the new traffic, 14 s after the alert arrived.
Traffic
k-back-00042-abc (commit 9bb1fbf): 100 % → 0 %
k-back-00041-xyz (commit 832c940): 0 % → 100 %
Alert: High error rate · 5xx above 5 %.
Check that the errors stop once k-back-00041-xyz serves.
Fix it and deploy. Then give the new revision a tag and try its own URL:
gcloud run services update-traffic k-back --update-tags fix=REVISION --region asia-northeast1 --project demo-project
Only then release the service. Later deploys get 0 % of the traffic until it is released:
runback release --service projects/demo-project/locations/asia-northeast1/services/k-back
reason: confirmed · incident 0.n4gk2x");
}

#[test]
fn a_plan_in_observe_mode_comes_with_the_command_to_do_it_by_hand() {
    let mut decision = notify(Reason::ObserveMode, "enforce", "the policy says to observe only");
    decision.gates.insert(3, gate("failing", true, FAILING));
    decision.plan = Some(Plan { proven: false, ..plan() });
    assert_eq!(told(&decision, Arrival::NothingMoved).text, "\
k-back would be rolled back (observe mode): 00042-abc → 00041-xyz
Nothing was touched: the policy says to observe only.
k-back-00042-abc: 412 of 1,760 requests failed in 10 min, 23 %, at least 21 % with 95 % confidence, above the limit in 9 of 10 minutes; limit 5 %.
The plan
k-back-00042-abc (commit 9bb1fbf): 100 % → 0 %
k-back-00041-xyz (commit 832c940): 0 % → 100 %
Unproven target: no history in Monitoring shows that k-back-00041-xyz served healthily.
Alert: High error rate · 5xx above 5 %.
To do it by hand:
gcloud run services update-traffic k-back --to-revisions k-back-00041-xyz=100 --region asia-northeast1 --project demo-project
Later deploys get 0 % of the traffic until it is released. Fix, deploy, try the new revision by a tag, then:
runback release --service projects/demo-project/locations/asia-northeast1/services/k-back
reason: observe_mode · incident 0.n4gk2x");
}

#[test]
fn a_cooldown_says_why_nothing_was_touched_and_how_to_go_back_by_hand() {
    let detail =
        "the last rollback (k-back-00041-xyz to k-back-00040-def) is 12 min old; the cooldown is 30 min";
    let decision = notify(Reason::Cooldown, "allowed", detail);
    assert_eq!(told(&decision, Arrival::NothingMoved).text, "\
k-back: not rolled back again so soon
Nothing was touched: the last rollback (k-back-00041-xyz to k-back-00040-def) is 12 min old; the cooldown is 30 min.
Alert: High error rate · 5xx above 5 % · Ratio for demo-project is above the threshold of 0.05 with a value of 0.234.
Check it now: errors soon after a rollback can mean that the deploy was not the cause.
If it is another bad deploy, go back by hand:
gcloud run services update-traffic k-back --to-revisions REVISION=100 --region asia-northeast1 --project demo-project
reason: cooldown · incident 0.n4gk2x");
}

#[test]
fn a_test_notification_says_that_the_wiring_works() {
    let mut decision =
        notify(Reason::TestNotification, "open", "this is a test notification; the wiring works");
    (decision.service, decision.incident) = (None, String::new());
    let alert =
        Alert { is_test: true, condition_name: String::new(), summary: "Test Incident".into(), ..alert() };
    let notice = Notice {
        decision: &decision,
        alert: &alert,
        service_url: None,
        arrival: Arrival::NothingMoved,
        ahead: Ahead::Nothing,
        probed: None,
    };
    assert_eq!(
        render(&notice).text,
        "\
Runback: the wiring works
Nothing was touched: this is a test notification; the wiring works.
Alert: High error rate · Test Incident.
Wiring works: Monitoring reaches Runback and Runback reaches Slack. There is nothing to do.
reason: test_notification · incident none"
    );
}

#[test]
fn the_blocks_lead_from_the_news_to_the_small_print() {
    let message = told(&rollback(), arrived());
    assert_fits(&message, "rollback");
    let blocks = message.complete();
    let kinds: Vec<_> = blocks.iter().map(|block| block["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, [vec!["header"], vec!["section"; 6], vec!["context"; 4]].concat());
    let text = readable(&message);
    let places: Vec<_> = [
        "rolled back: 00042-abc → 00041-xyz",
        FAILING,
        "`k-back-00042-abc` (commit `9bb1fbf`): 100 % → 0 %",
        "`▂▃▄·██▇▆▄` on a scale from 0 to 47 %",
        "```runback release --service projects/demo-project/locations/asia-northeast1/services/k-back```",
        "|Incident>",
        "✓ failing: ",
        "reason: confirmed · incident 0.n4gk2x",
    ]
    .iter()
    .map(|wanted| text.find(wanted).unwrap_or_else(|| panic!("no {wanted} in\n{text}")))
    .collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn success_is_only_told_of_what_the_status_shows() {
    let trouble = Some("Revision 'k-back-00041-xyz' is not ready.".to_owned());
    let waiting = told(&rollback(), Arrival::NotYet { trouble });
    assert!(waiting.text.starts_with("k-back: rollback written, but not in effect: 00042-abc → 00041-xyz\n"));
    assert!(
        waiting
            .text
            .contains("still does not show it. Cloud Run says: Revision 'k-back-00041-xyz' is not ready.\n")
    );
    assert!(waiting.text.contains("runback release"));
    let stuck = told(&rollback(), Arrival::NothingMoved);
    assert!(stuck.text.starts_with("k-back: the rollback was not carried out\nNothing was touched"));
    assert!(!stuck.text.contains("runback release"));
}

#[test]
fn a_resumed_rollback_is_told_from_the_record() {
    let record = Rollback {
        id: "1".into(),
        incident: "0.n4gk2x".into(),
        alerted: None,
        at: at(11),
        moved: None,
        latest: 0,
        slow: false,
        slower_than: None,
        trial: false,
        why: None,
        culprit: "k-back-00042-abc".into(),
        from: vec![share("k-back-00040-def", 90), share("k-back-00042-abc", 10)],
        target: "k-back-00040-def".into(),
        step: 100,
        phase: Phase::Switching,
        reason: "critical".into(),
        by: None,
    };
    let partly = Rollback { step: 50, ..record.clone() };
    let tell = |rollback: Rollback| {
        let decision = Decision {
            outcome: Outcome::Resume(rollback.into()),
            ..notify(Reason::Critical, "new", "not yet reported")
        };
        told(&decision, Arrival::Resumed).text
    };
    let text = tell(record);
    assert!(text.contains("k-back-00042-abc: 10 % → 0 %\nk-back-00040-def: 90 % → 100 %\n"), "{text}");
    assert!(text.contains("runback release") && text.contains("reason: critical"), "{text}");
    assert!(tell(partly).contains("50 % of the first one's share has moved to the second."));
}

#[test]
fn an_unconfirmed_rollback_says_so_and_names_the_missing_permission() {
    let mut decision = Decision { reason: Reason::Unconfirmed, minutes: Vec::new(), ..rollback() };
    decision.gates[5].detail = "unconfirmed: Monitoring cannot be read (HTTP 403); the permission \
                                monitoring.timeSeries.list is missing, so Runback trusted the alert"
        .into();
    decision.plan = Some(Plan { proven: false, ..plan() });
    let message = told(&decision, arrived());
    for wanted in [
        "Nothing confirmed that it fails.",
        "monitoring.timeSeries.list is missing",
        "Unproven target: no history in Monitoring shows that k-back-00041-xyz served healthily.",
        "roles/monitoring.viewer on project demo-project",
        "reason: unconfirmed",
    ] {
        assert!(message.text.contains(wanted), "{wanted}: {}", message.text);
    }
}

#[test]
fn a_missing_permission_is_named_with_the_way_to_grant_it() {
    let account = Some("runback@demo-project.iam.gserviceaccount.com");
    let message = permission_denied(&service(), Some("run.services.update"), account, "0.n4gk2x");
    assert_eq!(message.text, "\
k-back: Cloud Run refuses Runback
Cloud Run refuses Runback: permission run.services.update is missing on projects/demo-project/locations/asia-northeast1/services/k-back. Nothing was touched.
Grant it:
gcloud run services add-iam-policy-binding k-back --region asia-northeast1 --project demo-project --member serviceAccount:runback@demo-project.iam.gserviceaccount.com --role roles/run.developer
The alert comes again and is decided anew for an hour; then it is given up.
To go back by hand:
gcloud run services update-traffic k-back --to-revisions REVISION=100 --region asia-northeast1 --project demo-project
reason: permission_denied · incident 0.n4gk2x");
    for permission in
        [Some("iam.serviceaccounts.actAs"), Some("monitoring.timeSeries.list"), Some("<!here>"), None]
    {
        let message = permission_denied(&service(), permission, Some("a; rm -rf /"), "");
        assert_fits(&message, "permission");
        assert!(message.text.contains("reason: permission_denied") && !message.text.contains("rm -rf"));
    }
}

#[test]
fn every_message_carries_its_reason_and_something_to_do() {
    for reason in Reason::ALL.iter().copied() {
        for arrival in [Arrival::NothingMoved, arrived(), Arrival::NotYet { trouble: None }, Arrival::Resumed]
        {
            for plan in [None, Some(plan())] {
                let decision = Decision { plan, ..notify(reason, "some", "a figure") };
                let message = told(&decision, arrival.clone());
                assert_fits(&message, reason.code());
                for text in [message.text.clone(), readable(&message)] {
                    assert!(text.contains(&format!("reason: {reason} · incident 0.n4gk2x")), "{text}");
                }
                assert!(readable(&message).contains("*What comes next*\n"), "{reason}");
            }
        }
    }
}

#[test]
fn a_warning_promises_no_deadline() {
    let text =
        told(&notify(Reason::Warning, "failing", "3 % of 6,000 requests failed"), Arrival::NothingMoved).text;
    assert!(!text.contains("minutes") && !text.contains(" min"), "{text}");
}

#[test]
fn a_schema_change_is_left_to_people_with_the_handbooks_steps() {
    let mut decision = notify(
        Reason::SchemaFence,
        "schema",
        "k-back-00042-abc needs schema 3f8d, k-back-00041-xyz needs 2a1b",
    );
    decision.plan = Some(plan());
    let text = told(&decision, Arrival::NothingMoved).text;
    let command = "gcloud run services update-traffic k-back --to-revisions k-back-00041-xyz=100 \
                   --region asia-northeast1 --project demo-project";
    assert!(
        text.contains("alembic current") && text.contains("only by hand") && text.contains(command),
        "{text}"
    );
}

#[test]
fn hostile_text_pings_nobody_formats_nothing_and_leads_nowhere() {
    let evil = "<!channel> @here *b* `c` ~d~ ```e``` &amp; <https://evil.example|click>\n\n\u{202e}\u{61c}\u{e0041}# x; rm -rf / $(id)";
    let mut decision = rollback();
    decision.incident = evil.into();
    decision.gates.iter_mut().for_each(|gate| gate.detail = evil.into());
    let plan = decision.plan.as_mut().unwrap();
    plan.culprit = revision(evil, Some(evil));
    plan.target.name = evil.to_owned() + "2";
    plan.from = vec![share(evil, 100)];
    plan.to = vec![share(&plan.target.name, 100)];
    decision.service = Some(ServiceName { project: evil.into(), region: evil.into(), service: evil.into() });
    let alert = Alert {
        policy_name: evil.into(),
        condition_name: evil.into(),
        summary: evil.into(),
        url: format!("https://console.cloud.google.com/{evil}"),
        ..alert()
    };
    for arrival in [arrived(), Arrival::NothingMoved, Arrival::NotYet { trouble: Some(evil.into()) }] {
        let message = render(&Notice {
            decision: &decision,
            alert: &alert,
            service_url: Some("javascript:alert(1)"),
            arrival,
            ahead: Ahead::Check,
            probed: None,
        });
        assert_fits(&message, "hostile");
        let blocks = readable(&message);
        for text in [&message.text, &blocks] {
            for bad in [
                "<!",
                "<https://evil",
                "@here",
                "~d~",
                "*b*",
                "`c`",
                "\u{202e}",
                "\u{61c}",
                "\u{e0041}",
                "click>\n",
                "javascript",
            ] {
                assert!(!text.contains(bad), "{bad} in {text}");
            }
            let copied = text
                .lines()
                .filter(|line| line.contains("gcloud run ") || line.contains("runback release --"));
            for line in copied {
                let shown = line.trim_matches('`');
                assert!(
                    shown.chars().all(|c| c.is_ascii_alphanumeric() || " -_.:/=,%…".contains(c)),
                    "{line}"
                );
            }
        }
        assert_eq!(blocks.matches("```").count() % 2, 0);
        assert_eq!(blocks.matches('`').count() % 2, 0);
        assert_eq!(blocks.matches("|Incident>").count(), 0);
    }
}

#[test]
fn limits_hold_and_a_rollback_stays_explained_whatever_the_lengths() {
    for filling in ["x", "&", "`", "@", "\u{1f525}", "_", "*"] {
        let long = filling.repeat(1_000);
        let mut decision = rollback();
        decision.incident = long.clone();
        decision.gates = (0..40).map(|_| gate("failing", true, &long)).collect();
        let names: Vec<String> = (0..50).map(|number| format!("{number}{long}")).collect();
        let plan = decision.plan.as_mut().unwrap();
        plan.proven = false;
        plan.culprit = revision(&names[0], Some(&long));
        plan.target = revision(&names[1], Some(&long));
        plan.from = names.iter().map(|name| share(name, 2)).collect();
        plan.to = names.iter().skip(1).map(|name| share(name, 2)).collect();
        decision.service =
            Some(ServiceName { project: long.clone(), region: long.clone(), service: long.clone() });
        decision.minutes = minutes(&[(u64::MAX / 2_000, 1); 1_000]);
        let alert = Alert {
            policy_name: long.clone(),
            condition_name: long.clone(),
            summary: long.clone(),
            url: format!("https://console.cloud.google.com/{long}"),
            ..alert()
        };
        let url = format!("https://{long}");
        for arrival in [arrived(), Arrival::NothingMoved, Arrival::NotYet { trouble: Some(long.clone()) }] {
            let moved = arrival != Arrival::NothingMoved;
            let message = render(&Notice {
                decision: &decision,
                alert: &alert,
                service_url: Some(&url),
                arrival,
                ahead: Ahead::Check,
                probed: None,
            });
            assert_fits(&message, filling);
            assert!(!moved || message.text.contains("runback release"), "{}", message.text);
            assert!(message.text.contains("reason: confirmed"), "{}", message.text);
        }
        let service = decision.service.as_ref().unwrap();
        assert_fits(&permission_denied(service, Some(&long), Some(&long), &long), filling);
    }
}

#[test]
fn links_lead_only_to_google_and_the_service() {
    let lines = [
        (
            "https://console.cloud.google.com/monitoring?a=1&b=2",
            Some("<https://console.cloud.google.com/monitoring?a=1&amp;b=2|x>"),
        ),
        ("https://console.cloud.google.com.evil.example/", None),
        ("https://console.cloud.google.com@evil.example/", None),
        ("http://console.cloud.google.com/a", None),
        ("https://console.cloud.google.com/", None),
        ("https://console.cloud.google.com/a|b", None),
        ("https://console.cloud.google.com/a>b", None),
        ("https://console.cloud.google.com/a b", None),
        ("", None),
    ];
    for (address, wanted) in lines {
        assert_eq!(
            link("x", address, &["https://console.cloud.google.com/"]).as_deref(),
            wanted,
            "{address}"
        );
    }
    assert_eq!(
        logs_url(&service(), Some("k-back-00042-abc"), Some(at(0))),
        "https://console.cloud.google.com/logs/query;query=resource.type%3D%22cloud_run_revision%22%0A\
         resource.labels.service_name%3D%22k-back%22%0Aresource.labels.location%3D%22asia-northeast1%22%0A\
         resource.labels.revision_name%3D%22k-back-00042-abc%22%0A\
         %28severity%3E%3DERROR%20OR%20textPayload%3D~%22ERROR%7CCRITICAL%7CException%7CTraceback%22%29%0A\
         timestamp%3E%3D%222026-11-21T18%3A04%3A00Z%22?project=demo-project"
    );
}

#[test]
fn a_sparkline_shows_every_minute_and_its_scale() {
    type Row<'a> = (&'a [(u64, u64)], Option<(&'a str, f64)>);
    let table: [Row<'_>; 7] = [
        (&[], None),
        (&[(100, 0)], Some(("▁", 0.0))),
        (&[(100, 100)], Some(("█", 1.0))),
        (
            &[(100, 0), (100, 10), (100, 20), (100, 30), (100, 40), (100, 50), (100, 60), (100, 70)],
            Some(("▁▂▃▄▅▆▇█", 0.7)),
        ),
        (&[(100, 0), (0, 0), (0, 0), (100, 50)], Some(("▁··█", 0.5))),
        (&[(1_000, 1), (1_000, 1_000)], Some(("▂█", 1.0))),
        (&[(1_000, 1), (1_000, 1)], Some(("██", 0.001))),
    ];
    for (counts, wanted) in table {
        let drawn = sparkline(&minutes(counts));
        assert_eq!(drawn.as_ref().map(|(bars, top)| (bars.as_str(), *top)), wanted, "{counts:?}");
    }
    let day = sparkline(&minutes(&[(10, 5); 1_440])).unwrap();
    assert_eq!(day.0, "█".repeat(60));
    let coarse = Sample { start: at(0), end: at(5), requests: 10, bad: 1 };
    assert_eq!(sparkline(&[coarse]).unwrap().0, "█████");
}

#[test]
fn prose_from_outside_is_one_safe_line_of_bounded_length() {
    for (raw, max, wanted) in [
        ("5xx above 5 %", 50, "5xx above 5 %"),
        ("a\r\n\tb  c", 50, "a b c"),
        ("<!channel> & `x`", 50, "&lt;!channel&gt; &amp; 'x'"),
        ("&&&&", 11, "&amp;&amp;…"),
        ("abcd", 4, "abcd"),
        ("abcde", 4, "abc…"),
        (" \u{feff}\n", 4, ""),
    ] {
        assert_eq!(prose(raw, max), wanted, "{raw:?}");
    }
}

#[test]
fn a_verdict_after_the_switch_says_what_is_known_and_what_comes_next() {
    let (start, end) = (at(0), at(6));
    let judged = |bad| evidence::judge(&[Sample { start, end, requests: 300, bad }], 0.05, 20);
    let rollback = Rollback {
        id: "rb-1".into(),
        incident: "0.n4gk2x".into(),
        alerted: Some(at(0) - TimeDelta::seconds(4)),
        at: at(0),
        moved: None,
        culprit: "k-back-00042-abc".into(),
        from: vec![Share { revision: "k-back-00042-abc".into(), percent: 100 }],
        latest: 0,
        slow: false,
        slower_than: None,
        target: "k-back-00041-xyz".into(),
        step: 100,
        phase: Phase::Switching,
        reason: "confirmed".into(),
        why: None,
        trial: false,
        by: None,
    };
    let told = |ended, target, culprit| {
        let (service, rollback) = (&service(), &rollback);
        let (tags, trouble, follows_latest, now) = (&["live", "next"][..], None, false, at(6));
        verdict(&Verdict { service, rollback, ended, target, culprit, tags, trouble, follows_latest, now })
            .text
    };
    assert_eq!(
        told(Afterwards::Recovered, Some(judged(0)), None),
        "k-back: recovered\n\
         k-back-00041-xyz, which has taken over from k-back-00042-abc, is healthy: 0 of 300 requests were bad, 0 %; limit 5 %. \
         It took 4 s from the alert to the switch, and 6 min until this was proven.\n\
         The service stays pinned: the next deploy gets 0 % of the traffic. When the fix is deployed and tried:\n\
         runback release --service projects/demo-project/locations/asia-northeast1/services/k-back\n\
         reason: recovered · incident 0.n4gk2x"
    );
    let escalated = told(Afterwards::NotHelped, Some(judged(120)), Some(judged(120)));
    assert!(escalated.contains("k-back-00041-xyz fails as well"), "{escalated}");
    assert!(escalated.contains("--to-revisions k-back-00042-abc=100"), "{escalated}");
    let nothing = told(Afterwards::Unjudged, Some(evidence::judge(&[], 0.05, 20)), None);
    assert!(nothing.contains("no requests since"), "{nothing}");
    let none = Some(evidence::judge(&[], 0.05, 20));
    assert_eq!(
        told(Afterwards::StillReached, none, Some(judged(120))),
        "k-back: requests still reach the rolled-back revision\n\
         k-back-00042-abc still gets requests, by its tags live and next, which ignore the percentages, 6 min after the switch: \
         120 of 300 requests were bad, 40 %; limit 5 %.\n\
         k-back-00041-xyz: no requests since.\n\
         If users come that way, a tag has to move as well. Ask whoever set it, then:\n\
         gcloud run services update-traffic k-back --update-tags live=k-back-00041-xyz,next=k-back-00041-xyz \
         --region asia-northeast1 --project demo-project\n\
         Runback looks again in three minutes.\n\
         The service stays pinned: the next deploy gets 0 % of the traffic. When the fix is deployed and tried:\n\
         runback release --service projects/demo-project/locations/asia-northeast1/services/k-back\n\
         reason: still_reached · incident 0.n4gk2x"
    );
    let never = told(Afterwards::NeverLeft, none, Some(judged(120)));
    assert!(never.contains("does not look again"), "{never}");
    assert!(never.contains("reason: unjudged"), "{never}");
}

#[test]
fn a_plan_tells_of_the_requests_that_it_does_not_move() {
    let mut decision = rollback();
    let stays = "what arrives by its tag live stays with k-back-00042-abc, whatever its percentage";
    decision.plan = Some(Plan { stays: Some(stays.into()), ..plan() });
    let message = told(&decision, Arrival::Arrived { after: Duration::from_secs(3) });
    assert!(message.text.contains(&format!("Tags: {stays}.")), "{}", message.text);
}

#[test]
fn a_watched_deploy_speaks_of_no_alert() {
    let decision = Decision { incident: "watch-k-back-00042-abc".into(), ..rollback() };
    let alert = Alert { signal: Signal::Deploy, ..Alert::known_by("watch-k-back-00042-abc") };
    let arrival = Arrival::Arrived { after: Duration::from_secs(3) };
    let notice = Notice {
        decision: &decision,
        alert: &alert,
        service_url: None,
        arrival,
        ahead: Ahead::Check,
        probed: None,
    };
    let message = render(&notice);
    assert!(message.text.contains("No alert: Runback watches this deploy"), "{}", message.text);
    assert!(!message.text.contains("the alert arrived"), "{}", message.text);
    assert!(message.text.contains("incident watch-k-back-00042-abc"), "{}", message.text);
}

/// Whatever a cluster of bad luck puts into the record, each ending fits into Slack and carries its code.
#[test]
fn every_ending_fits_into_slack_and_carries_its_code() {
    let long = "<!channel> *x* `y` ".repeat(400);
    let (start, end) = (at(0), at(6));
    let judged = evidence::judge(&[Sample { start, end, requests: 300, bad: 120 }], 0.05, 20);
    for step in [10, 100] {
        for ended in [
            Afterwards::Recovered,
            Afterwards::NotHelped,
            Afterwards::Restored,
            Afterwards::StillReached,
            Afterwards::NeverLeft,
            Afterwards::Unjudged,
            Afterwards::Halted,
            Afterwards::Forbidden,
            Afterwards::Overruled,
            Afterwards::NotArrived,
            Afterwards::StepRefused,
            Afterwards::BackRefused,
        ] {
            let rollback = Rollback {
                id: "rb-1".into(),
                incident: long.clone(),
                alerted: None,
                at: at(0),
                moved: Some(at(1)),
                culprit: long.clone(),
                from: (0..100).map(|_| share(&long, 1)).collect(),
                latest: 0,
                slow: false,
                slower_than: None,
                target: long.clone(),
                step,
                phase: ended.phase(),
                reason: "confirmed".into(),
                why: Some(long.clone()),
                trial: false,
                by: None,
            };
            let (service, rollback) = (&service(), &rollback);
            let (target, culprit, trouble, now) = (Some(judged), Some(judged), Some(long.as_str()), at(6));
            let (follows_latest, tags) = (step == 100, vec![long.as_str(); 20]);
            let tags = &tags[..];
            let message = verdict(&Verdict {
                service,
                rollback,
                ended,
                target,
                culprit,
                tags,
                trouble,
                follows_latest,
                now,
            });
            assert_fits(&message, ended.code());
            assert!(message.text.contains(&format!("reason: {}", ended.code())), "{}", message.text);
            assert!(!message.text.contains("<!channel>"), "{}", message.text);
            for ahead in
                [Ahead::Nothing, Ahead::Check, Ahead::Step { percent: 50, wait: Duration::from_secs(240) }]
            {
                let message = super::step(service, rollback, true, ahead, None);
                assert_fits(&message, "a step");
                assert!(!message.text.contains("<!channel>"), "{}", message.text);
            }
            assert_fits(&no_look_ahead(service, rollback, &long), "no look ahead");
            for permission in ["run.services.update", "cloudtasks.tasks.create", long.as_str()] {
                assert_fits(&held_up(service, permission, Some(&long)), "held up");
            }
            assert_fits(&out_of_sight(service, &long, Reason::UnreadableRecord), "out of sight");
            let message = standing(service, rollback).unwrap();
            assert_fits(&message, "as it stands");
            assert!(!message.text.contains("<!channel>"), "{}", message.text);
        }
    }
}
