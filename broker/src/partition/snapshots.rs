//! How a partition's producers survive a restart: a file with all of them now and then, and the batches since.
//!
//! A file is believed only when it is whole and this partition's: without one the batches are walked, which takes
//! longer and gives the same. The one from the beginning of the last segment is synced; those after it are not.

use std::io;

use record_log::{
    Log, batch,
    storage::{File, Storage},
};
use runtime::clock;
use serde::{Deserialize, Serialize};

use super::producers::{Producers, read_marker};
use crate::disk::DiskStorage;

/// Batches worth so many bytes are walked at a start at most, if the last file can be read.
const BYTES_BETWEEN: u64 = 4 * 1024 * 1024;
/// A large table is written after so many times its own size.
const TIMES_ITS_SIZE: u64 = 16;

#[derive(Serialize, Deserialize)]
struct Snapshot {
    /// Whose it is.
    log: String,
    offset: i64,
    producers: Producers,
}

/// When the next file is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Bytes of batches since the last one.
    pub(super) bytes: u64,
    limit: u64,
}

impl Default for Due {
    fn default() -> Self {
        Self { bytes: 0, limit: BYTES_BETWEEN }
    }
}

impl Due {
    pub(super) fn is_now(self) -> bool {
        self.bytes >= self.limit
    }
}

/// Where a partition's files are.
#[derive(Clone, Copy)]
pub(super) struct Files<'a> {
    pub(super) storage: &'a DiskStorage,
    pub(super) folder: &'a str,
}

fn file_name(offset: i64) -> String {
    format!("{offset:020}.producers")
}

fn parse_name(name: &str) -> Option<i64> {
    name.strip_suffix(".producers")?.parse().ok()
}

impl Files<'_> {
    fn path(self, offset: i64) -> String {
        format!("{}/{}", self.folder, file_name(offset))
    }

    /// The offsets of all files, the newest first.
    fn offsets(self) -> io::Result<Vec<i64>> {
        let names = self.storage.list(self.folder)?;
        let mut offsets: Vec<i64> = names.iter().filter_map(|name| parse_name(name)).collect();
        offsets.sort_unstable_by(|one, other| other.cmp(one));
        Ok(offsets)
    }

    /// Writes down what is known at the end of `log`; says when the next file is due.
    pub(super) fn write(
        self,
        log: &Log<DiskStorage>,
        producers: &Producers,
        synced: bool,
    ) -> io::Result<Due> {
        let offset = log.end_offset();
        let snapshot = Snapshot { log: self.folder.to_owned(), offset, producers: producers.clone() };
        let bytes = serde_json::to_vec(&snapshot).map_err(io::Error::other)?;
        let bytes = batch::wrap(&bytes, 0).map_err(|_| io::Error::other("too many producers"))?;
        let file = self.storage.open(&self.path(offset))?;
        file.truncate(0)?;
        file.write_at(0, &bytes)?;
        if synced {
            file.sync()?;
            self.storage.sync_folder(self.folder)?;
        }
        // The synced one stays until the next, and the one before this, which a crash may tear.
        let kept = if synced { 1 } else { 2 };
        for older in self.offsets()?.into_iter().skip(kept) {
            if synced || older != log.active_base_offset() {
                self.storage.remove(&self.path(older))?;
            }
        }
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(Due { bytes: 0, limit: BYTES_BETWEEN.max(length.saturating_mul(TIMES_ITS_SIZE)) })
    }

    fn load(self, offset: i64) -> Option<Producers> {
        let file = self.storage.open(&self.path(offset)).ok()?;
        let mut bytes = vec![0; usize::try_from(file.length().ok()?).ok()?];
        let read = file.read_at(0, &mut bytes).ok()?;
        let whole = bytes.get(..read).filter(|bytes| batch::is_intact(bytes))?;
        let snapshot: Snapshot = serde_json::from_slice(whole.get(batch::HEADER_BYTES..)?).ok()?;
        (snapshot.log == self.folder && snapshot.offset == offset).then(|| snapshot.producers.reopen())
    }

    /// What the producers of a log that was just opened have sent, and how many bytes were walked to know.
    pub(super) fn restore(self, log: &mut Log<DiskStorage>) -> (Producers, Due) {
        let mut offsets = self.offsets().unwrap_or_default();
        let end = log.end_offset();
        if let Err(error) = self.forget_after(end, &mut offsets) {
            tracing::warn!(folder = self.folder, %error, "cannot remove a file of producers that is ahead of the log");
        }
        let found = offsets.into_iter().find_map(|offset| Some((offset, self.load(offset)?)));
        let (from, mut producers) = found.unwrap_or_default();
        let mut due = Due::default();
        let mut known = from.max(log.start_offset());
        let walked = log.walk(known, &mut |header, bytes| {
            due.bytes = due.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            producers.took(header, read_marker(header, bytes), clock::unix_ms());
            known = header.next_offset();
        });
        if let Err(error) = walked {
            // Less is known then: a repeat that is not recognised is told as a gap, and nothing behind is committed.
            producers.transactions.lost_from(known);
            tracing::error!(
                folder = self.folder,
                error = crate::error_text(&error),
                "cannot read what producers sent"
            );
            log.fail_damaged(&error.to_string());
        }
        producers.transactions.forget_before(log.start_offset());
        (producers, due)
    }

    /// A file that says more than the log has is of records that a crash took: others may come in their place.
    fn forget_after(self, end: i64, offsets: &mut Vec<i64>) -> io::Result<()> {
        let ahead: Vec<i64> = offsets.iter().copied().filter(|offset| *offset > end).collect();
        offsets.retain(|offset| *offset <= end);
        for offset in &ahead {
            self.storage.remove(&self.path(*offset))?;
        }
        if ahead.is_empty() { Ok(()) } else { self.storage.sync_folder(self.folder) }
    }
}

#[cfg(test)]
mod tests;
