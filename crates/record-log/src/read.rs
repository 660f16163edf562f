//! Reading: finding the place needs the log (`lookup.rs`), reading the bytes does not.
//!
//! Only synced records are read. Batches come back whole and as they were stored; each one's checksum, and that
//! it goes on from the one before, is checked on the way.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;

use crate::{
    batch::{self, BatchHeader, HEADER_BYTES},
    error::ReadError,
    header::PAGE_LENGTH,
    index::INTERVAL,
    scan::{Scan, goes_on, to_u64},
    segment,
    storage::File,
};

/// A place in a log to read from; does not hold the log.
#[derive(Debug)]
pub struct Location<F> {
    pub(crate) file: Arc<F>,
    /// The log's folder.
    pub(crate) log: Arc<str>,
    pub(crate) segment: i64,
    /// A batch starts here, at or before the one that is wanted, if the index is right.
    pub(crate) position: u64,
    /// The offset that it starts with.
    pub(crate) position_offset: i64,
    /// Synced up to here.
    pub(crate) limit: u64,
    /// Offsets may be missing.
    pub(crate) sparse: bool,
    pub(crate) offset: i64,
}

/// Whole batches, one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// The batches as stored.
    pub bytes: Bytes,
    /// Offset after the last record in `bytes`; what was asked for when there are none.
    pub next_offset: i64,
}

/// Where a read is: a batch should start there, with an offset.
#[derive(Clone, Copy)]
struct At {
    position: u64,
    offset: i64,
}

impl<F: File> Location<F> {
    /// Reads the batch with the offset and what follows it, up to `max_bytes`; the first batch comes whatever
    /// its size. Ends at a segment's end, and before a damaged batch.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when the first batch is; [`ReadError::Storage`].
    pub fn read(&self, max_bytes: usize) -> Result<Slice, ReadError> {
        let start = At { position: self.position, offset: self.position_offset };
        match self.read_from(start, max_bytes) {
            // An index that lies costs time, and no records.
            Err(ReadError::Damaged { position, .. })
                if position == self.position && position > PAGE_LENGTH && !self.is_batch(start)? =>
            {
                self.read_from(self.walk_to_offset()?, max_bytes)
            }
            outcome => outcome,
        }
    }

    fn read_from(&self, start: At, max_bytes: usize) -> Result<Slice, ReadError> {
        let mut at = start;
        let mut wanted = max_bytes.saturating_add(usize::try_from(INTERVAL).unwrap_or(0)).max(HEADER_BYTES);
        while at.position < self.limit {
            let buffer = self.fetch(at.position, wanted)?;
            match self.first_batch(&buffer, at)? {
                First::At(start, header) => {
                    if start + header.size <= buffer.len() {
                        return self.take(Bytes::from(buffer), start, at.position, max_bytes);
                    }
                    if start == 0 && wanted >= header.size {
                        // All of it was asked for: the file ends before the position that was synced.
                        return Err(self.damaged(at.position));
                    }
                    at = At { position: at.position + to_u64(start), offset: header.base_offset };
                    wanted = header.size.max(max_bytes);
                }
                First::After(next) => at = next,
            }
        }
        // The offset is below the synced one, and its batch is not there: nothing read would be taken for the end,
        // and asked for again without end.
        Err(self.damaged(at.position))
    }

    /// Whether a batch that goes on from the one before starts there.
    fn is_batch(&self, at: At) -> Result<bool, ReadError> {
        let bytes = self.fetch(at.position, HEADER_BYTES)?;
        Ok(batch::header(&bytes).is_some_and(|header| goes_on(&header, at.offset, self.sparse)))
    }

    fn walk_to_offset(&self) -> Result<At, ReadError> {
        let mut found = At { position: PAGE_LENGTH, offset: self.segment };
        self.scan(found)
            .headers(&mut |position, header| {
                found = At { position, offset: header.base_offset };
                if header.last_offset() >= self.offset {
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })
            .map_err(|source| self.failed(source))?;
        Ok(found)
    }

    fn scan(&self, from: At) -> Scan<'_, F> {
        let At { position, offset } = from;
        Scan { file: &*self.file, position, offset, limit: self.limit, sparse: self.sparse }
    }

