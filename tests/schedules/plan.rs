//! What happens in one schedule, as far as it is decided before it runs: the service and its policy, what is sent, what
//! others do, and what goes wrong. Moments are counted from the beginning of the world.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Value, json};

use crate::alert::Kind;
use crate::simulator::{NOW, Reconcile, Revision, Served, Service, hours, minutes};

pub const SERVICE: &str = "k-back";
pub const BAD: &str = "k-back-00042-abc";
pub const GOOD: &str = "k-back-00041-xyz";
pub const OLDER: &str = "k-back-00040-uvw";
pub const FIX: &str = "k-back-00043-fix";

/// One schedule.
#[derive(Clone, Debug)]
pub struct Plan {
    pub name: String,
    /// Decides everything that is left to chance while it runs.
    pub seed: u64,
    pub setup: Setup,
    pub letters: Vec<Letter>,
    pub deeds: Vec<(Duration, Deed)>,
    pub queue: Queue,
    pub spells: Vec<Spell>,
    pub noise: Noise,
    /// From here on nothing goes wrong any more.
    pub calm: Duration,
    /// The end of the schedule.
    pub end: Duration,
}

/// The world at its beginning, and Runback's configuration.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The share of errors of the newest revision, deployed twenty minutes ago.
    pub errors: f64,
    /// Its share of slow requests.
    pub slow: f64,
    pub requests_per_minute: f64,
    /// The newest revision's percent of the traffic; the one before it has the rest.
    pub share: u64,
    /// Whether traffic follows LATEST.
    pub latest: bool,
    /// Whether there is a revision before the one before.
    pub older: bool,
    pub reconcile: Late,
    /// Keys for the policy's defaults.
    pub policy: Value,
    pub queue: bool,
    pub door: Door,
    /// How many processes share the work.
    pub processes: usize,
    /// How far behind Monitoring is.
    pub lag: Duration,
}

/// When the status shows what the spec asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Late {
    By(Duration),
    Never,
}

/// How people are told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Door {
    Webhook,
    Bot,
    LogOnly,
}

/// Something that is sent to Runback by Pub/Sub, and comes again until it is acknowledged.
#[derive(Clone, Debug)]
pub struct Letter {
    pub at: Duration,
    /// How long it was on its way before.
    pub age: Duration,
    pub what: What,
    /// Further copies of the same message, so long afterwards.
    pub copies: Vec<Duration>,
}

#[derive(Clone, Debug)]
pub enum What {
    Incident(Incident),
    /// Several incidents in one request.
    Batch(Vec<Incident>),
    /// The audit log or a pipeline tells of a deploy.
    Deployed,
}

