//! Gate `failing`: what counts as a failure, on which axis, and how bad it is.

use crate::domain::alert::Signal;
use crate::domain::decide::Round;

use super::check;
use super::world::{BAD, DAY, GOOD, HOUR, World, ago};

const BACK: &str = "rollback confirmed to k-back-00041-xyz";

/// The culprit's share of errors at a rate; 41 was healthy.
fn failing(errors: f64, rpm: f64) -> World {
    World::deploy().served(BAD, 20, 0, rpm, errors).served(GOOD, 3 * DAY, 20, 60.0, 0.001)
}

fn slow(share: f64) -> World {
    World::deploy().signal(Signal::Latency).requests(BAD, (20, 0), 60.0, 0.0, share).served(
        GOOD,
        3 * DAY,
        20,
        60.0,
        0.001,
    )
}

#[test]
fn confirmed_healthy_or_neither() {
    check([
        ("just below critical", failing(0.49, 600.0), BACK),
        ("exactly critical", failing(0.5, 60.0), "rollback critical to k-back-00041-xyz"),
        ("everything fails", failing(1.0, 60.0), "rollback critical to k-back-00041-xyz"),
        (
            "critical by the policy",
            failing(0.2, 60.0).rules(|rules| rules.critical = 0.2),
            "rollback critical to k-back-00041-xyz",
        ),
        ("the limit itself", failing(0.05, 600.0), "ignore inconclusive at failing"),
        ("6 % of many", failing(0.06, 6_000.0), BACK),
        ("6 % of few", failing(0.06, 20.0), "ignore inconclusive at failing"),
        ("4 % of many", failing(0.04, 6_000.0), "ignore healthy at failing"),
        ("no request fails", failing(0.0, 60.0), "ignore healthy at failing"),
        ("the limit is the policy's", failing(0.04, 6_000.0).rules(|rules| rules.rollback = 0.03), BACK),
        ("20 requests in the window", failing(1.0, 2.0), "rollback critical to k-back-00041-xyz"),
        (
            "20 requests where 21 are wanted",
            failing(0.1, 2.0).rules(|rules| rules.min_requests = 21),
            "ignore inconclusive at failing",
        ),
        (
            "it failed before the window only",
            failing(0.0, 0.0).served(BAD, 20, 10, 60.0, 1.0),
            "notify no_data at failing",
        ),
        (
            "a longer window sees it",
            failing(0.0, 0.0).served(BAD, 20, 10, 60.0, 0.4).rules(|rules| rules.window = minutes(20)),
            BACK,
        ),
        ("Monitoring answers and has nothing", failing(0.0, 0.0), "notify no_data at failing"),
        (
            "half of the minutes are above the limit",
            failing(0.0, 0.0).served(BAD, 20, 5, 60.0, 0.0).served(BAD, 5, 0, 60.0, 0.9),
            "ignore inconclusive at failing",
        ),
        (
            "more than half are",
            failing(0.0, 0.0).served(BAD, 20, 6, 60.0, 0.0).served(BAD, 6, 0, 60.0, 0.4),
            BACK,
        ),
    ]);
}

#[test]
fn with_little_traffic_a_run_of_failures_convicts() {
    let critical = "rollback critical to k-back-00041-xyz";
    let quiet = |errors: f64| failing(errors, 0.6);
    let turned =
        |minutes: i64| failing(0.0, 0.0).served(BAD, 20, minutes, 1.0, 0.0).served(BAD, minutes, 0, 1.0, 1.0);
    check([
        ("every one of six requests", quiet(1.0), critical),
        ("one in four", quiet(0.25), "ignore inconclusive at failing"),
        ("it turned bad four minutes ago, a request a minute", turned(4), BACK),
        ("three minutes ago: three requests", turned(3), "ignore inconclusive at failing"),
        (
            "a burst of failures in the last minute",
            failing(0.0, 1.0).served(BAD, 1, 0, 8.0, 1.0),
            "ignore inconclusive at failing",
        ),
        (
            "it works again",
            failing(0.0, 0.0).served(BAD, 20, 1, 1.0, 1.0).served(BAD, 1, 0, 1.0, 0.0),
            "ignore inconclusive at failing",
        ),
        (
            "the revision before failed as well",
            World::deploy()
                .served(BAD, 20, 0, 1.0, 1.0)
                .served(GOOD, 3 * DAY, 30, 1.0, 0.0)
                .served(GOOD, 30, 20, 1.0, 1.0),
            "notify dependency_outage at caused_by_it",
        ),
        (
            "slow requests in a row may each have started an instance",
            World::deploy().signal(Signal::Latency).requests(BAD, (20, 0), 0.6, 0.0, 1.0).served(
                GOOD,
                3 * DAY,
                20,
                60.0,
                0.0,
            ),
            "ignore inconclusive at failing",
        ),
        (
            "without the revision's label, of two the one that fails",
            World::deploy().unnamed().traffic(&[(BAD, 50), (GOOD, 50)]).served(BAD, 20, 0, 0.6, 1.0).served(
                GOOD,
                3 * DAY,
                0,
                0.6,
                0.0,
            ),
            critical,
        ),
    ]);
}

