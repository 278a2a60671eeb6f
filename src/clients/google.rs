//! What all calls to Google have in common: the bearer token, the deadline, the retries and the kinds of failure.

use std::sync::Arc;
use std::time::Duration;

use backon::Retryable;
use reqwest::header::HeaderName;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout_at};

use super::retry;
use super::tokens::Tokens;
use super::transport::{NoAnswer, Request, SharedTransport};

/// One try of a read may take this long; then there is time for another within the call's deadline.
const ONE_TRY: Duration = Duration::from_secs(2);

/// The project whose quota a person's calls count for. Without it some APIs refuse the credentials of gcloud.
const QUOTA_PROJECT: HeaderName = HeaderName::from_static("x-goog-user-project");

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
    /// Any other 4xx: repeating the request gives the same answer.
    #[error("{0}")]
    Rejected(String),
    /// 5xx, 429, a redirect, no connection, no answer in time, or an answer that cannot be read. May work later, and a
    /// write may have been carried out.
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

/// A try that failed.
struct Failed {
    error: CallError,
    /// Whether another try may go better.
    passes: bool,
    /// The pause that Google asks for.
    asked: Option<Duration>,
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
        self.tokens.access(deadline).await.map(|_| ())
    }

    /// The account that the calls are made as, where that is known.
    pub async fn account(&self, deadline: Instant) -> Option<String> {
        self.tokens.access(deadline).await.ok()?.email
    }

    /// Makes the call and gives the body of a successful answer. A repeatable one is tried again after 429, 5xx and a
    /// lost connection, a few times and until its deadline.
    ///
    /// # Errors
    /// By kind, see [`CallError`].
    pub async fn call(&self, call: Call<'_>) -> Result<Vec<u8>, CallError> {
        let tried = (|| self.try_once(&call))
            .retry(retry::pauses(Duration::from_millis(80), Duration::from_secs(1)))
            .sleep(sleep)
            .when(|failed: &Failed| call.repeatable && failed.passes)
            .adjust(|failed, pause| retry::pause(pause, failed.asked, call.deadline))
            .await;
        tried.map_err(|failed| failed.error)
    }

    async fn try_once(&self, call: &Call<'_>) -> Result<Vec<u8>, Failed> {
        let access = self.tokens.access(call.deadline).await?;
        let mut request = Request::new(call.method.clone(), call.url.clone()).bearer(&access.token);
        if let Some(project) = &access.quota_project {
            request = request.header(QUOTA_PROJECT, project);
        }
        if let Some(body) = call.body {
            request = request.json(body);
        }
        let end = if call.repeatable { call.deadline.min(Instant::now() + ONE_TRY) } else { call.deadline };
        let answer = match timeout_at(end, self.transport.exchange(request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => return Err(CallError::Unavailable("no answer in time".into()).into()),
        };
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        if answer.status == StatusCode::UNAUTHORIZED {
            self.tokens.forget(&access.token);
        }
        let asked = answer.retry_after();
        Err(Failed { asked, ..failure(answer.status, &answer.body, call.permission).into() })
    }
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        Self { passes: matches!(error, CallError::Unavailable(_)), error, asked: None }
    }
}

impl From<NoAnswer> for Failed {
    fn from(error: NoAnswer) -> Self {
        // What is too long now is too long a moment later, and costs as much memory.
        let passes = matches!(error, NoAnswer::Lost(_));
        Self { error: no_answer(error), passes, asked: None }
    }
}

/// An address below `base`. Whatever a name is made of, it stays one segment of the path.
pub(super) fn address<'a>(base: &str, names: impl IntoIterator<Item = &'a str>) -> Result<Url, CallError> {
    let refused = |what: &str| CallError::Rejected(format!("{what:?} cannot be part of an address"));
    let mut url = Url::parse(base).map_err(|_| refused(base))?;
    let mut path = url.path_segments_mut().map_err(|()| refused(base))?;
    path.pop_if_empty();
    for name in names {
        // The URL's parser leaves these out, and what is left is another address.
        if ["", ".", ".."].contains(&name) || name.contains(char::is_control) {
            return Err(refused(name));
        }
        path.push(name);
    }
    drop(path);
    Ok(url)
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
        408 | 429 | 499 => CallError::Unavailable(message),
        400..500 => CallError::Rejected(message),
        // Also a redirect, which something on the way must have made up.
        _ => CallError::Unavailable(message),
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

/// A JSON answer. One that cannot be read may have been cut short: worth another try later.
///
/// # Errors
/// [`CallError::Unavailable`], with what is wrong.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(body)
        .map_err(|error| CallError::Unavailable(format!("an answer that cannot be read: {error}")))
}

#[cfg(test)]
mod tests;
