//! Probes of a revision before traffic goes to it: what is wished for, what came of it, and what that proves.

use std::time::Duration;

use super::evidence::{Axis, MIN_BAD, ratio, wilson};
use super::text;

/// A target convicts itself when its share of bad probes lies confidently above this.
///
/// The probes come within a second or two, so what makes one fail makes its neighbours fail as well: a hiccup or an
/// instance that still starts spoils a few. At one half, 7 of 8 convict (lower end 53 %), 6 of 8 do not (41 %), and 2
/// of 8 are far away (7 %): a flaky or cold target never protects a bad revision.
const BAR: f64 = 0.5;

/// A wish: probe this revision before it is decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The revision.
    pub revision: String,
    /// Where a tag leads to it. Without one, it has to be tagged first.
    pub url: Option<String>,
    /// The path to ask for.
    pub path: String,
    /// Whom an identity token for the service has to name. It is the service's own URL, for its tags as well.
    pub audience: String,
    /// What makes a probe a bad one.
    pub axis: Axis,
    /// A slower answer is slow.
    pub slow: Duration,
}

/// What came of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// The revision.
    pub revision: String,
    /// What it answered.
    pub outcome: Outcome,
}

/// What a probed revision answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was reached.
    Answered {
        /// Probes that count; the one that warmed it does not.
        probes: u64,
        /// Those that were bad on the incident's axis, or got no answer at all.
        bad: u64,
        /// The slowest answer.
        slowest: Duration,
    },
    /// The probes say nothing about its health, for this reason.
    Inconclusive(String),
}

impl Probed {
    /// Whether the revision is confidently unhealthy.
    #[must_use]
    pub fn convicts(&self) -> bool {
        match self.outcome {
            Outcome::Answered { probes, bad, .. } => bad >= MIN_BAD && wilson(bad, probes).0 > BAR,
            Outcome::Inconclusive(_) => false,
        }
    }

    /// The result as a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let revision = &self.revision;
        match &self.outcome {
            Outcome::Answered { probes, bad, slowest } => {
                let share = text::percent(ratio(*bad, *probes));
                let millis = slowest.as_millis();
                format!(
                    "{bad} of {probes} probes of {revision} were bad ({share}), the slowest took {millis} ms"
                )
            }
            Outcome::Inconclusive(why) => format!("inconclusive: {revision} {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_confident_majority_convicts() {
        let convicts = |bad, probes| {
            let outcome = Outcome::Answered { probes, bad, slowest: Duration::ZERO };
            Probed { revision: "k".into(), outcome }.convicts()
        };
        for (bad, probes, wanted) in [
            (8, 8, true),
            (7, 8, true),
            (6, 8, false),
            (4, 8, false),
            (2, 8, false),
            (0, 8, false),
            (4, 4, true),
            (3, 3, false),
            (1, 1, false),
            (0, 0, false),
        ] {
            assert_eq!(convicts(bad, probes), wanted, "{bad} of {probes}");
        }
        let unreachable = Outcome::Inconclusive("cannot be reached".into());
        assert!(!Probed { revision: "k".into(), outcome: unreachable }.convicts());
    }
}
