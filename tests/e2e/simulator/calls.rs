//! Calls from Runback: which fake answers, and everything that may happen around it. How they get here, over a socket or
//! within the process, is the caller's affair.

use std::time::Duration;

use serde_json::Value;

use super::traps::Effect;
use super::wire::{Reply, Request, refusal};
use super::world::{Call, World};
use super::{Simulator, cloud_run, cloud_tasks, monitoring, permissions, slack, token};

impl Simulator {
    /// The answer to a call; nothing when the connection is lost.
    pub async fn answer(&self, request: &Request) -> Option<Reply> {
        let segments: Vec<&str> = request.path().trim_start_matches('/').split('/').collect();
        let route = Route::of(&request.method, &segments);
        let name = route.as_ref().map_or("unknown", Route::name);
        let (place, latency) = note(&mut self.world(), name, request);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }

        let (mut fault, mut carried_out, mut afterwards) = (None, true, Vec::new());
        let mut late = Duration::ZERO;
        for (after, effect) in self.sprung(name, request.caller) {
            match effect {
                Effect::Delay(duration) if after => late += duration,
                Effect::Delay(duration) => tokio::time::sleep(duration).await,
                Effect::Change(change) if after => afterwards.push(change),
                Effect::Change(change) => change(&mut self.world()),
                Effect::Reply(_) | Effect::Garble(_) | Effect::Cut(_) => {
                    (fault, carried_out) = (Some(effect), after);
                }
            }
        }
        let mut reply = carried_out.then(|| perform(&mut self.world(), route.as_ref(), request));
        for change in afterwards {
            change(&mut self.world());
        }
        if !late.is_zero() {
            tokio::time::sleep(late).await;
        }
        let mut readable = true;
        match fault {
            Some(Effect::Reply(failure)) => reply = Some(failure),
            Some(Effect::Garble(garble)) => {
                reply = reply.map(garble);
                readable =
                    reply.as_ref().is_some_and(|reply| serde_json::from_str::<Value>(&reply.body).is_ok());
            }
            Some(Effect::Cut(after)) => {
                tokio::time::sleep(after).await;
                reply = None;
            }
            _ => {}
        }
        let status = reply.as_ref().map(|reply| reply.status);
        let mut world = self.world();
        let answered = status.map(|_| world.clock.now());
        let call = &mut world.journal[place];
        (call.status, call.answered, call.intact) = (status, answered, readable && status == Some(200));
        reply
    }
}

/// Every call is in the journal before anything else happens.
fn note(world: &mut World, name: &str, request: &Request) -> (usize, Duration) {
    let at = world.clock.now();
    if name == "unknown" {
        world.violations.push(format!("an unexpected call: {} {}", request.method, request.target));
    }
    world.journal.push(Call {
        name: name.to_owned(),
        method: request.method.clone(),
        target: request.target.clone(),
        body: String::from_utf8_lossy(&request.body).into_owned(),
        at,
        status: None,
        answered: None,
        intact: false,
        caller: request.caller,
    });
    (world.journal.len() - 1, world.latency)
}

enum Route<'a> {
    GetService {
        key: String,
    },
    ReplaceService {
        key: String,
    },
    TestPermissions,
    ListRevisions {
        project: &'a str,
        region: &'a str,
    },
    TimeSeries {
        project: &'a str,
    },
    AlertPolicy {
        name: String,
    },
    ListImages {
        /// `HOST/PROJECT/REPOSITORY/`, as images are called.
        repository: String,
    },
    CreateTask {
        queue: String,
    },
    GetTask {
        name: String,
    },
    SlackWebhook,
    SlackPost,
    SlackUpdate,
    Token,
    /// The metadata server of the instance that Runback runs on.
    Metadata {
        what: &'a str,
    },
    /// The guarded service itself, by a tag.
    App {
        service: &'a str,
        tag: &'a str,
        path: String,
    },
}

