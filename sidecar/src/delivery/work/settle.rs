//! The life of receivers at a desk, and what becomes of the messages that they had: credit, acks, attempts. Pure.

use super::desk::{Desk, Rules, Settle};
use super::post::{Dead, Entry, Item};
use super::receiver::{Receiver, signed};
use peer_wire::{Distance, Gap, GapReason, Span};
use std::sync::Arc;
use std::time::Duration;

/// Tries of a request that may be executed more than once.
const REQUEST_ATTEMPTS_MAX: u16 = 16;

impl Desk {
    /// Other rules from now on. Acknowledgement that was not asked for when the desk began stays off: its receivers do not
    /// acknowledge.
    pub(crate) fn set_rules(&mut self, rules: Rules) {
        let settle = match (self.rules.settle, rules.settle) {
            (Settle::Receipt, Settle::Ack { .. }) => Settle::Receipt,
            (Settle::Ack { .. }, Settle::Receipt) => {
                for receiver in self.receivers.values_mut() {
                    receiver.count_assigned();
                }
                Settle::Receipt
            }
            (_, settle) => settle,
        };
        self.rules = Rules { settle, ..rules };
        self.end_run();
        self.assign();
    }

    /// A new receiver, so far away; its deliveries count on from `number`.
    pub(crate) fn join(&mut self, id: u32, distance: Distance, (credit, number): (u64, u64)) {
        self.receivers.insert(id, Receiver::new(distance, credit, number));
        self.interrupt(id);
        self.assign();
    }

    /// The receiver is ready for so many more.
    pub(crate) fn credit(&mut self, id: u32, more: u64) {
        if let Some(receiver) = self.receivers.get_mut(&id) {
            receiver.set_free(receiver.free.saturating_add(signed(more)));
            self.wake(id);
            self.interrupt(id);
            self.assign();
        }
    }

    /// The receiver is ready for so many in all, those included that are assigned to it.
    pub(crate) fn set_credit(&mut self, id: u32, credit: u64) {
        if let Some(receiver) = self.receivers.get_mut(&id) {
            let waiting = i64::try_from(receiver.waiting).unwrap_or(i64::MAX);
            receiver.set_free(signed(credit).saturating_sub(waiting));
            self.interrupt(id);
            self.assign();
        }
    }

    /// The connection is lost and may come back. What was not sent and has no key goes to others.
    pub(crate) fn away(&mut self, id: u32) {
        let shared = self.rules.shared;
        let Some(receiver) = self.receivers.get_mut(&id) else { return };
        receiver.present = false;
        if !shared {
            return;
        }
        let (mut moving, mut staying) = (Vec::new(), Vec::new());
        while let Some(item) = receiver.unassign() {
            match &item {
                Item::Work(entry) if entry.post.slot.is_some() => staying.push(item),
                _ => moving.push(item),
            }
        }
        for item in staying {
            if let Item::Work(entry) = item {
                receiver.assign(entry);
            }
        }
        self.put_back(moving);
        self.assign();
    }

    /// The receiver is back and has everything up to `received`: the rest is sent again under the same numbers.
    /// Returns after which number that is.
    pub(crate) fn back(&mut self, id: u32, received: u64, credit: u64) -> u64 {
        let settle = self.rules.settle;
        let Some(receiver) = self.receivers.get_mut(&id) else { return received };
        let received = received.min(receiver.number);
        if settle == Settle::Receipt {
            receiver.ledger.confirm(received);
        }
        receiver.ledger.confirm_gaps(received);
        for (_, kept) in receiver.ledger.rewind(received).into_iter().rev() {
            match kept {
                Ok(entry) => {
                    receiver.waiting += 1;
                    if settle == Settle::Receipt {
                        receiver.load.add(entry.post.size);
                    }
                    receiver.assigned.push_front(Item::Work(entry));
                }
                Err(gap) => receiver.assigned.push_front(Item::Gap(gap)),
            }
        }
        receiver.number = received;
        receiver.present = true;
        self.set_credit(id, credit);
        self.wake(id);
        received
    }

