//! What this process remembers beside the record: to tell the whole story once. Nothing is decided by it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use crate::domain::alert::Alert;
use crate::domain::decision::Decision;
use crate::domain::service::ServiceName;

/// More than this is forgotten; then somebody may read a message twice.
const MOST: usize = 2_000;

/// The process's memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    stories: Mutex<HashMap<String, (Decision, Alert)>>,
    told: Set<String>,
    posted: Set<(String, String)>,
    threads: Mutex<HashMap<String, String>>,
    /// Closed incidents, newest first.
    closed: Mutex<VecDeque<(String, ServiceName)>>,
    /// Incidents that are judged again, and wait for Monitoring since.
    waiting: Mutex<HashMap<String, DateTime<Utc>>>,
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
