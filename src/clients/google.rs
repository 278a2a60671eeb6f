//! What all calls to Google have in common: the bearer token, the deadline, the retries and the kinds of failure.

use std::sync::Arc;
use std::time::Duration;

use backon::BackoffBuilder;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use tokio::time::{Instant, sleep, timeout_at};

use super::tokens::Tokens;
use super::transport::{NoAnswer, Request, SharedTransport};

/// One try of a read may take this long; then there is time for another within the call's deadline.
const ONE_TRY: Duration = Duration::from_secs(2);

/// So often a call is tried, whatever time is left: a server in trouble does not recover by being asked more.
const MOST_TRIES: usize = 8;

/// A call to Google that did not work, by what its caller has to do about it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// There are no credentials to call with. A person has to sign in.
    #[error("{0}")]
    SignedOut(String),
    /// 401 or 403. Trying again at once does not help.
    #[error("{message}")]
    Denied {
        /// Google's message.
        message: String,
        /// The IAM permission that is missing.
        permission: String,
    },
    /// 404.
    #[error("{0}")]
    NotFound(String),
    /// 409 with status `ABORTED`: somebody else has changed the object since it was read.
    #[error("{0}")]
    Conflict(String),
    /// Any other answer below 500: repeating the request gives the same answer.
    #[error("{0}")]
    Rejected(String),
    /// 5xx, 429, no connection, no answer in time, or an answer that cannot be read. May work later, and a write may
    /// have been carried out.
    #[error("{0}")]
    Unavailable(String),
}

/// Calls Google's APIs, with credentials.
#[derive(Clone)]
pub struct Google {
    transport: SharedTransport,
    tokens: Arc<Tokens>,
}

/// One request. `permission` is what IAM asks for it, for the case that Google does not name it.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// HTTP method.
    pub method: Method,
    /// Where.
    pub url: Url,
    /// JSON body.
    pub body: Option<&'a str>,
    /// The IAM permission that it needs.
    pub permission: &'static str,
    /// Whether making it twice is the same as making it once. Only then it is ever repeated.
    pub repeatable: bool,
    /// When its caller stops waiting.
    pub deadline: Instant,
}

impl Google {
    /// Speaks through `transport`, as whom `tokens` says.
    #[must_use]
    pub fn new(transport: SharedTransport, tokens: Tokens) -> Self {
        Self { transport, tokens: Arc::new(tokens) }
    }

    /// Fetches a token before it is needed.
    ///
    /// # Errors
    /// As any call, see [`CallError`].
    pub async fn warm_up(&self, deadline: Instant) -> Result<(), CallError> {
        self.tokens.bearer(deadline).await.map(|_| ())
    }

    /// Makes the call and gives the body of a successful answer. A repeatable one is repeated on 429, 5xx and lost
    /// connections, with growing and jittered pauses, until its deadline. A pause that Google asks for is kept where it is
    /// the longer one.
    ///
    /// # Errors
    /// By kind, see [`CallError`].
    pub async fn call(&self, call: Call<'_>) -> Result<Vec<u8>, CallError> {
        let mut pauses = backon::ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(80))
            .with_max_delay(Duration::from_secs(1))
            .with_max_times(MOST_TRIES - 1)
            .with_jitter()
            .build();
        loop {
            let (error, asked) = match self.try_once(&call).await {
                Ok(body) => return Ok(body),
                Err(failure) => failure,
            };
            let passes = call.repeatable && matches!(error, CallError::Unavailable(_));
            let Some(pause) = pauses.next().filter(|_| passes) else { return Err(error) };
            let pause = pause.max(asked.unwrap_or_default());
            if Instant::now().checked_add(pause).is_none_or(|then| then >= call.deadline) {
                return Err(error);
            }
            sleep(pause).await;
        }
    }

    /// One try, with the pause that a failed answer asks for.
    async fn try_once(&self, call: &Call<'_>) -> Result<Vec<u8>, (CallError, Option<Duration>)> {
        let end = if call.repeatable { call.deadline.min(Instant::now() + ONE_TRY) } else { call.deadline };
        let token = self.tokens.bearer(end).await.map_err(|error| (error, None))?;
        let mut request = Request::new(call.method.clone(), call.url.clone()).bearer(&token);
        if let Some(body) = call.body {
            request = request.json(body);
        }
        let answer = match timeout_at(end, self.transport.exchange(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err((no_answer(error), None)),
            Err(_) => return Err((CallError::Unavailable("no answer in time".into()), None)),
        };
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        if answer.status == StatusCode::UNAUTHORIZED {
            self.tokens.forget(&token).await;
        }
        let pause = answer.retry_after();
        Err((failure(answer.status, &answer.body, call.permission), pause))
    }
}

