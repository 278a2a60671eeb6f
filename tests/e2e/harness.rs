//! The real binary beside a simulated world: started with exactly the contract's environment, spoken to over HTTP,
//! killed and stopped as Cloud Run would.

#![allow(dead_code, reason = "the tests, the demonstration and the benchmark each use a part")]
#![allow(missing_docs, clippy::unwrap_used, reason = "a defect here should end the test at once")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::alert::{Alert, Delivery, Envelope};
use crate::simulator::{BOT_TOKEN, CHANNEL, Call, Service, Simulator, World};

pub const WEBHOOK_USER: &str = "monitoring";
pub const WEBHOOK_PASSWORD: &str = "correct horse";

const START: Duration = Duration::from_secs(10);
const STOP: Duration = Duration::from_secs(8);

/// A world with these services, and Runback guarding them.
pub async fn guarding(services: impl IntoIterator<Item = Service>) -> (Simulator, Runback) {
    let simulator = Simulator::with(services).await;
    let runback = Launch::beside(&simulator).start().await;
    (simulator, runback)
}

/// What the process will be given. It inherits nothing else.
pub struct Launch {
    simulator: Simulator,
    port: u16,
    folder: PathBuf,
    pub environment: BTreeMap<String, String>,
}

impl Launch {
    pub fn beside(simulator: &Simulator) -> Self {
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("runback-e2e-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let key_file = folder.join("credentials.json");
        fs::write(&key_file, simulator.credentials().to_string()).unwrap();
        let mut environment = simulator.environment(&format!("http://127.0.0.1:{port}"));
        environment.insert("PORT".into(), port.to_string());
        environment.insert("RUST_LOG".into(), "info".into());
        environment.insert("HOME".into(), folder.display().to_string());
        environment.insert("GOOGLE_APPLICATION_CREDENTIALS".into(), key_file.display().to_string());
        Self { simulator: simulator.clone(), port, folder, environment }
    }

    /// Keys for the policy's `[defaults]`.
    pub fn policy(self, defaults: Value) -> Self {
        let policy = self.simulator.policy(defaults).to_string();
        self.variable("RUNBACK_POLICY", &policy)
    }

    /// On this port, instead of a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        let url = format!("http://127.0.0.1:{port}");
        self.variable("PORT", &port.to_string()).variable("RUNBACK_PUBLIC_URL", &url)
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.environment.remove(name);
        self
    }

    /// The policy as a TOML file, instead of JSON in a variable.
    pub fn policy_file(self, toml: &str) -> Self {
        let path = self.folder.join("policy.toml");
        fs::write(&path, toml).unwrap();
        self.without("RUNBACK_POLICY").variable("RUNBACK_POLICY_FILE", &path.display().to_string())
    }

    /// Slack through a bot instead of the webhook.
    pub fn bot(self) -> Self {
        let api = format!("{}/slack/api", self.simulator.base());
        let bot = self.without("SLACK_WEBHOOK_URL").variable("SLACK_BOT_TOKEN", BOT_TOKEN);
        bot.variable("SLACK_CHANNEL", CHANNEL).variable("SLACK_API_URL", &api)
    }

    /// `/webhook` switched on.
    pub fn webhook(self) -> Self {
        let user = self.variable("RUNBACK_WEBHOOK_USER", WEBHOOK_USER);
        user.variable("RUNBACK_WEBHOOK_PASSWORD", WEBHOOK_PASSWORD)
    }

    pub async fn start(self) -> Runback {
        let mut runback = self.spawn();
        runback.wait_until_healthy().await;
        runback
    }

    /// A start that has to be refused: what the process said before it ended.
    pub async fn refused(self) -> String {
        let mut runback = self.spawn();
        let status = runback.wait(START).await;
        runback.finished = true;
        assert!(status.is_some_and(|status| !status.success()), "the start was not refused: {status:?}");
        runback.said()
    }

    fn spawn(self) -> Runback {
        // Our own client needs a provider, even though it never speaks TLS here.
        rustls::crypto::ring::default_provider().install_default().ok();
        let runback = Runback {
            http: reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap(),
            process: Process::default(),
            finished: false,
            launch: self,
        };
        runback.process.spawn(&runback.launch);
        runback
    }
}

