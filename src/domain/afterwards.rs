//! After the switch: whether the target is healthy on the requests that it has answered since.

use super::decide::judge_requests;
use super::evidence::{Judgement, Readings, Sample};
use super::policy::Rules;
use super::record::Rollback;

/// Judges a rollback's target on whole minutes since the switch.
#[must_use]
pub fn judge_target(readings: &Readings, rollback: &Rollback, rules: &Rules) -> Judgement {
    let samples: Vec<Sample> =
        readings.of(&rollback.target).iter().filter(|sample| sample.start >= rollback.at).copied().collect();
    judge_requests(rules, readings.axis, &samples)
}
