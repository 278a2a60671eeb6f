//! What we read of Monitoring's answer (discovery document monitoring.v3). int64 values are JSON strings.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct List {
    #[serde(default)]
    pub(super) time_series: Vec<TimeSeries>,
    #[serde(default)]
    pub(super) next_page_token: String,
    #[serde(default)]
    pub(super) execution_errors: Vec<ExecutionError>,
    #[serde(default)]
    pub(super) unreachable: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct ExecutionError {
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Deserialize)]
pub(super) struct TimeSeries {
    #[serde(default)]
    pub(super) metric: Metric,
    #[serde(default)]
    pub(super) resource: Resource,
    #[serde(default)]
    pub(super) points: Vec<Point>,
}

#[derive(Deserialize, Default)]
pub(super) struct Metric {
    #[serde(default)]
    pub(super) labels: MetricLabels,
}

#[derive(Deserialize, Default)]
pub(super) struct MetricLabels {
    #[serde(default)]
    pub(super) response_code_class: String,
}

#[derive(Deserialize, Default)]
pub(super) struct Resource {
    #[serde(default)]
    pub(super) labels: ResourceLabels,
}

#[derive(Deserialize, Default)]
pub(super) struct ResourceLabels {
    #[serde(default)]
    pub(super) revision_name: String,
}

#[derive(Deserialize)]
pub(super) struct Point {
    pub(super) interval: Interval,
    pub(super) value: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Interval {
    pub(super) start_time: String,
    pub(super) end_time: String,
}

impl Interval {
    pub(super) fn times(&self) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        let time = |text: &str| DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc());
        Some((time(&self.start_time)?, time(&self.end_time)?))
    }
}

#[derive(Deserialize)]
pub(super) struct Value {
    #[serde(rename = "int64Value")]
    pub(super) int64: Option<String>,
    #[serde(rename = "distributionValue")]
    pub(super) distribution: Option<Distribution>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Distribution {
    #[serde(default)]
    pub(super) count: String,
    pub(super) bucket_options: Option<BucketOptions>,
    #[serde(default)]
    pub(super) bucket_counts: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BucketOptions {
    pub(super) explicit_buckets: Option<Explicit>,
    pub(super) exponential_buckets: Option<Exponential>,
    pub(super) linear_buckets: Option<Linear>,
}

#[derive(Deserialize)]
pub(super) struct Explicit {
    #[serde(default)]
    pub(super) bounds: Vec<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Exponential {
    pub(super) growth_factor: f64,
    pub(super) scale: f64,
}

#[derive(Deserialize)]
pub(super) struct Linear {
    pub(super) width: f64,
    #[serde(default)]
    pub(super) offset: f64,
}

impl Distribution {
    /// All requests, and those in buckets that lie wholly above the limit. Latencies are in milliseconds.
    pub(super) fn count(&self, slow: Duration) -> (u64, u64) {
        let limit = slow.as_secs_f64() * 1_000.0;
        let number = |text: &String| text.parse::<u64>().unwrap_or(0);
        let above = self.bucket_counts.iter().enumerate();
        let above = above.filter(|(index, _)| self.lower_bound(*index).is_some_and(|bound| bound >= limit));
        (number(&self.count), above.map(|(_, count)| number(count)).sum())
    }

    /// Where a bucket begins. The first one holds whatever lies below the first bound; trailing empty ones are not sent.
    pub(super) fn lower_bound(&self, index: usize) -> Option<f64> {
        let options = self.bucket_options.as_ref()?;
        let below = index.checked_sub(1)?;
        if let Some(explicit) = &options.explicit_buckets {
            return explicit.bounds.get(below).copied();
        }
        let power = i32::try_from(below).ok()?;
        if let Some(exponential) = &options.exponential_buckets {
            return Some(exponential.scale * exponential.growth_factor.powi(power));
        }
        options.linear_buckets.as_ref().map(|linear| linear.offset + linear.width * f64::from(power))
    }
}

/// An alert policy, read with `fields=userLabels`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AlertPolicy {
    #[serde(default)]
    pub(super) user_labels: BTreeMap<String, String>,
}