/// An exchange that came to nothing.
pub(super) fn no_answer(error: NoAnswer) -> CallError {
    match error {
        NoAnswer::Unsendable(why) => CallError::Rejected(why),
        NoAnswer::Lost(_) | NoAnswer::TooLong(_) => CallError::Unavailable(error.to_string()),
    }
}

/// Google's error body, as JSON APIs write it.
#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Deserialize)]
struct ErrorDetail {
    #[serde(default)]
    message: String,
    #[serde(default)]
    status: String,
}

fn failure(status: StatusCode, body: &[u8], permission: &str) -> CallError {
    let detail = serde_json::from_slice::<ErrorBody>(body).ok().map(|body| body.error);
    let (text, name) = detail.map_or_else(Default::default, |detail| (detail.message, detail.status));
    let message = if text.is_empty() {
        format!("HTTP {}", status.as_u16())
    } else {
        format!("HTTP {}: {text}", status.as_u16())
    };
    match status.as_u16() {
        401 | 403 => {
            let permission = named_permission(&text).unwrap_or(permission).to_owned();
            CallError::Denied { message, permission }
        }
        404 => CallError::NotFound(message),
        409 if name == "ABORTED" => CallError::Conflict(message),
        408 | 429 | 500.. => CallError::Unavailable(message),
        _ => CallError::Rejected(message),
    }
}

/// The permission in "Permission 'run.services.update' denied on resource …".
fn named_permission(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("ermission '")?;
    let (name, _) = rest.split_once('\'')?;
    let plausible =
        name.contains('.') && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '/'));
    plausible.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_apart_by_what_has_to_be_done() {
        let body = |status: &str, message: &str| {
            format!(r#"{{"error":{{"code":1,"message":"{message}","status":"{status}"}}}}"#)
        };
        let kind = |code: u16, body: &str| match failure(
            StatusCode::from_u16(code).unwrap(),
            body.as_bytes(),
            "run.services.get",
        ) {
            CallError::Denied { permission, .. } => format!("denied {permission}"),
            CallError::NotFound(_) => "not found".into(),
            CallError::Conflict(_) => "conflict".into(),
            CallError::Rejected(_) => "rejected".into(),
            CallError::Unavailable(_) => "unavailable".into(),
            CallError::SignedOut(_) => "signed out".into(),
        };
        let named =
            body("PERMISSION_DENIED", "Permission 'iam.serviceaccounts.actAs' denied on service account x");
        assert_eq!(kind(403, &named), "denied iam.serviceaccounts.actAs");
        assert_eq!(kind(403, "<html>"), "denied run.services.get");
        assert_eq!(kind(401, &body("UNAUTHENTICATED", "no")), "denied run.services.get");
        assert_eq!(kind(404, ""), "not found");
        assert_eq!(kind(409, &body("ABORTED", "Conflict for resource")), "conflict");
        assert_eq!(kind(409, &body("ALREADY_EXISTS", "Revision named")), "rejected");
        assert_eq!(kind(400, &body("INVALID_ARGUMENT", "bad")), "rejected");
        for code in [408, 429, 500, 502, 503, 504] {
            assert_eq!(kind(code, ""), "unavailable", "{code}");
        }
    }
}
