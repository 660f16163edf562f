//! Frames: a header of ten bytes and a body. Encoding and decoding of all kinds but Message.
//! Nothing here knows which frame may come when.

mod parts;
mod reason;
mod work;

pub use reason::GapReason;
pub use work::{Failure, FailureCode, Span};
pub(crate) use work::{ReplyBody, decode_reply};

use crate::error::ProtocolError;
use crate::limits;
use crate::locality::Locality;
use crate::output::Output;
use crate::read::Reader;
use bytes::Bytes;
use parts::{cut, put_hello, put_prefixes, put_text, read_hello, read_prefixes};

/// The numbers of the frame kinds.
pub(crate) mod kind {
    pub(crate) const HELLO: u8 = 1;
    pub(crate) const SUBSCRIBE: u8 = 2;
    pub(crate) const SUBSCRIBED: u8 = 3;
    pub(crate) const UNSUBSCRIBE: u8 = 4;
    pub(crate) const PREFIXES: u8 = 5;
    pub(crate) const CREDIT: u8 = 6;
    pub(crate) const MESSAGE: u8 = 7;
    pub(crate) const GAP: u8 = 8;
    pub(crate) const REFUSE: u8 = 9;
    pub(crate) const PING: u8 = 10;
    pub(crate) const PONG: u8 = 11;
    pub(crate) const GOODBYE: u8 = 12;
    pub(crate) const UNSUBSCRIBED: u8 = 13;
    pub(crate) const ACK: u8 = 20;
    pub(crate) const NACK: u8 = 21;
    pub(crate) const REPLY: u8 = 22;
}

/// Set in the flags of a frame that a receiver may skip when it does not know its kind.
pub(crate) const FLAG_OPTIONAL: u8 = 0x80;
/// Set in the flags of a Subscribe that goes on from an earlier connection.
const FLAG_RESUME: u8 = 1;
/// Set in the flags of a Gap of a numbered subscription.
const FLAG_NUMBERED: u8 = 1;
/// Set in the flags of a Subscribe that begins with what the publisher keeps.
const FLAG_REPLAY: u8 = 2;
/// Set in the flags of a Subscribe that says which of several it is.
const FLAG_ORDINAL: u8 = 4;
const MAGIC: u32 = u32::from_be_bytes(*b"PNCE");

/// The first frame of each side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The oldest version that the sender understands.
    pub version_oldest: u16,
    /// The newest.
    pub version_newest: u16,
    /// Changes whenever the sender's process starts, and with it the numbering of its messages.
    pub epoch: u64,
    /// `NAMESPACE/POD`.
    pub sidecar: String,
    /// Where the sender runs; from version 3 on.
    pub locality: Locality,
}

/// Where a subscription stood when its last connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// The publisher's epoch.
    pub epoch: u64,
    /// All up to this sequence number have come, or were told as a gap, or did not match.
    pub received: u64,
}

/// Asks for the messages of one Channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// Of the Channel's object.
    pub namespace: String,
    /// Of the Channel's object.
    pub name: String,
    /// The largest payload that the subscriber takes, in bytes.
    pub message_bytes_max: u32,
    /// Messages that may be sent at once.
    pub credit_messages: u32,
    /// Bytes of Message frames that may be sent at once.
    pub credit_bytes: u64,
    /// Set when this subscription had an earlier connection.
    pub resume: Option<Resume>,
    /// Without an earlier connection: begin with the oldest message that the publisher keeps.
    pub replay: bool,
    /// Ascends with each Subscribe of this subscription, whatever connection it goes over: of two that pass each other
    /// the greater counts. Not sent to a peer that does not know it.
    pub ordinal: Option<u64>,
    /// Subjects that start with one of these; none = all.
    pub prefixes: Vec<Bytes>,
}

/// Messages that a subscription does not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first sequence number missed.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// How many of them were meant for this subscription; 0 = not known.
    pub messages: u64,
    /// Why.
    pub reason: GapReason,
}

