//! The header page of a segment: format version, how far it is synced, and what is in it once it is sealed.
//!
//! Two slots are written in turn, each with a checksum and a sequence number, so that a torn write of one
//! leaves the other. A slot only ever states what a sync that has *returned* made durable.

use bytes::{Buf, BufMut};

/// Bytes before the first batch.
pub(crate) const PAGE_LENGTH: u64 = 4096;
/// Distance of the slots: never in one sector.
const SLOT_DISTANCE: u64 = 2048;
/// Bytes of a slot.
pub(crate) const SLOT_LENGTH: usize = 80;
const MAGIC: &[u8; 4] = b"PLOG";
const VERSION: u8 = 1;

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Grows with each write; picks the slot.
    pub(crate) sequence: u64,
    /// No more batches will come, and all of them are synced.
    pub(crate) sealed: bool,
    pub(crate) base_offset: i64,
    /// All bytes before this position are synced.
    pub(crate) synced_position: u64,
    /// The offset after the last record before `synced_position`.
    pub(crate) synced_offset: i64,
    pub(crate) max_timestamp: i64,
    /// Base offset of the batch that has `max_timestamp`.
    pub(crate) max_timestamp_offset: i64,
    /// When it was sealed, milliseconds since 1970; when it was made, before that.
    pub(crate) stamped_ms: i64,
}

impl Header {
    pub(crate) fn new(base_offset: i64, now_ms: i64) -> Self {
        Self {
            sequence: 0,
            sealed: false,
            base_offset,
            synced_position: PAGE_LENGTH,
            synced_offset: base_offset,
            max_timestamp: -1,
            max_timestamp_offset: -1,
            stamped_ms: now_ms,
        }
    }

    /// Where this slot belongs in the file.
    pub(crate) fn position(&self) -> u64 {
        (self.sequence % 2) * SLOT_DISTANCE
    }

    pub(crate) fn encode(&self) -> [u8; SLOT_LENGTH] {
        let mut bytes = Vec::with_capacity(SLOT_LENGTH);
        bytes.put_slice(MAGIC);
        bytes.put_u8(VERSION);
        bytes.put_u8(u8::from(self.sealed));
        bytes.put_u16(0);
        bytes.put_u64(self.sequence);
        bytes.put_i64(self.base_offset);
        bytes.put_u64(self.synced_position);
        bytes.put_i64(self.synced_offset);
        bytes.put_i64(self.max_timestamp);
        bytes.put_i64(self.max_timestamp_offset);
        bytes.put_i64(self.stamped_ms);
        let checksum = crc32c::crc32c(&bytes);
        bytes.put_u32(checksum);
        let mut slot = [0; SLOT_LENGTH];
        slot[..bytes.len()].copy_from_slice(&bytes);
        slot
    }

    fn decode(mut slot: &[u8]) -> Option<Self> {
        let checksum = crc32c::crc32c(slot.get(..64)?);
        let mut stored = slot.get(64..68)?;
        if stored.get_u32() != checksum || slot.get(..4)? != MAGIC || slot.get(4) != Some(&VERSION) {
            return None;
        }
        let sealed = slot.get(5) == Some(&1);
        slot.advance(8);
        Some(Self {
            sequence: slot.get_u64(),
            sealed,
            base_offset: slot.get_i64(),
            synced_position: slot.get_u64(),
            synced_offset: slot.get_i64(),
            max_timestamp: slot.get_i64(),
            max_timestamp_offset: slot.get_i64(),
            stamped_ms: slot.get_i64(),
        })
    }

    /// The newest readable slot of a page; `None` when none is.
    pub(crate) fn newest(page: &[u8]) -> Option<Self> {
        let second = usize::try_from(SLOT_DISTANCE).ok()?;
        let slots = [page.get(..SLOT_LENGTH), page.get(second..second + SLOT_LENGTH)];
        slots.into_iter().flatten().filter_map(Self::decode).max_by_key(|header| header.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: what was encoded is decoded, and a torn newer slot leaves the older one.
    #[test]
    fn torn_slot_leaves_the_other() {
        let older = Header { sequence: 4, synced_position: 9000, ..Header::new(70, 5) };
        let newer = Header { sequence: 5, synced_position: 9900, sealed: true, ..older };
        let mut page = vec![0; 4096];
        for header in [older, newer] {
            let at = usize::try_from(header.position()).unwrap();
            page[at..at + SLOT_LENGTH].copy_from_slice(&header.encode());
        }
        assert_eq!(Header::newest(&page), Some(newer));
        page[2048 + 30] ^= 1;
        assert_eq!(Header::newest(&page), Some(older));
        page[10] ^= 1;
        assert_eq!(Header::newest(&page), None);
    }
}
