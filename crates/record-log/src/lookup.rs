//! Finding the place to read from: which segment, and where in it the index says to start.

use std::{io, ops::ControlFlow, sync::Arc};

use crate::{
    batch::BatchHeader,
    error::ReadError,
    header::PAGE_LENGTH,
    index::{Entry, Index},
    log::Log,
    read::{Location, TimeSearch},
    scan::Scan,
    segment::{self, Segment},
    storage::{File, Storage},
};

/// Bytes read at a time by [`Log::walk`].
const WALK_BYTES: usize = 1024 * 1024;

impl<S: Storage> Log<S> {
    /// Finds where to read from `offset` on; `None` when it is the end, so that there is nothing yet.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`]; [`ReadError::Missing`] when the file with the offset is not there;
    /// [`ReadError::Storage`] when an index cannot be read.
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
        let Some(segment) = self.segments.get(at) else { return Ok(None) };
        let (base, segment_end) = (segment.base_offset, segment.end_offset);
        if offset < base || offset >= segment_end {
            let next = self.segments.get(at + 1).map_or(end, |next| next.base_offset);
            return Err(ReadError::Missing { log: self.folder.to_string(), from: segment_end, to: next - 1 });
        }
        let delta = u32::try_from(offset.saturating_sub(base)).unwrap_or(u32::MAX);
        let entry = self.index_of(at)?.before_offset(delta);
        Ok(self.segments.get(at).map(|segment| location(segment, entry, offset)))
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
        let Some(first) = self.segments.iter().position(matches) else { return Ok(None) };
        let entry = self.index_of(first)?.before_time(time_ms);
        let candidates = self.segments.iter().enumerate().skip(first).filter(|(_, it)| matches(it));
        let locations = candidates.map(|(at, segment)| {
            // The first one has it nearly always: the others' indexes are not worth reading.
            location(segment, entry.filter(|_| at == first), start)
        });
        Ok(Some(TimeSearch { locations: locations.collect(), time_ms }))
    }

    /// The largest timestamp of the synced records, and the base offset of the batch that has it.
    ///
    /// # Errors
    /// [`ReadError::Storage`].
    pub fn max_timestamp(&mut self) -> Result<Option<(i64, i64)>, ReadError> {
        let start = self.start_offset;
        let mut newest: Option<(i64, i64)> = None;
        for at in 0..self.segments.len() {
            let Some(segment) = self.segments.get(at) else { break };
            let mut of_segment = segment.synced_max;
            if segment.synced_offset <= start || segment.synced_position <= PAGE_LENGTH {
                continue;
            }
            if of_segment.1 < start {
                // The batch that had it was deleted: only a part of the segment counts.
                of_segment = self.max_timestamp_from(at, start)?;
            }
            newest = newest.filter(|newest| newest.0 >= of_segment.0).or(Some(of_segment));
        }
        Ok(newest.filter(|(time_ms, _)| *time_ms >= 0))
    }

    fn max_timestamp_from(&mut self, at: usize, offset: i64) -> Result<(i64, i64), ReadError> {
        let mut newest = (-1, -1);
        let segment = self.segments.get(at).expect("the caller found it");
        let mut look = |_, header: &BatchHeader| {
            if header.last_offset() >= offset && header.max_timestamp_ms > newest.0 {
                newest = (header.max_timestamp_ms, header.base_offset);
            }
            ControlFlow::Continue(())
        };
        walk_of(segment, None).headers(&mut look).map_err(|source| failed(segment, source))?;
        Ok(newest)
    }

    /// Shows the batches from `from` up to the end, with their bytes. What is not synced is not shown.
    ///
    /// # Errors
    /// See [`Log::locate`] and [`Location::read`]; the batches before have been shown then.
    pub fn walk(
        &mut self,
        mut from: i64,
        visit: &mut dyn FnMut(&BatchHeader, &[u8]),
    ) -> Result<(), ReadError> {
        while let Some(location) = self.locate(from)? {
            let slice = location.read(WALK_BYTES)?;
            let mut rest = &slice.bytes[..];
            while let Some(header) = crate::batch::header(rest) {
                let (batch, after) = rest.split_at(header.size.min(rest.len()));
                if header.last_offset() >= from {
                    visit(&header, batch);
                }
                rest = after;
            }
            from = slice.next_offset;
        }
        Ok(())
    }

    /// The index of a segment, completed from its file and the batches when it is not all in memory.
    fn index_of(&mut self, at: usize) -> Result<&Index, ReadError> {
        let segment = self.segments.get(at).expect("the caller found it");
        let base = segment.base_offset;
        if at + 1 >= self.segments.len() {
            self.complete_active_index()?;
            return Ok(&self.active().index);
        }
        if self.recent_index.as_ref().is_none_or(|(recent, _)| *recent != base) {
            let index = self.completed(segment).map_err(|source| failed(segment, source))?;
            self.recent_index = Some((base, index));
        }
        Ok(self.recent_index.as_ref().map(|(_, index)| index).expect("it was just set"))
    }

    fn complete_active_index(&mut self) -> Result<(), ReadError> {
        if self.active().index.floor > PAGE_LENGTH {
            let index = self.completed(self.active());
            let index = index.map_err(|source| failed(self.active(), source))?;
            self.active_mut().index = index;
        }
        Ok(())
    }

    /// The index of a segment from its file, and from the batches where the file says nothing.
    fn completed(&self, segment: &Segment<S::File>) -> io::Result<Index> {
        let bytes = self.read_index(segment.base_offset).unwrap_or_default();
        let known = segment.index.floor.min(segment.position);
        let mut index = Index::from_file(&bytes, segment.index_mark(), segment.base_offset, known);
        if let Some(entry) = index.last()
            && !is_confirmed(segment, entry)?
        {
            index = Index::new(PAGE_LENGTH);
        }
        let last = index.last();
        let mut max_timestamp = last.map_or(-1, |entry| entry.max_timestamp_before);
        let mut offer = |position: u64, header: &BatchHeader| {
            let delta = u32::try_from(header.base_offset.saturating_sub(segment.base_offset));
            if let (Ok(offset_delta), Ok(position)) = (delta, u32::try_from(position)) {
                index.offer(Entry { offset_delta, position, max_timestamp_before: max_timestamp });
            }
            max_timestamp = max_timestamp.max(header.max_timestamp_ms);
            ControlFlow::Continue(())
        };
        Scan { limit: known, ..walk_of(segment, last) }.headers(&mut offer)?;
        index.append(&segment.index);
        Ok(index)
    }

    /// What the file of an index has. It is made by opening it, which a full disk or one that is read-only refuses:
    /// the batches say the same, only slower, and whether they can be read is for them to tell.
    fn read_index(&self, base: i64) -> io::Result<Vec<u8>> {
        let file = self.storage.open(&format!("{}/{}", self.folder, segment::index_name(base)))?;
        let mut bytes = vec![0; usize::try_from(file.length()?).unwrap_or_default()];
        let read = file.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Adds what the index of the last segment has new to its file, so that the next open need not walk all
    /// batches to find a place. Not synced: it can be rebuilt.
    ///
    /// # Errors
    /// The storage failed. Nothing is lost but time.
    pub fn save_index(&mut self) -> Result<(), ReadError> {
        self.complete_active_index()?;
        let segment = self.active();
        let unsaved =
            segment.index.unsaved(segment.index_mark(), segment.base_offset, segment.synced_position);
        let Some((at, chunk, count)) = unsaved else { return Ok(()) };
        let path = format!("{}/{}", self.folder, segment::index_name(segment.base_offset));
        let write = || {
            let file = self.storage.open(&path)?;
            file.truncate(at)?;
            file.write_at(at, &chunk)
        };
        write().map_err(|source| failed(segment, source))?;
        let length = at + crate::scan::to_u64(chunk.len());
        self.active_mut().index.saved(length, count);
        Ok(())
    }
}

