//! `/webhook`: Monitoring's webhook channel, behind basic auth, and not there without its secret.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::alert::{Alert, Delivery, Envelope};
use crate::harness::{Answer, Launch, Runback, WEBHOOK_PASSWORD, WEBHOOK_USER};
use crate::simulator::Simulator;
use crate::situation::{SERVICE, a_failing_deploy, assert_rolled_back, assert_untouched, k_back};

/// The alert by webhook, with this `Authorization`.
async fn posted(runback: &Runback, alert: &Alert, authorization: &str) -> Answer {
    let mut delivery = alert.wrapped(Envelope::Webhook);
    if !authorization.is_empty() {
        delivery.headers.push(("authorization".into(), authorization.into()));
    }
    runback.send(&delivery).await
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn without_its_secret_the_webhook_is_not_there() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    for authorization in ["", &basic(WEBHOOK_USER, WEBHOOK_PASSWORD), &basic("", "")] {
        assert_eq!(posted(&runback, &alert, authorization).await.status, 404);
    }
    assert_untouched(&simulator);
    assert!(simulator.calls("run.*").is_empty());
    runback.finish().await;
}

#[tokio::test]
async fn the_webhook_asks_for_its_password_and_takes_nothing_else() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let runback = Launch::beside(&simulator).webhook().start().await;
    let alert = Alert::on(&simulator, SERVICE);
    let good = basic(WEBHOOK_USER, WEBHOOK_PASSWORD);
    for wrong in [
        String::new(),
        "Basic".into(),
        "Basic !!!".into(),
        good.replace("Basic ", "Bearer "),
        basic(WEBHOOK_USER, ""),
        basic(WEBHOOK_USER, "correct hors"),
        basic("", WEBHOOK_PASSWORD),
        basic(WEBHOOK_USER, &WEBHOOK_PASSWORD.repeat(2)),
    ] {
        let answer = posted(&runback, &alert, &wrong).await;
        assert_eq!(answer.status, 401, "{wrong}");
        let challenge = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.to_lowercase().starts_with("basic"), "{challenge}");
    }
    assert_untouched(&simulator);
    assert!(simulator.calls("run.*").is_empty());
    posted(&runback, &alert, &good.replace("Basic", "basic")).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn the_ping_of_a_new_channel_is_acknowledged() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let runback = Launch::beside(&simulator).webhook().start().await;
    let good = basic(WEBHOOK_USER, WEBHOOK_PASSWORD);
    let headers = [("content-type", "application/json"), ("authorization", good.as_str())];
    let ping = Delivery::new("/webhook", &headers, json!({"version": "1.2"}).to_string());
    runback.send(&ping).await.is(200, "ignore", "not_an_incident");
    assert_untouched(&simulator);
    runback.finish().await;
}
