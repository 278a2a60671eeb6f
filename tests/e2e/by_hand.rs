//! `runback rollback`: what a person moves by hand, with the gates, the one write and the record of Runback itself.

use std::time::Duration;

use serde_json::{Value, json};

use crate::command::{Said, run};
use crate::harness::split;
use crate::simulator::{Clock, Reconcile, Revision, Service, Simulator, days, hours, target};
use crate::situation::{BAD, COMMIT, GOOD, NEXT, SERVICE, assert_contains, deployed, k_back, proven};

async fn rollback(simulator: &Simulator, arguments: &[&str]) -> Said {
    run(simulator, &[&["rollback", SERVICE], arguments].concat(), "").await
}

fn record(simulator: &Simulator) -> Value {
    simulator.record(SERVICE).unwrap()
}

#[track_caller]
fn assert_nothing_is_written(simulator: &Simulator) {
    assert_eq!(simulator.calls("run.put").len(), 0);
    assert_eq!(simulator.world().violations, Vec::<String>::new());
}

#[tokio::test]
async fn the_move_its_author_and_the_reason_are_one_write() {
    let mut service = k_back(0.4).traffic(&[("LATEST", 100)]);
    service.traffic.push(json!({"revisionName": GOOD, "tag": "stable"}));
    let simulator = Simulator::with([service]).await;
    let tags = simulator.tags(SERVICE);
    let said = rollback(&simulator, &["--yes", "--reason", "checkout is slow"]).await;
    assert_eq!(said.status, 0, "{}", said.errors);
    assert_contains(
        &said.errors,
        &["now    100% k-back-00042-abc", "then   100% k-back-00041-xyz", "✓ healthy"],
    );
    assert_contains(&said.output, &[GOOD, "runback release k-back", "runback undo k-back"]);
    assert_eq!((simulator.traffic(SERVICE), simulator.writes().len()), (split([(GOOD, 100)]), 1));
    assert_eq!(simulator.tags(SERVICE), tags);
    let record = record(&simulator);
    let entry = &record["rollbacks"][0];
    assert_eq!((&entry["reason"], &entry["why"]), (&json!("manual"), &json!("checkout is slow")));
    assert_eq!((&entry["culprit"], &entry["target"]), (&json!(BAD), &json!(GOOD)));
    assert_eq!(entry["by"], crate::simulator::ACCOUNT);
    assert!(entry["incident"].as_str().unwrap().starts_with("manual-"), "{entry}");
    assert_eq!(record["quarantine"][0]["revision"], BAD);
    assert_eq!(simulator.world().violations, Vec::<String>::new());
}

#[tokio::test]
async fn by_commit_and_again_there_is_nothing_to_do() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    simulator.change(SERVICE, |service| service.move_traffic(&[(GOOD, 100)]));
    let said = rollback(&simulator, &[&COMMIT[..9], "--yes", "--json", "--force", "healthy"]).await;
    assert_eq!(said.status, 0, "{}", said.errors);
    let answer: Value = serde_json::from_str(&said.output).unwrap();
    assert_eq!((&answer["done"], &answer["to"]), (&json!(true), &json!([{"revision": BAD, "percent": 100}])));
    assert_eq!(record(&simulator)["quarantine"], json!([]), "it went on, not back");
    let again = rollback(&simulator, &[COMMIT, "--yes"]).await;
    assert_eq!((again.status, simulator.writes().len()), (0, 1), "{}", again.errors);
    assert_contains(&again.output, &["Nothing to do", BAD]);
}

#[tokio::test]
async fn each_refusal_names_its_gate_and_touches_nothing() {
    let lately = Clock::started_now().at(-1800.0).format("%FT%TZ").to_string();
    let quarantined = json!({"v": 1, "rollbacks": [], "quarantine": [{"revision": GOOD, "at": lately}]});
    let other_schema = Service::named(SERVICE)
        .revision(deployed(0.4).label("runback-schema", "7"))
        .revision(proven().label("runback-schema", "6"));
    let broken = Service::named(SERVICE).revision(deployed(0.4)).revision(proven().not_ready());
    let sick = Service::named(SERVICE)
        .revision(deployed(0.4))
        .revision(Revision::named(GOOD).age(days(3)).errors(0.5).served(days(3)..hours(1)));
    let deploying = Service { deploying: true, ..k_back(0.4) };
    for (service, gate) in [
        (k_back(0.4).record(&quarantined.to_string()), "quarantine"),
        (other_schema, "schema"),
        (broken, "target"),
        (sick, "healthy"),
        (deploying, "settled"),
    ] {
        let simulator = Simulator::with([service]).await;
        let said = rollback(&simulator, &[GOOD, "--yes", "--json"]).await;
        assert_eq!(said.status, 3, "{}", said.errors);
        assert_contains(&said.errors, &[&format!("runback: {gate}: ")]);
        let answer: Value = serde_json::from_str(&said.output).unwrap();
        assert_eq!(answer["done"], false);
        let gates = answer["gates"].as_array().unwrap();
        let failed: Vec<_> = gates.iter().filter(|gate| gate["passed"] == false).collect();
        assert_eq!((failed.len(), &failed[0]["gate"]), (1, &json!(gate)), "{answer}");
        assert_nothing_is_written(&simulator);
        let forceable = ["quarantine", "schema", "healthy"].contains(&gate);
        let forced = rollback(&simulator, &[GOOD, "--yes", "--force", gate]).await;
        assert_eq!(forced.status, if forceable { 0 } else { 2 }, "{}", forced.errors);
        assert_eq!(simulator.writes().len(), usize::from(forceable));
    }
    let simulator = Simulator::with([k_back(0.4)]).await;
    let said = rollback(&simulator, &["k-back-00001-zzz", "--yes"]).await;
    assert_eq!(said.status, 3);
    assert_contains(&said.errors, &["target: ", "k-back-00001-zzz", GOOD]);
    assert_nothing_is_written(&simulator);
}

