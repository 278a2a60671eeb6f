//! `runback release`: gives a pinned service's traffic back to LATEST.

use serde_json::json;

use crate::alert::Alert;
use crate::command::run;
use crate::harness::{guarding, split};
use crate::simulator::{Clock, Revision, Service, Simulator, days, hours, minutes, target};
use crate::situation::{BAD, FULL_NAME, GOOD, SERVICE, assert_contains, deployed, k_back, proven};

const FIX: &str = "k-back-00043-fix";
const DIGEST: &str = "sha256:abababababababababababababababababababababababababababababababab";

async fn release(simulator: &Simulator, arguments: &[&str]) -> (i32, String) {
    let said = run(simulator, &[&["release"], arguments].concat(), "").await;
    (said.status, said.output + &said.errors)
}

async fn released(simulator: &Simulator) -> (i32, String) {
    release(simulator, &[SERVICE, "--yes"]).await
}

/// Rolled back an hour ago, with this revision as LATEST since.
fn pinned(latest: Revision) -> Service {
    let at = Clock::started_now().at(-3600.0).format("%FT%TZ").to_string();
    let record = json!({
        "v": 1,
        "rollbacks": [{"id": "rb-1", "incident": "0.a", "at": at, "culprit": BAD, "step": 100, "phase": "recovered",
                       "latest": 100, "from": [{"revision": BAD, "percent": 100}], "target": GOOD, "reason": "confirmed"}],
        "quarantine": [{"revision": BAD, "digest": DIGEST, "at": at}],
    });
    let mut service = Service::named(SERVICE)
        .revision(latest)
        .revision(deployed(0.4).digest(DIGEST))
        .revision(proven())
        .record(&record.to_string());
    service.traffic = vec![
        target(GOOD, 100),
        json!({"revisionName": FIX, "tag": "fix"}),
        json!({"latestRevision": true, "tag": "preview"}),
        json!({"revisionName": GOOD, "tag": "stable"}),
    ];
    service
}

fn fix() -> Revision {
    Revision::named(FIX).age(minutes(5))
}

/// Going forward is what a release is for, so only what it must never lose or overwrite counts.
#[track_caller]
fn assert_nothing_is_lost(simulator: &Simulator) {
    assert_eq!(simulator.world().violations, Vec::<String>::new());
}

#[tokio::test]
async fn a_release_gives_everything_back_to_latest_and_keeps_tags_and_record() {
    let simulator = Simulator::with([pinned(fix())]).await;
    let (tags, record) = (simulator.tags(SERVICE), simulator.record(SERVICE));
    let (status, said) = released(&simulator).await;
    assert_eq!(status, 0, "{said}");
    assert_contains(&said, &[SERVICE, FIX, "LATEST"]);
    assert_eq!(simulator.traffic(SERVICE), split([(FIX, 100)]));
    assert_eq!((simulator.tags(SERVICE), simulator.record(SERVICE)), (tags, record));
    simulator.change(SERVICE, |service| service.deploy(Revision::named("k-back-00044-next")));
    assert_eq!(simulator.traffic(SERVICE), split([("k-back-00044-next", 100)]));
    let (status, said) = released(&simulator).await;
    assert_eq!((status, simulator.writes().len()), (0, 1), "{said}");
    assert_nothing_is_lost(&simulator);
}

#[tokio::test]
async fn a_release_is_refused_while_latest_is_in_quarantine_by_name_or_by_image() {
    let renamed = fix().digest(DIGEST);
    let broken = Revision::named(FIX).age(minutes(5)).not_ready();
    for latest in [renamed, broken] {
        let simulator = Simulator::with([pinned(latest)]).await;
        let (status, said) = released(&simulator).await;
        assert_eq!(status, 3, "{said}");
        assert_contains(&said, &["runback: quarantine: ", BAD]);
        assert_eq!(simulator.calls("run.put").len(), 0);
        assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
        assert_nothing_is_lost(&simulator);
    }
}

#[tokio::test]
async fn after_a_rollback_a_release_waits_for_the_fix() {
    let (simulator, runback) = guarding([k_back(0.4).traffic(&[("LATEST", 100)])]).await;
    runback.deliver(&Alert::on(&simulator, SERVICE)).await.is(200, "rollback", "confirmed");
    runback.finish().await;
    assert_eq!(released(&simulator).await.0, 3);
    simulator.advance(hours(1));
    simulator.change(SERVICE, |service| service.deploy(Revision::named(FIX)));
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
    assert_eq!(released(&simulator).await.0, 0);
    assert_eq!(simulator.traffic(SERVICE), split([(FIX, 100)]));
    assert_nothing_is_lost(&simulator);
}

/// Releases are promoted by name here, and pull requests have previews: LATEST is whatever was pushed last.
#[tokio::test]
async fn a_service_that_never_followed_latest_is_not_handed_to_its_newest_preview() {
    let (simulator, runback) = guarding([k_back(0.4).traffic(&[(BAD, 100)])]).await;
    runback.deliver(&Alert::on(&simulator, SERVICE)).await.is(200, "rollback", "confirmed");
    runback.finish().await;
    simulator.advance(hours(1));
    let preview = "k-back-00043-pr17";
    simulator.change(SERVICE, |service| {
        service.deploy(Revision::named(preview));
        service.add_target(&json!({"revisionName": preview, "tag": "pr-17"}));
    });
    let (status, said) = released(&simulator).await;
    assert_eq!(status, 3, "{said}");
    assert_contains(&said, &[preview, "did not follow LATEST before", "by name"]);
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
    assert_nothing_is_lost(&simulator);
}

