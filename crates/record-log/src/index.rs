//! Sparse index of a segment: offset and time to byte position. Rebuildable from the batches alone.
//!
//! Its file beside the segment grows by one chunk now and then, never synced: what a crash loses, or somebody
//! swaps, is walked again, and so is a segment whose batches were written anew since. Nothing is believed of it that the batches do not confirm. Entries are at least
//! [`INTERVAL`] bytes of batches apart.

use bytes::{Buf, BufMut};

use crate::header::PAGE_LENGTH;

/// Bytes of batches between two entries.
pub(crate) const INTERVAL: u64 = 16 * 1024;
const ENTRY_LENGTH: usize = 16;
const MAGIC: &[u8; 8] = b"PIDX\x02\0\0\0";
/// Magic, base offset, the mark of what it is of, count.
const CHUNK_HEAD: usize = 24;

/// Says that the batch at `position` is the first at or after `base + offset_delta`, and that no batch
/// before it has a timestamp above `max_timestamp_before`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) offset_delta: u32,
    pub(crate) position: u32,
    pub(crate) max_timestamp_before: i64,
}

/// The entries of one segment, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Index {
    entries: Vec<Entry>,
    /// All batches from here on have been offered.
    pub(crate) floor: u64,
    /// So many of the entries are in the file, and end there.
    saved: usize,
    file_length: u64,
}

impl Index {
    /// An index that is to be offered all batches from `floor` on.
    pub(crate) fn new(floor: u64) -> Self {
        Self { entries: Vec::new(), floor, saved: 0, file_length: 0 }
    }

    /// What the file says of the segment at `base` with this [`mark`], as far as it can be believed; `end` is where
    /// the segment's batches end.
    pub(crate) fn from_file(bytes: &[u8], mark: u32, base: i64, end: u64) -> Self {
        let mut index = Self::new(PAGE_LENGTH);
        let mut rest = bytes;
        while let Some((entries, length)) = decode(rest, mark, base) {
            let last = index.entries.last().map_or(0, |last| last.position);
            let inside = |entry: &Entry| entry.position > last && u64::from(entry.position) < end;
            if !entries.first().is_some_and(inside) || !entries.iter().all(inside) {
                break;
            }
            index.entries.extend(entries);
            rest = rest.get(length..).unwrap_or_default();
        }
        index.saved = index.entries.len();
        index.file_length = u64::try_from(bytes.len() - rest.len()).unwrap_or(u64::MAX);
        index
    }

    pub(crate) fn last(&self) -> Option<Entry> {
        self.entries.last().copied()
    }

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

    /// Adds what another index has, which starts where this one ends.
    pub(crate) fn append(&mut self, next: &Self) {
        next.entries.iter().for_each(|entry| self.offer(*entry));
    }

    /// The entry to start from when looking for `offset_delta`.
    pub(crate) fn before_offset(&self, offset_delta: u32) -> Option<Entry> {
        let after = self.entries.partition_point(|entry| entry.offset_delta <= offset_delta);
        self.entries.get(after.checked_sub(1)?).copied()
    }

    /// The entry to start from when looking for the first batch with a timestamp of at least `time_ms`.
    pub(crate) fn before_time(&self, time_ms: i64) -> Option<Entry> {
        let after = self.entries.partition_point(|entry| entry.max_timestamp_before < time_ms);
        self.entries.get(after.checked_sub(1)?).copied()
    }

    /// The next chunk of the file: entries before `synced` that are not in it, and where it goes.
    pub(crate) fn unsaved(&self, mark: u32, base: i64, synced: u64) -> Option<(u64, Vec<u8>, usize)> {
        let new = self.entries.get(self.saved..).unwrap_or_default();
        let count = new.iter().take_while(|entry| u64::from(entry.position) < synced).count();
        let new = new.get(..count).filter(|new| !new.is_empty())?;
        Some((self.file_length, encode(new, mark, base), self.saved + count))
    }

    /// Takes note that a chunk was written.
    pub(crate) fn saved(&mut self, length: u64, count: usize) {
        self.file_length = length;
        self.saved = count;
    }
}

/// What an index says that it is of: a log, and which of the files that a segment has had.
pub(crate) fn mark(log: &str, incarnation: u32) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(log.as_bytes()), &incarnation.to_be_bytes())
}

