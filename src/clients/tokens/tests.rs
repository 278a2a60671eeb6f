use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::clients::transport::{Answer, NoAnswer};
use crate::clients::within::{answering, answers};

/// One answer of a token endpoint.
type Reply = Option<Result<Answer, NoAnswer>>;

/// Tokens of a metadata server that answers so, and how often it was asked.
fn of_metadata(answer: impl Fn(usize) -> Reply + Send + Sync + 'static) -> (Tokens, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let metadata = Metadata::by(answering(move |_| answer(count.fetch_add(1, Ordering::Relaxed) + 1)));
    let nobody = answering(|request| panic!("{request:?} is sent to somebody else"));
    (Tokens::of_user_file(nobody, metadata, None), asked)
}

fn token(number: usize, seconds: u64) -> Reply {
    Some(answers(200, &[], &format!(r#"{{"access_token":"t{number}","expires_in":{seconds}}}"#)))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(8)
}

async fn known(tokens: &Tokens) -> String {
    tokens.access(soon()).await.unwrap().token
}

async fn after(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_has_no_credentials_is_told_so_within_two_seconds() {
    let replies = [
        ("nobody is there", Some(Err(NoAnswer::Lost("no such host".into())))),
        ("nobody answers", None),
        ("there is no account", Some(answers(404, &[], ""))),
        ("some web page is there", Some(answers(200, &[], "<html>Did you mean</html>"))),
        ("some web page leads elsewhere", Some(answers(302, &[("location", "http://search/")], ""))),
    ];
    for (about, reply) in replies {
        let start = Instant::now();
        let (tokens, _) = of_metadata(move |_| reply.clone());
        let Err(CallError::SignedOut(why)) = tokens.access(soon()).await else { panic!("{about}") };
        assert!(why.contains("gcloud auth application-default login"), "{about}: {why}");
        assert!(start.elapsed() < Duration::from_secs(2), "{about}: {:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_metadata_server_in_trouble_is_no_lack_of_credentials() {
    for status in [429, 500, 503] {
        let (tokens, _) = of_metadata(move |_| Some(answers(status, &[], "")));
        let refused = tokens.access(soon()).await.map(|access| access.token);
        assert!(matches!(refused, Err(CallError::Unavailable(_))), "{status}: {refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_fetch_serves_all_who_wait() {
    let asked = Arc::new(AtomicUsize::new(0));
    let metadata = Metadata::by(Arc::new(Slow(asked.clone())));
    let tokens = Tokens::of_user_file(answering(|_| None), metadata, None);
    let tokens = Arc::new(tokens);
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let tokens = tokens.clone();
            tokio::spawn(async move { known(&tokens).await })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), "t1");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

/// Takes a second for a token.
struct Slow(Arc<AtomicUsize>);

impl crate::clients::transport::Transport for Slow {
    fn exchange(&self, _: Request) -> crate::clients::transport::Exchange<'_> {
        Box::pin(async {
            let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
            token(number, 3600).unwrap()
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_ends() {
    let (tokens, asked) = of_metadata(|number| token(number, 3600));
    assert_eq!(known(&tokens).await, "t1");
    after(3370).await;
    assert_eq!(known(&tokens).await, "t1");
    after(10).await;
    assert_eq!(known(&tokens).await, "t2");
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_renewed_is_used_to_its_end_and_then_the_call_may_come_again() {
    let failures = [Some(answers(503, &[], "")), Some(Err(NoAnswer::Lost("reset".into()))), None];
    for failure in failures {
        let (tokens, asked) =
            of_metadata(move |number| if number == 1 { token(1, 3600) } else { failure.clone() });
        known(&tokens).await;
        after(3400).await;
        for _ in 0..100 {
            assert_eq!(known(&tokens).await, "t1");
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2, "not every call tries to renew it");
        after(180).await;
        assert_eq!(known(&tokens).await, "t1");
        after(20).await;
        let ended = tokens.access(soon()).await.map(|access| access.token);
        assert!(matches!(ended, Err(CallError::Unavailable(_))), "{ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_google_does_not_take_any_more_is_not_used_again() {
    let (tokens, _) = of_metadata(|number| token(number, 3600));
    known(&tokens).await;
    tokens.forget("another one");
    assert_eq!(known(&tokens).await, "t1");
    tokens.forget("t1");
    assert_eq!(known(&tokens).await, "t2");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ends_at_once_or_never_does_no_harm() {
    for seconds in [0, 5, u64::MAX] {
        let (tokens, _) = of_metadata(move |number| token(number, seconds));
        assert_eq!(known(&tokens).await, "t1", "{seconds}");
        assert!(tokens.access(soon()).await.is_ok(), "{seconds}");
    }
}

/// The file of `gcloud auth application-default login`, with this beside what every one has.
fn user_file(name: &str, more: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("runback-{}-{name}.json", std::process::id()));
    let text = format!(
        r#"{{"type":"authorized_user","client_id":"c","client_secret":"hush","refresh_token":"hush-1"{more}}}"#
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn a_person_who_is_signed_in_calls_as_themselves_and_for_their_quota_project() {
    let quota = r#","quota_project_id":"my-project""#;
    for (file, quota_project) in
        [(user_file("quota", quota), Some("my-project")), (user_file("plain", ""), None)]
    {
        let redeemed = answering(|request| {
            assert_eq!(request.url.as_str(), USER_TOKEN_URL);
            let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
            assert_eq!(
                (&body["grant_type"], &body["refresh_token"]),
                (&json!("refresh_token"), &json!("hush-1"))
            );
            token(1, 3600)
        });
        let nobody = Metadata::by(answering(|_| panic!("the file comes first")));
        let access = Tokens::of_user_file(redeemed, nobody, Some(file)).access(soon()).await.unwrap();
        assert_eq!((access.token.as_str(), access.quota_project.as_deref()), ("t1", quota_project));
    }
}

#[tokio::test]
async fn credentials_that_google_does_not_take_are_for_a_person_to_renew_and_are_not_shown() {
    let refused = answering(|_| Some(answers(400, &[], r#"{"error":"invalid_grant","hint":"hush-1"}"#)));
    let nobody = Metadata::by(answering(|_| panic!("the file comes first")));
    let tokens = Tokens::of_user_file(refused, nobody, Some(user_file("revoked", "")));
    let Err(CallError::SignedOut(why)) = tokens.access(soon()).await else { panic!("they were taken") };
    assert!(why.contains("HTTP 400") && why.contains("gcloud auth application-default login"), "{why}");
    assert!(!why.contains("hush"), "{why}");
}
