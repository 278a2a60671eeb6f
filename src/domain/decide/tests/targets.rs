//! Gate `target` and the plan: the last healthy revision, and what moves to it.

use std::time::Duration;

use crate::domain::alert::Signal;
use crate::domain::decision::Plan;
use crate::domain::policy::Strategy;

use super::check;
use super::world::{BAD, DAY, GOOD, HOUR, OLD, World};

const BACK: &str = "rollback confirmed to k-back-00041-xyz";
const BACK_TO_OLD: &str = "rollback confirmed to k-back-00040-uvw";
const NOBODY: &str = "notify no_candidate at target";

/// 42 fails since 20 minutes; 41 and 40 are older and have no past yet.
fn three() -> World {
    World::new()
        .revision(OLD, 8 * DAY)
        .revision(GOOD, 3 * DAY)
        .revision(BAD, 20)
        .traffic(&[(BAD, 100)])
        .named(BAD)
        .served(BAD, 20, 0, 60.0, 0.4)
}

/// 40 served until three days ago, 41 until 42 came; both healthily.
fn healthy() -> World {
    three().served(OLD, 6 * DAY, 3 * DAY, 60.0, 0.001).served(GOOD, 3 * DAY, 20, 60.0, 0.001)
}

fn plan(world: &World) -> Plan {
    let decision = world.decide();
    decision.plan.clone().unwrap_or_else(|| panic!("no plan\n{decision}"))
}

#[test]
fn an_eligible_revision_is_older_ready_unquarantined_and_not_failing_now() {
    let quarantined = |world: World, name: &str| world.rolled_back("0.before", name, OLD, 3 * HOUR);
    check([
        ("the newest of two healthy ones", healthy(), BACK),
        ("it is not ready", healthy().change(GOOD, |revision| revision.ready = false), BACK_TO_OLD),
        ("it is being deleted", healthy().change(GOOD, |revision| revision.deleting = true), BACK_TO_OLD),
        (
            "it is newer than the culprit",
            healthy().change(GOOD, |revision| revision.created_at = super::world::ago(5)),
            BACK_TO_OLD,
        ),
        (
            "it is as old as the culprit",
            healthy().change(GOOD, |revision| revision.created_at = super::world::ago(20)),
            BACK_TO_OLD,
        ),
        ("it is in quarantine", quarantined(healthy(), GOOD), BACK_TO_OLD),
        ("both are", quarantined(quarantined(healthy(), GOOD), OLD), NOBODY),
        (
            "there is no older one",
            World::new().revision(BAD, 20).traffic(&[(BAD, 100)]).named(BAD).served(BAD, 20, 0, 60.0, 0.4),
            NOBODY,
        ),
        (
            "it is tagged and fails there now",
            healthy().served(GOOD, 10, 0, 1.0, 1.0).served(GOOD, 10, 0, 4.0, 0.5),
            BACK_TO_OLD,
        ),
    ]);
}

#[test]
fn a_rolled_back_image_stays_blocked_under_a_new_name() {
    let image = |world: World, names: &[&str]| {
        names.iter().fold(world, |world, name| {
            world.change(name, |revision| revision.digest = Some("sha256:bad".into()))
        })
    };
    let world = |names: &[&str]| {
        image(healthy().revision("k-back-00030-gone", 9 * DAY), names).rolled_back(
            "0.before",
            "k-back-00030-gone",
            OLD,
            3 * HOUR,
        )
    };
    let gone = "k-back-00030-gone";
    check([
        ("41 runs the image of a revision in quarantine", world(&[gone, GOOD]), BACK_TO_OLD),
        ("the culprit runs it as well: then the image makes no difference", world(&[gone, GOOD, BAD]), BACK),
        ("only the culprit runs it", world(&[gone, BAD]), BACK),
        (
            "nobody knows digests",
            world(&[])
                .record(|record| record.quarantine[0].digest = None)
                .change(GOOD, |revision| revision.digest = None),
            BACK,
        ),
        (
            "the culprit's digest is unknown",
            world(&[gone, GOOD]).change(BAD, |revision| revision.digest = None),
            BACK_TO_OLD,
        ),
    ]);
}

