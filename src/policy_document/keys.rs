//! Every key of the policy document: how it is written and what it allows.

use std::time::Duration;

use crate::domain::policy::{Language, Mode, NotHelped, Rules, SchemaRule, Strategy};
use crate::domain::service::ServiceName;
use crate::domain::steps::ALL;

use super::value::Value;

/// The keys that name a service; only a `[[service]]` has them.
pub(super) const NAMES: [&str; 3] = ["project", "region", "service"];

/// The keys that `[defaults]` and `[[service]]` share, as listed in messages.
pub(super) const RULES: [&str; 23] = [
    "mode",
    "warning",
    "rollback",
    "critical",
    "slow",
    "slow_share",
    "window",
    "deploy_window",
    "history",
    "min_requests",
    "cooldown",
    "max_rollbacks_per_day",
    "strategy",
    "steps",
    "step_interval",
    "trial_share",
    "health_path",
    "not_helped",
    "schema",
    "alert_projects",
    "repository",
    "language",
    "mention",
];

/// Why a key could not be set.
#[derive(Debug, PartialEq)]
pub(super) enum Problem {
    /// There is no such key.
    Unknown,
    /// The value is not what the key allows, which is this.
    Must(String),
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// As long as Monitoring keeps what it counted.
const SIX_WEEKS: Duration = Duration::from_secs(42 * 24 * 60 * 60);

const STEPS: &str = "whole numbers from 1 to 100, each above the one before and the last one 100, \
                     such as [10, 50, 100]";
const PATH: &str = "a path that begins with one \"/\", has no spaces and reaches the container, such as \"/health\" \
                    (Google's front end answers \"/eventlog\", \"/_ah/...\" and paths that end in \"z\" itself)";

/// Sets one key of the rules.
pub(super) fn set(rules: &mut Rules, key: &str, value: &Value) -> Result<(), Problem> {
    match key {
        "mode" => rules.mode = word(value, [("observe", Mode::Observe), ("enforce", Mode::Enforce)])?,
        "warning" => rules.warning = Some(share(value)?),
        "rollback" => rules.rollback = share(value)?,
        "critical" => rules.critical = share(value)?,
        "slow" => {
            let allowed = "a duration above zero and up to 1h, such as \"3s\"";
            rules.slow = duration(value, allowed, |slow| !slow.is_zero() && slow <= HOUR)?;
        }
        "slow_share" => rules.slow_share = share(value)?,
        "window" => {
            let allowed = "a duration from 2m to 1h in whole minutes, such as \"10m\"";
            let fits = |window| (2 * MINUTE..=HOUR).contains(&window) && in_whole_minutes(window);
            rules.window = duration(value, allowed, fits)?;
        }
        "deploy_window" => {
            let allowed = "a duration from 1m to 42d, such as \"24h\"";
            rules.deploy_window = duration(value, allowed, |it| (MINUTE..=SIX_WEEKS).contains(&it))?;
        }
        "history" => {
            let allowed = "a duration from `window` to 42d in whole minutes, such as \"7d\"";
            let fits = |history| (MINUTE..=SIX_WEEKS).contains(&history) && in_whole_minutes(history);
            rules.history = duration(value, allowed, fits)?;
        }
        "min_requests" => rules.min_requests = whole(value, 1, 1_000_000_000)?.into(),
        "cooldown" => {
            let allowed = "a duration above zero and up to 24h, such as \"30m\"";
            rules.cooldown = duration(value, allowed, |cooldown| !cooldown.is_zero() && cooldown <= DAY)?;
        }
        "trial_share" => rules.trial_share = u8::try_from(whole(value, 1, 100)?).unwrap_or(ALL),
        "max_rollbacks_per_day" => rules.max_rollbacks_per_day = whole(value, 1, 10)?,
        "strategy" => {
            let words = [("immediate", Strategy::Immediate), ("gradual", Strategy::Gradual)];
            rules.strategy = word(value, words)?;
        }
        "steps" => rules.steps = steps(value).ok_or_else(|| Problem::Must(STEPS.to_owned()))?,
        "step_interval" => {
            let allowed = "a duration from 1m to 1h, such as \"4m\"";
            rules.step_interval = duration(value, allowed, |it| (MINUTE..=HOUR).contains(&it))?;
        }
        "health_path" => {
            let path = path(value).ok_or_else(|| Problem::Must(PATH.to_owned()))?;
            rules.health_path = Some(path);
        }
        "not_helped" => {
            rules.not_helped = word(value, [("hold", NotHelped::Hold), ("restore", NotHelped::Restore)])?;
        }
        "schema" => {
            rules.schema = word(value, [("block", SchemaRule::Block), ("allow", SchemaRule::Allow)])?;
        }
        "alert_projects" => {
            let allowed = "a list of project ids, such as [\"my-monitoring\"]";
            rules.alert_projects = projects(value).ok_or_else(|| Problem::Must(allowed.to_owned()))?;
        }
        "repository" => {
            let allowed = "the https address of a repository, such as \"https://github.com/acme/k-back\"";
            rules.repository = Some(repository(value).ok_or_else(|| Problem::Must(allowed.to_owned()))?);
        }
        "language" => {
            rules.language = word(value, [("en", Language::English), ("ja", Language::Japanese)])?;
        }
        "mention" => {
            let allowed = "a group or a member as Slack writes it, \"<!subteam^S123>\" or \"<@U123>\"";
            rules.mention = Some(mention(value).ok_or_else(|| Problem::Must(allowed.to_owned()))?);
        }
        _ => return Err(Problem::Unknown),
    }
    Ok(())
}

/// The name of the service that a `[[service]]` table is about.
pub(super) fn service_name(table: &[(String, Value)]) -> Result<ServiceName, String> {
    let named = |key: &str, fits: fn(&str) -> bool, allowed: &str| {
        let value = table.iter().find(|(name, _)| name == key).map(|(_, value)| value);
        match value {
            None | Some(Value::Null) => Err(format!("`{key}` is missing")),
            Some(Value::Text(text)) if fits(text) => Ok(text.clone()),
            Some(other) => Err(format!("`{key}` must be {allowed}, not {other}")),
        }
    };
    Ok(ServiceName {
        project: named("project", is_project_id, "a project id (not its number), such as \"my-project\"")?,
        region: named("region", is_label, "a region, such as \"asia-northeast1\"")?,
        service: named("service", is_label, "a Cloud Run service's short name, such as \"k-back\"")?,
    })
}

fn is_label(text: &str) -> bool {
    let of_label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.len() <= 63 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(of_label)
}

/// Old projects carry their organisation's domain: `example.com:my-project`.
fn is_project_id(text: &str) -> bool {
    match text.split_once(':') {
        Some((domain, id)) => domain.split('.').all(is_domain_part) && is_label(id),
        None => is_label(text),
    }
}

fn is_domain_part(text: &str) -> bool {
    let of_domain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(of_domain)
}

fn word<T: Copy, const N: usize>(value: &Value, words: [(&str, T); N]) -> Result<T, Problem> {
    let meant = words.iter().find(|(word, _)| *value == Value::Text((*word).to_owned()));
    meant.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let quoted: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        Problem::Must(quoted.join(" or "))
    })
}

