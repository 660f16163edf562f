//! The header of a record batch: read, check, patch in place.
//!
//! Never looks at the records behind the header and never decompresses.

use bytes::Bytes;

use super::compression::Codec;
use crate::error_code::ErrorCode;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 61;
const LENGTH_START: usize = 8;
/// Bytes before the part that the length field counts.
pub const LENGTH_END: usize = 12;
/// The only format that is spoken.
pub const MAGIC: i8 = 2;
/// Where the part begins that the checksum covers.
const CHECKED_START: usize = 21;
const EPOCH_START: usize = 12;
const EPOCH_END: usize = 16;
const CHECKSUM_START: usize = 17;
const ATTRIBUTES_END: usize = 23;
const MAX_TIMESTAMP_START: usize = 35;
const MAX_TIMESTAMP_END: usize = 43;
/// First version of Produce that may carry zstd.
const ZSTD_PRODUCE_VERSION_MIN: i16 = 7;

pub(crate) const CODEC_BITS: i16 = 0b0111;
pub(crate) const LOG_APPEND_TIME: i16 = 1 << 3;
pub(crate) const TRANSACTIONAL: i16 = 1 << 4;
pub(crate) const CONTROL: i16 = 1 << 5;
pub(crate) const DELETE_HORIZON: i16 = 1 << 6;

/// Why a batch is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end inside the header or the batch.
    #[error("record batch is cut off: {wanted} bytes wanted, {left} there")]
    Truncated {
        /// Bytes of the batch, or of the header when even that is not whole.
        wanted: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// The length field is smaller than a header.
    #[error("record batch length {0} is smaller than its own header")]
    Length(i32),
    /// An old message format, or no batch at all.
    #[error("record batch has format {0}, only format 2 is accepted; upgrade the producer")]
    Magic(i8),
    /// The checksum does not match.
    #[error("record batch checksum is {actual:#010x}, its header says {expected:#010x}")]
    Checksum {
        /// What the header says.
        expected: u32,
        /// What the bytes give.
        actual: u32,
    },
    /// The record count is not positive or contradicts the last offset.
    #[error("record batch says {count} records but a last offset delta of {last_offset_delta}")]
    Count {
        /// Records in the batch, as its header says.
        count: i32,
        /// Offset of the last record, counted from the first.
        last_offset_delta: i32,
    },
    /// More than one batch, or bytes behind it, where one is allowed.
    #[error("{0} bytes follow the record batch; one batch per partition is allowed")]
    NotAlone(usize),
    /// A producer id without a sequence.
    #[error("record batch has a producer id but sequence {0}")]
    Sequence(i32),
    /// Only brokers write control batches.
    #[error("record batch is a control batch; clients may not write those")]
    Control,
    /// Transactional without a producer id.
    #[error("record batch is transactional but has no producer id")]
    NoProducer,
    /// A codec that does not exist.
    #[error("record batch uses unknown compression codec {0}")]
    Codec(i16),
    /// zstd in a Produce request older than version 7.
    #[error("record batch uses zstd, which needs Produce version 7 or later")]
    ZstdTooOld,
    /// Larger than the topic allows.
    #[error("record batch of {size} bytes is above max.message.bytes of {max}")]
    TooLarge {
        /// Bytes of the batch.
        size: usize,
        /// Bytes allowed.
        max: usize,
    },
}

impl BatchError {
    /// What to tell the client.
    #[must_use]
    pub const fn error_code(self) -> ErrorCode {
        match self {
            Self::Truncated { .. } | Self::Length(_) | Self::Checksum { .. } => ErrorCode::CorruptMessage,
            Self::Codec(_) | Self::ZstdTooOld => ErrorCode::UnsupportedCompressionType,
            Self::TooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::Magic(_)
            | Self::Count { .. }
            | Self::NotAlone(_)
            | Self::Sequence(_)
            | Self::Control
            | Self::NoProducer => ErrorCode::InvalidRecord,
        }
    }
}

/// The header of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record; a producer sends 0.
    pub base_offset: i64,
    /// Bytes of the whole batch, header included.
    pub size: usize,
    /// Leader epoch under which it was appended; a producer sends -1.
    pub partition_leader_epoch: i32,
    /// CRC-32C of everything from the attributes on.
    pub checksum: u32,
    /// Codec and flags; see the methods.
    pub attributes: i16,
    /// Offset of the last record, counted from the first.
    pub last_offset_delta: i32,
    /// Timestamp of the first record, or the delete horizon, in milliseconds since 1970.
    pub base_timestamp_ms: i64,
    /// Largest timestamp of its records, in milliseconds since 1970.
    pub max_timestamp_ms: i64,
    /// Producer id, -1 without one.
    pub producer_id: i64,
    /// Producer epoch, -1 without one.
    pub producer_epoch: i16,
    /// Sequence of the first record, -1 without one.
    pub base_sequence: i32,
    /// Records in the batch.
    pub record_count: i32,
}

