//! Kinds of incidents with known causes. Every world of a kind draws its own service, figures and alert policy.

use runback::domain::alert::Signal;
use runback::domain::record::{Phase, Quarantined, Record, Rollback, Share};

use super::world::{AlertPolicy, Fault, World, at, name_of};
use crate::noise::Noise;

/// A kind of incident.
pub struct Kind {
    pub name: &'static str,
    pub make: fn(&Noise) -> World,
}

macro_rules! kinds {
    ($($name:ident,)*) => {
        pub const KINDS: &[Kind] = &[$(Kind { name: stringify!($name), make: $name },)*];
    };
}

kinds! {
    fresh_total, fresh_partial, fresh_one_path, fresh_by_slo, fresh_slow, fresh_uptime, fresh_little_traffic,
    slow_burn, warning_band, bad_then_bad, fix_with_the_same_image, quarantined_returns, target_bad_too,
    target_with_chronic_errors, canary_bad, canary_bad_few_requests, promoted_canary, leak, leak_slow,
    path_hit_late, flag, flag_by_slo,
    canary_good, canary_and_outage, startup, slow_start, spike, spike_of_one_revision, chronic, chronic_slo,
    outage_hours_after, outage_soon_after, outage_before, outage_by_slo, outage_little_traffic, few_and_flaky,
    region, client, overload, overload_slow, slow_dependency, uptime_wrong,
}

const EVER: f64 = f64::INFINITY;

fn fault(from: f64, to: f64, errors: f64) -> Fault {
    Fault { from, to, errors, slow: 0.0, ramp: 0.0, of: None }
}

fn of(revision: usize, errors: f64) -> Fault {
    Fault { of: Some(revision), ..fault(0.0, EVER, errors) }
}

/// A ratio of 5xx answers over 5 %: mostly as the Terraform module in `infra` makes it, by revision and minute.
fn errors(noise: &Noise) -> AlertPolicy {
    let align = if noise.happens(0.2) { 5 } else { 1 };
    let duration = [0, 1, 1, 2][(noise.uniform() * 4.0) as usize];
    let by_revision = noise.happens(0.65);
    AlertPolicy { signal: Signal::Errors, by_revision, threshold: 0.05, align, duration, vouched_at: None }
}

fn slow(noise: &Noise) -> AlertPolicy {
    AlertPolicy { signal: Signal::Latency, ..errors(noise) }
}

/// A burn rate over minutes or an hour, of the whole service.
fn slo(noise: &Noise) -> AlertPolicy {
    let (align, threshold) = if noise.happens(0.5) { (5, 0.014) } else { (20, 0.01) };
    AlertPolicy {
        signal: Signal::SlowBurn,
        by_revision: false,
        threshold,
        align,
        duration: 0,
        vouched_at: None,
    }
}

/// A service that was deployed again and again, the last time a day or more before `age` minutes ago.
fn settled(noise: &Noise, rpm: (f64, f64), alerts: AlertPolicy, age: f64) -> World {
    let (rpm, base) = (noise.scale(rpm.0, rpm.1), noise.scale(0.000_01, 0.01));
    let lag = noise.between(1.0, 3.0);
    let mut world = World::new(rpm, base, lag, alerts);
    let deploys = 2 + (noise.uniform() * 4.0) as usize;
    let mut ages: Vec<f64> = (0..deploys).map(|_| age + noise.scale(90.0, 9_000.0)).collect();
    ages.sort_by(f64::total_cmp);
    for age in ages.into_iter().rev() {
        start(&mut world, noise, -age, 100);
    }
    if noise.happens(0.15) {
        world.revisions[0].ready = false;
    }
    world.watched = noise.happens(0.4);
    world
}

/// A deploy, with errors and slow answers while its instances start, in half of the cases.
fn start(world: &mut World, noise: &Noise, when: f64, percent: u8) -> usize {
    let new = world.deploy(when, percent);
    if noise.happens(0.5) {
        let to = when + noise.between(0.4, 1.2);
        let (errors, slow) = (noise.between(0.005, 0.06), noise.between(0.02, 0.3));
        world.faults.push(Fault { from: when, to, errors, slow, ramp: 0.0, of: Some(new) });
    }
    new
}

fn usual(noise: &Noise, alerts: AlertPolicy, age: f64) -> World {
    settled(noise, (30.0, 20_000.0), alerts, age)
}

