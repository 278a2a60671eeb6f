//! What people are told when Google refuses Runback. Advice on IAM is only here: after a 401 or 403.

use super::Message;
use super::commands::go_back;
use super::form::{Form, Mark, Offer};
use super::reader::Reader;
use super::story::plain_links;
use super::texts::Say;
use super::words::name;
use crate::domain::decision::Reason;
use crate::domain::policy::Policy;
use crate::domain::service::ServiceName;

/// Says that Cloud Run refuses Runback, what is missing and how to grant it. The alert comes again meanwhile.
///
/// `permission` is unknown when Cloud Run names none; `account` is Runback's own, where it is known.
#[must_use]
pub fn permission_denied(
    policy: &Policy,
    service: &ServiceName,
    permission: Option<&str>,
    account: Option<&str>,
    incident: &str,
) -> Message {
    let reader = &Reader::of(policy, Some(service));
    let values = reader.values().with("missing", missing(reader, permission));
    let mut form = needs_you(reader, Say::DeniedTitle, incident);
    form.story.push(reader.say(Say::DeniedStory, &values));
    form.now = reader.word(Say::NowGrant).to_owned();
    form.later = Some(reader.word(Say::DeniedPatience).to_owned());
    form.offer = grant(reader, permission, account);
    form.aside.extend(go_back(reader, Reason::PermissionDenied, None, None).0);
    form.finish(reader)
}

/// Says that a rollback would be refused, before there is anything to roll back. `missing` names the permissions.
#[must_use]
pub fn rights_lost(policy: &Policy, service: &ServiceName, missing: &str, account: Option<&str>) -> Message {
    let reader = &Reader::of(policy, Some(service));
    let values = reader.values().with("missing", missing.split(' ').map(name).collect::<Vec<_>>().join(" "));
    let mut form = needs_you(reader, Say::RightsLost, "");
    form.story.push(reader.say(Say::RightsStory, &values));
    form.now = reader.word(Say::NowTerraform).to_owned();
    form.offer = grant(reader, Some("run.services.update"), account);
    form.finish(reader)
}

/// A message that Google's refusal makes necessary.
pub(super) fn needs_you(reader: &Reader<'_>, title: Say, incident: &str) -> Form {
    let header = reader.header(Mark::NeedsYou, reader.word(title), &reader.values());
    let mut form = Form::new(Mark::NeedsYou, header, Reason::PermissionDenied.code(), incident);
    form.links = plain_links(reader, None);
    form
}

/// The permission that is missing, as far as Google names it.
pub(super) fn missing(reader: &Reader<'_>, permission: Option<&str>) -> String {
    permission
        .map_or(reader.word(Say::SomePermission).to_owned(), |permission| format!("`{}`", name(permission)))
}

pub(super) fn list_revisions(reader: &Reader<'_>) -> Option<Offer> {
    let ServiceName { project, region, service } = reader.service?;
    let (project, region, service) = (name(project), name(region), name(service));
    let command =
        format!("gcloud run revisions list --service {service} --region {region} --project {project}");
    Some(Offer { say: reader.word(Say::Gcloud).to_owned(), command })
}

/// How to give Runback a permission that it lacks. Words in capitals are what Runback cannot know.
pub(super) fn grant(reader: &Reader<'_>, permission: Option<&str>, account: Option<&str>) -> Option<Offer> {
    let ServiceName { project, region, service } = reader.service?;
    let (project, region, service) = (name(project), name(region), name(service));
    let address =
        account.filter(|account| account.chars().all(|c| c.is_ascii_alphanumeric() || "-._@".contains(c)));
    let member = format!("--member serviceAccount:{}", address.unwrap_or("RUNBACK_SERVICE_ACCOUNT"));
    let api = permission.map_or("", |permission| permission.split('.').next().unwrap_or_default());
    let offer = |say: Say, command: String| Some(Offer { say: reader.word(say).to_owned(), command });
    match api {
        "run" => offer(
            Say::GrantRun,
            format!(
                "gcloud run services add-iam-policy-binding {service} --region {region} --project {project} {member} --role roles/run.developer"
            ),
        ),
        "iam" => offer(
            Say::GrantAccount,
            format!(
                "gcloud iam service-accounts add-iam-policy-binding SERVICE_RUNS_AS --project {project} {member} --role roles/iam.serviceAccountUser"
            ),
        ),
        "artifactregistry" => offer(
            Say::GrantImages,
            format!(
                "gcloud artifacts repositories add-iam-policy-binding REPOSITORY --location {region} --project {project} {member} --role roles/artifactregistry.reader"
            ),
        ),
        // The queue's name is Runback's own setting.
        "cloudtasks" => None,
        "monitoring" => offer(
            Say::GrantRun,
            format!(
                "gcloud projects add-iam-policy-binding {project} {member} --role roles/monitoring.viewer"
            ),
        ),
        _ => offer(
            Say::GrantUnknown,
            format!("gcloud run services get-iam-policy {service} --region {region} --project {project}"),
        ),
    }
}
