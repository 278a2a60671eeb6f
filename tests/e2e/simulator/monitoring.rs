//! Cloud Monitoring v3 `timeSeries.list`, computed from the world.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::monitoring_query::{LATENCIES, Query};
use super::requests::{Totals, running_totals};
use super::running::Running;
use super::setup::Revision;
use super::wire::{Reply, Request, refusal};
use super::world::World;

const BOUNDS: [f64; 26] = [
    1., 5., 10., 25., 50., 100., 150., 200., 250., 300., 400., 500., 750., 1000., 1500., 2000., 2500., 3000.,
    5000., 7500., 10000., 15000., 30000., 60000., 120_000., 300_000.,
];
const FAST_MS: f64 = 120.0;
const SLOW_MS: f64 = 8000.0;
const ERROR_MS: f64 = 40.0;

type Labels = BTreeMap<String, String>;
/// By interval, the newest first: one count, or the counts of the histogram's buckets.
type Points = BTreeMap<usize, Vec<i64>>;

/// An alert policy with the fields that are asked for: its user labels. One without labels has not even an empty object.
pub fn get_policy(world: &mut World, name: &str, request: &Request) -> Result<Reply, Reply> {
    if !request.target.contains("fields=userLabels") {
        world.violations.push(format!("more of an alert policy is read than its labels: {}", request.target));
    }
    match world.policies.get(name) {
        Some(labels) if labels.is_null() => Ok(Reply::json(&json!({}))),
        Some(labels) => Ok(Reply::json(&json!({"userLabels": labels}))),
        None => Err(refusal(404, format!("Cannot find alert policy {name}"))),
    }
}

