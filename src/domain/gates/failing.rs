//! Gate `failing`: whether the evidence confirms the alert.

use chrono::TimeDelta;

use crate::domain::alert::{PolicyWish, Signal};
use crate::domain::decide::{Case, Halt, Passage, Round};
use crate::domain::decision::{Outcome, Reason};
use crate::domain::evidence::{self, Axis, Evidence, Judgement, Newest, Sample, Verdict};
use crate::domain::policy::Rules;
use crate::domain::service::Revision;
use crate::domain::text;

/// An alert has waited for minutes before it came; a watch begins with the deploy. So it takes as many sampled minutes
/// of its own to tell a failure from the hot minute in which instances start, which the sampled ones may cut in two.
const WATCHED_PERIODS: usize = 3;

/// An alert is trusted on its own for this long after it was published. Later, what it says may long be over.
const TRUSTED_FOR: TimeDelta = TimeDelta::minutes(10);

/// A later judgement waits this long for Monitoring, then people decide.
const WAITS_FOR_MONITORING: TimeDelta = TimeDelta::minutes(10);

/// Where there is little traffic, the newest requests of so long a time are judged.
const LAST_HOUR: TimeDelta = TimeDelta::hours(1);

/// Requests contradict a check that says they fail when they are proven to do so at less than this part of the limit.
const WELL: f64 = 0.1;

/// The axis on which an alert is judged.
#[must_use]
pub fn axis(signal: Signal) -> Axis {
    match signal {
        Signal::Latency => Axis::Slowness,
        Signal::Errors | Signal::SlowBurn | Signal::Deploy | Signal::Other => Axis::Errors,
    }
}

/// The share of bad requests that counts as failing.
#[must_use]
pub fn threshold(rules: &Rules, axis: Axis) -> f64 {
    match axis {
        Axis::Errors => rules.rollback,
        Axis::Slowness => rules.slow_share,
    }
}

/// A revision's requests in the window against the policy; nothing when Monitoring could not be read.
pub(in crate::domain) fn judge_revision(case: &Case<'_>, revision: &str) -> Option<Judgement> {
    judge_below(case, revision, threshold(case.rules, axis(case.alert.signal)))
}

/// The same against another share of bad ones. Where the window has few requests, the last hour's newest ones count.
fn judge_below(case: &Case<'_>, revision: &str, bar: f64) -> Option<Judgement> {
    let judgement = judge_against(case, &case.window_of(revision)?, bar);
    if axis(case.alert.signal) != Axis::Errors || judgement.verdict == Verdict::Confirmed {
        return Some(judgement);
    }
    let hour = case.lately(revision, LAST_HOUR);
    Some(evidence::judge_newest(&hour, judgement, case.rules.min_requests))
}

/// Requests on the alert's axis against another limit than the policy's.
pub(in crate::domain) fn judge_against(case: &Case<'_>, samples: &[Sample], bar: f64) -> Judgement {
    judge_on(case.rules, axis(case.alert.signal), samples, bar)
}

/// Requests against the policy.
#[must_use]
pub fn judge_requests(rules: &Rules, axis: Axis, samples: &[Sample]) -> Judgement {
    judge_on(rules, axis, samples, threshold(rules, axis))
}

/// Requests against a share of bad ones. A few newest ones count on the error axis alone: with little traffic every
/// request may be slow because it starts an instance.
#[must_use]
pub fn judge_on(rules: &Rules, axis: Axis, samples: &[Sample], bar: f64) -> Judgement {
    let min_requests = rules.min_requests;
    let judgement = evidence::judge(samples, bar, min_requests);
    match axis {
        Axis::Errors => evidence::judge_newest(samples, judgement, min_requests),
        Axis::Slowness => judgement,
    }
}

