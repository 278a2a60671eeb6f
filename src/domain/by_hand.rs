//! What a person may do by hand: the same evidence, the same candidates and the same gates as for Runback itself.

use chrono::{DateTime, Utc};

use super::alert::{Alert, Signal};
use super::decide::{Case, Round, totals};
use super::decision::Gate;
use super::evidence::{self, Axis, Evidence, Totals, Verdict};
use super::gates::failing::{judge_revision, sentence};
use super::gates::target::{self, Past};
use super::gates::{limits, preflight, released};
use super::policy::Rules;
use super::probe::Probed;
use super::record::{Phase, Quarantined, Record, Rollback, Share};
use super::service::{Destination, Revision, Service, TrafficTarget};
use super::steps;
use super::text;

/// The gates of a rollback by hand that a person may pass by name.
pub const FORCEABLE: [&str; 4] = ["quarantine", "schema", "healthy", "preflight"];

/// A service as it was read for a person.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The service.
    pub service: &'a Service,
    /// Our record on it.
    pub record: &'a Record,
    /// All its revisions.
    pub revisions: &'a [Revision],
    /// What Monitoring counted of errors.
    pub evidence: &'a Evidence,
    /// The policy's rules for it.
    pub rules: &'a Rules,
    /// The moment.
    pub now: DateTime<Utc>,
}

/// What a person asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish<'a> {
    /// The revision that Runback would choose.
    Best,
    /// A revision, or the newest one of a commit.
    Named(&'a str),
}

/// A rollback by hand, as far as it can be judged without probing.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The revision that loses most of the traffic.
    pub culprit: Revision,
    /// The one that gets all of it.
    pub target: Revision,
    /// The split before, by the status.
    pub from: Vec<Share>,
    /// The gates, in order.
    pub gates: Vec<Gate>,
}

/// What became of a wish.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// It can be weighed.
    Planned(Box<Plan>),
    /// The target serves everything already.
    Nothing(Revision),
    /// There is no such target: the gates up to there.
    NoTarget(Vec<Gate>),
}

/// What can be undone.
#[derive(Debug, Clone, PartialEq)]
pub enum Undo<'a> {
    /// The last rollback on record, and the gates.
    Planned(&'a Rollback, Vec<Gate>),
    /// Nothing, and why.
    Nothing(String),
}

/// What can be released.
#[derive(Debug, Clone, PartialEq)]
pub enum Release<'a> {
    /// The revision that LATEST means, or will, and the gates.
    Planned(&'a Revision, Vec<Gate>),
    /// LATEST, which is this revision, has all traffic already.
    Nothing(String),
    /// There is no such revision.
    NoTarget(Vec<Gate>),
}

impl Plan {
    /// The split afterwards.
    #[must_use]
    pub fn to(&self) -> Vec<Share> {
        vec![Share { revision: self.target.name.clone(), percent: steps::ALL }]
    }

    /// Whether the target is older than what it replaces: only then is that put into quarantine.
    #[must_use]
    pub fn goes_back(&self) -> bool {
        self.target.created_at < self.culprit.created_at
    }
}