fn encode(entries: &[Entry], mark: u32, base: i64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(CHUNK_HEAD + entries.len() * ENTRY_LENGTH + 4);
    bytes.put_slice(MAGIC);
    bytes.put_i64(base);
    bytes.put_u32(mark);
    bytes.put_u32(u32::try_from(entries.len()).unwrap_or(u32::MAX));
    for entry in entries {
        bytes.put_u32(entry.offset_delta);
        bytes.put_u32(entry.position);
        bytes.put_i64(entry.max_timestamp_before);
    }
    let checksum = crc32c::crc32c(&bytes);
    bytes.put_u32(checksum);
    bytes
}

/// Reads the first chunk and says how long it is; `None` when it is anything else than one of this segment.
fn decode(bytes: &[u8], mark: u32, base: i64) -> Option<(Vec<Entry>, usize)> {
    let mut head = bytes.strip_prefix(MAGIC)?.get(..CHUNK_HEAD - MAGIC.len())?;
    let own = head.get_i64() == base && head.get_u32() == mark;
    let count = usize::try_from(head.get_u32()).ok().filter(|_| own)?;
    let body_length = count.checked_mul(ENTRY_LENGTH)?.checked_add(CHUNK_HEAD)?;
    let body = bytes.get(..body_length)?;
    let mut checksum = bytes.get(body_length..body_length.checked_add(4)?)?;
    if checksum.get_u32() != crc32c::crc32c(body) {
        return None;
    }
    let entries = body.get(CHUNK_HEAD..)?.chunks_exact(ENTRY_LENGTH).map(|mut bytes| Entry {
        offset_delta: bytes.get_u32(),
        position: bytes.get_u32(),
        max_timestamp_before: bytes.get_i64(),
    });
    Some((entries.collect(), body_length + 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "topics/0/1";

    fn own() -> u32 {
        mark(LOG, 0)
    }

    fn entry(step: u32) -> Entry {
        Entry {
            offset_delta: step * 10,
            position: 4096 + step * 8192,
            max_timestamp_before: i64::from(step) * 100 - 1,
        }
    }

    /// Goal: entries are sparse, lookups land at or before what is wanted.
    #[test]
    fn lookups_land_before() {
        let mut index = Index::new(4096);
        (0..100).for_each(|step| index.offer(entry(step)));
        assert_eq!(index.entries.len(), 50);
        assert_eq!(index.before_offset(0), Some(entry(0)));
        assert_eq!(index.before_offset(25), Some(entry(2)));
        assert_eq!(index.before_time(100), Some(entry(0)));
        assert_eq!(index.before_time(200), Some(entry(2)));
    }

    /// Goal: a file of several chunks comes back whole; a torn end, a flipped bit, another log's file or one that
    /// says more than the segment has are believed up to there and no further.
    #[test]
    fn a_file_is_believed_as_far_as_it_is_right() {
        let mut index = Index::new(4096);
        let mut file = Vec::new();
        for chunk in 0..3 {
            (chunk * 10..chunk * 10 + 10).for_each(|step| index.offer(entry(step * 2)));
            let (at, bytes, count) = index.unsaved(own(), 7, u64::MAX).unwrap();
            assert_eq!(at, file.len() as u64);
            file.extend(bytes);
            index.saved(file.len() as u64, count);
        }
        assert_eq!(index.unsaved(own(), 7, u64::MAX), None);
        assert_eq!(Index::from_file(&file, own(), 7, u64::MAX), index);
        let torn = Index::from_file(&file[..file.len() - 1], own(), 7, u64::MAX);
        assert_eq!((torn.entries.len(), torn.saved), (20, 20));
        let mut flipped = file.clone();
        flipped[30] ^= 1;
        assert_eq!(Index::from_file(&flipped, own(), 7, u64::MAX), Index::new(4096));
        assert_eq!(Index::from_file(&file, own(), 8, u64::MAX), Index::new(4096));
        assert_eq!(Index::from_file(&file, mark("topics/0/2", 0), 7, u64::MAX), Index::new(4096));
        assert_eq!(Index::from_file(&file, own(), 7, 20_000), Index::new(4096));
        assert_eq!(Index::from_file(&file, mark(LOG, 1), 7, u64::MAX), Index::new(4096));
        assert_eq!(Index::from_file(&[0xff; 100], own(), 7, u64::MAX), Index::new(4096));
    }
}
