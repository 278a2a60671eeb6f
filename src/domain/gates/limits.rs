//! Gates `allowed`, `schema` and `enforce`: what the policy permits.

use chrono::TimeDelta;

use crate::domain::decide::{Case, Halt, Passage};
use crate::domain::decision::Reason;
use crate::domain::evidence;
use crate::domain::policy::{Mode, Rules, SchemaRule};
use crate::domain::record::age;
use crate::domain::service::Revision;
use crate::domain::steps;
use crate::domain::text;

/// Cooldown and daily budget, by our record.
pub(in crate::domain) fn allowed(case: &Case<'_>) -> Passage<()> {
    let Case { record, rules, now, .. } = *case;
    let automatic = record.rollbacks.iter().filter(|rollback| !rollback.is_by_hand());
    if let Some(last) = automatic.clone().next() {
        // Its next step would never come: the tasks follow the newest rollback only.
        if last.is_under_way() && last.is_wanted(case.service) {
            let detail = format!(
                "the rollback from {} to {} is still under way, {} % so far",
                last.culprit, last.target, last.step
            );
            return Err(Halt::notify(Reason::Cooldown, detail));
        }
        let ago = age(last.at, now);
        if ago < text::delta(rules.cooldown) {
            let detail = format!(
                "the last rollback ({} to {}) is {} old; the cooldown is {}",
                last.culprit,
                last.target,
                text::span(ago),
                text::duration(rules.cooldown)
            );
            return Err(Halt::notify(Reason::Cooldown, detail));
        }
    }
    let today = automatic.filter(|rollback| age(rollback.at, now) < TimeDelta::hours(24)).count();
    let most = rules.max_rollbacks_per_day;
    let detail = format!("{today} of {most} automatic rollbacks in the last 24 h");
    if today >= usize::try_from(most).unwrap_or(usize::MAX) {
        return Err(Halt::notify(Reason::BudgetExhausted, detail + " are used up"));
    }
    Ok(((), detail))
}

/// Timing does not show whether the deploy is to blame, so a part of its traffic is moved first and both revisions are
/// judged on the same minutes. Nobody would come back for that without a queue, and few requests decide nothing.
pub(in crate::domain) fn trial(case: &Case<'_>, culprit: &Revision, why: String) -> Passage<()> {
    let window = case.window_of(&culprit.name).unwrap_or_default();
    let refused = if !case.comes_back {
        "that takes a task queue"
    } else if evidence::total(&window).0 < case.rules.min_requests {
        "there are too few requests for that"
    } else if case.rules.trial_share >= steps::ALL {
        return Ok(((), format!("{why}; the policy wants no trial")));
    } else {
        return Ok(((), format!("{why}; a trial of {} % shows who is to blame", case.rules.trial_share)));
    };
    let detail = format!("{why}; a trial would show whether the deploy is to blame, but {refused}");
    Err(Halt::notify(Reason::NotDeployRelated, detail))
}

pub(in crate::domain) fn schema(rules: &Rules, culprit: &Revision, target: &Revision) -> Passage<()> {
    let name = |revision: &Revision| revision.schema.clone().unwrap_or_else(|| "none".into());
    if culprit.schema == target.schema {
        let detail = culprit
            .schema
            .as_ref()
            .map_or("no schema labels".into(), |schema| format!("both need schema {schema}"));
        return Ok(((), detail));
    }
    let detail =
        format!("{} needs schema {}, {} needs {}", culprit.name, name(culprit), target.name, name(target));
    match rules.schema {
        SchemaRule::Allow => Ok(((), detail + "; the policy allows to cross it")),
        SchemaRule::Block => Err(Halt::notify(Reason::SchemaFence, detail)),
    }
}

pub(in crate::domain) fn enforce(case: &Case<'_>) -> Passage<()> {
    match (case.rules.mode, case.service.held(case.now)) {
        (Mode::Observe, _) => Err(Halt::notify(Reason::ObserveMode, "the policy says to observe only")),
        (Mode::Enforce, Some(hold)) => {
            Err(Halt::notify(Reason::OnHold, format!("the service is {}", hold.sentence())))
        }
        (Mode::Enforce, None) => Ok(((), "the policy says to act, and nobody holds the service".into())),
    }
}
