//! Builds record batches, for tools and tests: a broker never makes one of client data.

use bytes::{Bytes, BytesMut};

use super::batch::{CONTROL, HEADER_BYTES, LENGTH_END, LOG_APPEND_TIME, MAGIC, TRANSACTIONAL, seal};
use super::compression::{Codec, CompressionError};
use super::record::Record;
use crate::primitives::Writer;

/// A batch that cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A length or count does not fit its field.
    #[error("record batch is too large: {0} does not fit its field")]
    TooLarge(usize),
    /// The codec failed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

/// What a batch shall say besides its records.
#[derive(Debug, Clone, Copy)]
pub struct BatchBuilder {
    /// How to compress the records.
    pub codec: Codec,
    /// Offset of the first record; records are numbered from it.
    pub base_offset: i64,
    /// Leader epoch.
    pub leader_epoch: i32,
    /// Producer id, -1 without one.
    pub producer_id: i64,
    /// Producer epoch, -1 without one.
    pub producer_epoch: i16,
    /// Sequence of the first record, -1 without one.
    pub base_sequence: i32,
    /// Whether it belongs to a transaction.
    pub transactional: bool,
    /// Whether it holds a marker of a transaction.
    pub control: bool,
    /// Whether the timestamps are those of the append.
    pub log_append_time: bool,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self {
            codec: Codec::None,
            base_offset: 0,
            leader_epoch: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            transactional: false,
            control: false,
            log_append_time: false,
        }
    }
}

impl BatchBuilder {
    /// Makes one batch of the records; their own offsets are not looked at.
    pub fn build(&self, records: &[Record]) -> Result<Bytes, BuildError> {
        let base_timestamp = records.first().map_or(0, |record| record.timestamp_ms);
        let max_timestamp = records.iter().map(|record| record.timestamp_ms).max().unwrap_or(-1);
        let count = i32::try_from(records.len()).map_err(|_| BuildError::TooLarge(records.len()))?;
        let mut body = Writer::new();
        for (record, delta) in records.iter().zip(0..count) {
            write_record(&mut body, record, base_timestamp, delta)?;
        }
        let body = self.codec.compress(&body.into_bytes())?;
        let size = HEADER_BYTES.saturating_add(body.len());
        let length =
            i32::try_from(size.saturating_sub(LENGTH_END)).map_err(|_| BuildError::TooLarge(size))?;
        let mut writer = Writer::new();
        writer.int64(self.base_offset);
        writer.int32(length);
        writer.int32(self.leader_epoch);
        writer.int8(MAGIC);
        writer.uint32(0);
        writer.int16(self.attributes());
        writer.int32(count.saturating_sub(1));
        writer.int64(base_timestamp);
        writer.int64(max_timestamp);
        writer.int64(self.producer_id);
        writer.int16(self.producer_epoch);
        writer.int32(self.base_sequence);
        writer.int32(count);
        writer.slice(&body);
        let mut batch = BytesMut::from(writer.into_bytes());
        // A header was just written, so there is a checksum to set.
        let _sealed = seal(&mut batch);
        Ok(batch.freeze())
    }

    const fn attributes(&self) -> i16 {
        let mut attributes = self.codec.code();
        if self.transactional {
            attributes |= TRANSACTIONAL;
        }
        if self.control {
            attributes |= CONTROL;
        }
        if self.log_append_time {
            attributes |= LOG_APPEND_TIME;
        }
        attributes
    }
}

fn write_record(
    writer: &mut Writer,
    record: &Record,
    base_timestamp: i64,
    offset_delta: i32,
) -> Result<(), BuildError> {
    let mut body = Writer::new();
    body.int8(0);
    body.varlong(record.timestamp_ms.saturating_sub(base_timestamp));
    body.varint(offset_delta);
    write_nullable(&mut body, record.key.as_ref())?;
    write_nullable(&mut body, record.value.as_ref())?;
    body.varint(length(record.headers.len())?);
    for header in &record.headers {
        body.varint(length(header.key.len())?);
        body.slice(header.key.as_bytes());
        write_nullable(&mut body, header.value.as_ref())?;
    }
    writer.varint(length(body.len())?);
    writer.append(body);
    Ok(())
}

fn write_nullable(writer: &mut Writer, bytes: Option<&Bytes>) -> Result<(), BuildError> {
    match bytes {
        Some(bytes) => {
            writer.varint(length(bytes.len())?);
            writer.bytes(bytes.clone());
        }
        None => writer.varint(-1),
    }
    Ok(())
}

fn length(length: usize) -> Result<i32, BuildError> {
    i32::try_from(length).map_err(|_| BuildError::TooLarge(length))
}
