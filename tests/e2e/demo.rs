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
    let runback = Launch::beside(&simulator).start().await;
    let mut story = Story { simulator, runback, narrator: Narrator::new() };
    let told = story.run().await;
    story.end(told).await
}

struct Story {
    simulator: Simulator,
    runback: Runback,
    narrator: Narrator,
}

/// A sentence when the story does not go as it should.
type Told = Result<(), String>;

impl Story {
    async fn run(&mut self) -> Told {
        self.narrator.say_in(Ink::Bold, "Runback: a bad deploy, its alert, and the way back");
        self.narrator.say(
            "Everything here runs on this machine. Runback is the real program; Google Cloud and Slack are \
             simulated, and their clock moves forward where the story says that minutes pass.",
        );
        self.before();
        self.bad_deploy();
        let alert = self.alert();
        self.rollback(&alert).await?;
        self.traffic_after()?;
        self.slack()?;
        self.record()?;
        self.once_more(&alert).await?;
        self.test_button().await?;
        self.recovery().await
    }

    fn before(&mut self) {
        self.narrator.chapter("k-back in asia-northeast1, guarded by Runback, before the deploy");
        self.show_traffic();
    }

    fn bad_deploy(&mut self) {
        deploy(&self.simulator);
        self.narrator.chapter("Somebody deploys. Six minutes later: two requests in five fail");
        self.show_traffic();
    }

    fn alert(&mut self) -> Alert {
        let alert = recorded_alert(&self.simulator);
        let notification = alert.notification();
        let field = |pointer: &str| {
            let value = notification.pointer(&format!("/incident/{pointer}")).and_then(Value::as_str);
            [pointer.to_owned(), value.unwrap_or_default().to_owned()]
        };
        self.narrator.chapter("Cloud Monitoring raises an alert");
        self.narrator.say("Eventarc delivers it to Runback: POST / with a Pub/Sub message as CloudEvent.");
        self.narrator.table(&[
            ["in the message".to_owned(), String::new()],
            field("incident_id"),
            field("state"),
            field("policy_name"),
            field("metric/type"),
            field("observed_value"),
            field("resource/labels/revision_name"),
        ]);
        alert
    }

    async fn rollback(&mut self, alert: &Alert) -> Told {
        let sent_at = self.simulator.world().clock.now();
        let started = Instant::now();
        let answer = self.runback.deliver(alert).await;
        let took = started.elapsed().as_millis();

        self.narrator.chapter("Runback reads the evidence and decides");
        for gate in answer.json()["gates"].as_array().into_iter().flatten() {
            let text = |key: &str| gate[key].as_str().unwrap_or_default();
            self.narrator.check(gate["passed"] == json!(true), text("gate"), text("detail"));
        }
        self.narrator.blank();
        self.answered(&answer, "rollback", "confirmed")?;
        let writes = self.simulator.calls("run.put");
        let [write] = &writes[..] else { return Err(format!("{} writes instead of one", writes.len())) };
        let moved = ((write.at - sent_at) * 1000.0).round();
        self.narrator.say(&format!(
            "The one write left {moved} ms after the alert was sent, the answer came after {took} ms. No network is \
             in between here; `make bench` measures with one."
        ));
        Ok(())
    }

    fn traffic_after(&mut self) -> Told {
        self.narrator.chapter("Traffic now, as the service's status shows it");
        self.show_traffic();
        let moved = self.simulator.traffic(SERVICE) == split([(GOOD, 100)]);
        moved.then_some(()).ok_or_else(|| format!("the traffic should be with {GOOD}"))
    }

    fn slack(&mut self) -> Told {
        self.narrator.chapter("The team reads in Slack");
        let messages = slack_messages(&self.simulator);
        let [message] = &messages[..] else {
            return Err(format!("{} messages instead of one", messages.len()));
        };
        self.narrator.slack(message, false);
        Ok(())
    }

