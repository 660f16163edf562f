//! A rate over windows, counted as Kafka counts it. Pure: the time comes from the caller.

use std::collections::VecDeque;

use super::sensors::Sensor;

/// How much of the past counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Windows {
    /// At least 1.
    pub(crate) count: u32,
    pub(crate) seconds: u32,
}

impl Windows {
    fn length_ms(self) -> u64 {
        u64::from(self.seconds) * 1_000
    }

    /// What is older than this is forgotten.
    pub(crate) fn span_ms(self) -> u64 {
        u64::from(self.count) * self.length_ms()
    }

    /// Seconds of all windows but the one that is being filled.
    pub(crate) fn full_seconds(self) -> f64 {
        f64::from(self.count.saturating_sub(1)) * f64::from(self.seconds)
    }

    pub(crate) fn span_seconds(self) -> f64 {
        f64::from(self.count) * f64::from(self.seconds)
    }
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began_ms: u64,
    last_ms: u64,
    sum: f64,
}

/// What was counted. Between calls the time never goes back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rate {
    windows: VecDeque<Window>,
}

impl Rate {
    /// Counts `value`.
    pub(crate) fn record(&mut self, value: f64, now_ms: u64, windows: Windows) {
        self.forget(now_ms, windows);
        match self.windows.back_mut() {
            Some(window) if now_ms.saturating_sub(window.began_ms) < windows.length_ms() => {
                window.sum += value;
                window.last_ms = now_ms;
            }
            _ => self.windows.push_back(Window { began_ms: now_ms, last_ms: now_ms, sum: value }),
        }
    }

    /// How long to wait once `more` is counted, so that it is `limit` a second again; 0 while it is not more.
    pub(crate) fn wait_ms(&mut self, more: f64, limit: f64, now_ms: u64, windows: Windows) -> f64 {
        self.forget(now_ms, windows);
        let sum = more + self.windows.iter().map(|window| window.sum).sum::<f64>();
        let elapsed_ms = self.elapsed_ms(now_ms, windows);
        let rate = sum * 1_000.0 / elapsed_ms;
        if rate > limit { ((rate - limit) / limit * elapsed_ms).round() } else { 0.0 }
    }

    /// Whether nothing is remembered that counts.
    pub(crate) fn is_empty(&mut self, now_ms: u64, windows: Windows) -> bool {
        self.forget(now_ms, windows);
        self.windows.is_empty()
    }

    fn forget(&mut self, now_ms: u64, windows: Windows) {
        let old = |window: &Window| window.last_ms.saturating_add(windows.span_ms()) <= now_ms;
        while self.windows.front().is_some_and(old) {
            self.windows.pop_front();
        }
    }

    /// The time that the sum is spread over: never less than all windows but one, so that the first requests of a
    /// client are no violation.
    fn elapsed_ms(&self, now_ms: u64, windows: Windows) -> f64 {
        let length_ms = windows.length_ms();
        let elapsed_ms = self.windows.front().map_or(0, |oldest| now_ms.saturating_sub(oldest.began_ms));
        let full = elapsed_ms.checked_div(length_ms).unwrap_or(0);
        let missing = u64::from(windows.count.saturating_sub(1)).saturating_sub(full);
        let elapsed = elapsed_ms.saturating_add(missing.saturating_mul(length_ms)).max(1);
        std::time::Duration::from_millis(elapsed).as_secs_f64() * 1_000.0
    }
}

impl Sensor for Rate {
    fn is_as_new(&self, now_ms: u64, windows: Windows) -> bool {
        self.windows.back().is_none_or(|last| last.last_ms.saturating_add(windows.span_ms()) <= now_ms)
    }
}

#[cfg(test)]
mod tests;
