//! Pub/Sub, Cloud Tasks and the clock that sends the heartbeat: what knocks at Runback's door, and when again.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::plan::{Incident, What};
use super::stage::{Knock, Stage};
use crate::alert::{Alert, Delivery, Envelope};
use crate::audit_log::{Api, audit_event};
use crate::plan::{BAD, SERVICE};
use crate::simulator::{Task, hours, minutes};

/// Eventarc waits so long for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Pub/Sub keeps a message for a day.
const KEPT: Duration = hours(24);

/// As `infra/tasks.tf` sets up the queue.
const MOST_ATTEMPTS: u32 = 20;

/// A message that Pub/Sub has.
pub struct Message {
    pub delivery: Delivery,
    /// When it was published; before the world began where that is negative, in seconds.
    pub published: f64,
    pub tries: u32,
    pub acknowledged: Option<Duration>,
}

/// A task of which the dispatcher has heard.
#[derive(Default)]
struct Known {
    ready: Duration,
    tries: u32,
    in_flight: bool,
    again: bool,
    lost: bool,
}

/// What came back.
pub enum Back {
    Letter { letter: usize, acknowledged: bool },
    Task { name: String, done: bool },
}

/// What is sent next.
pub enum Act {
    Letter(usize),
    /// A copy of a task that was done already.
    Again(Task),
    Deed(usize),
    Heartbeat,
}

/// Everything that is to come, by its time and then in the order in which it was planned.
pub struct Agenda {
    acts: BTreeMap<(Duration, usize), Act>,
    planned: usize,
    tasks: BTreeMap<String, Known>,
}

impl Agenda {
    pub fn of(stage: &Stage) -> Self {
        let mut agenda = Self { acts: BTreeMap::new(), planned: 0, tasks: BTreeMap::new() };
        for (index, letter) in stage.plan.letters.iter().enumerate() {
            agenda.plan(letter.at, Act::Letter(index));
            letter.copies.iter().for_each(|after| agenda.plan(letter.at + *after, Act::Letter(index)));
        }
        for (index, (at, _)) in stage.plan.deeds.iter().enumerate() {
            agenda.plan(*at, Act::Deed(index));
        }
        let mut at = Duration::from_secs(stage.draw(1..1800));
        while at < stage.plan.end {
            agenda.plan(at, Act::Heartbeat);
            at += minutes(30);
        }
        agenda
    }

    pub fn plan(&mut self, at: Duration, act: Act) {
        self.acts.insert((at, self.planned), act);
        self.planned += 1;
    }

