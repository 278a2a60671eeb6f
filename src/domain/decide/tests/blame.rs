//! Gates `culprit`, `deployed_recently` and `caused_by_it`: who is to blame, and whether a deploy is.

use std::time::Duration;

use crate::domain::record::Phase;

use super::check;
use super::world::{BAD, DAY, GOOD, HOUR, OLD, World, ago};

const BACK: &str = "rollback confirmed to k-back-00041-xyz";
const BACK_TO_OLD: &str = "rollback confirmed to k-back-00040-uvw";
const OUTAGE: &str = "notify dependency_outage at caused_by_it";

/// A canary beside the healthy revision, and an alert that names no revision.
fn canary(errors: f64, of_good: f64) -> World {
    World::deploy()
        .unnamed()
        .traffic(&[(GOOD, 90), (BAD, 10)])
        .served(BAD, 20, 0, 60.0, errors)
        .served(GOOD, 3 * DAY, 20, 600.0, 0.001)
        .served(GOOD, 20, 0, 540.0, of_good)
}

#[test]
fn the_culprit_takes_traffic_by_the_status() {
    let status = |percents: &[(&str, u8)]| {
        let mut world = World::outage();
        world.service.status_traffic = World::outage().traffic(percents).service.status_traffic;
        world
    };
    let gone = "ignore culprit_not_serving at culprit";
    check([
        ("named", World::outage(), BACK),
        ("the only one", World::outage().unnamed(), BACK),
        ("the spec says so, the status does not", status(&[(GOOD, 100)]), gone),
        ("it only carries a tag", World::outage().traffic(&[(GOOD, 100), (BAD, 0)]), gone),
        ("nothing serves", World::outage().traffic(&[]), gone),
        ("nothing serves and nothing is named", World::outage().traffic(&[]).unnamed(), gone),
        ("a revision that does not exist", World::outage().named("k-back-00099-zzz"), gone),
    ]);
}

/// Somebody is taking traffic from the culprit, and the status lags. No deploy is in flight.
#[test]
fn what_people_have_begun_is_never_undone() {
    let wanted = |percents: &[(&str, u8)]| {
        let mut world = World::outage();
        world.service.spec_traffic = World::outage().traffic(percents).service.spec_traffic;
        world
    };
    let published = |mut world: World, minutes| {
        world.published_at = Some(ago(minutes));
        world
    };
    check([
        ("all of it", wanted(&[(GOOD, 100)]), "wait deploy_in_progress at culprit"),
        (
            "all of it, and for minutes the status does not follow",
            published(wanted(&[(GOOD, 100)]), 6),
            "notify deploy_in_progress at culprit",
        ),
        ("a part", wanted(&[(GOOD, 80), (BAD, 20)]), BACK),
        ("they gave it more", wanted(&[(BAD, 100)]), BACK),
    ]);
}

#[test]
fn of_several_the_evidence_convicts_one() {
    let silent = World::deploy().unnamed().traffic(&[(GOOD, 90), (BAD, 10)]);
    check([
        ("the canary", canary(0.4, 0.001), BACK),
        (
            "the other has no requests in the window",
            silent.clone().served(BAD, 20, 0, 60.0, 0.4).served(GOOD, 3 * DAY, 20, 60.0, 0.0),
            BACK,
        ),
        ("none", canary(0.0, 0.0), "ignore healthy at failing"),
        ("all", canary(0.4, 0.4), "notify dependency_outage at culprit"),
        ("in the dark", canary(0.4, 0.0).dark(None), "notify ambiguous_culprit at culprit"),
        ("Monitoring has nothing of either", silent, "notify ambiguous_culprit at culprit"),
        (
            "in the dark, but named",
            canary(0.4, 0.0).dark(None).named(BAD),
            "rollback unconfirmed to k-back-00041-xyz",
        ),
    ]);
}

