//! Gates `open`, `guarded`, `new` and `settled`: what needs no look at the evidence.

use chrono::TimeDelta;

use crate::domain::alert::IncidentState;
use crate::domain::decide::Answer;
use crate::domain::decision::Outcome;
use crate::domain::policy::Mode;
use crate::domain::record::Phase;

use super::check;
use super::world::{BAD, DAY, GOOD, OLD, World, name, now};

fn state(word: &str) -> World {
    World::outage().alert(|alert| alert.state = IncidentState::Unknown(word.into()))
}

fn test_notification() -> World {
    World::outage().alert(|alert| alert.is_test = true)
}

/// An alert whose condition aggregated the labels away, except these, and whose policy carries those.
fn labels(kind: &str, kept: &[(&str, &str)], of_policy: &[(&str, &str)]) -> World {
    let text =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    World::outage().alert(|alert| {
        alert.resource_type = kind.into();
        alert.resource_labels = text(kept);
        alert.policy_labels = text(of_policy);
    })
}

#[test]
fn only_an_open_incident_goes_on() {
    check([
        ("a test notification", test_notification(), "notify test_notification at open"),
        (
            "a test notification says closed",
            test_notification().alert(|alert| alert.state = IncidentState::Closed),
            "notify test_notification at open",
        ),
        ("a state of the future", state("acknowledged"), "ignore unknown_state at open"),
        ("no state", state(""), "ignore unknown_state at open"),
    ]);
}

#[test]
fn nothing_is_read_before_it_matters() {
    let decided = |world: &World, knows: bool| match world.answer(knows, false) {
        Answer::Decided(decision) => World::verdict(&decision),
        asks => format!("{asks:?}"),
    };
    for world in [state(""), test_notification(), labels("gce_instance", &[], &[])] {
        assert!(!decided(&world, false).contains("Read"), "no call for {}", decided(&world, false));
    }
    let world = World::outage();
    assert_eq!(world.answer(false, false), Answer::ReadService(name("asia-northeast1", "k-back")));
    assert_eq!(world.answer(false, true), Answer::ReadService(name("asia-northeast1", "k-back")));
    assert_eq!(world.answer(true, false), Answer::ReadHistory);
    assert_eq!(decided(&world.clone().in_flight(), true), "wait deploy_in_progress at settled");
    assert_eq!(
        decided(&world.rolled_back("0.incident", BAD, GOOD, 2), true),
        "ignore already_handled at new"
    );
}

const BY_POLICY: &[(&str, &str)] = &[("runback_service", "k-back"), ("runback_location", "asia-northeast1")];
const ELSEWHERE: &[(&str, &str)] =
    &[("runback_project", "other"), ("runback_service", "billing"), ("runback_location", "us-central1")];

#[test]
fn the_service_is_named_by_the_resource_or_else_by_the_policy_or_else_by_the_scoping_project() {
    let run = "cloud_run_revision";
    let all = [("project_id", "demo-project"), ("location", "asia-northeast1"), ("service_name", "k-back")];
    let ok = "rollback confirmed to k-back-00041-xyz";
    let other_scope = |world: World| world.alert(|alert| alert.scoping_project = Some("monitoring".into()));
    let listed =
        |world: World| other_scope(world).rules(|rules| rules.alert_projects = vec!["monitoring".into()]);
    let no_scope = |world: World| world.alert(|alert| alert.scoping_project = None);
    let named = [BY_POLICY, &[("runback_project", "demo-project")]].concat();
    check([
        ("all by the resource", labels(run, &all, &[]), ok),
        ("the resource outranks the policy", labels(run, &all, ELSEWHERE), ok),
        ("the resource outranks the scoping project", listed(labels(run, &all, &[])), ok),
        ("the policy and the scoping project", labels(run, &[], BY_POLICY), ok),
        ("the policy outranks the scoping project", listed(labels(run, &[], &named)), ok),
        ("half by the resource, half by the policy", labels(run, &all[2..], BY_POLICY), ok),
        ("no resource at all", labels("", &[], BY_POLICY), ok),
        ("an uptime check", labels("uptime_url", &[("host", "k-back.run.app")], BY_POLICY), ok),
        ("nothing names the service", labels(run, &all[..2], &[]), "notify unresolved_service at guarded"),
        ("no label is left", labels(run, &[], &[]), "notify unresolved_service at guarded"),
        (
            "nothing names the project, and the policy lists one service of that name and region",
            no_scope(labels(run, &[], BY_POLICY)),
            ok,
        ),
        (
            "the project is another one",
            other_scope(labels(run, &[], BY_POLICY)),
            "ignore not_guarded at guarded",
        ),
        ("another service", labels(run, &[], ELSEWHERE), "ignore not_guarded at guarded"),
        (
            "a machine",
            labels("gce_instance", &[("project_id", "demo-project")], &[]),
            "ignore not_guarded at guarded",
        ),
        (
            "another kind of resource whose labels have the same names",
            labels("aws_ecs_service", &all, &[]),
            "ignore not_guarded at guarded",
        ),
    ]);
}

