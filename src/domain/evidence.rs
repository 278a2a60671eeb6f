//! Evidence: what Cloud Monitoring counted.

mod statistics;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

pub use statistics::*;

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

/// A revision takes real traffic from the first time that this share of the service's requests is its own.
/// A pipeline's probes on a tag at 0 % come long before that and are fewer.
const REAL_SHARE: f64 = 0.01;

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

    #[test]
    fn a_sample_that_the_window_cuts_through_counts() {
        let samples = [1, 2, 3].map(|minute| {
            let start = DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
            Sample { start, end: start + TimeDelta::minutes(1), requests: 1, bad: 0 }
        });
        assert_eq!(since(&samples, samples[0].end), samples[1..]);
        assert_eq!(since(&samples, samples[0].end - TimeDelta::seconds(1)), samples);
    }
}