/// Why a subscription is not served, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// The subscriber's identity may not subscribe.
    PermissionDenied,
    /// The publisher knows no such Channel, or does not publish to it.
    NotFound,
    /// The publisher cannot serve this Channel.
    NotSupported,
    /// The publisher has no room for another subscription.
    ResourceExhausted,
    /// The publisher is not ready; try again later.
    Unavailable,
}

impl RefusalCode {
    const fn number(self) -> u8 {
        match self {
            Self::PermissionDenied => 1,
            Self::NotFound => 2,
            Self::NotSupported => 3,
            Self::ResourceExhausted => 4,
            Self::Unavailable => 5,
        }
    }

    const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::PermissionDenied,
            2 => Self::NotFound,
            3 => Self::NotSupported,
            4 => Self::ResourceExhausted,
            _ => Self::Unavailable,
        }
    }
}

/// A refusal with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of refusal.
    pub code: RefusalCode,
    /// Names the object and the field to change.
    pub text: String,
}

/// Why a side ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GoodbyeCode {
    /// The process shuts down; all that could be sent was sent before.
    Draining,
    /// Nothing is needed from the other side any more.
    Unneeded,
    /// Another connection between the two sidecars takes over.
    Duplicate,
    /// The other side broke the protocol.
    ProtocolError,
    /// The other side's identity is not the one that the view names.
    Identity,
}

impl GoodbyeCode {
    const fn number(self) -> u8 {
        match self {
            Self::Draining => 1,
            Self::Unneeded => 2,
            Self::Duplicate => 3,
            Self::ProtocolError => 4,
            Self::Identity => 5,
        }
    }

    const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Draining,
            2 => Self::Unneeded,
            3 => Self::Duplicate,
            5 => Self::Identity,
            _ => Self::ProtocolError,
        }
    }
}

/// The last frame of a side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goodbye {
    /// Why.
    pub code: GoodbyeCode,
    /// More about it.
    pub text: String,
}

/// Any frame but Message and Reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    Hello(Hello),
    Subscribe(Subscribe),
    Subscribed {
        received: u64,
    },
    Unsubscribe,
    Unsubscribed,
    Prefixes(Vec<Bytes>),
    Credit {
        messages: u32,
        bytes: u64,
        received: u64,
    },
    Gap(Gap),
    /// Of a numbered subscription: the range speaks of what was published, the number counts with the messages.
    NumberedGap {
        number: u64,
        gap: Gap,
    },
    Ack(Vec<Span>),
    Nack {
        delay_ms: u32,
        spans: Vec<Span>,
    },
    Refuse(Refusal),
    Ping(u64),
    Pong(u64),
    Goodbye(Goodbye),
}

/// The fixed part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Bytes after the length field.
    pub(crate) length: usize,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) id: u32,
}

impl Header {
    /// Reads the header at the start of `input`; `None` when it is not all there.
    #[inline]
    pub(crate) fn peek(input: &[u8]) -> Option<Self> {
        let (header, _) = input.split_first_chunk::<{ limits::HEADER_BYTES }>()?;
        let [a, b, c, d, kind, flags, e, f, g, h] = *header;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        Some(Self { length, kind, flags, id: u32::from_be_bytes([e, f, g, h]) })
    }

    /// Bytes of the whole frame.
    pub(crate) const fn frame_bytes(&self) -> usize {
        self.length.saturating_add(limits::LENGTH_BYTES)
    }

    fn bytes(&self) -> [u8; limits::HEADER_BYTES] {
        let [a, b, c, d] = u32::try_from(self.length).unwrap_or(u32::MAX).to_be_bytes();
        let [e, f, g, h] = self.id.to_be_bytes();
        [a, b, c, d, self.kind, self.flags, e, f, g, h]
    }

    #[inline]
    pub(crate) fn encode(&self, output: &mut Output) {
        output.put_slice(&self.bytes());
    }
}

