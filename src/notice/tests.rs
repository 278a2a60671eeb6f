use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use serde_json::Value;

use super::words::{link, logs_url, prose, sparkline};
use super::*;
use crate::domain::alert::{Condition, IncidentState, Signal};
use crate::domain::decision::{Advice, Gate, Outcome, Plan};
use crate::domain::evidence::{self, Sample};
use crate::domain::policy::{Language, Rules};
use crate::domain::record::sample::rolled_back;
use crate::domain::record::{BY_HAND, Phase, Rollback, Share};
use crate::domain::service::{Revision, ServiceName};

const PASSED: [(&str, &str); 3] =
    [("open", "the incident is open"), ("guarded", "listed"), ("settled", "no deploy")];

const FAILING: &str = "412 of 1,760 requests failed in 10 min, 23 %, at least 21 % with 95 % confidence, \
                       above the limit in 9 of 10 minutes; limit 5 %";

fn at(minute: i64) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-11-21T18:04:00Z").unwrap().to_utc() + TimeDelta::minutes(minute)
}

/// Minutes with `(requests, bad)` each; without requests there is no sample, as Monitoring has it.
fn minutes(counts: &[(u64, u64)]) -> Vec<Sample> {
    let sample = |(minute, &(requests, bad)): (i64, &(u64, u64))| Sample {
        start: at(minute),
        end: at(minute + 1),
        requests,
        bad,
    };
    (0..).zip(counts).map(sample).filter(|sample| sample.requests > 0).collect()
}

fn alert() -> Alert {
    Alert {
        incident: "0.n4gk2x".into(),
        state: IncidentState::Open,
        is_test: false,
        started_at: Some(at(5)),
        resource_type: "cloud_run_revision".into(),
        resource_labels: BTreeMap::new(),
        policy_labels: BTreeMap::new(),
        policy_id: None,
        scoping_project: Some("demo-project".into()),
        signal: Signal::Errors,
        condition: Condition::default(),
        policy_name: "High error rate".into(),
        condition_name: "5xx above 5 %".into(),
        summary: "Ratio for demo-project is above the threshold of 0.05 with a value of 0.234.".into(),
        url: "https://console.cloud.google.com/monitoring/alerting/alerts/0.n4gk2x?channelType=pubsub&project=demo-project"
            .into(),
    }
}

fn service() -> ServiceName {
    ServiceName { project: "demo-project".into(), region: "asia-northeast1".into(), service: "k-back".into() }
}

fn revision(name: &str, commit: Option<&str>) -> Revision {
    Revision {
        name: name.into(),
        created_at: at(-30),
        ready: true,
        deleting: false,
        digest: None,
        commit: commit.map(str::to_owned),
        schema: None,
    }
}

fn share(revision: &str, percent: u8) -> Share {
    Share { revision: revision.into(), percent }
}

fn plan() -> Plan {
    Plan {
        culprit: revision("k-back-00042-abc", Some("9bb1fbf0c4c2f8a0c4a0e3a5d0f2b6b2e7a1d3c4")),
        target: revision("k-back-00041-xyz", Some("832c940aa4c2f8a0c4a0e3a5d0f2b6b2e7a1d3c4")),
        proven: true,
        stays: None,
        from: vec![share("k-back-00042-abc", 100)],
        to: vec![share("k-back-00041-xyz", 100)],
        step: 100,
        trial: false,
    }
}

fn advice() -> Advice {
    let Plan { culprit, target, .. } = plan();
    Advice { culprit, target: Some(target), past: Some((756_000, 0.001)), lacks: None }
}

fn gate(name: &'static str, passed: bool, detail: &str) -> Gate {
    Gate { name, passed, detail: detail.into() }
}

fn rollback() -> Decision {
    Decision {
        outcome: Outcome::Rollback,
        reason: Reason::Confirmed,
        service: Some(service()),
        incident: "0.n4gk2x".into(),
        gates: vec![
            gate("open", true, "the incident is open"),
            gate(
                "guarded",
                true,
                "the policy lists projects/demo-project/locations/asia-northeast1/services/k-back",
            ),
            gate("new", true, "no rollback of this service is on record"),
            gate("settled", true, "no deploy is in flight"),
            gate("culprit", true, "k-back-00042-abc takes 100 % of the traffic"),
            gate("failing", true, FAILING),
            gate(
                "deployed_recently",
                true,
                "k-back-00042-abc began to take traffic 20 min before the incident; limit 24 h",
            ),
            gate(
                "caused_by_it",
                true,
                "k-back-00041-xyz was not failing like this: 0.1 % before k-back-00042-abc took over",
            ),
            gate("allowed", true, "0 of 3 automatic rollbacks in the last 24 h"),
            gate("target", true, "k-back-00041-xyz served 756,000 requests in the last 7 d, 0.1 % bad"),
            gate("schema", true, "no schema labels"),
            gate("enforce", true, "the policy says to act"),
        ],
        plan: Some(plan()),
        advice: Some(advice()),
        minutes: minutes(&[
            (180, 2),
            (170, 20),
            (176, 40),
            (0, 0),
            (180, 80),
            (175, 82),
            (170, 70),
            (180, 60),
            (179, 40),
        ]),
    }
}