fn minutes(count: u64) -> std::time::Duration {
    std::time::Duration::from_secs(count * 60)
}

#[test]
fn between_warning_and_rollback_people_are_told() {
    let warned = |errors: f64| failing(errors, 600.0).rules(|rules| rules.warning = Some(0.02));
    check([
        ("3 % without a warning band", failing(0.03, 600.0), "ignore healthy at failing"),
        ("3 %", warned(0.03), "notify warning at failing"),
        ("1 %", warned(0.01), "ignore healthy at failing"),
        ("20 %", warned(0.2), BACK),
        ("nothing", failing(0.0, 0.0).rules(|rules| rules.warning = Some(0.02)), "notify no_data at failing"),
    ]);
}

#[test]
fn what_was_a_warning_is_a_failure_when_its_deadline_has_passed() {
    let due = |mut world: World| {
        world.round = Round::Deadline;
        world.rules(|rules| rules.warning = Some(0.02))
    };
    let warned_before = || {
        World::deploy()
            .served(BAD, 20, 0, 600.0, 0.03)
            .served(GOOD, 3 * DAY, 50, 600.0, 0.001)
            .served(GOOD, 50, 20, 600.0, 0.03)
    };
    check([
        ("3 %", due(failing(0.03, 600.0)), BACK),
        ("it has become worse", due(failing(0.4, 600.0)), BACK),
        ("it has become critical", due(failing(0.8, 600.0)), "rollback critical to k-back-00041-xyz"),
        ("it has calmed down", due(failing(0.001, 600.0)), "ignore healthy at failing"),
        ("nobody comes any more", due(failing(0.0, 0.0)), "notify no_data at failing"),
        (
            "the revision before failed the same way in its last half hour",
            due(warned_before()),
            "notify dependency_outage at caused_by_it",
        ),
        (
            "the revision beside it fails the same way",
            due(World::deploy()
                .traffic(&[(BAD, 50), (GOOD, 50)])
                .served(BAD, 20, 0, 600.0, 0.03)
                .served(GOOD, 3 * DAY, 20, 600.0, 0.001)
                .served(GOOD, 20, 0, 600.0, 0.03)),
            "notify dependency_outage at caused_by_it",
        ),
        (
            "without a warning band",
            {
                let mut world = failing(0.03, 600.0);
                world.round = Round::Deadline;
                world
            },
            "ignore healthy at failing",
        ),
    ]);
}

#[test]
fn latency_is_judged_by_the_share_of_slow_requests() {
    check([
        ("a quarter", slow(0.25), BACK),
        ("nearly all: slow is not critical", slow(0.9), BACK),
        ("1 %", slow(0.01), "ignore healthy at failing"),
        ("1 % where 0.1 % is the limit", slow(0.01).rules(|rules| rules.slow_share = 0.001), BACK),
        (
            "errors are not what it is about",
            failing(0.4, 60.0).signal(Signal::Latency),
            "ignore healthy at failing",
        ),
        (
            "there is no warning band for it",
            slow(0.03).rules(|rules| rules.warning = Some(0.005)),
            "ignore healthy at failing",
        ),
        ("Monitoring has nothing", failing(0.0, 0.0).signal(Signal::Latency), "notify no_data at failing"),
    ]);
}

#[test]
fn what_requests_do_not_show_needs_the_word_of_the_alert_policy() {
    let other = |errors: f64| failing(errors, 60.0).signal(Signal::Other);
    check([
        ("no label", other(0.01), "notify explain_only at failing"),
        (
            "no label and no requests",
            failing(0.0, 0.0).signal(Signal::Other),
            "notify explain_only at failing",
        ),
        ("no label, but requests show it", other(0.4), BACK),
        ("no label, and it is critical", other(0.8), "rollback critical to k-back-00041-xyz"),
        ("rollback", other(0.01).wish("rollback"), BACK),
        ("critical", other(0.01).wish("critical"), "rollback critical to k-back-00041-xyz"),
        ("rollback, without requests", failing(0.0, 0.0).signal(Signal::Other).wish("rollback"), BACK),
        ("notify", other(0.01).wish("notify"), "notify explain_only at failing"),
        ("notify, though requests show it", other(0.8).wish("notify"), "notify explain_only at failing"),
        ("an unknown word is no word", other(0.01).wish("yes"), "notify explain_only at failing"),
    ]);
}

