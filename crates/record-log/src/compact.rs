//! Compaction: of each key the last record stays. Of sealed segments only, and beside the log: new files are written
//! under another name, and the log is only asked to plan, and to put a finished file in place of the old ones.
//!
//! Offsets never change, so there are holes between batches; the last batch of each file stays, without records if
//! need be, so that a file ends where the next one starts and every reader gets to the end.
//!
//! There is one moment at which a new file counts: when it gets the name of the first one that it replaces. Its header
//! page says to which offset it goes, so that an open removes files of others that are still there. How far a
//! log is compacted is in the header pages too. A crash at any point means that something is done again.

use std::{collections::HashMap, io, sync::Arc};

use kafka_wire::records::RecordError;

use crate::{
    header::{Header, PAGE_LENGTH},
    index::Index,
    storage::Storage,
};

mod fate;
mod keys;
mod pass;
mod rewrite;
mod swap;
mod worth;

pub use pass::{Pass, Step};
pub use worth::{Policy, Worth};

/// Bytes of one batch after decompression.
pub const UNPACKED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of batches that one step of a compaction looks at, unless one batch is larger.
const STEP_BYTES: usize = 512 * 1024;

/// A transaction that was aborted: its records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose.
    pub producer_id: i64,
    /// Its first record.
    pub first_offset: i64,
    /// Its marker.
    pub last_offset: i64,
}

/// The last that is known of a producer. It stays, so that the next start knows it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastOfProducer {
    /// The offset of its last record, which says its sequence.
    Record(i64),
    /// There are only markers of this epoch.
    Marker(i16),
}

/// What the log's owner knows of those who wrote to it.
#[derive(Clone, Debug, Default)]
pub struct Writers {
    /// All that were aborted and have records below the end of what is compacted.
    pub aborted: Vec<AbortedTransaction>,
    /// By id: those that are not forgotten.
    pub producers: HashMap<i64, LastOfProducer>,
}

/// What a compaction may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Below this offset all is decided and durable.
    pub stable_offset: i64,
    /// Memory for keys. When it is full, a compaction ends there and the next one goes on.
    pub key_memory_bytes: usize,
}

/// A sealed segment that is compacted.
pub(crate) struct Sealed<F> {
    file: Arc<F>,
    header: Header,
}

impl<F> Sealed<F> {
    fn size(&self) -> u64 {
        self.header.synced_position.saturating_sub(PAGE_LENGTH)
    }

    fn end_offset(&self) -> i64 {
        self.header.synced_offset
    }
}

/// Segments that are compacted, to be put in place with [`crate::Log::put_compacted`].
pub struct Compacted<F> {
    /// The files that it is made of.
    sources: Vec<Arc<F>>,
    header: Header,
    /// The finished file; `None` when the old one stays as it is.
    made: Option<(F, Index)>,
}

/// What a compaction did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Bytes of batches that were read.
    pub read_bytes: u64,
    /// Bytes of batches that were written.
    pub written_bytes: u64,
    /// Below this offset the log is compacted.
    pub clean_offset: i64,
    /// Records without a key, which a compacted log cannot keep.
    pub keyless_records: u64,
}

/// A compaction ended early. What it had put in place counts, the rest is as it was.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// A batch is not what was written; reading it says so as well.
    #[error("a batch is damaged at position {position} of the segment from offset {segment} on")]
    Damaged {
        /// Base offset of the segment.
        segment: i64,
        /// Byte position in its file.
        position: u64,
    },
    /// The records of a batch cannot be read.
    #[error("the records of the batch at offset {offset} cannot be read")]
    Records {
        /// Base offset of the batch.
        offset: i64,
        /// Why.
        source: RecordError,
    },
    /// A batch cannot be made anew.
    #[error("the batch at offset {offset} cannot be made anew: {reason}")]
    Rebuild {
        /// Base offset of the batch.
        offset: i64,
        /// Why.
        reason: String,
    },
    /// The storage failed.
    #[error("cannot compact the segment from offset {segment} on")]
    Storage {
        /// Base offset of the segment.
        segment: i64,
        /// What the storage said.
        source: io::Error,
    },
}

impl CompactError {
    /// Whether it is only that there is no space now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Storage { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }
}

const UNFINISHED_SUFFIX: &str = ".compacted";

/// Name of the file that shall become the segment from `base_offset` on.
fn unfinished_name(base_offset: i64) -> String {
    format!("{base_offset:020}{UNFINISHED_SUFFIX}")
}

/// Removes what compactions of an earlier run left unfinished. It is nobody's, so it may as well stay.
pub(crate) fn remove_unfinished<S: Storage>(storage: &S, folder: &str, names: &[String]) {
    for name in names.iter().filter(|name| name.ends_with(UNFINISHED_SUFFIX)) {
        drop(storage.remove(&format!("{folder}/{name}")));
    }
}

#[cfg(test)]
mod tests;
