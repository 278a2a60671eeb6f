//! Slack's failure never stops or undoes a rollback, and the story is told once it is back.

use serde_json::json;

use crate::alert::Alert;
use crate::harness::Launch;
use crate::simulator::{Reply, Simulator, minutes};
use crate::situation::{
    BAD, GOOD, SERVICE, a_failing_deploy, a_world_with, assert_contains, assert_rolled_back,
    assert_untouched, k_back, one_story,
};

#[tokio::test]
async fn while_slack_is_down_the_rollback_happens_all_the_same() {
    for trouble in [Reply::text(500, "internal_error"), Reply::text(404, "no_service"), Reply::text(403, "")]
    {
        let (simulator, runback, alert) = a_failing_deploy().await;
        simulator.at("slack.*").always().replies(trouble);
        runback.deliver(&alert).await.is(200, "rollback", "confirmed");
        assert_rolled_back(&simulator);
        assert!(simulator.slack().is_empty());
        // What people did not read in Slack is in the log.
        assert_contains(&json!(runback.log()).to_string(), &["Slack", BAD, GOOD]);
        runback.finish().await;
    }
}

#[tokio::test]
async fn once_slack_is_back_a_redelivery_tells_the_story_once() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("slack.*").always().fails(500);
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    simulator.repair();
    assert_eq!(runback.deliver(&alert).await.status, 200);
    assert_contains(&one_story(&simulator), &[BAD, GOOD]);
    runback.deliver(&alert).await.is(200, "ignore", "already_handled");
    one_story(&simulator);
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn once_slack_is_back_the_check_tells_the_story_that_nobody_heard() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    simulator.at("slack.*").always().fails(500);
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    simulator.repair();
    simulator.advance(minutes(6));
    runback.deliver_due_tasks().await;
    let messages = simulator.slack();
    assert_eq!(messages.len(), 2, "{messages:#?}");
    assert_contains(&messages[0].text, &[BAD, GOOD, "rolled back"]);
    assert_contains(&messages[1].text, &["recovered"]);
    runback.deliver_due_tasks().await;
    assert_eq!((simulator.slack().len(), simulator.tasks().len()), (2, 0));
    runback.finish().await;
}

#[tokio::test]
async fn a_story_that_a_redelivery_told_is_not_told_again_by_the_check() {
    let (simulator, mut runback, alert) = a_failing_deploy().await;
    simulator.at("slack.*").always().fails(500);
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    simulator.repair();
    assert_eq!(runback.deliver(&alert).await.status, 200);
    one_story(&simulator);
    runback.restart().await;
    simulator.advance(minutes(6));
    runback.deliver_due_tasks().await;
    runback.deliver_due_tasks().await;
    let messages = simulator.slack();
    assert_eq!(messages.len(), 2, "{messages:#?}");
    assert_contains(&messages[1].text, &["recovered"]);
    assert!(simulator.tasks().is_empty());
    runback.finish().await;
}

#[tokio::test]
async fn a_matter_for_people_that_slack_did_not_take_is_told_with_the_redelivery() {
    let mut service = k_back(0.4);
    service.revisions[1].ready = false;
    let (simulator, runback, alert) = a_world_with(service).await;
    simulator.at("slack.*").always().fails(500);
    runback.deliver(&alert).await.is(200, "notify", "no_candidate");
    simulator.repair();
    runback.deliver(&alert).await.is(200, "notify", "no_candidate");
    runback.deliver(&alert).await.is(200, "notify", "no_candidate");
    one_story(&simulator);
    assert_untouched(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_bot_posts_to_its_channel() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let runback = Launch::beside(&simulator).bot().start().await;
    runback.deliver(&Alert::on(&simulator, SERVICE)).await.is(200, "rollback", "confirmed");
    let messages = simulator.slack();
    assert_eq!(messages.len(), 2, "{messages:#?}");
    assert_contains(&messages[0].text, &[BAD, GOOD, "confirmed", "runback release"]);
    assert!(!messages[0].text.contains("deployed_recently"), "{}", messages[0].text);
    // The gates are for whoever opens the thread.
    assert_eq!((messages[1].thread.as_ref(), messages[1].in_channel()), (Some(&messages[0].ts), false));
    assert_contains(&messages[1].text, &["deployed_recently", BAD, "requests failed"]);
    runback.finish().await;
}

#[tokio::test]
async fn without_slack_the_rollback_happens_and_the_log_says_that_nobody_is_told() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let runback = Launch::beside(&simulator).without("SLACK_WEBHOOK_URL").start().await;
    let alert = Alert::on(&simulator, SERVICE);
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    runback.deliver(&alert).await.is(200, "ignore", "already_handled");
    assert_rolled_back(&simulator);
    assert_contains(&json!(runback.log()).to_string(), &["Slack is not configured"]);
    runback.finish().await;
}

/// Names and texts come from outside; whatever they are, Slack takes the message and nobody is pinged.
#[tokio::test]
async fn hostile_texts_in_the_alert_do_no_harm_in_slack() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    let hostile = format!("<!channel> <https://evil.example|click> `x` *b* @here {}", "長い".repeat(3000));
    let alert = alert
        .set("/incident/policy_name", json!(hostile))
        .set("/incident/condition_name", json!(hostile))
        .set("/incident/summary", json!(hostile))
        .set("/incident/url", json!("javascript:alert(1)|<!here>"))
        .incident(&format!("0.<!everyone>{}", "x".repeat(400)));
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    let sent = &simulator.calls("slack.webhook")[0].body;
    for harm in ["<!channel>", "<!here>", "<!everyone>", "<https://evil.example", "javascript:"] {
        assert!(!sent.contains(harm), "{harm} in {sent}");
    }
    runback.deliver(&alert).await.is(200, "ignore", "already_handled");
    assert_rolled_back(&simulator);
    one_story(&simulator);
    runback.finish().await;
}
