//! What goes wrong at calls: the spells of a plan, noise, and deaths at chosen calls. By chance, but always the same.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;

use super::crew::Crew;
use super::plan::{Noise, Spell, Trouble};
use super::trace::Trace;
use crate::simulator::{Caller, Effect, Reply, Weather, permission_denied, refusal};

/// The body of an answer that does not end.
pub const ENDLESS: &str = "endless";

/// No process waits that long.
const FOR_EVER: Duration = Duration::from_secs(60);

/// The weather over one schedule.
pub struct Skies {
    pub spells: Vec<Spell>,
    pub noise: Noise,
    pub calm: Duration,
    /// At the call of this number, counted from 0, this happens.
    pub strokes: Vec<(usize, Trouble)>,
    pub chance: Rng,
    pub crew: Arc<Mutex<Crew>>,
    pub trace: Trace,
    pub calls: usize,
}

impl Weather for Skies {
    fn at(&mut self, call: &str, caller: Option<Caller>) -> Vec<(bool, Effect)> {
        let Some(caller) = caller else { return Vec::new() };
        let (number, now) = (self.calls, self.trace.now());
        self.calls += 1;
        let (least, most) = if now < self.calm { self.noise.delay } else { (20, 20) };
        let takes = Duration::from_millis(self.chance.u64(least..=most));
        let mut effects = vec![(false, Effect::Delay(takes))];
        if let Some(trouble) = self.trouble(call, number, now) {
            self.trace.trouble(caller, call, trouble);
            effects.extend(self.effects(trouble, caller));
        }
        effects
    }
}

impl Skies {
    fn trouble(&mut self, call: &str, number: usize, now: Duration) -> Option<Trouble> {
        if let Some((_, trouble)) = self.strokes.iter().find(|(at, _)| *at == number) {
            return Some(*trouble);
        }
        if now >= self.calm {
            return None;
        }
        for spell in &self.spells {
            let prefix = spell.calls.strip_suffix('*');
            let meant = prefix.map_or(call == spell.calls, |prefix| call.starts_with(prefix));
            if meant && spell.from <= now && now < spell.until && self.chance.u32(0..100) < spell.odds {
                return Some(spell.trouble);
            }
        }
        if self.chance.u32(0..1000) < self.noise.kills {
            return Some(if self.chance.bool() { Trouble::DiesBefore } else { Trouble::DiesAfter });
        }
        if self.chance.u32(0..1000) < self.noise.faults {
            return self.chance.choice(Trouble::ANSWERS).copied();
        }
        None
    }

    fn effects(&self, trouble: Trouble, caller: Caller) -> Vec<(bool, Effect)> {
        let crew = self.crew.clone();
        let dies = Effect::Change(Arc::new(move |_| crew.lock().unwrap().kill(caller.process)));
        match trouble {
            Trouble::Status(status) => vec![(false, Effect::Reply(refusal(status, "It was told to fail.")))],
            Trouble::TooMany(seconds) => {
                let reply = refusal(429, "Quota exceeded.").retry_after(seconds);
                vec![(false, Effect::Reply(reply))]
            }
            Trouble::Denied => vec![(false, Effect::Reply(permission_denied("the.permission")))],
            Trouble::LostBefore => vec![(false, Effect::Cut(Duration::ZERO))],
            Trouble::LostAfter => vec![(true, Effect::Cut(Duration::ZERO))],
            Trouble::Hangs => vec![(false, Effect::Cut(FOR_EVER))],
            Trouble::HangsAfter => vec![(true, Effect::Cut(FOR_EVER))],
            Trouble::Truncated => vec![(true, Effect::Garble(truncated))],
            Trouble::Html => vec![(true, Effect::Garble(|_| Reply::text(200, "<html>Sign in</html>")))],
            Trouble::Endless => vec![(true, Effect::Garble(|_| Reply::text(200, ENDLESS)))],
            Trouble::Empty => vec![(true, Effect::Garble(|_| Reply::json(&serde_json::json!({}))))],
            Trouble::Slow(millis) => vec![(false, Effect::Delay(Duration::from_millis(millis)))],
            Trouble::DiesBefore => vec![(false, dies), (false, Effect::Cut(Duration::ZERO))],
            Trouble::DiesAfter => vec![(true, dies), (true, Effect::Cut(Duration::ZERO))],
        }
    }
}

fn truncated(reply: Reply) -> Reply {
    let half = reply.body.len() / 2;
    let end = (half..).find(|at| reply.body.is_char_boundary(*at)).unwrap_or(half);
    Reply { body: reply.body[..end].to_owned(), ..reply }
}