/// A service whose newest revision has served well for `age` minutes.
fn ripe(noise: &Noise, alerts: AlertPolicy, age: f64) -> (World, usize) {
    let mut world = usual(noise, alerts, age);
    let new = start(&mut world, noise, -age, 100);
    (world, new)
}

fn hours(noise: &Noise) -> f64 {
    noise.scale(40.0, 1_300.0)
}

/// A deploy at 0 that fails from its first request on.
fn fresh(noise: &Noise, alerts: AlertPolicy, errors: f64) -> World {
    let mut world = usual(noise, alerts, 0.0);
    let new = start(&mut world, noise, 0.0, 100);
    let slow = if alerts.signal == Signal::Latency { errors } else { 0.0 };
    let errors = if slow > 0.0 { 0.0 } else { errors };
    world.faults.push(Fault { slow, ..of(new, errors) });
    world
}

fn fresh_total(noise: &Noise) -> World {
    let (alerts, share) = (errors(noise), noise.between(0.8, 1.0));
    fresh(noise, alerts, share)
}

fn fresh_partial(noise: &Noise) -> World {
    let (alerts, share) = (errors(noise), noise.between(0.15, 0.8));
    fresh(noise, alerts, share)
}

fn fresh_one_path(noise: &Noise) -> World {
    let (alerts, share) = (errors(noise), noise.between(0.07, 0.15));
    fresh(noise, alerts, share)
}

fn fresh_by_slo(noise: &Noise) -> World {
    let (alerts, share) = (slo(noise), noise.scale(0.06, 1.0));
    fresh(noise, alerts, share)
}

fn fresh_slow(noise: &Noise) -> World {
    let (alerts, share) = (slow(noise), noise.scale(0.1, 0.9));
    fresh(noise, alerts, share)
}

fn fresh_uptime(noise: &Noise) -> World {
    let vouched_at = Some(noise.between(2.0, 5.0));
    let share = noise.between(0.5, 1.0);
    fresh(noise, AlertPolicy { vouched_at, ..vouched() }, share)
}

fn vouched() -> AlertPolicy {
    let signal = Signal::Other;
    AlertPolicy { signal, by_revision: false, threshold: 2.0, align: 1, duration: 0, vouched_at: None }
}

fn fresh_little_traffic(noise: &Noise) -> World {
    let alerts = errors(noise);
    let mut world = settled(noise, (0.8, 8.0), alerts, 0.0);
    let new = start(&mut world, noise, 0.0, 100);
    world.faults.push(of(new, noise.between(0.6, 1.0)));
    world
}

fn slow_burn(noise: &Noise) -> World {
    let alerts = slo(noise);
    let mut world = settled(noise, (300.0, 20_000.0), alerts, 0.0);
    world.base = noise.scale(0.000_01, 0.004);
    let new = start(&mut world, noise, 0.0, 100);
    world.faults.push(of(new, noise.between(0.022, 0.045)));
    world
}

fn warning_band(noise: &Noise) -> World {
    let alerts = AlertPolicy { threshold: 0.02, ..errors(noise) };
    let mut world = settled(noise, (300.0, 20_000.0), alerts, 0.0);
    world.base = noise.scale(0.000_01, 0.004);
    world.warning = Some(0.02);
    let new = start(&mut world, noise, 0.0, 100);
    world.faults.push(of(new, noise.between(0.028, 0.045)));
    world
}

fn bad_then_bad(noise: &Noise) -> World {
    let alerts = errors(noise);
    let mut world = usual(noise, alerts, 20.0);
    let first = start(&mut world, noise, -noise.between(2.0, 9.0), 100);
    let second = start(&mut world, noise, 0.0, 100);
    let share = noise.between(0.1, 0.9);
    world.faults.push(Fault { from: -20.0, ..of(first, share) });
    world.faults.push(of(second, share * noise.between(0.8, 1.2).min(1.0 / share)));
    world
}

/// A configuration that failed two days ago, was rolled back, mended with the same image, and did well since.
fn fix_with_the_same_image(noise: &Noise) -> World {
    let alerts = errors(noise);
    let mut world = usual(noise, alerts, 3_000.0);
    let bad = world.deploy(-2_900.0, 100);
    world.faults.push(Fault { from: -2_900.0, ..of(bad, 0.6) });
    let before = bad - 1;
    world.shift(-2_894.0, vec![(before, 100)]);
    rolled_back(&mut world, bad, before, -2_894.0);
    let mended = world.deploy(-2_700.0, 100);
    world.revisions[mended].image = bad;
    let new = start(&mut world, noise, 0.0, 100);
    world.faults.push(of(new, noise.between(0.15, 0.9)));
    world
}

