use super::*;
use crate::clients::within::{self, answering};

/// A service as the v1 API shows it, with fields that are newer than this client.
const DOCUMENT: &str = include_str!("service.json");

fn name() -> ServiceName {
    ServiceName { project: "demo-project".into(), region: "asia-northeast1".into(), service: "k-back".into() }
}

fn parse(text: &str) -> ServiceDocument {
    ServiceDocument::parse(&name(), text.as_bytes()).map_err(|error| error.to_string()).unwrap()
}

fn pinned(name: &str) -> Destination {
    Destination::Revision(name.into())
}

fn target(to: Destination, percent: u8, tag: Option<&str>) -> TrafficTarget {
    TrafficTarget { to, percent, tag: tag.map(Into::into) }
}

/// Every value of a document by its JSON pointer, as it is written; objects are taken apart, lists are not.
fn values(text: &str) -> BTreeMap<String, String> {
    fn take_apart(at: &str, value: &RawValue, values: &mut BTreeMap<String, String>) {
        match serde_json::from_str::<Object>(value.get()) {
            Ok(object) if !object.is_empty() => {
                for (key, value) in &object {
                    take_apart(&format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), value, values);
                }
            }
            _ => assert!(values.insert(at.into(), value.get().to_owned()).is_none(), "{at} comes twice"),
        }
    }
    let mut all = BTreeMap::new();
    take_apart("", &serde_json::from_str::<Box<RawValue>>(text).unwrap(), &mut all);
    all
}

const RECORD: &str = "/metadata/annotations/runback.dev~1state";
const TRAFFIC: &str = "/spec/traffic";
const TEMPLATE: &str = "/spec/template/metadata/name";

/// What a write of this traffic and record changes: pointer, before, after.
fn changed(
    document: &str,
    traffic: &[TrafficTarget],
    record: &str,
) -> Vec<(String, Option<String>, Option<String>)> {
    let body = parse(document)
        .with(change_of(traffic, &[(STATE, Some(record))]))
        .map_err(|error| error.to_string())
        .unwrap();
    let (before, after) = (values(document), values(&body));
    let keys: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    keys.into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| (key.clone(), before.get(key).cloned(), after.get(key).cloned()))
        .collect()
}

fn pointers(changes: &[(String, Option<String>, Option<String>)]) -> Vec<&str> {
    changes.iter().map(|(pointer, _, _)| pointer.as_str()).collect()
}

