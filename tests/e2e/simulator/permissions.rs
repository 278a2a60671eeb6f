//! What Google would ask for each call, by the list that Terraform makes the roles of.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::wire::{Reply, refusal};
use super::world::{Call, World};

/// One entry of `infra/permissions.json`.
pub struct Permission {
    pub name: String,
    /// Google's role that it comes with, or ours.
    pub role: String,
    pub granted: String,
    pub needed_for: String,
    /// The calls that need it, by their names in the journal.
    pub calls: Vec<String>,
}

pub fn permissions() -> Vec<Permission> {
    let list: Value = serde_json::from_str(include_str!("../../../infra/permissions.json")).unwrap();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap().to_owned();
    let entries = list.as_array().unwrap().iter();
    entries
        .map(|entry| Permission {
            name: text(entry, "permission"),
            role: text(entry, "role"),
            granted: text(entry, "granted"),
            needed_for: text(entry, "needed_for"),
            calls: entry["calls"]
                .as_array()
                .unwrap()
                .iter()
                .map(|call| call.as_str().unwrap().to_owned())
                .collect(),
        })
        .collect()
}

/// Those of the permissions that nobody has taken away.
pub fn test(world: &World, asked: &Value) -> Result<Reply, Reply> {
    let Some(asked) = asked["permissions"].as_array() else {
        return Err(refusal(400, "Permissions must be specified."));
    };
    let held: Vec<_> = asked.iter().filter(|name| !world.lost.iter().any(|lost| *name == lost)).collect();
    // Google leaves an empty list out.
    Ok(Reply::json(&if held.is_empty() { json!({}) } else { json!({ "permissions": held }) }))
}

/// Calls that need no permission: Slack's, the token that every other call carries, and what asks for permissions.
fn is_free(call: &str) -> bool {
    call.starts_with("slack.") || matches!(call, "token" | "metadata" | "run.iam" | "unknown")
}

/// The calls that no entry of the list is for. In production they would be refused.
pub fn unpermitted(journal: &[Call]) -> Vec<String> {
    let listed: BTreeSet<String> = permissions().into_iter().flat_map(|entry| entry.calls).collect();
    let made: BTreeSet<&str> = journal.iter().map(|call| call.name.as_str()).collect();
    made.into_iter()
        .filter(|call| !is_free(call) && !listed.contains(*call))
        .map(|call| {
            format!(
                "the call {call} needs a permission that nobody grants: name it in infra/permissions.json with \
                 \"calls\": [\"{call}\"], give it to a role in infra/permissions.tf, and add its row to \
                 docs/permissions.md"
            )
        })
        .collect()
}