#[test]
fn two_failing_of_three_is_more_than_one_deploy() {
    let world = |good: f64, old: f64| {
        World::new()
            .revision(OLD, 5 * DAY)
            .revision(GOOD, 3 * DAY)
            .revision(BAD, 20)
            .traffic(&[(OLD, 40), (GOOD, 40), (BAD, 20)])
            .served(OLD, 5 * DAY, 20, 60.0, 0.0)
            .served(GOOD, 3 * DAY, 20, 60.0, 0.0)
            .served(OLD, 20, 0, 60.0, old)
            .served(GOOD, 20, 0, 60.0, good)
            .served(BAD, 20, 0, 60.0, 0.4)
    };
    check([
        ("the two newest", world(0.4, 0.0), OUTAGE),
        ("the two newest, one named", world(0.4, 0.0).named(BAD), OUTAGE),
        ("the newest and the oldest, one named", world(0.0, 0.4).named(BAD), OUTAGE),
        ("all three, one named", world(0.4, 0.4).named(BAD), OUTAGE),
        ("all three", world(0.4, 0.4), "notify dependency_outage at culprit"),
    ]);
}

#[test]
fn a_deploy_is_blamed_for_as_long_as_deploy_window() {
    let hours = |count: u64| Duration::from_secs(count * 3_600);
    let old = "notify not_deploy_related at deployed_recently";
    // The incident began four minutes ago.
    let began = |minutes: i64| {
        World::new()
            .revision(GOOD, 9 * DAY)
            .revision(BAD, 4 * DAY)
            .traffic(&[(BAD, 100)])
            .named(BAD)
            .rules(|rules| rules.deploy_window = hours(2))
            .served(GOOD, 9 * DAY, minutes, 60.0, 0.001)
            .served(BAD, minutes, 0, 60.0, 0.4)
    };
    let created = |minutes: i64| {
        World::new().revision(GOOD, 9 * DAY).revision(BAD, minutes).traffic(&[(BAD, 100)]).named(BAD)
    };
    let unknown_start = |world: World| world.alert(|alert| alert.started_at = None);
    check([
        ("exactly the window before the incident", began(124), BACK),
        ("a minute more", began(125), old),
        ("in the minute of the incident", began(4).rules(|rules| rules.min_requests = 20), BACK),
        ("after the incident had begun", began(20).alert(|alert| alert.started_at = Some(ago(21))), old),
        ("nobody knows when it began: two hours before now", unknown_start(began(120)), BACK),
        ("nobody knows when it began: a minute more", unknown_start(began(121)), old),
        (
            "in the dark the creation counts",
            created(24 * HOUR + 4).dark(None),
            "rollback unconfirmed to k-back-00041-xyz",
        ),
        ("in the dark, created a minute earlier", created(24 * HOUR + 5).dark(None), old),
        ("in the dark, created after the incident", created(3).dark(None), old),
        (
            "probes on a tag, days before, are no traffic",
            began(20).served(BAD, 3 * DAY, 3 * DAY - 10, 0.5, 0.0),
            BACK,
        ),
    ]);
}

#[test]
fn an_incident_in_the_future_began_now() {
    let world = World::outage().alert(|alert| alert.started_at = Some(ago(-3 * DAY)));
    check([("the clocks differ", world, BACK)]);
}

#[test]
fn the_revision_before_is_compared() {
    let before = |errors: f64| {
        World::deploy()
            .served(BAD, 20, 0, 60.0, 0.4)
            .served(GOOD, 3 * DAY, 30, 60.0, 0.001)
            .served(GOOD, 30, 20, 60.0, errors)
    };
    let three = || {
        World::new()
            .revision(OLD, 5 * DAY)
            .revision(GOOD, 2 * HOUR)
            .revision(BAD, 20)
            .traffic(&[(BAD, 100)])
            .named(BAD)
    };
    let four = || three().revision("k-back-00039-rst", 9 * DAY);
    check([
        ("healthy", before(0.0), BACK),
        ("failing as badly", before(0.4), OUTAGE),
        ("failing far less is something else", before(0.08).served(GOOD, 60, 30, 600.0, 0.0), BACK),
        (
            "in the dark nothing can be compared",
            before(0.4).dark(None),
            "rollback unconfirmed to k-back-00041-xyz",
        ),
        (
            "another bad deploy",
            three().served(BAD, 20, 0, 60.0, 0.4).served(GOOD, 120, 20, 60.0, 0.5).served(
                OLD,
                5 * DAY,
                120,
                60.0,
                0.0,
            ),
            BACK_TO_OLD,
        ),
        (
            "two other bad deploys",
            four()
                .served(BAD, 20, 0, 60.0, 0.4)
                .served(GOOD, 120, 20, 60.0, 0.5)
                .served(OLD, DAY, 120, 60.0, 0.5)
                .served("k-back-00039-rst", 6 * DAY, DAY, 60.0, 0.0),
            "rollback confirmed to k-back-00039-rst",
        ),
        (
            "a deploy in the middle of an outage was not its cause, nor is the next one",
            three()
                .served(BAD, 20, 0, 60.0, 0.4)
                .served(GOOD, 120, 20, 60.0, 0.4)
                .served(OLD, 5 * DAY, 150, 60.0, 0.0)
                .served(OLD, 150, 120, 60.0, 0.4),
            OUTAGE,
        ),
    ]);
}

