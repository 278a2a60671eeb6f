//! Gradual steps: how much of the culprit's share each one moves.
//!
//! A step is a percentage of the culprit's share, as in the policy. Cloud Run splits traffic in whole percents, so what
//! has moved after a step follows from the share and the step alone, and the record needs to keep nothing else.

use super::policy::{Rules, Strategy};
use super::record::Share;

/// Everything has moved.
pub const ALL: u8 = 100;

/// Percent of all requests that have moved after a step: rounded, but at least one.
#[must_use]
pub fn moved(share: u8, step: u8) -> u8 {
    let exact = u32::from(share) * u32::from(step.min(ALL));
    let rounded = u8::try_from((exact + 50) / 100).unwrap_or(share);
    rounded.clamp(share.min(1), share)
}

/// The step after `done`; the first one after 0. One that would move nothing is passed over, and what moves the rest is
/// the last one. So a share of 1 % moves at once.
#[must_use]
pub fn next(rules: &Rules, share: u8, done: u8) -> u8 {
    let before = if done == 0 { 0 } else { moved(share, done) };
    let moves = |step: &u8| moved(share, *step) > before;
    let planned = match rules.strategy {
        Strategy::Gradual => rules.steps.iter().copied().filter(|step| *step > done).find(moves),
        Strategy::Immediate => None,
    };
    planned.filter(|step| moved(share, *step) < share).unwrap_or(ALL)
}

/// The culprit's share of a split.
#[must_use]
pub fn share_of(split: &[Share], revision: &str) -> u8 {
    split.iter().filter(|share| share.revision == revision).map(|share| share.percent).sum()
}

/// A split after a step: a part of the culprit's share has gone to the target, other shares stay.
#[must_use]
pub fn split(from: &[Share], culprit: &str, target: &str, step: u8) -> Vec<Share> {
    let mut to: Vec<Share> = Vec::new();
    let mut add = |revision: &str, percent: u8| match to.iter_mut().find(|known| known.revision == revision) {
        Some(known) => known.percent += percent,
        None if percent > 0 => to.push(Share { revision: revision.to_owned(), percent }),
        None => {}
    };
    let mut left = moved(share_of(from, culprit), step);
    for share in from {
        if share.revision == culprit {
            let goes = share.percent.min(left);
            left -= goes;
            add(culprit, share.percent - goes);
            add(target, goes);
        } else {
            add(&share.revision, share.percent);
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradual(steps: &[u8]) -> Rules {
        Rules { strategy: Strategy::Gradual, steps: steps.to_vec(), ..Rules::default() }
    }

    /// Every step with what has moved after it, as `10:10 50:50 100:100`.
    fn way(rules: &Rules, share: u8) -> String {
        let mut words = Vec::new();
        let mut done = 0;
        while done < ALL {
            done = next(rules, share, done);
            words.push(format!("{done}:{}", moved(share, done)));
        }
        words.join(" ")
    }

    #[test]
    fn each_step_moves_something_and_the_last_one_everything() {
        let usual = gradual(&[10, 50, 100]);
        for (share, wanted) in [
            (100, "10:10 50:50 100:100"),
            (90, "10:9 50:45 100:90"),
            (33, "10:3 50:17 100:33"),
            (10, "10:1 50:5 100:10"),
            (5, "10:1 50:3 100:5"),
            (3, "10:1 50:2 100:3"),
            (2, "10:1 100:2"),
            (1, "100:1"),
            (0, "100:0"),
        ] {
            assert_eq!(way(&usual, share), wanted, "a share of {share} %");
        }
        assert_eq!(way(&gradual(&[100]), 100), "100:100");
        assert_eq!(way(&gradual(&[1, 2, 3, 99, 100]), 10), "1:1 100:10");
        assert_eq!(way(&Rules::default(), 100), "100:100", "immediate is one step");
    }

    #[test]
    fn whatever_the_share_and_the_steps_something_moves_each_time_until_all_has() {
        for share in 1..=100 {
            for steps in [&[10, 50, 100][..], &[1, 100], &[33, 66, 100], &[5, 6, 7, 8, 9, 100]] {
                let rules = gradual(steps);
                let (mut done, mut before) = (0, 0);
                while done < ALL {
                    done = next(&rules, share, done);
                    assert!(moved(share, done) > before, "{share} % by {steps:?} at {done}");
                    before = moved(share, done);
                }
                assert_eq!(before, share);
            }
        }
    }

    #[test]
    fn a_policy_that_changed_on_the_way_is_followed_from_where_it_is() {
        assert_eq!(next(&gradual(&[20, 80, 100]), 100, 50), 80);
        assert_eq!(next(&gradual(&[20, 100]), 100, 50), 100);
        assert_eq!(next(&Rules::default(), 100, 10), 100, "gradual no longer");
        assert_eq!(next(&gradual(&[10, 50, 100]), 100, 100), 100);
    }

    #[test]
    fn other_shares_stay_and_the_split_sums_to_100() {
        let share =
            |(revision, percent): &(&str, u8)| Share { revision: (*revision).into(), percent: *percent };
        let after = |from: &[(&str, u8)], step: u8| {
            let from: Vec<Share> = from.iter().map(share).collect();
            let to = split(&from, "k42", "k41", step);
            assert_eq!(to.iter().map(|share| u32::from(share.percent)).sum::<u32>(), 100);
            to.iter()
                .map(|share| format!("{} {}", share.revision, share.percent))
                .collect::<Vec<_>>()
                .join(", ")
        };
        assert_eq!(after(&[("k42", 100)], 10), "k42 90, k41 10");
        assert_eq!(after(&[("k42", 100)], 100), "k41 100");
        assert_eq!(after(&[("k41", 90), ("k42", 10)], 50), "k41 95, k42 5");
        assert_eq!(after(&[("k40", 67), ("k42", 33)], 50), "k40 67, k42 16, k41 17");
        assert_eq!(after(&[("k40", 99), ("k42", 1)], 10), "k40 99, k41 1");
        assert_eq!(after(&[("k42", 30), ("k41", 40), ("k42", 30)], 75), "k41 85, k42 15");
    }
}
