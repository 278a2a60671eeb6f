//! What `make send-test` publishes, as it arrives.

use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::alert::Delivery;
use crate::situation::{a_failing_deploy, assert_contains, assert_untouched, one_story};

#[tokio::test]
async fn the_incident_of_make_send_test_reaches_people_and_touches_nothing_even_while_a_deploy_fails() {
    let (simulator, runback, _) = a_failing_deploy().await;
    let printed = Command::new("scripts/test-incident").arg("runback-test.1").output().unwrap();
    assert!(printed.status.success(), "{printed:?}");
    let push = json!({
        "message": {"data": BASE64_STANDARD.encode(printed.stdout), "messageId": "1"},
        "subscription": "projects/demo-project/subscriptions/alerts",
    });
    let delivery = Delivery::new("/events", &[("content-type", "application/json")], push.to_string());
    let answer = runback.send(&delivery).await;
    answer.is(200, "notify", "test_notification");
    assert_eq!(answer.json()["incident"], json!("runback-test.1"));
    assert_contains(&one_story(&simulator), &["test_notification"]);
    assert_untouched(&simulator);
    runback.finish().await;
}
