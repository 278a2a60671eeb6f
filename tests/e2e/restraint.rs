//! The culprit fails, and going back is still not right: people are told and nothing is touched.

use std::time::Duration;

use serde_json::{Value, json};

use crate::alert::Alert;
use crate::harness::split;
use crate::simulator::{NOW, Revision, STATE, Served, Service, days, hours, minutes};
use crate::situation::{
    BAD, GOOD, SERVICE, a_world_with, assert_contains, assert_untouched, deployed, k_back, moves, one_story,
    proven, under_policy,
};

async fn is_told_and_left_alone(service: Service, reason: &str) {
    let (simulator, runback, alert) = a_world_with(service).await;
    for _ in 0..2 {
        runback.deliver(&alert).await.is(200, "notify", reason);
    }
    assert_untouched(&simulator);
    assert_contains(&one_story(&simulator), &[reason, SERVICE]);
    runback.finish().await;
}

fn split_service(good: Revision) -> Service {
    Service::named(SERVICE).revision(deployed(0.4)).revision(good).traffic(&[(BAD, 50), (GOOD, 50)])
}

#[tokio::test]
async fn a_revision_that_takes_no_traffic_is_not_to_blame() {
    let (simulator, runback, alert) = a_world_with(k_back(0.4)).await;
    runback.deliver(&alert.about(GOOD)).await.is(200, "ignore", "culprit_not_serving");
    assert_untouched(&simulator);
    assert!(simulator.slack().is_empty());
    runback.finish().await;
}

