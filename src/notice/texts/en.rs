//! English.

use super::{Ending, Say, Told};
use crate::domain::decision::Reason;

pub(super) fn say(say: Say) -> &'static str {
    match say {
        Say::RolledBack => "{service} rolled back to {target}",
        Say::StepMoved => "{service}: {percent} moved back to {target}",
        Say::TrialMoved => "{service}: trial, {percent} moved to {target}",
        Say::UnderWay => "{service}: going back to {target}",
        Say::NoCheckAhead => "{service}: nobody will check the rollback",
        Say::StepOnHold => "{service}: rollback on hold at {percent}",
        Say::HeldUp => "{service}: a rollback is stuck",
        Say::OutOfSight => "{service}: Runback lost sight of a rollback",
        Say::RightsLost => "{service}: Runback cannot roll back",
        Say::Pinned => "{service}: {revision} gets no traffic",
        Say::DeniedTitle => "{service}: Runback lacks a permission",
        Say::UnknownService => "{service}: Cloud Run does not know it",

        Say::Failed => {
            "*{percent} of requests failed* on `{culprit}` ({bad} of {requests} in {window}; limit {limit})."
        }
        Say::Slow => {
            "*{percent} of requests took over {slow}* on `{culprit}` ({bad} of {requests} in {window}; limit {limit})."
        }
        Say::WithWarning => {
            "*{percent} of requests failed* on `{culprit}` ({bad} of {requests} in {window}; warning {warning}, rollback {limit})."
        }
        Say::TargetWas => "`{target}` was at {percent}.",
        Say::Trusted => {
            "Cloud Monitoring could not be read, so Runback trusted the alert: nothing confirms that `{culprit}` fails."
        }
        Say::Vouched => "The alert blames `{culprit}`, and its alert policy vouches for it.",
        Say::Unproven => "`{target}` is unproven: no history shows it healthy.",
        Say::TagsStay => "Requests to a tag ignore percentages and stay with `{culprit}`.",
        Say::Figures => "`{revision}`: {percent} bad ({bad} of {requests}; limit {limit}).",
        Say::NoRequests => "`{revision}`: no requests since.",
        Say::MonitoringUnread => "Cloud Monitoring could not be read.",

        Say::AllMoved => "All its traffic moved at *{time}*, {after} after the alert.",
        Say::AllMovedOnWatch => {
            "All its traffic moved at *{time}*, {after} after Runback checked the deploy."
        }
        Say::PartMoved => "{percent} of its traffic moved at *{time}*, {after} after the alert.",
        Say::MovedLate => "{percent} of the traffic of `{culprit}` moved at *{time}*.",
        Say::Late => "You hear of it late: Runback was delayed.",
        Say::StillFails => "*The service still fails its health check:* {detail}.",
        Say::HealthCheck => "Health check: {detail}.",
        Say::Accepted => "Cloud Run accepted the switch to `{target}` at *{time}* and does not show it yet.",
        Say::CloudRunSays => "Cloud Run says: {detail}.",
        Say::CloudRunSilent => "Cloud Run does not say why.",
        Say::Took => "It took {first} from the alert to the switch, and {proven} until this was proven.",
        Say::ProvenAfter => "It took {proven} from the switch until this was proven.",
        Say::ReachedByTag => "They come by the tag {tags}, which percentages do not move.",
        Say::ReachedWithoutTag => {
            "No tag leads there: look for long requests, or a caller that keeps its connection."
        }
        Say::Traffic => "Traffic",
        Say::PinnedSince => {
            "`{revision}` is ready but gets no traffic: Runback rolled `{culprit}` back at *{time}* and pinned the service to `{target}`."
        }
        Say::PinnedBanned => "*It has the image that was rolled back*, so `runback release` refuses it.",
        Say::Began => "The rollback began at *{time}* ({reason}); the thread has the rest.",
        Say::DeniedStory => "Cloud Run refused Runback: it lacks {missing}. Nothing was changed.",
        Say::RightsStory => {
            "Runback lacks {missing}, so Cloud Run would refuse a rollback. Something replaced the service's IAM policy."
        }
        Say::StepOnHoldStory => {
            "Somebody holds the service, so Runback does not take the next step. *The traffic is split*: {percent} of that of `{culprit}` is at `{target}`."
        }
        Say::HeldUpStory => {
            "Google refused Runback in the middle of a rollback: it lacks {missing}. The traffic stays as it is."
        }
        Say::OutOfSightStory => {
            "Runback had a rollback to continue or to check, but {detail}. It leaves the service as it is."
        }
        Say::NoCheckStory => {
            "The rollback to `{target}` stands, but the task queue refused the later check ({detail})."
        }
        Say::UnknownStory => "The policy guards it, but Cloud Run does not know it.",

        Say::Now => "*Now:*",
        Say::Later => "*Later:*",
        Say::NowCheck => "nothing to do. Runback checks again at *{time}* and reports here.",
        Say::NowAlone => "check that the errors stop. Runback has no task queue, so it will not look again.",
        Say::NowTrial => {
            "nothing to do. `{culprit}` served well before: at *{time}* Runback compares both, then moves the rest or puts it back."
        }
        Say::NowStep => {
            "nothing to do. Runback goes on to {percent} at *{time}*, unless `{target}` is no better than `{culprit}`."
        }
        Say::NowWatched => "nothing to do. Runback watches it and reports here within five minutes.",
        Say::NowTag => "ask whoever set the tag; if users come that way, it has to move too.",
        Say::NowTry => "try the service yourself. Runback does not look again.",
        Say::DecidesAt => "Runback decides at *{time}*.",
        Say::LooksAgain => "Runback looks again at *{time}*.",
        Say::LaterPinned => "deploys get no traffic until somebody runs `{release}`.",
        Say::LaterResume => "`{resume}` lets Runback act again.",
        Say::LaterFollows => "the service follows LATEST again: the next deploy is served.",
        Say::NowGrant => "grant the permission.",
        Say::NowTerraform => "grant it; where Terraform owns the IAM policy, list Runback there too.",
        Say::NowQueue => {
            "check that the errors stop, then the queue and Runback's roles on it (`roles/cloudtasks.enqueuer`, `roles/cloudtasks.viewer`)."
        }
        Say::NowLook => {
            "check that the traffic is where it should be. No further step comes, and no verdict."
        }
        Say::NowUnknown => "correct its name, project and region in the policy, or take it out.",
        Say::NowHeld => "decide whether to finish it. It goes on when the hold ends.",
        Say::NowPinned => "try it. If it is good, run `{release}`.",
        Say::NowPinnedBanned => "deploy a repaired revision.",
        Say::NowAgain => "Runback looks again in three minutes.",
        Say::NowWaits => "nothing to do. Runback goes on and reports here.",
        Say::NowGrantQueue => {
            "give Runback `roles/cloudtasks.enqueuer` and `roles/cloudtasks.viewer` on its queue."
        }
        Say::HeldUpPatience => "Runback tries again for about an hour; then the rollback stays as it is.",
        Say::DeniedPatience => "the alert comes again for an hour; then Runback gives it up.",

        Say::GoBack => "*To go back to `{target}`* ({percent} of {requests} requests failed):",
        Say::GoBackUnproven => "*To go back to `{target}`* (no history shows it healthy):",
        Say::GoBackAny => "*To go back to the last healthy revision:*",
        Say::PutBack => "*To put the traffic back as it was:*",
        Say::Finish => "*To finish the rollback:*",
        Say::Status => "*To see where it stands:*",
        Say::Gcloud => "The same with gcloud:",
        Say::GitRevert => "Revert it in git too. The new deploy gets no traffic until you release it:",
        Say::MoveTag => "To move the tag:",
        Say::TryByTag => "*To try it on its own URL:*",
        Say::GrantRun => "*To grant it:*",
        Say::GrantAccount => "*To grant it on the account that the service runs as:*",
        Say::GrantImages => "*To grant it on the image's repository:*",
        Say::GrantUnknown => "*To see which roles Runback has* (`roles/run.developer` is enough):",
        Say::MonitoringRole => "Let Runback read Cloud Monitoring again: it lacks {missing}.",

        Say::Logs => "Error logs",
        Say::Revisions => "Revisions",
        Say::Diff => "Diff {from}…{to}",
        Say::Alert => "Alert",
        Say::ErrorsPerMinute => "Errors/min {bars} peak {peak}, limit {limit}",
        Say::SlowPerMinute => "Slow/min {bars} peak {peak}, limit {limit}",
        Say::ChecksPassed => "{passed} of {all} checks passed",
        Say::Watched => "no alert: Runback watches this deploy",

        Say::UnderASecond => "less than 1 s",
        Say::Seconds => "{number} s",
        Say::Minutes => "{number} min",
        Say::Hours => "{number} h",
        Say::Days => "{number} days",
        Say::SomePermission => "a permission",
    }
}

