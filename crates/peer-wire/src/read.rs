//! Reads the fields of a frame's body. Every length is checked before it is used.

use crate::error::ProtocolError;
use bytes::{Buf as _, Bytes};

/// The unread rest of a body.
pub(crate) struct Reader(Bytes);

impl Reader {
    pub(crate) const fn new(body: Bytes) -> Self {
        Self(body)
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, ProtocolError> {
        self.0.try_get_u8().map_err(|_| ProtocolError::Truncated { what })
    }

    #[inline]
    pub(crate) fn u16(&mut self, what: &'static str) -> Result<u16, ProtocolError> {
        self.0.try_get_u16().map_err(|_| ProtocolError::Truncated { what })
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, ProtocolError> {
        self.0.try_get_u32().map_err(|_| ProtocolError::Truncated { what })
    }

    #[inline]
    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, ProtocolError> {
        self.0.try_get_u64().map_err(|_| ProtocolError::Truncated { what })
    }

    #[inline]
    pub(crate) fn i64(&mut self, what: &'static str) -> Result<i64, ProtocolError> {
        self.0.try_get_i64().map_err(|_| ProtocolError::Truncated { what })
    }

    /// A sequence number: it must fit a signed 64-bit integer, since apps see it as one.
    #[inline]
    pub(crate) fn sequence(&mut self, what: &'static str) -> Result<u64, ProtocolError> {
        let value = self.u64(what)?;
        if i64::try_from(value).is_err() {
            return Err(ProtocolError::BadValue { what });
        }
        Ok(value)
    }

    /// The next `length` bytes, shared with the input.
    #[inline]
    pub(crate) fn bytes(&mut self, length: usize, what: &'static str) -> Result<Bytes, ProtocolError> {
        if length == 0 {
            return Ok(Bytes::new());
        }
        if length > self.0.len() {
            return Err(ProtocolError::Truncated { what });
        }
        Ok(self.0.split_to(length))
    }

    /// A u16 length and that many bytes.
    #[inline]
    pub(crate) fn short_bytes(&mut self, what: &'static str) -> Result<Bytes, ProtocolError> {
        let length = usize::from(self.u16(what)?);
        self.bytes(length, what)
    }

    /// A u32 length and that many bytes.
    pub(crate) fn long_bytes(&mut self, what: &'static str) -> Result<Bytes, ProtocolError> {
        let length = usize::try_from(self.u32(what)?).map_err(|_| ProtocolError::Truncated { what })?;
        self.bytes(length, what)
    }

    /// A u16 length and that many bytes of UTF-8, at most `limit`.
    pub(crate) fn text(&mut self, limit: usize, what: &'static str) -> Result<String, ProtocolError> {
        let bytes = self.short_bytes(what)?;
        at_most(bytes.len(), limit, what)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| ProtocolError::BadValue { what })?;
        Ok(text.to_owned())
    }

    /// All that is left.
    #[inline]
    pub(crate) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn left(&self) -> usize {
        self.0.len()
    }

    /// Nothing may be left.
    #[inline]
    pub(crate) fn end(self) -> Result<(), ProtocolError> {
        match self.0.len() {
            0 => Ok(()),
            left => Err(ProtocolError::TrailingBytes { left }),
        }
    }
}

/// Refuses what is above its limit.
pub(crate) fn at_most(length: usize, limit: usize, what: &'static str) -> Result<(), ProtocolError> {
    if length <= limit {
        return Ok(());
    }
    let widen = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    Err(ProtocolError::TooLong { what, length: widen(length), limit: widen(limit) })
}
