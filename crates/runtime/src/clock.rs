//! The only place that reads the clock.
//!
//! Durations are measured with [`now`], which tokio's test clock can hold; dates are read with
//! [`unix_ms`] and go only into records, certificates and logs.

use std::{
    cell::Cell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub use tokio::time::Instant;

/// The monotonic clock. Under `tokio::time::pause` it stands still.
#[expect(clippy::disallowed_methods, reason = "this is the door that the ban points to")]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

thread_local! {
    /// When this thread's clock was held, and what it showed.
    static HELD: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
}

/// From now on the wall clock of this thread begins at `since_epoch` and goes on with [`now`], so that a test that
/// holds tokio's clock holds this one too. For simulations: no program calls it.
pub fn hold(since_epoch: Duration) {
    HELD.set(Some((now(), since_epoch)));
}

/// Wall-clock time since the Unix epoch; zero for a clock set before 1970.
#[expect(clippy::disallowed_methods, reason = "this is the door that the ban points to")]
#[must_use]
pub fn since_epoch() -> Duration {
    if let Some((from, shown)) = HELD.get() {
        return shown.saturating_add(now().saturating_duration_since(from));
    }
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

/// Wall-clock time in milliseconds since the Unix epoch.
#[must_use]
pub fn unix_ms() -> i64 {
    i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX)
}

/// Wall-clock time in seconds since the Unix epoch.
#[must_use]
pub fn unix_seconds() -> i64 {
    i64::try_from(since_epoch().as_secs()).unwrap_or(i64::MAX)
}
