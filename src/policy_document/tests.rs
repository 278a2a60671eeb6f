use std::time::Duration;

use super::*;
use crate::domain::policy::{Language, Mode, NotHelped, SchemaRule, Strategy};

const NAMED: &str =
    "[[service]]\nproject = \"my-project\"\nregion = \"asia-northeast1\"\nservice = \"k-back\"\n";
const FULL_NAME: &str = "projects/my-project/locations/asia-northeast1/services/k-back";

fn k_back() -> ServiceName {
    ServiceName {
        project: "my-project".to_owned(),
        region: "asia-northeast1".to_owned(),
        service: "k-back".to_owned(),
    }
}

fn rules_of(document: &str) -> Rules {
    parse_toml(document).unwrap().services[&k_back()].clone()
}

fn refusal(document: &str) -> String {
    parse_toml(document).expect_err(document).to_string()
}

fn json_refusal(document: &str) -> String {
    parse_json(document).expect_err(document).to_string()
}

fn in_json(extra: &str) -> String {
    format!(
        r#"{{"service":[{{"project":"my-project","region":"asia-northeast1","service":"k-back"{extra}}}]}}"#
    )
}

#[test]
fn a_service_that_only_has_a_name_gets_the_defaults_of_the_design() {
    assert_eq!(rules_of(NAMED), Rules::default());
    assert_eq!(parse_json(&in_json("")), parse_toml(NAMED));
}

#[test]
fn a_service_overrides_the_defaults_section_which_overrides_the_built_in_ones() {
    let rules = rules_of(&format!("[defaults]\nmode = \"enforce\"\nrollback = 0.1\n{NAMED}rollback = 0.2\n"));
    assert_eq!(rules, Rules { mode: Mode::Enforce, rollback: 0.2, ..Rules::default() });
}

#[test]
fn every_key_can_be_set() {
    let document = format!(
        r#"{NAMED}
            mode = "enforce"
            warning = 0.01
            rollback = 0.02
            critical = 1
            slow = "1500ms"
            slow_share = 0.5
            window = "5m"
            deploy_window = "2h"
            history = "14d"
            min_requests = 50
            cooldown = "1h"
            max_rollbacks_per_day = 10
            strategy = "gradual"
            steps = [5, 100]
            step_interval = "6m"
            trial_share = 20
            health_path = "/health?deep=z"
            not_helped = "restore"
            schema = "allow"
            alert_projects = ["my-monitoring", "example.com:old"]
            repository = "https://github.com/acme/k-back/"
            language = "ja"
            mention = "<!subteam^S123>"
        "#
    );
    for key in keys::RULES.iter().chain(&keys::NAMES) {
        assert!(document.contains(&format!("{key} = ")), "{key} is not in this test");
    }
    let expected = Rules {
        mode: Mode::Enforce,
        warning: Some(0.01),
        rollback: 0.02,
        critical: 1.0,
        slow: Duration::from_millis(1500),
        slow_share: 0.5,
        window: Duration::from_secs(300),
        deploy_window: Duration::from_secs(7200),
        history: Duration::from_secs(14 * 86_400),
        min_requests: 50,
        cooldown: Duration::from_secs(3600),
        max_rollbacks_per_day: 10,
        strategy: Strategy::Gradual,
        steps: vec![5, 100],
        step_interval: Duration::from_secs(360),
        trial_share: 20,
        health_path: Some("/health?deep=z".to_owned()),
        not_helped: NotHelped::Restore,
        schema: SchemaRule::Allow,
        alert_projects: vec!["my-monitoring".to_owned(), "example.com:old".to_owned()],
        repository: Some("https://github.com/acme/k-back".to_owned()),
        language: Language::Japanese,
        mention: Some("<!subteam^S123>".to_owned()),
    };
    assert_eq!(rules_of(&document), expected);
}

