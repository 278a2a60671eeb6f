//! What a person may do by hand, and what stands against it.

use super::world::{BAD, DAY, GOOD, OLD, World, now};
use crate::domain::by_hand::{Answer, Situation, Wish};
use crate::domain::decision::Gate;
use crate::domain::policy::SchemaRule;

/// A world as it is read for a person.
pub(super) fn looked_at<T>(world: &World, look: impl FnOnce(&Situation<'_>) -> T) -> T {
    let evidence = world.evidence();
    look(&Situation {
        service: &world.service,
        record: world.record.as_ref().unwrap(),
        revisions: &world.revisions,
        evidence: &evidence,
        rules: world.policy.services.values().next().unwrap(),
        now: now(),
    })
}

/// What comes of a wish, as `42 to 41`, `nothing for 41` or the gates that stand against it.
fn weighed(world: &World, wish: Wish<'_>) -> String {
    let against = |gates: &[Gate]| {
        let names: Vec<&str> = gates.iter().filter(|gate| !gate.passed).map(|gate| gate.name).collect();
        names.join(" ")
    };
    match looked_at(world, |situation| situation.weigh(wish)) {
        Answer::Nothing(revision) => format!("nothing for {}", revision.name),
        Answer::NoTarget(gates) => format!("no target: {}", against(&gates)),
        Answer::Planned(plan) => {
            let way = if plan.goes_back() { "back" } else { "on" };
            format!("{way} from {} to {}: {}", plan.culprit.name, plan.target.name, against(&plan.gates))
                .trim_end_matches([' ', ':'])
                .to_owned()
        }
    }
}

#[track_caller]
fn check(world: &World, wish: Wish<'_>, wanted: &str) {
    assert_eq!(weighed(world, wish), wanted);
}

fn failing() -> World {
    World::outage().revision(OLD, 9 * DAY).served(OLD, 9 * DAY, 3 * DAY, 60.0, 0.001)
}

#[test]
fn without_a_target_it_is_the_one_that_runback_would_choose() {
    check(&failing(), Wish::Best, &format!("back from {BAD} to {GOOD}"));
    let bad_before = World::deploy()
        .served(BAD, 20, 0, 60.0, 0.4)
        .served(GOOD, 3 * DAY, 20, 60.0, 0.5)
        .revision(OLD, 9 * DAY)
        .served(OLD, 9 * DAY, 3 * DAY, 60.0, 0.001);
    check(&bad_before, Wish::Best, &format!("back from {BAD} to {OLD}"));
    check(&World::new().revision(BAD, 20).traffic(&[(BAD, 100)]), Wish::Best, "no target: target");
}

#[test]
fn all_traffic_goes_to_the_target_and_the_largest_loser_is_the_culprit() {
    let split = failing().traffic(&[(BAD, 20), (OLD, 80)]);
    check(&split, Wish::Named(GOOD), &format!("on from {OLD} to {GOOD}"));
    check(
        &failing().traffic(&[(BAD, 50), (OLD, 50)]),
        Wish::Named(GOOD),
        &format!("back from {BAD} to {GOOD}"),
    );
    check(&failing().traffic(&[(GOOD, 100)]), Wish::Named(GOOD), &format!("nothing for {GOOD}"));
}

#[test]
fn a_target_is_named_by_its_revision_or_its_commit() {
    let mut world = failing();
    let sha = "3f2a91c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6";
    for revision in &mut world.revisions {
        revision.commit = (revision.name == GOOD).then(|| sha.to_owned());
    }
    let found = format!("back from {BAD} to {GOOD}");
    for text in [GOOD, "00041-xyz", sha, "3f2a91c", "3F2A91C0"] {
        check(&world, Wish::Named(text), &found);
    }
    for text in ["3f2a91", "3f2a91d", "zzzzzzz", "k-back", ""] {
        check(&world, Wish::Named(text), "no target: target");
    }
}

#[test]
fn each_gate_stands_against_it_by_its_name() {
    let to_good = |world: &World, gates: &str| {
        check(
            world,
            Wish::Named(GOOD),
            format!("back from {BAD} to {GOOD}: {gates}").trim_end_matches([' ', ':']),
        );
    };
    let mut in_flight = failing();
    in_flight.service.in_flight = true;
    to_good(&in_flight, "settled");
    let mut broken = failing();
    broken.revisions.iter_mut().for_each(|revision| revision.ready = revision.name != GOOD);
    to_good(&broken, "target");
    to_good(&failing().rolled_back("0.old", GOOD, OLD, 100), "quarantine");
    let mut migrated = failing();
    for revision in &mut migrated.revisions {
        revision.schema = Some(if revision.name == BAD { "7" } else { "6" }.to_owned());
    }
    to_good(&migrated, "schema");
    to_good(&migrated.rules(|rules| rules.schema = SchemaRule::Allow), "");
    let sick = World::deploy().served(BAD, 20, 0, 60.0, 0.4).served(GOOD, 3 * DAY, 20, 60.0, 0.5);
    to_good(&sick, "healthy");
    let unproven = World::deploy().served(BAD, 20, 0, 60.0, 0.4);
    to_good(&unproven, "");
}
