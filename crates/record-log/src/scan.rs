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
    /// Bytes read at a time, unless more is asked for.
    chunk: usize,
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
            let wanted = usize::try_from(available).unwrap_or(usize::MAX).min(length.max(self.chunk));
            self.bytes.resize(wanted, 0);
            let read = self.file.read_at(position, &mut self.bytes)?;
            self.bytes.truncate(read);
            self.start = position;
        }
        let from = usize::try_from(position - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(from..from.saturating_add(length)))
    }
}

/// A walk over batches.
pub(crate) struct Scan<'a, F> {
    pub(crate) file: &'a F,
    /// A batch starts here.
    pub(crate) position: u64,
    /// It starts with this offset, or after it where offsets may be missing.
    pub(crate) offset: i64,
    /// The batches end here at the latest.
    pub(crate) limit: u64,
    /// Offsets may be missing between batches.
    pub(crate) sparse: bool,
}

impl<F: File> Scan<'_, F> {
    /// Visits the batches with their bytes, and says where it stopped: at the limit, where there is no batch that
    /// goes on from the one before, or where the visitor broke off.
    pub(crate) fn run(&self, visit: &mut dyn FnMut(&Met<'_>) -> ControlFlow<()>) -> io::Result<u64> {
        let mut window = self.window(CHUNK);
        let (mut position, mut offset) = (self.position, self.offset);
        while let Some(header) = self.header(&mut window, position, offset)? {
            let Some(bytes) = window.get(position, header.size)? else { break };
            let met = Met { header, bytes, intact: batch::is_intact(bytes) };
            if visit(&met).is_break() {
                break;
            }
            position += to_u64(header.size);
            offset = header.next_offset();
        }
        Ok(position)
    }

    /// Visits the headers only: faster, and checks nothing but that one batch goes on from the other.
    pub(crate) fn headers(
        &self,
        visit: &mut dyn FnMut(u64, &BatchHeader) -> ControlFlow<()>,
    ) -> io::Result<u64> {
        let mut window = self.window(CHUNK / 8);
        let (mut position, mut offset) = (self.position, self.offset);
        while let Some(header) = self.header(&mut window, position, offset)? {
            let end = position + to_u64(header.size);
            if end > self.limit || visit(position, &header).is_break() {
                break;
            }
            position = end;
            offset = header.next_offset();
        }
        Ok(position)
    }

    fn window(&self, chunk: usize) -> Window<'_, F> {
        Window { file: self.file, limit: self.limit, start: 0, bytes: Vec::new(), chunk }
    }

    fn header(
        &self,
        window: &mut Window<'_, F>,
        position: u64,
        offset: i64,
    ) -> io::Result<Option<BatchHeader>> {
        let Some(bytes) = window.get(position, HEADER_BYTES)? else { return Ok(None) };
        let header = batch::header(bytes);
        Ok(header.filter(|header| goes_on(header, offset, self.sparse)))
    }
}

/// Whether a batch can be the next one where `offset` is due.
pub(crate) fn goes_on(header: &BatchHeader, offset: i64, sparse: bool) -> bool {
    header.base_offset == offset || (sparse && header.base_offset > offset)
}

/// A length as a position; lengths of memory always fit.
pub(crate) fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
