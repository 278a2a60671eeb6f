//! The commands, and how their parts are put together.

mod drive;
mod hold;
mod images;
mod judge;
mod person;
mod preflight;
mod quarantine;
mod release;
mod rollback;
mod status;
mod terminal;
mod undo;
mod write;

use std::io::{self, ErrorKind, Write as _};
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::clients::cloud_run::CloudRun;
use crate::clients::google::Google;
use crate::clients::metadata::Metadata;
use crate::clients::monitoring::Monitoring;
use crate::clients::probe::Prober;
use crate::clients::slack::Slack;
use crate::clients::tasks::Tasks;
use crate::clients::tokens::Tokens;
use crate::clients::transport::{Network, SharedTransport};
use crate::config::{Config, GoogleConfig, ServeArgs, SlackConfig, WatchArgs};
use crate::domain::policy::{Mode, NotHelped, Strategy};
use crate::logging;
use crate::respond::{Clients, Runback};
use crate::server::{BasicAuth, Door, serve};
use crate::watch::watch;

/// With the commit, where whoever built it named one.
static VERSION: LazyLock<String> = LazyLock::new(|| match option_env!("RUNBACK_COMMIT") {
    None | Some("") => env!("CARGO_PKG_VERSION").to_owned(),
    Some(commit) => format!("{} ({commit})", env!("CARGO_PKG_VERSION")),
});

/// Moves a Cloud Run service's traffic back to the last healthy revision when an alert fires and the evidence
/// convicts the newest deploy, and tells the team in Slack what it saw, did and what comes next.
///
/// Only services that the policy lists are ever touched, and with mode = "observe" (the default) none is.
#[derive(Debug, Parser)]
#[command(version = VERSION.as_str(), propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receives alerts and deploys: POST / (CloudEvents, Pub/Sub push), POST /webhook, POST /watch, GET /health
    Serve(Box<ServeArgs>),
    /// Shows where a service stands, and the one next command
    Status(Box<status::StatusArgs>),
    /// Moves all traffic to a revision by hand, with Runback's own checks: the last healthy one, a commit or a revision
    Rollback(Box<rollback::RollbackArgs>),
    /// Takes the last rollback back: the split from before, and its culprit out of quarantine
    Undo(Box<undo::UndoArgs>),
    /// Gives a pinned service's traffic back to LATEST; refuses while the newest ready revision is in quarantine
    Release(Box<release::ReleaseArgs>),
    /// Keeps Runback's hands off a service for a while: it explains and does not act
    Hold(Box<hold::HoldArgs>),
    /// Ends a hold
    Resume(Box<hold::ResumeArgs>),
    /// Shows what must not come back; --check is the gate for a pipeline
    Quarantine(Box<quarantine::QuarantineArgs>),
    /// Says what would be decided about an alert, and why; nothing is touched
    Judge(Box<judge::JudgeArgs>),
    /// Prints a script that completes Runback's commands in your shell
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Asks a running Runback to watch the service's newest revision for ten minutes; the last step of a pipeline
    Watch(WatchArgs),
}

/// Runs a command. Whatever stops it is one sentence on standard error, and exit status 2 when the input was bad.
pub async fn run(cli: Cli) -> ExitCode {
    // reqwest brings no TLS provider of its own; gcp_auth brings this one.
    rustls::crypto::ring::default_provider().install_default().ok();
    let result = match cli.command {
        Command::Serve(arguments) => start(*arguments).await,
        Command::Status(arguments) => status::status(*arguments).await,
        Command::Rollback(arguments) => rollback::rollback(*arguments).await,
        Command::Judge(arguments) => judge::judge(*arguments).await,
        Command::Undo(arguments) => undo::undo(*arguments).await,
        Command::Release(arguments) => release::release(*arguments).await,
        Command::Hold(arguments) => hold::hold(*arguments).await,
        Command::Resume(arguments) => hold::resume(*arguments).await,
        Command::Quarantine(arguments) => quarantine::quarantine(*arguments).await,
        Command::Completions { shell } => completions(shell),
        Command::Watch(arguments) => watch_command(arguments).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err((status, why)) => {
            eprintln!("runback: {why}");
            ExitCode::from(status)
        }
    }
}

type Stopped = (u8, String);

/// Bad input: wrong as long as nobody changes it.
fn bad(why: impl ToString) -> Stopped {
    (2, why.to_string())
}

/// Refused: what stands against it begins with the gate's name.
fn refused(why: impl ToString) -> Stopped {
    (3, why.to_string())
}

/// The world does not play along.
fn failed(why: impl ToString) -> Stopped {
    (1, why.to_string())
}

async fn start(arguments: ServeArgs) -> Result<(), Stopped> {
    let log = arguments.log.clone();
    let config = arguments.check().map_err(bad)?;
    let first_project = config.policy.services.keys().next().map(|name| name.project.clone());
    logging::init(log.project().or(first_project.as_deref()), log.filter()).map_err(bad)?;

    let transport = network()?;
    let metadata = Metadata::of_this_machine().map_err(failed)?;
    let google = google(&config.google, &transport, &metadata)?;
    let (runback, door) = assemble(config.clone(), transport, metadata, &google);
    let stop = stop_signal().map_err(failed)?;
    let address = ("0.0.0.0", config.port);
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| failed(format!("PORT: cannot listen on {}: {error}", config.port)))?;
    announce(&config);
    tokio::spawn(warm_up(google));
    serve(listener, Arc::new(runback), door, stop).await;
    Ok(())
}

