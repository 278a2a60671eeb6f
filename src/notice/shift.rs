//! Where traffic goes from and to.

use crate::domain::decision::{Decision, Outcome};
use crate::domain::record::Share;

use super::words::{cut, name, prose};
use crate::domain::steps;

/// More revisions than this are not listed one by one.
const MOST_REVISIONS: usize = 6;

/// Room for what tags mean for the move.
const REMARK: usize = 300;

/// Room for all of them.
const DESCRIPTION: usize = 700;

/// A move, done or planned.
pub(super) struct Shift<'a> {
    pub(super) culprit: &'a str,
    pub(super) target: &'a str,
    commits: [Option<&'a str>; 2],
    unproven: bool,
    stays: Option<&'a str>,
    from: &'a [Share],
    /// The split after.
    pub(super) to: Vec<Share>,
    /// Percent of the culprit's share that has moved.
    pub(super) step: u8,
}

impl<'a> Shift<'a> {
    pub(super) fn of(decision: &'a Decision) -> Option<Self> {
        if let Some(plan) = &decision.plan {
            return Some(Self {
                culprit: &plan.culprit.name,
                target: &plan.target.name,
                commits: [plan.culprit.commit.as_deref(), plan.target.commit.as_deref()],
                unproven: !plan.proven,
                stays: plan.stays.as_deref(),
                from: &plan.from,
                // A plan that was not carried out is for people to follow: as a whole.
                to: if decision.outcome == Outcome::Rollback { plan.to.clone() } else { plan.end() },
                step: if decision.outcome == Outcome::Rollback { plan.step } else { steps::ALL },
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
            stays: None,
            from: &rollback.from,
            to: rollback.to(),
            step: rollback.step,
        })
    }

    /// From and to, culprit and target first.
    pub(super) fn describe(&self, moved: bool) -> String {
        let mut revisions = vec![self.culprit, self.target];
        for share in self.from.iter().chain(&self.to) {
            if !revisions.contains(&share.revision.as_str()) {
                revisions.push(&share.revision);
            }
        }
        let commits = self.commits.iter().copied().chain(std::iter::repeat(None));
        let mut lines = vec![if moved { "*Traffic*" } else { "*The plan*" }.to_owned()];
        for (revision, commit) in revisions.iter().zip(commits).take(MOST_REVISIONS) {
            let commit = commit.map(|commit| name(&commit.chars().take(7).collect::<String>()));
            let commit = commit.map_or(String::new(), |commit| format!(" (commit `{commit}`)"));
            let before = percent_of(revision, self.from);
            let change = format!("{before} % → {} %", percent_of(revision, &self.to));
            lines.push(format!("`{}`{commit}: {change}", name(revision)));
        }
        if revisions.len() > MOST_REVISIONS {
            lines.push(format!("and {} more", revisions.len() - MOST_REVISIONS));
        }
        if self.step < steps::ALL {
            lines.push(format!("{} % of the first one's share has moved to the second.", self.step));
        }
        if let Some(stays) = self.stays {
            lines.insert(lines.len().min(3), format!("*Tags:* {}.", prose(stays, REMARK)));
        }
        // Next to the two that it is about: what follows may be long, and cut.
        if self.unproven {
            let target = name(self.target);
            let doubt = format!(
                "*Unproven target:* no history in Monitoring shows that `{target}` served healthily."
            );
            lines.insert(lines.len().min(3), doubt);
        }
        cut(&lines.join("\n"), DESCRIPTION)
    }
}

fn percent_of(revision: &str, split: &[Share]) -> u32 {
    split.iter().filter(|share| share.revision == revision).map(|share| u32::from(share.percent)).sum()
}
