use super::wire::{Distribution, Interval};
use super::*;
use crate::clients::within::{self, answering};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn rules(history: u64, deploy_window: u64) -> Rules {
    let duration = Duration::from_secs;
    Rules { history: duration(history), deploy_window: duration(deploy_window), ..Rules::default() }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

#[test]
fn the_tiers_join_and_are_whole_periods_and_reach_back_far_enough() {
    let now = at("2026-11-22T03:14:37.250Z");
    for (history, deploy_window) in [
        (7 * DAY, DAY),
        (DAY, 7 * DAY),
        (30 * DAY, HOUR),
        (MINUTE, MINUTE),
        (90, 30),
        (HOUR, 2 * HOUR),
        (25 * HOUR, HOUR),
        (26 * HOUR, HOUR),
        (26 * HOUR + 1, HOUR),
        (27 * HOUR, HOUR),
        (36 * HOUR + 59 * MINUTE + 59, HOUR),
        (HOUR, 5 * DAY + 1),
    ] {
        let about = format!("history {history} s, deploy window {deploy_window} s");
        let tiers = tiers(&rules(history, deploy_window), now);
        let [old, middle, fine] = tiers;
        assert_eq!(fine.end, at("2026-11-22T03:14:00Z"), "{about}: the last whole minute");
        assert_eq!((old.end, middle.end), (middle.start, fine.start), "{about}: no gap, no overlap");
        let periods = [old, middle, fine].map(|tier| tier.period.num_minutes());
        assert_eq!(periods, [60, 5, 1], "{about}");
        for tier in tiers {
            let length = tier.end - tier.start;
            assert!(length >= TimeDelta::zero(), "{about}");
            assert_eq!(length.num_seconds() % tier.period.num_seconds(), 0, "{about}: whole periods");
            assert_eq!(length.subsec_nanos(), 0, "{about}");
        }
        let back = TimeDelta::seconds(i64::try_from(history.max(deploy_window)).unwrap());
        assert!(old.start <= now - back, "{about}: it reaches back only to {}", old.start);
        assert!(fine.end - fine.start >= TimeDelta::hours(1), "{about}: a window of minutes");
    }
}

#[test]
fn a_whole_minute_is_its_own_end() {
    let [_, _, fine] = tiers(&Rules::default(), at("2026-11-22T03:14:00Z"));
    assert_eq!(fine.end, at("2026-11-22T03:14:00Z"));
}

fn list(text: &str) -> List {
    serde_json::from_str(text).unwrap()
}

/// All points of an answer, as [`count`] sees them.
fn counts(text: &str, axis: Axis) -> Vec<(u64, u64)> {
    let series = list(text).time_series;
    let points =
        series.iter().flat_map(|series| series.points.iter().map(|point| (point, &series.metric.labels)));
    points.map(|(point, labels)| count(point, labels, axis, Duration::from_secs(3))).collect()
}

fn series(class: &str, value: &str) -> String {
    format!(
        r#"{{"metric":{{"type":"run.googleapis.com/request_count","labels":{{"response_code_class":"{class}","future":"x"}}}},
            "resource":{{"type":"cloud_run_revision","labels":{{"revision_name":"k-back-00042-abc","project_id":"p"}}}},
            "metricKind":"DELTA","valueType":"INT64",
            "points":[{{"interval":{{"startTime":"2026-11-22T03:13:00Z","endTime":"2026-11-22T03:14:00Z"}},"value":{value}}}]}}"#
    )
}

