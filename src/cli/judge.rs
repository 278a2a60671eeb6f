//! `runback judge`: a decision without doing anything, about a live service or about snapshots.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::terminal::patiently;
use super::{Stopped, bad, failed, google, network, refused, say};
use crate::answer::Answer;
use crate::clients::cloud_run::CloudRun;
use crate::clients::metadata::Metadata;
use crate::clients::monitoring::Monitoring;
use crate::config::{GoogleArgs, Subject, SubjectArgs};
use crate::domain::decision::{Decision, Outcome};
use crate::domain::policy::Policy;
use crate::domain::service::ServiceName;
use crate::respond::Received;
use crate::snapshot::{Snapshot, TakeError};

/// What `runback judge` is told.
#[derive(Debug, Args)]
pub(super) struct JudgeArgs {
    /// A file with the alert, as Monitoring, Pub/Sub or Eventarc would deliver its body (- or nothing: standard input);
    /// or a service, as if an alert on its errors had just come
    #[arg(value_name = "ALERT|SERVICE", conflicts_with = "snapshot")]
    subject: Option<String>,

    /// Judge this recorded snapshot, or each *.json file of this folder, instead of the live service
    #[arg(long, value_name = "FILE|DIR")]
    snapshot: Option<PathBuf>,

    /// Keep what was read of the live service as a snapshot
    #[arg(long, value_name = "FILE", conflicts_with = "snapshot")]
    save: Option<PathBuf>,

    /// Print JSON instead of text
    #[arg(long)]
    json: bool,

    /// Exit with 3 unless the decision is ignore: people, or Runback, have to do something
    #[arg(long)]
    exit_code: bool,

    #[command(flatten)]
    place: SubjectArgs,

    /// Where Google is, and as whom we speak to it.
    #[command(flatten)]
    google: GoogleArgs,
}

/// Prints the decision. Whatever it is, it is no error, unless the exit status is asked for.
pub(super) async fn judge(arguments: JudgeArgs) -> Result<(), Stopped> {
    match &arguments.snapshot {
        None => live(arguments).await,
        Some(path) => {
            let policy = policy(&arguments.place)?;
            if path.is_dir() {
                return table(path, &policy, arguments.json, arguments.exit_code);
            }
            let snapshot = read_snapshot(path).map_err(bad)?;
            let decision = show(&snapshot, &policy, arguments.json)?;
            exit(arguments.exit_code, &[decision.outcome])
        }
    }
}

/// Asks the live service. It is read, and nothing else.
async fn live(arguments: JudgeArgs) -> Result<(), Stopped> {
    let now = Received::now().at;
    let (message, policy) = match service(&arguments)? {
        Some(subject) => {
            let message = errors_of(&subject.name, now).to_string().into_bytes();
            (message, Policy { services: [(subject.name, subject.rules)].into() })
        }
        None => {
            let policy = policy(&arguments.place)?;
            (message(arguments.subject.as_deref().map(Path::new))?, policy)
        }
    };
    let alert = Snapshot::of_message(&message, now).map_err(bad)?;
    let config = arguments.google.check_with(arguments.place.access_token()).map_err(bad)?;
    let metadata = Metadata::of_this_machine().map_err(failed)?;
    let google = google(&config, &network()?, &metadata)?;
    let cloud_run = CloudRun::new(google.clone(), &config.run_url);
    let monitoring = Monitoring::new(google, &config.monitoring_url);
    let take = alert.take(&policy, &cloud_run, &monitoring);
    let snapshot = patiently("Reading the service", take).await.map_err(|error| match error {
        TakeError::Message(why) => bad(why),
        TakeError::Google(why) => failed(why),
    })?;
    // The decision first: a file that cannot be written must not hide it.
    let decision = show(&snapshot, &policy, arguments.json)?;
    if let Some(file) = &arguments.save {
        fs::write(file, snapshot.to_json())
            .map_err(|error| failed(format!("{} cannot be written: {error}", file.display())))?;
        eprintln!("runback: what was read is saved in {}", file.display());
    }
    exit(arguments.exit_code, &[decision.outcome])
}

/// With `--exit-code`: whether there is anything to be done.
fn exit(asked: bool, outcomes: &[Outcome]) -> Result<(), Stopped> {
    match outcomes.iter().find(|outcome| **outcome != Outcome::Ignore) {
        Some(outcome) if asked => Err(refused(format!("the decision is {}", outcome.word()))),
        _ => Ok(()),
    }
}

/// The service, where one is named and no file.
fn service(arguments: &JudgeArgs) -> Result<Option<Subject>, Stopped> {
    match &arguments.subject {
        Some(text) if text != "-" && !Path::new(text).exists() => match arguments.place.subject(text) {
            Ok(subject) => Ok(Some(subject)),
            Err(why) => Err(bad(format!("there is no file {text}, and as a service: {why}"))),
        },
        _ => Ok(None),
    }
}

