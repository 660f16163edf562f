//! One message, and how it lies in a Message frame. Payloads are shared with the input, never copied or parsed.

use crate::error::ProtocolError;
use crate::limits;
use crate::output::Output;
use crate::read::{Reader, at_most};
use bytes::Bytes;

/// One message of a Channel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// The routing word, matched by prefix; at most 65 535 bytes.
    pub subject: Bytes,
    /// What orders and places a message; absent is not the same as empty.
    pub key: Option<Bytes>,
    /// Names and values, repeatable, in order.
    pub headers: Vec<(String, Bytes)>,
    /// The payloads.
    pub parts: Vec<Bytes>,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
}

/// Why a message, or the prefixes of a subscription, cannot be put into a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {length} is above the limit of {limit}")]
pub struct MessageProblem {
    /// Which part of it.
    pub what: &'static str,
    /// How much it is.
    pub length: usize,
    /// How much it may be.
    pub limit: usize,
}

impl Message {
    /// Bytes of subject, key, headers and parts together: what payload limits count.
    #[must_use]
    #[inline]
    pub fn size_bytes(&self) -> usize {
        let mut size = self.subject.len().saturating_add(self.key.as_ref().map_or(0, Bytes::len));
        for (name, value) in &self.headers {
            size = size.saturating_add(name.len()).saturating_add(value.len());
        }
        self.parts.iter().fold(size, |size, part| size.saturating_add(part.len()))
    }

    /// Checks the limits that a frame sets; call it once where messages enter.
    ///
    /// # Errors
    /// Names the first part that is too long or too many.
    pub fn check(&self) -> Result<(), MessageProblem> {
        let within = |what, length: usize, limit: usize| {
            if length <= limit { Ok(()) } else { Err(MessageProblem { what, length, limit }) }
        };
        within("subject bytes", self.subject.len(), limits::SUBJECT_BYTES_MAX)?;
        within("number of headers", self.headers.len(), limits::HEADERS_MAX)?;
        within("number of parts", self.parts.len(), limits::PARTS_MAX)?;
        for (name, _) in &self.headers {
            within("header name bytes", name.len(), limits::HEADER_NAME_BYTES_MAX)?;
        }
        let size_max = usize::try_from(limits::MESSAGE_BYTES_MAX).unwrap_or(usize::MAX);
        within("bytes", self.size_bytes(), size_max)
    }
}

/// Where a message of a numbered subscription comes from: there the number in the frame counts what this
/// subscription was sent, and not what was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The publisher's sequence number, the same over all attempts.
    pub sequence: u64,
    /// 1 for the first try.
    pub attempt: u16,
    /// A request: how long its sender still waits.
    pub timeout_ms: Option<u32>,
}

/// The fields of a Message frame that say where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) sequence: u64,
    /// Set when it is not `sequence - 1`.
    pub(crate) previous: Option<u64>,
    pub(crate) origin: Option<Origin>,
}

/// Flag bits of a Message frame; the last one is of a Reply.
pub(crate) mod flags {
    /// `previous` is not `sequence - 1` and follows it.
    pub(crate) const PREVIOUS: u8 = 1;
    /// There is a key.
    pub(crate) const KEY: u8 = 2;
    /// There are headers.
    pub(crate) const HEADERS: u8 = 4;
    /// Not exactly one part: their number and lengths follow.
    pub(crate) const PARTS: u8 = 8;
    /// The subscription is numbered: the message's own sequence number and its attempt follow.
    pub(crate) const ORIGIN: u8 = 16;
    /// A request: its time follows. Only together with ORIGIN.
    pub(crate) const TIMEOUT: u8 = 32;
    /// What says something about the message itself.
    pub(crate) const CONTENT: u8 = KEY | HEADERS | PARTS;
    /// All bits that mean something.
    pub(crate) const ALL: u8 = PREVIOUS | CONTENT | ORIGIN | TIMEOUT;
    /// A Reply that is a problem instead of a message.
    pub(crate) const PROBLEM: u8 = 64;
}

#[inline]
pub(crate) fn flags_of(message: &Message, place: &Place) -> u8 {
    let mut bits = content_flags(message);
    if place.previous.is_some() {
        bits |= flags::PREVIOUS;
    }
    if let Some(origin) = &place.origin {
        bits |= flags::ORIGIN;
        if origin.timeout_ms.is_some() {
            bits |= flags::TIMEOUT;
        }
    }
    bits
}

#[inline]
pub(crate) fn content_flags(message: &Message) -> u8 {
    let mut bits = 0;
    if message.key.is_some() {
        bits |= flags::KEY;
    }
    if !message.headers.is_empty() {
        bits |= flags::HEADERS;
    }
    if message.parts.len() != 1 {
        bits |= flags::PARTS;
    }
    bits
}

/// Bytes of the body of a Message frame.
#[inline]
pub(crate) fn body_bytes(message: &Message, place: &Place) -> usize {
    let mut fixed: usize = if place.previous.is_some() { 16 } else { 8 };
    if let Some(origin) = &place.origin {
        fixed = fixed.saturating_add(if origin.timeout_ms.is_some() { 14 } else { 10 });
    }
    content_bytes(message).saturating_add(fixed)
}