    /// The receiver has everything up to `received`.
    pub(crate) fn confirm(&mut self, id: u32, received: u64) {
        let settle = self.rules.settle;
        if let Some(receiver) = self.receivers.get_mut(&id) {
            receiver.ledger.confirm_gaps(received);
            if settle == Settle::Receipt {
                receiver.ledger.confirm(received);
            }
        }
    }

    /// The app is done with these.
    pub(crate) fn ack(&mut self, id: u32, spans: &[Span]) {
        let Some(receiver) = self.receivers.get_mut(&id) else { return };
        for span in spans {
            for (_, entry) in receiver.ledger.take_span(span.first, span.last) {
                receiver.load.take(entry.post.size);
                entry.finish();
            }
            receiver.ledger.ack_moved(span.first, span.last);
        }
        self.interrupt(id);
        self.assign();
    }

    /// The app wants these again, after `delay`.
    pub(crate) fn nack(&mut self, id: u32, spans: &[Span], (delay, now): (Duration, Duration)) {
        let until = (!delay.is_zero()).then(|| now.saturating_add(delay));
        for span in spans {
            let Some(receiver) = self.receivers.get_mut(&id) else { return };
            for (number, entry) in receiver.ledger.take_span(span.first, span.last) {
                self.retry((id, number), entry, until);
            }
        }
        self.assign();
    }

    /// A request was answered. Returns its sequence number; `None` when nobody waits for it any more.
    pub(crate) fn reply(&mut self, id: u32, number: u64) -> Option<u64> {
        let receiver = self.receivers.get_mut(&id)?;
        let entry = receiver.ledger.take(number)?;
        receiver.load.take(entry.post.size);
        let late = entry.is_done();
        entry.finish();
        self.assign();
        (!late).then_some(entry.post.sequence)
    }

    /// Requests whose sender has given up no longer count against the one who has them.
    pub(crate) fn forget_cancelled(&mut self) {
        for receiver in self.receivers.values_mut() {
            for entry in receiver.ledger.take_done() {
                receiver.load.take(entry.post.size);
            }
        }
        self.assign();
    }

    /// The receiver is gone for good. What waited for it goes to others; what it had is lost, comes again or has failed,
    /// as the rules say. A desk that is not shared ends with it: all of it is one gap, counted where there is a reason.
    pub(crate) fn leave(&mut self, id: u32, counted: Option<GapReason>) -> Option<Gap> {
        let mut receiver = self.receivers.remove(&id)?;
        self.forget_slots(id);
        let assigned = std::mem::take(&mut receiver.assigned);
        let (entries, gaps) = std::mem::take(&mut receiver.ledger).end();
        if !self.rules.shared {
            return self.end(assigned.into_iter().chain(entries.into_iter().map(Item::Work)), counted);
        }
        self.put_back(assigned.into_iter().chain(gaps.into_iter().map(Item::Gap)));
        let receipt = self.rules.settle == Settle::Receipt;
        // When this side ends in order, what was sent is written before the goodbye.
        let orderly = receipt && counted == Some(GapReason::Shutdown);
        for entry in entries.into_iter().filter(|entry| !orderly && !entry.is_done()) {
            if receipt {
                self.dropped.push((GapReason::Disconnected, 1));
                self.tell(gap_of(&entry, GapReason::Disconnected), 0);
            } else {
                self.retry((id, 0), entry, None);
            }
        }
        self.assign();
        let nobody = self.receivers.is_empty() && counted == Some(GapReason::Shutdown);
        if nobody { self.end(std::iter::empty(), counted) } else { None }
    }

