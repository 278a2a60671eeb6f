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
pub fn significantly_worse(now: (u64, u64), past: (u64, u64)) -> bool {
    excess(now, past) > Z_ONE_PERCENT
}

/// By how many standard deviations the first share of bad requests is higher than the second.
#[expect(clippy::cast_precision_loss, reason = "counts of requests are far below 2^52")]
fn excess((bad, requests): (u64, u64), (past_bad, past_requests): (u64, u64)) -> f64 {
    if requests == 0 || past_requests == 0 {
        return 0.0;
    }
    let pooled = ratio(bad + past_bad, requests + past_requests);
    let scale = 1.0 / requests as f64 + 1.0 / past_requests as f64;
    let difference = ratio(bad, requests) - ratio(past_bad, past_requests) - scale / 2.0;
    if difference <= 0.0 { 0.0 } else { difference / (pooled * (1.0 - pooled) * scale).sqrt() }
}

/// So close to the culprit's share, in so many requests that any difference is significant, is the same failure.
const AS_MUCH: f64 = 0.75;

/// Whether others fail as the culprit does, by a few requests: at least half of its share, and nothing shows that it is
/// worse. Holding back needs less proof than acting.
#[must_use]
pub fn alike(others: (u64, u64), culprit: (u64, u64)) -> bool {
    let (share, bar) = (ratio(others.0, others.1), ratio(culprit.0, culprit.1));
    let close = share >= AS_MUCH * bar || !significantly_worse(culprit, others);
    others.0 >= MIN_BAD && share >= bar / 2.0 && close
}

/// Bad requests, and all.
type Counts = (u64, u64);

/// Splits counts `(bad, requests)` of consecutive periods where the share of bad ones rises most: what came before, and
/// what came since. Nothing when it does not rise significantly, and at least twofold, after `min_requests` that were
/// better. Only the last `within` periods are looked at.
#[must_use]
pub fn rise(samples: &[Sample], within: usize, min_requests: u64) -> Option<(Counts, Counts)> {
    let (requests, bad) = total(samples);
    let mut before = (0, 0);
    let mut most: Option<(f64, Counts, Counts)> = None;
    for (index, sample) in samples.iter().enumerate() {
        let since = (bad - before.0, requests - before.1);
        let splits = samples.len() - index <= within && before.1 >= min_requests;
        if splits && burns(since, before, MIN_BAD) {
            let excess = excess(since, before);
            if most.is_none_or(|(best, ..)| excess > best) {
                most = Some((excess, before, since));
            }
        }
        before = (before.0 + sample.bad, before.1 + sample.requests);
    }
    most.map(|(_, before, since)| (before, since))
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

/// The newest requests, when it is they that convict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// All of them.
    pub requests: u64,
    /// The bad ones.
    pub bad: u64,
    /// The sampled periods that had a bad one.
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
    /// Sampled periods that had a vote: those with requests, but for the ones that had hardly any beside the others.
    pub periods: usize,
    /// The newest requests, when it is they that convict.
    pub newest: Option<Newest>,
    /// The threshold, a share of 1.
    pub threshold: f64,
}

/// Judges samples against a threshold (a share of 1). Fewer than `min_requests` prove nothing.
#[must_use]
pub fn judge(samples: &[Sample], threshold: f64, min_requests: u64) -> Judgement {
    let (requests, bad) = total(samples);
    let (lower, upper) = wilson(bad, requests);
    let votes = votes(samples);
    let periods = votes.len();
    let periods_above = votes.iter().filter(|sample| ratio(sample.bad, sample.requests) > threshold).count();
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
    Judgement { verdict, requests, bad, ratio, lower, upper, periods_above, periods, newest: None, threshold }
}

/// A period with less than this part of the usual requests has no vote: a handful says nothing of a thousand.
const QUORUM: u64 = 4;

/// The sampled periods that count when it is asked in how many of them something holds.
#[must_use]
pub fn votes(samples: &[Sample]) -> Vec<&Sample> {
    let with_requests: Vec<&Sample> = samples.iter().filter(|sample| sample.requests > 0).collect();
    let (periods, requests) = (with_requests.len() as u64, total(samples).0);
    let counts = |sample: &&Sample| sample.requests * QUORUM * periods >= requests;
    with_requests.into_iter().filter(counts).collect()
}

