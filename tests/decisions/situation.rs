//! The format of the situations: what a person would tell of an incident, and what should have been done.
//!
//! Times are ages ("20m", "3d") before the decision. Everything has a default, so that a situation only says what is
//! special about it.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use runback::domain::evidence::{Axis, Evidence, Readings, Sample, Samples};
use runback::domain::policy::Policy;
use runback::domain::probe::{Outcome, Probed};
use runback::domain::service::{Destination, Revision, Service, ServiceName, TrafficTarget};
use runback::policy_document;
use runback::snapshot::{Scene, Snapshot};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::noise::Noise;

const PROJECT: &str = "demo-project";
const REGION: &str = "asia-northeast1";
const SERVICE: &str = "k-back";

/// A file of situations.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    pub family: String,
    pub situation: Vec<Situation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Situation {
    /// What happened, in one line.
    pub name: String,
    /// Why the answer is right.
    pub why: String,
    pub expect: Expect,
    /// Keys of the policy document; the mode is `enforce` unless it says otherwise.
    #[serde(default)]
    policy: toml::Table,
    #[serde(default)]
    alert: Alert,
    revisions: Vec<WireRevision>,
    /// Percent by revision, in the service's status.
    traffic: BTreeMap<String, u8>,
    /// The same in its spec, where that differs; `LATEST` is whatever is deployed last.
    spec: Option<BTreeMap<String, u8>>,
    #[serde(default)]
    served: Vec<Served>,
    /// Why Monitoring cannot be read, if it cannot.
    monitoring: Option<String>,
    /// Earlier rollbacks by Runback, newest first. Their culprits are in quarantine, with their images.
    #[serde(default)]
    rollbacks: Vec<WireRollback>,
    /// The text of Runback's annotation, where it is not what Runback itself would have written.
    record: Option<String>,
    #[serde(default)]
    in_flight: bool,
    /// How long ago the message was published.
    #[serde(default = "a_minute")]
    published: Age,
    /// Whether this is the judgement when a warning's 30 minutes are over.
    #[serde(default)]
    deadline_passed: bool,
    #[serde(default)]
    probes: Vec<WireProbed>,
}

/// The right answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    pub decision: String,
    /// Any of these reason codes.
    pub reason: Option<OneOrMore>,
    /// The revision that gets the traffic.
    pub target: Option<String>,
    /// The split afterwards, where it is more than that.
    pub to: Option<BTreeMap<String, u8>>,
    /// Whether the first step is a trial.
    #[serde(default)]
    pub trial: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    pub fn has(&self, code: &str) -> bool {
        match self {
            Self::One(one) => one == code,
            Self::More(more) => more.iter().any(|one| one == code),
        }
    }
}

/// A time before the decision.
#[derive(Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Age(TimeDelta);

impl TryFrom<String> for Age {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "now" {
            return Ok(Self(TimeDelta::zero()));
        }
        let age = humantime::parse_duration(&text).map_err(|error| format!("{text:?}: {error}"))?;
        TimeDelta::from_std(age).map(Self).map_err(|error| error.to_string())
    }
}

