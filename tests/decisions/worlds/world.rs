//! A service in a world whose causes are known: what is deployed when, what goes wrong, and what Monitoring counts of it.
//!
//! Times are minutes since the trouble began, which is at 0.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use runback::domain::alert::Signal;
use runback::domain::decide::axis_of;
use runback::domain::evidence::{Axis, Readings, Sample, Samples};
use runback::domain::record::Record;
use runback::domain::service::{Destination, Revision, Service, ServiceName, TrafficTarget};

use crate::noise::Noise;

/// From here on Monitoring's minutes are kept; before, five minutes, and before that, hours.
const MINUTES_FROM: i64 = -240;
const FIVES_FROM: i64 = -1_560;
const HOURS_FROM: i64 = -10_080;

/// How far ahead the truth looks: what is over by then was no reason to move.
const AHEAD: i32 = 15;

/// Something that makes requests bad.
#[derive(Debug, Clone)]
pub struct Fault {
    pub from: f64,
    pub to: f64,
    /// The shares of requests that it spoils once it is fully there.
    pub errors: f64,
    pub slow: f64,
    /// How long it takes to be.
    pub ramp: f64,
    /// The revisions that suffer; nothing: all of them.
    pub of: Option<usize>,
}

/// When an alert is sent.
#[derive(Debug, Clone, Copy)]
pub struct AlertPolicy {
    pub signal: Signal,
    pub by_revision: bool,
    pub threshold: f64,
    /// Minutes that a figure is taken over.
    pub align: i64,
    /// Further minutes that it has to last.
    pub duration: i64,
    /// Sent at this minute whatever the requests show, with the label `runback = rollback`.
    pub vouched_at: Option<f64>,
}

#[derive(Debug, Clone)]
pub struct Deployed {
    pub created: f64,
    pub ready: bool,
    pub image: usize,
}

/// Percent by revision.
pub type Shares = Vec<(usize, u8)>;

#[derive(Debug, Clone, Copy)]
struct Count {
    start: i64,
    end: i64,
    requests: u64,
    errors: u64,
    slow: u64,
}

pub struct World {
    pub rpm: f64,
    pub base: f64,
    /// How much the usual errors come and go.
    pub restless: f64,
    pub surge: Option<(f64, f64, f64)>,
    pub revisions: Vec<Deployed>,
    /// Each holds until the next one.
    pub splits: Vec<(f64, Shares)>,
    pub faults: Vec<Fault>,
    pub alerts: AlertPolicy,
    /// How old a minute is before Monitoring shows it.
    pub lag: f64,
    /// Whether Runback hears of deploys.
    pub watched: bool,
    pub record: Record,
    pub warning: Option<f64>,
    counts: Vec<Vec<Count>>,
    mood: f64,
}

/// A moment of the world's time.
pub fn at(minute: f64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_779) + TimeDelta::milliseconds((minute * 60_000.0) as i64)
}

pub fn name_of(revision: usize) -> String {
    format!("api-{:05}-abc", revision + 1)
}

pub fn index_of(name: &str) -> usize {
    name[4..9].parse::<usize>().unwrap() - 1
}

pub fn service_name() -> ServiceName {
    ServiceName { project: "p".into(), region: "r".into(), service: "api".into() }
}

impl World {
    pub fn new(rpm: f64, base: f64, lag: f64, alerts: AlertPolicy) -> Self {
        Self {
            rpm,
            base,
            restless: 0.3,
            surge: None,
            revisions: Vec::new(),
            splits: Vec::new(),
            faults: Vec::new(),
            alerts,
            lag,
            watched: false,
            record: Record::default(),
            warning: None,
            counts: Vec::new(),
            mood: 0.0,
        }
    }

    /// Deploys another revision, which takes this share of the traffic from whatever served before.
    pub fn deploy(&mut self, when: f64, percent: u8) -> usize {
        let new = self.revisions.len();
        self.revisions.push(Deployed { created: when - 0.6, ready: true, image: new });
        let mut shares = vec![(new, percent)];
        if percent < 100
            && let Some((_, before)) = self.splits.last()
        {
            shares.push((before[0].0, 100 - percent));
        }
        self.splits.push((when, shares));
        new
    }

    /// Moves the traffic without a deploy.
    pub fn shift(&mut self, when: f64, shares: Shares) {
        self.splits.push((when, shares));
    }

    pub fn shares(&self, when: f64) -> &Shares {
        &self.splits.iter().rfind(|(from, _)| *from <= when).unwrap_or(&self.splits[0]).1
    }

    /// The shares of errors and of slow requests that a revision would answer with at a moment, but for chance.
    fn spoilt(&self, revision: usize, when: f64) -> (f64, f64) {
        let (mut good, mut quick) = (1.0 - self.base, 1.0 - self.base);
        for fault in &self.faults {
            let concerns = fault.of.is_none_or(|of| of == revision);
            if concerns && (fault.from..fault.to).contains(&when) {
                let part = if fault.ramp > 0.0 { ((when - fault.from) / fault.ramp).min(1.0) } else { 1.0 };
                good *= 1.0 - fault.errors * part;
                quick *= 1.0 - fault.slow * part;
            }
        }
        (1.0 - good, 1.0 - quick)
    }

