//! What all calls to Google have in common: the bearer token, the deadline, the retries and the kinds of failure.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use backon::BackoffBuilder;
use gcp_auth::{
    ConfigDefaultCredentials, CustomServiceAccount, GCloudAuthorizedUser, MetadataServiceAccount,
    TokenProvider,
};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use super::http::{retry_after, told};

const SCOPES: &[&str] = &["https://www.googleapis.com/auth/cloud-platform"];

/// One try of a read may take this long; then there is time for another within the call's deadline.
const ONE_TRY: Duration = Duration::from_secs(2);

/// A call to Google that did not work, by what its caller has to do about it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
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

/// An HTTP client with credentials for Google's APIs.
#[derive(Clone)]
pub struct Google {
    http: reqwest::Client,
    tokens: Arc<Tokens>,
}

struct Tokens {
    provider: OnceCell<Arc<dyn TokenProvider>>,
}

/// The credentials that Google's libraries would use cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("GOOGLE_APPLICATION_CREDENTIALS: {path}: {why}")]
pub struct CredentialsError {
    path: PathBuf,
    why: gcp_auth::Error,
}

/// One request. `permission` is what IAM asks for it, for the case that Google does not name it.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// HTTP method. Only `GET` is ever repeated.
    pub method: Method,
    /// Where.
    pub url: Url,
    /// JSON body.
    pub body: Option<&'a str>,
    /// The IAM permission that it needs.
    pub permission: &'static str,
    /// When its caller stops waiting.
    pub deadline: Instant,
}

/// What the environment offers besides a key file, which our own configuration names. As `gcp_auth::provider`, but that
/// takes an empty `GOOGLE_APPLICATION_CREDENTIALS` for the name of a file.
async fn from_environment() -> Result<Arc<dyn TokenProvider>, gcp_auth::Error> {
    let of_user = match ConfigDefaultCredentials::new().await {
        Ok(provider) => return Ok(Arc::new(provider)),
        Err(error) => error,
    };
    let of_metadata = match MetadataServiceAccount::new().await {
        Ok(provider) => return Ok(Arc::new(provider)),
        Err(error) => error,
    };
    match GCloudAuthorizedUser::new().await {
        Ok(provider) => Ok(Arc::new(provider)),
        Err(of_gcloud) => {
            Err(gcp_auth::Error::NoAuthMethod(Box::new(of_gcloud), Box::new(of_metadata), Box::new(of_user)))
        }
    }
}

impl Google {
    /// With a service account key file, or else with what the environment offers (on Cloud Run: the metadata server).
    ///
    /// # Errors
    /// When the key file cannot be used. Without one nothing is tried before the first token is wanted.
    pub fn new(http: reqwest::Client, key_file: Option<&Path>) -> Result<Self, CredentialsError> {
        let provider = OnceCell::new();
        if let Some(path) = key_file {
            let account = CustomServiceAccount::from_file(path)
                .map_err(|why| CredentialsError { path: path.to_owned(), why })?;
            let account: Arc<dyn TokenProvider> = Arc::new(account);
            provider.set(account).ok();
        }
        Ok(Self { http, tokens: Arc::new(Tokens { provider }) })
    }

    /// Fetches a token before it is needed.
    ///
    /// # Errors
    /// [`CallError::Unavailable`] when none can be had in time.
    pub async fn warm_up(&self, deadline: Instant) -> Result<(), CallError> {
        self.bearer(deadline).await.map(|_| ())
    }

    /// gcp_auth waits without end for a silent server, so every wait for it is bounded here.
    async fn bearer(&self, deadline: Instant) -> Result<Arc<gcp_auth::Token>, CallError> {
        let fetch = async {
            let provider = self.tokens.provider.get_or_try_init(from_environment).await?;
            provider.token(SCOPES).await
        };
        match timeout_at(deadline.min(Instant::now() + ONE_TRY), fetch).await {
            Ok(Ok(token)) => Ok(token),
            Ok(Err(error)) => Err(CallError::Unavailable(format!("no access token: {error}"))),
            Err(_) => Err(CallError::Unavailable("no access token in time".into())),
        }
    }

    /// Makes the call and gives the body of a successful answer. A `GET` is repeated on 429, 5xx and lost
    /// connections, with growing and jittered pauses, until its deadline.
    ///
    /// # Errors
    /// By kind, see [`CallError`].
    pub async fn call(&self, call: Call<'_>) -> Result<Vec<u8>, CallError> {
        let repeatable = call.method == Method::GET;
        let mut pauses = backon::ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(80))
            .with_max_delay(Duration::from_secs(1))
            .without_max_times()
            .with_jitter()
            .build();
        loop {
            let (error, asked_pause) = match self.try_once(&call, repeatable).await {
                Ok(body) => return Ok(body),
                Err(failure) => failure,
            };
            let pause = asked_pause.or_else(|| pauses.next()).unwrap_or(Duration::from_secs(1));
            let again = repeatable
                && matches!(error, CallError::Unavailable(_))
                && Instant::now().checked_add(pause).is_some_and(|then| then < call.deadline);
            if !again {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// One try, with the pause that a failed answer's `Retry-After` asks for.
    async fn try_once(
        &self,
        call: &Call<'_>,
        repeatable: bool,
    ) -> Result<Vec<u8>, (CallError, Option<Duration>)> {
        let token = self.bearer(call.deadline).await.map_err(|error| (error, None))?;
        let end = if repeatable { call.deadline.min(Instant::now() + ONE_TRY) } else { call.deadline };
        let mut request =
            self.http.request(call.method.clone(), call.url.clone()).bearer_auth(token.as_str());
        if let Some(body) = call.body {
            request = request.header("Content-Type", "application/json; charset=utf-8").body(body.to_owned());
        }
        let exchange = async {
            let answer = request.send().await?;
            let (status, pause) = (answer.status(), retry_after(&answer));
            Ok::<_, reqwest::Error>((status, pause, answer.bytes().await?.to_vec()))
        };
        let (status, pause, body) = match timeout_at(end, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err((CallError::Unavailable(told(error)), None)),
            Err(_) => return Err((CallError::Unavailable("no answer in time".into()), None)),
        };
        if status.is_success() { Ok(body) } else { Err((failure(status, &body, call.permission), pause)) }
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
