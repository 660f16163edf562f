//! The protocol's primitive types over a bounded reader and a writer.
//!
//! [`Reader`] checks every length against what is left of the frame and against a budget of memory
//! before anything is allocated. [`Writer`] keeps large byte fields as they came, uncopied.
//! Nothing here knows about messages or versions beyond "flexible or not".

use bytes::{Buf, BufMut, Bytes, BytesMut};
use uuid::Uuid;

mod field;
mod float;
#[cfg(test)]
mod tests;

pub use field::{Field, Scope};
pub use float::Float64;

/// Memory, in bytes, that the arrays of one decoded message may take: twice what a Metadata answer
/// about 200 000 partitions needs, and far below what a 100 MiB frame of one-byte elements asks for.
pub const DECODED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Byte fields from this size on are handed to the socket as they are instead of being copied.
const UNCOPIED_BYTES_MIN: usize = 4096;

/// A message that cannot be decoded: which field, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot decode {field}: {fault}")]
pub struct DecodeError {
    /// Message and field, for example `JoinGroupRequest.protocols`.
    pub field: &'static str,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a byte string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The frame ends inside a value.
    #[error("{wanted} bytes wanted, {left} left in the frame")]
    Truncated {
        /// Bytes the value needs.
        wanted: usize,
        /// Bytes left in the frame.
        left: usize,
    },
    /// A length below -1.
    #[error("length {0} is negative")]
    NegativeLength(i64),
    /// An array announces more elements than the frame can hold.
    #[error("{count} elements announced, {left} bytes left in the frame")]
    ArrayTooLong {
        /// Elements announced.
        count: usize,
        /// Bytes left in the frame.
        left: usize,
    },
    /// The decoded arrays would take more memory than allowed.
    #[error("decoded arrays take more than the allowed memory")]
    BudgetSpent,
    /// Null where the version does not allow it.
    #[error("null is not allowed here")]
    Null,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// A variable-length integer with too many bytes or bits.
    #[error("variable-length integer is too long")]
    VarintTooLong,
    /// A version that this message does not have.
    #[error("version {0} is not supported")]
    Version(i16),
}

impl Fault {
    /// Names the field in which the fault was found; an inner name, once given, stays.
    pub(crate) fn in_field(self, field: &'static str) -> DecodeError {
        DecodeError { field, fault: self }
    }
}

/// A message that cannot be encoded: the program built it wrongly for the version asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A field is set that the version cannot carry and that must not be lost.
    #[error("{field} is set but version {version} has no such field")]
    FieldUnavailable {
        /// Message and field.
        field: &'static str,
        /// The version that was asked for.
        version: i16,
    },
    /// The message does not exist in this version.
    #[error("{message} has no version {version}")]
    Version {
        /// The message's name.
        message: &'static str,
        /// The version that was asked for.
        version: i16,
    },
    /// A string, array or frame is longer than its length field can say.
    #[error("a value of {0} bytes or elements is too long for its length field")]
    TooLong(usize),
}

/// Reads primitives from one frame, front to back.
#[derive(Debug, Clone)]
pub struct Reader {
    bytes: Bytes,
    budget: usize,
}

impl Reader {
    /// Reads from `frame`, which holds exactly one message, without its length prefix.
    #[must_use]
    pub fn new(frame: Bytes) -> Self {
        Self { bytes: frame, budget: DECODED_BYTES_MAX }
    }

    /// Sets how many bytes of memory the decoded arrays may take in all.
    #[must_use]
    pub fn with_budget(mut self, budget_bytes: usize) -> Self {
        self.budget = budget_bytes;
        self
    }

    /// Bytes not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// What has not been read yet, uncopied.
    #[must_use]
    pub fn into_rest(self) -> Bytes {
        self.bytes
    }

    fn truncated(&self, wanted: usize) -> Fault {
        Fault::Truncated { wanted, left: self.bytes.len() }
    }

