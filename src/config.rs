//! The configuration: each value is a flag or an environment variable, and its doc comment is its help.
//!
//! clap collects the texts (`ServeArgs` and its groups), `check` turns them into values that can be used
//! (`Config` and its groups) or says in one sentence which variable is wrong. An empty optional variable counts as
//! unset, because Terraform and Cloud Run may set it to `""`. Space around a value is dropped, because a secret that
//! was piped into Secret Manager often ends in a line break.

mod callers;
mod check;
mod secret;
mod subject;
#[cfg(test)]
mod tests;
mod value;

use clap::Args;

use crate::domain::service::ServiceName;

pub use callers::CallersConfig;
pub use check::{Config, ConfigError, GoogleConfig, SlackConfig, TasksConfig, WatchConfig, WebhookLogin};
pub use secret::Secret;
pub use subject::{Subject, SubjectArgs};

const PORT: &str = "PORT";
const POLICY_FILE: &str = "RUNBACK_POLICY_FILE";
const POLICY: &str = "RUNBACK_POLICY";
const RUN_URL: &str = "RUNBACK_RUN_URL";
const MONITORING_URL: &str = "RUNBACK_MONITORING_URL";
const REGISTRY_URL: &str = "RUNBACK_REGISTRY_URL";
const CREDENTIALS: &str = "GOOGLE_APPLICATION_CREDENTIALS";
const ACCESS_TOKEN: &str = "CLOUDSDK_AUTH_ACCESS_TOKEN";
const TASKS_URL: &str = "RUNBACK_TASKS_URL";
const TASKS_QUEUE: &str = "RUNBACK_TASKS_QUEUE";
const PUBLIC_URL: &str = "RUNBACK_PUBLIC_URL";
const SERVICE_ACCOUNT: &str = "RUNBACK_SERVICE_ACCOUNT";
const CALLERS_EVENTS: &str = "RUNBACK_CALLERS_EVENTS";
const CALLERS_WATCH: &str = "RUNBACK_CALLERS_WATCH";
const IDENTITY_TOKEN: &str = "RUNBACK_IDENTITY_TOKEN";
const SLACK_WEBHOOK_URL: &str = "SLACK_WEBHOOK_URL";
const SLACK_BOT_TOKEN: &str = "SLACK_BOT_TOKEN";
const SLACK_CHANNEL: &str = "SLACK_CHANNEL";
const SLACK_API_URL: &str = "SLACK_API_URL";
const WEBHOOK_USER: &str = "RUNBACK_WEBHOOK_USER";
const WEBHOOK_PASSWORD: &str = "RUNBACK_WEBHOOK_PASSWORD";

const DEFAULT_PORT: &str = "8080";
const DEFAULT_RUN_URL: &str = "https://{region}-run.googleapis.com";
const DEFAULT_MONITORING_URL: &str = "https://monitoring.googleapis.com";
const DEFAULT_REGISTRY_URL: &str = "https://artifactregistry.googleapis.com";
const DEFAULT_TASKS_URL: &str = "https://cloudtasks.googleapis.com";
const DEFAULT_SLACK_API_URL: &str = "https://slack.com/api";

/// What `runback serve` is told.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Port to listen on, on all addresses.
    #[arg(long, env = PORT, value_name = "PORT", default_value = DEFAULT_PORT)]
    port: String,

    /// Which services are guarded, and how.
    #[command(flatten)]
    pub policy: PolicyArgs,

    /// Whom to tell.
    #[command(flatten)]
    pub slack: SlackArgs,

    /// How to come back later.
    #[command(flatten)]
    pub tasks: TasksArgs,

    /// Who may call.
    #[command(flatten)]
    pub callers: CallersArgs,

    /// Monitoring's webhook channel.
    #[command(flatten)]
    pub webhook: WebhookArgs,

    /// Where Google is, and as whom we speak to it.
    #[command(flatten)]
    pub google: GoogleArgs,

    /// What is logged. It is wanted before anything else is checked.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Which services are guarded, and how.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Policy (one of the two)")]
pub struct PolicyArgs {
    /// File with the policy in TOML.
    #[arg(long, env = POLICY_FILE, value_name = "FILE")]
    policy_file: Option<String>,

    /// The policy itself, in JSON, as Terraform's jsonencode writes it.
    #[arg(long, env = POLICY, value_name = "JSON", hide_env_values = true)]
    policy: Option<String>,
}

/// Whom to tell. Without any of it, nothing is posted.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Slack (a webhook, or a bot with its channel)")]
pub struct SlackArgs {
    /// Incoming webhook to post to.
    #[arg(long, env = SLACK_WEBHOOK_URL, value_name = "URL", hide_env_values = true)]
    slack_webhook_url: Option<Secret>,

    /// Token of a bot, which can also update its messages and answer in threads.
    #[arg(long, env = SLACK_BOT_TOKEN, value_name = "TOKEN", hide_env_values = true)]
    slack_bot_token: Option<Secret>,

