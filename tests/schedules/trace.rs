//! What happened, in order: readable, and the same whenever the same seed is run.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::plan::Trouble;
use crate::simulator::{Call, Caller, Simulator};

/// What a process was asked, and what became of it.
#[derive(Clone, Debug)]
pub struct Request {
    pub caller: Caller,
    /// What was asked, in a word or two.
    pub what: String,
    /// Which letter, and when that was published, in seconds since the world began.
    pub letter: Option<(usize, f64)>,
    pub asked: Duration,
    /// When the process was done with it; never, when it died before.
    pub done: Option<Duration>,
    pub status: u16,
    pub answer: String,
}

/// A handle on the notes of one schedule. The calls are in the world's journal.
#[derive(Clone)]
pub struct Trace {
    simulator: Simulator,
    notes: Arc<Mutex<Vec<Note>>>,
    requests: Arc<Mutex<Vec<Request>>>,
    troubles: Arc<Mutex<Vec<Trouble>>>,
}

struct Note {
    /// How many calls had been made before.
    place: usize,
    at: Duration,
    text: String,
}

impl Trace {
    pub fn of(simulator: &Simulator) -> Self {
        let (notes, requests, troubles) = Default::default();
        Self { simulator: simulator.clone(), notes, requests, troubles }
    }

    /// Since the world began.
    pub fn now(&self) -> Duration {
        Duration::from_secs_f64(self.simulator.world().clock.now().max(0.0))
    }

    pub fn note(&self, text: impl Into<String>) {
        let at = self.now();
        let place = self.simulator.world().journal.len();
        self.notes.lock().unwrap().push(Note { place, at, text: text.into() });
    }

    pub fn trouble(&self, caller: Caller, call: &str, trouble: Trouble) {
        self.note(format!("{} {call}: {trouble:?}", who(caller)));
        self.troubles.lock().unwrap().push(trouble);
    }

    /// Everything that went wrong at calls.
    pub fn troubles(&self) -> Vec<Trouble> {
        self.troubles.lock().unwrap().clone()
    }

    /// A request begins; its number in the list of requests.
    pub fn asked(&self, request: Request) -> usize {
        self.note(format!("{} <- {}", who(request.caller), request.what));
        let mut requests = self.requests.lock().unwrap();
        requests.push(request);
        requests.len() - 1
    }

    pub fn done(&self, number: usize, status: u16, answer: String) {
        let now = self.now();
        let mut requests = self.requests.lock().unwrap();
        let request = &mut requests[number];
        (request.done, request.status, request.answer) = (Some(now), status, answer);
        let text = format!("{} -> {status} {}", who(request.caller), request.answer);
        drop(requests);
        self.note(text);
    }

    /// How many requests there have been.
    pub fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// All of it as lines. Rollbacks are numbered in the order in which they appear: their ids are chance.
    pub fn text(&self) -> String {
        let world = self.simulator.world();
        let mut text = String::new();
        let notes = self.notes.lock().unwrap();
        let mut notes = notes.iter().peekable();
        for (place, call) in world.journal.iter().enumerate() {
            while let Some(note) = notes.next_if(|note| note.place <= place) {
                writeln!(text, "{} {}", stamp(note.at), note.text).unwrap();
            }
            writeln!(text, "{}   {}", stamp(Duration::from_secs_f64(call.at.max(0.0))), line(call)).unwrap();
        }
        for note in notes {
            writeln!(text, "{} {}", stamp(note.at), note.text).unwrap();
        }
        without_chance(&text)
    }
}

fn line(call: &Call) -> String {
    let who = call.caller.map_or_else(String::new, who);
    let status = call.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    let told = match call.name.as_str() {
        "run.put" | "tasks.create" | "slack.webhook" | "slack.post" | "slack.update" => {
            format!(" {}", summary(call))
        }
        _ => String::new(),
    };
    format!("{who} {} {status}{told}", call.name)
}

/// What a call that changes something asked for.
fn summary(call: &Call) -> String {
    let sent: serde_json::Value = serde_json::from_str(&call.body).unwrap_or_default();
    match call.name.as_str() {
        "run.put" => {
            let record =
                sent["metadata"]["annotations"][crate::simulator::STATE].as_str().unwrap_or_default();
            let record: serde_json::Value = serde_json::from_str(record).unwrap_or_default();
            let newest = &record["rollbacks"][0];
            format!(
                "traffic {} record {} step {} {}",
                sent["spec"]["traffic"], newest["id"], newest["step"], newest["phase"]
            )
        }
        "tasks.create" => {
            let task = &sent["task"];
            let name = task["name"].as_str().unwrap_or_default();
            format!("{} at {}", name.rsplit('/').next().unwrap_or_default(), task["scheduleTime"])
        }
        _ => {
            let text = sent["text"].as_str().unwrap_or_default();
            let end = text.char_indices().nth(160).map_or(text.len(), |(at, _)| at);
            format!("{:?}", &text[..end])
        }
    }
}

pub fn who(caller: Caller) -> String {
    format!("p{}.{}", caller.process, caller.request)
}

fn stamp(at: Duration) -> String {
    let millis = at.as_millis();
    let (seconds, minutes, hours) = (millis / 1000, millis / 60_000, millis / 3_600_000);
    format!("{hours:02}:{:02}:{:02}.{:03}", minutes % 60, seconds % 60, millis % 1000)
}

/// `rb-1780000000-0123456789abcdef-k-back` becomes `rb#1-k-back`.
fn without_chance(text: &str) -> String {
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("rb-") {
        let (before, from) = rest.split_at(at);
        out += before;
        match chance(from) {
            Some(length) => {
                let next = numbers.len() + 1;
                let number = *numbers.entry(&from[..length]).or_insert(next);
                write!(out, "rb#{number}").unwrap();
                rest = &from[length..];
            }
            None => {
                out += "rb-";
                rest = &from["rb-".len()..];
            }
        }
    }
    out + rest
}

/// How long a rollback's id is at the start of the text, up to where the service's name begins.
fn chance(text: &str) -> Option<usize> {
    let (time, rest) = text.strip_prefix("rb-")?.split_once('-')?;
    let hash = rest.split('-').next()?.get(..16)?;
    let fits = time.chars().all(|c| c.is_ascii_digit()) && hash.chars().all(|c| c.is_ascii_hexdigit());
    fits.then_some("rb-".len() + time.len() + 1 + 16)
}
