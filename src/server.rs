//! The HTTP side: routes, who may call them, the body limit, and which ending is acknowledged and which one comes again.

mod answered;
mod callers;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio::sync::RwLock;
use tokio::time::sleep;
use tracing::Instrument;

use crate::answer::{self, Answer};
use crate::config::CallersConfig;
use crate::domain::alert::{Content, Delivery};
use crate::domain::decision::Decision;
use crate::domain::service::ServiceName;
use crate::intake;
use crate::logging::{self, TraceContext};
use crate::respond::{Ending, Received, Runback};
use answered::Answered;

/// A Monitoring notification has a few kilobytes; Pub/Sub allows 10 MiB.
const BODY_LIMIT: usize = 1024 * 1024;

/// Seconds after which a message is worth delivering again.
const RETRY_AFTER: &str = "10";

/// Cloud Run kills an instance 10 seconds after SIGTERM; an answer takes 8 at most.
const STOP_WITHIN: Duration = Duration::from_millis(8_500);

/// An event of a batch is begun within this time, and answered in what is left of the answer's; the rest comes again.
const TAKE_WITHIN: Duration = Duration::from_secs(5);

/// After a connection that could not be accepted, for want of file handles.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// User and password of Monitoring's webhook channel.
#[derive(Clone)]
pub struct BasicAuth {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

/// Who is let in.
#[derive(Clone)]
pub struct Door {
    /// Whose calls are taken, by path.
    pub callers: CallersConfig,
    /// Who may call `/webhook`; without it nobody.
    pub webhook: Option<BasicAuth>,
}

#[derive(Clone)]
struct App {
    runback: Arc<Runback>,
    door: Arc<Door>,
    answered: Arc<Answered>,
    /// Held for reading by whatever is in hand, also when its client has hung up.
    in_hand: Arc<RwLock<()>>,
}

/// Serves HTTP/1.1 until `stop`, then finishes what is in hand.
///
/// `axum::serve` would take HTTP/2 as well, because another crate switches it on in the one that both use.
pub async fn serve(listener: TcpListener, runback: Arc<Runback>, door: Door, stop: impl Future<Output = ()>) {
    let in_hand = Arc::new(RwLock::new(()));
    let (door, answered) = (Arc::new(door), Arc::default());
    let app = router(App { runback, door, answered, in_hand: in_hand.clone() });
    let mut http = auto::Builder::new(TokioExecutor::new()).http1_only();
    http.http1().timer(TokioTimer::new());
    let connections = GracefulShutdown::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, _)) => {
                stream.set_nodelay(true).ok();
                let service = TowerToHyperService::new(app.clone());
                let connection = http.serve_connection(TokioIo::new(stream), service).into_owned();
                // How a connection ends is its client's business.
                tokio::spawn(connections.watch(connection));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    tracing::info!("stopping: finishing what is in hand");
    // A client that never closes its connection must not hold up the end.
    let finished = async {
        connections.shutdown().await;
        drop(in_hand.write().await);
    };
    tokio::time::timeout(STOP_WITHIN, finished).await.ok();
}

fn router(app: App) -> Router {
    Router::new()
        .route("/", post(event))
        .route("/events", post(event))
        .route("/webhook", post(event))
        .route("/tasks", post(task))
        .route("/watch", post(watch))
        .route("/health", get(|| async { Json(json!({"status": "ok"})) }))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn_with_state(app.clone(), let_in))
        .with_state(app)
}

/// Before the body is read: whoever may not call costs nothing.
async fn let_in(State(app): State<App>, request: Request, next: Next) -> Response {
    let (path, headers) = (request.uri().path(), request.headers());
    let refused = match path {
        "/webhook" => match &app.door.webhook {
            None => Some(StatusCode::NOT_FOUND.into_response()),
            Some(wanted) => wanted.refusal(headers),
        },
        _ => callers::refusal(&app.door.callers, path, headers),
    };
    match refused {
        Some(refused) => refused,
        None => next.run(request).await,
    }
}

type Body = Result<Bytes, BytesRejection>;

async fn event(State(app): State<App>, headers: HeaderMap, body: Body) -> Response {
    let span = request_span(&headers);
    in_hand(app, span, body, |app, body, received| async move { take(&app, &headers, &body, received).await })
        .await
}

/// Works on a request's body in a task of its own: a client that hangs up does not stop a rollback half-way, and the end
/// of the process waits for it.
async fn in_hand<W>(
    app: App,
    span: tracing::Span,
    body: Body,
    work: impl FnOnce(App, Bytes, Received) -> W + Send + 'static,
) -> Response
where
    W: Future<Output = Response> + Send + 'static,
{
    let received = Received::now();
    let work = async move {
        let _held = app.in_hand.clone().read_owned().await;
        match body {
            Ok(body) => work(app, body, received).await,
            Err(rejection) => unread(&rejection),
        }
    };
    finish(tokio::spawn(work.instrument(span))).await
}

