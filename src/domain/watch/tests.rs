use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::domain::decision::Gate;
use crate::domain::evidence::{Axis, Readings, Sample};
use crate::domain::record::sample;
use crate::domain::record::{Phase, Rollback};
use crate::domain::service::{Destination, ServiceName, TrafficTarget};

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
}

fn revision(name: &str, minute: i64) -> Revision {
    let created_at = at(minute);
    Revision {
        name: name.into(),
        created_at,
        ready: true,
        deleting: false,
        digest: None,
        commit: None,
        schema: None,
    }
}

fn serving(split: &[(&str, u8)]) -> Service {
    let target = |&(name, percent): &(&str, u8)| TrafficTarget {
        to: Destination::Revision(name.into()),
        percent,
        tag: None,
    };
    let traffic: Vec<TrafficTarget> = split.iter().map(target).collect();
    Service {
        name: ServiceName { project: "p".into(), region: "r".into(), service: "s".into() },
        url: String::new(),
        spec_traffic: traffic.clone(),
        status_traffic: traffic,
        tagged: BTreeMap::new(),
        in_flight: false,
        trouble: None,
        latest_ready: None,
        hold: None,
    }
}

fn rolled_back(culprit: &str, target: &str) -> Result<Record, String> {
    let rollback = sample::rolled_back(culprit, target, at(30));
    Ok(Record { rollbacks: vec![rollback], ..Record::default() })
}

#[test]
fn the_newest_revision_is_watched_if_it_takes_traffic() {
    let revisions = [revision("s-2", 20), revision("s-3", 30), revision("s-1", 10)];
    let none = Ok(Record::default());
    let unreadable = Err("has no version".to_owned());
    let by_us = rolled_back("s-3", "s-2");
    let changed = |change: fn(&mut Rollback)| {
        by_us.clone().map(|mut record| {
            change(&mut record.rollbacks[0]);
            record
        })
    };
    let step = changed(|rollback| rollback.step = 10);
    let over = changed(|rollback| rollback.phase = Phase::Recovered);
    let restored = changed(|rollback| rollback.phase = Phase::Restored);
    let overruled = changed(|rollback| rollback.phase = Phase::Overruled);
    type Row<'a> = (&'a str, &'a [(&'a str, u8)], &'a Result<Record, String>, Option<&'a str>);
    let table: [Row<'_>; 11] = [
        ("a deploy", &[("s-3", 100)], &none, Some("s-3")),
        ("a canary", &[("s-3", 5), ("s-2", 95)], &none, Some("s-3")),
        (
            "a deploy that gets nothing, or a promotion beside it",
            &[("s-2", 100)],
            &none,
            Some("s-2, if it is new"),
        ),
        ("somebody went back by hand", &[("s-1", 100)], &none, Some("s-1, if it is new")),
        ("our switch", &[("s-2", 100)], &by_us, None),
        ("a step of ours", &[("s-3", 90), ("s-2", 10)], &step, None),
        ("people put the culprit back before its verdict", &[("s-3", 100)], &by_us, None),
        ("they did, and it is on record", &[("s-3", 100)], &overruled, None),
        ("we put it back", &[("s-3", 100)], &restored, None),
        ("it comes back after all was over", &[("s-3", 100)], &over, Some("s-3")),
        ("a record that the gates will complain about", &[("s-3", 100)], &unreadable, Some("s-3")),
    ];
    for (about, split, record, watched) in table {
        let service = serving(split);
        let found = match subject(&service, record, &revisions) {
            Subject::Revision(revision) => Some(revision.name.clone()),
            Subject::IfNew(revision) => Some(format!("{}, if it is new", revision.name)),
            Subject::Nothing(_) => None,
            Subject::Unsettled => panic!("{about}"),
        };
        assert_eq!(found.as_deref(), watched, "{about}");
    }
    let unsettled = Service { in_flight: true, ..serving(&[("s-2", 100)]) };
    assert_eq!(subject(&unsettled, &none, &revisions), Subject::Unsettled);
    assert!(matches!(subject(&serving(&[]), &none, &[]), Subject::Nothing(_)));
}