    /// The next act that is due.
    pub fn due(&mut self, now: Duration) -> Option<Act> {
        let entry = self.acts.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    /// When something is due, as far as that is known.
    pub fn next(&self) -> Option<Duration> {
        let tasks = self.tasks.values().filter(|known| !known.in_flight && !known.lost);
        let acts = self.acts.keys().next().map(|(at, _)| *at);
        tasks.map(|known| known.ready).chain(acts).min()
    }

    /// Looks through the queue: what is due now, once each.
    pub fn due_tasks(&mut self, stage: &Stage, now: Duration) -> Vec<Task> {
        let queue = stage.plan.queue;
        let pending = stage.simulator.world().tasks.pending.clone();
        self.tasks.retain(|name, _| pending.iter().any(|task| task.name == *name));
        let mut due = Vec::new();
        for task in pending {
            let known = self.tasks.entry(task.name.clone()).or_insert_with(|| {
                let calm = now >= stage.plan.calm;
                let chance = |percent: u32| !calm && stage.draw(0..100) < u64::from(percent);
                let late = if calm { 0 } else { stage.draw(0..queue.late.as_millis() as u64 + 1) };
                let ready = Duration::from_secs_f64(task.due.max(0.0)) + Duration::from_millis(late);
                let (again, lost) = (chance(queue.twice), chance(queue.lost));
                if lost {
                    stage.trace.note(format!("the queue loses {}", task.id()));
                }
                Known { ready: ready.max(queue.paused_until), tries: 0, in_flight: false, again, lost }
            });
            if known.lost {
                stage.simulator.world().tasks.pending.retain(|each| each.name != task.name);
            } else if !known.in_flight && known.ready <= now {
                known.in_flight = true;
                due.push(task);
            }
        }
        due
    }

    /// A delivery of a task is over.
    pub fn task_back(&mut self, stage: &Stage, name: &str, done: bool) {
        let now = stage.trace.now();
        let Some(known) = self.tasks.get_mut(name) else { return };
        known.in_flight = false;
        known.tries += 1;
        let task = stage.simulator.world().tasks.pending.iter().find(|task| task.name == name).cloned();
        if done && std::mem::take(&mut known.again) {
            let after = Duration::from_millis(stage.draw(0..30_000));
            task.into_iter().for_each(|task| self.plan(now + after, Act::Again(task)));
        } else if !done && known.tries >= MOST_ATTEMPTS {
            stage.trace.note(format!("the queue gives {name} up"));
            stage.simulator.task_answered(name, 200);
            return;
        } else if !done {
            known.ready = now + backoff(10, 300, known.tries);
        }
        stage.simulator.task_answered(name, if done { 200 } else { 503 });
    }

    /// A delivery of a letter is over.
    pub fn letter_back(&mut self, stage: &Stage, letter: usize, acknowledged: bool) {
        let now = stage.trace.now();
        let mut messages = stage.messages.lock().unwrap();
        let Some(message) = messages.get_mut(&letter) else { return };
        message.tries += 1;
        if acknowledged {
            message.acknowledged.get_or_insert(now);
        } else if message.acknowledged.is_none() {
            let next = now + backoff(10, 600, message.tries);
            if next.as_secs_f64() < message.published + KEPT.as_secs_f64() {
                self.plan(next, Act::Letter(letter));
            }
        }
    }
}

fn backoff(least: u64, most: u64, tries: u32) -> Duration {
    Duration::from_secs((least << (tries - 1).min(10)).min(most))
}

/// Sends a letter once, and waits as long as Eventarc does.
pub async fn send(stage: &Stage, letter: usize) -> Back {
    let (delivery, published) = {
        let mut messages = stage.messages.lock().unwrap();
        let message = messages.entry(letter).or_insert_with(|| write(stage, letter));
        (message.delivery.clone(), message.published)
    };
    let what = format!("letter {letter}");
    let knock = Knock { delivery, what, letter: Some((letter, published)) };
    let answer = tokio::time::timeout(PATIENCE, stage.knock(knock)).await;
    Back::Letter { letter, acknowledged: matches!(answer, Ok(Some(200..300))) }
}

pub async fn dispatch(stage: &Stage, task: Task) -> Back {
    let delivery = Delivery { path: "/tasks".into(), headers: task.headers(), body: task.body() };
    let what = format!("task {}", task.id());
    let answer = stage.knock(Knock { delivery, what, letter: None }).await;
    Back::Task { name: task.name, done: matches!(answer, Some(200..300)) }
}

pub async fn beat(stage: &Stage) {
    let delivery = Delivery::new("/", &[], json!({"version": "1.2"}).to_string());
    stage.knock(Knock { delivery, what: "heartbeat".into(), letter: None }).await;
}

/// The letter as it is published now, or a while ago.
fn write(stage: &Stage, index: usize) -> Message {
    let letter = &stage.plan.letters[index];
    let published = stage.trace.now().as_secs_f64() - letter.age.as_secs_f64();
    let id = format!("8000000{index:05}");
    let alert = |incident: &Incident, id: &str| {
        let alert = Alert::on(&stage.simulator, SERVICE).incident(&incident.id).about(BAD);
        let alert = alert.kind(incident.kind.kind()).published(published, id);
        let alert = if incident.closed { alert.closed() } else { alert };
        let alert = match incident.wish {
            Some(wish) => alert.set("/incident/policy_user_labels", json!({ "runback": wish })),
            None => alert,
        };
        let hides = "/incident/resource/labels/revision_name";
        if incident.names_revision { alert } else { alert.without(hides) }
    };
    let delivery = match &letter.what {
        What::Incident(incident) => alert(incident, &id).wrapped(Envelope::Events),
        What::Batch(incidents) => {
            let alerts = incidents.iter().enumerate();
            Alert::batched(
                &alerts.map(|(part, each)| alert(each, &format!("{id}{part}"))).collect::<Vec<_>>(),
            )
        }
        What::Deployed => audit_event(&stage.simulator, SERVICE, Api::V1),
    };
    Message { delivery, published, tries: 0, acknowledged: None }
}
