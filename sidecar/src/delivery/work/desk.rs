//! Work that is shared out: each message goes to one receiver, and where acknowledgement is required it comes again until
//! somebody has done it. Pure: no locks, no clock.
//!
//! A message without a key waits here until a receiver has credit for it, so a stuck receiver holds no more than its
//! credit. A message with a key waits for the receiver to which the key sticks. A desk that is not shared has one receiver.

use super::super::buffer::{Amount, Moved, Sink};
use super::post::{Dead, Entry, Item, KEY_SLOTS, Post};
use super::receiver::{Candidate, Receiver, choose};
use peer_wire::{Gap, GapReason, Origin, Span};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// When a message is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settle {
    /// When it has reached the receiver's process.
    Receipt,
    /// When the app says so; without a word it comes again after a while.
    Ack { after: Duration, attempts: u16 },
    /// When it was answered.
    Reply,
}

/// What a desk is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Of what waits for any receiver, and again of what one receiver has.
    pub(crate) limits: Amount,
    pub(crate) settle: Settle,
    /// More than one receiver.
    pub(crate) shared: bool,
    /// What used up its attempts is kept until somebody has written it elsewhere.
    pub(crate) dead_letters: bool,
}

/// What became of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    Taken,
    /// Counted and told.
    Dropped,
    /// Not taken: offer it again when there is room.
    Full,
    /// Not taken: there is no receiver.
    Nobody,
}

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(super) rules: Rules,
    pub(super) receivers: BTreeMap<u32, Receiver>,
    /// Without a key, ascending by sequence number. Gaps too.
    pub(super) pool: VecDeque<Item>,
    /// With a key, while nobody is there.
    pub(super) keyed: VecDeque<Item>,
    /// Not before a time.
    pub(super) delayed: BTreeMap<(Duration, u64), Entry>,
    /// What pool, keyed, delayed and dead hold.
    pub(super) amount: Amount,
    /// To whom a key sticks; 0 = to nobody. Empty until there is a key.
    slots: Vec<u32>,
    turn: u64,
    /// Who gets the next ones without a new choice, and how many.
    run: (u32, i64),
    /// Receivers that have something to send.
    woken: BTreeSet<u32>,
    pub(super) dropped: Vec<(GapReason, u64)>,
    /// Used up their attempts and are not written elsewhere yet, by sequence number: their sizes.
    pub(super) dead: BTreeMap<u64, usize>,
    pub(super) died: Vec<Dead>,
    /// Requests that nobody answers any more.
    pub(super) failed: Vec<u64>,
}

pub(super) const fn fits(load: Amount, more: Amount, limits: Amount) -> bool {
    load.messages == 0
        || (load.messages.saturating_add(more.messages) <= limits.messages
            && load.bytes.saturating_add(more.bytes) <= limits.bytes)
}

