//! The simulator does what Google and Slack do, and sees what Runback must never do.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::split;
use crate::simulator::{
    NOW, QUEUE, Reconcile, Revision, STATE, Served, Service, Simulator, days, hours, minutes, target,
};

const V1: &str = "/run/asia-northeast1/apis/serving.knative.dev/v1/namespaces/demo-project";

fn menu() -> Service {
    Service::named("menu")
        .revision(Revision::named("menu-2").age(minutes(20)).errors(0.25).slow(0.1).served(minutes(20)..NOW))
        .revision(Revision::named("menu-1").age(days(3)).served(days(3)..minutes(20)))
}

struct Client {
    http: reqwest::Client,
    simulator: Simulator,
}

impl Client {
    async fn of(service: Service) -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let simulator = Simulator::with([service]).await;
        simulator.world().tokens.insert("good".into());
        Self { http: reqwest::Client::new(), simulator }
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}{path}", self.simulator.base());
        let request = self.http.request(method, url).bearer_auth("good").body(body.to_string());
        let Ok(response) = request.send().await else {
            return (0, Value::Null);
        };
        let status = response.status().as_u16();
        (status, serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> Value {
        self.call(Method::GET, path, &Value::Null).await.1
    }

    async fn menu(&self) -> Value {
        self.get(&format!("{V1}/services/menu")).await
    }

    async fn put(&self, service: &Value) -> (u16, Value) {
        self.call(Method::PUT, &format!("{V1}/services/menu"), service).await
    }

    /// The request counts of the last minutes as (end, revision, code, count), for one period.
    async fn counts(&self, query: &[(&str, &str)], from: Duration) -> Vec<Value> {
        let clock = self.simulator.world().clock.clone();
        let now = clock.now();
        let interval = [
            ("interval.startTime", clock.text(now - from.as_secs_f64())),
            ("interval.endTime", clock.text(now)),
            ("aggregation.perSeriesAligner", "ALIGN_DELTA".to_owned()),
        ];
        let url = format!("{}/monitoring/v3/projects/demo-project/timeSeries", self.simulator.base());
        let request = self.http.get(url).bearer_auth("good").query(&interval).query(query);
        let body: Value = request.send().await.unwrap().json().await.unwrap();
        body["timeSeries"].as_array().cloned().unwrap_or_default()
    }
}

