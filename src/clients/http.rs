//! What every client says and reads of HTTP in the same way.

use std::error::Error;
use std::time::Duration;

use reqwest::Response;
use reqwest::header::RETRY_AFTER;

/// An error with its causes: reqwest's own text stops before the reason. The address is left out; it may be a secret.
pub(super) fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// The pause that an answer asks for, in whole seconds.
pub(super) fn retry_after(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
