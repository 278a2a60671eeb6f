//! Access tokens for Google's APIs, from Application Default Credentials.
//!
//! `gcp_auth` reads the key file and signs with it. Its own client is not used: it waits without end, reads answers
//! without a limit and goes past the proxy and the transport that everything else uses.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gcp_auth::CustomServiceAccount;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::google::{CallError, no_answer};
use super::metadata::Metadata;
use super::transport::{Request, SharedTransport};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Where a signed-in user's refresh token is redeemed.
const USER_TOKEN_URL: &str = "https://oauth2.googleapis.com/token";

/// A token is a kilobyte or two.
const TOKEN_LIMIT: usize = 64 * 1024;

/// A token is renewed this long before it ends. The metadata server hands the same one out until five minutes before.
const RENEWED: Duration = Duration::from_secs(225);

/// A token that cannot be renewed is used until shortly before its end, so that it does not end on its way.
const USABLE: Duration = Duration::from_secs(10);

/// Between two attempts to renew a token that is still usable.
const RENEW_AGAIN: Duration = Duration::from_secs(10);

/// Nobody waits longer than this for a token.
const PATIENCE: Duration = Duration::from_secs(2);

/// Nor than this for a new one while the old one will do.
const RENEWING: Duration = Duration::from_secs(1);

const LONGEST_LIFE: Duration = Duration::from_secs(12 * 3600);

const SIGN_IN: &str = "not signed in to Google Cloud: run `gcloud auth application-default login`, or name a key file in \
                       GOOGLE_APPLICATION_CREDENTIALS";

/// Access tokens, fetched when one is needed and kept until shortly before they end.
pub struct Tokens {
    transport: SharedTransport,
    source: Source,
    cached: Mutex<Option<Cached>>,
    /// Held during a fetch that others wait for.
    fetching: tokio::sync::Mutex<()>,
}

enum Source {
    Key(Box<Key>),
    /// One that somebody else has got, for as long as it lasts.
    Given(String),
    /// What Google's libraries look for where no key file is named, in their order.
    Default {
        user_file: Option<PathBuf>,
        metadata: Metadata,
    },
}

/// A service account's key.
struct Key {
    account: CustomServiceAccount,
    email: String,
    token_url: Url,
}

struct Cached {
    access: Access,
    renew: Instant,
    end: Instant,
}

/// What a call needs.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) token: String,
    /// The project whose quota the call counts for, where that is not the credentials' own.
    pub(super) quota_project: Option<String>,
    /// Whose token it is, where Google says so along with it.
    pub(super) email: Option<String>,
}

/// A key file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("GOOGLE_APPLICATION_CREDENTIALS: {path}: {why}")]
pub struct CredentialsError {
    path: PathBuf,
    why: String,
}

#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    token_uri: Url,
}

#[derive(Deserialize)]
struct UserFile {
    client_id: String,
    client_secret: String,
    refresh_token: String,
    quota_project_id: Option<String>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: u64,
    /// For a signed-in user: a token that names them.
    id_token: Option<String>,
}

#[derive(Deserialize)]
struct Identity {
    email: String,
}

impl Tokens {
    /// As the service account of a key file.
    ///
    /// # Errors
    /// When the file is no service account's key.
    pub fn of_key_file(transport: SharedTransport, path: &Path) -> Result<Self, CredentialsError> {
        let refused = |why: String| CredentialsError { path: path.to_owned(), why };
        let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
        // The parser's own message may quote the file, which holds a private key.
        let file: KeyFile =
            serde_json::from_str(&text).map_err(|_| refused("it is no service account's key".into()))?;
        let account = CustomServiceAccount::from_json(&text).map_err(|error| refused(error.to_string()))?;
        let key = Key { account, email: file.client_email, token_url: file.token_uri };
        Ok(Self::of(transport, Source::Key(Box::new(key))))
    }

    /// As whoever got this token: a pipeline's sign-in, or `gcloud auth print-access-token`.
    #[must_use]
    pub fn given(transport: SharedTransport, token: String) -> Self {
        Self::of(transport, Source::Given(token))
    }

    /// As whoever is signed in on this machine (`gcloud auth application-default login`), else as the service account that
    /// the metadata server names. Nothing is read before the first token is wanted.
    #[must_use]
    pub fn by_default(transport: SharedTransport, metadata: Metadata) -> Self {
        let file = ".config/gcloud/application_default_credentials.json";
        Self::of_user_file(transport, metadata, std::env::home_dir().map(|home| home.join(file)))
    }

    pub(super) fn of_user_file(
        transport: SharedTransport,
        metadata: Metadata,
        user_file: Option<PathBuf>,
    ) -> Self {
        Self::of(transport, Source::Default { user_file, metadata })
    }

    fn of(transport: SharedTransport, source: Source) -> Self {
        Self { transport, source, cached: Mutex::default(), fetching: tokio::sync::Mutex::default() }
    }

    /// A token to call Google with. One that is about to end is renewed, and used on while that fails.
    ///
    /// # Errors
    /// [`CallError::SignedOut`] when there is nothing to get one with, [`CallError::Unavailable`] when none can be had in
    /// time.
    pub(super) async fn access(&self, deadline: Instant) -> Result<Access, CallError> {
        let now = Instant::now();
        let end = deadline.min(now + PATIENCE);
        match self.usable() {
            Some((access, false)) => Ok(access),
            Some((access, true)) => {
                let renewed = timeout_at(end.min(now + RENEWING), self.fetch(end)).await;
                Ok(renewed.ok().and_then(Result::ok).unwrap_or(access))
            }
            None => {
                timeout_at(end, self.fetch_for_all(end)).await.unwrap_or_else(|_| Err(no_token("in time")))
            }
        }
    }

