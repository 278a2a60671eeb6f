//! Grounds to act: what Runback has not read is never one, and while Monitoring is dark only a fresh alert is.

use std::time::Duration;

use serde_json::json;

use crate::alert::{Alert, Envelope};
use crate::harness::{Launch, assert_nothing_is_touched};
use crate::simulator::{NOW, Revision, Served, Service, Simulator, days, minutes};
use crate::situation::{
    BAD, GOOD, SERVICE, a_failing_deploy, a_world_with, assert_contains, assert_rolled_back,
    assert_untouched, k_back, moves, one_story, under_policy,
};

/// Monitoring is slow, and refuses a tenth of what it is asked.
fn slow_and_rationed(simulator: &Simulator) {
    simulator.latency(Duration::from_millis(400));
    for tenth in 0..40 {
        simulator.at("monitoring.list").skip(10 * tenth + 4).fails(429);
    }
}

#[tokio::test]
async fn twelve_alerts_at_once_on_a_slow_monitoring_never_roll_a_healthy_service_back() {
    for storm in 0..3 {
        let (simulator, runback, alert) = a_world_with(k_back(0.001)).await;
        slow_and_rationed(&simulator);
        let incidents = (0..12).map(|n| alert.again().incident(&format!("0.storm{storm}n{n}")));
        let sent: Vec<_> = incidents.map(|it| runback.sending(it.wrapped(Envelope::Eventarc))).collect();
        for answer in sent {
            let answer = answer.await.unwrap();
            let (status, decision, reason) = answer.verdict();
            assert!(status == 503 || (decision == "ignore" && reason == "healthy"), "{}", answer.text);
        }
        assert_eq!(moves(&simulator), 0);
        runback.finish().await;
    }
}

#[tokio::test]
async fn alerts_that_wait_for_the_same_service_share_one_reading() {
    let (simulator, runback, alert) = a_world_with(k_back(0.001)).await;
    let answers = runback.send_at_once(&alert.wrapped(Envelope::Eventarc), 100).await;
    assert!(answers.iter().all(|answer| answer.verdict().2 == "healthy"), "{answers:#?}");
    let calls = simulator.calls("run.*").len() + simulator.calls("monitoring.list").len();
    // A reading takes five calls. Whoever arrives while one is made waits for the next.
    assert!(calls <= 100, "100 copies cost {calls} calls");
    runback.finish().await;
}

#[tokio::test]
async fn in_the_dark_an_old_message_is_explained_and_not_acted_on() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("monitoring.list").always().fails(503);
    simulator.advance(minutes(11));
    let answer = runback.deliver(&alert).await;
    answer.is(200, "notify", "explain_only");
    assert_contains(&one_story(&simulator), &["11 min old"]);
    assert_untouched(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn in_the_dark_a_fresh_message_is_trusted() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("monitoring.list").always().fails(503);
    simulator.advance(minutes(9));
    runback.deliver(&alert).await.is(200, "rollback", "unconfirmed");
    assert_rolled_back(&simulator);
    assert_contains(&one_story(&simulator), &["so Runback trusted the alert"]);
    runback.finish().await;
}

/// 3 % of many requests: between a warning from 2 % and a rollback from 5 %.
#[tokio::test]
async fn in_the_dark_a_warning_waits_at_its_deadline_and_then_people_decide() {
    let mut service = k_back(0.03);
    service.rpm = 600.0;
    let (simulator, runback, alert) = under_policy(service, json!({"warning": 0.02})).await;
    runback.deliver(&alert).await.is(200, "notify", "warning");
    simulator.at("monitoring.list").always().fails(503);
    simulator.advance(minutes(31));
    assert_eq!(runback.deliver_due_tasks().await[0].status, 503);
    simulator.repair();
    runback.deliver_due_tasks().await;
    assert_rolled_back(&simulator);
    runback.finish().await;
}

/// It served well for an hour and fails when its only alert comes: too early to tell.
async fn judged_again() -> (Simulator, crate::harness::Runback, Alert) {
    let culprit = Revision::named(BAD)
        .age(minutes(60))
        .errors(0.9)
        .served(Served::ago(minutes(60)..minutes(4)).errors(0.0))
        .served(minutes(4)..NOW);
    let service = Service::named(SERVICE)
        .revision(culprit)
        .revision(Revision::named(GOOD).age(days(3)).served(days(3)..minutes(60)));
    let (simulator, runback, alert) = a_world_with(service).await;
    runback.deliver(&alert).await.is(200, "ignore", "inconclusive");
    (simulator, runback, alert)
}

