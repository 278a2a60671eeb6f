//! The world's time. Moments are seconds since the world began, so what happened before is negative.
//!
//! It runs with tokio's time from a given start. Where a runtime pauses that, nothing here reads a real clock.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use tokio::time::Instant;

/// A jump ahead moves the beginning into the past: every moment ages with it, and nothing else needs to know.
#[derive(Clone)]
pub struct Clock {
    began: Arc<Mutex<DateTime<Utc>>>,
    start: (DateTime<Utc>, Instant),
}

impl Clock {
    pub fn starting(at: DateTime<Utc>) -> Self {
        Self { began: Arc::new(Mutex::new(at)), start: (at, Instant::now()) }
    }

    pub fn started_now() -> Self {
        Self::starting(Utc::now())
    }

    pub fn time(&self) -> DateTime<Utc> {
        self.start.0 + self.start.1.elapsed()
    }

    pub fn now(&self) -> f64 {
        self.moment(self.time())
    }

    pub fn advance(&self, by: Duration) {
        *self.began.lock().unwrap() -= by;
    }

    pub fn moment(&self, at: DateTime<Utc>) -> f64 {
        let since = at - *self.began.lock().unwrap();
        since.num_microseconds().unwrap_or(i64::MAX) as f64 / 1e6
    }

    pub fn at(&self, moment: f64) -> DateTime<Utc> {
        *self.began.lock().unwrap() + TimeDelta::microseconds((moment * 1e6).round() as i64)
    }

    /// A moment as Google's APIs write it.
    pub fn text(&self, moment: f64) -> String {
        rfc3339(self.at(moment))
    }
}

pub fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Minutes, hours and days read better in scenarios than seconds.
pub const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

pub const fn hours(count: u64) -> Duration {
    minutes(60 * count)
}

pub const fn days(count: u64) -> Duration {
    hours(24 * count)
}
