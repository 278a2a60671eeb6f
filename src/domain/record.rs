//! The record of what Runback did to a service, as kept in the annotation `runback.dev/state`.

use chrono::{DateTime, Utc};

use super::service::{Revision, Service, Split};

/// Our memory: the rollbacks, newest first, and the revisions that must not come back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The last rollbacks, newest first.
    pub rollbacks: Vec<Rollback>,
    /// Revisions that were rolled back, newest first.
    pub quarantine: Vec<Quarantined>,
    /// The newest revision of which people have been told that it waits behind the pin.
    pub waiting: Option<String>,
}

/// One rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback {
    /// Names the rollback in logs and tasks: letters, digits and dashes.
    pub id: String,
    /// The incident that led to it.
    pub incident: String,
    /// When the switch was written.
    pub at: DateTime<Utc>,
    /// The revision that lost its traffic.
    pub culprit: String,
    /// The split before, by the status.
    pub from: Vec<Share>,
    /// The revision that got the culprit's traffic.
    pub target: String,
    /// Percent of the culprit's share that has moved.
    pub step: u8,
    /// How far it has come.
    pub phase: Phase,
    /// The decision's reason code.
    pub reason: String,
}

/// How far a rollback has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Written; nobody has recorded yet that the status shows it and people know.
    Switching,
    /// The status shows it and people have been told.
    Told,
    /// The target was judged after the switch, and is healthy.
    Recovered,
    /// The target was judged after the switch, and fails as well.
    NotHelped,
    /// There were too few requests after the switch to judge the target.
    Unjudged,
    /// Somebody else has moved the traffic since.
    Overruled,
    /// A phase of a later version of the same format. Taken as finished.
    Other(String),
}

/// A revision's part of the traffic, in percent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The revision.
    pub revision: String,
    /// Percent of the requests.
    pub percent: u8,
}

/// A revision that failed in production: neither it nor its image is a target again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The revision.
    pub revision: String,
    /// Its image's digest, so that the image stays blocked under a new revision name.
    pub digest: Option<String>,
    /// Its commit, for people.
    pub commit: Option<String>,
    /// Since when.
    pub at: DateTime<Utc>,
}

const MAX_ROLLBACKS: usize = 10;
const MAX_QUARANTINE: usize = 20;

impl Record {
    /// The rollback that an incident led to.
    #[must_use]
    pub fn of_incident(&self, incident: &str) -> Option<&Rollback> {
        self.rollbacks.iter().find(|rollback| !incident.is_empty() && rollback.incident == incident)
    }

    /// The entry that keeps a revision from being served again: it, or its image under another name, was rolled back.
    #[must_use]
    pub fn ban(&self, revision: &Revision) -> Option<&Quarantined> {
        self.quarantine.iter().find(|entry| {
            let same_image = revision.digest.is_some() && entry.digest == revision.digest;
            entry.revision == revision.name || same_image
        })
    }

    /// The record with one more rollback and its culprit in quarantine, cut to its limits.
    ///
    /// A quarantine entry goes when its revision no longer `exists`.
    #[must_use]
    pub fn with(&self, rollback: Rollback, bad: Quarantined, exists: impl Fn(&str) -> bool) -> Self {
        let mut rollbacks = vec![rollback];
        rollbacks.extend(self.rollbacks.iter().cloned());
        rollbacks.truncate(MAX_ROLLBACKS);
        let mut quarantine = vec![bad];
        let others = self.quarantine.iter().filter(|entry| entry.revision != quarantine[0].revision);
        let kept: Vec<_> = others.filter(|entry| exists(&entry.revision)).cloned().collect();
        quarantine.extend(kept);
        quarantine.truncate(MAX_QUARANTINE);
        Self { rollbacks, quarantine, waiting: None }
    }
}

impl Rollback {
    /// Whether nobody has judged yet how it ended.
    #[must_use]
    pub fn awaits_verdict(&self) -> bool {
        matches!(self.phase, Phase::Switching | Phase::Told)
    }

    /// Whether the service's spec still asks for what this rollback wrote.
    #[must_use]
    pub fn is_wanted(&self, service: &Service) -> bool {
        self.holds_in(&service.spec_split())
    }

    /// Whether the service's status shows what this rollback wrote.
    #[must_use]
    pub fn has_arrived(&self, service: &Service) -> bool {
        self.holds_in(&service.split())
    }

    /// The target serves, the culprit does not any more once everything has moved.
    fn holds_in(&self, split: &Split) -> bool {
        split.contains_key(&self.target) && (self.step < 100 || !split.contains_key(&self.culprit))
    }

    /// The split that it led to: the culprit's share at the target.
    #[must_use]
    pub fn to(&self) -> Vec<Share> {
        moved(&self.from, &self.culprit, &self.target)
    }
}

/// A split after the culprit's share has gone to the target.
#[must_use]
pub fn moved(from: &[Share], culprit: &str, target: &str) -> Vec<Share> {
    let mut to: Vec<Share> = Vec::new();
    for share in from {
        let revision = if share.revision == culprit { target } else { &share.revision };
        match to.iter_mut().find(|known| known.revision == revision) {
            Some(known) => known.percent += share.percent,
            None => to.push(Share { revision: revision.to_owned(), percent: share.percent }),
        }
    }
    to
}

#[cfg(test)]
mod tests;
