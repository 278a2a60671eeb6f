//! Cloud Run Admin API v1 (Knative), regional host: read a service and its revisions, replace the service.
//!
//! v1 `replaceService` refuses a stale `metadata.resourceVersion` with 409 `ABORTED`; v2 `PATCH` was seen to accept
//! stale etags. So a service is read as JSON, changed in two places and sent back otherwise as it was read, as
//! `gcloud run services update-traffic` does.

mod own_tag;
mod wire;

use std::collections::BTreeMap;

use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::Instant;

use super::google::{Call, CallError, Google, address, read};
use wire::{RevisionList, WireRevision, WireService, WireTarget};

use crate::domain::service::{Destination, Revision, Service, ServiceName, TrafficTarget};
use crate::domain::traffic::PROBE_TAG;
use crate::{hold_json, record_json};

/// The annotation that carries our record.
const STATE: &str = record_json::ANNOTATION;

/// Cloud Run keeps at most this many revisions of a service.
const MOST_REVISIONS: usize = 1_000;

/// The Admin API of every region.
#[derive(Clone)]
pub struct CloudRun {
    google: Google,
    /// With `{region}` where the region belongs.
    base: String,
}

/// A service as it was read: what we understand of it, and every byte of the rest.
#[derive(Clone)]
pub struct ServiceDocument {
    /// What we understand.
    pub service: Service,
    /// The annotation `runback.dev/state`.
    pub record: Option<String>,
    raw: Object,
    generation: i64,
    latest_created: Option<String>,
}

/// A revision that is made of an image that is still there, with today's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deploy {
    /// Its name.
    pub revision: String,
    /// The image, by digest.
    pub image: String,
    /// The commit that the image was built from.
    pub commit: String,
}

/// What a write changes. Everything else goes back as it was read.
#[derive(Clone, Copy, Default)]
struct Change<'a> {
    traffic: Option<&'a [TrafficTarget]>,
    /// A new revision of today's template.
    deploy: Option<&'a Deploy>,
    /// Our annotations, by name; nothing: it goes.
    annotations: &'a [(&'a str, Option<&'a str>)],
}

/// A JSON object whose values are kept as they were written: no number is rounded, no field is lost.
type Object = BTreeMap<String, Box<RawValue>>;

impl CloudRun {
    /// `base` is the API's address, with `{region}` where the region belongs.
    #[must_use]
    pub fn new(google: Google, base: &str) -> Self {
        Self { google, base: base.trim_end_matches('/').to_owned() }
    }

    fn url<const N: usize>(&self, name: &ServiceName, rest: [&str; N]) -> Result<Url, CallError> {
        let path = ["apis", "serving.knative.dev", "v1", "namespaces", &name.project];
        address(&self.host(&name.region)?, path.into_iter().chain(rest))
    }