pub(super) fn ending(ending: Ending) -> Told {
    let (title, story, now) = match ending {
        Ending::Recovered => (
            "{service} recovered",
            "`{target}` has been healthy since it took over from `{culprit}`.",
            "nothing to do. Fix `{culprit}` and deploy.",
        ),
        Ending::NotHelped => (
            "{service}: the rollback did not help",
            "*`{target}` fails as well.* The traffic stays there.",
            "look at what every revision depends on: database, other APIs, secrets, network.",
        ),
        Ending::Restoring => (
            "{service}: no help, rollback being undone",
            "*`{target}` is no better than `{culprit}`*, so Runback is putting the previous split back.",
            "look at what every revision depends on: database, other APIs, secrets, network.",
        ),
        Ending::Restored => (
            "{service}: no help, rollback undone",
            "*`{target}` is no better than `{culprit}`*, so Runback put the previous split back. It will not roll `{culprit}` back again.",
            "look at what every revision depends on: database, other APIs, secrets, network.",
        ),
        Ending::Undone => (
            "{service}: rollback undone by hand",
            "Somebody ran `runback undo`: `{culprit}` has its traffic back.",
            "nothing to do for Runback.",
        ),
        Ending::StillReached | Ending::NeverLeft => (
            "{service}: {culprit} still gets requests",
            "*`{culprit}` still gets requests, and they fail.*",
            "",
        ),
        Ending::Unjudged => (
            "{service}: not clear if the rollback helped",
            "Too few requests to tell whether `{target}` is healthy.",
            "try the service yourself. Runback does not look again.",
        ),
        Ending::Halted => (
            "{service}: rollback halted at {percent}",
            "*`{target}` is no better than `{culprit}`*, so Runback stopped at {percent}. The traffic stays split.",
            "look at what both depend on, then decide.",
        ),
        Ending::Stopped => (
            "{service}: rollback halted at {percent}",
            "Runback stopped at {percent}. The traffic of `{culprit}` stays split with `{target}`.",
            "decide: finish the rollback, or put the traffic back.",
        ),
        Ending::Cleared => (
            "{service}: not the deploy, trial undone",
            "*`{target}` is no better than `{culprit}`* in the same minutes, so the deploy is not to blame. Runback put the previous split back.",
            "look at what every revision depends on: database, other APIs, secrets, network.",
        ),
        Ending::Undecided => (
            "{service}: trial undecided at {percent}",
            "The trial does not show whether `{culprit}` is to blame. *The traffic stays split* at {percent}.",
            "decide: finish the rollback, or put the traffic back.",
        ),
        Ending::Forbidden => (
            "{service}: rollback stopped at {percent}",
            "The policy now says to observe, so Runback stopped. *The traffic stays split* at {percent}.",
            "decide: finish the rollback, or put the traffic back.",
        ),
        Ending::Overruled => (
            "{service}: someone else moved the traffic",
            "Somebody moved the traffic after Runback rolled `{culprit}` back to `{target}`. Runback leaves it alone.",
            "nothing to do for Runback.",
        ),
        Ending::NotArrived => (
            "{service}: rollback not in effect",
            "*Cloud Run accepted the switch to `{target}` but does not serve it.*",
            "look at the service in Cloud Run. If `{target}` cannot start, choose another revision.",
        ),
        Ending::BackNotArrived => (
            "{service}: previous split not in effect",
            "*Cloud Run accepted the previous split but does not serve it.*",
            "look at the service in Cloud Run.",
        ),
        Ending::StepRefused => (
            "{service}: rollback stopped at {percent}",
            "*Cloud Run refused the next step.* The traffic stays split at {percent}.",
            "read Cloud Run's answer, then decide.",
        ),
        Ending::BackRefused => (
            "{service}: no help, and no way back",
            "*`{target}` fails as well, and Cloud Run refused to put the previous split back.* The traffic stays where it is.",
            "look at what every revision depends on: database, other APIs, secrets, network.",
        ),
    };
    Told { title, story, now }
}