    /// Takes `count` bytes, uncopied: the result shares the frame's memory.
    pub fn take(&mut self, count: usize) -> Result<Bytes, Fault> {
        if count > self.bytes.len() {
            return Err(self.truncated(count));
        }
        Ok(self.bytes.split_to(count))
    }

    /// Reads a byte that is 0 or not.
    pub fn boolean(&mut self) -> Result<bool, Fault> {
        Ok(self.int8()? != 0)
    }

    /// Reads an 8-bit integer.
    pub fn int8(&mut self) -> Result<i8, Fault> {
        self.bytes.try_get_i8().map_err(|_| self.truncated(1))
    }

    /// Reads a 16-bit integer.
    pub fn int16(&mut self) -> Result<i16, Fault> {
        self.bytes.try_get_i16().map_err(|_| self.truncated(2))
    }

    /// Reads an unsigned 16-bit integer.
    pub fn uint16(&mut self) -> Result<u16, Fault> {
        self.bytes.try_get_u16().map_err(|_| self.truncated(2))
    }

    /// Reads a 32-bit integer.
    pub fn int32(&mut self) -> Result<i32, Fault> {
        self.bytes.try_get_i32().map_err(|_| self.truncated(4))
    }

    /// Reads an unsigned 32-bit integer.
    pub fn uint32(&mut self) -> Result<u32, Fault> {
        self.bytes.try_get_u32().map_err(|_| self.truncated(4))
    }

    /// Reads a 64-bit integer.
    pub fn int64(&mut self) -> Result<i64, Fault> {
        self.bytes.try_get_i64().map_err(|_| self.truncated(8))
    }

    /// Reads a UUID.
    pub fn uuid(&mut self) -> Result<Uuid, Fault> {
        self.bytes.try_get_u128().map(Uuid::from_u128).map_err(|_| self.truncated(16))
    }

    /// Reads an unsigned base-128 integer of at most 32 bits.
    pub fn unsigned_varint(&mut self) -> Result<u32, Fault> {
        u32::try_from(self.base_128(5)?).map_err(|_| Fault::VarintTooLong)
    }

