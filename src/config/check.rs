//! From texts to values: what is missing, half set or malformed is refused at start, by the variable's name.

use std::fs;
use std::path::PathBuf;

use crate::domain::policy::Policy;
use crate::policy_document;

use super::callers::CallersConfig;
use super::value::{base_url, email, given, http_url, is_header_text, key_file, port, queue, run_url};
use super::{
    ACCESS_TOKEN, CREDENTIALS, DEFAULT_MONITORING_URL, DEFAULT_REGISTRY_URL, DEFAULT_SLACK_API_URL,
    DEFAULT_TASKS_URL, GoogleArgs, IDENTITY_TOKEN, MONITORING_URL, POLICY, POLICY_FILE, PUBLIC_URL,
    PolicyArgs, REGISTRY_URL, SERVICE_ACCOUNT, SLACK_API_URL, SLACK_BOT_TOKEN, SLACK_CHANNEL,
    SLACK_WEBHOOK_URL, Secret, ServeArgs, SlackArgs, TASKS_QUEUE, TASKS_URL, TasksArgs, WEBHOOK_PASSWORD,
    WEBHOOK_USER, WatchArgs, WebhookArgs,
};

/// Which variable is wrong, and what it should be: one sentence that never shows a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub(super) String);

/// What `runback serve` runs with. URLs have no slash at their end.
#[derive(Debug, Clone)]
pub struct Config {
    /// Port to listen on.
    pub port: u16,
    /// The guarded services.
    pub policy: Policy,
    /// Where Google is.
    pub google: GoogleConfig,
    /// The queue; unset: no later checks.
    pub tasks: Option<TasksConfig>,
    /// Whom to tell; unset: nobody.
    pub slack: Option<SlackConfig>,
    /// Who may call which path.
    pub callers: CallersConfig,
    /// Who may call `/webhook`; unset: nobody.
    pub webhook: Option<WebhookLogin>,
}

/// Where Google is, and as whom we speak to it.
#[derive(Debug, Clone)]
pub struct GoogleConfig {
    /// Base URL of the Cloud Run Admin API, in which `{region}` is to be replaced.
    pub run_url: String,
    /// Base URL of Cloud Monitoring.
    pub monitoring_url: String,
    /// Base URL of Artifact Registry.
    pub registry_url: String,
    /// Key file of a service account, which has been looked at; unset: what the environment offers.
    pub credentials: Option<PathBuf>,
    /// The service account in that file.
    pub account: Option<String>,
    /// An access token that goes before all that.
    pub access_token: Option<Secret>,
}

/// The queue, and how its tasks call back.
#[derive(Debug, Clone)]
pub struct TasksConfig {
    /// Base URL of Cloud Tasks.
    pub url: String,
    /// Full name, `projects/P/locations/L/queues/Q`.
    pub queue: String,
    /// Where Runback is reached.
    pub public_url: String,
    /// As whom the tasks call back.
    pub service_account: String,
}

/// How Slack is reached.
#[derive(Debug, Clone)]
pub enum SlackConfig {
    /// By an incoming webhook, which can only post.
    Webhook {
        /// Its URL, which is its own password.
        url: Secret,
    },
    /// By a bot, which can also update and thread.
    Bot {
        /// Its token.
        token: Secret,
        /// The channel that it posts to.
        channel: String,
        /// Base URL of Slack's API.
        api_url: String,
    },
}

/// Whom `runback watch` asks.
#[derive(Debug, Clone)]
pub struct WatchConfig {
    /// Base URL of the running Runback, without a slash at its end.
    pub url: String,
    /// An identity token; unset: the metadata server's.
    pub token: Option<Secret>,
}

/// What `/webhook` demands.
#[derive(Debug, Clone)]
pub struct WebhookLogin {
    /// User name, without a colon.
    pub user: String,
    /// Password.
    pub password: Secret,
}