fn answer(series: &[String]) -> String {
    format!(r#"{{"timeSeries":[{}],"unit":"1"}}"#, series.join(","))
}

#[test]
fn only_answers_of_class_5xx_are_errors() {
    let classes =
        ["2xx", "3xx", "4xx", "5xx", "", "50x"].map(|class| series(class, r#"{"int64Value":"12"}"#));
    let counted = counts(&answer(&classes), Axis::Errors);
    assert_eq!(counted, [(12, 0), (12, 0), (12, 0), (12, 12), (12, 0), (12, 0)]);
}

#[test]
fn counts_are_texts_of_64_bits() {
    let big = counts(&answer(&[series("5xx", r#"{"int64Value":"9223372036854775807"}"#)]), Axis::Errors);
    assert_eq!(big, [(9_223_372_036_854_775_807, 9_223_372_036_854_775_807)]);
    let exact = counts(&answer(&[series("2xx", r#"{"int64Value":"9007199254740993"}"#)]), Axis::Errors);
    assert_eq!(exact, [(9_007_199_254_740_993, 0)]);
    for nothing in [r#"{"int64Value":"0"}"#, "{}", r#"{"int64Value":"-1"}"#, r#"{"int64Value":"many"}"#] {
        assert_eq!(counts(&answer(&[series("5xx", nothing)]), Axis::Errors), [(0, 0)], "{nothing}");
    }
}

#[test]
fn an_answer_is_understood_with_what_is_left_out() {
    assert!(list("{}").time_series.is_empty());
    assert!(list(r#"{"unit":"1"}"#).next_page_token.is_empty());
    let partial =
        list(r#"{"timeSeries":[{}],"nextPageToken":"p2","executionErrors":[{"code":4,"message":"late"}]}"#);
    assert_eq!(
        (partial.next_page_token.as_str(), partial.execution_errors[0].message.as_str()),
        ("p2", "late")
    );
    assert_eq!(partial.time_series[0].resource.labels.revision_name, "");
    let found = list(&answer(&[series("5xx", "{}")]));
    assert_eq!(found.time_series[0].resource.labels.revision_name, "k-back-00042-abc");
    assert_eq!(
        found.time_series[0].points[0].interval.times(),
        Some((at("2026-11-22T03:13:00Z"), at("2026-11-22T03:14:00Z")))
    );
    let odd = Interval { start_time: "yesterday".into(), end_time: "2026-11-22T03:14:00Z".into() };
    assert_eq!(odd.times(), None);
}

/// All requests and the slow ones of a distribution, where slow is above so many milliseconds.
fn slow(distribution: &str, milliseconds: u64) -> (u64, u64) {
    let distribution: Distribution = serde_json::from_str(distribution).unwrap();
    distribution.count(Duration::from_millis(milliseconds))
}

#[test]
fn explicit_buckets_count_when_they_lie_wholly_above_the_limit() {
    // Below 100, 100 to 1000, 1000 to 3000, 3000 to 5000, above 5000.
    let buckets = |counts: &str| {
        format!(
            r#"{{"count":"31","mean":1,"bucketOptions":{{"explicitBuckets":{{"bounds":[100,1000,3000,5000]}}}},"bucketCounts":[{counts}]}}"#
        )
    };
    let all = buckets(r#""1","2","4","8","16""#);
    for (limit, wanted) in [
        (3_000, 24),
        (2_999, 24),
        (3_001, 16),
        (4_000, 16),
        (1_000, 28),
        (500, 28),
        (5_000, 16),
        (5_001, 0),
        (60_000, 0),
        (100, 30),
        (50, 30),
    ] {
        assert_eq!(slow(&all, limit), (31, wanted), "above {limit} ms");
    }
    assert_eq!(slow(&buckets(r#""1","2","4","8""#), 3_000), (31, 8), "trailing empty buckets are not sent");
    assert_eq!(slow(&buckets(r#""31""#), 3_000), (31, 0));
    assert_eq!(slow(&buckets(""), 3_000), (31, 0));
}

#[test]
fn the_first_bucket_never_counts() {
    let one = r#"{"count":"9","bucketOptions":{"explicitBuckets":{"bounds":[5000]}},"bucketCounts":["9"]}"#;
    assert_eq!(slow(one, 3_000), (9, 0), "it reaches down to 0");
}

#[test]
fn exponential_buckets_count_when_they_lie_wholly_above_the_limit() {
    // Below 1000, 1000 to 2000, 2000 to 4000, 4000 to 8000, 8000 to 16000; 16000 and more.
    let buckets = |counts: &str| {
        format!(
            r#"{{"count":"63","bucketOptions":{{"exponentialBuckets":{{"numFiniteBuckets":4,"growthFactor":2,"scale":1000}}}},"bucketCounts":[{counts}]}}"#
        )
    };
    let all = buckets(r#""1","2","4","8","16","32""#);
    for (limit, wanted) in [
        (3_000, 56),
        (4_000, 56),
        (4_001, 48),
        (2_000, 60),
        (1_000, 62),
        (999, 62),
        (16_000, 32),
        (16_001, 0),
    ] {
        assert_eq!(slow(&all, limit), (63, wanted), "above {limit} ms");
    }
    assert_eq!(slow(&buckets(r#""1","2","4","8""#), 3_000), (63, 8), "trailing empty buckets are not sent");
}

#[test]
fn cloud_runs_own_buckets_leave_out_the_one_that_holds_the_limit() {
    // The scale of run.googleapis.com/request_latencies: growth by a tenth or so, so the limit lies inside a bucket.
    let text = |counts: &[String]| {
        format!(
            r#"{{"count":"120","bucketOptions":{{"exponentialBuckets":{{"numFiniteBuckets":121,"growthFactor":1.1,"scale":1}}}},"bucketCounts":[{}]}}"#,
            counts.join(",")
        )
    };
    let ones = vec![r#""1""#.to_owned(); 123];
    // 1.1^84 is 2999.06… and 1.1^85 is 3298.9…: bucket 85 holds the limit, bucket 86 is the first wholly above it.
    assert_eq!(slow(&text(&ones), 3_000), (120, 123 - 86));
    assert_eq!(slow(&text(&ones[..86]), 3_000), (120, 0), "the bucket that holds the limit does not count");
    assert_eq!(slow(&text(&ones[..87]), 3_000), (120, 1));
}

#[test]
fn linear_buckets_count_when_they_lie_wholly_above_the_limit() {
    // Below 500, then steps of 1000 from 500: 500, 1500, 2500, 3500, 4500.
    let buckets = |offset: &str| {
        format!(
            r#"{{"count":"63","bucketOptions":{{"linearBuckets":{{"numFiniteBuckets":4,"width":1000{offset}}}}},"bucketCounts":["1","2","4","8","16","32"]}}"#
        )
    };
    let from_500 = buckets(r#","offset":500"#);
    for (limit, wanted) in
        [(3_000, 48), (2_500, 56), (3_500, 48), (3_501, 32), (500, 62), (4_500, 32), (4_501, 0)]
    {
        assert_eq!(slow(&from_500, limit), (63, wanted), "above {limit} ms");
    }
    assert_eq!(slow(&buckets(""), 3_000), (63, 32 + 16), "an offset of 0 is not sent");
}

#[test]
fn a_distribution_without_buckets_proves_nothing_slow() {
    assert_eq!(slow(r#"{"count":"9"}"#, 3_000), (9, 0));
    assert_eq!(slow(r#"{"count":"9","bucketOptions":{},"bucketCounts":["1","8"]}"#, 3_000), (9, 0));
    assert_eq!(slow("{}", 3_000), (0, 0));
    assert_eq!(slow(r#"{"mean":0,"future":[]}"#, 3_000), (0, 0));
    assert_eq!(counts(&answer(&[series("", "{}")]), Axis::Slowness), [(0, 0)]);
    let value = r#"{"distributionValue":{"count":"7","bucketOptions":{"explicitBuckets":{"bounds":[3000]}},"bucketCounts":["3","4"]}}"#;
    assert_eq!(
        counts(&answer(&[series("5xx", value)]), Axis::Slowness),
        [(7, 4)],
        "the response code means nothing here"
    );
}

#[test]
fn a_name_cannot_say_more_than_a_name_in_a_query() {
    let google = within::google(answering(|_| None));
    let monitoring = Monitoring::new(google, "https://monitoring.googleapis.com");
    let name = ServiceName {
        project: "p/../q".into(),
        region: "r".into(),
        service: r#"k" OR resource.type="\"#.into(),
    };
    let [_, _, fine] = tiers(&Rules::default(), at("2026-11-22T03:14:00Z"));
    let url = monitoring.url(&name, Axis::Errors, fine, "").unwrap();
    assert_eq!(url.path(), "/v3/projects/p%2F..%2Fq/timeSeries");
    let (_, filter) = url.query_pairs().find(|(name, _)| name == "filter").unwrap();
    let service = r#"resource.labels.service_name="k\" OR resource.type=\"\\" AND"#;
    assert!(filter.contains(service), "{filter}");
}
