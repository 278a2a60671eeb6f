//! The situations of the users' handbook, whole.

use crate::domain::alert::{IncidentState, Signal};
use crate::domain::policy::Mode;

use super::check;
use super::world::{BAD, DAY, GOOD, HOUR, OLD, World, name};

#[test]
fn a_failing_deploy_goes_back_to_the_revision_that_was_healthy_before() {
    check([
        ("40 % fail", World::outage(), "rollback confirmed to k-back-00041-xyz"),
        (
            "80 % fail",
            World::deploy().served(BAD, 20, 0, 60.0, 0.8).served(GOOD, 3 * DAY, 20, 60.0, 0.001),
            "rollback critical to k-back-00041-xyz",
        ),
        ("Monitoring is down", World::outage().dark(None), "rollback unconfirmed to k-back-00041-xyz"),
        (
            "a quarter of the requests is slow",
            World::deploy().signal(Signal::Latency).requests(BAD, (20, 0), 60.0, 0.0, 0.25).served(
                GOOD,
                3 * DAY,
                20,
                60.0,
                0.001,
            ),
            "rollback confirmed to k-back-00041-xyz",
        ),
        (
            "deployed three days ago without traffic, promoted 15 minutes ago",
            World::new()
                .revision(GOOD, 9 * DAY)
                .revision(BAD, 3 * DAY)
                .traffic(&[(BAD, 100)])
                .named(BAD)
                .served(BAD, 15, 0, 60.0, 0.4)
                .served(GOOD, 9 * DAY, 15, 60.0, 0.001),
            "rollback confirmed to k-back-00041-xyz",
        ),
        (
            "the revision before was another bad deploy",
            World::new()
                .revision(OLD, 5 * DAY)
                .revision(GOOD, 2 * HOUR)
                .revision(BAD, 20)
                .traffic(&[(BAD, 100)])
                .named(BAD)
                .served(BAD, 20, 0, 60.0, 0.4)
                .served(GOOD, 2 * HOUR, 20, 60.0, 0.5)
                .served(OLD, 5 * DAY, 2 * HOUR, 60.0, 0.001),
            "rollback confirmed to k-back-00040-uvw",
        ),
        (
            "an uptime alert whose policy vouches for it",
            World::deploy().signal(Signal::Other).wish("rollback").served(BAD, 20, 0, 60.0, 0.01).served(
                GOOD,
                3 * DAY,
                20,
                60.0,
                0.001,
            ),
            "rollback confirmed to k-back-00041-xyz",
        ),
    ]);
}

#[test]
fn what_the_deploy_did_not_bring_is_left_to_people() {
    check([
        (
            "the revision before failed as badly in its last half hour",
            World::deploy()
                .served(BAD, 20, 0, 60.0, 0.4)
                .served(GOOD, 3 * DAY, 50, 60.0, 0.001)
                .served(GOOD, 50, 20, 60.0, 0.4),
            "notify dependency_outage at caused_by_it",
        ),
        (
            "both revisions of a split fail the same way",
            World::deploy()
                .traffic(&[(BAD, 50), (GOOD, 50)])
                .served(BAD, 20, 0, 60.0, 0.4)
                .served(GOOD, 3 * DAY, 20, 60.0, 0.001)
                .served(GOOD, 20, 0, 60.0, 0.4),
            "notify dependency_outage at caused_by_it",
        ),
        (
            "it served well for five days and fails since twelve minutes",
            World::new()
                .revision(GOOD, 9 * DAY)
                .revision(BAD, 5 * DAY)
                .traffic(&[(BAD, 100)])
                .named(BAD)
                .served(BAD, 5 * DAY, 12, 60.0, 0.001)
                .served(BAD, 12, 0, 60.0, 0.4)
                .served(GOOD, 9 * DAY, 5 * DAY, 60.0, 0.001),
            "notify not_deploy_related at deployed_recently",
        ),
        (
            "the only older revision never became ready",
            World::deploy().served(BAD, 20, 0, 60.0, 0.4).change(GOOD, |revision| revision.ready = false),
            "notify no_candidate at target",
        ),
        (
            "the schemas differ",
            World::outage()
                .change(BAD, |revision| revision.schema = Some("7".into()))
                .change(GOOD, |revision| revision.schema = Some("6".into())),
            "notify schema_fence at schema",
        ),
        (
            "observe mode",
            World::outage().rules(|rules| rules.mode = Mode::Observe),
            "notify observe_mode at enforce",
        ),
    ]);
}

