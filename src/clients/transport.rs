//! The way out: every request that leaves the process goes through a [`Transport`], and every answer is read here, up to a
//! limit. Waiting is the caller's: each client knows its own deadline.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response, StatusCode, Url, redirect};
use tokio::sync::Semaphore;

/// No answer that Runback needs is longer: 1,000 revisions have about 6 MiB. An instance has 256 MiB.
pub const ANSWER_LIMIT: usize = 32 * 1024 * 1024;

/// Answers beyond this length wait for each other, so that many at once do not fill the memory.
const LONG: usize = 1024 * 1024;

/// So many of the long ones are read at a time.
const LONG_AT_ONCE: usize = 2;

/// Hosts that do not accept a connection within this are not there.
const CONNECT: Duration = Duration::from_secs(2);

/// What is sent.
#[derive(Debug, Clone)]
pub struct Request {
    /// HTTP method.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Headers beside those that every request has.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Vec<u8>,
    /// So many bytes of the answer are read, and one byte more is an error. 0: only status and headers count, and the body
    /// is not waited for.
    pub answer_limit: usize,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Why there is no answer. No text shows the address, which may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The request cannot be sent, however often it is tried.
    #[error("{0}")]
    Unsendable(String),
    /// The connection failed. What was asked for may have been done.
    #[error("{0}")]
    Lost(String),
    /// The answer is longer than anything that Runback reads.
    #[error("an answer of more than {0} bytes")]
    TooLong(usize),
}

/// An exchange under way.
pub type Exchange<'a> = Pin<Box<dyn Future<Output = Result<Answer, NoAnswer>> + Send + 'a>>;

/// Carries a request to its host and the answer back. [`Network`] does it over the network; a simulation of many
/// schedules does it within the process.
pub trait Transport: Send + Sync {
    /// Sends the request, once.
    fn exchange(&self, request: Request) -> Exchange<'_>;
}

/// A transport that several clients share.
pub type SharedTransport = Arc<dyn Transport>;

/// The network.
pub struct Network {
    client: Client,
    long: Semaphore,
}

impl Network {
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> Result<Self, String> {
        Self::built(|builder| builder)
    }

    /// For the metadata server, which no proxy knows.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn without_proxy() -> Result<Self, String> {
        Self::built(reqwest::ClientBuilder::no_proxy)
    }

    fn built(change: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> Result<Self, String> {
        let builder = Client::builder()
            .connect_timeout(CONNECT)
            .user_agent(concat!("runback/", env!("CARGO_PKG_VERSION")))
            // A redirect would carry a token or a Slack message to an address that nobody configured.
            .redirect(redirect::Policy::none());
        let client = change(builder).build().map_err(|error| format!("no HTTP client: {error}"))?;
        Ok(Self { client, long: Semaphore::new(LONG_AT_ONCE) })
    }

    /// The whole body, if it is no longer than that.
    async fn read(&self, mut response: Response, limit: usize) -> Result<Vec<u8>, NoAnswer> {
        if response.content_length().is_some_and(|length| length > limit as u64) {
            return Err(NoAnswer::TooLong(limit));
        }
        let (mut body, mut turn) = (Vec::new(), None);
        while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
            let length = body.len() + chunk.len();
            if length > limit {
                return Err(NoAnswer::TooLong(limit));
            }
            if length > LONG && turn.is_none() {
                turn = self.long.acquire().await.ok();
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

impl Transport for Network {
    fn exchange(&self, request: Request) -> Exchange<'_> {
        let Request { method, url, headers, body, answer_limit } = request;
        Box::pin(async move {
            let request = self.client.request(method, url).headers(headers).body(body);
            let response = request.send().await.map_err(no_answer)?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = if answer_limit == 0 { Vec::new() } else { self.read(response, answer_limit).await? };
            Ok(Answer { status, headers, body })
        })
    }
}

/// reqwest's own text stops before the reason.
fn no_answer(error: reqwest::Error) -> NoAnswer {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    if error.is_builder() { NoAnswer::Unsendable(text) } else { NoAnswer::Lost(text) }
}

impl NoAnswer {
    /// The innermost cause: "Connection refused (os error 111)" and the like.
    #[must_use]
    pub fn cause(&self) -> String {
        let text = self.to_string();
        text.rsplit(": ").next().unwrap_or_default().to_owned()
    }
}

impl Request {
    /// A request without headers and body.
    #[must_use]
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Vec::new(), answer_limit: ANSWER_LIMIT }
    }

    /// With a header. A value that no header can have is left out.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// With a bearer token, which is never shown.
    #[must_use]
    pub fn bearer(mut self, token: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {token}")) {
            value.set_sensitive(true);
            self.headers.insert(AUTHORIZATION, value);
        }
        self
    }

    /// With a body of that type.
    #[must_use]
    pub fn body(self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self.header(CONTENT_TYPE, content_type) }
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(self, body: impl Into<Vec<u8>>) -> Self {
        self.body("application/json; charset=utf-8", body)
    }

    /// With another limit for the answer.
    #[must_use]
    pub fn reads_at_most(self, bytes: usize) -> Self {
        Self { answer_limit: bytes, ..self }
    }
}

