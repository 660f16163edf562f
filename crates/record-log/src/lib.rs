//! An append-only partition log over an abstract storage. Pure.
//!
//! A log is a folder of segments. A segment holds record batches as the bytes they came in (only base
//! offset and leader epoch are patched) behind a header page that says how far the segment is known to
//! be synced. That position is what tells a torn write (cut off at the next open) from damage (the log
//! becomes read-only and its bytes are kept).
//!
//! Logs that are written to a little, and many at a time, share one sync: `journal` has their batches until
//! their own files are synced.
//!
//! Nothing here knows about sockets, tasks or the clock: time is a parameter, files are a trait.
#![warn(missing_docs)]

pub mod batch;
pub mod compact;
mod error;
mod header;
mod heal;
mod index;
pub mod journal;
mod log;
mod lookup;
mod read;
mod recovery;
mod redo;
mod retention;
mod scan;
mod segment;
pub mod storage;
mod sync;

pub use error::{AppendError, OpenError, ReadError};
pub use log::{Appended, Log, Settings};
pub use read::{Location, Slice, TimeSearch};
pub use recovery::Recovery;
pub use redo::Redone;
pub use retention::Retention;
pub use sync::SyncTicket;

#[cfg(test)]
mod tests;
