//! Where a service stands, and the one next thing to do.

use super::by_hand::looked_at;
use super::world::{BAD, DAY, GOOD, OLD, World, ago};
use crate::domain::hold::Hold;
use crate::domain::overview::{Next, overview};
use crate::domain::service::Destination;

const FIX: &str = "k-back-00043-fix";

/// The revisions' states, newest first, and what is next.
fn seen(world: &World) -> (String, String) {
    looked_at(world, |situation| {
        let overview = overview(situation);
        let states: Vec<&str> = overview.revisions.iter().map(|standing| standing.state.word()).collect();
        let next = match overview.next {
            Next::Wait(_) => "wait".into(),
            Next::GoBack(bad, target) => format!("from {} to {}", bad.name, target.name),
            Next::FixForward(bad) => format!("fix {}", bad.name),
            Next::Resume => "resume".into(),
            Next::Release(waiting) => format!("release {}", waiting.name),
            Next::Repair(rollback) => format!("repair {}", rollback.culprit),
            Next::Follow => "follow".into(),
            Next::Nothing(target) => format!("nothing, or {}", target.map_or("-", |target| &target.name)),
        };
        (states.join(" "), next)
    })
}

#[track_caller]
fn check(world: &World, states: &str, next: &str) {
    assert_eq!(seen(world), (states.to_owned(), next.to_owned()));
}

#[test]
fn a_failing_deploy_comes_with_the_way_back() {
    check(&World::outage(), "serving healthy", &format!("from {BAD} to {GOOD}"));
    let alone = World::new().revision(BAD, 20).traffic(&[(BAD, 100)]).served(BAD, 20, 0, 60.0, 0.4);
    check(&alone, "serving", &format!("fix {BAD}"));
    let mut held = World::outage();
    held.service.hold = Some(Hold { until: None, by: String::new(), why: String::new() });
    check(&held, "serving healthy", &format!("from {BAD} to {GOOD}"));
    let mut in_flight = World::outage();
    in_flight.service.in_flight = true;
    check(&in_flight, "serving healthy", "wait");
}

#[test]
fn behind_a_pin_a_fix_waits_and_without_one_the_culprit_has_to_be_repaired() {
    let pinned = || {
        World::outage()
            .served(GOOD, 20, 0, 60.0, 0.0)
            .revision(OLD, 9 * DAY)
            .traffic(&[(GOOD, 100)])
            .rolled_back("0.a", BAD, GOOD, 15)
    };
    check(&pinned(), "quarantined serving unproven", &format!("repair {BAD}"));
    let fixed = pinned().revision(FIX, 5);
    check(&fixed, "waiting quarantined serving unproven", &format!("release {FIX}"));
    check(&World::new().revision(GOOD, DAY).traffic(&[(GOOD, 100)]), "serving", "follow");
}

#[test]
fn a_healthy_service_needs_nothing_and_a_held_one_is_resumed() {
    let mut healthy = World::deploy().served(BAD, 20, 0, 60.0, 0.0).served(GOOD, 3 * DAY, 20, 60.0, 0.3);
    healthy.service.spec_traffic[0].to = Destination::Latest;
    check(&healthy, "serving unhealthy", "nothing, or -");
    healthy.service.hold = Some(Hold { until: None, by: String::new(), why: String::new() });
    check(&healthy, "serving unhealthy", "resume");
}

#[test]
fn only_automatic_rollbacks_count() {
    let world = World::outage().rolled_back("0.a", OLD, GOOD, 70).rolled_back("0.b", OLD, GOOD, 10);
    let limits = |world: &World| {
        looked_at(world, |situation| {
            let overview = overview(situation);
            (overview.rollbacks_today, overview.cooldown_until)
        })
    };
    assert_eq!(limits(&world), (2, Some(ago(-20))));
    let by_hand = world.record(|record| record.rollbacks[0].reason = "manual".into());
    assert_eq!(limits(&by_hand), (1, None));
}
