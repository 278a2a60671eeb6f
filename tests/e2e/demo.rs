//! A bad deploy and what Runback does about it, told step by step: `make demo`. With `--keep` the same world stays up
//! to be played with: `make run`, then `make test-event`.
//!
//! The program is the real one. Google and Slack are the simulator of the tests, reached through the environment.

#![allow(missing_docs, reason = "a program, not an interface")]
#![allow(clippy::unwrap_used, reason = "a defect here should end the demonstration at once")]

mod alert;

mod harness;

mod narration;

mod playground;

mod scene;

mod simulator;

use std::process::ExitCode;
use std::time::Instant;

use serde_json::{Value, json};

use alert::Alert;
use harness::{Answer, Launch, Runback, split};
use narration::{Ink, Narrator, ago, slack_messages};
use scene::{GOOD, SERVICE, deploy, healthy_world, recorded_alert, test_notification};
use simulator::{STATE, Simulator, minutes};

#[tokio::main]
async fn main() -> ExitCode {
    if !harness::binary().exists() {
        eprintln!(
            "Runback itself is not built yet: use `make demo` or `make run`, or run `cargo build` first."
        );
        return ExitCode::FAILURE;
    }
    if std::env::args().any(|argument| argument == "--keep") {
        playground::open().await
    } else {
        tell().await
    }
}

async fn tell() -> ExitCode {
    let simulator = healthy_world().await;
    let launch = Launch::beside(&simulator);
    let runback = launch.start().await;
    let mut story = Story { simulator, runback, narrator: Narrator::new(), surprises: Vec::new() };
    story.run().await;
    story.end().await
}

struct Story {
    simulator: Simulator,
    runback: Runback,
    narrator: Narrator,
    surprises: Vec<String>,
}

impl Story {
    async fn run(&mut self) {
        self.narrator.say_in(Ink::Bold, "Runback: a bad deploy, its alert, and the way back");
        self.narrator.say(
            "Everything here runs on this machine. Runback is the real program; Google Cloud and Slack are simulated, \
             and their clock is moved forward where the story says that minutes pass.",
        );
        self.before();
        self.bad_deploy();
        let alert = self.alert();
        self.rollback(&alert).await;
        self.traffic_after();
        self.told();
        self.record();
        self.once_more(&alert).await;
        self.test_button().await;
        self.recovery().await;
    }

    fn before(&mut self) {
        self.narrator.chapter("k-back in asia-northeast1, guarded by Runback, before the deploy");
        self.show_traffic();
    }

    fn bad_deploy(&mut self) {
        deploy(&self.simulator);
        self.narrator.chapter("Somebody deploys. Six minutes later, two requests in five fail");
        self.show_traffic();
    }

