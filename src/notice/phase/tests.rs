use super::*;
use crate::domain::policy::Rules;
use crate::record_json;

fn rollback(phase: &str, step: u8) -> Rollback {
    let record = format!(
        r#"{{"v":1,"rollbacks":[{{"id":"rb-1","incident":"0.a","at":"2026-11-21T18:04:00Z",
        "moved":"2026-11-21T18:08:00Z","culprit":"k-back-00042-abc","from":[{{"revision":"k-back-00042-abc",
        "percent":100}}],"target":"k-back-00041-xyz","step":{step},"phase":"{phase}","reason":"confirmed"}}]}}"#
    );
    record_json::parse(Some(&record)).unwrap().rollbacks.remove(0)
}

fn policy() -> Policy {
    Policy { services: [(service(), Rules::default())].into() }
}

fn service() -> ServiceName {
    "projects/demo/locations/asia-northeast1/services/k-back".parse().unwrap()
}

#[test]
fn every_phase_has_its_title_and_its_reason() {
    let release = "runback release k-back";
    for (phase, step, title, reason, next) in [
        ("told", 50, "⏳ k-back: 50% moved back to 00041-xyz", "confirmed", release),
        ("switching", 100, "⏪ k-back rolled back to 00041-xyz", "confirmed", release),
        ("recovered", 100, "✅ k-back recovered", "recovered", release),
        ("not_helped", 100, "🔴 k-back: the rollback did not help", "not_helped", release),
        ("restoring", 100, "⏳ k-back: no help, rollback being undone", "not_helped", "runback status"),
        ("restored", 100, "🔴 k-back: no help, rollback undone", "not_helped", "runback status"),
        ("undone", 100, "👀 k-back: rollback undone by hand", "undone", "runback status"),
        ("unjudged", 100, "🟡 k-back: not clear if the rollback helped", "unjudged", release),
        ("overruled", 100, "👀 k-back: someone else moved the traffic", "overruled", "runback status"),
        ("not_arrived", 100, "🔴 k-back: rollback not in effect", "not_arrived", "runback status"),
        ("halted", 10, "🔴 k-back: rollback halted at 10%", "halted", release),
    ] {
        let message = standing(&policy(), &service(), &rollback(phase, step)).unwrap();
        assert_eq!(message.text.lines().next().unwrap(), title, "{phase}");
        for part in [format!("reason: {reason} · incident 0.a"), next.to_owned(), "the thread".to_owned()] {
            assert!(message.text.contains(&part), "{phase}: {part} is missing in {}", message.text);
        }
        assert!(message.details.is_empty() && message.kept.is_empty(), "{phase}");
    }
}

#[test]
fn the_first_message_stands_until_something_has_happened_since() {
    for phase in ["switching", "told"] {
        for step in [10, 100] {
            let first = Rollback { moved: None, ..rollback(phase, step) };
            assert_eq!(standing(&policy(), &service(), &first), None, "{phase} {step}");
        }
    }
    // What a later version means by it only that version can say.
    assert_eq!(standing(&policy(), &service(), &rollback("frozen", 100)), None);
}

#[test]
fn the_traffic_is_shown_as_the_last_write_asked_for_it() {
    let text = standing(&policy(), &service(), &rollback("told", 50)).unwrap().text;
    assert!(text.contains("k-back-00042-abc: 100% → 50%\nk-back-00041-xyz: 0% → 50%"), "{text}");
    let unknown = standing(&policy(), &service(), &rollback("overruled", 100)).unwrap().text;
    assert!(!unknown.contains("100%"), "{unknown}");
}
