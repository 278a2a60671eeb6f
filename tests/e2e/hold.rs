//! `runback hold`, `resume`, `undo` and `quarantine`: people stop Runback, take back what it did, and let out what it banned.

use serde_json::{Value, json};

use crate::alert::Alert;
use crate::command::{Said, run};
use crate::harness::split;
use crate::simulator::{ACCOUNT, Revision, STATE, Simulator, hours, minutes};
use crate::situation::{
    BAD, COMMIT, GOOD, NEXT, SERVICE, a_failing_deploy, a_first_step, assert_contains, k_back, later,
};

async fn command(simulator: &Simulator, arguments: &[&str]) -> Said {
    run(simulator, arguments, "").await
}

fn hold(simulator: &Simulator) -> Value {
    let text = simulator.change(SERVICE, |service| service.annotation("runback.dev/hold").map(str::to_owned));
    text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
}

#[tokio::test]
async fn a_held_service_is_explained_and_not_moved_until_the_hold_ends() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    let said = command(&simulator, &["hold", SERVICE, "--for", "2h", "--reason", "database migration"]).await;
    assert_eq!(said.status, 0, "{}", said.errors);
    assert_contains(&said.output, &["k-back is held until", "2 h from now", "runback resume k-back"]);
    assert_eq!(
        (&hold(&simulator)["by"], &hold(&simulator)["why"]),
        (&json!(ACCOUNT), &json!("database migration"))
    );
    runback.deliver(&alert).await.is(200, "notify", "on_hold");
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 100)]));
    let told = simulator.slack().last().unwrap().text.clone();
    assert_contains(&told, &["on_hold", "held by runback@", "database migration", GOOD, "runback resume"]);
    let status = command(&simulator, &["status", SERVICE]).await;
    assert_contains(&status.output, &["held by", "database migration"]);

    simulator.advance(hours(3));
    runback.deliver(&Alert::on(&simulator, SERVICE).incident("0.later")).await.is(
        200,
        "rollback",
        "confirmed",
    );
    runback.finish().await;
}

#[tokio::test]
async fn a_hold_without_an_end_lasts_until_somebody_resumes_it() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    assert_eq!(command(&simulator, &["hold", SERVICE, "--yes"]).await.status, 0);
    assert_eq!(hold(&simulator)["until"], Value::Null);
    simulator.advance(hours(20));
    runback.deliver(&alert).await.is(200, "notify", "on_hold");
    let said = command(&simulator, &["resume", SERVICE]).await;
    assert_contains(&said.output, &["Runback acts on k-back again", ACCOUNT]);
    assert_eq!((said.status, hold(&simulator)), (0, Value::Null));
    let puts = simulator.calls("run.put").len();
    let again = command(&simulator, &["resume", SERVICE]).await;
    assert_contains(&again.output, &["Nothing to do"]);
    assert_eq!((again.status, simulator.calls("run.put").len()), (0, puts));
    runback.finish().await;
}

#[tokio::test]
async fn a_hold_is_written_beside_whatever_somebody_else_changes_and_a_lost_answer_is_read() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    simulator.at("run.put").does(|world| world.service(SERVICE).annotate("example.com/note", "meanwhile"));
    assert_eq!(command(&simulator, &["hold", SERVICE]).await.status, 0);
    simulator.at("run.put").carried_out().cuts();
    let puts = simulator.calls("run.put").len();
    let said = command(&simulator, &["hold", SERVICE, "--for", "1h"]).await;
    assert_eq!((said.status, simulator.calls("run.put").len()), (0, puts + 1), "{}", said.errors);
    assert_contains(&said.errors, &["replaces another hold"]);
    let dry = command(&simulator, &["resume", SERVICE, "--dry-run"]).await;
    assert_contains(&dry.output, &["nothing was written"]);
    assert!(hold(&simulator)["until"].is_string());
    assert_eq!(simulator.world().violations, Vec::<String>::new());
    for time in ["0s", "91d", "soon"] {
        assert_eq!(command(&simulator, &["hold", SERVICE, "--for", time]).await.status, 2, "{time}");
    }
}

#[tokio::test]
async fn what_runback_did_is_undone_with_one_command_and_stays_undone() {
    let (simulator, runback, alert) = a_failing_deploy().await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    let said = command(&simulator, &["undo", SERVICE, "--yes"]).await;
    assert_eq!(said.status, 0, "{}", said.errors);
    assert_contains(&said.output, &["serves 100% k-back-00042-abc again"]);
    let record = simulator.record(SERVICE).unwrap();
    assert_eq!((&record["rollbacks"][0]["phase"], &record["quarantine"]), (&json!("undone"), &json!([])));
    assert_eq!(record["rollbacks"].as_array().unwrap().len(), 1);
    runback.deliver(&alert).await.is(200, "ignore", "already_handled");
    simulator.advance(hours(1));
    for answer in runback.deliver_due_tasks().await {
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 100)]));
    assert_contains(&command(&simulator, &["undo", SERVICE, "--yes"]).await.output, &["Nothing to do"]);
    runback.finish().await;
}