/// Whether the culprit fails, and so the reason code of a rollback.
pub(in crate::domain) fn judge(case: &Case<'_>, culprit: &Revision) -> Passage<Reason> {
    let wish = case.policy_wish();
    if let Some(halt) = of_another_project(case) {
        return Err(halt);
    }
    if wish == Some(PolicyWish::Notify) {
        return Err(Halt::notify(
            Reason::ExplainOnly,
            "the alert policy's label runback = notify asks to explain only",
        ));
    }
    let shows_in_requests = case.alert.signal != Signal::Other;
    match case.evidence {
        Evidence::Unreadable { why, permission } => {
            let missing = permission
                .as_ref()
                .map_or(String::new(), |name| format!("; the permission {name} is missing"));
            let dark = format!("Monitoring cannot be read ({why}){missing}");
            if case.alert.signal == Signal::Deploy {
                let detail = format!("{dark}, and a watch has no alert to trust instead");
                return Err(Halt::ignore(Reason::Inconclusive, detail));
            }
            if !shows_in_requests && wish.is_none() {
                return Err(unshown(case, &dark));
            }
            if let Some(halt) = distrust(case, &dark) {
                return Err(halt);
            }
            if shows_in_requests && !case.alert.condition.accuses {
                let detail = format!("{dark}, and this alert does not say that requests fail or are slow");
                return Err(Halt::notify(Reason::ExplainOnly, detail));
            }
            Ok((Reason::Unconfirmed, format!("unconfirmed: {dark}, so Runback trusted the alert")))
        }
        Evidence::Read(_) => {
            let axis = axis(case.alert.signal);
            let window = case.window_of(&culprit.name).unwrap_or_default();
            let judgement = judge_below(case, &culprit.name, threshold(case.rules, axis))
                .unwrap_or_else(|| judge_requests(case.rules, axis, &window));
            let mut figures = sentence(case.rules, axis, &judgement, text::delta(case.rules.window));
            if axis == Axis::Slowness && case.alert.condition.slower_than.is_some() {
                figures += &format!("; the {} are the alert's own limit", text::time(case.rules.slow));
            }
            if judgement.verdict == Verdict::Confirmed {
                if let Some(why) = not_yet(case, &window, &judgement) {
                    return Err(Halt::ignore(Reason::Inconclusive, format!("{figures}; {why}")));
                }
                let critical = axis == Axis::Errors && judgement.ratio >= case.rules.critical;
                let critical = critical || wish == Some(PolicyWish::Critical);
                return Ok((if critical { Reason::Critical } else { Reason::Confirmed }, figures));
            }
            if case.alert.signal == Signal::SlowBurn
                && let Some(worse) = worse_than_the_target(case, culprit, &window)
            {
                return Ok((Reason::Confirmed, format!("{figures}; {worse}")));
            }
            let well =
                case.alert.is_contradicted_by_requests() && judgement.upper <= judgement.threshold * WELL;
            match wish {
                Some(wish) if well && wish != PolicyWish::Always => Err(Halt::notify(
                    Reason::ExplainOnly,
                    format!(
                        "the check and the requests contradict each other, so its alert policy's word does not count (runback = always would): {figures}"
                    ),
                )),
                Some(wish) if !shows_in_requests => {
                    let (word, reason) = match wish {
                        PolicyWish::Critical => ("critical", Reason::Critical),
                        PolicyWish::Always => ("always", Reason::Confirmed),
                        PolicyWish::Rollback | PolicyWish::Notify => ("rollback", Reason::Confirmed),
                    };
                    Ok((
                        reason,
                        format!(
                            "the alert policy's label runback = {word} vouches for its alerts; {figures}"
                        ),
                    ))
                }
                _ if !shows_in_requests => Err(unshown(case, &figures)),
                _ => not_failing(case, culprit, axis, &judgement, figures),
            }
        }
    }
}

/// Why an alert alone is no reason to act while Monitoring cannot be read. A later judgement waits for Monitoring first.
fn distrust(case: &Case<'_>, dark: &str) -> Option<Halt> {
    let explain = |why: &str| Some(Halt::notify(Reason::ExplainOnly, format!("{dark}; {why}")));
    if case.round != Round::First {
        let waited = case.waiting_since.map_or(TimeDelta::zero(), |since| case.now - since);
        if waited < WAITS_FOR_MONITORING {
            let (outcome, reason) = (Outcome::Wait, Reason::Inconclusive);
            let detail = format!("{dark}; Runback trusts an alert alone only when it arrives, so this waits");
            return Some(Halt { outcome, reason, detail });
        }
        return explain("Runback trusts an alert alone only when it arrives");
    }
    // A webhook does not say when it was sent. The incident began before that.
    match case.published_at.or(case.alert.started_at) {
        None => explain("nothing says how old the alert is, so Runback does not act on it alone"),
        Some(at) if case.now - at < TRUSTED_FOR => None,
        Some(at) => {
            let (age, limit) = (text::span(case.now - at), text::span(TRUSTED_FOR));
            explain(&format!("the alert is {age} old, and Runback trusts one alone for {limit} only"))
        }
    }
}

