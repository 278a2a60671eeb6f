//! Probes of a revision by its tag: one request that warms it, then eight that count.
//!
//! They are told apart by a header and their user agent, in the service's own logs too. Their few requests lie below
//! every `min_requests`, so they are no evidence.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use tokio::time::{Instant, timeout_at};

use super::metadata::Metadata;
use crate::domain::evidence::Axis;
use crate::domain::probe::{Outcome, Wish};

/// All probes of one revision, its warming included.
const ALL: Duration = Duration::from_secs(3);

/// One probe. A warm instance whose health path says nothing for so long is not well, whatever the incident is about.
const EACH: Duration = Duration::from_secs(2);

/// Four at a time, twice: enough for a verdict even when only the first ones come back in time.
const ROUNDS: usize = 2;

/// Asks health paths.
pub struct Prober {
    /// A sentence where no client could be made.
    http: Result<reqwest::Client, String>,
    metadata: Metadata,
}

/// What one request came to.
enum Reply {
    Status(u16, Duration),
    /// Nothing within [`EACH`].
    Silence,
    /// Nothing yet when time was up for all of them: that says nothing.
    Cut,
    Unreachable(String),
}

impl Prober {
    /// Identity tokens come from `metadata`.
    #[must_use]
    pub fn new(metadata: Metadata) -> Self {
        let marks = [(HeaderName::from_static("x-runback-probe"), HeaderValue::from_static("1"))];
        let http = reqwest::Client::builder()
            .user_agent(concat!("runback-probe/", env!("CARGO_PKG_VERSION")))
            .default_headers(HeaderMap::from_iter(marks))
            // A redirect is an answer; where it leads is not the revision.
            .redirect(Policy::none())
            .build()
            .map_err(|error| error.to_string());
        Self { http, metadata }
    }

    /// Probes the revision that a tag's URL leads to.
    pub async fn probe(&self, wish: &Wish, url: &str, deadline: Instant) -> Outcome {
        let http = match &self.http {
            Ok(http) => http,
            Err(why) => return Outcome::Inconclusive(format!("was not probed: no HTTP client: {why}")),
        };
        let url = format!("{}{}", url.trim_end_matches('/'), wish.path);
        let end = deadline.min(Instant::now() + ALL);
        let mut token = None;
        let mut warming = ask(http, &url, None, end, end).await;
        if let Reply::Status(401 | 403, _) = warming {
            token = self.identity(&wish.audience, end).await;
            if token.is_some() {
                warming = ask(http, &url, token.as_ref(), end, end).await;
            }
        }
        // A cold start that takes longer than the patience here is no illness.
        if matches!(warming, Reply::Cut) {
            return Outcome::Inconclusive("did not answer the request that was to warm it in time".into());
        }
        let visitor = || async {
            let mut replies = Vec::new();
            for _ in 0..ROUNDS {
                replies.push(ask(http, &url, token.as_ref(), Instant::now() + EACH, end).await);
            }
            replies
        };
        let (a, b, c, d) = tokio::join!(visitor(), visitor(), visitor(), visitor());
        summed_up(&a.into_iter().chain(b).chain(c).chain(d).collect::<Vec<_>>(), wish)
    }

    /// An identity token for a private service.
    async fn identity(&self, audience: &str, end: Instant) -> Option<HeaderValue> {
        let token = self.metadata.identity(audience, end).await?;
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// One request, until its answer's head is there: a health path has no body worth waiting for.
async fn ask(
    http: &reqwest::Client,
    url: &str,
    token: Option<&HeaderValue>,
    limit: Instant,
    end: Instant,
) -> Reply {
    let mut request = http.get(url);
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, token.clone());
    }
    let began = Instant::now();
    match timeout_at(limit.min(end), request.send()).await {
        Ok(Ok(answer)) => Reply::Status(answer.status().as_u16(), began.elapsed()),
        Ok(Err(error)) => Reply::Unreachable(reason(&error.without_url())),
        Err(_) if limit < end => Reply::Silence,
        Err(_) => Reply::Cut,
    }
}

/// The innermost cause: "Connection refused" and the like.
fn reason(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

fn summed_up(replies: &[Reply], wish: &Wish) -> Outcome {
    let statuses: Vec<u16> = replies
        .iter()
        .filter_map(|reply| match reply {
            Reply::Status(status, _) => Some(*status),
            _ => None,
        })
        .collect();
    let silent = replies.iter().any(|reply| matches!(reply, Reply::Silence));
    let unreachable = replies.iter().find_map(|reply| match reply {
        Reply::Unreachable(why) => Some(why),
        _ => None,
    });
    match (statuses.first(), unreachable) {
        (None, Some(why)) if !silent => return Outcome::Inconclusive(format!("cannot be reached: {why}")),
        (None, None) if !silent => return Outcome::Inconclusive("did not answer a probe in time".into()),
        (Some(status), _) if !silent && statuses.iter().all(|status| (400..500).contains(status)) => {
            return Outcome::Inconclusive(refused(*status));
        }
        _ => {}
    }
    let (mut probes, mut bad, mut slowest) = (0, 0, Duration::ZERO);
    for reply in replies {
        let is_bad = match (reply, wish.axis) {
            (Reply::Status(status, _), Axis::Errors) => *status >= 500,
            (Reply::Status(_, time), Axis::Slowness) => *time > wish.slow,
            (Reply::Silence, _) | (Reply::Unreachable(_), Axis::Errors) => true,
            (Reply::Unreachable(_), Axis::Slowness) | (Reply::Cut, _) => continue,
        };
        let time = match reply {
            Reply::Status(_, time) => *time,
            Reply::Silence => EACH,
            _ => Duration::ZERO,
        };
        (probes, bad, slowest) = (probes + 1, bad + u64::from(is_bad), slowest.max(time));
    }
    Outcome::Answered { probes, bad, slowest }
}

/// Whoever keeps the probes out says nothing about the revision's health.
fn refused(status: u16) -> String {
    let why = match status {
        401 | 403 => "the service is private; Runback needs roles/run.invoker on it to probe it",
        404 => "its ingress keeps the probes out, or there is no such health_path",
        _ => "that says nothing about its health",
    };
    format!("answered HTTP {status} to its probes: {why}")
}

#[cfg(test)]
mod tests;
