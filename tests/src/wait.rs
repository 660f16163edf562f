//! Waiting for something outside this process, always with a deadline.

use std::time::{Duration, Instant};

/// How long to rest between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks until `look` gives something; `None` when it did not within `limit`.
#[expect(clippy::disallowed_methods, reason = "scenarios watch real processes on the real clock")]
pub fn until<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if start.elapsed() > limit {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}
