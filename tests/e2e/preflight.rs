//! The target is asked before traffic goes to it: by a tag of its own, or by ours for as long as that takes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::alert::{Alert, Envelope};
use crate::harness::{Runback, split};
use crate::simulator::{NOW, Reconcile, Revision, Service, Simulator, days, minutes, target};
use crate::situation::{
    BAD, GOOD, IN_TIME, SERVICE, assert_contains, assert_rolled_back, deployed, k_back, moves, one_story,
    proven, under_policy,
};

const OLDER: &str = "k-back-00040-uvw";
const OURS: &str = "runback-probe";

/// The service with a health path, and with this share of the target's probes failing.
async fn probed(service: Service, failing: f64) -> (Simulator, Runback, Alert) {
    let (simulator, runback, alert) = under_policy(service, json!({"health_path": "/health"})).await;
    simulator.answer_at_tags(SERVICE);
    simulator.change(SERVICE, |service| service.set_errors(GOOD, failing));
    (simulator, runback, alert)
}

fn tagged(tag: &str, revision: &str) -> Value {
    json!({"revisionName": revision, "tag": tag})
}

fn with_tags(service: Service, tags: &[(&str, &str)]) -> Service {
    let tags = tags.iter().map(|(tag, revision)| tagged(tag, revision));
    service.traffic_targets([target(BAD, 100)].into_iter().chain(tags).collect())
}

/// Probes by a tag, before the switch; those of the service itself come after it.
fn probes(simulator: &Simulator) -> usize {
    simulator.calls("app.probe").iter().filter(|call| !call.target.contains("/-/")).count()
}

#[track_caller]
fn assert_ours_is_gone(simulator: &Simulator) {
    assert!(!simulator.tags(SERVICE).contains_key(OURS), "{:?}", simulator.tags(SERVICE));
}

#[tokio::test]
async fn a_healthy_target_is_probed_by_its_own_tag_and_without_a_write() {
    let (simulator, runback, alert) = probed(with_tags(k_back(0.4), &[("stable", GOOD)]), 0.0).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    assert_eq!((probes(&simulator), simulator.calls("run.put").len()), (9, 1));
    assert_eq!(simulator.tags(SERVICE), [("stable".to_owned(), GOOD.to_owned())].into());
    runback.finish().await;
}

#[tokio::test]
async fn a_flaky_target_does_not_protect_a_bad_revision() {
    let (simulator, runback, alert) = probed(with_tags(k_back(0.4), &[("stable", GOOD)]), 0.25).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_target_that_fails_its_probes_means_that_something_else_is_down() {
    let (simulator, runback, alert) = probed(with_tags(k_back(0.4), &[("stable", GOOD)]), 1.0).await;
    runback.deliver(&alert).await.is(200, "notify", "dependency_outage");
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 100)]));
    assert_eq!(simulator.calls("run.put").len(), 0);
    assert_contains(&one_story(&simulator), &["dependency_outage", "8 of 8 probes"]);
    runback.finish().await;
}

#[tokio::test]
async fn a_target_without_a_tag_gets_ours_until_the_switch() {
    let (simulator, runback, alert) = probed(with_tags(k_back(0.4), &[("pr-7", BAD)]), 0.0).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    assert_eq!((probes(&simulator), simulator.calls("run.put").len()), (9, 2));
    assert_eq!(simulator.tags(SERVICE), [("pr-7".to_owned(), BAD.to_owned())].into());
    runback.finish().await;
}

#[tokio::test]
async fn our_tag_goes_too_when_nothing_is_moved() {
    let (simulator, runback, alert) = probed(k_back(0.4), 1.0).await;
    runback.deliver(&alert).await.is(200, "notify", "dependency_outage");
    assert_eq!((moves(&simulator), simulator.calls("run.put").len()), (0, 2));
    assert_ours_is_gone(&simulator);
    assert_eq!(simulator.record(SERVICE), None, "a tag is nothing to record");
    runback.finish().await;
}

