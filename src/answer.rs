//! A decision as JSON: the answer to the request and the log entry.

use std::time::Duration;

use serde::Serialize;

use crate::domain::decision::{Decision, Outcome};
use crate::domain::record::Share;

/// The answer's body.
#[derive(Debug, Serialize)]
pub(crate) struct Answer<'a> {
    decision: &'static str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    incident: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Vec<WireShare>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Vec<WireShare>>,
    gates: Vec<WireGate<'a>>,
    explanation: String,
}

#[derive(Debug, Serialize)]
struct WireShare {
    revision: String,
    percent: u8,
}

#[derive(Debug, Serialize)]
struct WireGate<'a> {
    gate: &'a str,
    passed: bool,
    detail: &'a str,
}

impl<'a> From<&'a Decision> for Answer<'a> {
    fn from(decision: &'a Decision) -> Self {
        let shares = |list: &[Share]| -> Vec<WireShare> {
            list.iter()
                .map(|share| WireShare { revision: share.revision.clone(), percent: share.percent })
                .collect()
        };
        let (from, to) = match (&decision.plan, &decision.outcome) {
            (Some(plan), _) => (Some(shares(&plan.from)), Some(shares(&plan.to))),
            (None, Outcome::Resume(rollback)) => (Some(shares(&rollback.from)), Some(shares(&rollback.to()))),
            (None, Outcome::Hasten(rollback)) => {
                (Some(shares(&rollback.to())), Some(shares(&rollback.end())))
            }
            _ => (None, None),
        };
        let gates = decision.gates.iter();
        Self {
            decision: decision.outcome.word(),
            reason: decision.reason.code(),
            service: decision.service.as_ref().map(ToString::to_string),
            incident: &decision.incident,
            from,
            to,
            gates: gates
                .map(|gate| WireGate { gate: gate.name, passed: gate.passed, detail: &gate.detail })
                .collect(),
            explanation: decision.to_string(),
        }
    }
}

/// The log entry of a decision, with everything that led to it. `stage` says how far it has come.
pub(crate) fn log(decision: &Decision, stage: &str, message_id: Option<&str>, time: Duration) {
    let Decision { incident, reason, .. } = decision;
    let word = decision.outcome.word();
    let service = decision.service.as_ref().map(ToString::to_string).unwrap_or_default();
    let gates = serde_json::to_string(&Answer::from(decision).gates).unwrap_or_default();
    let text = format!("{word} ({reason}), incident {incident}: {}", decision.headline());
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    macro_rules! entry {
        ($level:ident) => {
            tracing::$level!(
                decision = word,
                reason = reason.code(),
                stage,
                incident,
                service,
                gates_json = gates,
                message_id,
                millis,
                labels.decision = word,
                labels.reason = reason.code(),
                labels.service = service,
                "{text}"
            )
        };
    }
    match decision.outcome {
        Outcome::Ignore => entry!(info),
        _ => entry!(warn),
    }
}
