//! Which service a person means, and by which rules it is judged.

use std::fs;
use std::path::Path;

use clap::Args;

use super::value::given;
use super::{ACCESS_TOKEN, ConfigError, POLICY, POLICY_FILE, Secret};
use crate::domain::policy::{Policy, Rules};
use crate::domain::service::ServiceName;
use crate::policy_document;

/// Where a short service name is looked up.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Which service")]
pub struct SubjectArgs {
    /// The policy: TOML, or JSON if the file's name ends in .json [also: RUNBACK_POLICY, as JSON]
    #[arg(long, env = POLICY_FILE, value_name = "FILE")]
    policy: Option<String>,

    #[arg(long, env = POLICY, hide = true, hide_env_values = true)]
    policy_json: Option<String>,

    /// Project of a service that the policy does not list [also: CLOUDSDK_CORE_PROJECT, GOOGLE_CLOUD_PROJECT]
    #[arg(long, value_name = "PROJECT")]
    project: Option<String>,

    /// Its region [also: CLOUDSDK_RUN_REGION]
    #[arg(long, value_name = "REGION")]
    region: Option<String>,

    #[arg(long, env = "CLOUDSDK_CORE_PROJECT", hide = true)]
    gcloud_project: Option<String>,

    #[arg(long, env = "GOOGLE_CLOUD_PROJECT", hide = true)]
    google_project: Option<String>,

    #[arg(long, env = "CLOUDSDK_RUN_REGION", hide = true)]
    gcloud_region: Option<String>,

    #[arg(long, env = ACCESS_TOKEN, hide = true, hide_env_values = true)]
    access_token: Option<Secret>,
}

/// A service that a person means.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its full name.
    pub name: ServiceName,
    /// How to call it in the next command.
    pub called: String,
    /// The policy's rules for it, or the defaults.
    pub rules: Rules,
    /// Whether the policy lists it: only then a running Runback acts on it.
    pub listed: bool,
}

impl SubjectArgs {
    /// gcloud's variable for an access token, which goes before all other credentials.
    #[must_use]
    pub fn access_token(&self) -> Option<Secret> {
        self.access_token.clone()
    }

    /// The policy, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn policy(&self) -> Result<Option<Policy>, ConfigError> {
        if let Some(path) = given(self.policy.clone()) {
            return read(Path::new(&path)).map(Some);
        }
        let json = given(self.policy_json.clone());
        let parse = |json: String| {
            policy_document::parse_json(&json).map_err(|error| ConfigError(format!("{POLICY}: {error}")))
        };
        json.map(parse).transpose()
    }

    /// The service that is meant by a full name, or by a short one.
    ///
    /// # Errors
    /// When the text names none, or one that nobody can tell from another.
    pub fn subject(&self, text: &str) -> Result<Subject, ConfigError> {
        let policy = self.policy()?;
        let services = policy.map(|policy| policy.services).unwrap_or_default();
        let text = text.trim();
        let found = |name: ServiceName, called: &str| {
            let rules = services.get(&name).cloned();
            let (called, listed) = (called.to_owned(), rules.is_some());
            Ok(Subject { name, called, rules: rules.unwrap_or_default(), listed })
        };
        if let Ok(name) = text.parse::<ServiceName>() {
            return found(name, text);
        }
        if text.is_empty() || text.contains('/') {
            return Err(ConfigError(format!(
                "{text:?} names no service: it takes a short name, or projects/P/locations/R/services/S"
            )));
        }
        let (project, region) = (given(self.project.clone()), given(self.region.clone()));
        let fits = |name: &&ServiceName| {
            name.service == text
                && project.as_ref().is_none_or(|project| name.project == *project)
                && region.as_ref().is_none_or(|region| name.region == *region)
        };
        let fitting: Vec<&ServiceName> = services.keys().filter(fits).collect();
        match fitting[..] {
            [only] => {
                let namesakes = services.keys().filter(|name| name.service == text).count();
                let called = if namesakes == 1 { text.to_owned() } else { only.to_string() };
                return found(only.clone(), &called);
            }
            [] => {}
            _ => {
                let names: Vec<String> = fitting.iter().map(ToString::to_string).collect();
                return Err(ConfigError(format!(
                    "the policy lists several services called {text}: {}; add --project or --region",
                    names.join(", ")
                )));
            }
        }
        let project = project.or_else(|| given(self.gcloud_project.clone()));
        let project = project.or_else(|| given(self.google_project.clone()));
        let region = region.or_else(|| given(self.gcloud_region.clone()));
        match (project, region) {
            (Some(project), Some(region)) => {
                let name = ServiceName { project, region, service: text.to_owned() };
                let called = name.to_string();
                found(name, &called)
            }
            _ if services.is_empty() => Err(ConfigError(format!(
                "nothing says where {text} is: give --project and --region, a policy (--policy FILE), or the full name \
                 projects/P/locations/R/services/{text}"
            ))),
            _ => {
                let known: Vec<&str> = services.keys().map(|name| name.service.as_str()).collect();
                Err(ConfigError(format!(
                    "the policy lists no service {text}; it lists {}. For another one give --project and --region",
                    known.join(", ")
                )))
            }
        }
    }
}

