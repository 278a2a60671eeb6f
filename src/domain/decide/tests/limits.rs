//! Gates `allowed`, `schema` and `enforce`: what the policy forbids.

use std::time::Duration;

use chrono::TimeDelta;

use crate::domain::hold::Hold;
use crate::domain::policy::{Mode, SchemaRule};

use super::check;
use super::world::{BAD, DAY, GOOD, HOUR, OLD, World};

const BACK: &str = "rollback confirmed to k-back-00041-xyz";

/// Rollbacks of other revisions so many minutes ago, the newest last.
fn rolled_back(minutes: &[i64]) -> World {
    minutes.iter().fold(World::outage(), |world, minutes| {
        world.rolled_back(&format!("0.{minutes}"), "k-back-00030-gone", OLD, *minutes)
    })
}

#[test]
fn a_rollback_has_to_cool_down() {
    let seconds = |seconds: i64| {
        rolled_back(&[30]).record(|record| record.rollbacks[0].at += TimeDelta::seconds(30 * 60 - seconds))
    };
    let hours =
        |world: World, count: u64| world.rules(|rules| rules.cooldown = Duration::from_secs(count * 3_600));
    check([
        ("a minute ago", rolled_back(&[1]), "notify cooldown at allowed"),
        ("a second less than the cooldown", seconds(1_799), "notify cooldown at allowed"),
        ("exactly the cooldown", seconds(1_800), BACK),
        ("the clocks differ", seconds(-60), "notify cooldown at allowed"),
        ("on record it is still to come: that clock was wrong", rolled_back(&[-DAY]), BACK),
        ("a longer cooldown", hours(rolled_back(&[119]), 2), "notify cooldown at allowed"),
        ("a longer cooldown is over", hours(rolled_back(&[120]), 2), BACK),
        ("no cooldown", hours(rolled_back(&[0]), 0), BACK),
        ("the newest counts", rolled_back(&[300, 10]), "notify cooldown at allowed"),
    ]);
}

#[test]
fn what_a_person_rolled_back_counts_for_no_limit() {
    let by_hand = |world: World| {
        world.record(|record| {
            for rollback in &mut record.rollbacks {
                rollback.reason = "manual".into();
            }
        })
    };
    check([
        ("a minute ago", by_hand(rolled_back(&[1])), BACK),
        ("three today", by_hand(rolled_back(&[180, 120, 60])), BACK),
        (
            "an automatic one before it still cools down",
            by_hand(rolled_back(&[20, 1])).record(|record| record.rollbacks[1].reason = "critical".into()),
            "notify cooldown at allowed",
        ),
    ]);
}

#[test]
fn nothing_moves_while_somebody_holds_the_service() {
    let held = |minutes: Option<i64>| {
        let mut world = World::outage();
        let until = minutes.map(super::world::ago);
        world.service.hold = Some(Hold { until, by: "ana@example.com".into(), why: "migration".into() });
        world
    };
    check([
        ("until somebody resumes it", held(None), "notify on_hold at enforce"),
        ("for another minute", held(Some(-1)), "notify on_hold at enforce"),
        ("until a moment ago", held(Some(0)), BACK),
        (
            "who only observes is not held",
            held(None).rules(|rules| rules.mode = Mode::Observe),
            "notify observe_mode at enforce",
        ),
    ]);
}

#[test]
fn a_day_has_so_many_rollbacks() {
    let most = |world: World, most: u32| world.rules(|rules| rules.max_rollbacks_per_day = most);
    let day = 24 * HOUR;
    check([
        ("two of three", rolled_back(&[120, 60]), BACK),
        ("three of three", rolled_back(&[180, 120, 60]), "notify budget_exhausted at allowed"),
        (
            "the third is a minute short of a day old",
            rolled_back(&[day - 1, 120, 60]),
            "notify budget_exhausted at allowed",
        ),
        ("the third is a day old", rolled_back(&[day, 120, 60]), BACK),
        ("one of one", most(rolled_back(&[3 * HOUR]), 1), "notify budget_exhausted at allowed"),
        ("what is still to come does not count", most(rolled_back(&[-2 * day]), 1), BACK),
        ("yesterday's does not count", most(rolled_back(&[2 * day]), 1), BACK),
        ("nine of ten", most(rolled_back(&[900, 800, 700, 600, 500, 400, 300, 200, 100]), 10), BACK),
        (
            "ten of ten",
            most(rolled_back(&[1000, 900, 800, 700, 600, 500, 400, 300, 200, 100]), 10),
            "notify budget_exhausted at allowed",
        ),
        ("none is allowed", most(World::outage(), 0), "notify budget_exhausted at allowed"),
    ]);
}

#[test]
fn going_back_across_a_schema_change_is_left_to_people() {
    let schemas = |culprit: Option<&str>, target: Option<&str>| {
        World::outage()
            .change(BAD, |revision| revision.schema = culprit.map(Into::into))
            .change(GOOD, |revision| revision.schema = target.map(Into::into))
    };
    let allow = |world: World| world.rules(|rules| rules.schema = SchemaRule::Allow);
    let fence = "notify schema_fence at schema";
    check([
        ("neither is labelled", schemas(None, None), BACK),
        ("the same", schemas(Some("7"), Some("7")), BACK),
        ("different", schemas(Some("7"), Some("6")), fence),
        ("only the culprit", schemas(Some("7"), None), fence),
        ("only the target", schemas(None, Some("6")), fence),
        ("different and allowed", allow(schemas(Some("7"), Some("6"))), BACK),
        ("only the culprit and allowed", allow(schemas(Some("7"), None)), BACK),
    ]);
}

#[test]
fn observe_mode_tells_the_full_plan() {
    let observe = |world: World| world.rules(|rules| rules.mode = Mode::Observe);
    let decision = observe(World::outage()).decide();
    assert_eq!(World::verdict(&decision), "notify observe_mode at enforce");
    let acting = World::outage().decide();
    assert_eq!(decision.plan, acting.plan, "the same plan as with enforce");
    let plan = decision.plan.as_ref().unwrap();
    assert_eq!((plan.culprit.name.as_str(), plan.target.name.as_str(), plan.proven), (BAD, GOOD, true));
    for name in [BAD, GOOD] {
        assert!(decision.headline().contains(name), "{decision}");
    }
    check([
        (
            "what would be ignored is ignored",
            observe(World::outage().named(GOOD)),
            "ignore culprit_not_serving at culprit",
        ),
        ("the limits are told before", observe(rolled_back(&[1])), "notify cooldown at allowed"),
    ]);
}

#[test]
fn the_gates_come_in_the_order_of_the_table() {
    let order = [
        "open",
        "guarded",
        "new",
        "settled",
        "culprit",
        "failing",
        "deployed_recently",
        "caused_by_it",
        "allowed",
        "target",
        "schema",
        "enforce",
    ];
    let names = |world: World| world.decide().gates.iter().map(|gate| gate.name).collect::<Vec<_>>();
    assert_eq!(names(World::outage()), order);
    assert_eq!(names(rolled_back(&[1])), order[..9]);
    assert_eq!(names(World::outage().in_flight()), order[..4]);
    // A deploy that is too old and a cooldown: the first in the table is told.
    let old = World::new()
        .revision(GOOD, 9 * DAY)
        .revision(BAD, 5 * DAY)
        .traffic(&[(BAD, 100)])
        .named(BAD)
        .served(BAD, 5 * DAY, 0, 60.0, 0.4)
        .rolled_back("0.other", "k-back-00030-gone", OLD, 1);
    check([("the first one is told", old, "notify not_deploy_related at deployed_recently")]);
}
