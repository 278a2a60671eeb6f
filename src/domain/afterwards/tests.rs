//! What a look finds, row by row, and what follows from it, held against the diagram in the documentation.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::domain::decision::Reason;
use crate::domain::evidence::Sample;
use crate::domain::policy::Strategy;
use crate::domain::record::sample::rolled_back;
use crate::domain::service::{Destination, ServiceName, TrafficTarget};

const BAD: &str = "k-back-00042-abc";
const GOOD: &str = "k-back-00041-xyz";

/// Minutes after the first write.
fn at(minutes: i64) -> DateTime<Utc> {
    "2026-11-22T03:14:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::minutes(minutes)
}

/// A rollback and a look at it, five minutes after everything has moved.
#[derive(Clone)]
struct Scene {
    rollback: Rollback,
    spec: Vec<(&'static str, u8)>,
    status: Vec<(&'static str, u8)>,
    in_flight: bool,
    rules: Rules,
    told: bool,
    last_look: bool,
    now: DateTime<Utc>,
    /// Requests a minute and bad ones, of the target and of the culprit, since the last write; `None` in the dark.
    since: Option<[(u64, u64); 2]>,
}

/// All traffic has moved, and the target is healthy.
fn moved_all() -> Scene {
    let rules = Rules { mode: Mode::Enforce, strategy: Strategy::Gradual, ..Rules::default() };
    Scene {
        rollback: Rollback { phase: Phase::Switching, ..rolled_back(BAD, GOOD, at(0)) },
        spec: vec![(GOOD, 100)],
        status: vec![(GOOD, 100)],
        in_flight: false,
        rules,
        told: true,
        last_look: false,
        now: at(5),
        since: Some([(60, 0), (0, 0)]),
    }
}

/// A tenth has moved, and the next step is due.
fn moved_a_tenth() -> Scene {
    let all = moved_all();
    let split = vec![(BAD, 90), (GOOD, 10)];
    let rollback = Rollback { step: 10, ..all.rollback };
    Scene {
        rollback,
        spec: split.clone(),
        status: split,
        now: at(4),
        since: Some([(60, 0), (540, 54)]),
        ..all
    }
}

/// The previous split is written again.
fn restoring() -> Scene {
    let all = moved_all();
    let rollback = Rollback { phase: Phase::Restoring, moved: Some(at(5)), ..all.rollback };
    Scene { rollback, spec: vec![(BAD, 100)], status: vec![(BAD, 100)], now: at(6), ..all }
}

impl Scene {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn evidence(&self) -> Evidence {
        let Some([target, culprit]) = self.since else {
            return Evidence::Unreadable { why: "HTTP 503".into(), permission: None };
        };
        let minutes =
            |from: DateTime<Utc>, until: DateTime<Utc>, (requests, bad): (u64, u64)| -> Vec<Sample> {
                let count = if requests == 0 { 0 } else { (until - from).num_minutes() };
                (0..count)
                    .map(|minute| from + TimeDelta::minutes(minute))
                    .map(|start| Sample { start, end: start + TimeDelta::minutes(1), requests, bad })
                    .collect()
            };
        let last = self.rollback.last_write();
        // For ten minutes before the first write a fifth of the culprit's requests failed.
        let before = minutes(at(-10), at(0), (600, 120));
        let culprit: Vec<Sample> = before.into_iter().chain(minutes(last, self.now, culprit)).collect();
        let samples = [(GOOD.to_owned(), minutes(last, self.now, target)), (BAD.to_owned(), culprit)].into();
        Evidence::Read(Readings { axis: Axis::Errors, samples, errors: None })
    }

    fn finds(&self) -> Finding {
        let target = |(name, percent): &(&str, u8)| TrafficTarget {
            to: Destination::Revision((*name).into()),
            percent: *percent,
            tag: None,
        };
        let service = Service {
            name: ServiceName { project: "p".into(), region: "r".into(), service: "k-back".into() },
            url: String::new(),
            spec_traffic: self.spec.iter().map(target).collect(),
            status_traffic: self.status.iter().map(target).collect(),
            tagged: BTreeMap::new(),
            in_flight: self.in_flight,
            trouble: None,
            latest_ready: Some(BAD.into()),
            hold: None,
        };
        let Self { rollback, rules, told, last_look, now, .. } = self;
        let (told, last_look, now) = (*told, *last_look, *now);
        let view = View { rollback, service: &service, rules, told, last_look, now, evidence: None };
        match find(&view) {
            Look::Found(found) => found.finding,
            Look::ReadEvidence => match find(&View { evidence: Some(&self.evidence()), ..view }) {
                Look::Found(found) => found.finding,
                Look::ReadEvidence => panic!("the evidence is there"),
            },
        }
    }
}

fn check(table: impl IntoIterator<Item = (&'static str, Scene, Finding)>) {
    let wrong: Vec<String> = table
        .into_iter()
        .filter_map(|(about, scene, wanted)| {
            let got = scene.finds();
            (got != wanted).then(|| format!("{about}: wanted {wanted:?}, got {got:?}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_was_written_has_to_be_wanted_and_seen_and_told_before_it_is_judged() {
    check([
        ("all is well", moved_all(), Finding::Healthy),
        (
            "somebody has put the culprit back",
            moved_all().with(|scene| scene.spec = vec![(BAD, 100)]),
            Finding::Overruled,
        ),
        (
            "the same before people knew of it",
            moved_all().with(|scene| (scene.spec, scene.told) = (vec![(BAD, 100)], false)),
            Finding::Interrupted,
        ),
        (
            "somebody has added a canary of a fix: the rollback still holds",
            moved_all().with(|scene| {
                (scene.spec, scene.status) =
                    (vec![(GOOD, 90), ("k-back-00043", 10)], vec![(GOOD, 90), ("k-back-00043", 10)]);
            }),
            Finding::Healthy,
        ),
        ("the status lags", moved_all().with(|scene| scene.status = vec![(BAD, 100)]), Finding::OnItsWay),
        (
            "it has lagged for five minutes and a second",
            moved_all().with(|scene| {
                scene.status = vec![(BAD, 100)];
                scene.now += TimeDelta::seconds(1);
            }),
            Finding::NotArrived,
        ),
        ("people do not know", moved_all().with(|scene| scene.told = false), Finding::Arrived),
        (
            "half a minute",
            moved_all().with(|scene| scene.now = at(0) + TimeDelta::seconds(30)),
            Finding::Early,
        ),
    ]);
}

#[test]
fn the_target_is_judged_on_what_it_has_answered_since_the_last_write() {
    let both = |target, culprit| moved_all().with(|scene| scene.since = Some([target, culprit]));
    let bad = |target: (u64, u64)| both(target, (0, 0));
    let last = |scene: Scene| scene.with(|scene| scene.last_look = true);
    let restore = |scene: &mut Scene| scene.rules.not_helped = NotHelped::Restore;
    check([
        ("it fails as the culprit did", bad((60, 12)), Finding::Failing),
        ("and the policy wants the split back", bad((60, 12)).with(restore), Finding::GiveBack),
        (
            "it fails, at less than half of the culprit's rate: back would be worse",
            bad((300, 27)).with(restore),
            Finding::Failing,
        ),
        (
            "what was before is not on record",
            bad((60, 12)).with(restore).with(|scene| scene.rollback.from.clear()),
            Finding::Failing,
        ),
        (
            "the policy says to observe only by now",
            bad((60, 12)).with(restore).with(|scene| scene.rules.mode = Mode::Observe),
            Finding::Failing,
        ),
        ("too few requests", bad((1, 0)), Finding::TooFew),
        ("none", bad((0, 0)), Finding::TooFew),
        ("too few at the last look", last(bad((1, 0))), Finding::Unclear),
        (
            "the culprit still has half of the requests, and fails",
            both((60, 0), (60, 24)),
            Finding::StillReached,
        ),
        ("it has all of them", both((0, 0), (60, 24)), Finding::StillReached),
        ("and still at the last look", last(both((60, 0), (60, 24))), Finding::NeverLeft),
        (
            "so soon it may be the end of what began before",
            both((60, 0), (60, 24)).with(|scene| scene.now = at(2)),
            Finding::TooFew,
        ),
        ("somebody tries the culprit", both((60, 0), (2, 2)), Finding::Healthy),
        ("both fail", both((60, 24), (60, 24)), Finding::Failing),
        ("in the dark", moved_all().with(|scene| scene.since = None), Finding::Waiting),
        (
            "in the dark for half an hour",
            moved_all().with(|scene| (scene.since, scene.now) = (None, at(30))),
            Finding::Unclear,
        ),
        ("a day late", moved_all().with(|scene| scene.now = at(24 * 60)), Finding::Healthy),
        (
            "after the last of several steps, too early",
            moved_all().with(|scene| (scene.rollback.moved, scene.now) = (Some(at(8)), at(8))),
            Finding::Early,
        ),
    ]);
}

#[test]
fn a_step_is_taken_unless_something_speaks_against_it() {
    let rates = |target, culprit| moved_a_tenth().with(|scene| scene.since = Some([target, culprit]));
    let restore = |scene: &mut Scene| scene.rules.not_helped = NotHelped::Restore;
    check([
        ("the target is fine", moved_a_tenth(), Finding::GoOn),
        ("too early", moved_a_tenth().with(|scene| scene.now = at(3)), Finding::Early),
        ("a day late", moved_a_tenth().with(|scene| scene.now = at(24 * 60)), Finding::GoOn),
        ("too few requests at the target", rates((1, 0), (540, 54)), Finding::GoOn),
        ("too few, but every one of them fails", rates((1, 1), (540, 54)), Finding::Worse),
        ("no requests at all", rates((0, 0), (0, 0)), Finding::GoOn),
        ("the culprit has recovered, and the target is fine", rates((60, 0), (540, 0)), Finding::GoOn),
        ("half of the culprit's requests fail", rates((60, 0), (540, 270)), Finding::Critical),
        ("both fail alike: something else is down", rates((60, 30), (540, 270)), Finding::Worse),
        ("the target is worse", rates((60, 30), (540, 54)), Finding::Worse),
        ("below the limit, but significantly worse", rates((600, 18), (5_400, 0)), Finding::Worse),
        (
            "the target fails, at less than half of a critical culprit's rate",
            rates((60, 12), (540, 300)),
            Finding::Critical,
        ),
        (
            "the target fails, and nothing is known of the culprit since",
            rates((60, 30), (0, 0)),
            Finding::Worse,
        ),
        (
            "worse, and the policy wants the split back",
            rates((60, 30), (540, 54)).with(restore),
            Finding::GiveBack,
        ),
        ("in the dark", moved_a_tenth().with(|scene| scene.since = None), Finding::Waiting),
        (
            "in the dark for five minutes",
            moved_a_tenth().with(|scene| (scene.since, scene.now) = (None, at(9))),
            Finding::Blind,
        ),
        ("a deploy is in flight", moved_a_tenth().with(|scene| scene.in_flight = true), Finding::Waiting),
        (
            "it does not settle",
            moved_a_tenth().with(|scene| (scene.in_flight, scene.now) = (true, at(9))),
            Finding::GoOn,
        ),
        (
            "the policy says to observe only by now",
            moved_a_tenth().with(|scene| scene.rules.mode = Mode::Observe),
            Finding::Forbidden,
        ),
        (
            "somebody has gone on by hand",
            moved_a_tenth().with(|scene| scene.spec = vec![(GOOD, 100)]),
            Finding::Interrupted,
        ),
        (
            "somebody has given another revision a share",
            moved_a_tenth().with(|scene| scene.spec = vec![(BAD, 85), (GOOD, 10), ("k-back-00043", 5)]),
            Finding::Interrupted,
        ),
        (
            "the status still shows the step before",
            moved_a_tenth().with(|scene| scene.status = vec![(BAD, 100)]),
            Finding::OnItsWay,
        ),
    ]);
}

#[test]
fn the_way_back_is_told_when_the_status_shows_it() {
    check([
        ("it is there", restoring(), Finding::Arrived),
        ("the status lags", restoring().with(|scene| scene.status = vec![(GOOD, 100)]), Finding::OnItsWay),
        (
            "for long",
            restoring().with(|scene| (scene.status, scene.now) = (vec![(GOOD, 100)], at(11))),
            Finding::NotArrived,
        ),
        ("somebody else", restoring().with(|scene| scene.spec = vec![(GOOD, 100)]), Finding::Interrupted),
    ]);
}

#[test]
fn a_rollback_that_is_over_stays_over() {
    for phase in [
        Phase::Recovered,
        Phase::NotHelped,
        Phase::Unjudged,
        Phase::Overruled,
        Phase::NotArrived,
        Phase::Halted,
        Phase::Restored,
        Phase::Undone,
        Phase::Other("praised".into()),
    ] {
        for finding in Finding::ALL {
            assert_eq!(next(&phase, *finding), None, "{phase:?} {finding:?}");
        }
    }
}

fn word(phase: &Phase) -> &'static str {
    match phase {
        Phase::Switching => "switching",
        Phase::Told => "told",
        Phase::Recovered => "recovered",
        Phase::NotHelped => "not_helped",
        Phase::Unjudged => "unjudged",
        Phase::Overruled => "overruled",
        Phase::NotArrived => "not_arrived",
        Phase::Halted => "halted",
        Phase::Restoring => "restoring",
        Phase::Restored => "restored",
        Phase::Undone => "undone",
        Phase::Other(_) => "other",
    }
}

/// The edges of the diagram in docs/after-the-switch.md and those of the table are the same, one by one.
#[test]
fn the_diagram_in_the_documentation_is_the_table() {
    let document = include_str!("../../../docs/after-the-switch.md");
    let diagram = document.split("```mermaid").nth(1).and_then(|rest| rest.split("```").next());
    let diagram = diagram.expect("a mermaid diagram");
    let mut drawn = BTreeSet::new();
    let (mut begins, mut ends) = (BTreeSet::new(), BTreeSet::new());
    for line in diagram.lines().map(str::trim).filter(|line| line.contains("-->")) {
        let (from, rest) = line.split_once("-->").unwrap();
        let (to, labels) = rest.split_once(':').unwrap_or((rest, ""));
        let (from, to) = (from.trim(), to.trim());
        match (from, to) {
            ("[*]", to) => assert!(begins.insert(to.to_owned()), "{line}"),
            (from, "[*]") => assert!(ends.insert(from.to_owned()), "{line}"),
            _ => {
                for label in labels.split(',').map(str::trim) {
                    let edge = (from.to_owned(), label.to_owned(), to.to_owned());
                    assert!(drawn.insert(edge), "twice: {line}");
                }
            }
        }
    }
    let mut coded = BTreeSet::new();
    let mut over = BTreeSet::new();
    for phase in [Phase::Switching, Phase::Told, Phase::Restoring] {
        for finding in Finding::ALL {
            let Some((to, _)) = next(&phase, *finding) else { continue };
            if Finding::ALL.iter().all(|finding| next(&to, *finding).is_none()) {
                over.insert(word(&to).to_owned());
            }
            coded.insert((word(&phase).to_owned(), finding.word().to_owned(), word(&to).to_owned()));
        }
    }
    let missing: Vec<_> = coded.difference(&drawn).collect();
    let surplus: Vec<_> = drawn.difference(&coded).collect();
    assert!(missing.is_empty() && surplus.is_empty(), "not drawn: {missing:#?}\nonly drawn: {surplus:#?}");
    assert_eq!(begins, ["switching".to_owned()].into());
    assert_eq!(ends, over);
}

/// The codes in the first column of a table in docs/deploy.md.
fn explained(head: &str) -> BTreeSet<&'static str> {
    let document = include_str!("../../../docs/deploy.md");
    let (_, table) = document.split_once(head).expect("the table");
    let rows = table.lines().skip(2).map(str::trim).take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| row.split('|').nth(1)).flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

/// Whoever looks a code up at 3 a.m. finds it.
#[test]
fn docs_deploy_md_explains_every_phase_and_every_reason_that_leaves_the_traffic_alone() {
    let mut phases: BTreeSet<&str> = [word(&Phase::Switching)].into();
    for phase in [Phase::Switching, Phase::Told, Phase::Restoring] {
        phases.extend(
            Finding::ALL.iter().filter_map(|finding| next(&phase, *finding)).map(|(to, _)| word(&to)),
        );
    }
    assert_eq!(explained("| phase | it means |"), phases);

    let acts = [Reason::Confirmed, Reason::Critical, Reason::Unconfirmed, Reason::Recovered];
    let reasons = Reason::ALL.iter().filter(|reason| !acts.contains(reason)).map(|reason| reason.code());
    assert_eq!(explained("| reason | it means |"), reasons.collect());
}

/// A slow burn is far below the limit all along: the target has to be clearly better than the culprit was.
#[test]
fn after_a_slow_burn_the_target_is_judged_by_the_culprits_rate() {
    let samples = |from: i64, until: i64, bad: u64| -> Vec<Sample> {
        let minute = |minute| Sample { start: at(minute), end: at(minute + 1), requests: 600, bad };
        (from..until).map(minute).collect()
    };
    let judged = |before: u64, since: u64| {
        let target: Vec<Sample> = samples(-120, -20, 1).into_iter().chain(samples(0, 5, since)).collect();
        let samples = [(BAD.to_owned(), samples(-10, 0, before)), (GOOD.to_owned(), target)].into();
        let readings = Readings { axis: Axis::Errors, samples, errors: None };
        judge_target(&readings, &moved_all().rollback, &Rules::default())
    };
    // 1 % of the culprit's requests failed, a sixth of a percent of the target's.
    let (still, better, usual) = (judged(6, 6), judged(6, 0), judged(1, 1));
    assert_eq!((still.verdict, still.threshold), (Verdict::Confirmed, 0.005));
    assert_eq!((better.verdict, better.threshold), (Verdict::Healthy, 0.005));
    assert_eq!((usual.verdict, usual.threshold), (Verdict::Healthy, 0.05), "no burn: the policy's limit");
}