    /// Reads a zigzag base-128 integer of at most 32 bits.
    pub fn varint(&mut self) -> Result<i32, Fault> {
        let raw = self.unsigned_varint()?;
        Ok((raw >> 1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg())
    }

    /// Reads a zigzag base-128 integer of at most 64 bits.
    pub fn varlong(&mut self) -> Result<i64, Fault> {
        let raw = self.base_128(10)?;
        Ok((raw >> 1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg())
    }

    fn base_128(&mut self, bytes_max: u32) -> Result<u64, Fault> {
        let mut value = 0_u64;
        for index in 0..bytes_max {
            let byte = self.bytes.try_get_u8().map_err(|_| self.truncated(1))?;
            let bits = u64::from(byte & 0x7f);
            let shift = index.saturating_mul(7);
            // The tenth byte of a 64-bit integer has room for one bit.
            let shifted = bits.checked_shl(shift).ok_or(Fault::VarintTooLong)?;
            if shifted >> shift != bits {
                return Err(Fault::VarintTooLong);
            }
            value |= shifted;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Fault::VarintTooLong)
    }

    /// Reads a length: `None` is null. Flexible versions write length + 1 as a varint and null as 0.
    fn length(&mut self, flexible: bool, wide: bool) -> Result<Option<usize>, Fault> {
        if flexible {
            let raw = self.unsigned_varint()?;
            return Ok(raw.checked_sub(1).map(|length| usize::try_from(length).unwrap_or(usize::MAX)));
        }
        let raw = if wide { i64::from(self.int32()?) } else { i64::from(self.int16()?) };
        if raw == -1 {
            return Ok(None);
        }
        usize::try_from(raw).map(Some).map_err(|_| Fault::NegativeLength(raw))
    }

    /// Reads a string; `None` is null.
    pub fn string(&mut self, flexible: bool) -> Result<Option<String>, Fault> {
        let Some(length) = self.length(flexible, false)? else { return Ok(None) };
        let bytes = self.take(length)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Fault::NotUtf8)?;
        Ok(Some(text.to_owned()))
    }

    /// Reads a byte string, uncopied; `None` is null.
    pub fn byte_string(&mut self, flexible: bool) -> Result<Option<Bytes>, Fault> {
        let Some(length) = self.length(flexible, true)? else { return Ok(None) };
        self.take(length).map(Some)
    }

    /// Reads the number of elements of an array of `T`, and charges their memory to the budget.
    pub fn array_length<T>(&mut self, flexible: bool) -> Result<Option<usize>, Fault> {
        let Some(count) = self.length(flexible, true)? else { return Ok(None) };
        // Every element takes at least a byte.
        if count > self.bytes.len() {
            return Err(Fault::ArrayTooLong { count, left: self.bytes.len() });
        }
        let memory = count.saturating_mul(size_of::<T>());
        self.budget = self.budget.checked_sub(memory).ok_or(Fault::BudgetSpent)?;
        Ok(Some(count))
    }

    /// Reads the tagged fields that end a flexible structure; `take_tag` gets the known and the unknown.
    pub fn tagged_fields(
        &mut self,
        mut take_tag: impl FnMut(u32, &mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let in_tags = |fault: Fault| fault.in_field("tagged fields");
        let count = self.unsigned_varint().map_err(in_tags)?;
        for _ in 0..count {
            let tag = self.unsigned_varint().map_err(in_tags)?;
            let size = self.unsigned_varint().map_err(in_tags)?;
            let bytes = self.take(usize::try_from(size).unwrap_or(usize::MAX)).map_err(in_tags)?;
            let mut field = Self { bytes, budget: self.budget };
            take_tag(tag, &mut field)?;
            self.budget = field.budget;
        }
        Ok(())
    }

    /// Skips tagged fields.
    pub fn skip_tagged_fields(&mut self) -> Result<(), DecodeError> {
        self.tagged_fields(|_, _| Ok(()))
    }
}

/// Writes primitives; the result is a list of chunks so that large byte fields need no copy.
#[derive(Debug, Default)]
pub struct Writer {
    chunks: Vec<Bytes>,
    chunks_len: usize,
    tail: BytesMut,
}

impl Writer {
    /// An empty writer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.chunks_len.saturating_add(self.tail.len())
    }

    /// Whether nothing has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The chunks in order; none is empty.
    #[must_use]
    pub fn into_chunks(mut self) -> Vec<Bytes> {
        if !self.tail.is_empty() {
            self.chunks.push(self.tail.freeze());
        }
        self.chunks
    }

    /// Everything in one piece; copies only when there is more than one chunk.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        join(self.into_chunks())
    }

    /// Appends small bytes by copy, large ones uncopied.
    pub fn bytes(&mut self, bytes: Bytes) {
        if bytes.len() < UNCOPIED_BYTES_MIN {
            self.tail.extend_from_slice(&bytes);
            return;
        }
        if !self.tail.is_empty() {
            let head = self.tail.split().freeze();
            self.push_chunk(head);
        }
        self.push_chunk(bytes);
    }

    fn push_chunk(&mut self, chunk: Bytes) {
        self.chunks_len = self.chunks_len.saturating_add(chunk.len());
        self.chunks.push(chunk);
    }

    /// Appends what another writer holds.
    pub fn append(&mut self, other: Self) {
        for chunk in other.into_chunks() {
            self.bytes(chunk);
        }
    }

    /// Appends a slice by copy.
    pub fn slice(&mut self, slice: &[u8]) {
        self.tail.extend_from_slice(slice);
    }

    /// Writes a boolean as one byte.
    pub fn boolean(&mut self, value: bool) {
        self.tail.put_u8(u8::from(value));
    }

    /// Writes an 8-bit integer.
    pub fn int8(&mut self, value: i8) {
        self.tail.put_i8(value);
    }

    /// Writes a 16-bit integer.
    pub fn int16(&mut self, value: i16) {
        self.tail.put_i16(value);
    }

