//! The processes that share the work. Each is a `Runback` value with a memory of its own, and dies with all of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use runback::server::Desk;
use tokio::task::AbortHandle;

/// How a process is made: it gets its number.
pub type Birth = Box<dyn Fn(usize) -> Arc<Desk> + Send>;

/// So many slots, each with a process or none.
pub struct Crew {
    birth: Birth,
    slots: Vec<Option<Process>>,
    /// Processes that finish what they have in hand and get nothing new.
    retired: Vec<Process>,
    born: usize,
    dead: BTreeSet<usize>,
}

struct Process {
    number: usize,
    desk: Arc<Desk>,
    in_hand: Vec<AbortHandle>,
}

impl Crew {
    pub fn of(slots: usize, birth: Birth) -> Self {
        let slots = (0..slots).map(|_| None).collect();
        Self { birth, slots, retired: Vec::new(), born: 0, dead: BTreeSet::new() }
    }

    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The process in a slot; a new one where there is none.
    pub fn at(&mut self, slot: usize) -> (usize, Arc<Desk>) {
        if self.slots[slot].is_none() {
            let number = self.born;
            self.born += 1;
            let process = Process { number, desk: (self.birth)(number), in_hand: Vec::new() };
            self.slots[slot] = Some(process);
        }
        let process = self.slots[slot].as_ref().map(|process| (process.number, process.desk.clone()));
        process.unwrap_or_else(|| unreachable!("it was just filled"))
    }

    /// What a process works on, so that it ends with the process.
    pub fn works_on(&mut self, number: usize, work: AbortHandle) {
        let all = self.slots.iter_mut().flatten().chain(&mut self.retired);
        for process in all.filter(|process| process.number == number) {
            process.in_hand.retain(|work| !work.is_finished());
            process.in_hand.push(work.clone());
        }
    }

    /// It is gone at once, with everything that it knew and had in hand.
    pub fn kill(&mut self, number: usize) {
        let slot = self.slots.iter_mut().find(|slot| slot.as_ref().is_some_and(|it| it.number == number));
        let process = match slot {
            Some(slot) => slot.take(),
            None => {
                let at = self.retired.iter().position(|process| process.number == number);
                at.map(|at| self.retired.remove(at))
            }
        };
        if let Some(process) = process {
            process.in_hand.iter().for_each(AbortHandle::abort);
            self.dead.insert(number);
        }
    }

    pub fn is_dead(&self, number: usize) -> bool {
        self.dead.contains(&number)
    }

    pub fn deaths(&self) -> usize {
        self.dead.len()
    }

    /// It gets nothing new.
    pub fn retire(&mut self, slot: usize) {
        self.retired.extend(self.slots[slot].take());
    }
}