impl<'a> Route<'a> {
    fn of(method: &str, segments: &[&'a str]) -> Option<Self> {
        match (method, segments) {
            (_, ["run", region, "apis", "serving.knative.dev", "v1", "namespaces", project, rest @ ..]) => {
                match (method, rest) {
                    ("GET", ["services", name]) => {
                        Some(Self::GetService { key: format!("{project}/{region}/{name}") })
                    }
                    ("PUT", ["services", name]) => {
                        Some(Self::ReplaceService { key: format!("{project}/{region}/{name}") })
                    }
                    ("GET", ["revisions"]) => Some(Self::ListRevisions { project, region }),
                    _ => None,
                }
            }
            ("POST", ["run", _, "v2", "projects", _, "locations", _, "services", method])
                if method.ends_with(":testIamPermissions") =>
            {
                Some(Self::TestPermissions)
            }
            ("GET", ["monitoring", "v3", "projects", project, "timeSeries"]) => {
                Some(Self::TimeSeries { project })
            }
            ("GET", ["monitoring", "v3", "projects", project, "alertPolicies", id]) => {
                Some(Self::AlertPolicy { name: format!("{project}/{id}") })
            }
            (
                "GET",
                [
                    "registry",
                    "v1",
                    "projects",
                    project,
                    "locations",
                    location,
                    "repositories",
                    name,
                    "dockerImages",
                ],
            ) => {
                Some(Self::ListImages { repository: format!("{location}-docker.pkg.dev/{project}/{name}/") })
            }
            ("POST", ["tasks", "v2", queue @ .., "tasks"]) => {
                Some(Self::CreateTask { queue: queue.join("/") })
            }
            ("GET", ["tasks", "v2", name @ ..]) => Some(Self::GetTask { name: name.join("/") }),
            ("POST", ["slack", "webhook"]) => Some(Self::SlackWebhook),
            ("POST", ["slack", "api", "chat.postMessage"]) => Some(Self::SlackPost),
            ("POST", ["slack", "api", "chat.update"]) => Some(Self::SlackUpdate),
            ("POST", ["token"]) => Some(Self::Token),
            ("GET", ["app", service, tag, path @ ..]) => {
                Some(Self::App { service, tag, path: path.join("/") })
            }
            ("GET", ["computeMetadata", "v1", "instance", "service-accounts", "default", what]) => {
                Some(Self::Metadata { what })
            }
            _ => None,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::GetService { .. } => "run.get",
            Self::ReplaceService { .. } => "run.put",
            Self::TestPermissions => "run.iam",
            Self::ListRevisions { .. } => "run.revisions",
            Self::TimeSeries { .. } => "monitoring.list",
            Self::AlertPolicy { .. } => "monitoring.policy",
            Self::ListImages { .. } => "registry.images",
            Self::CreateTask { .. } => "tasks.create",
            Self::GetTask { .. } => "tasks.get",
            Self::SlackWebhook => "slack.webhook",
            Self::SlackPost => "slack.post",
            Self::SlackUpdate => "slack.update",
            Self::Token => "token",
            Self::Metadata { .. } => "metadata",
            Self::App { .. } => "app.probe",
        }
    }

    fn needs_token(&self) -> bool {
        let google = !matches!(self, Self::SlackWebhook | Self::SlackPost | Self::SlackUpdate);
        google && !matches!(self, Self::Token | Self::Metadata { .. } | Self::App { .. })
    }
}

fn perform(world: &mut World, route: Option<&Route<'_>>, request: &Request) -> Reply {
    let answered = || -> Result<Reply, Reply> {
        let route = route.ok_or_else(|| refusal(404, "The requested URL was not found on this server."))?;
        if route.needs_token() {
            token::check(world, request)?;
        }
        match route {
            Route::GetService { key } => cloud_run::get_service(world, key),
            Route::ReplaceService { key } => cloud_run::replace_service(world, key, request),
            Route::ListImages { repository } => Ok(cloud_run::list_images(world, repository)),
            Route::TestPermissions => permissions::test(world, &request.json()?),
            Route::ListRevisions { project, region } => {
                cloud_run::list_revisions(world, project, region, request)
            }
            Route::TimeSeries { project } => monitoring::list_time_series(world, project, request),
            Route::AlertPolicy { name } => monitoring::get_policy(world, name, request),
            Route::CreateTask { queue } => cloud_tasks::create(world, queue, &request.json()?),
            Route::GetTask { name } => cloud_tasks::get(world, name),
            Route::SlackWebhook => Ok(slack::webhook(world, &request.json()?)),
            Route::SlackPost | Route::SlackUpdate => Ok(slack::api(world, request, &request.json()?)),
            Route::Token => token::issue(world, request),
            // What Google's front end keeps never reaches a container.
            Route::App { path, .. } if path.ends_with('z') => Ok(Reply::front_end()),
            Route::App { service, tag, .. } => Ok(Reply::text(world.service(service).visit(tag), "")),
            Route::Metadata { what } => token::metadata(world, what),
        }
    };
    let mut answered = answered;
    answered().unwrap_or_else(|refused| refused)
}
