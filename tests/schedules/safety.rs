//! What must hold at every moment, seen from outside: nothing here asks Runback why it did something.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::plan::{Incident, Plan, SERVICE, Signal, What};
use super::stage::Stage;
use super::trace::{Request, who};
use crate::simulator::{Call, Caller, Split, Write, minutes};

/// Eventarc gives up after 10 seconds; the answer is out before that, exactly.
const IN_TIME: Duration = Duration::from_secs(8);

/// No single alert, task or heartbeat costs more calls.
const MOST_CALLS: usize = 120;

/// A judgement that begins later has not its full time for evidence and the write.
const LATEST_JUDGEMENT: f64 = 2.5;

/// Nobody waits longer for one answer.
const ONE_TRY: f64 = 1.95;

/// A 404 that lasts so long is an answer.
const LASTING: f64 = 290.0;

/// An alert is trusted in the dark only so long after its publication.
const FRESH: f64 = 600.0;

/// A step waits for Monitoring this much longer than planned.
const STEP_PATIENCE: f64 = 300.0;

/// Every broken promise as a sentence.
pub fn broken(stage: &Stage) -> Vec<String> {
    let seen = Seen::of(stage);
    let mut broken = stage.simulator.violations();
    let lost = stage.plan.loses_its_record();
    broken.retain(|text| !(lost && text.contains("moved traffic again")));
    broken.extend(seen.requests.iter().filter_map(|request| late(stage, request)));
    broken.extend(seen.requests.iter().filter_map(|request| too_many_calls(&seen, request)));
    for (place, write) in seen.writes.iter().enumerate() {
        broken.extend(seen.moved_without_grounds(place, write));
    }
    broken.extend(seen.limits());
    broken.extend(seen.given_up_early());
    broken
}

fn late(stage: &Stage, request: &Request) -> Option<String> {
    let dead = stage.crew.lock().unwrap().is_dead(request.caller.process);
    let text = match request.done {
        None if dead => return None,
        None => "was never answered".to_owned(),
        Some(done) if done - request.asked > IN_TIME => {
            format!("was answered after {:?}", done - request.asked)
        }
        Some(_) => return None,
    };
    Some(format!("{} ({}) {text}", who(request.caller), request.what))
}

fn too_many_calls(seen: &Seen<'_>, request: &Request) -> Option<String> {
    let events = match request.letter.map(|(letter, _)| &seen.plan.letters[letter].what) {
        Some(What::Batch(incidents)) => incidents.len(),
        _ => 1,
    };
    let calls = seen.calls.iter().filter(|call| call.caller == Some(request.caller)).count();
    let text = || format!("{} ({}) made {calls} calls", who(request.caller), request.what);
    (calls > MOST_CALLS * events).then(text)
}

struct Seen<'a> {
    plan: &'a Plan,
    stage: &'a Stage,
    calls: Vec<Call>,
    writes: Vec<Write>,
    requests: Vec<Request>,
}

/// The newest rollback of the record that a write left.
struct Head {
    id: String,
    incident: String,
    reason: String,
    culprit: String,
    step: u64,
    phase: String,
    /// Whether it has been written to before.
    further: bool,
}

impl Head {
    fn of(write: &Write) -> Option<Self> {
        let record: Value = serde_json::from_str(write.record.as_deref()?).ok()?;
        let newest = &record["rollbacks"][0];
        let text = |key: &str| newest[key].as_str().unwrap_or_default().to_owned();
        Some(Self {
            id: text("id"),
            incident: text("incident"),
            reason: text("reason"),
            culprit: text("culprit"),
            step: newest["step"].as_u64()?,
            phase: text("phase"),
            further: newest["moved"].is_string(),
        })
    }
}

impl<'a> Seen<'a> {
    fn of(stage: &'a Stage) -> Self {
        let (calls, writes) = {
            let world = stage.simulator.world();
            (world.journal.clone(), world.writes.clone())
        };
        Self { plan: &stage.plan, stage, calls, writes, requests: stage.trace.requests() }
    }

    /// Why a write should not have moved traffic.
    fn moved_without_grounds(&self, place: usize, write: &Write) -> Option<String> {
        if !write.moved_traffic() {
            return self.plan.observes().then(|| format!("{}: written to in mode observe", write.service));
        }
        let caller = write.caller?;
        let about = |why: String| {
            Some(format!("{} moved traffic {:?} -> {:?}: {why}", who(caller), write.before, write.after))
        };
        let Some(head) = Head::of(write) else { return about("nothing on record says why".into()) };
        let request = &self.requests[caller.request];
        if self.plan.observes() {
            return about("the mode is observe".into());
        }
        let share = |split: &Split| split.get(&head.culprit).copied().unwrap_or(0);
        if head.phase != "restoring" && share(&write.after) > share(&write.before) {
            return about(format!("{} got more than people gave it", head.culprit));
        }
        let evidence = Evidence::of(self, write, request);
        let why = if head.further {
            self.not_untouched(place, write, &head)
                .or_else(|| self.step_without_grounds(place, write, &head, &evidence))
        } else {
            self.first_without_grounds(write, &head, request, &evidence)
        };
        why.and_then(about)
    }

