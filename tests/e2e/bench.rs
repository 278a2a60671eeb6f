//! What an alert costs: time until the write, start, memory, size. `make bench` measures the release build against the
//! simulator, where every call takes 50 ms. It reports and never fails: time on a shared machine is no test.

#![allow(missing_docs, reason = "a program, not an interface")]
#![allow(clippy::unwrap_used, reason = "a defect here should end the benchmark at once")]

mod alert;

mod harness;

mod simulator;

use std::time::{Duration, Instant};

use alert::{Alert, Delivery, Envelope};
use harness::{Launch, Runback};
use simulator::{NOW, PROJECT, REGION, Revision, Service, Simulator, days, minutes};

/// What every simulated call takes.
const LATENCY: Duration = Duration::from_millis(50);
const RUNS: usize = 30;
const STARTS: usize = 20;
const EVENTS: usize = 1000;
/// As many as one instance may well get at once.
const AT_ONCE: usize = 8;

const PUT_BUDGET: f64 = 2.0 * LATENCY.as_millis() as f64 + 10.0;
const START_BUDGET: f64 = 30.0;
const RESIDENT_BUDGET: f64 = 20.0;
const SIZE_BUDGET: f64 = 12.0;
const MEBIBYTE: f64 = 1024.0 * 1024.0;

#[tokio::main]
async fn main() {
    let Ok(binary) = harness::binary().metadata() else {
        eprintln!("Runback itself is not built yet: use `make bench`, or run `cargo build --release` first.");
        std::process::exit(1);
    };
    let build = if cfg!(debug_assertions) { "debug build, so no figure counts" } else { "release build" };
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    println!("Runback, {build}, {cpus} CPUs. Every simulated call takes {} ms.\n", LATENCY.as_millis());
    println!("{:<40}{:>10}{:>10}   {:<12}verdict", "figure", "median", "max", "budget");

    let measured = rollbacks().await;
    let figure = |name, times: &[f64]| Figure { name, unit: "ms", median: median(times), max: max(times) };
    figure("first alert of a process -> PUT sent", &measured.first).against(PUT_BUDGET);
    figure("later alert -> PUT sent", &measured.later).against(PUT_BUDGET);
    figure("later alert -> answer", &measured.answers).print("", "");
    figure("a plain GET (one round trip)", &measured.round_trips).print("", "");
    figure("process start -> 200 on /health", &starts().await).against(START_BUDGET);

    let soak = soak().await;
    let single = |name, value| Figure { name, unit: "MiB", median: value, max: value };
    match soak.resident {
        Some([before, after]) => {
            single("memory at start (VmRSS)", before).against(RESIDENT_BUDGET);
            single("memory after 1,000 events (VmRSS)", after).against(RESIDENT_BUDGET);
        }
        None => println!("{:<40}{:>10}", "memory (VmRSS)", "no /proc"),
    }
    single("size of the binary", binary.len() as f64 / MEBIBYTE).against(SIZE_BUDGET);

    let round_trip = median(&measured.round_trips);
    println!();
    println!(
        "The PUT leaves after {:.2} round trips of a process's first alert, {:.2} of a later one ({RUNS} runs each).",
        median(&measured.first) / round_trip,
        median(&measured.later) / round_trip
    );
    println!(
        "The budget is two round trips (access token or retry, then all reads at once) and 10 ms of our own."
    );
    println!(
        "{EVENTS} events that need no rollback, {AT_ONCE} at a time, without latency: {:.0} a second.",
        EVENTS as f64 / soak.seconds
    );
}

struct Figure {
    name: &'static str,
    unit: &'static str,
    median: f64,
    max: f64,
}

impl Figure {
    fn against(&self, budget: f64) {
        let verdict = match () {
            () if self.max <= budget => "within",
            () if self.median <= budget => "median within, max over",
            () => "OVER",
        };
        self.print(&format!("<= {budget:.0} {}", self.unit), verdict);
    }

    fn print(&self, budget: &str, verdict: &str) {
        let Self { name, unit, median, max } = self;
        let show = |value: &f64| format!("{value:.1} {unit}");
        let line = format!("{name:<40}{:>10}{:>10}   {budget:<12}{verdict}", show(median), show(max));
        println!("{}", line.trim_end());
    }
}

/// In milliseconds, from before the alert is sent.
#[derive(Default)]
struct Rollbacks {
    first: Vec<f64>,
    later: Vec<f64>,
    answers: Vec<f64>,
    round_trips: Vec<f64>,
}

