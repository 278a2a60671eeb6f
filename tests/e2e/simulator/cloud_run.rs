//! Cloud Run Admin API v1: services are read and replaced, revisions are listed.

use serde_json::{Value, json};

use super::audit;
use super::documents::{self, STATE};
use super::running::{Running, Split};
use super::wire::{Caller, Reply, Request, refusal, refusal_as};
use super::world::World;

/// An accepted `PUT`.
#[derive(Clone, Debug)]
pub struct Write {
    pub service: String,
    pub before: Split,
    pub after: Split,
    /// Our record as the write left it.
    pub record: Option<String>,
    /// Seconds since the world began.
    pub at: f64,
    /// Whose it was, where several processes share the world.
    pub caller: Option<Caller>,
}

impl Write {
    pub fn moved_traffic(&self) -> bool {
        self.before != self.after
    }

    /// Whether it begins a rollback, and does not go on with one.
    pub fn begins(&self) -> bool {
        let record: Option<Value> = self.record.as_deref().and_then(|text| serde_json::from_str(text).ok());
        self.moved_traffic() && record.is_some_and(|record| record["rollbacks"][0]["moved"].is_null())
    }

    /// The incident at the head of the record.
    pub fn incident(&self) -> Option<String> {
        let record: Value = serde_json::from_str(self.record.as_deref()?).ok()?;
        record["rollbacks"][0]["incident"].as_str().map(str::to_owned)
    }
}

pub fn get_service(world: &mut World, key: &str) -> Result<Reply, Reply> {
    Ok(Reply::json(&find(world, key)?.render()))
}

/// Newest first, in pages. To clients the token is opaque; here it is an offset.
pub fn list_revisions(
    world: &mut World,
    project: &str,
    region: &str,
    request: &Request,
) -> Result<Reply, Reply> {
    let selector = request.first("labelSelector").unwrap_or_default();
    let Some(name) = selector.strip_prefix("serving.knative.dev/service=") else {
        return Err(refusal(400, format!("labelSelector: cannot parse {selector:?}.")));
    };
    let clock = world.clock.clone();
    let running = find(world, &format!("{project}/{region}/{name}"))?;
    let serving = running.status_split();
    let size = request.number("limit").unwrap_or(usize::MAX).min(running.service.page_size);
    let start = request.number("continue").unwrap_or(0);
    let service = &running.service;
    let items: Vec<Value> = service
        .revisions
        .iter()
        .skip(start)
        .take(size)
        .map(|each| {
            documents::revision(service, each, &clock.text(each.created), serving.contains_key(&each.name))
        })
        .collect();
    let mut metadata =
        json!({"selfLink": format!("/apis/serving.knative.dev/v1/namespaces/{project}/revisions")});
    if start + size < service.revisions.len() {
        metadata["continue"] = json!(format!("p{}", start + size));
    }
    Ok(Reply::json(&json!({
        "apiVersion": "serving.knative.dev/v1", "kind": "RevisionList", "metadata": metadata, "items": items,
    })))
}

/// Artifact Registry, as far as the services' revisions name its images.
pub fn list_images(world: &World, repository: &str) -> Reply {
    let revisions = world.services.iter().flat_map(|running| &running.service.revisions);
    let images = revisions.filter(|revision| revision.image.starts_with(repository)).map(|revision| {
        let (name, tag) = revision.image.rsplit_once(':').unwrap_or((&revision.image, ""));
        let uploaded = world.clock.text(revision.created);
        json!({"uri": format!("{name}@{}", revision.digest), "tags": [tag], "uploadTime": uploaded})
    });
    Reply::json(&json!({"dockerImages": images.collect::<Vec<_>>()}))
}