/// A decision to tell people and touch nothing, stopped at the last gate.
fn notify(reason: Reason, name: &'static str, detail: &str) -> Decision {
    let mut gates: Vec<_> = PASSED.iter().map(|(name, detail)| gate(name, true, detail)).collect();
    gates.push(gate(name, false, detail));
    Decision { outcome: Outcome::Notify, reason, gates, plan: None, minutes: Vec::new(), ..rollback() }
}

fn policy() -> Policy {
    Policy { services: BTreeMap::from([(service(), Rules::default())]) }
}

/// The same with everything that messages can be told to do.
fn full(language: Language) -> Policy {
    let repository = Some("https://github.com/acme/k-back".to_owned());
    let mention = Some("<!subteam^S123>".to_owned());
    let rules = Rules { language, repository, mention, warning: Some(0.02), ..Rules::default() };
    Policy { services: BTreeMap::from([(service(), rules)]) }
}

fn notice<'a>(decision: &'a Decision, alert: &'a Alert, arrival: Arrival) -> Notice<'a> {
    Notice { decision, alert, at: at(11), arrival, ahead: Ahead::Nothing, probed: None }
}

fn told(decision: &Decision, arrival: Arrival) -> Message {
    render(&policy(), &notice(decision, &alert(), arrival))
}

fn arrived() -> Arrival {
    Arrival::Arrived { after: Duration::from_secs(14) }
}

fn readable(message: &Message) -> String {
    texts_of(&message.complete())
}

fn texts_of(blocks: &[Value]) -> String {
    let texts = blocks.iter().flat_map(|block| {
        let elements = block["elements"].as_array().cloned().unwrap_or_default();
        std::iter::once(block["text"].clone()).chain(elements)
    });
    texts.filter_map(|text| Some(text["text"].as_str()?.to_owned())).collect::<Vec<_>>().join("\n---\n")
}

fn assert_fits(message: &Message, about: &str) {
    let long = |text: &Value| text["text"].as_str().unwrap().encode_utf16().count();
    assert!(!message.text.is_empty() && message.text.encode_utf16().count() < 4_000, "{about}: fallback");
    assert!((1..=50).contains(&message.complete().len()), "{about}: {} blocks", message.complete().len());
    for block in &message.complete() {
        match block["type"].as_str().unwrap() {
            "header" => {
                assert_eq!(block["text"]["type"], "plain_text", "{about}");
                assert!((1..=150).contains(&long(&block["text"])), "{about}: header");
            }
            "section" => assert!((1..=3_000).contains(&long(&block["text"])), "{about}: section"),
            "context" => {
                let elements = block["elements"].as_array().unwrap();
                assert!((1..=10).contains(&elements.len()), "{about}");
                assert!(elements.iter().all(|text| (1..=3_000).contains(&long(text))), "{about}: context");
            }
            other => panic!("{about}: {other}"),
        }
    }
}

/// The message's words as they stand on the screen: links by their labels, times by their fallbacks.
fn words(message: &Message) -> usize {
    let texts = message.blocks.iter().flat_map(|block| {
        let elements = block["elements"].as_array().cloned().unwrap_or_default();
        std::iter::once(block["text"].clone()).chain(elements)
    });
    let mut visible = String::new();
    for text in texts.filter_map(|text| Some(text["text"].as_str()?.to_owned())) {
        let mut rest = text.as_str();
        while let Some((before, (token, after))) =
            rest.split_once('<').and_then(|(before, rest)| Some((before, rest.split_once('>')?)))
        {
            visible += before;
            visible += token.rsplit_once('|').map_or(token, |(_, label)| label);
            rest = after;
        }
        visible += rest;
        visible.push('\n');
    }
    visible.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).count()
}

fn header(message: &Message) -> &str {
    message.blocks[0]["text"]["text"].as_str().unwrap()
}

#[test]
fn a_rollback_is_told_in_full_without_the_blocks() {
    let message = render(
        &full(Language::English),
        &Notice { ahead: Ahead::Check, ..notice(&rollback(), &alert(), arrived()) },
    );
    assert_eq!(
        message.text,
        "\
⏪ k-back rolled back to 00041-xyz
28% of requests failed on 00042-abc (394 of 1,410 in 10 min; limit 5%). 00041-xyz was at 0.1%.
All its traffic moved at 18:15 UTC, 14 s after the alert.
Now: nothing to do. Runback checks again at 18:20 UTC and reports here.
Later: deploys get no traffic until somebody runs runback release k-back.
reason: confirmed · incident 0.n4gk2x"
    );
}