impl ServeArgs {
    /// Reads the files and checks every value.
    ///
    /// # Errors
    /// When a value is missing, half set, malformed or unreadable.
    pub fn check(self) -> Result<Config, ConfigError> {
        Ok(Config {
            port: port(&self.port)?,
            google: self.google.check()?,
            callers: self.callers.check(self.tasks.service_account.clone())?,
            tasks: self.tasks.check()?,
            slack: self.slack.check()?,
            webhook: self.webhook.check()?,
            policy: self.policy.check()?,
        })
    }
}

impl PolicyArgs {
    /// Reads the policy from wherever it is.
    ///
    /// # Errors
    /// When there is none or two, or the one cannot be read.
    pub fn check(self) -> Result<Policy, ConfigError> {
        match (given(self.policy_file), given(self.policy)) {
            (Some(path), None) => {
                let problem = |problem: String| ConfigError(format!("{POLICY_FILE} ({path}): {problem}"));
                let text = fs::read_to_string(&path)
                    .map_err(|error| problem(format!("the file cannot be read: {error}")))?;
                policy_document::parse_toml(&text).map_err(|error| problem(error.to_string()))
            }
            (None, Some(json)) => {
                policy_document::parse_json(&json).map_err(|error| ConfigError(format!("{POLICY}: {error}")))
            }
            (Some(_), Some(_)) => {
                refuse(format!("{POLICY_FILE} and {POLICY} are both set, and only one can be the policy"))
            }
            (None, None) => refuse(format!(
                "{POLICY_FILE} (a TOML file) or {POLICY} (JSON) must be set: without a policy no service is guarded"
            )),
        }
    }
}

impl GoogleArgs {
    /// Checks the URLs and looks into the key file.
    ///
    /// # Errors
    /// When a URL is malformed or the key file is not one that a token can be had with.
    pub fn check(self) -> Result<GoogleConfig, ConfigError> {
        self.check_with(None)
    }

    /// The same, where an access token goes before all that.
    ///
    /// # Errors
    /// When a URL is malformed, or the token or the key file is not one that Google can be called with.
    pub fn check_with(self, token: Option<Secret>) -> Result<GoogleConfig, ConfigError> {
        let token = given_secret(token);
        if token.as_ref().is_some_and(|token| !is_header_text(token)) {
            return refuse(format!(
                "{ACCESS_TOKEN} has a character that no token has (it is not shown here)"
            ));
        }
        // A pipeline's sign-in also names a file, which may be none that we can read.
        let credentials = given(self.credentials).filter(|_| token.is_none());
        let look = |path: &String| {
            key_file(path).map_err(|why| ConfigError(format!("{CREDENTIALS} ({path}): {why}")))
        };
        let account = credentials.as_ref().map(look).transpose()?;
        Ok(GoogleConfig {
            run_url: run_url(&self.run_url)?,
            monitoring_url: base_url(MONITORING_URL, &self.monitoring_url, DEFAULT_MONITORING_URL)?,
            registry_url: base_url(REGISTRY_URL, &self.registry_url, DEFAULT_REGISTRY_URL)?,
            credentials: credentials.map(PathBuf::from),
            account,
            access_token: token.map(Secret::from),
        })
    }
}

impl GoogleConfig {
    /// Base URL of the Cloud Run Admin API of a region.
    #[must_use]
    pub fn run_url(&self, region: &str) -> String {
        self.run_url.replace("{region}", region)
    }
}

impl TasksArgs {
    /// Checks the queue and what it needs. `None` without a queue.
    ///
    /// # Errors
    /// When something is malformed, or the queue lacks what its tasks need to call back.
    pub fn check(self) -> Result<Option<TasksConfig>, ConfigError> {
        let url = base_url(TASKS_URL, &self.tasks_url, DEFAULT_TASKS_URL)?;
        // These two may stand alone: a service learns its own URL only after its first deploy.
        let public_url = given(self.public_url).map(|url| base_url(PUBLIC_URL, &url, "")).transpose()?;
        let service_account =
            given(self.service_account).map(|account| email(SERVICE_ACCOUNT, account)).transpose()?;
        let Some(queue) = given(self.tasks_queue).map(queue).transpose()? else {
            return Ok(None);
        };
        let missing = |variable| format!("{TASKS_QUEUE} is set, but {variable} is not, which its tasks need");
        Ok(Some(TasksConfig {
            url,
            queue,
            public_url: public_url.ok_or_else(|| ConfigError(missing(PUBLIC_URL)))?,
            service_account: service_account.ok_or_else(|| ConfigError(missing(SERVICE_ACCOUNT)))?,
        }))
    }
}

