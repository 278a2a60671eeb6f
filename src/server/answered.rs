//! What the events of a batch were answered. A batch comes again as a whole when one of its events has to, and what was
//! decided about the others is not decided, and told, anew.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use crate::domain::alert::Delivery;

/// So many are remembered: several batches of the largest size.
const MOST: usize = 500;

/// The answers that this process gave last.
#[derive(Debug, Default)]
pub(super) struct Answered {
    answers: Mutex<VecDeque<(u64, String)>>,
    hasher: RandomState,
}

impl Answered {
    /// What the very same event was answered before.
    pub(super) fn before(&self, delivery: &Delivery) -> Option<String> {
        let key = self.key(delivery)?;
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.iter().find(|(known, _)| *known == key).map(|(_, answer)| answer.clone())
    }

    /// Keeps an answer.
    pub(super) fn keep(&self, delivery: &Delivery, answer: String) {
        let Some(key) = self.key(delivery) else { return };
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.push_front((key, answer));
        answers.truncate(MOST);
    }

    /// The whole event counts, and not its id alone, which anybody can give to another one.
    fn key(&self, delivery: &Delivery) -> Option<u64> {
        let key = self.hasher.hash_one(format!("{delivery:?}"));
        delivery.message_id.as_ref().map(|_| key)
    }
}
