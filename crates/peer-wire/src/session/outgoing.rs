//! The publisher's half of a session: credit that the peer gave us, and what was sent for it.

use super::{Event, Session};
use crate::error::ProtocolError;
use crate::frame::{Frame, Gap, Refusal, RefusalCode, Subscribe, header, kind};
use crate::limits;
use crate::message::{Message, Origin, Place, body_bytes, encode_body, flags_of};
use bytes::Bytes;

/// What may be sent: messages strictly, bytes until a message takes them to zero or below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Credit {
    /// Messages.
    pub messages: u32,
    /// Bytes of Message frames.
    pub bytes: u64,
}

/// One subscription of the peer.
#[derive(Debug)]
pub(crate) struct Outgoing {
    accepted: bool,
    message_bytes_max: u32,
    credit_messages: u32,
    credit_bytes: i64,
    /// The last sequence number that was sent or told as a gap.
    last: u64,
    prefix_bytes: usize,
}

impl Session {
    /// Accepts a subscription of the peer; what follows comes after `received`.
    pub fn accept(&mut self, id: u32, received: u64) {
        let Some(outgoing) = self.outgoing.get_mut(&id) else { return };
        outgoing.accepted = true;
        outgoing.last = received;
        self.push_frame(id, &Frame::Subscribed { received });
    }

    /// Refuses a subscription of the peer, or ends one that stands.
    pub fn refuse(&mut self, id: u32, code: RefusalCode, text: &str) {
        if self.forget(id) {
            self.push_frame(id, &Frame::Refuse(Refusal { code, text: text.to_owned() }));
        }
    }

    /// What may be sent now; nothing for a subscription that does not stand.
    #[must_use]
    pub fn credit(&self, id: u32) -> Credit {
        match self.outgoing.get(&id) {
            Some(outgoing) if outgoing.accepted && !self.closing => Credit {
                messages: outgoing.credit_messages,
                bytes: u64::try_from(outgoing.credit_bytes).unwrap_or(0),
            },
            _ => Credit::default(),
        }
    }

