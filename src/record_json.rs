//! The annotation `runback.dev/state`: our `Record` as JSON on the guarded service.
//!
//! Reading tolerates what a later writer of the same version may add, and is strict about what decisions rest on. Writing
//! keeps those additions, and stays below `LIMIT` whatever the record holds.

#[cfg(test)]
mod tests;

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::record::{Phase, Quarantined, Record, Rollback, Share};

/// The annotation's name.
pub const ANNOTATION: &str = "runback.dev/state";

/// The annotation stays below this many bytes: all annotations of a service share 256 KiB, and people read ours.
pub const LIMIT: usize = 8 * 1024;

/// Longer texts are cut to this many characters.
///
/// Even escaped, a character is at most six bytes, so the six texts of one rollback always fit into [`LIMIT`], without
/// its `why` and `by`. Real names are far below it; an incident id that is longer has to be cut the same way before it is compared.
pub const LONGEST_TEXT: usize = 200;

/// So many quarantine entries are worth more than the memory of old rollbacks.
const QUARANTINE_KEPT: usize = 10;

const VERSION: u64 = 1;

/// Why the annotation cannot be read, in one sentence. Such a record must not be overwritten.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the annotation {ANNOTATION} {0}")]
pub struct RecordError(String);

/// Reads the annotation. Without one, or with an empty one, nothing has happened yet.
///
/// # Errors
///
/// When the annotation is no JSON object of version 1, or lacks what a decision needs.
pub fn parse(annotation: Option<&str>) -> Result<Record, RecordError> {
    let Some(text) = annotation.filter(|text| !text.is_empty()) else {
        return Ok(Record::default());
    };
    let value: Value =
        serde_json::from_str(text).map_err(|error| RecordError(format!("is not JSON: {error}")))?;
    // The version comes first, because another version may have any shape.
    match value.get("v") {
        _ if !value.is_object() => return Err(RecordError("is not a JSON object".to_owned())),
        Some(version) if version.as_u64() == Some(VERSION) => {}
        Some(version) => {
            let version: String = version.to_string().chars().take(20).collect();
            let sentence =
                format!("has the version {version}, and this Runback reads version {VERSION} only");
            return Err(RecordError(sentence));
        }
        None => return Err(RecordError("has no version `v`".to_owned())),
    }
    // A version alone is an empty record. A version beside nothing that we know is somebody else's annotation.
    let ours = ["rollbacks", "quarantine", "waiting"].iter().any(|key| value.get(key).is_some());
    if !ours && value.as_object().is_some_and(|object| object.len() > 1) {
        return Err(RecordError("has neither `rollbacks` nor `quarantine`".to_owned()));
    }
    let wire: WireRecord =
        serde_json::from_value(value).map_err(|error| RecordError(format!("cannot be read: {error}")))?;
    wire.into_domain()
}

/// The newest rollback as the annotation has it, with what a later writer may have added.
#[must_use]
pub fn newest(annotation: Option<&str>) -> Option<Value> {
    let record: Value = serde_json::from_str(annotation?).ok()?;
    record.get("rollbacks")?.get(0).cloned()
}

/// Writes the annotation in the place of the one `before`, whose unknown keys are kept.
///
/// When the record is too large, the figures of older rollbacks go first, then the oldest quarantine entries but ten, the
/// unknown keys, the oldest rollbacks and the rest of the quarantine; the newest rollback stays.
#[must_use]
pub fn write(record: &Record, before: Option<&str>) -> String {
    let mut wire = WireRecord::from_domain(record);
    if let Some(before) = before.and_then(|text| serde_json::from_str(text).ok()) {
        wire.keep_unknown(before);
    }
    loop {
        let text = wire.to_json();
        if text.len() < LIMIT || !wire.shrink() {
            return text;
        }
    }
}

#[derive(Serialize, Deserialize)]
struct WireRecord {
    v: u64,
    #[serde(default)]
    rollbacks: Vec<WireRollback>,
    #[serde(default)]
    quarantine: Vec<WireQuarantined>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    waiting: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    closed: Vec<String>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct WireRollback {
    #[serde(default)]
    id: String,
    incident: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alerted: Option<String>,
    at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moved: Option<String>,
    culprit: String,
    #[serde(default, skip_serializing_if = "is_no")]
    slow: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slower_than_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "is_no")]
    trial: bool,
    #[serde(default)]
    from: Vec<WireShare>,
    #[serde(default, skip_serializing_if = "is_zero")]
    latest: u8,
    target: String,
    #[serde(default = "all_of_it")]
    step: u8,
    #[serde(default = "told")]
    phase: String,
    #[serde(default)]
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct WireShare {
    revision: String,
    percent: u8,
}