#[tokio::test]
async fn a_target_that_fails_its_probes_gives_way_to_the_next_one() {
    let middle = Revision::named(GOOD).age(days(3)).errors(0.001).served(days(3)..minutes(20));
    let older = Revision::named(OLDER).age(days(5)).errors(0.001).served(days(5)..days(3));
    let service = Service::named(SERVICE).revision(deployed(0.4)).revision(middle).revision(older);
    let (simulator, runback, alert) = probed(service, 1.0).await;
    let began = Instant::now();
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert!(began.elapsed() < IN_TIME, "{:?}", began.elapsed());
    assert_eq!(simulator.traffic(SERVICE), split([(OLDER, 100)]));
    assert_eq!((probes(&simulator), simulator.calls("run.put").len(), moves(&simulator)), (18, 3, 1));
    assert_ours_is_gone(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_critical_incident_waits_for_no_tag() {
    let (simulator, runback, alert) = probed(k_back(0.9), 0.0).await;
    runback.deliver(&alert).await.is(200, "rollback", "critical");
    assert_rolled_back(&simulator);
    assert_eq!((probes(&simulator), simulator.calls("run.put").len()), (0, 1));
    runback.finish().await;
}

#[tokio::test]
async fn a_tag_that_does_not_show_up_in_time_is_not_waited_for() {
    let service = Service { reconcile: Reconcile::After(Duration::from_secs(2)), ..k_back(0.4) };
    let (simulator, runback, alert) = probed(service, 1.0).await;
    let began = Instant::now();
    let answer = runback.deliver(&alert).await;
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    answer.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    assert_ours_is_gone(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_change_in_between_is_kept_and_looked_at_again() {
    let (simulator, runback, alert) = probed(k_back(0.4), 0.0).await;
    simulator.at("run.put").times(2).does(|world| world.service(SERVICE).annotate("example.com/note", "x"));
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    let note = simulator.change(SERVICE, |service| service.annotation("example.com/note").map(str::to_owned));
    assert_eq!(note.as_deref(), Some("x"));
    assert_ours_is_gone(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_lost_answer_to_the_tags_write_is_settled_by_reading() {
    let (simulator, runback, alert) = probed(k_back(0.4), 0.0).await;
    simulator.at("run.put").carried_out().cuts();
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    assert_eq!((probes(&simulator), simulator.calls("run.put").len()), (9, 2));
    assert_ours_is_gone(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_tag_that_a_crash_left_behind_is_used_and_removed() {
    let (simulator, mut runback, alert) = probed(k_back(0.4), 0.0).await;
    simulator.at("run.put").carried_out().does(runback.killer());
    let delivery = alert.wrapped(Envelope::Eventarc);
    assert_ne!(runback.send(&delivery).await.status, 200);
    assert_eq!(simulator.tags(SERVICE).get(OURS).map(String::as_str), Some(GOOD));
    runback.restart().await;
    runback.send(&delivery).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    assert_eq!((probes(&simulator), simulator.calls("run.put").len()), (9, 2));
    assert_ours_is_gone(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_tag_that_was_left_behind_goes_with_any_decision() {
    let healthy = Service::named(SERVICE)
        .revision(Revision::named(BAD).age(minutes(20)).served(minutes(20)..NOW))
        .revision(proven());
    let (simulator, runback, alert) = probed(with_tags(healthy, &[("pr-7", BAD), (OURS, GOOD)]), 0.0).await;
    runback.deliver(&alert).await.is(200, "ignore", "healthy");
    assert_eq!(simulator.tags(SERVICE), [("pr-7".to_owned(), BAD.to_owned())].into());
    assert_eq!((moves(&simulator), simulator.calls("run.put").len()), (0, 1));
    runback.finish().await;
}

/// Slack says how the service itself answers once the switch is there: that is what its users get.
#[tokio::test]
async fn the_service_itself_is_asked_after_the_switch_and_the_first_message_says_how_it_answers() {
    let (simulator, runback, alert) = probed(with_tags(k_back(0.4), &[("stable", GOOD)]), 0.0).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    let asked = simulator.calls("app.probe");
    let (of_tags, of_service) = asked.split_at(9);
    assert!(of_service.len() == 9 && of_service.iter().all(|call| call.target.contains("/-/")));
    let written = simulator.calls("run.put")[0].at;
    assert!(of_tags.iter().all(|call| call.at < written) && of_service.iter().all(|call| call.at > written));
    assert_contains(&one_story(&simulator), &["Health check: 0 of 8 probes of the service were bad"]);
    runback.finish().await;

    // It was well when it was probed, and is not with all the traffic on it.
    let (simulator, runback, alert) = probed(with_tags(k_back(0.4), &[("stable", GOOD)]), 0.0).await;
    simulator.at("run.put").does(|world| world.service(SERVICE).set_errors(GOOD, 1.0));
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_contains(
        &one_story(&simulator),
        &["The service still fails its health check:", "8 of 8 probes of the service were bad"],
    );
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_service_that_does_not_answer_holds_up_no_message() {
    let (simulator, runback, alert) = probed(with_tags(k_back(0.4), &[("stable", GOOD)]), 0.0).await;
    simulator.at("app.probe").skip(9).always().hangs(Duration::from_secs(30));
    let started = Instant::now();
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_contains(&one_story(&simulator), &["rolled back", "the service did not answer"]);
    assert_rolled_back(&simulator);
    runback.finish().await;
}