#[test]
fn the_one_that_most_recently_served_enough_healthily_comes_first() {
    let history = |world: World, days: i64| {
        world.rules(|rules| rules.history = Duration::from_secs((days * DAY * 60) as u64))
    };
    check([
        (
            "a newer one that never served is no match for a proven one",
            three().served(OLD, 6 * DAY, 20, 60.0, 0.0),
            BACK_TO_OLD,
        ),
        (
            "nor is one that served 19 requests",
            three().served(OLD, 6 * DAY, 40, 60.0, 0.0).served(GOOD, 39, 20, 1.0, 0.0),
            BACK_TO_OLD,
        ),
        ("20 are enough", three().served(OLD, 6 * DAY, 40, 60.0, 0.0).served(GOOD, 40, 20, 1.0, 0.0), BACK),
        (
            "the policy wants more",
            three()
                .served(OLD, 6 * DAY, 40, 60.0, 0.0)
                .served(GOOD, 40, 20, 1.0, 0.0)
                .rules(|rules| rules.min_requests = 21),
            BACK_TO_OLD,
        ),
        (
            "an older one that served later",
            three().served(GOOD, 3 * DAY, DAY, 60.0, 0.0).served(OLD, DAY, 20, 60.0, 0.0),
            BACK_TO_OLD,
        ),
        (
            "it served, and not healthily",
            three().served(OLD, 6 * DAY, 2 * DAY, 60.0, 0.0).served(GOOD, 30, 20, 60.0, 0.08),
            BACK_TO_OLD,
        ),
        (
            "it had begun to fail, though far less than the culprit",
            three()
                .served(OLD, 6 * DAY, 3 * DAY, 60.0, 0.0)
                .served(GOOD, 3 * DAY, 50, 60.0, 0.0)
                .served(GOOD, 50, 20, 60.0, 0.15),
            BACK_TO_OLD,
        ),
        (
            "what lies before the history proves nothing",
            history(three().served(OLD, 6 * DAY, 2 * DAY, 60.0, 0.0), 1),
            BACK,
        ),
        ("within it, it does", history(three().served(OLD, 6 * DAY, 2 * DAY, 60.0, 0.0), 3), BACK_TO_OLD),
    ]);
    assert!(plan(&healthy()).proven);
}

#[test]
fn a_few_requests_on_a_tag_are_no_traffic() {
    let retired = || healthy().served(OLD, 3 * DAY, 3 * DAY - 1, 0.0, 0.0);
    check([
        ("somebody opens an old revision's tag", retired().served(OLD, 6, 5, 3.0, 0.0), BACK),
        ("an uptime check asks it every minute", retired().served(OLD, 3 * DAY, 0, 0.5, 0.0), BACK),
    ]);
}

#[test]
fn a_quarantine_ends_when_what_it_bars_has_served_users_well_for_hours() {
    // Rolled back three days ago, put back by people so many hours ago; 40 served in between.
    let back = |hours: i64, errors: f64| {
        let served = hours * HOUR + 20;
        let world = three().served(OLD, 6 * DAY, served, 60.0, 0.001);
        world.served(GOOD, served, 20, 60.0, errors).rolled_back("0.before", GOOD, OLD, 3 * DAY)
    };
    let image = |world: World| {
        let bad =
            |revision: &mut crate::domain::service::Revision| revision.digest = Some("sha256:bad".into());
        let world =
            world.revision("k-back-00030-old", 7 * DAY).change("k-back-00030-old", bad).change(GOOD, bad);
        world.record(|record| {
            record.quarantine[0].revision = "k-back-00030-old".into();
            record.quarantine[0].digest = Some("sha256:bad".into());
        })
    };
    let tagged = |world: World| world.traffic(&[(BAD, 100), (GOOD, 0)]);
    check([
        ("a day of real traffic", back(24, 0.001), BACK),
        ("six hours", back(6, 0.001), BACK),
        ("five", back(5, 0.001), BACK_TO_OLD),
        ("a day, and not healthily", back(24, 0.08), BACK_TO_OLD),
        ("its image, under another name", image(back(24, 0.001)), BACK),
        ("the image, for an hour", image(back(1, 0.001)), BACK_TO_OLD),
        ("a day of tests by a tag", tagged(back(0, 0.0).served(GOOD, DAY, 20, 60.0, 0.0)), BACK_TO_OLD),
        (
            "a night with few requests",
            back(0, 0.0).record(|record| record.quarantine[0].at = super::world::ago(2 * DAY)).served(
                GOOD,
                8 * HOUR,
                7 * HOUR,
                0.2,
                0.0,
            ),
            BACK_TO_OLD,
        ),
        (
            "without Monitoring nobody knows",
            back(24, 0.001).dark(None),
            "rollback unconfirmed to k-back-00040-uvw",
        ),
    ]);
}

