use serde_json::json;

use super::*;
use crate::domain::decision::Reason;

const POLICY: &str = r#"{"defaults": {"mode": "enforce"}, "service":
    [{"project": "demo-project", "region": "asia-northeast1", "service": "k-back"}]}"#;

/// 42 fails and 41 was healthy; as a person would write it down.
fn file() -> Value {
    let minutes = |hour: u32, from: u32, to: u32, counts: &str| -> Vec<String> {
        (from..to).map(|minute| format!("2026-11-22T{hour:02}:{minute:02}:00Z 60 {counts}")).collect()
    };
    json!({
        "v": 1,
        "at": "2026-11-22T03:14:00Z",
        "message": {"version": "1.2", "incident": {
            "incident_id": "0.x", "state": "open", "started_at": 1_795_316_700,
            "resource": {"type": "cloud_run_revision", "labels": {
                "project_id": "demo-project", "location": "asia-northeast1", "service_name": "k-back",
                "revision_name": "k-back-00042-abc"}},
            "condition": {"conditionThreshold": {"filter": "metric.type=\"run.googleapis.com/request_count\""}},
        }},
        "service": {
            "project": "demo-project", "region": "asia-northeast1", "service": "k-back",
            "url": "https://k-back.example",
            "spec_traffic": [{"percent": 100}, {"revision": "k-back-00041-xyz", "percent": 0, "tag": "green"}],
            "status_traffic": [{"revision": "k-back-00042-abc", "percent": 100}],
            "tag_urls": {"k-back-00041-xyz": "https://green---k-back.example"},
            "latest_ready": "k-back-00042-abc",
        },
        "revisions": [
            {"name": "k-back-00042-abc", "created_at": "2026-11-22T03:00:00Z", "ready": true},
            {"name": "k-back-00041-xyz", "created_at": "2026-11-20T03:00:00Z", "ready": true,
             "digest": "sha256:41", "commit": "deadbee", "schema": "7"},
        ],
        "evidence": {"errors": {
            "k-back-00042-abc": minutes(3, 0, 14, "60 24"),
            "k-back-00041-xyz": minutes(2, 0, 60, "60 0"),
        }},
        "probes": [{"revision": "k-back-00041-xyz", "probes": 8, "bad": 0, "slowest_ms": 90}],
    })
}

fn parse(file: &Value) -> Result<Snapshot, SnapshotError> {
    Snapshot::parse(file.to_string().as_bytes())
}

fn policy() -> Policy {
    crate::policy_document::parse_json(POLICY).unwrap()
}

#[test]
fn a_snapshot_is_decided_on_as_the_live_service_was() {
    let mut file = file();
    // Only the culprit may need another schema here.
    file["revisions"][0]["schema"] = "7".into();
    let decision = parse(&file).unwrap().decide(&policy()).unwrap();
    assert_eq!(decision.reason, Reason::Confirmed, "{decision}");
    assert_eq!(decision.plan.unwrap().target.name, "k-back-00041-xyz");
}

#[test]
fn what_is_written_is_read_again() {
    let mut dark = file();
    dark["evidence"] = json!({"unreadable": {"why": "HTTP 503", "permission": "monitoring.timeSeries.list"}});
    let mut slow = file();
    slow["evidence"] =
        json!({"slowness": {"slower_than": "3s", "slow": slow["evidence"]["errors"], "errors": {}}});
    let mut recorded = file();
    recorded["record"] = "{\"v\": 2}".into();
    let mut unprobed = file();
    unprobed["probes"] = json!([{"revision": "k-back-00041-xyz", "inconclusive": "cannot be reached"}]);
    let mut due = file();
    due["deadline_passed"] = true.into();
    for file in [file(), dark, slow, recorded, unprobed, due] {
        let snapshot = parse(&file).unwrap();
        let text = snapshot.to_json();
        assert!(Snapshot::parse(text.as_bytes()).unwrap() == snapshot, "{text}");
    }
}

#[test]
fn a_message_alone_is_decided_on_as_far_as_it_goes() {
    let at = parse(&file()).unwrap().at;
    let of = |message: Value| Snapshot::of_message(message.to_string().as_bytes(), at).unwrap();
    let test = json!({"version": "test", "incident": {"incident_id": "0.x", "state": "open"}});
    assert_eq!(of(test).decide(&policy()).unwrap().reason, Reason::TestNotification);
    let ping = json!({"version": "1.2"});
    assert_eq!(of(ping).decide(&policy()).unwrap().reason, Reason::NotAnIncident);
    let guarded = of(file()["message"].clone()).decide(&policy()).unwrap_err();
    assert_eq!(
        guarded.to_string(),
        "The snapshot has nothing of projects/demo-project/locations/asia-northeast1/services/k-back."
    );
}

#[test]
fn a_file_that_is_no_snapshot_gets_one_sentence() {
    let with = |key: &str, value: Value| {
        let mut file = file();
        file[key] = value;
        parse(&file).map(|_| ()).unwrap_err().to_string()
    };
    let sample = |text: &str| with("evidence", json!({"errors": {"k-back-00042-abc": [text]}}));
    let three_hundred = json!([{"revision": "a", "percent": 100}, {"revision": "b", "percent": 200}]);
    let mut service = file()["service"].clone();
    service["status_traffic"] = three_hundred;
    for (got, wanted) in [
        (Snapshot::parse(b"{").unwrap_err().to_string(), "The snapshot is not JSON"),
        (parse(&json!({"version": "1.2"})).unwrap_err().to_string(), "it has no version `v`"),
        (with("v", 2.into()), "has version 2; this Runback reads version 1"),
        (with("colour", 1.into()), "unknown field `colour`"),
        (with("at", "yesterday".into()), "\"yesterday\" is not RFC 3339"),
        (with("service", Value::Null), "has evidence but no `service`"),
        (with("evidence", Value::Null), "has a service but no `evidence`"),
        (with("service", service), "more than 100 %"),
        (with("message", json!([1, 2])), "Expected"),
        (sample("2026-11-22T03:00:00Z 60 10"), "is not \"start seconds requests bad\""),
        (sample("2026-11-22T03:00:00Z 60 10 11"), "is not \"start seconds requests bad\""),
        (sample("2026-11-22T03:00:00Z 99999999999999999 10 1"), "is not \"start seconds requests bad\""),
        (sample("2026-11-22T03:00:00Z 60 18446744073709551615 1"), "is not \"start seconds requests bad\""),
        (sample("then 60 10 1"), "is not \"start seconds requests bad\""),
    ] {
        assert!(got.contains(wanted), "{got}\n  wanted: {wanted}");
        assert_eq!(got.lines().count(), 1, "{got}");
    }
}

#[test]
fn counts_of_slow_requests_hold_for_one_limit_only() {
    let mut file = file();
    file["evidence"] = json!({"slowness": {"slower_than": "1s", "slow": {}, "errors": {}}});
    let misfit = parse(&file).unwrap().misfit(&policy()).unwrap();
    assert_eq!(misfit, "slow requests were counted above 1s, and the policy's slow is 3s");
    file["evidence"]["slowness"]["slower_than"] = "3s".into();
    assert_eq!(parse(&file).unwrap().misfit(&policy()), None);
}
