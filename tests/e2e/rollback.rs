//! A deploy fails: its traffic goes back, in one write that touches nothing else.

use serde_json::json;

use crate::alert::{Alert, Kind};
use crate::harness::{guarding, split};
use crate::simulator::{ACCOUNT, NOW, Revision, Served, Service, days, minutes, target};
use crate::situation::{
    BAD, COMMIT, FULL_NAME, GOOD, SERVICE, a_failing_deploy, a_world_with, assert_contains,
    assert_rolled_back, assert_untouched, deployed, k_back, moves, one_story, proven, under_policy, uptime,
};

const GATES: [&str; 12] = [
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

#[tokio::test]
async fn a_failing_deploy_loses_all_its_traffic_in_one_write() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    let answer = runback.deliver(&alert).await;
    answer.is(200, "rollback", "confirmed");
    let answer = answer.json();
    assert_eq!(answer["service"], FULL_NAME);
    assert_eq!(answer["from"], json!([{"revision": BAD, "percent": 100}]));
    assert_eq!(answer["to"], json!([{"revision": GOOD, "percent": 100}]));
    let gates = answer["gates"].as_array().unwrap();
    assert_eq!(gates.iter().map(|gate| gate["gate"].as_str().unwrap()).collect::<Vec<_>>(), GATES);
    assert!(gates.iter().all(|gate| gate["passed"] == true && gate["detail"].is_string()), "{gates:#?}");
    assert_rolled_back(&simulator);
    assert_eq!(simulator.calls("run.put").len(), 1);
    runback.finish().await;
}

#[tokio::test]
async fn a_deploy_that_fails_critically_is_told_apart() {
    let (simulator, runback, alert) = a_world_with(k_back(0.8)).await;
    runback.deliver(&alert).await.is(200, "rollback", "critical");
    assert_rolled_back(&simulator);
    assert_contains(&one_story(&simulator), &["critical"]);
    runback.finish().await;
}

#[tokio::test]
async fn the_write_carries_the_record_of_the_rollback_and_the_quarantine() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    runback.deliver(&alert.incident("0.recorded")).await.is(200, "rollback", "confirmed");
    let record = simulator.record(SERVICE).unwrap();
    assert_eq!(record["v"], 1);
    let [rollback] = record["rollbacks"].as_array().unwrap().as_slice() else { panic!("{record:#}") };
    for (key, value) in [
        ("incident", json!("0.recorded")),
        ("culprit", json!(BAD)),
        ("target", json!(GOOD)),
        ("from", json!([{"revision": BAD, "percent": 100}])),
        ("step", json!(100)),
        ("reason", json!("confirmed")),
    ] {
        assert_eq!(rollback[key], value, "{key}");
    }
    let digest = simulator.change(SERVICE, |service| service.revision(BAD).unwrap().digest.clone());
    let [quarantined] = record["quarantine"].as_array().unwrap().as_slice() else { panic!("{record:#}") };
    assert_eq!(quarantined["revision"], BAD);
    assert_eq!(quarantined["digest"], json!(digest));
    assert_eq!(quarantined["commit"], COMMIT);
    assert_eq!(simulator.writes()[0].incident().as_deref(), Some("0.recorded"));
    runback.finish().await;
}

#[tokio::test]
async fn people_hear_what_was_seen_what_was_done_and_how_to_release() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    runback.deliver(&alert.incident("0.told")).await.is(200, "rollback", "confirmed");
    let release = "runback release k-back";
    let evidence = "in 10 min; limit 5%";
    let parts = [BAD, GOOD, "confirmed", "0.told", evidence, release, &COMMIT[..7]];
    assert_contains(&one_story(&simulator), &parts);
    runback.finish().await;
}

#[tokio::test]
async fn one_log_entry_explains_the_rollback() {
    let (_, runback, alert) = a_failing_deploy().await;
    runback.deliver(&alert.incident("0.logged")).await.is(200, "rollback", "confirmed");
    let log = runback.log();
    let entries: Vec<_> =
        log.iter().filter(|entry| entry["message"].as_str().unwrap().contains("0.logged")).collect();
    let [entry] = entries.as_slice() else { panic!("{log:#?}") };
    let text = entry.to_string();
    assert_contains(&text, &["rollback", "confirmed", BAD, GOOD, FULL_NAME]);
    assert_contains(&text, &GATES);
    runback.finish().await;
}

