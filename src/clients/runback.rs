//! A running Runback, as a pipeline calls it.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::metadata::Metadata;
use super::transport::{NoAnswer, Request, Transport};
use crate::domain::service::ServiceName;

/// Longer than Runback takes for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Between two tries.
const PAUSE: Duration = Duration::from_secs(2);

const TRIES: usize = 3;

/// A decision is a few kilobytes.
const ANSWER_LIMIT: usize = 1024 * 1024;

#[derive(Deserialize)]
struct Answer {
    reason: String,
    gates: Vec<Gate>,
}

#[derive(Deserialize)]
struct Gate {
    detail: String,
}

/// Why it has to be asked again.
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// A try that failed, and whether another one may go better.
struct Failed {
    why: String,
    passes: bool,
}

/// Asks the Runback at `url` to watch a service's newest revision (`POST /watch`, `run.routes.invoke`). Without a
/// `token` the metadata server is asked for one. What it answered: the reason code, and that with a sentence.
///
/// # Errors
/// With a sentence, when it does not answer or refuses.
pub async fn watch(
    transport: &dyn Transport,
    metadata: &Metadata,
    url: &str,
    token: Option<&str>,
    service: &ServiceName,
) -> Result<(String, String), String> {
    let token = match token {
        Some(token) => Some(token.to_owned()),
        None => metadata.identity(url, Instant::now() + PATIENCE).await,
    };
    let target = Url::parse(&format!("{url}/watch")).map_err(|error| format!("{url} is no URL: {error}"))?;
    let mut request = Request::new(Method::POST, target)
        .json(json!({"service": service.to_string()}).to_string())
        .reads_at_most(ANSWER_LIMIT);
    if let Some(token) = &token {
        request = request.bearer(token);
    }
    (|| ask(transport, &request, url))
        .retry(ConstantBuilder::default().with_delay(PAUSE).with_max_times(TRIES - 1))
        .sleep(sleep)
        .when(|failed: &Failed| failed.passes)
        .await
        .map_err(|failed| failed.why)
}

async fn ask(transport: &dyn Transport, request: &Request, url: &str) -> Result<(String, String), Failed> {
    let passing = |why: String| Failed { why, passes: true };
    let for_good = |why: String| Failed { why, passes: false };
    let answer = match timeout(PATIENCE, transport.exchange(request.clone())).await {
        Ok(exchange) => exchange
            .map_err(|error| Failed { why: error.to_string(), passes: matches!(error, NoAnswer::Lost(_)) })?,
        Err(_) => return Err(passing("no answer in time".into())),
    };
    match answer.status {
        StatusCode::OK => {
            let answer: Answer = serde_json::from_slice(&answer.body)
                .map_err(|_| for_good(format!("what answers at {url} is no Runback")))?;
            // Of a watch that nothing was touched says itself; what is watched, or why not, does not.
            let why = answer.gates.last().map_or("", |gate| gate.detail.as_str());
            let words = format!("{}: {why}", answer.reason);
            Ok((answer.reason, words))
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(for_good(format!(
            "HTTP {}: an identity token of an account with roles/run.invoker on Runback is needed",
            answer.status.as_u16()
        ))),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            let refusal = serde_json::from_slice::<Refusal>(&answer.body);
            let why = refusal.map_or(String::new(), |refusal| refusal.error);
            Err(passing(format!("HTTP {} {why}", status.as_u16()).trim_end().to_owned()))
        }
        status => Err(for_good(format!("HTTP {}", status.as_u16()))),
    }
}
