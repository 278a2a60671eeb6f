//! An alert policy's condition: what it measures, of which service, and whether it fires because requests fail.
//!
//! Monitoring's filters, MQL and PromQL say the same things in three languages. Runback parses none of them: it looks
//! for single terms (`label operator value`), and a term that it does not understand accuses nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::domain::alert::{Condition, Signal};

/// Monitoring takes queries of this many characters at most.
const LONGEST_QUERY: usize = 10_000;

/// As long as the policy's `slow` may be.
const LONGEST_LIMIT: Duration = Duration::from_secs(60 * 60);

/// Longer spellings first: `>=` begins with `>`.
const OPERATORS: [&str; 9] = ["==", "=~", "!=", "!~", ">=", "<=", "=", ">", "<"];

/// The labels by which a condition can say which service it is about.
const PLACE: [&str; 3] = ["project_id", "location", "service_name"];

/// The labels that say how requests were answered.
const ANSWERED: [&str; 2] = ["response_code_class", "response_code"];

/// The texts in which a condition says what it measures; those that it does not have are empty.
struct Texts {
    metric: String,
    filter: String,
    denominator: String,
    mql: String,
    promql: String,
}

/// What an incident says about its condition.
pub(super) fn read(incident: &Value) -> (Signal, Condition) {
    let condition = &incident["condition"];
    let threshold = &condition["conditionThreshold"];
    let text = |value: &Value| value.as_str().unwrap_or_default().chars().take(LONGEST_QUERY).collect();
    let texts = Texts {
        metric: text(&incident["metric"]["type"]),
        filter: text(&threshold["filter"]),
        denominator: text(&threshold["denominatorFilter"]),
        mql: text(&condition["conditionMonitoringQueryLanguage"]["query"]),
        promql: text(&condition["conditionPrometheusQueryLanguage"]["query"]),
    };
    // Neither says how requests were answered, even where it names their metric.
    let is_silent = !condition["conditionAbsent"].is_null() || !condition["conditionMatchedLog"].is_null();
    let measured = if is_silent { Signal::Other } else { texts.signal() };
    let wanted = incident["policy_user_labels"]["runback_signal"].as_str();
    let signal = match wanted {
        Some("errors") => Signal::Errors,
        Some("latency") => Signal::Latency,
        Some("slow_burn") => Signal::SlowBurn,
        _ => measured,
    };
    let accuses = match measured {
        // Whether the objective is about errors or about latency, what burns it is bad requests.
        Signal::SlowBurn if texts.filter.contains("select_slo_burn_rate") => texts.is_above(threshold),
        Signal::Latency => texts.is_above(threshold) && !aggregates(threshold, &["COUNT"]),
        Signal::Errors | Signal::SlowBurn => {
            texts.is_above(threshold) && texts.selects_failures(threshold, &incident["metric"]["labels"])
        }
        Signal::Deploy | Signal::Other => false,
    };
    let is_on_cloud_run =
        |query: &str| ["run.googleapis.com/", "run_googleapis_com:"].iter().any(|it| query.contains(it));
    let queries_cloud_run = is_on_cloud_run(&texts.promql) || is_on_cloud_run(&texts.mql);
    let own_limit = measured == Signal::Latency && accuses && signal == measured;
    let slower_than = if own_limit { texts.slower_than(threshold) } else { None };
    (signal, Condition { accuses, queries_cloud_run, labels: texts.place(), slower_than })
}

/// The labels that say which service a query's series is about. A query has no monitored resource of its own, so
/// Monitoring may hand them over as the metric's.
pub(super) fn place_of_series(incident: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    let condition = &incident["condition"];
    let is_query = ["conditionMonitoringQueryLanguage", "conditionPrometheusQueryLanguage"]
        .iter()
        .any(|kind| !condition[kind].is_null());
    let labels = &incident["metric"]["labels"];
    PLACE.into_iter().chain(["revision_name"]).filter(move |_| is_query).map(|name| (name, &labels[name]))
}

/// Whether an aligner or a reducer of a threshold's aggregation is one of these.
fn aggregates(threshold: &Value, kinds: &[&str]) -> bool {
    let aggregations = threshold["aggregations"].as_array().into_iter().flatten();
    let mut steps = aggregations.flat_map(|step| [&step["perSeriesAligner"], &step["crossSeriesReducer"]]);
    steps.any(|step| step.as_str().is_some_and(|name| kinds.iter().any(|kind| name.contains(kind))))
}