#[tokio::test]
async fn the_check_afterwards_comes_five_minutes_later_as_our_own_account() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    let tasks = simulator.tasks();
    let [task] = tasks.as_slice() else { panic!("{tasks:#?}") };
    assert!((295.0..=305.0).contains(&(task.due - task.created)), "{task:#?}");
    assert_eq!(task.url(), runback.url("/tasks"));
    assert_eq!(task.account(), ACCOUNT);
    runback.finish().await;
}

#[tokio::test]
async fn tags_stay_wherever_they_point() {
    let mut service = k_back(0.4).revision(Revision::named("k-back-00040-uvw").age(days(9)));
    service.traffic = vec![
        target("LATEST", 100),
        json!({"revisionName": "k-back-00040-uvw", "tag": "canary"}),
        json!({"revisionName": BAD, "tag": "broken"}),
        json!({"latestRevision": true, "tag": "preview"}),
        json!({"revisionName": GOOD, "tag": "stable"}),
    ];
    let (simulator, runback, alert) = a_world_with(service).await;
    let tags = simulator.tags(SERVICE);
    assert_eq!(tags.len(), 4);
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    assert_eq!(simulator.tags(SERVICE), tags);
    runback.finish().await;
}

#[tokio::test]
async fn a_target_with_a_tag_and_a_share_keeps_both() {
    let mut service = Service::named(SERVICE)
        .revision(deployed(0.4))
        .revision(proven().served(Served::ago(minutes(20)..NOW).rpm(30.0)));
    service.traffic = vec![
        json!({"revisionName": BAD, "percent": 50, "tag": "new"}),
        json!({"revisionName": GOOD, "percent": 50, "tag": "stable"}),
    ];
    let (simulator, runback, alert) = a_world_with(service).await;
    let tags = simulator.tags(SERVICE);
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    assert_eq!(simulator.tags(SERVICE), tags);
    runback.finish().await;
}

#[tokio::test]
async fn only_the_canarys_share_moves() {
    let older = Revision::named("k-back-00040-uvw").age(days(9));
    let mut service = Service::named(SERVICE)
        .revision(
            Revision::named(BAD).age(minutes(20)).errors(0.4).served(Served::ago(minutes(20)..NOW).rpm(30.0)),
        )
        .revision(proven().served(Served::ago(minutes(20)..NOW).rpm(180.0)))
        .revision(older.served(Served::ago(minutes(20)..NOW).rpm(90.0)))
        .traffic(&[(GOOD, 60), ("k-back-00040-uvw", 30), (BAD, 10)]);
    service.rpm = 300.0;
    let (simulator, runback, alert) = a_world_with(service).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 70), ("k-back-00040-uvw", 30)]));
    assert_eq!(moves(&simulator), 1);
    runback.finish().await;
}