/// Bytes of what says something about the message itself: from its time on.
#[inline]
pub(crate) fn content_bytes(message: &Message) -> usize {
    let mut size = message.size_bytes().saturating_add(10);
    if message.key.is_some() {
        size = size.saturating_add(4);
    }
    if !message.headers.is_empty() {
        size = size.saturating_add(2).saturating_add(message.headers.len().saturating_mul(6));
    }
    if message.parts.len() != 1 {
        size = size.saturating_add(2).saturating_add(message.parts.len().saturating_mul(4));
    }
    size
}

fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

fn long(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Appends the body. The message has passed [`Message::check`], so no length is cut here.
#[inline]
pub(crate) fn encode_body(output: &mut Output, place: &Place, message: &Message) {
    output.put_u64(place.sequence);
    if let Some(previous) = place.previous {
        output.put_u64(previous);
    }
    if let Some(origin) = &place.origin {
        output.put_u64(origin.sequence);
        output.put_u16(origin.attempt);
        if let Some(timeout_ms) = origin.timeout_ms {
            output.put_u32(timeout_ms);
        }
    }
    encode_content(output, message);
}

#[inline]
pub(crate) fn encode_content(output: &mut Output, message: &Message) {
    output.put_u64(message.timestamp_ms.cast_unsigned());
    output.put_u16(short(message.subject.len()));
    output.put_payload(&message.subject);
    if let Some(key) = &message.key {
        output.put_u32(long(key.len()));
        output.put_payload(key);
    }
    if !message.headers.is_empty() {
        output.put_u16(short(message.headers.len()));
        for (name, value) in &message.headers {
            output.put_u16(short(name.len()));
            output.put_slice(name.as_bytes());
            output.put_u32(long(value.len()));
            output.put_payload(value);
        }
    }
    if let [part] = message.parts.as_slice() {
        output.put_payload(part);
        return;
    }
    output.put_u16(short(message.parts.len()));
    for part in &message.parts {
        output.put_u32(long(part.len()));
        output.put_payload(part);
    }
}

/// What a Message frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) sequence: u64,
    pub(crate) previous: u64,
    pub(crate) origin: Option<Origin>,
    pub(crate) message: Message,
}

#[inline]
pub(crate) fn decode_body(bits: u8, body: Bytes) -> Result<Placed, ProtocolError> {
    if bits & !flags::ALL != 0 {
        return Err(ProtocolError::BadValue { what: "flags of a message" });
    }
    let mut reader = Reader::new(body);
    let sequence = reader.sequence("sequence")?;
    let previous = if bits & flags::PREVIOUS != 0 {
        reader.sequence("previous sequence")?
    } else {
        sequence.saturating_sub(1)
    };
    if previous >= sequence {
        return Err(ProtocolError::BadValue { what: "previous sequence" });
    }
    let origin = decode_origin(bits, &mut reader)?;
    let message = decode_content(bits, &mut reader)?;
    reader.end()?;
    Ok(Placed { sequence, previous, origin, message })
}

#[inline]
fn decode_origin(bits: u8, reader: &mut Reader) -> Result<Option<Origin>, ProtocolError> {
    let timed = bits & flags::TIMEOUT != 0;
    if bits & flags::ORIGIN == 0 {
        return if timed { Err(ProtocolError::BadValue { what: "flags of a message" }) } else { Ok(None) };
    }
    Ok(Some(Origin {
        sequence: reader.sequence("sequence of the first attempt")?,
        attempt: reader.u16("attempt")?,
        timeout_ms: if timed { Some(reader.u32("time of a request")?) } else { None },
    }))
}

#[inline]
pub(crate) fn decode_content(bits: u8, reader: &mut Reader) -> Result<Message, ProtocolError> {
    let timestamp_ms = reader.i64("timestamp")?;
    let subject = reader.short_bytes("subject")?;
    let key = if bits & flags::KEY != 0 { Some(reader.long_bytes("key")?) } else { None };
    let headers = if bits & flags::HEADERS != 0 { decode_headers(reader)? } else { Vec::new() };
    let parts = if bits & flags::PARTS != 0 { decode_parts(reader)? } else { vec![reader.rest()] };
    Ok(Message { subject, key, headers, parts, timestamp_ms })
}

fn decode_headers(reader: &mut Reader) -> Result<Vec<(String, Bytes)>, ProtocolError> {
    let count = usize::from(reader.u16("number of headers")?);
    at_most(count, limits::HEADERS_MAX, "number of headers")?;
    // A header takes six bytes at least, so the number cannot ask for more memory than came.
    at_most(count, reader.left() / 6, "number of headers")?;
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        let name = reader.text(limits::HEADER_NAME_BYTES_MAX, "header name")?;
        headers.push((name, reader.long_bytes("header value")?));
    }
    Ok(headers)
}

fn decode_parts(reader: &mut Reader) -> Result<Vec<Bytes>, ProtocolError> {
    let count = usize::from(reader.u16("number of parts")?);
    at_most(count, limits::PARTS_MAX, "number of parts")?;
    at_most(count, reader.left() / 4, "number of parts")?;
    let mut parts = Vec::with_capacity(count);
    for _ in 0..count {
        parts.push(reader.long_bytes("part")?);
    }
    Ok(parts)
}