impl<'a> Situation<'a> {
    /// Calls `look` with what the gates look at. No alert has fired: requests are judged by errors.
    pub(super) fn with_case<T>(&self, look: impl FnOnce(&Case<'_>) -> T) -> T {
        let alert = Alert { signal: Signal::Errors, ..Alert::known_by("") };
        let totals = totals(self.evidence);
        look(&self.case(&alert, &totals))
    }

    fn case<'b>(&'b self, alert: &'b Alert, totals: &'b Totals) -> Case<'b> {
        Case {
            alert,
            rules: self.rules,
            now: self.now,
            published_at: None,
            disputed: None,
            round: Round::First,
            waiting_since: None,
            comes_back: false,
            service: self.service,
            record: self.record,
            revisions: self.revisions,
            evidence: self.evidence,
            totals,
        }
    }

    /// The newest serving revision that fails; where none does, the newest serving one.
    #[must_use]
    pub fn suspect(&self) -> Option<&'a Revision> {
        let split = self.service.split();
        let serving = self.revisions.iter().filter(|revision| split.contains_key(&revision.name));
        self.with_case(|case| {
            let fails = |revision: &Revision| {
                judge_revision(case, &revision.name)
                    .is_some_and(|judgement| judgement.verdict == Verdict::Confirmed)
            };
            serving.max_by_key(|revision| (fails(revision), revision.created_at))
        })
    }

    /// The revision that Runback would go back to now, with its figures.
    ///
    /// # Errors
    /// With a sentence, when there is none.
    pub fn best(&self) -> Result<(&'a Revision, String), String> {
        let culprit = self.suspect().ok_or("no revision that Cloud Run lists takes traffic")?;
        self.with_case(|case| match target::choose(case, culprit, &[]) {
            Ok((target, detail)) => {
                let name = target.revision.name.clone();
                Ok((name, detail))
            }
            Err(halt) => Err(halt.detail),
        })
        .and_then(|(name, detail)| {
            self.revision(&name).map(|revision| (revision, detail)).ok_or("it is gone".to_owned())
        })
    }

    /// The gate `preflight`, by what the target's probes found. Real requests outweigh probes.
    #[must_use]
    pub fn preflight(&self, probed: &Probed) -> Gate {
        let passed = self.with_case(|case| !preflight::convicts(case, probed));
        gate("preflight", passed, &probed.sentence())
    }

    fn revision(&self, name: &str) -> Option<&'a Revision> {
        self.revisions.iter().find(|revision| revision.name == name)
    }

    /// The revision that a text names: by its name, with or without the service's in front, or by its commit. Of several
    /// with one commit the newest ready one is meant.
    #[must_use]
    pub fn named(&self, text: &str) -> Option<&'a Revision> {
        let full = format!("{}-{text}", self.service.name.service);
        let by_name = || self.revision(text).or_else(|| self.revision(&full));
        let of_commit = self.revisions.iter().filter(|revision| is_commit(revision, text));
        by_name().or_else(|| of_commit.max_by_key(|revision| (revision.ready, revision.created_at)))
    }

    /// Weighs a wish, without the gate `preflight`.
    #[must_use]
    pub fn weigh(&self, wish: Wish<'_>) -> Answer {
        let settled = self.settled();
        let found = match wish {
            Wish::Best => self.best(),
            Wish::Named(text) => self
                .named(text)
                .map(|revision| (revision, String::new()))
                .ok_or_else(|| format!("no revision or commit of the service is called {text}")),
        };
        let (target, chosen) = match found {
            Ok(found) => found,
            Err(why) => return Answer::NoTarget(vec![settled, gate("target", false, &why)]),
        };
        let split = self.service.split();
        let wanted = self.service.spec_split();
        let serves_all = |split: &super::service::Split| split.get(&target.name) == Some(&steps::ALL);
        if serves_all(&split) && serves_all(&wanted) {
            return Answer::Nothing(target.clone());
        }
        let Some(culprit) = self.loses_most(target) else {
            let why = "Cloud Run lists none of the revisions that take traffic";
            return Answer::NoTarget(vec![settled, gate("target", false, why)]);
        };
        let from: Vec<Share> =
            split.into_iter().map(|(revision, percent)| Share { revision, percent }).collect();
        let gates = self.with_case(|case| {
            vec![
                settled,
                exists(target, &chosen),
                unbanned(target::ban(case, target, Some(culprit)), target),
                schema(self.rules, culprit, target),
                healthy(case, target, culprit),
            ]
        });
        Answer::Planned(Box::new(Plan { culprit: culprit.clone(), target: target.clone(), from, gates }))
    }

    /// Whether the last rollback can be taken back: everything has to be as it was written.
    #[must_use]
    pub fn undo(&self) -> Undo<'a> {
        let Some(last) = self.record.rollbacks.first() else {
            return Undo::Nothing("no rollback is on record".into());
        };
        if matches!(last.phase, Phase::Undone | Phase::Restored) {
            return Undo::Nothing(format!("the rollback from {} is undone already", last.culprit));
        }
        let untouched = match last.is_untouched(self.service) {
            true => gate("overruled", true, "nobody has moved the traffic since"),
            false => gate("overruled", false, "somebody has moved the traffic since the rollback"),
        };
        let missing = last.from.iter().find(|share| {
            self.revision(&share.revision).is_none_or(|revision| !revision.ready || revision.deleting)
        });
        let there = match missing {
            _ if last.from.is_empty() => {
                gate("target", false, "the record does not say how the traffic was split")
            }
            Some(share) => gate("target", false, &format!("{} is gone, or not ready", share.revision)),
            None => gate("target", true, "every revision from before is ready"),
        };
        Undo::Planned(last, vec![self.settled(), untouched, there])
    }

    /// Whether all traffic can go back to LATEST.
    #[must_use]
    pub fn release(&self) -> Release<'a> {
        let ready = self.revisions.iter().filter(|revision| revision.ready && !revision.deleting);
        let Some(newest) = ready.max_by_key(|revision| revision.created_at) else {
            let none = gate("target", false, "no revision of the service is ready");
            return Release::NoTarget(vec![self.settled(), none]);
        };
        let latest =
            |target: &TrafficTarget| target.to == Destination::Latest && target.percent == steps::ALL;
        let follows = self.service.spec_traffic.is_empty() || self.service.spec_traffic.iter().any(latest);
        if follows && !self.service.in_flight {
            return Release::Nothing(
                self.service.latest_ready.clone().unwrap_or_else(|| newest.name.clone()),
            );
        }
        let split = self.service.split();
        let serving = self.revisions.iter().filter(|revision| split.contains_key(&revision.name));
        let newer = serving.max_by_key(|revision| revision.created_at);
        // Only a rollback of ours takes LATEST away. A service that did not follow it was released by name.
        let by_name = self.record.rollbacks.first().is_some_and(|rollback| rollback.latest == 0);
        let preview = by_name && self.with_case(|case| released::only_tagged(case, &newest.name));
        let target = match newer.filter(|serving| serving.created_at > newest.created_at) {
            None if preview => {
                let detail = format!(
                    "the newest revision is {}, which its tag alone reaches, and the service did not follow LATEST before; to serve it, give it the traffic by name",
                    newest.name
                );
                gate("target", false, &detail)
            }
            Some(serving) => {
                let detail = format!("{} is older than {}, which serves", newest.name, serving.name);
                gate("target", false, &detail)
            }
            None => gate("target", true, &format!("{} is the newest ready revision", newest.name)),
        };
        // A revision of a rolled-back image is as bad under another name.
        let mut unbanned = self.with_case(|case| unbanned(target::ban(case, newest, None), newest));
        if !unbanned.passed {
            unbanned.detail += "; deploy a fix first";
        }
        Release::Planned(newest, vec![self.settled(), target, unbanned])
    }

    fn settled(&self) -> Gate {
        match self.service.in_flight {
            true => gate("settled", false, "a deploy is in flight; try again when it has settled"),
            false => gate("settled", true, "no deploy is in flight"),
        }
    }

    /// The revision that loses most of the traffic when everything goes to the target; the newest one of several.
    fn loses_most(&self, target: &Revision) -> Option<&'a Revision> {
        // A rollout that failed wants traffic for a revision that never got any.
        [self.service.split(), self.service.spec_split()].iter().find_map(|split| {
            let share = |revision: &Revision| split.get(&revision.name).copied().unwrap_or_default();
            let others = self.revisions.iter().filter(|revision| revision.name != target.name);
            others
                .filter(|revision| share(revision) > 0)
                .max_by_key(|revision| (share(revision), revision.created_at))
        })
    }
}

