//! A decision as JSON: the answer to the request and the log entry.

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
    pub(crate) gates: Vec<WireGate<'a>>,
    pub(crate) explanation: String,
}

#[derive(Debug, Serialize)]
struct WireShare {
    revision: String,
    percent: u8,
}

#[derive(Debug, Serialize)]
pub(crate) struct WireGate<'a> {
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
