//! Sparse index of a segment: offset and time to byte position. Rebuildable from the batches alone.
//!
//! In memory for the segment that grows, in a file beside a sealed one. Entries are at least
//! [`INTERVAL`] bytes of batches apart.

use bytes::{Buf, BufMut};

/// Bytes of batches between two entries.
pub(crate) const INTERVAL: u64 = 16 * 1024;
const ENTRY_LENGTH: usize = 16;
const PREFIX: &[u8; 8] = b"PIDX\x01\0\0\0";

/// Says that the batch at `position` is the first at or after `base + offset_delta`, and that no batch
/// before it has a timestamp above `max_timestamp_before`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset_delta: u32,
    pub(crate) position: u32,
    pub(crate) max_timestamp_before: i64,
}

/// The entries of one segment, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    entries: Vec<Entry>,
}

impl Index {
    /// Adds the batch at `position` when it is far enough from the last entry.
    pub(crate) fn offer(&mut self, entry: Entry) {
        let due = self
            .entries
            .last()
            .is_none_or(|last| u64::from(entry.position) >= u64::from(last.position) + INTERVAL);
        if due {
            self.entries.push(entry);
        }
    }

    /// The position to start from when looking for `offset_delta`.
    pub(crate) fn before_offset(&self, offset_delta: u32) -> Option<u64> {
        let after = self.entries.partition_point(|entry| entry.offset_delta <= offset_delta);
        self.entries.get(after.checked_sub(1)?).map(|entry| u64::from(entry.position))
    }

    /// The position to start from when looking for the first batch with a timestamp of at least `time_ms`.
    pub(crate) fn before_time(&self, time_ms: i64) -> Option<u64> {
        let after = self.entries.partition_point(|entry| entry.max_timestamp_before < time_ms);
        self.entries.get(after.checked_sub(1)?).map(|entry| u64::from(entry.position))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PREFIX.len() + self.entries.len() * ENTRY_LENGTH + 4);
        bytes.put_slice(PREFIX);
        for entry in &self.entries {
            bytes.put_u32(entry.offset_delta);
            bytes.put_u32(entry.position);
            bytes.put_i64(entry.max_timestamp_before);
        }
        let checksum = crc32c::crc32c(&bytes);
        bytes.put_u32(checksum);
        bytes
    }

    /// Reads what [`encode`](Self::encode) wrote; `None` when it is anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, mut checksum) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        if checksum.get_u32() != crc32c::crc32c(body) {
            return None;
        }
        let entries = body.strip_prefix(PREFIX)?.chunks_exact(ENTRY_LENGTH).map(|mut bytes| Entry {
            offset_delta: bytes.get_u32(),
            position: bytes.get_u32(),
            max_timestamp_before: bytes.get_i64(),
        });
        Some(Self { entries: entries.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: entries are sparse, lookups land at or before what is wanted, the file form is exact.
    #[test]
    fn lookups_land_before() {
        let mut index = Index::default();
        for step in 0..100_u32 {
            let entry = Entry {
                offset_delta: step * 10,
                position: 4096 + step * 8192,
                max_timestamp_before: i64::from(step) * 100 - 1,
            };
            index.offer(entry);
        }
        assert_eq!(index.entries.len(), 50);
        assert_eq!(index.before_offset(0), Some(4096));
        assert_eq!(index.before_offset(25), Some(4096 + 2 * 8192));
        assert_eq!(index.before_time(100), Some(4096));
        assert_eq!(index.before_time(200), Some(4096 + 2 * 8192));
        let encoded = index.encode();
        assert_eq!(Index::decode(&encoded), Some(index));
        assert_eq!(Index::decode(&encoded[..encoded.len() - 1]), None);
    }
}