#[tokio::test]
async fn a_service_that_follows_latest_is_pinned_so_that_the_next_deploy_gets_nothing() {
    let (simulator, runback, alert) = a_world_with(k_back(0.4).traffic(&[("LATEST", 100)])).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    simulator.change(SERVICE, |service| service.deploy(Revision::named("k-back-00043-fix")));
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn the_status_is_believed_where_a_rollout_failed() {
    let broken = Revision::named("k-back-00043-dud").age(minutes(2)).not_ready();
    let mut service = Service::named(SERVICE).revision(broken).revision(deployed(0.4)).revision(proven());
    service.status_traffic = Some(vec![target(BAD, 100)]);
    let (simulator, runback, alert) = a_world_with(service).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
    assert_eq!(simulator.spec_traffic(SERVICE), split([(GOOD, 100)]));
    runback.finish().await;
}

#[tokio::test]
async fn a_template_without_a_name_mints_no_revision() {
    let mut service = k_back(0.4);
    service.template_named = false;
    let (simulator, runback, alert) = a_world_with(service).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    assert_eq!(simulator.change(SERVICE, |service| service.service.revisions.len()), 2);
    runback.finish().await;
}

#[tokio::test]
async fn the_alert_policys_labels_name_the_service_where_the_condition_aggregates_it_away() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    let alert = alert.kind(Kind::Ratio).set("/incident/resource/labels", json!({})).set(
        "/incident/policy_user_labels",
        json!({"runback_service": SERVICE, "runback_location": "asia-northeast1"}),
    );
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn what_requests_do_not_show_needs_the_word_of_the_alert_policy() {
    for (word, decision, reason) in [
        (json!({"runback": "rollback"}), "rollback", "confirmed"),
        (json!({"runback": "critical"}), "rollback", "critical"),
        (json!({"runback": "notify"}), "notify", "explain_only"),
        (json!({}), "notify", "explain_only"),
    ] {
        let (simulator, runback, alert) = a_world_with(k_back(0.01)).await;
        runback.deliver(&uptime(alert, word)).await.is(200, decision, reason);
        match decision {
            "rollback" => assert_rolled_back(&simulator),
            _ => assert_untouched(&simulator),
        }
        assert_contains(&one_story(&simulator), &[reason]);
        runback.finish().await;
    }
}

#[tokio::test]
async fn a_latency_alert_is_judged_by_the_share_of_slow_requests() {
    let slow = Revision::named(BAD).age(minutes(20)).slow(0.25).served(minutes(20)..NOW);
    let service = Service::named(SERVICE).revision(slow).revision(proven());
    let (simulator, runback, alert) = a_world_with(service).await;
    runback.deliver(&alert.kind(Kind::Latency)).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    runback.finish().await;
}

/// A latency alert with a limit of its own for a percentile, in milliseconds.
fn slower_than(alert: Alert, millis: u32) -> Alert {
    let threshold = "/incident/condition/conditionThreshold";
    alert
        .kind(Kind::Latency)
        .set(&format!("{threshold}/thresholdValue"), json!(millis))
        .set(&format!("{threshold}/aggregations"), json!([{"perSeriesAligner": "ALIGN_PERCENTILE_95"}]))
}

#[tokio::test]
async fn a_latency_alert_s_own_limit_outranks_the_policys_also_after_the_switch() {
    let slow = Revision::named(BAD).age(minutes(20)).slow(0.25).served(minutes(20)..NOW);
    let service = || Service::named(SERVICE).revision(slow.clone()).revision(proven());
    let (simulator, runback, alert) = a_world_with(service()).await;
    // Slow requests take eight seconds.
    runback.deliver(&slower_than(alert, 12_000)).await.is(200, "ignore", "healthy");
    assert_untouched(&simulator);
    runback.finish().await;

    // By the policy every request is slow, the target's as well.
    let (simulator, mut runback, alert) = under_policy(service(), json!({"slow": "100ms"})).await;
    let answer = runback.deliver(&slower_than(alert, 2_000)).await;
    answer.is(200, "rollback", "confirmed");
    assert_contains(&answer.text, &["took longer than 2 s", "the alert's own limit"]);
    assert_rolled_back(&simulator);
    runback.restart().await;
    simulator.advance(minutes(6));
    runback.deliver_due_tasks().await;
    assert_eq!(simulator.record(SERVICE).unwrap()["rollbacks"][0]["phase"], "recovered");
    runback.finish().await;
}

#[tokio::test]
async fn two_services_in_two_regions_are_rolled_back_each_by_its_own_alert() {
    let mut front = Service::named("k-front")
        .revision(Revision::named("k-front-7").age(minutes(30)).errors(0.3).served(minutes(30)..NOW))
        .revision(Revision::named("k-front-6").age(days(4)).served(days(4)..minutes(30)));
    front.region = "us-central1".into();
    let (simulator, runback) = guarding([k_back(0.4), front]).await;
    let on_front = Alert::on(&simulator, "k-front").incident("0.front");
    runback.deliver(&on_front).await.is(200, "rollback", "confirmed");
    assert_eq!(simulator.traffic("k-front"), split([("k-front-6", 100)]));
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 100)]));
    let on_back = Alert::on(&simulator, SERVICE).incident("0.back");
    runback.deliver(&on_back).await.is(200, "rollback", "confirmed");
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
    assert_eq!((moves(&simulator), simulator.slack().len(), simulator.tasks().len()), (2, 2, 2));
    runback.finish().await;
}
