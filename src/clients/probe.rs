//! Probes of a revision by its tag: one request that warms it, then eight that count.
//!
//! They are told apart by a header and their user agent, in the service's own logs too. Their few requests lie below
//! every `min_requests`, so they are no evidence.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderName, USER_AGENT};
use reqwest::{Method, Url};
use tokio::time::{Instant, timeout_at};

use super::metadata::Metadata;
use super::transport::{Request, SharedTransport};
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
    transport: SharedTransport,
    metadata: Metadata,
}

/// What one request came to.
enum Reply {
    /// `page`: it is HTML, which Google's front end sends and a health check hardly ever does.
    Status {
        status: u16,
        time: Duration,
        page: bool,
    },
    /// Nothing within [`EACH`].
    Silence,
    /// Nothing yet when time was up for all of them: that says nothing.
    Cut,
    Unreachable(String),
}

impl Prober {
    /// Identity tokens come from `metadata`.
    #[must_use]
    pub fn new(transport: SharedTransport, metadata: Metadata) -> Self {
        Self { transport, metadata }
    }

    /// Probes the revision that a tag's URL leads to.
    pub async fn probe(&self, wish: &Wish, url: &str, deadline: Instant) -> Outcome {
        let Ok(url) = Url::parse(&format!("{}{}", url.trim_end_matches('/'), wish.path)) else {
            return Outcome::Inconclusive("was not probed: its address is no URL".into());
        };
        let end = deadline.min(Instant::now() + ALL);
        let mut token = None;
        let mut warming = self.ask(&url, None, end, end).await;
        if let Reply::Status { status: 401 | 403, .. } = warming {
            token = self.metadata.identity(&wish.audience, end).await;
            if token.is_some() {
                warming = self.ask(&url, token.as_deref(), end, end).await;
            }
        }
        // A cold start that takes longer than the patience here is no illness.
        if matches!(warming, Reply::Cut) {
            return Outcome::Inconclusive("did not answer the request that was to warm it in time".into());
        }
        let visitor = || async {
            let mut replies = Vec::new();
            for _ in 0..ROUNDS {
                replies.push(self.ask(&url, token.as_deref(), Instant::now() + EACH, end).await);
            }
            replies
        };
        let (a, b, c, d) = tokio::join!(visitor(), visitor(), visitor(), visitor());
        summed_up(&a.into_iter().chain(b).chain(c).chain(d).collect::<Vec<_>>(), wish)
    }

    /// One request, until its answer's head is there: a health path has no body worth waiting for.
    async fn ask(&self, url: &Url, token: Option<&str>, limit: Instant, end: Instant) -> Reply {
        let mut request = Request::new(Method::GET, url.clone())
            .header(USER_AGENT, concat!("runback-probe/", env!("CARGO_PKG_VERSION")))
            .header(HeaderName::from_static("x-runback-probe"), "1")
            .reads_at_most(0);
        if let Some(token) = token {
            request = request.bearer(token);
        }
        let began = Instant::now();
        match timeout_at(limit.min(end), self.transport.exchange(request)).await {
            Ok(Ok(answer)) => {
                let kind = answer.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
                let page = kind.is_some_and(|kind| kind.starts_with("text/html"));
                Reply::Status { status: answer.status.as_u16(), time: began.elapsed(), page }
            }
            Ok(Err(error)) => Reply::Unreachable(error.cause()),
            Err(_) if limit < end => Reply::Silence,
            Err(_) => Reply::Cut,
        }
    }
}

fn summed_up(replies: &[Reply], wish: &Wish) -> Outcome {
    let statuses: Vec<u16> = replies
        .iter()
        .filter_map(|reply| match reply {
            Reply::Status { status, .. } => Some(*status),
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
            let page = replies.iter().any(|reply| matches!(reply, Reply::Status { page: true, .. }));
            return Outcome::Inconclusive(refused(*status, page));
        }
        _ => {}
    }
    let (mut probes, mut bad, mut slowest) = (0, 0, Duration::ZERO);
    for reply in replies {
        let is_bad = match (reply, wish.axis) {
            (Reply::Status { status, .. }, Axis::Errors) => *status >= 500,
            (Reply::Status { time, .. }, Axis::Slowness) => *time > wish.slow,
            (Reply::Silence, _) | (Reply::Unreachable(_), Axis::Errors) => true,
            (Reply::Unreachable(_), Axis::Slowness) | (Reply::Cut, _) => continue,
        };
        let time = match reply {
            Reply::Status { time, .. } => *time,
            Reply::Silence => EACH,
            _ => Duration::ZERO,
        };
        (probes, bad, slowest) = (probes + 1, bad + u64::from(is_bad), slowest.max(time));
    }
    Outcome::Answered { probes, bad, slowest }
}

/// Whoever keeps the probes out says nothing about the revision's health.
fn refused(status: u16, page: bool) -> String {
    let why = match status {
        401 | 403 => "the service is private; Runback needs roles/run.invoker on it to probe it",
        404 if page => {
            "it looks like Google's own page, so the probes never reached the container: its ingress keeps them out, or \
             health_path is one that the front end answers itself, as it does where a path ends in \"z\""
        }
        404 => "there is no such health_path, or its ingress keeps the probes out",
        _ => "that says nothing about its health",
    };
    format!("answered HTTP {status} to its probes: {why}")
}

#[cfg(test)]
mod tests;