    /// The share of bad requests that a revision would have from a moment on, were it to serve.
    pub fn ahead(&self, revision: usize, when: f64) -> f64 {
        let axis = axis_of(self.alerts.signal);
        let bad = |minute: i32| {
            let (errors, slow) = self.spoilt(revision, when + f64::from(minute) + 0.5);
            if axis == Axis::Slowness { errors.max(slow) } else { errors }
        };
        (0..AHEAD).map(bad).sum::<f64>() / f64::from(AHEAD)
    }

    /// Counts everything before the first minute that a story is told of.
    pub fn count_history(&mut self, until: i64, noise: &Noise) {
        self.counts = vec![Vec::new(); self.revisions.len()];
        let first = self.splits[0].0.floor() as i64;
        let hours = (HOURS_FROM..FIVES_FROM).step_by(60).map(|start| (start, start + 60));
        let fives = (FIVES_FROM..MINUTES_FROM).step_by(5).map(|start| (start, start + 5));
        let minutes = (MINUTES_FROM..until).map(|start| (start, start + 1));
        for (start, end) in hours.chain(fives).chain(minutes).filter(|(_, end)| *end > first) {
            self.count(start, end, noise);
        }
    }

    /// Counts one period. Within it the split and the faults are as they are in each sixth of a minute.
    pub fn count(&mut self, start: i64, end: i64, noise: &Noise) {
        self.mood = 0.9 * self.mood + self.restless * 0.44 * noise.normal();
        let usual = self.mood.exp();
        let parts = if end - start == 1 { 6 } else { 5 };
        let length = (end - start) as f64 / f64::from(parts);
        let mut sums = vec![(0.0, 0.0, 0.0); self.revisions.len()];
        for part in 0..parts {
            let when = start as f64 + (f64::from(part) + 0.5) * length;
            if when < self.splits[0].0 {
                continue;
            }
            let surge =
                self.surge.filter(|(from, to, _)| (*from..*to).contains(&when)).map_or(1.0, |surge| surge.2);
            for (revision, percent) in self.shares(when).clone() {
                let requests = self.rpm * surge * length * f64::from(percent) / 100.0;
                let (errors, slow) = self.spoilt(revision, when);
                let more = self.base * (usual - 1.0);
                sums[revision].0 += requests;
                sums[revision].1 += requests * (errors + more).clamp(0.0, 1.0);
                sums[revision].2 += requests * (slow + more).clamp(0.0, 1.0);
            }
        }
        for (revision, (mean, errors, slow)) in sums.into_iter().enumerate() {
            let requests = if mean > 0.0 { noise.poisson(mean) } else { 0 };
            if requests > 0 {
                let (errors, slow) =
                    (noise.binomial(requests, errors / mean), noise.binomial(requests, slow / mean));
                self.counts[revision].push(Count { start, end, requests, errors, slow });
            }
        }
    }

    /// What Monitoring would answer at a moment.
    pub fn readings(&self, now: f64) -> Readings {
        let axis = axis_of(self.alerts.signal);
        let samples = |axis: Axis| -> Samples {
            let mut samples = BTreeMap::new();
            for (revision, counts) in self.counts.iter().enumerate() {
                let seen = counts.iter().filter(|count| count.end as f64 + self.lag <= now);
                let list: Vec<Sample> = seen.map(|count| sample(count, axis)).collect();
                if !list.is_empty() {
                    samples.insert(name_of(revision), list);
                }
            }
            samples
        };
        let errors = (axis == Axis::Slowness).then(|| samples(Axis::Errors));
        Readings { axis, samples: samples(axis), errors }
    }

    /// Requests and bad ones that an alert policy sees in the minutes before `end`, of one revision or of all.
    pub fn seen_by_alerts(&self, revision: Option<usize>, end: i64) -> (u64, u64) {
        let axis = axis_of(self.alerts.signal);
        let concerned =
            self.counts.iter().enumerate().filter(|(index, _)| revision.is_none_or(|of| of == *index));
        let mut sum = (0, 0);
        for (_, counts) in concerned {
            for count in counts.iter().rev().take_while(|count| count.end > end - self.alerts.align) {
                if count.end <= end {
                    sum.0 += count.requests;
                    sum.1 += if axis == Axis::Slowness { count.slow } else { count.errors };
                }
            }
        }
        sum
    }

    pub fn service(&self, now: f64) -> Service {
        let target = |(revision, percent): &(usize, u8)| TrafficTarget {
            to: Destination::Revision(name_of(*revision)),
            percent: *percent,
            tag: None,
        };
        let traffic: Vec<_> = self.shares(now).iter().map(target).collect();
        let ready = self.revisions.iter().rposition(|revision| revision.ready && revision.created <= now);
        Service {
            name: service_name(),
            url: "https://api.example".into(),
            spec_traffic: traffic.clone(),
            status_traffic: traffic,
            tagged: BTreeMap::new(),
            in_flight: false,
            trouble: None,
            latest_ready: ready.map(name_of),
            hold: None,
        }
    }

    pub fn listed(&self, now: f64) -> Vec<Revision> {
        let known = self.revisions.iter().enumerate().filter(|(_, revision)| revision.created <= now);
        known
            .map(|(index, revision)| Revision {
                name: name_of(index),
                created_at: at(revision.created),
                ready: revision.ready,
                deleting: false,
                digest: Some(format!("sha256:{:05}", revision.image)),
                commit: None,
                schema: None,
            })
            .collect()
    }
}

fn sample(count: &Count, axis: Axis) -> Sample {
    let bad = if axis == Axis::Slowness { count.slow } else { count.errors };
    Sample { start: at(count.start as f64), end: at(count.end as f64), requests: count.requests, bad }
}
