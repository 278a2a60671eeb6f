//! Where traffic goes from and to.

use crate::domain::decision::{Decision, Outcome};
use crate::domain::record::Share;

use super::reader::Reader;
use super::texts::Say;
use super::words::{cut, name};
use crate::domain::steps;
use crate::domain::text;

/// More revisions than this are not listed one by one.
const MOST_REVISIONS: usize = 6;

/// Room for all of them.
const DESCRIPTION: usize = 700;

/// A move, done or planned.
pub(super) struct Shift<'a> {
    pub(super) culprit: &'a str,
    pub(super) target: &'a str,
    /// The culprit's and the target's.
    pub(super) commits: [Option<&'a str>; 2],
    pub(super) unproven: bool,
    pub(super) tags_stay: bool,
    from: &'a [Share],
    /// The split after.
    pub(super) to: Vec<Share>,
    /// Percent of the culprit's share that has moved.
    pub(super) step: u8,
}

impl<'a> Shift<'a> {
    pub(super) fn of(decision: &'a Decision) -> Option<Self> {
        if let Some(plan) = &decision.plan {
            let moves = decision.outcome == Outcome::Rollback;
            return Some(Self {
                culprit: &plan.culprit.name,
                target: &plan.target.name,
                commits: [plan.culprit.commit.as_deref(), plan.target.commit.as_deref()],
                unproven: !plan.proven,
                tags_stay: plan.stays.is_some(),
                from: &plan.from,
                // A plan that was not carried out is for people to follow: as a whole.
                to: if moves { plan.to.clone() } else { plan.end() },
                step: if moves { plan.step } else { steps::ALL },
            });
        }
        let Outcome::Resume(rollback) = &decision.outcome else {
            return None;
        };
        Some(Self {
            culprit: &rollback.culprit,
            target: &rollback.target,
            commits: [None, None],
            unproven: false,
            tags_stay: false,
            from: &rollback.from,
            to: rollback.to(),
            step: rollback.step,
        })
    }

    /// From and to, culprit and target first.
    pub(super) fn describe(&self, reader: &Reader<'_>) -> String {
        let mut revisions = vec![self.culprit, self.target];
        for share in self.from.iter().chain(&self.to) {
            if !revisions.contains(&share.revision.as_str()) {
                revisions.push(&share.revision);
            }
        }
        let commits = self.commits.iter().copied().chain(std::iter::repeat(None));
        let mut lines = vec![format!("*{}*", reader.word(Say::Traffic))];
        for (revision, commit) in revisions.iter().zip(commits).take(MOST_REVISIONS) {
            let commit = commit.map_or(String::new(), |commit| format!(" (`{}`)", abbreviated(commit)));
            let before = percent_of(revision, self.from);
            lines.push(format!(
                "`{}`{commit}: {before}% → {}%",
                name(revision),
                percent_of(revision, &self.to)
            ));
        }
        if revisions.len() > MOST_REVISIONS {
            lines.push(format!("+ {}", revisions.len() - MOST_REVISIONS));
        }
        cut(&lines.join("\n"), DESCRIPTION)
    }
}

/// A commit as people write it.
pub(super) fn abbreviated(commit: &str) -> String {
    name(&text::short_commit(commit))
}

fn percent_of(revision: &str, split: &[Share]) -> u32 {
    split.iter().filter(|share| share.revision == revision).map(|share| u32::from(share.percent)).sum()
}
