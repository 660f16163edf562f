//! Growing, jittered pauses between tries.

use std::time::Duration;

/// Doubles from `first` to `most`; each pause is drawn from the upper half of its step, so that
/// many clients that failed together do not come back together.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    tries: u32,
}

impl Backoff {
    /// A back-off whose first pause is at most `first` and whose longest is at most `most`.
    #[must_use]
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, tries: 0 }
    }

    /// The next pause.
    pub fn next_pause(&mut self) -> Duration {
        self.next_pause_with(crate::random::fraction())
    }

    /// The next pause with the jitter given, `0.0..1.0`.
    pub fn next_pause_with(&mut self, fraction: f64) -> Duration {
        let step = self.first.saturating_mul(2_u32.saturating_pow(self.tries)).min(self.most);
        self.tries = self.tries.saturating_add(1);
        step.mul_f64(0.5 + fraction.clamp(0.0, 1.0) / 2.0)
    }

    /// How many pauses were taken since the last success.
    #[must_use]
    pub const fn tries(&self) -> u32 {
        self.tries
    }

    /// Starts again from the first pause: call it after a success.
    pub const fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: pauses grow to the limit and never past it, whatever the jitter.
    #[test]
    fn pauses_double_up_to_the_limit() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let pauses: Vec<_> = (0..6).map(|_| backoff.next_pause_with(1.0).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
        backoff.reset();
        assert_eq!(backoff.next_pause_with(0.0), Duration::from_millis(50));
        let mut long = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        for _ in 0..200 {
            assert!(long.next_pause() <= Duration::from_secs(30));
        }
    }
}
