//! What holds in every world, tried on thousands of them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::alert::{IncidentState, Signal};
use crate::domain::decision::{Decision, Outcome, Plan};
use crate::domain::evidence::Evidence;
use crate::domain::policy::{Mode, SchemaRule, Strategy};
use crate::domain::record::{Phase, Quarantined};

use super::world::{DAY, HOUR, World, name};

/// A linear congruential generator (Knuth's MMIX constants): the same worlds in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[usize::try_from(self.below(items.len() as u64)).unwrap()]
    }
}

fn label(index: usize) -> String {
    format!("k-back-{index:05}")
}

/// Mostly a deploy that failed after others; every part of it may be otherwise.
fn random(dice: &mut Dice) -> World {
    let count = 2 + usize::try_from(dice.below(4)).unwrap();
    let mut world = World::new();
    let mut age = dice.of(&[3, 20, 90, 20 * HOUR, 3 * DAY]);
    let mut took_over = 0;
    let outage = dice.chance(15);
    for index in (0..count).rev() {
        let name = label(index);
        world = world.revision(&name, age).change(&name, |revision| {
            revision.ready = true;
            revision.schema = None;
        });
        if dice.chance(15) {
            world = world.change(&name, |revision| revision.ready = false);
        }
        if dice.chance(5) {
            world = world.change(&name, |revision| revision.deleting = true);
        }
        if dice.chance(10) {
            world = world.change(&name, |revision| revision.schema = Some("7".into()));
        }
        let digest = dice.of(&[None, Some("sha256:a"), Some("sha256:b")]);
        if dice.chance(40) {
            world = world.change(&name, |revision| revision.digest = digest.map(Into::into));
        }
        if dice.chance(85) {
            let healthy = if index + 1 == count { 20 } else { 80 };
            let errors =
                if dice.chance(healthy) { dice.of(&[0.0, 0.001]) } else { dice.of(&[0.04, 0.08, 0.4, 0.9]) };
            let slow = if dice.chance(healthy) { 0.0 } else { 0.3 };
            let rpm = dice.of(&[0.2, 6.0, 60.0, 600.0]);
            let until = if dice.chance(20) { 0 } else { took_over };
            world = world.requests(&name, (age, until), rpm, errors, slow);
            if outage && age > 45 && until < 45 {
                world = world.requests(&name, (45, until), rpm, 1.0, 1.0);
            }
        }
        took_over = age;
        age += dice.of(&[10, 45, 2 * HOUR, DAY, 2 * DAY]);
    }
    let mut left = 100;
    let mut split = Vec::new();
    for index in (0..count).rev().take(1 + usize::try_from(dice.below(3)).unwrap()) {
        let percent = if dice.chance(60) { left } else { dice.of(&[1, 10, 50]).min(left) };
        split.push((label(index), percent));
        left -= percent;
    }
    split[0].1 += left;
    let split: Vec<(&str, u8)> = split.iter().map(|(name, percent)| (name.as_str(), *percent)).collect();
    world = world.traffic(&split);
    if dice.chance(60) {
        world = world.named(&label(count - 1));
    }
    for _ in 0..dice.below(3) {
        let culprit = label(usize::try_from(dice.below(count as u64)).unwrap());
        let incident = dice.of(&["0.a", "0.b", "0.c", "0.d", "0.incident"]);
        world = world.rolled_back(incident, &culprit, &label(0), dice.of(&[5, 31, 2 * HOUR, 3 * DAY]));
        if dice.chance(20) {
            world = world.record(|record| record.rollbacks[0].phase = Phase::Switching);
        }
    }
    if dice.chance(5) {
        world.record = Err("version 2".into());
    }
    if dice.chance(10) {
        world = world.dark(None);
    }
    if dice.chance(5) {
        world = world.in_flight();
    }
    let wish = dice.of(&["", "rollback", "critical", "notify"]);
    if dice.chance(20) {
        world = world.wish(wish);
    }
    let signal = dice.of(&[
        Signal::Errors,
        Signal::Errors,
        Signal::Errors,
        Signal::Latency,
        Signal::SlowBurn,
        Signal::Other,
    ]);
    let (observe, allow, warning) = (dice.chance(10), dice.chance(50), dice.chance(30));
    let gradual = dice.chance(50);
    world.comes_back = dice.chance(80);
    let (closed, most) = (dice.chance(3), dice.of(&[1, 3]));
    world
        .signal(signal)
        .alert(|alert| {
            if closed {
                alert.state = IncidentState::Closed;
            }
        })
        .rules(|rules| {
            rules.mode = if observe { Mode::Observe } else { Mode::Enforce };
            rules.schema = if allow { SchemaRule::Allow } else { SchemaRule::Block };
            rules.warning = warning.then_some(0.02);
            rules.max_rollbacks_per_day = most;
            rules.strategy = if gradual { Strategy::Gradual } else { Strategy::Immediate };
        })
}

#[test]
fn what_holds_in_every_world() {
    let mut dice = Dice(42);
    let mut seen = BTreeMap::new();
    for number in 0..4_000 {
        let world = random(&mut dice);
        let decision = world.decide();
        let text = decision.to_string();
        assert_eq!(world.decide(), decision, "world {number}: twice asked, twice the same");
        holds(&world, &decision)
            .unwrap_or_else(|broken| panic!("world {number}: {broken}\n{text}\n{:#?}", decision.plan));
        *seen.entry(World::verdict(&decision).split(" to ").next().unwrap().to_owned()).or_insert(0) += 1;
    }
    // The worlds are worth something only when they lead everywhere.
    let rollbacks: u32 =
        seen.iter().filter(|(verdict, _)| verdict.starts_with("rollback")).map(|(_, count)| count).sum();
    assert!(
        rollbacks > 200 && seen.len() > 20,
        "{rollbacks} rollbacks, {} kinds of decisions: {seen:#?}",
        seen.len()
    );
}

