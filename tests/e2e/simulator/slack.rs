//! Slack: the incoming webhook, `chat.postMessage` and `chat.update`, with Block Kit's limits.

use serde_json::{Value, json};

use super::wire::{Reply, Request};
use super::world::World;

pub const BOT_TOKEN: &str = "xoxb-not-a-real-token";
pub const CHANNEL: &str = "C0123456789";

/// Posting takes a channel by its name as well; changing does not.
pub const CHANNEL_NAME: &str = "#alerts";

/// A message as people would read it: every text in it, joined by line ends.
#[derive(Clone, Debug)]
pub struct Message {
    pub ts: String,
    pub thread: Option<String>,
    /// An answer in a thread that the channel shows too.
    pub broadcast: bool,
    pub text: String,
    pub updates: u32,
    /// What it said before it was changed, the oldest first.
    pub before: Vec<String>,
}

impl Message {
    /// Whether people see it without opening a thread.
    pub fn in_channel(&self) -> bool {
        self.thread.is_none() || self.broadcast
    }
}

pub fn webhook(world: &mut World, sent: &Value) -> Reply {
    if let Some(complaint) = complaint(world, sent) {
        return Reply::text(400, complaint);
    }
    keep(world, sent);
    Reply::text(200, "ok")
}

pub fn api(world: &mut World, request: &Request, sent: &Value) -> Reply {
    let refuse = |error: &str| Reply::json(&json!({"ok": false, "error": error}));
    if request.authorization != format!("Bearer {BOT_TOKEN}") {
        return refuse("not_authed");
    }
    if let Some(complaint) = complaint(world, sent) {
        return refuse(complaint);
    }
    let posts = request.path().ends_with("chat.postMessage");
    if sent["channel"] != CHANNEL && !(posts && sent["channel"] == CHANNEL_NAME) {
        return refuse("channel_not_found");
    }
    if posts {
        // Slack takes the time stamp of an answer for a thread as well, and then shows it nowhere.
        let thread = sent["thread_ts"].as_str();
        let root = |message: &Message| Some(message.ts.as_str()) == thread && message.thread.is_none();
        if thread.is_some() && !world.slack.iter().any(root) {
            world.violations.push("an answer to what is no message of the channel".to_owned());
        }
        let ts = keep(world, sent);
        return Reply::json(&json!({"ok": true, "channel": CHANNEL, "ts": ts}));
    }
    match world.slack.iter_mut().find(|message| sent["ts"] == json!(message.ts)) {
        None => refuse("message_not_found"),
        Some(message) => {
            message.before.push(std::mem::replace(&mut message.text, readable(sent)));
            message.updates += 1;
            Reply::json(&json!({"ok": true, "channel": CHANNEL, "ts": message.ts}))
        }
    }
}

fn keep(world: &mut World, sent: &Value) -> String {
    let ts = format!("1780000000.{:06}", world.slack.len());
    let thread = sent["thread_ts"].as_str().map(str::to_owned);
    let broadcast = sent["reply_broadcast"] == json!(true);
    let text = readable(sent);
    world.slack.push(Message { ts: ts.clone(), thread, broadcast, text, updates: 0, before: Vec::new() });
    ts
}

/// Slack's error for a message that it would not show. That is a defect of Runback's.
fn complaint(world: &mut World, sent: &Value) -> Option<&'static str> {
    let blocks = all_blocks(sent);
    let (error, detail) = if sent["text"].is_null() && blocks.is_empty() {
        ("no_text", "neither text nor blocks".to_owned())
    } else if sent["text"].as_str().is_some_and(|text| text.chars().count() > 40_000) {
        ("msg_too_long", "text is longer than 40000".to_owned())
    } else if blocks.len() > 50 {
        ("invalid_blocks", format!("{} blocks", blocks.len()))
    } else {
        ("invalid_blocks", blocks.iter().find_map(|block| block_fault(block))?)
    };
    world.violations.push(format!("a message that Slack would not show: {error}: {detail}"));
    Some(error)
}

fn all_blocks(sent: &Value) -> Vec<&Value> {
    let attached = sent["attachments"].as_array().into_iter().flatten();
    let holders = std::iter::once(sent).chain(attached);
    holders.flat_map(|holder| holder["blocks"].as_array().into_iter().flatten()).collect()
}

/// What is wrong with a block by Block Kit's reference.
fn block_fault(block: &Value) -> Option<String> {
    let list = |name: &str| block[name].as_array().map_or(&[][..], Vec::as_slice);
    match block["type"].as_str().unwrap_or_default() {
        "header" if block["text"]["type"] != "plain_text" => Some("a header's text is plain_text".into()),
        "header" => text_fault(&block["text"], 150),
        "section" => {
            let fields = list("fields");
            if fields.len() > 10 || (block["text"].is_null() && fields.is_empty()) {
                return Some(format!("a section with {} fields", fields.len()));
            }
            let text = block.get("text").and_then(|text| text_fault(text, 3000));
            text.or_else(|| fields.iter().find_map(|field| text_fault(field, 2000)))
        }
        "context" => match list("elements") {
            elements if elements.is_empty() || elements.len() > 10 => {
                Some(format!("{} context elements", elements.len()))
            }
            elements => {
                elements.iter().filter(|each| each["type"] != "image").find_map(|each| text_fault(each, 3000))
            }
        },
        "actions" => match list("elements") {
            elements if elements.is_empty() || elements.len() > 25 => {
                Some(format!("{} action elements", elements.len()))
            }
            elements => elements.iter().find_map(|button| text_fault(&button["text"], 75)),
        },
        "divider" => None,
        other => Some(format!("an unknown type {other:?}")),
    }
}

fn text_fault(text: &Value, limit: usize) -> Option<String> {
    if text["type"] != "plain_text" && text["type"] != "mrkdwn" {
        return Some("a text object has type plain_text or mrkdwn".into());
    }
    match text["text"].as_str().unwrap_or_default().chars().count() {
        0 => Some("an empty text".into()),
        length if length > limit => Some(format!("a text of {length} characters, limit {limit}")),
        _ => None,
    }
}

/// Every text in a message, in order.
fn readable(sent: &Value) -> String {
    fn walk<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::String(text) => found.push(text),
            Value::Array(items) => items.iter().for_each(|item| walk(item, found)),
            Value::Object(fields) => {
                let shown =
                    ["title", "text", "fallback", "fields", "elements", "blocks", "attachments", "url"];
                shown.iter().filter_map(|key| fields.get(*key)).for_each(|field| walk(field, found));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(sent, &mut found);
    found.join("\n")
}
