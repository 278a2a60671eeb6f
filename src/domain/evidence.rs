//! Evidence: what Cloud Monitoring counted, and what that proves.
//!
//! Proportions are judged by Wilson's score interval, which stays honest for few requests and for ratios near 0
//! and 1 (E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

/// What counts as a bad request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// Answers of class 5xx.
    Errors,
    /// Requests slower than the policy's `slow`.
    Slowness,
}

/// Requests of one revision between two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Beginning, included.
    pub start: DateTime<Utc>,
    /// End, excluded.
    pub end: DateTime<Utc>,
    /// All requests.
    pub requests: u64,
    /// Those that were bad on the axis in question.
    pub bad: u64,
}

/// Requests of all revisions by the beginning of a sample.
pub type Totals = BTreeMap<DateTime<Utc>, u64>;

/// Samples by revision, oldest first. Times without requests have no sample.
pub type Samples = BTreeMap<String, Vec<Sample>>;

/// What Cloud Monitoring could tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// It answered.
    Read(Readings),
    /// It could not be read, after retries.
    Unreadable {
        /// The error in one sentence.
        why: String,
        /// The IAM permission that is missing, when that is the reason.
        permission: Option<String>,
    },
}

/// What it answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readings {
    /// The axis of `samples`.
    pub axis: Axis,
    /// Requests by revision over the whole history: minutes for the last hours, coarser further back.
    pub samples: Samples,
    /// The same counted on [`Axis::Errors`], when `axis` is another one: a target has to be free of errors too.
    pub errors: Option<Samples>,
}

/// 95 % two-sided.
const Z: f64 = 1.959_963_984_540_054;

/// A revision takes real traffic from the first time that this share of the service's requests is its own.
/// A pipeline's probes on a tag at 0 % come long before that and are fewer.
const REAL_SHARE: f64 = 0.01;

/// Fewer bad requests than this never convict.
pub const MIN_BAD: u64 = 3;

/// Lower and upper end of Wilson's 95 % interval for `bad` of `requests`. Without requests it is 0 to 1.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
pub fn wilson(bad: u64, requests: u64) -> (f64, f64) {
    if requests == 0 {
        return (0.0, 1.0);
    }
    let n = requests as f64;
    let p = bad as f64 / n;
    let z2 = Z * Z;
    let centre = p + z2 / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z2 / n;
    (((centre - spread) / scale).max(0.0), ((centre + spread) / scale).min(1.0))
}

/// What samples prove against a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Failing: confidently, in more than half of the sampled periods, with at least three bad requests.
    Confirmed,
    /// Confidently below the threshold.
    Healthy,
    /// Neither can be said.
    Inconclusive,
    /// There were no requests.
    NoData,
}

/// A verdict with the figures it rests on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// All requests.
    pub requests: u64,
    /// The bad ones.
    pub bad: u64,
    /// Point estimate, a share of 1.
    pub ratio: f64,
    /// Lower end of the 95 % interval.
    pub lower: f64,
    /// Upper end of the 95 % interval.
    pub upper: f64,
    /// Sampled periods whose own ratio lies above the threshold.
    pub periods_above: usize,
    /// Sampled periods that had requests.
    pub periods: usize,
    /// The threshold, a share of 1.
    pub threshold: f64,
}

/// Judges samples against a threshold (a share of 1). Fewer than `min_requests` prove nothing.
#[must_use]
pub fn judge(samples: &[Sample], threshold: f64, min_requests: u64) -> Judgement {
    let (requests, bad) = total(samples);
    let (lower, upper) = wilson(bad, requests);
    let periods = samples.iter().filter(|sample| sample.requests > 0).count();
    let periods_above =
        samples.iter().filter(|sample| ratio(sample.bad, sample.requests) > threshold).count();
    let persistent = periods_above * 2 > periods;
    let verdict = if requests == 0 {
        Verdict::NoData
    } else if requests < min_requests {
        Verdict::Inconclusive
    } else if lower > threshold && bad >= MIN_BAD && persistent {
        Verdict::Confirmed
    } else if upper < threshold {
        Verdict::Healthy
    } else {
        Verdict::Inconclusive
    };
    let ratio = ratio(bad, requests);
    Judgement { verdict, requests, bad, ratio, lower, upper, periods_above, periods, threshold }
}

/// Requests and bad requests in all.
#[must_use]
pub fn total(samples: &[Sample]) -> (u64, u64) {
    samples.iter().fold((0, 0), |(requests, bad), sample| (requests + sample.requests, bad + sample.bad))
}

/// The share of bad requests; 0 without requests.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
pub fn ratio(bad: u64, requests: u64) -> f64 {
    if requests == 0 { 0.0 } else { bad as f64 / requests as f64 }
}

/// The samples that reach beyond a moment. One that the moment cuts through counts: windows seldom end where samples do.
#[must_use]
pub fn since(samples: &[Sample], moment: DateTime<Utc>) -> Vec<Sample> {
    samples.iter().filter(|sample| sample.end > moment).copied().collect()
}

impl Readings {
    /// The service's requests by the beginning of a sample.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::new();
        for sample in self.samples.values().flatten() {
            *totals.entry(sample.start).or_default() += sample.requests;
        }
        totals
    }

    /// A revision's samples that are real traffic: not the few requests that a tag at 0 % gets.
    #[must_use]
    pub fn real_traffic(&self, revision: &str, totals: &Totals) -> Vec<Sample> {
        let real = |sample: &&Sample| {
            let all = totals.get(&sample.start).copied().unwrap_or(sample.requests);
            ratio(sample.requests, all) >= REAL_SHARE
        };
        self.of(revision).iter().filter(real).copied().collect()
    }

    /// A revision's samples on the incident's axis; empty when it had no requests.
    #[must_use]
    pub fn of(&self, revision: &str) -> &[Sample] {
        self.samples.get(revision).map_or(&[], Vec::as_slice)
    }

    /// A revision's samples on the error axis.
    #[must_use]
    pub fn errors_of(&self, revision: &str) -> &[Sample] {
        self.errors.as_ref().unwrap_or(&self.samples).get(revision).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

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
        for (bad, requests, lower, upper) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let (low, high) = wilson(bad, requests);
            assert!(
                (low - lower).abs() < 5e-5 && (high - upper).abs() < 5e-5,
                "{bad}/{requests}: {low} {high}"
            );
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
            (
                "minutes without requests do not count",
                &[(60, 30), (0, 0), (0, 0), (0, 0)],
                Verdict::Confirmed,
            ),
            ("nothing at all", &[], Verdict::NoData),
            ("minutes without a request", &[(0, 0)], Verdict::NoData),
        ];
        for (about, counts, verdict) in table {
            assert_eq!(judge(&minutes(counts), 0.05, 20).verdict, *verdict, "{about}");
        }
    }

    #[test]
    fn a_sample_that_the_window_cuts_through_counts() {
        let samples = minutes(&[(1, 0), (2, 0), (3, 0)]);
        assert_eq!(since(&samples, samples[0].end), samples[1..]);
        assert_eq!(since(&samples, samples[0].end - TimeDelta::seconds(1)), samples);
    }
}