fn failed<F>(segment: &Segment<F>, source: io::Error) -> ReadError {
    let file = format!("{}/{}", segment.log, segment::file_name(segment.base_offset));
    ReadError::Storage { file, source }
}

/// Whether a batch starts where an entry says so, and goes on from there.
fn is_confirmed<F: File>(segment: &Segment<F>, entry: Entry) -> io::Result<bool> {
    let mut confirmed = false;
    walk_of(segment, Some(entry)).headers(&mut |_, _| {
        confirmed = true;
        ControlFlow::Break(())
    })?;
    Ok(confirmed)
}

/// A walk over a segment from an entry of its index on, else from its beginning.
fn walk_of<F: File>(segment: &Segment<F>, entry: Option<Entry>) -> Scan<'_, F> {
    let (position, offset) = start_of(segment, entry);
    let (limit, sparse) = (segment.synced_position, segment.header.sparse);
    Scan { file: &*segment.file, position, offset, limit, sparse }
}

fn start_of<F>(segment: &Segment<F>, entry: Option<Entry>) -> (u64, i64) {
    entry.map_or((PAGE_LENGTH, segment.base_offset), |entry| {
        (u64::from(entry.position), segment.base_offset.saturating_add(i64::from(entry.offset_delta)))
    })
}

fn location<F: File>(segment: &Segment<F>, entry: Option<Entry>, offset: i64) -> Location<F> {
    let (position, position_offset) = start_of(segment, entry);
    Location {
        file: Arc::clone(&segment.file),
        log: Arc::clone(&segment.log),
        segment: segment.base_offset,
        position,
        position_offset,
        limit: segment.synced_position,
        sparse: segment.header.sparse,
        offset,
    }
}