pub(super) fn untouched(reason: Reason) -> Told {
    let (title, story, now) = match reason {
        Reason::TestNotification => (
            "Runback: the wiring works",
            "Monitoring reaches Runback, and Runback reaches Slack.",
            "nothing to do.",
        ),
        Reason::UnresolvedService => (
            "An alert names no Cloud Run service",
            "Runback cannot tell which service the alert is about. Nothing was changed.",
            "look at the alert. Then set the labels `runback_project`, `runback_location` and `runback_service` on its policy.",
        ),
        Reason::UnreadableRecord => (
            "{service}: not rolled back, record unreadable",
            "Runback cannot read its record in the annotation `runback.dev/state`. Nothing was changed.",
            "if a newer Runback wrote it, run that version; otherwise repair or remove the annotation.",
        ),
        Reason::DeployInProgress => (
            "{service}: not rolled back, a deploy hangs",
            "A deploy has been in flight for minutes, and Runback does not interfere. Nothing was changed.",
            "look at the deploy.",
        ),
        Reason::AmbiguousCulprit => (
            "{service}: not rolled back, several serve",
            "Several revisions serve, and nothing shows which one fails. Nothing was changed.",
            "compare them in the logs. Alerts grouped by `revision_name` say which one it is.",
        ),
        Reason::DependencyOutage => (
            "{service}: not the deploy, not rolled back",
            "Going back would not help. Nothing was changed.",
            "look at what the service depends on: database, other APIs, secrets, network.",
        ),
        Reason::NoData => (
            "{service}: alert, but no requests to judge",
            "Cloud Monitoring shows no requests. Nothing was changed.",
            "check that requests reach the service: DNS, load balancer, ingress, IAM.",
        ),
        Reason::Warning => {
            ("{service}: {percent} errors, not rolled back yet", "Nothing was changed.", "read the errors.")
        }
        Reason::ExplainOnly => (
            "{service}: alert that Runback only explains",
            "Requests cannot confirm this alert, or its policy asks only to explain. Nothing was changed.",
            "look at the alert.",
        ),
        Reason::NotDeployRelated => (
            "{service} fails, but not since a deploy",
            "No recent deploy is to blame. Nothing was changed.",
            "look for another cause: load, data, configuration, a dependency.",
        ),
        Reason::Cooldown => (
            "{service} fails again, not rolled back",
            "The last rollback is too recent for another one. Nothing was changed.",
            "check whether the deploy is the cause at all.",
        ),
        Reason::BudgetExhausted => (
            "{service} fails, no rollbacks left today",
            "Today's automatic rollbacks are used up. Nothing was changed.",
            "stop deploying, and find out why deploys keep failing.",
        ),
        Reason::NoCandidate => (
            "{service} fails, nothing to go back to",
            "No older revision is known to be healthy. Nothing was changed.",
            "deploy a fix, or choose a revision that you trust.",
        ),
        Reason::SchemaFence => (
            "{service}: not rolled back, schema differs",
            "`{culprit}` and `{target}` need different database schemas. Nothing was changed.",
            "check the database first (`alembic current`). Never downgrade it where data would be lost.",
        ),
        Reason::ObserveMode => (
            "{service} would go back to {target}",
            "Runback only observes this service. Nothing was changed.",
            "decide whether to go back.",
        ),
        Reason::OnHold => (
            "{service} is on hold, not rolled back",
            "Somebody holds this service, so Runback only explains. Nothing was changed.",
            "decide whether to go back.",
        ),
        Reason::PermissionDenied => (
            "{service}: Runback lacks a permission",
            "Cloud Run refused Runback for an hour. Nothing was changed.",
            "grant the permission; Runback has given this alert up.",
        ),
        Reason::WriteRefused => (
            "{service}: Cloud Run refused the rollback",
            "Cloud Run refused the switch to `{target}`. Nothing was changed.",
            "read Cloud Run's answer, then choose another revision.",
        ),
        Reason::Confirmed | Reason::Critical | Reason::Unconfirmed => (
            "{service}: rollback not carried out",
            "The rollback was not carried out. Nothing was changed.",
            "look at the service.",
        ),
        Reason::Healthy | Reason::Recovered | Reason::Closed => (
            "{service}: healthy again",
            "Runback looked again: nothing fails any more. Nothing was changed.",
            "nothing to do.",
        ),
        Reason::Inconclusive => (
            "{service}: not clear whether it fails",
            "Too few requests to tell, and Runback does not look again. Nothing was changed.",
            "try the service yourself.",
        ),
        // These are only logged, as a rule.
        Reason::NotAnIncident
        | Reason::UnknownState
        | Reason::NotGuarded
        | Reason::AlreadyHandled
        | Reason::CulpritNotServing
        | Reason::Watching
        | Reason::NothingToWatch => (
            "{service}: nothing was done",
            "Runback had no reason to act. Nothing was changed.",
            "nothing to do for Runback.",
        ),
    };
    Told { title, story, now }
}