/// Whether a text is, or begins, a revision's commit.
#[must_use]
pub fn is_commit(revision: &Revision, text: &str) -> bool {
    revision.commit.as_ref().is_some_and(|commit| same_commit(commit, text))
}

/// Whether a text is, or begins, a commit: by 7 hex digits at least. A commit that comes from an image's tag may be shorter
/// than what a person has copied.
#[must_use]
pub fn same_commit(commit: &str, text: &str) -> bool {
    let (commit, text) = (commit.to_ascii_lowercase(), text.to_ascii_lowercase());
    let is_hash = (7..=40).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit());
    is_hash && (commit.starts_with(&text) || (commit.len() >= 7 && text.starts_with(&commit)))
}

fn gate(name: &'static str, passed: bool, detail: &str) -> Gate {
    Gate { name, passed, detail: detail.to_owned() }
}

fn exists(target: &Revision, chosen: &str) -> Gate {
    if !target.ready {
        return gate("target", false, &format!("{} is not ready", target.name));
    }
    if target.deleting {
        return gate("target", false, &format!("{} is being deleted", target.name));
    }
    let ready = format!("{} is ready", target.name);
    gate("target", true, if chosen.is_empty() { &ready } else { chosen })
}

fn unbanned(ban: Option<&Quarantined>, revision: &Revision) -> Gate {
    let name = &revision.name;
    match ban {
        Some(entry) if entry.revision == *name => {
            gate("quarantine", false, &format!("{name} was rolled back at {}", text::clock(entry.at)))
        }
        Some(entry) => {
            let detail = format!("{name} has the image of {}, which was rolled back", entry.revision);
            gate("quarantine", false, &detail)
        }
        None => gate("quarantine", true, &format!("{name} is not in quarantine")),
    }
}

