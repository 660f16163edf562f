//! Making appended batches durable, in three steps so that the slow one needs no lock on the log:
//! begin (under the lock), run (without), finish (under the lock).

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
    position: u64,
    offset: i64,
    header: Option<Header>,
}

impl<F: File> SyncTicket<F> {
    /// Syncs.
    ///
    /// # Errors
    /// Whatever the storage says. Then the log must be told with [`Log::fail`], and never synced again.
    pub fn run(&self) -> io::Result<()> {
        if let Some(header) = &self.header {
            self.file.write_at(header.position(), &header.encode())?;
        }
        self.file.sync()
    }

    /// The offset after the last record that this makes durable.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.offset
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

    /// A sync that only writes down what is durable already; `None` when that is written down.
    /// Worth doing when a log has become quiet.
    pub fn begin_note(&mut self) -> Option<SyncTicket<S::File>> {
        if self.read_only_reason().is_some() {
            return None;
        }
        let segment = self.active_mut();
        (segment.header.synced_position < segment.synced_position).then(|| ticket(segment))
    }

    /// Takes note of a ticket that ran without an error.
    pub fn finish_sync(&mut self, ticket: &SyncTicket<S::File>) {
        let segment = self.active_mut();
        if segment.base_offset != ticket.segment || segment.synced_position > ticket.position {
            return;
        }
        segment.synced_position = ticket.position;
        segment.synced_offset = ticket.offset;
        if let Some(header) = ticket.header
            && header.sequence > segment.header.sequence
        {
            segment.header = header;
        }
    }

    /// Syncs all and writes down that it did; gives reserved space back. For a clean end.
    ///
    /// # Errors
    /// Whatever the storage says; the log takes no more writes then.
    pub fn close(&mut self) -> io::Result<()> {
        if self.read_only_reason().is_some() {
            return Ok(());
        }
        let outcome = self.active_mut().sync_all();
        if let Err(error) = &outcome {
            self.fail(&format!("sync failed: {error}"));
        }
        outcome
    }
}

fn ticket<F: File>(segment: &mut crate::segment::Segment<F>) -> SyncTicket<F> {
    let behind = segment.header.synced_position < segment.synced_position;
    SyncTicket {
        file: Arc::clone(&segment.file),
        segment: segment.base_offset,
        position: segment.position,
        offset: segment.end_offset,
        header: behind.then(|| segment.next_header()),
    }
}
