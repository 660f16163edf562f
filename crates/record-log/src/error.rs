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
    /// Not one of its files is this log's.
    #[error("{reason}; put the log's own files back, or move that file away to start the log anew")]
    Damaged {
        /// Which file, and what is wrong with it.
        reason: String,
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
    #[error("{file} is damaged at position {position}, where offset {offset} was asked for")]
    Damaged {
        /// The segment's file.
        file: String,
        /// Byte position in it.
        position: u64,
        /// What was asked for.
        offset: i64,
    },
    /// A file, or the end of one, is not there.
    #[error("{log} has lost the file with the records {from} to {to}")]
    Missing {
        /// The log's folder.
        log: String,
        /// First offset that is missing.
        from: i64,
        /// Last offset that is missing.
        to: i64,
    },
    /// The storage failed.
    #[error("cannot read {file}")]
    Storage {
        /// The segment's file.
        file: String,
        /// What the storage said.
        source: io::Error,
    },
}
