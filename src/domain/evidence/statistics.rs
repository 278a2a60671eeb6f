//! What counts prove. `docs/statistics.md` explains it with pictures.
//!
//! Proportions are judged by Wilson's score interval, which stays honest for few requests and for ratios near 0
//! and 1 (E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927).

use chrono::TimeDelta;

use super::Sample;

/// 95 % two-sided.
const Z: f64 = 1.959_963_984_540_054;

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

/// A slow burn has to be at least so many times what the target had: with millions of requests any difference is
/// significant, and the noise of one week is not that of the next.
const MATERIAL: f64 = 2.0;

/// One-sided 1 %.
const Z_ONE_PERCENT: f64 = 2.326_347_874_040_841;

/// Whether the first `(bad, requests)` has a higher share of bad requests than the second: two-proportion test with
/// pooled variance and continuity correction, one-sided, 1 %. Without the correction few bad requests prove too much.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
pub fn significantly_worse((bad, requests): (u64, u64), (past_bad, past_requests): (u64, u64)) -> bool {
    if requests == 0 || past_requests == 0 {
        return false;
    }
    let pooled = ratio(bad + past_bad, requests + past_requests);
    let scale = 1.0 / requests as f64 + 1.0 / past_requests as f64;
    let difference = ratio(bad, requests) - ratio(past_bad, past_requests) - scale / 2.0;
    difference > Z_ONE_PERCENT * (pooled * (1.0 - pooled) * scale).sqrt()
}

/// Whether the first `(bad, requests)` burns: significantly and materially worse than the second.
#[must_use]
pub fn burns((bad, requests): (u64, u64), past: (u64, u64), min_requests: u64) -> bool {
    bad >= MIN_BAD
        && requests >= min_requests
        && significantly_worse((bad, requests), past)
        && ratio(bad, requests) >= MATERIAL * ratio(past.0, past.1)
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

/// Bad requests in a row, with no good one since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// How many.
    pub bad: u64,
    /// The sampled periods that they fill.
    pub periods: usize,
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
    /// Failures in a row at the end, when it is they that convict.
    pub run: Option<Run>,
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
    Judgement { verdict, requests, bad, ratio, lower, upper, periods_above, periods, run: None, threshold }
}

/// A run has to fill this many periods: one caller who tries again and again in one minute is no outage.
const RUN_PERIODS: usize = 3;

/// The share of bad requests that a run has to prove: four of four do (at least 51 %), three of three do not (44 %).
const RUN_PROVES: f64 = 0.5;

/// Fewer requests than `min_requests` convict after all when every one of the last failed, which a service with little
/// traffic cannot show in any other way.
#[must_use]
pub fn judge_runs(samples: &[Sample], judgement: Judgement, min_requests: u64) -> Judgement {
    if judgement.requests >= min_requests {
        return judgement;
    }
    let last = samples.iter().rev().filter(|sample| sample.requests > 0);
    let run: Vec<Sample> = last.take_while(|sample| sample.bad == sample.requests).copied().collect();
    let run = Run { bad: total(&run).1, periods: run.len() };
    if run.periods < RUN_PERIODS || wilson(run.bad, run.bad).0 <= judgement.threshold.max(RUN_PROVES) {
        return judgement;
    }
    Judgement { verdict: Verdict::Confirmed, run: Some(run), ..judgement }
}

/// What fails in most of this time until the end, three minutes of four, is no spike any more.
const ENDING: TimeDelta = TimeDelta::minutes(4);

/// Judges the end of a revision's life: all of the samples, or the last of them from any moment on that is four minutes or
/// more before the end. An outage that begins shortly before the end is no smaller for that.
#[must_use]
pub fn judge_ending(samples: &[Sample], threshold: f64, min_requests: u64) -> Judgement {
    let whole = judge(samples, threshold, min_requests);
    let Some(last) = samples.last() else { return whole };
    let endings = (0..samples.len())
        .filter(|first| last.end - samples[*first].start >= ENDING)
        .map(|first| judge(&samples[first..], threshold, min_requests));
    let mut failing = endings.filter(|judgement| judgement.verdict == Verdict::Confirmed);
    failing.next().unwrap_or(whole)
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

#[cfg(test)]
mod tests;
