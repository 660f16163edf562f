//! What a subscriber sends back for numbered subscriptions: acks and nacks in ranges, and replies.

use crate::error::ProtocolError;
use crate::limits;
use crate::message::{Message, content_bytes, content_flags, decode_content, encode_content, flags};
use crate::output::Output;
use crate::read::{Reader, at_most};

use super::parts::{cut, put_text};
use super::{header, kind};
use bytes::Bytes;

/// Neighbouring numbers of one subscription, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// Why a request has no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureCode {
    /// The one who answers may not, or does not want to.
    PermissionDenied,
    /// What was asked for does not exist.
    NotFound,
    /// Not something that this one can do.
    NotSupported,
    /// The request makes no sense.
    InvalidArgument,
    /// Try again later.
    Unavailable,
    /// It took too long.
    DeadlineExceeded,
    /// Too much of something.
    ResourceExhausted,
    /// Anything else.
    Internal,
}

impl FailureCode {
    const fn number(self) -> u8 {
        match self {
            Self::Internal => 0,
            Self::PermissionDenied => 1,
            Self::NotFound => 2,
            Self::NotSupported => 3,
            Self::ResourceExhausted => 4,
            Self::Unavailable => 5,
            Self::InvalidArgument => 6,
            Self::DeadlineExceeded => 7,
        }
    }

    pub(super) const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::PermissionDenied,
            2 => Self::NotFound,
            3 => Self::NotSupported,
            4 => Self::ResourceExhausted,
            5 => Self::Unavailable,
            6 => Self::InvalidArgument,
            7 => Self::DeadlineExceeded,
            _ => Self::Internal,
        }
    }
}

/// The answer to a request that could not be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of problem.
    pub code: FailureCode,
    /// What the one who asked reads.
    pub text: String,
}

pub(super) fn put_spans(body: &mut Output, spans: &[Span]) {
    debug_assert!(spans.len() <= limits::SPANS_MAX);
    body.put_u16(u16::try_from(spans.len()).unwrap_or(u16::MAX));
    for span in spans {
        body.put_u64(span.first);
        body.put_u64(span.last);
    }
}

/// Spans ascend and do not touch each other, so their number is bounded by what was sent.
pub(super) fn read_spans(reader: &mut Reader) -> Result<Vec<Span>, ProtocolError> {
    let count = usize::from(reader.u16("number of ranges")?);
    at_most(count, limits::SPANS_MAX, "number of ranges")?;
    at_most(count, reader.left() / 16, "number of ranges")?;
    let mut spans = Vec::with_capacity(count);
    let mut least = 1;
    for _ in 0..count {
        let span =
            Span { first: reader.sequence("first of a range")?, last: reader.sequence("last of a range")? };
        if span.first < least || span.last < span.first {
            return Err(ProtocolError::BadValue { what: "order of ranges" });
        }
        least = span.last.saturating_add(2);
        spans.push(span);
    }
    Ok(spans)
}

/// What a Reply frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplyBody {
    /// Of the request, as its subscription counts.
    pub(crate) number: u64,
    pub(crate) outcome: Result<Message, Failure>,
}

impl ReplyBody {
    /// Appends the whole frame to `output`.
    pub(crate) fn encode(&self, id: u32, output: &mut Output) {
        match &self.outcome {
            Ok(message) => {
                let bytes = content_bytes(message).saturating_add(8);
                header(kind::REPLY, content_flags(message), id, bytes).encode(output);
                output.put_u64(self.number);
                encode_content(output, message);
            }
            Err(failure) => {
                let text = cut(&failure.text);
                header(kind::REPLY, flags::PROBLEM, id, text.len().saturating_add(11)).encode(output);
                output.put_u64(self.number);
                output.put_u8(failure.code.number());
                put_text(output, text);
            }
        }
        output.end_frame();
    }
}

pub(crate) fn decode_reply(bits: u8, body: Bytes) -> Result<ReplyBody, ProtocolError> {
    let mut reader = Reader::new(body);
    let number = reader.sequence("number of a reply")?;
    let outcome = if bits == flags::PROBLEM {
        let code = FailureCode::from_number(reader.u8("code of a reply")?);
        Err(Failure { code, text: reader.text(limits::TEXT_BYTES_MAX, "text of a reply")? })
    } else if bits & !flags::CONTENT == 0 {
        Ok(decode_content(bits, &mut reader)?)
    } else {
        return Err(ProtocolError::BadValue { what: "flags of a reply" });
    };
    reader.end()?;
    Ok(ReplyBody { number, outcome })
}