impl Desk {
    pub(crate) const fn new(rules: Rules) -> Self {
        Self {
            rules,
            receivers: BTreeMap::new(),
            pool: VecDeque::new(),
            keyed: VecDeque::new(),
            delayed: BTreeMap::new(),
            amount: Amount { messages: 0, bytes: 0 },
            slots: Vec::new(),
            turn: 0,
            run: (0, 0),
            woken: BTreeSet::new(),
            dropped: Vec::new(),
            dead: BTreeMap::new(),
            died: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// Messages that wait to be sent, those that come again included.
    pub(crate) fn waiting(&self) -> usize {
        // What is dead is not sent any more, though it takes room.
        let here = self.amount.messages.saturating_sub(self.dead.len());
        here + self.receivers.values().map(|receiver| receiver.waiting).sum::<usize>()
    }

    /// What waits here and what its receivers have: what counts against the buffer.
    pub(crate) fn load(&self) -> Amount {
        let mut all = self.amount;
        for receiver in self.receivers.values() {
            all.messages += receiver.load.messages;
            all.bytes += receiver.load.bytes;
        }
        all
    }

    pub(crate) fn has_receivers(&self) -> bool {
        !self.receivers.is_empty()
    }

    /// Receivers that have something to send since the last call.
    pub(crate) fn poll_woken(&mut self) -> BTreeSet<u32> {
        std::mem::take(&mut self.woken)
    }

    /// What was dropped since the last call.
    pub(crate) fn poll_dropped(&mut self) -> Vec<(GapReason, u64)> {
        std::mem::take(&mut self.dropped)
    }

    /// What used up its attempts since the last call. It counts as waiting until [`Self::buried`].
    pub(crate) fn poll_died(&mut self) -> Vec<Dead> {
        std::mem::take(&mut self.died)
    }

    /// Requests that failed since the last call: whoever had them is gone.
    pub(crate) fn poll_failed(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.failed)
    }

    /// Takes a message if there is room. Without `block`, what has no room is dropped.
    pub(crate) fn offer(&mut self, post: &Arc<Post>, block: bool) -> Offered {
        if self.receivers.is_empty() && block {
            return Offered::Nobody;
        }
        if self.has_room(post) {
            self.put(Entry::first(Arc::clone(post)));
            return Offered::Taken;
        }
        if block {
            return Offered::Full;
        }
        let reason = GapReason::DroppedNewest;
        self.dropped.push((reason, 1));
        let sequence = post.sequence;
        self.tell(Gap { first: sequence, last: sequence, messages: 1, reason }, 0);
        Offered::Dropped
    }

    /// Takes a message whether it fits or not: the caller has asked [`Self::fits_all`].
    pub(crate) fn force(&mut self, post: &Arc<Post>) {
        self.put(Entry::first(Arc::clone(post)));
    }

    /// Whether all of it has room, at a desk with one receiver.
    pub(crate) fn fits_all(&self, more: Amount) -> bool {
        fits(self.load(), more, self.rules.limits)
    }

    /// Whether all of it, without keys, has room at a shared desk.
    pub(crate) fn fits_pool(&self, more: Amount) -> bool {
        self.has_receivers() && fits(self.amount, more, self.rules.limits)
    }

    fn has_room(&mut self, post: &Post) -> bool {
        let (more, limits) = (post.amount(), self.rules.limits);
        if !self.rules.shared {
            return fits(self.load(), more, limits);
        }
        if let Some(slot) = self.slot(post)
            && let Some(receiver) = self.holder(slot)
        {
            return self.receivers.get(&receiver).is_some_and(|receiver| fits(receiver.load, more, limits));
        }
        if fits(self.amount, more, limits) {
            return true;
        }
        // Requests whose sender has given up make room.
        self.prune();
        fits(self.amount, more, limits)
    }

    fn prune(&mut self) {
        let amount = &mut self.amount;
        for queue in [&mut self.pool, &mut self.keyed] {
            queue.retain(|item| match item {
                Item::Work(entry) if entry.is_done() => {
                    amount.take(entry.post.size);
                    false
                }
                _ => true,
            });
        }
    }

    pub(super) fn put(&mut self, entry: Entry) {
        let slot = self.slot(&entry.post);
        if let Some(id) = slot.and_then(|slot| self.holder(slot)) {
            self.hand(id, entry);
            return;
        }
        if slot.is_none()
            && self.pool.is_empty()
            && let Some(id) = self.next_receiver(entry.avoid)
        {
            self.hand(id, entry);
            return;
        }
        self.amount.add(entry.post.size);
        let queue = if slot.is_some() { &mut self.keyed } else { &mut self.pool };
        queue.push_back(Item::Work(entry));
    }

    /// The slot of its key, where there is a choice at all.
    fn slot(&self, post: &Post) -> Option<usize> {
        post.slot.filter(|_| self.rules.shared)
    }

    fn hand(&mut self, id: u32, entry: Entry) {
        if let Some(receiver) = self.receivers.get_mut(&id) {
            receiver.assign(entry);
            self.woken.insert(id);
        }
    }

    /// To whom the slot sticks; to the one with the fewest slots from now on where it sticks to nobody.
    fn holder(&mut self, slot: usize) -> Option<u32> {
        if self.slots.is_empty() {
            self.slots = vec![0; KEY_SLOTS];
        }
        let place = self.slots.get_mut(slot)?;
        if *place != 0 {
            return Some(*place);
        }
        let present = self.receivers.iter_mut().filter(|(_, receiver)| receiver.present);
        let (id, receiver) = present.min_by_key(|(_, receiver)| receiver.slots)?;
        receiver.slots += 1;
        *place = *id;
        Some(*id)
    }

    fn next_receiver(&mut self, avoid: u32) -> Option<u32> {
        let limits = self.rules.limits;
        let able = |receiver: &Receiver| {
            let one = Amount { messages: 1, bytes: 0 };
            receiver.present && receiver.free > 0 && fits(receiver.load, one, limits)
        };
        let (id, left) = self.run;
        if left > 0 && avoid == 0 && self.receivers.get(&id).is_some_and(able) {
            self.run = (id, left - 1);
            return Some(id);
        }
        let candidates = self.receivers.iter().filter(|(_, receiver)| able(receiver));
        let candidates: Vec<Candidate> =
            candidates.map(|(id, receiver)| receiver.candidate(*id, *id == avoid)).collect();
        let (id, run) = choose(candidates.into_iter())?;
        self.run = if avoid == 0 { (id, run - 1) } else { (0, 0) };
        self.turn += 1;
        if let Some(receiver) = self.receivers.get_mut(&id) {
            receiver.turn = self.turn;
        }
        Some(id)
    }

    /// Hands out what waits here, as far as there is credit for it.
    pub(super) fn assign(&mut self) {
        while let Some(Item::Work(entry)) = self.keyed.front() {
            let (slot, done) = (entry.post.slot, entry.is_done());
            let holder = slot.and_then(|slot| self.holder(slot));
            if !done && holder.is_none() {
                break;
            }
            self.hand_front(true, holder.filter(|_| !done));
        }
        while let Some(item) = self.pool.front() {
            let to = match item {
                Item::Gap(_) => {
                    self.receivers.iter().find(|(_, receiver)| receiver.present).map(|(id, _)| *id)
                }
                Item::Work(entry) if entry.is_done() => {
                    self.hand_front(false, None);
                    continue;
                }
                Item::Work(entry) => {
                    let avoid = entry.avoid;
                    self.next_receiver(avoid)
                }
            };
            let Some(to) = to else { break };
            self.hand_front(false, Some(to));
        }
    }

    /// Moves the first one that waits to a receiver, or away.
    fn hand_front(&mut self, keyed: bool, to: Option<u32>) {
        let queue = if keyed { &mut self.keyed } else { &mut self.pool };
        match queue.pop_front() {
            Some(Item::Work(entry)) => {
                self.amount.take(entry.post.size);
                if let Some(to) = to {
                    self.hand(to, entry);
                }
            }
            Some(Item::Gap(gap)) => self.tell(gap, to.unwrap_or(0)),
            None => {}
        }
    }

    /// Tells `to`, or somebody, what nobody gets. Neighbours become one gap, so gaps never outnumber messages.
    pub(crate) fn tell(&mut self, gap: Gap, to: u32) {
        let present = self.receivers.get_mut(&to).filter(|receiver| receiver.present);
        let queue = match present {
            Some(receiver) => {
                self.woken.insert(to);
                &mut receiver.assigned
            }
            None => &mut self.pool,
        };
        if let Some(Item::Gap(last)) = queue.back_mut()
            && last.reason == gap.reason
        {
            last.first = last.first.min(gap.first);
            last.last = last.last.max(gap.last);
            last.messages = last.messages.saturating_add(gap.messages);
            return;
        }
        queue.push_back(Item::Gap(gap));
        if to == 0 && self.pool.len() == 1 {
            self.assign();
        }
    }

    /// Puts back what was handed out and not sent, in the order in which it was published.
    pub(super) fn put_back(&mut self, items: impl IntoIterator<Item = Item>) {
        let (mut pool, mut keyed) = (Vec::new(), Vec::new());
        for item in items {
            match &item {
                Item::Work(entry) => {
                    self.amount.add(entry.post.size);
                    if self.slot(&entry.post).is_some() { keyed.push(item) } else { pool.push(item) }
                }
                Item::Gap(_) => pool.push(item),
            }
        }
        for (back, queue) in [(pool, &mut self.pool), (keyed, &mut self.keyed)] {
            if !back.is_empty() {
                let mut all: Vec<Item> = queue.drain(..).chain(back).collect();
                all.sort_by_key(Item::sequence);
                queue.extend(all);
            }
        }
    }

    /// Sends what is assigned to a receiver until `sink` takes no more. With `keep`, what went is kept until it is settled.
    pub(crate) fn take(&mut self, id: u32, sink: &mut impl Sink, (keep, now): (bool, Duration)) -> Moved {
        let mut moved = Moved::default();
        let settle = self.rules.settle;
        let Some(receiver) = self.receivers.get_mut(&id) else { return moved };
        while let Some(item) = receiver.assigned.front() {
            let number = receiver.number + 1;
            let entry = match item {
                Item::Gap(gap) => {
                    if !sink.numbered_gap(number, gap) {
                        break;
                    }
                    if keep {
                        receiver.ledger.push_gap(number, *gap);
                    }
                    receiver.number = number;
                    receiver.assigned.pop_front();
                    continue;
                }
                Item::Work(entry) => entry,
            };
            if entry.is_done() || entry.post.call.is_some_and(|call| call.deadline <= now) {
                receiver.unassign();
                continue;
            }
            let post = &entry.post;
            if !sink.work(number, origin(entry, now), &post.message) {
                break;
            }
            moved.messages += 1;
            moved.oldest.get_or_insert(post.accepted);
            receiver.number = number;
            receiver.waiting = receiver.waiting.saturating_sub(1);
            let Some(Item::Work(entry)) = receiver.assigned.pop_front() else { break };
            match settle {
                Settle::Receipt => {
                    receiver.load.take(entry.post.size);
                    if keep {
                        receiver.ledger.push(number, entry, Duration::MAX);
                    }
                }
                Settle::Ack { after, .. } => receiver.ledger.push(number, entry, now.saturating_add(after)),
                Settle::Reply => receiver.ledger.push(number, entry, Duration::MAX),
            }
        }
        self.interrupt(id);
        self.assign();
        moved
    }

    /// Nothing sticks to that receiver any more.
    pub(super) fn forget_slots(&mut self, id: u32) {
        self.slots.iter_mut().filter(|holder| **holder == id).for_each(|holder| *holder = 0);
        self.end_run();
    }

    /// The next message is a new choice.
    pub(super) const fn end_run(&mut self) {
        self.run = (0, 0);
    }

    /// That receiver may take something again: it goes before the run of one that is farther away.
    pub(super) fn interrupt(&mut self, id: u32) {
        let distance = |id| self.receivers.get(&id).map(|receiver| receiver.distance);
        if let (Some(own), Some(running)) = (distance(id), distance(self.run.0))
            && own < running
        {
            self.end_run();
        }
    }

    pub(super) fn wake(&mut self, id: u32) {
        self.woken.insert(id);
    }

    /// Whether nothing is left to do, for any receiver: what one has and has not settled may come back, and whoever is
    /// there then has to do it.
    pub(crate) fn is_flushed(&self) -> bool {
        let done = self.receivers.values().all(|receiver| {
            let settled = self.rules.settle == Settle::Receipt || receiver.ledger.len() == 0;
            receiver.assigned.is_empty() && settled
        });
        done && self.pool.is_empty() && self.keyed.is_empty() && self.delayed.is_empty()
    }
}

fn origin(entry: &Entry, now: Duration) -> Origin {
    let timeout = entry.post.call.map(|call| call.deadline.saturating_sub(now).as_millis());
    let timeout_ms = timeout.map(|timeout| u32::try_from(timeout).unwrap_or(u32::MAX).max(1));
    Origin { sequence: entry.post.sequence, attempt: entry.attempt, timeout_ms }
}

/// Spans of the numbers, which ascend.
pub(crate) fn spans_of(numbers: impl IntoIterator<Item = u64>) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for number in numbers {
        match spans.last_mut() {
            Some(span) if number <= span.last => {}
            Some(span) if number == span.last + 1 => span.last = number,
            _ => spans.push(Span { first: number, last: number }),
        }
    }
    spans
}
