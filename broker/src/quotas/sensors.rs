//! What is counted for each client, in bounded memory. A count that says nothing any more is forgotten: a new one
//! would say the same.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
};

use super::rate::Windows;

/// How often those that say nothing are looked for; more often when there is no room for another one.
const SWEEP_EVERY_MS: u64 = 60_000;
const SWEEP_FULL_EVERY_MS: u64 = 1_000;

/// Something that counts.
pub(crate) trait Sensor: Default {
    /// Whether a new one would say the same from now on.
    fn is_as_new(&self, now_ms: u64, windows: Windows) -> bool;
}

struct Known<K, S> {
    sensors: HashMap<K, S>,
    /// When those that say nothing were last looked for.
    swept_ms: u64,
}

/// Sensors by what they are for.
pub(crate) struct Sensors<K, S> {
    known: Mutex<Known<K, S>>,
    count_max: usize,
    windows: Windows,
}

impl<K: Eq + Hash, S: Sensor> Sensors<K, S> {
    pub(crate) fn new(count_max: usize, windows: Windows) -> Self {
        let known = Known { sensors: HashMap::new(), swept_ms: 0 };
        Self { known: Mutex::new(known), count_max, windows }
    }

    /// Does something with a sensor; `None` when there are too many that say something.
    pub(crate) fn with<T>(&self, key: K, now_ms: u64, work: impl FnOnce(&mut S, Windows) -> T) -> Option<T> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let lacks_room = known.sensors.len() >= self.count_max && !known.sensors.contains_key(&key);
        let every_ms = if lacks_room { SWEEP_FULL_EVERY_MS } else { SWEEP_EVERY_MS };
        if now_ms.saturating_sub(known.swept_ms) >= every_ms {
            known.swept_ms = now_ms;
            known.sensors.retain(|_, sensor| !sensor.is_as_new(now_ms, self.windows));
        }
        if lacks_room && known.sensors.len() >= self.count_max {
            return None;
        }
        Some(work(known.sensors.entry(key).or_default(), self.windows))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).sensors.len()
    }
}
