//! Least privilege, shown: what Terraform grants is what Runback calls, no less and no more. That nothing is missing is
//! checked at the end of every test (`Simulator::violations`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::alert::{Alert, Envelope};
use crate::harness::Launch;
use crate::simulator::{Simulator, minutes, permissions};
use crate::situation::{SERVICE, a_failing_deploy, assert_rolled_back, k_back, under_policy, uptime};

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn calls_made(simulator: &Simulator) -> BTreeSet<String> {
    simulator.calls("*").into_iter().map(|call| call.name).collect()
}

/// A rollback with its preflight and its check, one that is taken up again after a crash, and an alert whose policy
/// vouches for it.
async fn every_kind_of_call() -> BTreeSet<String> {
    let (simulator, runback, alert) = under_policy(k_back(0.4), json!({"health_path": "/health"})).await;
    simulator.answer_at_tags(SERVICE);
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    simulator.advance(minutes(6));
    runback.deliver_due_tasks().await;
    assert_rolled_back(&simulator);
    runback.finish().await;
    let mut made = calls_made(&simulator);

    let (simulator, mut runback, alert) = a_failing_deploy().await;
    simulator.at("run.put").carried_out().does(runback.killer());
    assert_eq!(runback.deliver(&alert).await.status, 0);
    runback.restart().await;
    simulator.repair();
    simulator.advance(Duration::from_secs(15));
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    runback.finish().await;
    made.extend(calls_made(&simulator));

    let simulator = Simulator::with([k_back(0.0)]).await;
    let launch = Launch::beside(&simulator).variable("RUNBACK_CALLERS_EVENTS", "trigger@example.com");
    let runback = launch.start().await;
    let claims = uptime(Alert::on(&simulator, SERVICE), json!({"runback": "rollback"}));
    let from_the_trigger = claims.wrapped(Envelope::Eventarc).by("trigger@example.com");
    runback.send(&from_the_trigger).await.is(200, "notify", "explain_only");
    runback.finish().await;
    made.extend(calls_made(&simulator));
    made
}

#[tokio::test]
async fn no_permission_is_granted_that_no_call_needs() {
    let made = every_kind_of_call().await;
    for permission in permissions() {
        let idle: Vec<_> = permission.calls.iter().filter(|call| !made.contains(*call)).collect();
        assert!(
            !permission.calls.is_empty() && idle.is_empty(),
            "{} is granted for {idle:?}, which Runback was not seen to call: take it out of \
             infra/permissions.json and docs/permissions.md, or let a story in tests/e2e/permissions.rs make the call",
            permission.name
        );
    }
}

/// Every permission that a client says it needs, in the words of its own code.
fn claimed() -> BTreeSet<String> {
    fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            // The registry is asked by people's commands alone.
            } else if path.extension().is_some_and(|end| end == "rs")
                && !path.ends_with("tests.rs")
                && !path.ends_with("registry.rs")
            {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/clients"), &mut found);
    let is_permission = |text: &str| {
        let parts: Vec<&str> = text.split('.').collect();
        let apis = ["run", "monitoring", "cloudtasks", "artifactregistry", "iam", "logging"];
        parts.len() == 3
            && apis.contains(&parts[0])
            && parts[1..].iter().all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphabetic()))
    };
    let mut claimed = BTreeSet::new();
    for path in found {
        let text = fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let quoted = code.split('"').skip(1).step_by(2).filter(|text| is_permission(text));
        claimed.extend(quoted.map(str::to_owned));
    }
    claimed
}

#[test]
fn what_a_client_says_is_missing_is_what_terraform_grants() {
    let granted: BTreeSet<String> = permissions().into_iter().map(|permission| permission.name).collect();
    let claimed = claimed();
    assert!(claimed.contains("run.services.update"), "the clients are not understood: {claimed:?}");
    let missing: Vec<_> = claimed.difference(&granted).collect();
    assert!(
        missing.is_empty(),
        "src/clients names {missing:?}, which infra/permissions.json does not: people would be told to grant \
         what Terraform should have granted"
    );
}

#[test]
fn docs_permissions_md_has_a_row_for_each_permission() {
    let text = file("docs/permissions.md");
    let (_, table) = text.split_once("| permission | granted as | needed for |\n|---|---|---|\n").unwrap();
    let rows: Vec<&str> = table.lines().take_while(|line| !line.is_empty()).collect();
    let wanted: Vec<String> = permissions()
        .iter()
        .map(|it| format!("| `{}` | {} | {} |", it.name, it.granted, it.needed_for))
        .collect();
    assert_eq!(
        rows,
        wanted,
        "docs/permissions.md and infra/permissions.json differ; these are the rows:\n{}\n",
        wanted.join("\n")
    );
}

/// A role that Google defines is written in both files; one of ours is made of the list.
#[test]
fn every_role_of_the_list_is_given_by_terraform_and_no_other() {
    let code = file("infra/permissions.tf");
    for permission in permissions() {
        let (role, name) = (&permission.role, &permission.name);
        let given = match role.starts_with("roles/") {
            true => code.contains(&format!("= \"{role}\"")),
            false => {
                let made = format!("resource \"google_project_iam_custom_role\" \"{role}\"");
                code.contains(&made) && code.contains(&format!("local.permissions.{role}\n"))
            }
        };
        assert!(given, "infra/permissions.tf gives nobody the role {role}, which {name} is to come with");
    }
    let listed: BTreeSet<String> = permissions().into_iter().map(|permission| permission.role).collect();
    let given = code.split('"').skip(1).step_by(2).filter(|text| text.starts_with("roles/"));
    let surplus: Vec<_> = given.filter(|role| !listed.contains(*role)).collect();
    assert!(
        surplus.is_empty(),
        "infra/permissions.tf gives {surplus:?}, which infra/permissions.json does not list"
    );
}
