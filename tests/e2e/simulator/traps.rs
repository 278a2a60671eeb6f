//! Something that happens at a call: a fault, a delay, or a change of the world.

use std::sync::Arc;
use std::time::Duration;

use super::Simulator;
use super::wire::{Caller, Reply, permission_denied, refusal};
use super::world::World;

pub type Change = Arc<dyn Fn(&mut World) + Send + Sync>;

#[derive(Clone)]
pub enum Effect {
    Reply(Reply),
    /// The answer does not arrive as it was sent.
    Garble(fn(Reply) -> Reply),
    /// The connection closes without an answer, after this long.
    Cut(Duration),
    Delay(Duration),
    Change(Change),
}

/// What happens at calls beyond what a test has set up: whether a call is carried out before an effect, and the effect.
pub trait Weather: Send {
    fn at(&mut self, call: &str, caller: Option<Caller>) -> Vec<(bool, Effect)>;
}

pub struct Trap {
    pattern: String,
    skip: usize,
    times: usize,
    /// The call does its work before the effect.
    pub carried_out: bool,
    pub effect: Effect,
}

impl Trap {
    pub fn springs_at(&mut self, call: &str) -> bool {
        let prefix = self.pattern.strip_suffix('*');
        if self.times == 0 || !prefix.map_or(call == self.pattern, |prefix| call.starts_with(prefix)) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times = self.times.saturating_sub(1);
        true
    }
}

/// `sim.at("run.put").skip(1).carried_out().cuts()`: reads as what will happen. Once, unless told otherwise.
#[must_use]
pub struct At<'a> {
    simulator: &'a Simulator,
    pattern: String,
    skip: usize,
    times: usize,
    carried_out: bool,
}

impl Simulator {
    /// At calls of this name, such as `run.put`, `run.*` or `*`.
    pub fn at(&self, pattern: &str) -> At<'_> {
        At { simulator: self, pattern: pattern.to_owned(), skip: 0, times: 1, carried_out: false }
    }

    /// Everything works again.
    pub fn repair(&self) {
        self.traps.lock().unwrap().clear();
    }
}

impl At<'_> {
    pub fn skip(self, skip: usize) -> Self {
        Self { skip, ..self }
    }

    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// The call does its work, and only then comes the effect.
    pub fn carried_out(self) -> Self {
        Self { carried_out: true, ..self }
    }

    pub fn fails(self, status: u16) {
        self.replies(refusal(status, "The simulator was told to fail."));
    }

    pub fn denies(self, permission: &str) {
        self.replies(permission_denied(permission));
    }

    pub fn replies(self, reply: Reply) {
        self.set(Effect::Reply(reply));
    }

    pub fn cuts(self) {
        self.hangs(Duration::ZERO);
    }

    /// No answer for this long, then none at all.
    pub fn hangs(self, duration: Duration) {
        self.set(Effect::Cut(duration));
    }

    pub fn takes(self, duration: Duration) {
        self.set(Effect::Delay(duration));
    }

    /// The world changes when the call arrives, or once it is carried out and before it is answered.
    pub fn does(self, change: impl Fn(&mut World) + Send + Sync + 'static) {
        self.set(Effect::Change(Arc::new(change)));
    }

    fn set(self, effect: Effect) {
        let Self { simulator, pattern, skip, times, carried_out } = self;
        simulator.traps.lock().unwrap().push(Trap { pattern, skip, times, carried_out, effect });
    }
}
