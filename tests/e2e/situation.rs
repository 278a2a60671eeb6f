//! Where most tests begin: k-back, a deploy of twenty minutes ago that fails, the revision before it, and the alert.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::alert::{Alert, Delivery, Kind};
use crate::harness::{Answer, Launch, Runback, assert_nothing_is_touched, guarding, split};
use crate::simulator::{NOW, Revision, Service, Simulator, Task, days, minutes};

pub const SERVICE: &str = "k-back";
pub const FULL_NAME: &str = "projects/demo-project/locations/asia-northeast1/services/k-back";
pub const BAD: &str = "k-back-00042-abc";
pub const GOOD: &str = "k-back-00041-xyz";
pub const NEXT: &str = "k-back-00043-def";
pub const COMMIT: &str = "9bb1fbf0c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f6";

/// Eventarc gives up after 10 seconds.
pub const IN_TIME: Duration = Duration::from_secs(9);

/// The deploy, with this share of errors since.
pub fn deployed(errors: f64) -> Revision {
    Revision::named(BAD).age(minutes(20)).errors(errors).served(minutes(20)..NOW).label("commit-sha", COMMIT)
}

/// The revision before it.
pub fn proven() -> Revision {
    Revision::named(GOOD).age(days(3)).errors(0.001).served(days(3)..minutes(20))
}

/// The service after a deploy with this share of errors.
pub fn k_back(errors: f64) -> Service {
    Service::named(SERVICE).revision(deployed(errors)).revision(proven())
}

/// A fifth of many requests fails since the deploy.
pub fn busy() -> Service {
    Service { rpm: 600.0, ..k_back(0.2) }
}

/// 40 % of the requests fail since the deploy.
pub async fn a_failing_deploy() -> (Simulator, Runback, Alert) {
    a_world_with(k_back(0.4)).await
}

/// A world with k-back like this, Runback guarding it, and an alert about it.
pub async fn a_world_with(service: Service) -> (Simulator, Runback, Alert) {
    let (simulator, runback) = guarding([service]).await;
    let alert = Alert::on(&simulator, SERVICE);
    (simulator, runback, alert)
}

/// The same, with keys for the policy's defaults.
pub async fn under_policy(service: Service, keys: Value) -> (Simulator, Runback, Alert) {
    let simulator = Simulator::with([service]).await;
    let runback = Launch::beside(&simulator).policy(keys).start().await;
    let alert = Alert::on(&simulator, SERVICE);
    (simulator, runback, alert)
}

/// A gradual rollback has begun, under a policy with these keys: a tenth of the traffic is back.
pub async fn a_first_step(keys: Value) -> (Simulator, Runback, Alert) {
    let mut policy = json!({"strategy": "gradual"});
    policy.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let (simulator, runback, alert) = under_policy(busy(), policy).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 90), (GOOD, 10)]));
    (simulator, runback, alert)
}

/// A world in which this goes wrong from the start.
pub async fn with_trouble(trouble: impl FnOnce(&Simulator)) -> (Simulator, Runback, Alert) {
    let simulator = Simulator::with([k_back(0.4)]).await;
    trouble(&simulator);
    let runback = Launch::beside(&simulator).start().await;
    let alert = Alert::on(&simulator, SERVICE);
    (simulator, runback, alert)
}

/// An uptime check's alert: it knows no revision, only its policy's user labels say which service is meant.
pub fn uptime(alert: Alert, labels: Value) -> Alert {
    let metric = "monitoring.googleapis.com/uptime_check/check_passed";
    let mut all = json!({"runback_service": SERVICE, "runback_location": "asia-northeast1"});
    all.as_object_mut().unwrap().extend(labels.as_object().cloned().unwrap_or_default());
    alert
        .kind(Kind::Saturation)
        .set("/incident/metric", json!({"type": metric, "displayName": "Check passed", "labels": {}}))
        .set("/incident/condition/conditionThreshold/filter", json!(format!("metric.type=\"{metric}\"")))
        .set("/incident/resource", json!({"type": "uptime_url", "labels": {"host": "k-back.example.com"}}))
        .set("/incident/policy_user_labels", all)
}

/// Another deploy fails, somebody has given it all traffic, and its alert is answered by a rollback.
pub async fn a_second_rollback(simulator: &Simulator, runback: &Runback) {
    simulator.change(SERVICE, |service| {
        service.deploy(Revision::named(NEXT).errors(0.4));
        service.move_traffic(&[(NEXT, 100)]);
    });
    simulator.advance(minutes(15));
    let second = Alert::on(simulator, SERVICE).incident("0.second");
    runback.deliver(&second).await.is(200, "rollback", "confirmed");
}

/// All traffic is back, and it moved once.
#[track_caller]
pub fn assert_rolled_back(simulator: &Simulator) {
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
    assert_eq!(moves(simulator), 1);
}

/// The deploy still serves, and nothing was written.
#[track_caller]
pub fn assert_untouched(simulator: &Simulator) {
    assert_nothing_is_touched(simulator);
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 100)]));
}

/// How often traffic moved.
pub fn moves(simulator: &Simulator) -> usize {
    simulator.writes().iter().filter(|write| write.moved_traffic()).count()
}

/// The one message that people got.
#[track_caller]
pub fn one_story(simulator: &Simulator) -> String {
    let mut messages = simulator.slack();
    assert_eq!(messages.len(), 1, "{messages:#?}");
    messages.remove(0).text
}

#[track_caller]
pub fn assert_contains(text: &str, parts: &[&str]) {
    for part in parts {
        // A message names a revision without its service's name in front.
        let part = part.strip_prefix("k-back-").unwrap_or(part);
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
}

/// A task as Cloud Tasks delivers it, however often.
pub fn delivered(task: &Task) -> Delivery {
    Delivery { path: "/tasks".into(), headers: task.headers(), body: task.body() }
}

/// The newest rollback on record.
#[track_caller]
pub fn on_record(simulator: &Simulator) -> Value {
    simulator.record(SERVICE).unwrap()["rollbacks"][0].clone()
}

/// Time passes, and Cloud Tasks delivers what is due then.
pub async fn later(simulator: &Simulator, runback: &Runback, time: Duration) -> Vec<u16> {
    simulator.advance(time);
    runback.deliver_due_tasks().await.iter().map(|answer| answer.status).collect()
}

/// What Cloud Scheduler publishes every half hour.
pub async fn heartbeat(runback: &Runback) -> Answer {
    let json = [("content-type", "application/json")];
    runback.send(&Delivery::new("/", &json, json!({"version": "1.2"}).to_string())).await
}

#[track_caller]
pub fn last_message(simulator: &Simulator) -> String {
    simulator.slack().last().unwrap().text.clone()
}

/// Waits until it is so.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(10), "{what}: never");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
