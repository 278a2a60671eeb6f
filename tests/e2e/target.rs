//! Whom the blame falls on, and which revision the traffic goes back to.

use serde_json::json;

use crate::alert::Alert;
use crate::harness::{guarding, split};
use crate::simulator::{NOW, Revision, Served, Service, days, hours, minutes, target};
use crate::situation::{
    BAD, GOOD, SERVICE, a_world_with, assert_contains, assert_rolled_back, deployed, k_back, moves,
    one_story, proven, under_policy,
};

const OLDER: &str = "k-back-00040-uvw";

#[tokio::test]
async fn it_is_the_taking_of_traffic_that_counts_and_not_the_deploy() {
    let promoted = Revision::named(BAD).age(days(3)).errors(0.4).served(minutes(15)..NOW);
    let before = Revision::named(GOOD).age(days(9)).served(days(9)..minutes(15));
    let service = Service::named(SERVICE).revision(promoted).revision(before);
    let (simulator, runback, alert) = a_world_with(service).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn a_bad_deploy_before_the_bad_deploy_is_skipped() {
    let hurried = Revision::named(GOOD).age(hours(2)).errors(0.5).served(hours(2)..minutes(20));
    let older = Revision::named(OLDER).age(days(5)).errors(0.001).served(days(5)..hours(2));
    let service = Service::named(SERVICE).revision(deployed(0.4)).revision(hurried).revision(older);
    let (simulator, runback, alert) = under_policy(service, json!({"critical": 0.95})).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_eq!(simulator.traffic(SERVICE), split([(OLDER, 100)]));
    assert_eq!(moves(&simulator), 1);
    runback.finish().await;
}

#[tokio::test]
async fn a_newer_revision_without_history_gives_way_to_a_proven_one() {
    let untried = Revision::named(GOOD).age(hours(2));
    let older = Revision::named(OLDER).age(days(5)).errors(0.001).served(days(5)..minutes(20));
    let service = Service::named(SERVICE).revision(deployed(0.4)).revision(untried).revision(older);
    let (simulator, runback, alert) = a_world_with(service).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_eq!(simulator.traffic(SERVICE), split([(OLDER, 100)]));
    runback.finish().await;
}

/// A preview of a pull request between the deploy and what served before it: a tag leads to it, no percentage does.
fn beside_a_preview(tested: Served) -> Service {
    let preview = Revision::named(GOOD).age(hours(2)).served(tested);
    let older = Revision::named(OLDER).age(days(5)).errors(0.001).served(days(5)..minutes(20));
    let preview_tag = json!({"revisionName": GOOD, "tag": "pr-17"});
    Service::named(SERVICE)
        .revision(deployed(0.4))
        .revision(preview)
        .revision(older)
        .traffic_targets(vec![target("LATEST", 100), preview_tag])
}

#[tokio::test]
async fn production_goes_back_to_what_served_production_and_not_to_a_tested_preview() {
    for tested in [
        Served::ago(minutes(90)..NOW).rpm(2.0),
        Served::ago(minutes(12)..minutes(10)).rpm(100.0),
        Served::ago(minutes(40)..minutes(20)).rpm(600.0),
    ] {
        let (simulator, runback, alert) = a_world_with(beside_a_preview(tested)).await;
        runback.deliver(&alert).await.is(200, "rollback", "confirmed");
        assert_eq!(simulator.traffic(SERVICE), split([(OLDER, 100)]));
        assert_eq!(simulator.tags(SERVICE), [("pr-17".to_owned(), GOOD.to_owned())].into());
        runback.finish().await;
    }
}

#[tokio::test]
async fn in_the_dark_a_preview_is_no_target_either() {
    let (simulator, runback, alert) =
        a_world_with(beside_a_preview(Served::ago(minutes(90)..NOW).rpm(2.0))).await;
    simulator.at("monitoring.list").always().fails(503);
    runback.deliver(&alert).await.is(200, "rollback", "unconfirmed");
    assert_eq!(simulator.traffic(SERVICE), split([(OLDER, 100)]));
    runback.finish().await;
}

#[tokio::test]
async fn without_any_history_the_newest_older_ready_revision_is_taken_and_called_unproven() {
    let service = Service::named(SERVICE)
        .revision(deployed(0.4))
        .revision(Revision::named("k-back-00041-dud").age(hours(1)).not_ready())
        .revision(Revision::named(GOOD).age(days(2)))
        .revision(Revision::named(OLDER).age(days(9)));
    let (simulator, runback, alert) = a_world_with(service).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    assert_contains(&one_story(&simulator).to_lowercase(), &["unproven"]);
    runback.finish().await;
}

#[tokio::test]
async fn a_split_without_a_named_culprit_is_judged_by_the_evidence() {
    let healthy = proven().served(minutes(20)..NOW);
    let service =
        Service::named(SERVICE).revision(deployed(0.4)).revision(healthy).traffic(&[(BAD, 50), (GOOD, 50)]);
    let (simulator, runback, alert) = a_world_with(service).await;
    let alert = alert.without("/incident/resource/labels/revision_name");
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    runback.finish().await;
}

/// The image of the first culprit comes back under a new name, then a third deploy fails.
/// The fix of a bad setting is the same image. It serves for two days, until another deploy fails.
#[tokio::test]
async fn an_image_that_has_served_well_for_two_days_since_is_a_target_again() {
    let digest = format!("sha256:{}", "ab".repeat(32));
    let culprit = Revision::named(BAD).digest(&digest).age(minutes(20)).errors(0.4).served(minutes(20)..NOW);
    let (simulator, runback) = guarding([Service::named(SERVICE).revision(culprit).revision(proven())]).await;
    let first = Alert::on(&simulator, SERVICE).incident("0.first");
    runback.deliver(&first).await.is(200, "rollback", "confirmed");

    let (fix, next) = ("k-back-00043-fix", "k-back-00044-ghi");
    simulator.advance(hours(1));
    simulator.change(SERVICE, |service| {
        service.deploy(Revision::named(fix).digest(&digest));
        service.move_traffic(&[(fix, 100)]);
    });
    simulator.advance(days(2));
    simulator.change(SERVICE, |service| {
        service.deploy(Revision::named(next).errors(0.4));
        service.move_traffic(&[(next, 100)]);
    });
    simulator.advance(minutes(15));
    let second = Alert::on(&simulator, SERVICE).incident("0.second");
    runback.deliver(&second).await.is(200, "rollback", "confirmed");
    assert_eq!(simulator.traffic(SERVICE), split([(fix, 100)]));
    runback.finish().await;
}

#[tokio::test]
async fn a_quarantined_image_stays_blocked_under_a_new_name() {
    let image = "asia-northeast1-docker.pkg.dev/demo-project/k-back-repo/k-back:same";
    let digest = format!("sha256:{}", "ab".repeat(32));
    let same = |name: &str| Revision::named(name).image(image).digest(&digest);
    let culprit = same(BAD).age(minutes(20)).errors(0.4).served(minutes(20)..NOW);
    let (simulator, runback) = guarding([Service::named(SERVICE).revision(culprit).revision(proven())]).await;
    let first = Alert::on(&simulator, SERVICE).incident("0.first");
    runback.deliver(&first).await.is(200, "rollback", "confirmed");

    simulator.advance(hours(1));
    simulator.change(SERVICE, |service| service.deploy(same("k-back-00043-def")));
    simulator.advance(minutes(20));
    simulator.change(SERVICE, |service| {
        service.deploy(Revision::named("k-back-00044-ghi").errors(0.4));
        service.move_traffic(&[("k-back-00044-ghi", 100)]);
    });
    simulator.advance(minutes(15));
    let second = Alert::on(&simulator, SERVICE).incident("0.second");
    runback.deliver(&second).await.is(200, "rollback", "confirmed");
    assert_eq!(simulator.traffic(SERVICE), split([(GOOD, 100)]));
    assert_eq!(moves(&simulator), 2);

    let record = simulator.record(SERVICE).unwrap();
    let names = |list: &str, key: &str| -> Vec<String> {
        record[list].as_array().unwrap().iter().map(|entry| entry[key].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("rollbacks", "incident"), ["0.second", "0.first"]);
    assert_eq!(names("quarantine", "revision"), ["k-back-00044-ghi", BAD]);
    runback.finish().await;
}

#[tokio::test]
async fn a_broken_configuration_of_the_same_image_goes_back_to_that_image() {
    let digest = format!("sha256:{}", "cd".repeat(32));
    let service =
        Service::named(SERVICE).revision(deployed(0.4).digest(&digest)).revision(proven().digest(&digest));
    let (simulator, runback, alert) = a_world_with(service).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    runback.finish().await;
}

#[tokio::test]
async fn revisions_that_come_in_pages_are_all_seen() {
    let mut service = k_back(0.4);
    service.page_size = 1;
    let (simulator, runback, alert) = a_world_with(service).await;
    runback.deliver(&alert).await.is(200, "rollback", "confirmed");
    assert_rolled_back(&simulator);
    assert_eq!(simulator.calls("run.revisions").len(), 2);
    runback.finish().await;
}