/// Why a watch waits although the figures convict. That a failure goes on an open alert says; here the last minute has
/// to show it.
fn not_yet(case: &Case<'_>, window: &[Sample], judgement: &Judgement) -> Option<&'static str> {
    if case.alert.signal != Signal::Deploy {
        return None;
    }
    let last = window.iter().rfind(|sample| sample.requests > 0);
    let fails = last.is_some_and(|last| evidence::ratio(last.bad, last.requests) > judgement.threshold);
    if judgement.periods < WATCHED_PERIODS {
        return Some("one hot minute may be a spike, so a watch waits for the next");
    }
    (!fails).then_some("the last minute was not like that, so a watch waits for the next")
}

/// A slow burn: few errors, but significantly more than the target ever had, in most minutes.
fn worse_than_the_target(case: &Case<'_>, culprit: &Revision, window: &[Sample]) -> Option<String> {
    let (target, _) = super::target::choose(case, culprit, &[]).ok()?;
    let since = case.now - text::delta(case.rules.history);
    let past = evidence::total(&evidence::since(&case.real_traffic(&target.revision.name), since));
    let usual = evidence::ratio(past.1, past.0);
    let votes = evidence::votes(window);
    let minutes = votes.len();
    let worse = votes.iter().filter(|sample| evidence::ratio(sample.bad, sample.requests) > usual).count();
    let burns = |samples: &[Sample]| {
        let (requests, bad) = evidence::total(samples);
        evidence::burns((bad, requests), (past.1, past.0), case.rules.min_requests)
    };
    // Half of all minutes lie above a mean; a burn has to be there without its hottest ones as well.
    let convicts = target.proven && burns(window) && burns(&evidence::cooler(window)) && worse * 2 > minutes;
    convicts.then(|| {
        format!(
            "significantly more than the {} of {} (1 %, one-sided), in {worse} of {minutes} minutes",
            text::percent(usual),
            target.revision.name
        )
    })
}

/// Whoever may write alert policies in some project can name any service in them. So an alert from another project than
/// the service's own only explains, unless the policy lists that project. Labels of resources are no better: a query
/// can set them.
fn of_another_project(case: &Case<'_>) -> Option<Halt> {
    let project = case.alert.scoping_project.as_ref()?;
    let Rules { alert_projects, .. } = case.rules;
    let name = &case.service.name;
    if *project == name.project || alert_projects.contains(project) {
        return None;
    }
    let detail = format!(
        "the alert policy is in the project {project}; alerts from there only explain until `alert_projects` of {name} lists it"
    );
    Some(Halt::notify(Reason::ExplainOnly, detail))
}

fn unshown(case: &Case<'_>, figures: &str) -> Halt {
    let label = case.disputed.unwrap_or("its policy carries no label runback = rollback");
    let detail = format!("requests do not show what this alert measures, and {label}; {figures}");
    Halt::notify(Reason::ExplainOnly, detail)
}

/// A request alert that the evidence does not confirm: at most a warning, which counts when its deadline has passed.
fn not_failing(
    case: &Case<'_>,
    culprit: &Revision,
    axis: Axis,
    judgement: &Judgement,
    figures: String,
) -> Passage<Reason> {
    if judgement.verdict == Verdict::NoData {
        // A deploy that nobody has visited yet is nobody's trouble.
        if case.alert.signal == Signal::Deploy {
            return Err(Halt::ignore(Reason::NoData, figures));
        }
        return Err(Halt::notify(Reason::NoData, figures));
    }
    let refused = |verdict, figures| match verdict {
        Verdict::Healthy => Err(Halt::ignore(Reason::Healthy, figures)),
        _ => Err(Halt::ignore(Reason::Inconclusive, figures)),
    };
    let Some(warning) = case.rules.warning.filter(|_| axis == Axis::Errors) else {
        return refused(judgement.verdict, figures);
    };
    let window = case.window_of(&culprit.name).unwrap_or_default();
    let milder = judge_against(case, &window, warning);
    let figures = format!("{figures}, warning from {}", text::percent(warning));
    match milder.verdict {
        Verdict::Confirmed if case.round == Round::Deadline => {
            Ok((Reason::Confirmed, format!("{figures}, and that has lasted until the warning's deadline")))
        }
        Verdict::Confirmed => Err(Halt::notify(Reason::Warning, figures)),
        verdict => refused(verdict, figures),
    }
}

/// "412 of 1,760 requests failed in 10 min, 23 %, at least 21 % with 95 % confidence; limit 5 %".
pub(in crate::domain) fn sentence(
    rules: &Rules,
    axis: Axis,
    judgement: &Judgement,
    time: TimeDelta,
) -> String {
    let Judgement { requests, bad, ratio, lower, upper, periods, periods_above, threshold, .. } = *judgement;
    let window = text::span(time);
    if requests == 0 {
        return format!("Monitoring has no requests of it in the last {window}");
    }
    let did = match axis {
        Axis::Errors => "failed".to_owned(),
        Axis::Slowness => format!("took longer than {}", text::time(rules.slow)),
    };
    let figures = format!(
        "{} of {} requests {did} in {window}, {}",
        text::count(bad),
        text::count(requests),
        text::percent(ratio)
    );
    let limit = text::percent(threshold);
    if let Some(Newest { requests, bad, periods }) = judgement.newest {
        let which = if bad == requests {
            format!("all of the last {bad}")
        } else {
            format!("{bad} of the last {requests}")
        };
        return format!(
            "{figures}; {which}, over {periods} minutes: at least {} with 95 % confidence; limit {limit}",
            text::percent(evidence::wilson(bad, requests).0)
        );
    }
    match judgement.verdict {
        Verdict::Confirmed => format!(
            "{figures}, at least {} with 95 % confidence, above the limit in {periods_above} of {periods} minutes; limit {limit}",
            text::percent(lower)
        ),
        Verdict::Healthy => {
            format!("{figures}, at most {} with 95 % confidence; limit {limit}", text::percent(upper))
        }
        _ if requests < rules.min_requests => {
            format!("{figures}; fewer than {} requests prove nothing", rules.min_requests)
        }
        _ if lower > threshold => {
            format!(
                "{figures}, but above the limit in only {periods_above} of {periods} minutes: a spike; limit {limit}"
            )
        }
        _ => format!(
            "{figures}, between {} and {} with 95 % confidence; limit {limit}",
            text::percent(lower),
            text::percent(upper)
        ),
    }
}
