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

/// The requests within each span. Where one span begins another one often ends, and that is added up once.
pub fn running_totals(running: &Running, revision: &Revision, spans: &[(f64, f64)]) -> Vec<Totals> {
    let stretches = stretches(running, revision);
    let first = stretches.iter().map(|each| each.from).fold(f64::INFINITY, f64::min);
    let until = |moment: f64| {
        let mut sums = [0.0; 4];
        for each in stretches.iter().filter(|each| each.from < moment) {
            let requests = each.rpm / 60.0 * (each.to.min(moment) - each.from);
            let Health { errors, client_errors, slow, .. } = each.health;
            for (sum, share) in sums.iter_mut().zip([1.0, errors, client_errors, slow]) {
                *sum += requests * share;
            }
        }
        sums.map(|sum: f64| (sum + 0.5 + 1e-9).floor() as i64)
    };
    let mut known: Option<(f64, [i64; 4])> = None;
    let within = |(from, to): &(f64, f64)| {
        if *to <= first {
            return Totals::default();
        }
        let after = known.filter(|(at, _)| at == to).map_or_else(|| until(*to), |(_, sums)| sums);
        let before = until(*from);
        known = Some((*from, before));
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
