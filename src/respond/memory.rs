//! What this process remembers beside the record: only ever to save people a repetition, never to decide.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// More than this is forgotten; then somebody may read a message twice.
const MOST: usize = 10_000;

/// The process's memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    wrote: Set<String>,
    told: Set<String>,
    posted: Set<(String, String)>,
}

impl Memory {
    /// Whether a rollback is this process's to report.
    pub(crate) fn wrote(&self, rollback: &str) -> bool {
        self.wrote.contains(&rollback.to_owned())
    }

    /// Takes a rollback as this process's to report.
    pub(crate) fn write(&self, rollback: &str) {
        self.wrote.insert(rollback.to_owned());
    }

    /// Whether this process has told people of a rollback.
    pub(crate) fn told(&self, rollback: &str) -> bool {
        self.told.contains(&rollback.to_owned())
    }

    /// Remembers that it has.
    pub(crate) fn tell(&self, rollback: &str) {
        self.told.insert(rollback.to_owned());
    }

    /// Whether something about a subject is to be posted for the first time; from then on it is not.
    pub(crate) fn first_post(&self, subject: &str, what: &str) -> bool {
        self.posted.insert((subject.to_owned(), what.to_owned()))
    }

    /// A post that did not get through is not counted.
    pub(crate) fn forget_post(&self, subject: &str, what: &str) {
        self.posted.remove(&(subject.to_owned(), what.to_owned()));
    }
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
        // A panic elsewhere leaves a set as good as it was.
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
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
