//! What omitted fields of a Subscription mean. The schema carries the same values.

use super::Retry;
use crate::duration::Duration;

fn time(text: &str) -> Duration {
    text.parse().expect("a constant that is a time")
}

pub(super) fn timeout() -> Duration {
    time("15s")
}

pub(super) fn schedule() -> Vec<Duration> {
    ["5s", "5m", "30m", "2h", "5h", "10h"].map(time).to_vec()
}

pub(super) fn jitter() -> String {
    "20%".to_owned()
}

impl Default for Retry {
    fn default() -> Self {
        Self { schedule: schedule(), jitter: jitter() }
    }
}
