//! Letting go of old records of a partition, by age, by size and on request.

use record_log::Log;
use runtime::clock;

use super::{Partition, Refusal, State};

impl Partition {
    /// Lets go of what the topic's config does not keep, and of producers that are long quiet.
    pub(crate) fn expire(&self) {
        let now_ms = clock::unix_ms();
        let mut state = self.lock();
        let State { log: Some(log), producers, config, due, .. } = &mut *state else { return };
        if log.read_only_reason().is_some() {
            return;
        }
        producers.expire(now_ms.saturating_sub(self.ground.producer_expiration_ms));
        let before = log.size();
        let outcome = if log.is_expired(config.retention, now_ms) || log.wants_roll(0, now_ms) {
            self.roll(log, (producers, due), now_ms)
        } else {
            Ok(())
        };
        let expired = log.expire(config.retention, now_ms).map_err(|error| self.refused(error));
        self.shrunk(log, before);
        producers.transactions.forget_before(log.start_offset());
        match outcome.and(expired) {
            Ok(0) => {}
            Ok(segments) => {
                tracing::info!(topic = %self.topic, partition = self.index, segments, "let go of old segments");
            }
            Err(refusal) => {
                let reason = refusal.message.unwrap_or_default();
                tracing::warn!(topic = %self.topic, partition = self.index, reason, "cannot let go of old segments");
            }
        }
    }

    /// Deletes the records before `offset`; -1 is all. Says where the partition starts now.
    pub(crate) fn delete_before(&self, offset: i64) -> Result<i64, Refusal> {
        let mut state = self.lock();
        let keeps = !state.config.deletes;
        let log = self.open(&mut state)?;
        if keeps && log.read_only_reason().is_none() {
            let text = "the topic's cleanup.policy is compact alone: add delete to it, or write tombstones";
            return Err(Refusal::new(kafka_wire::ErrorCode::PolicyViolation, text));
        }
        let end = log.synced_offset();
        let offset = if offset == -1 { end } else { offset };
        if offset < 0 || offset > end {
            return Err(kafka_wire::ErrorCode::OffsetOutOfRange.into());
        }
        let before = log.size();
        let damaged = log.read_only_reason().is_some();
        let start = log.delete_before(offset, clock::unix_ms()).map_err(|error| self.refused(error));
        self.shrunk(log, before);
        let start = start?;
        let healed = damaged && log.read_only_reason().is_none();
        if healed {
            self.ground.metrics.read_only_partitions.dec();
            state.producers.transactions.nothing_lost();
            self.may_compact(&mut state);
            tracing::info!(topic = %self.topic, partition = self.index, start, "the damage was deleted: takes writes again");
        }
        state.producers.transactions.forget_before(start);
        Ok(start)
    }

    pub(super) fn shrunk(&self, log: &Log<crate::disk::DiskStorage>, before: u64) {
        let gone = before.saturating_sub(log.size());
        self.metrics.log_size.sub(i64::try_from(gone).unwrap_or(0));
    }
}
