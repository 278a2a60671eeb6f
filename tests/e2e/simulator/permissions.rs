//! What Google would ask for each call, by the list that Terraform makes the roles of.

use std::collections::BTreeSet;

use serde_json::Value;

use super::world::Call;

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

/// Calls that IAM has nothing to do with: Slack, and the token that every other call carries, wherever it is from.
fn is_free(call: &str) -> bool {
    call.starts_with("slack.") || matches!(call, "token" | "metadata" | "unknown")
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
