use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn request() -> TraceContext {
    TraceContext { trace_id: TRACE.to_owned(), span_id: Some(SPAN.to_owned()), sampled: Some(true) }
}

/// Keeps what is written, one entry for each call.
#[derive(Clone, Default)]
struct Pieces(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pieces {
    fn written(&self) -> Vec<Vec<u8>> {
        self.0.lock().expect("no writer panicked").clone()
    }
}

impl io::Write for Pieces {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panicked").push(piece.to_vec());
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `work` below a real subscriber and returns what it wrote.
fn written_by(project: Option<&str>, filter: &str, work: impl FnOnce()) -> Vec<Vec<u8>> {
    let pieces = Pieces::default();
    let out = pieces.clone();
    let subscriber = subscriber(project, EnvFilter::new(filter), move || out.clone());
    tracing::subscriber::with_default(subscriber, work);
    pieces.written()
}

fn lines_of(project: Option<&str>, filter: &str, work: impl FnOnce()) -> Vec<Value> {
    let text = String::from_utf8(written_by(project, filter, work).concat()).expect("log lines are UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("each line is one JSON object")).collect()
}

fn line_of(work: impl FnOnce()) -> Value {
    let mut lines = lines_of(Some("k-back"), "info", work);
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines.remove(0)
}

#[test]
fn a_line_carries_severity_time_message_target_and_fields() {
    let line = line_of(|| tracing::warn!(status_code = 503, retry = true, "Slack did not answer"));
    assert_eq!(line["severity"], "WARNING");
    assert_eq!(line["message"], "Slack did not answer");
    assert_eq!(line["target"], "runback::logging::tests");
    assert_eq!(line["statusCode"], 503);
    assert_eq!(line["retry"], true);
    chrono::DateTime::parse_from_rfc3339(line["time"].as_str().expect("time is text"))
        .expect("time is RFC 3339");
    assert_eq!(line.as_object().map(Map::len), Some(6), "{line}");
}

#[test]
fn every_level_has_its_severity_and_a_field_can_replace_it() {
    let lines = lines_of(None, "trace", || {
        tracing::trace!("a");
        tracing::debug!("b");
        tracing::info!("c");
        tracing::warn!("d");
        tracing::error!("e");
        tracing::info!(severity = "NOTICE", "f");
    });
    let severities: Vec<_> = lines.iter().map(|line| line["severity"].as_str().unwrap_or_default()).collect();
    assert_eq!(severities, ["DEBUG", "DEBUG", "INFO", "WARNING", "ERROR", "NOTICE"]);
}

#[test]
fn lines_of_a_request_link_to_its_trace_also_from_inner_spans() {
    let line = line_of(|| {
        let _request = request_span(Some(&request())).entered();
        let _inner = tracing::info_span!("gather", service = "k-back").entered();
        tracing::info!("read");
    });
    assert_eq!(line["logging.googleapis.com/trace"], format!("projects/k-back/traces/{TRACE}"));
    assert_eq!(line["logging.googleapis.com/spanId"], SPAN);
    assert_eq!(line["logging.googleapis.com/trace_sampled"], true);
    assert!(line.get("span").is_none() && line.get("spans").is_none(), "{line}");
}

#[test]
fn an_event_that_names_its_parent_links_to_the_parents_trace() {
    let span_outside = |work: &dyn Fn(&Span)| {
        let span = request_span(Some(&request()));
        work(&span);
    };
    let line = line_of(|| span_outside(&|span| tracing::info!(parent: span, "later")));
    assert_eq!(line["logging.googleapis.com/trace"], format!("projects/k-back/traces/{TRACE}"));
}

#[test]
fn without_a_project_the_trace_is_the_bare_identifier() {
    let lines = lines_of(None, "info", || {
        let _request = request_span(Some(&request())).entered();
        tracing::info!("read");
    });
    assert_eq!(lines[0]["logging.googleapis.com/trace"], TRACE);
}

#[test]
fn a_request_without_a_trace_has_no_trace_fields() {
    let line = line_of(|| {
        let _request = request_span(None).entered();
        tracing::info!("read");
    });
    assert!(!line.to_string().contains("logging.googleapis.com"), "{line}");
}

#[test]
fn a_filter_for_errors_only_does_not_lose_the_trace() {
    for filter in ["error", "runback::logging::tests=error"] {
        let lines = lines_of(Some("k-back"), filter, || {
            let _request = request_span(Some(&request())).entered();
            tracing::warn!("dropped");
            tracing::error!("kept");
        });
        assert_eq!(lines.len(), 1, "{filter}");
        assert!(lines[0].get("logging.googleapis.com/trace").is_some(), "{filter}: {lines:?}");
    }
}

#[test]
fn labels_keep_readable_keys_and_are_text() {
    let line = line_of(|| {
        tracing::info!(
            labels.incident = "0.abc",
            labels.service_name = "k-back",
            labels.attempt = 2,
            "decided"
        );
    });
    let expected = json!({"incident": "0.abc", "serviceName": "k-back", "attempt": "2"});
    assert_eq!(line["logging.googleapis.com/labels"], expected);
}

#[test]
fn the_request_is_logged_as_cloud_logging_shows_requests() {
    let line =
        line_of(|| tracing::info!(http_request.request_method = "POST", http_request.status = 200, "done"));
    assert_eq!(line["httpRequest"], json!({"requestMethod": "POST", "status": 200}));
}

#[test]
fn a_json_field_is_written_as_its_value() {
    let gates = r#"[{"gate":"open","passed":true,"ratio":0.25}]"#;
    let line = line_of(|| tracing::info!(gates_json = gates, decided_by_json = "{}", "decided"));
    assert_eq!(line["gates"], json!([{"gate": "open", "passed": true, "ratio": 0.25}]));
    assert_eq!(line["decidedBy"], json!({}));
    assert!(line.get("gatesJson").is_none(), "{line}");
}

#[test]
fn a_json_field_that_is_no_json_or_whose_name_is_taken_stays_as_it_is() {
    let line =
        line_of(|| tracing::info!(gates_json = "[", plan_json = "{}", plan = "none", json = "1", "decided"));
    assert_eq!(line["gatesJson"], "[");
    assert_eq!(line["planJson"], "{}");
    assert_eq!(line["plan"], "none");
    assert_eq!(line["json"], "1");
}

#[test]
fn quotes_line_breaks_and_any_script_stay_one_line() {
    let message = "a \"quoted\"\nline\u{2028} 日本語 \u{0}";
    let line = line_of(|| tracing::error!("{message}"));
    assert_eq!(line["message"], message);
}

#[test]
fn an_event_without_a_message_says_where_it_comes_from() {
    assert_eq!(line_of(|| tracing::info!(attempt = 1))["message"], "runback::logging::tests");
}

#[test]
fn fractions_arrive_as_text_which_is_why_figures_go_into_json_fields() {
    assert_eq!(line_of(|| tracing::info!(ratio = 0.5, "judged"))["ratio"], "0.5");
}

#[test]
fn a_line_that_cannot_be_read_is_still_logged() {
    for (raw, message) in [
        (&b"Unable to format\n"[..], "Unable to format"),
        (b"[1]\n", "[1]"),
        (b"\xff{\n", "\u{fffd}{"),
        (b"", ""),
    ] {
        let line: Value = serde_json::from_str(&rewrite(raw, Some("k-back"))).expect("the line is JSON");
        assert_eq!(line, json!({"severity": "ERROR", "message": message}));
    }
}

#[test]
fn each_line_is_written_in_one_piece() {
    let pieces = written_by(None, "info", || {
        tracing::info!("one");
        tracing::info!("two");
    });
    assert_eq!(pieces.len(), 2);
    assert!(pieces.iter().all(|piece| piece.ends_with(b"}\n")));
}

#[test]
fn a_filter_that_is_none_stops_the_start() {
    let table = [
        (None, Some("info")),
        (Some(""), Some("info")),
        (Some(" "), Some("info")),
        (Some("debug"), Some("debug")),
        (Some("WARN"), Some("warn")),
        (Some("off"), Some("off")),
        (Some("runback"), Some("runback")),
        (Some("hyper=debug,info"), Some("hyper=debug,info")),
        (Some("inof"), None),
        (Some("runback=inof"), None),
        (Some("runback=info=debug"), None),
    ];
    let sorted = |text: &str| {
        let mut parts: Vec<_> = text.split(',').map(str::to_owned).collect();
        parts.sort();
        parts
    };
    for (text, wanted) in table {
        let chosen = choose_filter(text).ok().map(|filter| sorted(&filter.to_string()));
        let wanted = wanted.map(|wanted| sorted(&EnvFilter::new(wanted).to_string()));
        assert_eq!(chosen, wanted, "{text:?}");
    }
    let refusal = choose_filter(Some("inof")).unwrap_err();
    assert_eq!(refusal, r#"RUST_LOG is "inof", which is no filter (it names no level); "info" is one"#);
}

#[test]
fn a_panic_message_loses_addresses_and_tokens() {
    let table = [
        ("index out of bounds: the len is 3", "index out of bounds: the len is 3"),
        ("no port: 8080/tcp", "no port: 8080/tcp"),
        (
            r#"reqwest::Error { url: "https://hooks.slack.com/services/T0/B0/secret" }"#,
            r#"reqwest::Error { url: "https://hooks.slack.com/…" }"#,
        ),
        ("at http://user:word@127.0.0.1:80?key=1", "at http://127.0.0.1:80/…"),
        ("authorization: Bearer abc.def, then", "authorization: Bearer …, then"),
        ("token `xoxb-1-2`", "token `…`"),
        ("got ya29.a0Af and eyJhbGciOi", "got … and …"),
    ];
    for (message, clean) in table {
        assert_eq!(without_secrets(message), clean);
    }
}

#[test]
fn trace_headers_are_read_or_ignored() {
    let trace = |span: Option<&str>, sampled: Option<bool>| {
        Some(TraceContext { trace_id: TRACE.to_owned(), span_id: span.map(str::to_owned), sampled })
    };
    let zeros = "00000000000000000000000000000000";
    let traceparent = [
        (format!("00-{TRACE}-{SPAN}-01"), trace(Some(SPAN), Some(true))),
        (format!("00-{TRACE}-{SPAN}-00"), trace(Some(SPAN), Some(false))),
        (format!("00-{TRACE}-{SPAN}-03"), trace(Some(SPAN), Some(true))),
        (format!(" 00-{TRACE}-{SPAN}-01 "), trace(Some(SPAN), Some(true))),
        (format!("01-{TRACE}-{SPAN}-01-more"), trace(Some(SPAN), Some(true))),
        (format!("00-{TRACE}-{SPAN}-01-more"), None),
        (format!("ff-{TRACE}-{SPAN}-01"), None),
        (format!("0-{TRACE}-{SPAN}-01"), None),
        (format!("00-{zeros}-{SPAN}-01"), None),
        (format!("00-{TRACE}-0000000000000000-01"), None),
        (format!("00-{}-{SPAN}-01", TRACE.to_uppercase()), None),
        (format!("00-{}-{SPAN}-01", &TRACE[1..]), None),
        (format!("00-{TRACE}-{SPAN}-0x"), None),
        (format!("00-{TRACE}-{SPAN}"), None),
        (String::new(), None),
        ("日-本-語-だ".to_owned(), None),
    ];
    for (header, expected) in traceparent {
        assert_eq!(TraceContext::from_headers(Some(&header), None), expected, "{header:?}");
    }
    let cloud = [
        (format!("{TRACE}/1;o=1"), trace(Some("0000000000000001"), Some(true))),
        (format!("{TRACE}/67667974448284343;o=0"), trace(Some(SPAN), Some(false))),
        (format!("{TRACE}/18446744073709551615"), trace(Some("ffffffffffffffff"), None)),
        (format!("{TRACE}/18446744073709551616"), trace(None, None)),
        (format!("{TRACE}/0;o=1"), trace(None, Some(true))),
        (format!("{TRACE};o=1"), trace(None, Some(true))),
        (TRACE.to_owned(), trace(None, None)),
        (TRACE.to_uppercase(), trace(None, None)),
        (format!("{TRACE}/abc;o=x"), trace(None, None)),
        (format!("{zeros}/1;o=1"), None),
        ("105445aa/1;o=1".to_owned(), None),
        (String::new(), None),
    ];
    for (header, expected) in cloud {
        assert_eq!(TraceContext::from_headers(None, Some(&header)), expected, "{header:?}");
    }
}

#[test]
fn traceparent_wins_and_an_unreadable_one_gives_way() {
    let cloud = "105445aa7843bc8bf206b12000100000/1;o=1";
    let trace_id = |traceparent: Option<&str>| {
        TraceContext::from_headers(traceparent, Some(cloud)).map(|trace| trace.trace_id)
    };
    assert_eq!(trace_id(Some(&format!("00-{TRACE}-{SPAN}-01"))).as_deref(), Some(TRACE));
    assert_eq!(trace_id(Some("nonsense")).as_deref(), Some("105445aa7843bc8bf206b12000100000"));
    assert_eq!(TraceContext::from_headers(None, None), None);
}
