//! Slack: posts a message by an incoming webhook or as a bot.
//!
//! The webhook's address is a secret as much as the bot's token is: neither is ever part of an error or a log line.

use std::fmt;
use std::time::Duration;

use backon::Retryable;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, StatusCode, Url};
use ring::hmac;
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout_at};

use super::retry;
use super::transport::{Answer, NoAnswer, Request, SharedTransport};
use crate::domain::text;
use crate::notice::Message;

/// A single try takes no longer than this, so that one lost connection leaves time for another.
const TRY: Duration = Duration::from_secs(4);

/// An answer is never longer than this.
const ANSWER_LIMIT: usize = 256 * 1024;

/// Errors of the bot API that pass.
const PASSING: [&str; 6] = [
    "ratelimited",
    "rate_limited",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
];

/// Where messages are posted.
#[derive(Clone)]
pub struct Slack {
    transport: SharedTransport,
    door: Door,
}

#[derive(Clone)]
enum Door {
    Webhook { url: String },
    Bot { url: String, token: String, channel: String },
}

/// A message that Slack has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// A bot's handle for changing it and answering in its thread: the channel's id, the message's time stamp and a seal,
    /// with colons between them. `chat.update` takes no channel by its name. A webhook gives none.
    ///
    /// Handles travel in tasks, whose bodies are anybody's word. The seal, made with the bot's token, shows that a handle
    /// is one that Runback was given: nobody can make it post into other channels' threads.
    pub thread: Option<String>,
}

/// Where a message goes.
#[derive(Clone, Copy)]
enum Place<'a> {
    Channel,
    Thread(&'a str),
    /// In the place of an earlier one.
    Instead(&'a str),
}

/// Why a message was not posted.
#[derive(Debug, thiserror::Error)]
pub enum SlackError {
    /// Slack refuses it for good: the secret is wrong, the channel is unknown, the message is malformed.
    #[error("Slack refuses the message: {0}")]
    Refused(String),
    /// Slack did not take it before the deadline.
    #[error("Slack did not take the message within {}: {last}", text::duration(*deadline))]
    TooLate {
        /// How long it was tried.
        deadline: Duration,
        /// What came of the last try.
        last: String,
    },
}

/// What came of one try that failed.
enum Failure {
    Final(String),
    Passing { why: String, retry_after: Option<Duration> },
}

impl Slack {
    /// Posts by an incoming webhook.
    #[must_use]
    pub fn webhook(transport: SharedTransport, url: String) -> Self {
        Self { transport, door: Door::Webhook { url } }
    }

    /// Posts to a channel as a bot. `api_url` is `https://slack.com/api`, or a fake's.
    #[must_use]
    pub fn bot(transport: SharedTransport, api_url: &str, token: String, channel: String) -> Self {
        let url = api_url.trim_end_matches('/').to_owned();
        Self { transport, door: Door::Bot { url, token, channel } }
    }

    /// Posts a message, and tries again what may pass, until the deadline.
    ///
    /// A try whose answer was lost is repeated: a message twice is better than none. A bot answers in the `thread`
    /// of an earlier message, if one is given, and leaves out the details of a new one, which are for its thread; a
    /// webhook has none and leaves them to the log.
    ///
    /// # Errors
    /// See [`SlackError`].
    pub async fn post(
        &self,
        message: &Message,
        thread: Option<&str>,
        deadline: Duration,
    ) -> Result<Posted, SlackError> {
        self.send(message, thread.map_or(Place::Channel, Place::Thread), deadline).await
    }

    /// Whether a message that was posted can be changed: a webhook only posts.
    #[must_use]
    pub fn changes_messages(&self) -> bool {
        matches!(self.door, Door::Bot { .. })
    }

    /// Puts another message in the place of one that was posted as a bot (`chat.update`). A webhook cannot, and does
    /// nothing.
    ///
    /// # Errors
    /// See [`SlackError`].
    pub async fn update(
        &self,
        message: &Message,
        thread: &str,
        deadline: Duration,
    ) -> Result<(), SlackError> {
        match self.door {
            Door::Webhook { .. } => Ok(()),
            Door::Bot { .. } => self.send(message, Place::Instead(thread), deadline).await.map(|_| ()),
        }
    }

    async fn send(
        &self,
        message: &Message,
        place: Place<'_>,
        deadline: Duration,
    ) -> Result<Posted, SlackError> {
        let end = Instant::now() + deadline;
        let attempt = || async {
            let limit = end.min(Instant::now() + TRY);
            let late = |_| Err(Failure::Passing { why: "no answer".into(), retry_after: None });
            timeout_at(limit, self.attempt(message, place)).await.unwrap_or_else(late)
        };
        let tried = attempt
            .retry(retry::pauses(Duration::from_millis(200), Duration::from_secs(3)))
            .sleep(sleep)
            .when(|failure| matches!(failure, Failure::Passing { .. }))
            .adjust(|failure, pause| retry::pause(pause, failure.retry_after(), end))
            .await;
        tried.map_err(|failure| match failure {
            Failure::Final(why) => SlackError::Refused(why),
            Failure::Passing { why, .. } => SlackError::TooLate { deadline, last: why },
        })
    }

    async fn attempt(&self, message: &Message, place: Place<'_>) -> Result<Posted, Failure> {
        let mut body = json!({
            "text": message.text,
            "unfurl_links": false,
            "unfurl_media": false,
        });
        let (url, token) = match &self.door {
            Door::Webhook { url } => {
                // What a bot puts into the thread is in the log.
                body["blocks"] = json!(message.blocks);
                (url.clone(), None)
            }
            Door::Bot { url, token, channel } => {
                // The thread of a message that is one gets all of it; of a new one the details follow.
                body["blocks"] = json!(message.blocks);
                body["channel"] = json!(channel);
                let method = match place {
                    Place::Channel => "chat.postMessage",
                    Place::Thread(thread) => {
                        let (channel, ts) = opened(token, thread)?;
                        body["channel"] = json!(channel);
                        body["thread_ts"] = json!(ts);
                        body["blocks"] = json!(message.complete());
                        if message.urgent {
                            body["reply_broadcast"] = json!(true);
                        }
                        "chat.postMessage"
                    }
                    Place::Instead(thread) => {
                        let (channel, ts) = opened(token, thread)?;
                        body["channel"] = json!(channel);
                        body["ts"] = json!(ts);
                        "chat.update"
                    }
                };
                (format!("{url}/{method}"), Some(token))
            }
        };
        // The parser's error may show the address.
        let url = Url::parse(&url).map_err(|_| Failure::Final("its address is no URL".into()))?;
        let mut request = Request::new(Method::POST, url).json(body.to_string()).reads_at_most(ANSWER_LIMIT);
        if let Some(token) = token {
            request = request.bearer(token);
        }
        let answer = self.transport.exchange(request).await?;
        let status = answer.status;
        if status.is_success() {
            return match self.door {
                Door::Webhook { .. } => Ok(Posted { thread: None }),
                Door::Bot { ref token, .. } => verdict(token, &answer),
            };
        }
        let retry_after = answer.retry_after();
        let why = described(status, &String::from_utf8_lossy(&answer.body));
        match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                Err(Failure::Passing { why, retry_after })
            }
            _ if status.is_server_error() => Err(Failure::Passing { why, retry_after }),
            _ => Err(Failure::Final(why)),
        }
    }
}