/// Whoever may write alert policies in a project can name any service in them.
#[test]
fn an_alert_of_another_project_only_explains_unless_that_project_is_listed() {
    let run = "cloud_run_revision";
    let all = [("project_id", "demo-project"), ("location", "asia-northeast1"), ("service_name", "k-back")];
    let named = [BY_POLICY, &[("runback_project", "demo-project")]].concat();
    let scope = |world: World| world.alert(|alert| alert.scoping_project = Some("monitoring".into()));
    let lists = |world: World, project: &'static str| {
        scope(world).rules(move |rules| rules.alert_projects = vec![project.to_owned()])
    };
    let explained = "notify explain_only at failing";
    let ok = "rollback confirmed to k-back-00041-xyz";
    check([
        ("by the policy's labels", scope(labels(run, &[], &named)), explained),
        ("by the resource's labels, which a query can set", scope(labels(run, &all, &[])), explained),
        ("that it is critical helps nothing", scope(labels(run, &all, &[]).wish("critical")), explained),
        ("in the dark", scope(labels(run, &all, &[])).dark(None), explained),
        ("another project is listed", lists(labels(run, &[], &named), "other"), explained),
        ("it is listed", lists(labels(run, &[], &named), "monitoring"), ok),
    ]);
    let why = scope(labels(run, &[], &named)).decide().to_string();
    assert!(why.contains("the project monitoring") && why.contains("`alert_projects`"), "{why}");
}

#[test]
fn a_name_is_enough_where_one_guarded_service_has_it() {
    let run = "cloud_run_revision";
    let called = |region: &str, service: &str| {
        let mut world = labels(run, &[("service_name", "k-back")], &[]);
        let rules = world.policy.services.values().next().cloned().unwrap();
        world.policy.services.insert(name(region, service), rules);
        world
    };
    let pinned = |labels: World, pinned: &[(&str, &str)]| {
        let pinned = pinned.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        labels.alert(|alert| alert.condition.labels = pinned)
    };
    let of_a_query =
        |kind: &str| labels(kind, &[], &[]).alert(|alert| alert.condition.queries_cloud_run = true);
    let ok = "rollback confirmed to k-back-00041-xyz";
    let unresolved = "notify unresolved_service at guarded";
    check([
        ("the only one", called("asia-northeast1", "k-front"), ok),
        ("by the policy's user label", labels(run, &[], &[("runback_service", "k-back")]), ok),
        ("one in each of two regions", called("us-east1", "k-back"), unresolved),
        ("a name that nobody guards", labels(run, &[("service_name", "k-other")], &[]), unresolved),
        (
            "the condition names service and region",
            pinned(labels(run, &[], &[]), &[("service_name", "k-back"), ("location", "asia-northeast1")]),
            ok,
        ),
        (
            "the condition names the service, the series its region",
            pinned(labels(run, &[("location", "asia-northeast1")], &[]), &[("service_name", "k-back")]),
            ok,
        ),
        (
            "a label outweighs the condition",
            pinned(
                labels(run, &[("location", "asia-northeast1"), ("service_name", "k-back")], &[]),
                &[("service_name", "k-front"), ("location", "us-east1")],
            ),
            ok,
        ),
        (
            "the condition filters by the name alone, in all regions",
            pinned(labels(run, &[], &[]), &[("service_name", "k-back")]),
            unresolved,
        ),
        (
            "the condition of another kind of resource",
            pinned(
                labels("k8s_cluster", &[("location", "asia-northeast1")], &[]),
                &[("service_name", "k-back")],
            ),
            "ignore not_guarded at guarded",
        ),
        ("a query on a Cloud Run metric without a resource", of_a_query("prometheus_target"), unresolved),
        ("on a Cloud Run metric, of another kind", of_a_query("global"), unresolved),
    ]);
}

