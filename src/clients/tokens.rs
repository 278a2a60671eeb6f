//! Access tokens for Google's APIs, from Application Default Credentials.
//!
//! `gcp_auth` reads the key file and signs with it. Its own client is not used: it waits without end, reads answers
//! without a limit and goes past the proxy and the transport that everything else uses.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gcp_auth::CustomServiceAccount;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::google::{CallError, no_answer};
use super::metadata::Metadata;
use super::transport::{Request, SharedTransport};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Where a signed-in user's refresh token is redeemed.
const USER_TOKEN_URL: &str = "https://oauth2.googleapis.com/token";

/// A token is a kilobyte or two.
const TOKEN_LIMIT: usize = 64 * 1024;

/// A token is fetched anew this long before it ends, so that it does not end on its way.
const BEFORE_ITS_END: Duration = Duration::from_secs(60);

/// A fetch may take this long.
const ONE_TRY: Duration = Duration::from_secs(2);

const SIGN_IN: &str = "not signed in to Google Cloud: run `gcloud auth application-default login`, or name a key file in \
                       GOOGLE_APPLICATION_CREDENTIALS";

/// Access tokens, fetched when one is needed and kept until shortly before they end.
pub struct Tokens {
    transport: SharedTransport,
    source: Source,
    /// Held during a fetch, so that one serves all who wait.
    cached: Mutex<Option<Cached>>,
}

enum Source {
    Key(Box<Key>),
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
    token: String,
    until: Instant,
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
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: u64,
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
        Ok(Self { transport, source: Source::Key(Box::new(key)), cached: Mutex::default() })
    }

    /// As whoever is signed in on this machine (`gcloud auth application-default login`), else as the service account that
    /// the metadata server names. Nothing is read before the first token is wanted.
    #[must_use]
    pub fn by_default(transport: SharedTransport, metadata: Metadata) -> Self {
        let user_file =
            std::env::home_dir().map(|home| home.join(".config/gcloud/application_default_credentials.json"));
        Self { transport, source: Source::Default { user_file, metadata }, cached: Mutex::default() }
    }

    /// A token to call Google with.
    ///
    /// # Errors
    /// [`CallError::SignedOut`] when there is nothing to get one with, [`CallError::Unavailable`] when none can be had in
    /// time.
    pub(super) async fn bearer(&self, deadline: Instant) -> Result<String, CallError> {
        let end = deadline.min(Instant::now() + ONE_TRY);
        let in_time = timeout_at(end, async {
            let mut cached = self.cached.lock().await;
            if let Some(known) = cached.as_ref().filter(|known| Instant::now() < known.until) {
                return Ok(known.token.clone());
            }
            let granted = self.fetch(end).await?;
            let life = Duration::from_secs(granted.expires_in).saturating_sub(BEFORE_ITS_END);
            *cached = Some(Cached { token: granted.access_token.clone(), until: Instant::now() + life });
            Ok(granted.access_token)
        });
        in_time.await.unwrap_or_else(|_| Err(CallError::Unavailable("no access token in time".into())))
    }

    /// Google does not take this token any more.
    pub(super) async fn forget(&self, token: &str) {
        let mut cached = self.cached.lock().await;
        cached.take_if(|known| known.token == token);
    }

    async fn fetch(&self, deadline: Instant) -> Result<Granted, CallError> {
        match &self.source {
            Source::Key(key) => {
                let form = format!(
                    "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={}",
                    key.assertion()?
                );
                let request = Request::new(Method::POST, key.token_url.clone());
                self.redeem(request.body("application/x-www-form-urlencoded", form)).await
            }
            Source::Default { user_file, metadata } => {
                if let Some(user) = user_file.as_deref().and_then(read_user) {
                    let url =
                        Url::parse(USER_TOKEN_URL).map_err(|error| CallError::Rejected(error.to_string()))?;
                    let body = json!({
                        "grant_type": "refresh_token",
                        "client_id": user.client_id,
                        "client_secret": user.client_secret,
                        "refresh_token": user.refresh_token,
                    });
                    return self.redeem(Request::new(Method::POST, url).json(body.to_string())).await;
                }
                let token = metadata.access_token(deadline).await;
                token.as_deref().map_or_else(|| Err(CallError::SignedOut(SIGN_IN.into())), granted)
            }
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
            status => Err(CallError::Unavailable(format!("no access token: HTTP {}", status.as_u16()))),
        }
    }
}

impl Key {
    /// A signed request for a token (RFC 7523).
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
    parsed(body).ok_or_else(|| CallError::Unavailable("an access token that cannot be read".into()))
}

/// The file of `gcloud auth application-default login`, where there is one of a user.
fn read_user(path: &Path) -> Option<UserFile> {
    parsed(&std::fs::read(path).ok()?)
}

fn parsed<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    serde_json::from_slice(text).ok()
}