/// `replaceService`: refused when stale, audited when accepted.
pub fn replace_service(world: &mut World, key: &str, request: &Request) -> Result<Reply, Reply> {
    let mut sent = request.json()?;
    let at = world.clock.now();
    let running = find(world, key)?;
    let name = running.service.name.clone();
    if sent["kind"] != "Service" || !sent["spec"].is_object() || sent["metadata"]["name"] != json!(name) {
        return Err(refusal(
            400,
            format!("The request body is not the serving.knative.dev/v1 Service {name}."),
        ));
    }
    let current = running.resource_version();
    let given = sent["metadata"]["resourceVersion"].as_str();
    if let Some(given) = given
        && given != current
    {
        return Err(refusal(
            409,
            format!(
                "Conflict for resource '{name}': version '{given}' was specified but current version is '{current}'."
            ),
        ));
    }
    let unguarded = given.is_none().then(|| "a PUT without metadata.resourceVersion".to_owned());
    check_traffic(running, &sent["spec"]["traffic"])?;
    let minted = check_template(running, &sent["spec"]["template"])?;
    let unlisted =
        (!running.service.guarded).then(|| "a write to a service that the policy does not list".to_owned());
    let before = running.render();
    let found = audit::violations(&before, &sent, running.latest_created());
    let complaints: Vec<String> = found.into_iter().chain(unguarded).chain(minted).chain(unlisted).collect();

    let split_before = running.spec_split();
    let metadata = sent["metadata"].as_object_mut().unwrap();
    metadata.remove("resourceVersion");
    metadata.remove("generation");
    sent.as_object_mut().unwrap().remove("status");
    running.accept(sent);
    let record = running.annotation(STATE).map(str::to_owned);
    let (after, caller) = (running.spec_split(), request.caller);
    let write = Write { service: name, before: split_before, after, record, at, caller };
    let unready = write.after.iter().filter(|(name, percent)| {
        let more = **percent > write.before.get(*name).copied().unwrap_or(0);
        more && write.begins() && running.revision(name).is_some_and(|revision| !revision.ready)
    });
    let unready = unready.map(|(name, _)| format!("a rollback to {name}, which is not ready"));
    let complaints: Vec<String> = complaints.into_iter().chain(unready).collect();
    let shown = running.render();
    world.violations.extend(complaints.into_iter().map(|complaint| format!("{key}: {complaint}")));
    world.writes.push(write);
    Ok(Reply::json(&shown))
}

fn find<'a>(world: &'a mut World, key: &str) -> Result<&'a mut Running, Reply> {
    let found = world.services.iter_mut().find(|running| running.key() == key);
    found.ok_or_else(|| refusal(404, format!("Resource '{key}' of kind 'SERVICE' does not exist.")))
}

fn check_traffic(running: &Running, traffic: &Value) -> Result<(), Reply> {
    let no_targets = Vec::new();
    let targets = traffic.as_array().unwrap_or(&no_targets);
    for (index, target) in targets.iter().enumerate() {
        let fault = |what: String| Err(refusal(400, format!("spec.traffic[{index}]: {what}")));
        let latest = target["latestRevision"] == json!(true);
        match target["revisionName"].as_str() {
            _ if target.get("url").is_some() => {
                return fault("url must not be set; it is output only.".into());
            }
            Some(name) if !latest && running.revision(name).is_none() => {
                return fault(format!("Revision '{name}' does not exist or is deleted."));
            }
            named if named.is_some() == latest => {
                return fault("expected exactly one of latestRevision, revisionName.".into());
            }
            _ => {}
        }
        if target.get("percent").is_some_and(|percent| !percent.is_u64()) {
            return fault("percent must be an integer between 0 and 100.".into());
        }
    }
    match targets.iter().filter_map(|target| target["percent"].as_u64()).sum() {
        100_u64 => Ok(()),
        sum => Err(refusal(400, format!("spec.traffic: percentages must sum to 100, got {sum}."))),
    }
}

/// A changed template mints a revision, which we must never do. A revision's name with a changed template is refused.
fn check_template(running: &Running, sent: &Value) -> Result<Option<String>, Reply> {
    let changed = audit::without_name(sent) != audit::without_name(&running.document["spec"]["template"]);
    let forgotten = running.service.refuses_echoed_names;
    match sent["metadata"]["name"].as_str() {
        Some(name) if running.revision(name).is_some() && (changed || forgotten) => {
            let message = format!("Revision named '{name}' with different configuration already exists.");
            Err(refusal_as(409, "ALREADY_EXISTS", message))
        }
        None if forgotten => Ok(Some("a revision was minted".to_owned())),
        _ => Ok(changed.then(|| "a revision was minted".to_owned())),
    }
}