#[derive(Serialize, Deserialize)]
struct WireQuarantined {
    revision: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    at: String,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// A rollback that does not say how much has moved moved everything.
fn all_of_it() -> u8 {
    100
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(percent: &u8) -> bool {
    *percent == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_no(flag: &bool) -> bool {
    !*flag
}

/// A rollback that does not say how far it has come is finished.
fn told() -> String {
    Phase::Told.word().to_owned()
}

impl WireRecord {
    fn into_domain(self) -> Result<Record, RecordError> {
        let rollbacks: Result<_, _> = self.rollbacks.into_iter().map(WireRollback::into_domain).collect();
        let quarantine: Result<_, _> =
            self.quarantine.into_iter().map(WireQuarantined::into_domain).collect();
        Ok(Record {
            rollbacks: rollbacks?,
            quarantine: quarantine?,
            waiting: self.waiting,
            closed: self.closed,
        })
    }

    fn from_domain(record: &Record) -> Self {
        Self {
            v: VERSION,
            rollbacks: record.rollbacks.iter().map(WireRollback::from_domain).collect(),
            quarantine: record.quarantine.iter().map(WireQuarantined::from_domain).collect(),
            waiting: record.waiting.as_deref().map(cut),
            closed: record.closed.iter().map(|incident| cut(incident)).collect(),
            unknown: Map::new(),
        }
    }

    /// Takes over what a later writer has added to the record or to one of its entries.
    fn keep_unknown(&mut self, before: Self) {
        self.unknown = before.unknown;
        for old in before.rollbacks {
            let same = |new: &&mut WireRollback| (&new.id, &new.incident) == (&old.id, &old.incident);
            if let Some(new) = self.rollbacks.iter_mut().find(same) {
                new.unknown = old.unknown;
            }
        }
        for old in before.quarantine {
            if let Some(new) = self.quarantine.iter_mut().find(|new| new.revision == old.revision) {
                new.unknown = old.unknown;
            }
        }
    }

    #[expect(clippy::expect_used, reason = "texts and numbers in structs cannot fail to become JSON")]
    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers in structs always become JSON")
    }

    /// Gives up what is missed least: closed incidents first, since late messages about them are rare. False when there is
    /// nothing left to give up.
    fn shrink(&mut self) -> bool {
        // What older rollbacks rest on and came from is only for people; that they were made counts for the day's budget.
        if self.closed.pop().is_some() {
            return true;
        }
        let mut older = self.rollbacks.iter_mut().skip(1).rev();
        let spare = |rollback: &&mut WireRollback| {
            rollback.why.is_some() || !rollback.from.is_empty() || !rollback.unknown.is_empty()
        };
        if let Some(rollback) = older.find(spare) {
            (rollback.why, rollback.from, rollback.latest) = (None, Vec::new(), 0);
            rollback.unknown.clear();
            return true;
        }
        if self.quarantine.len() > QUARANTINE_KEPT {
            return self.quarantine.pop().is_some();
        }
        // The day's budget rests on the rollbacks, so what nobody here understands goes before them.
        if give_up(&mut self.unknown) || self.rollbacks.first_mut().is_some_and(|it| give_up(&mut it.unknown))
        {
            return true;
        }
        if self.rollbacks.len() > 1 {
            return self.rollbacks.pop().is_some();
        }
        let Some(newest) = self.rollbacks.first_mut() else {
            return self.quarantine.pop().is_some();
        };
        if newest.why.take().is_some() || self.quarantine.pop().is_some() || newest.by.take().is_some() {
            return true;
        }
        // A split of a hundred revisions with the longest names. Half of it would be a lie; without it, the split
        // cannot be restored, and the rollback is still remembered.
        !std::mem::take(&mut newest.from).is_empty() || self.waiting.take().is_some()
    }
}

impl WireRollback {
    fn into_domain(self) -> Result<Rollback, RecordError> {
        // Whoever adds up percents may rely on a sum that fits.
        let total: u32 = self.from.iter().map(|share| u32::from(share.percent)).sum();
        if total > 100 || self.step > 100 || self.latest > 100 {
            return Err(RecordError("has more than 100 percent in a rollback".to_owned()));
        }
        let share = |share: WireShare| Share { revision: share.revision, percent: share.percent };
        Ok(Rollback {
            id: self.id,
            incident: self.incident,
            alerted: self.alerted.as_deref().map(time).transpose()?,
            at: time(&self.at)?,
            moved: self.moved.as_deref().map(time).transpose()?,
            culprit: self.culprit,
            from: self.from.into_iter().map(share).collect(),
            latest: self.latest,
            slow: self.slow,
            slower_than: self.slower_than_ms.map(Duration::from_millis),
            trial: self.trial,
            target: self.target,
            step: self.step,
            phase: Phase::of_word(self.phase),
            reason: self.reason,
            why: self.why,
            by: self.by,
        })
    }

    fn from_domain(rollback: &Rollback) -> Self {
        let share = |share: &Share| WireShare { revision: cut(&share.revision), percent: share.percent };
        Self {
            id: cut(&rollback.id),
            incident: cut(&rollback.incident),
            alerted: rollback.alerted.map(written),
            at: written(rollback.at),
            moved: rollback.moved.map(written),
            culprit: cut(&rollback.culprit),
            from: rollback.from.iter().map(share).collect(),
            latest: rollback.latest,
            slow: rollback.slow,
            slower_than_ms: rollback.slower_than.and_then(|limit| u64::try_from(limit.as_millis()).ok()),
            trial: rollback.trial,
            target: cut(&rollback.target),
            step: rollback.step,
            phase: cut(rollback.phase.word()),
            reason: cut(&rollback.reason),
            why: rollback.why.as_deref().map(cut),
            by: rollback.by.as_deref().map(cut),
            unknown: Map::new(),
        }
    }
}

impl WireQuarantined {
    fn into_domain(self) -> Result<Quarantined, RecordError> {
        let at = time(&self.at)?;
        Ok(Quarantined { revision: self.revision, digest: self.digest, commit: self.commit, at })
    }

    fn from_domain(entry: &Quarantined) -> Self {
        Self {
            revision: cut(&entry.revision),
            digest: entry.digest.as_deref().map(cut),
            commit: entry.commit.as_deref().map(cut),
            at: written(entry.at),
            unknown: Map::new(),
        }
    }
}

/// Empties it; false when it was empty.
fn give_up(unknown: &mut Map<String, Value>) -> bool {
    !std::mem::take(unknown).is_empty()
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).collect()
}

fn time(text: &str) -> Result<DateTime<Utc>, RecordError> {
    let time = DateTime::parse_from_rfc3339(text).map_err(|error| {
        let text: String = text.chars().take(40).collect();
        RecordError(format!("has a time that cannot be read: {text:?}, {error}"))
    })?;
    Ok(time.with_timezone(&Utc))
}

fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
