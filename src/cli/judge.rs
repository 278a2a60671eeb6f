//! `runback judge`: a decision without doing anything, about a live service or about snapshots.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::{Stopped, bad, failed, google, network, say};
use crate::answer::Answer;
use crate::clients::cloud_run::CloudRun;
use crate::clients::metadata::Metadata;
use crate::clients::monitoring::Monitoring;
use crate::config::GoogleArgs;
use crate::domain::decision::{Decision, Outcome};
use crate::domain::policy::Policy;
use crate::policy_document;
use crate::respond::Received;
use crate::snapshot::{Snapshot, TakeError};

/// What `runback judge` is told.
#[derive(Debug, Args)]
pub(super) struct JudgeArgs {
    /// The alert, as Monitoring, Pub/Sub or Eventarc would deliver its body; - or nothing: standard input
    #[arg(value_name = "ALERT", conflicts_with = "snapshot")]
    alert: Option<PathBuf>,

    /// The policy: TOML, or JSON if the file's name ends in .json
    #[arg(long, env = "RUNBACK_POLICY_FILE", value_name = "FILE")]
    policy: PathBuf,

    /// Judge this recorded snapshot, or each *.json file of this folder, instead of the live service
    #[arg(long, value_name = "FILE|DIR")]
    snapshot: Option<PathBuf>,

    /// Keep what was read of the live service as a snapshot
    #[arg(long, value_name = "FILE", conflicts_with = "snapshot")]
    save: Option<PathBuf>,

    /// Print JSON instead of text
    #[arg(long)]
    json: bool,

    /// Where Google is, and as whom we speak to it.
    #[command(flatten)]
    google: GoogleArgs,
}

/// Prints the decision. Whatever it is, it is no error.
pub(super) async fn judge(arguments: JudgeArgs) -> Result<(), Stopped> {
    let policy = policy(&arguments.policy)?;
    match &arguments.snapshot {
        Some(folder) if folder.is_dir() => table(folder, &policy, arguments.json),
        Some(file) => show(&read_snapshot(file).map_err(bad)?, &policy, arguments.json),
        None => live(arguments, &policy).await,
    }
}

/// Asks the live service. It is read, and nothing else.
async fn live(arguments: JudgeArgs, policy: &Policy) -> Result<(), Stopped> {
    let message = message(arguments.alert.as_deref())?;
    let alert = Snapshot::of_message(&message, Received::now().at).map_err(bad)?;
    let config = arguments.google.check().map_err(bad)?;
    let metadata = Metadata::of_this_machine().map_err(failed)?;
    let google = google(&config, &network()?, &metadata)?;
    let cloud_run = CloudRun::new(google.clone(), &config.run_url);
    let monitoring = Monitoring::new(google, &config.monitoring_url);
    let snapshot = alert.take(policy, &cloud_run, &monitoring).await.map_err(|error| match error {
        TakeError::Message(why) => bad(why),
        TakeError::Google(why) => failed(why),
    })?;
    // The decision first: a file that cannot be written must not hide it.
    show(&snapshot, policy, arguments.json)?;
    if let Some(file) = &arguments.save {
        fs::write(file, snapshot.to_json())
            .map_err(|error| failed(format!("{} cannot be written: {error}", file.display())))?;
    }
    Ok(())
}

fn policy(file: &Path) -> Result<Policy, Stopped> {
    let refuse = |why: String| bad(format!("the policy {}: {why}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| refuse(format!("it cannot be read: {error}")))?;
    let is_json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let policy =
        if is_json { policy_document::parse_json(&text) } else { policy_document::parse_toml(&text) };
    policy.map_err(|error| refuse(error.to_string()))
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

fn show(snapshot: &Snapshot, policy: &Policy, json: bool) -> Result<(), Stopped> {
    let decision = snapshot.decide(policy).map_err(bad)?;
    if let Some(misfit) = snapshot.misfit(policy) {
        eprintln!("runback: {misfit}");
    }
    if json {
        say(&pretty(&Answer::from(&decision))?)
    } else {
        say(&format!("{decision}{}", shift(&decision)))
    }
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
fn table(folder: &Path, policy: &Policy, json: bool) -> Result<(), Stopped> {
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
        0 => Ok(()),
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
