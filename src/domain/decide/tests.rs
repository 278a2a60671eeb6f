//! What has to be decided in which situation. The labels come from the design, not from the code.

mod blame;
mod by_hand;
mod doors;
mod evidence_gate;
mod limits;
mod overview;
mod preflight;
mod properties;
mod stories;
mod targets;
mod world;

use super::{Answer, Facts, History, Seen, decide};
use crate::domain::decision::{Decision, Outcome};
use world::{World, now};

/// `(situation, world, decision)`, with the decision as [`World::verdict`] writes it.
type Row = (&'static str, World, &'static str);

/// All rows are judged before the table fails, so that one mistake does not hide another.
fn check(table: impl IntoIterator<Item = Row>) {
    let wrong: Vec<String> = table
        .into_iter()
        .filter_map(|(about, world, wanted)| {
            let decision = world.decide();
            let got = World::verdict(&decision);
            (got != wanted).then(|| format!("{about}\n  wanted: {wanted}\n  got:    {got}\n{decision}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

impl World {
    /// The answer when so much is known: nothing, the service, or its history too.
    pub(super) fn answer(&self, knows_service: bool, knows_history: bool) -> Answer {
        let evidence = self.evidence();
        decide(&Facts {
            alert: &self.alert,
            policy: &self.policy,
            now: now(),
            published_at: self.published_at,
            disputed: self.disputed,
            round: self.round,
            known_closed: self.known_closed,
            waiting_since: self.waiting_since,
            comes_back: self.comes_back,
            seen: knows_service.then_some(Seen {
                service: &self.service,
                record: &self.record,
                told: self.told,
            }),
            probes: &self.probes,
            history: knows_history.then_some(History { revisions: &self.revisions, evidence: &evidence }),
        })
    }

    pub(super) fn decide(&self) -> Decision {
        match self.answer(true, true) {
            Answer::Decided(decision) => *decision,
            asks => panic!("everything is known, and it asks for {asks:?}"),
        }
    }

    /// `rollback confirmed to k-back-00041-xyz`, or `notify cooldown at allowed` with the gate that stopped it.
    pub(super) fn verdict(decision: &Decision) -> String {
        let gate = decision.gates.iter().find(|gate| !gate.passed).map_or("no gate", |gate| gate.name);
        let reason = decision.reason.code();
        match (&decision.outcome, &decision.plan) {
            (Outcome::Rollback, plan) => {
                let target = plan.as_ref().map_or("nowhere", |plan| plan.target.name.as_str());
                format!("rollback {reason} to {target}")
            }
            (Outcome::Resume(rollback), _) => format!("resume {reason} to {} at {gate}", rollback.target),
            (outcome, _) => format!("{} {reason} at {gate}", outcome.word()),
        }
    }
}
