//! Log lines as Cloud Logging reads them: one JSON object a line on standard output.
//!
//! `tracing-stackdriver` formats the events; it cannot carry the trace of the request, which Cloud Logging
//! needs to show a line below the request that caused it. So its writer is wrapped: each finished line is
//! read back, completed and written in one piece.
//!
//! What a caller may rely on:
//!
//! - a field `status_code` is written as `statusCode`: all names become camel case, those of labels too;
//! - a field `labels.incident` becomes the label `incident`, `http_request.status` a part of `httpRequest`,
//!   and `severity = "NOTICE"` replaces the level;
//! - a field `gates_json` holds JSON text and is written as the value `gates`, so that it can be queried;
//! - fractions arrive as text (`ratio = 0.5` is written as `"0.5"`), because that is what `tracing-stackdriver`
//!   makes of them: put figures that are to be queried into a `_json` field;
//! - `time`, `target`, `span` and `spans` belong to the line itself and are no names for a field.

use std::fmt;
use std::io;
use std::panic::PanicHookInfo;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{Span, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

/// What is logged when nobody asks for something else.
const DEFAULT_FILTER: &str = "info";

/// The request's span and panics go by this target, which no filter drops: without the span a warning could not
/// name its trace.
const ALWAYS_ON: &str = "runback::request";

/// Sends log events and panics to standard output from here on. `filter` is the text of `RUST_LOG`.
///
/// With a project the lines link to the traces of that project. A second call changes nothing.
///
/// # Errors
/// With a sentence, when the filter is none.
pub fn init(project: Option<&str>, filter: Option<&str>) -> Result<(), String> {
    let filter = choose_filter(filter)?;
    if tracing::subscriber::set_global_default(subscriber(project, filter, io::stdout)).is_err() {
        return Ok(());
    }
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!(target: ALWAYS_ON, severity = "CRITICAL", "{}", describe_panic(panic));
    }));
    Ok(())
}

/// The span to handle a request in: every line logged within it links to the trace.
pub fn request_span(trace: Option<&TraceContext>) -> Span {
    tracing::error_span!(
        target: ALWAYS_ON,
        "request",
        trace = trace.map(|trace| trace.trace_id.as_str()),
        span_id = trace.and_then(|trace| trace.span_id.as_deref()),
        trace_sampled = trace.and_then(|trace| trace.sampled),
    )
}

/// The trace that a request belongs to, as its sender says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits: the sender's span.
    pub span_id: Option<String>,
    /// Whether Cloud Trace keeps this trace, where the sender knows.
    pub sampled: Option<bool>,
}

impl TraceContext {
    /// Reads the headers `traceparent` and `X-Cloud-Trace-Context`. The first wins where both make sense.
    pub fn from_headers(traceparent: Option<&str>, cloud_trace_context: Option<&str>) -> Option<Self> {
        traceparent
            .and_then(Self::from_traceparent)
            .or_else(|| cloud_trace_context.and_then(Self::from_cloud_trace_context))
    }

