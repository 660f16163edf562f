//! One file of a log: header page, batches, sparse index. Knows nothing of the other segments.

use std::{io, ops::ControlFlow, sync::Arc};

use crate::{
    batch::BatchHeader,
    header::{Header, PAGE_LENGTH},
    index::{self, Entry, Index},
    scan::{Met, Scan, to_u64},
    storage::{File, Storage, is_full},
};

/// Space is reserved in steps of the segment's size, within these bounds, in bytes.
const STEP_MIN: u64 = 64 * 1024;
const STEP_MAX: u64 = 8 * 1024 * 1024;

/// A segment; the last one of a log grows, the others are sealed.
pub(crate) struct Segment<F> {
    pub(crate) base_offset: i64,
    pub(crate) file: Arc<F>,
    /// The log's folder, which marks the file as its own.
    pub(crate) log: Arc<str>,
    /// What the file's header page says.
    pub(crate) header: Header,
    /// A header is being written: no other may be before that is done, or a crash could leave neither slot.
    pub(crate) noting: bool,
    /// Where the next batch goes.
    pub(crate) position: u64,
    /// The offset that the next record gets.
    pub(crate) end_offset: i64,
    /// Durable up to here, in this file or in the journal: what can be read and is acknowledged.
    pub(crate) synced_position: u64,
    pub(crate) synced_offset: i64,
    /// Synced up to here in this file, as this process knows; the header page is one sync behind.
    pub(crate) stored_position: u64,
    pub(crate) stored_offset: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) max_timestamp_offset: i64,
    /// The largest timestamp before `synced_position`, and the base offset of its batch.
    pub(crate) synced_max: (i64, i64),
    /// The same before `stored_position`.
    pub(crate) stored_max: (i64, i64),
    /// The file's length.
    pub(crate) allocated: u64,
    /// Why it cannot be read at all, or not be trusted.
    pub(crate) damage: Option<String>,
    pub(crate) index: Index,
}

/// Name of the file with the batches from `base_offset` on.
pub(crate) fn file_name(base_offset: i64) -> String {
    format!("{base_offset:020}.log")
}

/// Name of the index of a sealed segment.
pub(crate) fn index_name(base_offset: i64) -> String {
    format!("{base_offset:020}.index")
}

/// The base offset in a name that [`file_name`] made.
pub(crate) fn parse_name(name: &str) -> Option<i64> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

impl<F> Segment<F> {
    /// Takes note that all batches are synced in this file.
    pub(crate) fn stored(&mut self) {
        self.synced_position = self.position;
        self.synced_offset = self.end_offset;
        self.synced_max = (self.max_timestamp, self.max_timestamp_offset);
        self.stored_position = self.position;
        self.stored_offset = self.end_offset;
        self.stored_max = self.synced_max;
    }
}

impl<F: File> Segment<F> {
    /// Makes the file of an empty segment. The caller syncs the folder.
    pub(crate) fn create<S: Storage<File = F>>(
        storage: &S,
        folder: &Arc<str>,
        base_offset: i64,
        now_ms: i64,
    ) -> io::Result<Self> {
        let file = storage.open(&format!("{folder}/{}", file_name(base_offset)))?;
        file.truncate(0)?;
        let header = Header::new(base_offset, now_ms);
        // The whole page: of a hole in it, the other slot would need space when there is none.
        let mut page = vec![0; usize::try_from(PAGE_LENGTH).unwrap_or_default()];
        let slot = header.encode(folder);
        let start = usize::try_from(header.position()).unwrap_or_default();
        page.splice(start..start + slot.len(), slot);
        file.write_at(0, &page)?;
        file.sync()?;
        Ok(Self::from_header((file, folder), header, PAGE_LENGTH))
    }

    /// A segment as its header page describes it.
    pub(crate) fn from_header((file, log): (F, &Arc<str>), header: Header, length: u64) -> Self {
        Self {
            base_offset: header.base_offset,
            file: Arc::new(file),
            log: Arc::clone(log),
            header,
            noting: false,
            position: header.synced_position,
            end_offset: header.synced_offset,
            synced_position: header.synced_position,
            synced_offset: header.synced_offset,
            stored_position: header.synced_position,
            stored_offset: header.synced_offset,
            max_timestamp: header.max_timestamp,
            max_timestamp_offset: header.max_timestamp_offset,
            synced_max: (header.max_timestamp, header.max_timestamp_offset),
            stored_max: (header.max_timestamp, header.max_timestamp_offset),
            allocated: length,
            damage: None,
            index: Index::new(header.synced_position),
        }
    }

    /// What its index's file says that it is of.
    pub(crate) fn index_mark(&self) -> u32 {
        index::mark(&self.log, self.header.incarnation)
    }

    /// Bytes of batches.
    pub(crate) fn size(&self) -> u64 {
        self.position.saturating_sub(PAGE_LENGTH)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.position <= PAGE_LENGTH
    }

