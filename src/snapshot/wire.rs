//! The file: JSON with a version, one line for each sample, unknown keys refused by name.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Scene, Snapshot};
use crate::domain::evidence::{Axis, Evidence, Readings, Sample, Samples};
use crate::domain::probe::{Outcome, Probed};
use crate::domain::service::{Destination, Revision, Service, ServiceName, TrafficTarget};
use crate::hold_json;

const VERSION: u64 = 1;

/// More than any service has in an hour, and so few that a file's samples can be added up.
const MOST_REQUESTS: u64 = 1_000_000_000_000;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSnapshot {
    v: u64,
    at: String,
    message: Value,
    #[serde(default, skip_serializing_if = "is_false")]
    deadline_passed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<WireService>,
    /// The annotation, whatever it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    record: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    revisions: Vec<WireRevision>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    evidence: Option<WireEvidence>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    probes: Vec<WireProbed>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireService {
    project: String,
    region: String,
    service: String,
    #[serde(default)]
    url: String,
    spec_traffic: Vec<WireTarget>,
    status_traffic: Vec<WireTarget>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    tag_urls: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "is_false")]
    in_flight: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    latest_ready: Option<String>,
    /// The annotation, whatever it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireTarget {
    /// Without one it is LATEST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<String>,
    percent: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRevision {
    name: String,
    created_at: String,
    ready: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleting: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum WireEvidence {
    /// 5xx answers.
    Errors(WireSamples),
    /// Slow requests, and 5xx answers beside them.
    Slowness { slower_than: String, slow: WireSamples, errors: WireSamples },
    Unreadable {
        why: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        permission: Option<String>,
    },
}

/// By revision; a sample is the text "start seconds requests bad", so that a file has one line for it.
type WireSamples = BTreeMap<String, Vec<String>>;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireProbed {
    revision: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inconclusive: Option<String>,
    #[serde(default)]
    probes: u64,
    #[serde(default)]
    bad: u64,
    #[serde(default)]
    slowest_ms: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

pub(super) fn parse(text: &[u8]) -> Result<Snapshot, String> {
    let value: Value =
        serde_json::from_slice(text).map_err(|error| format!("The snapshot is not JSON: {error}."))?;
    match &value["v"] {
        version if version.as_u64() == Some(VERSION) => {}
        Value::Null => return Err("The file is no snapshot: it has no version `v`.".into()),
        version => {
            return Err(format!("The snapshot has version {version}; this Runback reads version {VERSION}."));
        }
    }
    let wire: WireSnapshot =
        serde_json::from_value(value).map_err(|error| format!("The snapshot cannot be read: {error}."))?;
    let scene = match (wire.service, wire.evidence) {
        (None, None) => None,
        (Some(service), Some(evidence)) => {
            let revisions: Result<_, _> = wire.revisions.into_iter().map(WireRevision::understood).collect();
            let (evidence, slow) = evidence.understood()?;
            if [&service.spec_traffic, &service.status_traffic].into_iter().any(|list| beyond_all(list)) {
                return Err("The snapshot splits more than 100 % of the traffic.".into());
            }
            Some(Scene {
                service: service.understood(),
                record: wire.record,
                revisions: revisions?,
                evidence,
                slow,
                probes: wire.probes.into_iter().map(WireProbed::understood).collect(),
            })
        }
        (Some(_), None) => return Err("The snapshot has a service but no `evidence`.".into()),
        (None, Some(_)) => return Err("The snapshot has evidence but no `service`.".into()),
    };
    Ok(Snapshot {
        at: moment(&wire.at)?,
        message: wire.message,
        deadline_passed: wire.deadline_passed,
        scene,
    })
}

pub(super) fn write(snapshot: &Snapshot) -> String {
    let scene = snapshot.scene.as_ref();
    let wire = WireSnapshot {
        v: VERSION,
        at: time(snapshot.at),
        message: snapshot.message.clone(),
        deadline_passed: snapshot.deadline_passed,
        service: scene.map(|scene| WireService::of(&scene.service)),
        record: scene.and_then(|scene| scene.record.clone()),
        revisions: scene
            .map_or_else(Vec::new, |scene| scene.revisions.iter().map(WireRevision::of).collect()),
        evidence: scene.map(|scene| WireEvidence::of(&scene.evidence, scene.slow)),
        probes: scene.map_or_else(Vec::new, |scene| scene.probes.iter().map(WireProbed::of).collect()),
    };
    serde_json::to_string_pretty(&wire).unwrap_or_default() + "\n"
}

fn beyond_all(traffic: &[WireTarget]) -> bool {
    traffic.iter().map(|target| u32::from(target.percent)).sum::<u32>() > 100
}

fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|at| at.to_utc())
        .map_err(|_| format!("The snapshot's time {text:?} is not RFC 3339."))
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

impl WireService {
    fn understood(self) -> Service {
        let targets = |list: Vec<WireTarget>| {
            let target = |target: WireTarget| TrafficTarget {
                to: target.revision.map_or(Destination::Latest, Destination::Revision),
                percent: target.percent,
                tag: target.tag,
            };
            list.into_iter().map(target).collect()
        };
        Service {
            name: ServiceName { project: self.project, region: self.region, service: self.service },
            url: self.url,
            spec_traffic: targets(self.spec_traffic),
            status_traffic: targets(self.status_traffic),
            tagged: self.tag_urls,
            in_flight: self.in_flight,
            trouble: self.trouble,
            latest_ready: self.latest_ready,
            hold: hold_json::parse(self.hold.as_deref()),
        }
    }

    fn of(service: &Service) -> Self {
        let targets = |list: &[TrafficTarget]| {
            let target = |target: &TrafficTarget| WireTarget {
                revision: match &target.to {
                    Destination::Latest => None,
                    Destination::Revision(name) => Some(name.clone()),
                },
                percent: target.percent,
                tag: target.tag.clone(),
            };
            list.iter().map(target).collect()
        };
        let ServiceName { project, region, service: short } = service.name.clone();
        Self {
            project,
            region,
            service: short,
            url: service.url.clone(),
            spec_traffic: targets(&service.spec_traffic),
            status_traffic: targets(&service.status_traffic),
            tag_urls: service.tagged.clone(),
            in_flight: service.in_flight,
            trouble: service.trouble.clone(),
            latest_ready: service.latest_ready.clone(),
            hold: service.hold.as_ref().map(hold_json::write),
        }
    }
}

impl WireRevision {
    fn understood(self) -> Result<Revision, String> {
        let Self { name, created_at, ready, deleting, digest, commit, schema } = self;
        Ok(Revision { name, created_at: moment(&created_at)?, ready, deleting, digest, commit, schema })
    }

    fn of(revision: &Revision) -> Self {
        let Revision { name, created_at, ready, deleting, digest, commit, schema } = revision.clone();
        Self { name, created_at: time(created_at), ready, deleting, digest, commit, schema }
    }
}

impl WireEvidence {
    fn understood(self) -> Result<(Evidence, Option<Duration>), String> {
        Ok(match self {
            Self::Errors(counts) => {
                let samples = samples(counts)?;
                (Evidence::Read(Readings { axis: Axis::Errors, samples, errors: None }), None)
            }
            Self::Slowness { slower_than, slow, errors } => {
                let limit = humantime::parse_duration(&slower_than)
                    .map_err(|_| format!("The snapshot's `slower_than` {slower_than:?} is no duration."))?;
                let (slow, errors) = (samples(slow)?, samples(errors)?);
                (
                    Evidence::Read(Readings { axis: Axis::Slowness, samples: slow, errors: Some(errors) }),
                    Some(limit),
                )
            }
            Self::Unreadable { why, permission } => (Evidence::Unreadable { why, permission }, None),
        })
    }

    fn of(evidence: &Evidence, slow: Option<Duration>) -> Self {
        let texts = |samples: &Samples| -> WireSamples {
            let list = |list: &Vec<Sample>| list.iter().map(text).collect();
            samples.iter().map(|(revision, samples)| (revision.clone(), list(samples))).collect()
        };
        match evidence {
            Evidence::Unreadable { why, permission } => {
                Self::Unreadable { why: why.clone(), permission: permission.clone() }
            }
            Evidence::Read(Readings { errors: None, samples, .. }) => Self::Errors(texts(samples)),
            Evidence::Read(Readings { errors: Some(errors), samples, .. }) => Self::Slowness {
                slower_than: humantime::format_duration(slow.unwrap_or_default()).to_string(),
                slow: texts(samples),
                errors: texts(errors),
            },
        }
    }
}

fn text(sample: &Sample) -> String {
    let seconds = (sample.end - sample.start).num_seconds();
    format!("{} {seconds} {} {}", time(sample.start), sample.requests, sample.bad)
}

fn samples(counts: WireSamples) -> Result<Samples, String> {
    let mut samples = Samples::new();
    for (revision, texts) in counts {
        let list: Result<Vec<Sample>, String> = texts.iter().map(|text| sample(text)).collect();
        let mut list = list?;
        list.sort_by_key(|sample| sample.start);
        samples.insert(revision, list);
    }
    Ok(samples)
}

fn sample(text: &str) -> Result<Sample, String> {
    let refuse = || format!("The sample {text:?} is not \"start seconds requests bad\".");
    let [start, seconds, requests, bad] = text.split(' ').collect::<Vec<_>>()[..] else {
        return Err(refuse());
    };
    let number = |text: &str| text.parse::<u64>().map_err(|_| refuse());
    let start = moment(start).map_err(|_| refuse())?;
    let length = i64::try_from(number(seconds)?).ok().and_then(TimeDelta::try_seconds).ok_or_else(refuse)?;
    let end = start.checked_add_signed(length).ok_or_else(refuse)?;
    let sample = Sample { start, end, requests: number(requests)?, bad: number(bad)? };
    let fits = sample.bad <= sample.requests && sample.requests <= MOST_REQUESTS;
    if fits { Ok(sample) } else { Err(refuse()) }
}

impl WireProbed {
    fn understood(self) -> Probed {
        let Self { revision, inconclusive, probes, bad, slowest_ms } = self;
        let slowest = Duration::from_millis(slowest_ms);
        let outcome = inconclusive.map_or(Outcome::Answered { probes, bad, slowest }, Outcome::Inconclusive);
        Probed { revision, outcome }
    }

    fn of(probed: &Probed) -> Self {
        let revision = probed.revision.clone();
        match &probed.outcome {
            Outcome::Inconclusive(why) => {
                Self { revision, inconclusive: Some(why.clone()), probes: 0, bad: 0, slowest_ms: 0 }
            }
            Outcome::Answered { probes, bad, slowest } => Self {
                revision,
                inconclusive: None,
                probes: *probes,
                bad: *bad,
                slowest_ms: u64::try_from(slowest.as_millis()).unwrap_or(u64::MAX),
            },
        }
    }
}