#[test]
fn a_plan_in_observe_mode_comes_with_the_command_to_do_it_by_hand() {
    let mut decision = notify(Reason::ObserveMode, "enforce", "the policy says to observe only");
    decision.plan = Some(plan());
    decision.minutes = rollback().minutes;
    let message = told(&decision, Arrival::NothingMoved);
    assert_eq!(
        message.text,
        "\
👀 k-back would go back to 00041-xyz
28% of requests failed on 00042-abc (394 of 1,410 in 10 min; limit 5%).
Runback only observes this service. Nothing was changed.
Now: decide whether to go back.
To go back to 00041-xyz (0.1% of 756,000 requests failed):
runback rollback k-back k-back-00041-xyz
reason: observe_mode · incident 0.n4gk2x"
    );
    let details = serde_json::to_string(&message.details).unwrap();
    assert!(details.contains("--to-revisions k-back-00041-xyz=100"), "{details}");
}

#[test]
fn a_cooldown_says_why_nothing_was_touched_and_how_to_go_back_by_hand() {
    let detail =
        "the last rollback (k-back-00041-xyz to k-back-00040-def) is 12 min old; the cooldown is 30 min";
    let message = told(&notify(Reason::Cooldown, "allowed", detail), Arrival::NothingMoved);
    assert_eq!(
        message.text,
        "\
🔴 k-back fails again, not rolled back
The last rollback is too recent for another one. Nothing was changed.
Now: check whether the deploy is the cause at all.
To go back to 00041-xyz (0.1% of 756,000 requests failed):
runback rollback k-back k-back-00041-xyz
reason: cooldown · incident 0.n4gk2x"
    );
    assert!(readable(&message).contains(detail));
}

#[test]
fn without_a_known_target_the_command_leaves_the_choice_to_runback() {
    let mut decision = notify(Reason::NotDeployRelated, "deployed_recently", "it serves for days");
    decision.advice = None;
    let text = told(&decision, Arrival::NothingMoved).text;
    assert!(text.contains("\nrunback rollback k-back\n"), "{text}");
}

#[test]
fn a_warning_says_when_runback_decides_and_only_if_it_does() {
    let mut decision = notify(Reason::Warning, "failing", "3% of 6,000 requests failed");
    decision.minutes = minutes(&[(6_000, 180)]);
    let alert = alert();
    let wait = Duration::from_secs(30 * 60);
    for (ahead, promised) in [(Ahead::Nothing, false), (Ahead::Look { wait, decides: true }, true)] {
        let notice = Notice { ahead, ..notice(&decision, &alert, Arrival::NothingMoved) };
        let message = render(&full(Language::English), &notice);
        assert_eq!(header(&message), "🟡 k-back: 3% errors, not rolled back yet");
        assert_eq!(message.text.contains("Runback decides at 18:45 UTC."), promised, "{}", message.text);
        assert!(message.text.contains("180 of 6,000 in 10 min; warning 2%, rollback 5%"), "{}", message.text);
    }
}

#[test]
fn success_is_only_told_of_what_the_status_shows() {
    let trouble = Some("Revision 'k-back-00041-xyz' is not ready.".to_owned());
    let waiting = told(&rollback(), Arrival::NotYet { trouble });
    assert_eq!(header(&waiting), "🔴 k-back: rollback not in effect");
    let said = "Cloud Run says: Revision 'k-back-00041-xyz' is not ready.\n";
    assert!(waiting.text.contains(said) && waiting.text.contains("runback release"), "{}", waiting.text);
    // What has just failed is not advised.
    assert!(!waiting.text.contains("runback rollback"), "{}", waiting.text);
    let stuck = told(&rollback(), Arrival::NothingMoved);
    assert_eq!(header(&stuck), "🔴 k-back: rollback not carried out");
    assert!(!stuck.text.contains("runback release"));
}

fn recorded(phase: Phase, step: u8) -> Rollback {
    Rollback {
        incident: "0.n4gk2x".into(),
        alerted: Some(at(0) - TimeDelta::seconds(4)),
        step,
        phase,
        ..rolled_back("k-back-00042-abc", "k-back-00041-xyz", at(0))
    }
}