    fn host(&self, region: &str) -> Result<String, CallError> {
        // It becomes a part of the host's name, and must not lead to another one: a token is sent there.
        if !region.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(CallError::Rejected(format!("{region:?} is no region")));
        }
        Ok(self.base.replace("{region}", region))
    }

    /// Reads a service (`run.services.get`).
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn service(&self, name: &ServiceName, deadline: Instant) -> Result<ServiceDocument, CallError> {
        let url = self.url(name, ["services", &name.service])?;
        let call = Call {
            method: Method::GET,
            url,
            body: None,
            permission: "run.services.get",
            repeatable: true,
            deadline,
        };
        ServiceDocument::parse(name, &self.google.call(call).await?)
    }

    /// Those of the permissions that the caller lacks on a service (Admin API v2, `services.testIamPermissions`, which needs
    /// none itself).
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn missing_permissions(
        &self,
        name: &ServiceName,
        wanted: &[&'static str],
        deadline: Instant,
    ) -> Result<Vec<&'static str>, CallError> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Granted {
            permissions: Vec<String>,
        }
        let ServiceName { project, region, service } = name;
        let method = format!("{service}:testIamPermissions");
        let path = ["v2", "projects", project, "locations", region, "services", &method];
        let body = json!({"permissions": wanted}).to_string();
        let call = Call {
            method: Method::POST,
            url: address(&self.host(region)?, path)?,
            body: Some(&body),
            permission: "run.services.get",
            repeatable: true,
            deadline,
        };
        let granted: Granted = read(&self.google.call(call).await?)?;
        Ok(wanted.iter().copied().filter(|name| !granted.permissions.iter().any(|it| it == name)).collect())
    }

    /// Lists a service's revisions, all pages (`run.revisions.list`).
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn revisions(&self, name: &ServiceName, deadline: Instant) -> Result<Vec<Revision>, CallError> {
        let listed = self.revisions_with_images(name, deadline).await?;
        Ok(listed.into_iter().map(|(revision, _)| revision).collect())
    }

    /// The same, each with its image as it was deployed.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn revisions_with_images(
        &self,
        name: &ServiceName,
        deadline: Instant,
    ) -> Result<Vec<(Revision, String)>, CallError> {
        let mut revisions = Vec::new();
        let mut page = String::new();
        loop {
            let mut url = self.url(name, ["revisions"])?;
            url.query_pairs_mut()
                .append_pair("labelSelector", &format!("serving.knative.dev/service={}", name.service))
                .append_pair("limit", &MOST_REVISIONS.to_string());
            if !page.is_empty() {
                url.query_pairs_mut().append_pair("continue", &page);
            }
            let call = Call {
                method: Method::GET,
                url,
                body: None,
                permission: "run.revisions.list",
                repeatable: true,
                deadline,
            };
            let list: RevisionList = read(&self.google.call(call).await?)?;
            revisions.extend(list.items.into_iter().filter_map(WireRevision::understood));
            page = list.metadata.next.unwrap_or_default();
            if page.is_empty() || revisions.len() >= MOST_REVISIONS {
                return Ok(revisions);
            }
        }
    }

    /// Sends the service back as it was read, with another traffic list and record (`run.services.update`). One try:
    /// whether a write whose answer is lost was carried out is settled by reading.
    ///
    /// # Errors
    /// [`CallError::Conflict`] when the service has changed since `read`; [`CallError::Unavailable`] when it is not
    /// known whether the write was carried out.
    pub async fn replace(
        &self,
        read: &ServiceDocument,
        traffic: &[TrafficTarget],
        record: &str,
        deadline: Instant,
    ) -> Result<ServiceDocument, CallError> {
        let annotations = [(STATE, Some(record))];
        self.put(
            read,
            Change { traffic: Some(traffic), annotations: &annotations, ..Change::default() },
            deadline,
        )
        .await
    }

    /// The same with another traffic list only; our record stays as it was read.
    ///
    /// # Errors
    /// As [`Self::replace`].
    pub async fn retarget(
        &self,
        read: &ServiceDocument,
        traffic: &[TrafficTarget],
        deadline: Instant,
    ) -> Result<ServiceDocument, CallError> {
        self.put(read, Change { traffic: Some(traffic), ..Change::default() }, deadline).await
    }

    /// Holds a service, or lets go of it; everything else stays as it was read.
    ///
    /// # Errors
    /// As [`Self::replace`].
    pub async fn set_hold(
        &self,
        read: &ServiceDocument,
        hold: Option<&str>,
        deadline: Instant,
    ) -> Result<ServiceDocument, CallError> {
        let annotations = [(hold_json::ANNOTATION, hold)];
        self.put(read, Change { annotations: &annotations, ..Change::default() }, deadline).await
    }

    /// Deploys an image; the traffic list says what the new revision gets. Everything else stays as it was read.
    ///
    /// # Errors
    /// As [`Self::replace`].
    pub async fn deploy(
        &self,
        read: &ServiceDocument,
        deploy: &Deploy,
        traffic: &[TrafficTarget],
        deadline: Instant,
    ) -> Result<ServiceDocument, CallError> {
        let change = Change { traffic: Some(traffic), deploy: Some(deploy), ..Change::default() };
        self.put(read, change, deadline).await
    }

    async fn put(
        &self,
        read: &ServiceDocument,
        change: Change<'_>,
        deadline: Instant,
    ) -> Result<ServiceDocument, CallError> {
        let name = &read.service.name;
        let url = self.url(name, ["services", &name.service])?;
        let body = read.with(change)?;
        let call = Call {
            method: Method::PUT,
            url,
            body: Some(&body),
            permission: "run.services.update",
            repeatable: false,
            deadline,
        };
        ServiceDocument::parse(name, &self.google.call(call).await?)
    }
}