#[test]
fn an_empty_label_names_nothing() {
    let empty = [("project_id", ""), ("location", ""), ("service_name", ""), ("revision_name", "")];
    let world = labels("cloud_run_revision", &empty, BY_POLICY);
    check([("all are empty", world, "rollback confirmed to k-back-00041-xyz")]);
}

#[test]
fn a_closed_incident_that_we_acted_on_has_recovered_when_the_evidence_agrees() {
    let closed = |world: World| world.alert(|alert| alert.state = IncidentState::Closed);
    let acted = || {
        let world = World::deploy().served(BAD, 20, 8, 60.0, 0.4).served(GOOD, 3 * DAY, 20, 60.0, 0.001);
        world.traffic(&[(GOOD, 100)]).rolled_back("0.incident", BAD, GOOD, 8)
    };
    let healthy = || closed(acted().served(GOOD, 8, 0, 60.0, 0.0));
    let ignored = "ignore closed at open";
    let phase = |phase: Phase| healthy().record(|record| record.rollbacks[0].phase = phase);
    check([
        ("healthy since the switch", healthy(), "notify recovered at open"),
        ("the switch has not been reported yet", phase(Phase::Switching), "notify recovered at open"),
        ("recovery has been told", phase(Phase::Other("recovered".into())), ignored),
        ("another incident", healthy().incident("0.other"), ignored),
        (
            "no incident",
            healthy().incident("").record(|record| record.rollbacks[0].incident = String::new()),
            ignored,
        ),
        ("the target fails", closed(acted().served(GOOD, 8, 0, 60.0, 0.4)), ignored),
        ("too few requests to tell", closed(acted().served(GOOD, 8, 0, 2.0, 0.0)), ignored),
        ("half of the requests stay with the culprit", healthy().served(BAD, 8, 0, 60.0, 0.4), ignored),
        ("no requests", closed(acted()), ignored),
        ("in the dark", healthy().dark(None), ignored),
        ("somebody has moved the traffic back", healthy().traffic(&[(BAD, 100)]), ignored),
        ("we did nothing", closed(World::outage()), ignored),
    ]);
    let decided = |world: &World| match world.answer(true, false) {
        Answer::Decided(decision) => World::verdict(&decision),
        asks => format!("{asks:?}"),
    };
    assert_eq!(decided(&closed(World::outage())), ignored, "no history is read for what we did not do");
}

/// A rollback that nobody has reported yet.
fn unfinished() -> World {
    World::outage()
        .rolled_back("0.incident", BAD, GOOD, 1)
        .record(|record| record.rollbacks[0].phase = Phase::Switching)
}

#[test]
fn what_the_record_knows_is_not_done_again() {
    let arrived = || unfinished().traffic(&[(GOOD, 100)]);
    let mut lagging = unfinished();
    lagging.service.spec_traffic = arrived().service.spec_traffic;
    let mut told = arrived();
    told.told = true;
    let mut unreadable = World::outage();
    unreadable.record = Err("version 2".into());
    let later =
        |phase: &str| arrived().record(|record| record.rollbacks[0].phase = Phase::Other(phase.into()));
    check([
        ("nobody has reported it", arrived(), "resume critical to k-back-00041-xyz at new"),
        (
            "the status lags, and another incident names the culprit",
            lagging.incident("0.b"),
            "resume critical to k-back-00041-xyz at new",
        ),
        (
            "somebody has put the culprit back before it was reported, and it fails again later",
            World::outage()
                .rolled_back("0.incident", BAD, GOOD, 45)
                .record(|record| record.rollbacks[0].phase = Phase::Switching)
                .incident("0.b"),
            "rollback confirmed to k-back-00041-xyz",
        ),
        (
            "resumed while the switch is in flight",
            unfinished().in_flight(),
            "resume critical to k-back-00041-xyz at new",
        ),
        ("this process has told it", told, "ignore already_handled at new"),
        ("a phase of a later version", later("watched"), "ignore already_handled at new"),
        (
            "an older rollback's incident",
            World::outage().rolled_back("0.incident", OLD, GOOD, 90).rolled_back("0.b", BAD, GOOD, 40),
            "ignore already_handled at new",
        ),
        (
            "other incidents are no obstacle",
            World::outage().rolled_back("0.b", OLD, GOOD, 90),
            "rollback confirmed to k-back-00041-xyz",
        ),
        (
            "two incidents without a name are not the same",
            World::outage().rolled_back("", OLD, GOOD, 90).incident(""),
            "rollback confirmed to k-back-00041-xyz",
        ),
        ("a record of a later version", unreadable, "notify unreadable_record at new"),
    ]);
}