/// The process, shared with whoever is to kill it in the middle of a call.
#[derive(Clone, Default)]
struct Process(Arc<Mutex<Option<Child>>>);

impl Process {
    fn spawn(&self, launch: &Launch) {
        let output = |name| File::options().create(true).append(true).open(launch.folder.join(name)).unwrap();
        let child = Command::new(binary())
            .arg("serve")
            .env_clear()
            .envs(&launch.environment)
            .current_dir(&launch.folder)
            .stdin(Stdio::null())
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .spawn();
        *self.0.lock().unwrap() = Some(child.unwrap());
    }

    fn kill(&self) {
        if let Some(child) = self.0.lock().unwrap().as_mut() {
            child.kill().ok();
            child.wait().ok();
        }
    }

    fn ended(&self) -> Option<ExitStatus> {
        self.0.lock().unwrap().as_mut()?.try_wait().unwrap()
    }

    fn id(&self) -> String {
        self.0.lock().unwrap().as_ref().unwrap().id().to_string()
    }
}

/// The running program. `finish` is the end of every test: it checks what must hold whatever the test is about.
#[must_use]
pub struct Runback {
    launch: Launch,
    process: Process,
    http: reqwest::Client,
    finished: bool,
}

impl Runback {
    pub async fn deliver(&self, alert: &Alert) -> Answer {
        self.send(&alert.wrapped(Envelope::Eventarc)).await
    }

    pub async fn send(&self, delivery: &Delivery) -> Answer {
        send(self.http.clone(), self.url(&delivery.path), delivery.clone()).await
    }

    /// The same delivery so many times at once.
    pub async fn send_at_once(&self, delivery: &Delivery, copies: usize) -> Vec<Answer> {
        let url = self.url(&delivery.path);
        let sent: Vec<_> = (0..copies)
            .map(|_| tokio::spawn(send(self.http.clone(), url.clone(), delivery.clone())))
            .collect();
        let mut answers = Vec::new();
        for answer in sent {
            answers.push(answer.await.unwrap());
        }
        answers
    }

    /// A delivery under way, for what happens in the meantime.
    pub fn sending(&self, delivery: Delivery) -> tokio::task::JoinHandle<Answer> {
        tokio::spawn(send(self.http.clone(), self.url(&delivery.path), delivery))
    }

    /// Delivers the tasks whose time has come, as Cloud Tasks would, and keeps or forgets them by the answer.
    pub async fn deliver_due_tasks(&self) -> Vec<Answer> {
        let mut answers = Vec::new();
        for task in self.launch.simulator.due_tasks() {
            let path =
                task.url().strip_prefix(&self.url("")).unwrap_or_else(|| panic!("calls {}", task.url()));
            let delivery = Delivery { path: path.to_owned(), headers: task.headers(), body: task.body() };
            let answer = self.send(&delivery).await;
            self.launch.simulator.task_answered(&task.name, answer.status);
            answers.push(answer);
        }
        answers
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.launch.port)
    }

    /// SIGKILL, as a crash: nothing is finished.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// The same as a change of the world, for `simulator.at(..).does(runback.killer())`.
    pub fn killer(&self) -> impl Fn(&mut World) + Send + Sync + 'static {
        let process = self.process.clone();
        move |_| process.kill()
    }

    /// Starts it anew, with what it remembers gone.
    pub async fn restart(&mut self) {
        self.kill();
        self.process.spawn(&self.launch);
        self.wait_until_healthy().await;
    }

    pub fn terminate(&self) {
        Command::new("kill").args(["-TERM", &self.process.id()]).status().unwrap();
    }

    /// The exit status, or None when it did not end in time.
    pub async fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let started = Instant::now();
        while started.elapsed() < limit {
            if let Some(status) = self.process.ended() {
                return Some(status);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }

    /// The entries on standard output. Each has to be a JSON object with a severity and a message.
    pub fn log(&self) -> Vec<Value> {
        let text = read(&self.launch.folder.join("stdout"));
        let parse = |line: &str| -> Value {
            let entry: Value = serde_json::from_str(line).unwrap_or_default();
            let good = entry["severity"].is_string() && entry["message"].is_string();
            assert!(good, "a log line without severity and message: {line}");
            entry
        };
        text.lines().map(parse).collect()
    }

    /// Everything that the process wrote, on both outputs.
    pub fn said(&self) -> String {
        read(&self.launch.folder.join("stdout")) + &read(&self.launch.folder.join("stderr"))
    }

    /// The end: it stops by itself, it only wrote proper log entries, and it broke no promise.
    pub async fn finish(mut self) {
        self.finished = true;
        if self.process.ended().is_none() {
            self.terminate();
            let status = self.wait(STOP).await;
            assert!(
                status.is_some_and(|status| status.success()),
                "SIGTERM ended with {status:?}\n{}",
                self.said()
            );
        }
        self.log();
        assert!(!self.said().contains("panicked at"), "{}", self.said());
        let violations = self.launch.simulator.violations();
        assert!(violations.is_empty(), "{violations:#?}");
    }

    /// The end where something has gone wrong that was already reported.
    pub fn abandon(mut self) {
        self.finished = true;
    }

    /// Memory in use, in bytes, as Linux counts it (`VmRSS`).
    pub fn resident(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kilobytes * 1024)
    }

    async fn wait_until_healthy(&mut self) {
        let started = Instant::now();
        while started.elapsed() < START && self.process.ended().is_none() {
            let health = self.http.get(self.url("/health")).send().await;
            if health.is_ok_and(|health| health.status() == 200) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("it does not start:\n{}", self.said());
    }
}

