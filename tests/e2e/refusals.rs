//! What Runback does not understand or cannot prove, it leaves alone.

use serde_json::json;

use crate::alert::{Alert, Delivery, Kind};
use crate::harness::{assert_nothing_is_touched, guarding, split};
use crate::simulator::{NOW, Revision, Served, Service, days, minutes};
use crate::situation::{
    BAD, GOOD, SERVICE, a_failing_deploy, a_world_with, assert_contains, assert_untouched, k_back, one_story,
    proven, uptime,
};

/// One alert about a service, and nothing but the decision comes of it.
async fn leaves_alone(service: Service, alert: impl Fn(Alert) -> Alert, decision: &str, reason: &str) {
    let before = service.traffic.clone();
    let (simulator, runback, usual) = a_world_with(service).await;
    let answer = runback.deliver(&alert(usual)).await;
    answer.is(200, decision, reason);
    assert!(answer.json()["to"].is_null(), "{}", answer.text);
    match reason {
        // Monitoring sends an alert once, so what could not be told is looked at once more. The service is untouched.
        "inconclusive" => {
            assert_eq!((simulator.calls("run.put").len(), simulator.tasks().len()), (0, 1));
        }
        _ => assert_nothing_is_touched(&simulator),
    }
    assert_eq!(simulator.change(SERVICE, |service| service.spec_traffic().to_vec()), before);
    match decision {
        "notify" => assert_contains(&one_story(&simulator), &[reason]),
        _ => assert!(simulator.slack().is_empty(), "{:#?}", simulator.slack()),
    }
    runback.finish().await;
}

fn as_it_is(alert: Alert) -> Alert {
    alert
}

/// The deploy, with requests like these since.
fn since(served: impl IntoIterator<Item = Served>) -> Service {
    let deployed = served.into_iter().fold(Revision::named(BAD).age(minutes(20)), Revision::served);
    Service::named(SERVICE).revision(deployed).revision(proven())
}

#[tokio::test]
async fn a_healthy_service_is_left_alone() {
    leaves_alone(k_back(0.001), as_it_is, "ignore", "healthy").await;
}

#[tokio::test]
async fn a_handful_of_requests_proves_nothing() {
    let mut service = since([Served::ago(minutes(20)..NOW).rpm(0.5).errors(0.2)]);
    service.rpm = 0.5;
    leaves_alone(service, as_it_is, "ignore", "inconclusive").await;
}

#[tokio::test]
async fn one_hot_minute_is_a_spike() {
    let hot = [
        Served::ago(minutes(20)..minutes(4)),
        Served::ago(minutes(4)..minutes(3)).errors(1.0),
        Served::ago(minutes(3)..NOW),
    ];
    leaves_alone(since(hot), as_it_is, "ignore", "inconclusive").await;
}

#[tokio::test]
async fn client_errors_are_the_clients() {
    let deployed = Revision::named(BAD).age(minutes(20)).client_errors(0.6).served(minutes(20)..NOW);
    let service = Service::named(SERVICE).revision(deployed).revision(proven());
    leaves_alone(service, as_it_is, "ignore", "healthy").await;
}

#[tokio::test]
async fn slow_requests_are_no_errors() {
    let deployed = Revision::named(BAD).age(minutes(20)).slow(0.5).served(minutes(20)..NOW);
    let service = Service::named(SERVICE).revision(deployed).revision(proven());
    leaves_alone(service, as_it_is, "ignore", "healthy").await;
}

#[tokio::test]
async fn a_deploy_without_requests_is_a_matter_for_people() {
    let mut service = since([]);
    service.rpm = 0.0;
    leaves_alone(service, as_it_is, "notify", "no_data").await;
}

#[tokio::test]
async fn the_consoles_test_notification_says_that_the_wiring_works() {
    let test = |alert: Alert| alert.set("/version", json!("test")).set("/incident/state", json!("OPEN"));
    leaves_alone(k_back(0.4), test, "notify", "test_notification").await;
}

