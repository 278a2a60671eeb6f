//! Cloud Monitoring API v3: requests by revision and minute (`projects.timeSeries.list`), and an alert policy's own labels
//! (`projects.alertPolicies.get`).

mod wire;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, DurationRound, SecondsFormat, TimeDelta, Utc};
use reqwest::{Method, Url};
use tokio::time::Instant;

use super::google::{Call, CallError, Google, address, read};
use wire::{AlertPolicy, List, MetricLabels, Point};

use crate::domain::evidence::{Axis, Evidence, Readings, Sample, Samples};
use crate::domain::policy::Rules;
use crate::domain::service::ServiceName;
use crate::domain::text;

const READ_SERIES: &str = "monitoring.timeSeries.list";

const READ_POLICY: &str = "monitoring.alertPolicies.get";

/// Cloud Monitoring.
#[derive(Clone)]
pub struct Monitoring {
    google: Google,
    base: String,
}

/// A stretch of time at one resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tier {
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    period: TimeDelta,
}

impl Monitoring {
    /// `base` is the API's address.
    #[must_use]
    pub fn new(google: Google, base: &str) -> Self {
        Self { google, base: base.trim_end_matches('/').to_owned() }
    }

    /// A service's requests by revision, on an axis, for as long as the rules look back. An axis other than errors
    /// brings the errors with it. All queries run at the same time.
    pub async fn evidence(
        &self,
        name: &ServiceName,
        axis: Axis,
        rules: &Rules,
        now: DateTime<Utc>,
        deadline: Instant,
    ) -> Evidence {
        let tiers = tiers(rules, now);
        let errors = async {
            match axis {
                Axis::Errors => Ok(None),
                Axis::Slowness => {
                    self.samples(name, Axis::Errors, rules.slow, &tiers, deadline).await.map(Some)
                }
            }
        };
        match tokio::try_join!(self.samples(name, axis, rules.slow, &tiers, deadline), errors) {
            Ok((samples, errors)) => Evidence::Read(Readings { axis, samples, errors }),
            Err(error) => {
                let permission = match &error {
                    CallError::Denied { permission, .. } => Some(permission.clone()),
                    _ => None,
                };
                Evidence::Unreadable { why: error.to_string(), permission }
            }
        }
    }

    /// The value of an alert policy's user label, if the policy carries it.
    ///
    /// # Errors
    /// As any call; [`CallError::NotFound`] when the project has no such policy.
    pub async fn policy_label(
        &self,
        project: &str,
        policy: &str,
        label: &str,
        deadline: Instant,
    ) -> Result<Option<String>, CallError> {
        let mut url = address(&self.base, ["v3", "projects", project, "alertPolicies", policy])?;
        url.query_pairs_mut().append_pair("fields", "userLabels");
        let call = Call {
            method: Method::GET,
            url,
            body: None,
            permission: READ_POLICY,
            repeatable: true,
            deadline,
        };
        let mut policy: AlertPolicy = read(&self.google.call(call).await?)?;
        Ok(policy.user_labels.remove(label))
    }

    async fn samples(
        &self,
        name: &ServiceName,
        axis: Axis,
        slow: Duration,
        tiers: &[Tier; 3],
        deadline: Instant,
    ) -> Result<Samples, CallError> {
        let [old, middle, fine] = tiers.map(|tier| self.tier(name, axis, slow, tier, deadline));
        let (old, middle, fine) = tokio::try_join!(old, middle, fine)?;
        let mut samples = Samples::new();
        for (revision, counts) in [old, middle, fine].into_iter().flatten() {
            samples.entry(revision).or_default().extend(counts);
        }
        for counts in samples.values_mut() {
            counts.sort_by_key(|sample| sample.start);
        }
        Ok(samples)
    }

