//! Reading: finding the place needs the log, reading the bytes does not.
//!
//! Only synced records are read. Batches come back whole and as they were stored; each one's checksum is
//! checked on the way.

use std::{ops::ControlFlow, sync::Arc};

use bytes::Bytes;

use crate::{
    batch::{self, BatchHeader, HEADER_BYTES},
    error::ReadError,
    header::PAGE_LENGTH,
    index::{INTERVAL, Index},
    log::Log,
    scan::{self, Met, to_u64},
    segment::{self, Segment},
    storage::{File, Storage},
};

/// A place in a log to read from; does not hold the log.
#[derive(Debug)]
pub struct Location<F> {
    file: Arc<F>,
    segment: i64,
    /// A batch starts here, at or before the one that is wanted.
    position: u64,
    /// Synced up to here.
    limit: u64,
    offset: i64,
}

/// Whole batches, one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slice {
    /// The batches as stored.
    pub bytes: Bytes,
    /// Offset after the last record in `bytes`; what was asked for when there are none.
    pub next_offset: i64,
}

impl<F: File> Location<F> {
    /// Reads the batch with the offset and what follows it, up to `max_bytes`; the first batch comes whatever
    /// its size. Ends at a segment's end, and before a damaged batch.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when the first batch is; [`ReadError::Storage`].
    pub fn read(&self, max_bytes: usize) -> Result<Slice, ReadError> {
        let mut position = self.position;
        let mut wanted = max_bytes.saturating_add(usize::try_from(INTERVAL).unwrap_or(0)).max(HEADER_BYTES);
        while position < self.limit {
            let buffer = self.fetch(position, wanted)?;
            match self.first_batch(&buffer, position)? {
                First::At(start, header) => {
                    if start + header.size <= buffer.len() {
                        return self.take(Bytes::from(buffer), start, max_bytes);
                    }
                    position += to_u64(start);
                    wanted = header.size.max(max_bytes);
                }
                First::After(passed) => position += to_u64(passed),
            }
        }
        // The offset is below the synced one, and its batch is not there: nothing read would be taken for the end,
        // and asked for again without end.
        Err(self.damaged(position))
    }

    fn fetch(&self, position: u64, wanted: usize) -> Result<Vec<u8>, ReadError> {
        let available = usize::try_from(self.limit - position).unwrap_or(usize::MAX);
        let mut buffer = vec![0; wanted.min(available)];
        let read = self.file.read_at(position, &mut buffer);
        let read = read.map_err(|source| ReadError::Storage { segment: self.segment, source })?;
        buffer.truncate(read);
        if read < HEADER_BYTES { Err(self.damaged(position)) } else { Ok(buffer) }
    }

    fn damaged(&self, position: u64) -> ReadError {
        ReadError::Damaged { segment: self.segment, position }
    }

    /// Finds the batch with the offset in a buffer that starts with a batch.
    fn first_batch(&self, buffer: &[u8], position: u64) -> Result<First, ReadError> {
        let mut at = 0;
        while let Some(bytes) = buffer.get(at..).filter(|bytes| bytes.len() >= HEADER_BYTES) {
            let header = batch::header(bytes).ok_or_else(|| self.damaged(position + to_u64(at)))?;
            if position + to_u64(at) + to_u64(header.size) > self.limit {
                return Err(self.damaged(position + to_u64(at)));
            }
            if header.last_offset() >= self.offset {
                return Ok(First::At(at, header));
            }
            at += header.size;
        }
        Ok(First::After(at))
    }

    /// The whole and intact batches of `buffer` from `start` on.
    fn take(&self, buffer: Bytes, start: usize, max_bytes: usize) -> Result<Slice, ReadError> {
        let (mut end, mut next_offset) = (start, self.offset);
        while let Some(bytes) = buffer.get(end..) {
            let Some(header) = batch::header(bytes) else { break };
            let Some(whole) = bytes.get(..header.size) else { break };
            let too_much = end > start && end - start + header.size > max_bytes;
            if too_much || !batch::is_intact(whole) {
                break;
            }
            end += header.size;
            next_offset = header.next_offset();
        }
        if end == start {
            return Err(self.damaged(self.position + to_u64(start)));
        }
        Ok(Slice { bytes: buffer.slice(start..end), next_offset })
    }
}

enum First {
    At(usize, BatchHeader),
    After(usize),
}

/// A search for the first batch with a timestamp; does not hold the log.
#[derive(Debug)]
pub struct TimeSearch<F> {
    location: Location<F>,
    time_ms: i64,
}