/// A pipeline says that it has deployed.
async fn watch(State(app): State<App>, headers: HeaderMap, body: Body) -> Response {
    in_hand(app, request_span(&headers), body, |app, body, received| async move {
        let Some(name) = named_service(&body) else {
            let error = "Expected {\"service\": \"projects/P/locations/R/services/S\"}.";
            return (StatusCode::BAD_REQUEST, Json(json!({"error": error}))).into_response();
        };
        let content = Content::ServiceChanged(name);
        let delivery = Delivery { message_id: None, published_at: Some(received.at), content };
        let ending = app.runback.respond(&delivery, received).await;
        log(&delivery, &ending, received);
        match ending {
            Ending::Decided(decision) => json_text(answer(&decision)),
            Ending::Later(why) => later(json!({"error": why})),
        }
    })
    .await
}

fn named_service(body: &[u8]) -> Option<ServiceName> {
    let body: Value = serde_json::from_slice(body).ok()?;
    body["service"].as_str()?.parse().ok()
}

async fn task(State(app): State<App>, headers: HeaderMap, body: Body) -> Response {
    in_hand(app, request_span(&headers), body, |app, body, received| async move {
        match app.runback.follow_up(&body, received).await {
            Ok(done) => {
                tracing::info!("task: {done}");
                Json(json!({"done": done})).into_response()
            }
            Err(why) => later(json!({"error": why})),
        }
    })
    .await
}

/// A panic costs one answer, not the process.
async fn finish(work: tokio::task::JoinHandle<Response>) -> Response {
    work.await.unwrap_or_else(|_| later(json!({"error": "Something went wrong inside; the log says what."})))
}

fn request_span(headers: &HeaderMap) -> tracing::Span {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let trace = TraceContext::from_headers(header("traceparent"), header("x-cloud-trace-context"));
    logging::request_span(trace.as_ref())
}

async fn take(app: &App, headers: &HeaderMap, body: &[u8], received: Received) -> Response {
    let read = match intake::read(headers, body) {
        Ok(read) => read,
        Err(malformed) => {
            tracing::warn!("refused: {malformed}");
            return (StatusCode::BAD_REQUEST, Json(json!({"error": malformed.to_string()}))).into_response();
        }
    };
    let mut answers = Vec::new();
    let mut again = None;
    for delivery in &read.deliveries {
        if let Some(answer) = app.answered.before(delivery) {
            answers.push(answer);
            continue;
        }
        if received.instant.elapsed() > TAKE_WITHIN {
            let left = read.deliveries.len() - answers.len();
            again = Some(format!("time is up, and {left} of {} events are left", read.deliveries.len()));
            break;
        }
        let ending = app.runback.respond(delivery, received).await;
        log(delivery, &ending, received);
        match ending {
            Ending::Decided(decision) => {
                answers.push(answer(&decision));
                if read.batched {
                    app.answered.keep(delivery, answers.last().cloned().unwrap_or_default());
                }
            }
            Ending::Later(why) => again = Some(why),
        }
    }
    match again {
        Some(why) => later(json!({"error": why})),
        None if read.batched => json_text(format!("[{}]", answers.join(","))),
        None => json_text(answers.pop().unwrap_or_default()),
    }
}

/// The decision in the order of the contract: `serde_json::Value` would sort the keys.
fn answer(decision: &Decision) -> String {
    serde_json::to_string(&Answer::from(decision)).unwrap_or_default()
}

fn json_text(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn unread(rejection: &BytesRejection) -> Response {
    let status = rejection.status();
    let error = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "The body is larger than 1 MiB; a notification never is.".to_owned(),
        _ => format!("The body could not be read: {}.", rejection.body_text()),
    };
    tracing::warn!("refused: {error}");
    (status, Json(json!({"error": error}))).into_response()
}

fn later(body: Value) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, RETRY_AFTER)], Json(body)).into_response()
}

/// One log entry for each message, with everything that led to its ending.
fn log(delivery: &Delivery, ending: &Ending, received: Received) {
    let message_id = delivery.message_id.as_deref().unwrap_or("none");
    let millis = u64::try_from(received.instant.elapsed().as_millis()).unwrap_or(u64::MAX);
    let decision = match ending {
        Ending::Decided(decision) => decision,
        Ending::Later(why) => {
            tracing::warn!(message_id, millis, "to be delivered again: {why}");
            return;
        }
    };
    answer::log(decision, "decided", Some(message_id), received.instant.elapsed());
}

impl BasicAuth {
    /// Asks whoever does not give the password for it. `None`: it may go on.
    fn refusal(&self, headers: &HeaderMap) -> Option<Response> {
        if self.admits(headers) {
            return None;
        }
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"runback\"")];
        let error = Json(json!({"error": "The webhook wants its user and password."}));
        Some((StatusCode::UNAUTHORIZED, challenge, error).into_response())
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((scheme, token)) = given.and_then(|text| text.split_once(' ')) else { return false };
        let wanted = format!("{}:{}", self.user, self.password);
        let given = STANDARD.decode(token.trim()).unwrap_or_default();
        scheme.eq_ignore_ascii_case("basic") && bool::from(given.ct_eq(wanted.as_bytes()))
    }
}