#[tokio::test]
async fn nothing_is_written_without_a_yes() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    for input in ["", "yes\n"] {
        let said = run(&simulator, &["rollback", SERVICE, GOOD], input).await;
        assert_eq!(said.status, 2, "{}", said.errors);
        assert_contains(&said.errors, &["--yes"]);
    }
    assert!(simulator.calls("*").is_empty(), "nobody could have answered");
    let said = rollback(&simulator, &[GOOD, "--dry-run"]).await;
    assert_eq!(said.status, 0, "{}", said.errors);
    assert_contains(&said.output, &[BAD, GOOD, "✓ healthy", "dry run"]);
    assert_nothing_is_written(&simulator);
}

#[tokio::test]
async fn a_change_that_alters_nothing_of_the_plan_costs_one_more_look() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    simulator.at("run.put").does(|world| world.service(SERVICE).annotate("example.com/note", "meanwhile"));
    let said = rollback(&simulator, &[GOOD, "--yes"]).await;
    assert_eq!(said.status, 0, "{}", said.errors);
    assert_contains(&said.errors, &["somebody else changed the service"]);
    assert_eq!((simulator.traffic(SERVICE), simulator.writes().len()), (split([(GOOD, 100)]), 1));
}

#[tokio::test]
async fn somebody_elses_deploy_stays_and_the_new_plan_is_shown() {
    let simulator = Simulator::with([k_back(0.4).traffic(&[("LATEST", 100)])]).await;
    simulator.at("run.put").does(|world| world.service(SERVICE).deploy(Revision::named(NEXT)));
    let said = rollback(&simulator, &[GOOD, "--yes"]).await;
    assert_eq!(said.status, 1, "{}", said.errors);
    assert_contains(&said.errors, &["meanwhile", NEXT, "Nothing was written"]);
    assert_eq!((simulator.traffic(SERVICE), simulator.writes().len()), (split([(NEXT, 100)]), 0));
}

#[tokio::test]
async fn of_two_people_at_once_one_writes_and_the_other_hears_whose_it_was() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    simulator.at("run.put").always().takes(Duration::from_millis(300));
    let arguments = ["rollback", SERVICE, GOOD, "--yes"];
    let (one, other) = tokio::join!(run(&simulator, &arguments, ""), run(&simulator, &arguments, ""));
    assert_eq!((one.status, other.status), (0, 0), "{}\n{}", one.errors, other.errors);
    assert_eq!((simulator.writes().len(), record(&simulator)["rollbacks"].as_array().unwrap().len()), (1, 1));
    assert_contains(
        &format!("{}{}", one.errors, other.errors),
        &[crate::simulator::ACCOUNT, "has just done the same"],
    );
}

#[tokio::test]
async fn a_lost_answer_is_settled_by_reading() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    simulator.at("run.put").carried_out().cuts();
    let said = rollback(&simulator, &[GOOD, "--yes"]).await;
    assert_eq!(said.status, 0, "{}", said.errors);
    assert_eq!((simulator.writes().len(), simulator.calls("run.put").len()), (1, 1));
    let simulator = Simulator::with([k_back(0.4)]).await;
    simulator.at("run.put").fails(503);
    let said = rollback(&simulator, &[GOOD, "--yes"]).await;
    assert_eq!(
        (said.status, simulator.writes().len()),
        (0, 1),
        "it was not carried out, and is tried once more"
    );
}

#[tokio::test]
async fn a_status_that_does_not_follow_is_no_success() {
    let service = Service { reconcile: Reconcile::Never, ..k_back(0.4) };
    let simulator = Simulator::with([service]).await;
    let said = rollback(&simulator, &[GOOD, "--yes", "--json"]).await;
    assert_eq!(said.status, 1, "{}", said.errors);
    assert_contains(&said.errors, &["on record", "has not taken effect", "runback status k-back --watch"]);
    let answer: Value = serde_json::from_str(&said.output).unwrap();
    assert_eq!(answer["done"], false);
}

#[tokio::test]
async fn a_missing_permission_is_named_with_the_grant() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    simulator.at("run.put").always().denies("run.services.update");
    let said = rollback(&simulator, &[GOOD, "--yes"]).await;
    assert_eq!(said.status, 1);
    assert_contains(&said.errors, &["run.services.update", "add-iam-policy-binding", "roles/run.developer"]);
    assert!(simulator.writes().is_empty());
}

#[tokio::test]
async fn a_record_that_cannot_be_read_stands_against_it() {
    let simulator = Simulator::with([k_back(0.4).record("{\"v\": 2}")]).await;
    let said = rollback(&simulator, &[GOOD, "--yes"]).await;
    assert_eq!(said.status, 3, "{}", said.errors);
    assert_contains(&said.errors, &["record: ", "version 2"]);
    assert_nothing_is_written(&simulator);
}

#[tokio::test]
async fn everything_moves_also_out_of_a_split() {
    let mut service = k_back(0.4).revision(Revision::named("k-back-00040-uvw").age(days(9)));
    service.traffic = vec![target(BAD, 60), target("k-back-00040-uvw", 40)];
    let simulator = Simulator::with([service]).await;
    let said = rollback(&simulator, &[GOOD, "--yes"]).await;
    assert_eq!(said.status, 0, "{}", said.errors);
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
    let entry = &record(&simulator)["rollbacks"][0];
    assert_eq!((&entry["culprit"], entry["from"].as_array().unwrap().len()), (&json!(BAD), 2));
}