fn a_minute() -> Age {
    Age(TimeDelta::minutes(1))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Alert {
    /// `errors`, `latency`, `slo_burn`, `uptime`, `log` or `saturation`.
    kind: String,
    /// `open` or `closed`.
    state: String,
    incident: String,
    /// The revision that the alert names, if it names one.
    revision: Option<String>,
    /// How long ago the incident began.
    began: Age,
    /// Resource labels that the condition has aggregated away.
    without: Vec<String>,
    /// The alert policy's user labels.
    user_labels: BTreeMap<String, String>,
    region: String,
    service: String,
    /// The monitored resource's type; that of an uptime check is `uptime_url`.
    resource: String,
    test: bool,
    /// Another condition than the kind's.
    condition: Option<Value>,
    /// The metric labels of the series that fired.
    metric_labels: BTreeMap<String, String>,
}

impl Default for Alert {
    fn default() -> Self {
        Self {
            kind: "errors".into(),
            state: "open".into(),
            incident: "0.incident".into(),
            revision: None,
            began: Age(TimeDelta::minutes(4)),
            without: Vec::new(),
            user_labels: BTreeMap::new(),
            region: REGION.into(),
            service: SERVICE.into(),
            resource: "cloud_run_revision".into(),
            test: false,
            condition: None,
            metric_labels: BTreeMap::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRevision {
    name: String,
    age: Age,
    #[serde(default = "yes")]
    ready: bool,
    /// Name of its image; each revision has one of its own unless it says otherwise.
    image: Option<String>,
    schema: Option<String>,
    tag: Option<String>,
}

fn yes() -> bool {
    true
}

/// Requests of a revision over a time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Served {
    revision: String,
    from: Age,
    to: Age,
    /// Requests a minute.
    rpm: f64,
    /// The share that was answered with 5xx.
    #[serde(default)]
    errors: f64,
    /// The share that took longer than the policy's `slow`.
    #[serde(default)]
    slow: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireRollback {
    incident: String,
    culprit: String,
    target: String,
    age: Age,
    #[serde(default = "recovered")]
    phase: String,
}

fn recovered() -> String {
    "recovered".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireProbed {
    revision: String,
    #[serde(default)]
    bad: u64,
    #[serde(default)]
    of: u64,
    /// Why it could not be asked at all, if it could not.
    unreachable: Option<String>,
}

fn now() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_779) + TimeDelta::minutes(3 * 60 + 14)
}

fn ago(age: Age) -> DateTime<Utc> {
    now() - age.0
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl Situation {
    /// The policy: `k-back` is guarded and enforced, with the situation's keys.
    pub fn policy(&self) -> Policy {
        let mut defaults = self.policy.clone();
        defaults.entry("mode").or_insert_with(|| "enforce".into());
        let document = json!({
            "defaults": defaults,
            "service": [{"project": PROJECT, "region": REGION, "service": SERVICE}],
        });
        policy_document::parse_json(&document.to_string())
            .unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    /// What Runback would have read, with the counts as they are told or as chance would have had them.
    pub fn snapshot(&self, noise: &Noise) -> Snapshot {
        let evidence = match &self.monitoring {
            Some(why) => Evidence::Unreadable { why: why.clone(), permission: None },
            None => Evidence::Read(self.readings(noise)),
        };
        let rules = self.policy().services.into_values().next();
        let slow = rules
            .map(|rules| rules.slow)
            .filter(|_| self.alert.kind == "latency" && self.monitoring.is_none());
        Snapshot {
            at: now(),
            message: self.message(),
            deadline_passed: self.deadline_passed,
            scene: Some(Scene {
                service: self.service(),
                record: self
                    .record
                    .clone()
                    .or_else(|| (!self.rollbacks.is_empty()).then(|| self.told_rollbacks().to_string())),
                revisions: self.revisions.iter().map(|revision| self.revision(revision)).collect(),
                evidence,
                slow,
                probes: self.probes.iter().map(WireProbed::understood).collect(),
            }),
        }
    }

    /// The Pub/Sub push that brings the notification.
    fn message(&self) -> Value {
        let Alert {
            kind,
            state,
            incident,
            revision,
            began,
            without,
            user_labels,
            region,
            service,
            resource,
            test,
            condition,
            metric_labels,
        } = &self.alert;
        let filter = |metric: &str| format!("metric.type=\"{metric}\" resource.type=\"cloud_run_revision\"");
        let above =
            |filter: &str| json!({"conditionThreshold": {"filter": filter, "comparison": "COMPARISON_GT"}});
        let errors =
            filter("run.googleapis.com/request_count") + " metric.labels.response_code_class=\"5xx\"";
        let of_its_kind = match kind.as_str() {
            "errors" => above(&errors),
            "latency" => above(&filter("run.googleapis.com/request_latencies")),
            "slo_burn" => above(
                "select_slo_burn_rate(\"projects/demo-project/services/k/serviceLevelObjectives/main\",\"3600s\")",
            ),
            "uptime" => above(
                "metric.type=\"monitoring.googleapis.com/uptime_check/check_passed\" resource.type=\"uptime_url\"",
            ),
            "log" => json!({"conditionMatchedLog": {"filter": "severity>=ERROR"}}),
            "saturation" => above(&filter("run.googleapis.com/container/cpu/utilizations")),
            other => panic!("{}: there is no alert of kind {other}", self.name),
        };
        let condition = condition.clone().unwrap_or(of_its_kind);
        let uptime = kind == "uptime";
        let mut labels = json!({"project_id": PROJECT});
        if !uptime {
            labels["location"] = region.as_str().into();
            labels["service_name"] = service.as_str().into();
            labels["configuration_name"] = service.as_str().into();
            if let Some(revision) = revision {
                labels["revision_name"] = revision.as_str().into();
            }
        }
        for label in without {
            labels.as_object_mut().and_then(|labels| labels.remove(label));
        }
        let notification = json!({
            "version": if *test { "test" } else { "1.2" },
            "incident": {
                "incident_id": incident,
                "state": state,
                "started_at": ago(*began).timestamp(),
                "scoping_project_id": PROJECT,
                "resource": {"type": if uptime { "uptime_url" } else { resource.as_str() }, "labels": labels},
                "policy_user_labels": user_labels,
                "policy_name": self.name,
                "condition_name": kind,
                "condition": condition,
                "metric": {"labels": metric_labels},
            }
        });
        let data = base64(notification.to_string().as_bytes());
        json!({"message": {"messageId": "1", "publishTime": time(ago(self.published)), "data": data}})
    }

    fn service(&self) -> Service {
        let targets = |split: &BTreeMap<String, u8>| -> Vec<TrafficTarget> {
            let shares = split.iter().map(|(revision, percent)| TrafficTarget {
                to: match revision.as_str() {
                    "LATEST" => Destination::Latest,
                    name => Destination::Revision(name.to_owned()),
                },
                percent: *percent,
                tag: None,
            });
            let tags = self.revisions.iter().filter(|revision| revision.tag.is_some());
            let tags = tags.map(|revision| TrafficTarget {
                to: Destination::Revision(revision.name.clone()),
                percent: 0,
                tag: revision.tag.clone(),
            });
            shares.chain(tags).collect()
        };
        let tagged = self.revisions.iter().filter_map(|revision| {
            let tag = revision.tag.as_ref()?;
            Some((revision.name.clone(), format!("https://{tag}---k-back.example")))
        });
        let ready = self.revisions.iter().filter(|revision| revision.ready);
        Service {
            name: ServiceName { project: PROJECT.into(), region: REGION.into(), service: SERVICE.into() },
            url: "https://k-back.example".into(),
            spec_traffic: targets(self.spec.as_ref().unwrap_or(&self.traffic)),
            status_traffic: targets(&self.traffic),
            tagged: tagged.collect(),
            in_flight: self.in_flight,
            trouble: None,
            latest_ready: ready.min_by_key(|revision| revision.age.0).map(|revision| revision.name.clone()),
            hold: None,
        }
    }

    fn revision(&self, revision: &WireRevision) -> Revision {
        Revision {
            name: revision.name.clone(),
            created_at: ago(revision.age),
            ready: revision.ready,
            deleting: false,
            digest: Some(self.digest(&revision.name)),
            commit: None,
            schema: revision.schema.clone(),
        }
    }

    fn digest(&self, revision: &str) -> String {
        let known = self.revisions.iter().find(|known| known.name == revision);
        let image = known.and_then(|known| known.image.as_deref()).unwrap_or(revision);
        format!("sha256:{image}")
    }

    fn told_rollbacks(&self) -> Value {
        let rollbacks: Vec<Value> = self
            .rollbacks
            .iter()
            .map(|rollback| {
                json!({
                    "id": format!("rb-{}", rollback.incident),
                    "incident": rollback.incident,
                    "at": time(ago(rollback.age)),
                    "culprit": rollback.culprit,
                    "from": [{"revision": rollback.culprit, "percent": 100}],
                    "target": rollback.target,
                    "step": 100,
                    "phase": rollback.phase,
                    "reason": "confirmed",
                })
            })
            .collect();
        let quarantine: Vec<Value> = self
            .rollbacks
            .iter()
            .map(|rollback| {
                json!({
                    "revision": rollback.culprit,
                    "digest": self.digest(&rollback.culprit),
                    "at": time(ago(rollback.age)),
                })
            })
            .collect();
        json!({"v": 1, "rollbacks": rollbacks, "quarantine": quarantine})
    }

    fn readings(&self, noise: &Noise) -> Readings {
        let latency = self.alert.kind == "latency";
        let mut errors = BTreeMap::new();
        let mut slow = BTreeMap::new();
        for served in &self.served {
            let (from, to) = (served.from.0.num_seconds(), served.to.0.num_seconds());
            for (start, end) in periods() {
                let (first, last) = (start.min(from), end.max(to));
                if first <= last {
                    continue;
                }
                let requests = noise.requests(served.rpm / 60.0, (from - first, from - last));
                for (counts, share) in [(&mut errors, served.errors), (&mut slow, served.slow)] {
                    let bad = noise.bad(requests, share);
                    let key = (served.revision.clone(), start);
                    let sample: &mut (i64, u64, u64) = counts.entry(key).or_insert((end, 0, 0));
                    sample.1 += requests.1 - requests.0;
                    sample.2 += bad;
                }
            }
        }
        let (errors, slow) = (samples(errors), samples(slow));
        if latency {
            Readings { axis: Axis::Slowness, samples: slow, errors: Some(errors) }
        } else {
            Readings { axis: Axis::Errors, samples: errors, errors: None }
        }
    }
}

fn samples(counts: BTreeMap<(String, i64), (i64, u64, u64)>) -> Samples {
    let mut samples = Samples::new();
    for ((revision, start), (end, requests, bad)) in counts {
        if requests > 0 {
            let at = |seconds| now() - TimeDelta::seconds(seconds);
            samples.entry(revision).or_default().push(Sample {
                start: at(start),
                end: at(end),
                requests,
                bad,
            });
        }
    }
    samples.values_mut().for_each(|list| list.sort_by_key(|sample| sample.start));
    samples
}

/// The periods that Runback asks Monitoring for, in seconds before the decision: hours for a week, five minutes for a
/// day, minutes for three hours.
fn periods() -> impl Iterator<Item = (i64, i64)> {
    let tier = |from: i64, to: i64, step: i64| {
        (to / step..from / step).map(move |index| ((index + 1) * step, index * step))
    };
    const HOUR: i64 = 3_600;
    tier(169 * HOUR, 26 * HOUR, HOUR).chain(tier(26 * HOUR, 3 * HOUR, 300)).chain(tier(3 * HOUR, 0, 60))
}

impl WireProbed {
    fn understood(&self) -> Probed {
        let outcome = match &self.unreachable {
            Some(why) => Outcome::Inconclusive(why.clone()),
            None => Outcome::Answered { probes: self.of, bad: self.bad, slowest: Duration::from_millis(80) },
        };
        Probed { revision: self.revision.clone(), outcome }
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
