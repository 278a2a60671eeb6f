//! A world to decide about: times are minutes before [`now`], moments without a date are whole minutes.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::alert::{Alert, Condition, IncidentState, Signal};
use crate::domain::decide::{Round, axis_of};
use crate::domain::evidence::{Axis, Evidence, Readings, Sample, Samples};
use crate::domain::policy::{Mode, Policy, Rules};
use crate::domain::probe::Probed;
use crate::domain::record::{Phase, Quarantined, Record, Rollback, Share};
use crate::domain::service::{Destination, Revision, Service, ServiceName, TrafficTarget};

pub(super) const HOUR: i64 = 60;
pub(super) const DAY: i64 = 24 * HOUR;

/// The revisions of the usual story: 42 fails, 41 was healthy before it.
pub(super) const BAD: &str = "k-back-00042-abc";
pub(super) const GOOD: &str = "k-back-00041-xyz";
pub(super) const OLD: &str = "k-back-00040-uvw";

static NOW: LazyLock<DateTime<Utc>> = LazyLock::new(|| "2026-11-22T03:14:00Z".parse().unwrap());

pub(super) fn now() -> DateTime<Utc> {
    *NOW
}

pub(super) fn ago(minutes: i64) -> DateTime<Utc> {
    now() - TimeDelta::minutes(minutes)
}

pub(super) fn name(region: &str, service: &str) -> ServiceName {
    ServiceName { project: "demo-project".into(), region: region.into(), service: service.into() }
}

/// Requests and bad ones by revision and beginning of the period.
type Counts = BTreeMap<String, BTreeMap<DateTime<Utc>, Sample>>;

#[derive(Clone)]
pub(super) struct World {
    pub(super) alert: Alert,
    pub(super) policy: Policy,
    pub(super) published_at: Option<DateTime<Utc>>,
    pub(super) disputed: Option<&'static str>,
    pub(super) service: Service,
    pub(super) revisions: Vec<Revision>,
    pub(super) record: Result<Record, String>,
    pub(super) told: bool,
    pub(super) round: Round,
    pub(super) known_closed: bool,
    pub(super) waiting_since: Option<DateTime<Utc>>,
    pub(super) comes_back: bool,
    pub(super) probes: Vec<Probed>,
    errors: Counts,
    slow: Counts,
    unreadable: Option<(String, Option<String>)>,
}

impl World {
    /// A guarded service without revisions and an open 5xx alert with all labels but the revision's.
    pub(super) fn new() -> Self {
        let service = name("asia-northeast1", "k-back");
        let labels =
            [("project_id", "demo-project"), ("location", "asia-northeast1"), ("service_name", "k-back")];
        let rules = Rules { mode: Mode::Enforce, ..Rules::default() };
        Self {
            alert: Alert {
                incident: "0.incident".into(),
                state: IncidentState::Open,
                is_test: false,
                started_at: Some(ago(4)),
                resource_type: "cloud_run_revision".into(),
                resource_labels: labels.map(|(key, value)| (key.into(), value.into())).into(),
                policy_labels: BTreeMap::new(),
                policy_id: None,
                scoping_project: Some("demo-project".into()),
                signal: Signal::Errors,
                condition: Condition { accuses: true, ..Condition::default() },
                policy_name: "5xx".into(),
                condition_name: "5xx".into(),
                summary: String::new(),
                url: String::new(),
            },
            policy: Policy { services: [(service.clone(), rules)].into() },
            published_at: Some(ago(1)),
            disputed: None,
            service: Service {
                name: service,
                url: "https://k-back.run.app".into(),
                spec_traffic: Vec::new(),
                status_traffic: Vec::new(),
                tagged: BTreeMap::new(),
                in_flight: false,
                trouble: None,
                latest_ready: None,
                hold: None,
            },
            revisions: Vec::new(),
            record: Ok(Record::default()),
            told: false,
            round: Round::First,
            known_closed: false,
            waiting_since: None,
            comes_back: true,
            probes: Vec::new(),
            errors: Counts::new(),
            slow: Counts::new(),
            unreadable: None,
        }
    }

    /// 42 serves for 20 minutes; 41 served for three days before.
    pub(super) fn deploy() -> Self {
        Self::new().revision(GOOD, 3 * DAY).revision(BAD, 20).traffic(&[(BAD, 100)]).named(BAD)
    }

    /// The usual story: 40 % of 42's requests fail and 41 was healthy.
    pub(super) fn outage() -> Self {
        Self::deploy().served(BAD, 20, 0, 60.0, 0.4).served(GOOD, 3 * DAY, 20, 60.0, 0.001)
    }

    /// A ready revision of that age with a digest of its own. The youngest one is what LATEST means.
    pub(super) fn revision(mut self, name: &str, age: i64) -> Self {
        let digest = Some(format!("sha256:{name}"));
        let created_at = ago(age);
        self.revisions.push(Revision {
            name: name.into(),
            created_at,
            ready: true,
            deleting: false,
            digest,
            commit: None,
            schema: None,
        });
        self.service.latest_ready = self
            .revisions
            .iter()
            .max_by_key(|revision| revision.created_at)
            .map(|newest| newest.name.clone());
        self
    }

    pub(super) fn change(mut self, name: &str, change: impl Fn(&mut Revision)) -> Self {
        self.revisions.iter_mut().filter(|revision| revision.name == name).for_each(change);
        self
    }

