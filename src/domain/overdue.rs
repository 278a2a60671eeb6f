//! What should long have happened to a rollback, by its record alone.
//!
//! Cloud Tasks calls back for each next act. A task can be lost: its queue is purged or paused, its account may not call,
//! the service was not found for a moment. So every request about a service looks here first, and does what is late.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::afterwards::{FIRST_LOOK, MOST_LOOKS, NEXT_LOOK};
use super::policy::Rules;
use super::record::{Phase, Rollback, age};
use super::steps;
use super::text;

/// Cloud Tasks has this long for its normal turn, a retry or two included.
const GRACE: Duration = Duration::from_secs(90);

/// The last look has been made by then, however late each of them came.
const LAST_LOOK_BY: Duration = Duration::from_secs(
    FIRST_LOOK.as_secs() + (MOST_LOOKS as u64 - 1) * (NEXT_LOOK.as_secs() + GRACE.as_secs()),
);

/// The queue's clock and ours may differ.
const CLOCKS: TimeDelta = TimeDelta::seconds(5);

/// A verdict on a rollback that is older than this helps nobody.
const TOO_OLD: TimeDelta = TimeDelta::days(1);

/// An act of a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// See whether the last write has arrived, and tell people.
    Watch,
    /// Write the next step.
    Step,
    /// Judge the target; so many looks have come due by now.
    Check(u32),
}

/// The act that is overdue, if one is. `comes_back`: there is a queue, which calls for the looks after the first one.
#[must_use]
pub fn overdue(rollback: &Rollback, rules: &Rules, comes_back: bool, now: DateTime<Utc>) -> Option<Act> {
    let age = age(rollback.last_write(), now);
    let late = |due: Duration| age > text::delta(due + GRACE);
    match rollback.phase {
        Phase::Restoring => late(Duration::ZERO).then_some(Act::Watch),
        Phase::Switching | Phase::Told if rollback.step < steps::ALL && late(rules.step_interval) => {
            Some(Act::Step)
        }
        Phase::Switching | Phase::Told if rollback.step == steps::ALL && age > TOO_OLD => None,
        // How many looks there have been is not on record. Each may have come late, so only the last is known to be overdue.
        Phase::Told if rollback.step == steps::ALL => {
            let by = if comes_back { LAST_LOOK_BY } else { FIRST_LOOK };
            late(by).then(|| Act::Check(looks(age)))
        }
        Phase::Switching if rollback.step == steps::ALL && late(FIRST_LOOK) => Some(Act::Check(looks(age))),
        Phase::Switching => late(Duration::ZERO).then_some(Act::Watch),
        _ => None,
    }
}

/// Which look at a rollback's target this is, by its task's own count. That is anybody's word: there are never more than
/// have come due, and once the last one should have been made, this is the last one.
#[must_use]
pub fn look(rollback: &Rollback, counted: Option<u32>, now: DateTime<Utc>) -> u32 {
    let age = age(rollback.last_write(), now) + CLOCKS;
    let due = looks(age);
    let late = age > text::delta(LAST_LOOK_BY);
    counted.filter(|_| !late).map_or(due, |counted| counted.clamp(1, due))
}

/// How many looks have come due in so long.
fn looks(age: TimeDelta) -> u32 {
    let since_first = (age - text::delta(FIRST_LOOK)).num_seconds().max(0).unsigned_abs();
    let further = since_first / NEXT_LOOK.as_secs();
    u32::try_from(further).map_or(MOST_LOOKS, |further| further.saturating_add(1).min(MOST_LOOKS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::policy::Strategy;
    use crate::domain::record::sample::rolled_back;

    fn seconds_after(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn rollback(step: u8, phase: Phase) -> Rollback {
        Rollback { step, phase, ..rolled_back("k-back-00042", "k-back-00041", seconds_after(0)) }
    }

    /// What is overdue after so many seconds: with a queue, and without one.
    fn after(seconds: i64, rollback: &Rollback) -> [Option<Act>; 2] {
        let rules = Rules { strategy: Strategy::Gradual, ..Rules::default() };
        [true, false].map(|queue| overdue(rollback, &rules, queue, seconds_after(seconds)))
    }

    #[test]
    fn each_act_has_its_time_and_a_minute_and_a_half_more() {
        let (half, all) = (rollback(50, Phase::Switching), rollback(100, Phase::Switching));
        let (told, back) = (rollback(100, Phase::Told), rollback(100, Phase::Restoring));
        let both = |act| [act, act];
        for (about, rollback, seconds, wanted) in [
            ("just written", &half, 0, both(None)),
            ("people may hear of it by now", &half, 90, both(None)),
            ("they should know", &half, 91, both(Some(Act::Watch))),
            ("the next step is due", &half, 240, both(Some(Act::Watch))),
            ("it should have come", &half, 331, both(Some(Act::Step))),
            ("a week later it still should", &half, 604_800, both(Some(Act::Step))),
            ("all has moved", &all, 60, both(None)),
            ("all has moved, and people should know", &all, 91, both(Some(Act::Watch))),
            ("the first look should have been", &all, 391, both(Some(Act::Check(1)))),
            ("the second as well", &all, 480, both(Some(Act::Check(2)))),
            ("too few at the first look: a task comes for the next", &told, 391, [None, Some(Act::Check(1))]),
            ("the last one is due", &told, 1_020, [None, Some(Act::Check(5))]),
            ("it should have been", &told, 1_471, both(Some(Act::Check(5)))),
            ("a day later nobody waits for a verdict", &told, 86_401, both(None)),
            ("the way back is written", &back, 90, both(None)),
            ("and should be seen", &back, 91, both(Some(Act::Watch))),
        ] {
            assert_eq!(after(seconds, rollback), wanted, "{about}");
        }
    }

    #[test]
    fn looks_are_counted_by_their_tasks_and_there_are_no_more_than_have_come_due() {
        let all = rollback(100, Phase::Told);
        for (seconds, counted, wanted) in [
            (300, Some(1), 1),
            (360, None, 1),
            (840, Some(3), 3),
            (840, None, 4),
            (1_080, Some(4), 4),
            (1_320, Some(5), 5),
            // Whoever forges one gains nothing.
            (300, Some(5), 1),
            (480, Some(0), 1),
            (1_376, Some(1), 5),
        ] {
            assert_eq!(look(&all, counted, seconds_after(seconds)), wanted, "{seconds} s, {counted:?}");
        }
    }

    #[test]
    fn a_time_on_record_that_is_still_to_come_holds_up_no_step() {
        let half = rollback(50, Phase::Switching);
        let ahead = |minutes: i64| Rollback { moved: Some(seconds_after(60 * minutes)), ..half.clone() };
        assert_eq!(after(0, &ahead(4)), [None, None], "clocks differ");
        assert_eq!(after(0, &ahead(6)), [Some(Act::Step), Some(Act::Step)]);
    }

    #[test]
    fn what_is_over_is_never_late() {
        for phase in [
            Phase::Recovered,
            Phase::NotHelped,
            Phase::Unjudged,
            Phase::Overruled,
            Phase::NotArrived,
            Phase::Halted,
            Phase::Restored,
            Phase::Other("praised".into()),
        ] {
            for step in [50, 100] {
                assert_eq!(after(3_600, &rollback(step, phase.clone())), [None, None], "{phase:?}");
            }
        }
    }
}
