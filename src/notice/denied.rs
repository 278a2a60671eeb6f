//! What people are told when Cloud Run refuses Runback.

use super::next::{Step, grant, untouched};
use super::words::name;
use super::{Draft, Message, listed, sections};
use crate::domain::decision::Reason;
use crate::domain::service::ServiceName;

/// Says that Cloud Run refuses Runback, what is missing and how to grant it. The alert comes again meanwhile.
///
/// `permission` is unknown when Cloud Run names none; `account` is Runback's own, where it is known.
#[must_use]
pub fn permission_denied(
    service: &ServiceName,
    permission: Option<&str>,
    account: Option<&str>,
    incident: &str,
) -> Message {
    let ServiceName { project, region, service: short } = service;
    let (project, region, short) = (name(project), name(region), name(short));
    let full = format!("projects/{project}/locations/{region}/services/{short}");
    let missing = permission.map_or("it names no permission".to_owned(), |permission| {
        format!("permission `{}` is missing", name(permission))
    });
    let story = format!("Cloud Run refuses Runback: {missing} on `{full}`. *Nothing was touched.*");
    let by_hand = untouched(Reason::PermissionDenied, Some(service), None).steps.pop();
    let patience = "The alert comes again and is decided anew for an hour; then it is given up.";
    let steps: Vec<Step> =
        [grant(service, permission, account), Step::say(patience)].into_iter().chain(by_hand).collect();
    let body = vec![story.clone(), listed(&steps, str::to_owned)];
    let shown = std::iter::once(story).chain(sections(&steps)).collect();
    let header = format!("{short}: Cloud Run refuses Runback");
    Draft { header, body, shown, small: Vec::new(), kept: Vec::new() }
        .finish(Reason::PermissionDenied.code(), incident)
}

/// Says that a rollback would be refused, before there is anything to roll back. `missing` names the permissions.
#[must_use]
pub fn rights_lost(service: &ServiceName, missing: &str, account: Option<&str>) -> Message {
    let short = name(&service.service);
    let story = format!(
        "Runback may no longer roll `{short}` back: it lacks {}. Something has replaced the service's IAM policy. *Nothing was touched.*",
        name(missing)
    );
    let steps = [
        grant(service, Some("run.services.update"), account),
        Step::say(
            "Where Terraform owns that IAM policy, list Runback there too, or it goes again with the next apply.",
        ),
    ];
    let body = vec![story.clone(), listed(&steps, str::to_owned)];
    let shown = std::iter::once(story).chain(sections(&steps)).collect();
    let header = format!("🔴 {short}: Runback cannot roll back");
    Draft { header, body, shown, small: Vec::new(), kept: Vec::new() }
        .finish(Reason::PermissionDenied.code(), "")
}