/// The limit in milliseconds that a PromQL query compares a quantile or a mean with, or counts the buckets above.
fn slow_in_promql(query: &str) -> Option<f64> {
    let mut buckets = terms(query, "le").filter_map(|term| term.literal()).peekable();
    if let Some(first) = buckets.peek().copied() {
        return first.parse().ok().filter(|_| buckets.all(|bucket| bucket == first));
    }
    let bare = without_texts(query);
    let compact: String = bare.chars().filter(|c| !c.is_whitespace()).collect();
    let (measured, limit) = compact.split_once('>')?;
    let is_time = measured.contains("histogram_quantile")
        || (measured.contains("request_latencies_sum") && measured.contains("request_latencies_count"));
    let limit: f64 = limit.trim_start_matches('=').parse().ok()?;
    is_time.then_some(if measured.contains("/1000") { limit * 1_000.0 } else { limit })
}

/// The limit in milliseconds that an MQL query compares a percentile or a mean with: `val() > 3 's'`.
fn slow_in_mql(query: &str) -> Option<f64> {
    let (measured, condition) = query.rsplit_once("condition")?;
    let is_time = measured.contains("percentile") || measured.contains("mean");
    let (_, limit) = condition.split_once('>').filter(|_| is_time)?;
    let limit = limit.trim_start_matches('=').trim();
    let (number, unit) =
        limit.split_at(limit.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(limit.len()));
    let factor = match unit.trim().trim_matches(['\'', '"']) {
        "" | "ms" => 1.0,
        "s" => 1_000.0,
        "us" => 0.001,
        "min" => 60_000.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

impl Texts {
    fn all(&self) -> [&str; 5] {
        [&self.metric, &self.filter, &self.denominator, &self.mql, &self.promql]
    }

    fn names(&self, part: &str) -> bool {
        self.all().iter().any(|text| text.contains(part))
    }

    /// Whether one of Cloud Run's metrics is among them. PromQL spells it `run_googleapis_com:request_count`.
    fn measures(&self, metric: &str) -> bool {
        let spelled = |prefix: &str| self.names(&format!("{prefix}{metric}"));
        spelled("run.googleapis.com/") || spelled("run_googleapis_com:")
    }

    fn signal(&self) -> Signal {
        let is_ratio = !self.denominator.is_empty() && self.filter.contains("cloud_run_revision");
        let is_unnamed = self.metric.is_empty() && !self.names("metric.type");
        // PromQL splits a distribution up, and its `_count` is a count of requests.
        let only_counted = self.measures("request_latencies_count")
            && !self.measures("request_latencies_bucket")
            && !self.measures("request_latencies_sum");

        if self.names("select_slo_burn_rate") {
            Signal::SlowBurn
        } else if self.measures("request_latencies") && !only_counted {
            // Before the count: a mean latency is written as the latencies over the count.
            Signal::Latency
        } else if self.measures("request_count") || only_counted || (is_ratio && is_unnamed) {
            let burns = has_budget(&self.promql) || has_budget(&self.mql) || has_two_windows(&self.promql);
            if burns { Signal::SlowBurn } else { Signal::Errors }
        } else {
            Signal::Other
        }
    }

    /// Whether the condition fires above its threshold, now: neither below it, nor because of a forecast.
    fn is_above(&self, threshold: &Value) -> bool {
        if !self.promql.is_empty() {
            let bare = without_texts(&self.promql);
            return bare.contains('>') && !bare.contains('<');
        }
        if !self.mql.is_empty() {
            // What comes before compares labels, not what is measured.
            let bare = without_texts(&self.mql);
            let Some((_, condition)) = bare.rsplit_once("condition") else { return false };
            return (condition.contains('>') || condition.contains("gt(")) && !condition.contains('<');
        }
        let comparison = threshold["comparison"].as_str().unwrap_or_default();
        matches!(comparison, "COMPARISON_GT" | "COMPARISON_GE") && threshold["forecastOptions"].is_null()
    }

    /// Whether the condition, or the series that fired, is about failed requests and no others.
    fn selects_failures(&self, threshold: &Value, series: &Value) -> bool {
        let label = |name: &str| series[name].as_str().filter(|value| !value.is_empty());
        // Of a condition on all answers, the series says which ones there were too many of.
        if let Some(value) = label("response_code_class").or(label("response_code")) {
            return is_5xx(value);
        }
        for query in [&self.promql, &self.mql] {
            if !query.is_empty() {
                return match failures(query) {
                    Some(Answers::Failed) => true,
                    Some(Answers::AllButFailed) => is_complement(query),
                    _ => false,
                };
            }
        }
        // More than no requests at all is too many only of requests that should never happen.
        let none_allowed = threshold["thresholdValue"].as_f64().unwrap_or(0.0) == 0.0
            && self.denominator.is_empty()
            && !self.filter.contains("response_code");
        none_allowed || failures(&self.filter) == Some(Answers::Failed)
    }

    /// The limit above which the condition calls a request slow. Cloud Run counts in milliseconds.
    fn slower_than(&self, threshold: &Value) -> Option<Duration> {
        let millis = if !self.promql.is_empty() {
            slow_in_promql(&self.promql)
        } else if !self.mql.is_empty() {
            slow_in_mql(&self.mql)
        } else {
            // Of a whole distribution, or of a change in percent, the threshold is no time.
            let is_time = self.denominator.is_empty() && aggregates(threshold, &["PERCENTILE", "MEAN"]);
            threshold["thresholdValue"].as_f64().filter(|_| is_time)
        }?;
        let limit = Duration::try_from_secs_f64(millis / 1_000.0).ok()?;
        (!limit.is_zero() && limit <= LONGEST_LIMIT).then_some(limit)
    }

    /// The labels that the condition pins to one value, wherever it compares them.
    fn place(&self) -> BTreeMap<String, String> {
        let pinned = PLACE.into_iter().filter_map(|label| {
            let mut terms = self.all().into_iter().flat_map(|text| terms(text, label)).peekable();
            let first = terms.peek()?.literal()?;
            terms.all(|term| term.literal() == Some(first)).then(|| (label.to_owned(), first.to_owned()))
        });
        pinned.collect()
    }
}

/// Which answers a term lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    Failed,
    AllButFailed,
    Others,
}

/// Which answers a text's terms let through, as far as they agree; nothing where there is none.
fn failures(text: &str) -> Option<Answers> {
    let terms = ANSWERED.into_iter().flat_map(|label| terms(text, label));
    let answers = terms.filter_map(|term| term.answers());
    answers.reduce(|one, other| match (one, other) {
        (Answers::Others, _) | (_, Answers::Others) => Answers::Others,
        (one, other) if one == other => one,
        // One part of the query counts the failed ones, another one the rest.
        _ => Answers::AllButFailed,
    })
}

/// `sum(rate(m{response_code_class!="5xx"}[5m])) / sum(rate(m[5m]))` is what is left of 1, or of 100.
fn is_complement(query: &str) -> bool {
    let compact: Vec<char> = without_texts(query).chars().filter(|c| !c.is_whitespace()).collect();
    compact.windows(3).any(|around| {
        let [before, minus, after] = *around else { return false };
        matches!(before, '0' | '1') && minus == '-' && !after.is_ascii_digit() && after != '.'
    })
}

/// Whether a query compares with an error budget: `> 14.4 * (1 - 0.999)`, `/ (1 - 0.999) > 14.4`.
fn has_budget(query: &str) -> bool {
    let compact: String = without_texts(query).chars().filter(|c| !c.is_whitespace()).collect();
    ["1-0.9", "1-.9", "1-99"].iter().any(|budget| compact.contains(budget))
}

/// Whether a query wants to see the failures of a long and of a short window at the same time.
fn has_two_windows(promql: &str) -> bool {
    let bare = without_texts(promql);
    let ranges = bare.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
    let ranges: BTreeSet<&str> = ranges.map(|(range, _)| range.trim()).collect();
    let mut words = bare.split(|c: char| !c.is_ascii_alphanumeric());
    let selectors: usize = ANSWERED.into_iter().map(|label| terms(promql, label).count()).sum();
    ranges.len() > 1 && selectors > 1 && words.any(|word| word.eq_ignore_ascii_case("and"))
}

/// One comparison of a label with a value.
struct Term<'a> {
    before: &'a str,
    operator: &'static str,
    value: Compared<'a>,
}