#[test]
fn a_write_changes_the_traffic_the_record_and_nothing_else() {
    let record = r#"{"v":1,"note":"\"けいかくん\" \\"}"#;
    let changes = changed(DOCUMENT, &[target(pinned("k-back-00041-xyz"), 100, None)], record);
    assert_eq!(pointers(&changes), [RECORD, TEMPLATE, TRAFFIC]);
    let text = |index: usize| changes[index].2.clone().unwrap();
    assert_eq!(serde_json::from_str::<String>(&text(0)).unwrap(), record);
    assert_eq!(text(2), r#"[{"percent":100,"revisionName":"k-back-00041-xyz"}]"#);
    assert_eq!((changes[1].1.as_deref(), text(1).as_str()), (None, r#""k-back-00042-abc""#));
    // What a client that understands numbers would have rounded.
    for number in
        ["9007199254740993", "1e400", "0.10", "-0", "1E+2", "18446744073709551616", "00000000000000000001"]
    {
        let body = parse(DOCUMENT)
            .with(change_of(&[], &[(STATE, Some(record))]))
            .map_err(|error| error.to_string())
            .unwrap();
        assert!(body.contains(number), "{number}");
    }
}

#[test]
fn a_template_that_has_a_name_keeps_it() {
    let named = DOCUMENT.replacen(
        r#""labels": {"managed-by""#,
        r#""name": "k-back-00042-mine", "labels": {"managed-by""#,
        1,
    );
    assert_eq!(pointers(&changed(&named, &[], "{}")), [RECORD, TRAFFIC]);
    let null = named.replace(r#""k-back-00042-mine""#, "null");
    assert_eq!(pointers(&changed(&null, &[], "{}")), [RECORD, TEMPLATE, TRAFFIC]);
    let unknown = DOCUMENT.replace("latestCreatedRevisionName", "futureName");
    assert_eq!(pointers(&changed(&unknown, &[], "{}")), [RECORD, TRAFFIC], "no name is made up");
}

#[test]
fn a_service_without_annotations_and_traffic_gets_ours() {
    let bare = r#"{"metadata":{"resourceVersion":"AAY","generation":1},"spec":{"template":{"spec":{}}},
        "status":{"observedGeneration":1,"latestCreatedRevisionName":"k-back-00001-abc"}}"#;
    let changes = changed(bare, &[target(pinned("k-back-00001-abc"), 100, None)], "{}");
    assert_eq!(pointers(&changes), [RECORD, TEMPLATE, TRAFFIC]);
    assert_eq!(parse(bare).record, None);
}

#[test]
fn an_entry_that_stays_keeps_what_we_do_not_know_of_it() {
    let traffic = [
        target(Destination::Latest, 90, None),
        target(pinned("k-back-00040-uvw"), 10, None),
        target(Destination::Latest, 0, Some("preview")),
    ];
    let list = |traffic: &[TrafficTarget]| {
        let changes = changed(DOCUMENT, traffic, "{}");
        let text = changes.iter().find(|change| change.0 == TRAFFIC).and_then(|change| change.2.clone());
        serde_json::from_str::<Vec<Object>>(&text.unwrap_or_else(|| values(DOCUMENT)[TRAFFIC].clone()))
            .unwrap()
    };
    let entry = |entry: &Object| {
        entry.iter().map(|(key, value)| format!("{key}={}", value.get())).collect::<Vec<_>>()
    };
    let same = list(&traffic);
    assert_eq!(entry(&same[0]), ["futureShare=0.30000000000000004", "latestRevision=true", "percent=90"]);
    assert_eq!(
        entry(&same[1]),
        [
            "futureShare=9007199254740993",
            "latestRevision=false",
            "percent=10",
            r#"revisionName="k-back-00040-uvw""#
        ]
    );
    let tag = [
        r#"futureTag={"a": 1.0}"#,
        "latestRevision=true",
        r#"tag="preview""#,
        r#"url="https://preview---k-back.run.app""#,
    ];
    assert_eq!(entry(&same[2]), tag);

    let moved = list(&[target(pinned("k-back-00040-uvw"), 100, None), traffic[2].clone()]);
    assert!(entry(&moved[0]).contains(&"futureShare=9007199254740993".into()), "{:?}", entry(&moved[0]));
    assert!(entry(&moved[0]).contains(&"percent=100".into()), "{:?}", entry(&moved[0]));
    assert_eq!(entry(&moved[1]), tag);
}

#[test]
fn a_service_is_understood() {
    let ServiceDocument { service, record, .. } = parse(DOCUMENT);
    assert_eq!(service.name, name());
    assert_eq!(service.url, "https://k-back-345678901234.a.run.app");
    assert_eq!(record.as_deref(), Some(r#"{"v":1,"rollbacks":[],"quarantine":[]}"#));
    assert_eq!(
        service.spec_traffic,
        [
            target(Destination::Latest, 90, None),
            target(pinned("k-back-00040-uvw"), 10, None),
            target(Destination::Latest, 0, Some("preview")),
        ]
    );
    let resolved = "in a status LATEST is the revision that it means";
    assert_eq!(
        service.status_traffic,
        [
            target(pinned("k-back-00042-abc"), 90, None),
            target(pinned("k-back-00040-uvw"), 10, None),
            target(pinned("k-back-00042-abc"), 0, Some("preview")),
        ],
        "{resolved}"
    );
    assert_eq!(service.latest_ready.as_deref(), Some("k-back-00042-abc"));
    assert_eq!((service.in_flight, service.trouble), (false, None));
}

#[test]
fn a_tag_of_its_own_is_preferred_to_ours() {
    let tagged = |targets: &str| {
        let text =
            format!(r#"{{"metadata":{{"generation":1}},"spec":{{}},"status":{{"traffic":[{targets}]}}}}"#);
        parse(&text).service.tagged
    };
    let target = |tag: &str| format!(r#"{{"revisionName":"k41","tag":"{tag}","url":"https://{tag}---k"}}"#);
    let (stable, ours) = (target("stable"), target("runback-probe"));
    let url = |text: &str| tagged(text).remove("k41");
    assert_eq!(url(&ours).as_deref(), Some("https://runback-probe---k"));
    assert_eq!(url(&format!("{ours},{stable}")).as_deref(), Some("https://stable---k"));
    assert_eq!(url(&format!("{stable},{ours}")).as_deref(), Some("https://stable---k"));
    assert_eq!(url(r#"{"revisionName":"k41","percent":100}"#), None);
    assert_eq!(url(r#"{"revisionName":"k41","tag":"stable"}"#), None, "it has no URL yet");
}

#[test]
fn a_write_of_the_traffic_alone_leaves_our_record_as_it_was_read() {
    let read = parse(DOCUMENT);
    let list = [target(pinned("k-back-00040-uvw"), 100, None)];
    let body = read.with(change_of(&list, &[])).map_err(|error| error.to_string()).unwrap();
    assert_eq!(values(&body).get(RECORD), values(DOCUMENT).get(RECORD));
    assert!(parse(&body).is_still(&read), "the generation and the record are the same");
    let moved =
        read.with(change_of(&list, &[(STATE, Some("{}"))])).map_err(|error| error.to_string()).unwrap();
    assert!(!parse(&moved).is_still(&read));
}

#[test]
fn a_deploy_is_in_flight_until_the_controller_has_caught_up() {
    let world = |generation: &str, ready: &str| {
        let text = format!(
            r#"{{"metadata":{{"generation":{generation}}},"spec":{{}},"status":{{"observedGeneration":7,"conditions":[
                {{"type":"ConfigurationsReady","status":"Unknown","message":"other"}}, {ready}]}}}}"#
        );
        let service = parse(&text).service;
        (service.in_flight, service.trouble)
    };
    let ready =
        |status: &str| format!(r#"{{"type":"Ready","status":"{status}","message":"Revision failed."}}"#);
    let failed = || Some("Revision failed.".to_owned());
    assert_eq!(world("7", &ready("True")), (false, None));
    assert_eq!(world("8", &ready("True")), (true, None), "the spec is newer than what was observed");
    assert_eq!(world("7", &ready("Unknown")), (true, failed()));
    assert_eq!(world("7", &ready("False")), (false, failed()), "a rollout that failed is over");
    assert_eq!(world("8", &ready("False")), (true, failed()), "and the next one is on its way");
    assert_eq!(world("7", r#"{"type":"Ready","status":"False"}"#), (false, None));

    let fresh = parse(r#"{"metadata":{"generation":1},"spec":{}}"#).service;
    assert!(fresh.in_flight, "nothing has been observed yet");
    assert!(fresh.status_traffic.is_empty() && fresh.spec_traffic.is_empty() && fresh.latest_ready.is_none());
}

#[test]
fn an_answer_that_was_cut_short_is_worth_another_try() {
    for length in [0, 1, 100, DOCUMENT.trim_end().len() - 1] {
        let cut = ServiceDocument::parse(&name(), &DOCUMENT.as_bytes()[..length]);
        assert!(matches!(cut, Err(CallError::Unavailable(_))), "{length}");
    }
    assert!(matches!(ServiceDocument::parse(&name(), b"{}"), Err(CallError::Unavailable(_))));
}

fn revision(labels: &str, image: &str, digest: &str, conditions: &str) -> Revision {
    let text = format!(
        r#"{{"metadata":{{"name":"k-back-00042-abc","creationTimestamp":"2026-11-22T11:54:00.250+09:00","labels":{labels},
            "annotations":{{"future":"x"}}}},"spec":{{"containers":[{{"image":"{image}"}}]}},
            "status":{{"conditions":{conditions},"imageDigest":{digest}}}}}"#
    );
    serde_json::from_str::<WireRevision>(&text).unwrap().understood().unwrap().0
}

#[test]
fn a_commit_is_the_label_or_else_a_tag_that_is_a_hash() {
    let commit = |labels: &str, image: &str| revision(labels, image, "null", "[]").commit;
    let image = "asia-northeast1-docker.pkg.dev/demo-project/k-back-repo/k-back";
    let sha = "0123456789abcdef0123456789abcdef01234567";
    for (labels, image, wanted) in [
        (r#"{"commit-sha":"abc1234"}"#, format!("{image}:{sha}"), Some("abc1234")),
        (r#"{"commit-sha":""}"#, format!("{image}:{sha}"), Some(sha)),
        ("{}", format!("{image}:{sha}"), Some(sha)),
        ("{}", format!("{image}:0123abc"), Some("0123abc")),
        ("{}", format!("{image}:0123abc@sha256:{}", "ab".repeat(32)), Some("0123abc")),
        ("{}", format!("{image}:0123ab"), None),
        ("{}", format!("{image}:{sha}0"), None),
        ("{}", format!("{image}:latest"), None),
        ("{}", format!("{image}:v1.2.3"), None),
        ("{}", format!("{image}:0123ABC"), None),
        ("{}", image.into(), None),
        ("{}", format!("{image}@sha256:{}", "ab".repeat(32)), None),
        ("{}", "localhost:5000000/k-back".into(), None),
        ("{}", String::new(), None),
    ] {
        assert_eq!(commit(labels, &image).as_deref(), wanted, "{labels} {image}");
    }
}

#[test]
fn a_revision_is_its_application_and_not_a_sidecar() {
    let read = |containers: &str, statuses: &str| {
        let text = format!(
            r#"{{"metadata":{{"name":"k","creationTimestamp":"2026-11-22T11:54:00Z"}},"spec":{{"containers":{containers}}},
                "status":{{"imageDigest":"r/otel@sha256:side","containerStatuses":{statuses}}}}}"#
        );
        let revision = serde_json::from_str::<WireRevision>(&text).unwrap().understood().unwrap().0;
        (revision.commit, revision.digest)
    };
    let (sidecar, app) =
        (r#"{"name":"otel","image":"r/otel:4f2c9ab"}"#, r#""name":"app","image":"r/k:9bb1fbf""#);
    let (app, portless) = (format!(r#"{{{app},"ports":[{{"containerPort":8080}}]}}"#), format!("{{{app}}}"));
    let statuses = r#"[{"name":"otel","imageDigest":"r/otel@sha256:side"},{"name":"app","imageDigest":"r/k@sha256:app"}]"#;
    let is =
        |commit: Option<&str>, digest: &str| (commit.map(String::from), Some(format!("sha256:{digest}")));
    for containers in [format!("[{sidecar},{app}]"), format!("[{app},{sidecar}]")] {
        assert_eq!(read(&containers, statuses), is(Some("9bb1fbf"), "app"), "{containers}");
        assert_eq!(read(&containers, "[]"), is(Some("9bb1fbf"), "side"), "only what Cloud Run says is known");
    }
    assert_eq!(read(&format!("[{portless}]"), "[]"), is(Some("9bb1fbf"), "side"), "one needs no port");
    assert_eq!(read(&format!("[{sidecar},{portless}]"), statuses), is(None, "side"), "either may be it");
}

#[test]
fn a_revision_that_somebody_has_deleted_is_known_as_that() {
    let deleting = |rest: &str| {
        let text =
            format!(r#"{{"metadata":{{"name":"k","creationTimestamp":"2026-11-22T11:54:00Z"{rest}}}}}"#);
        serde_json::from_str::<WireRevision>(&text).unwrap().understood().unwrap().0.deleting
    };
    assert!(deleting(r#","deletionTimestamp":"2026-11-22T12:00:00Z""#));
    assert!(!deleting(r#","deletionTimestamp":null"#) && !deleting(""));
}

#[test]
fn a_revision_is_understood() {
    let ready = r#"[{"type":"Active","status":"False","reason":"Retired"},{"type":"Ready","status":"True","reason":"Retired"}]"#;
    let digest = format!(r#""asia-northeast1-docker.pkg.dev/p/r/k-back@sha256:{}""#, "ab".repeat(32));
    let retired = revision(r#"{"runback-schema":"7"}"#, "r/k:latest", &digest, ready);
    assert_eq!(
        retired,
        Revision {
            name: "k-back-00042-abc".into(),
            created_at: "2026-11-22T02:54:00.250Z".parse().unwrap(),
            ready: true,
            deleting: false,
            digest: Some(format!("sha256:{}", "ab".repeat(32))),
            commit: None,
            schema: Some("7".into()),
        }
    );
    let ready = |conditions: &str| revision("{}", "r/k:latest", "null", conditions).ready;
    assert!(!ready(r#"[{"type":"Ready","status":"False"},{"type":"Active","status":"True"}]"#));
    assert!(!ready(r#"[{"type":"Ready","status":"Unknown"}]"#));
    assert!(!ready(r#"[{"type":"ContainerHealthy","status":"True"}]"#));
    assert!(!ready("[]"));
    assert_eq!(revision("{}", "r/k:latest", r#""r/k""#, "[]").digest, None);

    let ageless = r#"{"metadata":{"name":"k","creationTimestamp":"yesterday"}}"#;
    assert_eq!(serde_json::from_str::<WireRevision>(ageless).unwrap().understood(), None);
}

#[test]
fn pages_of_revisions_are_told_apart_from_the_last_one() {
    let list = |text: &str| serde_json::from_str::<RevisionList>(text).unwrap();
    assert_eq!(list(r#"{"items":[],"metadata":{"continue":"CAE="}}"#).metadata.next.as_deref(), Some("CAE="));
    assert_eq!(list(r#"{"metadata":{"resourceVersion":"1"}}"#).metadata.next, None);
    assert!(list("{}").items.is_empty());
}

#[test]
fn a_name_leads_to_no_other_address_and_no_other_host() {
    let google = within::google(answering(|_| None));
    let run = CloudRun::new(google, "https://{region}-run.googleapis.com");
    let url = |project: &str, region: &str, service: &str| {
        let name = ServiceName { project: project.into(), region: region.into(), service: service.into() };
        run.url(&name, ["services", &name.service]).map(String::from)
    };
    assert_eq!(
        url("example.com:k", "asia-northeast1", "k/../x?y").unwrap(),
        "https://asia-northeast1-run.googleapis.com/apis/serving.knative.dev/v1/namespaces/example.com:k/services/k%2F..%2Fx%3Fy"
    );
    for region in ["evil.example/", "me@evil.example", "asia.", "a:1", "\u{0430}sia"] {
        assert!(matches!(url("p", region, "k"), Err(CallError::Rejected(_))), "{region}");
    }
    for (project, service) in [("..", "k"), ("p", ".."), ("p", "")] {
        assert!(matches!(url(project, "asia-northeast1", service), Err(CallError::Rejected(_))));
    }
}

fn change_of<'a>(traffic: &'a [TrafficTarget], annotations: &'a [(&'a str, Option<&'a str>)]) -> Change<'a> {
    Change { traffic: Some(traffic), annotations, ..Change::default() }
}

#[test]
fn an_image_is_deployed_with_every_setting_as_it_is() {
    let deploy = Deploy {
        revision: "k-back-77aa88b-01fe".into(),
        image: "r-docker.pkg.dev/p/repo/k-back@sha256:12".into(),
        commit: "77aa88b".into(),
    };
    let change = Change { deploy: Some(&deploy), ..Change::default() };
    let body = parse(DOCUMENT).with(change).map_err(|error| error.to_string()).unwrap();
    let (before, after) = (values(DOCUMENT), values(&body));
    let differs = |(at, value): &(&String, &String)| before.get(*at) != Some(*value);
    let changed: Vec<(&String, &String)> = after.iter().filter(differs).collect();
    let at: Vec<&str> = changed.iter().map(|(at, _)| at.as_str()).collect();
    let containers = "/spec/template/spec/containers";
    assert_eq!(at, ["/spec/template/metadata/labels/commit-sha", TEMPLATE, containers]);
    // Lists are not taken apart: beside the image they are the same.
    let image = |text: &str| {
        let mut list: Vec<Object> = serde_json::from_str(text).unwrap();
        let image = list[0].remove("image").unwrap().get().to_owned();
        (image, serde_json::to_string(&list).unwrap())
    };
    let ((old, others_before), (new, others_after)) = (image(&before[containers]), image(&after[containers]));
    assert_ne!(old, new);
    assert_eq!((new, others_after), (format!("{:?}", deploy.image), others_before));
}
