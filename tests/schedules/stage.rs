//! One schedule as it runs: the world, the processes, and everything that knocks at their door.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::DateTime;
use fastrand::Rng;
use runback::respond::Received;
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, sleep_until};

use super::crew::Crew;
use super::plan::{Deed, FIX, Plan, SERVICE, Trouble};
use super::post::{self, Act, Agenda, Back, Message};
use super::seam::{self, CALLER};
use super::trace::{Request, Trace};
use super::weather::Skies;
use crate::alert::Delivery;
use crate::simulator::{Caller, Revision, STATE, Simulator, target};

/// The world begins at a full minute, like Monitoring's.
const BEGINNING: i64 = 1_780_000_020;

pub struct Stage {
    pub plan: Plan,
    pub simulator: Simulator,
    pub trace: Trace,
    pub crew: Arc<Mutex<Crew>>,
    pub messages: Mutex<BTreeMap<usize, Message>>,
    chance: Mutex<Rng>,
    began: Instant,
    /// Something may have to be looked at anew.
    news: Arc<Notify>,
}

/// Something that is sent to Runback.
pub struct Knock {
    pub delivery: Delivery,
    pub what: String,
    /// Which letter, and when it was published.
    pub letter: Option<(usize, f64)>,
}

impl Stage {
    /// The world as the plan has it at the beginning. `strokes`: what happens at calls of these numbers.
    pub fn set(plan: Plan, strokes: Vec<(usize, Trouble)>) -> Self {
        fastrand::seed(plan.seed);
        let start = DateTime::from_timestamp(BEGINNING, 0).unwrap_or_default();
        let simulator = Simulator::unreached(seam::BASE, start);
        simulator.add(plan.setup.service());
        simulator.answer_at_tags(SERVICE);
        simulator.world().lag = plan.setup.lag;
        let trace = Trace::of(&simulator);
        let news = Arc::new(Notify::new());
        let birth = seam::birth(&simulator, &plan, &news);
        let crew = Arc::new(Mutex::new(Crew::of(plan.setup.processes, birth)));
        let skies = Skies {
            spells: plan.spells.clone(),
            noise: plan.noise,
            calm: plan.calm,
            strokes,
            chance: Rng::with_seed(plan.seed ^ 0x5eed_0001),
            crew: crew.clone(),
            trace: trace.clone(),
            calls: 0,
        };
        simulator.weather(Some(Box::new(skies)));
        let chance = Mutex::new(Rng::with_seed(plan.seed ^ 0x5eed_0002));
        let messages = Mutex::default();
        Self { plan, simulator, trace, crew, messages, chance, began: Instant::now(), news }
    }

    pub fn draw(&self, range: Range<u64>) -> u64 {
        self.chance.lock().unwrap().u64(range)
    }

    /// Knocks at one of the processes. The status of its answer; nothing when it died.
    pub async fn knock(&self, knock: Knock) -> Option<u16> {
        let slots = self.crew.lock().unwrap().slots();
        let slot = if slots == 1 { 0 } else { self.draw(0..slots as u64) as usize };
        let (process, desk) = self.crew.lock().unwrap().at(slot);
        let Knock { delivery, what, letter } = knock;
        let caller = Caller { process, request: self.trace.count() };
        let number = self.trace.asked(Request {
            caller,
            what,
            letter,
            asked: self.trace.now(),
            done: None,
            status: 0,
            answer: String::new(),
        });
        let received = Received { at: self.simulator.world().clock.time(), instant: Instant::now() };
        let trace = self.trace.clone();
        let work = CALLER.scope(caller, async move {
            let (status, answer) = seam::answer(&desk, &delivery, received).await;
            trace.done(number, status, answer);
            status
        });
        let work = tokio::spawn(work);
        self.crew.lock().unwrap().works_on(process, work.abort_handle());
        work.await.ok()
    }

    /// From the beginning to the end.
    pub async fn play(self: &Arc<Self>) {
        let mut agenda = Agenda::of(self);
        let (sender, mut backs) = mpsc::unbounded_channel();
        loop {
            let now = self.began.elapsed();
            if now >= self.plan.end {
                break;
            }
            while let Some(act) = agenda.due(now) {
                self.perform(act, &sender);
            }
            for task in agenda.due_tasks(self, now) {
                let (stage, sender) = (self.clone(), sender.clone());
                tokio::spawn(async move { sender.send(post::dispatch(&stage, task).await) });
            }
            let next = agenda.next().unwrap_or(self.plan.end).min(self.plan.end);
            tokio::select! {
                biased;
                Some(back) = backs.recv() => match back {
                    Back::Letter { letter, acknowledged } => agenda.letter_back(self, letter, acknowledged),
                    Back::Task { name, done } => agenda.task_back(self, &name, done),
                },
                () = self.news.notified() => {}
                () = sleep_until(self.began + next) => {}
            }
        }
        // Whatever is in hand is finished within the time for an answer.
        sleep(Duration::from_secs(12)).await;
    }

    fn perform(self: &Arc<Self>, act: Act, sender: &mpsc::UnboundedSender<Back>) {
        let (stage, sender) = (self.clone(), sender.clone());
        match act {
            Act::Letter(letter) => {
                tokio::spawn(async move { sender.send(post::send(&stage, letter).await) });
            }
            Act::Again(task) => {
                tokio::spawn(async move {
                    post::dispatch(&stage, task).await;
                });
            }
            Act::Heartbeat => {
                tokio::spawn(async move { post::beat(&stage).await });
            }
            Act::Deed(index) => self.does(&self.plan.deeds[index].1),
        }
    }

    fn does(&self, deed: &Deed) {
        self.trace.note(format!("others: {deed:?}"));
        if let Deed::Replace(slot) = deed {
            let mut crew = self.crew.lock().unwrap();
            let slot = slot % crew.slots();
            return crew.retire(slot);
        }
        let mut world = self.simulator.world();
        if let Deed::Purge = deed {
            return world.tasks.pending.clear();
        }
        let Some(running) = world.services.iter_mut().find(|running| running.service.name == SERVICE) else {
            return;
        };
        match deed {
            Deed::Move(split) => running.move_traffic(split),
            Deed::Deploy(errors) => {
                if running.revision(FIX).is_none() {
                    running.deploy(Revision::named(FIX).errors(*errors));
                }
            }
            Deed::Annotate => {
                running.annotate("example.com/touched", &format!("at {:?}", self.began.elapsed()))
            }
            Deed::Tag => {
                let mut tagged = target(super::plan::GOOD, 0);
                tagged["tag"] = json!("green");
                running.add_target(&tagged);
            }
            Deed::Deploying(deploying) => running.set_deploying(*deploying),
            Deed::Errors(revision, share) => running.set_errors(revision, *share),
            Deed::NotReady(revision) => running.set_ready(revision, false),
            Deed::Requests(per_minute) => running.service.rpm = *per_minute,
            Deed::Reconcile(late) => running.service.reconcile = (*late).into(),
            Deed::CatchUp => running.catch_up(),
            Deed::LoseRecord => running.annotate(STATE, ""),
            Deed::Delete => {
                let at = world.services.iter().position(|running| running.service.name == SERVICE);
                let gone = at.map(|at| world.services.remove(at));
                world.gone.extend(gone);
            }
            Deed::Purge | Deed::Replace(_) => {}
        }
    }
}
