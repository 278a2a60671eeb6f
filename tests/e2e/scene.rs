//! The scene of the demonstration: k-back, its bad deploy and the alert about it.

#![allow(clippy::unwrap_used, reason = "a defect here should end the demonstration at once")]

use serde_json::Value;

use crate::alert::Alert;
use crate::simulator::{NOW, Revision, Service, Simulator, days, minutes};

pub const SERVICE: &str = "k-back";
pub const GOOD: &str = "k-back-00041-wex";
const BAD: &str = "k-back-00042-vaf";

/// What Monitoring once published about a Cloud Run service, and what the console's test button publishes.
const RECORDED: &str = include_str!("../fixtures/payloads/01-cloudrun-request-count-5xx-open.json");
const TEST_BUTTON: &str = include_str!("../fixtures/payloads/26-console-test-notification.json");

/// The service as it was before the deploy.
pub async fn healthy_world() -> Simulator {
    let good =
        Revision::named(GOOD).label("commit-sha", "3f2a91cb7d05e64418c2f9a0b6e7d8135fa2c4e9").errors(0.001);
    let older =
        Revision::named("k-back-00040-lup").label("commit-sha", "b80c6d1f29e7a3540d8b16c97f42ea5310b9d76c");
    let mut service = Service::named(SERVICE)
        .revision(good.age(days(3)).served(days(3)..NOW))
        .revision(older.age(days(10)).served(days(10)..days(3)))
        .traffic(&[("LATEST", 100)]);
    service.rpm = 240.0;
    Simulator::with([service]).await
}

/// Six minutes ago somebody deployed, and since then 40 % of the requests fail.
pub fn deploy(simulator: &Simulator) {
    let bad =
        Revision::named(BAD).label("commit-sha", "9d1e44b8a6f3275cc01be86d94f7a25e3b60d187").errors(0.4);
    simulator.change(SERVICE, |service| service.deploy(bad));
    simulator.advance(minutes(6));
}

/// The recorded notification, told about our service and a new incident.
pub fn recorded_alert(simulator: &Simulator) -> Alert {
    let now = simulator.world().clock.at(0.0).timestamp_micros();
    let id = format!("0.{now:x}");
    let mut alert = Alert::on(simulator, SERVICE).incident(&id);
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let ours = alert.notification();
    let mut text = RECORDED.replace("Error Simulator", SERVICE);
    for pointer in ["revision_name", "service_name", "location", "project_id"]
        .map(|label| format!("/incident/resource/labels/{label}"))
        .into_iter()
        .chain(["/incident/incident_id".to_owned()])
    {
        let [theirs, ours] = [&recorded, &ours].map(|from| from.pointer(&pointer).unwrap().as_str().unwrap());
        text = text.replace(theirs, ours);
    }
    let told: Value = serde_json::from_str(&text).unwrap();
    for (key, value) in told["incident"].as_object().unwrap() {
        if key != "started_at" {
            alert = alert.set(&format!("/incident/{key}"), value.clone());
        }
    }
    alert
}

/// What the console's "Send test notification" publishes.
pub fn test_notification(simulator: &Simulator) -> Alert {
    let button: Value = serde_json::from_str(TEST_BUTTON).unwrap();
    Alert::on(simulator, SERVICE)
        .set("/version", button["version"].clone())
        .set("/incident", button["incident"].clone())
}
