//! How many requests each revision has answered, and how. Exact over any interval: counts are differences of one
//! rounded running total.

use super::running::Running;
use super::setup::{Health, Revision};

#[derive(Clone, Copy, Default)]
pub struct Totals {
    pub requests: i64,
    pub errors: i64,
    pub client_errors: i64,
    pub slow: i64,
}

/// A time of constant traffic and health.
struct Stretch {
    from: f64,
    to: f64,
    rpm: f64,
    health: Health,
}

/// The requests within each span.
pub fn running_totals(running: &Running, revision: &Revision, spans: &[(f64, f64)]) -> Vec<Totals> {
    let stretches = stretches(running, revision);
    let until = |moment: f64| {
        let sum = |share: fn(&Health) -> f64| {
            let past = stretches.iter().filter(|stretch| stretch.from < moment);
            let counts =
                past.map(|each| each.rpm / 60.0 * (each.to.min(moment) - each.from) * share(&each.health));
            (counts.sum::<f64>() + 0.5 + 1e-9).floor() as i64
        };
        [
            sum(|_| 1.0),
            sum(|health| health.errors),
            sum(|health| health.client_errors),
            sum(|health| health.slow),
        ]
    };
    let within = |(from, to): &(f64, f64)| {
        let (before, after) = (until(*from), until(*to));
        Totals {
            requests: after[0] - before[0],
            errors: after[1] - before[1],
            client_errors: after[2] - before[2],
            slow: after[3] - before[3],
        }
    };
    spans.iter().map(within).collect()
}

/// What it served before the world began, then its share of the traffic that the status showed.
fn stretches(running: &Running, revision: &Revision) -> Vec<Stretch> {
    let usual = revision.health[0];
    let mut found: Vec<Stretch> = revision
        .served
        .iter()
        .map(|period| Stretch {
            from: period.from,
            to: period.to,
            rpm: period.rpm.unwrap_or(running.service.rpm),
            health: Health {
                errors: period.errors.unwrap_or(usual.errors),
                slow: period.slow.unwrap_or(usual.slow),
                ..usual
            },
        })
        .collect();
    for (index, (since, split)) in running.shown.iter().enumerate() {
        let until = running.shown.get(index + 1).map_or(f64::INFINITY, |(next, _)| *next);
        let Some(percent) = split.get(&revision.name) else {
            continue;
        };
        let changes =
            revision.health.iter().map(|health| health.since).filter(|at| *since < *at && *at < until);
        let edges: Vec<f64> = std::iter::once(*since).chain(changes).chain([until]).collect();
        found.extend(edges.windows(2).map(|pair| Stretch {
            from: pair[0],
            to: pair[1],
            rpm: running.service.rpm * *percent as f64 / 100.0,
            health: *revision.health_at(pair[0]),
        }));
    }
    found
}
