//! The new file of one or more segments, written under another name.

use std::{io, ops::Range};

use super::{CompactError, Compacted, Sealed, fate::Open, unfinished_name};
use crate::{
    batch::{self, BatchHeader},
    header::{Header, PAGE_LENGTH},
    index::{Entry, Index},
    scan::to_u64,
    storage::{File, Storage},
};

/// Bytes written at a time.
const WRITE_BYTES: usize = 256 * 1024;

/// Where a walk over segments is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Which of the segments.
    pub(super) segment: usize,
    pub(super) position: u64,
    pub(super) offset: i64,
}

impl Cursor {
    pub(super) fn start<F>(segments: &[Sealed<F>], segment: usize) -> Self {
        let offset = segments.get(segment).map_or(i64::MAX, |segment| segment.header.base_offset);
        Self { segment, position: PAGE_LENGTH, offset }
    }
}

/// A group of segments that becomes one.
pub(super) struct Rewrite<F> {
    pub(super) range: Range<usize>,
    pub(super) cursor: Cursor,
    /// Which transactions were open at its beginning.
    pub(super) open: Open,
    /// A single segment is only looked at until something is to change.
    pub(super) output: Option<Output<F>>,
    pub(super) horizon_ms: i64,
}

impl<F: File> Rewrite<F> {
    /// What there is when all its batches were seen.
    pub(super) fn finish(
        self,
        segments: &[Sealed<F>],
        clean_offset: i64,
        log: &str,
    ) -> Result<Compacted<F>, CompactError> {
        let sources = segments.get(self.range).unwrap_or_default();
        let (first, last) = sources.first().zip(sources.last()).expect("a group has a segment");
        let newest = sources.iter().map(|source| source.header.stamped_ms).max();
        let header = Header {
            synced_offset: last.end_offset(),
            clean_offset: last.end_offset().min(clean_offset),
            horizon_ms: self.horizon_ms,
            stamped_ms: newest.unwrap_or(first.header.stamped_ms),
            ..first.header
        };
        let incarnation = sources.iter().map(|source| source.header.incarnation).max().unwrap_or(0);
        let header = Header { incarnation: incarnation.saturating_add(1), sparse: true, ..header };
        let sources_of = |sources: &[Sealed<F>]| sources.iter().map(|source| source.file.clone()).collect();
        let Some(output) = self.output else {
            let header = Header {
                clean_offset: header.clean_offset,
                horizon_ms: header.horizon_ms,
                sequence: first.header.sequence.saturating_add(1),
                ..first.header
            };
            return Ok(Compacted { sources: sources_of(sources), header, made: None });
        };
        let failed = |source| CompactError::Storage { segment: first.header.base_offset, source };
        let (header, file, index) = output.finish(header, log).map_err(failed)?;
        Ok(Compacted { sources: sources_of(sources), header, made: Some((file, index)) })
    }
}

/// The file.
pub(super) struct Output<F> {
    file: F,
    base_offset: i64,
    /// Where the next batch goes.
    position: u64,
    /// Of the end of the batches, those that are not written yet.
    buffer: Vec<u8>,
    index: Index,
    max_timestamp: (i64, i64),
}

impl<F: File> Output<F> {
    pub(super) fn create<S: Storage<File = F>>(
        storage: &S,
        folder: &str,
        base_offset: i64,
    ) -> io::Result<Self> {
        let path = format!("{folder}/{}", unfinished_name(base_offset));
        match storage.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = storage.open(&path)?;
        let (index, max_timestamp) = (Index::new(PAGE_LENGTH), (-1, -1));
        Ok(Self { file, base_offset, position: PAGE_LENGTH, buffer: Vec::new(), index, max_timestamp })
    }

    /// Adds a batch.
    pub(super) fn push(&mut self, header: &BatchHeader, bytes: &[u8]) -> io::Result<()> {
        debug_assert!(batch::is_intact(bytes), "only whole batches are written");
        let delta = u32::try_from(header.base_offset.saturating_sub(self.base_offset));
        if let (Ok(offset_delta), Ok(position)) = (delta, u32::try_from(self.position)) {
            let max_timestamp_before = self.max_timestamp.0;
            self.index.offer(Entry { offset_delta, position, max_timestamp_before });
        }
        if header.max_timestamp_ms > self.max_timestamp.0 {
            self.max_timestamp = (header.max_timestamp_ms, header.base_offset);
        }
        self.buffer.extend_from_slice(bytes);
        self.position = self.position.saturating_add(to_u64(bytes.len()));
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let start = self.position.saturating_sub(to_u64(self.buffer.len()));
        self.file.write_at(start, &self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// Makes the file durable, with both halves of its header page.
    fn finish(mut self, header: Header, log: &str) -> io::Result<(Header, F, Index)> {
        self.flush()?;
        let mut header = Header {
            synced_position: self.position,
            max_timestamp: self.max_timestamp.0,
            max_timestamp_offset: self.max_timestamp.1,
            ..header
        };
        // Of everything before the page is written, so that the page never says too much.
        self.file.sync()?;
        for _ in 0..2 {
            header.sequence = header.sequence.saturating_add(1);
            self.file.write_at(header.position(), &header.encode(log))?;
        }
        self.file.sync()?;
        Ok((header, self.file, self.index))
    }
}
