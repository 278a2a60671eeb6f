//! Traffic lists are written as `DESTINATION=PERCENT#TAG`, an entry a word. The order of entries means nothing.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::domain::record::sample::rolled_back;
use crate::domain::service::ServiceName;
use crate::domain::service::Split;
use crate::domain::steps;

fn entry(word: &str) -> TrafficTarget {
    let (rest, tag) = word.split_once('#').map_or((word, None), |(rest, tag)| (rest, Some(tag.to_owned())));
    let (to, percent) =
        rest.split_once('=').map_or((rest, 0), |(to, percent)| (to, percent.parse().unwrap()));
    let to = if to == "LATEST" { Destination::Latest } else { Destination::Revision(to.into()) };
    TrafficTarget { to, percent, tag }
}

fn list(text: &str) -> Vec<TrafficTarget> {
    text.split_whitespace().map(entry).collect()
}

fn words(list: &[TrafficTarget]) -> Vec<String> {
    let mut words: Vec<String> = list
        .iter()
        .map(|target| {
            let to = match &target.to {
                Destination::Latest => "LATEST",
                Destination::Revision(name) => name,
            };
            let percent = if target.percent > 0 { format!("={}", target.percent) } else { String::new() };
            let tag = target.tag.as_ref().map_or(String::new(), |tag| format!("#{tag}"));
            format!("{to}{percent}{tag}")
        })
        .collect();
    words.sort();
    words
}

/// A service whose newest ready revision is `k42`.
fn service(spec: &str, status: &str) -> Service {
    Service {
        name: ServiceName { project: "p".into(), region: "r".into(), service: "s".into() },
        url: String::new(),
        spec_traffic: list(spec),
        status_traffic: list(status),
        tagged: BTreeMap::new(),
        in_flight: false,
        trouble: None,
        latest_ready: Some("k42".into()),
        hold: None,
    }
}

/// The split after all of the culprit's share has gone to the target.
fn plan(service: &Service, culprit: &str, target: &str) -> Vec<Share> {
    steps::split(&shares(&service.split()), culprit, target, steps::ALL)
}

fn shares(split: &Split) -> Vec<Share> {
    split.iter().map(|(revision, percent)| Share { revision: revision.clone(), percent: *percent }).collect()
}

#[test]
fn the_culprits_share_moves_and_everything_else_stays() {
    // (situation, spec, status, culprit, spec after going back to k41)
    let table = [
        ("pinned", "k42=100", "k42=100", "k42", "k41=100"),
        ("LATEST is the culprit", "LATEST=100", "k42=100", "k42", "k41=100"),
        ("an empty list means LATEST", "", "k42=100", "k42", "k41=100"),
        (
            "a tag on LATEST stays on LATEST",
            "LATEST=100 LATEST#preview",
            "k42=100",
            "k42",
            "k41=100 LATEST#preview",
        ),
        (
            "share and tag of LATEST in one entry",
            "LATEST=100#preview",
            "k42=100",
            "k42",
            "k41=100 LATEST#preview",
        ),
        ("a tag on the culprit", "k42=100 k42#broken", "k42=100", "k42", "k41=100 k42#broken"),
        (
            "share and tag of the culprit in one entry",
            "k42=100#broken",
            "k42=100",
            "k42",
            "k41=100 k42#broken",
        ),
        ("a tag on the target", "k42=100 k41#stable", "k42=100", "k42", "k41=100 k41#stable"),
        ("a tag on another revision", "k42=100 k40#canary", "k42=100", "k42", "k41=100 k40#canary"),
        (
            "tags everywhere",
            "LATEST=100 k40#canary k42#broken LATEST#preview k41#stable",
            "k42=100 k40#canary k42#broken k42#preview k41#stable",
            "k42",
            "k41=100 k40#canary k42#broken LATEST#preview k41#stable",
        ),
        ("a canary", "k41=90 k42=10", "k41=90 k42=10", "k42", "k41=100"),
        (
            "a canary, the target's share carries a tag",
            "k41=90#stable k42=10",
            "k41=90 k42=10",
            "k42",
            "k41=100#stable",
        ),
        (
            "a canary, the culprit's share carries a tag",
            "k41=90 k42=10#canary",
            "k41=90 k42=10",
            "k42",
            "k41=100 k42#canary",
        ),
        (
            "three, the third keeps its share",
            "k40=60 k41=30 k42=10",
            "k40=60 k41=30 k42=10",
            "k42",
            "k40=60 k41=40",
        ),
        (
            "three, the third keeps share and tag",
            "k40=60#old k41=30 k42=10",
            "k40=60 k41=30 k42=10",
            "k42",
            "k40=60#old k41=40",
        ),
        ("a third gets it", "k40=60 k42=40", "k40=60 k42=40", "k42", "k40=60 k41=40"),
        (
            "LATEST has another share and stays LATEST",
            "LATEST=50 k39=50",
            "k42=50 k39=50",
            "k39",
            "LATEST=50 k41=50",
        ),
        (
            "the culprit's share comes in two entries",
            "LATEST=60 k42=30 k40=10",
            "k42=90 k40=10",
            "k42",
            "k41=90 k40=10",
        ),
        // The spec asked for what never came about: decided from the status, written over the spec.
        ("the spec asks for more of the culprit", "k42=100", "k41=90 k42=10", "k42", "k41=100"),
        (
            "a failed rollout, with tags",
            "LATEST=100#preview k40#old",
            "k40=30 k39=70",
            "k39",
            "k40=30 k41=70 LATEST#preview k40#old",
        ),
    ];
    for (about, spec, status, culprit, wanted) in table {
        let service = service(spec, status);
        let list_after = after(&service, culprit, &plan(&service, culprit, "k41"));
        assert_eq!(words(&list_after), words(&list(wanted)), "{about}");
    }
}

