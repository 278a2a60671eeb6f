//! The record of what Runback did to a service, as kept in the annotation `runback.dev/state`.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::service::{Revision, Service, Split};
use super::steps;

/// Our memory: the rollbacks, newest first, and the revisions that must not come back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// The last rollbacks, newest first.
    pub rollbacks: Vec<Rollback>,
    /// Revisions that were rolled back, newest first.
    pub quarantine: Vec<Quarantined>,
    /// The newest revision of which people have been told that it waits behind the pin.
    pub waiting: Option<String>,
    /// Closed incidents, newest first, as far as Runback knew of them when it wrote the record.
    pub closed: Vec<String>,
}

/// One rollback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollback {
    /// Names the rollback in logs and tasks: letters, digits and dashes.
    pub id: String,
    /// The incident that led to it.
    pub incident: String,
    /// When the alert that led to it was published, where that is known.
    pub alerted: Option<DateTime<Utc>>,
    /// When the switch was written; a gradual one's first step.
    pub at: DateTime<Utc>,
    /// When it was last written to, where that was later: a further step, or the previous split put back.
    pub moved: Option<DateTime<Utc>>,
    /// The revision that lost its traffic.
    pub culprit: String,
    /// The split before, by the status.
    pub from: Vec<Share>,
    /// Percent of all requests that the culprit had as LATEST and not by its name.
    pub latest: u8,
    /// Whether the incident is about slow requests, and not about failed ones.
    pub slow: bool,
    /// What a slow request is, where the alert had a limit of its own.
    pub slower_than: Option<Duration>,
    /// The revision that got the culprit's traffic.
    pub target: String,
    /// Percent of the culprit's share that has moved.
    pub step: u8,
    /// Whether the first step was a trial: it is not known yet whether the culprit is to blame.
    pub trial: bool,
    /// How far it has come.
    pub phase: Phase,
    /// The decision's reason code.
    pub reason: String,
    /// The figures that the last write rests on, as a sentence for people who could not be told at once; of a rollback by
    /// hand what its author gave as the reason.
    pub why: Option<String>,
    /// Whose rollback by hand it is, where that is known.
    pub by: Option<String>,
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
    /// The status never showed the last write.
    NotArrived,
    /// A gradual rollback stopped on its way: the target is no better than the culprit.
    Halted,
    /// It did not help, and the previous split is written again; people do not know yet.
    Restoring,
    /// It did not help, the previous split is back, and the culprit is not to blame.
    Restored,
    /// A person has put the previous split back.
    Undone,
    /// A phase of a later version of the same format. Taken as finished.
    Other(String),
}

impl Phase {
    const KNOWN: [(Self, &'static str); 11] = [
        (Self::Switching, "switching"),
        (Self::Told, "told"),
        (Self::Recovered, "recovered"),
        (Self::NotHelped, "not_helped"),
        (Self::Unjudged, "unjudged"),
        (Self::Overruled, "overruled"),
        (Self::NotArrived, "not_arrived"),
        (Self::Halted, "halted"),
        (Self::Restoring, "restoring"),
        (Self::Restored, "restored"),
        (Self::Undone, "undone"),
    ];

    /// The word on record.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Other(word) => word,
            known => Self::KNOWN.iter().find(|(phase, _)| phase == known).map_or("", |(_, word)| word),
        }
    }

    /// The phase with this word.
    #[must_use]
    pub fn of_word(word: String) -> Self {
        let known = Self::KNOWN.into_iter().find(|(_, known)| *known == word);
        known.map_or(Self::Other(word), |(phase, _)| phase)
    }
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

impl Quarantined {
    /// The culprit of a rollback. Where both sides have the same image, the configuration is to blame, and the image may
    /// come back.
    #[must_use]
    pub fn of(culprit: &Revision, target: &Revision, at: DateTime<Utc>) -> Self {
        Self {
            revision: culprit.name.clone(),
            digest: culprit.digest.clone().filter(|_| culprit.digest != target.digest),
            commit: culprit.commit.clone(),
            at,
        }
    }
}

/// Clocks of processes differ by no more than this.
const CLOCKS: TimeDelta = TimeDelta::minutes(5);

/// What a time on record that cannot be right counts as.
const LONG_AGO: TimeDelta = TimeDelta::days(365);

/// How long ago something on record happened. A time that lies ahead came from a wrong clock: it counts as long past, so
/// that it holds nothing up until then.
#[must_use]
pub fn age(at: DateTime<Utc>, now: DateTime<Utc>) -> TimeDelta {
    let age = now - at;
    if age < -CLOCKS { LONG_AGO } else { age.max(TimeDelta::zero()) }
}

/// The reason of a rollback that a person made.
pub const BY_HAND: &str = "manual";

