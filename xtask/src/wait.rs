//! Waiting with a deadline. The one place in xtask that reads the clock and sleeps; it decides
//! nothing about what is waited for.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

/// How long to rest between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(100);
/// The same where the wait itself is measured.
const SHORT_PAUSE: Duration = Duration::from_millis(1);

/// Measures how long a step took.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts measuring.
    #[expect(clippy::disallowed_methods, reason = "the one place in xtask that reads the clock")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Wall-clock time in milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the one place in xtask that reads the clock")]
pub(crate) fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Looks until `look` finds something, fails, or `limit` has passed; `what` completes the
/// sentence "gave up waiting for …".
pub(crate) fn until<T>(what: &str, limit: Duration, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    look_again_after(PAUSE, what, limit, look)
}

/// As [`until`], but looks every millisecond: for things whose time is measured.
pub(crate) fn closely<T>(what: &str, limit: Duration, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    look_again_after(SHORT_PAUSE, what, limit, look)
}

fn look_again_after<T>(
    pause: Duration,
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let clock = Stopwatch::start();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if clock.elapsed() > limit {
            bail!("gave up waiting for {what} after {} s", limit.as_secs());
        }
        rest(pause);
    }
}

/// Blocks this thread; xtask has no runtime whose threads could starve.
#[expect(clippy::disallowed_methods, reason = "xtask is a plain program without a runtime")]
pub(crate) fn rest(pause: Duration) {
    std::thread::sleep(pause);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a wait ends with what was found, with the error of the look, or by its deadline,
    /// and the message names what was waited for.
    #[test]
    fn a_wait_ends_in_one_of_three_ways() {
        let mut looks = 0;
        let found = until("the third look", Duration::from_secs(60), || {
            looks += 1;
            Ok((looks == 3).then_some(looks))
        });
        assert_eq!(found.unwrap(), 3);

        let failed = until::<()>("nothing", Duration::from_secs(60), || bail!("the look failed"));
        assert_eq!(failed.unwrap_err().to_string(), "the look failed");

        let late = until::<()>("a thing that never comes", Duration::ZERO, || Ok(None));
        assert!(late.unwrap_err().to_string().contains("a thing that never comes"));
    }
}
