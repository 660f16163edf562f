//! Putting batches back that the journal has and the log's own file lost in a crash, and remembering what
//! is lost for good.
//!
//! It appends at the end or not at all: it never changes what is there.

use std::io;

use bytes::{Buf, BufMut};

use crate::{
    batch::{self, BatchHeader},
    error::AppendError,
    log::Log,
    storage::{File, Storage, is_full},
};

/// In a log's folder: says that acknowledged records are lost, and which. Removing it is a person's decision.
pub(crate) const LOST_NAME: &str = "lost";
const LOST_PREFIX: &[u8; 8] = b"PLST\x01\0\0\0";
/// Bytes of a reason that are read back.
const REASON_BYTES_MAX: usize = 16 * 1024;

/// What became of a batch that was to be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redone {
    /// The log has its records already.
    Known,
    /// It was appended.
    Appended(BatchHeader),
    /// Records before it are missing, or it is not a batch that fits: nothing was changed.
    Misfit,
}

impl<S: Storage> Log<S> {
    /// Puts back a placed batch from the journal. A log that is read-only for damage takes it too: it belongs
    /// behind what the log has, and was acknowledged.
    ///
    /// # Errors
    /// [`AppendError::Full`] leaves the log as it was; after [`AppendError::Storage`] it takes no more writes.
    pub fn redo(&mut self, bytes: &[u8]) -> Result<Redone, AppendError> {
        let header = batch::header(bytes).filter(|header| header.size == bytes.len());
        let Some(header) = header.filter(|_| batch::is_intact(bytes)) else { return Ok(Redone::Misfit) };
        if header.next_offset() <= self.end_offset() {
            return Ok(Redone::Known);
        }
        if header.base_offset != self.end_offset() {
            return Ok(Redone::Misfit);
        }
        match self.active_mut().write(bytes, &header) {
            Ok(()) => {
                self.vouch_for_tail();
                Ok(Redone::Appended(header))
            }
            Err(error) if error.restored && is_full(&error.source) => {
                Err(AppendError::Full { folder: self.folder.to_string(), source: error.source })
            }
            Err(error) => Err(self.broken(error.source)),
        }
    }

    /// Syncs the batches that an open found behind what the last note vouches for.
    ///
    /// # Errors
    /// Whatever the storage says; the log must not be used then.
    pub fn sync_tail(&mut self) -> io::Result<()> {
        let segment = self.active_mut();
        if segment.position > segment.synced_position {
            segment.file.sync()?;
            segment.stored();
        }
        Ok(())
    }

    /// All batches are durable without a sync of the log's own file: the journal has them until that file does.
    pub(crate) fn vouch_for_tail(&mut self) {
        let segment = self.active_mut();
        segment.synced_position = segment.position;
        segment.synced_offset = segment.end_offset;
        segment.synced_max = (segment.max_timestamp, segment.max_timestamp_offset);
    }

    /// Syncs what was put back into a log that takes no writes, and has its header page say so.
    ///
    /// # Errors
    /// Whatever the storage says.
    pub(crate) fn store_redone(&mut self) -> io::Result<()> {
        self.active_mut().sync_all()
    }

    /// Makes the log read-only, now and at each start to come, because acknowledged records are lost.
    ///
    /// # Errors
    /// The storage refuses to remember it; the log is read-only for now all the same.
    pub fn mark_lost(&mut self, reason: &str) -> io::Result<()> {
        self.fail(reason);
        let path = format!("{}/{LOST_NAME}", self.folder);
        if self.storage.list(&self.folder)?.iter().any(|name| name == LOST_NAME) {
            return Ok(());
        }
        let mut bytes = LOST_PREFIX.to_vec();
        bytes.put_slice(reason.as_bytes());
        let checksum = crc32c::crc32c(&bytes);
        bytes.put_u32(checksum);
        let file = self.storage.open(&path)?;
        file.write_at(0, &bytes)?;
        file.sync()?;
        self.storage.sync_folder(&self.folder)
    }
}

/// Why a log was marked by [`Log::mark_lost`], if it was.
pub(crate) fn load_lost<S: Storage>(
    storage: &S,
    folder: &str,
    names: &[String],
) -> io::Result<Option<String>> {
    if !names.iter().any(|name| name == LOST_NAME) {
        return Ok(None);
    }
    let mut bytes = vec![0; REASON_BYTES_MAX];
    let read = storage.open(&format!("{folder}/{LOST_NAME}"))?.read_at(0, &mut bytes)?;
    bytes.truncate(read);
    // A mark that was only half written when the machine stopped is a mark.
    let reason = || {
        let (body, mut checksum) = bytes.split_at_checked(bytes.len().checked_sub(4)?)?;
        let text = body.strip_prefix(LOST_PREFIX)?;
        (checksum.try_get_u32().ok()? == crc32c::crc32c(body))
            .then(|| String::from_utf8_lossy(text).into_owned())
    };
    Ok(Some(reason().unwrap_or_else(|| format!("{folder}/{LOST_NAME} says that records are lost"))))
}
