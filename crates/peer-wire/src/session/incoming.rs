//! The subscriber's half of a session: credit that we gave, sequence numbers, confirmations.

use super::{Credit, Event, Sequenced, Session};
use crate::error::ProtocolError;
use crate::frame::{Frame, Gap, GapReason, Header, Refusal, Subscribe};
use crate::limits;
use crate::message::decode_body;
use bytes::Bytes;
use std::time::Duration;

/// Confirm at once when so many bytes came unconfirmed: the publisher keeps them until then.
const UNCONFIRMED_BYTES_MAX: u64 = 256 * 1024;

/// Messages that room is made for because bytes for them are there.
const FOLLOWING_MAX: usize = 1024;

/// One subscription of ours.
#[derive(Debug)]
pub(crate) struct Incoming {
    stage: Stage,
    message_bytes_max: u32,
    /// What the peer may still send.
    credit_messages: u32,
    /// Signed: a message may begin while it is above zero, so the last one may take it below.
    credit_bytes: i64,
    /// All up to here came, was told as a gap, or did not match.
    received: u64,
    unconfirmed_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Asked for. Holds where the subscription stood, if the publisher's epoch is still the same.
    Asked(Option<u64>),
    Standing,
    /// We ended it; what was on its way is dropped until the peer confirms.
    Ended,
}

impl Session {
    /// Asks the peer for a Channel. `id` must not be in use on this connection. Call it after
    /// [`Event::Established`]; the answer is [`Event::Subscribed`] or [`Event::Refused`].
    ///
    /// Returns false, and does nothing, when the id is taken, there are too many subscriptions, the prefixes
    /// are above their limits, or the session is closing.
    pub fn subscribe(&mut self, id: u32, mut subscribe: Subscribe) -> bool {
        let Some(peer) = &self.peer else { return false };
        let full = self.incoming.len() >= limits::SUBSCRIPTIONS_MAX || self.incoming.contains_key(&id);
        if self.closing || full || limits::check_prefixes(&subscribe.prefixes).is_err() {
            return false;
        }
        if self.version < limits::VERSION_ORDINALS {
            subscribe.ordinal = None;
        }
        let resumed = subscribe.resume.filter(|resume| resume.epoch == peer.epoch);
        let incoming = Incoming {
            stage: Stage::Asked(resumed.map(|resume| resume.received)),
            message_bytes_max: subscribe.message_bytes_max.min(limits::MESSAGE_BYTES_MAX),
            credit_messages: subscribe.credit_messages,
            credit_bytes: i64::try_from(subscribe.credit_bytes).unwrap_or(i64::MAX),
            received: 0,
            unconfirmed_bytes: 0,
        };
        self.incoming.insert(id, incoming);
        self.push_frame(id, &Frame::Subscribe(subscribe));
        true
    }

    /// Ends a subscription of ours. Its events stop at once.
    pub fn unsubscribe(&mut self, id: u32) {
        let Some(incoming) = self.incoming.get_mut(&id) else { return };
        if incoming.stage == Stage::Ended {
            return;
        }
        let unconfirmed = incoming.stage == Stage::Standing && incoming.unconfirmed_bytes > 0;
        incoming.stage = Stage::Ended;
        let received = incoming.received;
        if unconfirmed {
            // What the publisher then knows as unconfirmed is what is dropped on this side.
            self.push_frame(id, &Frame::Credit { messages: 0, bytes: 0, received });
        }
        self.push_frame(id, &Frame::Unsubscribe);
    }

    /// Replaces the prefixes of a subscription of ours. Above their limits it returns false and does nothing.
    pub fn set_prefixes(&mut self, id: u32, prefixes: Vec<Bytes>) -> bool {
        let stands = self.incoming.get(&id).is_some_and(|incoming| incoming.stage != Stage::Ended);
        if !stands || limits::check_prefixes(&prefixes).is_err() {
            return false;
        }
        self.push_frame(id, &Frame::Prefixes(prefixes));
        true
    }