#[test]
fn a_label_in_doubt_allows_nothing_and_forbids_as_before() {
    let disputed = |errors: f64, wish: &str| {
        let mut world = failing(errors, 60.0).wish(wish);
        world.disputed = Some("its policy does not carry the label");
        world
    };
    let other = |errors, wish| disputed(errors, wish).signal(Signal::Other);
    check([
        ("rollback", other(0.01, "rollback"), "notify explain_only at failing"),
        ("always", other(0.01, "always"), "notify explain_only at failing"),
        ("critical", other(0.01, "critical"), "notify explain_only at failing"),
        ("in the dark", other(0.01, "critical").dark(None), "notify explain_only at failing"),
        ("requests show the failure by themselves", other(0.4, "critical"), BACK),
        ("critical, and the requests fail less than that", disputed(0.4, "critical"), BACK),
        ("notify", other(0.4, "notify"), "notify explain_only at failing"),
    ]);
    let told = other(0.01, "critical").decide().to_string();
    assert!(told.contains("its policy does not carry the label"), "{told}");
}

#[test]
fn the_label_on_a_request_alert() {
    check([
        ("notify explains only", failing(0.8, 60.0).wish("notify"), "notify explain_only at failing"),
        (
            "notify in the dark",
            failing(0.8, 60.0).wish("notify").dark(None),
            "notify explain_only at failing",
        ),
        (
            "rollback does not outweigh the evidence",
            failing(0.01, 60.0).wish("rollback"),
            "ignore healthy at failing",
        ),
        ("rollback on a failure", failing(0.4, 60.0).wish("rollback"), BACK),
        (
            "critical on a failure",
            failing(0.4, 60.0).wish("critical"),
            "rollback critical to k-back-00041-xyz",
        ),
        (
            "critical does not outweigh the evidence",
            failing(0.01, 60.0).wish("critical"),
            "ignore healthy at failing",
        ),
    ]);
}

#[test]
fn without_monitoring_an_alert_on_failed_or_slow_requests_is_trusted() {
    let dark = |signal: Signal| failing(0.0, 60.0).signal(signal).dark(None);
    let harmless = |signal: Signal| dark(signal).alert(|alert| alert.condition.accuses = false);
    check([
        ("too many 4xx", harmless(Signal::Errors), "notify explain_only at failing"),
        ("latency below a limit", harmless(Signal::Latency), "notify explain_only at failing"),
        (
            "it vouches for what requests show",
            harmless(Signal::Errors).wish("rollback"),
            "notify explain_only at failing",
        ),
        ("Monitoring answers", failing(0.4, 60.0).alert(|alert| alert.condition.accuses = false), BACK),
        ("errors", dark(Signal::Errors), "rollback unconfirmed to k-back-00041-xyz"),
        ("latency", dark(Signal::Latency), "rollback unconfirmed to k-back-00041-xyz"),
        ("a slow burn", dark(Signal::SlowBurn), "rollback unconfirmed to k-back-00041-xyz"),
        ("uptime", dark(Signal::Other), "notify explain_only at failing"),
    ]);
    // The letter of the design leaves the reason open where the alert policy vouches.
    let vouched = dark(Signal::Other).wish("rollback").decide();
    assert_eq!(vouched.outcome.word(), "rollback", "{vouched}");
}

#[test]
fn a_latency_alert_is_judged_by_its_own_limit_and_says_so() {
    let own = |world: World| {
        world.alert(|alert| alert.condition.slower_than = Some(std::time::Duration::from_millis(800)))
    };
    let text = own(slow(0.25)).decide().to_string();
    assert!(text.contains("took longer than 800 ms"), "{text}");
    assert!(text.contains("the 800 ms are the alert's own limit"), "{text}");
    let text = own(failing(0.25, 60.0)).decide().to_string();
    assert!(!text.contains("own limit"), "{text}");
    let text = slow(0.25).decide().to_string();
    assert!(text.contains("took longer than 3 s") && !text.contains("own limit"), "{text}");
}

#[test]
fn a_missing_permission_is_named() {
    let permission = "monitoring.timeSeries.list";
    for signal in [Signal::Errors, Signal::Latency, Signal::Other] {
        let text = failing(0.4, 60.0).signal(signal).dark(Some(permission)).decide().to_string();
        assert!(text.contains(permission), "{text}");
    }
    let text = failing(0.4, 60.0).dark(Some(permission)).decide().to_string();
    assert!(text.contains("unconfirmed"), "{text}");
}

