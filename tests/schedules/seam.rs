//! Where Runback and the world meet: its clients call the simulator without a socket, and its server's work is asked for
//! without one.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use runback::clients::cloud_run::CloudRun;
use runback::clients::google::Google;
use runback::clients::metadata::Metadata;
use runback::clients::monitoring::Monitoring;
use runback::clients::probe::Prober;
use runback::clients::slack::Slack;
use runback::clients::tasks::Tasks;
use runback::clients::tokens::Tokens;
use runback::clients::transport::{self, Exchange, NoAnswer, SharedTransport, Transport};
use runback::policy_document;
use runback::respond::{Clients, Received, Runback};
use runback::server::Desk;
use tokio::sync::{Notify, oneshot};

use super::crew::Birth;
use super::plan::{Door, Plan};
use super::weather::ENDLESS;
use crate::alert::Delivery;
use crate::simulator::{ACCOUNT, BOT_TOKEN, CHANNEL, Caller, QUEUE, Reply, Request, Simulator};

/// Where the world is, for whoever asks; no name resolves to it.
pub const BASE: &str = "http://world";

tokio::task_local! {
    /// Who is at work.
    pub static CALLER: Caller;
}

/// How each process is made.
pub fn birth(simulator: &Simulator, plan: &Plan, news: &Arc<Notify>) -> Birth {
    let policy = policy_document::parse_json(&simulator.policy(plan.setup.policy.clone()).to_string());
    let policy = policy.unwrap_or_else(|error| panic!("{}: {error}", plan.name));
    let setup = plan.setup.clone();
    let world: SharedTransport = Arc::new(World { simulator: simulator.clone(), news: news.clone() });
    Box::new(move |_| {
        let metadata = Metadata::by(world.clone());
        let google = Google::new(world.clone(), Tokens::by_default(world.clone(), metadata.clone()));
        let slack = match setup.door {
            Door::Webhook => Some(Slack::webhook(world.clone(), format!("{BASE}/slack/webhook"))),
            Door::Bot => {
                let (api, token, channel) = (format!("{BASE}/slack/api"), BOT_TOKEN.into(), CHANNEL.into());
                Some(Slack::bot(world.clone(), &api, token, channel))
            }
            Door::LogOnly => None,
        };
        let queue = || Tasks::new(google.clone(), &format!("{BASE}/tasks"), QUEUE, "http://runback", ACCOUNT);
        let clients = Clients {
            cloud_run: CloudRun::new(google.clone(), &format!("{BASE}/run/{{region}}")),
            monitoring: Monitoring::new(google.clone(), &format!("{BASE}/monitoring")),
            prober: Prober::new(world.clone(), metadata.clone()),
            metadata,
            slack,
            tasks: setup.queue.then(queue),
        };
        Arc::new(Desk::new(Arc::new(Runback::new(policy.clone(), clients, None))))
    })
}

/// The world as the network.
struct World {
    simulator: Simulator,
    news: Arc<Notify>,
}

impl Transport for World {
    /// A call goes on when its caller no longer waits for it.
    fn exchange(&self, request: transport::Request) -> Exchange<'_> {
        let caller = CALLER.try_with(|caller| *caller).ok();
        let limit = request.answer_limit;
        let (request, simulator, news) = (read(request, caller), self.simulator.clone(), self.news.clone());
        Box::pin(async move {
            let (sender, receiver) = oneshot::channel();
            tokio::spawn(async move {
                let reply = simulator.answer(&request).await;
                news.notify_one();
                sender.send(reply)
            });
            let reply = receiver.await.ok().flatten();
            let mut reply = reply.ok_or_else(|| NoAnswer::Lost("connection reset".to_owned()))?;
            match limit {
                0 => reply.body.clear(),
                _ if reply.body == ENDLESS || reply.body.len() > limit => {
                    return Err(NoAnswer::TooLong(limit));
                }
                _ => {}
            }
            Ok(written(reply))
        })
    }
}

fn read(request: transport::Request, caller: Option<Caller>) -> Request {
    let query = request.url.query().map_or_else(String::new, |query| format!("?{query}"));
    let authorization = request.headers.get("authorization").and_then(|value| value.to_str().ok());
    Request {
        method: request.method.to_string(),
        target: format!("{}{query}", request.url.path()),
        authorization: authorization.unwrap_or_default().to_owned(),
        body: request.body.into(),
        caller,
    }
}

fn written(reply: Reply) -> transport::Answer {
    let status = StatusCode::from_u16(reply.status).unwrap();
    let mut headers =
        HeaderMap::from_iter([("content-type".parse().unwrap(), reply.content_type.parse().unwrap())]);
    if let Some(seconds) = reply.retry_after {
        headers.insert("retry-after", seconds.into());
    }
    transport::Answer { status, headers, body: reply.body.into_bytes() }
}

/// What the server makes of a delivery.
pub async fn answer(desk: &Desk, delivery: &Delivery, received: Received) -> (u16, String) {
    let header = |(name, value): &(String, String)| {
        Some((name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?))
    };
    let headers: HeaderMap = delivery.headers.iter().filter_map(header).collect();
    let response = desk.answer(&delivery.path, &headers, &delivery.body, received).await;
    let status = response.status().as_u16();
    let text = to_bytes(response.into_body(), usize::MAX).await.unwrap_or_default();
    (status, String::from_utf8_lossy(&text).into_owned())
}
