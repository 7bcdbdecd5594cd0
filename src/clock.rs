//! The present, as the timers of the runtime count it. Deadlines that timers wait for are computed from it, so that the
//! two agree also where a test has paused the runtime's clock.

use std::time::{Duration, Instant, SystemTime};

/// The present.
#[must_use]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// The time since an instant of the past; nothing for one of the future.
#[must_use]
pub fn since(past: Instant) -> Duration {
    now().saturating_duration_since(past)
}

/// The time of day at an instant of the past, for people: as far as the clock was not set since then.
#[must_use]
pub fn time_of_day(past: Instant) -> SystemTime {
    SystemTime::now() - since(past)
}
