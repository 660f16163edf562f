//! Settings about compaction, under Kafka's names.

use std::time::Duration;

use super::{SettingsError, number, size};

/// How the broker compacts.
#[derive(Clone, Debug)]
pub(crate) struct CompactionSettings {
    /// When there was nothing to do, the next look is so much later.
    pub(crate) backoff: Duration,
    /// Memory for the keys of one compaction.
    pub(crate) key_memory_bytes: usize,
    /// No more is read and written together.
    pub(crate) bytes_per_second: u64,
}

impl Default for CompactionSettings {
    fn default() -> Self {
        Self {
            backoff: Duration::from_secs(15),
            key_memory_bytes: 32 * 1024 * 1024,
            bytes_per_second: 64 * 1024 * 1024,
        }
    }
}

impl CompactionSettings {
    /// Takes a setting; false when it is not one of these.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<bool, SettingsError> {
        match key {
            "log.cleaner.backoff.ms" => {
                self.backoff = Duration::from_millis(number(key, value, 10, 24 * 3_600_000)?);
            }
            "log.cleaner.dedupe.buffer.size" => {
                self.key_memory_bytes = size(number(key, value, 1024 * 1024, 1 << 34)?);
            }
            "log.cleaner.io.max.bytes.per.second" => {
                self.bytes_per_second = number(key, value, 64 * 1024, u64::MAX)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