/// Reads a policy file: TOML, or JSON by its name.
fn read(file: &Path) -> Result<Policy, ConfigError> {
    let refuse = |why: String| ConfigError(format!("the policy {}: {why}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| refuse(format!("it cannot be read: {error}")))?;
    let is_json = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let policy =
        if is_json { policy_document::parse_json(&text) } else { policy_document::parse_toml(&text) };
    policy.map_err(|error| refuse(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"{"service": [
        {"project": "demo", "region": "asia-northeast1", "service": "k-back"},
        {"project": "demo", "region": "asia-northeast1", "service": "k-front"},
        {"project": "demo", "region": "us-central1", "service": "k-front"}]}"#;

    fn arguments() -> SubjectArgs {
        SubjectArgs {
            policy: None,
            policy_json: None,
            project: None,
            region: None,
            gcloud_project: None,
            google_project: None,
            gcloud_region: None,
            access_token: None,
        }
    }

    fn told(arguments: &SubjectArgs, text: &str) -> String {
        match arguments.subject(text) {
            Ok(subject) => format!("{} called {}", subject.name, subject.called),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_short_name_is_looked_up_in_the_policy_then_in_flags_then_in_gclouds_variables() {
        let some = |text: &str| Some(text.to_owned());
        let listed = SubjectArgs { policy_json: some(POLICY), ..arguments() };
        let by_hand = SubjectArgs { project: some("other"), region: some("europe-west1"), ..listed.clone() };
        let by_gcloud = SubjectArgs {
            gcloud_project: some("p"),
            google_project: some("q"),
            gcloud_region: some("r"),
            ..listed.clone()
        };
        let by_google = SubjectArgs { gcloud_project: some(" "), policy_json: None, ..by_gcloud.clone() };
        let in_us = SubjectArgs { region: some("us-central1"), ..listed.clone() };
        let back = "projects/demo/locations/asia-northeast1/services/k-back";
        let front = "projects/demo/locations/us-central1/services/k-front";
        for (arguments, text, wanted) in [
            (&listed, "k-back", format!("{back} called k-back")),
            (&by_gcloud, "k-back", format!("{back} called k-back")),
            (&in_us, "k-front", format!("{front} called {front}")),
            (&arguments(), back, format!("{back} called {back}")),
            (
                &by_hand,
                "k-back",
                "projects/other/locations/europe-west1/services/k-back called projects/other/locations/europe-west1/services/k-back"
                    .into(),
            ),
            (
                &by_gcloud,
                "api",
                "projects/p/locations/r/services/api called projects/p/locations/r/services/api".into(),
            ),
            (
                &by_google,
                "api",
                "projects/q/locations/r/services/api called projects/q/locations/r/services/api".into(),
            ),
        ] {
            assert_eq!(told(arguments, text), wanted);
        }
    }

    #[test]
    fn what_nobody_can_tell_is_refused_with_what_there_is() {
        let listed = SubjectArgs { policy_json: Some(POLICY.to_owned()), ..arguments() };
        for (arguments, text, parts) in [
            (&listed, "k-bak", &["no service k-bak", "k-back, k-front"][..]),
            (&listed, "k-front", &["several services", "asia-northeast1", "us-central1", "--region"]),
            (&arguments(), "k-back", &["--project and --region", "--policy"]),
            (&listed, "services/k-back", &["projects/P/locations/R/services/S"]),
            (&listed, "", &["names no service"]),
        ] {
            let sentence = told(arguments, text);
            for part in parts {
                assert!(sentence.contains(part), "{part} is missing in {sentence}");
            }
        }
    }
}
