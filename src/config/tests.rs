use std::path::{Path, PathBuf};
use std::{env, fs, process};

use clap::{Arg, Command, FromArgMatches};

use super::*;

const JSON_POLICY: &str =
    r#"{"service":[{"project":"my-project","region":"asia-northeast1","service":"k-back"}]}"#;
const TOML_POLICY: &str =
    "[[service]]\nproject = \"my-project\"\nregion = \"asia-northeast1\"\nservice = \"k-back\"\n";
const QUEUE: &str = "projects/my-project/locations/asia-northeast1/queues/runback";
const EMAIL: &str = "runback@my-project.iam.gserviceaccount.com";

/// The command as it is; whoever builds it looks into the environment.
fn command() -> Command {
    ServeArgs::augment_args(Command::new("serve"))
}

/// What these flags give, without the environment of whoever runs the tests.
fn args(flags: &[&str]) -> ServeArgs {
    let deaf = command().mut_args(|arg: Arg| arg.env(None::<&'static str>));
    let matches = deaf.try_get_matches_from([&["serve"], flags].concat()).unwrap();
    ServeArgs::from_arg_matches(&matches).unwrap()
}

fn with_policy(flags: &[&str]) -> Result<Config, ConfigError> {
    args(&[&["--policy", JSON_POLICY], flags].concat()).check()
}

fn refusal(flags: &[&str]) -> String {
    with_policy(flags).expect_err(&format!("{flags:?}")).to_string()
}

/// A file that is gone after the test.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, content: &str) -> Self {
        let path = env::temp_dir().join(format!("runback-config-{}-{name}", process::id()));
        fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

fn key(token_uri: &str) -> String {
    format!(
        r#"{{"type":"service_account","private_key":"-----BEGIN SECRET","client_email":"a@b","token_uri":"{token_uri}"}}"#
    )
}

#[test]
fn clap_finds_nothing_wrong_with_the_arguments() {
    command().debug_assert();
    GoogleArgs::augment_args(Command::new("release")).debug_assert();
}

#[test]
fn the_variables_are_those_of_the_contract() {
    let command = command();
    let mut variables: Vec<_> =
        command.get_arguments().filter_map(Arg::get_env).map(|name| name.to_str().unwrap()).collect();
    variables.sort_unstable();
    let expected = [
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_CLOUD_PROJECT",
        "PORT",
        "RUNBACK_CALLERS_EVENTS",
        "RUNBACK_CALLERS_WATCH",
        "RUNBACK_MONITORING_URL",
        "RUNBACK_POLICY",
        "RUNBACK_POLICY_FILE",
        "RUNBACK_PUBLIC_URL",
        "RUNBACK_REGISTRY_URL",
        "RUNBACK_RUN_URL",
        "RUNBACK_SERVICE_ACCOUNT",
        "RUNBACK_TASKS_QUEUE",
        "RUNBACK_TASKS_URL",
        "RUNBACK_WEBHOOK_PASSWORD",
        "RUNBACK_WEBHOOK_USER",
        "RUST_LOG",
        "SLACK_API_URL",
        "SLACK_BOT_TOKEN",
        "SLACK_CHANNEL",
        "SLACK_WEBHOOK_URL",
    ];
    assert_eq!(variables, expected);
}

#[test]
fn help_shows_every_default_and_no_secret_of_the_environment() {
    let mut command = command();
    for variable in [SLACK_WEBHOOK_URL, SLACK_BOT_TOKEN, WEBHOOK_USER, WEBHOOK_PASSWORD, POLICY] {
        let arg = command.get_arguments().find(|arg| arg.get_env() == Some(variable.as_ref())).unwrap();
        assert!(arg.is_hide_env_values_set(), "{variable}");
    }
    let help = command.render_long_help().to_string();
    for default in [DEFAULT_RUN_URL, DEFAULT_SLACK_API_URL, DEFAULT_TASKS_URL, "8080"] {
        assert!(help.contains(&format!("[default: {default}]")), "{default}\n{help}");
    }
}

#[test]
fn with_a_policy_alone_everything_has_its_default() {
    let config = with_policy(&[]).unwrap();
    assert_eq!(config.port, 8080);
    assert_eq!(config.policy.services.len(), 1);
    assert_eq!(config.google.run_url("asia-northeast1"), "https://asia-northeast1-run.googleapis.com");
    assert_eq!(config.google.monitoring_url, "https://monitoring.googleapis.com");
    assert_eq!(config.google.registry_url, "https://artifactregistry.googleapis.com");
    assert_eq!(config.google.credentials, None);
    assert!(config.tasks.is_none() && config.slack.is_none() && config.webhook.is_none());
    let log = args(&[]).log;
    assert_eq!((log.filter(), log.project()), (Some("info"), None));
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let command = command();
    let flags: Vec<String> = command
        .get_arguments()
        .filter_map(Arg::get_long)
        .filter(|flag| *flag != "policy")
        .map(|flag| format!("--{flag}="))
        .collect();
    assert_eq!(flags.len(), 20);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    assert_eq!(format!("{:?}", with_policy(&flags)), format!("{:?}", with_policy(&[])));
    let log = args(&flags).log;
    assert_eq!((log.filter(), log.project()), (None, None));
}

#[test]
fn everything_can_be_set() {
    let key = TempFile::new("key", &key("http://127.0.0.1:9/token"));
    let flags = [
        ["--port", "0"],
        ["--run-url", "http://127.0.0.1:1/"],
        ["--monitoring-url", "http://127.0.0.1:2/"],
        ["--registry-url", "http://127.0.0.1:3"],
        ["--tasks-url", "http://127.0.0.1:4/tasks/"],
        ["--tasks-queue", QUEUE],
        ["--public-url", "https://runback-123.asia-northeast1.run.app/"],
        ["--service-account", EMAIL],
        ["--slack-bot-token", "xoxb-1\n"],
        ["--slack-channel", " C0123 "],
        ["--slack-api-url", "http://127.0.0.1:5/api/"],
        ["--webhook-user", "monitoring"],
        ["--webhook-password", "s:cret\n"],
        ["--credentials", key.path()],
    ]
    .concat();
    let config = with_policy(&flags).unwrap();
    assert_eq!(config.port, 0);
    assert_eq!(config.google.run_url("asia-northeast1"), "http://127.0.0.1:1");
    assert_eq!(config.google.monitoring_url, "http://127.0.0.1:2");
    assert_eq!(config.google.credentials.as_deref(), Some(Path::new(key.path())));
    assert_eq!(config.google.registry_url, "http://127.0.0.1:3");
    let tasks = config.tasks.unwrap();
    assert_eq!(tasks.url, "http://127.0.0.1:4/tasks");
    assert_eq!(tasks.queue, QUEUE);
    assert_eq!(tasks.public_url, "https://runback-123.asia-northeast1.run.app");
    assert_eq!(tasks.service_account, EMAIL);
    let Some(SlackConfig::Bot { token, channel, api_url }) = config.slack else { panic!("no bot") };
    assert_eq!((token.expose(), channel.as_str()), ("xoxb-1", "C0123"));
    assert_eq!(api_url, "http://127.0.0.1:5/api");
    let login = config.webhook.unwrap();
    assert_eq!((login.user.as_str(), login.password.expose()), ("monitoring", "s:cret"));
}

#[test]
fn a_slack_webhook_keeps_its_url_as_it_is() {
    let config =
        with_policy(&["--slack-webhook-url", "https://hooks.slack.com/services/T/B/x?y=1\n"]).unwrap();
    let Some(SlackConfig::Webhook { url }) = config.slack else { panic!("no webhook") };
    assert_eq!(url.expose(), "https://hooks.slack.com/services/T/B/x?y=1");
}

#[test]
fn what_is_malformed_or_half_set_is_refused_by_the_name_of_its_variable() {
    let hook = "https://hooks.slack.com/services/T/B/x";
    let table: &[(&[&str], &str)] = &[
        (&["--port", "http"], r#"PORT must be a port number up to 65535, not "http""#),
        (&["--port", "65536"], r#"PORT must be a port number up to 65535, not "65536""#),
        (&["--run-url", "run"], r#"RUNBACK_RUN_URL must be an http or https URL, not "run""#),
        (
            &["--run-url", "https://{regoin}-run"],
            r#"RUNBACK_RUN_URL may have {region} as its only placeholder, and is "https://{regoin}-run""#,
        ),
        (
            &["--monitoring-url", "ftp://m"],
            r#"RUNBACK_MONITORING_URL must be an http or https URL, not "ftp://m""#,
        ),
        (
            &["--registry-url", "http://"],
            r#"RUNBACK_REGISTRY_URL must be an http or https URL, not "http://""#,
        ),
        (
            &["--tasks-url", "127.0.0.1:80"],
            r#"RUNBACK_TASKS_URL must be an http or https URL, not "127.0.0.1:80""#,
        ),
        (
            &["--slack-api-url", "http://a b"],
            r#"SLACK_API_URL must be an http or https URL, not "http://a b""#,
        ),
        (
            &["--public-url", "https://user:word@x.app"],
            "RUNBACK_PUBLIC_URL must be a URL without a user, a query and a fragment",
        ),
        (
            &["--public-url", "https://x.app/?a"],
            "RUNBACK_PUBLIC_URL must be a URL without a user, a query and a fragment",
        ),
        (
            &["--tasks-queue", "runback"],
            r#"RUNBACK_TASKS_QUEUE must have the form projects/P/locations/L/queues/Q, not "runback""#,
        ),
        (
            &["--tasks-queue", "projects/p/locations//queues/q"],
            r#"RUNBACK_TASKS_QUEUE must have the form projects/P/locations/L/queues/Q, not "projects/p/locations//queues/q""#,
        ),
        (
            &["--service-account", "runback"],
            r#"RUNBACK_SERVICE_ACCOUNT must be a service account's e-mail address, not "runback""#,
        ),
        (
            &["--tasks-queue", QUEUE, "--service-account", EMAIL],
            "RUNBACK_TASKS_QUEUE is set, but RUNBACK_PUBLIC_URL is not, which its tasks need",
        ),
        (
            &["--tasks-queue", QUEUE, "--public-url", "https://x.app"],
            "RUNBACK_TASKS_QUEUE is set, but RUNBACK_SERVICE_ACCOUNT is not, which its tasks need",
        ),
        (&["--slack-bot-token", "xoxb-SECRET"], "SLACK_BOT_TOKEN is set, but SLACK_CHANNEL is not"),
        (
            &["--slack-channel", "C1", "--slack-webhook-url", hook],
            "SLACK_CHANNEL is set, but SLACK_BOT_TOKEN is not, and a webhook has its own channel",
        ),
        (
            &["--slack-channel", "C1", "--slack-bot-token", "xoxb-SECRET", "--slack-webhook-url", hook],
            "SLACK_WEBHOOK_URL and SLACK_BOT_TOKEN are both set, and only one can be used",
        ),
        (
            &["--slack-channel", "C1", "--slack-bot-token", "xoxb SECRET"],
            "SLACK_BOT_TOKEN has a character that no token has (it is not shown here)",
        ),
        (
            &["--slack-webhook-url", "hooks.slack.com/SECRET"],
            "SLACK_WEBHOOK_URL must be an http or https URL (it is not shown here)",
        ),
        (&["--webhook-user", "u"], "RUNBACK_WEBHOOK_USER is set, but RUNBACK_WEBHOOK_PASSWORD is not"),
        (
            &["--webhook-password", "SECRET"],
            "RUNBACK_WEBHOOK_PASSWORD is set, but RUNBACK_WEBHOOK_USER is not",
        ),
        (
            &["--webhook-user", "a:b", "--webhook-password", "SECRET"],
            "RUNBACK_WEBHOOK_USER must not contain a colon, which ends a user name in basic auth",
        ),
    ];
    for (flags, said) in table {
        assert_eq!(refusal(flags), *said);
    }
}

#[test]
fn there_must_be_exactly_one_readable_policy() {
    let good = TempFile::new("policy", TOML_POLICY);
    assert_eq!(args(&["--policy-file", good.path()]).check().unwrap().policy.services.len(), 1);

    let said = |flags: &[&str]| args(flags).check().unwrap_err().to_string();
    assert_eq!(
        said(&[]),
        "RUNBACK_POLICY_FILE (a TOML file) or RUNBACK_POLICY (JSON) must be set: without a policy no service is guarded"
    );
    assert_eq!(
        said(&["--policy", JSON_POLICY, "--policy-file", good.path()]),
        "RUNBACK_POLICY_FILE and RUNBACK_POLICY are both set, and only one can be the policy"
    );
    let missing = said(&["--policy-file", "/nowhere/policy.toml"]);
    assert!(
        missing.starts_with("RUNBACK_POLICY_FILE (/nowhere/policy.toml): the file cannot be read: "),
        "{missing}"
    );
    let bad = TempFile::new("bad-policy", &format!("{TOML_POLICY}mode = \"on\"\n"));
    let expected = format!("RUNBACK_POLICY_FILE ({}): in projects/my-project/", bad.path());
    assert!(said(&["--policy-file", bad.path()]).starts_with(&expected));
    assert!(said(&["--policy", "{}"]).starts_with("RUNBACK_POLICY: the policy guards no service"));
}

#[test]
fn a_key_file_that_gives_no_token_is_refused_without_showing_it() {
    let no_key = "the file has no `private_key`: it must be the key of a service account";
    let no_uri = "its `token_uri` must be an http or https URL";
    let table = [
        ("text", "SECRET".to_owned(), "the file is not JSON"),
        ("list", "[]".to_owned(), no_key),
        ("user", r#"{"type":"authorized_user","refresh_token":"SECRET"}"#.to_owned(), no_key),
        (
            "no-uri",
            r#"{"private_key":"SECRET","client_email":"a@b"}"#.to_owned(),
            "the file has no `token_uri`: it must be the key of a service account",
        ),
        ("relative", key("/token"), no_uri),
        ("words", key("not a uri"), no_uri),
        ("scheme", key("file:///etc"), no_uri),
        ("japanese", key("https://トークン.example/token"), no_uri),
    ];
    for (name, content, said) in table {
        let file = TempFile::new(name, &content);
        let expected = format!("GOOGLE_APPLICATION_CREDENTIALS ({}): {said}", file.path());
        assert_eq!(refusal(&["--credentials", file.path()]), expected);
    }
    let missing = refusal(&["--credentials", "/nowhere/key.json"]);
    assert!(
        missing.starts_with("GOOGLE_APPLICATION_CREDENTIALS (/nowhere/key.json): the file cannot be read: "),
        "{missing}"
    );
    refusal(&["--credentials", "/"]);
}

#[test]
fn callers_are_addresses_separated_by_commas() {
    let config = with_policy(&["--callers-events", " A@b.c , d@e.f", "--service-account", EMAIL]).unwrap();
    let callers = config.callers;
    assert_eq!(
        callers.of("/"),
        Some(("RUNBACK_CALLERS_EVENTS", &["a@b.c".to_owned(), "d@e.f".to_owned()][..]))
    );
    assert_eq!(callers.of("/events"), callers.of("/"));
    assert_eq!(callers.of("/tasks"), Some(("RUNBACK_SERVICE_ACCOUNT", &[EMAIL.to_owned()][..])));
    assert_eq!((callers.of("/watch"), callers.of("/health")), (None, None));
    assert_eq!(callers.open(), [("/watch", "RUNBACK_CALLERS_WATCH")]);
    assert_eq!(
        refusal(&["--callers-watch", "group:oncall"]),
        "RUNBACK_CALLERS_WATCH must be e-mail addresses, separated by commas, and \"group:oncall\" is none"
    );
    refusal(&["--callers-watch", "a@b.c,"]);
}

#[test]
fn debug_shows_no_secret() {
    let bot = ["--slack-bot-token", "xoxb-SECRET", "--slack-channel", "C1"];
    let login = ["--webhook-user", "u", "--webhook-password", "SECRET"];
    let hook = ["--slack-webhook-url", "https://hooks.slack.com/SECRET"];
    for flags in [[bot, login].concat(), hook.to_vec()] {
        let config = with_policy(&flags).unwrap();
        let shown = format!("{:?} {config:?} {:#?}", args(&flags), config);
        assert!(!shown.contains("SECRET") && shown.contains("Secret(…)"), "{shown}");
    }
}