fn quarantined_returns(noise: &Noise) -> World {
    let alerts = errors(noise);
    let back = noise.scale(60.0, 2_800.0);
    let mut world = usual(noise, alerts, back + 100.0);
    let bad = world.deploy(-back - 8.0, 100);
    world.faults.push(Fault { from: -back - 8.0, ..of(bad, noise.between(0.2, 0.9)) });
    let before = bad - 1;
    world.shift(-back, vec![(before, 100)]);
    rolled_back(&mut world, bad, before, -back);
    world.shift(0.0, vec![(bad, 100)]);
    world
}

fn rolled_back(world: &mut World, culprit: usize, target: usize, when: f64) {
    let share = |revision| Share { revision: name_of(revision), percent: 100 };
    world.record = Record {
        rollbacks: vec![Rollback {
            id: "rb-earlier".into(),
            incident: "0.earlier".into(),
            phase: Phase::Recovered,
            ..super::story::first_entry(at(when), name_of(culprit), name_of(target), vec![share(culprit)])
        }],
        quarantine: vec![Quarantined {
            revision: name_of(culprit),
            digest: Some(format!("sha256:{culprit:05}")),
            commit: None,
            at: at(when),
        }],
        ..Record::default()
    };
}

/// The revision before has failed ever since its deploy, a day ago.
fn target_bad_too(noise: &Noise) -> World {
    let alerts = errors(noise);
    let age = noise.scale(60.0, 1_300.0);
    let mut world = usual(noise, alerts, age);
    let before = start(&mut world, noise, -age, 100);
    let share = noise.between(0.1, 0.3);
    world.faults.push(Fault { from: -age, ..of(before, share) });
    let new = start(&mut world, noise, 0.0, 100);
    world.faults.push(of(new, share * 3.0));
    world
}

fn target_with_chronic_errors(noise: &Noise) -> World {
    let alerts = AlertPolicy { threshold: 0.1, ..errors(noise) };
    let mut world = settled(noise, (300.0, 20_000.0), alerts, 0.0);
    world.base = noise.between(0.04, 0.065);
    world.restless = 0.1;
    let new = start(&mut world, noise, 0.0, 100);
    world.faults.push(of(new, noise.between(0.3, 0.9)));
    world
}

fn canary_bad(noise: &Noise) -> World {
    let alerts = errors(noise);
    let mut world = settled(noise, (400.0, 20_000.0), alerts, 0.0);
    let percent = noise.between(5.0, 50.0) as u8;
    let new = start(&mut world, noise, 0.0, percent);
    let least = if alerts.by_revision { 0.1 } else { 0.07 * 100.0 / f64::from(percent) };
    world.faults.push(of(new, noise.between(least.min(0.9), 1.0)));
    world
}

fn canary_bad_few_requests(noise: &Noise) -> World {
    let alerts = AlertPolicy { by_revision: true, ..errors(noise) };
    let mut world = settled(noise, (15.0, 60.0), alerts, 0.0);
    let new = start(&mut world, noise, 0.0, 10);
    world.faults.push(of(new, noise.between(0.6, 1.0)));
    world
}

/// A canary that was well for hours or days and fails once it has all of the traffic.
fn promoted_canary(noise: &Noise) -> World {
    let alerts = errors(noise);
    let age = noise.scale(60.0, 4_500.0);
    let mut world = usual(noise, alerts, age);
    let new = start(&mut world, noise, -age, noise.between(2.0, 20.0) as u8);
    world.shift(0.0, vec![(new, 100)]);
    world.faults.push(of(new, noise.between(0.15, 0.95)));
    world
}

fn leak(noise: &Noise) -> World {
    let (alerts, age) = (errors(noise), hours(noise));
    let (mut world, new) = ripe(noise, alerts, age);
    let (share, ramp) = (noise.between(0.3, 1.0), noise.between(4.0, 30.0));
    world.faults.push(Fault { ramp, ..of(new, share) });
    world
}

