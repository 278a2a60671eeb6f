//! What a notification says, whatever its fields are.

use serde_json::{Value, json};

use super::*;
use crate::intake::BATCH;

#[test]
fn a_state_is_read_in_any_case_and_never_guessed() {
    for (state, expected) in [
        (json!("open"), IncidentState::Open),
        (json!(" OPEN "), IncidentState::Open),
        (json!("Closed"), IncidentState::Closed),
        (json!("opened"), IncidentState::Unknown("opened".to_owned())),
        (json!(1), IncidentState::Unknown("1".to_owned())),
        (json!(null), IncidentState::Unknown(String::new())),
        (json!(["open"]), IncidentState::Unknown(String::new())),
    ] {
        assert_eq!(alert_with("state", state).state, expected);
    }
}

#[test]
fn the_beginning_of_an_incident_is_a_time_or_nothing() {
    let second = Some(at("2025-11-15T13:03:02Z"));
    for (started_at, expected) in [
        (json!(1_763_211_782), second),
        (json!(1_763_211_782.0), second),
        (json!("1763211782"), second),
        (json!(" 1763211782.0 "), second),
        (json!(1_763_211_782_000_u64), second),
        (json!("2025-11-15T22:03:02+09:00"), second),
        (json!(0), None),
        (json!("0"), None),
        (json!(-5), None),
        (json!(0.4), None),
        (json!(null), None),
        (json!("None"), None),
        (json!(""), None),
        (json!("nan"), None),
        (json!("inf"), None),
        (json!("1e300"), None),
        (json!(u64::MAX), None),
        (json!(i64::MIN), None),
        (json!(1e300), None),
        (json!([1_763_211_782]), None),
        (json!("+10000-01-01T00:00:00Z"), None),
        (json!("yesterday"), None),
    ] {
        let text = started_at.to_string();
        assert_eq!(alert_with("started_at", started_at).started_at, expected, "{text}");
    }
}

#[test]
fn a_label_is_a_scalar_spelled_out() {
    let labels = json!({"text": "a", "number": 7, "float": 0.5, "truth": true, "名前": "値",
        "empty": "", "null": null, "list": ["a"], "map": {"a": "b"}});
    let alert = alert_with("policy_user_labels", labels);
    let read: Vec<_> = alert.policy_labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(read, ["float=0.5", "number=7", "text=a", "truth=true", "名前=値"]);
}

#[test]
fn a_number_for_a_name_is_a_name_and_a_word_for_nothing_is_none() {
    assert_eq!(alert_with("incident_id", json!(12345)).incident, "12345");
    for nothing in [json!(null), json!("None"), json!("null"), json!(" "), json!({})] {
        // Then what fired, and when, stands for it.
        let incident = alert_with("incident_id", nothing.clone()).incident;
        assert!(incident.starts_with("unnamed-"), "{incident}");
        assert_eq!(alert_with("scoping_project_id", nothing).scoping_project, None);
    }
}

#[test]
fn the_policy_is_the_one_that_the_condition_belongs_to() {
    for (name, policy) in [
        (json!("projects/p/alertPolicies/16256/conditions/16"), Some("16256")),
        (json!("projects/987654/alertPolicies/5xx-policy/conditions/1"), Some("5xx-policy")),
        (json!("projects/p/alertPolicies/"), None),
        (json!("projects/p/conditions/1"), None),
        (json!(7), None),
        (json!(null), None),
    ] {
        let condition = json!({"name": name});
        assert_eq!(alert_with("condition", condition).policy_id.as_deref(), policy);
    }
}

#[test]
fn so_many_labels_or_names_as_no_policy_has_are_cut() {
    let labels: serde_json::Map<String, Value> =
        (0..500).map(|number| (format!("{number}{}", "x".repeat(300)), json!("a"))).collect();
    let read = alert_with("policy_user_labels", Value::Object(labels)).policy_labels;
    assert_eq!(read.len(), 100);
    assert!(read.keys().all(|name| name.chars().count() == 200));
}

#[test]
fn only_the_version_test_makes_a_test() {
    let mut notification = recorded();
    for (version, is_test) in [
        (json!("test"), true),
        (json!("TEST"), true),
        (json!("1.2"), false),
        (json!(1.1), false),
        (json!(null), false),
        (json!(["test"]), false),
    ] {
        notification["version"] = version;
        assert_eq!(alert(&notification).is_test, is_test);
    }
}