#[test]
fn null_means_unset_because_terraform_writes_it_for_unset_optionals() {
    let all_null: String = keys::RULES.iter().map(|key| format!(r#","{key}":null"#)).collect();
    assert_eq!(parse_json(&in_json(&all_null)), parse_toml(NAMED));
    let document = in_json("").replacen('{', r#"{"defaults":null,"#, 1);
    assert_eq!(parse_json(&document), parse_toml(NAMED));
    let document = in_json("").replacen('{', r#"{"defaults":{"rollback":null},"#, 1);
    assert_eq!(parse_json(&document), parse_toml(NAMED));
}

#[test]
fn an_impossible_value_is_refused_with_its_key_its_place_and_what_is_allowed() {
    let a_share = "a number above 0 and up to 1, such as 0.05 for 5 %";
    let a_window = "a duration from 2m to 1h in whole minutes, such as \"10m\"";
    let a_history = "a duration from `window` to 42d in whole minutes, such as \"7d\"";
    let a_deploy_window = "a duration from 1m to 42d, such as \"24h\"";
    let a_slow = "a duration above zero and up to 1h, such as \"3s\"";
    let a_repository = "the https address of a repository, such as \"https://github.com/acme/k-back\"";
    let a_mention = "a group or a member as Slack writes it, \"<!subteam^S123>\" or \"<@U123>\"";
    let a_cooldown = "a duration above zero and up to 24h, such as \"30m\"";
    let an_interval = "a duration from 1m to 1h, such as \"4m\"";
    let steps =
        "whole numbers from 1 to 100, each above the one before and the last one 100, such as [10, 50, 100]";
    let path = "a path that begins with one \"/\", has no spaces and reaches the container, such as \"/health\" \
                (Google's front end answers \"/eventlog\", \"/_ah/...\" and paths that end in \"z\" itself)";
    let projects = "a list of project ids, such as [\"my-monitoring\"]";
    let table = [
        ("mode", "\"on\"", "\"observe\" or \"enforce\"", "\"on\""),
        ("mode", "\"Enforce\"", "\"observe\" or \"enforce\"", "\"Enforce\""),
        ("mode", "true", "\"observe\" or \"enforce\"", "true"),
        ("warning", "0", a_share, "0"),
        ("rollback", "\"5%\"", a_share, "\"5%\""),
        ("rollback", "5", a_share, "5"),
        ("rollback", "-0.1", a_share, "-0.1"),
        ("rollback", "nan", a_share, "NaN"),
        ("critical", "1.01", a_share, "1.01"),
        ("critical", "inf", a_share, "inf"),
        ("slow_share", "0.0", a_share, "0"),
        ("slow", "3", a_slow, "3"),
        ("slow", "\"0s\"", a_slow, "\"0s\""),
        ("slow", "\"61m\"", a_slow, "\"61m\""),
        ("window", "10", a_window, "10"),
        ("window", "\"10\"", a_window, "\"10\""),
        ("window", "\"ten minutes\"", a_window, "\"ten minutes\""),
        ("window", "\"1m\"", a_window, "\"1m\""),
        ("window", "\"150s\"", a_window, "\"150s\""),
        ("window", "\"2h\"", a_window, "\"2h\""),
        ("window", "\"-5m\"", a_window, "\"-5m\""),
        ("deploy_window", "\"43d\"", a_deploy_window, "\"43d\""),
        ("deploy_window", "\"\"", a_deploy_window, "\"\""),
        ("history", "\"43d\"", a_history, "\"43d\""),
        ("history", "\"90s\"", a_history, "\"90s\""),
        ("history", "[7]", a_history, "[7]"),
        ("history", "07:00:00", a_history, "a table"),
        ("min_requests", "0", "a whole number from 1 to 1000000000", "0"),
        ("min_requests", "1.5", "a whole number from 1 to 1000000000", "1.5"),
        ("min_requests", "\"20\"", "a whole number from 1 to 1000000000", "\"20\""),
        ("cooldown", "\"25h\"", a_cooldown, "\"25h\""),
        ("cooldown", "\"0m\"", a_cooldown, "\"0m\""),
        ("max_rollbacks_per_day", "11", "a whole number from 1 to 10", "11"),
        ("max_rollbacks_per_day", "0", "a whole number from 1 to 10", "0"),
        ("max_rollbacks_per_day", "-1", "a whole number from 1 to 10", "-1"),
        ("strategy", "\"slow\"", "\"immediate\" or \"gradual\"", "\"slow\""),
        ("steps", "[]", steps, "[]"),
        ("steps", "100", steps, "100"),
        ("steps", "[10, 50]", steps, "[10, 50]"),
        ("steps", "[0, 100]", steps, "[0, 100]"),
        ("steps", "[50, 10, 100]", steps, "[50, 10, 100]"),
        ("steps", "[50, 50, 100]", steps, "[50, 50, 100]"),
        ("steps", "[100, 100]", steps, "[100, 100]"),
        ("steps", "[10, 100, 101]", steps, "[10, 100, 101]"),
        ("steps", "[356, 100]", steps, "[356, 100]"),
        ("steps", "[10.5, 100]", steps, "[10.5, 100]"),
        ("steps", "[\"10\", 100]", steps, "a list"),
        ("step_interval", "\"30s\"", an_interval, "\"30s\""),
        ("health_path", "\"health\"", path, "\"health\""),
        ("health_path", "\"\"", path, "\"\""),
        ("health_path", "\"//other.example\"", path, "\"//other.example\""),
        ("health_path", "\"/a b\"", path, "\"/a b\""),
        ("health_path", "\"/healthz\"", path, "\"/healthz\""),
        ("health_path", "\"/livez?deep=1\"", path, "\"/livez?deep=1\""),
        ("health_path", "\"/eventlog\"", path, "\"/eventlog\""),
        ("health_path", "\"/_ah/health\"", path, "\"/_ah/health\""),
        ("not_helped", "\"back\"", "\"hold\" or \"restore\"", "\"back\""),
        ("schema", "{ allow = true }", "\"block\" or \"allow\"", "a table"),
        ("alert_projects", "\"my-monitoring\"", projects, "\"my-monitoring\""),
        ("alert_projects", "[\"*\"]", projects, "a list"),
        ("repository", "\"github.com/acme/k-back\"", a_repository, "\"github.com/acme/k-back\""),
        ("repository", "\"https://github.com/a|b\"", a_repository, "\"https://github.com/a|b\""),
        ("language", "\"jp\"", "\"en\" or \"ja\"", "\"jp\""),
        ("mention", "\"@oncall\"", a_mention, "\"@oncall\""),
        ("mention", "\"<!channel>\"", a_mention, "\"<!channel>\""),
        ("alert_projects", "[\"my-project\", 7]", projects, "a list"),
    ];
    for (key, value, allowed, shown) in table {
        let in_service = refusal(&format!("{NAMED}{key} = {value}\n"));
        assert_eq!(in_service, format!("in {FULL_NAME}, `{key}` must be {allowed}, not {shown}"));
        let in_defaults = refusal(&format!("[defaults]\n{key} = {value}\n{NAMED}"));
        assert_eq!(in_defaults, format!("in [defaults], `{key}` must be {allowed}, not {shown}"));
    }
}

#[test]
fn a_long_value_is_shortened_in_the_message() {
    let said = refusal(&format!("{NAMED}mode = \"{}\"\n", "x".repeat(5000)));
    assert!(said.len() < 300, "{said}");
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    let table = [
        ("warning = 0.05\n", "`warning` (0.05) must be below `rollback` (0.05)"),
        ("rollback = 0.6\n", "`rollback` (0.6) must not be above `critical` (0.5)"),
        ("window = \"10m\"\nhistory = \"5m\"\n", "`history` (5m) must not be shorter than `window` (10m)"),
    ];
    for (keys, said) in table {
        let expected = format!("in {FULL_NAME}, {said}");
        assert_eq!(refusal(&format!("{NAMED}{keys}")), expected);
        assert_eq!(refusal(&format!("[defaults]\n{keys}{NAMED}")), expected);
    }
    // Only the rules that are in force count: a service may mend what the defaults alone would contradict.
    rules_of(&format!("[defaults]\nrollback = 0.6\n{NAMED}critical = 0.7\n"));
    rules_of(&format!("{NAMED}rollback = 0.5\n"));
}

#[test]
fn an_unknown_key_is_named_and_the_known_ones_are_listed() {
    let known = keys::RULES.join(", ");
    assert_eq!(
        refusal(&format!("{NAMED}treshold = 0.1\n")),
        format!("in {FULL_NAME}, there is no key `treshold`; it knows project, region, service, {known}")
    );
    assert_eq!(
        refusal(&format!("[defaults]\nproject = \"p\"\n{NAMED}")),
        format!("in [defaults], there is no key `project`; it knows {known}")
    );
    assert_eq!(
        refusal("[[services]]\n"),
        "the policy has no key `services`; at its top level it knows `defaults` and `service`"
    );
    let misspelt = refusal("[[service]]\nprojct = \"p\"\n");
    assert!(misspelt.starts_with("in [[service]] number 1, there is no key `projct`;"), "{misspelt}");
}

#[test]
fn a_service_needs_a_plausible_name() {
    let table = [
        ("project = \"my-project\"\n", "", "`project` is missing"),
        ("region = \"asia-northeast1\"\n", "", "`region` is missing"),
        ("service = \"k-back\"\n", "", "`service` is missing"),
        (
            "\"my-project\"",
            "\"\"",
            "`project` must be a project id (not its number), such as \"my-project\", not \"\"",
        ),
        (
            "\"my-project\"",
            "123",
            "`project` must be a project id (not its number), such as \"my-project\", not 123",
        ),
        (
            "\"my-project\"",
            "\"projects/p\"",
            "`project` must be a project id (not its number), such as \"my-project\", not \"projects/p\"",
        ),
        (
            "\"my-project\"",
            "\".com:p\"",
            "`project` must be a project id (not its number), such as \"my-project\", not \".com:p\"",
        ),
        (
            "\"asia-northeast1\"",
            "\"Tokyo\"",
            "`region` must be a region, such as \"asia-northeast1\", not \"Tokyo\"",
        ),
        (
            "\"k-back\"",
            "\"k_back\"",
            "`service` must be a Cloud Run service's short name, such as \"k-back\", not \"k_back\"",
        ),
    ];
    for (good, bad, said) in table {
        let document = NAMED.replace(good, bad);
        assert_eq!(refusal(&document), format!("in [[service]] number 1, {said}"));
    }
    let said = json_refusal(&in_json("").replace("\"my-project\"", "null"));
    assert_eq!(said, "in [[service]] number 1, `project` is missing");
    let of_a_domain = NAMED.replace("my-project", "example.com:my-project");
    let policy = parse_toml(&of_a_domain).unwrap();
    assert!(policy.services.keys().all(|name| name.project == "example.com:my-project"));
}

#[test]
fn a_service_that_is_listed_twice_is_named() {
    let said = refusal(&format!("{NAMED}{NAMED}"));
    assert_eq!(said, format!("the service {FULL_NAME} is listed twice"));
    let two = format!("{NAMED}{}", NAMED.replace("k-back", "k-front"));
    assert_eq!(parse_toml(&two).unwrap().services.len(), 2);
}

#[test]
fn a_policy_that_guards_nothing_is_refused() {
    let said = "the policy guards no service: it needs a [[service]] with `project`, `region` and `service`";
    for document in ["", "# nothing\n", "[defaults]\nmode = \"enforce\"\n", "service = []\n"] {
        assert_eq!(refusal(document), said);
    }
    for document in ["{}", r#"{"service":null}"#, r#"{"service":[]}"#] {
        assert_eq!(json_refusal(document), said);
    }
}

#[test]
fn a_document_of_another_shape_is_refused() {
    let list = "`service` must be a list of tables ([[service]] in TOML, [{…}] in JSON), not ";
    assert_eq!(refusal("[service]\nproject = \"p\"\n"), format!("{list}a table"));
    assert_eq!(refusal("service = 1\n"), format!("{list}1"));
    assert_eq!(refusal("defaults = \"none\"\n"), "`defaults` must be a table, not \"none\"");
    assert_eq!(json_refusal(r#"{"service":[null]}"#), "[[service]] number 1 must be a table, not null");
    let table = "the policy must be a table with `defaults` and `service`, not ";
    assert_eq!(json_refusal("[]"), format!("{table}[]"));
    assert_eq!(json_refusal("null"), format!("{table}null"));
}

#[test]
fn a_syntax_error_says_where() {
    let said = refusal("[defaults]\nmode = \"enforce\"\nrollback = 0,1\n");
    assert!(said.starts_with("the policy is not valid TOML at line 3: "), "{said}");
    assert!(!said.contains('\n'), "{said}");
    let said = refusal("[defaults]\nrollback = 0.1\nrollback = 0.2\n");
    assert!(said.contains("line 3") && said.contains("duplicate key"), "{said}");
    let said = json_refusal("{\"defaults\":");
    assert!(
        said.starts_with("the policy is not valid JSON: ") && said.contains("line 1 column 12"),
        "{said}"
    );
    json_refusal("");
    json_refusal(&"[".repeat(100_000));
    refusal(&format!("a = {}", "[".repeat(100_000)));
}

#[test]
fn a_key_that_json_gives_twice_is_refused() {
    let said = json_refusal(&in_json(r#","mode":"enforce","mode":"observe""#));
    assert!(said.contains("the key `mode` is given twice"), "{said}");
    let said = json_refusal(r#"{"service":[],"service":[]}"#);
    assert!(said.contains("the key `service` is given twice"), "{said}");
}