    /// Allows the publisher `messages` and `bytes` more.
    pub fn grant(&mut self, id: u32, messages: u32, bytes: u64) {
        let Some(incoming) = self.incoming.get_mut(&id) else { return };
        if incoming.stage == Stage::Ended {
            return;
        }
        incoming.credit_messages = incoming.credit_messages.saturating_add(messages);
        let bytes_signed = i64::try_from(bytes).unwrap_or(i64::MAX);
        incoming.credit_bytes = incoming.credit_bytes.saturating_add(bytes_signed);
        incoming.unconfirmed_bytes = 0;
        let received = incoming.received;
        self.push_frame(id, &Frame::Credit { messages, bytes, received });
    }

    /// What the publisher may still send for a subscription of ours.
    #[must_use]
    pub fn granted(&self, id: u32) -> Credit {
        self.incoming.get(&id).map_or_else(Credit::default, |incoming| Credit {
            messages: incoming.credit_messages,
            bytes: u64::try_from(incoming.credit_bytes).unwrap_or(0),
        })
    }

    /// Confirms what came since the last confirmation.
    pub(super) fn confirm_all(&mut self) {
        self.confirm_due = None;
        let mut waiting = Vec::new();
        for (id, incoming) in &mut self.incoming {
            if incoming.unconfirmed_bytes > 0 && incoming.stage == Stage::Standing {
                incoming.unconfirmed_bytes = 0;
                waiting.push((*id, incoming.received));
            }
        }
        for (id, received) in waiting {
            self.push_frame(id, &Frame::Credit { messages: 0, bytes: 0, received });
        }
    }

    pub(super) fn message_frame_bytes_max(&self, id: u32) -> Result<usize, ProtocolError> {
        let incoming = self
            .incoming
            .get(&id)
            .ok_or(ProtocolError::Unexpected { what: "a message for a subscription that does not exist" })?;
        let payload = usize::try_from(incoming.message_bytes_max).unwrap_or(usize::MAX);
        Ok(payload.saturating_add(limits::MESSAGE_OVERHEAD_BYTES_MAX))
    }

    #[inline]
    /// `rest_bytes` came behind it.
    pub(super) fn handle_message(
        &mut self,
        header: Header,
        body: Bytes,
        (now, rest_bytes): (Duration, usize),
    ) -> Result<(), ProtocolError> {
        let id = header.id;
        let Some(incoming) = self.incoming.get_mut(&id) else {
            return Err(ProtocolError::Unexpected {
                what: "a message for a subscription that does not exist",
            });
        };
        if matches!(incoming.stage, Stage::Asked(_)) {
            return Err(ProtocolError::Unexpected { what: "a message before its subscription was accepted" });
        }
        if incoming.credit_messages == 0 || incoming.credit_bytes <= 0 {
            return Err(ProtocolError::CreditExceeded { id });
        }
        let frame_bytes = i64::try_from(header.frame_bytes()).unwrap_or(i64::MAX);
        incoming.credit_messages = incoming.credit_messages.saturating_sub(1);
        incoming.credit_bytes = incoming.credit_bytes.saturating_sub(frame_bytes);
        let placed = decode_body(header.flags, body)?;
        let last = incoming.received;
        if placed.previous < last {
            return Err(ProtocolError::OutOfOrder { id, sequence: placed.sequence, last });
        }
        incoming.received = placed.sequence;
        if incoming.stage == Stage::Ended {
            return Ok(());
        }
        incoming.unconfirmed_bytes = incoming.unconfirmed_bytes.saturating_add(frame_bytes.unsigned_abs());
        if incoming.unconfirmed_bytes >= UNCONFIRMED_BYTES_MAX {
            self.confirm_due = Some(now);
        } else if self.confirm_due.is_none() {
            self.confirm_due = Some(now.saturating_add(self.settings.confirm_delay));
        }
        if placed.previous > last {
            self.push_gap(id, unexplained(last, placed.previous));
        }
        let (sequence, origin) = (placed.sequence, placed.origin);
        let frame_bytes = frame_bytes.unsigned_abs();
        let message = Sequenced { sequence, origin, frame_bytes, message: placed.message };
        self.push_message(id, message, rest_bytes.checked_div(header.frame_bytes()).unwrap_or(0));
        Ok(())
    }