#[test]
fn the_signal_is_what_the_condition_measures() {
    let run = r#"resource.type = "cloud_run_revision""#;
    let count = format!(r#"{run} AND metric.type = "run.googleapis.com/request_count""#);
    let slow = format!(r#"{run} AND metric.type = "run.googleapis.com/request_latencies""#);
    let cpu = format!(r#"{run} AND metric.type="run.googleapis.com/container/cpu/utilizations" "#);
    let burn = r#"select_slo_burn_rate("projects/p/services/s/serviceLevelObjectives/o","1h")"#;
    let promql = "sum(rate(run_googleapis_com:request_count{response_code_class=\"5xx\"}[5m]))";
    let threshold = |filter: &str| json!({"conditionThreshold": {"filter": filter}});
    let ratio = |filter: &str, denominator: &str| json!({"conditionThreshold": {"filter": filter, "denominatorFilter": denominator}});
    for (metric, condition, expected) in [
        ("", threshold(&count), Signal::Errors),
        ("", threshold(&slow), Signal::Latency),
        ("", threshold(&cpu), Signal::Other),
        ("", threshold(burn), Signal::SlowBurn),
        ("", threshold(run), Signal::Other),
        ("", ratio(&count, &count), Signal::Errors),
        ("", ratio(run, run), Signal::Errors),
        ("", ratio(run, &cpu), Signal::Other),
        ("", ratio("", run), Signal::Other),
        ("logging.googleapis.com/user/x", ratio(run, run), Signal::Other),
        ("run.googleapis.com/request_count", json!(null), Signal::Errors),
        ("run.googleapis.com/request_count", json!(7), Signal::Errors),
        ("run.googleapis.com/request_count", json!({"conditionAbsent": {"filter": count}}), Signal::Other),
        ("", json!({"conditionMatchedLog": {"filter": "run.googleapis.com/request_count"}}), Signal::Other),
        ("", json!({"conditionPrometheusQueryLanguage": {"query": promql}}), Signal::Errors),
        (
            "",
            json!({"conditionMonitoringQueryLanguage": {"query":
            "fetch cloud_run_revision | metric 'run.googleapis.com/request_latencies'"}}),
            Signal::Latency,
        ),
        ("", json!(null), Signal::Other),
    ] {
        let mut notification = recorded();
        notification["incident"]["metric"]["type"] = json!(metric);
        notification["incident"]["condition"] = condition.clone();
        assert_eq!(alert(&notification).signal, expected, "{condition}");
    }
}

#[test]
fn a_long_text_is_cut_between_two_characters() {
    let long = "障害".repeat(5_000);
    assert_eq!(alert_with("summary", json!(long)).summary.chars().count(), 2_000);
    assert_eq!(alert_with("incident_id", json!(long)).incident.chars().count(), 200);
    assert_eq!(alert_with("summary", json!("<!channel> & *x*")).summary, "<!channel> & *x*");
}

#[test]
fn a_payload_nested_without_end_is_no_incident() {
    let deep = format!("{{\"incident\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    not_an_incident(NONE, &pushed(&deep));
    not_an_incident(&[("x-goog-pubsub-message-id", "1")], &deep);
    refusal(NONE, &deep);
    refusal(&[("content-type", STRUCTURED)], &deep);
    refusal(&[("content-type", BATCH)], &deep);
}

#[test]
fn no_field_of_another_type_costs_the_rest() {
    let replacements =
        [json!(null), json!(7), json!(-1e300), json!("None"), json!(true), json!([]), json!({"a": [{}]})];
    for (file, ..) in PAYLOADS {
        let Ok(original) = serde_json::from_str::<Value>(&fixture("payloads", file)) else {
            continue;
        };
        for field in original["incident"].as_object().unwrap().keys() {
            for value in &replacements {
                let mut notification = original.clone();
                notification["incident"][field] = value.clone();
                let mutated = alert(&notification);
                let expected = alert(&original);
                if field != "incident_id" {
                    assert_eq!(mutated.incident, expected.incident, "{file} {field}");
                }
                if field != "state" {
                    assert_eq!(mutated.state, expected.state, "{file} {field}");
                }
            }
        }
    }
}
