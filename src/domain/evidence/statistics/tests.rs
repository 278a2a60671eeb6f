use super::*;
use chrono::{DateTime, TimeDelta};

/// Minutes with `(requests, bad)` each.
fn minutes(counts: &[(u64, u64)]) -> Vec<Sample> {
    let mut start = DateTime::UNIX_EPOCH;
    counts
        .iter()
        .map(|&(requests, bad)| {
            let sample = Sample { start, end: start + TimeDelta::minutes(1), requests, bad };
            start += TimeDelta::minutes(1);
            sample
        })
        .collect()
}

#[test]
fn the_interval_agrees_with_published_figures() {
    // Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I, method 3.
    for (bad, requests, lower, upper) in
        [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
    {
        let (low, high) = wilson(bad, requests);
        assert!((low - lower).abs() < 5e-5 && (high - upper).abs() < 5e-5, "{bad}/{requests}: {low} {high}");
    }
}

#[test]
fn failing_needs_confidence_and_persistence_and_three_errors() {
    type Row<'a> = (&'a str, &'a [(u64, u64)], Verdict);
    let table: &[Row<'_>] = &[
        ("40 % in every minute", &[(60, 24); 10], Verdict::Confirmed),
        ("clean", &[(60, 0); 10], Verdict::Healthy),
        (
            "one minute of ten all errors",
            &[(60, 60), (60, 0), (60, 0), (60, 0), (60, 0)],
            Verdict::Inconclusive,
        ),
        ("exactly half of the minutes", &[(60, 60), (60, 0)], Verdict::Inconclusive),
        ("one of five requests", &[(1, 1), (4, 0)], Verdict::Inconclusive),
        ("19 of 19 requests, below the minimum", &[(19, 19)], Verdict::Inconclusive),
        ("two errors of twenty", &[(10, 1), (10, 1)], Verdict::Inconclusive),
        ("6 % of 100 is not confidently above 5 %", &[(50, 3), (50, 3)], Verdict::Inconclusive),
        ("6 % of 10,000 is", &[(5_000, 300), (5_000, 300)], Verdict::Confirmed),
        ("minutes without requests do not count", &[(60, 30), (0, 0), (0, 0), (0, 0)], Verdict::Confirmed),
        ("nothing at all", &[], Verdict::NoData),
        ("minutes without a request", &[(0, 0)], Verdict::NoData),
    ];
    for (about, counts, verdict) in table {
        assert_eq!(judge(&minutes(counts), 0.05, 20).verdict, *verdict, "{about}");
    }
}

#[test]
fn the_newest_requests_convict_where_there_is_little_traffic() {
    type Row<'a> = (&'a str, &'a [(u64, u64)], Verdict);
    let table: &[Row<'_>] = &[
        ("every request of ten minutes", &[(1, 1); 10], Verdict::Confirmed),
        ("four in a row in three minutes", &[(3, 0), (1, 1), (2, 2), (1, 1)], Verdict::Confirmed),
        ("three in a row", &[(3, 0), (1, 1), (1, 1), (1, 1)], Verdict::Inconclusive),
        ("one caller's burst: two minutes", &[(3, 0), (5, 5), (5, 5)], Verdict::Inconclusive),
        ("one failed request in four", &[(4, 1), (4, 1), (4, 1), (4, 1)], Verdict::Inconclusive),
        ("the last request was fine", &[(2, 2), (2, 2), (2, 2), (1, 0)], Verdict::Inconclusive),
        (
            "with enough requests, shares are judged",
            &[(60, 0), (60, 0), (60, 0), (60, 60)],
            Verdict::Inconclusive,
        ),
        ("fifteen of seventeen", &[(3, 3), (4, 3), (3, 3), (4, 3), (3, 3)], Verdict::Confirmed),
        ("eight of eleven on a canary", &[(3, 2), (2, 2), (3, 2), (3, 2)], Verdict::Confirmed),
        ("four of eight", &[(2, 1), (2, 1), (2, 1), (2, 1)], Verdict::Inconclusive),
        ("nothing at all", &[], Verdict::NoData),
    ];
    for (about, counts, verdict) in table {
        let samples = minutes(counts);
        assert_eq!(judge_newest(&samples, judge(&samples, 0.05, 20), 20).verdict, *verdict, "{about}");
    }
    let two = minutes(&[(1, 1); 4]);
    let strict = judge_newest(&two, judge(&two, 0.6, 20), 20);
    assert_eq!(
        strict.verdict,
        Verdict::Inconclusive,
        "4 of 4 is at least 51 %, which a limit of 60 % allows"
    );
}

#[test]
fn one_sample_is_significantly_worse_at_one_percent() {
    // Pooled z with continuity correction, computed by hand for the rows near the limit (2.326).
    for (about, worse, than, wanted) in [
        ("1 % against 0.1 %", (60, 6_000), (300, 300_000), true),
        ("the same ratio", (60, 6_000), (3_000, 300_000), false),
        ("better", (1, 6_000), (3_000, 300_000), false),
        ("three of 1,000 where 0.4 are expected: z = 3.3", (3, 1_000), (400, 1_000_000), true),
        ("three of 1,000 where one is expected: z = 1.5", (3, 1_000), (1_000, 1_000_000), false),
        ("3 of 20 against 0 of 30: z = 1.6", (3, 20), (0, 30), false),
        ("no errors on either side", (0, 100), (0, 100), false),
        ("nothing to compare with", (50, 100), (0, 0), false),
        ("nothing at all", (0, 0), (1, 100), false),
    ] {
        assert_eq!(significantly_worse(worse, than), wanted, "{about}");
    }
}

#[test]
fn an_end_of_three_bad_minutes_is_no_spike() {
    type Row<'a> = (&'a str, &'a [(u64, u64)], Verdict);
    let table: &[Row<'_>] = &[
        (
            "the last three of ten",
            &[(60, 0), (60, 0), (60, 0), (60, 0), (60, 0), (60, 0), (60, 0), (60, 54), (60, 54), (60, 54)],
            Verdict::Confirmed,
        ),
        (
            "the last two of ten",
            &[(60, 0), (60, 0), (60, 0), (60, 0), (60, 0), (60, 0), (60, 0), (60, 0), (60, 54), (60, 54)],
            Verdict::Inconclusive,
        ),
        (
            "three in the middle",
            &[(60, 0), (60, 54), (60, 54), (60, 54), (60, 0), (60, 0), (60, 0), (60, 0), (60, 0), (60, 0)],
            Verdict::Inconclusive,
        ),
        ("all ten", &[(60, 54); 10], Verdict::Confirmed),
        ("clean", &[(60, 0); 10], Verdict::Healthy),
        ("nothing", &[], Verdict::NoData),
    ];
    for (about, counts, verdict) in table {
        assert_eq!(judge_ending(&minutes(counts), 0.05, 20).verdict, *verdict, "{about}");
    }
}
