use super::*;

fn at(text: &str) -> DateTime<Utc> {
    time(text).unwrap()
}

fn share(revision: &str, percent: u8) -> Share {
    Share { revision: revision.to_owned(), percent }
}

fn rollback() -> Rollback {
    Rollback {
        id: "rb-1".to_owned(),
        incident: "0.abc".to_owned(),
        alerted: None,
        at: at("2026-11-22T01:02:03Z"),
        moved: None,
        culprit: "k-back-00002".to_owned(),
        from: vec![share("k-back-00001", 20), share("k-back-00002", 80)],
        latest: 0,
        slow: false,
        slower_than: None,
        target: "k-back-00001".to_owned(),
        step: 50,
        phase: Phase::Switching,
        reason: "confirmed".to_owned(),
        why: None,
        trial: false,
        by: None,
    }
}

fn quarantined() -> Quarantined {
    Quarantined {
        revision: "k-back-00002".to_owned(),
        digest: Some("sha256:00ff".to_owned()),
        commit: Some("abc1234".to_owned()),
        at: at("2026-11-22T01:02:03Z"),
    }
}

fn refusal(annotation: &str) -> String {
    parse(Some(annotation)).expect_err(annotation).to_string()
}

#[test]
fn the_format_is_the_one_of_the_contract() {
    let record = Record { rollbacks: vec![rollback()], quarantine: vec![quarantined()], ..Record::default() };
    let expected = concat!(
        r#"{"v":1,"rollbacks":[{"id":"rb-1","incident":"0.abc","at":"2026-11-22T01:02:03Z","#,
        r#""culprit":"k-back-00002","from":[{"revision":"k-back-00001","percent":20},"#,
        r#"{"revision":"k-back-00002","percent":80}],"target":"k-back-00001","step":50,"#,
        r#""phase":"switching","reason":"confirmed"}],"quarantine":[{"revision":"k-back-00002","#,
        r#""digest":"sha256:00ff","commit":"abc1234","at":"2026-11-22T01:02:03Z"}]}"#
    );
    assert_eq!(write(&record, None), expected);
    assert_eq!(write(&Record::default(), None), r#"{"v":1,"rollbacks":[],"quarantine":[]}"#);
}

#[test]
fn what_was_written_is_read_back() {
    let told = Rollback { phase: Phase::Told, from: Vec::new(), ..rollback() };
    let other = Rollback { phase: Phase::Other("restored 100%".to_owned()), ..rollback() };
    let by_hand = Rollback { by: Some("ana@example.com".to_owned()), ..rollback() };
    let odd = Rollback { incident: "インシデント \"1\"\n\u{0}".to_owned(), ..rollback() };
    let unnamed = Quarantined { digest: None, commit: None, ..quarantined() };
    let record = Record {
        rollbacks: vec![rollback(), told, other, by_hand, odd],
        quarantine: vec![quarantined(), unnamed],
        ..Record::default()
    };
    assert_eq!(parse(Some(&write(&record, None))), Ok(record));
    assert_eq!(parse(Some(&write(&Record::default(), None))), Ok(Record::default()));
}

#[test]
fn every_phase_has_its_word_and_an_unknown_word_is_kept() {
    let table = [
        (Phase::Switching, "switching"),
        (Phase::Told, "told"),
        (Phase::Recovered, "recovered"),
        (Phase::NotHelped, "not_helped"),
        (Phase::Unjudged, "unjudged"),
        (Phase::Overruled, "overruled"),
        (Phase::NotArrived, "not_arrived"),
        (Phase::Halted, "halted"),
        (Phase::Undone, "undone"),
        (Phase::Restoring, "restoring"),
        (Phase::Restored, "restored"),
        (Phase::Other("praised".to_owned()), "praised"),
    ];
    for (phase, word) in table {
        let record = Record {
            rollbacks: vec![Rollback { phase, ..rollback() }],
            quarantine: Vec::new(),
            ..Record::default()
        };
        let text = write(&record, None);
        assert!(text.contains(&format!(r#""phase":"{word}""#)), "{text}");
        assert_eq!(parse(Some(&text)), Ok(record));
    }
}

#[test]
fn without_an_annotation_nothing_has_happened_yet() {
    assert_eq!(parse(None), Ok(Record::default()));
    assert_eq!(parse(Some("")), Ok(Record::default()));
    assert_eq!(parse(Some(r#"{"v":1}"#)), Ok(Record::default()));
}

#[test]
fn times_are_written_in_utc_and_read_in_any_zone() {
    let record =
        parse(Some(r#"{"v":1,"quarantine":[{"revision":"a","at":"2026-11-22T10:02:03.999+09:00"}]}"#))
            .unwrap();
    assert!(write(&record, None).contains(r#""at":"2026-11-22T01:02:03Z""#));
}

#[test]
fn fields_of_a_later_writer_are_tolerated_and_optional_ones_may_be_missing() {
    let annotation = r#"{"v":1,"new":{},"rollbacks":[{"incident":"0.abc","at":"2026-11-22T01:02:03Z",
        "culprit":"k-back-00002","target":"k-back-00001","via":"someone"}],
        "quarantine":[{"revision":"k-back-00002","digest":null,"at":"2026-11-22T01:02:03Z","why":[1]}]}"#;
    let rollback = Rollback {
        id: String::new(),
        from: Vec::new(),
        step: 100,
        phase: Phase::Told,
        reason: String::new(),
        ..rollback()
    };
    let entry = Quarantined { digest: None, commit: None, ..quarantined() };
    assert_eq!(
        parse(Some(annotation)),
        Ok(Record { rollbacks: vec![rollback], quarantine: vec![entry], ..Record::default() })
    );
}

#[test]
fn what_a_later_writer_has_added_survives_a_rewrite() {
    let before = r#"{"v":1,"owner":"team-a","rollbacks":[{"id":"rb-1","incident":"0.abc","at":"2026-11-22T01:02:03Z",
        "culprit":"k-back-00002","target":"k-back-00001","via":{"who":"someone"}}],
        "quarantine":[{"revision":"k-back-00002","at":"2026-11-22T01:02:03Z","lift":[1]}]}"#;
    let record = parse(Some(before)).unwrap();
    let newer = Rollback { id: "rb-2".to_owned(), phase: Phase::Told, ..rollback() };
    let record = Record { rollbacks: vec![newer, record.rollbacks[0].clone()], ..record };
    let after: Value = serde_json::from_str(&write(&record, Some(before))).unwrap();
    assert_eq!(after["owner"], "team-a");
    assert_eq!(after["rollbacks"][0]["via"], Value::Null, "it was said of another rollback");
    assert_eq!(after["rollbacks"][1]["via"]["who"], "someone");
    assert_eq!(after["quarantine"][0]["lift"][0], 1);
    // What nobody here understands must not keep a rollback from being recorded.
    let huge = before.replace("team-a", &"x".repeat(2 * LIMIT)).replace("someone", &"y".repeat(2 * LIMIT));
    let text = write(&record, Some(&huge));
    assert!(text.len() < LIMIT);
    assert_eq!(parse(Some(&text)).unwrap().rollbacks.len(), 2);
}

#[test]
fn an_annotation_that_only_looks_like_ours_is_not_ours() {
    for foreign in [r#"{"v":1,"replicas":3}"#, r#"{"v":1,"state":{"rollbacks":[]}}"#] {
        assert!(refusal(foreign).ends_with("has neither `rollbacks` nor `quarantine`"), "{foreign}");
    }
}

#[test]
fn what_cannot_be_understood_is_an_error_and_never_an_empty_record() {
    let table = [
        ("null", "is not a JSON object"),
        ("[]", "is not a JSON object"),
        ("\"v\"", "is not a JSON object"),
        ("{}", "has no version `v`"),
        (r#"{"v":2}"#, "has the version 2, and this Runback reads version 1 only"),
        (r#"{"v":"1"}"#, "has the version \"1\", and this Runback reads version 1 only"),
        (r#"{"v":2,"rollbacks":"elsewhere"}"#, "has the version 2, and this Runback reads version 1 only"),
    ];
    for (annotation, said) in table {
        assert_eq!(refusal(annotation), format!("the annotation runback.dev/state {said}"));
    }
    for annotation in ["{", " ", r#"{"v":1}}"#, &"[".repeat(100_000)] {
        assert!(refusal(annotation).starts_with("the annotation runback.dev/state is not JSON: "));
    }
    let full = write(
        &Record { rollbacks: vec![rollback()], quarantine: vec![quarantined()], ..Record::default() },
        None,
    );
    for (good, bad) in [
        ("2026-11-22T01:02:03Z", "yesterday"),
        ("2026-11-22T01:02:03Z", "2026-11-22T01:02:03"),
        (r#""incident":"0.abc""#, r#""incident":null"#),
        (r#""incident""#, r#""case""#),
        (r#""culprit""#, r#""bad""#),
        (r#""target""#, r#""good""#),
        (r#""percent":20"#, r#""percent":300"#),
        (r#""percent":20"#, r#""percent":21"#),
        (r#""step":50"#, r#""step":101"#),
        (r#""step":50"#, r#""step":-1"#),
        (r#""rollbacks""#, r#""rollbacks":{},"x""#),
    ] {
        assert!(full.contains(good), "{good}");
        refusal(&full.replace(good, bad));
    }
}

/// `n` different names of the greatest length that Kubernetes allows.
fn long_name(n: usize) -> String {
    format!("{}-{n:05}", "r".repeat(57))
}

#[test]
fn a_full_record_with_the_longest_names_stays_below_the_limit_and_keeps_the_newest() {
    let rollback = |n: usize| Rollback {
        incident: format!("0.{}-{n:05}", "i".repeat(40)),
        culprit: long_name(n),
        from: vec![share(&long_name(n), 50), share(&long_name(n + 1), 50)],
        target: long_name(n + 1),
        alerted: Some(at("2026-11-22T01:02:03Z")),
        moved: Some(at("2026-11-22T01:02:03Z")),
        why: Some("w".repeat(150)),
        ..rollback()
    };
    let entry = |n: usize| Quarantined {
        revision: long_name(n),
        digest: Some(format!("sha256:{}", "f".repeat(64))),
        commit: Some("c".repeat(40)),
        ..quarantined()
    };
    let record = Record {
        rollbacks: (0..10).map(rollback).collect(),
        quarantine: (0..20).map(entry).collect(),
        ..Record::default()
    };
    let text = write(&record, None);
    assert!(text.len() < LIMIT, "{}", text.len());
    let kept = parse(Some(&text)).unwrap();
    let lean = |rollback: &Rollback| Rollback { why: None, from: Vec::new(), latest: 0, ..rollback.clone() };
    assert_eq!(kept.rollbacks[0], record.rollbacks[0]);
    assert_eq!(kept.rollbacks.len(), 10, "the day's budget is counted by them");
    assert!(kept.rollbacks.iter().zip(&record.rollbacks).skip(1).all(|(kept, had)| lean(kept) == lean(had)));
    assert!(kept.quarantine.len() >= 10, "{}", kept.quarantine.len());
    assert_eq!(kept.quarantine, record.quarantine[..kept.quarantine.len()]);
}

#[test]
fn names_as_they_are_in_real_life_lose_nothing() {
    let record =
        Record { rollbacks: vec![rollback(); 10], quarantine: vec![quarantined(); 20], ..Record::default() };
    assert_eq!(parse(Some(&write(&record, None))), Ok(record));
}

#[test]
fn ten_quarantine_entries_are_worth_more_than_old_rollbacks_and_more_are_not() {
    let record = Record {
        rollbacks: (0..10)
            .map(|n| Rollback { culprit: "x".repeat(190), incident: format!("{n:0190}"), ..rollback() })
            .collect(),
        quarantine: (0..150)
            .map(|n| Quarantined { revision: format!("{n:0190}"), ..quarantined() })
            .collect(),
        ..Record::default()
    };
    let kept = parse(Some(&write(&record, None))).unwrap();
    assert_eq!(kept.quarantine, record.quarantine[..10]);
    assert!((1..10).contains(&kept.rollbacks.len()), "{}", kept.rollbacks.len());
    assert_eq!(kept.rollbacks[0], record.rollbacks[0]);
}

#[test]
fn nothing_that_a_record_can_hold_reaches_the_limit_and_the_newest_rollback_stays() {
    for text in ["\u{0}", "\"", "字", "🦀", "x"] {
        let long = text.repeat(1_000);
        let rollback = Rollback {
            id: long.clone(),
            incident: long.clone(),
            culprit: long.clone(),
            from: (0..100).map(|_| share(&long, 1)).collect(),
            target: long.clone(),
            phase: Phase::Other(long.clone()),
            reason: long.clone(),
            ..rollback()
        };
        let entry = Quarantined {
            revision: long.clone(),
            digest: Some(long.clone()),
            commit: Some(long.clone()),
            ..quarantined()
        };
        let written = write(
            &Record { rollbacks: vec![rollback; 10], quarantine: vec![entry; 20], ..Record::default() },
            None,
        );
        assert!(written.len() < LIMIT, "{}", written.len());
        let kept = parse(Some(&written)).unwrap();
        assert_eq!(kept.rollbacks.len(), 1);
        assert_eq!(kept.rollbacks[0].incident, text.repeat(LONGEST_TEXT));
    }
}

#[test]
fn a_split_that_does_not_fit_is_left_out_as_a_whole() {
    let from = (0..100).map(|n| share(&long_name(n), 1)).collect();
    let record = Record {
        rollbacks: vec![Rollback { from, ..rollback() }],
        quarantine: Vec::new(),
        ..Record::default()
    };
    let kept = parse(Some(&write(&record, None))).unwrap();
    assert_eq!(kept.rollbacks, vec![Rollback { from: Vec::new(), ..rollback() }]);
}

#[test]
fn that_people_know_of_a_waiting_revision_is_kept_and_an_older_record_says_nothing_of_it() {
    let record = Record { waiting: Some("k-back-00043-fix".to_owned()), ..Record::default() };
    let text = write(&record, None);
    assert!(text.contains(r#""waiting":"k-back-00043-fix""#), "{text}");
    assert_eq!(parse(Some(&text)), Ok(record));
    assert_eq!(parse(Some(r#"{"v":1,"rollbacks":[],"quarantine":[]}"#)), Ok(Record::default()));
    assert!(!write(&Record::default(), None).contains("waiting"));
}

#[test]
fn what_later_versions_added_is_written_only_where_it_says_something() {
    let full = Rollback {
        alerted: Some(at("2026-11-22T01:02:01Z")),
        moved: Some(at("2026-11-22T01:06:03Z")),
        latest: 80,
        slow: true,
        slower_than: Some(Duration::from_millis(800)),
        why: Some("240 of 600 requests failed".to_owned()),
        ..rollback()
    };
    let record = Record { rollbacks: vec![full], quarantine: Vec::new(), ..Record::default() };
    let text = write(&record, None);
    for part in [
        r#""alerted":"2026-11-22T01:02:01Z","at":"2026-11-22T01:02:03Z","moved":"2026-11-22T01:06:03Z""#,
        r#""slow":true,"slower_than_ms":800"#,
        r#""latest":80"#,
        r#""why":"240 of 600 requests failed""#,
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert_eq!(parse(Some(&text)), Ok(record));
    refusal(&text.replace(r#""latest":80"#, r#""latest":101"#));
    refusal(&text.replace("2026-11-22T01:06:03Z", "later"));
}

#[test]
fn a_waiting_revision_gives_way_to_the_newest_rollback() {
    let longest = |letter: &str| letter.repeat(LONGEST_TEXT);
    let newest = Rollback {
        id: longest("\u{1}"),
        incident: longest("\u{2}"),
        culprit: longest("\u{3}"),
        target: longest("\u{4}"),
        reason: longest("\u{5}"),
        phase: Phase::Other(longest("\u{6}")),
        from: Vec::new(),
        why: None,
        ..rollback()
    };
    let (rollbacks, waiting) = (vec![newest.clone()], Some(longest("\u{7}")));
    let text = write(&Record { rollbacks, waiting, ..Record::default() }, None);
    assert!(text.len() < LIMIT, "{}", text.len());
    assert_eq!(parse(Some(&text)).unwrap().rollbacks, vec![newest]);
}

#[test]
fn closed_incidents_are_kept_and_give_way_first() {
    let mut record = Record { closed: vec!["0.newest".into(), "0.older".into()], ..Record::default() };
    let text = write(&record, None);
    assert_eq!(text, r#"{"v":1,"rollbacks":[],"quarantine":[],"closed":["0.newest","0.older"]}"#);
    assert_eq!(parse(Some(&text)).unwrap(), record);
    record = record.with_closed(vec!["0.now".into(), "0.newest".into()]);
    assert_eq!(record.closed, ["0.now", "0.newest", "0.older"]);
    record = record.with_closed((0..20).map(|n| format!("0.{n}")).collect());
    assert_eq!(record.closed.len(), 10);
}