    /// W3C Trace Context: `00-<trace id>-<span id>-<flags>`. Later versions may append parts.
    fn from_traceparent(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let (version, trace_id, span_id, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let known_version = match version {
            "00" => parts.next().is_none(),
            "ff" => false,
            _ => is_lower_hex(version, 2),
        };
        if !known_version || !is_id(trace_id, 32) || !is_id(span_id, 16) || !is_lower_hex(flags, 2) {
            return None;
        }
        Some(Self {
            trace_id: trace_id.to_owned(),
            span_id: Some(span_id.to_owned()),
            sampled: Some(u8::from_str_radix(flags, 16).ok()? & 1 == 1),
        })
    }

    /// Google's own header: `<trace id>[/<span id in decimal>][;o=<flags>]`.
    fn from_cloud_trace_context(header: &str) -> Option<Self> {
        let (ids, options) = header.trim().split_once(';').unwrap_or((header.trim(), ""));
        let (trace_id, span_id) = ids.split_once('/').unwrap_or((ids, ""));
        let trace_id = trace_id.to_ascii_lowercase();
        if !is_id(&trace_id, 32) {
            return None;
        }
        let span_id = span_id.parse::<u64>().ok().filter(|id| *id != 0);
        let flags = options.strip_prefix("o=").and_then(|flags| flags.parse::<u8>().ok());
        Some(Self {
            trace_id,
            span_id: span_id.map(|id| format!("{id:016x}")),
            sampled: flags.map(|flags| flags & 1 == 1),
        })
    }
}

fn is_lower_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// An identifier of nothing but zeros means that there is none.
fn is_id(text: &str, length: usize) -> bool {
    is_lower_hex(text, length) && text.bytes().any(|byte| byte != b'0')
}

/// The filter to use, or a sentence about the one that was asked for.
fn choose_filter(text: Option<&str>) -> Result<EnvFilter, String> {
    let text = text.map(str::trim).filter(|text| !text.is_empty()).unwrap_or(DEFAULT_FILTER);
    let problem = if names_a_level(text) || text.contains("runback") {
        match EnvFilter::try_new(text) {
            Ok(filter) => return Ok(filter),
            Err(error) => error.to_string(),
        }
    } else {
        // EnvFilter takes a misspelt level for a crate of that name and logs nothing at all.
        "it names no level".to_owned()
    };
    Err(format!("RUST_LOG is {text:?}, which is no filter ({problem}); \"{DEFAULT_FILTER}\" is one"))
}

fn names_a_level(filter: &str) -> bool {
    filter.split([',', '=']).any(|word| word.trim().parse::<tracing::metadata::LevelFilter>().is_ok())
}

fn subscriber<W>(project: Option<&str>, filter: EnvFilter, out: W) -> impl Subscriber + Send + Sync + 'static
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let filter = match format!("{ALWAYS_ON}=error").parse() {
        Ok(always_on) => filter.add_directive(always_on),
        Err(_) => filter,
    };
    let lines = CloudLogging { project: project.map(str::to_owned), out };
    let layer = tracing_stackdriver::layer().with_source_location(false).with_writer(lines);
    tracing_subscriber::registry().with(filter).with(layer)
}

/// One line without what a panic message may have picked up on its way: an `unwrap` of an HTTP error prints the
/// address, and the address of a Slack webhook is a secret.
fn describe_panic(panic: &PanicHookInfo<'_>) -> String {
    let payload = panic.payload();
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)");
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    match panic.location() {
        Some(place) => format!("thread '{thread}' panicked at {place}: {}", without_secrets(message)),
        None => format!("thread '{thread}' panicked: {}", without_secrets(message)),
    }
}

/// Cuts addresses down to their host, and hides what looks like a token.
fn without_secrets(message: &str) -> String {
    let mut clean = String::with_capacity(message.len());
    let mut credentials_next = false;
    for word in message.split_inclusive(|c: char| c.is_whitespace() || "\"'`()<>{},".contains(c)) {
        let end = word.trim_end_matches(|c: char| c.is_whitespace() || "\"'`()<>{},".contains(c)).len();
        let (word, separator) = word.split_at(end);
        if let Some((scheme, address)) = word.split_once("://") {
            let host = address.split(['/', '?', '#']).next().unwrap_or_default();
            let host = host.rsplit('@').next().unwrap_or_default();
            clean.push_str(&format!("{scheme}://{host}/…"));
        } else if (credentials_next && !word.is_empty())
            || ["xox", "ya29.", "eyJ"].iter().any(|token| word.starts_with(token))
        {
            clean.push('…');
        } else {
            clean.push_str(word);
        }
        credentials_next = word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic");
        clean.push_str(separator);
    }
    clean
}

/// Hands out writers that rewrite each line on its way to `out`.
struct CloudLogging<W> {
    project: Option<String>,
    out: W,
}