    fn fetch(&self, position: u64, wanted: usize) -> Result<Vec<u8>, ReadError> {
        let available = usize::try_from(self.limit - position).unwrap_or(usize::MAX);
        let mut buffer = vec![0; wanted.min(available)];
        let read = self.file.read_at(position, &mut buffer).map_err(|source| self.failed(source))?;
        buffer.truncate(read);
        if read < HEADER_BYTES { Err(self.damaged(position)) } else { Ok(buffer) }
    }

    fn file_path(&self) -> String {
        format!("{}/{}", self.log, segment::file_name(self.segment))
    }

    fn failed(&self, source: std::io::Error) -> ReadError {
        ReadError::Storage { file: self.file_path(), source }
    }

    fn damaged(&self, position: u64) -> ReadError {
        ReadError::Damaged { file: self.file_path(), position, offset: self.offset }
    }

    /// Finds the batch with the offset in a buffer that starts with a batch.
    fn first_batch(&self, buffer: &[u8], start: At) -> Result<First, ReadError> {
        let mut at = 0;
        let mut offset = start.offset;
        while let Some(bytes) = buffer.get(at..).filter(|bytes| bytes.len() >= HEADER_BYTES) {
            let position = start.position + to_u64(at);
            let header = batch::header(bytes).filter(|header| goes_on(header, offset, self.sparse));
            let header = header.ok_or_else(|| self.damaged(position))?;
            if position + to_u64(header.size) > self.limit {
                return Err(self.damaged(position));
            }
            if header.last_offset() >= self.offset {
                return Ok(First::At(at, header));
            }
            at += header.size;
            offset = header.next_offset();
        }
        Ok(First::After(At { position: start.position + to_u64(at), offset }))
    }

    /// The whole and intact batches of `buffer` from `start` on; the buffer is from `position`.
    fn take(&self, buffer: Bytes, start: usize, position: u64, max_bytes: usize) -> Result<Slice, ReadError> {
        let (mut end, mut next_offset) = (start, self.offset);
        while let Some(bytes) = buffer.get(end..) {
            let Some(header) = batch::header(bytes) else { break };
            let Some(whole) = bytes.get(..header.size) else { break };
            let too_much = end > start && end - start + header.size > max_bytes;
            let goes_on = end == start || goes_on(&header, next_offset, self.sparse);
            if too_much || !goes_on || !batch::is_intact(whole) {
                break;
            }
            end += header.size;
            next_offset = header.next_offset();
        }
        if end == start {
            return Err(self.damaged(position + to_u64(start)));
        }
        Ok(Slice { bytes: buffer.slice(start..end), next_offset })
    }
}

enum First {
    At(usize, BatchHeader),
    After(At),
}

/// A search for the first batch with a timestamp; does not hold the log.
#[derive(Debug)]
pub struct TimeSearch<F> {
    /// The beginnings of the segments that may have it.
    pub(crate) locations: Vec<Location<F>>,
    pub(crate) time_ms: i64,
}

impl<F: File> TimeSearch<F> {
    /// The first batch whose largest timestamp is at least the one that was asked for, as stored.
    ///
    /// # Errors
    /// See [`Location::read`].
    pub fn run(&self) -> Result<Option<Slice>, ReadError> {
        for location in &self.locations {
            if let Some(found) = self.look(location)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn look(&self, location: &Location<F>) -> Result<Option<Slice>, ReadError> {
        let mut found = None;
        let mut start = At { position: location.position, offset: location.position_offset };
        if location.position > PAGE_LENGTH && !location.is_batch(start)? {
            start = At { position: PAGE_LENGTH, offset: location.segment };
        }
        let stopped = location.scan(start).headers(&mut |position, header| {
            if header.max_timestamp_ms >= self.time_ms && header.last_offset() >= location.offset {
                found = Some(At { position, offset: header.base_offset });
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        let stopped = stopped.map_err(|source| location.failed(source))?;
        let Some(At { position, offset }) = found else {
            // What lies behind damage may be what was asked for: no answer is better than a wrong one.
            return if stopped < location.limit { Err(location.damaged(stopped)) } else { Ok(None) };
        };
        let (file, log) = (Arc::clone(&location.file), Arc::clone(&location.log));
        let found = Location { file, log, position, position_offset: offset, offset, ..*location };
        found.read(1).map(Some)
    }
}