impl Answer {
    /// The pause that it asks for (`Retry-After` in whole seconds).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// A server of answers as their paths say: `long` has two mebibytes, `stall` stops there without an end, and `endless`
    /// goes on for ever.
    async fn serve() -> Url {
        rustls::crypto::ring::default_provider().install_default().ok();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(client));
            }
        });
        url
    }

    async fn answer(mut client: TcpStream) {
        let mut head = [0; 1024];
        let length = client.read(&mut head).await.unwrap();
        let asked_for = |path: &str| head[..length].starts_with(format!("GET /{path} ").as_bytes());
        let mut sent = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        let mut left = if asked_for("endless") { usize::MAX } else { 2 * LONG };
        while sent.is_ok() && left > 0 {
            sent = client.write_all(&[b'x'; 16 * 1024]).await;
            left -= 16 * 1024;
        }
        if asked_for("stall") {
            std::future::pending::<()>().await;
        }
    }

    #[tokio::test]
    async fn an_endless_answer_is_given_up_at_its_limit() {
        let (url, network) = (serve().await.join("endless").unwrap(), Network::new().unwrap());
        let request = Request::new(Method::GET, url);
        let limited = network.exchange(request.clone().reads_at_most(1_000_000)).await;
        assert_eq!(limited.unwrap_err(), NoAnswer::TooLong(1_000_000));
        assert_eq!(network.exchange(request.clone()).await.unwrap_err(), NoAnswer::TooLong(ANSWER_LIMIT));
        let head = network.exchange(request.reads_at_most(0)).await.unwrap();
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0), "only the head was wanted");
    }

    #[tokio::test]
    async fn long_answers_wait_for_each_other_and_whoever_gives_up_makes_room() {
        let (url, network) = (serve().await, Network::new().unwrap());
        let read = |path: &str, patience: u64| {
            let exchange = network.exchange(Request::new(Method::GET, url.join(path).unwrap()));
            tokio::time::timeout(Duration::from_millis(patience), exchange)
        };
        let stalls = || async { tokio::join!(read("stall", 1_000), read("stall", 1_000)) };
        let waits = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let began = tokio::time::Instant::now();
            let answer = read("long", 10_000).await.unwrap().unwrap();
            (answer.body.len(), began.elapsed())
        };
        let ((first, second), (length, waited)) = tokio::join!(stalls(), waits);
        assert!(first.is_err() && second.is_err(), "they have stalled");
        assert_eq!(length, 2 * LONG);
        assert!(waited > Duration::from_millis(500), "{waited:?}");
    }

    #[test]
    fn what_has_no_answer_says_why_and_not_where() {
        let lost = NoAnswer::Lost("error sending request: connect: Connection refused".into());
        assert_eq!(lost.cause(), "Connection refused");
    }

    #[test]
    fn a_token_is_not_shown() {
        let request = Request::new(Method::GET, "https://example.com".parse().unwrap()).bearer("hidden");
        assert!(!format!("{request:?}").contains("hidden"), "{request:?}");
    }
}
