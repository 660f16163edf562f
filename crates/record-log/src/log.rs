//! The log: its segments in order, and appending to the last one.
//!
//! Appending writes and does not sync (`sync.rs`); rolling to a new segment does.

use std::{io, sync::Arc};

use crate::{
    batch,
    error::AppendError,
    header::Header,
    index::Index,
    scan::to_u64,
    segment::{self, Segment},
    storage::{File, Storage, is_full},
};
use kafka_wire::records::batch::place;

/// How a log keeps its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A segment that would grow above this many bytes is sealed first. At most `i32::MAX`.
    pub segment_bytes: u64,
    /// A segment that is older than this many milliseconds is sealed before the next append.
    pub segment_ms: i64,
}

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset of its last record.
    pub last_offset: i64,
}

/// Why a log takes no writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadOnly {
    pub(crate) reason: String,
    /// It is for damage only, and ends when the damaged records are deleted.
    pub(crate) heals: bool,
}

/// An append-only log of record batches.
pub struct Log<S: Storage> {
    pub(crate) storage: S,
    pub(crate) folder: Arc<str>,
    pub(crate) settings: Settings,
    /// In order; never empty; all but the last are sealed.
    pub(crate) segments: Vec<Segment<S::File>>,
    pub(crate) start_offset: i64,
    pub(crate) read_only: Option<ReadOnly>,
    /// Records up to here were there once, whether they still are or not.
    pub(crate) known_end: i64,
    /// The index of the sealed segment that was read last.
    pub(crate) recent_index: Option<(i64, Index)>,
}

impl<S: Storage> Log<S> {
    /// The first offset that can be read.
    #[must_use]
    pub fn start_offset(&self) -> i64 {
        self.start_offset
    }

    /// The offset that the next record gets.
    #[must_use]
    pub fn end_offset(&self) -> i64 {
        self.active().end_offset
    }

    /// All records below this offset are durable; only they can be read.
    #[must_use]
    pub fn synced_offset(&self) -> i64 {
        self.active().synced_offset
    }

