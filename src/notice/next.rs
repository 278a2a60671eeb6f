//! What a human should do next.

use crate::domain::decision::Reason;
use crate::domain::record::Share;
use crate::domain::service::ServiceName;

use super::Ahead;
use super::words::{name, split_command, update_traffic};
use crate::domain::text;

/// Something to do: a sentence in mrkdwn, and the command for it where there is one.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) say: String,
    pub(super) command: Option<String>,
}

impl Step {
    pub(super) fn say(say: impl Into<String>) -> Self {
        Self { say: say.into(), command: None }
    }

    /// The sentence, and below it the command as `command` shows it.
    pub(super) fn show(&self, command: impl Fn(&str) -> String) -> String {
        self.command.as_deref().map_or(self.say.clone(), |text| format!("{}\n{}", self.say, command(text)))
    }

    pub(super) fn run(say: impl Into<String>, command: impl Into<Option<String>>) -> Self {
        Self { say: say.into(), command: command.into() }
    }
}

/// A message's title, behind the service's name, and what comes next.
#[derive(Debug)]
pub(super) struct Advice {
    pub(super) title: &'static str,
    pub(super) steps: Vec<Step>,
}

/// What comes after a switch: the service is pinned until somebody releases it.
pub(super) fn after_switch(
    service: Option<&ServiceName>,
    culprit: &str,
    target: &str,
    reason: Reason,
    ahead: Ahead,
) -> Vec<Step> {
    let (culprit, target) = (name(culprit), name(target));
    let mut steps = vec![Step::say(match ahead {
        Ahead::Check => {
            "Runback looks again five minutes after the switch and says here whether it helped.".to_owned()
        }
        Ahead::Nothing => format!("Check that the errors stop once `{target}` serves."),
        Ahead::Trial { wait } => format!(
            "`{culprit}` served well before it began to fail, so something else may be to blame. In {} Runback compares both on the \
             same minutes: if `{target}` is better, the rest follows; if it fails as well, the traffic goes back as it was. If you \
             move the traffic yourself, it stops and leaves it to you.",
            text::duration(wait)
        ),
        Ahead::Step { percent, wait } => format!(
            "{} after this step Runback goes on to {percent} %, unless `{target}` turns out no better than `{culprit}`; all of it at \
             once if `{culprit}` becomes critical. If you move the traffic yourself, it stops and leaves it to you.",
            text::duration(wait)
        ),
    })];
    if reason == Reason::Unconfirmed {
        let role = service.map_or(String::new(), |service| {
            format!(" (role `roles/monitoring.viewer` on project `{}`)", name(&service.project))
        });
        let why = "Runback could not check the alert and acted on its word";
        steps.push(Step::say(format!("{why}: let it read Cloud Monitoring again{role}.")));
    }
    let tag = service.map(|service| update_traffic(service, "--update-tags fix=REVISION"));
    steps.push(Step::run("Fix it and deploy. Then give the new revision a tag and try its own URL:", tag));
    steps.push(Step::run(format!("Only then release the service. {PIN}:"), service.map(release)));
    steps
}

/// What comes next when a write never showed: by then it is somebody's to look at.
pub(super) fn not_arrived(service: Option<&ServiceName>, to: &[Share]) -> Vec<Step> {
    let by_hand = service.and_then(|service| split_command(service, to));
    vec![
        Step::run("Look at what Cloud Run says about the service:", service.map(describe)),
        Step::run("Try it once more by hand, or choose another revision:", by_hand),
        Step::run(
            "The service is pinned to the split that was written, also if it arrives late. To release it:",
            service.map(release),
        ),
    ]
}

pub(super) const PIN: &str = "Later deploys get 0 % of the traffic until it is released";

pub(super) fn release(service: &ServiceName) -> String {
    let ServiceName { project, region, service } = service;
    format!(
        "runback release --service projects/{}/locations/{}/services/{}",
        name(project),
        name(region),
        name(service)
    )
}

fn resume(service: &ServiceName) -> String {
    let ServiceName { project, region, service } = service;
    format!("runback resume projects/{}/locations/{}/services/{}", name(project), name(region), name(service))
}

