//! Against a real server on a loopback port, which answers as a script says and notes what it was asked.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use tokio::net::TcpListener;

use super::*;

/// By the number of the request, the first being 0: status and time.
type Script = fn(usize) -> (u16, Duration);

#[derive(Clone)]
struct Revision {
    script: Script,
    /// A token without which every request is refused.
    wants: Option<&'static str>,
    asked: Arc<Mutex<Vec<Request<()>>>>,
}

async fn answer(State(revision): State<Revision>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let number = {
        let mut asked = revision.asked.lock().unwrap();
        asked.push(Request::from_parts(parts.clone(), ()));
        asked.len() - 1
    };
    if parts.uri.path().starts_with("/computeMetadata/") {
        let known = parts.headers["metadata-flavor"] == "Google"
            && parts.uri.query() == Some("audience=https%3A%2F%2Fk-back.run.app");
        return if known { "a-token\n".into_response() } else { StatusCode::BAD_REQUEST.into_response() };
    }
    let authorization = parts.headers.get("authorization").map(|value| value.to_str().unwrap());
    if revision.wants.is_some() && authorization != revision.wants {
        return StatusCode::FORBIDDEN.into_response();
    }
    let (status, time) = (revision.script)(number);
    tokio::time::sleep(time).await;
    if status == PAGE {
        return (StatusCode::NOT_FOUND, Html("<title>Error 404 (Not Found)!!1</title>")).into_response();
    }
    StatusCode::from_u16(status).unwrap().into_response()
}

/// For 404 as Google's front end sends it, with a page.
const PAGE: u16 = 1404;

fn network() -> SharedTransport {
    rustls::crypto::ring::default_provider().install_default().ok();
    Arc::new(crate::clients::transport::Network::new().unwrap())
}

fn wish(axis: Axis) -> Wish {
    Wish {
        revision: "k-back-00041-xyz".into(),
        url: None,
        path: "/health".into(),
        audience: "https://k-back.run.app".into(),
        axis,
        slow: Duration::from_millis(300),
    }
}

async fn probed_with(script: Script, axis: Axis, wants: Option<&'static str>) -> (Outcome, Vec<Request<()>>) {
    rustls::crypto::ring::default_provider().install_default().ok();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let revision = Revision { script, wants, asked: asked.clone() };
    let router = Router::new().fallback(answer).with_state(revision);
    tokio::spawn(async move { axum::serve(listener, router).await });
    // The same server plays the metadata server.
    let prober = Prober::new(network(), Metadata::at(network(), url.trim_end_matches('/')));
    let outcome = prober.probe(&wish(axis), &url, Instant::now() + Duration::from_secs(10)).await;
    let asked = asked.lock().unwrap().drain(..).collect();
    (outcome, asked)
}

async fn probed(script: Script, axis: Axis) -> Outcome {
    probed_with(script, axis, None).await.0
}

#[track_caller]
fn assert_counts(outcome: Outcome, wanted: (u64, u64)) {
    match outcome {
        Outcome::Answered { probes, bad, .. } => assert_eq!((probes, bad), wanted),
        Outcome::Inconclusive(why) => panic!("{why}"),
    }
}

#[track_caller]
fn assert_inconclusive(outcome: Outcome, words: &str) {
    match outcome {
        Outcome::Inconclusive(why) => assert!(why.contains(words), "{why}"),
        answered @ Outcome::Answered { .. } => panic!("{answered:?}"),
    }
}

const AT_ONCE: Duration = Duration::ZERO;

#[tokio::test]
async fn one_request_warms_and_eight_count_and_all_can_be_told_apart() {
    let script: Script = |number| if number == 0 { (503, AT_ONCE) } else { (200, AT_ONCE) };
    let (outcome, asked) = probed_with(script, Axis::Errors, None).await;
    assert_counts(outcome, (8, 0));
    assert_eq!(asked.len(), 9);
    for request in asked {
        assert_eq!(request.uri().path(), "/health");
        assert_eq!(request.headers()["x-runback-probe"], "1");
        assert!(request.headers()["user-agent"].to_str().unwrap().starts_with("runback-probe/"));
        assert!(!request.headers().contains_key("authorization"));
    }
}