fn object(raw: Option<&RawValue>) -> Result<Object, CallError> {
    raw.map_or_else(|| Ok(Object::new()), |raw| read(raw.get().as_bytes()))
}

fn raw<T: serde::Serialize + ?Sized>(value: &T) -> Result<Box<RawValue>, CallError> {
    to_raw_value(value).map_err(|error| CallError::Rejected(error.to_string()))
}

impl ServiceDocument {
    fn parse(name: &ServiceName, body: &[u8]) -> Result<Self, CallError> {
        let wire: WireService = read(body)?;
        // Ours comes last: where a revision has a tag of its own, ours is not needed.
        let (ours, own): (Vec<_>, Vec<_>) =
            wire.status.traffic.iter().partition(|target| target.tag.as_deref() == Some(PROBE_TAG));
        let tagged = ours.into_iter().chain(own).filter_map(WireTarget::tagged).collect();
        let targets = |list: Vec<WireTarget>| list.into_iter().map(WireTarget::understood).collect();
        let ready = wire.status.conditions.iter().find(|condition| condition.kind == "Ready");
        let behind = wire.status.observed_generation < wire.metadata.generation;
        let service = Service {
            name: name.clone(),
            url: wire.status.url.unwrap_or_default(),
            spec_traffic: targets(wire.spec.traffic),
            status_traffic: targets(wire.status.traffic),
            tagged,
            in_flight: behind || ready.is_some_and(|condition| condition.status == "Unknown"),
            trouble: ready
                .filter(|condition| condition.status != "True")
                .and_then(|condition| condition.message.clone()),
            latest_ready: wire.status.latest_ready,
            hold: hold_json::parse(wire.metadata.annotations.get(hold_json::ANNOTATION).map(String::as_str)),
        };
        let record = wire.metadata.annotations.get(STATE).cloned();
        let (generation, latest_created) = (wire.metadata.generation, wire.status.latest_created);
        Ok(Self { service, record, raw: read(body)?, generation, latest_created })
    }

    /// Whether nobody has wanted anything else of the service since another read: only its status may differ.
    #[must_use]
    pub fn is_still(&self, other: &Self) -> bool {
        (self.generation, &self.record) == (other.generation, &other.record)
    }

    /// The number of the spec (`metadata.generation`): another one for every change.
    #[must_use]
    pub fn generation(&self) -> i64 {
        self.generation
    }

    /// The body of a `PUT`: the document with what changes.
    fn with(&self, change: Change<'_>) -> Result<String, CallError> {
        let mut document = self.raw.clone();
        if !change.annotations.is_empty() {
            let mut metadata = object(document.get("metadata").map(AsRef::as_ref))?;
            let mut annotations = object(metadata.get("annotations").map(AsRef::as_ref))?;
            for (name, text) in change.annotations {
                match text {
                    Some(text) => annotations.insert((*name).into(), raw(*text)?),
                    None => annotations.remove(*name),
                };
            }
            metadata.insert("annotations".into(), raw(&annotations)?);
            document.insert("metadata".into(), raw(&metadata)?);
        }

        let mut spec = object(document.get("spec").map(AsRef::as_ref))?;
        if let Some(traffic) = change.traffic {
            let old: Vec<Object> =
                spec.get("traffic").map_or_else(|| Ok(Vec::new()), |list| read(list.get().as_bytes()))?;
            let list: Result<Vec<_>, _> = traffic.iter().map(|target| wire_target(target, &old)).collect();
            spec.insert("traffic".into(), raw(&list?)?);
        }
        if let Some(deploy) = change.deploy {
            deploy.apply(&mut spec)?;
        }
        self.name_the_template(&mut spec)?;
        document.insert("spec".into(), raw(&spec)?);
        serde_json::to_string(&document).map_err(|error| CallError::Rejected(error.to_string()))
    }

