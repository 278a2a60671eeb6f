//! The scene of the demonstration, kept up until Ctrl-C: `make run`.

#![allow(clippy::unwrap_used, reason = "a defect here should end the program at once")]
#![expect(clippy::disallowed_methods, reason = "PORT and EVENT are its whole command line")]

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::alert::Envelope;
use crate::harness::{Launch, Runback, binary};
use crate::narration::{Ink, Narrator, slack_messages};
use crate::scene::{SERVICE, deploy, healthy_world, recorded_alert};
use crate::simulator::{Simulator, Split};

/// Beside the event.
const ENVIRONMENT: &str = "try.env";

const LOOK_EVERY: Duration = Duration::from_millis(50);

pub async fn open() -> ExitCode {
    let event = env::var("EVENT").unwrap_or_else(|_| "target/test-event.json".to_owned());
    let prepared = match port() {
        Ok(port) => prepare(port, &event).await,
        Err(why) => Err(why),
    };
    let (port, simulator, mut runback) = match prepared {
        Ok(prepared) => prepared,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let narrator = Narrator::new();
    explain(&narrator, port, &event);
    let mut watch = Watch { shown: simulator.traffic(SERVICE), told: 0, logged: 0 };
    let mut stopped = signal(SignalKind::terminate()).unwrap();
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = stopped.recv() => {}
        () = watch.until_it_ends(&narrator, &simulator, &mut runback) => {
            eprintln!("Runback has ended by itself. It wrote:\n{}", runback.said());
            runback.abandon();
            return ExitCode::FAILURE;
        }
    }
    end(runback).await
}

fn port() -> Result<u16, String> {
    let text = env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let port = text.parse().ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| format!("PORT is {text:?}, and a port is a number from 1 to 65535."))?;
    match TcpListener::bind(("0.0.0.0", port)) {
        Ok(_) => Ok(port),
        Err(why) if why.kind() == ErrorKind::AddrInUse => Err(format!(
            "Port {port} is taken. Stop what listens there, or choose another one for both commands: \
             make run PORT=8090 and make test-event PORT=8090."
        )),
        Err(why) => Err(format!("Port {port} cannot be used: {why}.")),
    }
}

async fn prepare(port: u16, event: &str) -> Result<(u16, Simulator, Runback), String> {
    let simulator = healthy_world().await;
    deploy(&simulator);
    let delivery = recorded_alert(&simulator).wrapped(Envelope::Push);
    let folder = Path::new(event).parent().unwrap_or(Path::new("."));
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(event, &delivery.body));
    written.map_err(|why| format!("The event cannot be written to {event}: {why}."))?;
    let launch = Launch::beside(&simulator).port(port);
    let written = fs::write(folder.join(ENVIRONMENT), environment(&launch));
    written.map_err(|why| format!("The environment cannot be written to {ENVIRONMENT}: {why}."))?;
    let runback = launch.start().await;
    Ok((port, simulator, runback))
}

/// What a person's commands need to reach this world, for a shell to read.
fn environment(launch: &Launch) -> String {
    let wanted = |name: &str| {
        name == "RUNBACK_POLICY"
            || name == "GOOGLE_APPLICATION_CREDENTIALS"
            || (name.starts_with("RUNBACK_") && name.ends_with("_URL"))
    };
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let variables = launch.environment.iter().filter(|(name, _)| wanted(name));
    let mut text: String =
        variables.map(|(name, value)| format!("export {name}={}\n", quoted(value))).collect();
    let programs = binary().parent().map(|folder| folder.display().to_string()).unwrap_or_default();
    text += &format!("export PATH={}:\"$PATH\"\n", quoted(&programs));
    text
}

fn explain(narrator: &Narrator, port: u16, event: &str) {
    let make =
        if port == 8080 { "make test-event".to_owned() } else { format!("make test-event PORT={port}") };
    narrator.say_in(Ink::Bold, &format!("Runback listens on http://127.0.0.1:{port}, until Ctrl-C"));
    narrator.say(
        "It guards the simulated service k-back, whose newest revision has failed two requests in five for six \
         minutes. Nothing has happened yet, because nobody has raised an alert. In another terminal:",
    );
    narrator.blank();
    narrator.line(&format!("   {make}"));
    narrator.blank();
    narrator.say("or, which is the same:");
    narrator.blank();
    narrator.line(&format!(
        "   curl --data-binary @{event} -H 'Content-Type: application/json' \\\n     \
         -H 'ce-specversion: 1.0' -H 'ce-id: test-event' \\\n     \
         -H 'ce-type: google.cloud.pubsub.topic.v1.messagePublished' \\\n     \
         -H 'ce-source: //pubsub.googleapis.com/projects/demo/topics/alerts' \\\n     \
         http://127.0.0.1:{port}/"
    ));
    narrator.blank();
    narrator.say("Or act by hand, before or after that, in a shell of its own:");
    narrator.blank();
    let folder = Path::new(event).parent().unwrap_or(Path::new("."));
    narrator.line(&format!("   . {}", folder.join(ENVIRONMENT).display()));
    for command in ["status", "judge", "rollback", "undo", "hold", "resume", "quarantine"] {
        narrator.line(&format!("   runback {command} {SERVICE}"));
    }
    narrator.blank();
    narrator.say(
        "Send the alert twice: the second time it is the same incident, and nothing is touched. A fresh incident begins with \
         the next `make run`. What happens appears below; five minutes after the rollback Runback looks whether it \
         helped.",
    );
}

/// What has been shown already.
struct Watch {
    shown: Split,
    told: usize,
    logged: usize,
}

impl Watch {
    /// Until Runback ends by itself, which it should not.
    async fn until_it_ends(&mut self, narrator: &Narrator, simulator: &Simulator, runback: &mut Runback) {
        while runback.wait(LOOK_EVERY).await.is_none() {
            runback.deliver_due_tasks().await;
            self.look(narrator, simulator, runback);
        }
    }

    /// In the order in which it happens: traffic, Slack, log.
    fn look(&mut self, narrator: &Narrator, simulator: &Simulator, runback: &Runback) {
        let traffic = simulator.traffic(SERVICE);
        if traffic != self.shown {
            let [before, after] = [&self.shown, &traffic].map(percentages);
            narrator.blank();
            narrator.say_in(Ink::Good, &format!("Traffic of {SERVICE}: {before} → {after}"));
            self.shown = traffic;
        }

        let messages = slack_messages(simulator);
        for message in messages.iter().skip(self.told) {
            narrator.blank();
            narrator.slack(message, true);
        }
        self.told = messages.len();

        // A line that is still being written is read the next time.
        let said = runback.said();
        let entries = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let entries: Vec<Value> = entries.collect();
        for entry in entries.iter().skip(self.logged) {
            let text = |key: &str| entry[key].as_str().unwrap_or_default();
            narrator.blank();
            narrator.say_in(Ink::Faint, &format!("Log, {}: {}", text("severity"), text("message")));
        }
        self.logged = entries.len();
    }
}

fn percentages(split: &Split) -> String {
    let shares: Vec<String> = split.iter().map(|(name, percent)| format!("{name} {percent} %")).collect();
    shares.join(", ")
}

/// Ctrl-C in a terminal reaches Runback as well; whoever else stops us has not stopped it.
async fn end(mut runback: Runback) -> ExitCode {
    if runback.wait(Duration::from_millis(300)).await.is_none() {
        runback.terminate();
        runback.wait(Duration::from_secs(10)).await;
    }
    runback.abandon();
    ExitCode::SUCCESS
}