    /// Bytes of batches.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.segments.iter().map(Segment::size).sum()
    }

    /// Base offset of the segment that grows.
    #[must_use]
    pub fn active_base_offset(&self) -> i64 {
        self.active().base_offset
    }

    /// Why the log takes no writes; `None` when it does.
    #[must_use]
    pub fn read_only_reason(&self) -> Option<&str> {
        self.read_only.as_ref().map(|it| it.reason.as_str())
    }

    /// Takes new settings; they count from the next append on.
    pub fn set_settings(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Stops all writes to this log for the life of the process. The first reason stays.
    pub fn fail(&mut self, reason: &str) {
        match &mut self.read_only {
            Some(known) => known.heals = false,
            None => self.read_only = Some(ReadOnly { reason: reason.to_owned(), heals: false }),
        }
    }

    /// Stops all writes to this log for damage that was found: until the damaged records are deleted.
    pub fn fail_damaged(&mut self, reason: &str) {
        self.read_only.get_or_insert_with(|| ReadOnly { reason: reason.to_owned(), heals: true });
    }

    /// Tells the log how far it was synced once, as it is known from elsewhere. Has it less, then records are
    /// lost, and it takes no writes.
    pub fn expect_end(&mut self, offset: i64) {
        self.known_end = self.known_end.max(offset);
        let end = self.end_offset();
        if end < offset {
            let folder = &self.folder;
            self.fail_damaged(&format!(
                "{folder} ends before offset {end} and once had all below {offset}: its last file is missing, cut off \
                 or an older copy"
            ));
        }
    }

    /// Whether the segment should be sealed before a batch of `bytes` is appended at `now_ms`.
    #[must_use]
    pub fn wants_roll(&self, bytes: usize, now_ms: i64) -> bool {
        let active = self.active();
        if active.is_empty() {
            return false;
        }
        let limit = self.settings.segment_bytes.min(u64::from(i32::MAX.unsigned_abs()));
        let full = active.position.saturating_add(to_u64(bytes)) > limit;
        let offsets = active.end_offset.saturating_sub(active.base_offset) > i64::from(i32::MAX / 2);
        let old = now_ms.saturating_sub(active.header.stamped_ms) >= self.settings.segment_ms;
        full || offsets || old
    }

    /// Seals the last segment, its batches synced, and starts a new one.
    ///
    /// # Errors
    /// [`AppendError::Full`] leaves the log as it was.
    pub fn roll(&mut self, now_ms: i64) -> Result<(), AppendError> {
        self.writable()?;
        if self.active().is_empty() {
            return Ok(());
        }
        // The new segment is there before the old one is sealed: a sealed one is never the last.
        if let Err(source) = self.active_mut().sync_all() {
            return Err(self.broken(source));
        }
        let base_offset = self.end_offset();
        // An index that could not be written is built again when it is needed.
        drop(self.save_index());
        match self.create_next(base_offset, now_ms) {
            Ok(next) => {
                if let Err(source) = self.seal_active(now_ms) {
                    return Err(self.broken(source));
                }
                self.segments.push(next);
                Ok(())
            }
            Err(source) if is_full(&source) => {
                let path = format!("{}/{}", self.folder, segment::file_name(base_offset));
                match self.storage.remove(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.broken(error)),
                    _ => Err(AppendError::Full { folder: self.folder.to_string(), source }),
                }
            }
            Err(source) => Err(self.broken(source)),
        }
    }

    pub(crate) fn create_next(&self, base_offset: i64, now_ms: i64) -> io::Result<Segment<S::File>> {
        let next = Segment::create(&self.storage, &self.folder, base_offset, now_ms)?;
        self.storage.sync_folder(&self.folder)?;
        Ok(next)
    }

    fn seal_active(&mut self, now_ms: i64) -> io::Result<()> {
        seal(self.active_mut(), now_ms)
    }

    /// Appends one whole batch: sets its base offset and leader epoch, and writes it. Not durable yet.
    ///
    /// # Errors
    /// [`AppendError::Full`] and [`AppendError::Malformed`] leave the log as it was; after
    /// [`AppendError::Storage`] it takes no more writes.
    pub fn append(&mut self, bytes: &mut [u8], leader_epoch: i32) -> Result<Appended, AppendError> {
        self.writable()?;
        if !place(bytes, self.end_offset(), leader_epoch) {
            return Err(AppendError::Malformed);
        }
        let header = batch::header(bytes).filter(|header| header.size == bytes.len());
        let header = header.ok_or(AppendError::Malformed)?;
        match self.active_mut().write(bytes, &header) {
            Ok(()) => Ok(Appended { base_offset: header.base_offset, last_offset: header.last_offset() }),
            Err(error) if error.restored && is_full(&error.source) => {
                Err(AppendError::Full { folder: self.folder.to_string(), source: error.source })
            }
            Err(error) => Err(self.broken(error.source)),
        }
    }

    pub(crate) fn writable(&self) -> Result<(), AppendError> {
        match &self.read_only {
            None => Ok(()),
            Some(ReadOnly { reason, .. }) => {
                Err(AppendError::ReadOnly { folder: self.folder.to_string(), reason: reason.clone() })
            }
        }
    }

    pub(crate) fn broken(&mut self, source: io::Error) -> AppendError {
        self.fail(&format!("the storage failed: {source}"));
        AppendError::Storage { folder: self.folder.to_string(), source }
    }

    pub(crate) fn active(&self) -> &Segment<S::File> {
        self.segments.last().expect("a log always has a segment")
    }

    pub(crate) fn active_mut(&mut self) -> &mut Segment<S::File> {
        self.segments.last_mut().expect("a log always has a segment")
    }
}

/// Writes the last header of a segment whose batches are synced.
pub(crate) fn seal<F: File>(segment: &mut Segment<F>, now_ms: i64) -> io::Result<()> {
    let header = Header { sealed: true, stamped_ms: now_ms, ..segment.next_header() };
    segment.write_header(header)?;
    segment.index = Index::new(segment.position);
    Ok(())
}