#[test]
fn a_resumed_rollback_is_told_from_the_record() {
    let from = vec![share("k-back-00040-def", 90), share("k-back-00042-abc", 10)];
    let record = Rollback {
        from,
        target: "k-back-00040-def".into(),
        reason: "critical".into(),
        ..recorded(Phase::Switching, 100)
    };
    let partly = Rollback { step: 50, ..record.clone() };
    let tell = |rollback: Rollback| {
        let decision = Decision {
            outcome: Outcome::Resume(rollback.into()),
            advice: None,
            ..notify(Reason::Critical, "new", "not yet reported")
        };
        told(&decision, Arrival::Resumed)
    };
    let message = tell(record);
    let kept = serde_json::to_string(&message.kept).unwrap();
    assert!(kept.contains("`k-back-00042-abc`: 10% → 0%\\n`k-back-00040-def`: 90% → 100%"), "{kept}");
    let text = message.text;
    assert!(text.contains("runback release") && text.contains("reason: critical"), "{text}");
    assert!(text.contains("You hear of it late"), "{text}");
    assert!(tell(partly).text.contains("50% moved back to 00040-def"));
}

#[test]
fn an_unconfirmed_rollback_says_so_and_names_the_missing_permission() {
    let lacks = Some("monitoring.timeSeries.list".to_owned());
    let advice = Some(Advice { lacks, past: None, ..advice() });
    let mut decision = Decision { reason: Reason::Unconfirmed, minutes: Vec::new(), advice, ..rollback() };
    decision.plan = Some(Plan { proven: false, ..plan() });
    let message = told(&decision, arrived());
    for wanted in [
        "nothing confirms that 00042-abc fails",
        "it lacks monitoring.timeSeries.list",
        "00041-xyz is unproven",
        "reason: unconfirmed",
    ] {
        assert!(message.text.contains(wanted), "{wanted}: {}", message.text);
    }
    let details = serde_json::to_string(&message.details).unwrap();
    assert!(details.contains("roles/monitoring.viewer"), "{details}");
    // Only after a refusal: when Monitoring is down, no right is missing.
    decision.advice = Some(self::advice());
    let message = told(&decision, arrived());
    assert!(!serde_json::to_string(&message.complete()).unwrap().contains("roles/"), "{message:?}");
}