#[tokio::test]
async fn without_evidence_nobody_is_picked_out_of_a_split() {
    let (simulator, runback, alert) = a_world_with(split_service(proven().served(minutes(20)..NOW))).await;
    simulator.at("monitoring.*").always().fails(503);
    let alert = alert.without("/incident/resource/labels/revision_name");
    runback.deliver(&alert).await.is(200, "notify", "ambiguous_culprit");
    assert_eq!(simulator.calls("run.put").len(), 0);
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 50), (GOOD, 50)]));
    one_story(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn revisions_that_fail_the_same_way_share_a_cause() {
    for label in [true, false] {
        let service = split_service(proven().served(Served::ago(minutes(20)..NOW).errors(0.4)));
        let (simulator, runback, alert) = a_world_with(service).await;
        let alert = if label { alert } else { alert.without("/incident/resource/labels/revision_name") };
        runback.deliver(&alert).await.is(200, "notify", "dependency_outage");
        assert_eq!(simulator.calls("run.put").len(), 0);
        assert_eq!(simulator.traffic(SERVICE), split([(BAD, 50), (GOOD, 50)]));
        assert_contains(&one_story(&simulator), &["dependency_outage"]);
        runback.finish().await;
    }
}

#[tokio::test]
async fn a_failure_that_began_before_the_deploy_is_not_the_deploys() {
    let before = Revision::named(GOOD)
        .age(days(3))
        .errors(0.001)
        .served(days(3)..minutes(50))
        .served(Served::ago(minutes(50)..minutes(20)).errors(0.4));
    let service = Service::named(SERVICE).revision(deployed(0.4)).revision(before);
    is_told_and_left_alone(service, "dependency_outage").await;
}

#[tokio::test]
async fn a_deploy_that_served_well_for_days_is_not_to_blame() {
    let long = Revision::named(BAD)
        .age(days(5))
        .errors(0.4)
        .served(Served::ago(days(5)..minutes(12)).errors(0.001))
        .served(minutes(12)..NOW);
    let before = Revision::named(GOOD).age(days(9)).served(days(9)..days(5));
    is_told_and_left_alone(Service::named(SERVICE).revision(long).revision(before), "not_deploy_related")
        .await;
}

#[tokio::test]
async fn a_deploy_after_the_incident_began_is_not_to_blame() {
    let (simulator, runback, alert) = a_world_with(k_back(0.4)).await;
    let alert = alert.begun(hours(2));
    runback.deliver(&alert).await.is(200, "notify", "not_deploy_related");
    assert_untouched(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn without_an_older_ready_revision_there_is_nowhere_to_go() {
    let broken = Revision::named(GOOD).age(days(3)).not_ready();
    is_told_and_left_alone(Service::named(SERVICE).revision(deployed(0.4)).revision(broken), "no_candidate")
        .await;
    is_told_and_left_alone(Service::named(SERVICE).revision(deployed(0.4)), "no_candidate").await;
}

#[tokio::test]
async fn a_schema_change_is_not_crossed_unless_the_policy_allows_it() {
    let service = || {
        Service::named(SERVICE)
            .revision(deployed(0.4).label("runback-schema", "7"))
            .revision(proven().label("runback-schema", "6"))
    };
    is_told_and_left_alone(service(), "schema_fence").await;
    let unlabelled =
        Service::named(SERVICE).revision(deployed(0.4).label("runback-schema", "7")).revision(proven());
    is_told_and_left_alone(unlabelled, "schema_fence").await;
    let (simulator, runback, alert) = under_policy(service(), json!({"schema": "allow"})).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
    runback.finish().await;
}

#[tokio::test]
async fn in_observe_mode_the_whole_plan_is_told() {
    for (defaults, own) in [(json!({"mode": "observe"}), json!({})), (json!({}), json!({"mode": "observe"}))]
    {
        let (simulator, runback, alert) = under_policy(k_back(0.4).policy(own), defaults).await;
        let answer = runback.deliver(&alert).await;
        answer.is(200, "notify", "observe_mode");
        assert_eq!(answer.json()["from"], json!([{"revision": BAD, "percent": 100}]));
        assert_eq!(answer.json()["to"], json!([{"revision": GOOD, "percent": 100}]));
        assert_untouched(&simulator);
        let story = one_story(&simulator);
        assert_contains(&story, &["observe_mode", BAD, GOOD, "requests failed", "runback rollback k-back"]);
        runback.finish().await;
    }
}

/// Two bad deploys in a row, the second one so long after the first.
async fn second_bad_deploy(keys: Value, after: Duration) -> (&'static str, String, usize) {
    let (simulator, runback, alert) = under_policy(k_back(0.4), keys).await;
    runback.deliver(&alert.incident("0.first")).await.is(200, "rollback", "confirmed");
    simulator.advance(after - minutes(10));
    simulator.change(SERVICE, |service| {
        service.deploy(Revision::named("k-back-00043-def").errors(0.4));
        service.move_traffic(&[("k-back-00043-def", 100)]);
    });
    simulator.advance(minutes(10));
    let answer = runback.deliver(&Alert::on(&simulator, SERVICE).incident("0.second")).await;
    let moved = if simulator.traffic(SERVICE).contains_key(GOOD) { "moved" } else { "stayed" };
    assert_eq!(simulator.slack().len(), 2);
    let moves = moves(&simulator);
    runback.finish().await;
    (moved, answer.verdict().2, moves)
}

#[tokio::test]
async fn within_the_cooldown_a_human_has_to_look() {
    let short = second_bad_deploy(json!({}), minutes(15)).await;
    assert_eq!(short, ("stayed", "cooldown".to_owned(), 1));
    let allowed = second_bad_deploy(json!({"cooldown": "10m"}), minutes(15)).await;
    assert_eq!(allowed, ("moved", "confirmed".to_owned(), 2));
}

#[tokio::test]
async fn a_days_budget_of_rollbacks_is_not_exceeded() {
    let spent = second_bad_deploy(json!({"max_rollbacks_per_day": 1}), hours(3)).await;
    assert_eq!(spent, ("stayed", "budget_exhausted".to_owned(), 1));
    let next_day = second_bad_deploy(json!({"max_rollbacks_per_day": 1}), hours(25)).await;
    assert_eq!(next_day, ("moved", "confirmed".to_owned(), 2));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_kept_byte_for_byte() {
    let records = [
        r#"{"v":2,"future":[1,2,3]}"#,
        r#"{ "v" : 1, "rollbacks": "none" }"#,
        r#"{"v":1,"rollbacks":[{"incident":7}],"quarantine":[]}"#,
        r#"{"v":1,"replicas":3}"#,
        "not JSON at all",
        "[]",
        "{}",
        "null",
    ];
    for record in records {
        let (simulator, runback, alert) = a_world_with(k_back(0.4).record(record)).await;
        let answer = runback.deliver(&alert).await;
        answer.is(200, "notify", "unreadable_record");
        assert_untouched(&simulator);
        let kept = simulator.change(SERVICE, |service| service.annotation(STATE).map(str::to_owned));
        assert_eq!(kept.as_deref(), Some(record));
        assert_contains(&one_story(&simulator), &["unreadable_record"]);
        runback.finish().await;
    }
}