/// So many of the hottest periods may be a spike.
const SPIKE: usize = 2;

/// The samples without the hottest ones.
#[must_use]
pub fn cooler(samples: &[Sample]) -> Vec<Sample> {
    let mut hottest: Vec<&Sample> = samples.iter().collect();
    hottest.sort_by(|a, b| ratio(b.bad, b.requests).total_cmp(&ratio(a.bad, a.requests)));
    hottest.into_iter().skip(SPIKE).copied().collect()
}

/// Where there are few requests, so many of the newest are looked at, and so many of them have to be bad …
const NEWEST: u64 = 20;
const NEWEST_BAD: u64 = 4;

/// … in so many periods that lie so far apart: one caller who tries again and again in one minute is no outage.
const NEWEST_PERIODS: usize = 3;
const NEWEST_SPAN: TimeDelta = TimeDelta::minutes(4);

/// The share of bad requests that they have to prove: 4 of 6 do (30 %), 4 of 8 do not (22 %).
const NEWEST_PROVE: f64 = 0.25;

/// Where none of them was good, they need not span that long, but have to prove this: 4 of 4 do, 3 of 3 do not (44 %).
const RUN_PROVES: f64 = 0.5;

/// Fewer requests than `min_requests` convict after all when the newest ones fail, over minutes, and the last one too:
/// a service with little traffic cannot show it in any other way. `samples` may reach back an hour.
#[must_use]
pub fn judge_newest(samples: &[Sample], judgement: Judgement, min_requests: u64) -> Judgement {
    if judgement.requests >= min_requests {
        return judgement;
    }
    let (mut requests, mut bad, mut periods) = (0, 0, 0);
    let mut convicting: Option<(f64, Newest)> = None;
    let Some(last) = samples.iter().rfind(|sample| sample.requests > 0).filter(|last| last.bad > 0) else {
        return judgement;
    };
    for sample in samples.iter().rev().filter(|sample| sample.requests > 0) {
        (requests, bad) = (requests + sample.requests, bad + sample.bad);
        periods += usize::from(sample.bad > 0);
        if requests > NEWEST {
            break;
        }
        let lower = wilson(bad, requests).0;
        let lasts = last.end - sample.start >= NEWEST_SPAN && lower > NEWEST_PROVE;
        let run = bad == requests && lower > RUN_PROVES;
        let convicts = bad >= NEWEST_BAD && periods >= NEWEST_PERIODS && (lasts || run);
        let more = convicting.is_none_or(|(most, _)| lower > most);
        if convicts && more && lower > judgement.threshold {
            convicting = Some((lower, Newest { requests, bad, periods }));
        }
    }
    convicting.map_or(judgement, |(_, newest)| Judgement {
        verdict: Verdict::Confirmed,
        newest: Some(newest),
        ..judgement
    })
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
    let failing = endings.filter(|judgement| judgement.verdict == Verdict::Confirmed);
    // A longer ending that holds the failing one dilutes it.
    failing.max_by(|a, b| a.lower.total_cmp(&b.lower)).unwrap_or(whole)
}

/// What began so many periods before the end is too short for [`judge_ending`] …
const SHARP: usize = 3;

/// … but shows all the same that a culprit's failing began before it: a sharp end that burns against the time before it,
/// and that the culprit is not worse than. The end's periods, requests and bad ones.
#[must_use]
pub fn ends_sharply(samples: &[Sample], culprit: (u64, u64)) -> Option<(usize, u64, u64)> {
    let ends = (1..=SHARP.min(samples.len().saturating_sub(1)))
        .map(|length| samples.split_at(samples.len() - length));
    let sharp = ends.filter_map(|(past, end)| {
        let (periods, (requests, bad), past) = (end.len(), total(end), total(past));
        let burns = burns((bad, requests), (past.1, past.0), MIN_BAD);
        (burns && alike((bad, requests), culprit)).then_some((periods, requests, bad))
    });
    sharp.max_by_key(|(periods, ..)| *periods)
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