/// The header for a body of `body_bytes`.
pub(crate) const fn header(kind: u8, flags: u8, id: u32, body_bytes: usize) -> Header {
    let length = body_bytes.saturating_add(limits::HEADER_BYTES.saturating_sub(limits::LENGTH_BYTES));
    Header { length, kind, flags, id }
}

impl Frame {
    /// Appends the frame to `output`. Bodies of these kinds are small, so they are made apart first.
    pub(crate) fn encode(&self, id: u32, output: &mut Output) {
        let mut body = Output::default();
        let mut flags = 0;
        let kind = match self {
            Self::Hello(hello) => {
                put_hello(&mut body, hello);
                kind::HELLO
            }
            Self::Subscribe(subscribe) => {
                flags = put_subscribe(&mut body, subscribe);
                kind::SUBSCRIBE
            }
            Self::Subscribed { received } => {
                body.put_u64(*received);
                kind::SUBSCRIBED
            }
            Self::Unsubscribe => kind::UNSUBSCRIBE,
            Self::Unsubscribed => kind::UNSUBSCRIBED,
            Self::Prefixes(prefixes) => {
                put_prefixes(&mut body, prefixes);
                kind::PREFIXES
            }
            Self::Credit { messages, bytes, received } => {
                body.put_u32(*messages);
                body.put_u64(*bytes);
                body.put_u64(*received);
                kind::CREDIT
            }
            Self::Gap(gap) => {
                put_gap(&mut body, gap);
                kind::GAP
            }
            Self::NumberedGap { number, gap } => {
                flags = FLAG_NUMBERED;
                body.put_u64(*number);
                put_gap(&mut body, gap);
                kind::GAP
            }
            Self::Ack(spans) => {
                work::put_spans(&mut body, spans);
                kind::ACK
            }
            Self::Nack { delay_ms, spans } => {
                body.put_u32(*delay_ms);
                work::put_spans(&mut body, spans);
                kind::NACK
            }
            Self::Refuse(refusal) => {
                body.put_u8(refusal.code.number());
                put_text(&mut body, cut(&refusal.text));
                kind::REFUSE
            }
            Self::Ping(token) => {
                body.put_u64(*token);
                kind::PING
            }
            Self::Pong(token) => {
                body.put_u64(*token);
                kind::PONG
            }
            Self::Goodbye(goodbye) => {
                body.put_u8(goodbye.code.number());
                put_text(&mut body, cut(&goodbye.text));
                kind::GOODBYE
            }
        };
        header(kind, flags, id, body.len()).encode(output);
        while let Some(chunk) = body.pop() {
            output.put_slice(&chunk);
        }
        output.end_frame();
    }

    /// Reads the body of a frame whose header was checked; `None` for an optional kind that is not known.
    pub(crate) fn decode(header: Header, body: Bytes) -> Result<Option<Self>, ProtocolError> {
        let mut reader = Reader::new(body);
        let frame = match header.kind {
            // A newer peer may say more after the fields that are known here.
            kind::HELLO => return Ok(Some(Self::Hello(read_hello(&mut reader)?))),
            kind::SUBSCRIBE => Self::Subscribe(read_subscribe(header.flags, &mut reader)?),
            kind::SUBSCRIBED => Self::Subscribed { received: reader.sequence("received")? },
            kind::UNSUBSCRIBE => Self::Unsubscribe,
            kind::UNSUBSCRIBED => Self::Unsubscribed,
            kind::PREFIXES => Self::Prefixes(read_prefixes(&mut reader)?),
            kind::CREDIT => Self::Credit {
                messages: reader.u32("credit in messages")?,
                bytes: reader.u64("credit in bytes")?,
                received: reader.sequence("received")?,
            },
            kind::GAP if header.flags & FLAG_NUMBERED != 0 => {
                let number = reader.sequence("number of a gap")?;
                Self::NumberedGap { number, gap: read_gap(&mut reader)? }
            }
            kind::GAP => Self::Gap(read_gap(&mut reader)?),
            kind::ACK => Self::Ack(work::read_spans(&mut reader)?),
            kind::NACK => {
                Self::Nack { delay_ms: reader.u32("delay of a nack")?, spans: work::read_spans(&mut reader)? }
            }
            kind::REFUSE => {
                let code = RefusalCode::from_number(reader.u8("refusal code")?);
                Self::Refuse(Refusal { code, text: reader.text(limits::TEXT_BYTES_MAX, "refusal text")? })
            }
            kind::PING => Self::Ping(reader.u64("ping token")?),
            kind::PONG => Self::Pong(reader.u64("pong token")?),
            kind::GOODBYE => {
                let code = GoodbyeCode::from_number(reader.u8("goodbye code")?);
                Self::Goodbye(Goodbye { code, text: reader.text(limits::TEXT_BYTES_MAX, "goodbye text")? })
            }
            _ if header.flags & FLAG_OPTIONAL != 0 => return Ok(None),
            kind => return Err(ProtocolError::UnknownKind { kind }),
        };
        reader.end()?;
        Ok(Some(frame))
    }
}