/// 41 has a tag and no percentage. 40 carried the service until the deploy.
fn beside_a_preview() -> World {
    three().traffic(&[(BAD, 100), (GOOD, 0)]).served(OLD, 6 * DAY, 20, 60.0, 0.0)
}

#[test]
fn a_release_takes_users_over_and_a_test_comes_on_top() {
    let carried = |from, to| three().served(OLD, 6 * DAY, from, 60.0, 0.0).served(OLD, to, 20, 60.0, 0.0);
    // What carried the service until the deploy is gone.
    let gone = |world: World| world.change(OLD, |revision| revision.ready = false);
    let tagged = |world: World| world.traffic(&[(BAD, 100), (GOOD, 0)]);
    check([
        ("a few clicks a minute", beside_a_preview().served(GOOD, 90, 0, 2.0, 0.0), BACK_TO_OLD),
        ("as many requests as users make", beside_a_preview().served(GOOD, 90, 20, 60.0, 0.0), BACK_TO_OLD),
        ("ten times as many", beside_a_preview().served(GOOD, 40, 20, 600.0, 0.0), BACK_TO_OLD),
        (
            "ten times as many, and nothing else",
            gone(beside_a_preview().served(GOOD, 40, 20, 600.0, 0.0)),
            NOBODY,
        ),
        (
            "its tag is gone, and so is what carried the service: a burst of two minutes is no release",
            gone(three().served(OLD, 6 * DAY, 20, 60.0, 0.0).served(GOOD, 40, 38, 600.0, 0.0)),
            NOBODY,
        ),
        ("a release of ten minutes", carried(40, 30).served(GOOD, 40, 30, 60.0, 0.0), BACK_TO_OLD),
        (
            "the same, and what came after is gone",
            gone(carried(40, 30).served(GOOD, 40, 30, 60.0, 0.0)),
            BACK,
        ),
        ("the same with a tag", gone(tagged(carried(40, 30)).served(GOOD, 40, 30, 60.0, 0.0)), BACK),
        (
            "half of the users",
            gone(three().served(OLD, 6 * DAY, 20, 30.0, 0.0).served(GOOD, DAY, 20, 30.0, 0.0)),
            BACK,
        ),
        (
            "a twentieth of them, for a day: a canary that was taken back",
            gone(three().served(OLD, 6 * DAY, 20, 57.0, 0.0).served(GOOD, DAY, 25, 3.0, 0.0)),
            NOBODY,
        ),
        ("nobody knows of the time before", tagged(three()).served(GOOD, 3 * HOUR, 20, 60.0, 0.0), BACK),
        ("nor whether it was a test", tagged(three()).served(GOOD, HOUR, 20, 60.0, 0.0), BACK_TO_OLD),
    ]);
}

