//! Settings about quotas, under Kafka's names.

use super::{SettingsError, number, small};
use crate::quotas::Windows;

/// How quotas are counted, and the one that is not set for anybody.
#[derive(Clone, Debug)]
pub(crate) struct QuotaSettings {
    pub(crate) windows: Windows,
    /// The same for changes to topics.
    pub(crate) mutation_windows: Windows,
    /// New connections to the whole broker; `None` is without a limit.
    pub(crate) connections_per_second_max: Option<i32>,
}

impl Default for QuotaSettings {
    fn default() -> Self {
        let windows = Windows { count: 11, seconds: 1 };
        Self { windows, mutation_windows: windows, connections_per_second_max: None }
    }
}

impl QuotaSettings {
    /// Takes a setting; false when it is not one of these.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<bool, SettingsError> {
        let whole = |max: u64| number(key, value, 1, max).map(small);
        match key {
            "quota.window.num" => self.windows.count = whole(1_000)?.unsigned_abs(),
            "quota.window.size.seconds" => self.windows.seconds = whole(3_600)?.unsigned_abs(),
            "controller.quota.window.num" => self.mutation_windows.count = whole(1_000)?.unsigned_abs(),
            "controller.quota.window.size.seconds" => {
                self.mutation_windows.seconds = whole(3_600)?.unsigned_abs();
            }
            "max.connection.creation.rate" => {
                let rate = whole(u64::from(i32::MAX.unsigned_abs()))?;
                self.connections_per_second_max = Some(rate).filter(|rate| *rate < i32::MAX);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
