//! A connection that has to wait: nothing of it is read, and nothing begun, until its time is over.
//!
//! An answer is sent at once and says for how long; clients that do not keep to it find nobody at the other end.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use runtime::clock::{self, Instant};

/// Until when one connection waits.
pub(crate) struct Mute {
    made: Instant,
    /// In milliseconds since it was made; 0 is not at all.
    reading_until_ms: AtomicU64,
    beginning_until_ms: AtomicU64,
    /// Nobody is muted for longer at a time: who is gone meanwhile is noticed only afterwards.
    longest: Duration,
}

impl Mute {
    pub(crate) fn new(longest: Duration) -> Self {
        let (reading_until_ms, beginning_until_ms) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { made: clock::now(), reading_until_ms, beginning_until_ms, longest }
    }

    /// No request is read for so long.
    pub(crate) fn stop_reading(&self, wait: Duration) {
        self.reading_until_ms.fetch_max(self.after_ms(wait), Ordering::Relaxed);
    }

    /// No request is read, and none that was read is begun, for so long.
    pub(crate) fn stop(&self, wait: Duration) {
        self.stop_reading(wait);
        self.beginning_until_ms.fetch_max(self.after_ms(wait), Ordering::Relaxed);
    }

    fn after_ms(&self, wait: Duration) -> u64 {
        let after = self.made.elapsed().saturating_add(wait.min(self.longest));
        // One more than the whole ones: never too early.
        u64::try_from(after.as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// When the next request may be read; `None` at once.
    pub(crate) fn reading_until(&self) -> Option<Instant> {
        self.until(&self.reading_until_ms)
    }

    /// When the next request that was read may be begun; `None` at once.
    pub(crate) fn beginning_until(&self) -> Option<Instant> {
        self.until(&self.beginning_until_ms)
    }

    fn until(&self, until_ms: &AtomicU64) -> Option<Instant> {
        let until_ms = until_ms.load(Ordering::Relaxed);
        if until_ms == 0 {
            return None;
        }
        let until = self.made.checked_add(Duration::from_millis(until_ms))?;
        Some(until).filter(|until| *until > clock::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a mute holds until its time is over and no longer, a shorter one does not shorten it, and none holds
    /// for longer than one may.
    #[tokio::test(start_paused = true)]
    async fn a_mute_ends() {
        let mute = Mute::new(Duration::from_secs(10));
        assert!(mute.reading_until().is_none() && mute.beginning_until().is_none());
        mute.stop_reading(Duration::from_secs(3));
        mute.stop_reading(Duration::from_secs(1));
        assert!(mute.beginning_until().is_none());
        let until = mute.reading_until().unwrap();
        assert!(until >= clock::now() + Duration::from_secs(3));
        tokio::time::sleep_until(until).await;
        assert!(mute.reading_until().is_none());
        mute.stop(Duration::from_secs(1_000));
        let until = mute.beginning_until().unwrap();
        assert_eq!(mute.reading_until(), Some(until));
        assert!(until <= clock::now() + Duration::from_secs(11));
        tokio::time::sleep_until(until).await;
        assert!(mute.beginning_until().is_none());
    }
}
