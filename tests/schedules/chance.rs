//! A plan by chance: one seed, one plan.

use std::time::Duration;

use fastrand::Rng;
use serde_json::json;

use super::plan::{
    BAD, Deed, Door, GOOD, Incident, Late, Letter, Noise, Plan, Queue, Setup, Signal, Spell, Trouble, What,
};
use crate::simulator::{hours, minutes};

/// Everything that goes wrong does so before.
const CALM: Duration = minutes(45);

/// What spells are about.
const CALLS: &[&str] = &[
    "monitoring.list",
    "monitoring.list",
    "monitoring.list",
    "run.get",
    "run.put",
    "run.revisions",
    "run.*",
    "tasks.create",
    "tasks.get",
    "tasks.*",
    "slack.*",
    "*",
];

impl Plan {
    /// The schedule of a seed.
    pub fn of(seed: u64) -> Self {
        let mut chance = Chance(Rng::with_seed(seed));
        let setup = chance.setup();
        let letters = chance.letters(&setup);
        let deeds = chance.some(4, Chance::deed);
        let spells = chance.some(4, Chance::spell);
        let (queue, noise) = (chance.queue(), chance.noise());
        Self {
            name: format!("seed {seed}"),
            seed,
            setup,
            letters,
            deeds,
            queue,
            spells,
            noise,
            calm: CALM,
            end: CALM + hours(5),
        }
    }
}

struct Chance(Rng);