#[test]
fn without_monitoring_what_is_known_to_have_served_comes_first() {
    let dark = || healthy().dark(None);
    let tagged = |world: World| world.traffic(&[(BAD, 100), (GOOD, 0)]);
    let good = "rollback unconfirmed to k-back-00041-xyz";
    let old = "rollback unconfirmed to k-back-00040-uvw";
    let went_to =
        |world: World, target: &str, ago: i64| world.rolled_back("0.before", "k-back-00039-x", target, ago);
    check([
        ("nothing is known", dark(), good),
        ("a tag leads to the newest", tagged(dark()), old),
        ("an earlier rollback went to the older one", went_to(dark(), OLD, 2 * DAY), old),
        ("that was long ago", went_to(dark(), OLD, 8 * DAY), good),
        ("it went to the tagged one", went_to(tagged(dark()), GOOD, 2 * DAY), good),
        ("only a tagged one is there", tagged(World::deploy()).dark(None), NOBODY),
    ]);
}

#[test]
fn without_any_history_the_newest_older_ready_one_is_taken_unproven() {
    check([
        ("nobody served", three(), BACK),
        ("in the dark", healthy().dark(None), "rollback unconfirmed to k-back-00041-xyz"),
        (
            "in the dark, the newest is not ready",
            healthy().dark(None).change(GOOD, |revision| revision.ready = false),
            "rollback unconfirmed to k-back-00040-uvw",
        ),
    ]);
    for world in [three(), healthy().dark(None)] {
        assert!(!plan(&world).proven);
        let text = world.decide().to_string();
        assert!(text.contains("unproven"), "{text}");
    }
}

#[test]
fn where_monitoring_has_history_only_a_proven_one_will_do() {
    check([
        ("41 served badly, 40 not at all", three().served(GOOD, 40, 20, 60.0, 0.5), NOBODY),
        // 41 is still so fresh that it counts as failing now.
        (
            "the same, minutes ago",
            three().served(GOOD, 40, 20, 60.0, 0.5).rules(|rules| rules.window = Duration::from_secs(1_800)),
            NOBODY,
        ),
        (
            "one that fails is not taken for want of another",
            World::deploy().served(BAD, 20, 0, 60.0, 0.4).served(GOOD, 30, 20, 60.0, 0.5),
            NOBODY,
        ),
    ]);
}

#[test]
fn a_target_for_a_latency_incident_is_free_of_errors_too() {
    let slow = || {
        World::new()
            .revision(OLD, 8 * DAY)
            .revision(GOOD, 3 * DAY)
            .revision(BAD, 20)
            .traffic(&[(BAD, 100)])
            .named(BAD)
            .signal(Signal::Latency)
            .requests(BAD, (20, 0), 60.0, 0.0, 0.25)
            .requests(OLD, (6 * DAY, 3 * DAY), 60.0, 0.0, 0.0)
    };
    let hours = |count: u64| Duration::from_secs(count * 3_600);
    check([
        ("quick and sound", slow().requests(GOOD, (3 * DAY, 20), 60.0, 0.0, 0.0), BACK),
        ("quick to fail", slow().requests(GOOD, (3 * DAY, 20), 60.0, 0.3, 0.0), BACK_TO_OLD),
        (
            "slow itself",
            slow().requests(GOOD, (3 * DAY, 30), 60.0, 0.0, 0.08).requests(GOOD, (30, 20), 60.0, 0.0, 0.0),
            BACK_TO_OLD,
        ),
        (
            "its errors lie before the history",
            slow()
                .requests(GOOD, (3 * DAY, 5 * HOUR), 60.0, 0.3, 0.0)
                .requests(GOOD, (5 * HOUR, 20), 60.0, 0.0, 0.0)
                .rules(|rules| rules.history = hours(4)),
            BACK,
        ),
    ]);
}

