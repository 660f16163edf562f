//! The header page of a segment: format version, whose it is, how far it is synced, and what is in it once it is
//! sealed.
//!
//! Two slots are written in turn, each with a checksum and a sequence number, so that a torn write of one
//! leaves the other. A slot only ever states what a sync that has *returned* made durable. Each names the log
//! and the base offset, so that a file in the wrong place is told from one that is damaged.

use bytes::{Buf, BufMut};

/// Bytes before the first batch.
pub(crate) const PAGE_LENGTH: u64 = 4096;
/// Distance of the slots: never in one sector.
const SLOT_DISTANCE: u64 = 2048;
/// Bytes of a slot; less than a sector, so that it is written at once or not at all.
pub(crate) const SLOT_LENGTH: usize = 208;
/// Bytes of a slot before the log's mark.
const FIXED_LENGTH: usize = 84;
/// Bytes of a log's folder that are its mark: its end, where folders differ.
const MARK_LENGTH_MAX: usize = 120;
const MAGIC: &[u8; 4] = b"PLOG";
const VERSION: u8 = 3;
const SEALED: u8 = 1;
const SPARSE: u8 = 2;

/// What a slot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Grows with each write; picks the slot.
    pub(crate) sequence: u64,
    /// No more batches will come, and all of them are synced.
    pub(crate) sealed: bool,
    /// Offsets may be missing between batches. Otherwise each batch starts where the one before ended.
    pub(crate) sparse: bool,
    pub(crate) base_offset: i64,
    /// All bytes before this position are synced.
    pub(crate) synced_position: u64,
    /// The offset after the last record before `synced_position`.
    pub(crate) synced_offset: i64,
    /// The largest timestamp before `synced_position`.
    pub(crate) max_timestamp: i64,
    /// Base offset of the batch that has `max_timestamp`.
    pub(crate) max_timestamp_offset: i64,
    /// When it was sealed, milliseconds since 1970; when it was made, before that.
    pub(crate) stamped_ms: i64,
    /// Compaction has left one record of each key of what is below this offset.
    pub(crate) clean_offset: i64,
    /// When the first of what compaction keeps for its time, tombstones and markers, may go; `i64::MAX`: nothing.
    pub(crate) horizon_ms: i64,
    /// How often its batches were written anew. Tells its index from that of the file before.
    pub(crate) incarnation: u32,
}

/// What a header page says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// It is this log's, and how far it was synced.
    Own {
        header: Header,
        /// The other slot has bytes that are not a slot: what it said is lost, and may have been more.
        half: bool,
    },
    /// It is another segment's: of that log and base offset.
    Foreign(String, i64),
    /// Neither slot can be read.
    Unreadable,
}

fn mark(log: &str) -> &[u8] {
    let bytes = log.as_bytes();
    bytes.get(bytes.len().saturating_sub(MARK_LENGTH_MAX)..).unwrap_or(bytes)
}

impl Header {
    pub(crate) fn new(base_offset: i64, now_ms: i64) -> Self {
        Self {
            sequence: 0,
            sealed: false,
            sparse: false,
            base_offset,
            synced_position: PAGE_LENGTH,
            synced_offset: base_offset,
            max_timestamp: -1,
            max_timestamp_offset: -1,
            stamped_ms: now_ms,
            clean_offset: base_offset,
            horizon_ms: i64::MAX,
            incarnation: 0,
        }
    }

    /// Where it ends that was put in place of several; the files of the others may still be there.
    pub(crate) fn compacted_end(&self) -> Option<i64> {
        (self.sealed && self.sparse).then_some(self.synced_offset)
    }

    /// Where this slot belongs in the file.
    pub(crate) fn position(&self) -> u64 {
        (self.sequence % 2) * SLOT_DISTANCE
    }

    /// The slot of a segment of `log`, which is the log's folder.
    pub(crate) fn encode(&self, log: &str) -> [u8; SLOT_LENGTH] {
        let mark = mark(log);
        let mut bytes = Vec::with_capacity(SLOT_LENGTH);
        bytes.put_slice(MAGIC);
        bytes.put_u8(VERSION);
        bytes.put_u8((u8::from(self.sealed) * SEALED) | (u8::from(self.sparse) * SPARSE));
        bytes.put_u16(u16::try_from(mark.len()).unwrap_or_default());
        bytes.put_u64(self.sequence);
        bytes.put_i64(self.base_offset);
        bytes.put_u64(self.synced_position);
        bytes.put_i64(self.synced_offset);
        bytes.put_i64(self.max_timestamp);
        bytes.put_i64(self.max_timestamp_offset);
        bytes.put_i64(self.stamped_ms);
        bytes.put_i64(self.clean_offset);
        bytes.put_i64(self.horizon_ms);
        bytes.put_u32(self.incarnation);
        bytes.put_slice(mark);
        let checksum = crc32c::crc32c(&bytes);
        bytes.put_u32(checksum);
        let mut slot = [0; SLOT_LENGTH];
        slot[..bytes.len()].copy_from_slice(&bytes);
        slot
    }

