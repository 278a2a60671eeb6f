use chrono::TimeDelta;

use super::*;
use crate::domain::service::Destination;
use crate::domain::service::{ServiceName, TrafficTarget};

fn at(hours: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::hours(hours)
}

fn share(revision: &str, percent: u8) -> Share {
    Share { revision: revision.into(), percent }
}

/// The rollback of a culprit that had all traffic to `k41`; later ones have larger numbers.
fn rollback(number: i64, culprit: &str) -> Rollback {
    Rollback {
        id: format!("id-{number}"),
        incident: format!("0.{number}"),
        alerted: None,
        at: DateTime::UNIX_EPOCH + TimeDelta::hours(number),
        moved: None,
        culprit: culprit.into(),
        from: vec![share(culprit, 100)],
        latest: 0,
        slow: false,
        slower_than: None,
        target: "k41".into(),
        step: 100,
        phase: Phase::Switching,
        reason: "confirmed".into(),
        why: None,
        trial: false,
        by: None,
    }
}

fn bad(number: i64, revision: &str) -> Quarantined {
    let at = DateTime::UNIX_EPOCH + TimeDelta::hours(number);
    Quarantined { revision: revision.into(), digest: Some(format!("sha256:{revision}")), commit: None, at }
}

fn quarantined(record: &Record) -> Vec<&str> {
    record.quarantine.iter().map(|entry| entry.revision.as_str()).collect()
}

/// A record after so many rollbacks of different revisions.
fn record(count: i64) -> Record {
    (0..count).fold(Record::default(), |record, number| {
        let culprit = format!("bad-{number}");
        record.with(rollback(number, &culprit), bad(number, &culprit), |_| true)
    })
}

#[test]
fn the_newest_comes_first_and_the_last_ten_and_twenty_stay() {
    let few = record(3);
    assert_eq!(
        few.rollbacks.iter().map(|entry| entry.id.as_str()).collect::<Vec<_>>(),
        ["id-2", "id-1", "id-0"]
    );
    assert_eq!(quarantined(&few), ["bad-2", "bad-1", "bad-0"]);
    for (count, rollbacks, quarantine) in
        [(10, 10, 10), (11, 10, 11), (20, 10, 20), (21, 10, 20), (40, 10, 20)]
    {
        let record = record(count);
        assert_eq!((record.rollbacks.len(), record.quarantine.len()), (rollbacks, quarantine), "{count}");
        let newest = format!("bad-{}", count - 1);
        assert_eq!(
            (record.rollbacks[0].culprit.as_str(), quarantined(&record)[0]),
            (newest.as_str(), newest.as_str())
        );
        let oldest = format!("bad-{}", count - i64::try_from(quarantine).unwrap());
        assert_eq!(quarantined(&record).last(), Some(&oldest.as_str()), "the oldest go first");
    }
}

#[test]
fn a_quarantine_entry_goes_with_its_revision() {
    let before = record(4);
    let after = before.with(rollback(9, "k42"), bad(9, "k42"), |name| name != "bad-1" && name != "bad-3");
    assert_eq!(quarantined(&after), ["k42", "bad-2", "bad-0"]);
    assert_eq!(after.rollbacks.len(), 5, "what was done stays on record");
    let room = record(20).with(rollback(30, "k42"), bad(30, "k42"), |name| name != "bad-19");
    assert_eq!(
        (room.quarantine.len(), quarantined(&room).last()),
        (20, Some(&"bad-0")),
        "what is gone takes no room"
    );
}

#[test]
fn a_revision_is_in_quarantine_once_since_it_last_failed() {
    let twice = record(2).with(rollback(9, "bad-0"), bad(9, "bad-0"), |_| true);
    assert_eq!(quarantined(&twice), ["bad-0", "bad-1"]);
    assert_eq!(twice.quarantine[0].at, bad(9, "bad-0").at);
    assert_eq!(twice.rollbacks.len(), 3);
}

#[test]
fn with_leaves_the_record_it_was_called_on_alone() {
    let before = record(2);
    let copy = before.clone();
    let _ = before.with(rollback(9, "k42"), bad(9, "k42"), |_| false);
    assert_eq!(before, copy);
}

#[test]
fn an_incident_is_found_by_its_name() {
    let mut record = record(3);
    assert_eq!(record.of_incident("0.1").map(|entry| entry.id.as_str()), Some("id-1"));
    assert_eq!(record.of_incident("0.7"), None);
    record.rollbacks[0].incident = String::new();
    assert_eq!(record.of_incident(""), None, "two incidents without a name are not the same");
}