    /// A further write of a rollback goes on from what the one before it left.
    fn not_untouched(&self, place: usize, write: &Write, head: &Head) -> Option<String> {
        let before = self.before(place, head)?;
        (before.after != write.before).then(|| "somebody else had changed the split since".to_owned())
    }

    fn before(&self, place: usize, head: &Head) -> Option<&Write> {
        let same = |write: &&Write| Head::of(write).is_some_and(|other| other.id == head.id);
        self.writes[..place].iter().rev().filter(|write| write.moved_traffic()).find(same)
    }

    fn step_without_grounds(
        &self,
        place: usize,
        write: &Write,
        head: &Head,
        evidence: &Evidence,
    ) -> Option<String> {
        if evidence.complete {
            return None;
        }
        let before = self.before(place, head);
        if head.phase != "restoring" && before.is_some_and(|before| before.caller == write.caller) {
            // The rest at once, in the request that had the grounds for the first part.
            return None;
        }
        let interval = self.plan.step_interval().as_secs_f64();
        let since = before.map_or(0.0, |before| write.at - before.at);
        if head.phase == "restoring" {
            return Some("put back without evidence".to_owned());
        }
        if since < interval + STEP_PATIENCE - 5.0 {
            return Some(format!("a step to {} % without evidence after {since} s", head.step));
        }
        evidence.no_time().map(|why| format!("a step to {} % in the dark: {why}", head.step))
    }

    fn first_without_grounds(
        &self,
        write: &Write,
        head: &Head,
        request: &Request,
        evidence: &Evidence,
    ) -> Option<String> {
        let incident = self.incident(request, &head.incident);
        if incident.is_some_and(|incident| incident.closed) {
            return Some("the incident is closed".to_owned());
        }
        if head.reason != "unconfirmed" {
            if !evidence.complete {
                return Some(format!("{} without readable evidence", head.reason));
            }
            let vouched = incident.is_some_and(|incident| incident.kind == Signal::LogMatch);
            return if vouched { None } else { self.innocent(write, head) };
        }
        if evidence.own.unwrap_or(evidence.complete) {
            return Some("unconfirmed, with readable evidence".to_owned());
        }
        let (Some(incident), Some((_, published))) = (incident, request.letter) else {
            return Some(format!("unconfirmed, and not at its first judgement ({})", request.what));
        };
        if write.at - published > FRESH {
            return Some(format!("unconfirmed, by a message of {} s ago", write.at - published));
        }
        if incident.kind == Signal::LogMatch && incident.wish.is_none() {
            return Some("unconfirmed, by an alert that is not about requests".to_owned());
        }
        if self.known_closed(request, &head.incident) {
            return Some("unconfirmed, though this process knows that the incident is closed".to_owned());
        }
        evidence.no_time().map(|why| format!("unconfirmed: {why}"))
    }

    /// What a request said of an incident.
    fn incident(&self, request: &Request, id: &str) -> Option<&'a Incident> {
        let (letter, _) = request.letter?;
        match &self.plan.letters[letter].what {
            What::Incident(incident) => (incident.id == id).then_some(incident),
            What::Batch(incidents) => incidents.iter().find(|incident| incident.id == id),
            What::Deployed => None,
        }
    }

    /// Whether the process had acknowledged before that an incident is closed.
    fn known_closed(&self, request: &Request, id: &str) -> bool {
        let earlier = self.requests.iter().filter(|other| {
            other.caller.process == request.caller.process
                && other.status == 200
                && other.done.is_some_and(|done| done <= request.asked)
        });
        earlier.into_iter().any(|other| self.incident(other, id).is_some_and(|incident| incident.closed))
    }

    /// Whether the world knows that the culprit did not fail in the minutes that were judged.
    fn innocent(&self, write: &Write, head: &Head) -> Option<String> {
        let limit = self.plan.setup.policy["warning"].as_f64().unwrap_or(0.05);
        // The window, Monitoring's delay and some minutes more: whatever was judged lies within, perhaps thinned out.
        let counts = self.stage.simulator.counts(SERVICE, &head.culprit, write.at - 900.0, write.at);
        let bad = counts.errors.max(counts.slow);
        let innocent = bad < 3 || (bad as f64) < counts.requests as f64 * limit * 0.3;
        let text =
            || format!("{}: {bad} of {} requests of {} were bad", head.reason, counts.requests, head.culprit);
        innocent.then(text)
    }

    /// People hear that a service is gone only when Cloud Run has not found it for minutes.
    fn given_up_early(&self) -> Option<String> {
        let told = |call: &&Call| call.name.starts_with("slack.") && call.body.contains("unresolved_service");
        let told = self.calls.iter().find(told)?;
        let long_ago = told.at - LASTING;
        let missed = self
            .calls
            .iter()
            .any(|call| call.name.starts_with("run.") && call.status == Some(404) && call.at <= long_ago);
        let request = self.requests.get(told.caller?.request)?;
        let old = request.letter.is_some_and(|(_, published)| published <= long_ago);
        (!missed && !old).then(|| "people heard at the first 404 that the service is gone".to_owned())
    }

    /// Cooldown and budget.
    fn limits(&self) -> Vec<String> {
        if self.plan.loses_its_record() {
            return Vec::new();
        }
        let firsts = self.writes.iter().filter(|write| {
            write.moved_traffic()
                && Head::of(write).is_some_and(|head| !head.further && head.phase == "switching")
        });
        let firsts: Vec<f64> = firsts.map(|write| write.at).collect();
        let cooldown = self.plan.cooldown().as_secs_f64();
        let close = firsts.windows(2).filter(|pair| pair[1] - pair[0] < cooldown - 5.0);
        let mut broken: Vec<String> =
            close.map(|pair| format!("two rollbacks within {} s", pair[1] - pair[0])).collect();
        broken.extend((firsts.len() > 3).then(|| format!("{} rollbacks in a day", firsts.len())));
        broken
    }
}

