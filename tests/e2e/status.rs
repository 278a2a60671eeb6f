//! `runback status`: where a service stands, for people and for machines.

use serde_json::{Value, json};

use crate::command::run;
use crate::simulator::{Revision, Simulator, days, minutes};
use crate::situation::{
    BAD, COMMIT, FULL_NAME, GOOD, NEXT, SERVICE, assert_contains, assert_untouched, k_back, proven,
};

async fn as_json(simulator: &Simulator, arguments: &[&str]) -> Value {
    let said = run(simulator, &[&["status", "--json"], arguments].concat(), "").await;
    assert_eq!(said.status, 0, "{}", said.errors);
    serde_json::from_str(&said.output).unwrap()
}

#[tokio::test]
async fn a_failing_deploy_is_shown_with_its_figures_and_the_way_back() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let said = run(&simulator, &["status", SERVICE], "").await;
    assert_eq!((said.status, said.errors.as_str()), (0, ""), "{}", said.output);
    let row = |name: &str| said.output.lines().find(|line| line.trim().starts_with(name)).unwrap();
    assert_contains(row(BAD), &[&COMMIT[..7], "20 min", "100%", "40% of 600", "serving, fails"]);
    assert_contains(row(GOOD), &["3 d", "0.1% of", "healthy"]);
    assert!(said.output.trim_end().ends_with("\n  runback rollback k-back"), "{}", said.output);
    assert!(!said.output.contains('\x1b'), "colour on a pipe");
    assert_untouched(&simulator);
}

#[tokio::test]
async fn machines_get_one_object() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let status = as_json(&simulator, &[FULL_NAME]).await;
    assert_eq!(status["schema"], 1);
    assert_eq!(status["traffic"], json!([{"revision": BAD, "percent": 100}]));
    assert_eq!((&status["pinned"], &status["deploying"]), (&json!("other"), &json!(false)));
    assert_eq!((&status["next_target"], &status["warnings"]), (&json!(GOOD), &json!([])));
    assert_eq!((&status["rollback"], &status["rollbacks_today"]), (&Value::Null, &json!(0)));
    let bad = &status["revisions"][0];
    assert_eq!((&bad["revision"], &bad["state"]), (&json!(BAD), &json!("serving")));
    assert_eq!(bad["now"], json!({"requests": 600, "bad": 240}));
    assert!(bad["image"].as_str().unwrap().contains("/k-back:"), "{bad}");
}

#[tokio::test]
async fn without_monitoring_the_rest_is_shown_and_the_permission_named() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    simulator.at("monitoring.list").always().denies("monitoring.timeSeries.list");
    let said = run(&simulator, &["status", SERVICE], "").await;
    assert_eq!(said.status, 0, "{}", said.errors);
    let grant = "gcloud projects add-iam-policy-binding demo-project --member serviceAccount:";
    assert_contains(&said.output, &[BAD, GOOD, "100%", "monitoring.timeSeries.list", grant]);
    let status = as_json(&simulator, &[SERVICE]).await;
    assert_eq!(status["revisions"][0]["now"], Value::Null);
    assert_contains(status["warnings"][0].as_str().unwrap(), &["monitoring.timeSeries.list"]);
}

#[tokio::test]
async fn who_may_not_read_the_service_hears_what_is_missing_and_how_to_get_it() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    simulator.at("run.get").always().denies("run.services.get");
    let said = run(&simulator, &["status", SERVICE], "").await;
    assert_eq!((said.status, said.output.as_str()), (1, ""));
    assert_contains(&said.errors, &["run.services.get", "add-iam-policy-binding k-back", "roles/run.viewer"]);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_hides_nothing_else() {
    let simulator = Simulator::with([k_back(0.4).record("{\"v\": 2}")]).await;
    let said = run(&simulator, &["status", SERVICE], "").await;
    assert_eq!(said.status, 0, "{}", said.errors);
    assert_contains(&said.output, &[BAD, "version 2", "gcloud run services describe k-back"]);
    assert_eq!(as_json(&simulator, &[SERVICE]).await["rollback"], Value::Null);
}

#[tokio::test]
async fn a_thousand_revisions_fit_on_a_screen() {
    let mut service = k_back(0.0);
    service.revisions.truncate(1);
    service.revisions.extend((0..60).map(|n| Revision::named(&format!("k-back-{n:05}-old")).age(days(4))));
    service.revisions.push(proven());
    let simulator = Simulator::with([service.traffic(&[(BAD, 90), (GOOD, 10)])]).await;
    let lines = async |arguments: &[&str]| {
        let said = run(&simulator, &[&["status", SERVICE], arguments].concat(), "").await;
        assert_eq!(said.status, 0, "{}", said.errors);
        let count = said.output.lines().filter(|line| line.trim().starts_with("k-back-0")).count();
        (count, said.output)
    };
    let (few, text) = lines(&[]).await;
    assert!(few <= 21, "{text}");
    assert_contains(&text, &["--all", GOOD]);
    assert_eq!(lines(&["--all"]).await.0, 62);
    assert_eq!(as_json(&simulator, &[SERVICE]).await["revisions"].as_array().unwrap().len(), 62);
}

#[tokio::test]
async fn it_takes_two_round_trips_and_reads_nothing_twice() {
    let simulator = Simulator::with([k_back(0.4).revision(Revision::named(NEXT).age(minutes(1)))]).await;
    as_json(&simulator, &[SERVICE]).await;
    for (call, times) in [("token", 1), ("run.get", 1), ("run.revisions", 1), ("monitoring.list", 3)] {
        assert_eq!(simulator.calls(call).len(), times, "{call}");
    }
}

#[tokio::test]
async fn a_service_that_nobody_can_tell_is_bad_input() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    for (name, parts) in
        [("k-bak", &["k-bak", "k-back"][..]), ("a/b", &["projects/P/locations/R/services/S"])]
    {
        let said = run(&simulator, &["status", name], "").await;
        assert_eq!(said.status, 2, "{}", said.errors);
        assert_contains(&said.errors, parts);
    }
    assert!(simulator.calls("*").is_empty());
}