/// The handle of a message.
fn sealed(token: &str, channel: &str, ts: &str) -> String {
    let message = format!("{channel}:{ts}");
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
    let seal = URL_SAFE_NO_PAD.encode(hmac::sign(&key, message.as_bytes()));
    format!("{message}:{seal}")
}

/// The channel and the time stamp in a handle that we made.
fn opened<'a>(token: &str, handle: &'a str) -> Result<(&'a str, &'a str), Failure> {
    let opened = || {
        let (message, seal) = handle.rsplit_once(':')?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
        hmac::verify(&key, message.as_bytes(), &URL_SAFE_NO_PAD.decode(seal).ok()?).ok()?;
        message.split_once(':')
    };
    opened().ok_or_else(|| Failure::Final("the thread is none of ours, or of another token".into()))
}

/// The bot API answers errors with status 200.
fn verdict(token: &str, answer: &Answer) -> Result<Posted, Failure> {
    #[derive(Deserialize)]
    struct Verdict {
        ok: bool,
        error: Option<String>,
        ts: Option<String>,
        channel: Option<String>,
    }
    let (status, retry_after) = (answer.status, answer.retry_after());
    let Ok(answer) = serde_json::from_slice::<Verdict>(&answer.body) else {
        return Err(Failure::Passing { why: format!("{status} without Slack's JSON"), retry_after });
    };
    if answer.ok {
        let handle = |(channel, ts): (String, String)| sealed(token, &channel, &ts);
        return Ok(Posted { thread: answer.channel.zip(answer.ts).map(handle) });
    }
    let error = answer.error.unwrap_or_default();
    let why = word(&error).unwrap_or("an error without a name").to_owned();
    if PASSING.contains(&error.as_str()) {
        return Err(Failure::Passing { why, retry_after });
    }
    Err(Failure::Final(why))
}

impl Failure {
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Final(_) => None,
            Self::Passing { retry_after, .. } => *retry_after,
        }
    }
}

impl From<NoAnswer> for Failure {
    fn from(error: NoAnswer) -> Self {
        match error {
            NoAnswer::Lost(why) => Self::Passing { why, retry_after: None },
            // What cannot be sent, or is answered without end, is so the next time too.
            NoAnswer::Unsendable(_) | NoAnswer::TooLong(_) => Self::Final(error.to_string()),
        }
    }
}

fn described(status: StatusCode, answer: &str) -> String {
    let word = word(answer.trim()).map_or(String::new(), |word| format!(" ({word})"));
    format!("HTTP {}{word}", status.as_u16())
}

/// Slack's name of an error. Other texts may repeat what we sent, secrets included, and are not shown.
fn word(raw: &str) -> Option<&str> {
    let named = !raw.is_empty()
        && raw.len() <= 40
        && raw.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    named.then_some(raw)
}

/// Says which way messages go, and no secret.
impl fmt::Debug for Slack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.door {
            Door::Webhook { .. } => f.write_str("Slack::Webhook"),
            Door::Bot { channel, .. } => write!(f, "Slack::Bot({channel:?})"),
        }
    }
}

#[cfg(test)]
mod tests;
