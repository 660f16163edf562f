//! How often what an engine says is passed on: what is used at most every ten seconds, the rest at once. Pure. Engines of
//! ours keep to it themselves; the API server should not depend on it.

use super::Health;
use runtime::clock::Instant;
use std::time::Duration;

/// What is used is passed on no more often.
pub(super) const USED_PAUSE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pace {
    told: Option<(Health, Instant)>,
    waiting: Option<Health>,
}

impl Pace {
    /// It says so now. What it said before and still waits is no longer so. Returns what to pass on.
    pub(super) fn hear(&mut self, health: Health, now: Instant) -> Option<Health> {
        self.waiting = None;
        if let Some((told, at)) = self.told {
            if told == health {
                return None;
            }
            let only_used = Health { used_bytes: told.used_bytes, ..health } == told;
            if only_used && now < at + USED_PAUSE {
                self.waiting = Some(health);
                return None;
            }
        }
        self.told = Some((health, now));
        Some(health)
    }

    /// When something that waits is to be passed on.
    pub(super) fn due(&self) -> Option<Instant> {
        let (_, at) = self.told?;
        self.waiting.map(|_| at + USED_PAUSE)
    }

    /// It is due.
    pub(super) fn take(&mut self, now: Instant) -> Option<Health> {
        let health = self.waiting.take()?;
        self.told = Some((health, now));
        Some(health)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(used_bytes: u64) -> Health {
        Health { capacity_bytes: 100, used_bytes, disk_nearly_full: false, read_only_partitions: 0 }
    }

    /// Goal: the newest of what is used is passed on after the pause, all else at once, and what is no news not at all.
    #[test]
    fn only_what_is_used_waits() {
        let start = runtime::clock::now();
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let mut pace = Pace::default();
        assert_eq!(pace.hear(health(1), start), Some(health(1)));
        assert_eq!(pace.hear(health(2), after(1)), None);
        assert_eq!(pace.hear(health(3), after(2)), None);
        assert_eq!(pace.due(), Some(after(10)));
        assert_eq!((pace.take(after(10)), pace.due()), (Some(health(3)), None));
        assert_eq!((pace.hear(health(3), after(30)), pace.due()), (None, None));
        assert_eq!(pace.hear(health(4), after(31)), Some(health(4)));
        let full = Health { disk_nearly_full: true, ..health(5) };
        assert_eq!(pace.hear(full, after(32)), Some(full));
        assert_eq!(pace.hear(Health { used_bytes: 6, ..full }, after(33)), None);
        assert_eq!(pace.hear(full, after(34)), None);
        assert_eq!((pace.due(), pace.take(after(99))), (None, None), "it is as it was told");
    }
}