    /// The traffic in spec and status.
    pub(super) fn traffic(mut self, split: &[(&str, u8)]) -> Self {
        let target = |(name, percent): &(&str, u8)| TrafficTarget {
            to: Destination::Revision((*name).into()),
            percent: *percent,
            tag: (*percent == 0).then(|| "tag".into()),
        };
        self.service.status_traffic = split.iter().map(target).collect();
        self.service.spec_traffic = self.service.status_traffic.clone();
        self
    }

    /// The alert names this revision.
    pub(super) fn named(self, revision: &str) -> Self {
        let revision = revision.to_owned();
        self.alert(|alert| {
            alert.resource_labels.insert("revision_name".into(), revision);
        })
    }

    pub(super) fn unnamed(self) -> Self {
        self.alert(|alert| {
            alert.resource_labels.remove("revision_name");
        })
    }

    pub(super) fn incident(self, incident: &str) -> Self {
        self.alert(|alert| alert.incident = incident.into())
    }

    pub(super) fn wish(self, wish: &str) -> Self {
        self.alert(|alert| {
            alert.policy_labels.insert("runback".into(), wish.into());
        })
    }

    pub(super) fn signal(self, signal: Signal) -> Self {
        self.alert(|alert| alert.signal = signal)
    }

    pub(super) fn alert(mut self, change: impl FnOnce(&mut Alert)) -> Self {
        change(&mut self.alert);
        self
    }

    pub(super) fn rules(mut self, change: impl Fn(&mut Rules)) -> Self {
        self.policy.services.values_mut().for_each(change);
        self
    }

    pub(super) fn record(mut self, change: impl FnOnce(&mut Record)) -> Self {
        change(self.record.as_mut().unwrap());
        self
    }

    /// A finished rollback that took all traffic, and its culprit in quarantine. Call with the newest last.
    pub(super) fn rolled_back(self, incident: &str, culprit: &str, target: &str, minutes: i64) -> Self {
        let known = self.revisions.iter().find(|revision| revision.name == culprit);
        let digest = known.and_then(|revision| revision.digest.clone());
        let rollback = Rollback {
            id: format!("id-{minutes}"),
            incident: incident.into(),
            alerted: None,
            at: ago(minutes),
            moved: None,
            culprit: culprit.into(),
            from: vec![Share { revision: culprit.into(), percent: 100 }],
            latest: 0,
            slow: false,
            slower_than: None,
            target: target.into(),
            step: 100,
            phase: Phase::Told,
            reason: "critical".into(),
            why: None,
            trial: false,
            by: None,
        };
        let bad = Quarantined { revision: culprit.into(), digest, commit: None, at: ago(minutes) };
        self.record(|record| {
            record.rollbacks.insert(0, rollback);
            record.quarantine.insert(0, bad);
        })
    }

    /// Requests from so many minutes ago until so many, and the share of 5xx.
    pub(super) fn served(self, revision: &str, from: i64, to: i64, rpm: f64, errors: f64) -> Self {
        self.requests(revision, (from, to), rpm, errors, 0.0)
    }

    /// Requests with their share of 5xx and of slow ones, in the periods that the Monitoring client asks for.
    pub(super) fn requests(
        mut self,
        revision: &str,
        (from, to): (i64, i64),
        rpm: f64,
        errors: f64,
        slow: f64,
    ) -> Self {
        for (counts, share) in [(&mut self.errors, errors), (&mut self.slow, slow)] {
            let counts = counts.entry(revision.into()).or_default();
            for (start, end) in periods() {
                let (first, last) = (start.min(from), end.max(to));
                if first <= last {
                    continue;
                }
                // What came until a moment, so that the numbers add up over any stretch.
                let until = |minute: i64| whole((from - minute) as f64 * rpm);
                let bad = |minute: i64| whole(until(minute) as f64 * share);
                let (requests, bad) = (until(last) - until(first), bad(last) - bad(first));
                let (start, end) = (ago(start), ago(end));
                let sample = counts.entry(start).or_insert(Sample { start, end, requests: 0, bad: 0 });
                sample.requests += requests;
                sample.bad += bad;
            }
            counts.retain(|_, sample| sample.requests > 0);
        }
        self
    }

    pub(super) fn dark(mut self, permission: Option<&str>) -> Self {
        self.unreadable = Some(("HTTP 503".into(), permission.map(Into::into)));
        self
    }

    pub(super) fn in_flight(mut self) -> Self {
        self.service.in_flight = true;
        self
    }

    pub(super) fn evidence(&self) -> Evidence {
        if let Some((why, permission)) = &self.unreadable {
            return Evidence::Unreadable { why: why.clone(), permission: permission.clone() };
        }
        let samples = |counts: &Counts| -> Samples {
            counts
                .iter()
                .map(|(revision, counts)| (revision.clone(), counts.values().copied().collect()))
                .collect()
        };
        let axis = axis_of(self.alert.signal);
        Evidence::Read(match axis {
            Axis::Errors => Readings { axis, samples: samples(&self.errors), errors: None },
            Axis::Slowness => {
                Readings { axis, samples: samples(&self.slow), errors: Some(samples(&self.errors)) }
            }
        })
    }
}

/// The periods of the Monitoring client for a week of history: hours, then five minutes, then minutes.
fn periods() -> impl Iterator<Item = (i64, i64)> {
    let hours = (27..=169).map(|hour| (hour * HOUR, (hour - 1) * HOUR));
    let fives = (37..=312).map(|five| (five * 5, (five - 1) * 5));
    let minutes = (1..=180).map(|minute| (minute, minute - 1));
    hours.chain(fives).chain(minutes)
}

/// Rounded down, but for what floating point leaves out.
fn whole(value: f64) -> u64 {
    (value + 1e-6) as u64
}