/// What a broker asks of a batch before it appends it.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Version of the Produce request that brought it.
    pub produce_version: i16,
    /// Largest batch in bytes (`max.message.bytes`).
    pub size_max: usize,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; the batch itself need not be whole.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let truncated = || BatchError::Truncated { wanted: HEADER_BYTES, left: bytes.len() };
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or_else(truncated)?;
        let magic = field(header, 16).map(i8::from_be_bytes).ok_or_else(truncated)?;
        if magic != MAGIC {
            return Err(BatchError::Magic(magic));
        }
        let length = field(header, 8).map(i32::from_be_bytes).ok_or_else(truncated)?;
        let size = usize::try_from(length).ok().and_then(|length| length.checked_add(LENGTH_END));
        let size = size.filter(|size| *size >= HEADER_BYTES).ok_or(BatchError::Length(length))?;
        let int16 = |at| field(header, at).map(i16::from_be_bytes).ok_or_else(truncated);
        let int32 = |at| field(header, at).map(i32::from_be_bytes).ok_or_else(truncated);
        let int64 = |at| field(header, at).map(i64::from_be_bytes).ok_or_else(truncated);
        Ok(Self {
            base_offset: int64(0)?,
            size,
            partition_leader_epoch: int32(EPOCH_START)?,
            checksum: field(header, CHECKSUM_START).map(u32::from_be_bytes).ok_or_else(truncated)?,
            attributes: int16(CHECKED_START)?,
            last_offset_delta: int32(ATTRIBUTES_END)?,
            base_timestamp_ms: int64(27)?,
            max_timestamp_ms: int64(MAX_TIMESTAMP_START)?,
            producer_id: int64(MAX_TIMESTAMP_END)?,
            producer_epoch: int16(51)?,
            base_sequence: int32(53)?,
            record_count: int32(57)?,
        })
    }

    /// Reads and checks the one batch that a client may send per partition.
    pub fn validate(bytes: &[u8], rules: Rules) -> Result<Self, BatchError> {
        let header = Self::parse(bytes)?;
        if header.size > bytes.len() {
            return Err(BatchError::Truncated { wanted: header.size, left: bytes.len() });
        }
        if header.size < bytes.len() {
            return Err(BatchError::NotAlone(bytes.len().saturating_sub(header.size)));
        }
        if header.size > rules.size_max {
            return Err(BatchError::TooLarge { size: header.size, max: rules.size_max });
        }
        header.check_checksum(bytes)?;
        header.check_fields(rules)?;
        Ok(header)
    }

    /// Compares the checksum with the bytes of the batch; `bytes` begins with this header.
    pub fn check_checksum(&self, bytes: &[u8]) -> Result<(), BatchError> {
        let truncated = BatchError::Truncated { wanted: self.size, left: bytes.len() };
        let checked = bytes.get(CHECKED_START..self.size).ok_or(truncated)?;
        let actual = crc32c::crc32c(checked);
        if actual == self.checksum {
            return Ok(());
        }
        Err(BatchError::Checksum { expected: self.checksum, actual })
    }

    fn check_fields(&self, rules: Rules) -> Result<(), BatchError> {
        let last_offset_delta = self.last_offset_delta;
        if self.record_count <= 0 || last_offset_delta.checked_add(1) != Some(self.record_count) {
            return Err(BatchError::Count { count: self.record_count, last_offset_delta });
        }
        if self.is_control() {
            return Err(BatchError::Control);
        }
        if self.has_producer() && self.base_sequence < 0 {
            return Err(BatchError::Sequence(self.base_sequence));
        }
        if self.is_transactional() && !self.has_producer() {
            return Err(BatchError::NoProducer);
        }
        let codec = self.codec()?;
        if codec == Codec::Zstd && rules.produce_version < ZSTD_PRODUCE_VERSION_MIN {
            return Err(BatchError::ZstdTooOld);
        }
        Ok(())
    }

    /// How the records are compressed.
    pub fn codec(&self) -> Result<Codec, BatchError> {
        let code = self.attributes & CODEC_BITS;
        Codec::from_code(code).ok_or(BatchError::Codec(code))
    }

    /// Whether all its records carry the time of the append instead of their own.
    #[must_use]
    pub const fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// Whether it belongs to a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether it holds a marker of a transaction instead of data.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Whether the base timestamp is the time from which tombstones may be dropped.
    #[must_use]
    pub const fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON != 0
    }

    /// Whether it comes from an idempotent producer.
    #[must_use]
    pub const fn has_producer(&self) -> bool {
        self.producer_id >= 0
    }

    /// Offset of its last record.
    #[must_use]
    pub const fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(self.last_offset_delta as i64)
    }

    /// The offset after its last record.
    #[must_use]
    pub const fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// Sequence of its last record; sequences start again at 0 after `i32::MAX`.
    #[must_use]
    pub const fn last_sequence(&self) -> i32 {
        match self.base_sequence.checked_add(self.last_offset_delta) {
            Some(sequence) => sequence,
            None => self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX,
        }
    }
}

