//! Settings about consumer groups of the new protocol, and between which bounds a group may have its own.

use super::{SettingsError, number, size, small};

/// A number of milliseconds that a group may set for itself within bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounded {
    /// For groups without their own.
    pub(crate) ms: i32,
    pub(crate) ms_min: i32,
    pub(crate) ms_max: i32,
}

/// What holds for consumer groups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConsumerGroupSettings {
    /// A member that is silent for so long is out.
    pub(crate) session: Bounded,
    /// How often a member should say something.
    pub(crate) heartbeat: Bounded,
    /// Members of one group.
    pub(crate) size_max: usize,
}

impl Default for ConsumerGroupSettings {
    fn default() -> Self {
        Self {
            session: Bounded { ms: 45_000, ms_min: 45_000, ms_max: 60_000 },
            heartbeat: Bounded { ms: 5_000, ms_min: 5_000, ms_max: 15_000 },
            size_max: 1_000,
        }
    }
}

impl ConsumerGroupSettings {
    /// Takes a setting; false when it is not one of these.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<bool, SettingsError> {
        let day_ms = 24 * 3_600_000;
        let whole = |max: u64| number(key, value, 1, max);
        let slot = match key {
            "group.consumer.session.timeout.ms" => &mut self.session.ms,
            "group.consumer.min.session.timeout.ms" => &mut self.session.ms_min,
            "group.consumer.max.session.timeout.ms" => &mut self.session.ms_max,
            "group.consumer.heartbeat.interval.ms" => &mut self.heartbeat.ms,
            "group.consumer.min.heartbeat.interval.ms" => &mut self.heartbeat.ms_min,
            "group.consumer.max.heartbeat.interval.ms" => &mut self.heartbeat.ms_max,
            "group.consumer.max.size" => {
                self.size_max = size(whole(100_000)?);
                return Ok(true);
            }
            _ => return Ok(false),
        };
        *slot = small(whole(day_ms)?);
        Ok(true)
    }

    /// What cannot go together.
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        for (name, bounded) in [("session.timeout", self.session), ("heartbeat.interval", self.heartbeat)] {
            let Bounded { ms, ms_min, ms_max } = bounded;
            if !(ms_min..=ms_max).contains(&ms) {
                return Err(SettingsError::Value {
                    key: format!("group.consumer.{name}.ms"),
                    value: ms.to_string(),
                    reason: format!(
                        "it must be from {ms_min} to {ms_max}, which group.consumer.min.{name}.ms and \
                         group.consumer.max.{name}.ms say"
                    ),
                });
            }
        }
        if self.heartbeat.ms >= self.session.ms {
            return Err(SettingsError::Value {
                key: "group.consumer.heartbeat.interval.ms".to_owned(),
                value: self.heartbeat.ms.to_string(),
                reason: "it must be less than group.consumer.session.timeout.ms".to_owned(),
            });
        }
        Ok(())
    }
}