impl<F: File> TimeSearch<F> {
    /// The first batch whose largest timestamp is at least the one that was asked for, as stored.
    ///
    /// # Errors
    /// See [`Location::read`].
    pub fn run(&self) -> Result<Option<Slice>, ReadError> {
        let Location { file, segment, position, limit, .. } = &self.location;
        let mut found = None;
        let mut look = |met: &Met<'_>| {
            if met.header.max_timestamp_ms >= self.time_ms && met.header.last_offset() >= self.location.offset
            {
                found = Some((met.position, met.header.base_offset));
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        };
        scan::scan(&**file, *position, 0, *limit, &mut look)
            .map_err(|source| ReadError::Storage { segment: *segment, source })?;
        let Some((position, offset)) = found else { return Ok(None) };
        let file = Arc::clone(file);
        let location = Location { file, segment: *segment, position, limit: *limit, offset };
        location.read(1).map(Some)
    }
}

impl<S: Storage> Log<S> {
    /// Finds where to read from `offset` on; `None` when it is the end, so that there is nothing yet.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`]; [`ReadError::Storage`] when an index cannot be read.
    pub fn locate(&mut self, offset: i64) -> Result<Option<Location<S::File>>, ReadError> {
        let (start, end) = (self.start_offset, self.synced_offset());
        if offset < start || offset > self.end_offset() {
            return Err(ReadError::OutOfRange { offset, start, end });
        }
        if offset >= end {
            return Ok(None);
        }
        let at = self.segments.partition_point(|segment| segment.base_offset <= offset);
        let at = at.saturating_sub(1);
        let base = self.segments.get(at).map_or(0, |segment| segment.base_offset);
        let delta = u32::try_from(offset.saturating_sub(base)).unwrap_or(u32::MAX);
        let position = self.index_of(at)?.before_offset(delta);
        Ok(self.segments.get(at).map(|segment| location(segment, position, offset)))
    }

    /// Finds where to look for the first record at or after `time_ms`; `None` when no synced record is.
    ///
    /// # Errors
    /// [`ReadError::Storage`] when an index cannot be read.
    pub fn search_time(&mut self, time_ms: i64) -> Result<Option<TimeSearch<S::File>>, ReadError> {
        let start = self.start_offset;
        let matches = |segment: &Segment<S::File>| {
            segment.max_timestamp >= time_ms && segment.synced_offset > start && !segment.is_empty()
        };
        let Some(at) = self.segments.iter().position(matches) else { return Ok(None) };
        let position = self.index_of(at)?.before_time(time_ms);
        let found = self.segments.get(at).map(|segment| location(segment, position, start));
        Ok(found.map(|location| TimeSearch { location, time_ms }))
    }

    /// The largest timestamp of the log and the base offset of the batch that has it.
    #[must_use]
    pub fn max_timestamp(&self) -> Option<(i64, i64)> {
        let all = self.segments.iter().filter(|segment| !segment.is_empty());
        let newest = all.max_by_key(|segment| segment.max_timestamp)?;
        Some((newest.max_timestamp, newest.max_timestamp_offset))
    }

    /// The index of a segment: in memory for the last, else read, else rebuilt.
    fn index_of(&mut self, at: usize) -> Result<&Index, ReadError> {
        if at + 1 >= self.segments.len() {
            return Ok(&self.active().index);
        }
        let segment = self.segments.get(at).expect("the caller found it");
        let base = segment.base_offset;
        if self.recent_index.as_ref().is_none_or(|(recent, _)| *recent != base) {
            let failed = |source| ReadError::Storage { segment: base, source };
            let index = match self.read_index(base).map_err(failed)? {
                Some(index) => index,
                None => rebuild_index(segment).map_err(failed)?,
            };
            self.recent_index = Some((base, index));
        }
        Ok(self.recent_index.as_ref().map(|(_, index)| index).expect("it was just set"))
    }

    fn read_index(&self, base: i64) -> std::io::Result<Option<Index>> {
        let file = self.storage.open(&format!("{}/{}", self.folder, segment::index_name(base)))?;
        let mut bytes = vec![0; usize::try_from(file.length()?).unwrap_or_default()];
        let read = file.read_at(0, &mut bytes)?;
        Ok(bytes.get(..read).and_then(Index::decode))
    }
}

fn location<F: File>(segment: &Segment<F>, position: Option<u64>, offset: i64) -> Location<F> {
    Location {
        file: Arc::clone(&segment.file),
        segment: segment.base_offset,
        position: position.unwrap_or(PAGE_LENGTH),
        limit: segment.synced_position,
        offset,
    }
}

fn rebuild_index<F: File>(segment: &Segment<F>) -> std::io::Result<Index> {
    let length = segment.position;
    let mut copy =
        Segment { file: Arc::clone(&segment.file), index: Index::default(), allocated: length, ..*segment };
    copy.rebuild(&mut |_, _| ())?;
    Ok(copy.index)
}