impl SlackArgs {
    /// Checks the webhook or the bot. `None` without either.
    ///
    /// # Errors
    /// When something is malformed, the bot has no channel or the channel no bot, or there are two ways to post.
    pub fn check(self) -> Result<Option<SlackConfig>, ConfigError> {
        let api_url = base_url(SLACK_API_URL, &self.slack_api_url, DEFAULT_SLACK_API_URL)?;
        match (
            given_secret(self.slack_webhook_url),
            given_secret(self.slack_bot_token),
            given(self.slack_channel),
        ) {
            (None, None, None) => Ok(None),
            (Some(url), None, None) => match http_url(&url) {
                Some(_) => Ok(Some(SlackConfig::Webhook { url: url.into() })),
                None => {
                    refuse(format!("{SLACK_WEBHOOK_URL} must be an http or https URL (it is not shown here)"))
                }
            },
            (None, Some(token), Some(channel)) if is_header_text(&token) => {
                Ok(Some(SlackConfig::Bot { token: token.into(), channel, api_url }))
            }
            (None, Some(_), Some(_)) => {
                refuse(format!("{SLACK_BOT_TOKEN} has a character that no token has (it is not shown here)"))
            }
            (None, Some(_), None) => refuse(format!("{SLACK_BOT_TOKEN} is set, but {SLACK_CHANNEL} is not")),
            (_, None, Some(_)) => refuse(format!(
                "{SLACK_CHANNEL} is set, but {SLACK_BOT_TOKEN} is not, and a webhook has its own channel"
            )),
            (Some(_), Some(_), _) => refuse(format!(
                "{SLACK_WEBHOOK_URL} and {SLACK_BOT_TOKEN} are both set, and only one can be used"
            )),
        }
    }
}

impl WatchArgs {
    /// Checks the URL and the token.
    ///
    /// # Errors
    /// When the URL is missing or malformed, or the token is none.
    pub fn check(self) -> Result<WatchConfig, ConfigError> {
        let Some(url) = given(self.public_url) else {
            return refuse(format!("{PUBLIC_URL} (--public-url) must be the URL of the running Runback"));
        };
        let token = given_secret(self.identity_token);
        if token.as_ref().is_some_and(|token| !is_header_text(token)) {
            return refuse(format!(
                "{IDENTITY_TOKEN} has a character that no token has (it is not shown here)"
            ));
        }
        let url = base_url(PUBLIC_URL, &url, "")?;
        Ok(WatchConfig { url, token: token.map(Secret::from) })
    }
}

impl WebhookArgs {
    /// Checks the login. `None` without one.
    ///
    /// # Errors
    /// When only one of the two is set, or the user name cannot be sent.
    pub fn check(self) -> Result<Option<WebhookLogin>, ConfigError> {
        match (given(self.webhook_user), given_secret(self.webhook_password)) {
            (None, None) => Ok(None),
            (Some(user), Some(_)) if user.contains(':') => refuse(format!(
                "{WEBHOOK_USER} must not contain a colon, which ends a user name in basic auth"
            )),
            (Some(user), Some(password)) => Ok(Some(WebhookLogin { user, password: password.into() })),
            (Some(_), None) => refuse(format!("{WEBHOOK_USER} is set, but {WEBHOOK_PASSWORD} is not")),
            (None, Some(_)) => refuse(format!("{WEBHOOK_PASSWORD} is set, but {WEBHOOK_USER} is not")),
        }
    }
}

pub(super) fn refuse<T>(sentence: String) -> Result<T, ConfigError> {
    Err(ConfigError(sentence))
}

fn given_secret(value: Option<Secret>) -> Option<String> {
    given(value.map(|secret| secret.expose().to_owned()))
}
