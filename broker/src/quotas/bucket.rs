//! A bucket of tokens, as Kafka has it for changes to topics: full at the start, and it may be overdrawn by one
//! change. Pure: the time comes from the caller.

use super::{rate::Windows, sensors::Sensor};

/// The tokens of one client. Between calls the time never goes back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bucket {
    /// Tokens, the limit that they grow by a second, and when they were counted; `None` is a full one.
    counted: Option<(f64, f64, u64)>,
}

impl Bucket {
    /// Tokens that are there; fewer than 0 are owed.
    pub(crate) fn tokens(&self, limit: f64, now_ms: u64, windows: Windows) -> f64 {
        let full = limit * windows.span_seconds();
        let Some((tokens, _, counted_ms)) = self.counted else { return full };
        let seconds = std::time::Duration::from_millis(now_ms.saturating_sub(counted_ms)).as_secs_f64();
        full.min(tokens + limit * seconds)
    }

    /// Takes tokens, also those that are not there.
    pub(crate) fn take(&mut self, tokens: f64, limit: f64, now_ms: u64, windows: Windows) {
        let left = self.tokens(limit, now_ms, windows) - tokens;
        self.counted = Some((left, limit, now_ms));
    }

    /// How long until nothing is owed.
    pub(crate) fn wait_ms(&self, limit: f64, now_ms: u64, windows: Windows) -> f64 {
        (-self.tokens(limit, now_ms, windows) * 1_000.0 / limit).round().max(0.0)
    }
}

impl Sensor for Bucket {
    fn is_as_new(&self, now_ms: u64, windows: Windows) -> bool {
        let full = |(_, limit, _): (f64, f64, u64)| {
            self.tokens(limit, now_ms, windows) >= limit * windows.span_seconds()
        };
        self.counted.is_none_or(full)
    }
}

#[cfg(test)]
mod tests;
