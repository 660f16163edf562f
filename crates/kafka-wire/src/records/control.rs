//! Markers of transactions: the control batches that a broker writes and readers skip.
//!
//! Whether a transaction may end is not decided here.

use bytes::Bytes;

use super::batch::BatchHeader;
use super::builder::{BatchBuilder, BuildError};
use super::record::{Record, Records};
use crate::primitives::{Reader, Writer};

/// Version of key and value.
const VERSION: i16 = 0;
const ABORT: i16 = 0;
const COMMIT: i16 = 1;
/// A marker's record takes a few bytes; more is none.
const BYTES_MAX: usize = 1024;

/// The end of a producer's transaction in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// Whether the records count.
    pub committed: bool,
    /// Epoch of the coordinator that said so.
    pub coordinator_epoch: i32,
}

impl Marker {
    /// The control batch that says so.
    pub fn batch(self, producer: (i64, i16), timestamp_ms: i64) -> Result<Bytes, BuildError> {
        let mut key = Writer::new();
        key.int16(VERSION);
        key.int16(if self.committed { COMMIT } else { ABORT });
        let mut value = Writer::new();
        value.int16(VERSION);
        value.int32(self.coordinator_epoch);
        let record = Record {
            timestamp_ms,
            key: Some(key.into_bytes()),
            value: Some(value.into_bytes()),
            ..Record::default()
        };
        let builder = BatchBuilder {
            producer_id: producer.0,
            producer_epoch: producer.1,
            transactional: true,
            control: true,
            ..BatchBuilder::default()
        };
        builder.build(&[record])
    }

    /// The marker in a whole batch; `None` when it is no control batch, or one of another kind.
    #[must_use]
    pub fn read(batch: &Bytes) -> Option<Self> {
        let header = BatchHeader::parse(batch).ok()?;
        if !header.is_control() {
            return None;
        }
        let record = Records::open(batch, BYTES_MAX).ok()?.next()?.ok()?;
        let mut key = Reader::new(record.key?);
        let _version = key.int16().ok()?;
        let kind = key.int16().ok()?;
        let mut value = Reader::new(record.value?);
        let _version = value.int16().ok()?;
        let coordinator_epoch = value.int32().ok()?;
        match kind {
            ABORT => Some(Self { committed: false, coordinator_epoch }),
            COMMIT => Some(Self { committed: true, coordinator_epoch }),
            _ => None,
        }
    }
}
