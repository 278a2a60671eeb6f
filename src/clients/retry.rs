//! How often, and how long after each other, something is tried again.

use std::time::Duration;

use backon::ExponentialBuilder;
use tokio::time::Instant;

/// Whatever time is left: a server in trouble does not recover by being asked more.
const MOST_TRIES: usize = 8;

/// Growing and jittered pauses, for eight tries at most.
pub(super) fn pauses(first: Duration, longest: Duration) -> ExponentialBuilder {
    let tries = ExponentialBuilder::default().with_max_times(MOST_TRIES - 1).with_jitter();
    tries.with_min_delay(first).with_max_delay(longest)
}

/// The pause before the next try: our own, or the one that the server asks for where that is longer. None where it would
/// not end before the deadline.
pub(super) fn pause(ours: Option<Duration>, asked: Option<Duration>, deadline: Instant) -> Option<Duration> {
    let pause = ours?.max(asked.unwrap_or_default());
    let next_try = Instant::now().checked_add(pause)?;
    (next_try < deadline).then_some(pause)
}