/// Writes base offset and leader epoch into a batch; the checksum covers neither.
///
/// Returns `false`, and changes nothing, when `batch` is shorter than a header.
#[must_use]
pub fn place(batch: &mut [u8], base_offset: i64, leader_epoch: i32) -> bool {
    if batch.len() < HEADER_BYTES {
        return false;
    }
    patch(batch, 0..size_of::<i64>(), &base_offset.to_be_bytes())
        && patch(batch, EPOCH_START..EPOCH_END, &leader_epoch.to_be_bytes())
}

/// Stamps a whole batch with the time of its append, in milliseconds since 1970, and renews the checksum.
///
/// Returns `false`, and changes nothing, when `batch` is shorter than a header.
#[must_use]
pub fn stamp(batch: &mut [u8], append_time_ms: i64) -> bool {
    let Some([high, low]) = batch.get(CHECKED_START..ATTRIBUTES_END).and_then(<[u8]>::first_chunk) else {
        return false;
    };
    if batch.len() < HEADER_BYTES {
        return false;
    }
    let attributes = i16::from_be_bytes([*high, *low]) | LOG_APPEND_TIME;
    patch(batch, CHECKED_START..ATTRIBUTES_END, &attributes.to_be_bytes())
        && patch(batch, MAX_TIMESTAMP_START..MAX_TIMESTAMP_END, &append_time_ms.to_be_bytes())
        && seal(batch)
}

/// Writes the length and codec of a batch whose records are in another codec now, and renews the checksum.
pub(crate) fn recode(batch: &mut [u8], length: i32, codec: Codec) -> bool {
    let Some([high, low]) = batch.get(CHECKED_START..ATTRIBUTES_END).and_then(<[u8]>::first_chunk) else {
        return false;
    };
    let attributes = (i16::from_be_bytes([*high, *low]) & !CODEC_BITS) | codec.code();
    patch(batch, LENGTH_START..LENGTH_END, &length.to_be_bytes())
        && patch(batch, CHECKED_START..ATTRIBUTES_END, &attributes.to_be_bytes())
        && seal(batch)
}

fn field<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> Option<[u8; N]> {
    header.get(at..)?.first_chunk().copied()
}

/// Renews the checksum of a whole batch.
pub(crate) fn seal(batch: &mut [u8]) -> bool {
    let Some(checked) = batch.get(CHECKED_START..) else { return false };
    let checksum = crc32c::crc32c(checked);
    patch(batch, CHECKSUM_START..CHECKED_START, &checksum.to_be_bytes())
}

fn patch(batch: &mut [u8], range: std::ops::Range<usize>, value: &[u8]) -> bool {
    match batch.get_mut(range) {
        Some(slot) if slot.len() == value.len() => {
            slot.copy_from_slice(value);
            true
        }
        _ => false,
    }
}

/// The batches in what a Fetch returned; a last one that is cut off ends them without an error.
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
}

impl Batches {
    /// Walks the batches of one partition's records.
    #[must_use]
    pub const fn new(records: Bytes) -> Self {
        Self { rest: records }
    }
}

impl Iterator for Batches {
    type Item = Result<(BatchHeader, Bytes), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.len() < HEADER_BYTES {
            return None;
        }
        match BatchHeader::parse(&self.rest) {
            Ok(header) if header.size > self.rest.len() => {
                self.rest.clear();
                None
            }
            Ok(header) => Some(Ok((header, self.rest.split_to(header.size)))),
            Err(error) => {
                self.rest.clear();
                Some(Err(error))
            }
        }
    }
}
