//! Records as compaction sees them: offset, key, whether there is a value; the rest stays the bytes it was. And
//! batches made anew of what is kept of one.
//!
//! Offsets, sequence numbers, leader epoch and codec of a batch never change here.

use bytes::{BufMut, Bytes, BytesMut};

use super::batch::{
    BatchError, BatchHeader, CODEC_BITS, DELETE_HORIZON, HEADER_BYTES, LENGTH_END, MAGIC, seal,
};
use super::builder::BuildError;
use super::compression::{Codec, compress_xerial};
use super::record::{RecordError, nullable_bytes};
use crate::primitives::{Fault, Reader, Writer};

/// The time of what has none.
const NO_TIME: i64 = -1;

/// A record of which only the beginning is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// Its offset in the partition.
    pub offset: i64,
    /// Its key, if it has one.
    pub key: Option<Bytes>,
    /// Without a value it is a tombstone.
    pub has_value: bool,
    attributes: i8,
    timestamp_delta: i64,
    offset_delta: i32,
    /// From the key's length on.
    tail: Bytes,
}

/// The records of a batch, in order.
#[derive(Debug)]
pub struct RawRecords {
    header: BatchHeader,
    reader: Reader,
    next: i32,
}

impl RawRecords {
    /// Opens the one batch that `batch` begins with; at most `limit` bytes come out of decompression.
    pub fn open(batch: &Bytes, limit: usize) -> Result<Self, RecordError> {
        let header = BatchHeader::parse(batch)?;
        // An empty batch has no bytes that a codec could read.
        let records = if header.record_count == 0 { Bytes::new() } else { body(batch, &header, limit)? };
        Ok(Self { header, reader: Reader::new(records), next: 0 })
    }

    fn read(&mut self) -> Result<RawRecord, Fault> {
        let length = self.reader.varint()?;
        let length = usize::try_from(length).map_err(|_| Fault::NegativeLength(i64::from(length)))?;
        let whole = self.reader.take(length)?;
        let mut reader = Reader::new(whole.clone());
        let attributes = reader.int8()?;
        let timestamp_delta = reader.varlong()?;
        let offset_delta = reader.varint()?;
        let tail = whole.slice(whole.len().saturating_sub(reader.remaining())..);
        let key = nullable_bytes(&mut reader)?;
        let has_value = reader.varint()? != -1;
        let offset = self.header.base_offset.saturating_add(i64::from(offset_delta));
        Ok(RawRecord { offset, key, has_value, attributes, timestamp_delta, offset_delta, tail })
    }
}

impl Iterator for RawRecords {
    type Item = Result<RawRecord, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.header.record_count {
            return None;
        }
        let index = self.next;
        let read = self.read();
        self.next = if read.is_ok() { index.saturating_add(1) } else { self.header.record_count };
        Some(read.map_err(|fault| RecordError::Record { index, fault }))
    }
}

fn body(batch: &Bytes, header: &BatchHeader, limit: usize) -> Result<Bytes, RecordError> {
    let body = batch.get(HEADER_BYTES..header.size).map(|_| batch.slice(HEADER_BYTES..header.size));
    let truncated = BatchError::Truncated { wanted: header.size, left: batch.len() };
    Ok(header.codec()?.decompress(&body.ok_or(truncated)?, limit)?)
}

/// Makes the batch of `header` anew with the records that are kept of it. With `horizon_ms` it says from which
/// time on its tombstones may go.
pub fn keep(header: &BatchHeader, kept: &[RawRecord], horizon_ms: Option<i64>) -> Result<Bytes, BuildError> {
    if kept.is_empty() {
        return Ok(emptied(header));
    }
    let base_timestamp_ms = horizon_ms.unwrap_or(header.base_timestamp_ms);
    let mut max_timestamp_ms = i64::MIN;
    let mut body = Writer::new();
    for record in kept {
        let timestamp = header.base_timestamp_ms.saturating_add(record.timestamp_delta);
        max_timestamp_ms = max_timestamp_ms.max(timestamp);
        let mut one = Writer::new();
        one.int8(record.attributes);
        one.varlong(timestamp.saturating_sub(base_timestamp_ms));
        one.varint(record.offset_delta);
        one.slice(&record.tail);
        body.varint(i32::try_from(one.len()).map_err(|_| BuildError::TooLarge(one.len()))?);
        body.append(one);
    }
    if header.is_log_append_time() {
        max_timestamp_ms = header.max_timestamp_ms;
    }
    let horizon = if horizon_ms.is_some() { DELETE_HORIZON } else { 0 };
    let attributes = header.attributes | horizon;
    let codec = Codec::from_code(header.attributes & CODEC_BITS).unwrap_or_default();
    let record_count = i32::try_from(kept.len()).map_err(|_| BuildError::TooLarge(kept.len()))?;
    let changed = BatchHeader { attributes, base_timestamp_ms, max_timestamp_ms, record_count, ..*header };
    let body = body.into_bytes();
    // Java reads raw snappy as well, but never writes it.
    let body = if codec == Codec::Snappy { compress_xerial(&body)? } else { codec.compress(&body)? };
    assemble(&changed, &body)
}

/// The batch of `header` without any record: it still says its offsets and its producer's sequence numbers. It has no
/// time: a search for one passes by.
#[must_use]
pub fn emptied(header: &BatchHeader) -> Bytes {
    let changed = BatchHeader {
        attributes: header.attributes & !CODEC_BITS & !DELETE_HORIZON,
        base_timestamp_ms: NO_TIME,
        max_timestamp_ms: NO_TIME,
        record_count: 0,
        ..*header
    };
    assemble(&changed, &[]).unwrap_or_default()
}

fn assemble(header: &BatchHeader, body: &[u8]) -> Result<Bytes, BuildError> {
    let size = HEADER_BYTES.saturating_add(body.len());
    let length = i32::try_from(size.saturating_sub(LENGTH_END)).map_err(|_| BuildError::TooLarge(size))?;
    let mut batch = BytesMut::with_capacity(size);
    batch.put_i64(header.base_offset);
    batch.put_i32(length);
    batch.put_i32(header.partition_leader_epoch);
    batch.put_i8(MAGIC);
    batch.put_u32(0);
    batch.put_i16(header.attributes);
    batch.put_i32(header.last_offset_delta);
    batch.put_i64(header.base_timestamp_ms);
    batch.put_i64(header.max_timestamp_ms);
    batch.put_i64(header.producer_id);
    batch.put_i16(header.producer_epoch);
    batch.put_i32(header.base_sequence);
    batch.put_i32(header.record_count);
    batch.put_slice(body);
    // A header was just written, so there is a checksum to set.
    let _sealed = seal(&mut batch);
    Ok(batch.freeze())
}

#[cfg(test)]
mod tests;