    /// One fetch serves all who wait for it.
    async fn fetch_for_all(&self, end: Instant) -> Result<Access, CallError> {
        let _turn = self.fetching.lock().await;
        match self.usable() {
            Some((access, _)) => Ok(access),
            None => self.fetch(end).await,
        }
    }

    /// The token that is known, and whether the caller should renew it, which one caller is told at a time.
    fn usable(&self) -> Option<(Access, bool)> {
        let (now, mut cached) = (Instant::now(), self.cached());
        let known = cached.as_mut().filter(|known| now < known.end)?;
        let due = now >= known.renew;
        if due {
            known.renew = now + RENEW_AGAIN;
        }
        Some((known.access.clone(), due))
    }

    /// Google does not take this token any more.
    pub(super) fn forget(&self, token: &str) {
        self.cached().take_if(|known| known.access.token == token);
    }

    fn cached(&self) -> MutexGuard<'_, Option<Cached>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self, deadline: Instant) -> Result<Access, CallError> {
        let (granted, quota_project) = match &self.source {
            Source::Key(key) => (self.redeem(key.grant()?).await?, None),
            Source::Given(token) => {
                let granted = Granted {
                    access_token: token.clone(),
                    expires_in: LONGEST_LIFE.as_secs(),
                    id_token: None,
                };
                (granted, None)
            }
            Source::Default { user_file, metadata } => match user_file.as_deref().and_then(read_user) {
                Some(user) => (self.redeem(user.grant()?).await?, user.quota_project_id),
                None => (self.of_metadata(metadata, deadline).await?, None),
            },
        };
        let email = match &self.source {
            Source::Key(key) => Some(key.email.clone()),
            Source::Given(_) => None,
            Source::Default { .. } => granted.id_token.as_deref().and_then(named_by),
        };
        let access = Access { token: granted.access_token, quota_project, email };
        // However long somebody says that it lasts: no token of Google's does for more than half a day.
        let end = Instant::now() + Duration::from_secs(granted.expires_in).min(LONGEST_LIFE);
        let known = Cached { access: access.clone(), renew: end - RENEWED, end: end - USABLE };
        *self.cached() = Some(known);
        Ok(access)
    }

    /// The metadata server's token. Where it has given one before, its silence does not mean that there is none.
    async fn of_metadata(&self, metadata: &Metadata, deadline: Instant) -> Result<Granted, CallError> {
        match metadata.access_token(deadline).await {
            Ok(answer) => granted(&answer),
            Err(false) if self.cached().is_none() => Err(CallError::SignedOut(SIGN_IN.into())),
            Err(_) => Err(no_token("from the metadata server")),
        }
    }

    async fn redeem(&self, request: Request) -> Result<Granted, CallError> {
        let exchange = self.transport.exchange(request.reads_at_most(TOKEN_LIMIT));
        let answer = exchange.await.map_err(no_answer)?;
        match answer.status {
            status if status.is_success() => granted(&answer.body),
            // The text may repeat what was sent.
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let why = format!("Google does not take the credentials (HTTP {})", answer.status.as_u16());
                Err(CallError::SignedOut(format!("{why}; {SIGN_IN}")))
            }
            status => Err(no_token(&format!("(HTTP {})", status.as_u16()))),
        }
    }
}

impl UserFile {
    /// What a signed-in user's token is asked for with.
    fn grant(&self) -> Result<Request, CallError> {
        let url = Url::parse(USER_TOKEN_URL).map_err(|error| CallError::Rejected(error.to_string()))?;
        let body = json!({
            "grant_type": "refresh_token",
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "refresh_token": self.refresh_token,
        });
        Ok(Request::new(Method::POST, url).json(body.to_string()))
    }
}

impl Key {
    /// What the service account's token is asked for with (RFC 7523).
    fn grant(&self) -> Result<Request, CallError> {
        let assertion = self.assertion()?;
        let form =
            format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}");
        Ok(Request::new(Method::POST, self.token_url.clone()).body("application/x-www-form-urlencoded", form))
    }

    fn assertion(&self) -> Result<String, CallError> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the token's issuer compares this with the clock on the wall"
        )]
        let now = chrono::Utc::now().timestamp();
        let header = json!({"alg": "RS256", "typ": "JWT"}).to_string();
        let claims = json!({
            "iss": self.email,
            "aud": self.token_url,
            "scope": SCOPE,
            "iat": now,
            "exp": now + 3600,
        })
        .to_string();
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.account.signer().sign(signed.as_bytes());
        let signature =
            signature.map_err(|error| CallError::Rejected(format!("the key cannot sign: {error}")))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

fn granted(body: &[u8]) -> Result<Granted, CallError> {
    parsed(body).ok_or_else(|| no_token("that can be read"))
}

fn no_token(what: &str) -> CallError {
    CallError::Unavailable(format!("no access token {what}"))
}

/// The file of `gcloud auth application-default login`, where there is one of a user.
fn read_user(path: &Path) -> Option<UserFile> {
    parsed(&std::fs::read(path).ok()?)
}

/// The account that an identity token is about. It came from Google itself, so nobody checks its signature.
fn named_by(token: &str) -> Option<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    parsed::<Identity>(&claims).map(|identity| identity.email)
}

fn parsed<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    serde_json::from_slice(text).ok()
}

#[cfg(test)]
mod tests;