/// Each run in a world and a process of its own, with two incidents on two services.
async fn rollbacks() -> Rollbacks {
    let mut all = Rollbacks::default();
    for _ in 0..RUNS {
        let simulator = Simulator::with([service("k-front", 0.4), service("k-back", 0.4)]).await;
        simulator.latency(LATENCY);
        let runback = Launch::beside(&simulator).start().await;
        all.first.push(roll_back(&simulator, &runback, "k-front").await.0);
        let (put, answer) = roll_back(&simulator, &runback, "k-back").await;
        all.later.push(put);
        all.answers.push(answer);
        all.round_trips.extend(round_trips(&simulator).await);
        runback.finish().await;
    }
    all
}

/// Six minutes after a deploy; `errors` is the share of its requests that fail.
fn service(name: &str, errors: f64) -> Service {
    let [new, old] = [2, 1].map(|number| format!("{name}-0000{number}-abc"));
    Service::named(name)
        .revision(Revision::named(&new).age(minutes(6)).errors(errors).served(minutes(6)..NOW))
        .revision(Revision::named(&old).age(days(3)).served(days(3)..minutes(6)))
}

/// From the alert to the PUT and to the answer.
async fn roll_back(simulator: &Simulator, runback: &Runback, service: &str) -> (f64, f64) {
    let alert = Alert::on(simulator, service).incident(&format!("0.{service}"));
    let delivery = alert.wrapped(Envelope::Eventarc);
    let sent = simulator.world().clock.now();
    let started = Instant::now();
    let answer = runback.send(&delivery).await;
    let answered = milliseconds(started);
    answer.is(200, "rollback", "confirmed");
    let puts = simulator.calls("run.put");
    let put = puts.iter().find(|call| call.target.ends_with(service)).unwrap();
    ((put.at - sent) * 1000.0, answered)
}

async fn round_trips(simulator: &Simulator) -> Vec<f64> {
    simulator.world().tokens.insert("bench".into());
    let base = simulator.base();
    let path = format!("/run/{REGION}/apis/serving.knative.dev/v1/namespaces/{PROJECT}/services/k-back");
    let http = reqwest::Client::new();
    let mut times = Vec::new();
    for _ in 0..4 {
        let started = Instant::now();
        let answer = http.get(format!("{base}{path}")).bearer_auth("bench").send().await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().await.unwrap();
        times.push(milliseconds(started));
    }
    // The first one opened the connection.
    times.split_off(1)
}

async fn starts() -> Vec<f64> {
    let simulator = Simulator::with([service("k-back", 0.0)]).await;
    let mut runback = Launch::beside(&simulator).start().await;
    let mut times = Vec::new();
    for _ in 0..STARTS {
        runback.kill();
        let started = Instant::now();
        runback.restart().await;
        times.push(milliseconds(started));
    }
    runback.finish().await;
    times
}

struct Soak {
    /// At start and at the end, in MiB.
    resident: Option<[f64; 2]>,
    seconds: f64,
}

/// Events as they come when nothing is wrong: tests, redeliveries, alerts on others' services, alerts without substance.
async fn soak() -> Soak {
    let mut others = service("somebody-elses", 0.4);
    others.guarded = false;
    let simulator = Simulator::with([service("k-back", 0.4), service("k-front", 0.0), others]).await;
    let runback = Launch::beside(&simulator).start().await;
    let resident = || runback.resident().map(|bytes| bytes as f64 / MEBIBYTE);
    let before = resident();

    let failing = Alert::on(&simulator, "k-back").incident("0.soak");
    runback.deliver(&failing).await.is(200, "rollback", "confirmed");
    let healthy = Alert::on(&simulator, "k-front");
    let mixed = |number: usize| -> (Delivery, [&str; 2]) {
        let (alert, verdict) = match number % 4 {
            0 => (failing.again().set("/version", "test".into()), ["notify", "test_notification"]),
            1 => (failing.clone(), ["ignore", "already_handled"]),
            2 => (Alert::on(&simulator, "somebody-elses"), ["ignore", "not_guarded"]),
            _ => (healthy.again().incident(&format!("0.healthy{number}")), ["ignore", "healthy"]),
        };
        (alert.wrapped(Envelope::Eventarc), verdict)
    };
    let started = Instant::now();
    for first in (0..EVENTS).step_by(AT_ONCE) {
        let sent: Vec<_> = (first..EVENTS.min(first + AT_ONCE))
            .map(mixed)
            .map(|(delivery, verdict)| (runback.sending(delivery), verdict))
            .collect();
        for (answer, [decision, reason]) in sent {
            answer.await.unwrap().is(200, decision, reason);
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let after = resident();
    runback.finish().await;
    Soak { resident: before.zip(after).map(|(before, after)| [before, after]), seconds }
}

fn milliseconds(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1000.0
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn max(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}