impl Drop for Runback {
    fn drop(&mut self) {
        self.process.kill();
        if std::thread::panicking() {
            eprintln!("Runback wrote:\n{}", self.said());
        }
        fs::remove_dir_all(&self.launch.folder).ok();
        assert!(self.finished || std::thread::panicking(), "the test does not call finish()");
    }
}

/// What Runback answered. Status 0: nothing, for example because it was killed.
#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// Status, decision and reason in one, for one assertion.
    pub fn verdict(&self) -> (u16, String, String) {
        let json = self.json();
        let text = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
        (self.status, text("decision"), text("reason"))
    }

    /// The answer has to be this.
    #[track_caller]
    pub fn is(&self, status: u16, decision: &str, reason: &str) {
        assert_eq!(self.verdict(), (status, decision.to_owned(), reason.to_owned()), "{}", self.text);
    }
}

/// Nothing was written, neither to a service nor to the queue, but that an open incident is looked at again and that the
/// heartbeat uses the queue and keeps in mind what it has told.
#[track_caller]
pub fn assert_nothing_is_touched(simulator: &Simulator) {
    let only_looks = |call: &Call| {
        let tasks = ["/tasks/again-", "/tasks/in-use-", "/tasks/rights-"];
        call.name == "tasks.create" && tasks.iter().any(|task| call.body.contains(task))
    };
    let touched = ["run.put", "tasks.create"].iter().flat_map(|name| simulator.calls(name));
    let touched: Vec<_> = touched.filter(|call| !only_looks(call)).collect();
    assert!(touched.is_empty(), "{touched:#?}");
}

/// Percent by revision, to compare with what the simulator shows.
pub fn split<const N: usize>(shares: [(&str, u64); N]) -> BTreeMap<String, u64> {
    shares.map(|(name, percent)| (name.to_owned(), percent)).into()
}

async fn send(http: reqwest::Client, url: String, delivery: Delivery) -> Answer {
    let mut request = http.post(url).body(delivery.body);
    for (name, value) in &delivery.headers {
        request = request.header(name, value);
    }
    match request.send().await {
        Err(_) => Answer::default(),
        Ok(response) => Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap_or_default(),
        },
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Below the range from which systems take ports for outgoing connections, so that nobody comes in between.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 400) as u16 * 25;
    let candidates = std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::SeqCst));
    let mut free = candidates.take(1000).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().unwrap()
}

/// Cargo names the binary for tests; an example finds it beside itself.
pub fn binary() -> PathBuf {
    let beside = || std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("runback");
    option_env!("CARGO_BIN_EXE_runback").map_or_else(beside, PathBuf::from)
}
