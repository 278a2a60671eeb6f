use std::sync::{Arc, Mutex};

use super::*;
use crate::clients::transport::{ANSWER_LIMIT, Answer};
use crate::clients::within::{self, answering, answers};

/// When it was asked, in seconds from the beginning.
type Asked = Arc<Mutex<Vec<f64>>>;

/// Google, whose answer to the n-th try is this; nothing: it never comes.
fn google(
    script: impl Fn(usize) -> Option<Result<Answer, NoAnswer>> + Send + Sync + 'static,
) -> (Google, Asked) {
    let (asked, start) = (Asked::default(), Instant::now());
    let tries = asked.clone();
    let transport = answering(move |_| {
        let mut tries = tries.lock().unwrap();
        tries.push(start.elapsed().as_secs_f64());
        script(tries.len())
    });
    (within::google(transport), asked)
}

/// The outcome of a call with so many seconds for it, and when it was there.
async fn call(google: &Google, repeatable: bool, seconds: u64) -> (Result<Vec<u8>, CallError>, f64) {
    let start = Instant::now();
    let call = Call {
        method: Method::GET,
        url: "https://run.googleapis.com/".parse().unwrap(),
        body: None,
        permission: "run.services.get",
        repeatable,
        deadline: start + Duration::from_secs(seconds),
    };
    (google.call(call).await, start.elapsed().as_secs_f64())
}

#[tokio::test(start_paused = true)]
async fn a_server_in_trouble_is_asked_eight_times_at_most_with_growing_pauses_whatever_it_says() {
    for headers in [&[][..], &[("retry-after", "0")]] {
        let (google, asked) = google(|_| Some(answers(429, headers, "")));
        let (result, _) = call(&google, true, 600).await;
        assert!(matches!(result, Err(CallError::Unavailable(_))), "{result:?}");
        let asked = asked.lock().unwrap().clone();
        assert_eq!(asked.len(), 8, "{asked:?}");
        let pauses: Vec<f64> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (pause, least) in pauses.iter().zip([0.08, 0.16, 0.32, 0.64, 1.0, 1.0, 1.0]) {
            assert!(*pause >= least, "{pauses:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_google_asks_for_is_kept() {
    let (google, asked) = google(|tried| match tried {
        1 => Some(answers(503, &[("retry-after", "3")], "")),
        _ => Some(answers(200, &[], "done")),
    });
    assert_eq!(call(&google, true, 8).await.0.unwrap(), b"done");
    assert!((3.0..3.1).contains(&asked.lock().unwrap()[1]), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_beyond_the_deadline_ends_the_call_at_once() {
    for pause in ["8", "86400", "18446744073709551615"] {
        let (google, asked) = google(move |_| Some(answers(429, &[("retry-after", pause)], "")));
        let (result, took) = call(&google, true, 8).await;
        assert!(matches!(result, Err(CallError::Unavailable(_))), "{pause}: {result:?}");
        assert_eq!((asked.lock().unwrap().len(), took), (1, 0.0), "{pause}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_try_that_hangs_leaves_time_for_another_and_none_outlasts_the_deadline() {
    let (again, _) = google(|tried| (tried > 1).then(|| answers(200, &[], "done")));
    assert!(call(&again, true, 8).await.0.is_ok());
    for (repeatable, tries) in [(true, 4), (false, 1)] {
        let (google, asked) = google(|_| None);
        let (result, took) = call(&google, repeatable, 8).await;
        assert!(matches!(result, Err(CallError::Unavailable(_))), "{result:?}");
        assert!(took <= 8.0 && took > 6.0, "{took}");
        assert_eq!(asked.lock().unwrap().len(), tries);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_tried_again_that_would_come_to_the_same_or_may_have_been_done() {
    let too_long = || Err(NoAnswer::TooLong(ANSWER_LIMIT));
    let lost = || Err(NoAnswer::Lost("connection reset".into()));
    for (about, repeatable, tries, answer) in [
        ("a write whose answer is lost", false, 1, lost()),
        ("a write that fails", false, 1, answers(503, &[], "")),
        ("a refusal", true, 1, answers(400, &[], "")),
        ("an answer that is too long", true, 1, too_long()),
        ("a read whose answer is lost", true, 8, lost()),
        ("a redirect, which is nobody's answer", true, 8, answers(302, &[("location", "http://login/")], "")),
    ] {
        let (google, asked) = google(move |_| Some(answer.clone()));
        let (result, _) = call(&google, repeatable, 60).await;
        assert_eq!(asked.lock().unwrap().len(), tries, "{about}: {result:?}");
        let kind = if about == "a refusal" { "Rejected" } else { "Unavailable" };
        assert!(format!("{result:?}").starts_with(&format!("Err({kind}")), "{about}: {result:?}");
    }
}

#[test]
fn a_name_stays_one_segment_of_the_path() {
    let at = |names: &[&str]| address("http://127.0.0.1:1/run/", names.iter().copied()).map(String::from);
    let path = |name: &str| at(&["v1", name, "get"]).unwrap().split_off("http://127.0.0.1:1".len());
    assert_eq!(path("example.com:k-back"), "/run/v1/example.com:k-back/get");
    assert_eq!(path("a/../b"), "/run/v1/a%2F..%2Fb/get");
    assert_eq!(path("a?b#c d"), "/run/v1/a%3Fb%23c%20d/get");
    assert_eq!(path("%2e%2E"), "/run/v1/%252e%252E/get");
    assert_eq!(path("ä"), "/run/v1/%C3%A4/get");
    for name in ["", ".", "..", ".\n.", "a\tb"] {
        assert!(matches!(at(&["v1", name]), Err(CallError::Rejected(_))), "{name:?}");
    }
    assert!(matches!(address("no address", ["v1"]), Err(CallError::Rejected(_))));
}

#[test]
fn failures_are_told_apart_by_what_has_to_be_done() {
    let body = |status: &str, message: &str| {
        format!(r#"{{"error":{{"code":1,"message":"{message}","status":"{status}"}}}}"#)
    };
    let kind = |code: u16, body: &str| match failure(
        StatusCode::from_u16(code).unwrap(),
        body.as_bytes(),
        "run.services.get",
    ) {
        CallError::Denied { permission, .. } => format!("denied {permission}"),
        CallError::NotFound(_) => "not found".into(),
        CallError::Conflict(_) => "conflict".into(),
        CallError::Rejected(_) => "rejected".into(),
        CallError::Unavailable(_) => "unavailable".into(),
        CallError::SignedOut(_) => "signed out".into(),
    };
    let named =
        body("PERMISSION_DENIED", "Permission 'iam.serviceaccounts.actAs' denied on service account x");
    assert_eq!(kind(403, &named), "denied iam.serviceaccounts.actAs");
    assert_eq!(kind(403, "<html>"), "denied run.services.get");
    assert_eq!(kind(401, &body("UNAUTHENTICATED", "no")), "denied run.services.get");
    assert_eq!(kind(404, ""), "not found");
    assert_eq!(kind(409, &body("ABORTED", "Conflict for resource")), "conflict");
    assert_eq!(kind(409, &body("ALREADY_EXISTS", "Revision named")), "rejected");
    assert_eq!(kind(400, &body("INVALID_ARGUMENT", "bad")), "rejected");
    for code in [405, 411, 418, 451] {
        assert_eq!(kind(code, ""), "rejected", "{code}");
    }
    for code in [100, 301, 304, 308, 408, 429, 499, 500, 502, 503, 504, 599, 999] {
        assert_eq!(kind(code, ""), "unavailable", "{code}");
    }
}