    async fn tier(
        &self,
        name: &ServiceName,
        axis: Axis,
        slow: Duration,
        tier: Tier,
        deadline: Instant,
    ) -> Result<Samples, CallError> {
        let mut samples: BTreeMap<String, BTreeMap<DateTime<Utc>, Sample>> = BTreeMap::new();
        let mut page = String::new();
        if tier.start >= tier.end {
            return Ok(Samples::new());
        }
        loop {
            let url = self.url(name, axis, tier, &page)?;
            let call = Call {
                method: Method::GET,
                url,
                body: None,
                permission: READ_SERIES,
                repeatable: true,
                deadline,
            };
            let body = self.google.call(call).await?;
            let list: List = read(&body)?;
            // When some of the data is missing, nobody can say which.
            let missing =
                list.execution_errors.first().map(|error| &error.message).or(list.unreachable.first());
            if let Some(what) = missing {
                return Err(CallError::Unavailable(format!("the answer is incomplete: {what}")));
            }
            for series in list.time_series {
                let revision = samples.entry(series.resource.labels.revision_name.clone()).or_default();
                for point in &series.points {
                    let Some((start, end)) = point.interval.times() else { continue };
                    let (requests, bad) = count(point, &series.metric.labels, axis, slow);
                    let sample = revision.entry(end).or_insert(Sample { start, end, requests: 0, bad: 0 });
                    sample.requests += requests;
                    sample.bad += bad;
                }
            }
            page = list.next_page_token;
            if page.is_empty() {
                break;
            }
        }
        let with_requests =
            |counts: BTreeMap<_, Sample>| counts.into_values().filter(|sample| sample.requests > 0).collect();
        Ok(samples.into_iter().map(|(revision, counts)| (revision, with_requests(counts))).collect())
    }

    fn url(&self, name: &ServiceName, axis: Axis, tier: Tier, page: &str) -> Result<Url, CallError> {
        let mut url = address(&self.base, ["v3", "projects", &name.project, "timeSeries"])?;
        let metric = match axis {
            Axis::Errors => "run.googleapis.com/request_count",
            Axis::Slowness => "run.googleapis.com/request_latencies",
        };
        let filter = format!(
            r#"metric.type="{metric}" AND resource.type="cloud_run_revision" AND resource.labels.service_name={} AND resource.labels.location={}"#,
            quoted(&name.service),
            quoted(&name.region)
        );
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let mut query = url.query_pairs_mut();
        query
            .append_pair("filter", &filter)
            .append_pair("interval.startTime", &time(tier.start))
            .append_pair("interval.endTime", &time(tier.end))
            .append_pair("aggregation.alignmentPeriod", &format!("{}s", tier.period.num_seconds()))
            .append_pair("aggregation.perSeriesAligner", "ALIGN_DELTA")
            .append_pair("aggregation.crossSeriesReducer", "REDUCE_SUM")
            .append_pair("aggregation.groupByFields", "resource.label.revision_name");
        if axis == Axis::Errors {
            query.append_pair("aggregation.groupByFields", "metric.label.response_code_class");
        }
        if !page.is_empty() {
            query.append_pair("pageToken", page);
        }
        drop(query);
        Ok(url)
    }
}

/// A text in a filter, whatever it is made of.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

/// Hours for the far past, five minutes for the last day, minutes for the last hours: fine where a switch may have
/// happened, and few points for a week. Each tier is a whole number of periods, as Monitoring aligns to its end.
fn tiers(rules: &Rules, now: DateTime<Utc>) -> [Tier; 3] {
    let end = now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now);
    let fine = end - TimeDelta::hours(3);
    let middle = fine - TimeDelta::hours(23);
    let back = text::delta(rules.history.max(rules.deploy_window)).num_minutes();
    let old = end - TimeDelta::hours((back + 59) / 60 + 1);
    [
        Tier { start: old.min(middle), end: middle, period: TimeDelta::hours(1) },
        Tier { start: middle, end: fine, period: TimeDelta::minutes(5) },
        Tier { start: fine, end, period: TimeDelta::minutes(1) },
    ]
}

/// Requests and bad requests of one point.
fn count(point: &Point, labels: &MetricLabels, axis: Axis, slow: Duration) -> (u64, u64) {
    match axis {
        Axis::Errors => {
            let requests = point.value.int64.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0);
            (requests, if labels.response_code_class == "5xx" { requests } else { 0 })
        }
        Axis::Slowness => {
            point.value.distribution.as_ref().map_or((0, 0), |distribution| distribution.count(slow))
        }
    }
}

#[cfg(test)]
mod tests;