/// What was read of Monitoring by the process that wrote, for this write.
struct Evidence {
    /// Some reading was answered as it should be, in time.
    complete: bool,
    /// So was the last one of the request's own; nothing when it made none.
    own: Option<bool>,
    /// The seconds between the arrival of the request and its last reading.
    began: Option<f64>,
}

impl Evidence {
    fn of(seen: &Seen<'_>, write: &Write, request: &Request) -> Self {
        let asked = request.asked.as_secs_f64();
        let mine = seen.calls.iter().filter(|call| {
            call.name == "monitoring.list"
                && call.at <= write.at
                && call.at >= asked - IN_TIME.as_secs_f64()
                && call.caller.is_some_and(|caller| caller.process == request.caller.process)
        });
        let mut readings: BTreeMap<Caller, Vec<Reading>> = BTreeMap::new();
        for call in mine {
            let Some(caller) = call.caller else { continue };
            let of_caller = readings.entry(caller).or_default();
            // All queries of a reading are made at once; whatever comes later and alone is tried again.
            let begins = of_caller.last().is_none_or(|last| {
                call.at > last.began
                    && seen
                        .calls
                        .iter()
                        .filter(|other| {
                            other.name == call.name && other.caller == call.caller && other.at == call.at
                        })
                        .count()
                        >= 3
            });
            if begins {
                of_caller.push(Reading { began: call.at, queries: BTreeMap::new() });
            }
            let answered =
                call.intact && call.answered.is_some_and(|at| at <= write.at.min(call.at + ONE_TRY));
            if let Some(reading) = of_caller.last_mut() {
                *reading.queries.entry(query(&call.target)).or_default() |= answered;
            }
        }
        let complete = readings.values().flatten().any(Reading::complete);
        let last = write.caller.and_then(|caller| readings.get(&caller)?.last());
        Self { complete, own: last.map(Reading::complete), began: last.map(|last| last.began - asked) }
    }

    /// Why this was not the darkness in which an alert's word counts.
    fn no_time(&self) -> Option<String> {
        match self.began {
            None => Some("Monitoring was not asked".to_owned()),
            Some(began) if began > LATEST_JUDGEMENT => {
                Some(format!("the judgement began {began} s after the request, and had not its full time"))
            }
            Some(_) => None,
        }
    }
}

/// One reading: whether its queries were answered, one for each resolution of each metric.
struct Reading {
    began: f64,
    queries: BTreeMap<String, bool>,
}

impl Reading {
    fn complete(&self) -> bool {
        self.queries.len() >= 3 && self.queries.values().all(|answered| *answered)
    }
}

/// A query's metric and resolution.
fn query(target: &str) -> String {
    let metric = if target.contains("request_latencies") { "latencies" } else { "count" };
    let period = target.split("alignmentPeriod=").nth(1).and_then(|rest| rest.split('&').next());
    format!("{metric} by {}", period.unwrap_or_default())
}

impl Plan {
    pub fn observes(&self) -> bool {
        self.setup.policy["mode"] == "observe"
    }

    fn step_interval(&self) -> Duration {
        minutes(match self.setup.policy["step_interval"].as_str() {
            Some("2m") => 2,
            Some("8m") => 8,
            _ => 4,
        })
    }

    fn cooldown(&self) -> Duration {
        if self.setup.policy["cooldown"] == "5m" { minutes(5) } else { minutes(30) }
    }
}
