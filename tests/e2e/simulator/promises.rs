//! What the accepted writes broke of Runback's promises: one rollback for an incident, only backwards.
//!
//! The steps of a gradual rollback and the way back from one that did not help belong to that one rollback. They are
//! told by the record that was written with them: the same rollback, a higher step or the phase `restoring`, or `undone` where
//! a person took it back.

use std::collections::BTreeMap;

use serde_json::Value;

use super::cloud_run::Write;
use super::running::Split;
use super::world::World;

impl World {
    /// Each broken promise as a sentence.
    pub fn broken_promises(&mut self) -> Vec<String> {
        let mut broken = Vec::new();
        let mut earlier: BTreeMap<(String, Option<String>), Write> = BTreeMap::new();
        for write in self.writes.clone().into_iter().filter(Write::moved_traffic) {
            let key = (write.service.clone(), write.incident());
            let fault = match earlier.get(&key) {
                None => self.forwards(&write),
                Some(before) => self.not_the_same_rollback(before, &write),
            };
            broken.extend(fault);
            earlier.insert(key, write);
        }
        broken
    }

    /// Why a further move for the same incident is not a part of the same rollback.
    fn not_the_same_rollback(&mut self, before: &Write, write: &Write) -> Option<String> {
        let (Some(first), Some(second)) = (head(before), head(write)) else {
            return Some(format!("{}: traffic moved twice, and the record does not say why", write.service));
        };
        let about = format!("{}: the incident {} moved traffic again", write.service, first["incident"]);
        if first["id"] != second["id"] || first["phase"] == "restoring" {
            return Some(about);
        }
        if second["phase"] == "restoring" || second["phase"] == "undone" {
            let put_back = write.after == split_of(&second["from"]);
            return (!put_back).then(|| format!("{about}, not to the split from before it"));
        }
        if first["step"].as_u64() >= second["step"].as_u64() {
            return Some(format!("{about} without a further step"));
        }
        let ours = [&second["culprit"], &second["target"]];
        let others = |split: &Split| -> Split {
            split.iter().filter(|(name, _)| !ours.iter().any(|own| own == name)).map(copied).collect()
        };
        if others(&write.before) != others(&write.after) {
            return Some(format!("{about}: a step that changed other shares"));
        }
        self.forwards(write)
    }

    /// Traffic moved to a revision that is not older than the one that it left.
    fn forwards(&mut self, write: &Write) -> Option<String> {
        let running = self.service(&write.service);
        let created = |name: &String| running.revision(name).map(|revision| revision.created);
        let share = |split: &Split, name: &String| split.get(name).copied().unwrap_or(0);
        let gained = write.after.keys().filter(|name| share(&write.after, name) > share(&write.before, name));
        let mut pairs = gained.flat_map(|new| write.before.keys().map(move |old| (old, new)));
        let lost = |old: &String| share(&write.before, old) > share(&write.after, old);
        let (old, new) = pairs.find(|(old, new)| lost(old) && created(new) >= created(old))?;
        Some(format!("{}: traffic moved from {old} to {new}, which is not older", write.service))
    }
}

/// The newest rollback in the record that a write left.
fn head(write: &Write) -> Option<Value> {
    let record: Value = serde_json::from_str(write.record.as_deref()?).ok()?;
    record["rollbacks"].get(0).cloned()
}

fn split_of(shares: &Value) -> Split {
    let share = |share: &Value| Some((share["revision"].as_str()?.to_owned(), share["percent"].as_u64()?));
    shares.as_array().into_iter().flatten().filter_map(share).collect()
}

fn copied((name, percent): (&String, &u64)) -> (String, u64) {
    (name.clone(), *percent)
}
