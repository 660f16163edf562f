//! Where the records of a leader epoch end. Each run of the broker is an epoch, and every batch says its own, so
//! the history is in the log itself: epochs only grow along it, and a search by halves finds a border.

use record_log::batch::{self, BatchHeader};

use super::{Partition, Refusal, read::Isolation};

/// Looks at a log of any length end before; a search that does not is no search by halves.
const LOOKS_MAX: usize = 128;

impl Partition {
    /// The largest epoch up to `epoch` that has records, and the offset after the last of them.
    pub(crate) fn end_of_epoch(&self, epoch: i32) -> Result<(i32, i64), Refusal> {
        let bounds = self.bounds();
        if epoch >= self.ground.leader_epoch {
            return Ok((epoch, bounds.high_watermark));
        }
        // All before `low` is of `epoch` or older, all from `high` on is newer.
        let (mut low, mut high) = (bounds.start, bounds.high_watermark);
        let mut newest = None;
        for _ in 0..LOOKS_MAX {
            if low >= high {
                break;
            }
            let middle = low + (high - low) / 2;
            let Some(met) = self.batch_at(middle)? else { break };
            if met.partition_leader_epoch > epoch {
                // The hole before a batch belongs to nobody.
                high = middle.min(met.base_offset);
            } else {
                newest = newest.max(Some(met.partition_leader_epoch));
                low = met.next_offset();
            }
        }
        // The end of an epoch is where the next one starts.
        let end = self.batch_at(high)?.map_or(high, |next| next.base_offset.max(high));
        Ok((newest.unwrap_or(epoch), if high >= bounds.high_watermark { bounds.high_watermark } else { end }))
    }

    /// The header of the batch with this offset, or of the next one.
    pub(super) fn batch_at(&self, offset: i64) -> Result<Option<BatchHeader>, Refusal> {
        let fetched = self.look(offset, 1, Isolation::Uncommitted).map_err(|(refusal, _)| refusal)?;
        Ok(batch::header(&fetched.bytes))
    }
}
