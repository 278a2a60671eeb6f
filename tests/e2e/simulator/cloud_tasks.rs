//! Cloud Tasks v2: tasks are created and looked up. The test decides when they are delivered.

use std::collections::BTreeSet;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::clock::Clock;
use super::wire::{Reply, refusal, refusal_as};
use super::world::World;

pub const QUEUE: &str = "projects/demo-project/locations/asia-northeast1/queues/runback";

#[derive(Clone, Debug)]
pub struct Task {
    pub name: String,
    /// Seconds since the world began.
    pub due: f64,
    pub created: f64,
    pub attempts: u32,
    /// When its token expires, in seconds since 1970.
    expires: i64,
    http: Value,
}

impl Task {
    pub fn id(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }

    pub fn url(&self) -> &str {
        self.http["url"].as_str().unwrap_or_default()
    }

    /// As whom it calls.
    pub fn account(&self) -> &str {
        self.http["oidcToken"]["serviceAccountEmail"].as_str().unwrap_or_default()
    }

    pub fn body(&self) -> Vec<u8> {
        BASE64_STANDARD.decode(self.http["body"].as_str().unwrap_or_default()).unwrap()
    }

    /// The headers as Cloud Tasks sends them. The token has the right claims; nothing here can sign as Google.
    pub fn headers(&self) -> Vec<(String, String)> {
        let own = self.http["headers"].as_object().into_iter().flatten();
        let mut headers: Vec<(String, String)> =
            own.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
        headers.extend([
            ("User-Agent".into(), "Google-Cloud-Tasks".into()),
            ("X-CloudTasks-QueueName".into(), "runback".into()),
            ("X-CloudTasks-TaskName".into(), self.id().into()),
            ("X-CloudTasks-TaskRetryCount".into(), self.attempts.to_string()),
        ]);
        if let Some(email) = self.http["oidcToken"]["serviceAccountEmail"].as_str() {
            let audience = self.http["oidcToken"]["audience"].as_str().unwrap_or(self.url());
            let claims = json!({
                "iss": "https://accounts.google.com", "aud": audience, "email": email, "email_verified": true,
                "exp": self.expires,
            });
            let [head, claims] = [json!({"alg": "RS256", "typ": "JWT", "kid": "fake"}), claims]
                .map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
            headers.push(("Authorization".into(), format!("Bearer {head}.{claims}.c2lnbmF0dXJl")));
        }
        headers
    }
}

#[derive(Default)]
pub struct CloudTasks {
    pub pending: Vec<Task>,
    /// A name can be used once.
    used: BTreeSet<String>,
}

impl CloudTasks {
    /// The tasks whose time has come, the earliest first.
    pub fn due(&self, clock: &Clock) -> Vec<Task> {
        let mut due: Vec<Task> =
            self.pending.iter().filter(|task| task.due <= clock.now()).cloned().collect();
        due.sort_by(|one, other| one.due.total_cmp(&other.due));
        due
    }

    /// Cloud Tasks forgets what was answered with 2xx and tries everything else again.
    pub fn delivered(&mut self, name: &str, status: u16) {
        match status {
            200..300 => self.pending.retain(|task| task.name != name),
            _ => self.pending.iter_mut().filter(|task| task.name == name).for_each(|task| task.attempts += 1),
        }
    }
}

pub fn create(world: &mut World, parent: &str, sent: &Value) -> Result<Reply, Reply> {
    if parent != QUEUE {
        return Err(refusal(404, format!("Queue does not exist: {parent}.")));
    }
    let (task, http) = (&sent["task"], &sent["task"]["httpRequest"]);
    let count = world.tasks.used.len();
    let name = task["name"].as_str().map_or_else(|| format!("{QUEUE}/tasks/1{count:015}"), str::to_owned);
    if let Some(complaint) = complaint(&name, http) {
        world.violations.push(format!("a task that Cloud Tasks would not take: {complaint}"));
        return Err(refusal(400, complaint));
    }
    let now = world.clock.now();
    let due = match task["scheduleTime"].as_str().map(DateTime::parse_from_rfc3339) {
        Some(Ok(at)) => world.clock.moment(at.with_timezone(&Utc)).max(now),
        Some(Err(_)) => return Err(refusal(400, "Invalid value at 'task.schedule_time'.")),
        None => now,
    };
    if !world.tasks.used.insert(name.clone()) {
        return Err(refusal_as(409, "ALREADY_EXISTS", "Requested entity already exists"));
    }
    let expires = world.clock.at(due).timestamp() + 3600;
    let task = Task { name, due, created: now, attempts: 0, expires, http: http.clone() };
    world.tasks.pending.push(task.clone());
    Ok(render(&world.clock, &task))
}

pub fn get(world: &World, name: &str) -> Result<Reply, Reply> {
    let found = world.tasks.pending.iter().find(|task| task.name == name);
    let gone = "The task no longer exists, though a task with this name existed recently.";
    found.map(|task| render(&world.clock, task)).ok_or_else(|| refusal(404, gone))
}

fn render(clock: &Clock, task: &Task) -> Reply {
    Reply::json(&json!({
        "name": task.name, "scheduleTime": clock.text(task.due), "createTime": clock.text(task.created),
        "httpRequest": {"url": task.url(), "httpMethod": "POST"}, "dispatchDeadline": "600s", "view": "BASIC",
    }))
}

fn complaint(name: &str, http: &Value) -> Option<&'static str> {
    let id = name.strip_prefix(QUEUE).and_then(|rest| rest.strip_prefix("/tasks/")).unwrap_or_default();
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if id.is_empty() || id.len() > 500 || !id.chars().all(allowed) {
        return Some("the name is not QUEUE/tasks/ID with letters, digits, - and _");
    }
    if !http["url"].as_str().is_some_and(|url| url.starts_with("http")) {
        return Some("httpRequest.url is missing");
    }
    // Cloud Run wants its own address, and Cloud Tasks would take the whole of `url`.
    if let Some(token) = http["oidcToken"].as_object()
        && http["url"]
            .as_str()
            .zip(token.get("audience").and_then(Value::as_str))
            .is_none_or(|(url, audience)| url.strip_prefix(audience) != Some("/tasks"))
    {
        return Some("oidcToken.audience is not the address of the service that is called");
    }
    let body = http["body"].as_str().unwrap_or_default();
    BASE64_STANDARD.decode(body).is_err().then_some("httpRequest.body is not base64")
}
