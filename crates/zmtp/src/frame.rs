//! Frames: flags, length, body. Lengths are checked before the body is waited for.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::SessionError;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;
const SHORT_BODY_MAX: usize = 255;
const SHORT_HEADER_BYTES: usize = 2;
const LONG_HEADER_BYTES: usize = 9;

/// One frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// More frames of the same message follow.
    pub more: bool,
    /// A command, not a part of a message.
    pub command: bool,
    /// The body: a slice of what was read, not a copy.
    pub body: Bytes,
}

/// Bytes of the header of a frame with a body of `body_bytes`.
#[must_use]
pub fn frame_header_len(body_bytes: usize) -> usize {
    if body_bytes > SHORT_BODY_MAX { LONG_HEADER_BYTES } else { SHORT_HEADER_BYTES }
}

/// Writes the header of a frame; the body must follow.
#[inline]
pub fn encode_frame_header(out: &mut BytesMut, more: bool, command: bool, body_bytes: usize) {
    let flags = if more { MORE } else { 0 } | if command { COMMAND } else { 0 };
    if let Ok(short) = u8::try_from(body_bytes) {
        out.put_u8(flags);
        out.put_u8(short);
    } else {
        out.put_u8(flags | LONG);
        // A usize never exceeds 64 bits on the platforms that Rust knows.
        out.put_u64(u64::try_from(body_bytes).unwrap_or(u64::MAX));
    }
}

/// Takes one frame off the front of `buffer`: `None` while it is not complete.
///
/// # Errors
/// Flags that ZMTP 3 does not know; a body above `message_bytes_max` or `command_bytes_max`,
/// whichever applies. Both are known from the header, before any byte of the body is there.
#[inline]
pub(crate) fn decode(
    buffer: &mut BytesMut,
    message_bytes_max: usize,
    command_bytes_max: usize,
) -> Result<Option<Frame>, SessionError> {
    let Some(flags) = buffer.first().copied() else {
        return Ok(None);
    };
    let command = flags & COMMAND != 0;
    let more = flags & MORE != 0;
    if flags & !(MORE | LONG | COMMAND) != 0 || (command && more) {
        return Err(SessionError::Flags(flags));
    }
    let (size, header_bytes) = if flags & LONG != 0 {
        let Some(bytes) = buffer.get(1..LONG_HEADER_BYTES).and_then(|b| <[u8; 8]>::try_from(b).ok()) else {
            return Ok(None);
        };
        (u64::from_be_bytes(bytes), LONG_HEADER_BYTES)
    } else {
        let Some(byte) = buffer.get(1) else {
            return Ok(None);
        };
        (u64::from(*byte), SHORT_HEADER_BYTES)
    };
    let (what, limit) = if command { ("command", command_bytes_max) } else { ("message", message_bytes_max) };
    let body_bytes = match usize::try_from(size) {
        Ok(bytes) if bytes <= limit => bytes,
        _ => {
            return Err(SessionError::TooLarge {
                what,
                size,
                limit: u64::try_from(limit).unwrap_or(u64::MAX),
            });
        }
    };
    let frame_bytes = header_bytes.saturating_add(body_bytes);
    if buffer.len() < frame_bytes {
        return Ok(None);
    }
    buffer.advance(header_bytes);
    let body = buffer.split_to(body_bytes).freeze();
    Ok(Some(Frame { more, command, body }))
}

#[cfg(test)]
mod tests;