/// People overruled a rollback, were right, and now want deploys to be served again.
#[tokio::test]
async fn a_revision_that_has_served_well_for_days_since_its_rollback_can_be_released() {
    let (simulator, runback) = guarding([k_back(0.4).traffic(&[("LATEST", 100)])]).await;
    runback.deliver(&Alert::on(&simulator, SERVICE)).await.is(200, "rollback", "confirmed");
    runback.finish().await;
    simulator.advance(hours(1));
    simulator.change(SERVICE, |service| {
        service.set_errors(BAD, 0.0);
        service.move_traffic(&[(BAD, 100)]);
    });
    simulator.advance(minutes(20));
    assert_eq!(released(&simulator).await.0, 3, "twenty minutes prove nothing");
    simulator.advance(days(2));
    assert_eq!(released(&simulator).await.0, 0);
    assert_eq!(simulator.traffic(SERVICE), split([(BAD, 100)]));
    assert_nothing_is_lost(&simulator);
}

#[tokio::test]
async fn a_fix_that_never_served_is_released_although_latest_still_means_the_culprit() {
    let mut service = k_back(0.4).traffic(&[("LATEST", 100)]);
    service.ready_once_served = true;
    let (simulator, runback) = guarding([service]).await;
    runback.deliver(&Alert::on(&simulator, SERVICE)).await.is(200, "rollback", "confirmed");
    runback.finish().await;
    simulator.advance(hours(1));
    simulator.change(SERVICE, |service| service.deploy(Revision::named(FIX)));
    let (status, said) = released(&simulator).await;
    assert_eq!(status, 0, "{said}");
    assert_contains(&said, &[FIX, "LATEST"]);
    let splits: Vec<_> = simulator.writes().iter().map(|write| write.after.clone()).collect();
    assert!(splits.iter().all(|split| !split.contains_key(BAD)), "{splits:?}");
    simulator.change(SERVICE, |service| service.deploy(Revision::named("k-back-00044-next")));
    assert_eq!(simulator.calls("run.put").len(), 3, "the rollback, by name, LATEST");
    assert_nothing_is_lost(&simulator);
}

#[tokio::test]
async fn a_release_never_overwrites_somebody_elses_change() {
    let simulator = Simulator::with([pinned(fix())]).await;
    simulator.at("run.put").does(|world| world.service(SERVICE).deploy(Revision::named("k-back-00044-next")));
    let (status, said) = released(&simulator).await;
    assert_eq!(status, 1, "{said}");
    assert_contains(&said, &["somebody else changed the service", "k-back-00044-next"]);
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
    assert_eq!(released(&simulator).await.0, 0);
    assert_eq!(simulator.traffic(SERVICE), split([("k-back-00044-next", 100)]));
    assert_nothing_is_lost(&simulator);
}

#[tokio::test]
async fn a_release_is_shown_first_and_asked_for() {
    let simulator = Simulator::with([pinned(fix())]).await;
    let (status, said) = release(&simulator, &[SERVICE]).await;
    assert_eq!(status, 2, "{said}");
    assert_contains(&said, &["--yes"]);
    let (status, said) = release(&simulator, &["--service", FULL_NAME, "--dry-run"]).await;
    assert_eq!(status, 0, "{said}");
    assert_contains(&said, &["now    100% k-back-00041-xyz", "then   100% k-back-00043-fix", "✓ quarantine"]);
    assert!(simulator.writes().is_empty());
}

#[tokio::test]
async fn a_release_never_goes_back_to_what_is_older_than_the_serving_one() {
    let mut service = pinned(fix());
    service.revisions.insert(0, Revision::named("k-back-00044-next").age(minutes(1)).not_ready());
    service.traffic[0] = target("k-back-00044-next", 100);
    let simulator = Simulator::with([service]).await;
    let (status, said) = released(&simulator).await;
    assert_eq!(status, 3, "{said}");
    assert_contains(&said, &["runback: target: ", FIX, "k-back-00044-next"]);
    assert!(simulator.writes().is_empty());
}

#[tokio::test]
async fn a_release_that_cannot_be_made_says_why() {
    type Trouble = fn(&Simulator);
    let in_flight = |simulator: &Simulator| simulator.change(SERVICE, |service| service.set_deploying(true));
    let unreadable = |simulator: &Simulator| {
        simulator.change(SERVICE, |service| service.annotate(crate::simulator::STATE, "{\"v\": 2}"));
    };
    let forbidden = |simulator: &Simulator| simulator.at("run.put").always().denies("run.services.update");
    let gone = |simulator: &Simulator| simulator.at("run.get").always().fails(404);
    let cases: [(Trouble, i32, &str); 4] = [
        (in_flight, 3, "settled: a deploy is in flight"),
        (unreadable, 3, "version 2"),
        (forbidden, 1, "run.services.update"),
        (gone, 1, "404"),
    ];
    for (trouble, wanted, said) in cases {
        let simulator = Simulator::with([pinned(fix())]).await;
        trouble(&simulator);
        let (status, text) = released(&simulator).await;
        assert_eq!(status, wanted, "{text}");
        assert_contains(&text, &[said]);
        assert!(simulator.writes().is_empty());
        assert_nothing_is_lost(&simulator);
    }
}

#[tokio::test]
async fn bad_input_ends_with_status_two_and_calls_nobody() {
    let simulator = Simulator::with([k_back(0.4)]).await;
    for arguments in [
        &[][..],
        &["--service", "projects/p/locations/r/services/", "--yes"],
        &["x", "--yes"],
        &[SERVICE, "--service", SERVICE],
    ] {
        let (status, said) = release(&simulator, arguments).await;
        assert_eq!(status, 2, "{said}");
        assert_contains(&said.to_lowercase(), &["service"]);
    }
    assert!(simulator.calls("*").is_empty());
}
