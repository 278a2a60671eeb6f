//! Figures as people read them.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// `23 %`, `4.8 %`, `0.12 %`: two figures that matter.
#[must_use]
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    let digits = match value {
        10.0.. => 0,
        1.0.. => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let text = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{} %", if text.is_empty() { "0" } else { text })
}

/// A commit as people write it: its first seven digits.
#[must_use]
pub fn short_commit(commit: &str) -> String {
    commit.chars().take(7).collect()
}

/// `1,760`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `45 s`, `10 min`, `5 h`, `3 d`: the largest unit that leaves a whole number of at least 2, or the next smaller.
#[must_use]
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 if !seconds.is_multiple_of(60) || seconds == 0 => format!("{seconds} s"),
        0..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// How long a request took: `800 ms`, `2.5 s`, `3 s`.
#[must_use]
pub fn time(time: Duration) -> String {
    let (seconds, thousandths) = (time.as_secs(), time.subsec_millis());
    match (seconds, thousandths) {
        (_, 0) => duration(time),
        (0, _) => format!("{thousandths} ms"),
        _ => format!("{} s", format!("{seconds}.{thousandths:03}").trim_end_matches('0')),
    }
}

/// [`duration`] for a difference of times; a negative one is 0.
#[must_use]
pub fn span(delta: TimeDelta) -> String {
    duration(delta.to_std().unwrap_or_default())
}

/// A policy's duration as a difference of times. What does not fit is the longest one.
#[must_use]
pub fn delta(time: Duration) -> TimeDelta {
    TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX)
}

/// `2026-11-22T03:14:00Z`.
#[must_use]
pub fn clock(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_like_prose() {
        let percents = [
            (0.0, "0 %"),
            (0.234, "23 %"),
            (0.05, "5 %"),
            (0.048, "4.8 %"),
            (0.0012, "0.12 %"),
            (0.001, "0.1 %"),
            (0.000_01, "0 %"),
            (0.2, "20 %"),
            (1.0, "100 %"),
        ];
        for (share, text) in percents {
            assert_eq!(percent(share), text);
        }
        for (number, text) in [(0, "0"), (999, "999"), (1_760, "1,760"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        for (seconds, text) in
            [(0, "0 s"), (45, "45 s"), (60, "1 min"), (600, "10 min"), (86_400, "24 h"), (604_800, "7 d")]
        {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
        for (millis, text) in [(800, "800 ms"), (2_500, "2.5 s"), (3_000, "3 s"), (1_050, "1.05 s")] {
            assert_eq!(time(Duration::from_millis(millis)), text);
        }
    }
}
