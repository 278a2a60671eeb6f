use serde_json::json;

use super::*;

const COUNT: &str =
    r#"resource.type = "cloud_run_revision" AND metric.type = "run.googleapis.com/request_count""#;
const LATENCY: &str =
    r#"resource.type = "cloud_run_revision" AND metric.type = "run.googleapis.com/request_latencies""#;

/// A threshold condition on what a filter lets through, above 5.
fn above(filter: &str) -> Value {
    json!({"condition": {"conditionThreshold": {"filter": filter, "comparison": "COMPARISON_GT", "thresholdValue": 5}}})
}

fn count_of(terms: &str) -> Value {
    above(&format!("{COUNT} AND {terms}"))
}

fn promql(query: &str) -> Value {
    json!({"condition": {"conditionPrometheusQueryLanguage": {"query": query}}})
}

fn mql(query: &str) -> Value {
    json!({"condition": {"conditionMonitoringQueryLanguage": {"query": query}}})
}

/// The incident with one more field, by JSON pointer.
fn with(mut incident: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    incident.pointer_mut(parent).unwrap()[key] = value;
    incident
}

fn of_series(incident: Value, labels: Value) -> Value {
    with(incident, "/metric", json!({"labels": labels}))
}

fn accuses(incident: &Value) -> bool {
    read(incident).1.accuses
}