    fn decode(slot: &[u8]) -> Option<(Self, &[u8])> {
        let mark_length: [u8; 2] = slot.get(6..8)?.try_into().ok()?;
        let whole = FIXED_LENGTH + usize::from(u16::from_be_bytes(mark_length));
        let (body, mut checksum) = (slot.get(..whole)?, slot.get(whole..whole + 4)?);
        let right = checksum.get_u32() == crc32c::crc32c(body);
        if !right || body.get(..4)? != MAGIC || body.get(4) != Some(&VERSION) {
            return None;
        }
        let flags = body.get(5).copied().unwrap_or_default();
        let (mut fixed, mark) = (body.get(8..FIXED_LENGTH)?, body.get(FIXED_LENGTH..)?);
        let header = Self {
            sealed: flags & SEALED != 0,
            sparse: flags & SPARSE != 0,
            sequence: fixed.get_u64(),
            base_offset: fixed.get_i64(),
            synced_position: fixed.get_u64(),
            synced_offset: fixed.get_i64(),
            max_timestamp: fixed.get_i64(),
            max_timestamp_offset: fixed.get_i64(),
            stamped_ms: fixed.get_i64(),
            clean_offset: fixed.get_i64(),
            horizon_ms: fixed.get_i64(),
            incarnation: fixed.get_u32(),
        };
        Some((header, mark))
    }
}

impl Page {
    /// Reads the page of a segment that should be the one of `log` at `base_offset`.
    pub(crate) fn read(page: &[u8], log: &str, base_offset: i64) -> Self {
        let second = usize::try_from(SLOT_DISTANCE).unwrap_or_default();
        let mut newest: Option<Header> = None;
        let mut half = false;
        for from in [0, second] {
            let Some(slot) = page.get(from..from + SLOT_LENGTH) else { continue };
            match Header::decode(slot) {
                Some((header, of)) if of == mark(log) && header.base_offset == base_offset => {
                    newest = newest.filter(|other| other.sequence > header.sequence).or(Some(header));
                }
                Some((header, of)) => {
                    return Self::Foreign(String::from_utf8_lossy(of).into_owned(), header.base_offset);
                }
                None => half |= slot.iter().any(|byte| *byte != 0),
            }
        }
        newest.map_or(Self::Unreadable, |header| Self::Own { header, half })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "topics/0/1";

    /// Goal: what was encoded is decoded, a torn newer slot leaves the older one and is told, and a page of
    /// another log or another segment is not taken for this one.
    #[test]
    fn torn_slot_leaves_the_other() {
        let older = Header { sequence: 4, synced_position: 9000, sparse: true, ..Header::new(70, 5) };
        let newer = Header { sequence: 5, synced_position: 9900, sealed: true, ..older };
        let mut page = vec![0; 4096];
        for header in [older, newer] {
            let at = usize::try_from(header.position()).unwrap();
            page[at..at + SLOT_LENGTH].copy_from_slice(&header.encode(LOG));
        }
        assert_eq!(Page::read(&page, LOG, 70), Page::Own { header: newer, half: false });
        assert_eq!(Page::read(&page, "topics/0/2", 70), Page::Foreign(LOG.to_owned(), 70));
        assert_eq!(Page::read(&page, LOG, 71), Page::Foreign(LOG.to_owned(), 70));
        page[2048 + 30] ^= 1;
        assert_eq!(Page::read(&page, LOG, 70), Page::Own { header: older, half: true });
        page[10] ^= 1;
        assert_eq!(Page::read(&page, LOG, 70), Page::Unreadable);
        assert_eq!(Page::read(&[], LOG, 70), Page::Unreadable);
    }

    /// Goal: the mark of a log with a long name is its end, and fits.
    #[test]
    fn long_names_fit() {
        let long = format!("{}/7", "x".repeat(500));
        let header = Header::new(1, 1);
        assert_eq!(Page::read(&header.encode(&long), &long, 1), Page::Own { header, half: false });
    }
}
