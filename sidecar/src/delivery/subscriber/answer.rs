//! One answer to an app: what a subscription has for it, as far as its credit goes.

use super::super::buffer::Sink;
use crate::messaging::{ChannelEvent, Message, Position, Problem, Receipt};
use peer_wire::{Gap, Origin, Sequenced};
use std::sync::Arc;
use std::time::Duration;

/// Where a message comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    publisher: &'a Arc<str>,
    epoch: u64,
    /// Of the delivery in a numbered subscription, else the publisher's sequence number.
    number: u64,
    origin: Option<Origin>,
}

impl At<'_> {
    fn position(&self) -> Position {
        let sequence = self.origin.map_or(self.number, |origin| origin.sequence);
        let publisher = Arc::clone(self.publisher);
        Position { partition: 0, offset: offset(sequence), publisher, epoch: self.epoch }
    }

    /// Set where each message goes to one receiver, or is acknowledged.
    pub(crate) fn receipt(&self) -> Option<Receipt> {
        self.origin.map(|origin| Receipt {
            publisher: Arc::clone(self.publisher),
            epoch: self.epoch,
            number: self.number,
            attempt: u32::from(origin.attempt),
            timeout: origin.timeout_ms.map(|timeout| Duration::from_millis(timeout.into())),
        })
    }
}

/// Takes what a subscription has, in order. Who has no use for an event of its own makes none.
pub(crate) trait Events {
    /// A message that others may get as well.
    fn shared(&mut self, at: &At<'_>, message: &Message);
    /// A message of this subscription alone.
    fn own(&mut self, at: &At<'_>, message: Message) {
        self.shared(at, &message);
    }
    fn gap(&mut self, publisher: &Arc<str>, epoch: u64, gap: &Gap);
    /// Nothing follows.
    fn end(&mut self, reason: Problem);
}

impl Events for Vec<ChannelEvent> {
    fn shared(&mut self, at: &At<'_>, message: &Message) {
        self.own(at, message.clone());
    }

    fn own(&mut self, at: &At<'_>, message: Message) {
        self.push(ChannelEvent::Message { position: at.position(), message, receipt: at.receipt() });
    }

    fn gap(&mut self, publisher: &Arc<str>, epoch: u64, gap: &Gap) {
        self.push(ChannelEvent::Gap {
            publisher: Arc::clone(publisher),
            epoch,
            first: offset(gap.first),
            last: offset(gap.last),
            messages: gap.messages,
            reason: gap.reason.as_str(),
        });
    }

    fn end(&mut self, reason: Problem) {
        self.push(ChannelEvent::End { reason });
    }
}

/// Hands over until the credit is used up.
pub(super) struct Answer<'a, E> {
    events: &'a mut E,
    /// Messages that may still go.
    pub(super) allowed: u64,
    pub(super) publisher: Arc<str>,
    pub(super) epoch: u64,
    pub(super) gap_messages: u64,
    /// Whether anything went.
    pub(super) took: bool,
    /// Receipts of what was handed over, where coming back for more acknowledges it.
    pub(super) taken: Option<Vec<Receipt>>,
}

fn offset(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

impl<'a, E: Events> Answer<'a, E> {
    pub(super) fn new(
        events: &'a mut E,
        (publisher, epoch): (&Arc<str>, u64),
        (allowed, taken): (u64, Option<Vec<Receipt>>),
    ) -> Self {
        let publisher = Arc::clone(publisher);
        Self { events, allowed, publisher, epoch, gap_messages: 0, took: false, taken }
    }

    fn note(&mut self, number: u64, origin: Option<Origin>) {
        self.took = true;
        self.allowed = self.allowed.saturating_sub(1);
        if let Some(taken) = &mut self.taken {
            let at = At { publisher: &self.publisher, epoch: self.epoch, number, origin };
            taken.extend(at.receipt());
        }
    }

    /// A message that came for this subscription alone.
    pub(super) fn take_own(&mut self, message: Sequenced) {
        let Sequenced { sequence: number, origin, message, .. } = message;
        self.note(number, origin);
        let at = At { publisher: &self.publisher, epoch: self.epoch, number, origin };
        self.events.own(&at, message);
    }

    fn take_shared(&mut self, number: u64, origin: Option<Origin>, message: &Message) -> bool {
        if self.allowed == 0 {
            return false;
        }
        self.note(number, origin);
        let at = At { publisher: &self.publisher, epoch: self.epoch, number, origin };
        self.events.shared(&at, message);
        true
    }

    pub(super) fn take_gap(&mut self, gap: &Gap) {
        self.took = true;
        self.gap_messages = self.gap_messages.saturating_add(gap.messages);
        self.events.gap(&self.publisher, self.epoch, gap);
    }
}

impl<E: Events> Sink for Answer<'_, E> {
    fn has_room(&mut self) -> bool {
        self.allowed > 0
    }

    fn message(&mut self, sequence: u64, message: &Message) -> bool {
        self.take_shared(sequence, None, message)
    }

    fn work(&mut self, number: u64, origin: Origin, message: &Message) -> bool {
        self.take_shared(number, Some(origin), message)
    }

    fn numbered_gap(&mut self, _number: u64, gap: &Gap) -> bool {
        self.gap(gap)
    }

    fn gap(&mut self, gap: &Gap) -> bool {
        self.take_gap(gap);
        true
    }
}