fn leak_slow(noise: &Noise) -> World {
    let (alerts, age) = (slow(noise), hours(noise));
    let (mut world, new) = ripe(noise, alerts, age);
    let (slow, ramp) = (noise.between(0.3, 1.0), noise.between(4.0, 30.0));
    world.faults.push(Fault { ramp, slow, ..of(new, 0.0) });
    world
}

fn path_hit_late(noise: &Noise) -> World {
    let (alerts, age) = (errors(noise), hours(noise));
    let (mut world, new) = ripe(noise, alerts, age);
    world.faults.push(of(new, noise.between(0.08, 0.5)));
    world
}

fn flag(noise: &Noise) -> World {
    let (alerts, age) = (errors(noise), hours(noise));
    let (mut world, new) = ripe(noise, alerts, age);
    world.faults.push(of(new, noise.between(0.3, 0.95)));
    world
}

fn flag_by_slo(noise: &Noise) -> World {
    let (alerts, age) = (slo(noise), hours(noise));
    let (mut world, new) = ripe(noise, alerts, age);
    world.faults.push(of(new, noise.between(0.3, 0.95)));
    world
}

/// A good canary beside a stable revision, and a burst that hits both.
fn canary_good(noise: &Noise) -> World {
    let alerts = errors(noise);
    let mut world = usual(noise, alerts, 30.0);
    start(&mut world, noise, -noise.between(2.0, 20.0), noise.between(5.0, 40.0) as u8);
    world.faults.push(fault(0.0, noise.between(1.0, 4.0), noise.between(0.1, 0.6)));
    world
}

fn canary_and_outage(noise: &Noise) -> World {
    let alerts = if noise.happens(0.4) { slo(noise) } else { errors(noise) };
    let mut world = settled(noise, (30.0, 3_000.0), alerts, 30.0);
    start(&mut world, noise, -noise.between(3.0, 25.0), noise.between(3.0, 30.0) as u8);
    world.faults.push(fault(0.0, noise.between(15.0, 60.0), noise.scale(0.08, 0.8)));
    world
}

/// Errors while the instances of a deploy start, and nothing after that.
fn startup(noise: &Noise) -> World {
    let alerts = AlertPolicy { duration: 0, ..errors(noise) };
    let mut world = usual(noise, alerts, 0.0);
    let new = world.deploy(0.0, 100);
    let to = noise.between(0.4, 1.8);
    world.faults.push(Fault { to, ..of(new, noise.between(0.1, 0.7)) });
    world
}

fn slow_start(noise: &Noise) -> World {
    let alerts = slow(noise);
    let mut world = usual(noise, alerts, 0.0);
    let new = world.deploy(0.0, 100);
    let (slow, to) = (noise.between(0.2, 0.9), noise.between(0.8, 5.0));
    world.faults.push(Fault { slow, to, ..of(new, 0.0) });
    world
}

fn spike(noise: &Noise) -> World {
    let (age, alerts) = (hours(noise), AlertPolicy { duration: 0, ..errors(noise) });
    let (mut world, _) = ripe(noise, alerts, age);
    world.faults.push(fault(0.0, noise.between(0.5, 2.0), noise.between(0.15, 0.9)));
    world
}

/// A garbage collection, a cold start: one revision, for a minute, and by a burn rate as often as by a ratio.
fn spike_of_one_revision(noise: &Noise) -> World {
    let alerts = if noise.happens(0.5) { slo(noise) } else { errors(noise) };
    let age = noise.scale(8.0, 600.0);
    let (mut world, new) = ripe(noise, AlertPolicy { duration: 0, ..alerts }, age);
    world.faults.push(Fault { to: noise.between(0.5, 1.5), ..of(new, noise.between(0.15, 0.9)) });
    world
}

/// 3 to 5 % have always failed, and now and then it is more than the alert's limit.
fn chronic(noise: &Noise) -> World {
    let (alerts, age) = (errors(noise), noise.scale(6.0, 900.0));
    let (mut world, _) = ripe(noise, alerts, age);
    (world.base, world.restless) = (noise.between(0.03, 0.05), noise.between(0.2, 0.45));
    world
}

fn chronic_slo(noise: &Noise) -> World {
    let (alerts, age) = (slo(noise), noise.scale(6.0, 900.0));
    let (mut world, _) = ripe(noise, alerts, age);
    (world.base, world.restless) = (noise.between(0.006, 0.02), noise.between(0.2, 0.6));
    world
}