fn rolled_back(mut service: Value) -> Value {
    service["spec"]["traffic"] = json!([target("menu-1", 100)]);
    service["metadata"]["annotations"][STATE] =
        json!(r#"{"v":1,"rollbacks":[{"incident":"0.a","at":"2026-01-02T03:04:05Z"}],"quarantine":[]}"#);
    service
}

#[tokio::test]
async fn a_write_moves_traffic_and_nothing_else_is_touched() {
    let client = Client::of(menu()).await;
    let (status, written) = client.put(&rolled_back(client.menu().await)).await;
    assert_eq!(status, 200);
    assert_eq!(written["status"]["traffic"][0]["revisionName"], "menu-1");
    assert_eq!(client.simulator.traffic("menu"), split([("menu-1", 100)]));
    assert_eq!(client.simulator.writes()[0].incident().as_deref(), Some("0.a"));
    assert_eq!(client.simulator.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_stale_write_is_refused() {
    let client = Client::of(menu()).await;
    let read = client.menu().await;
    client.simulator.change("menu", |menu| menu.annotate("example.com/note", "meanwhile"));
    let (status, error) = client.put(&rolled_back(read)).await;
    assert_eq!((status, &error["error"]["status"]), (409, &json!("ABORTED")));
    assert_eq!(client.simulator.traffic("menu"), split([("menu-2", 100)]));
}

#[tokio::test]
async fn whatever_a_write_loses_is_seen() {
    let mut service = menu();
    service.traffic = vec![target("menu-2", 100), json!({"revisionName": "menu-1", "tag": "stable"})];
    let client = Client::of(service).await;
    let mut careless = rolled_back(client.menu().await);
    careless["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    careless["metadata"]["annotations"].as_object_mut().unwrap().remove("example.com/owner");
    careless["spec"]["template"]["spec"]["containers"][0]["futureTuning"]["budget"] =
        json!(9_007_199_254_740_992_i64);
    careless["spec"]["template"]["metadata"].as_object_mut().unwrap().remove("name");
    assert_eq!(client.put(&careless).await.0, 200);
    let seen = client.simulator.violations().join("\n");
    for complaint in [
        "lost /metadata/annotations/example.com/owner",
        "changed /spec/template/spec/containers/0/futureTuning/budget",
        "lost the tag stable of menu-1",
        "a revision was minted",
        "without metadata.resourceVersion",
    ] {
        assert!(seen.contains(complaint), "{complaint} is missing in\n{seen}");
    }
}

#[tokio::test]
async fn a_revisions_name_with_another_template_is_refused() {
    let client = Client::of(menu()).await;
    let mut changed = rolled_back(client.menu().await);
    changed["spec"]["template"]["spec"]["timeoutSeconds"] = json!(10);
    assert_eq!(client.put(&changed).await.1["error"]["status"], "ALREADY_EXISTS");
    client.simulator.change("menu", |menu| menu.service.refuses_echoed_names = true);
    assert_eq!(client.put(&rolled_back(client.menu().await)).await.1["error"]["status"], "ALREADY_EXISTS");
}

#[tokio::test]
async fn the_status_follows_in_its_own_time_or_never() {
    let mut service = menu();
    service.reconcile = Reconcile::After(Duration::from_millis(80));
    let client = Client::of(service).await;
    let (_, written) = client.put(&rolled_back(client.menu().await)).await;
    assert_eq!(written["status"]["conditions"][0]["status"], "Unknown");
    assert_eq!(client.simulator.traffic("menu"), split([("menu-2", 100)]));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(client.simulator.traffic("menu"), split([("menu-1", 100)]));

    let mut service = menu();
    service.reconcile = Reconcile::Never;
    let client = Client::of(service).await;
    client.put(&rolled_back(client.menu().await)).await;
    assert_eq!(client.simulator.traffic("menu"), split([("menu-2", 100)]));
    assert_eq!(client.simulator.spec_traffic("menu"), split([("menu-1", 100)]));
    assert_eq!(client.menu().await["status"]["conditions"][0]["status"], "False");
}

#[tokio::test]
async fn revisions_come_in_pages_newest_first() {
    let mut service = menu();
    service.page_size = 1;
    let client = Client::of(service).await;
    let list = format!("{V1}/revisions?labelSelector=serving.knative.dev%2Fservice%3Dmenu");
    let first = client.get(&list).await;
    assert_eq!(first["items"][0]["metadata"]["name"], "menu-2");
    let token = first["metadata"]["continue"].as_str().unwrap();
    let second = client.get(&format!("{list}&continue={token}")).await;
    assert_eq!(second["items"][0]["metadata"]["name"], "menu-1");
    assert_eq!(second["items"][0]["status"]["conditions"][0]["reason"], "Retired");
    assert!(second["metadata"]["continue"].is_null());
}

#[tokio::test]
async fn counts_are_exact_and_follow_traffic() {
    let client = Client::of(menu()).await;
    let filter =
        "metric.type = \"run.googleapis.com/request_count\" AND resource.labels.service_name = \"menu\"";
    let query = [
        ("filter", filter),
        ("aggregation.alignmentPeriod", "600s"),
        ("aggregation.crossSeriesReducer", "REDUCE_SUM"),
        ("aggregation.groupByFields", "resource.labels.revision_name"),
        ("aggregation.groupByFields", "metric.labels.response_code_class"),
    ];
    let found = client.counts(&query, minutes(10)).await;
    let counts: Vec<_> = found
        .iter()
        .map(|series| {
            (&series["metric"]["labels"]["response_code_class"], &series["points"][0]["value"]["int64Value"])
        })
        .collect();
    assert_eq!(counts, [(&json!("2xx"), &json!("450")), (&json!("5xx"), &json!("150"))]);

    client.put(&rolled_back(client.menu().await)).await;
    client.simulator.advance(minutes(10));
    let found = client.counts(&query, minutes(10)).await;
    let counts: i64 = found
        .iter()
        .filter(|series| series["resource"]["labels"]["revision_name"] == "menu-1")
        .map(|series| series["points"][0]["value"]["int64Value"].as_str().unwrap().parse::<i64>().unwrap())
        .sum();
    assert!((598..=600).contains(&counts), "{counts}");
    assert_eq!(client.simulator.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn latencies_are_histograms_and_the_newest_point_is_first() {
    let client = Client::of(menu()).await;
    let filter = "metric.type = \"run.googleapis.com/request_latencies\" AND \
                  resource.labels.revision_name = \"menu-2\" AND metric.labels.response_code_class = \"2xx\"";
    let found =
        client.counts(&[("filter", filter), ("aggregation.alignmentPeriod", "60s")], minutes(5)).await;
    let points = found[0]["points"].as_array().unwrap();
    assert_eq!(points.len(), 5);
    assert!(points[0]["interval"]["endTime"].as_str() > points[1]["interval"]["endTime"].as_str());
    let value = &points[0]["value"]["distributionValue"];
    assert_eq!(value["count"], "45");
    let bounds = value["bucketOptions"]["explicitBuckets"]["bounds"].as_array().unwrap();
    let three_seconds = bounds.iter().position(|bound| bound.as_f64() == Some(3000.0)).unwrap();
    let slow = value["bucketCounts"].as_array().unwrap()[three_seconds + 1..].iter();
    assert_eq!(slow.map(|count| count.as_str().unwrap().parse::<i64>().unwrap()).sum::<i64>(), 6);
}

#[tokio::test]
async fn points_come_in_pages_and_an_odd_query_is_seen() {
    let client = Client::of(menu()).await;
    let filter = ("filter", "metric.type = \"run.googleapis.com/request_count\"");
    let query = [filter, ("aggregation.alignmentPeriod", "60s"), ("pageSize", "7"), ("pageToken", "p7")];
    let found = client.counts(&query, minutes(5)).await;
    let points: Vec<usize> = found.iter().map(|series| series["points"].as_array().unwrap().len()).collect();
    assert_eq!(points, [3]);
    assert!(client.counts(&[("filter", "metric.type != \"x\"")], minutes(5)).await.is_empty());
    assert_eq!(client.simulator.violations().len(), 1);
}

#[tokio::test]
async fn time_that_passes_ages_history_documents_and_our_record() {
    let mut service = menu().record(r#"{"v":1,"rollbacks":[{"at":"2026-01-02T03:04:05.000000Z"}]}"#);
    service.revisions[1].served = vec![Served::ago(days(2)..days(1)).rpm(6.0)];
    let client = Client::of(service).await;
    let created = |service: &Value| service["metadata"]["creationTimestamp"].as_str().unwrap().to_owned();
    let before = created(&client.menu().await);
    client.simulator.advance(hours(2));
    assert!(created(&client.menu().await) < before);
    let record = client.simulator.record("menu").unwrap();
    assert_eq!(record["rollbacks"][0]["at"], "2026-01-02T01:04:05.000000Z");
}

#[tokio::test]
async fn faults_happen_as_often_as_asked_and_carried_out_calls_stand() {
    let client = Client::of(menu()).await;
    client.simulator.at("run.*").skip(1).fails(503);
    let menu = client.menu().await;
    assert_eq!(client.menu().await["error"]["status"], "UNAVAILABLE");
    client.simulator.at("run.put").carried_out().cuts();
    assert_eq!(client.put(&rolled_back(menu)).await.0, 0);
    assert_eq!(client.simulator.traffic("menu"), split([("menu-1", 100)]));
    client.simulator.at("run.get").does(|world| world.service("menu").annotate("example.com/note", "x"));
    assert_eq!(client.menu().await["metadata"]["annotations"]["example.com/note"], "x");
    assert_eq!(client.simulator.calls("run.*").len(), 4);
}

#[tokio::test]
async fn a_tasks_name_can_be_used_once() {
    let client = Client::of(menu()).await;
    let name = format!("{QUEUE}/tasks/check-1");
    let request = json!({"url": "http://127.0.0.1:1/tasks", "body": "e30="});
    let task =
        json!({"task": {"name": name, "scheduleTime": "2999-01-01T00:00:00Z", "httpRequest": request}});
    let create = format!("/tasks/v2/{QUEUE}/tasks");
    assert_eq!(client.call(Method::POST, &create, &task).await.0, 200);
    assert_eq!(client.call(Method::POST, &create, &task).await.0, 409);
    assert_eq!(client.get(&format!("/tasks/v2/{name}")).await["name"], json!(name));
    assert!(client.simulator.due_tasks().is_empty());
    client.simulator.task_answered(&name, 200);
    assert_eq!(client.get(&format!("/tasks/v2/{name}")).await["error"]["code"], 404);
}

#[tokio::test]
async fn the_front_end_answers_what_ends_in_z_and_no_container_hears_of_it() {
    let client = Client::of(menu()).await;
    client.simulator.answer_at_tags("menu");
    assert_eq!(client.call(Method::GET, "/app/menu/-/health", &json!(null)).await.0, 200);
    assert_eq!(client.call(Method::GET, "/app/menu/-/healthz", &json!(null)).await.0, 404);
    assert_eq!(client.call(Method::GET, "/app/menu/-/deep/livez?of=db", &json!(null)).await.0, 404);
}

#[tokio::test]
async fn slack_refuses_what_it_would_not_show() {
    let client = Client::of(menu()).await;
    let good = json!({"text": "short", "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "*long*"}}]});
    client.call(Method::POST, "/slack/webhook", &good).await;
    assert_eq!(client.simulator.slack()[0].text, "short\n*long*");
    let header = json!({"type": "header", "text": {"type": "plain_text", "text": "x".repeat(151)}});
    assert_eq!(client.call(Method::POST, "/slack/webhook", &json!({"blocks": [header]})).await.0, 400);
    assert_eq!(client.simulator.slack().len(), 1);
    assert_eq!(client.simulator.violations().len(), 1);
}
