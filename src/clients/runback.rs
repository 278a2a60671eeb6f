//! A running Runback, as a pipeline calls it.

use std::time::Duration;

use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::metadata::Metadata;
use super::transport::{Request, Transport};
use crate::domain::service::ServiceName;

/// Longer than Runback takes for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Between two tries.
const PAUSE: Duration = Duration::from_secs(2);

const TRIES: u32 = 3;

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
    let mut request =
        Request::new(Method::POST, target).json(json!({"service": service.to_string()}).to_string());
    if let Some(token) = &token {
        request = request.bearer(token);
    }
    let mut last = String::new();
    for tried in 0..TRIES {
        if tried > 0 {
            sleep(PAUSE).await;
        }
        let response = match timeout(PATIENCE, transport.exchange(request.clone())).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                last = error.to_string();
                continue;
            }
            Err(_) => {
                last = "no answer in time".into();
                continue;
            }
        };
        match response.status {
            StatusCode::OK => {
                let answer: Answer = serde_json::from_slice(&response.body)
                    .map_err(|_| format!("what answers at {url} is no Runback"))?;
                // Of a watch that nothing was touched says itself; what is watched, or why not, does not.
                let why = answer.gates.last().map_or("", |gate| gate.detail.as_str());
                let words = format!("{}: {why}", answer.reason);
                return Ok((answer.reason, words));
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(format!(
                    "HTTP {}: an identity token of an account with roles/run.invoker on Runback is needed",
                    response.status.as_u16()
                ));
            }
            status if status.is_server_error() => {
                let refusal = serde_json::from_slice::<Refusal>(&response.body);
                let why = refusal.map_or(String::new(), |refusal| refusal.error);
                last = format!("HTTP {} {why}", status.as_u16()).trim_end().to_owned();
            }
            status => return Err(format!("HTTP {}", status.as_u16())),
        }
    }
    Err(last)
}