enum Compared<'a> {
    Literal(&'a str),
    /// `one_of("a", "b")`.
    Call(&'a str, Vec<&'a str>),
}

/// Each comparison of a label: `metric.labels.response_code_class = "5xx"`, `response_code >= 500`, `{location=~"a|b"}`.
fn terms<'a>(text: &'a str, label: &'static str) -> impl Iterator<Item = Term<'a>> {
    let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(label).filter_map(move |(at, _)| {
        let (before, after) = (&text[..at], &text[at + label.len()..]);
        if before.ends_with(in_word) || after.starts_with(in_word) {
            return None;
        }
        let after = after.strip_prefix(['"', '\'', '`']).unwrap_or(after).trim_start();
        let operator = OPERATORS.into_iter().find(|operator| after.starts_with(operator))?;
        let value = compared(after[operator.len()..].trim_start())?;
        Some(Term { before, operator, value })
    })
}

/// The value at the beginning of a text.
fn compared(text: &str) -> Option<Compared<'_>> {
    if let Some(value) = quoted(text) {
        return Some(Compared::Literal(value));
    }
    let length = |more: fn(char) -> bool| text.find(|c| !more(c)).unwrap_or(text.len());
    let digits = length(|c| c.is_ascii_digit());
    if digits > 0 {
        return Some(Compared::Literal(&text[..digits]));
    }
    let name = &text[..length(|c| c.is_ascii_alphanumeric() || "_.".contains(c))];
    let (arguments, _) = text[name.len()..].strip_prefix('(')?.split_once(')')?;
    Some(Compared::Call(name, arguments.split(',').filter_map(|argument| quoted(argument.trim())).collect()))
}