/// What comes next when nothing was moved. `split` is the plan's result, if there is a plan.
pub(super) fn untouched(reason: Reason, service: Option<&ServiceName>, split: Option<&[Share]>) -> Advice {
    let planned = service.zip(split).and_then(|(service, split)| split_command(service, split));
    let planned_or_any = |service| planned.clone().unwrap_or_else(|| switch_to_any(service));
    let by_hand = |say: &str| Step::run(say, service.map(planned_or_any));
    let status = || service.map(describe);
    let (title, steps) = match reason {
        Reason::TestNotification => (
            "the wiring works",
            vec![Step::say(
                "Wiring works: Monitoring reaches Runback and Runback reaches Slack. There is nothing to do.",
            )],
        ),
        Reason::UnresolvedService if service.is_some() => (
            "guarded, but not known to Cloud Run",
            vec![Step::say(
                "Was it deleted or renamed? Then take it out of the policy; else look at its project and region there.",
            )],
        ),
        Reason::UnresolvedService => (
            "an alert names no Cloud Run service",
            vec![Step::say(
                "Set the user labels `runback_project`, `runback_location` and `runback_service` on the alert policy, \
                 or keep these resource labels when its condition aggregates. Until then look at the service yourself.",
            )],
        ),
        Reason::UnreadableRecord => (
            "not rolled back, the record cannot be read",
            vec![
                Step::run("Look at the annotation `runback.dev/state`:", status()),
                Step::say(
                    "If a newer Runback wrote it, run that version; else repair or remove the annotation.",
                ),
                by_hand("To go back by hand meanwhile:"),
            ],
        ),
        Reason::DeployInProgress => (
            "not rolled back, a deploy does not settle",
            vec![
                Step::run("Look at the deploy; Runback does not interfere with it:", status()),
                by_hand("If the deploy is stuck, go back by hand:"),
            ],
        ),
        Reason::AmbiguousCulprit => (
            "not rolled back, several revisions serve",
            vec![
                by_hand("Compare the serving revisions in the logs, and take the traffic off the bad one:"),
                Step::say(
                    "So that alerts name the revision, group the condition by `resource.label.revision_name`.",
                ),
            ],
        ),
        Reason::DependencyOutage => (
            "not rolled back, going back would not help",
            vec![Step::say(
                "Look at what the service depends on: its database, other APIs, secrets, the network. \
                 Other revisions fail as well, so this deploy is not to blame.",
            )],
        ),
        Reason::NoData => (
            "not rolled back, Monitoring shows no requests",
            vec![
                Step::say(
                    "Check whether requests reach the service at all (DNS, load balancer, ingress, IAM).",
                ),
                by_hand("If it is the newest deploy, go back by hand:"),
            ],
        ),
        Reason::Warning => (
            "more errors than usual, not rolled back",
            vec![
                Step::say(
                    "Look at the errors: they are above the warning level and below the level for a rollback.",
                ),
                by_hand("If users are affected, go back by hand:"),
            ],
        ),
        Reason::ExplainOnly => (
            "an alert that Runback only explains",
            vec![
                Step::say(
                    "Look at the alert: requests cannot confirm what it measures, or its policy asks to explain only.",
                ),
                by_hand("If it is the newest deploy, go back by hand:"),
            ],
        ),
        Reason::NotDeployRelated => (
            "not rolled back, no recent deploy is to blame",
            vec![
                Step::say("Look for another cause: load, data, configuration, a dependency."),
                by_hand("If going back is right all the same:"),
            ],
        ),
        Reason::Cooldown => (
            "not rolled back again so soon",
            vec![
                Step::say(
                    "Check it now: errors soon after a rollback can mean that the deploy was not the cause.",
                ),
                by_hand("If it is another bad deploy, go back by hand:"),
            ],
        ),
        Reason::BudgetExhausted => (
            "not rolled back, the day's rollbacks are used up",
            vec![
                Step::say("Stop deploying and find out why deploys keep failing."),
                by_hand("To go back by hand:"),
            ],
        ),
        Reason::NoCandidate => (
            "not rolled back, no healthy revision to go back to",
            vec![
                Step::say("Fix forward: deploy a repaired revision."),
                Step::run(
                    "Or choose a revision that you trust and go back by hand:",
                    service.map(list_revisions),
                ),
                by_hand("Then:"),
            ],
        ),
        Reason::SchemaFence => (
            "not rolled back, the database schema differs",
            vec![
                Step::say(
                    "Look at the database first: `alembic current`. The older code may not run on the newer schema; \
                     downgrade it only by hand, with a backup and in maintenance mode, and never where data would be lost.",
                ),
                by_hand("When the schema fits, switch the traffic:"),
            ],
        ),
        Reason::ObserveMode => {
            let switch = by_hand("To do it by hand:");
            let pin = Step::run(
                format!("{PIN}. Fix, deploy, try the new revision by a tag, then:"),
                service.map(release),
            );
            ("", vec![switch, pin])
        }
        Reason::OnHold => {
            let switch = by_hand("To do it by hand all the same:");
            let resume = Step::run("To let Runback act again before the hold ends:", service.map(resume));
            ("", vec![switch, resume])
        }
        Reason::PermissionDenied => (
            "Cloud Run refuses Runback",
            vec![
                Step::say("Grant Runback's service account the missing permission; this alert is given up."),
                by_hand("To go back by hand:"),
            ],
        ),
        Reason::WriteRefused => (
            "Cloud Run refuses the switch",
            vec![by_hand("Read Cloud Run's answer above, then go back by hand:")],
        ),
        Reason::Confirmed | Reason::Critical | Reason::Unconfirmed => {
            ("the rollback was not carried out", vec![by_hand("Look at the service, and go back by hand:")])
        }
        // Only logged, as a rule.
        Reason::NotAnIncident
        | Reason::Closed
        | Reason::Recovered
        | Reason::UnknownState
        | Reason::NotGuarded
        | Reason::AlreadyHandled
        | Reason::CulpritNotServing
        | Reason::Watching
        | Reason::NothingToWatch
        | Reason::Healthy
        | Reason::Inconclusive => {
            ("nothing was done", vec![Step::say("Nothing needs to be done for Runback.")])
        }
    };
    Advice { title, steps }
}

