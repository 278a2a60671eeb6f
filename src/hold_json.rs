//! The annotation `runback.dev/hold`: a `Hold` as JSON on the guarded service.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::hold::Hold;

/// The annotation's name.
pub const ANNOTATION: &str = "runback.dev/hold";

#[derive(Serialize, Deserialize)]
struct WireHold {
    #[serde(default)]
    until: Option<String>,
    #[serde(default)]
    by: Option<String>,
    #[serde(default)]
    why: Option<String>,
}

/// Reads the annotation. What cannot be read counts as held: whoever wrote it wanted Runback to stop.
#[must_use]
pub fn parse(annotation: Option<&str>) -> Option<Hold> {
    let text = annotation?;
    Some(read(text).unwrap_or_else(|| Hold {
        until: None,
        by: String::new(),
        why: format!("the annotation {ANNOTATION} cannot be read"),
    }))
}

fn read(text: &str) -> Option<Hold> {
    let WireHold { until, by, why } = serde_json::from_str(text).ok()?;
    let until = match until {
        Some(until) => Some(DateTime::parse_from_rfc3339(&until).ok()?.to_utc()),
        None => None,
    };
    Some(Hold { until, by: by.unwrap_or_default(), why: why.unwrap_or_default() })
}

/// The annotation's text.
#[must_use]
#[expect(clippy::expect_used, reason = "three texts cannot fail to become JSON")]
pub fn write(hold: &Hold) -> String {
    let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
    let wire =
        WireHold { until: hold.until.map(time), by: Some(hold.by.clone()), why: Some(hold.why.clone()) };
    serde_json::to_string(&wire).expect("three texts always become JSON")
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_hold_is_read_as_it_was_written() {
        let hold = Hold {
            until: Some(DateTime::UNIX_EPOCH + TimeDelta::hours(2)),
            by: "ana@example.com".into(),
            why: "データ移行 \"1\"".into(),
        };
        assert_eq!(parse(Some(&write(&hold))), Some(hold.clone()));
        let open = Hold { until: None, ..hold };
        assert_eq!(parse(Some(&write(&open))), Some(open));
        assert_eq!(parse(None), None);
    }

    #[test]
    fn a_hold_that_cannot_be_read_holds() {
        for text in ["", "on", "true", r#"{"until":"tomorrow"}"#, r#"{"until":12}"#] {
            let hold = parse(Some(text)).unwrap();
            assert_eq!(hold.until, None, "{text}");
            assert!(hold.why.contains("cannot be read"), "{text}");
        }
        assert_eq!(parse(Some("{}")).unwrap().until, None);
    }
}
