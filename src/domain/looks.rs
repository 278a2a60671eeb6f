//! Alerts that are judged again. Monitoring tells of an incident once, when it opens: what has failed for a minute then may
//! have failed for nine when it is looked at again, and ten good minutes may hide one bad one.

use std::time::Duration;

use super::alert::Signal;
use super::decision::Reason;

/// An alert that shows no failure is looked at again after so long …
const WAIT: Duration = Duration::from_secs(5 * 60);

/// … and so often. By then either Monitoring shows it, or it is over.
pub const MOST: u32 = 2;

/// A warning is decided on when so much time has passed (the users' handbook: within 30 minutes).
const DEADLINE: Duration = Duration::from_secs(30 * 60);

/// A later judgement of the same alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Again {
    /// How much later.
    pub wait: Duration,
    /// Whether what was a warning counts as a failure then.
    pub deadline: bool,
}

/// Whether an alert is judged again after it came out like this, and was looked at so many times after the first.
#[must_use]
pub fn again(signal: Signal, reason: Reason, looks: u32) -> Option<Again> {
    match reason {
        Reason::Warning if looks == 0 => Some(Again { wait: DEADLINE, deadline: true }),
        Reason::Healthy | Reason::Inconclusive if looks < MOST => {
            // A deploy that is watched is looked at every minute anyway, and what requests do not show they will not.
            let in_requests = matches!(signal, Signal::Errors | Signal::Latency | Signal::SlowBurn);
            in_requests.then_some(Again { wait: WAIT, deadline: false })
        }
        _ => None,
    }
}