fn share(value: &Value) -> Result<f64, Problem> {
    match value {
        Value::Number(share) if *share > 0.0 && *share <= 1.0 => Ok(*share),
        _ => Err(Problem::Must("a number above 0 and up to 1, such as 0.05 for 5 %".to_owned())),
    }
}

fn whole(value: &Value, least: u32, most: u32) -> Result<u32, Problem> {
    let number = value.as_whole().and_then(|number| u32::try_from(number).ok());
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| Problem::Must(format!("a whole number from {least} to {most}")))
}

fn duration(value: &Value, allowed: &str, fits: impl Fn(Duration) -> bool) -> Result<Duration, Problem> {
    let duration = match value {
        Value::Text(text) => humantime::parse_duration(text).ok(),
        _ => None,
    };
    duration.filter(|duration| fits(*duration)).ok_or_else(|| Problem::Must(allowed.to_owned()))
}

fn in_whole_minutes(duration: Duration) -> bool {
    duration.subsec_nanos() == 0 && duration.as_secs().is_multiple_of(60)
}

fn steps(value: &Value) -> Option<Vec<u8>> {
    let Value::List(list) = value else { return None };
    let steps: Vec<u8> =
        list.iter().map(|step| u8::try_from(step.as_whole()?).ok()).collect::<Option<_>>()?;
    let ascending = steps.is_sorted_by(|before, after| before < after);
    (ascending && steps.first() > Some(&0) && steps.last() == Some(&100)).then_some(steps)
}

fn projects(value: &Value) -> Option<Vec<String>> {
    let Value::List(list) = value else { return None };
    let project = |value: &Value| match value {
        Value::Text(text) if is_project_id(text) => Some(text.clone()),
        _ => None,
    };
    list.iter().map(project).collect()
}

/// Without a slash at its end: `/compare/` follows.
fn repository(value: &Value) -> Option<String> {
    let Value::Text(text) = value else { return None };
    let address = text.trim_end_matches('/');
    let fits = address.strip_prefix("https://").is_some_and(|rest| rest.contains('/'))
        && address.len() <= 200
        && address.chars().all(|c| c.is_ascii_alphanumeric() || "-._~/:".contains(c));
    fits.then(|| address.to_owned())
}

fn mention(value: &Value) -> Option<String> {
    let Value::Text(text) = value else { return None };
    let inner = text.strip_suffix('>')?;
    let id = inner.strip_prefix("<!subteam^").or(inner.strip_prefix("<@"))?;
    let fits =
        (1..=30).contains(&id.len()) && id.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    fits.then(|| text.clone())
}

fn path(value: &Value) -> Option<String> {
    let Value::Text(path) = value else { return None };
    // Two slashes would begin a host, and a fragment is never sent.
    let fits = path.starts_with('/')
        && !path.starts_with("//")
        && path.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '#' | '\\'))
        && reaches_the_container(path);
    fits.then(|| path.clone())
}

/// Cloud Run's known issues list the paths that its front end keeps: <https://cloud.google.com/run/docs/known-issues>.
fn reaches_the_container(path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    path != "/eventlog" && !path.starts_with("/_ah/") && !path.ends_with('z')
}