    /// Writes an unsigned 16-bit integer.
    pub fn uint16(&mut self, value: u16) {
        self.tail.put_u16(value);
    }

    /// Writes a 32-bit integer.
    pub fn int32(&mut self, value: i32) {
        self.tail.put_i32(value);
    }

    /// Writes an unsigned 32-bit integer.
    pub fn uint32(&mut self, value: u32) {
        self.tail.put_u32(value);
    }

    /// Writes a 64-bit integer.
    pub fn int64(&mut self, value: i64) {
        self.tail.put_i64(value);
    }

    /// Writes a UUID.
    pub fn uuid(&mut self, value: Uuid) {
        self.tail.put_u128(value.as_u128());
    }

    /// Writes an unsigned base-128 integer.
    pub fn unsigned_varint(&mut self, value: u32) {
        self.base_128(u64::from(value));
    }

    /// Writes a zigzag base-128 integer.
    pub fn varint(&mut self, value: i32) {
        self.unsigned_varint(((value << 1) ^ (value >> 31)).cast_unsigned());
    }

    /// Writes a zigzag base-128 integer of 64 bits.
    pub fn varlong(&mut self, value: i64) {
        self.base_128(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    fn base_128(&mut self, mut value: u64) {
        while value >= 0x80 {
            let [low, ..] = value.to_le_bytes();
            self.tail.put_u8(low | 0x80);
            value >>= 7;
        }
        let [low, ..] = value.to_le_bytes();
        self.tail.put_u8(low);
    }

    /// Writes a length, or null; `wide` is 32 bits against 16 in versions that are not flexible.
    fn length(&mut self, length: Option<usize>, flexible: bool, wide: bool) -> Result<(), EncodeError> {
        let Some(length) = length else {
            match (flexible, wide) {
                (true, _) => self.unsigned_varint(0),
                (false, true) => self.int32(-1),
                (false, false) => self.int16(-1),
            }
            return Ok(());
        };
        // Lengths are signed on the wire, whatever their form.
        let signed = i32::try_from(length).map_err(|_| EncodeError::TooLong(length))?;
        if flexible {
            self.unsigned_varint(signed.cast_unsigned().saturating_add(1));
        } else if wide {
            self.int32(signed);
        } else {
            self.int16(i16::try_from(signed).map_err(|_| EncodeError::TooLong(length))?);
        }
        Ok(())
    }

    /// Writes a string or null.
    pub fn string(&mut self, value: Option<&str>, flexible: bool) -> Result<(), EncodeError> {
        self.length(value.map(str::len), flexible, false)?;
        self.slice(value.unwrap_or_default().as_bytes());
        Ok(())
    }

    /// Writes a byte string or null.
    pub fn byte_string(&mut self, value: Option<&Bytes>, flexible: bool) -> Result<(), EncodeError> {
        self.length(value.map(Bytes::len), flexible, true)?;
        if let Some(bytes) = value {
            self.bytes(bytes.clone());
        }
        Ok(())
    }

    /// Writes the number of elements of an array, or null.
    pub fn array_length(&mut self, count: Option<usize>, flexible: bool) -> Result<(), EncodeError> {
        self.length(count, flexible, true)
    }

    /// Writes one tagged field: tag, size, bytes.
    pub fn tagged_field(&mut self, tag: u32, body: Self) -> Result<(), EncodeError> {
        let size = u32::try_from(body.len()).map_err(|_| EncodeError::TooLong(body.len()))?;
        self.unsigned_varint(tag);
        self.unsigned_varint(size);
        self.append(body);
        Ok(())
    }
}

/// Joins chunks; copies only when there is more than one.
pub(crate) fn join(mut chunks: Vec<Bytes>) -> Bytes {
    if chunks.len() <= 1 {
        return chunks.pop().unwrap_or_default();
    }
    let mut joined = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
    for chunk in &chunks {
        joined.extend_from_slice(chunk);
    }
    joined.freeze()
}