#[test]
fn a_deploy_in_flight_gets_five_minutes_from_the_publishing_of_the_message() {
    let published = |seconds: i64| {
        let mut world = World::outage().in_flight();
        world.published_at = Some(now() - TimeDelta::seconds(seconds));
        world
    };
    let mut unknown = World::outage().in_flight().alert(|alert| alert.started_at = None);
    unknown.published_at = None;
    check([
        ("just now", published(0), "wait deploy_in_progress at settled"),
        ("the clocks differ", published(-20), "wait deploy_in_progress at settled"),
        ("a second less than five minutes", published(299), "wait deploy_in_progress at settled"),
        ("five minutes", published(300), "notify deploy_in_progress at settled"),
        ("a day", published(DAY * 60), "notify deploy_in_progress at settled"),
        ("nobody knows since when", unknown, "wait deploy_in_progress at settled"),
    ]);
}

/// A tenth of the culprit's traffic has moved, and people know.
fn under_way() -> World {
    let mut world = World::outage().traffic(&[(BAD, 90), (GOOD, 10)]).rolled_back("0.first", BAD, GOOD, 2);
    world.told = true;
    world.record(|record| {
        record.rollbacks[0].step = 10;
        record.rollbacks[0].phase = Phase::Switching;
        record.rollbacks[0].reason = "confirmed".into();
    })
}

#[test]
fn a_gradual_rollback_that_is_under_way_takes_its_time_unless_its_culprit_becomes_critical() {
    let critical = || under_way().wish("critical");
    let hastened = |world: World| match world.decide().outcome {
        Outcome::Hasten(rollback) => (rollback.reason.clone(), rollback.why.clone().unwrap()),
        outcome => panic!("{outcome:?}"),
    };
    let mut untold = critical();
    untold.told = false;
    let waits = "ignore already_handled at new";
    check([
        ("another alert on the culprit", under_way(), waits),
        ("another alert on no revision", under_way().unnamed(), waits),
        ("a critical one", critical(), "rollback critical at new"),
        ("a critical one on no revision", critical().unnamed(), "rollback critical at new"),
        ("its own alert again", critical().incident("0.first"), waits),
        ("in the dark", critical().dark(None), waits),
        ("the policy observes by now", critical().rules(|rules| rules.mode = Mode::Observe), waits),
        ("people do not know of it yet", untold, "resume confirmed to k-back-00041-xyz at new"),
        (
            "somebody else has moved the traffic",
            critical().traffic(&[(BAD, 100)]),
            "notify cooldown at allowed",
        ),
        ("an alert on the target", under_way().named(GOOD), "notify no_data at failing"),
    ]);
    let (reason, why) = hastened(critical());
    assert!(reason == "critical" && why.contains("critical by another alert"), "{reason}: {why}");
    assert_eq!(under_way().answer(true, false), Answer::ReadHistory);
}

#[test]
fn a_closed_incident_ends_no_rollback_that_is_under_way() {
    let closed = under_way().incident("0.first").alert(|alert| alert.state = IncidentState::Closed);
    check([("in the middle of it", closed.served(GOOD, 2, 0, 600.0, 0.0), "ignore closed at open")]);
}