fn switch_to_any(service: &ServiceName) -> String {
    update_traffic(service, "--to-revisions REVISION=100")
}

pub(super) fn list_revisions(service: &ServiceName) -> String {
    let ServiceName { project, region, service } = service;
    let (project, region, service) = (name(project), name(region), name(service));
    format!("gcloud run revisions list --service {service} --region {region} --project {project}")
}

pub(super) fn describe(service: &ServiceName) -> String {
    let ServiceName { project, region, service } = service;
    let (project, region, service) = (name(project), name(region), name(service));
    format!("gcloud run services describe {service} --region {region} --project {project} --format yaml")
}

/// How to give Runback a permission that it lacks. Words in capitals are for the reader to fill in.
pub(super) fn grant(service: &ServiceName, permission: Option<&str>, account: Option<&str>) -> Step {
    let ServiceName { project, region, service } = service;
    let (project, region, service) = (name(project), name(region), name(service));
    let address =
        account.filter(|account| account.chars().all(|c| c.is_ascii_alphanumeric() || "-._@".contains(c)));
    let member = format!("--member serviceAccount:{}", address.unwrap_or("RUNBACK_SERVICE_ACCOUNT"));
    let api = permission.map_or("", |permission| permission.split('.').next().unwrap_or_default());
    let (say, command) = match api {
        "run" => (
            "",
            format!(
                "gcloud run services add-iam-policy-binding {service} --region {region} --project {project} {member} --role roles/run.developer"
            ),
        ),
        "iam" => (
            " on the account that the service runs as",
            format!(
                "gcloud iam service-accounts add-iam-policy-binding SERVICE_RUNS_AS --project {project} {member} --role roles/iam.serviceAccountUser"
            ),
        ),
        "artifactregistry" => (
            " on the image's repository",
            format!(
                "gcloud artifacts repositories add-iam-policy-binding REPOSITORY --location {region} --project {project} {member} --role roles/artifactregistry.reader"
            ),
        ),
        "cloudtasks" => {
            let roles = "`roles/cloudtasks.enqueuer` and `roles/cloudtasks.viewer`";
            return Step::say(format!(
                "Give Runback's service account {roles} on its queue (RUNBACK_TASKS_QUEUE)."
            ));
        }
        "monitoring" => (
            "",
            format!(
                "gcloud projects add-iam-policy-binding {project} {member} --role roles/monitoring.viewer"
            ),
        ),
        _ => {
            let policy =
                format!("gcloud run services get-iam-policy {service} --region {region} --project {project}");
            return Step::run(
                "Check which roles Runback's service account has; `roles/run.developer` is enough:",
                policy,
            );
        }
    };
    Step::run(format!("Grant it{say}:"), command)
}
