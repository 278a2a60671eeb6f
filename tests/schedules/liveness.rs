//! What must have come about in the end, once everything works again: what was begun is ended, people know, and nothing
//! goes round for ever.

use std::time::Duration;

use serde_json::Value;

use super::plan::{BAD, Deed, Door, Incident, Letter, SERVICE, Signal, What};
use super::stage::Stage;
use crate::simulator::{Write, hours};

/// A message is acknowledged at the latest this long after everything works again.
const SETTLES_WITHIN: Duration = hours(3);

/// No rollback, watch or warning needs more tasks than this in a few hours.
const MOST_TASKS: usize = 150;

/// Every hope that was not fulfilled, as a sentence.
pub fn unfulfilled(stage: &Stage) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(letters(stage));
    found.extend(tasks(stage));
    if !stage.plan.deletes_the_service() {
        found.extend(rollbacks(stage));
        found.extend(culprit(stage));
    }
    found
}

fn letters(stage: &Stage) -> Vec<String> {
    let messages = stage.messages.lock().unwrap();
    let late = messages.iter().filter_map(|(letter, message)| match message.acknowledged {
        Some(at) if at <= stage.plan.calm + SETTLES_WITHIN => None,
        Some(at) => Some(format!("letter {letter} was only acknowledged after {at:?}")),
        // Pub/Sub gives an old message up before.
        None if message.published < -3600.0 => None,
        None => Some(format!("letter {letter} was never acknowledged, in {} tries", message.tries)),
    });
    late.collect()
}

fn tasks(stage: &Stage) -> Vec<String> {
    let world = stage.simulator.world();
    // What comes once a day waits for tomorrow.
    let end = stage.plan.end.as_secs_f64();
    let waiting = world.tasks.pending.iter().filter(|task| task.due < end);
    let mut found: Vec<String> = waiting.map(|task| format!("the task {} still waits", task.id())).collect();
    let created = world.journal.iter().filter(|call| call.name == "tasks.create" && call.intact).count();
    found.extend((created > MOST_TASKS).then(|| format!("{created} tasks were created")));
    found
}

/// Every rollback has ended, and people know of it and of its end.
fn rollbacks(stage: &Stage) -> Vec<String> {
    if stage.plan.loses_its_record() {
        return Vec::new();
    }
    let record = stage.simulator.record(SERVICE).unwrap_or_default();
    let all = record["rollbacks"].as_array().cloned().unwrap_or_default();
    let mut found = Vec::new();
    let mut endings = Vec::new();
    for rollback in &all {
        let text = |key: &str| rollback[key].as_str().unwrap_or_default();
        let about = format!("the rollback of {} to {}", text("culprit"), text("target"));
        match text("phase") {
            "switching" | "restoring" => found.push(format!("{about} is still {}", text("phase"))),
            "told" => found.push(format!("{about} was never judged")),
            phase => endings.extend(ending(phase).map(|code| (about.clone(), code))),
        }
        let told = |shown: &str| ["culprit", "target"].iter().all(|key| shown.contains(short(rollback, key)));
        found.extend((!stage.people_read(told)).then(|| format!("nobody was told of {about}")));
    }
    for (about, codes) in endings {
        let known = stage.people_read(|text| codes.iter().any(|code| text.contains(code)));
        found.extend((!known).then(|| format!("nobody was told how {about} ended ({})", codes[0])));
    }
    let on_record = |write: &&Write| {
        let head: Value = serde_json::from_str(write.record.as_deref().unwrap_or("{}")).unwrap_or_default();
        all.iter().any(|rollback| rollback["id"] == head["rollbacks"][0]["id"])
    };
    let writes = stage.simulator.writes();
    let forgotten = writes.iter().filter(|write| write.moved_traffic() && !on_record(write)).count();
    found.extend((forgotten > 0).then(|| format!("{forgotten} moves are not on record")));
    found
}

/// A revision as people read it, without its service's name.
fn short<'a>(rollback: &'a Value, key: &str) -> &'a str {
    let name = rollback[key].as_str().unwrap_or_default();
    name.strip_prefix("k-back-").unwrap_or(name)
}

/// What people read of an ending: one of these codes. Whoever moved the traffic themselves need not be told.
fn ending(phase: &str) -> Option<&'static [&'static str]> {
    Some(match phase {
        "recovered" => &["recovered"],
        "not_helped" => &["not_helped", "write_refused"],
        "restored" => &["not_helped"],
        "unjudged" => &["unjudged"],
        "halted" => &["halted", "observe_mode", "write_refused"],
        "not_arrived" => &["not_arrived"],
        _ => return None,
    })
}

/// A revision that has failed all the time, and that an alert named, has either lost its traffic, or people know why not.
fn culprit(stage: &Stage) -> Vec<String> {
    let plan = &stage.plan;
    let left_alone = plan.deeds.iter().all(|(_, deed)| {
        matches!(deed, Deed::Annotate | Deed::Tag | Deed::Purge | Deed::Replace(_) | Deed::CatchUp)
    });
    let serves = stage.simulator.spec_traffic(SERVICE).get(BAD).copied().unwrap_or(0);
    if !left_alone || plan.setup.errors < 0.1 || plan.setup.share < 20 || serves == 0 {
        return Vec::new();
    }
    let incidents = |letter: &Letter| match &letter.what {
        What::Incident(incident) => vec![incident.clone()],
        What::Batch(incidents) => incidents.clone(),
        What::Deployed => Vec::new(),
    };
    let closed = plan.letters.iter().flat_map(incidents).filter(|each| each.closed);
    let closed: Vec<String> = closed.map(|each| each.id).collect();
    let fresh = plan.letters.iter().filter(|letter| letter.age < hours(1)).flat_map(incidents);
    let open = fresh.filter(|each| each.kind == Signal::Errors && !closed.contains(&each.id));
    let incidents: Vec<Incident> = open.collect();
    let told = |incident: &Incident| stage.people_read(|text| text.contains(&incident.id));
    if incidents.is_empty() || incidents.iter().any(told) {
        return Vec::new();
    }
    vec![format!("{BAD} keeps {serves} % of the traffic, and nobody was told why")]
}

impl Stage {
    /// Whether people read something like this. Without Slack they read the log, which nobody keeps here.
    fn people_read(&self, like: impl Fn(&str) -> bool) -> bool {
        self.plan.setup.door == Door::LogOnly
            || self
                .simulator
                .slack()
                .iter()
                .any(|message| like(&message.text) || message.before.iter().any(|text| like(text)))
    }
}
