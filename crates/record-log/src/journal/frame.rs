//! The forms on disk: the header of a journal file and a round. Reads and writes bytes, no files.
//!
//! A round starts at a sector and fills up its last one, so that no later write changes a sector that an
//! acknowledgement stands on. Its header carries a number that no client knows (the salt of the run), so
//! that bytes of a message are never taken for a round.

use bytes::{Buf, BufMut};

/// A round starts at a multiple of this.
pub(crate) const SECTOR_BYTES: usize = 512;
/// Files are written in whole pages.
pub(crate) const PAGE_BYTES: usize = 4096;
const FILE_MAGIC: &[u8; 4] = b"PJRN";
const ROUND_MAGIC: &[u8; 4] = b"PJRD";
const VERSION: u8 = 1;
/// The second copy of a file's header; the first is at the start.
const COPY_AT: usize = 2048;
const FILE_HEAD_BYTES: usize = 28;
const ROUND_HEAD_BYTES: usize = 60;
/// Bytes of a range of rounds.
const RANGE_BYTES: usize = 16;
/// Files of a journal: one range for each fits into a copy of a file's header.
pub(crate) const RANGES_MAX: usize = 64;
/// Bytes of an entry in the table, without its folder.
const ENTRY_BYTES: usize = 26;
/// Logs in one round.
pub(crate) const ENTRIES_MAX: usize = 65_536;

/// Rounds from a number up to and with another.
pub(crate) type Range = (u64, u64);

/// Which rounds below a number are still needed, at the time that the round of this number was next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needed {
    pub(crate) next: u64,
    /// In order, and apart from each other.
    pub(crate) ranges: Vec<Range>,
}

impl Needed {
    /// Makes one of ranges in any order.
    pub(crate) fn new(next: u64, mut ranges: Vec<Range>) -> Self {
        ranges.sort_unstable();
        let mut joined: Vec<Range> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match joined.last_mut() {
                Some(before) if before.1.saturating_add(1) >= first => before.1 = before.1.max(last),
                _ => joined.push((first, last)),
            }
        }
        Self { next, ranges: joined }
    }

    /// Whether a round below `next` is needed; all others are.
    pub(crate) fn has(&self, sequence: u64) -> bool {
        sequence >= self.next || self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&sequence))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        for (first, last) in &self.ranges {
            out.put_u64(*first);
            out.put_u64(*last);
        }
    }

    fn decode(next: u64, count: usize, bytes: &mut &[u8]) -> Option<Self> {
        if count > RANGES_MAX {
            return None;
        }
        let mut range = || Some((bytes.try_get_u64().ok()?, bytes.try_get_u64().ok()?));
        let ranges: Option<Vec<Range>> = (0..count).map(|_| range()).collect();
        Some(Self { next, ranges: ranges? })
    }
}

/// What the first page of a journal file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileHead {
    /// Grows with each start of the process that used the journal.
    pub(crate) generation: u64,
    pub(crate) salt: u64,
    /// No round of this generation is needed.
    pub(crate) clean: bool,
    /// When this was written, of this generation.
    pub(crate) needed: Needed,
}

impl FileHead {
    /// The whole first page.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(FILE_HEAD_BYTES);
        head.put_slice(FILE_MAGIC);
        head.put_u8(VERSION);
        head.put_u8(u8::from(self.clean));
        head.put_u16(u16::try_from(self.needed.ranges.len()).unwrap_or(u16::MAX));
        head.put_u64(self.generation);
        head.put_u64(self.salt);
        head.put_u64(self.needed.next);
        self.needed.encode(&mut head);
        let checksum = crc32c::crc32c(&head);
        head.put_u32(checksum);
        let mut page = head.clone();
        page.resize(COPY_AT, 0);
        page.extend_from_slice(&head);
        page.resize(PAGE_BYTES, 0);
        page
    }

    /// What a page says, by the first copy that can be read.
    pub(crate) fn decode(page: &[u8]) -> Option<Self> {
        let (first, second) = page.split_at_checked(COPY_AT)?;
        Self::decode_copy(first).or_else(|| Self::decode_copy(second))
    }

    fn decode_copy(bytes: &[u8]) -> Option<Self> {
        let mut fields = bytes.strip_prefix(FILE_MAGIC)?;
        let (version, clean) = (fields.try_get_u8().ok()?, fields.try_get_u8().ok()? == 1);
        let count = usize::from(fields.try_get_u16().ok()?);
        let (generation, salt) = (fields.try_get_u64().ok()?, fields.try_get_u64().ok()?);
        let next = fields.try_get_u64().ok()?;
        let needed = Needed::decode(next, count, &mut fields)?;
        let checked = bytes.get(..bytes.len().checked_sub(fields.len())?)?;
        let is_right = fields.try_get_u32().ok()? == crc32c::crc32c(checked) && version == VERSION;
        is_right.then_some(Self { generation, salt, clean, needed })
    }
}

/// Batches of one log that a round carries: records from `base_offset` to before `next_offset`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The log's folder.
    pub folder: String,
    /// Offset of the first record.
    pub base_offset: i64,
    /// Offset after the last record.
    pub next_offset: i64,
    /// Whole batches, as they stand in the log.
    pub bytes: Vec<u8>,
}

/// What stands before all rounds of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) salt: u64,
    /// Its `next` is the number of the round.
    pub(crate) needed: Needed,
}