#[test]
fn a_missing_permission_is_named_with_the_way_to_grant_it() {
    let account = Some("runback@demo-project.iam.gserviceaccount.com");
    let message = permission_denied(&policy(), &service(), Some("run.services.update"), account, "0.n4gk2x");
    assert_eq!(message.text, "\
🔴 k-back: Runback lacks a permission
Cloud Run refused Runback: it lacks run.services.update. Nothing was changed.
Now: grant the permission.
Later: the alert comes again for an hour; then Runback gives it up.
To grant it:
gcloud run services add-iam-policy-binding k-back --region asia-northeast1 --project demo-project --member serviceAccount:runback@demo-project.iam.gserviceaccount.com --role roles/run.developer
reason: permission_denied · incident 0.n4gk2x");
    for permission in
        [Some("iam.serviceaccounts.actAs"), Some("monitoring.timeSeries.list"), Some("<!here>"), None]
    {
        let message = permission_denied(&policy(), &service(), permission, Some("a; rm -rf /"), "");
        assert_fits(&message, "permission");
        assert!(message.text.contains("reason: permission_denied") && !message.text.contains("rm -rf"));
    }
}

#[test]
fn a_schema_change_is_left_to_people_with_the_handbooks_steps() {
    let mut decision = notify(
        Reason::SchemaFence,
        "schema",
        "k-back-00042-abc needs schema 3f8d, k-back-00041-xyz needs 2a1b",
    );
    decision.plan = Some(plan());
    let message = told(&decision, Arrival::NothingMoved);
    let command = "runback rollback k-back k-back-00041-xyz --force schema";
    assert!(message.text.contains("alembic current") && message.text.contains(command), "{}", message.text);
    assert!(readable(&message).contains("needs schema 3f8d"), "{message:?}");
}

#[test]
fn a_plan_tells_of_the_requests_that_it_does_not_move() {
    let mut decision = rollback();
    decision.plan = Some(Plan { stays: Some("by the tag live".into()), ..plan() });
    let text = told(&decision, arrived()).text;
    assert!(text.contains("Requests to a tag ignore percentages and stay with 00042-abc."), "{text}");
}

#[test]
fn a_watched_deploy_speaks_of_no_alert() {
    let decision = Decision { incident: "watch-k-back-00042-abc".into(), ..rollback() };
    let alert = Alert { signal: Signal::Deploy, ..Alert::known_by("watch-k-back-00042-abc") };
    let message = render(&policy(), &notice(&decision, &alert, arrived()));
    assert!(message.text.contains("14 s after Runback checked the deploy"), "{}", message.text);
    assert!(!message.text.contains("after the alert"), "{}", message.text);
    assert!(message.text.contains("incident watch-k-back-00042-abc"), "{}", message.text);
}

#[test]
fn a_verdict_after_the_switch_says_what_is_known_and_what_comes_next() {
    let judged = |bad| evidence::judge(&[Sample { start: at(0), end: at(6), requests: 300, bad }], 0.05, 20);
    let rollback = recorded(Phase::Switching, 100);
    let told = |ended, target, culprit| {
        let (service, rollback, tags) = (&service(), &rollback, &["live", "next"][..]);
        let (trouble, follows_latest, now) = (None, false, at(6));
        let about = Verdict { service, rollback, ended, target, culprit, tags, trouble, follows_latest, now };
        verdict(&policy(), &about).text
    };
    assert_eq!(
        told(Afterwards::Recovered, Some(judged(0)), None),
        "\
✅ k-back recovered
00041-xyz has been healthy since it took over from 00042-abc.
00041-xyz: 0% bad (0 of 300; limit 5%).
It took 4 s from the alert to the switch, and 6 min until this was proven.
Now: nothing to do. Fix 00042-abc and deploy.
Later: deploys get no traffic until somebody runs runback release k-back.
reason: recovered · incident 0.n4gk2x"
    );
    let escalated = told(Afterwards::NotHelped, Some(judged(120)), Some(judged(120)));
    assert!(escalated.contains("00041-xyz fails as well"), "{escalated}");
    assert!(escalated.contains("\nrunback undo k-back\n"), "{escalated}");
    let nothing = told(Afterwards::Unjudged, Some(evidence::judge(&[], 0.05, 20)), None);
    assert!(nothing.contains("no requests since"), "{nothing}");
    let none = Some(evidence::judge(&[], 0.05, 20));
    let reached = told(Afterwards::StillReached, none, Some(judged(120)));
    for part in [
        "00042-abc still gets requests",
        "They come by the tag live, next",
        "00042-abc: 40% bad (120 of 300; limit 5%).",
        "--update-tags live=k-back-00041-xyz,next=k-back-00041-xyz",
        "Runback looks again in three minutes.",
        "reason: still_reached",
    ] {
        assert!(reached.contains(part), "{part}: {reached}");
    }
    let never = told(Afterwards::NeverLeft, none, Some(judged(120)));
    assert!(!never.contains("looks again in") && never.contains("reason: unjudged"), "{never}");
}

const ENDINGS: [Afterwards; 14] = [
    Afterwards::Recovered,
    Afterwards::NotHelped,
    Afterwards::Restored,
    Afterwards::StillReached,
    Afterwards::NeverLeft,
    Afterwards::Unjudged,
    Afterwards::Halted,
    Afterwards::Cleared,
    Afterwards::Undecided,
    Afterwards::Forbidden,
    Afterwards::Overruled,
    Afterwards::NotArrived,
    Afterwards::StepRefused,
    Afterwards::BackRefused,
];

const PHASES: [Phase; 9] = [
    Phase::Told,
    Phase::Recovered,
    Phase::NotHelped,
    Phase::Restoring,
    Phase::Restored,
    Phase::Undone,
    Phase::Overruled,
    Phase::NotArrived,
    Phase::Halted,
];

/// Every kind of message, by what it is about.
fn kinds(policy: &Policy) -> Vec<(String, Message)> {
    let (service, alert) = (&service(), &alert());
    let judged = evidence::judge(&[Sample { start: at(0), end: at(6), requests: 300, bad: 120 }], 0.05, 20);
    let trial = Ahead::Trial { wait: Duration::from_secs(240) };
    let step = Ahead::Step { percent: 50, wait: Duration::from_secs(240) };
    let mut all = Vec::new();
    let partly = Decision { plan: Some(Plan { step: 10, ..plan() }), ..rollback() };
    for (about, decision, ahead) in [
        ("rolled back", &rollback(), Ahead::Check),
        ("rolled back without a queue", &rollback(), Ahead::Nothing),
        ("a step", &partly, step),
        ("a trial", &partly, trial),
    ] {
        for arrival in [arrived(), Arrival::Resumed, Arrival::Overruled, Arrival::NotYet { trouble: None }] {
            let notice = Notice { ahead, ..notice(decision, alert, arrival.clone()) };
            all.push((format!("{about}, {arrival:?}"), render(policy, &notice)));
        }
    }
    for &reason in Reason::ALL {
        let decision = Decision { minutes: rollback().minutes, ..notify(reason, "some", "a figure") };
        let planned = Decision { plan: Some(plan()), ..decision.clone() };
        let bare = Decision { advice: None, minutes: Vec::new(), ..decision.clone() };
        for decision in [decision, planned, bare] {
            let message = render(policy, &notice(&decision, alert, Arrival::NothingMoved));
            all.push((format!("untouched, {reason}"), message));
        }
    }
    let record = recorded(Phase::Switching, 100);
    all.push(("under way".into(), under_way(policy, service, &record, &rollback(), alert)));
    for ended in ENDINGS {
        for part in [10, 100] {
            let rollback = &recorded(ended.phase(), part);
            let (target, culprit, trouble, now) = (Some(judged), Some(judged), Some("it is full"), at(6));
            let (tags, follows_latest) = (&["live"][..], false);
            let about =
                Verdict { service, rollback, ended, target, culprit, tags, trouble, follows_latest, now };
            all.push((format!("ended, {ended:?}"), verdict(policy, &about)));
        }
    }
    for phase in PHASES {
        let rollback = Rollback { moved: Some(at(4)), ..recorded(phase, 50) };
        all.push((format!("stands, {:?}", rollback.phase), standing(policy, service, &rollback).unwrap()));
        for ahead in [Ahead::Check, step] {
            all.push(("a further step".into(), super::step(policy, service, &rollback, true, ahead, None)));
        }
    }
    all.push(("on hold".into(), on_hold(policy, service, &record)));
    all.push(("no look ahead".into(), no_look_ahead(policy, service, &record, "HTTP 403")));
    for permission in ["run.services.update", "cloudtasks.tasks.create", "iam.serviceaccounts.actAs"] {
        all.push(("held up".into(), held_up(policy, service, permission, None)));
        all.push(("denied".into(), permission_denied(policy, service, Some(permission), None, "0.a")));
        all.push(("rights lost".into(), rights_lost(policy, service, permission, None)));
    }
    all.push(("out of sight".into(), out_of_sight(policy, service, "it is gone", Reason::UnresolvedService)));
    all
}

/// What a message does that none may do.
fn faults(message: &Message) -> Vec<String> {
    let (header, words, shown) = (header(message), words(message), texts_of(&message.blocks));
    let mut found = Vec::new();
    let mut check = |fine: bool, fault: &str| found.extend((!fine).then(|| fault.to_owned()));
    check(header.chars().count() <= 60, "a long header");
    check(header.starts_with(|c| "⏪⏳✅🟡🔴📌👀🧪".contains(c)), "no mark");
    check(words <= 100, &format!("{words} words"));
    let calls = shown.contains("<!subteam^S123>");
    check(calls == header.starts_with('🔴'), "it calls whom it should not, or nobody");
    // A time is a token that Slack shows in the reader's zone.
    check(shown.matches("UTC").count() == shown.matches("<!date^").count(), "a time that is no token");
    for text in [&message.text, &shown.replace("{time}", "").replace("{date_short_pretty}", "")] {
        check(!text.contains(['{', '}']), "a place that is not filled");
        check(text.contains("reason: ") && text.contains(" · incident "), "no reason");
        for word in ["REVISION", "TARGET", "--to-latest", " %"] {
            check(!text.contains(word), word);
        }
    }
    found
}

/// A tired person reads this on a telephone. With `--nocapture` it prints the figures.
#[test]
fn every_kind_of_message_is_short_marked_complete_and_calls_people_only_where_it_must() {
    let mut wrong = Vec::new();
    for language in [Language::English, Language::Japanese] {
        for (about, message) in kinds(&full(language)) {
            let long = header(&message).chars().count();
            println!("{language:?} {about}: {} words, header of {long}", words(&message));
            let found = faults(&message);
            if !found.is_empty() {
                wrong.push(format!("{about}: {found:?}\n{}", texts_of(&message.blocks)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Whoever wonders what now finds the code of their message in the page for people on call.
#[test]
fn the_page_for_people_on_call_has_one_heading_per_reason_code_in_both_languages() {
    let reasons = Reason::ALL.iter().map(|reason| reason.code());
    let endings = ENDINGS.iter().map(|ended| ended.code());
    let others = [PINNED, BY_HAND, "undone"];
    let codes: BTreeSet<&str> = reasons.chain(endings).chain(others).collect();
    for page in [include_str!("../../docs/oncall.md"), include_str!("../../docs/oncall.ja.md")] {
        let headings: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
        assert_eq!(headings.iter().copied().collect::<BTreeSet<_>>(), codes);
        assert_eq!(headings.len(), codes.len(), "a heading twice");
    }
}

#[test]
fn hostile_text_pings_nobody_formats_nothing_and_leads_nowhere() {
    let evil = "<!channel> @here *b* `c` ~d~ ```e``` &amp; <https://evil.example|click>\n\n\u{202e}\u{61c}\u{e0041}# x; rm -rf / $(id)";
    let mut decision = rollback();
    decision.incident = evil.into();
    decision.gates.iter_mut().for_each(|gate| gate.detail = evil.into());
    let plan = decision.plan.as_mut().unwrap();
    plan.culprit = revision(evil, Some(evil));
    plan.target.name = evil.to_owned() + "2";
    plan.from = vec![share(evil, 100)];
    plan.to = vec![share(&plan.target.name, 100)];
    decision.advice = Some(Advice { lacks: Some(evil.into()), ..advice() });
    decision.service = Some(ServiceName { project: evil.into(), region: evil.into(), service: evil.into() });
    let alert = Alert {
        policy_name: evil.into(),
        condition_name: evil.into(),
        summary: evil.into(),
        url: format!("https://console.cloud.google.com/{evil}"),
        ..alert()
    };
    for arrival in [arrived(), Arrival::NothingMoved, Arrival::NotYet { trouble: Some(evil.into()) }] {
        for reason in [Reason::Confirmed, Reason::WriteRefused, Reason::Unconfirmed] {
            let decision = Decision { reason, ..decision.clone() };
            let message = render(&policy(), &notice(&decision, &alert, arrival.clone()));
            assert_fits(&message, "hostile");
            let blocks = readable(&message);
            for text in [&message.text, &blocks] {
                for bad in [
                    "<!channel",
                    "<https://evil",
                    "@here",
                    "~d~",
                    "*b*",
                    "`c`",
                    "\u{202e}",
                    "\u{61c}",
                    "\u{e0041}",
                    "click>\n",
                ] {
                    assert!(!text.contains(bad), "{bad} in {text}");
                }
                let copied =
                    text.lines().filter(|line| line.starts_with("gcloud ") || line.starts_with("runback "));
                for line in copied {
                    let shown = line.trim_matches('`');
                    assert!(
                        shown.chars().all(|c| c.is_ascii_alphanumeric() || " -_.:/=,%…".contains(c)),
                        "{line}"
                    );
                }
            }
            assert_eq!(blocks.matches("```").count() % 2, 0);
            assert_eq!(blocks.matches('`').count() % 2, 0);
            assert_eq!(blocks.matches("|Alert>").count(), 0);
        }
    }
}

#[test]
fn limits_hold_and_a_rollback_stays_explained_whatever_the_lengths() {
    for filling in ["x", "&", "`", "@", "\u{1f525}", "_", "*"] {
        let long = filling.repeat(1_000);
        let mut decision = rollback();
        decision.incident = long.clone();
        decision.gates = (0..40).map(|_| gate("failing", true, &long)).collect();
        let names: Vec<String> = (0..50).map(|number| format!("{number}{long}")).collect();
        let plan = decision.plan.as_mut().unwrap();
        plan.proven = false;
        plan.culprit = revision(&names[0], Some(&long));
        plan.target = revision(&names[1], Some(&long));
        plan.from = names.iter().map(|name| share(name, 2)).collect();
        plan.to = names.iter().skip(1).map(|name| share(name, 2)).collect();
        decision.service =
            Some(ServiceName { project: long.clone(), region: long.clone(), service: long.clone() });
        decision.minutes = minutes(&[(u64::MAX / 2_000, 1); 1_000]);
        let alert = Alert {
            policy_name: long.clone(),
            condition_name: long.clone(),
            summary: long.clone(),
            url: format!("https://console.cloud.google.com/{long}"),
            ..alert()
        };
        for arrival in [arrived(), Arrival::NothingMoved, Arrival::NotYet { trouble: Some(long.clone()) }] {
            let moved = arrival != Arrival::NothingMoved;
            let about = Notice { ahead: Ahead::Check, ..notice(&decision, &alert, arrival) };
            let message = render(&policy(), &about);
            assert_fits(&message, filling);
            assert!(header(&message).chars().count() <= 60, "{}", header(&message));
            assert!(!moved || message.text.contains("runback release"), "{}", message.text);
            assert!(message.text.contains("\nreason: "), "{}", message.text);
        }
        let service = decision.service.as_ref().unwrap();
        assert_fits(&permission_denied(&policy(), service, Some(&long), Some(&long), &long), filling);
        let record = Rollback {
            incident: long.clone(),
            culprit: long.clone(),
            from: (0..100).map(|_| share(&long, 1)).collect(),
            target: long.clone(),
            why: Some(long.clone()),
            ..recorded(Phase::Halted, 10)
        };
        for ended in ENDINGS {
            let (rollback, trouble, tags) = (&record, Some(long.as_str()), &[long.as_str(); 60][..]);
            let (target, culprit, follows_latest, now) = (None, None, true, at(6));
            let about =
                Verdict { service, rollback, ended, target, culprit, tags, trouble, follows_latest, now };
            assert_fits(&verdict(&policy(), &about), ended.code());
        }
        assert_fits(&standing(&policy(), service, &record).unwrap(), "as it stands");
        assert_fits(&super::step(&policy(), service, &record, true, Ahead::Check, None), "a step");
        assert_fits(&no_look_ahead(&policy(), service, &record, &long), "no look ahead");
        assert_fits(&held_up(&policy(), service, &long, Some(&long)), "held up");
        assert_fits(&out_of_sight(&policy(), service, &long, Reason::UnreadableRecord), "out of sight");
    }
}

#[test]
fn where_several_projects_are_guarded_the_header_names_the_project() {
    let mut policy = policy();
    let other = ServiceName { project: "other-project".into(), ..service() };
    policy.services.insert(other, Rules::default());
    let message = render(&policy, &notice(&rollback(), &alert(), arrived()));
    assert_eq!(header(&message), "⏪ k-back (demo-project) rolled back to 00041-xyz");
    // The name alone would not say which one is meant.
    let command = "runback release projects/demo-project/locations/asia-northeast1/services/k-back";
    assert!(message.text.contains(command), "{}", message.text);
}

#[test]
fn links_lead_only_to_google_and_the_service() {
    let lines = [
        (
            "https://console.cloud.google.com/monitoring?a=1&b=2",
            Some("<https://console.cloud.google.com/monitoring?a=1&amp;b=2|x>"),
        ),
        ("https://console.cloud.google.com.evil.example/", None),
        ("https://console.cloud.google.com@evil.example/", None),
        ("http://console.cloud.google.com/a", None),
        ("https://console.cloud.google.com/", None),
        ("https://console.cloud.google.com/a|b", None),
        ("https://console.cloud.google.com/a>b", None),
        ("https://console.cloud.google.com/a b", None),
        ("", None),
    ];
    for (address, wanted) in lines {
        assert_eq!(
            link("x", address, &["https://console.cloud.google.com/"]).as_deref(),
            wanted,
            "{address}"
        );
    }
    assert_eq!(
        logs_url(&service(), Some("k-back-00042-abc"), Some(at(0))),
        "https://console.cloud.google.com/logs/query;query=resource.type%3D%22cloud_run_revision%22%0A\
         resource.labels.service_name%3D%22k-back%22%0Aresource.labels.location%3D%22asia-northeast1%22%0A\
         resource.labels.revision_name%3D%22k-back-00042-abc%22%0A\
         %28severity%3E%3DERROR%20OR%20textPayload%3D~%22ERROR%7CCRITICAL%7CException%7CTraceback%22%29%0A\
         timestamp%3E%3D%222026-11-21T18%3A04%3A00Z%22?project=demo-project"
    );
}

#[test]
fn a_sparkline_shows_every_minute_and_its_scale() {
    type Row<'a> = (&'a [(u64, u64)], Option<(&'a str, f64)>);
    let table: [Row<'_>; 7] = [
        (&[], None),
        (&[(100, 0)], Some(("▁", 0.0))),
        (&[(100, 100)], Some(("█", 1.0))),
        (
            &[(100, 0), (100, 10), (100, 20), (100, 30), (100, 40), (100, 50), (100, 60), (100, 70)],
            Some(("▁▂▃▄▅▆▇█", 0.7)),
        ),
        (&[(100, 0), (0, 0), (0, 0), (100, 50)], Some(("▁··█", 0.5))),
        (&[(1_000, 1), (1_000, 1_000)], Some(("▂█", 1.0))),
        (&[(1_000, 1), (1_000, 1)], Some(("██", 0.001))),
    ];
    for (counts, wanted) in table {
        let drawn = sparkline(&minutes(counts));
        assert_eq!(drawn.as_ref().map(|(bars, top)| (bars.as_str(), *top)), wanted, "{counts:?}");
    }
    let day = sparkline(&minutes(&[(10, 5); 1_440])).unwrap();
    assert_eq!(day.0, "█".repeat(60));
    let coarse = Sample { start: at(0), end: at(5), requests: 10, bad: 1 };
    assert_eq!(sparkline(&[coarse]).unwrap().0, "█████");
}

#[test]
fn prose_from_outside_is_one_safe_line_of_bounded_length() {
    for (raw, max, wanted) in [
        ("5xx above 5 %", 50, "5xx above 5 %"),
        ("a\r\n\tb  c", 50, "a b c"),
        ("<!channel> & `x`", 50, "&lt;!channel&gt; &amp; 'x'"),
        ("&&&&", 11, "&amp;&amp;…"),
        ("abcd", 4, "abcd"),
        ("abcde", 4, "abc…"),
        (" \u{feff}\n", 4, ""),
    ] {
        assert_eq!(prose(raw, max), wanted, "{raw:?}");
    }
}
