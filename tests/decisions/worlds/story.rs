//! What Runback goes through in a world, in its time: alerts, second looks, deadlines, the steps of a rollback and the
//! looks after it, watches of deploys. The judgements are the real ones; here is only what the shell would do with them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use runback::domain::afterwards::{self, Action, Look, View};
use runback::domain::alert::{Alert, IncidentState, Signal};
use runback::domain::decide::{Answer, Facts, History, Round, Seen, decide};
use runback::domain::decision::{Decision, Outcome, Plan, Reason};
use runback::domain::evidence::Evidence;
use runback::domain::looks::{self, Again};
use runback::domain::policy::{Mode, Policy, Rules};
use runback::domain::record::{Phase, Quarantined, Rollback, Share};
use runback::domain::steps;
use runback::domain::watch;

use super::world::{World, at, index_of, name_of, service_name};
use crate::noise::Noise;

/// A story is told until here.
const END: i64 = 45;

/// Between a write and the traffic.
const ARRIVES: f64 = 0.1;

#[derive(Debug, Clone)]
enum Event {
    /// The minute that ends here has been served.
    Minute(i64),
    /// Monitoring shows the minute that ends here to the alert policy.
    Evaluate(i64),
    Judge {
        alert: Box<Alert>,
        look: u32,
        round: Round,
    },
    After {
        id: String,
        look: u32,
    },
    Watch {
        revision: usize,
        look: u32,
    },
}

/// What has become of a world.
#[derive(Debug, Default, Clone)]
pub struct Course {
    /// The first write of a rollback, and the one that moved the rest.
    pub first: Option<f64>,
    pub finished: Option<f64>,
    pub culprit: usize,
    pub target: usize,
    /// A part that was moved and given back.
    pub taken_back: bool,
    pub last: Option<Decision>,
    pub log: Vec<String>,
}

pub struct Story<'a> {
    world: World,
    noise: &'a Noise,
    policy: Policy,
    rules: Rules,
    queue: BTreeMap<(i64, u64), Event>,
    planned: u64,
    now: f64,
    open: BTreeSet<Option<usize>>,
    lasts: BTreeMap<Option<usize>, i64>,
    incidents: u64,
    course: Course,
}

/// A record's entry for a switch of all traffic.
pub fn first_entry(at: DateTime<Utc>, culprit: String, target: String, from: Vec<Share>) -> Rollback {
    Rollback {
        id: String::new(),
        incident: String::new(),
        alerted: None,
        slow: false,
        slower_than: None,
        at,
        moved: None,
        culprit,
        from,
        latest: 0,
        target,
        step: steps::ALL,
        trial: false,
        phase: Phase::Switching,
        reason: Reason::Confirmed.code().into(),
        why: None,
        by: None,
    }
}

/// Tells a world's story to its end.
pub fn tell(world: World, noise: &Noise) -> (World, Course) {
    let rules = Rules { mode: Mode::Enforce, warning: world.warning, ..Rules::default() };
    let policy = Policy { services: BTreeMap::from([(service_name(), rules.clone())]) };
    let mut story = Story {
        world,
        noise,
        policy,
        rules,
        queue: BTreeMap::new(),
        planned: 0,
        now: 0.0,
        open: BTreeSet::new(),
        lasts: BTreeMap::new(),
        incidents: 0,
        course: Course::default(),
    };
    story.run();
    (story.world, story.course)
}

