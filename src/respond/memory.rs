//! What this process remembers beside the record: to tell the whole story once. Nothing is decided by it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::alert::Alert;
use crate::domain::decision::Decision;
use crate::domain::record::{Phase, Rollback};
use crate::domain::service::ServiceName;

/// More than this is forgotten; then somebody may read a message twice.
const MOST: usize = 2_000;

/// Whoever still asks for a service that is not found does so more often than this.
const FOUND_SINCE: TimeDelta = TimeDelta::minutes(15);

/// The process's memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    stories: Mutex<HashMap<String, (Decision, Alert)>>,
    /// Writes of this process: a rollback's first one, each further step, the way back.
    written: Set<String>,
    told: Set<String>,
    posted: Set<(String, String)>,
    threads: Mutex<HashMap<String, String>>,
    /// Closed incidents, newest first.
    closed: Mutex<VecDeque<(String, ServiceName)>>,
    /// Incidents that are judged again, and wait for Monitoring since.
    waiting: Mutex<HashMap<String, DateTime<Utc>>>,
    /// Services that Cloud Run did not find: for the first time, and for the last.
    missing: Mutex<HashMap<ServiceName, [DateTime<Utc>; 2]>>,
}

impl Memory {
    /// Remembers that an incident is closed: an older message about it may still be on its way.
    pub(crate) fn close(&self, incident: &str, service: &ServiceName) {
        let mut closed = lock(&self.closed);
        if !incident.is_empty() && !closed.iter().any(|(known, _)| known == incident) {
            closed.push_front((incident.to_owned(), service.clone()));
            closed.truncate(MOST);
        }
    }

    /// Whether an incident is known to be closed.
    pub(crate) fn is_closed(&self, incident: &str) -> bool {
        lock(&self.closed).iter().any(|(known, _)| known == incident)
    }

    /// A service's closed incidents, newest first.
    pub(crate) fn closed(&self, service: &ServiceName) -> Vec<String> {
        let closed = lock(&self.closed);
        closed.iter().filter(|(_, of)| of == service).map(|(incident, _)| incident.clone()).collect()
    }

    /// Since when a later judgement of an incident waits for Monitoring.
    pub(crate) fn waiting_since(&self, incident: &str) -> Option<DateTime<Utc>> {
        lock(&self.waiting).get(incident).copied()
    }

    /// Remembers that it waits, from the first time on.
    pub(crate) fn wait(&self, incident: &str, now: DateTime<Utc>) {
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= MOST {
            waiting.clear();
        }
        waiting.entry(incident.to_owned()).or_insert(now);
    }

    /// Keeps the decision that leads to a rollback and its alert, before it is written: the record has no room for its figures.
    pub(crate) fn keep_story(&self, rollback: &str, decision: &Decision, alert: &Alert) {
        let mut stories = lock(&self.stories);
        if stories.len() >= MOST {
            stories.clear();
        }
        stories.insert(rollback.to_owned(), (decision.clone(), alert.clone()));
    }

    /// The decision that led to a rollback and its alert, if this process wrote it.
    pub(crate) fn story(&self, rollback: &str) -> Option<(Decision, Alert)> {
        lock(&self.stories).get(rollback).cloned()
    }

    /// Remembers that this process is about to write a rollback as it now is.
    pub(crate) fn write(&self, rollback: &Rollback) {
        self.written.insert(write_of(rollback));
    }

    /// Whether a rollback's last write was this process's: then it is the one to tell of it, and knows why.
    pub(crate) fn wrote(&self, rollback: &Rollback) -> bool {
        self.written.contains(&write_of(rollback))
    }

    /// Whether this process has told people of a rollback's write, named by the task that follows it.
    pub(crate) fn told(&self, write: &str) -> bool {
        self.told.contains(&write.to_owned())
    }

    /// Remembers that it has.
    pub(crate) fn tell(&self, write: &str) {
        self.told.insert(write.to_owned());
    }

    /// It has, but what follows the write is not planned: that is to be taken up again.
    pub(crate) fn forget(&self, write: &str) {
        self.told.remove(&write.to_owned());
    }

    /// Keeps the handle of a rollback's first message.
    pub(crate) fn keep_thread(&self, rollback: &str, thread: &str) {
        let mut threads = lock(&self.threads);
        if threads.len() >= MOST {
            threads.clear();
        }
        threads.entry(rollback.to_owned()).or_insert_with(|| thread.to_owned());
    }

    /// The handle of a rollback's first message, if this process posted it.
    pub(crate) fn thread(&self, rollback: &str) -> Option<String> {
        lock(&self.threads).get(rollback).cloned()
    }

    /// Since when Cloud Run has not found a service, now included. A 404 of long ago does not count: it was found since.
    pub(crate) fn missing_since(&self, service: &ServiceName, now: DateTime<Utc>) -> DateTime<Utc> {
        let mut missing = lock(&self.missing);
        let [first, last] = missing.entry(service.clone()).or_insert([now; 2]);
        if now - *last > FOUND_SINCE {
            *first = now;
        }
        *last = now;
        *first
    }

    /// Whether something about a subject is to be posted for the first time; from then on it is not.
    pub(crate) fn first_post(&self, subject: &str, what: &str) -> bool {
        self.posted.insert((subject.to_owned(), what.to_owned()))
    }

    /// Whether something about a subject has been posted.
    pub(crate) fn has_posted(&self, subject: &str, what: &str) -> bool {
        self.posted.contains(&(subject.to_owned(), what.to_owned()))
    }

    /// A post that did not get through is not counted.
    pub(crate) fn forget_post(&self, subject: &str, what: &str) {
        self.posted.remove(&(subject.to_owned(), what.to_owned()));
    }
}

/// A panic elsewhere leaves a collection as good as it was.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A rollback's last write, by name.
fn write_of(rollback: &Rollback) -> String {
    let back = matches!(rollback.phase, Phase::Restoring | Phase::Restored);
    format!("{} {} {back}", rollback.id, rollback.step)
}

#[derive(Debug)]
struct Set<T>(Mutex<HashSet<T>>);

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self(Mutex::new(HashSet::new()))
    }
}

impl<T: std::hash::Hash + Eq> Set<T> {
    fn with<R>(&self, action: impl FnOnce(&mut HashSet<T>) -> R) -> R {
        action(&mut lock(&self.0))
    }

    fn contains(&self, item: &T) -> bool {
        self.with(|set| set.contains(item))
    }

    fn insert(&self, item: T) -> bool {
        self.with(|set| {
            if set.len() >= MOST {
                set.clear();
            }
            set.insert(item)
        })
    }

    fn remove(&self, item: &T) {
        self.with(|set| set.remove(item));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_missing_since_it_was_not_found_for_the_first_time_in_a_row() {
        let memory = Memory::default();
        let at = |minutes| DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes);
        let name: ServiceName = "projects/p/locations/r/services/s".parse().unwrap();
        let other: ServiceName = "projects/p/locations/r/services/t".parse().unwrap();
        for (now, since) in [(0, 0), (1, 0), (11, 0), (27, 27), (28, 27)] {
            assert_eq!(memory.missing_since(&name, at(now)), at(since), "{now}");
        }
        assert_eq!(memory.missing_since(&other, at(28)), at(28));
    }
}