#[test]
fn latest_may_be_the_target_itself() {
    // 42 never became ready but serves by its name; what LATEST means is 41.
    let mut service = service("LATEST=90 k42=10", "k41=90 k42=10");
    service.latest_ready = Some("k41".into());
    let list_after = after(&service, "k42", &plan(&service, "k42", "k41"));
    let latest = words(&list_after).iter().any(|word| word == "LATEST=90");
    assert!(
        latest && resolved(&list_after, "k41") == [("k41".to_owned(), 100)].into(),
        "{:?}",
        words(&list_after)
    );
}

#[test]
fn nobody_knows_what_latest_means() {
    let mut service = service("LATEST=100 LATEST#preview", "k42=100");
    service.latest_ready = None;
    let list_after = after(&service, "k42", &plan(&service, "k42", "k41"));
    assert_eq!(words(&list_after), words(&list("k41=100 LATEST#preview")));
}

#[test]
fn a_release_puts_everything_on_latest_and_keeps_the_tags() {
    for (spec, wanted) in [
        ("k41=100", "LATEST=100"),
        ("", "LATEST=100"),
        ("LATEST=100", "LATEST=100"),
        ("k41=100 k42#broken LATEST#preview", "LATEST=100 k42#broken LATEST#preview"),
        ("k41=90#stable k40=10", "LATEST=100 k41#stable"),
        ("LATEST=100#preview", "LATEST=100 LATEST#preview"),
    ] {
        assert_eq!(
            words(&all_to(&service(spec, "k41=100"), Destination::Latest)),
            words(&list(wanted)),
            "{spec}"
        );
    }
}

/// Percent by revision, with LATEST resolved.
fn resolved(list: &[TrafficTarget], latest: &str) -> BTreeMap<String, u32> {
    let mut split = BTreeMap::new();
    for target in list.iter().filter(|target| target.percent > 0) {
        let name = match &target.to {
            Destination::Latest => latest,
            Destination::Revision(name) => name,
        };
        *split.entry(name.to_owned()).or_insert(0) += u32::from(target.percent);
    }
    split
}

fn tags(list: &[TrafficTarget]) -> BTreeSet<(String, String)> {
    list.iter().filter_map(|target| Some((target.tag.clone()?, format!("{:?}", target.to)))).collect()
}

/// A linear congruential generator (Knuth's MMIX constants): the same lists in every run.
fn dice(state: &mut u64, most: u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) % most
}

#[test]
fn whatever_the_list_tags_stay_shares_sum_to_100_and_only_the_culprits_moves() {
    let mut state = 7;
    for number in 0..5_000 {
        let mut spec = Vec::new();
        let mut left = 100;
        for index in 0..1 + dice(&mut state, 6) {
            let to = ["LATEST", "k42", "k41", "k40", "k39"][usize::try_from(dice(&mut state, 5)).unwrap()];
            let percent =
                if dice(&mut state, 3) == 0 { 0 } else { u8::try_from(dice(&mut state, left + 1)).unwrap() };
            left -= u64::from(percent);
            let tag =
                if percent == 0 || dice(&mut state, 3) == 0 { format!("#t{index}") } else { String::new() };
            spec.push(format!("{to}={percent}{tag}"));
        }
        spec.push(format!("k42={left}"));
        let spec = list(&spec.join(" "));
        let spec: Vec<_> =
            spec.into_iter().filter(|target| target.percent > 0 || target.tag.is_some()).collect();
        let mut service = service("", "");
        let split = resolved(&spec, "k42");
        let status =
            split.iter().map(|(name, percent)| format!("{name}={percent}")).collect::<Vec<_>>().join(" ");
        // One in four has a status that differs from its spec.
        service.status_traffic = list(if dice(&mut state, 4) == 0 { "k41=20 k42=80" } else { &status });
        service.spec_traffic = spec;
        let serving: Vec<String> = service.split().into_keys().collect();
        let culprit = &serving[usize::try_from(dice(&mut state, serving.len() as u64)).unwrap()];
        let target = ["k41", "k40", "k38"][usize::try_from(dice(&mut state, 3)).unwrap()];
        if culprit == target {
            continue;
        }
        let from = shares(&service.split());
        let step = [10, 50, 100, 100][usize::try_from(dice(&mut state, 4)).unwrap()];
        let plan = steps::split(&from, culprit, target, step);
        let list_after = after(&service, culprit, &plan);

        let about = format!(
            "list {number}: {:?}, {culprit} to {target}: {:?}",
            words(&service.spec_traffic),
            words(&list_after)
        );
        let wanted: BTreeMap<String, u32> =
            plan.iter().map(|share| (share.revision.clone(), u32::from(share.percent))).collect();
        assert_eq!(resolved(&list_after, "k42"), wanted, "{about}");
        assert_eq!(wanted.values().sum::<u32>(), 100, "{about}");
        assert_eq!(tags(&list_after), tags(&service.spec_traffic), "{about}");
        assert!(list_after.iter().all(|target| target.percent > 0 || target.tag.is_some()), "{about}");

        let free = all_to(&service, Destination::Latest);
        assert_eq!(resolved(&free, "LATEST"), [("LATEST".to_owned(), 100)].into(), "{about}");
        assert_eq!(tags(&free), tags(&service.spec_traffic), "{about}");
    }
}

