//! No secret is ever written to standard output or standard error, whatever fails and however much is logged.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::alert::{Alert, Envelope};
use crate::harness::{Launch, WEBHOOK_PASSWORD, WEBHOOK_USER};
use crate::simulator::{BOT_TOKEN, Reply, Simulator};
use crate::situation::{SERVICE, k_back};

const WEBHOOK_KEY: &str = "T000-B000-XXXXSECRETXXXX";

/// Every secret, and the parts by which it could be recognised.
fn secrets(simulator: &Simulator) -> Vec<String> {
    let credentials = simulator.credentials();
    let key = credentials["private_key"].as_str().unwrap();
    let mut secrets: Vec<String> = [WEBHOOK_KEY, BOT_TOKEN, WEBHOOK_PASSWORD].map(str::to_owned).into();
    secrets.push(BASE64_STANDARD.encode(format!("{WEBHOOK_USER}:{WEBHOOK_PASSWORD}")));
    secrets
        .extend(key.lines().filter(|line| !line.starts_with("-----") && line.len() > 20).map(str::to_owned));
    // What the token endpoint gives out opens everything for an hour.
    secrets.push("ya29.c.simulated".to_owned());
    secrets
}

#[tokio::test]
async fn secrets_are_never_written_even_when_slack_fails() {
    for level in ["info", "debug", "trace"] {
        for (bot, trouble) in [
            (false, Some(Reply::text(500, &format!("no team for {WEBHOOK_KEY}")))),
            (false, Some(Reply::text(404, &format!("no_service {WEBHOOK_KEY}")))),
            (false, None),
            (true, Some(Reply::text(200, &format!("{{\"ok\": false, \"error\": \"{BOT_TOKEN}\"}}")))),
        ] {
            let simulator = Simulator::with([k_back(0.4)]).await;
            let slack = format!("{}/slack/webhook?key={WEBHOOK_KEY}", simulator.base());
            let launch = Launch::beside(&simulator).webhook().variable("RUST_LOG", level);
            let launch = if bot { launch.bot() } else { launch.variable("SLACK_WEBHOOK_URL", &slack) };
            let runback = launch.start().await;
            match trouble {
                Some(reply) => simulator.at("slack.*").always().replies(reply),
                None => simulator.at("slack.*").always().cuts(),
            }
            let mut delivery = Alert::on(&simulator, SERVICE).wrapped(Envelope::Webhook);
            let login = BASE64_STANDARD.encode(format!("{WEBHOOK_USER}:{WEBHOOK_PASSWORD}"));
            delivery.headers.push(("authorization".into(), format!("Basic {login}")));
            runback.send(&delivery).await.is(200, "rollback", "confirmed");
            let said = runback.said();
            for secret in secrets(&simulator) {
                let line = said.lines().find(|line| line.contains(&secret));
                assert!(line.is_none(), "{level}: {secret} in {line:?}");
            }
            runback.finish().await;
        }
    }
}

#[tokio::test]
async fn a_refused_start_does_not_repeat_the_secret_that_is_wrong() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    for (name, value) in [
        ("SLACK_WEBHOOK_URL", "hooks.slack.com/services/T000-B000-XXXXSECRETXXXX"),
        ("SLACK_BOT_TOKEN", "xoxb-T000-B000-XXXXSECRETXXXX"),
        ("RUNBACK_WEBHOOK_PASSWORD", "T000-B000-XXXXSECRETXXXX"),
    ] {
        let said = Launch::beside(&simulator).variable(name, value).refused().await;
        assert!(said.contains(name), "{said}");
        assert!(!said.contains(WEBHOOK_KEY), "{said}");
    }
}