#[tokio::test]
async fn what_is_bad_depends_on_the_incident() {
    assert_counts(probed(|_| (503, AT_ONCE), Axis::Errors).await, (8, 8));
    assert_counts(probed(|_| (503, AT_ONCE), Axis::Slowness).await, (8, 0));
    let flaky: Script = |number| (if matches!(number, 3 | 6) { 500 } else { 200 }, AT_ONCE);
    assert_counts(probed(flaky, Axis::Errors).await, (8, 2));
    let slow: Script = |_| (200, Duration::from_millis(400));
    assert_counts(probed(slow, Axis::Slowness).await, (8, 8));
    assert_counts(probed(slow, Axis::Errors).await, (8, 0));
}

#[tokio::test]
async fn a_cold_start_is_no_illness() {
    let cold: Script = |number| (200, Duration::from_millis(if number == 0 { 1_500 } else { 0 }));
    assert_counts(probed(cold, Axis::Slowness).await, (8, 0));
    let began = Instant::now();
    let frozen = probed(|_| (200, Duration::from_secs(30)), Axis::Errors).await;
    assert_inconclusive(frozen, "warm");
    assert!(began.elapsed() < ALL + Duration::from_millis(500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_warm_revision_that_falls_silent_is_not_well() {
    let silent: Script = |number| (200, Duration::from_secs(if number == 0 { 0 } else { 30 }));
    let began = Instant::now();
    let outcome = probed(silent, Axis::Errors).await;
    assert_counts(outcome, (4, 4));
    assert!(began.elapsed() < ALL + Duration::from_millis(500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn whoever_keeps_the_probes_out_says_nothing_about_health() {
    assert_inconclusive(probed(|_| (404, AT_ONCE), Axis::Errors).await, "HTTP 404");
    let (private, _) = probed_with(|_| (200, AT_ONCE), Axis::Errors, Some("Bearer another")).await;
    assert_inconclusive(private, "roles/run.invoker");
    rustls::crypto::ring::default_provider().install_default().ok();
    let nobody = Prober::new(network(), Metadata::by(network()));
    let end = Instant::now() + Duration::from_secs(10);
    assert_inconclusive(nobody.probe(&wish(Axis::Errors), "http://127.0.0.1:1", end).await, "reached");
    let end = Instant::now() + Duration::from_secs(10);
    let no_such_name = nobody.probe(&wish(Axis::Errors), "http://k-back.invalid", end).await;
    assert!(matches!(no_such_name, Outcome::Inconclusive(_)), "{no_such_name:?}");
}

#[tokio::test]
async fn the_page_of_googles_front_end_is_told_from_the_apps_own_404() {
    assert_inconclusive(probed(|_| (404, AT_ONCE), Axis::Errors).await, "no such health_path");
    assert_inconclusive(probed(|_| (PAGE, AT_ONCE), Axis::Errors).await, "a path ends in \"z\"");
}

#[tokio::test]
async fn a_private_service_is_shown_an_identity_token() {
    let (outcome, asked) = probed_with(|_| (200, AT_ONCE), Axis::Errors, Some("Bearer a-token")).await;
    assert_counts(outcome, (8, 0));
    assert_eq!(asked.len(), 1 + 1 + 1 + 8, "refused, the token, warmed, probed");
}

#[tokio::test]
async fn the_metadata_server_says_who_we_are_and_off_google_cloud_nobody_does() {
    let soon = || Instant::now() + Duration::from_secs(2);
    let handler = || async { "runback@demo-project.iam.gserviceaccount.com\n" };
    let path = "/computeMetadata/v1/instance/service-accounts/default/email";
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().route(path, axum::routing::get(handler));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let known = Metadata::at(network(), &base);
    assert_eq!(known.account(soon()).await.as_deref(), Some("runback@demo-project.iam.gserviceaccount.com"));
    assert_eq!(known.identity("https://k-back.run.app", soon()).await, None, "404 is no token");
    assert_eq!(Metadata::at(network(), "http://127.0.0.1:9").account(soon()).await, None);
}