impl<'writer, W: MakeWriter<'writer>> MakeWriter<'writer> for CloudLogging<W> {
    type Writer = LineWriter<'writer, W::Writer>;

    fn make_writer(&'writer self) -> Self::Writer {
        LineWriter { project: self.project.as_deref(), out: self.out.make_writer() }
    }
}

/// The layer formats an event in full and writes it at once, so each `write` is one line.
struct LineWriter<'writer, W> {
    project: Option<&'writer str>,
    out: W,
}

impl<W: io::Write> io::Write for LineWriter<'_, W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.out.write_all(rewrite(line, self.project).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A line as Cloud Logging wants it. What it makes of the special names:
/// <https://cloud.google.com/logging/docs/agent/logging/configuration#special-fields>.
#[derive(Serialize)]
struct Entry {
    severity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Value>,
    message: String,
    #[serde(rename = "logging.googleapis.com/trace", skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
    #[serde(rename = "logging.googleapis.com/spanId", skip_serializing_if = "Option::is_none")]
    span_id: Option<Value>,
    #[serde(rename = "logging.googleapis.com/trace_sampled", skip_serializing_if = "Option::is_none")]
    trace_sampled: Option<Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Turns a line of `tracing-stackdriver` into a line of ours. A line that cannot be read is still logged.
fn rewrite(line: &[u8], project: Option<&str>) -> String {
    let entry = match serde_json::from_slice(line) {
        Ok(fields) => entry(fields, project),
        Err(_) => Entry {
            severity: "ERROR".to_owned(),
            time: None,
            message: String::from_utf8_lossy(line).trim_end().to_owned(),
            trace: None,
            span_id: None,
            trace_sampled: None,
            rest: Map::new(),
        },
    };
    let mut line = serde_json::to_string(&entry).unwrap_or_else(|error| unwritable(&error));
    line.push('\n');
    line
}

fn entry(mut fields: Map<String, Value>, project: Option<&str>) -> Entry {
    let spans = enclosing_spans(fields.remove("span"), fields.remove("spans"));
    let of_request = |name: &str| spans.iter().find_map(|span| span.get(name)).cloned();
    Entry {
        severity: fields.remove("severity").map_or_else(|| "DEFAULT".to_owned(), into_text),
        time: fields.remove("time"),
        message: fields
            .remove("message")
            .or_else(|| fields.get("target").cloned())
            .map_or_else(String::new, into_text),
        trace: of_request("trace").map(into_text).map(|trace| match project {
            Some(project) => format!("projects/{project}/traces/{trace}"),
            None => trace,
        }),
        span_id: of_request("span_id"),
        trace_sampled: of_request("trace_sampled"),
        rest: with_json_fields_parsed(fields),
    }
}

/// The spans around an event, innermost first. An event that names its parent has only that one for sure.
fn enclosing_spans(span: Option<Value>, spans: Option<Value>) -> Vec<Value> {
    let outer = match spans {
        Some(Value::Array(spans)) => spans,
        _ => Vec::new(),
    };
    span.into_iter().chain(outer.into_iter().rev()).collect()
}

/// `gates_json` reaches us as `gatesJson`. Text that is no JSON, and a name that is taken, are left alone.
fn with_json_fields_parsed(fields: Map<String, Value>) -> Map<String, Value> {
    let mut parsed = Map::new();
    for (name, value) in &fields {
        let short =
            name.strip_suffix("Json").filter(|short| !short.is_empty() && !fields.contains_key(*short));
        let json = value.as_str().and_then(|text| serde_json::from_str(text).ok());
        match (short, json) {
            (Some(short), Some(json)) => parsed.insert(short.to_owned(), json),
            _ => parsed.insert(name.clone(), value.clone()),
        };
    }
    parsed
}

fn into_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// A string and a map of values can always be written; should that ever change, the line says so.
fn unwritable(error: &dyn fmt::Display) -> String {
    serde_json::json!({"severity": "ERROR", "message": format!("a log line could not be written: {error}")})
        .to_string()
}

#[cfg(test)]
mod tests;