fn holds(world: &World, decision: &Decision) -> Result<(), String> {
    let need = |holds: bool, rule: &str| if holds { Ok(()) } else { Err(rule.to_owned()) };
    let text = decision.to_string();
    need(
        !decision.headline().trim().is_empty() && text.contains(&decision.headline()),
        "it prints a headline",
    )?;
    need(text.contains(decision.reason.code()), "it prints its reason")?;
    need(!decision.gates.is_empty(), "it has a gate")?;
    need(decision.gates.iter().all(|gate| !gate.detail.trim().is_empty()), "every gate has figures")?;
    let failed = decision.gates.iter().filter(|gate| !gate.passed).count();
    let acts = decision.outcome == Outcome::Rollback;
    need(failed == usize::from(!acts), "one gate stops it, or none does and it is a rollback")?;
    need(
        acts || decision.gates.last().is_some_and(|gate| !gate.passed),
        "the gate that stops it is the last",
    )?;
    let names: BTreeSet<&str> = decision.gates.iter().map(|gate| gate.name).collect();
    need(names.len() == decision.gates.len(), "no gate comes twice")?;
    need(!acts || decision.plan.is_some(), "a rollback has a plan")?;
    need(
        decision.service == Some(name("asia-northeast1", "k-back")) || names.len() <= 2,
        "it names the service",
    )?;
    decision.plan.as_ref().map_or(Ok(()), |plan| sound(world, plan))
}

fn acts_gradually(world: &World) -> bool {
    world.comes_back && world.policy.services.values().all(|rules| rules.strategy == Strategy::Gradual)
}

fn served_for_hours(world: &World, revision: &str, since: DateTime<Utc>) -> bool {
    let Evidence::Read(readings) = world.evidence() else { return false };
    let after = || readings.of(revision).iter().filter(|sample| sample.start >= since);
    let (requests, bad) =
        after().fold((0, 0), |(all, bad), sample| (all + sample.requests, bad + sample.bad));
    let time = after().next().zip(after().next_back()).map(|(first, last)| last.end - first.start);
    time.is_some_and(|time| time >= TimeDelta::hours(6)) && requests >= 20 && bad * 10 < requests
}

/// Only backwards, only to health, and only the culprit's share.
fn sound(world: &World, plan: &Plan) -> Result<(), String> {
    let need = |holds: bool, rule: &str| if holds { Ok(()) } else { Err(rule.to_owned()) };
    let Plan { culprit, target, from, to, .. } = plan;
    need(target.name != culprit.name, "the target is not the culprit")?;
    need(target.created_at < culprit.created_at, "the target is older")?;
    need(target.ready, "the target is ready")?;
    need(!target.deleting, "the target is not being deleted")?;
    let quarantine = &world.record.as_ref().unwrap().quarantine;
    // Hours of requests since lift it.
    let bars =
        |entry: &&Quarantined, of: &str| entry.revision == of && !served_for_hours(world, of, entry.at);
    need(!quarantine.iter().any(|entry| bars(&entry, &target.name)), "the target is not in quarantine")?;
    let images = || world.revisions.iter().filter(|revision| revision.digest == target.digest);
    let blocked = |entry: &Quarantined| {
        entry.digest == target.digest && !images().any(|of| served_for_hours(world, &of.name, entry.at))
    };
    let image = target.digest.is_some() && target.digest != culprit.digest;
    need(!image || !quarantine.iter().any(blocked), "nor is its image, unless the culprit has the same")?;
    let map = |shares: &[crate::domain::record::Share]| {
        shares.iter().map(|share| (share.revision.clone(), share.percent)).collect::<BTreeMap<_, _>>()
    };
    let (from, to) = (map(from), map(to));
    need(from == world.service.split(), "it starts from the status")?;
    let sum = |split: &BTreeMap<String, u8>| split.values().map(|percent| u32::from(*percent)).sum::<u32>();
    need(sum(&from) == 100 && sum(&to) == 100, "the splits sum to 100")?;
    need(from.get(&culprit.name).is_some_and(|share| *share > 0), "the culprit takes traffic")?;
    let end = map(&plan.end());
    need(!end.contains_key(&culprit.name), "in the end the culprit loses all of it")?;
    need(sum(&end) == 100, "which sums to 100 as well")?;
    let trial = plan.trial && world.comes_back;
    need(
        plan.step == 100 || trial || acts_gradually(world),
        "in steps only by the policy or on trial, and with a queue",
    )?;
    need((to == end) == (plan.step == 100), "one step moves all of it, and the first of several does not")?;
    let share = |split: &BTreeMap<String, u8>| split.get(&culprit.name).copied().unwrap_or(0);
    need(share(&to) < share(&from), "something moves")?;
    let others = |split: &BTreeMap<String, u8>| {
        split
            .iter()
            .filter(|(name, _)| **name != culprit.name && **name != target.name)
            .map(|(name, share)| (name.clone(), *share))
            .collect::<Vec<_>>()
    };
    need(others(&from) == others(&to), "other shares stay")
}