#[tokio::test]
async fn a_closed_incident_that_nobody_acted_on_is_logged_only() {
    leaves_alone(k_back(0.4), Alert::closed, "ignore", "closed").await;
}

#[tokio::test]
async fn an_unknown_state_is_not_taken_for_open() {
    for state in [json!("acknowledged"), json!(""), json!(null), json!(7), json!({"open": true})] {
        let odd = |alert: Alert| alert.set("/incident/state", state.clone());
        leaves_alone(k_back(0.4), odd, "ignore", "unknown_state").await;
    }
}

#[tokio::test]
async fn an_open_state_is_read_in_any_case() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    let alert = alert.set("/incident/state", json!("OPEN"));
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
    runback.finish().await;
}

#[tokio::test]
async fn an_alert_that_names_no_service_is_a_matter_for_people() {
    let nameless = |alert: Alert| alert.kind(Kind::Ratio).set("/incident/resource/labels", json!({}));
    leaves_alone(k_back(0.4), nameless, "notify", "unresolved_service").await;
}

#[tokio::test]
async fn an_alert_on_another_kind_of_resource_is_none_of_our_business() {
    let labels = json!({"project_id": "demo-project", "location": "asia-northeast1", "cluster_name": "menu"});
    let cluster = |alert: Alert| {
        alert.set("/incident/resource", json!({"type": "k8s_cluster", "labels": labels.clone()}))
    };
    leaves_alone(k_back(0.4), cluster, "ignore", "not_guarded").await;
}

#[tokio::test]
async fn what_requests_do_not_show_is_only_explained() {
    for kind in [Kind::Saturation, Kind::LogMatch] {
        leaves_alone(k_back(0.001), |alert| alert.kind(kind), "notify", "explain_only").await;
    }
    leaves_alone(k_back(0.001), |alert| uptime(alert, json!({})), "notify", "explain_only").await;
}

#[tokio::test]
async fn an_alert_policy_that_only_wants_to_notify_is_obeyed_whatever_the_figures_say() {
    let wish = |alert: Alert| alert.set("/incident/policy_user_labels", json!({"runback": "notify"}));
    leaves_alone(k_back(0.9), wish, "notify", "explain_only").await;
}

#[tokio::test]
async fn a_service_that_the_policy_does_not_list_is_never_read_or_written() {
    let mut billing = Service::named("billing")
        .revision(Revision::named("billing-7").age(minutes(20)).errors(0.5).served(minutes(20)..NOW))
        .revision(Revision::named("billing-6").age(days(3)).served(days(3)..minutes(20)));
    billing.guarded = false;
    let (simulator, runback) = guarding([k_back(0.4), billing]).await;
    runback.deliver(&Alert::on(&simulator, "billing")).await.is(200, "ignore", "not_guarded");
    assert!(simulator.calls("run.*").is_empty());
    assert!(simulator.slack().is_empty());
    assert_untouched(&simulator);
    runback.finish().await;
}

/// The same name in another region or project is another service.
#[tokio::test]
async fn a_namesake_elsewhere_is_not_guarded() {
    for (label, other) in [("location", "us-central1"), ("project_id", "other-project")] {
        let elsewhere = |alert: Alert| alert.set(&format!("/incident/resource/labels/{label}"), json!(other));
        leaves_alone(k_back(0.4), elsewhere, "ignore", "not_guarded").await;
    }
}

#[tokio::test]
async fn a_message_without_an_incident_is_acknowledged() {
    let (simulator, runback, _) = a_failing_deploy().await;
    for body in [
        json!({"version": "1.2", "incident": null}),
        json!({"incident": "text"}),
        json!({"incident": [1, 2]}),
    ] {
        let delivery = Delivery::new("/", &[("content-type", "application/json")], body.to_string());
        runback.send(&delivery).await.is(200, "ignore", "not_an_incident");
    }
    assert_untouched(&simulator);
    assert_eq!(simulator.calls("run.*").len() + simulator.slack().len(), 0);
    runback.finish().await;
}