    /// A template without a name leaves it to Cloud Run to name, and so to create, a revision. With the name of the
    /// revision that it already made, a template that differs is refused instead (409 `ALREADY_EXISTS`).
    fn name_the_template(&self, spec: &mut Object) -> Result<(), CallError> {
        let Some(latest) = &self.latest_created else { return Ok(()) };
        let Some(template) = spec.get("template") else { return Ok(()) };
        let mut template = object(Some(template))?;
        let mut metadata = object(template.get("metadata").map(AsRef::as_ref))?;
        if metadata.get("name").is_none_or(|name| name.get() == "null") {
            metadata.insert("name".into(), raw(latest)?);
            template.insert("metadata".into(), raw(&metadata)?);
            spec.insert("template".into(), raw(&template)?);
        }
        Ok(())
    }
}

impl Deploy {
    /// The template with another image, name and commit.
    fn apply(&self, spec: &mut Object) -> Result<(), CallError> {
        let refused = |why: &str| CallError::Rejected(format!("the service's template {why}"));
        let mut template = object(spec.get("template").map(AsRef::as_ref))?;
        let mut metadata = object(template.get("metadata").map(AsRef::as_ref))?;
        let mut labels = object(metadata.get("labels").map(AsRef::as_ref))?;
        labels.insert("commit-sha".into(), raw(&self.commit)?);
        metadata.insert("labels".into(), raw(&labels)?);
        metadata.insert("name".into(), raw(&self.revision)?);
        template.insert("metadata".into(), raw(&metadata)?);

        let mut inner = object(template.get("spec").map(AsRef::as_ref))?;
        let containers = inner.get("containers").ok_or_else(|| refused("has no containers"))?;
        let mut containers: Vec<Object> = read(containers.get().as_bytes())?;
        // Among several it is the one with a port; the others are sidecars.
        let app = match containers.len() {
            1 => Some(0),
            _ => containers.iter().position(|container| container.contains_key("ports")),
        };
        let app = app.ok_or_else(|| refused("does not say which container answers the requests"))?;
        containers[app].insert("image".into(), raw(&self.image)?);
        inner.insert("containers".into(), raw(&containers)?);
        template.insert("spec".into(), raw(&inner)?);
        spec.insert("template".into(), raw(&template)?);
        Ok(())
    }
}

/// A traffic target as JSON: the entry that was read with its percent changed, or a new one.
fn wire_target(target: &TrafficTarget, old: &[Object]) -> Result<Object, CallError> {
    let same = |entry: &&Object| {
        let text = serde_json::to_vec(entry).unwrap_or_default();
        serde_json::from_slice::<WireTarget>(&text).is_ok_and(|wire| {
            (wire.understood_to(), wire.tag.as_ref()) == (target.to.clone(), target.tag.as_ref())
        })
    };
    let mut entry = old.iter().find(same).cloned().unwrap_or_default();
    match &target.to {
        Destination::Latest => entry.insert("latestRevision".into(), raw(&true)?),
        Destination::Revision(name) => entry.insert("revisionName".into(), raw(name)?),
    };
    if let Some(tag) = &target.tag {
        entry.insert("tag".into(), raw(tag)?);
    }
    if target.percent > 0 {
        entry.insert("percent".into(), raw(&target.percent)?);
    } else {
        entry.remove("percent");
    }
    Ok(entry)
}

#[cfg(test)]
mod tests;