#[test]
fn our_own_tag_comes_alone_and_goes_with_the_switch() {
    let plain = service("k42=100 k40#stable LATEST#preview", "k42=100");
    let tagged = service("k42=100 k40#stable LATEST#preview k41#runback-probe", "k42=100");
    assert_eq!(words(&with_probe(&plain, "k41")), words(&tagged.spec_traffic));
    assert_eq!(words(&without_probe(&tagged)), words(&plain.spec_traffic));
    assert_eq!((has_probe(&plain), has_probe(&tagged)), (false, true));
    let moved = with_probe(&tagged, "k39");
    assert_eq!(words(&moved), words(&list("k42=100 k40#stable LATEST#preview k39#runback-probe")));
    let after = after(&tagged, "k42", &plan(&tagged, "k42", "k41"));
    assert_eq!(words(&after), words(&list("k41=100 k40#stable LATEST#preview")));
    assert_eq!(
        words(&all_to(&tagged, Destination::Latest)),
        words(&list("LATEST=100 k40#stable LATEST#preview"))
    );

    let taken_over = service("k42=90 k41=10#runback-probe", "k42=90 k41=10");
    assert!(!has_probe(&taken_over), "somebody gives it traffic: it is theirs now");
}

/// The way back from a rollback of `k42` to `k41`.
fn back(spec: &str, latest_ready: &str, from: &[(&str, u8)], latest: u8) -> Vec<String> {
    let mut service = service(spec, "");
    service.latest_ready = Some(latest_ready.into());
    let split = service.spec_split();
    let status: Vec<String> = split.iter().map(|(name, percent)| format!("{name}={percent}")).collect();
    service.status_traffic = list(&status.join(" "));
    let share = |(revision, percent): &(&str, u8)| Share { revision: (*revision).into(), percent: *percent };
    let rollback = Rollback {
        from: from.iter().map(share).collect(),
        latest,
        phase: crate::domain::record::Phase::Restoring,
        ..rolled_back("k42", "k41", chrono::DateTime::UNIX_EPOCH)
    };
    words(&restored(&service, &rollback))
}

#[test]
fn the_split_from_before_comes_back_and_latest_is_followed_where_it_still_is_the_culprit() {
    let sorted = |text: &str| words(&list(text));
    assert_eq!(back("k41=100", "k42", &[("k42", 100)], 0), sorted("k42=100"));
    assert_eq!(back("k41=100", "k42", &[("k42", 100)], 100), sorted("LATEST=100"));
    assert_eq!(back("k41=100", "k43", &[("k42", 100)], 100), sorted("k42=100"), "43 never had it");
    assert_eq!(back("k41=100", "k42", &[("k41", 90), ("k42", 10)], 10), sorted("k41=90 LATEST=10"));
    assert_eq!(back("k41=100", "k42", &[("k42", 100)], 30), sorted("k42=70 LATEST=30"));
    assert_eq!(back("k42=90 k41=10", "k42", &[("k42", 100)], 100), sorted("LATEST=100"), "from half-way");
    assert_eq!(back("k40=60 k41=40", "k42", &[("k40", 60), ("k42", 40)], 0), sorted("k40=60 k42=40"));
    assert_eq!(
        back("k41=100#stable LATEST#preview k42#bad", "k42", &[("k42", 100)], 100),
        sorted("LATEST=100 LATEST#preview k42#bad k41#stable"),
        "tags stay"
    );
}

#[test]
fn how_much_a_revision_has_as_latest() {
    for (spec, revision, wanted) in [
        ("LATEST=100", "k42", 100),
        ("LATEST=100", "k41", 0),
        ("", "k42", 100),
        ("k42=100", "k42", 0),
        ("k42=70 LATEST=30 LATEST#preview", "k42", 30),
    ] {
        assert_eq!(as_latest(&service(spec, "k42=100"), revision), wanted, "{spec} {revision}");
    }
}