impl Story<'_> {
    fn run(&mut self) {
        self.world.count_history(-2, self.noise);
        for minute in -1..=END {
            self.plan(minute as f64, Event::Minute(minute));
            self.plan(minute as f64 + self.world.lag, Event::Evaluate(minute));
        }
        if let Some(minute) = self.world.alerts.vouched_at {
            let mut alert = self.alert(None, minute);
            alert.policy_labels.insert("runback".into(), "rollback".into());
            alert.resource_type = "uptime_url".into();
            alert.policy_labels.extend(
                [
                    ("runback_service", "service_name"),
                    ("runback_location", "location"),
                    ("runback_project", "project_id"),
                ]
                .map(|(label, of)| (label.to_owned(), alert.resource_labels[of].clone())),
            );
            alert.resource_labels.clear();
            self.plan(minute, Event::Judge { alert: Box::new(alert), look: 0, round: Round::First });
        }
        let deploys: Vec<_> = self.world.splits.iter().filter(|(when, _)| *when > -8.0).cloned().collect();
        let watched = self.world.watched;
        for (when, shares) in deploys.iter().filter(|_| watched) {
            let newest = shares.iter().map(|(revision, _)| *revision).max().unwrap();
            self.plan(when + 1.3, Event::Watch { revision: newest, look: 1 });
        }
        while let Some(((millis, _), event)) = self.queue.pop_first() {
            self.now = millis as f64 / 60_000.0;
            if self.now <= END as f64 {
                self.happen(event);
            }
        }
    }

    fn plan(&mut self, minute: f64, event: Event) {
        self.planned += 1;
        self.queue.insert(((minute * 60_000.0) as i64, self.planned), event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Minute(end) => self.world.count(end - 1, end, self.noise),
            Event::Evaluate(end) => self.evaluate(end),
            Event::Judge { alert, look, round } => {
                if let Some(decision) = self.judge(&alert, round) {
                    self.look_again(&alert, look, &decision);
                }
            }
            Event::After { id, look } => self.look_after(&id, look),
            Event::Watch { revision, look } => self.watch(revision, look),
        }
    }

    /// The alert policy: an incident for each of its series, and one notification for an incident.
    fn evaluate(&mut self, end: i64) {
        let policy = self.world.alerts;
        let series: Vec<Option<usize>> = match policy.by_revision {
            true => (0..self.world.revisions.len()).map(Some).collect(),
            false => vec![None],
        };
        for of in series {
            let (requests, bad) = self.world.seen_by_alerts(of, end);
            if requests == 0 || (bad as f64) <= policy.threshold * requests as f64 {
                self.lasts.remove(&of);
                self.open.remove(&of);
                continue;
            }
            let lasts = self.lasts.entry(of).or_insert(-1);
            *lasts += 1;
            if *lasts >= policy.duration && self.open.insert(of) {
                let alert = self.alert(of, end as f64);
                let published = self.now + self.noise.between(0.1, 0.6);
                self.plan(published, Event::Judge { alert: Box::new(alert), look: 0, round: Round::First });
            }
        }
    }

    fn alert(&mut self, revision: Option<usize>, began: f64) -> Alert {
        self.incidents += 1;
        let name = service_name();
        let mut alert = Alert::known_by(&format!("0.incident{}", self.incidents));
        alert.state = IncidentState::Open;
        alert.started_at = Some(at(began));
        alert.resource_type = "cloud_run_revision".into();
        alert.signal = self.world.alerts.signal;
        alert.resource_labels = BTreeMap::from([
            ("project_id".to_owned(), name.project),
            ("location".to_owned(), name.region),
            ("service_name".to_owned(), name.service),
        ]);
        if let Some(revision) = revision {
            alert.resource_labels.insert("revision_name".into(), name_of(revision));
        }
        alert
    }

    /// Judges an alert and does what is decided; the decision, when it is not to move anything.
    fn judge(&mut self, alert: &Alert, round: Round) -> Option<Decision> {
        let service = self.world.service(self.now);
        let record = Ok(self.world.record.clone());
        let revisions = self.world.listed(self.now);
        let evidence = Evidence::Read(self.world.readings(self.now));
        let facts = Facts {
            alert,
            policy: &self.policy,
            now: at(self.now),
            published_at: None,
            disputed: None,
            round,
            known_closed: false,
            waiting_since: None,
            seen: Some(Seen { service: &service, record: &record, told: true }),
            history: Some(History { revisions: &revisions, evidence: &evidence }),
            comes_back: true,
            probes: &[],
        };
        let Answer::Decided(decision) = decide(&facts) else { panic!("everything is known") };
        self.course.log.push(format!("{:.1} {:?} {decision}", self.now, alert.signal));
        self.course.last = Some(*decision.clone());
        match &decision.outcome {
            Outcome::Rollback => {
                let plan = decision.plan.clone().unwrap();
                self.begin(alert, &decision, &plan);
                None
            }
            Outcome::Hasten(rollback) => {
                self.step(rollback, steps::ALL);
                None
            }
            _ => Some(*decision),
        }
    }

    fn look_again(&mut self, alert: &Alert, look: u32, decision: &Decision) {
        let Some(Again { wait, deadline }) = looks::again(alert.signal, decision.reason, look) else {
            return;
        };
        let round = if deadline { Round::Deadline } else { Round::Again };
        let (alert, wait) = (Box::new(alert.clone()), wait.as_secs_f64() / 60.0);
        self.plan(self.now + wait, Event::Judge { alert, look: look + 1, round });
    }

    fn begin(&mut self, alert: &Alert, decision: &Decision, plan: &Plan) {
        let rollback = Rollback {
            id: format!("rb-{}", self.planned),
            incident: alert.incident.clone(),
            step: plan.step,
            trial: plan.trial,
            slow: alert.signal == Signal::Latency,
            reason: decision.reason.code().into(),
            ..first_entry(
                at(self.now),
                plan.culprit.name.clone(),
                plan.target.name.clone(),
                plan.from.clone(),
            )
        };
        let bad = Quarantined {
            revision: plan.culprit.name.clone(),
            digest: plan.culprit.digest.clone().filter(|_| plan.culprit.digest != plan.target.digest),
            commit: None,
            at: at(self.now),
        };
        self.world.record = self.world.record.with(rollback.clone(), bad, |_| true);
        if self.course.first.is_none() {
            self.course.first = Some(self.now);
            (self.course.culprit, self.course.target) =
                (index_of(&rollback.culprit), index_of(&rollback.target));
        }
        self.written(&rollback);
    }

    fn step(&mut self, rollback: &Rollback, step: u8) {
        let moved = Some(at(self.now));
        let changed = Rollback { step, moved, phase: Phase::Switching, ..rollback.clone() };
        self.world.record = self.world.record.with_changed(&changed);
        self.written(&changed);
    }

    /// A write becomes traffic, and the next look is due.
    fn written(&mut self, rollback: &Rollback) {
        let shares = rollback.to().iter().map(|share| (index_of(&share.revision), share.percent)).collect();
        self.world.shift(self.now + ARRIVES, shares);
        let finished = rollback.step >= steps::ALL;
        if finished && self.course.finished.is_none() {
            self.course.finished = Some(self.now);
        }
        let wait = if finished { afterwards::FIRST_LOOK } else { self.rules.step_interval };
        let id = rollback.id.clone();
        self.plan(self.now + wait.as_secs_f64() / 60.0, Event::After { id, look: 1 });
    }

    fn look_after(&mut self, id: &str, look: u32) {
        let Some(rollback) = self.world.record.rollbacks.first().filter(|entry| entry.id == id).cloned()
        else {
            return;
        };
        let service = self.world.service(self.now);
        let evidence = Evidence::Read(self.world.readings(self.now));
        let view = View {
            rollback: &rollback,
            service: &service,
            rules: &self.rules,
            told: true,
            last_look: look >= afterwards::MOST_LOOKS,
            now: at(self.now),
            evidence: Some(&evidence),
        };
        let Look::Found(found) = afterwards::find(&view) else { panic!("the evidence is known") };
        let Some((phase, action)) = afterwards::next(&rollback.phase, found.finding) else { return };
        self.course.log.push(format!("{:.1} {} {action:?}", self.now, found.finding.word()));
        match action {
            Action::Step => self.step(&rollback, steps::next(&self.rules, rollback.share(), rollback.step)),
            Action::StepToTheEnd => self.step(&rollback, steps::ALL),
            Action::Restore => {
                let moved = Some(at(self.now));
                let changed = Rollback { phase: Phase::Restored, moved, ..rollback.clone() };
                self.world.record = self.world.record.with_changed(&changed);
                let shares = rollback.from.iter().map(|share| (index_of(&share.revision), share.percent));
                let shares = shares.collect();
                self.world.shift(self.now + ARRIVES, shares);
                self.course.taken_back |= self.course.finished.is_none();
            }
            Action::LookAgain => {
                let wait = afterwards::NEXT_LOOK.as_secs_f64() / 60.0;
                self.plan(self.now + wait, Event::After { id: id.to_owned(), look: look + 1 });
            }
            Action::ComeAgain => self.plan(self.now + 1.0, Event::After { id: id.to_owned(), look }),
            _ => {
                let changed = Rollback { phase, ..rollback };
                self.world.record = self.world.record.with_changed(&changed);
            }
        }
    }

    fn watch(&mut self, revision: usize, look: u32) {
        let name = name_of(revision);
        if !self.world.service(self.now).split().contains_key(&name)
            || self.world.record.rollbacks.iter().any(|rollback| rollback.culprit == name)
        {
            return;
        }
        let mut alert = self.alert(Some(revision), self.now);
        (alert.signal, alert.started_at) = (Signal::Deploy, None);
        alert.incident = watch::incident(&name, 0);
        // A watch judges errors, whatever the alert policy is about.
        let measured = std::mem::replace(&mut self.world.alerts.signal, Signal::Deploy);
        let decision = self.judge(&alert, Round::First);
        self.world.alerts.signal = measured;
        if look < 10 && decision.is_some_and(|decision| watch::over(&decision).is_none()) {
            self.plan(self.now + 1.0, Event::Watch { revision, look: look + 1 });
        }
    }
}