    /// Neighbours of one subscription become one event; so many more may follow.
    #[inline]
    fn push_message(&mut self, id: u32, message: Sequenced, more: usize) {
        if let Some(Event::Messages { id: last, messages }) = self.events.back_mut()
            && *last == id
        {
            messages.push(message);
            return;
        }
        let mut messages = Vec::with_capacity(more.min(FOLLOWING_MAX).saturating_add(1));
        messages.push(message);
        self.events.push_back(Event::Messages { id, messages });
    }

    fn push_gap(&mut self, id: u32, gap: Gap) {
        self.events.push_back(Event::Gap { id, gap });
    }

    pub(super) fn handle_subscribed(&mut self, id: u32, received: u64) -> Result<(), ProtocolError> {
        let Some(incoming) = self.incoming.get_mut(&id) else {
            return Err(ProtocolError::Unexpected {
                what: "an answer to a subscription that does not exist",
            });
        };
        let resumed = match incoming.stage {
            Stage::Asked(resumed) => resumed,
            Stage::Ended => return Ok(()),
            Stage::Standing => {
                return Err(ProtocolError::Unexpected { what: "a second answer to a subscription" });
            }
        };
        let last = resumed.unwrap_or(received);
        if received < last {
            return Err(ProtocolError::OutOfOrder { id, sequence: received, last });
        }
        incoming.stage = Stage::Standing;
        incoming.received = received;
        self.events.push_back(Event::Subscribed { id, received });
        if received > last {
            self.push_gap(id, unexplained(last, received));
        }
        Ok(())
    }

    pub(super) fn handle_unsubscribed(&mut self, id: u32) {
        if self.incoming.get(&id).is_some_and(|incoming| incoming.stage == Stage::Ended) {
            self.incoming.remove(&id);
        }
    }

    pub(super) fn handle_gap(&mut self, id: u32, gap: Gap) -> Result<(), ProtocolError> {
        let Some(incoming) = self.incoming.get_mut(&id) else {
            return Err(ProtocolError::Unexpected { what: "a gap for a subscription that does not exist" });
        };
        if matches!(incoming.stage, Stage::Asked(_)) {
            return Err(ProtocolError::Unexpected { what: "a gap before its subscription was accepted" });
        }
        if gap.first <= incoming.received {
            return Err(ProtocolError::OutOfOrder { id, sequence: gap.first, last: incoming.received });
        }
        incoming.received = gap.last;
        if incoming.stage == Stage::Standing {
            self.push_gap(id, gap);
        }
        Ok(())
    }

    /// A gap in a numbered subscription takes a number, as a message does.
    pub(super) fn handle_numbered_gap(
        &mut self,
        id: u32,
        number: u64,
        gap: Gap,
    ) -> Result<(), ProtocolError> {
        let Some(incoming) = self.incoming.get_mut(&id) else {
            return Err(ProtocolError::Unexpected { what: "a gap for a subscription that does not exist" });
        };
        if matches!(incoming.stage, Stage::Asked(_)) {
            return Err(ProtocolError::Unexpected { what: "a gap before its subscription was accepted" });
        }
        let last = incoming.received;
        if number <= last {
            return Err(ProtocolError::OutOfOrder { id, sequence: number, last });
        }
        incoming.received = number;
        if incoming.stage != Stage::Standing {
            return Ok(());
        }
        if number.saturating_sub(1) > last {
            self.push_gap(id, unexplained(last, number.saturating_sub(1)));
        }
        self.events.push_back(Event::NumberedGap { id, number, gap });
        Ok(())
    }

    /// Whether a subscription of ours stands.
    pub(super) fn is_standing(&self, id: u32) -> bool {
        self.incoming.get(&id).is_some_and(|incoming| incoming.stage == Stage::Standing)
    }

    pub(super) fn handle_refuse(&mut self, id: u32, refusal: Refusal) {
        if let Some(incoming) = self.incoming.remove(&id)
            && incoming.stage != Stage::Ended
        {
            self.events.push_back(Event::Refused { id, refusal });
        }
    }
}

/// Sequence numbers that went by without a word.
const fn unexplained(last: u64, previous: u64) -> Gap {
    Gap { first: last.saturating_add(1), last: previous, messages: 0, reason: GapReason::Lost }
}