pub fn list_time_series(world: &mut World, project: &str, request: &Request) -> Result<Reply, Reply> {
    let query = Query::read(request, &world.clock).inspect_err(|refused| {
        world.violations.push(format!("a Monitoring query that is not understood: {}", refused.body));
    })?;
    let spans = query.intervals();
    let visible = world.clock.now() - world.lag.as_secs_f64();
    let mut series = Vec::new();
    for running in world.services.iter().filter(|running| running.service.project == project) {
        for revision in &running.service.revisions {
            series.extend(revision_series(running, revision, &query, &spans, visible));
        }
    }
    let series = if query.reduce { reduce(series, &query.group_by) } else { series };
    let mut intervals: BTreeMap<usize, String> = BTreeMap::new();
    let mut point = |(index, value): (&usize, &Vec<i64>)| {
        let interval = intervals.entry(*index).or_insert_with(|| {
            let [start, end] = [spans[*index].0, spans[*index].1].map(|moment| world.clock.text(moment));
            format!(r#"{{"startTime":"{start}","endTime":"{end}"}}"#)
        });
        format!(r#"{{"interval":{interval},"value":{}}}"#, typed_value(&query, value))
    };
    let value_type = if query.metric == LATENCIES { "DISTRIBUTION" } else { "INT64" };
    let rendered: Vec<Series> = series
        .iter()
        .map(|(labels, points)| Series {
            labels: json!({
                "metric": {"type": query.metric, "labels": part(labels, "metric.")},
                "resource": {"type": "cloud_run_revision", "labels": part(labels, "resource.")},
                "metricKind": "DELTA", "valueType": value_type,
            }),
            points: points.iter().map(&mut point).collect(),
        })
        .collect();
    Ok(page(&rendered, request, &world.execution_errors))
}

/// One series as it is answered. Its points are JSON: they are most of all that this world ever says.
struct Series {
    labels: Value,
    points: Vec<String>,
}

/// One series for each response code. Periods without requests have no point.
fn revision_series(
    running: &Running,
    revision: &Revision,
    query: &Query,
    spans: &[(f64, f64)],
    visible: f64,
) -> Vec<(Labels, Points)> {
    let clipped: Vec<(f64, f64)> =
        spans.iter().map(|(from, to)| (from.min(visible), to.min(visible))).collect();
    let mut totals: Option<Vec<Totals>> = None;
    let series = ["200", "404", "500"].into_iter().filter_map(|code| {
        let labels = labels(running, revision, code);
        if !query.tests.iter().all(|(name, wanted)| labels.get(name) == Some(wanted)) {
            return None;
        }
        let totals = totals.get_or_insert_with(|| running_totals(running, revision, &clipped));
        let points: Points = totals
            .iter()
            .enumerate()
            .filter_map(|(index, counts)| Some((index, measured(query, code, counts)?)))
            .collect();
        (!points.is_empty()).then_some((labels, points))
    });
    series.collect()
}

fn measured(query: &Query, code: &str, counts: &Totals) -> Option<Vec<i64>> {
    let number = match code {
        "200" => counts.requests - counts.errors - counts.client_errors,
        "404" => counts.client_errors,
        _ => counts.errors,
    };
    if number <= 0 {
        return None;
    }
    if query.metric != LATENCIES {
        return Some(vec![number]);
    }
    // Slow requests succeed, and errors are quick.
    let (slow, usual) = if code == "200" { (counts.slow.min(number), FAST_MS) } else { (0, ERROR_MS) };
    let mut buckets = vec![0; BOUNDS.len() + 1];
    buckets[bucket(SLOW_MS)] += slow;
    buckets[bucket(usual)] += number - slow;
    Some(buckets)
}

fn bucket(milliseconds: f64) -> usize {
    BOUNDS.iter().filter(|bound| milliseconds >= **bound).count()
}

fn labels(running: &Running, revision: &Revision, code: &str) -> Labels {
    let service = &running.service;
    [
        ("resource.project_id", service.project.as_str()),
        ("resource.location", &service.region),
        ("resource.service_name", &service.name),
        ("resource.revision_name", &revision.name),
        ("resource.configuration_name", &service.name),
        ("metric.response_code", code),
        ("metric.response_code_class", &format!("{}xx", &code[..1])),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

/// Series that agree in the grouped labels become one. The project always stays.
fn reduce(series: Vec<(Labels, Points)>, group_by: &[String]) -> Vec<(Labels, Points)> {
    let mut groups: BTreeMap<Labels, Points> = BTreeMap::new();
    for (mut labels, points) in series {
        labels.retain(|name, _| name == "resource.project_id" || group_by.contains(name));
        let merged = groups.entry(labels).or_default();
        for (index, value) in points {
            let sums = merged.entry(index).or_insert_with(|| vec![0; value.len()]);
            sums.iter_mut().zip(value).for_each(|(sum, count)| *sum += count);
        }
    }
    groups.into_iter().collect()
}

fn typed_value(query: &Query, value: &[i64]) -> String {
    if query.metric != LATENCIES {
        return format!(r#"{{"int64Value":"{}"}}"#, value[0]);
    }
    let count: i64 = value.iter().sum();
    let middle = |index: usize| match index {
        0 => BOUNDS[0] / 2.0,
        _ if index < BOUNDS.len() => f64::midpoint(BOUNDS[index - 1], BOUNDS[index]),
        _ => BOUNDS[BOUNDS.len() - 1],
    };
    let sum: f64 = value.iter().enumerate().map(|(index, count)| *count as f64 * middle(index)).sum();
    let filled = value.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    let counts: Vec<String> = value[..filled].iter().map(|count| format!("\"{count}\"")).collect();
    format!(
        r#"{{"distributionValue":{{"count":"{count}","mean":{:?},"bucketOptions":{{"explicitBuckets":{{"bounds":{BOUNDS:?}}}}},"bucketCounts":[{}]}}}}"#,
        sum / count as f64,
        counts.join(",")
    )
}

fn part(labels: &Labels, prefix: &str) -> Map<String, Value> {
    let own = labels.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value)));
    own.map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

/// Pages are counted in points; a series that does not fit goes on in the next page.
fn page(series: &[Series], request: &Request, execution_errors: &[Value]) -> Reply {
    let size = request.number("pageSize").unwrap_or(100_000);
    let start = request.number("pageToken").unwrap_or(0);
    let (mut position, mut shown) = (0_usize, Vec::new());
    for each in series {
        let points = &each.points;
        let skipped = start.saturating_sub(position).min(points.len());
        let end = (start + size).saturating_sub(position).min(points.len());
        position += points.len();
        if skipped < end {
            let labels = each.labels.to_string();
            let labels = labels.strip_suffix('}').unwrap_or_default();
            shown.push(format!("{labels},\"points\":[{}]}}", points[skipped..end].join(",")));
        }
    }
    let mut body = json!({"unit": "1"});
    if start + size < position {
        body["nextPageToken"] = json!(format!("p{}", start + size));
    }
    if !execution_errors.is_empty() {
        body["executionErrors"] = json!(execution_errors);
    }
    let mut reply = Reply::json(&body);
    if !shown.is_empty() {
        reply.body.pop();
        reply.body += &format!(",\"timeSeries\":[{}]}}", shown.join(","));
    }
    reply
}
