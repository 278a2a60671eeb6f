//! A transport within the process, for tests: a script in the place of the network.

use std::sync::Arc;

use reqwest::StatusCode;
use reqwest::header::{HeaderName, HeaderValue};

use super::google::Google;
use super::metadata::Metadata;
use super::tokens::Tokens;
use super::transport::{Answer, Exchange, NoAnswer, Request, SharedTransport, Transport};

struct Within<F>(F);

impl<F> Transport for Within<F>
where
    F: Fn(Request) -> Option<Result<Answer, NoAnswer>> + Send + Sync,
{
    fn exchange(&self, request: Request) -> Exchange<'_> {
        let answer = (self.0)(request);
        Box::pin(async move {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }
}

/// Answers each request with what the script says, and never where it says nothing.
pub(super) fn answering(
    script: impl Fn(Request) -> Option<Result<Answer, NoAnswer>> + Send + Sync + 'static,
) -> SharedTransport {
    Arc::new(Within(script))
}

/// An answer with this status, these headers and this body.
pub(super) fn answers(status: u16, headers: &[(&'static str, &str)], body: &str) -> Result<Answer, NoAnswer> {
    let headers = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
    let status = StatusCode::from_u16(status).unwrap();
    Ok(Answer { status, headers: headers.collect(), body: body.into() })
}

/// Google, with credentials, behind this transport.
pub(super) fn google(transport: SharedTransport) -> Google {
    let token = r#"{"access_token":"t","expires_in":3600,"token_type":"Bearer"}"#;
    let metadata = Metadata::by(answering(move |_| Some(answers(200, &[], token))));
    Google::new(transport.clone(), Tokens::of_user_file(transport, metadata, None))
}