#[derive(Clone, Debug)]
pub struct Incident {
    pub id: String,
    pub kind: Signal,
    pub closed: bool,
    /// Whether the alert names the revision.
    pub names_revision: bool,
    /// The policy's user label `runback`.
    pub wish: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Signal {
    Errors,
    Latency,
    LogMatch,
}

impl Signal {
    pub fn kind(self) -> Kind {
        match self {
            Self::Errors => Kind::Errors,
            Self::Latency => Kind::Latency,
            Self::LogMatch => Kind::LogMatch,
        }
    }
}

/// What somebody else does, or what becomes of a revision.
#[derive(Clone, Debug)]
pub enum Deed {
    Move(Vec<(&'static str, u32)>),
    /// A new revision with this share of errors.
    Deploy(f64),
    Annotate,
    Tag,
    Deploying(bool),
    Errors(&'static str, f64),
    NotReady(&'static str),
    /// So many requests a minute from now on.
    Requests(f64),
    Delete,
    LoseRecord,
    Reconcile(Late),
    /// The status catches up.
    CatchUp,
    /// Every waiting task is gone.
    Purge,
    /// A new process takes over from this one, which is stopped: a new version, or an instance that was idle.
    Replace(usize),
}

/// What Cloud Tasks does with the tasks that it has.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// At most so late.
    pub late: Duration,
    /// Percent of the tasks that are delivered twice.
    pub twice: u32,
    /// Percent of the tasks that get lost.
    pub lost: u32,
    /// Nothing is delivered before.
    pub paused_until: Duration,
}

/// Something that goes wrong at certain calls for some time.
#[derive(Clone, Debug)]
pub struct Spell {
    /// As in the simulator's traps: `run.put`, `monitoring.*`, `*`.
    pub calls: Cow<'static, str>,
    pub trouble: Trouble,
    pub from: Duration,
    pub until: Duration,
    /// Percent of the calls.
    pub odds: u32,
}

/// What can go wrong at a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trouble {
    Status(u16),
    /// 429 that asks for so many seconds.
    TooMany(u64),
    /// 403 that names the permission.
    Denied,
    /// The connection is lost before the call is carried out.
    LostBefore,
    /// It is carried out, and the connection is lost.
    LostAfter,
    /// No answer for a minute; the call is not carried out.
    Hangs,
    /// It is carried out, and there is no answer for a minute.
    HangsAfter,
    /// The answer ends in the middle.
    Truncated,
    /// The answer is a page of HTML with status 200.
    Html,
    /// The answer is `{}`.
    Empty,
    /// The answer is longer than anything that is read.
    Endless,
    /// It takes so many milliseconds.
    Slow(u64),
    /// The process dies before it is carried out.
    DiesBefore,
    /// It is carried out, and the process dies.
    DiesAfter,
}

impl Trouble {
    /// Whatever can go wrong with an answer.
    pub const ANSWERS: &[Self] = &[
        Self::Status(500),
        Self::Status(503),
        Self::Status(429),
        Self::TooMany(0),
        Self::TooMany(3),
        Self::Status(401),
        Self::Denied,
        Self::Status(404),
        Self::Status(409),
        Self::Status(400),
        Self::LostBefore,
        Self::LostAfter,
        Self::Hangs,
        Self::HangsAfter,
        Self::Truncated,
        Self::Html,
        Self::Empty,
        Self::Slow(1_500),
    ];
}

/// What goes wrong now and then.
#[derive(Clone, Copy, Debug)]
pub struct Noise {
    /// Per mille of the calls at which something goes wrong.
    pub faults: u32,
    /// Per mille of the calls at which the process dies.
    pub kills: u32,
    /// A call takes between the two, in milliseconds.
    pub delay: (u64, u64),
}

impl Plan {
    /// A schedule in which nothing goes wrong: a deploy that fails, and its alert.
    pub fn quiet(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            seed: 0,
            setup: Setup::default(),
            letters: vec![Letter::new(Duration::ZERO, What::Incident(Incident::open("0.first")))],
            deeds: Vec::new(),
            queue: Queue { late: Duration::ZERO, twice: 0, lost: 0, paused_until: Duration::ZERO },
            spells: Vec::new(),
            noise: Noise { faults: 0, kills: 0, delay: (20, 20) },
            calm: minutes(40),
            end: minutes(40) + hours(2),
        }
    }
}

impl Plan {
    /// Whether somebody takes our record away, and with it all that is promised by it.
    pub fn loses_its_record(&self) -> bool {
        self.deeds.iter().any(|(_, deed)| matches!(deed, Deed::LoseRecord | Deed::Delete))
    }

    pub fn deletes_the_service(&self) -> bool {
        self.deeds.iter().any(|(_, deed)| matches!(deed, Deed::Delete))
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            errors: 0.4,
            slow: 0.0,
            requests_per_minute: 600.0,
            share: 100,
            latest: true,
            older: false,
            reconcile: Late::By(Duration::ZERO),
            policy: json!({}),
            queue: true,
            door: Door::Webhook,
            processes: 1,
            lag: Duration::ZERO,
        }
    }
}

impl Setup {
    pub fn service(&self) -> Service {
        // Short histories: what is counted is counted by the minute, and read again and again.
        let part = |percent: u64| self.requests_per_minute * percent as f64 / 100.0;
        let lately = |percent: u64| Served::ago(minutes(20)..NOW).rpm(part(percent));
        let mut good = Revision::named(GOOD).age(minutes(70)).errors(0.001).served(minutes(70)..minutes(20));
        if self.share < 100 {
            good = good.served(lately(100 - self.share));
        }
        let bad = Revision::named(BAD).age(minutes(20)).errors(self.errors).slow(self.slow);
        let mut service = Service::named(SERVICE).revision(bad.served(lately(self.share))).revision(good);
        if self.older {
            let older = Revision::named(OLDER).age(minutes(100)).errors(0.001);
            service = service.revision(older.served(minutes(100)..minutes(70)));
        }
        let newest = if self.latest { "LATEST" } else { BAD };
        let rest = 100 - self.share;
        service = match rest {
            0 => service.traffic(&[(newest, 100)]),
            _ => service.traffic(&[(newest, self.share as u32), (GOOD, rest as u32)]),
        };
        service.rpm = self.requests_per_minute;
        service.reconcile = self.reconcile.into();
        service
    }
}

impl From<Late> for Reconcile {
    fn from(late: Late) -> Self {
        match late {
            Late::By(delay) => Self::After(delay),
            Late::Never => Self::Never,
        }
    }
}

impl Letter {
    pub fn new(at: Duration, what: What) -> Self {
        Self { at, age: Duration::ZERO, what, copies: Vec::new() }
    }
}

impl Incident {
    pub fn open(id: &str) -> Self {
        let (kind, closed, names_revision, wish) = (Signal::Errors, false, true, None);
        Self { id: id.to_owned(), kind, closed, names_revision, wish }
    }

    pub fn closed(id: &str) -> Self {
        Self { closed: true, ..Self::open(id) }
    }
}