    /// Drops everything.
    fn end(&mut self, more: impl Iterator<Item = Item>, counted: Option<GapReason>) -> Option<Gap> {
        let reason = counted.unwrap_or(GapReason::Other);
        let mut all: Option<Gap> = None;
        let delayed = std::mem::take(&mut self.delayed).into_values().map(Item::Work);
        let waiting = std::mem::take(&mut self.pool).into_iter().chain(std::mem::take(&mut self.keyed));
        let mut messages = 0;
        for item in more.chain(waiting).chain(delayed) {
            let gap = match item {
                Item::Gap(gap) => gap,
                Item::Work(entry) if entry.is_done() => continue,
                Item::Work(entry) => {
                    messages += 1;
                    gap_of(&entry, reason)
                }
            };
            let sum = all.get_or_insert(Gap { messages: 0, reason, ..gap });
            sum.first = sum.first.min(gap.first);
            sum.last = sum.last.max(gap.last);
            sum.messages = sum.messages.saturating_add(gap.messages);
        }
        self.amount = super::super::buffer::Amount::default();
        // Whoever writes the dead ones has them.
        self.dead.clear();
        if counted.is_some() && messages > 0 {
            self.dropped.push((reason, messages));
        }
        all
    }

    /// Another try of what `receiver` had under that number, unless it was done or tried often enough.
    fn retry(&mut self, (id, number): (u32, u64), entry: Entry, until: Option<Duration>) {
        if let Some(receiver) = self.receivers.get_mut(&id) {
            receiver.load.take(entry.post.size);
        }
        self.interrupt(id);
        if entry.is_done() {
            return;
        }
        let attempts_max = match (self.rules.settle, entry.post.call) {
            (Settle::Ack { attempts, .. }, _) => attempts,
            (_, Some(call)) if call.idempotent => REQUEST_ATTEMPTS_MAX,
            _ => 1,
        };
        if entry.attempt >= attempts_max {
            entry.finish();
            self.give_up(&entry, id);
            return;
        }
        let (entry, done) = entry.again(id);
        if let Some(receiver) = self.receivers.get_mut(&id) {
            receiver.ledger.note_moved(number, done);
        }
        match until {
            Some(until) => {
                self.amount.add(entry.post.size);
                self.delayed.insert((until, entry.post.sequence), entry);
            }
            None => self.put_back([Item::Work(entry)]),
        }
    }

    /// What `id` had last was tried often enough.
    fn give_up(&mut self, entry: &Entry, id: u32) {
        let post = &entry.post;
        if self.rules.settle == Settle::Reply {
            self.failed.push(post.sequence);
            return;
        }
        if self.rules.dead_letters {
            self.amount.add(post.size);
            self.dead.insert(post.sequence, post.size);
            self.died.push(Dead { post: Arc::clone(post), attempts: entry.attempt });
        } else {
            self.dropped.push((GapReason::AttemptsExhausted, 1));
        }
        self.tell(gap_of(entry, GapReason::AttemptsExhausted), id);
    }

    /// A message that had used up its attempts is written elsewhere, or given up for good: it makes room.
    pub(crate) fn buried(&mut self, sequence: u64) {
        if let Some(size) = self.dead.remove(&sequence) {
            self.amount.take(size);
        }
    }

    /// Lets time act: overdue acks, and delays that are over.
    pub(crate) fn expire(&mut self, now: Duration) {
        while let Some(first) = self.delayed.first_entry().filter(|first| first.key().0 <= now) {
            let entry = first.remove();
            self.amount.take(entry.post.size);
            self.put_back([Item::Work(entry)]);
        }
        let acknowledged = matches!(self.rules.settle, Settle::Ack { .. });
        let ids: Vec<u32> = self.receivers.keys().copied().filter(|_| acknowledged).collect();
        for id in ids {
            while let Some((number, entry)) =
                self.receivers.get_mut(&id).and_then(|receiver| receiver.ledger.take_overdue(now))
            {
                self.retry((id, number), entry, None);
            }
        }
        self.assign();
    }

    /// When [`Self::expire`] wants to be called next.
    pub(crate) fn due(&self) -> Option<Duration> {
        let delayed = self.delayed.keys().next().map(|(until, _)| *until);
        let acknowledged = matches!(self.rules.settle, Settle::Ack { .. });
        let receivers = self.receivers.values().filter(|_| acknowledged);
        let acks = receivers.filter_map(|receiver| receiver.ledger.due());
        acks.chain(delayed).min().filter(|due| *due != Duration::MAX)
    }
}

fn gap_of(entry: &Entry, reason: GapReason) -> Gap {
    Gap { first: entry.post.sequence, last: entry.post.sequence, messages: 1, reason }
}