fn outage(noise: &Noise, alerts: AlertPolicy, age: f64) -> World {
    let (mut world, _) = ripe(noise, alerts, age);
    world.faults.push(fault(0.0, noise.between(8.0, 60.0), noise.scale(0.1, 0.95)));
    world
}

fn outage_hours_after(noise: &Noise) -> World {
    let (alerts, age) = (errors(noise), hours(noise));
    outage(noise, alerts, age)
}

fn outage_soon_after(noise: &Noise) -> World {
    let (alerts, age) = (errors(noise), noise.between(4.0, 40.0));
    outage(noise, alerts, age)
}

/// A dependency fails, and some minutes later somebody deploys something harmless.
fn outage_before(noise: &Noise) -> World {
    let alerts = errors(noise);
    let mut world = usual(noise, alerts, 20.0);
    world.faults.push(fault(0.0, noise.between(15.0, 60.0), noise.scale(0.1, 0.95)));
    start(&mut world, noise, noise.between(0.7, 10.0), 100);
    world
}

fn outage_by_slo(noise: &Noise) -> World {
    let (alerts, age) = (slo(noise), hours(noise));
    let (mut world, _) = ripe(noise, alerts, age);
    world.faults.push(fault(0.0, noise.between(10.0, 60.0), noise.scale(0.02, 0.9)));
    world
}

fn outage_little_traffic(noise: &Noise) -> World {
    let (alerts, age) = (errors(noise), hours(noise));
    let mut world = settled(noise, (0.8, 10.0), alerts, age);
    start(&mut world, noise, -age, 100);
    world.faults.push(fault(0.0, noise.between(10.0, 60.0), noise.between(0.5, 1.0)));
    world
}

/// Hardly any requests, some of which have always failed: one of them is enough for an alert.
fn few_and_flaky(noise: &Noise) -> World {
    let (alerts, age) = (errors(noise), noise.scale(5.0, 600.0));
    let mut world = settled(noise, (0.5, 5.0), alerts, age);
    world.base = noise.between(0.02, 0.1);
    start(&mut world, noise, -age, 100);
    world
}

fn region(noise: &Noise) -> World {
    let (alerts, age) = (errors(noise), hours(noise));
    let (mut world, _) = ripe(noise, alerts, age);
    world.faults.push(fault(0.0, noise.between(3.0, 15.0), noise.between(0.1, 0.9)));
    world
}

/// A client sends what no revision can answer.
fn client(noise: &Noise) -> World {
    let (alerts, age) = (errors(noise), hours(noise));
    let (mut world, _) = ripe(noise, alerts, age);
    let to = noise.between(5.0, 60.0);
    world.faults.push(fault(0.0, to, noise.between(0.07, 0.5)));
    world.surge = Some((0.0, to, noise.between(1.1, 2.0)));
    world
}

fn overload(noise: &Noise) -> World {
    let (alerts, age) = (errors(noise), hours(noise));
    let (mut world, _) = ripe(noise, alerts, age);
    let to = noise.between(10.0, 50.0);
    world.surge = Some((0.0, to, noise.between(3.0, 15.0)));
    world.faults.push(Fault { ramp: 2.0, slow: 0.3, ..fault(0.0, to, noise.between(0.1, 0.6)) });
    world
}

fn overload_slow(noise: &Noise) -> World {
    let (alerts, age) = (slow(noise), hours(noise));
    let (mut world, _) = ripe(noise, alerts, age);
    let to = noise.between(10.0, 50.0);
    world.surge = Some((0.0, to, noise.between(3.0, 10.0)));
    world.faults.push(Fault { ramp: 2.0, slow: noise.between(0.15, 0.9), ..fault(0.0, to, 0.02) });
    world
}

fn slow_dependency(noise: &Noise) -> World {
    let (alerts, age) = (slow(noise), hours(noise));
    let (mut world, _) = ripe(noise, alerts, age);
    let (slow, to) = (noise.between(0.1, 0.95), noise.between(8.0, 60.0));
    world.faults.push(Fault { slow, ..fault(0.0, to, 0.0) });
    world
}

/// The check is wrong, its alert policy vouches for it, and every request is answered.
fn uptime_wrong(noise: &Noise) -> World {
    let age = noise.scale(5.0, 1_000.0);
    let vouched_at = Some(noise.between(2.0, 4.0));
    ripe(noise, AlertPolicy { vouched_at, ..vouched() }, age).0
}
