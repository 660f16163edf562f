//! Walks over the batches of a segment's file, in chunks. Reads only.

use std::{io, ops::ControlFlow};

use crate::{
    batch::{self, BatchHeader, HEADER_BYTES},
    storage::File,
};

/// Bytes read at a time, unless one batch is larger.
const CHUNK: usize = 256 * 1024;

/// A batch that a scan met.
pub(crate) struct Met<'a> {
    pub(crate) header: BatchHeader,
    /// All of it, as stored.
    pub(crate) bytes: &'a [u8],
    pub(crate) position: u64,
    /// The checksum is right.
    pub(crate) intact: bool,
}

/// A window of the file.
struct Window<'a, F> {
    file: &'a F,
    /// Where the batches end at the latest.
    limit: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<F: File> Window<'_, F> {
    /// `length` bytes at `position`; `None` when the file does not have them before the limit.
    fn get(&mut self, position: u64, length: usize) -> io::Result<Option<&[u8]>> {
        let Some(available) = self.limit.checked_sub(position) else { return Ok(None) };
        if available < to_u64(length) {
            return Ok(None);
        }
        let inside =
            position >= self.start && position + to_u64(length) <= self.start + to_u64(self.bytes.len());
        if !inside {
            let wanted = usize::try_from(available).unwrap_or(usize::MAX).min(length.max(CHUNK));
            self.bytes.resize(wanted, 0);
            let read = self.file.read_at(position, &mut self.bytes)?;
            self.bytes.truncate(read);
            self.start = position;
        }
        let from = usize::try_from(position - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(from..from.saturating_add(length)))
    }
}

/// Visits the batches from `position` on, the first of which must not start before `offset`, and says where
/// it stopped: at `limit`, where there is no batch, or where the visitor broke off.
pub(crate) fn scan<F: File>(
    file: &F,
    position: u64,
    offset: i64,
    limit: u64,
    visit: &mut dyn FnMut(&Met<'_>) -> ControlFlow<()>,
) -> io::Result<u64> {
    let mut window = Window { file, limit, start: 0, bytes: Vec::new() };
    let (mut position, mut offset) = (position, offset);
    loop {
        let Some(bytes) = window.get(position, HEADER_BYTES)? else { return Ok(position) };
        let Some(header) = batch::header(bytes) else { return Ok(position) };
        if header.base_offset < offset {
            return Ok(position);
        }
        let Some(bytes) = window.get(position, header.size)? else { return Ok(position) };
        let met = Met { header, bytes, position, intact: batch::is_intact(bytes) };
        if visit(&met).is_break() {
            return Ok(position);
        }
        position += to_u64(header.size);
        offset = header.next_offset();
    }
}

/// A length as a position; lengths of memory always fit.
pub(crate) fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
