//! Numbered subscriptions: each delivery has a number of its own, by which the subscriber acknowledges, refuses or
//! answers it. The same message may come again under another number.

use super::{Event, Session};
use crate::error::ProtocolError;
use crate::frame::{Failure, Frame, Gap, Header, ReplyBody, Span, decode_reply};
use crate::limits;
use crate::message::{Message, Origin};
use bytes::Bytes;

impl Session {
    /// As publisher: sends one message of a numbered subscription, like [`Session::send_message`] with the number in
    /// place of the sequence number.
    pub fn send_work(&mut self, id: u32, number: u64, origin: Origin, message: &Message) -> bool {
        self.send(id, (number, Some(origin)), message)
    }

    /// As publisher: tells a numbered subscription what it does not get. Costs no credit. Returns false, and does
    /// nothing, when `number` does not come after the last one.
    pub fn send_numbered_gap(&mut self, id: u32, number: u64, gap: Gap) -> bool {
        let Some(last) = self.last_sent(id).filter(|last| **last < number) else { return false };
        *last = number;
        self.push_frame(id, &Frame::NumberedGap { number, gap });
        true
    }

    /// As publisher: like [`Self::send_numbered_gap`], with the next number.
    pub fn send_next_gap(&mut self, id: u32, gap: Gap) -> bool {
        let Some(number) = self.last_sent(id).map(|last| last.saturating_add(1)) else { return false };
        self.send_numbered_gap(id, number, gap)
    }

    /// As publisher of requests: replies of up to so many bytes may come from now on.
    pub fn expect_replies(&mut self, bytes_max: usize) {
        self.reply_bytes_max = self.reply_bytes_max.max(bytes_max);
    }

    /// As subscriber: the app is done with these deliveries. `spans` ascend and do not touch each other.
    pub fn ack(&mut self, id: u32, spans: &[Span]) {
        if self.is_standing(id) {
            for spans in spans.chunks(limits::SPANS_MAX) {
                self.push_frame(id, &Frame::Ack(spans.to_vec()));
            }
        }
    }

    /// As subscriber: the app wants these again, not before `delay_ms` have gone by.
    pub fn nack(&mut self, id: u32, delay_ms: u32, spans: &[Span]) {
        if self.is_standing(id) {
            for spans in spans.chunks(limits::SPANS_MAX) {
                self.push_frame(id, &Frame::Nack { delay_ms, spans: spans.to_vec() });
            }
        }
    }

    /// As subscriber: answers the request that came with `number`.
    pub fn reply(&mut self, id: u32, number: u64, outcome: Result<Message, Failure>) {
        if self.is_standing(id) && !self.closing {
            // Requests bound the replies: one each, and their number is the credit that this side gave.
            ReplyBody { number, outcome }.encode(id, &mut self.output);
        }
    }

    pub(super) const fn reply_frame_bytes_max(&self) -> usize {
        self.reply_bytes_max.saturating_add(limits::MESSAGE_OVERHEAD_BYTES_MAX)
    }

    /// What comes for a subscription that we refused meanwhile is ignored.
    pub(super) fn handle_ack(
        &mut self,
        id: u32,
        spans: Vec<Span>,
        again: Option<u32>,
    ) -> Result<(), ProtocolError> {
        let Some(last) = self.last_sent(id).copied() else { return Ok(()) };
        if let Some(beyond) = spans.last().filter(|span| span.last > last) {
            return Err(ProtocolError::OutOfOrder { id, sequence: beyond.last, last });
        }
        self.events.push_back(match again {
            None => Event::Ack { id, spans },
            Some(delay_ms) => Event::Nack { id, delay_ms, spans },
        });
        Ok(())
    }

    pub(super) fn handle_reply(&mut self, header: Header, body: Bytes) -> Result<(), ProtocolError> {
        let reply = decode_reply(header.flags, body)?;
        let id = header.id;
        let Some(last) = self.last_sent(id).copied() else { return Ok(()) };
        if reply.number > last {
            return Err(ProtocolError::OutOfOrder { id, sequence: reply.number, last });
        }
        self.events.push_back(Event::Reply { id, number: reply.number, outcome: reply.outcome });
        Ok(())
    }
}
