//! What the tests of several modules begin with: a rollback of all traffic that people have been told of.

use chrono::{DateTime, Utc};

use super::{Phase, Rollback, Share};

/// All of the culprit's traffic, which was all there is, has moved to the target.
pub(crate) fn rolled_back(culprit: &str, target: &str, at: DateTime<Utc>) -> Rollback {
    Rollback {
        id: "rb-1".into(),
        incident: "0.incident".into(),
        alerted: None,
        at,
        moved: None,
        culprit: culprit.into(),
        from: vec![Share { revision: culprit.into(), percent: 100 }],
        latest: 0,
        slow: false,
        slower_than: None,
        target: target.into(),
        step: 100,
        trial: false,
        phase: Phase::Told,
        reason: "confirmed".into(),
        why: None,
        by: None,
    }
}
