//! Whether a log is worth compacting now.

use std::io;

use super::Sealed;
use crate::{
    batch::{self, HEADER_BYTES},
    header::PAGE_LENGTH,
    log::Log,
    storage::{File, Storage},
};

/// What a topic asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Policy {
    /// The log is compacted when a larger part of it than this is not.
    pub dirty_ratio_min: f64,
    /// A record that is younger than this is not compacted.
    pub lag_ms_min: i64,
    /// A record that is older than this is compacted, however small the dirty part is; `i64::MAX`: no matter how old.
    pub lag_ms_max: i64,
    /// For so long tombstones, and markers of transactions without records, stay after they were compacted first.
    pub delete_retention_ms: i64,
}

/// How much there is to compact.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Worth {
    /// Bytes that can be compacted and were not.
    pub dirty_bytes: u64,
    /// That part of all that can be compacted, or was.
    pub dirty_ratio: f64,
    /// It is time, whatever the ratio.
    pub is_late: bool,
}

impl Worth {
    /// Whether to compact.
    #[must_use]
    pub fn is_due(&self, policy: &Policy) -> bool {
        self.is_late || (self.dirty_bytes > 0 && self.dirty_ratio > policy.dirty_ratio_min)
    }
}

impl<S: Storage> Log<S> {
    /// The sealed segments from the first on that may be compacted.
    pub(super) fn compactable(
        &self,
        stable_offset: i64,
        policy: &Policy,
        now_ms: i64,
    ) -> Vec<Sealed<S::File>> {
        let youngest_ms = now_ms.saturating_sub(policy.lag_ms_min.max(0));
        let sealed = self.segments.iter().take(self.segments.len().saturating_sub(1));
        let fit = sealed.take_while(|segment| {
            // A time in the future does not keep a segment for longer than one from now.
            let newest_ms = segment.max_timestamp.min(segment.header.stamped_ms);
            let old = policy.lag_ms_min <= 0 || newest_ms <= youngest_ms;
            segment.header.sealed && segment.end_offset <= stable_offset && (old || is_clean(&segment.header))
        });
        fit.map(|segment| Sealed { file: segment.file.clone(), header: segment.header }).collect()
    }

    /// How much there is to compact below `stable_offset`.
    ///
    /// # Errors
    /// A segment cannot be read.
    pub fn compaction_worth(&self, stable_offset: i64, policy: &Policy, now_ms: i64) -> io::Result<Worth> {
        if self.read_only.is_some() {
            return Ok(Worth::default());
        }
        let all = self.compactable(stable_offset, policy, now_ms);
        let clean = all.iter().take_while(|segment| is_clean(&segment.header)).count();
        let size = |segments: &[Sealed<S::File>]| segments.iter().map(Sealed::size).sum::<u64>();
        let (clean, dirty) = all.split_at(clean);
        let dirty_bytes = size(dirty);
        let horizon_ms = clean.iter().map(|segment| segment.header.horizon_ms).min();
        let mut is_late = horizon_ms.is_some_and(|horizon_ms| horizon_ms <= now_ms);
        if let Some(oldest) = dirty.first().filter(|_| policy.lag_ms_max < i64::MAX) {
            let old_ms = first_time(oldest)?.min(oldest.header.stamped_ms);
            is_late |= now_ms.saturating_sub(old_ms) > policy.lag_ms_max;
        }
        let whole = dirty_bytes.saturating_add(size(clean));
        Ok(Worth { dirty_bytes, dirty_ratio: ratio(dirty_bytes, whole), is_late })
    }
}

fn is_clean(header: &crate::header::Header) -> bool {
    header.clean_offset >= header.synced_offset
}

/// The largest timestamp of a segment's first batch.
fn first_time<F: File>(segment: &Sealed<F>) -> io::Result<i64> {
    let mut bytes = [0; HEADER_BYTES];
    let read = segment.file.read_at(PAGE_LENGTH, &mut bytes)?;
    // What cannot be read is told by the compaction.
    Ok(bytes.get(..read).and_then(batch::header).map_or(i64::MIN, |header| header.max_timestamp_ms))
}

/// Sizes of logs are far below what a float cannot tell apart.
#[expect(clippy::cast_precision_loss, reason = "a ratio of sizes")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}
