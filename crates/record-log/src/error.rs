//! What can go wrong in a log, one type an operation.

use std::io;

/// A log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The storage refused.
    #[error("cannot open the log in {folder}: {action}")]
    Storage {
        /// The log's folder.
        folder: String,
        /// What was being done.
        action: &'static str,
        /// What the storage said.
        source: io::Error,
    },
}

/// A batch was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The bytes are not one whole batch.
    #[error("not one whole record batch of format 2")]
    Malformed,
    /// There is no space; the log is as it was and may be tried again.
    #[error("no space left in {folder}")]
    Full {
        /// The log's folder.
        folder: String,
        /// What the storage said.
        source: io::Error,
    },
    /// The log takes no more writes.
    #[error("the log in {folder} is read-only: {reason}")]
    ReadOnly {
        /// The log's folder.
        folder: String,
        /// Why.
        reason: String,
    },
    /// The storage failed; the log takes no more writes.
    #[error("cannot write to the log in {folder}")]
    Storage {
        /// The log's folder.
        folder: String,
        /// What the storage said.
        source: io::Error,
    },
}

/// Nothing could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset is not in the log.
    #[error("offset {offset} is outside {start}..={end}")]
    OutOfRange {
        /// What was asked for.
        offset: i64,
        /// First offset of the log.
        start: i64,
        /// The offset that the next synced record will get.
        end: i64,
    },
    /// The bytes there are not what was written.
    #[error("damaged batch at position {position} of the segment that starts at offset {segment}")]
    Damaged {
        /// Base offset of the segment.
        segment: i64,
        /// Byte position in the segment's file.
        position: u64,
    },
    /// The storage failed.
    #[error("cannot read the segment that starts at offset {segment}")]
    Storage {
        /// Base offset of the segment.
        segment: i64,
        /// What the storage said.
        source: io::Error,
    },
}
