//! The policy document: TOML in a file or JSON in a variable becomes a `Policy`, or one sentence about what is
//! wrong with it.
//!
//! Both notations are read into the same tree, so that both have the same keys, bounds and messages. `[defaults]`
//! and then the service's own table are laid over `Rules::default`.
//!
//! | key | allowed |
//! |---|---|
//! | `mode` | `"observe"`, `"enforce"` |
//! | `warning`, `rollback`, `critical` | above 0, up to 1; `warning` < `rollback` <= `critical` |
//! | `slow` | above zero, up to 1h, which is as long as Cloud Run lets a request take |
//! | `slow_share` | above 0, up to 1 |
//! | `window` | 2m to 1h in whole minutes, because evidence is counted by the minute |
//! | `deploy_window` | 1m to 42d |
//! | `history` | up to 42d (Monitoring keeps six weeks) in whole minutes, at least `window` |
//! | `min_requests` | 1 to 1000000000 |
//! | `cooldown` | above zero, up to 24h |
//! | `max_rollbacks_per_day` | 1 to 10, because the record remembers ten rollbacks |
//! | `strategy` | `"immediate"`, `"gradual"` |
//! | `steps` | whole numbers from 1 to 100 in strictly ascending order, the last is 100 |
//! | `step_interval` | 1m to 1h |
//! | `trial_share` | 1 to 100; 100: no trials |
//! | `health_path` | a path that begins with one `/` |
//! | `not_helped` | `"hold"`, `"restore"` |
//! | `schema` | `"block"`, `"allow"` |
//! | `alert_projects` | a list of project ids |

mod keys;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;

use crate::domain::policy::{Policy, Rules};
use crate::domain::service::ServiceName;

use keys::Problem;
use value::Value;

/// What is wrong with a policy document: one sentence that names the place and the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyError(String);

/// Reads the policy from TOML, as kept in `RUNBACK_POLICY_FILE`.
///
/// # Errors
///
/// When the text is no TOML, has an unknown key or an impossible value, or guards no service.
pub fn parse_toml(text: &str) -> Result<Policy, PolicyError> {
    let document = toml::from_str(text).map_err(|error| {
        let what = error.message().trim().replace('\n', ", ");
        let before = error.span().and_then(|span| text.get(..span.start));
        match before.map(|before| before.matches('\n').count() + 1) {
            Some(line) => PolicyError(format!("the policy is not valid TOML at line {line}: {what}")),
            None => PolicyError(format!("the policy is not valid TOML: {what}")),
        }
    })?;
    policy(document)
}

/// Reads the policy from JSON, as kept in `RUNBACK_POLICY`.
///
/// A `null` means that the key is not set: Terraform's `jsonencode` writes one for every unset optional.
///
/// # Errors
///
/// When the text is no JSON, has an unknown or repeated key or an impossible value, or guards no service.
pub fn parse_json(text: &str) -> Result<Policy, PolicyError> {
    let document = serde_json::from_str(text)
        .map_err(|error| PolicyError(format!("the policy is not valid JSON: {error}")))?;
    policy(document)
}

fn policy(document: Value) -> Result<Policy, PolicyError> {
    let Value::Table(entries) = document else {
        let sentence = format!("the policy must be a table with `defaults` and `service`, not {document}");
        return Err(PolicyError(sentence));
    };
    let (mut defaults, mut listed) = (Vec::new(), Vec::new());
    for (key, value) in entries {
        match (key.as_str(), value) {
            ("defaults" | "service", Value::Null) => {}
            ("defaults", Value::Table(table)) => defaults = table,
            ("defaults", other) => {
                return Err(PolicyError(format!("`defaults` must be a table, not {other}")));
            }
            ("service", Value::List(list)) => listed = list,
            ("service", other) => {
                let sentence = format!(
                    "`service` must be a list of tables ([[service]] in TOML, [{{…}}] in JSON), not {other}"
                );
                return Err(PolicyError(sentence));
            }
            (other, _) => {
                let sentence = format!(
                    "the policy has no key `{other}`; at its top level it knows `defaults` and `service`"
                );
                return Err(PolicyError(sentence));
            }
        }
    }

    // The defaults are laid down on their own first, so that a mistake in them is not blamed on a service.
    let defaults = rules(Rules::default(), &defaults, &[], "[defaults]")?;
    let mut services = BTreeMap::new();
    for (index, value) in listed.iter().enumerate() {
        let (name, rules) = service(&defaults, value, index + 1)?;
        if services.contains_key(&name) {
            return Err(PolicyError(format!("the service {name} is listed twice")));
        }
        coherent(&rules).map_err(|problem| PolicyError(format!("in {name}, {problem}")))?;
        services.insert(name, rules);
    }
    if services.is_empty() {
        let sentence =
            "the policy guards no service: it needs a [[service]] with `project`, `region` and `service`";
        return Err(PolicyError(sentence.to_owned()));
    }
    Ok(Policy { services })
}

fn service(defaults: &Rules, value: &Value, number: usize) -> Result<(ServiceName, Rules), PolicyError> {
    let Value::Table(table) = value else {
        return Err(PolicyError(format!("[[service]] number {number} must be a table, not {value}")));
    };
    let name = keys::service_name(table);
    let place = match &name {
        Ok(name) => name.to_string(),
        Err(_) => format!("[[service]] number {number}"),
    };
    // Before the name, because a misspelt `project` is better called unknown than missing.
    let rules = rules(defaults.clone(), table, &keys::NAMES, &place)?;
    let name = name.map_err(|problem| PolicyError(format!("in {place}, {problem}")))?;
    Ok((name, rules))
}

/// One layer of keys laid over the rules below it. Keys in `aside` belong to the same table and are read elsewhere.
fn rules(
    mut rules: Rules,
    table: &[(String, Value)],
    aside: &[&str],
    place: &str,
) -> Result<Rules, PolicyError> {
    for (key, value) in table {
        if aside.contains(&key.as_str()) || *value == Value::Null {
            continue;
        }
        keys::set(&mut rules, key, value).map_err(|problem| match problem {
            Problem::Unknown => {
                let known: Vec<&str> = aside.iter().chain(&keys::RULES).copied().collect();
                PolicyError(format!("in {place}, there is no key `{key}`; it knows {}", known.join(", ")))
            }
            Problem::Must(allowed) => {
                PolicyError(format!("in {place}, `{key}` must be {allowed}, not {value}"))
            }
        })?;
    }
    Ok(rules)
}

/// What keys demand of each other, asked once all layers are down.
fn coherent(rules: &Rules) -> Result<(), String> {
    let Rules { warning, rollback, critical, window, history, .. } = rules;
    if let Some(warning) = warning.filter(|warning| warning >= rollback) {
        return Err(format!("`warning` ({warning}) must be below `rollback` ({rollback})"));
    }
    if rollback > critical {
        return Err(format!("`rollback` ({rollback}) must not be above `critical` ({critical})"));
    }
    if history < window {
        let (history, window) = (humantime::format_duration(*history), humantime::format_duration(*window));
        return Err(format!("`history` ({history}) must not be shorter than `window` ({window})"));
    }
    Ok(())
}
