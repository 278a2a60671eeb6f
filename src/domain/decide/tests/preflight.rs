//! Gate `preflight`: who is probed, and what the result means.

use std::time::Duration;

use crate::domain::alert::Signal;
use crate::domain::decide::Answer;
use crate::domain::evidence::Axis;
use crate::domain::policy::{Mode, SchemaRule};
use crate::domain::probe::{Outcome, Probed, Wish};

use super::check;
use super::world::{BAD, DAY, GOOD, OLD, World};

const BACK: &str = "rollback confirmed to k-back-00041-xyz";
const BACK_TO_OLD: &str = "rollback confirmed to k-back-00040-uvw";
const OUTAGE: &str = "notify dependency_outage at preflight";

/// 42 fails, 41 and before it 40 were healthy, and targets are probed.
fn outage() -> World {
    World::outage()
        .revision(OLD, 8 * DAY)
        .served(OLD, 6 * DAY, 3 * DAY, 60.0, 0.001)
        .rules(|rules| rules.health_path = Some("/health".into()))
}

impl World {
    fn tagged(mut self, revision: &str) -> Self {
        let url = format!("https://tag---{revision}.run.app");
        self.service.tagged.insert(revision.into(), url);
        self
    }

    fn probed(mut self, revision: &str, bad: u64, probes: u64) -> Self {
        let outcome = Outcome::Answered { probes, bad, slowest: Duration::from_millis(20) };
        self.probes.push(Probed { revision: revision.into(), outcome });
        self
    }

    fn not_probed(mut self, revision: &str, why: &str) -> Self {
        self.probes.push(Probed { revision: revision.into(), outcome: Outcome::Inconclusive(why.into()) });
        self
    }

    fn wish_for_a_probe(&self) -> Option<Wish> {
        match self.answer(true, true) {
            Answer::Probe(wish) => Some(*wish),
            _ => None,
        }
    }
}

fn sentence(world: &World) -> String {
    let decision = world.decide();
    let gate = decision.gates.iter().find(|gate| gate.name == "preflight");
    gate.map_or(String::new(), |gate| gate.detail.clone())
}

#[test]
fn a_target_is_wished_to_be_probed_by_the_tag_that_it_has() {
    let wish = outage().tagged(GOOD).tagged(OLD).wish_for_a_probe().unwrap();
    let wanted = Wish {
        revision: GOOD.into(),
        url: Some(format!("https://tag---{GOOD}.run.app")),
        path: "/health".into(),
        audience: "https://k-back.run.app".into(),
        axis: Axis::Errors,
        slow: Duration::from_secs(3),
    };
    assert_eq!(wish, wanted);
    assert_eq!(outage().wish_for_a_probe().unwrap().url, None, "it has to be tagged first");

    let next = outage().tagged(GOOD).probed(GOOD, 8, 8).wish_for_a_probe().unwrap();
    assert_eq!((next.revision.as_str(), next.url), (OLD, None), "the next candidate");
    let latency = outage().signal(Signal::Latency).requests(BAD, (20, 0), 60.0, 0.0, 0.4);
    assert_eq!(latency.wish_for_a_probe().map(|wish| wish.axis), Some(Axis::Slowness));
}

#[test]
fn nobody_is_probed_before_everything_else_is_settled() {
    let observed = outage().rules(|rules| rules.mode = Mode::Observe);
    let fenced = outage().change(GOOD, |revision| revision.schema = Some("7".into()));
    check([
        ("observed only", observed, "notify observe_mode at enforce"),
        ("across a schema change", fenced, "notify schema_fence at schema"),
        ("no health path", outage().rules(|rules| rules.health_path = None), BACK),
    ]);
}

#[test]
fn only_a_confidently_unhealthy_target_gives_way() {
    check([
        ("all well", outage().probed(GOOD, 0, 8), BACK),
        ("flaky", outage().probed(GOOD, 2, 8), BACK),
        ("half of them", outage().probed(GOOD, 4, 8), BACK),
        ("not reachable", outage().not_probed(GOOD, "cannot be reached: Connection refused"), BACK),
        ("the next one is well", outage().probed(GOOD, 8, 8).probed(OLD, 0, 8), BACK_TO_OLD),
        ("the next one is flaky", outage().probed(GOOD, 7, 8).probed(OLD, 2, 8), BACK_TO_OLD),
        ("nor can it be reached", outage().probed(GOOD, 8, 8).not_probed(OLD, "x"), BACK_TO_OLD),
        ("none is left", outage().probed(GOOD, 8, 8).probed(OLD, 8, 8), OUTAGE),
        ("there was only one", only_one().probed(GOOD, 8, 8), OUTAGE),
    ]);
    let next_is_fenced = outage()
        .change(OLD, |revision| revision.schema = Some("6".into()))
        .rules(|rules| rules.schema = SchemaRule::Block)
        .probed(GOOD, 8, 8);
    check([("the next one needs another schema", next_is_fenced, "notify schema_fence at schema")]);
}

fn only_one() -> World {
    World::outage().rules(|rules| rules.health_path = Some("/health".into()))
}

#[test]
fn a_critical_incident_is_probed_only_by_a_tag_that_is_there() {
    let critical = |world: World| world.served(BAD, 20, 0, 60.0, 0.9);
    let world = critical(outage());
    check([("no tag", world.clone(), "rollback critical to k-back-00041-xyz")]);
    assert!(sentence(&world).contains("was not probed"), "{}", sentence(&world));
    assert!(critical(outage().tagged(GOOD)).wish_for_a_probe().is_some());
    let failed = critical(outage().tagged(GOOD)).probed(GOOD, 8, 8);
    check([("the next one has no tag", failed.clone(), "rollback critical to k-back-00040-uvw")]);
    assert!(sentence(&failed).contains("8 of 8 probes of k-back-00041-xyz"), "{}", sentence(&failed));
}

#[test]
fn the_gate_says_what_it_saw() {
    for (world, words) in [
        (outage().probed(GOOD, 2, 8), vec!["2 of 8 probes of k-back-00041-xyz", "20 ms"]),
        (outage().not_probed(GOOD, "cannot be reached: no route"), vec!["inconclusive", "no route"]),
        (outage().probed(GOOD, 8, 8).probed(OLD, 7, 8), vec!["8 of 8", "7 of 8", "no other candidate"]),
        (outage().probed(GOOD, 8, 8).probed(OLD, 0, 8), vec!["8 of 8", "0 of 8"]),
    ] {
        let detail = sentence(&world);
        assert!(words.iter().all(|word| detail.contains(word)), "{detail}");
    }
}
