//! A running Runback, as a pipeline calls it.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::http::told;
use super::metadata::Metadata;
use crate::domain::service::ServiceName;

/// Longer than Runback takes for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// Between two tries.
const PAUSE: Duration = Duration::from_secs(2);

const TRIES: u32 = 3;

#[derive(Deserialize)]
struct Answer {
    reason: String,
    explanation: String,
}

/// Asks the Runback at `url` to watch a service's newest revision (`POST /watch`, `run.routes.invoke`). Without a
/// `token` the metadata server is asked for one. What it answered: the reason code and the explanation.
///
/// # Errors
/// With a sentence, when it does not answer or refuses.
pub async fn watch(
    http: &Client,
    url: &str,
    token: Option<&str>,
    service: &ServiceName,
) -> Result<(String, String), String> {
    let token = match token {
        Some(token) => Some(token.to_owned()),
        None => Metadata::default().identity(url, Instant::now() + PATIENCE).await,
    };
    let mut last = String::new();
    for tried in 0..TRIES {
        if tried > 0 {
            sleep(PAUSE).await;
        }
        let mut request = http.post(format!("{url}/watch")).timeout(PATIENCE);
        if let Some(token) = &token {
            request = request.bearer_auth(token);
        }
        let response = match request.json(&json!({"service": service.to_string()})).send().await {
            Ok(response) => response,
            Err(error) => {
                last = told(error);
                continue;
            }
        };
        match response.status() {
            StatusCode::OK => {
                let answer: Answer =
                    response.json().await.map_err(|_| format!("what answers at {url} is no Runback"))?;
                return Ok((answer.reason, answer.explanation));
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(format!(
                    "HTTP {}: an identity token of an account with roles/run.invoker on Runback is needed",
                    response.status().as_u16()
                ));
            }
            status if status.is_server_error() => last = format!("HTTP {}", status.as_u16()),
            status => return Err(format!("HTTP {}", status.as_u16())),
        }
    }
    Err(last)
}