    /// Channel that the bot posts to.
    #[arg(long, env = SLACK_CHANNEL, value_name = "CHANNEL")]
    slack_channel: Option<String>,

    /// Base URL of Slack's API.
    #[arg(long, env = SLACK_API_URL, value_name = "URL", default_value = DEFAULT_SLACK_API_URL)]
    slack_api_url: String,
}

/// How to come back later.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Later checks")]
pub struct TasksArgs {
    /// Cloud Tasks queue (projects/P/locations/L/queues/Q); without one there are no later checks and no gradual steps.
    #[arg(long, env = TASKS_QUEUE, value_name = "QUEUE")]
    tasks_queue: Option<String>,

    /// URL of this service, where the tasks call back.
    #[arg(long, env = PUBLIC_URL, value_name = "URL")]
    public_url: Option<String>,

    /// Service account as whom the tasks call back; nobody else may call /tasks then.
    #[arg(long, env = SERVICE_ACCOUNT, value_name = "EMAIL")]
    service_account: Option<String>,

    /// Base URL of Cloud Tasks.
    #[arg(long, env = TASKS_URL, value_name = "URL", default_value = DEFAULT_TASKS_URL)]
    tasks_url: String,
}

/// Who may call which path, beside what IAM says. Unset: whoever Cloud Run lets in.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Callers (accounts, separated by commas; unset: whoever Cloud Run lets in)")]
pub struct CallersArgs {
    /// Who may send alerts, to / and /events: the trigger's account, and people who test with curl.
    #[arg(long, env = CALLERS_EVENTS, value_name = "EMAILS")]
    callers_events: Option<String>,

    /// Who may report a deploy, to /watch: pipelines, and people.
    #[arg(long, env = CALLERS_WATCH, value_name = "EMAILS")]
    callers_watch: Option<String>,
}

/// Monitoring's webhook channel. Without both, `/webhook` is off.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Webhook (both switch /webhook on)")]
pub struct WebhookArgs {
    /// User name that /webhook demands.
    #[arg(long, env = WEBHOOK_USER, value_name = "USER", hide_env_values = true)]
    webhook_user: Option<String>,

    /// Password that /webhook demands.
    #[arg(long, env = WEBHOOK_PASSWORD, value_name = "PASSWORD", hide_env_values = true)]
    webhook_password: Option<Secret>,
}

/// Where Google is, and as whom we speak to it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Google Cloud")]
pub struct GoogleArgs {
    /// Base URL of the Cloud Run Admin API; {region} is replaced.
    #[arg(long, env = RUN_URL, value_name = "URL", default_value = DEFAULT_RUN_URL)]
    run_url: String,

    /// Base URL of Cloud Monitoring.
    #[arg(long, env = MONITORING_URL, value_name = "URL", default_value = DEFAULT_MONITORING_URL)]
    monitoring_url: String,

    /// Base URL of Artifact Registry, which only people's commands ask.
    #[arg(long, env = REGISTRY_URL, value_name = "URL", default_value = DEFAULT_REGISTRY_URL)]
    registry_url: String,

    /// Key file of a service account; on Cloud Run the metadata server is asked instead.
    #[arg(long, env = CREDENTIALS, value_name = "FILE")]
    credentials: Option<String>,
}

/// What `runback watch` is told.
#[derive(Debug, Clone, Args)]
pub struct WatchArgs {
    /// Full name of the service: projects/P/locations/R/services/S
    #[arg(long, value_name = "NAME")]
    pub service: ServiceName,

    /// URL of the running Runback; it has to be given.
    #[arg(long, env = PUBLIC_URL, value_name = "URL")]
    public_url: Option<String>,

    /// Identity token of an account that may call it, for that URL; unset: the metadata server's.
    #[arg(long, env = IDENTITY_TOKEN, value_name = "TOKEN", hide_env_values = true)]
    identity_token: Option<Secret>,
}

/// What is logged.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log")]
pub struct LogArgs {
    /// What to log, for example info or runback=debug.
    #[arg(long = "log", env = "RUST_LOG", value_name = "FILTER", default_value = "info")]
    filter: String,

    /// Project that log lines link to traces in; unset: the first guarded service's.
    #[arg(long = "trace-project", env = "GOOGLE_CLOUD_PROJECT", value_name = "PROJECT")]
    project: Option<String>,
}

impl LogArgs {
    /// The text of `RUST_LOG`, unless it is empty.
    #[must_use]
    pub fn filter(&self) -> Option<&str> {
        Some(self.filter.trim()).filter(|filter| !filter.is_empty())
    }

    /// The project that log lines link to traces in.
    #[must_use]
    pub fn project(&self) -> Option<&str> {
        self.project.as_deref().map(str::trim).filter(|project| !project.is_empty())
    }
}