/// Returns the frame's flags.
fn put_subscribe(body: &mut Output, subscribe: &Subscribe) -> u8 {
    put_text(body, &subscribe.namespace);
    put_text(body, &subscribe.name);
    body.put_u32(subscribe.message_bytes_max);
    body.put_u32(subscribe.credit_messages);
    body.put_u64(subscribe.credit_bytes);
    if let Some(resume) = subscribe.resume {
        body.put_u64(resume.epoch);
        body.put_u64(resume.received);
    }
    if let Some(ordinal) = subscribe.ordinal {
        body.put_u64(ordinal);
    }
    put_prefixes(body, &subscribe.prefixes);
    let ordinal = if subscribe.ordinal.is_some() { FLAG_ORDINAL } else { 0 };
    let resume = if subscribe.resume.is_some() { FLAG_RESUME } else { 0 };
    let replay = if subscribe.replay { FLAG_REPLAY } else { 0 };
    resume | replay | ordinal
}

fn read_subscribe(flags: u8, reader: &mut Reader) -> Result<Subscribe, ProtocolError> {
    Ok(Subscribe {
        namespace: reader.text(limits::NAME_BYTES_MAX, "namespace")?,
        name: reader.text(limits::NAME_BYTES_MAX, "channel name")?,
        message_bytes_max: reader.u32("message limit")?,
        credit_messages: reader.u32("credit in messages")?,
        credit_bytes: reader.u64("credit in bytes")?,
        resume: if flags & FLAG_RESUME != 0 {
            Some(Resume { epoch: reader.u64("resume epoch")?, received: reader.sequence("resume sequence")? })
        } else {
            None
        },
        replay: flags & FLAG_REPLAY != 0,
        ordinal: if flags & FLAG_ORDINAL != 0 { Some(reader.u64("ordinal of a subscribe")?) } else { None },
        prefixes: read_prefixes(reader)?,
    })
}

fn put_gap(body: &mut Output, gap: &Gap) {
    body.put_u64(gap.first);
    body.put_u64(gap.last);
    body.put_u64(gap.messages);
    body.put_u8(gap.reason.number());
}

fn read_gap(reader: &mut Reader) -> Result<Gap, ProtocolError> {
    let gap = Gap {
        first: reader.sequence("first of a gap")?,
        last: reader.sequence("last of a gap")?,
        messages: reader.u64("messages of a gap")?,
        reason: GapReason::from_number(reader.u8("gap reason")?),
    };
    let most = gap.last.checked_sub(gap.first).and_then(|span| span.checked_add(1));
    if gap.first == 0 || most.is_none_or(|most| gap.messages > most) {
        return Err(ProtocolError::BadValue { what: "range of a gap" });
    }
    Ok(gap)
}

#[cfg(test)]
mod tests;