const MAX_ROLLBACKS: usize = 10;
const MAX_QUARANTINE: usize = 20;
const MAX_CLOSED: usize = 10;

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

    /// The rollback that shows that a revision is not to blame: taking its traffic away did not help, and was undone. A
    /// trial clears it of one failing only, which is over after `trial_holds`.
    #[must_use]
    pub fn absolved(&self, revision: &str, now: DateTime<Utc>, trial_holds: TimeDelta) -> Option<&Rollback> {
        let undone = |phase: &Phase| matches!(phase, Phase::Restoring | Phase::Restored);
        let holds = |rollback: &Rollback| !rollback.trial || age(rollback.last_write(), now) < trial_holds;
        self.rollbacks
            .iter()
            .find(|rollback| rollback.culprit == revision && undone(&rollback.phase) && holds(rollback))
    }

    /// The record with another entry for a rollback that it has; when there is none, as it is.
    #[must_use]
    pub fn with_changed(&self, changed: &Rollback) -> Self {
        let mut record = self.clone();
        for rollback in record.rollbacks.iter_mut().filter(|rollback| rollback.id == changed.id) {
            rollback.clone_from(changed);
        }
        if matches!(changed.phase, Phase::Restoring | Phase::Restored | Phase::Undone) {
            record.quarantine.retain(|entry| entry.revision != changed.culprit);
        }
        record
    }

    /// The record with these incidents, newest first, among the closed ones.
    #[must_use]
    pub fn with_closed(mut self, incidents: Vec<String>) -> Self {
        let known = std::mem::replace(&mut self.closed, incidents);
        for incident in known {
            if !self.closed.contains(&incident) {
                self.closed.push(incident);
            }
        }
        self.closed.truncate(MAX_CLOSED);
        self
    }

    /// The record with one more rollback and its culprit in quarantine if it is `bad`, cut to its limits.
    ///
    /// A quarantine entry goes when its revision no longer `exists`.
    #[must_use]
    pub fn with(
        &self,
        rollback: Rollback,
        bad: impl Into<Option<Quarantined>>,
        exists: impl Fn(&str) -> bool,
    ) -> Self {
        let mut rollbacks = vec![rollback];
        // Figures are for telling people late; of what came before they have heard.
        let told =
            |old: &Rollback| Rollback { why: old.why.clone().filter(|_| old.is_by_hand()), ..old.clone() };
        rollbacks.extend(self.rollbacks.iter().map(told));
        rollbacks.truncate(MAX_ROLLBACKS);
        let mut quarantine: Vec<_> = bad.into().into_iter().collect();
        let is_new = |entry: &&Quarantined| quarantine.iter().all(|bad| bad.revision != entry.revision);
        let kept = self.quarantine.iter().filter(is_new).filter(|entry| exists(&entry.revision));
        let kept: Vec<_> = kept.cloned().collect();
        quarantine.extend(kept);
        quarantine.truncate(MAX_QUARANTINE);
        Self { rollbacks, quarantine, waiting: None, closed: self.closed.clone() }
    }
}

impl Rollback {
    /// Whether a person made it, by a command. Runback never undoes it, and counts it for no limit of its own.
    #[must_use]
    pub fn is_by_hand(&self) -> bool {
        self.reason == BY_HAND
    }

    /// Whether nobody has judged yet how it ended.
    #[must_use]
    pub fn awaits_verdict(&self) -> bool {
        matches!(self.phase, Phase::Switching | Phase::Told)
    }

    /// When it last wrote to the service.
    #[must_use]
    pub fn last_write(&self) -> DateTime<Utc> {
        self.moved.unwrap_or(self.at)
    }

    /// Whether only a part of the culprit's share has moved, and more is to follow.
    #[must_use]
    pub fn is_under_way(&self) -> bool {
        self.step < steps::ALL && self.awaits_verdict()
    }

    /// Whether it is still being found out whether the culprit is to blame.
    #[must_use]
    pub fn is_on_trial(&self) -> bool {
        self.trial && self.is_under_way()
    }

    /// Percent of all requests that the culprit had.
    #[must_use]
    pub fn share(&self) -> u8 {
        steps::share_of(&self.from, &self.culprit)
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

    /// Whether the spec's split is, share by share, the one that was written last. Only then it may be written anew.
    #[must_use]
    pub fn is_untouched(&self, service: &Service) -> bool {
        service.spec_split() == as_split(self.to())
    }

    /// When everything has moved: the target serves, the culprit does not. On the way there, and back, every share
    /// counts: the next write would put back whatever else somebody has changed.
    fn holds_in(&self, split: &Split) -> bool {
        if self.step < steps::ALL || self.phase == Phase::Restoring {
            return *split == as_split(self.to());
        }
        split.contains_key(&self.target) && !split.contains_key(&self.culprit)
    }

    /// The split when everything has moved.
    #[must_use]
    pub fn end(&self) -> Vec<Share> {
        if self.is_by_hand() {
            return self.to();
        }
        steps::split(&self.from, &self.culprit, &self.target, steps::ALL)
    }

    /// The split that the last write asked for.
    #[must_use]
    pub fn to(&self) -> Vec<Share> {
        match self.phase {
            Phase::Restoring | Phase::Restored | Phase::Undone => self.from.clone(),
            // Whoever goes back by hand names the one revision that is to serve.
            _ if self.is_by_hand() => vec![Share { revision: self.target.clone(), percent: steps::ALL }],
            _ => steps::split(&self.from, &self.culprit, &self.target, self.step),
        }
    }
}

fn as_split(shares: Vec<Share>) -> Split {
    shares.into_iter().map(|share| (share.revision, share.percent)).collect()
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