fn schema(rules: &Rules, culprit: &Revision, target: &Revision) -> Gate {
    match limits::schema(rules, culprit, target) {
        Ok(((), detail)) => gate("schema", true, &detail),
        Err(halt) => gate("schema", false, &halt.detail),
    }
}

/// What requests say of the target: now, where it has some, and in the history.
fn healthy(case: &Case<'_>, target: &Revision, culprit: &Revision) -> Gate {
    let name = &target.name;
    if let Evidence::Unreadable { why, permission } = case.evidence {
        let missing =
            permission.as_ref().map_or(String::new(), |name| format!("; the permission {name} is missing"));
        return gate("healthy", true, &format!("unproven: Monitoring cannot be read ({why}){missing}"));
    }
    let window = case.window_of(name).unwrap_or_default();
    if let Some(judgement) = judge_revision(case, name)
        && judgement.verdict == Verdict::Confirmed
    {
        let figures = sentence(case.rules, Axis::Errors, &judgement, text::delta(case.rules.window));
        return gate("healthy", false, &format!("{name} fails now: {figures}"));
    }
    let history = text::duration(case.rules.history);
    match target::past(case, target, target::tolerated(case, culprit)) {
        Past::Healthy { requests, ratio, .. } => {
            let (requests, ratio) = (text::count(requests), text::percent(ratio));
            gate(
                "healthy",
                true,
                &format!("{name} served {requests} requests in the last {history}, {ratio} bad"),
            )
        }
        Past::Bad => {
            let since = case.now - text::delta(case.rules.history);
            let (requests, bad) = evidence::total(&evidence::since(&case.real_traffic(name), since));
            let ratio = text::percent(evidence::ratio(bad, requests));
            let requests = text::count(requests);
            gate(
                "healthy",
                false,
                &format!(
                    "{name} served {requests} requests in the last {history}, and not healthily: {ratio} bad"
                ),
            )
        }
        Past::Unknown if window.is_empty() => gate(
            "healthy",
            true,
            &format!("unproven: {name} served too few requests in the last {history} to tell"),
        ),
        Past::Unknown => gate("healthy", true, &format!("unproven: {name} has only begun to serve")),
    }
}