#[test]
fn a_revision_is_new_until_users_have_been_sent_to_it_for_ten_minutes() {
    let found = |own: &[(i64, i64, u64)]| {
        let samples = |list: &[(i64, i64, u64)]| -> Vec<Sample> {
            let minutes =
                list.iter().flat_map(|(from, to, requests)| (*from..*to).map(|minute| (minute, *requests)));
            minutes
                .map(|(minute, requests)| Sample { start: at(minute), end: at(minute + 1), requests, bad: 0 })
                .collect()
        };
        let samples = [("s-1".into(), samples(&[(0, 100, 60)])), ("s-2".into(), samples(own))].into();
        is_new(&Evidence::Read(Readings { axis: Axis::Errors, samples, errors: None }), "s-2", at(100))
    };
    for (about, own, new) in [
        ("Monitoring does not show it yet", &[][..], true),
        ("it has had traffic for three minutes", &[(97, 100, 600)], true),
        ("it was tried by its tag before", &[(40, 90, 2), (97, 100, 600)], true),
        ("a suite ran against it an hour ago", &[(40, 42, 100)], true),
        ("it has served for half an hour: the change was about something else", &[(70, 100, 600)], false),
        ("it served before, and people went back to it", &[(0, 50, 600), (97, 100, 600)], false),
    ] {
        assert_eq!(found(own), new, "{about}");
    }
    let dark = Evidence::Unreadable { why: "HTTP 503".into(), permission: None };
    assert!(!is_new(&dark, "s-2", at(100)), "a watch could not judge it anyway");
}

fn decision(outcome: Outcome, reason: Reason) -> Decision {
    let gates = vec![Gate { name: "failing", passed: false, detail: String::new() }];
    Decision {
        outcome,
        reason,
        service: None,
        incident: incident("s-3", 0),
        gates,
        plan: None,
        minutes: Vec::new(),
        advice: None,
    }
}

#[test]
fn what_a_watch_finds_is_told_once_and_that_there_is_nothing_never() {
    let told = ["warning".to_owned()];
    for (outcome, reason, before, news) in [
        (Outcome::Ignore, Reason::Healthy, &[][..], false),
        (Outcome::Ignore, Reason::Inconclusive, &[], false),
        (Outcome::Ignore, Reason::NoData, &[], false),
        (Outcome::Notify, Reason::Warning, &[], true),
        (Outcome::Notify, Reason::Warning, &told, false),
        (Outcome::Notify, Reason::ObserveMode, &told, true),
        (Outcome::Notify, Reason::NotDeployRelated, &[], false),
        (Outcome::Notify, Reason::UnresolvedService, &[], false),
    ] {
        assert_eq!(is_news(&decision(outcome, reason), before), news, "{reason}");
    }
}

#[test]
fn a_watch_ends_when_its_revision_was_rolled_back_or_serves_no_more() {
    for (outcome, reason, ends) in [
        (Outcome::Rollback, Reason::Confirmed, true),
        (Outcome::Ignore, Reason::AlreadyHandled, true),
        (Outcome::Ignore, Reason::CulpritNotServing, true),
        (Outcome::Ignore, Reason::NotGuarded, true),
        (Outcome::Notify, Reason::NotDeployRelated, true),
        (Outcome::Ignore, Reason::Healthy, false),
        (Outcome::Ignore, Reason::NoData, false),
        (Outcome::Notify, Reason::Warning, false),
        (Outcome::Notify, Reason::Cooldown, false),
        (Outcome::Notify, Reason::ObserveMode, false),
    ] {
        assert_eq!(over(&decision(outcome, reason)).is_some(), ends, "{reason}");
    }
}