#[tokio::test]
async fn a_closed_incident_is_not_judged_again() {
    let (simulator, runback, alert) = judged_again().await;
    simulator.advance(minutes(2));
    runback.deliver(&alert.again().closed()).await.is(200, "ignore", "closed");
    for dark in [true, false] {
        if dark {
            simulator.at("monitoring.list").always().fails(503);
        }
        simulator.advance(minutes(4));
        runback.deliver_due_tasks().await;
        simulator.repair();
        assert_eq!(moves(&simulator), 0);
    }
    runback.finish().await;
}

#[tokio::test]
async fn a_message_that_its_own_closing_has_overtaken_is_ignored() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    runback.deliver(&alert.again().closed()).await.is(200, "ignore", "closed");
    runback.deliver(&alert).await.is(200, "ignore", "closed");
    assert_untouched(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_closed_incident_is_remembered_in_the_record_that_is_written_anyway() {
    let (simulator, mut runback, alert) = a_failing_deploy().await;
    let flapping = alert.clone().incident("0.flapping");
    runback.deliver(&flapping.again().closed()).await.is(200, "ignore", "closed");
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_eq!(simulator.record(SERVICE).unwrap()["closed"], json!(["0.flapping"]));
    runback.restart().await;
    runback.deliver(&flapping).await.is(200, "ignore", "closed");
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn copies_of_an_alert_without_an_incident_id_are_handled_once_and_another_one_is_not_one_of_them() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    let nameless = alert.clone().without("/incident/incident_id");
    runback.deliver(&nameless).await.is(200, "rollback", "confirmed");
    runback.deliver(&nameless).await.is(200, "ignore", "already_handled");
    let incident = simulator.record(SERVICE).unwrap()["rollbacks"][0]["incident"].clone();
    assert!(incident.as_str().unwrap().starts_with("message-"), "{incident}");
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_webhook_without_incident_and_message_id_is_once_as_well() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let runback = Launch::beside(&simulator).policy(json!({"mode": "observe"})).start().await;
    let nameless = Alert::on(&simulator, SERVICE).without("/incident/incident_id");
    let mut delivery = nameless.wrapped(Envelope::Webhook);
    delivery.path = "/".into();
    for _ in 0..2 {
        runback.send(&delivery).await.is(200, "notify", "observe_mode");
    }
    assert_eq!(simulator.slack().len(), 1, "the same notification twice is told once");
    assert_nothing_is_touched(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn in_the_dark_an_alert_that_does_not_say_that_requests_fail_is_explained() {
    let class = |name: &str| {
        format!(
            "resource.type = \"cloud_run_revision\" AND metric.type = \"run.googleapis.com/request_count\" \
             AND metric.labels.response_code_class = \"{name}\""
        )
    };
    let condition = "/incident/condition/conditionThreshold";
    let harmless: [fn(Alert, String) -> Alert; 3] = [
        |alert, _| alert.set("/incident/metric/labels", json!({"response_code_class": "4xx"})),
        |alert, _| {
            alert
                .set("/incident/metric/labels", json!({}))
                .set("/incident/condition/conditionThreshold/thresholdValue", json!(1000))
        },
        |alert, successes| {
            alert
                .set("/incident/metric/labels", json!({}))
                .set("/incident/condition/conditionThreshold/filter", json!(successes))
                .set("/incident/condition/conditionThreshold/comparison", json!("COMPARISON_LT"))
        },
    ];
    for change in harmless {
        let (simulator, runback, alert) = a_failing_deploy().await;
        simulator.at("monitoring.list").always().fails(503);
        runback.deliver(&change(alert, class("2xx"))).await.is(200, "notify", "explain_only");
        assert_contains(&one_story(&simulator), &["does not say that requests fail"]);
        assert_untouched(&simulator);
        runback.finish().await;
    }
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("monitoring.list").always().fails(503);
    let by_filter = alert
        .set("/incident/metric/labels", json!({}))
        .set(&format!("{condition}/filter"), json!(class("5xx")))
        .set(&format!("{condition}/thresholdValue"), json!(10));
    runback.deliver(&by_filter).await.is(200, "rollback", "unconfirmed");
    assert_rolled_back(&simulator);
    runback.finish().await;
}