    fn alert(&mut self) -> Alert {
        let alert = recorded_alert(&self.simulator);
        let notification = alert.notification();
        let incident = &notification["incident"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.narrator.chapter("Cloud Monitoring raises an alert");
        self.narrator.say("Eventarc delivers it to Runback: POST / with a Pub/Sub message as CloudEvent.");
        self.narrator.table(&[
            ["field".to_owned(), "value".to_owned()],
            ["incident_id".to_owned(), text(&incident["incident_id"])],
            ["state".to_owned(), text(&incident["state"])],
            ["policy_name".to_owned(), text(&incident["policy_name"])],
            ["metric".to_owned(), text(&incident["metric"]["type"])],
            ["revision_name".to_owned(), text(&incident["resource"]["labels"]["revision_name"])],
            ["observed_value".to_owned(), text(&incident["observed_value"])],
        ]);
        alert
    }

    async fn rollback(&mut self, alert: &Alert) {
        let sent_at = self.simulator.world().clock.now();
        let started = Instant::now();
        let answer = self.runback.deliver(alert).await;
        let took = started.elapsed().as_millis();

        self.narrator.chapter("Runback reads the evidence and decides");
        let json = answer.json();
        for gate in json["gates"].as_array().into_iter().flatten() {
            let text = |key: &str| gate[key].as_str().unwrap_or_default();
            self.narrator.check(gate["passed"] == json!(true), text("gate"), text("detail"));
        }
        self.answered(&answer, "rollback", "confirmed");
        let writes = self.simulator.calls("run.put");
        if let [write] = &writes[..] {
            let moved = ((write.at - sent_at) * 1000.0).round();
            self.narrator.say(&format!(
                "The one write left {moved} ms after the alert, the answer {took} ms after it. Here no network is in \
                 between; `make bench` measures with one."
            ));
        }
        self.expect(writes.len() == 1, &format!("{} writes instead of one", writes.len()));
    }

    fn traffic_after(&mut self) {
        self.narrator.chapter("Traffic now, as the service's status shows it");
        self.show_traffic();
        let moved = self.simulator.traffic(SERVICE) == split([(GOOD, 100)]);
        self.expect(moved, "the traffic is not back at the last healthy revision");
    }

    fn told(&mut self) {
        self.narrator.chapter("The team reads in Slack");
        match slack_messages(&self.simulator).as_slice() {
            [message] => self.narrator.slack(message, false),
            others => self.surprise(&format!("{} messages in Slack instead of one", others.len())),
        }
    }

    fn record(&mut self) {
        self.narrator.chapter("What Runback knows is written on the service itself");
        let text = self.simulator.change(SERVICE, |service| service.record().map(str::to_owned));
        match text {
            Some(text) => self.narrator.say(&format!(
                "The annotation {STATE}, {} bytes:\n{}",
                text.len(),
                text.replace(",\"", ", \"")
            )),
            None => self.surprise("there is no record"),
        }
    }

    async fn once_more(&mut self, alert: &Alert) {
        self.narrator.chapter("Pub/Sub delivers the same alert once more, as it may");
        let touched = self.touched();
        let answer = self.runback.deliver(alert).await;
        self.answered(&answer, "ignore", "already_handled");
        self.nothing_since(touched);
    }

    async fn test_button(&mut self) {
        self.narrator.chapter("Somebody presses \"Send test notification\" in the console");
        let (touched, told) = (self.touched(), slack_messages(&self.simulator).len());
        let answer = self.runback.deliver(&test_notification(&self.simulator)).await;
        self.answered(&answer, "notify", "test_notification");
        self.nothing_since(touched);
        for message in slack_messages(&self.simulator).iter().skip(told) {
            self.narrator.slack(message, true);
        }
    }

    async fn recovery(&mut self) {
        self.narrator.chapter("Six minutes later, Cloud Tasks calls Runback back: did it help?");
        let told = slack_messages(&self.simulator).len();
        self.simulator.advance(minutes(6));
        let answers = self.runback.deliver_due_tasks().await;
        let messages = slack_messages(&self.simulator);
        for message in &messages[told..] {
            self.narrator.slack(message, true);
        }
        if messages.len() == told {
            let said: Vec<&str> = answers.iter().map(|answer| answer.text.as_str()).collect();
            self.surprise(&format!("nothing is said about the recovery; the tasks were answered {said:?}"));
        }
    }

    async fn end(self) -> ExitCode {
        let Self { simulator, runback, narrator, mut surprises } = self;
        surprises.extend(simulator.violations());
        narrator.blank();
        if surprises.is_empty() {
            runback.finish().await;
            narrator.say("Try it yourself: `make run` in one terminal, `make test-event` in another.");
            narrator.say("How to guard a service of yours: README.md.");
            return ExitCode::SUCCESS;
        }
        narrator.say_in(Ink::Bad, "This is not how the story goes:");
        surprises.iter().for_each(|surprise| narrator.check(false, "", surprise));
        narrator.say(&format!("Runback wrote:\n{}", runback.said()));
        runback.abandon();
        ExitCode::FAILURE
    }

    fn show_traffic(&self) {
        let now = self.simulator.world().clock.now();
        let shown = self.simulator.traffic(SERVICE);
        let mut rows =
            vec![["revision", "commit", "deployed", "traffic", "failing (5xx)"].map(str::to_owned)];
        self.simulator.change(SERVICE, |service| {
            for revision in &service.service.revisions {
                let share = shown.get(&revision.name).copied().unwrap_or(0);
                let failing = match share {
                    0 => "-".to_owned(),
                    _ => format!("{} %", (revision.health_at(now).errors * 1000.0).round() / 10.0),
                };
                let commit = revision.labels.get("commit-sha").map_or("", |commit| &commit[..7]);
                rows.push([
                    revision.name.clone(),
                    commit.to_owned(),
                    ago(now - revision.created),
                    format!("{share} %"),
                    failing,
                ]);
            }
        });
        self.narrator.table(&rows);
    }

    /// Prints what was answered, which has to be this.
    fn answered(&mut self, answer: &Answer, decision: &str, reason: &str) {
        let (status, decided, because) = answer.verdict();
        self.narrator.say_in(Ink::Bold, &format!("{decided} ({because}), HTTP {status}"));
        let as_told = (status, decided.as_str(), because.as_str()) == (200, decision, reason);
        self.expect(as_told, &format!("{decision} ({reason}) was expected; the answer is {}", answer.text));
    }

    fn touched(&self) -> usize {
        self.simulator.calls("run.put").len() + self.simulator.calls("tasks.create").len()
    }

    fn nothing_since(&mut self, touched: usize) {
        if self.touched() == touched {
            self.narrator.say("Nothing was touched.");
        } else {
            self.surprise("something was touched");
        }
    }

    fn expect(&mut self, as_told: bool, otherwise: &str) {
        if !as_told {
            self.surprise(otherwise);
        }
    }

    fn surprise(&mut self, what: &str) {
        self.narrator.check(false, "unexpected", what);
        self.surprises.push(what.to_owned());
    }
}