impl Chance {
    /// So many times in a hundred.
    fn percent(&mut self, times: u32) -> bool {
        self.0.u32(0..100) < times
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.0.usize(0..of.len())].clone()
    }

    /// Fewer than `most`, and often none.
    fn some<T>(&mut self, most: usize, each: impl Fn(&mut Self) -> T) -> Vec<T> {
        let count = self.0.usize(0..most).min(self.0.usize(0..most));
        (0..count).map(|_| each(self)).collect()
    }

    /// Milliseconds up to this, short ones as often as long ones.
    fn within(&mut self, most: Duration) -> Duration {
        let most = most.as_millis() as f64;
        Duration::from_millis((most.powf(self.0.f64()) - 1.0) as u64)
    }

    fn moment(&mut self, until: Duration) -> Duration {
        Duration::from_millis(self.0.u64(0..until.as_millis() as u64))
    }

    fn setup(&mut self) -> Setup {
        let latency = self.percent(8);
        let errors = self.one(&[0.4, 0.4, 0.4, 0.4, 0.2, 0.9, 0.9, 0.1, 0.03, 0.001]);
        let mut policy = json!({});
        if self.percent(50) {
            policy["strategy"] = json!("gradual");
            policy["step_interval"] = json!(self.one(&["4m", "2m", "8m"]));
        }
        if self.percent(40) {
            policy["not_helped"] = json!("restore");
        }
        if self.percent(25) {
            policy["warning"] = json!(0.02);
        }
        if self.percent(6) {
            policy["mode"] = json!("observe");
        }
        if self.percent(10) {
            policy["health_path"] = json!("/health");
        }
        if self.percent(20) {
            policy["cooldown"] = json!("5m");
        }
        let reconcile = match self.0.u32(0..10) {
            0..=5 => Late::By(Duration::ZERO),
            6 | 7 => Late::By(self.moment(Duration::from_secs(20))),
            8 => Late::By(self.moment(minutes(6))),
            _ => Late::Never,
        };
        Setup {
            errors: if latency { 0.001 } else { errors },
            slow: if latency { 0.3 } else { 0.0 },
            requests_per_minute: self.one(&[60.0, 600.0, 600.0, 2_000.0]),
            share: self.one(&[100, 100, 100, 100, 100, 50, 20, 10]),
            latest: self.0.bool(),
            older: self.0.bool(),
            reconcile,
            policy,
            queue: self.percent(90),
            door: self.one(&[Door::Webhook, Door::Webhook, Door::Bot, Door::Bot, Door::LogOnly]),
            processes: self.one(&[1, 1, 2, 3, 5]),
            lag: self.one(&[Duration::ZERO, Duration::ZERO, minutes(1), minutes(3)]),
        }
    }

    fn letters(&mut self, setup: &Setup) -> Vec<Letter> {
        let kind = if setup.slow > 0.0 { Signal::Latency } else { Signal::Errors };
        let mut letters = Vec::new();
        let first = Incident { kind, ..self.incident("0.first") };
        if self.percent(10) {
            // A storm: everything that Monitoring has goes off within seconds.
            let at = self.moment(minutes(1));
            for number in 0..12 {
                let each = Incident { id: format!("0.storm{number}"), ..first.clone() };
                let at = at + self.within(Duration::from_secs(5));
                letters.push(Letter::new(at, What::Incident(each)));
            }
        }
        let at = self.moment(minutes(2));
        letters.push(self.letter(at, What::Incident(first.clone())));
        if self.percent(30) {
            let at = at + self.within(minutes(40));
            letters.push(self.letter(at, What::Incident(Incident { closed: true, ..first.clone() })));
        }
        if self.percent(40) {
            let at = self.within(minutes(30));
            let second = Incident { kind, ..self.incident("0.second") };
            letters.push(self.letter(at, What::Incident(second)));
        }
        if self.percent(10) {
            let at = self.within(minutes(30));
            let log_match = Incident { kind: Signal::LogMatch, ..self.incident("0.third") };
            letters.push(self.letter(at, What::Incident(log_match)));
        }
        if self.percent(10) {
            let at = self.within(minutes(30));
            let parts = (0..self.0.usize(2..20)).map(|number| format!("0.part{number}"));
            let parts = parts.map(|id| Incident { kind, ..Incident::open(&id) }).collect();
            letters.push(self.letter(at, What::Batch(parts)));
        }
        if self.percent(20) {
            let at = self.within(minutes(30));
            letters.push(self.letter(at, What::Deployed));
        }
        letters
    }

    fn incident(&mut self, id: &str) -> Incident {
        let wish = self.one(&[None, None, None, None, Some("rollback"), Some("critical"), Some("notify")]);
        Incident { names_revision: self.percent(75), wish, ..Incident::open(id) }
    }

    fn letter(&mut self, at: Duration, what: What) -> Letter {
        let age = match self.0.u32(0..20) {
            0..=16 => Duration::ZERO,
            17 => minutes(3),
            18 => minutes(12),
            _ => hours(20),
        };
        let copies = self.some(5, |chance| chance.within(minutes(2)));
        Letter { at, age, what, copies }
    }

    fn deed(&mut self) -> (Duration, Deed) {
        let at = self.within(minutes(35));
        let share = self.one(&[0.0, 0.2, 0.5, 1.0]);
        let split =
            [vec![(GOOD, 100)], vec![(BAD, 100)], vec![(GOOD, 50), (BAD, 50)], vec![(GOOD, 90), (BAD, 10)]];
        let deed = match self.0.u32(0..30) {
            0..=2 => Deed::Move(self.one(&split)),
            3 | 4 => Deed::Deploy(share),
            5 | 6 => Deed::Annotate,
            7 => Deed::Tag,
            8 => Deed::Deploying(true),
            9 => Deed::Deploying(false),
            10..=14 => Deed::Errors(GOOD, share),
            15 | 16 => Deed::Errors(BAD, share),
            17 => Deed::NotReady(self.one(&[GOOD, BAD])),
            18 => Deed::Delete,
            19 => Deed::LoseRecord,
            20 => Deed::Reconcile(Late::Never),
            21 => Deed::Reconcile(Late::By(self.moment(minutes(6)))),
            22 | 23 => Deed::CatchUp,
            24 | 25 => Deed::Purge,
            _ => Deed::Replace(self.0.usize(0..5)),
        };
        (at, deed)
    }

    fn queue(&mut self) -> Queue {
        Queue {
            late: self.one(&[Duration::ZERO, Duration::from_secs(30), minutes(10)]),
            twice: self.one(&[0, 0, 30]),
            lost: self.one(&[0, 0, 0, 20, 100]),
            paused_until: self.one(&[Duration::ZERO; 9].into_iter().chain([CALM]).collect::<Vec<_>>()),
        }
    }

    fn spell(&mut self) -> Spell {
        let from = self.within(minutes(30));
        let until = (from + Duration::from_secs(1) + self.within(minutes(40))).min(CALM);
        let odds = self.one(&[100, 100, 60, 30, 10]);
        let trouble = match self.percent(15) {
            true => Trouble::Slow(self.0.u64(100..4_000)),
            false => self.one(Trouble::ANSWERS),
        };
        Spell { calls: self.one(CALLS).into(), trouble, from, until, odds }
    }

    fn noise(&mut self) -> Noise {
        Noise {
            faults: self.one(&[0, 0, 10, 50, 150]),
            kills: self.one(&[0, 0, 5, 20, 60]),
            delay: self.one(&[(20, 20), (5, 50), (20, 300), (100, 1_500)]),
        }
    }
}
