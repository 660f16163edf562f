//! Frames: a 32-bit length, then that many bytes, holding one request or one response.
//!
//! Splits a stream into frames without trusting the length, and wraps encoded messages into frames.

use bytes::{Buf, Bytes, BytesMut};

use crate::header::{RequestHeader, ResponseHeader};
use crate::primitives::{DecodeError, EncodeError, Reader, Writer, join};
use crate::schema::{Message, Request};

/// Largest frame that Kafka's own brokers accept, in bytes (`socket.request.max.bytes`).
pub const FRAME_BYTES_MAX: usize = 100 * 1024 * 1024;

/// Bytes of the length before each frame.
pub const LENGTH_BYTES: usize = 4;

/// A stream that cannot be split into frames; nothing after the fault can be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is negative.
    #[error("frame length {0} is negative; is the other side speaking Kafka's protocol?")]
    Negative(i32),
    /// The frame is larger than allowed.
    #[error(
        "frame of {length} bytes is above the limit of {max} bytes; is the other side speaking Kafka's protocol?"
    )]
    TooLarge {
        /// The announced length in bytes.
        length: usize,
        /// The limit in bytes.
        max: usize,
    },
}

/// Checks a frame's length against a limit in bytes.
pub fn check_length(raw: i32, max: usize) -> Result<usize, FrameError> {
    let length = usize::try_from(raw).map_err(|_| FrameError::Negative(raw))?;
    if length > max { Err(FrameError::TooLarge { length, max }) } else { Ok(length) }
}

/// Takes the next whole frame out of `buffer`, without its length; `None` until all of it is there.
///
/// A frame longer than `max` bytes is refused as soon as its length is known. When the length is
/// known and the frame is not there yet, `buffer` is given room for what has already announced itself,
/// at most doubling: an announced length alone never reserves the whole of it.
pub fn split(buffer: &mut BytesMut, max: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(prefix) = buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = check_length(i32::from_be_bytes(*prefix), max)?;
    let wanted = length.saturating_add(LENGTH_BYTES);
    if buffer.len() < wanted {
        let missing = wanted.saturating_sub(buffer.len());
        buffer.reserve(missing.min(buffer.len().max(RESERVED_BYTES_MIN)));
        return Ok(None);
    }
    buffer.advance(LENGTH_BYTES);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// Room made at least for a frame that has begun to arrive.
const RESERVED_BYTES_MIN: usize = 16 * 1024;

/// A frame ready to be written: its length, header and body as chunks, in order.
#[derive(Debug, Clone, Default)]
pub struct Encoded {
    chunks: Vec<Bytes>,
    len: usize,
}

impl Encoded {
    /// Puts the length before what `writer` holds.
    pub fn from_writer(writer: Writer) -> Result<Self, EncodeError> {
        let body_len = writer.len();
        let prefix = i32::try_from(body_len).map_err(|_| EncodeError::TooLong(body_len))?;
        let mut chunks = writer.into_chunks();
        let mut head = BytesMut::from(prefix.to_be_bytes().as_slice());
        // The first chunk is the header and small: one chunk for both saves a system call's worth of work.
        if chunks.first().is_some_and(|first| first.len() <= RESERVED_BYTES_MIN) {
            head.extend_from_slice(&chunks.remove(0));
        }
        chunks.insert(0, head.freeze());
        Ok(Self { chunks, len: body_len.saturating_add(LENGTH_BYTES) })
    }

    /// Bytes of the frame, its length field included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The chunks in order, for a vectored write.
    #[must_use]
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// The chunks in order.
    #[must_use]
    pub fn into_chunks(self) -> Vec<Bytes> {
        self.chunks
    }

    /// The whole frame in one piece; copies when there are several chunks.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        join(self.chunks)
    }
}

/// Makes the frame of a request.
pub fn request<R: Request>(
    body: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
) -> Result<Encoded, EncodeError> {
    let header = RequestHeader {
        api_key: R::API_KEY.code(),
        api_version: version,
        correlation_id,
        client_id: client_id.map(ToOwned::to_owned),
    };
    let mut writer = Writer::new();
    header.encode(&mut writer)?;
    body.encode(&mut writer, version)?;
    Encoded::from_writer(writer)
}

/// Makes the frame of the response to a request `R` of `version`.
pub fn response<R: Request>(
    body: &R::Response,
    version: i16,
    correlation_id: i32,
) -> Result<Encoded, EncodeError> {
    let mut writer = Writer::new();
    ResponseHeader { correlation_id }.encode(&mut writer, R::API_KEY, version);
    body.encode(&mut writer, version)?;
    Encoded::from_writer(writer)
}

/// Reads the response to a request `R` of `version` from its frame (without length).
pub fn decode_response<R: Request>(
    frame: Bytes,
    version: i16,
) -> Result<(ResponseHeader, R::Response), DecodeError> {
    let mut reader = Reader::new(frame);
    let header = ResponseHeader::decode(&mut reader, R::API_KEY, version)?;
    let body = R::Response::decode(&mut reader, version)?;
    Ok((header, body))
}

#[cfg(test)]
mod tests;