#[test]
fn a_condition_on_5xx_or_latency_above_a_limit_accuses() {
    let class = "metric.labels.response_code_class";
    let code = "metric.labels.response_code";
    for incident in [
        count_of(&format!(r#"{class} = "5xx""#)),
        count_of(r#"metric.label."response_code_class"="5xx""#),
        count_of(&format!("{class}='5xx'")),
        count_of(&format!(r#"{code} >= "500""#)),
        count_of(&format!("{code} > 499")),
        count_of(&format!("{code} >= 500 AND {code} < 600")),
        count_of(&format!(r#"({code} = "502" OR {code} = "503")"#)),
        count_of(&format!(r#"{code} = one_of("500", "503")"#)),
        count_of(&format!(r#"{code} = starts_with("5")"#)),
        count_of(&format!(r#"{class} = monitoring.regex.full_match("5..")"#)),
        count_of(&format!(r#"NOT resource.labels.service_name = "other" AND {class} = "5xx""#)),
        // The series that fired says it, where the condition has one for each class or code.
        of_series(above(COUNT), json!({"response_code_class": "5xx"})),
        of_series(above(COUNT), json!({"response_code": "503"})),
        of_series(count_of(&format!(r#"{code} >= "400""#)), json!({"response_code": "500"})),
        // A ratio is about its numerator.
        with(
            count_of(&format!(r#"{class} = "5xx""#)),
            "/condition/conditionThreshold/denominatorFilter",
            json!(COUNT),
        ),
        // More than none at all is too many only of what should never happen.
        with(above(COUNT), "/condition/conditionThreshold/thresholdValue", json!(null)),
        above(LATENCY),
        above(r#"select_slo_burn_rate("projects/p/services/s/serviceLevelObjectives/o", "3600s")"#),
        promql(r#"sum(rate(run_googleapis_com:request_count{response_code_class="5xx"}[5m])) > 1"#),
        promql(r#"sum(rate({"run.googleapis.com/request_count", response_code=~"5..|5.*"}[5m])) >= 1"#),
        promql(
            r#"1 - sum(rate(run_googleapis_com:request_count{response_code_class!="5xx"}[5m]))
               / sum(rate(run_googleapis_com:request_count[5m])) > 0.05"#,
        ),
        promql(
            "histogram_quantile(0.95, sum by (le) (rate(run_googleapis_com:request_latencies_bucket[5m]))) > 3000",
        ),
        mql("fetch cloud_run_revision | metric 'run.googleapis.com/request_count' | align rate(1m)
             | filter_ratio_by [resource.service_name], metric.response_code_class == '5xx'
             | condition val() > 0.05 '1'"),
        mql("fetch cloud_run_revision::run.googleapis.com/request_count
             | filter response_code >= 500 && response_code < 600 | condition gt(val(), 5)"),
        mql(
            "fetch cloud_run_revision::run.googleapis.com/request_latencies | percentile 95 | condition val() > 2 's'",
        ),
    ] {
        assert!(accuses(&incident), "{incident}");
    }
}

#[test]
fn what_says_nothing_about_failed_requests_accuses_nobody() {
    let class = "metric.labels.response_code_class";
    let below = |incident| with(incident, "/condition/conditionThreshold/comparison", json!("COMPARISON_LT"));
    let failed = || count_of(&format!(r#"{class} = "5xx""#));
    for incident in [
        above(COUNT),
        count_of(&format!(r#"{class} = "4xx""#)),
        count_of(&format!(r#"{class} != "2xx""#)),
        count_of(&format!(r#"{class} != "5xx""#)),
        count_of(&format!(r#"NOT {class} = "5xx""#)),
        count_of(&format!(r#"-{class} = "5xx""#)),
        count_of(&format!(r#"({class} = "5xx" OR {class} = "4xx")"#)),
        count_of(&format!(r#"{class} = monitoring.regex.full_match("[45]..")"#)),
        count_of(&format!(r#"{class} = monitoring.regex.full_match("5?..")"#)),
        count_of(r#"metric.labels.response_code >= "400""#),
        count_of(r#"metric.labels.response_code = "429""#),
        count_of(r#"metric.labels.response_code = one_of("429", "503")"#),
        // Nor above zero: this count is not of all requests.
        with(count_of(&format!(r#"{class}:"4""#)), "/condition/conditionThreshold/thresholdValue", json!(0)),
        with(
            count_of(&format!(r#"{class}="4xx""#)),
            "/condition/conditionThreshold/thresholdValue",
            json!(0),
        ),
        // The series that fired is one of 4xx.
        of_series(above(COUNT), json!({"response_code_class": "4xx"})),
        of_series(above(COUNT), json!({"response_code": "404"})),
        of_series(
            with(above(COUNT), "/condition/conditionThreshold/thresholdValue", json!(0)),
            json!({"response_code": "404"}),
        ),
        // Too few failed requests are no complaint, nor is a forecast of them, nor a condition that does not say.
        below(failed()),
        below(above(LATENCY)),
        below(above(COUNT)),
        with(failed(), "/condition/conditionThreshold/comparison", json!(null)),
        with(failed(), "/condition/conditionThreshold/forecastOptions", json!({"forecastHorizon": "3600s"})),
        // Failed requests are only what it divides by.
        with(
            above(COUNT),
            "/condition/conditionThreshold/denominatorFilter",
            json!(format!(r#"{COUNT} {class}="5xx""#)),
        ),
        with(
            above(LATENCY),
            "/condition/conditionThreshold/aggregations",
            json!([{"perSeriesAligner": "ALIGN_COUNT"}]),
        ),
        json!({"condition": {"conditionAbsent": {"filter": failed()["condition"]["conditionThreshold"]["filter"]}}}),
        json!({"metric": {"type": "run.googleapis.com/request_count", "labels": {"response_code_class": "5xx"}}}),
        above(r#"metric.type = "run.googleapis.com/container/cpu/utilizations""#),
        promql("sum(rate(run_googleapis_com:request_count[5m])) > 1000"),
        promql(r#"sum(rate(run_googleapis_com:request_count{response_code_class="2xx"}[5m])) < 1"#),
        promql(r#"sum(rate(run_googleapis_com:request_count{response_code=~"4..|5.."}[5m])) > 1"#),
        promql(r#"sum(rate(run_googleapis_com:request_count{response_code_class!="5xx"}[5m])) > 1"#),
        promql(r#"absent(run_googleapis_com:request_count{response_code_class="5xx"})"#),
        promql(
            r#"sum(rate(run_googleapis_com:request_count{response_code_class!="5xx"}[5m]))
               / sum(rate(run_googleapis_com:request_count[5m])) < 0.99"#,
        ),
        promql("sum(rate(run_googleapis_com:request_latencies_count[5m])) > 1000"),
        mql("fetch cloud_run_revision::run.googleapis.com/request_count | condition val() > 1000"),
        mql("fetch cloud_run_revision::run.googleapis.com/request_count
             | filter metric.response_code_class != '5xx' | condition val() > 10"),
        mql("fetch cloud_run_revision::run.googleapis.com/request_count
             | filter !(metric.response_code_class == '5xx') | condition val() > 10"),
        mql("fetch cloud_run_revision::run.googleapis.com/request_count
             | filter response_code >= 500 | condition val() < 10"),
        mql("fetch cloud_run_revision::run.googleapis.com/request_count | filter response_code >= 500"),
        json!({}),
    ] {
        assert!(!accuses(&incident), "{incident}");
    }
}

#[test]
fn a_burn_rate_that_is_written_out_is_a_slow_burn() {
    let failed = |window: &str| {
        format!(
            r#"(1 - (sum(rate(run_googleapis_com:request_count{{response_code_class!="5xx"}}[{window}]))
               / sum(rate(run_googleapis_com:request_count[{window}]))))"#
        )
    };
    let (short, long) = (failed("5m"), failed("1h"));
    for (query, expected) in [
        (format!("{short} > (1 - 0.999) * 14.4 and {long} > (1 - 0.999) * 14.4"), Signal::SlowBurn),
        (format!("{short} > (14.4 * (1-0.99))"), Signal::SlowBurn),
        (format!("{short} / (1 - 99.9/100) > 14.4"), Signal::SlowBurn),
        (format!("{short} > 0.0144 and {long} > 0.0144"), Signal::SlowBurn),
        (format!("{short} > 0.0144 AND on() {long} > 0.0144"), Signal::SlowBurn),
        (format!("{short} > 0.05"), Signal::Errors),
        (format!("{short} > 0.05 and {short} > 0.05"), Signal::Errors),
        (format!("{short} > 2 * {long}"), Signal::Errors),
        (format!("{short} > 0.05 and sum(rate(run_googleapis_com:request_count[10m])) > 1"), Signal::Errors),
    ] {
        let incident = promql(&query);
        assert_eq!(read(&incident).0, expected, "{query}");
        assert!(accuses(&incident), "{query}");
    }
    let ratio = "fetch cloud_run_revision::run.googleapis.com/request_count
         | filter_ratio_by [], response_code_class == '5xx'";
    let burn = mql(&format!("{ratio} | condition val() > 14.4 * (1 - 0.999)"));
    assert_eq!(read(&burn), (Signal::SlowBurn, Condition { accuses: true, ..read(&burn).1 }));
    assert_eq!(read(&mql(&format!("{ratio} | condition val() > 0.05"))).0, Signal::Errors);
}

#[test]
fn the_policys_user_label_says_what_is_judged_and_not_what_is_trusted() {
    let labelled =
        |incident: Value, word: &str| with(incident, "/policy_user_labels", json!({"runback_signal": word}));
    let harmless = || above(COUNT);
    for (word, expected) in [
        ("slow_burn", Signal::SlowBurn),
        ("errors", Signal::Errors),
        ("latency", Signal::Latency),
        ("saturation", Signal::Errors),
    ] {
        let (signal, condition) = read(&labelled(harmless(), word));
        assert_eq!((signal, condition.accuses), (expected, false), "{word}");
    }
    let log = json!({"condition": {"conditionMatchedLog": {"filter": "severity>=ERROR"}}});
    let (signal, condition) = read(&labelled(log, "errors"));
    assert_eq!((signal, condition.accuses), (Signal::Errors, false));
    assert!(accuses(&labelled(above(LATENCY), "latency")));
}

#[test]
fn a_latency_condition_s_own_limit_is_a_time() {
    let limit = |incident: &Value| read(incident).1.slower_than.map(|limit| limit.as_millis());
    let pointer = "/condition/conditionThreshold";
    let threshold = |value: Value, aligner: &str| {
        let incident = with(above(LATENCY), &format!("{pointer}/thresholdValue"), value);
        with(incident, &format!("{pointer}/aggregations"), json!([{"perSeriesAligner": aligner}]))
    };
    let percentile = |value: Value| threshold(value, "ALIGN_PERCENTILE_95");
    let quantile =
        "histogram_quantile(0.95, sum by (le) (rate(run_googleapis_com:request_latencies_bucket[5m])))";
    let mean = "sum(rate(run_googleapis_com:request_latencies_sum[5m])) / sum(rate(run_googleapis_com:request_latencies_count[5m]))";
    let fast = r#"sum(rate(run_googleapis_com:request_latencies_bucket{le="2000"}[5m]))"#;
    let all = "sum(rate(run_googleapis_com:request_latencies_count[5m]))";
    let fetch =
        "fetch cloud_run_revision::run.googleapis.com/request_latencies | group_by [], percentile(val(), 95)";
    for (incident, expected) in [
        (percentile(json!(2_000)), Some(2_000)),
        (percentile(json!(750.5)), Some(750)),
        (threshold(json!(2_000), "ALIGN_DELTA"), None),
        (threshold(json!(20), "ALIGN_PERCENT_CHANGE"), None),
        (percentile(json!(null)), None),
        (percentile(json!(-1)), None),
        (percentile(json!(0)), None),
        (percentile(json!(1e300)), None),
        (percentile(json!(3_600_001)), None),
        (with(percentile(json!(2_000)), &format!("{pointer}/comparison"), json!("COMPARISON_LT")), None),
        (with(percentile(json!(2_000)), &format!("{pointer}/denominatorFilter"), json!(COUNT)), None),
        (with(percentile(json!(2_000)), "/policy_user_labels", json!({"runback_signal": "errors"})), None),
        (promql(&format!("{quantile} > 2000")), Some(2_000)),
        (promql(&format!("{quantile} / 1000 > 2.5")), Some(2_500)),
        (promql(&format!("{mean} >= 800")), Some(800)),
        (promql(&format!("1 - {fast} / {all} > 0.05")), Some(2_000)),
        (promql(&format!("{quantile} > 2000 and {all} > 1")), None),
        (promql(&format!("{quantile} > 2 * 1000")), None),
        (promql(&format!("{quantile} < 2000")), None),
        (mql(&format!("{fetch} | condition val() > 2 's'")), Some(2_000)),
        (mql(&format!("{fetch} | condition val() > 750 'ms'")), Some(750)),
        (mql(&format!("{fetch} | condition val() > 750")), Some(750)),
        (mql(&format!("{fetch} | condition val() > 2 'parsecs'")), None),
        (count_of(r#"metric.labels.response_code_class = "5xx""#), None),
    ] {
        assert_eq!(limit(&incident), expected, "{incident}");
    }
}

#[test]
fn a_condition_names_a_service_where_it_pins_it_to_one() {
    let place = |incident: &Value| -> Vec<String> {
        let labels = read(incident).1.labels;
        labels.iter().map(|(label, value)| format!("{label}={value}")).collect()
    };
    for (incident, expected) in [
        (count_of(r#"resource.labels.service_name = "k-back""#), vec!["service_name=k-back"]),
        (
            count_of(r#"resource.label."service_name"="k-back" resource.label.location=us-east1"#),
            vec!["service_name=k-back"],
        ),
        (
            promql(r#"sum(rate(m{service_name="k-back",location="us-east1",project_id='p-1'}[5m])) > 1"#),
            vec!["location=us-east1", "project_id=p-1", "service_name=k-back"],
        ),
        (
            promql(r#"sum(a{service_name="k-back"}) / sum(b{service_name="k-back"}) > 1"#),
            vec!["service_name=k-back"],
        ),
        (
            mql("fetch x | filter resource.service_name == 'k-back' | condition val() > 1"),
            vec!["service_name=k-back"],
        ),
        (promql(r#"sum(a{service_name="k-back"}) / sum(b{service_name="k-front"}) > 1"#), vec![]),
        (promql(r#"sum by (service_name) (rate(m{service_name=~"k-.*"}[5m])) > 1"#), vec![]),
        (count_of(r#"resource.labels.service_name != "k-back""#), vec![]),
        (count_of(r#"NOT resource.labels.service_name = "k-back""#), vec![]),
        (count_of(r#"resource.labels.service_name = starts_with("k-")"#), vec![]),
        (promql(r#"sum(m{service_name="$service"}) > 1"#), vec![]),
    ] {
        assert_eq!(place(&incident), expected, "{incident}");
    }
}

#[test]
fn the_labels_of_a_querys_series_are_its_resource_s() {
    let labels = json!({"service_name": "k-back", "location": "us-east1", "response_code": "500"});
    let names = |incident: &Value| -> Vec<String> {
        place_of_series(incident).map(|(name, value)| format!("{name}={value}")).collect()
    };
    let query = of_series(promql("up > 1"), labels.clone());
    assert_eq!(
        names(&query),
        ["project_id=null", r#"location="us-east1""#, r#"service_name="k-back""#, "revision_name=null"]
    );
    assert_eq!(names(&of_series(above(COUNT), labels)), Vec::<String>::new());
}

#[test]
fn a_hostile_query_costs_no_time() {
    for text in ["response_code=", "a.response_code_class=\"5xx\".", "service_name=x(", "[", "'", "-"] {
        let long = text.repeat(200_000 / text.len());
        for incident in [promql(&long), mql(&long), above(&format!("{COUNT} {long}"))] {
            let began = std::time::Instant::now();
            read(&incident);
            assert!(began.elapsed() < std::time::Duration::from_secs(2), "{text}");
        }
    }
}

#[test]
fn only_a_query_is_about_cloud_run_whatever_its_series_is_of() {
    let queries = |incident: &Value| read(incident).1.queries_cloud_run;
    assert!(queries(&promql("sum(rate(run_googleapis_com:request_count[5m])) > 1")));
    assert!(queries(&mql(
        "fetch cloud_run_revision::run.googleapis.com/request_count | condition val() > 1"
    )));
    assert!(!queries(&promql("up > 1")));
    assert!(!queries(&above(COUNT)));
}
