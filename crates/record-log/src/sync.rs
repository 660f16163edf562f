//! Making appended batches durable, in three steps so that the slow one needs no lock on the log:
//! begin (under the lock), run (without), finish (under the lock).
//!
//! Durable is what is synced in the log's own file, or in the journal (`journal.rs`) until it is in its own
//! file. The header page only ever speaks of the log's own file.

use std::{io, sync::Arc};

use crate::{
    header::Header,
    log::Log,
    storage::{File, Storage},
};

/// What is to be synced. Run it without holding the log, then hand it back.
pub struct SyncTicket<F> {
    file: Arc<F>,
    segment: i64,
    from: u64,
    position: u64,
    from_offset: i64,
    offset: i64,
    newest: (i64, i64),
    header: Option<Header>,
    log: Arc<str>,
}

impl<F: File> SyncTicket<F> {
    /// Syncs the log's own file.
    ///
    /// # Errors
    /// Whatever the storage says. Then the log must be told with [`Log::fail`], and never synced again.
    pub fn run(&self) -> io::Result<()> {
        if let Some(header) = &self.header {
            self.file.write_at(header.position(), &header.encode(&self.log))?;
        }
        self.file.sync()
    }

    /// The offset after the last record that this makes durable.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// The offset of the first record that was not durable before.
    #[must_use]
    pub fn from_offset(&self) -> i64 {
        self.from_offset
    }

    /// Bytes of batches that were not durable before.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.position.saturating_sub(self.from)
    }

    /// Reads the batches that were not durable before, as they were written.
    ///
    /// # Errors
    /// Whatever the storage says; `UnexpectedEof` when it does not have them any more.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.bytes()).map_err(io::Error::other)?];
        let read = self.file.read_at(self.from, &mut bytes)?;
        if read < bytes.len() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(bytes) }
    }
}

impl<S: Storage> Log<S> {
    /// What was appended since the last sync; `None` when nothing was or the log takes no writes.
    ///
    /// The same sync also writes down what the sync before it made durable, so that the note costs no
    /// sync of its own and never claims too much.
    pub fn begin_sync(&mut self) -> Option<SyncTicket<S::File>> {
        if self.read_only_reason().is_some() {
            return None;
        }
        let segment = self.active_mut();
        (segment.position > segment.synced_position).then(|| ticket(segment))
    }

    /// A sync of what the log's own file does not have for sure yet, though the journal may.
    pub fn begin_store(&mut self) -> Option<SyncTicket<S::File>> {
        if self.read_only_reason().is_some() {
            return None;
        }
        let segment = self.active_mut();
        (segment.position > segment.stored_position).then(|| ticket(segment))
    }

    /// A sync that only writes down what the log's own file has already; `None` when that is written down.
    /// Worth doing when a log has become quiet.
    pub fn begin_note(&mut self) -> Option<SyncTicket<S::File>> {
        if self.read_only_reason().is_some() {
            return None;
        }
        let segment = self.active_mut();
        let behind = segment.header.synced_position < segment.stored_position;
        (behind && !segment.noting).then(|| ticket(segment))
    }

    /// Takes note of a ticket that ran without an error.
    pub fn finish_sync(&mut self, ticket: &SyncTicket<S::File>) {
        let segment = self.active_mut();
        if segment.base_offset != ticket.segment {
            return;
        }
        if ticket.position > segment.synced_position {
            segment.synced_position = ticket.position;
            segment.synced_offset = ticket.offset;
            segment.synced_max = ticket.newest;
        }
        if ticket.position > segment.stored_position {
            segment.stored_position = ticket.position;
            segment.stored_offset = ticket.offset;
            segment.stored_max = ticket.newest;
        }
        if let Some(header) = ticket.header {
            segment.noting = false;
            segment.header = header;
        }
    }

    /// Takes note that the journal has what the ticket is about.
    pub fn finish_journaled(&mut self, ticket: &SyncTicket<S::File>) {
        let segment = self.active_mut();
        if segment.base_offset != ticket.segment {
            return;
        }
        // The log's own file was not touched, so neither was its header page.
        segment.noting &= ticket.header.is_none();
        if ticket.position > segment.synced_position {
            segment.synced_position = ticket.position;
            segment.synced_offset = ticket.offset;
            segment.synced_max = ticket.newest;
        }
    }

    /// All records below this offset are in the log's own files, and these say so.
    #[must_use]
    pub fn noted_offset(&self) -> i64 {
        self.active().header.synced_offset
    }

    /// Syncs all and writes down that it did; gives reserved space back. For a clean end.
    ///
    /// # Errors
    /// Whatever the storage says; the log takes no more writes then.
    pub fn close(&mut self) -> io::Result<()> {
        if self.read_only_reason().is_some() {
            return Ok(());
        }
        let active = self.active_mut();
        if active.header.synced_position == active.position && active.allocated == active.position {
            return Ok(());
        }
        let outcome = active.sync_all();
        if let Err(error) = &outcome {
            self.fail(&format!("sync failed: {error}"));
        }
        outcome
    }
}

fn ticket<F: File>(segment: &mut crate::segment::Segment<F>) -> SyncTicket<F> {
    let notes = segment.header.synced_position < segment.stored_position && !segment.noting;
    segment.noting |= notes;
    SyncTicket {
        file: Arc::clone(&segment.file),
        segment: segment.base_offset,
        from: segment.synced_position,
        position: segment.position,
        from_offset: segment.synced_offset,
        offset: segment.end_offset,
        newest: (segment.max_timestamp, segment.max_timestamp_offset),
        header: notes.then(|| segment.next_header()),
        log: Arc::clone(&segment.log),
    }
}