/// What stands in quotes at the beginning of a text.
fn quoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| "\"'`".contains(*c))?;
    text[1..].split_once(quote).map(|(value, _)| value)
}

/// A query without the texts in it, whose characters are no operators.
fn without_texts(query: &str) -> String {
    let mut within = None;
    let outside = |c: &char| match within {
        Some(quote) => {
            if *c == quote {
                within = None;
            }
            false
        }
        None if "\"'`".contains(*c) => {
            within = Some(*c);
            false
        }
        None => true,
    };
    query.chars().filter(outside).collect()
}

impl<'a> Term<'a> {
    /// Whether `NOT`, `-` or `!` stands before the term.
    fn is_negated(&self) -> bool {
        let path = |c: char| c.is_ascii_alphanumeric() || "_.\"'`".contains(c);
        let before = self.before.trim_end_matches(path).trim_end_matches([' ', '\n', '\t', '(']);
        let word = before.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        before.ends_with(['-', '!']) || word.eq_ignore_ascii_case("not")
    }

    /// The one value that it lets through.
    fn literal(&self) -> Option<&'a str> {
        let is_name = |value: &&str| {
            !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_:.".contains(c))
        };
        match self.value {
            Compared::Literal(value) if self.is_equal() && !self.is_negated() => Some(value).filter(is_name),
            _ => None,
        }
    }

    fn is_equal(&self) -> bool {
        matches!(self.operator, "=" | "==")
    }

    /// Which answers it lets through; nothing for a mere upper end of the failed ones (`response_code < 600`).
    fn answers(&self) -> Option<Answers> {
        let number = match self.value {
            Compared::Literal(value) => value.parse::<u32>().ok(),
            Compared::Call(..) => None,
        };
        let failed = match (self.operator, &self.value) {
            ("=" | "==" | "!=", Compared::Literal(value)) => is_5xx(value),
            ("=~" | "!~", Compared::Literal(pattern)) => only_5xx(pattern),
            (_, Compared::Call("monitoring.regex.full_match", arguments)) => {
                matches!(arguments[..], [pattern] if only_5xx(pattern))
            }
            (_, Compared::Call("one_of", values)) => {
                !values.is_empty() && values.iter().all(|value| is_5xx(value))
            }
            (_, Compared::Call("starts_with", arguments)) => {
                matches!(arguments[..], [start] if start.starts_with('5'))
            }
            (">=", _) => number.is_some_and(|number| (500..600).contains(&number)),
            (">", _) => number.is_some_and(|number| (499..599).contains(&number)),
            ("<", _) if number == Some(600) => return None,
            ("<=", _) if number == Some(599) => return None,
            _ => false,
        };
        let inverse = self.operator.starts_with('!');
        Some(match (failed, inverse) {
            _ if self.is_negated() => Answers::Others,
            (true, false) => Answers::Failed,
            (true, true) => Answers::AllButFailed,
            (false, _) => Answers::Others,
        })
    }
}

/// `5xx`, or a code such as `503`.
fn is_5xx(value: &str) -> bool {
    let is_code =
        value.len() == 3 && value.starts_with('5') && value.bytes().all(|byte| byte.is_ascii_digit());
    is_code || value.eq_ignore_ascii_case("5xx")
}

/// Whether a pattern matches nothing but what begins with 5: `5..`, `5xx`, `500|503`, `^5.*$`.
fn only_5xx(pattern: &str) -> bool {
    let inner = pattern.trim_start_matches(['^', '(']).trim_end_matches(['$', ')']);
    inner.split('|').all(|one| {
        let rest = one.strip_prefix('5');
        rest.is_some_and(|rest| !rest.starts_with(['?', '*', '{']))
    })
}

#[cfg(test)]
mod tests;