#[test]
fn what_is_no_failure_is_only_logged() {
    let closed = World::outage().alert(|alert| alert.state = IncidentState::Closed);
    let quiet = World::deploy().served(GOOD, 3 * DAY, 20, 60.0, 0.001);
    check([
        ("closed", closed, "ignore closed at open"),
        ("1 % fail", quiet.clone().served(BAD, 20, 0, 60.0, 0.01), "ignore healthy at failing"),
        (
            "five requests, one failed",
            quiet.clone().served(BAD, 20, 0, 0.5, 0.2),
            "ignore inconclusive at failing",
        ),
        (
            "one minute was all errors",
            quiet.served(BAD, 20, 4, 60.0, 0.0).served(BAD, 4, 3, 60.0, 1.0).served(BAD, 3, 0, 60.0, 0.0),
            "ignore inconclusive at failing",
        ),
        (
            "the alert names a retired revision",
            World::outage().named(GOOD),
            "ignore culprit_not_serving at culprit",
        ),
    ]);
}

#[test]
fn one_incident_moves_traffic_once() {
    // What the service looks like once the rollback has arrived.
    let after = World::outage().traffic(&[(GOOD, 100)]).rolled_back("0.incident", BAD, GOOD, 2);
    let again = |world: &World, minutes: i64| {
        let mut world = world.clone().traffic(&[(BAD, 100)]);
        let record = world.record.as_mut().unwrap();
        record.rollbacks[0].at = super::world::ago(minutes);
        world.incident("0.later")
    };
    check([
        ("the same message again", after.clone(), "ignore already_handled at new"),
        (
            "again, in the dark, and no revision is named",
            after.clone().dark(None).unnamed(),
            "ignore already_handled at new",
        ),
        (
            "the second incident of the outage",
            after.clone().incident("0.code503"),
            "ignore already_handled at new",
        ),
        (
            "a person has put the culprit back, and it fails again",
            again(&after, 31),
            "rollback confirmed to k-back-00041-xyz",
        ),
        ("it was put back within the cooldown", again(&after, 29), "notify cooldown at allowed"),
        (
            "it was put back and the old message comes once more",
            again(&after, 31).incident("0.incident"),
            "ignore already_handled at new",
        ),
        (
            "the second incident names no revision, and the target is healthy",
            after.clone().served(GOOD, 2, 0, 60.0, 0.0).incident("0.code503").unnamed(),
            "ignore already_handled at new",
        ),
    ]);
    let dark = after.dark(None).unnamed().incident("0.code503").decide();
    assert_ne!(
        dark.outcome.word(),
        "rollback",
        "another incident in the dark must not go back twice\n{dark}"
    );
}

#[test]
fn a_namesake_in_another_region_is_another_service() {
    let moved = |world: World| {
        world.alert(|alert| {
            alert.resource_labels.insert("location".into(), "us-central1".into());
        })
    };
    check([("only the other region is listed", moved(World::outage()), "ignore not_guarded at guarded")]);

    let mut both = moved(World::outage());
    let rules = both.policy.services.values().next().unwrap().clone();
    both.policy.services.insert(name("us-central1", "k-back"), rules);
    let asked = both.answer(false, false);
    assert_eq!(asked, crate::domain::decide::Answer::ReadService(name("us-central1", "k-back")));
}