#[test]
fn only_the_culprits_share_moves() {
    let third = |split: &[(&str, u8)]| {
        World::new()
            .revision(OLD, 8 * DAY)
            .revision(GOOD, 3 * DAY)
            .revision(BAD, 20)
            .traffic(split)
            .named(BAD)
            .served(BAD, 20, 0, 60.0, 0.4)
            .served(GOOD, 3 * DAY, 20, 60.0, 0.0)
            .served(OLD, 6 * DAY, 3 * DAY, 60.0, 0.0)
    };
    let serving = |world: World, name: &str, errors: f64| world.served(name, 20, 0, 60.0, errors);
    let to = |world: &World| {
        let plan = plan(world);
        let shares = |shares: &[crate::domain::record::Share]| {
            shares
                .iter()
                .map(|share| format!("{} {}", share.revision, share.percent))
                .collect::<Vec<_>>()
                .join(", ")
        };
        format!("{} -> {}", shares(&plan.from), shares(&plan.to))
    };
    let canary = serving(third(&[(GOOD, 90), (BAD, 10)]), GOOD, 0.0);
    assert_eq!(to(&canary), format!("{GOOD} 90, {BAD} 10 -> {GOOD} 100"));

    // Either of the two that serve will do.
    let both = serving(serving(third(&[(OLD, 60), (GOOD, 30), (BAD, 10)]), GOOD, 0.0), OLD, 0.0);
    let moved = to(&both);
    let (before, after) = moved.split_once(" -> ").unwrap();
    assert_eq!(before, format!("{OLD} 60, {GOOD} 30, {BAD} 10"));
    let either = [format!("{OLD} 60, {GOOD} 40"), format!("{OLD} 70, {GOOD} 30")];
    assert!(either.contains(&after.to_owned()), "{after}");

    // Of two that serve, the one in quarantine is no target.
    let blocked = both.rolled_back("0.before", OLD, "k-back-00039-rst", 2 * DAY);
    assert_eq!(to(&blocked), format!("{OLD} 60, {GOOD} 30, {BAD} 10 -> {OLD} 60, {GOOD} 40"));

    // The healthy one that serves, not a newer one at 0 %.
    let beside = serving(third(&[(OLD, 90), (BAD, 10)]), OLD, 0.0);
    assert_eq!(to(&beside), format!("{OLD} 90, {BAD} 10 -> {OLD} 100"));
    let dark = third(&[(OLD, 90), (BAD, 10)]).dark(None);
    assert_eq!(to(&dark), format!("{OLD} 90, {BAD} 10 -> {OLD} 100"));

    // A newer revision that serves keeps its share and is no target.
    let newer = "k-back-00043-def";
    let world = third(&[(BAD, 50), (newer, 50)]).revision(newer, 15).served(newer, 15, 0, 60.0, 0.0);
    assert_eq!(to(&world), format!("{BAD} 50, {newer} 50 -> {GOOD} 50, {newer} 50"));

    let all = third(&[(BAD, 100)]);
    assert_eq!(to(&all), format!("{BAD} 100 -> {GOOD} 100"));
}

#[test]
fn a_plan_is_gradual_where_the_policy_says_so_the_incident_allows_it_and_somebody_calls_back() {
    let gradual = |world: World| world.rules(|rules| rules.strategy = Strategy::Gradual);
    let first = |world: World| {
        let plan = world.decide().plan.unwrap();
        let to: Vec<String> =
            plan.to.iter().map(|share| format!("{} {}", share.revision, share.percent)).collect();
        format!("{}: {}", plan.step, to.join(", "))
    };
    let mut alone = gradual(World::outage());
    alone.comes_back = false;
    let all = format!("100: {GOOD} 100");
    assert_eq!(first(World::outage()), all);
    assert_eq!(first(gradual(World::outage())), format!("10: {GOOD} 10, {BAD} 90"));
    assert_eq!(first(alone), all, "without a queue");
    assert_eq!(first(gradual(World::outage()).wish("critical")), all);
    assert_eq!(first(gradual(World::outage()).dark(None)), format!("10: {GOOD} 10, {BAD} 90"));
    let canary = gradual(World::outage()).traffic(&[(GOOD, 99), (BAD, 1)]);
    assert_eq!(first(canary), all, "one percent is one step");
}
