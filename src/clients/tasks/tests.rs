use std::sync::{Arc, Mutex};

use super::*;
use crate::clients::transport::{Answer, NoAnswer, Request};
use crate::clients::within::{self, answering, answers};

const QUEUE: &str = "projects/p/locations/l/queues/q";

/// A queue that answers so, and the requests that it got.
fn queue(
    script: impl Fn(usize) -> Result<Answer, NoAnswer> + Send + Sync + 'static,
) -> (Tasks, Arc<Mutex<Vec<Request>>>) {
    let requests = Arc::<Mutex<Vec<Request>>>::default();
    let seen = requests.clone();
    let transport = answering(move |request| {
        let mut seen = seen.lock().unwrap();
        seen.push(request);
        Some(script(seen.len()))
    });
    let google = within::google(transport);
    (Tasks::new(google, "https://tasks", QUEUE, "https://runback", "r@p"), requests)
}

fn soon() -> Instant {
    Instant::now() + std::time::Duration::from_secs(8)
}

#[tokio::test(start_paused = true)]
async fn a_task_is_created_whatever_passes_meanwhile_and_once() {
    // The answer to the second try is lost, although it created the task.
    let (tasks, requests) = queue(|tried| match tried {
        1 => answers(503, &[], ""),
        2 => Err(NoAnswer::Lost("connection reset".into())),
        _ => answers(409, &[], r#"{"error":{"status":"ALREADY_EXISTS","message":"It exists."}}"#),
    });
    tasks.create("step-1", "{}", DateTime::UNIX_EPOCH, soon()).await.unwrap();
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request.body == requests[0].body));
    assert_eq!(requests[0].url.as_str(), format!("https://tasks/v2/{QUEUE}/tasks"));
}

#[tokio::test(start_paused = true)]
async fn only_an_answer_that_names_the_task_says_that_it_is_there() {
    let there = format!(r#"{{"name":"{QUEUE}/tasks/id","scheduleTime":"2026-11-22T12:00:00Z"}}"#);
    let other = format!(r#"{{"name":"{QUEUE}/tasks/other"}}"#);
    for (status, body, expected) in [
        (200, there.as_str(), Ok(true)),
        (404, "", Ok(false)),
        (200, "", Err(())),
        (204, "", Err(())),
        (200, "{}", Err(())),
        (200, "<html>Sign in</html>", Err(())),
        (200, other.as_str(), Err(())),
    ] {
        let body = body.to_owned();
        let (tasks, requests) = queue(move |_| answers(status, &[], &body));
        let found = tasks.exists("id", soon()).await;
        assert_eq!(found.as_ref().map_err(|_| ()).copied(), expected, "{status}: {found:?}");
        assert_eq!(requests.lock().unwrap()[0].url.as_str(), format!("https://tasks/v2/{QUEUE}/tasks/id"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_tasks_id_leads_to_no_other_task() {
    let (tasks, requests) = queue(|_| answers(404, &[], ""));
    assert!(!tasks.exists("a/../b?c", soon()).await.unwrap());
    assert_eq!(requests.lock().unwrap()[0].url.path(), format!("/v2/{QUEUE}/tasks/a%2F..%2Fb%3Fc"));
    assert!(matches!(tasks.exists("..", soon()).await, Err(CallError::Rejected(_))));
}
