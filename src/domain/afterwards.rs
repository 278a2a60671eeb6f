//! After the switch: whether the target is healthy on the requests that it has answered since.

use super::decide::limit_of;
use super::evidence::{self, Judgement, Readings, Sample};
use super::policy::Rules;
use super::record::Rollback;

/// Judges a rollback's target on whole minutes since the switch.
#[must_use]
pub fn judge_target(readings: &Readings, rollback: &Rollback, rules: &Rules) -> Judgement {
    let samples: Vec<Sample> =
        readings.of(&rollback.target).iter().filter(|sample| sample.start >= rollback.at).copied().collect();
    evidence::judge(&samples, limit_of(rules, readings.axis), rules.min_requests)
}
