//! The plot and the table of `docs/statistics.md`: what Runback makes of so many failed requests among so many.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta};
use runback::domain::evidence::{Sample, Verdict, judge, judge_newest};
use runback::domain::policy::Rules;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 500.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 60.0;
const MOST: u64 = 10_000;

const FAILING: &str = "#c2410c";
const HEALTHY: &str = "#15803d";
const INK: &str = "#1f2937";

/// The verdict on requests that come evenly over ten minutes.
fn verdict(requests: u64, bad: u64) -> Verdict {
    let rules = Rules::default();
    let part = |whole: u64, index: u64| whole * (index + 1) / 10 - whole * index / 10;
    let samples: Vec<Sample> = (0..10)
        .map(|index| {
            let start = DateTime::UNIX_EPOCH + TimeDelta::minutes(i64::try_from(index).unwrap());
            let (requests, bad) = (part(requests, index), part(bad, index));
            // With so few, a failed request may fall into a minute that has none in this sharing out.
            Sample { start, end: start + TimeDelta::minutes(1), requests: requests.max(bad), bad }
        })
        .collect();
    judge_newest(&samples, judge(&samples, rules.rollback, rules.min_requests), rules.min_requests).verdict
}

/// The least number of failures that convicts, and the greatest that acquits.
fn bounds(requests: u64) -> (Option<u64>, Option<u64>) {
    let first = (0..=requests).find(|bad| verdict(requests, *bad) == Verdict::Confirmed);
    let last = (0..=requests).take_while(|bad| verdict(requests, *bad) == Verdict::Healthy).last();
    (first, last)
}

/// The table of the page.
pub fn table() -> String {
    let mut table = "| requests | convict from | acquit up to |\n|---|---|---|\n".to_owned();
    for requests in [20, 100, 200, 1_000, 10_000] {
        let cell = |bad: Option<u64>| {
            let share = |bad: u64| format!("{:.1}", 100.0 * bad as f64 / requests as f64);
            bad.map_or("never".to_owned(), |bad| format!("{bad} ({} %)", share(bad).trim_end_matches(".0")))
        };
        let (first, last) = bounds(requests);
        let _ = writeln!(table, "| {requests} | {} | {} |", cell(first), cell(last));
    }
    table
}

fn x(requests: f64) -> f64 {
    LEFT + (WIDTH - LEFT - RIGHT) * requests.log10() / (MOST as f64).log10()
}

/// Square roots spread the small shares, where the limit is.
fn y(share: f64) -> f64 {
    TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - share.sqrt())
}

/// Request counts that lie evenly on the logarithmic axis, each once.
fn counts() -> Vec<u64> {
    let mut counts: Vec<u64> =
        (0..=400).map(|step| (MOST as f64).powf(f64::from(step) / 400.0).round() as u64).collect();
    counts.dedup();
    counts
}

/// The area above or below a boundary, as a polygon; `edge` is the share on its far side.
fn area(boundary: &[(u64, f64)], edge: f64, fill: &str) -> String {
    let mut points = String::new();
    for (requests, share) in boundary {
        let _ = write!(points, "{:.1},{:.1} ", x(*requests as f64), y(*share));
    }
    for (requests, _) in [boundary.last(), boundary.first()].into_iter().flatten() {
        let _ = write!(points, "{:.1},{:.1} ", x(*requests as f64), y(edge));
    }
    format!("<polygon points=\"{}\" fill=\"{fill}\" fill-opacity=\"0.85\"/>\n", points.trim_end())
}

fn text(x: f64, y: f64, anchor: &str, style: &str, text: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {style}>{text}</text>\n")
}

/// The whole picture.
pub fn svg() -> String {
    let rules = Rules::default();
    let mut failing = Vec::new();
    let mut healthy = Vec::new();
    let mut runs = Vec::new();
    for requests in counts() {
        let (first, last) = bounds(requests);
        let share = |bad: u64| bad as f64 / requests as f64;
        if requests >= rules.min_requests {
            failing.extend(first.map(|bad| (requests, share(bad))));
        } else if verdict(requests, requests) == Verdict::Confirmed {
            // So few convict when they all fail: a run.
            runs.push((requests, 1.0));
        }
        if let Some(bad) = last {
            healthy.push((requests, share(bad)));
        }
    }
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"13\" fill=\"{INK}\">\n<title>Verdict against requests and failures</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{}\" height=\"{}\" fill=\"#e5e7eb\"/>\n",
        WIDTH - LEFT - RIGHT,
        HEIGHT - TOP - BOTTOM
    );
    svg += &area(&failing, 1.0, FAILING);
    svg += &area(&healthy, 0.0, HEALTHY);
    for (requests, share) in &runs {
        let _ = writeln!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"{FAILING}\"/>",
            x(*requests as f64),
            y(*share)
        );
    }
    svg += &axes(&rules);
    svg += &text(
        LEFT,
        26.0,
        "start",
        "font-size=\"16\" font-weight=\"bold\"",
        "What the requests of ten minutes prove",
    );
    let white = "fill=\"#ffffff\" font-size=\"15\" font-weight=\"bold\"";
    svg += &text(x(700.0), y(0.45), "middle", white, "failing: goes back");
    svg += &text(x(2_500.0), y(0.008), "middle", white, "healthy");
    svg += &text(x(60.0), y(0.055), "middle", "font-size=\"15\" font-weight=\"bold\"", "neither can be said");
    let first_run = runs.first().map_or(4, |(requests, _)| *requests);
    svg += &text(x(first_run as f64) - 8.0, y(0.88), "start", "", "every one failed");
    svg + "</svg>\n"
}

fn axes(rules: &Rules) -> String {
    let mut svg = String::new();
    let line = |x1: f64, y1: f64, x2: f64, y2: f64, style: &str| {
        format!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{INK}\" {style}/>\n"
        )
    };
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for requests in [1_u32, 4, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000] {
        let at = x(f64::from(requests));
        svg += &line(at, bottom, at, bottom + 5.0, "");
        svg += &text(at, bottom + 20.0, "middle", "", &requests.to_string());
    }
    for percent in [0_u32, 1, 2, 5, 10, 20, 50, 100] {
        let at = y(f64::from(percent) / 100.0);
        svg += &line(LEFT - 5.0, at, LEFT, at, "");
        svg += &text(LEFT - 9.0, at + 4.0, "end", "", &format!("{percent} %"));
    }
    svg += &line(LEFT, y(rules.rollback), right, y(rules.rollback), "stroke-dasharray=\"6 4\"");
    svg += &text(LEFT + 6.0, y(rules.rollback) - 6.0, "start", "", "rollback = 5 %");
    let least = x(rules.min_requests as f64);
    svg += &line(least, TOP, least, bottom, "stroke-dasharray=\"6 4\"");
    svg += &text(least + 6.0, bottom - 8.0, "start", "", "min_requests = 20");
    svg += &text((LEFT + right) / 2.0, HEIGHT - 14.0, "middle", "", "requests in the window");
    svg += &text(LEFT, TOP - 10.0, "start", "", "share that failed");
    svg
}
