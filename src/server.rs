//! The HTTP side: routes, who may call them, the body limit, and which ending is acknowledged and which one comes again.

mod answered;
mod callers;
mod desk;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
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
use serde_json::json;
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio::sync::RwLock;
use tokio::time::sleep;
use tracing::Instrument;

use crate::config::CallersConfig;
use crate::logging::{self, TraceContext};
use crate::respond::{Received, Runback};
pub use desk::Desk;

/// A Monitoring notification has a few kilobytes; Pub/Sub allows 10 MiB.
const BODY_LIMIT: usize = 1024 * 1024;

/// Cloud Run kills an instance 10 seconds after SIGTERM; an answer takes 8 at most.
const STOP_WITHIN: Duration = Duration::from_millis(8_500);

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
    desk: Arc<Desk>,
    door: Arc<Door>,
    /// Held for reading by whatever is in hand, also when its client has hung up.
    in_hand: Arc<RwLock<()>>,
}

/// Serves HTTP/1.1 until `stop`, then finishes what is in hand.
///
/// `axum::serve` would take HTTP/2 as well, because another crate switches it on in the one that both use.
pub async fn serve(listener: TcpListener, runback: Arc<Runback>, door: Door, stop: impl Future<Output = ()>) {
    let in_hand = Arc::new(RwLock::new(()));
    let (door, desk) = (Arc::new(door), Arc::new(Desk::new(runback)));
    let app = router(App { desk, door, in_hand: in_hand.clone() });
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
        .route("/", post(posted))
        .route("/events", post(posted))
        .route("/webhook", post(posted))
        .route("/tasks", post(posted))
        .route("/watch", post(posted))
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

/// Works on a request's body in a task of its own: a client that hangs up does not stop a rollback half-way, and the end
/// of the process waits for it. A panic costs one answer, not the process.
async fn posted(State(app): State<App>, uri: Uri, headers: HeaderMap, body: Body) -> Response {
    let received = Received::now();
    let span = request_span(&headers);
    let work = async move {
        let _held = app.in_hand.clone().read_owned().await;
        match body {
            Ok(body) => app.desk.answer(uri.path(), &headers, &body, received).await,
            Err(rejection) => unread(&rejection),
        }
    };
    tokio::spawn(work.instrument(span)).await.unwrap_or_else(|_| desk::broken())
}

fn request_span(headers: &HeaderMap) -> tracing::Span {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let trace = TraceContext::from_headers(header("traceparent"), header("x-cloud-trace-context"));
    logging::request_span(trace.as_ref())
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