    /// Takes note of a batch that now ends the segment.
    pub(crate) fn took(&mut self, header: &BatchHeader) {
        let delta = u32::try_from(header.base_offset.saturating_sub(self.base_offset));
        if let (Ok(offset_delta), Ok(position)) = (delta, u32::try_from(self.position)) {
            self.index.offer(Entry { offset_delta, position, max_timestamp_before: self.max_timestamp });
        }
        if header.max_timestamp_ms > self.max_timestamp {
            self.max_timestamp = header.max_timestamp_ms;
            self.max_timestamp_offset = header.base_offset;
        }
        self.position += to_u64(header.size);
        self.end_offset = header.next_offset();
    }

    /// Writes one placed batch at the end. On an error the file is cut back to what it was.
    pub(crate) fn write(&mut self, batch: &[u8], header: &BatchHeader) -> Result<(), WriteError> {
        let end = self.position + to_u64(batch.len());
        if end > self.allocated {
            self.reserve(end)?;
        }
        if let Err(source) = self.file.write_at(self.position, batch) {
            let restored = self.file.truncate(self.position).is_ok();
            self.allocated = self.position;
            return Err(WriteError { source, restored });
        }
        self.allocated = self.allocated.max(end);
        self.took(header);
        Ok(())
    }

    /// Reserves space up to `end` at least. Without it nothing is written: a file system that gives blocks out late
    /// would take the bytes and fail the sync, and a sync that failed is never forgiven.
    fn reserve(&mut self, end: u64) -> Result<(), WriteError> {
        let step = self.size().clamp(STEP_MIN, STEP_MAX);
        for length in [end + step, end] {
            match self.file.allocate(length) {
                Ok(()) => {
                    self.allocated = length;
                    return Ok(());
                }
                Err(source) if is_full(&source) => {
                    // Some of it may have been reserved.
                    let restored = self.file.truncate(self.allocated).is_ok();
                    if length == end || !restored {
                        return Err(WriteError { source, restored });
                    }
                }
                // Where space cannot be reserved, the write tells.
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// The header to write next: what is known to be synced in this file now.
    pub(crate) fn next_header(&self) -> Header {
        Header {
            sequence: self.header.sequence + 1,
            sealed: false,
            synced_position: self.stored_position,
            synced_offset: self.stored_offset,
            max_timestamp: self.stored_max.0,
            max_timestamp_offset: self.stored_max.1,
            ..self.header
        }
    }

    /// Writes and syncs a header; the batches must have been synced before.
    pub(crate) fn write_header(&mut self, header: Header) -> io::Result<()> {
        self.file.write_at(header.position(), &header.encode(&self.log))?;
        self.file.sync()?;
        self.header = header;
        Ok(())
    }

    /// Syncs all batches and has the page say so.
    pub(crate) fn sync_all(&mut self) -> io::Result<()> {
        if self.allocated > self.position {
            self.file.truncate(self.position)?;
            self.allocated = self.position;
        }
        self.file.sync()?;
        self.stored();
        if self.header.synced_position < self.stored_position {
            let header = self.next_header();
            self.write_header(header)?;
        }
        Ok(())
    }

    /// A walk over the batches from where `position` is now.
    fn walk<'a>(&self, file: &'a F) -> Scan<'a, F> {
        Scan {
            file,
            position: self.position,
            offset: self.end_offset,
            limit: self.allocated,
            sparse: self.header.sparse,
        }
    }

    /// Takes the intact batches behind `position`, and leaves it where they end.
    pub(crate) fn extend(&mut self, visit: &mut dyn FnMut(&BatchHeader, &[u8])) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        let walk = self.walk(&*file);
        walk.run(&mut |met: &Met<'_>| {
            if !met.intact {
                return ControlFlow::Break(());
            }
            self.took(&met.header);
            visit(&met.header, met.bytes);
            ControlFlow::Continue(())
        })?;
        Ok(())
    }

    /// Walks all batches and forgets what the page said of the end: for a page that cannot be read. Leaves
    /// `position` where the batches end; those that are damaged inside count.
    pub(crate) fn rebuild(&mut self) -> io::Result<()> {
        let file = Arc::clone(&self.file);
        self.position = PAGE_LENGTH;
        self.end_offset = self.base_offset;
        self.max_timestamp = -1;
        self.max_timestamp_offset = -1;
        self.index = Index::new(PAGE_LENGTH);
        let walk = self.walk(&*file);
        walk.run(&mut |met: &Met<'_>| {
            self.took(&met.header);
            ControlFlow::Continue(())
        })?;
        Ok(())
    }
}

/// A batch was not written.
pub(crate) struct WriteError {
    pub(crate) source: io::Error,
    /// Nothing of it is left in the file.
    pub(crate) restored: bool,
}