/// What Monitoring would send if an alert on the service's errors had fired just now.
fn errors_of(name: &ServiceName, now: DateTime<Utc>) -> Value {
    let ServiceName { project, region, service } = name;
    let metric = "run.googleapis.com/request_count";
    json!({"version": "1.2", "incident": {
        "incident_id": format!("judge-{}", now.timestamp()),
        "state": "open",
        "started_at": now.timestamp(),
        "scoping_project_id": project,
        "policy_name": "runback judge",
        "condition_name": "5xx",
        "resource": {"type": "cloud_run_revision",
                     "labels": {"project_id": project, "location": region, "service_name": service}},
        "metric": {"type": metric, "labels": {"response_code_class": "5xx"}},
        "condition": {"conditionThreshold": {
            "filter": format!(
                "resource.type=\"cloud_run_revision\" AND metric.type=\"{metric}\" AND metric.labels.response_code_class=\"5xx\""
            ),
            "comparison": "COMPARISON_GT"}},
    }})
}

fn policy(place: &SubjectArgs) -> Result<Policy, Stopped> {
    let policy = place.policy().map_err(bad)?;
    policy.ok_or_else(|| {
        bad("a policy is needed to judge by: --policy FILE, RUNBACK_POLICY_FILE or RUNBACK_POLICY")
    })
}

fn message(file: Option<&Path>) -> Result<Vec<u8>, Stopped> {
    if let Some(file) = file.filter(|file| file.as_os_str() != "-") {
        return fs::read(file).map_err(|error| bad(format!("{} cannot be read: {error}", file.display())));
    }
    let mut stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(bad("an alert is needed: a file, standard input, or --snapshot"));
    }
    let mut bytes = Vec::new();
    stdin.read_to_end(&mut bytes).map_err(|error| bad(format!("standard input cannot be read: {error}")))?;
    Ok(bytes)
}

fn read_snapshot(file: &Path) -> Result<Snapshot, String> {
    let bytes = fs::read(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    Snapshot::parse(&bytes).map_err(|error| format!("{}: {error}", file.display()))
}

fn show(snapshot: &Snapshot, policy: &Policy, json: bool) -> Result<Decision, Stopped> {
    let decision = snapshot.decide(policy).map_err(bad)?;
    if let Some(misfit) = snapshot.misfit(policy) {
        eprintln!("runback: {misfit}");
    }
    if json {
        say(&pretty(&Answer::from(&decision))?)?;
    } else {
        say(&format!("DRY RUN: nothing is touched.\n{decision}{}", shift(&decision)))?;
    }
    Ok(decision)
}

fn pretty(value: &impl Serialize) -> Result<String, Stopped> {
    serde_json::to_string_pretty(value).map_err(failed)
}

/// The move that was decided on, or would be.
fn shift(decision: &Decision) -> String {
    let Some(plan) = &decision.plan else { return String::new() };
    let split = |shares: &[crate::domain::record::Share]| {
        let shares: Vec<String> =
            shares.iter().map(|share| format!("{} {} %", share.revision, share.percent)).collect();
        shares.join(", ")
    };
    format!("\n  traffic: {} -> {}", split(&plan.from), split(&plan.to))
}

/// One line for each snapshot of a folder. A file that cannot be judged has its line too; then the status is 2.
fn table(folder: &Path, policy: &Policy, json: bool, exit_code: bool) -> Result<(), Stopped> {
    let entries = fs::read_dir(folder)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| bad(format!("{} cannot be read: {error}", folder.display())))?;
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    if files.is_empty() {
        return Err(bad(format!("{} holds no *.json file", folder.display())));
    }
    let mut unread = 0;
    let mut rows = Vec::new();
    let mut outcomes = Vec::new();
    let mut answers = Vec::new();
    for file in &files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let judged = read_snapshot(file).and_then(|snapshot| {
            if let Some(misfit) = snapshot.misfit(policy) {
                eprintln!("runback: {name}: {misfit}");
            }
            snapshot.decide(policy).map_err(|error| error.to_string())
        });
        match judged {
            Ok(decision) => {
                let answer = serde_json::to_value(Answer::from(&decision)).map_err(failed)?;
                answers.push(serde_json::json!({"snapshot": name, "answer": answer}));
                rows.push(row(name, &decision));
                outcomes.push(decision.outcome);
            }
            Err(why) => {
                unread += 1;
                answers.push(serde_json::json!({"snapshot": name, "error": why}));
                rows.push([name, "?".into(), "unreadable".into(), String::new(), why]);
            }
        }
    }
    say(&if json { pretty(&answers)? } else { aligned(&rows) })?;
    match unread {
        0 => exit(exit_code, &outcomes),
        _ => Err(bad(format!("{unread} of {} files are no snapshots that can be judged", files.len()))),
    }
}

fn row(name: String, decision: &Decision) -> [String; 5] {
    let target = decision.plan.as_ref().map_or_else(String::new, |plan| plan.target.name.clone());
    let settled = match decision.outcome {
        // Every gate passed; what convicted the culprit says most.
        Outcome::Rollback => decision.gates.iter().find(|gate| gate.name == "failing"),
        _ => decision.settled_by(),
    };
    let why = settled.map_or_else(String::new, |gate| gate.detail.clone());
    [name, decision.outcome.word().into(), decision.reason.code().into(), target, why]
}

fn aligned(rows: &[[String; 5]]) -> String {
    let head = ["snapshot", "decision", "reason", "target", "because"].map(String::from);
    let all: Vec<&[String; 5]> = std::iter::once(&head).chain(rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    let mut text = String::new();
    for [name, decision, reason, target, why] in all {
        let [a, b, c, d] = widths;
        let _ = write!(text, "\n{name:<a$}  {decision:<b$}  {reason:<c$}  {target:<d$}  {why}");
    }
    text.trim_start().to_owned()
}
