//! A hold: somebody wants Runback to keep its hands off a service for a while.

use chrono::{DateTime, Utc};

use super::text;

/// Who holds a service, why and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// When it ends by itself; nothing: when somebody ends it.
    pub until: Option<DateTime<Utc>>,
    /// The account, as far as it is known.
    pub by: String,
    /// What they gave as a reason; may be empty.
    pub why: String,
}

impl Hold {
    /// Whether it is in force.
    #[must_use]
    pub fn is_on(&self, now: DateTime<Utc>) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// "held by ana@example.com until 2026-11-22T03:14:00Z: database migration".
    #[must_use]
    pub fn sentence(&self) -> String {
        let by = if self.by.is_empty() { String::new() } else { format!(" by {}", self.by) };
        let until = self.until.map_or_else(
            || " until somebody resumes it".to_owned(),
            |until| format!(" until {}", text::clock(until)),
        );
        let why = if self.why.is_empty() { String::new() } else { format!(": {}", self.why) };
        format!("held{by}{until}{why}")
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_hold_is_on_until_its_end_and_one_without_an_end_for_good() {
        let end = DateTime::UNIX_EPOCH + TimeDelta::hours(2);
        let hold = Hold { until: Some(end), by: "ana@example.com".into(), why: "migration".into() };
        assert!(hold.is_on(end - TimeDelta::seconds(1)) && !hold.is_on(end));
        assert_eq!(hold.sentence(), "held by ana@example.com until 1970-01-01T02:00:00Z: migration");
        let open = Hold { until: None, by: String::new(), why: String::new() };
        assert!(open.is_on(end + TimeDelta::days(1_000)));
        assert_eq!(open.sentence(), "held until somebody resumes it");
    }
}