#[test]
fn a_slow_burn_counts_when_the_culprit_is_significantly_worse_than_the_targets_history() {
    let burn = |errors: f64, before: f64| {
        World::deploy().signal(Signal::SlowBurn).served(BAD, 20, 0, 600.0, errors).served(
            GOOD,
            3 * DAY,
            20,
            600.0,
            before,
        )
    };
    let few = |errors: f64, before: f64| {
        World::deploy().signal(Signal::SlowBurn).served(BAD, 20, 0, 30.0, errors).served(
            GOOD,
            3 * DAY,
            20,
            600.0,
            before,
        )
    };
    check([
        ("2 % after 0.1 %", burn(0.02, 0.001), BACK),
        ("as before", burn(0.02, 0.02), "ignore healthy at failing"),
        ("40 %", burn(0.4, 0.001), BACK),
        ("no request fails", burn(0.0, 0.001), "ignore healthy at failing"),
        (
            "2 % on another kind of alert",
            burn(0.02, 0.001).signal(Signal::Errors),
            "ignore healthy at failing",
        ),
        ("significant, but not twice as much", burn(0.0018, 0.001), "ignore healthy at failing"),
        ("twice as much, but of few requests", few(0.02, 0.01), "ignore healthy at failing"),
        (
            "all of it in one minute",
            burn(0.0, 0.001).served(BAD, 4, 3, 100.0, 1.0),
            "ignore healthy at failing",
        ),
        (
            "the one before burned as well before it was replaced",
            World::deploy()
                .signal(Signal::SlowBurn)
                .served(BAD, 20, 0, 600.0, 0.02)
                .served(GOOD, 3 * DAY, 40, 600.0, 0.001)
                .served(GOOD, 40, 20, 600.0, 0.02),
            "notify dependency_outage at caused_by_it",
        ),
        (
            "the one beside it burns as well",
            World::deploy()
                .signal(Signal::SlowBurn)
                .traffic(&[(BAD, 50), (GOOD, 50)])
                .served(BAD, 20, 0, 600.0, 0.02)
                .served(GOOD, 3 * DAY, 20, 600.0, 0.001)
                .served(GOOD, 20, 0, 600.0, 0.02),
            "notify dependency_outage at caused_by_it",
        ),
    ]);
    let text = burn(0.02, 0.001).decide().to_string();
    assert!(text.contains("significantly more than the 0.1 % of k-back-00041-xyz"), "{text}");
}

#[test]
fn the_figures_are_in_the_gate_and_the_minutes_in_the_decision() {
    let decision = failing(0.4, 60.0).decide();
    let gate = decision.gates.iter().find(|gate| gate.name == "failing").unwrap();
    for figure in ["240", "600", "40 %", "5 %"] {
        assert!(gate.detail.contains(figure), "{figure}: {}", gate.detail);
    }
    assert_eq!(
        decision.minutes.iter().map(|sample| (sample.requests, sample.bad)).collect::<Vec<_>>(),
        [(60, 24); 10]
    );
    assert!(decision.minutes.is_sorted_by_key(|sample| sample.start));
    assert!(failing(0.4, 60.0).dark(None).decide().minutes.is_empty());
    let hours = failing(0.4, 60.0).rules(|rules| rules.window = minutes(HOUR as u64)).decide();
    assert_eq!(hours.minutes.len(), 20, "it served for twenty minutes");
}

#[test]
fn in_the_dark_only_a_fresh_alert_is_trusted_and_only_at_its_first_judgement() {
    let dark = || failing(0.4, 60.0).dark(None);
    let with = |change: fn(&mut World)| {
        let mut world = dark();
        change(&mut world);
        world
    };
    let unconfirmed = "rollback unconfirmed to k-back-00041-xyz";
    let explained = "notify explain_only at failing";
    let waits = "wait inconclusive at failing";
    check([
        ("published nine minutes ago", with(|world| world.published_at = Some(ago(9))), unconfirmed),
        ("published ten minutes ago", with(|world| world.published_at = Some(ago(10))), explained),
        (
            "the transport says nothing, the incident is young",
            with(|world| world.published_at = None),
            unconfirmed,
        ),
        (
            "the transport says nothing, the incident is old",
            with(|world| (world.published_at, world.alert.started_at) = (None, Some(ago(10)))),
            explained,
        ),
        (
            "nothing says how old it is",
            with(|world| (world.published_at, world.alert.started_at) = (None, None)),
            explained,
        ),
        ("judged again", with(|world| world.round = Round::Again), waits),
        ("at a warning's deadline", with(|world| world.round = Round::Deadline), waits),
        (
            "it has waited nine minutes",
            with(|world| (world.round, world.waiting_since) = (Round::Again, Some(ago(9)))),
            waits,
        ),
        (
            "it has waited ten minutes",
            with(|world| (world.round, world.waiting_since) = (Round::Again, Some(ago(10)))),
            explained,
        ),
        ("its incident is closed", with(|world| world.known_closed = true), "ignore closed at open"),
        (
            "the record says that it is closed",
            dark().record(|record| record.closed = vec!["0.incident".into()]),
            "ignore closed at new",
        ),
        (
            "a vouched one is as old",
            with(|world| world.published_at = Some(ago(10))).signal(Signal::Other).wish("rollback"),
            explained,
        ),
    ]);
}