#[tokio::test]
async fn an_undo_follows_latest_again_where_the_culprit_was_latest() {
    let simulator = Simulator::with([k_back(0.4).traffic(&[("LATEST", 100)])]).await;
    assert_eq!(command(&simulator, &["rollback", SERVICE, "--yes"]).await.status, 0);
    assert_eq!(command(&simulator, &["undo", SERVICE, "--yes"]).await.status, 0);
    simulator.change(SERVICE, |service| service.deploy(Revision::named(NEXT)));
    assert_eq!(simulator.traffic(SERVICE), split([(NEXT, 100)]));
}

#[tokio::test]
async fn an_undo_never_moves_what_somebody_else_has_moved_since() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    assert_eq!(command(&simulator, &["rollback", SERVICE, "--yes"]).await.status, 0);
    simulator.change(SERVICE, |service| service.move_traffic(&[(GOOD, 90), (BAD, 10)]));
    let said = command(&simulator, &["undo", SERVICE, "--yes", "--json"]).await;
    assert_eq!((said.status, simulator.writes().len()), (3, 1), "{}", said.errors);
    assert_contains(&said.errors, &["runback: overruled: "]);
    let never = Simulator::with([k_back(0.4)]).await;
    assert_contains(
        &command(&never, &["undo", SERVICE, "--yes"]).await.output,
        &["no rollback is on record"],
    );
}

#[tokio::test]
async fn a_pipeline_asks_what_must_not_come_back_and_a_person_lets_it_out() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    let check = async |what: &str| {
        let said = command(&simulator, &["quarantine", SERVICE, "--check", what]).await;
        (said.status, said.errors)
    };
    assert_eq!(check(COMMIT).await.0, 0);
    assert_eq!(command(&simulator, &["rollback", SERVICE, "--yes"]).await.status, 0);
    let record = simulator.record(SERVICE).unwrap();
    let digest = record["quarantine"][0]["digest"].as_str().unwrap().to_owned();
    let image = format!("region-docker.pkg.dev/p/r/k-back@{digest}");
    for what in [BAD, COMMIT, &COMMIT[..7], &digest, &image] {
        let (status, errors) = check(what).await;
        assert_eq!(status, 3, "{what}");
        assert_contains(&errors, &["quarantine: ", what, "--lift k-back-00042-abc"]);
    }
    for what in [GOOD, "1234567", "sha256:12", "k-back"] {
        assert_eq!(check(what).await, (0, String::new()), "{what}");
    }
    let list = command(&simulator, &["quarantine", SERVICE]).await;
    assert_contains(&list.output, &[BAD, &COMMIT[..7], &digest]);

    assert_eq!(command(&simulator, &["quarantine", SERVICE, "--lift", BAD]).await.status, 2, "nobody to ask");
    let lifted = command(&simulator, &["quarantine", SERVICE, "--lift", BAD, "--yes", "--json"]).await;
    let lifted: Value = serde_json::from_str(&lifted.output).unwrap();
    assert_eq!((&lifted["done"], &lifted["quarantine"]), (&json!(true), &json!([])));
    assert_eq!(
        (check(BAD).await.0, simulator.writes().iter().filter(|write| write.moved_traffic()).count()),
        (0, 1)
    );
    assert_eq!(simulator.record(SERVICE).unwrap()["rollbacks"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_entry_that_knows_only_its_revision_is_found_by_what_cloud_run_knows() {
    let record =
        json!({"v": 1, "rollbacks": [], "quarantine": [{"revision": BAD, "at": "2026-01-01T00:00:00Z"}]});
    let simulator = Simulator::with([k_back(0.4).record(&record.to_string())]).await;
    let said = command(&simulator, &["quarantine", SERVICE, "--check", COMMIT, "--json"]).await;
    let answer: Value = serde_json::from_str(&said.output).unwrap();
    assert_eq!((said.status, &answer["allowed"]), (3, &json!(false)));
    simulator.change(SERVICE, |service| service.annotate(STATE, "{"));
    assert_eq!(command(&simulator, &["quarantine", SERVICE, "--check", GOOD]).await.status, 1);
}

#[tokio::test]
async fn a_gradual_rollback_waits_while_somebody_holds_the_service_and_goes_on_then() {
    let (simulator, runback, _) = a_first_step(json!({})).await;
    let first_step = simulator.traffic(SERVICE);
    assert_eq!(command(&simulator, &["hold", SERVICE, "--reason", "migration"]).await.status, 0);
    for _ in 0..3 {
        assert_eq!(later(&simulator, &runback, minutes(5)).await, [503], "it comes again");
        assert_eq!(simulator.traffic(SERVICE), first_step);
    }
    let told: Vec<_> = simulator.slack().into_iter().filter(|it| it.text.contains("on_hold")).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_contains(&told[0].text, &["on hold", "10%", "runback resume k-back"]);
    assert_eq!(command(&simulator, &["resume", SERVICE]).await.status, 0);
    assert_eq!(later(&simulator, &runback, minutes(1)).await, [200]);
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 50), (GOOD, 50)]));
    runback.finish().await;
}
