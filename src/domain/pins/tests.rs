use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::domain::record::Phase;
use crate::domain::record::sample::rolled_back;
use crate::domain::service::{ServiceName, TrafficTarget};

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
}

fn revision(name: &str, minute: i64) -> Revision {
    let created_at = at(minute);
    let digest = Some(format!("sha256:{name}"));
    Revision {
        name: name.into(),
        created_at,
        ready: true,
        deleting: false,
        digest,
        commit: None,
        schema: None,
    }
}

/// `s-1` serves, `s-2` was rolled back at minute 30.
fn rollback() -> Rollback {
    rolled_back("s-2", "s-1", at(30))
}

fn record() -> Record {
    let banned =
        Quarantined { revision: "s-2".into(), digest: Some("sha256:s-2".into()), commit: None, at: at(30) };
    Record { rollbacks: vec![rollback()], quarantine: vec![banned], ..Record::default() }
}

fn serving(split: &[(&str, u8)]) -> Service {
    let target = |&(name, percent): &(&str, u8)| {
        let to = match name {
            "LATEST" => Destination::Latest,
            name => Destination::Revision(name.into()),
        };
        TrafficTarget { to, percent, tag: None }
    };
    let spec: Vec<TrafficTarget> = split.iter().map(target).collect();
    let resolved = |target: &TrafficTarget| match &target.to {
        Destination::Latest => TrafficTarget { to: Destination::Revision("s-3".into()), ..target.clone() },
        Destination::Revision(_) => target.clone(),
    };
    Service {
        name: ServiceName { project: "p".into(), region: "r".into(), service: "s".into() },
        url: String::new(),
        status_traffic: spec.iter().map(resolved).collect(),
        spec_traffic: spec,
        tagged: BTreeMap::new(),
        in_flight: false,
        trouble: None,
        latest_ready: Some("s-3".into()),
        hold: None,
    }
}

#[test]
fn a_service_is_pinned_while_its_spec_says_what_our_rollback_wrote_and_follows_nothing() {
    let under_way = Record { rollbacks: vec![Rollback { step: 50, ..rollback() }], ..record() };
    let halted = Rollback { step: 50, phase: Phase::Halted, ..rollback() };
    let halted = Record { rollbacks: vec![halted], ..record() };
    type Row<'a> = (&'a str, &'a [(&'a str, u8)], &'a Record, bool);
    let (ours, nothing) = (record(), Record::default());
    let table: [Row<'_>; 7] = [
        ("our rollback", &[("s-1", 100)], &ours, true),
        ("released", &[("LATEST", 100)], &ours, false),
        ("the rest follows LATEST", &[("s-1", 50), ("LATEST", 50)], &ours, false),
        ("the culprit was put back", &[("s-2", 100)], &ours, false),
        ("no rollback", &[("s-1", 100)], &nothing, false),
        ("a gradual one under way", &[("s-1", 50), ("s-2", 50)], &under_way, false),
        ("one that was halted on its way", &[("s-1", 50), ("s-2", 50)], &halted, true),
    ];
    for (about, split, record, pinned) in table {
        assert_eq!(pinned_by(&serving(split), record).is_some(), pinned, "{about}");
    }
}

#[test]
fn what_waits_is_the_newest_ready_revision_that_came_after_the_culprit() {
    let old = [revision("s-1", 10), revision("s-2", 20)];
    let broken = Revision { ready: false, ..revision("s-4", 50) };
    let deleted = Revision { deleting: true, ..revision("s-4", 50) };
    let with = |new: &[Revision]| [new, &old].concat();
    let table = [
        ("nothing was deployed since", with(&[]), None),
        ("a fix", with(&[revision("s-3", 40)]), Some("s-3")),
        ("two", with(&[revision("s-3", 40), revision("s-5", 60)]), Some("s-5")),
        ("one that never became ready", with(&[broken]), None),
        ("one that is being deleted", with(&[deleted]), None),
        ("one that was deployed before the switch", with(&[revision("s-3", 25)]), Some("s-3")),
        ("the culprit is gone", vec![revision("s-1", 10), revision("s-3", 25)], None),
    ];
    for (about, revisions, expected) in table {
        let record = record();
        let service = serving(&[("s-1", 100)]);
        let found = waiting(&service, &record, &revisions).map(|waiting| waiting.revision.name.clone());
        assert_eq!(found.as_deref(), expected, "{about}");
    }
    let serves = serving(&[("s-1", 90), ("s-3", 10)]);
    assert_eq!(waiting(&serves, &record(), &with(&[revision("s-3", 40)])), None);
    // A release would be about the newest one, and that serves.
    let passed_over = [revision("s-0", 35), revision("s-3", 40)];
    assert_eq!(waiting(&serves, &record(), &with(&passed_over)), None);
}

/// Where deploys were promoted by name before the rollback, a tag leads to a preview; where LATEST was followed, to the fix.
#[test]
fn a_preview_of_a_service_that_never_followed_latest_waits_for_nothing() {
    let mut service = serving(&[("s-1", 100)]);
    let (to, tag) = (Destination::Revision("s-3".into()), Some("pr-17".into()));
    service.status_traffic.push(TrafficTarget { to, percent: 0, tag });
    let revisions = [revision("s-1", 10), revision("s-2", 20), revision("s-3", 40)];
    for (latest, expected) in [(0, None), (100, Some("s-3"))] {
        let record = Record { rollbacks: vec![Rollback { latest, ..rollback() }], ..record() };
        let found = waiting(&service, &record, &revisions).map(|waiting| waiting.revision.name.clone());
        assert_eq!(found.as_deref(), expected, "{latest} % by LATEST");
    }
}

#[test]
fn a_revision_is_news_once_and_the_next_one_is_news_again() {
    let revisions = [revision("s-3", 40), revision("s-1", 10), revision("s-2", 20)];
    let service = serving(&[("s-1", 100)]);
    assert!(news(&service, &record(), &revisions).is_some());
    let told = Record { waiting: Some("s-3".into()), ..record() };
    assert_eq!(news(&service, &told, &revisions), None);
    let next = [&revisions[..], &[revision("s-4", 50)]].concat();
    assert_eq!(news(&service, &told, &next).unwrap().revision.name, "s-4");
}

#[test]
fn a_rolled_back_image_under_a_new_name_is_told_to_be_one() {
    let same = Revision { digest: Some("sha256:s-2".into()), ..revision("s-3", 40) };
    let revisions = [same, revision("s-1", 10), revision("s-2", 20)];
    let (service, record) = (serving(&[("s-1", 100)]), record());
    assert_eq!(waiting(&service, &record, &revisions).unwrap().ban.unwrap().revision, "s-2");
    let other = [revision("s-3", 40), revision("s-1", 10), revision("s-2", 20)];
    assert_eq!(waiting(&service, &record, &other).unwrap().ban, None);
}
