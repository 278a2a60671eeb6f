//! What a `timeSeries.list` asks for: a conjunction of equalities, aligned counts, perhaps summed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::clock::Clock;
use super::wire::{Reply, Request, refusal};

pub const COUNT: &str = "run.googleapis.com/request_count";
pub const LATENCIES: &str = "run.googleapis.com/request_latencies";

pub struct Query {
    pub metric: String,
    /// Values by label, as in `resource.service_name`.
    pub tests: BTreeMap<String, String>,
    pub group_by: Vec<String>,
    pub reduce: bool,
    start: f64,
    end: f64,
    period: f64,
}

impl Query {
    pub fn read(request: &Request, clock: &Clock) -> Result<Self, Reply> {
        let parameters = request.parameters();
        let all = |name: &str| parameters.get(name).map(Vec::as_slice).unwrap_or_default();
        let given = |name: &str| all(name).first().cloned().unwrap_or_default();
        let mut tests = parse_filter(&given("filter"))?;
        let metric = tests.remove("metric.type").unwrap_or_default();
        if metric != COUNT && metric != LATENCIES {
            return Err(refusal(
                400,
                format!("The supplied filter names no metric that is known: {metric:?}."),
            ));
        }
        if tests.remove("resource.type").is_some_and(|kind| kind != "cloud_run_revision") {
            return Err(refusal(400, "The supplied filter does not name a cloud_run_revision."));
        }
        if given("aggregation.perSeriesAligner") != "ALIGN_DELTA" {
            return Err(refusal(400, "Only ALIGN_DELTA is simulated."));
        }
        let reduce = match given("aggregation.crossSeriesReducer").as_str() {
            "" | "REDUCE_NONE" => false,
            "REDUCE_SUM" => true,
            other => return Err(refusal(400, format!("{other} is not simulated."))),
        };
        let grouped = all("aggregation.groupByFields");
        let group_by = grouped.iter().map(|field| label(field)).collect::<Result<_, _>>()?;
        let period = given("aggregation.alignmentPeriod");
        let seconds = period.strip_suffix('s').and_then(|seconds| seconds.parse().ok()).unwrap_or(0.0);
        if seconds < 60.0 {
            return Err(refusal(400, format!("alignmentPeriod: {period:?} is not at least 60 seconds.")));
        }
        let moment = |name: &str| {
            let text = given(name);
            let at = DateTime::parse_from_rfc3339(&text);
            let at = at.map_err(|_| refusal(400, format!("{name}: invalid time {text:?}.")))?;
            Ok(clock.moment(at.with_timezone(&Utc)))
        };
        let (start, end) = (moment("interval.startTime")?, moment("interval.endTime")?);
        Ok(Self { metric, tests, group_by, reduce, start, end, period: seconds })
    }

    /// Alignment periods end at the interval's end, the newest first.
    pub fn intervals(&self) -> Vec<(f64, f64)> {
        let edges = std::iter::successors(Some(self.end), |right| Some(right - self.period));
        let within = edges.take_while(|right| *right > self.start + 1e-6);
        within.map(|right| (self.start.max(right - self.period), right)).collect()
    }
}

fn parse_filter(text: &str) -> Result<BTreeMap<String, String>, Reply> {
    let comparisons = text.split(" AND ").map(|comparison| {
        let not_understood =
            || refusal(400, format!("The filter's comparison {comparison:?} is not understood."));
        let (name, value) = comparison.split_once('=').ok_or_else(not_understood)?;
        let value = value.trim().strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = value.filter(|value| !value.contains('"')).ok_or_else(not_understood)?;
        Ok((label(name.trim())?, value.to_owned()))
    });
    comparisons.collect()
}

/// `resource.labels.x` and `resource.label.x` are the same label.
fn label(field: &str) -> Result<String, Reply> {
    let unknown = || refusal(400, format!("There is no field {field:?}."));
    match field.split('.').collect::<Vec<_>>()[..] {
        ["metric" | "resource", "type"] => Ok(field.to_owned()),
        [side @ ("metric" | "resource"), "label" | "labels", name] => Ok(format!("{side}.{name}")),
        _ => Err(unknown()),
    }
}