/// Appends a round to `out`, filled up to a whole number of sectors.
pub(crate) fn encode(numbers: &Numbers, entries: &[Entry], out: &mut Vec<u8>) {
    let start = out.len();
    let narrow = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    let mut table = Vec::with_capacity(RANGE_BYTES + entries.len() * (ENTRY_BYTES + 48));
    numbers.needed.encode(&mut table);
    let mut data_bytes = 0;
    for entry in entries {
        table.put_u16(u16::try_from(entry.folder.len()).unwrap_or(u16::MAX));
        table.put_slice(entry.folder.as_bytes());
        table.put_i64(entry.base_offset);
        table.put_i64(entry.next_offset);
        table.put_u32(narrow(entry.bytes.len()));
        table.put_u32(crc32c::crc32c(&entry.bytes));
        data_bytes += entry.bytes.len();
    }
    out.put_slice(ROUND_MAGIC);
    out.put_u8(VERSION);
    out.put_slice(&[0; 3]);
    out.put_u64(numbers.salt);
    out.put_u64(numbers.needed.next);
    out.put_u64(u64::try_from(numbers.needed.ranges.len()).unwrap_or(u64::MAX));
    out.put_u32(narrow(entries.len()));
    out.put_u32(narrow(table.len()));
    out.put_u64(u64::try_from(data_bytes).unwrap_or(u64::MAX));
    out.put_u32(crc32c::crc32c(&table));
    out.put_u32(0);
    let checksum = crc32c::crc32c(out.get(start..).unwrap_or_default());
    out.put_u32(checksum);
    out.put_slice(&table);
    for entry in entries {
        out.put_slice(&entry.bytes);
    }
    out.resize(start + (out.len() - start).next_multiple_of(SECTOR_BYTES), 0);
}

/// How many bytes a round takes that says so much of the rounds that are needed.
pub(crate) fn encoded_bytes(needed: &Needed, entries: &[Entry]) -> usize {
    let each = |entry: &Entry| ENTRY_BYTES + entry.folder.len() + entry.bytes.len();
    let sum: usize = entries.iter().map(each).sum();
    (ROUND_HEAD_BYTES + needed.ranges.len() * RANGE_BYTES + sum).next_multiple_of(SECTOR_BYTES)
}

/// An entry that was met, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    /// The log's folder.
    pub folder: String,
    /// Offset of the first record.
    pub base_offset: i64,
    /// Offset after the last record.
    pub next_offset: i64,
    /// Where its batches start, from the start of the round.
    pub position: usize,
    /// Bytes of its batches.
    pub length: usize,
    /// Its bytes are there and have their checksum.
    pub intact: bool,
}

/// A round that was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// One more than the round before it.
    pub sequence: u64,
    /// Bytes up to the next round.
    pub size: usize,
    /// What it carries.
    pub entries: Vec<Met>,
    /// When it was written.
    pub(crate) needed: Needed,
}

impl Round {
    /// Whether all of it is as it was written.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.entries.iter().all(|entry| entry.intact)
    }
}

/// Reads a round of the run with this salt from the start of `bytes`; `None` when none starts there or what it
/// carries cannot be told. Never takes more memory than a small multiple of what it is given.
#[must_use]
pub fn decode(bytes: &[u8], salt: u64) -> Option<Round> {
    let (head, rest) = bytes.split_at_checked(ROUND_HEAD_BYTES)?;
    let (checked, mut checksum) = head.split_at_checked(ROUND_HEAD_BYTES - 4)?;
    let mut fields = checked.strip_prefix(ROUND_MAGIC)?;
    if checksum.try_get_u32().ok()? != crc32c::crc32c(checked) || fields.try_get_u8().ok()? != VERSION {
        return None;
    }
    fields.advance(3);
    if fields.try_get_u64().ok()? != salt {
        return None;
    }
    let sequence = fields.try_get_u64().ok()?;
    let ranges = usize::try_from(fields.try_get_u64().ok()?).ok()?;
    let count = usize::try_from(fields.try_get_u32().ok()?).ok()?;
    let table_bytes = usize::try_from(fields.try_get_u32().ok()?).ok()?;
    let data_bytes = usize::try_from(fields.try_get_u64().ok()?).ok()?;
    let table_checksum = fields.try_get_u32().ok()?;
    let (mut table, data) = rest.split_at_checked(table_bytes)?;
    if count > ENTRIES_MAX || crc32c::crc32c(table) != table_checksum {
        return None;
    }
    let size = ROUND_HEAD_BYTES.checked_add(table_bytes)?.checked_add(data_bytes)?;
    let size = size.checked_next_multiple_of(SECTOR_BYTES)?;
    let needed = Needed::decode(sequence, ranges, &mut table)?;
    let mut entries = Vec::with_capacity(count.min(table_bytes / ENTRY_BYTES));
    let mut at: usize = 0;
    for _ in 0..count {
        let entry = decode_entry(&mut table, data, &mut at, ROUND_HEAD_BYTES + table_bytes)?;
        entries.push(entry);
    }
    (at == data_bytes && table.is_empty()).then_some(Round { sequence, size, entries, needed })
}

fn decode_entry(table: &mut &[u8], data: &[u8], at: &mut usize, data_at: usize) -> Option<Met> {
    let name_bytes = usize::from(table.try_get_u16().ok()?);
    let (name, rest) = table.split_at_checked(name_bytes)?;
    *table = rest;
    let folder = std::str::from_utf8(name).ok()?.to_owned();
    let (base_offset, next_offset) = (table.try_get_i64().ok()?, table.try_get_i64().ok()?);
    let length = usize::try_from(table.try_get_u32().ok()?).ok()?;
    let checksum = table.try_get_u32().ok()?;
    let start = *at;
    *at = at.checked_add(length)?;
    let intact = data.get(start..*at).is_some_and(|bytes| crc32c::crc32c(bytes) == checksum);
    let position = data_at.checked_add(start)?;
    Some(Met { folder, base_offset, next_offset, position, length, intact })
}
