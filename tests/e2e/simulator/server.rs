//! The world over HTTP, on a loopback port: for the real binary.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, Uri};
use tokio::net::TcpListener;

use super::Simulator;
use super::listener::{Cutter, Loopback};
use super::wire::{Reply, Request};

pub fn serve(listener: TcpListener, simulator: Simulator) {
    let router = Router::new().fallback(answer).layer(DefaultBodyLimit::disable()).with_state(simulator);
    let service = router.into_make_service_with_connect_info::<Cutter>();
    tokio::spawn(async move { axum::serve(Loopback(listener), service).await });
}

async fn answer(
    State(simulator): State<Simulator>,
    ConnectInfo(cutter): ConnectInfo<Cutter>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Reply {
    let authorization =
        headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let request = Request {
        method: method.to_string(),
        target: uri.to_string(),
        authorization: authorization.to_owned(),
        body,
        caller: None,
    };
    simulator.answer(&request).await.unwrap_or_else(|| {
        cutter.cut();
        Reply::text(500, "never seen: the connection is cut")
    })
}