    /// The largest payload that the subscriber takes, in bytes.
    #[must_use]
    pub fn message_bytes_max(&self, id: u32) -> usize {
        let limit = self.outgoing.get(&id).map_or(0, |outgoing| outgoing.message_bytes_max);
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    /// Sends one message. Returns false, and does nothing, without credit, when it is larger than
    /// [`Self::message_bytes_max`], or when its sequence number is not above the last one.
    pub fn send_message(&mut self, id: u32, sequence: u64, message: &Message) -> bool {
        self.send(id, (sequence, None), message)
    }

    pub(super) fn send(
        &mut self,
        id: u32,
        (sequence, origin): (u64, Option<Origin>),
        message: &Message,
    ) -> bool {
        let closing = self.closing;
        let Some(outgoing) = self.outgoing.get_mut(&id) else { return false };
        let payload_max = usize::try_from(outgoing.message_bytes_max).unwrap_or(usize::MAX);
        let allowed = outgoing.accepted && outgoing.credit_messages > 0 && outgoing.credit_bytes > 0;
        if closing || !allowed || sequence <= outgoing.last || message.size_bytes() > payload_max {
            return false;
        }
        let previous = (outgoing.last != sequence.saturating_sub(1)).then_some(outgoing.last);
        let place = Place { sequence, previous, origin };
        let header = header(kind::MESSAGE, flags_of(message, &place), id, body_bytes(message, &place));
        outgoing.credit_messages = outgoing.credit_messages.saturating_sub(1);
        let frame_bytes = i64::try_from(header.frame_bytes()).unwrap_or(i64::MAX);
        outgoing.credit_bytes = outgoing.credit_bytes.saturating_sub(frame_bytes);
        outgoing.last = sequence;
        header.encode(&mut self.output);
        encode_body(&mut self.output, &place, message);
        self.output.end_frame();
        true
    }

    /// The last number that was sent, or told as a gap, for a subscription of the peer.
    pub(super) fn last_sent(&mut self, id: u32) -> Option<&mut u64> {
        self.outgoing.get_mut(&id).filter(|outgoing| outgoing.accepted).map(|outgoing| &mut outgoing.last)
    }

    /// Tells the subscriber what it does not get. Costs no credit. Returns false, and does nothing, when the
    /// range does not come after the last message.
    pub fn send_gap(&mut self, id: u32, gap: Gap) -> bool {
        let Some(outgoing) = self.outgoing.get_mut(&id) else { return false };
        if !outgoing.accepted || gap.first <= outgoing.last || gap.last < gap.first {
            return false;
        }
        outgoing.last = gap.last;
        self.push_frame(id, &Frame::Gap(gap));
        true
    }

    fn forget(&mut self, id: u32) -> bool {
        let Some(outgoing) = self.outgoing.remove(&id) else { return false };
        self.prefix_bytes = self.prefix_bytes.saturating_sub(outgoing.prefix_bytes);
        true
    }

    pub(super) fn handle_subscribe(&mut self, id: u32, subscribe: Subscribe) -> Result<(), ProtocolError> {
        if self.outgoing.contains_key(&id) {
            return Err(ProtocolError::Unexpected { what: "a second subscription with the same id" });
        }
        if self.outgoing.len() >= limits::SUBSCRIPTIONS_MAX {
            let text = format!("more than {} subscriptions over one connection", limits::SUBSCRIPTIONS_MAX);
            let refusal = Refusal { code: RefusalCode::ResourceExhausted, text };
            self.push_frame(id, &Frame::Refuse(refusal));
            return self.check_output();
        }
        let prefix_bytes = limits::prefix_bytes(&subscribe.prefixes);
        self.count_prefixes(0, prefix_bytes)?;
        let mut outgoing = Outgoing {
            accepted: false,
            message_bytes_max: subscribe.message_bytes_max.min(limits::MESSAGE_BYTES_MAX),
            credit_messages: 0,
            credit_bytes: 0,
            last: 0,
            prefix_bytes,
        };
        outgoing.add(Credit { messages: subscribe.credit_messages, bytes: subscribe.credit_bytes })?;
        self.outgoing.insert(id, outgoing);
        self.events.push_back(Event::Subscribe { id, subscribe });
        Ok(())
    }

    fn count_prefixes(&mut self, before: usize, after: usize) -> Result<(), ProtocolError> {
        let sum = self.prefix_bytes.saturating_sub(before).saturating_add(after);
        crate::read::at_most(sum, limits::PREFIX_BYTES_SESSION_MAX, "bytes of all prefixes")?;
        self.prefix_bytes = sum;
        Ok(())
    }

    /// A subscription that we refused meanwhile is answered by that refusal.
    pub(super) fn handle_unsubscribe(&mut self, id: u32) {
        if self.forget(id) {
            self.push_frame(id, &Frame::Unsubscribed);
            self.events.push_back(Event::Unsubscribe { id });
        }
    }

    pub(super) fn handle_prefixes(&mut self, id: u32, prefixes: Vec<Bytes>) -> Result<(), ProtocolError> {
        let after = limits::prefix_bytes(&prefixes);
        let Some(outgoing) = self.outgoing.get_mut(&id) else { return Ok(()) };
        let before = std::mem::replace(&mut outgoing.prefix_bytes, after);
        self.count_prefixes(before, after)?;
        self.events.push_back(Event::Prefixes { id, prefixes });
        Ok(())
    }

    pub(super) fn handle_credit(
        &mut self,
        id: u32,
        more: Credit,
        received: u64,
    ) -> Result<(), ProtocolError> {
        let Some(outgoing) = self.outgoing.get_mut(&id) else { return Ok(()) };
        if received > outgoing.last {
            return Err(ProtocolError::OutOfOrder { id, sequence: received, last: outgoing.last });
        }
        outgoing.add(more)?;
        self.events.push_back(Event::Credit { id, messages: more.messages, received });
        Ok(())
    }
}

impl Outgoing {
    fn add(&mut self, more: Credit) -> Result<(), ProtocolError> {
        let messages = self.credit_messages.saturating_add(more.messages);
        let bytes = self.credit_bytes.saturating_add(i64::try_from(more.bytes).unwrap_or(i64::MAX));
        if messages > limits::CREDIT_MESSAGES_MAX {
            return Err(ProtocolError::BadValue { what: "credit in messages" });
        }
        if bytes > i64::try_from(limits::CREDIT_BYTES_MAX).unwrap_or(i64::MAX) {
            return Err(ProtocolError::BadValue { what: "credit in bytes" });
        }
        self.credit_messages = messages;
        self.credit_bytes = bytes;
        Ok(())
    }
}
