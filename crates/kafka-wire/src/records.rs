//! Record batches (format 2): what Produce carries and Fetch returns.
//!
//! A broker looks at the 61-byte header alone and keeps the rest as the bytes it came in. Records
//! themselves are read only where their time or key matters, always under a limit of memory.

pub mod batch;
pub mod builder;
pub mod compression;
pub mod control;
pub mod raw;
pub mod recompress;
pub mod record;

pub use batch::{BatchError, BatchHeader, Batches};
pub use builder::BatchBuilder;
pub use compression::{Codec, CompressionError};
pub use control::Marker;
pub use raw::{RawRecord, RawRecords};
pub use recompress::recompress;
pub use record::{Record, RecordError, RecordHeader, Records};

#[cfg(test)]
mod tests;