    fn record(&mut self) -> Told {
        self.narrator.chapter("What Runback knows is written on the service itself, in the same write");
        let text = self.simulator.change(SERVICE, |service| service.record().map(str::to_owned));
        let text = text.ok_or("there is no record")?;
        self.narrator.say_in(Ink::Faint, &format!("The annotation {STATE}, {} bytes:", text.len()));
        self.narrator.say(&text.replace(",\"", ", \""));
        Ok(())
    }

    async fn once_more(&mut self, alert: &Alert) -> Told {
        self.narrator.chapter("Pub/Sub delivers the same alert once more, as it may");
        let touched = self.touched();
        let answer = self.runback.deliver(alert).await;
        self.answered(&answer, "ignore", "already_handled")?;
        self.nothing_since(touched)
    }

    async fn test_button(&mut self) -> Told {
        self.narrator.chapter("Somebody presses \"Send test notification\" in the console");
        let (touched, told) = (self.touched(), slack_messages(&self.simulator).len());
        let answer = self.runback.deliver(&test_notification(&self.simulator)).await;
        self.answered(&answer, "notify", "test_notification")?;
        self.nothing_since(touched)?;
        for message in slack_messages(&self.simulator).iter().skip(told) {
            self.narrator.slack(message, true);
        }
        Ok(())
    }

    async fn recovery(&mut self) -> Told {
        self.narrator.chapter("Six minutes later, Cloud Tasks calls Runback back: did it help?");
        let told = slack_messages(&self.simulator).len();
        self.simulator.advance(minutes(6));
        let answers = self.runback.deliver_due_tasks().await;
        let messages = slack_messages(&self.simulator);
        for message in &messages[told..] {
            self.narrator.slack(message, true);
        }
        let said: Vec<&str> = answers.iter().map(|answer| answer.text.as_str()).collect();
        let recovered = messages[told..].iter().any(|message| message.to_string().contains("recovered"));
        let phase = self.simulator.record(SERVICE).map(|record| record["rollbacks"][0]["phase"].clone());
        self.narrator.say(&format!("The rollback's phase in the annotation: {}.", phase.unwrap_or_default()));
        recovered
            .then_some(())
            .ok_or_else(|| format!("Slack should hear of the recovery; the answers are {said:?}"))
    }

    /// Success only if the story went as told and no promise was broken on the way.
    async fn end(self, told: Told) -> ExitCode {
        let Self { simulator, runback, narrator } = self;
        let broken = simulator.violations();
        narrator.blank();
        match told {
            Ok(()) if broken.is_empty() => {
                runback.finish().await;
                narrator.say("Try it yourself: `make run` in one terminal, `make test-event` in another.");
                narrator.say("How to guard a service of yours: README.md.");
                ExitCode::SUCCESS
            }
            told => {
                narrator.say_in(Ink::Bad, "This is not how the story goes.");
                told.err().into_iter().chain(broken).for_each(|why| eprintln!("{why}"));
                eprintln!("Runback wrote:\n{}", runback.said());
                runback.abandon();
                ExitCode::FAILURE
            }
        }
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
                let age = ago(now - revision.created);
                rows.push([revision.name.clone(), commit.to_owned(), age, format!("{share} %"), failing]);
            }
        });
        self.narrator.table(&rows);
    }

    /// Prints what was answered, which has to be this.
    fn answered(&self, answer: &Answer, decision: &str, reason: &str) -> Told {
        let (status, decided, because) = answer.verdict();
        self.narrator.say_in(Ink::Bold, &format!("{decided} ({because}), HTTP {status}"));
        let as_told = (status, decided.as_str(), because.as_str()) == (200, decision, reason);
        as_told
            .then_some(())
            .ok_or_else(|| format!("{decision} ({reason}) was expected; the answer is {}", answer.text))
    }

    fn touched(&self) -> usize {
        self.simulator.calls("run.put").len() + self.simulator.calls("tasks.create").len()
    }

    fn nothing_since(&self, touched: usize) -> Told {
        if self.touched() != touched {
            return Err("something was touched".to_owned());
        }
        self.narrator.say("Nothing was touched.");
        Ok(())
    }
}
