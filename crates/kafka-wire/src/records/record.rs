//! The records inside a batch.
//!
//! Reads them one by one from decompressed bytes, sharing their memory; nothing is kept of a batch
//! that turns out damaged half-way except the error.

use bytes::Bytes;

use super::batch::{BatchError, BatchHeader, HEADER_BYTES};
use super::compression::CompressionError;
use crate::primitives::{Fault, Reader};

/// One record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// Its offset in the partition.
    pub offset: i64,
    /// Its time, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Its key, if it has one.
    pub key: Option<Bytes>,
    /// Its value; none is a tombstone.
    pub value: Option<Bytes>,
    /// Its headers in order; a key may appear more than once.
    pub headers: Vec<RecordHeader>,
}

/// One header of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordHeader {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: Option<Bytes>,
}

/// Records that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The batch itself is wrong.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The records cannot be decompressed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A record is malformed.
    #[error("record {index} of the batch is malformed: {fault}")]
    Record {
        /// Which record, from 0.
        index: i32,
        /// What is wrong.
        fault: Fault,
    },
}

/// The records of a batch, in order.
#[derive(Debug)]
pub struct Records {
    header: BatchHeader,
    reader: Reader,
    next: i32,
}

impl Records {
    /// Opens the one batch that `batch` begins with; at most `limit` bytes come out of decompression.
    ///
    /// The checksum is not looked at: see [`BatchHeader::check_checksum`].
    pub fn open(batch: &Bytes, limit: usize) -> Result<Self, RecordError> {
        let header = BatchHeader::parse(batch)?;
        if header.size > batch.len() {
            return Err(BatchError::Truncated { wanted: header.size, left: batch.len() }.into());
        }
        let body = batch.slice(HEADER_BYTES..header.size);
        let records = header.codec()?.decompress(&body, limit)?;
        Ok(Self { header, reader: Reader::new(records), next: 0 })
    }

    /// The header of the batch.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    fn read(&mut self) -> Result<Record, Fault> {
        let length = self.reader.varint()?;
        let length = usize::try_from(length).map_err(|_| Fault::NegativeLength(i64::from(length)))?;
        let mut reader = Reader::new(self.reader.take(length)?);
        let _attributes = reader.int8()?;
        let timestamp_delta = reader.varlong()?;
        let offset_delta = reader.varint()?;
        let key = nullable_bytes(&mut reader)?;
        let value = nullable_bytes(&mut reader)?;
        let headers = read_headers(&mut reader)?;
        let own_timestamp = self.header.base_timestamp_ms.saturating_add(timestamp_delta);
        let appended = self.header.is_log_append_time();
        Ok(Record {
            offset: self.header.base_offset.saturating_add(i64::from(offset_delta)),
            timestamp_ms: if appended { self.header.max_timestamp_ms } else { own_timestamp },
            key,
            value,
            headers,
        })
    }
}

impl Iterator for Records {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.header.record_count {
            return None;
        }
        let index = self.next;
        match self.read() {
            Ok(record) => {
                self.next = index.saturating_add(1);
                Some(Ok(record))
            }
            Err(fault) => {
                // Nothing behind a malformed record can be trusted.
                self.next = self.header.record_count;
                Some(Err(RecordError::Record { index, fault }))
            }
        }
    }
}

pub(super) fn nullable_bytes(reader: &mut Reader) -> Result<Option<Bytes>, Fault> {
    let length = reader.varint()?;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| Fault::NegativeLength(i64::from(length)))?;
    reader.take(length).map(Some)
}

fn read_headers(reader: &mut Reader) -> Result<Vec<RecordHeader>, Fault> {
    let raw = reader.varint()?;
    let count = usize::try_from(raw).map_err(|_| Fault::NegativeLength(i64::from(raw)))?;
    // A header takes at least two bytes.
    if count > reader.remaining() {
        return Err(Fault::ArrayTooLong { count, left: reader.remaining() });
    }
    let mut headers = Vec::new();
    for _ in 0..count {
        let key = nullable_bytes(reader)?.ok_or(Fault::Null)?;
        let key = std::str::from_utf8(&key).map_err(|_| Fault::NotUtf8)?.to_owned();
        headers.push(RecordHeader { key, value: nullable_bytes(reader)? });
    }
    Ok(headers)
}