fn network() -> Result<SharedTransport, Stopped> {
    Ok(Arc::new(Network::new().map_err(failed)?))
}

/// Google, spoken to as the configured key file's account, or else as whoever is signed in.
fn google(
    config: &GoogleConfig,
    transport: &SharedTransport,
    metadata: &Metadata,
) -> Result<Google, Stopped> {
    let tokens = match (&config.access_token, &config.credentials) {
        (Some(token), _) => Tokens::given(transport.clone(), token.expose().to_owned()),
        (None, Some(path)) => Tokens::of_key_file(transport.clone(), path).map_err(bad)?,
        (None, None) => Tokens::by_default(transport.clone(), metadata.clone()),
    };
    Ok(Google::new(transport.clone(), tokens))
}

fn assemble(
    config: Config,
    transport: SharedTransport,
    metadata: Metadata,
    google: &Google,
) -> (Runback, Door) {
    let prober = Prober::new(transport.clone(), metadata.clone());
    let slack = config.slack.map(|slack| match slack {
        SlackConfig::Webhook { url } => Slack::webhook(transport, url.expose().to_owned()),
        SlackConfig::Bot { token, channel, api_url } => {
            Slack::bot(transport, &api_url, token.expose().to_owned(), channel)
        }
    });
    let account = config.google.account.clone();
    let tasks = config.tasks.map(|tasks| {
        Tasks::new(google.clone(), &tasks.url, &tasks.queue, &tasks.public_url, &tasks.service_account)
    });
    let cloud_run = CloudRun::new(google.clone(), &config.google.run_url);
    let monitoring = Monitoring::new(google.clone(), &config.google.monitoring_url);
    let webhook = config
        .webhook
        .map(|login| BasicAuth { user: login.user, password: login.password.expose().to_owned() });
    let clients = Clients { cloud_run, monitoring, prober, metadata, slack, tasks };
    let mut runback = Runback::new(config.policy, clients, account);
    // Whoever says who may send alerts also wants to know that an alert claims no more than its policy says.
    if config.callers.events.is_some() {
        runback = runback.checking_labels();
    }
    (runback, Door { callers: config.callers, webhook })
}

/// What a person wants to know of a program that has just started.
fn announce(config: &Config) {
    let enforced = config.policy.services.values().filter(|rules| rules.mode == Mode::Enforce).count();
    let services = config.policy.services.len();
    tracing::info!(
        services,
        enforced,
        "runback {} on port {}: guards {services}, enforces {enforced}",
        VERSION.as_str(),
        config.port
    );
    for (name, rules) in &config.policy.services {
        // Nobody shall find out from an incident that a part of the policy needs more than is there.
        if config.tasks.is_none() && rules.strategy == Strategy::Gradual {
            tracing::warn!(
                "{name}: strategy = \"gradual\" needs RUNBACK_TASKS_QUEUE for its next steps: without it all traffic moves at once"
            );
        }
        if config.tasks.is_none() && rules.not_helped == NotHelped::Restore {
            tracing::warn!(
                "{name}: not_helped = \"restore\" needs RUNBACK_TASKS_QUEUE: without it nobody looks whether a rollback helped"
            );
        }
    }
    for (path, variable) in config.callers.open() {
        tracing::warn!("{variable} is unset: whoever Cloud Run lets in may call {path}");
    }
    if config.webhook.is_some() {
        tracing::warn!(
            "/webhook is on: where Monitoring can call without IAM, Cloud Run checks no token, and /, /tasks and /watch are open to anybody"
        );
    }
    if config.slack.is_none() {
        tracing::warn!("Slack is not configured: nobody is told, the log is all there is");
    }
    if config.tasks.is_none() {
        tracing::warn!("RUNBACK_TASKS_QUEUE is unset: later checks are off");
    }
}

/// Short tries: while one waits for a silent server, an alert that needs the token waits behind it.
async fn warm_up(google: Google) {
    for _ in 0..3 {
        match google.warm_up(Instant::now() + Duration::from_secs(2)).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "no access token at start"),
        }
    }
}

/// Waits for the signal to stop, from now on: until somebody listens for it, SIGTERM kills.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn completions(shell: Shell) -> Result<(), Stopped> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "runback", &mut script);
    say(String::from_utf8_lossy(&script).trim_end())
}

/// Prints a line. Whoever reads no further (`| head`) is no error.
fn say(text: &str) -> Result<(), Stopped> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(failed(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

async fn watch_command(arguments: WatchArgs) -> Result<(), Stopped> {
    let service = arguments.service.clone();
    let config = arguments.check().map_err(bad)?;
    let metadata = Metadata::of_this_machine().map_err(failed)?;
    let done = watch(&*network()?, &metadata, &config, &service).await;
    say(&done.map_err(|why| failed(format!("{service} is not watched: {why}")))?)
}