#[test]
fn a_pipelines_probes_are_not_a_bad_deploys_first_minutes() {
    // 41 was probed on its tag before it took traffic, and failed from the first minute of that.
    let world = World::new()
        .revision(OLD, 5 * DAY)
        .revision(GOOD, 2 * HOUR)
        .revision(BAD, 20)
        .traffic(&[(BAD, 100)])
        .named(BAD)
        .served(GOOD, 118, 113, 1.0, 0.0)
        .served(GOOD, 110, 20, 600.0, 0.5)
        .served(OLD, 5 * DAY, 110, 600.0, 0.0)
        .served(BAD, 20, 0, 600.0, 0.4);
    check([("another bad deploy", world, BACK_TO_OLD)]);
}

#[test]
fn what_began_between_the_canary_and_the_take_over_was_not_brought_by_the_deploy() {
    // 42 was a healthy canary for two hours. A dependency fails since half an hour; 42 got all traffic 20 minutes ago.
    let world = World::new()
        .revision(OLD, 9 * DAY)
        .revision(GOOD, 3 * DAY)
        .revision(BAD, 3 * HOUR)
        .traffic(&[(BAD, 100)])
        .named(BAD)
        .served(OLD, 9 * DAY, 3 * DAY, 600.0, 0.0)
        .served(GOOD, 3 * DAY, 140, 600.0, 0.0)
        .served(GOOD, 140, 30, 540.0, 0.0)
        .served(GOOD, 30, 20, 540.0, 0.4)
        .served(BAD, 140, 30, 60.0, 0.0)
        .served(BAD, 30, 20, 60.0, 0.4)
        .served(BAD, 20, 0, 600.0, 0.4);
    check([("both fail since half an hour", world, OUTAGE)]);
}

#[test]
fn a_few_failures_of_the_one_before_hold_back_where_traffic_is_low() {
    let quiet = |rpm: f64, before: f64| {
        World::deploy()
            .served(BAD, 20, 0, 6.0, 0.6)
            .served(GOOD, 3 * DAY, 30, rpm, 0.0)
            .served(GOOD, 30, 20, rpm, before)
            .rules(|rules| rules.critical = 1.0)
    };
    check([
        ("ten requests in the last ten minutes, all failed", quiet(1.0, 1.0), OUTAGE),
        ("ten requests in the last ten minutes, none failed", quiet(1.0, 0.0), BACK),
    ]);
}

#[test]
fn errors_at_a_fraction_of_the_culprits_rate_are_not_the_same_failure() {
    let beside = |errors: f64| canary(0.9, errors).named(BAD).rules(|rules| rules.critical = 1.0);
    check([
        // It fails too, and so it is no target: people have to look.
        ("a neighbour with 7 %", beside(0.07), "notify no_candidate at target"),
        ("a neighbour with 80 %", beside(0.8), OUTAGE),
    ]);
}

#[test]
fn a_culprit_that_was_rolled_back_in_vain_is_not_blamed_again() {
    let undone = |phase: Phase| {
        World::outage()
            .rolled_back("0.first", BAD, GOOD, 45)
            .record(|record| {
                record.rollbacks[0].phase = phase;
                record.quarantine.clear();
            })
            .incident("0.second")
    };
    let stopped = "notify dependency_outage at caused_by_it";
    check([
        ("the split was put back", undone(Phase::Restored), stopped),
        ("it is being put back", undone(Phase::Restoring), stopped),
        ("also in the dark", undone(Phase::Restored).dark(None), stopped),
        ("it was only not helped", undone(Phase::NotHelped), "rollback confirmed to k-back-00041-xyz"),
    ]);
}