#[test]
fn the_culprits_share_is_at_the_target_afterwards() {
    let from = |shares: &[(&str, u8)]| {
        let from = shares.iter().map(|(name, percent)| share(name, *percent)).collect();
        let mut to = Rollback { from, ..rollback(1, "k42") }.to();
        to.sort_by(|a, b| a.revision.cmp(&b.revision));
        to.iter().map(|share| format!("{} {}", share.revision, share.percent)).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(from(&[("k42", 100)]), "k41 100");
    assert_eq!(from(&[("k41", 90), ("k42", 10)]), "k41 100");
    assert_eq!(from(&[("k42", 10), ("k41", 90)]), "k41 100");
    assert_eq!(from(&[("k40", 60), ("k41", 30), ("k42", 10)]), "k40 60, k41 40");
    assert_eq!(from(&[("k40", 60), ("k42", 40)]), "k40 60, k41 40");
}

fn service(spec: &[(Destination, u8)], status: &[(&str, u8)]) -> Service {
    let target = |to: Destination, percent: u8| TrafficTarget {
        to,
        percent,
        tag: (percent == 0).then(|| "tag".into()),
    };
    Service {
        name: ServiceName { project: "p".into(), region: "r".into(), service: "s".into() },
        url: String::new(),
        spec_traffic: spec.iter().map(|(to, percent)| target(to.clone(), *percent)).collect(),
        status_traffic: status.iter().map(|(name, percent)| target(pinned(name), *percent)).collect(),
        tagged: std::collections::BTreeMap::new(),
        in_flight: false,
        trouble: None,
        latest_ready: Some("k42".into()),
        hold: None,
    }
}

fn pinned(name: &str) -> Destination {
    Destination::Revision(name.into())
}

#[test]
fn it_has_arrived_when_the_status_shows_the_target_and_not_the_culprit() {
    let arrived = |status: &[(&str, u8)]| rollback(1, "k42").has_arrived(&service(&[], status));
    assert!(arrived(&[("k41", 100)]));
    assert!(arrived(&[("k41", 100), ("k42", 0)]), "a tag on the culprit is no traffic");
    assert!(arrived(&[("k40", 60), ("k41", 40)]));
    assert!(!arrived(&[("k42", 100)]));
    assert!(!arrived(&[("k42", 100), ("k41", 0)]), "a tag on the target is no traffic");
    assert!(!arrived(&[("k41", 90), ("k42", 10)]), "a canary before its switch");
    assert!(!arrived(&[("k43", 100)]), "somebody else's change");
    assert!(!arrived(&[]));
}

#[test]
fn it_is_wanted_as_long_as_the_spec_asks_for_the_target() {
    let wanted = |spec: &[(Destination, u8)]| rollback(1, "k42").is_wanted(&service(spec, &[("k42", 100)]));
    assert!(wanted(&[(pinned("k41"), 100)]));
    assert!(wanted(&[(pinned("k40"), 60), (pinned("k41"), 40), (Destination::Latest, 0)]));
    assert!(!wanted(&[(pinned("k42"), 100), (pinned("k41"), 0)]), "only a tag is left");
    assert!(!wanted(&[(Destination::Latest, 100)]), "somebody has released it");
    assert!(!wanted(&[]));
}

#[test]
fn on_the_way_and_on_the_way_back_every_share_counts() {
    let half = Rollback { step: 50, ..rollback(1, "k42") };
    let wanted = |rollback: &Rollback, spec: &[(Destination, u8)]| rollback.is_wanted(&service(spec, &[]));
    assert!(wanted(&half, &[(pinned("k42"), 50), (pinned("k41"), 50)]));
    assert!(
        wanted(&half, &[(pinned("k42"), 50), (pinned("k41"), 50), (pinned("k40"), 0)]),
        "a tag is no share"
    );
    assert!(!wanted(&half, &[(pinned("k41"), 100)]), "somebody has gone on by hand");
    assert!(!wanted(&half, &[(pinned("k42"), 50), (pinned("k41"), 40), (pinned("k43"), 10)]));
    let back = Rollback { phase: Phase::Restoring, ..rollback(1, "k42") };
    assert!(wanted(&back, &[(Destination::Latest, 100)]), "LATEST is the culprit");
    assert!(!wanted(&back, &[(pinned("k41"), 100)]));
}

#[test]
fn taking_the_blame_off_a_culprit_lifts_its_quarantine() {
    let before = record(3);
    let undone = Rollback { phase: Phase::Restoring, ..before.rollbacks[0].clone() };
    assert_eq!(before.absolved("bad-2", at(9), TimeDelta::hours(1)), None);
    let after = before.with_changed(&undone);
    assert_eq!(quarantined(&after), ["bad-1", "bad-0"]);
    assert_eq!(after.absolved("bad-2", at(9), TimeDelta::hours(1)), Some(&undone));
    assert_eq!(after.absolved("bad-1", at(9), TimeDelta::hours(1)), None);
    let told = Rollback { phase: Phase::Told, ..before.rollbacks[0].clone() };
    assert_eq!(quarantined(&before.with_changed(&told)), ["bad-2", "bad-1", "bad-0"]);
    assert_eq!(before.with_changed(&rollback(9, "unknown")), before, "one that the record has lost");
}

#[test]
fn going_forward_by_hand_puts_nobody_in_quarantine() {
    let by_hand = Rollback { reason: BY_HAND.into(), why: Some("the fix".into()), ..rollback(9, "k41") };
    let record = record(3).with(by_hand.clone(), None, |_| true);
    assert_eq!(quarantined(&record), ["bad-2", "bad-1", "bad-0"]);
    assert_eq!(by_hand.to(), [Share { revision: by_hand.target.clone(), percent: 100 }]);
    let later = record.with(rollback(10, "bad-9"), bad(10, "bad-9"), |_| true);
    assert_eq!(later.rollbacks[1].why, by_hand.why, "what a person said stays");
}

#[test]
fn only_the_newest_rollback_keeps_its_figures() {
    let first = Rollback { why: Some("240 of 600".into()), ..rollback(1, "bad-1") };
    let one = Record::default().with(first.clone(), bad(1, "bad-1"), |_| true);
    assert_eq!(one.rollbacks[0].why, first.why);
    assert_eq!(one.with(rollback(2, "bad-2"), bad(2, "bad-2"), |_| true).rollbacks[1].why, None);
}
