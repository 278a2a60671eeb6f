use super::*;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::domain::evidence::Axis;
use crate::domain::record::sample::rolled_back;
use crate::domain::service::{Destination, ServiceName};

const BAD: &str = "k-back-00042-abc";
const GOOD: &str = "k-back-00041-xyz";

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
}

/// `requests` and `bad` ones in each minute from `from` until `to`.
fn minutes(from: i64, to: i64, requests: u64, bad: u64) -> Vec<Sample> {
    (from..to).map(|minute| Sample { start: at(minute), end: at(minute + 1), requests, bad }).collect()
}

/// All of 42's traffic was moved to 41 in minute 0.
fn switched() -> Rollback {
    rolled_back(BAD, GOOD, at(0))
}

#[test]
fn a_culprit_that_keeps_a_tenth_of_the_requests_and_fails_is_still_reached() {
    let found = |culprit: Vec<Sample>, target: Vec<Sample>| {
        let samples = [(BAD.to_owned(), culprit), (GOOD.to_owned(), target)].into();
        let readings = Readings { axis: Axis::Errors, samples, errors: None };
        still_reached(&readings, &switched(), &Rules::default(), 0.05).map(|reached| reached.lasts)
    };
    let none = Vec::new;
    for (about, culprit, target, wanted) in [
        ("all of it stays there", minutes(0, 5, 60, 24), none(), Some(true)),
        ("half of it does", minutes(0, 5, 60, 24), minutes(0, 5, 60, 0), Some(true)),
        ("a tenth does", minutes(0, 5, 6, 3), minutes(0, 5, 54, 0), Some(true)),
        ("somebody tries the culprit by its tag", minutes(0, 5, 2, 2), minutes(0, 5, 60, 0), None),
        ("what began before the switch ends", minutes(0, 2, 20, 8), minutes(0, 3, 60, 0), Some(false)),
        ("and has ended", minutes(0, 2, 20, 8), minutes(0, 12, 60, 0), None),
        ("a tag was moved six minutes ago", minutes(0, 6, 60, 24), minutes(6, 12, 60, 0), None),
        ("what stays is answered well", minutes(0, 5, 60, 0), minutes(0, 5, 60, 0), None),
        ("it failed before the switch only", minutes(-10, 0, 60, 24), minutes(0, 5, 60, 0), None),
        ("one request a minute, all by the tag", minutes(0, 12, 1, 1), none(), Some(true)),
        ("two of two", minutes(0, 2, 1, 1), none(), None),
        ("no requests at all", none(), none(), None),
    ] {
        assert_eq!(found(culprit, target), wanted, "{about}");
    }
}

#[test]
fn a_plan_says_which_requests_no_percentages_move() {
    let said = |shares: &[(&str, u8, Option<&str>)], window: &[(&str, u64)]| {
        let targets: Vec<TrafficTarget> = shares
            .iter()
            .map(|(revision, percent, tag)| TrafficTarget {
                to: Destination::Revision((*revision).into()),
                percent: *percent,
                tag: tag.map(Into::into),
            })
            .collect();
        let service = Service {
            name: ServiceName { project: "p".into(), region: "r".into(), service: "k-back".into() },
            url: String::new(),
            spec_traffic: targets.clone(),
            status_traffic: targets,
            tagged: BTreeMap::new(),
            in_flight: false,
            trouble: None,
            latest_ready: None,
            hold: None,
        };
        let counted =
            |(revision, requests): &(&str, u64)| ((*revision).to_owned(), minutes(0, 1, *requests, 0));
        stays(&service, &window.iter().map(counted).collect(), BAD)
    };
    let own = |tag: &str| Some(format!("what arrives by {tag} stays with {BAD}, whatever its percentage"));
    for (about, shares, window, wanted) in [
        ("nobody has a tag", &[(BAD, 100, None)][..], &[(BAD, 600)][..], None),
        ("the culprit has one", &[(BAD, 100, Some("live"))], &[(BAD, 600)], own("its tag live")),
        (
            "it has two, and one is for our probes",
            &[(BAD, 100, None), (BAD, 0, Some("live")), (BAD, 0, Some("pr-3")), (BAD, 0, Some(PROBE_TAG))],
            &[],
            own("its tags live and pr-3"),
        ),
        (
            "a canary gets more than it is given",
            &[(GOOD, 90, None), (BAD, 10, Some("live"))],
            &[(BAD, 300), (GOOD, 300)],
            Some(format!(
                "50 % of the requests reach {BAD}, which is given 10 %: they arrive by its tag live; {}",
                own("its tag live").unwrap()
            )),
        ),
        ("what it is given", &[(GOOD, 90, None), (BAD, 10, None)], &[(BAD, 60), (GOOD, 540)], None),
        (
            "another revision is reached by a tag",
            &[(BAD, 100, None), (GOOD, 0, Some("live"))],
            &[(BAD, 300), (GOOD, 300)],
            Some(format!(
                "50 % of the requests reach {GOOD}, which is given 0 %: they arrive by its tag live, and no \
                 percentages move those"
            )),
        ),
        (
            "another is tried by its tag",
            &[(BAD, 100, None), (GOOD, 0, Some("pr-3"))],
            &[(BAD, 600), (GOOD, 12)],
            None,
        ),
    ] {
        assert_eq!(said(shares, window), wanted, "{about}");
    }
}
