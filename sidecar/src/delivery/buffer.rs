//! What waits for one subscriber, and what was sent to it and not yet confirmed. Pure: no locks, no clock.

mod losses;
mod overflow;

use super::prefixes::Prefixes;
use losses::join;
use overflow::Latest;
pub(crate) use overflow::Outcome;
use peer_wire::{Gap, GapReason, Message, Origin};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Messages that were published together. Shared by all queues.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Sequence number of the first message.
    first: u64,
    /// When it was published, on the sidecar's monotonic clock.
    accepted: Duration,
    messages: Vec<Message>,
    sizes: Vec<usize>,
}

impl Batch {
    pub(crate) fn new(first: u64, accepted: Duration, messages: Vec<Message>, sizes: Vec<usize>) -> Self {
        debug_assert_eq!(messages.len(), sizes.len());
        Self { first, accepted, messages, sizes }
    }

    pub(crate) const fn len(&self) -> usize {
        self.messages.len()
    }

    /// What matches, each with its sequence number.
    pub(super) fn matching(&self, prefixes: &Prefixes) -> impl Iterator<Item = (u64, &Message)> {
        let wanted = (0..self.len()).filter(|index| self.wants(*index, prefixes));
        wanted.filter_map(|index| self.messages.get(index).map(|message| (self.sequence(index), message)))
    }

    /// Messages from `from` on, each with its sequence number and its size.
    pub(super) fn from(&self, from: usize) -> impl Iterator<Item = (u64, &Message, usize)> {
        let rest = self.messages.iter().enumerate().skip(from);
        rest.map(|(index, message)| (self.sequence(index), message, self.size(index)))
    }

    /// What matches from message `from` on.
    pub(super) fn wanted(&self, from: usize, prefixes: &Prefixes) -> Amount {
        let (messages, sizes) = (self.messages.get(from..), self.sizes.get(from..));
        Amount::of(messages.unwrap_or_default(), sizes.unwrap_or_default(), prefixes)
    }

    pub(crate) const fn accepted(&self) -> Duration {
        self.accepted
    }

    pub(crate) fn sequence(&self, index: usize) -> u64 {
        self.first.saturating_add(u64::try_from(index).unwrap_or(u64::MAX))
    }

    pub(crate) fn size(&self, index: usize) -> usize {
        self.sizes.get(index).copied().unwrap_or(0)
    }

    fn wants(&self, index: usize, prefixes: &Prefixes) -> bool {
        self.messages.get(index).is_some_and(|message| prefixes.matches(&message.subject))
    }
}

/// Messages and bytes, waiting or allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Amount {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

impl Amount {
    /// How much of a batch goes to a subscriber with these prefixes.
    pub(crate) fn of(messages: &[Message], sizes: &[usize], prefixes: &Prefixes) -> Self {
        if prefixes.is_all() {
            return Self { messages: messages.len(), bytes: sizes.iter().sum() };
        }
        let mut amount = Self::default();
        for (message, size) in messages.iter().zip(sizes) {
            if prefixes.matches(&message.subject) {
                amount.add(*size);
            }
        }
        amount
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes;
    }

    pub(super) fn take(&mut self, bytes: usize) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Neighbours of one batch.
#[derive(Debug, Clone)]
struct Run {
    batch: Arc<Batch>,
    from: usize,
    to: usize,
}

#[derive(Debug, Clone)]
enum Item {
    Run(Run),
    Gap(Gap),
}

/// Where waiting messages and gaps go. Returning false = not now, keep it.
pub(crate) trait Sink {
    /// Whether a message would be taken now, so that the gap before it may be told.
    fn has_room(&mut self) -> bool;
    fn message(&mut self, sequence: u64, message: &Message) -> bool;
    fn gap(&mut self, gap: &Gap) -> bool;
    /// Of a numbered subscription.
    fn work(&mut self, _number: u64, _origin: Origin, _message: &Message) -> bool {
        false
    }
    /// Of a numbered subscription.
    fn numbered_gap(&mut self, _number: u64, _gap: &Gap) -> bool {
        false
    }
}

/// What one call of [`Buffer::drain`] moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Moved {
    pub(crate) messages: usize,
    /// When the oldest of them was published.
    pub(crate) oldest: Option<Duration>,
}

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    waiting: VecDeque<Item>,
    amount: Amount,
    /// Sent and not confirmed: comes again when the subscriber resumes on another connection.
    in_flight: VecDeque<Item>,
    /// Set while the policy is `KeepLatest`.
    latest: Option<Latest>,
    /// Room beyond the limits, for what a publisher had kept. It shrinks as messages are sent.
    extra: Amount,
}

impl Buffer {
    pub(crate) const fn amount(&self) -> Amount {
        self.amount
    }

    /// Nothing waits to be sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether `more` may be pushed. An empty buffer takes anything, or a large message would never pass.
    pub(crate) const fn fits(&self, more: Amount, limits: Amount) -> bool {
        let messages_max = limits.messages.saturating_add(self.extra.messages);
        let bytes_max = limits.bytes.saturating_add(self.extra.bytes);
        self.amount.messages == 0
            || (self.amount.messages.saturating_add(more.messages) <= messages_max
                && self.amount.bytes.saturating_add(more.bytes) <= bytes_max)
    }

    /// Takes from a new subscription's beginning what the publisher had kept, from message `from` of the batch on. It
    /// comes on top of the limits: nobody who publishes is held up by it, and none of it is dropped.
    pub(crate) fn push_kept(&mut self, batch: &Arc<Batch>, from: usize, prefixes: &Prefixes) {
        for index in (from..batch.len()).filter(|index| batch.wants(*index, prefixes)) {
            self.push_one(batch, index);
            self.extra.add(batch.size(index));
        }
    }

    /// Takes what matches, whether it fits or not: the caller has asked [`Self::fits`]. Returns how many.
    pub(crate) fn push(&mut self, batch: &Arc<Batch>, prefixes: &Prefixes) -> usize {
        self.latest = None;
        let before = self.amount.messages;
        if prefixes.is_all() {
            self.amount.messages += batch.len();
            self.amount.bytes += batch.sizes.iter().sum::<usize>();
            let run = Run { batch: Arc::clone(batch), from: 0, to: batch.len() };
            self.waiting.push_back(Item::Run(run));
        } else {
            for index in (0..batch.len()).filter(|index| batch.wants(*index, prefixes)) {
                self.push_one(batch, index);
            }
        }
        self.amount.messages.saturating_sub(before)
    }

    /// Takes what matches and fits; the rest becomes a gap.
    pub(crate) fn push_or_drop(
        &mut self,
        batch: &Arc<Batch>,
        prefixes: &Prefixes,
        limits: Amount,
        reason: GapReason,
    ) -> Outcome {
        self.latest = None;
        let mut outcome = Outcome::default();
        for index in (0..batch.len()).filter(|index| batch.wants(*index, prefixes)) {
            if self.fits(Amount { messages: 1, bytes: batch.size(index) }, limits) {
                self.push_one(batch, index);
                outcome.taken += 1;
            } else {
                let sequence = batch.sequence(index);
                self.push_gap(&Gap { first: sequence, last: sequence, messages: 1, reason });
                outcome.refused += 1;
            }
        }
        outcome
    }

    /// Takes what matches, in order, while it fits; returns the index of the first message that did not.
    pub(crate) fn push_while_room(
        &mut self,
        batch: &Arc<Batch>,
        prefixes: &Prefixes,
        limits: Amount,
    ) -> usize {
        self.latest = None;
        for index in 0..batch.len() {
            if !batch.wants(index, prefixes) {
                continue;
            }
            if !self.fits(Amount { messages: 1, bytes: batch.size(index) }, limits) {
                return index;
            }
            self.push_one(batch, index);
        }
        batch.len()
    }

    fn push_one(&mut self, batch: &Arc<Batch>, index: usize) {
        self.amount.add(batch.size(index));
        push_run(&mut self.waiting, batch, index);
    }

    /// Tells the subscriber of what it does not get. Neighbours with one reason become one gap, so gaps never
    /// outnumber messages.
    pub(super) fn push_gap(&mut self, gap: &Gap) {
        if let Some(Item::Gap(last)) = self.waiting.back_mut()
            && last.reason == gap.reason
        {
            join(last, gap);
            return;
        }
        self.waiting.push_back(Item::Gap(*gap));
    }

    /// A gap before everything else.
    pub(crate) fn push_gap_first(&mut self, gap: Gap) {
        self.push_first(Item::Gap(gap));
    }

    /// Hands over from the front until `sink` takes no more. With `keep`, what went is kept until confirmed. A gap
    /// goes with the message after it: until then it may grow, and what is kept stays in proportion to messages.
    pub(crate) fn drain(&mut self, sink: &mut impl Sink, keep: bool) -> Moved {
        let mut moved = Moved::default();
        while let Some(item) = self.waiting.front_mut() {
            match item {
                Item::Gap(gap) => {
                    if (self.amount.messages > 0 && !sink.has_room()) || !sink.gap(gap) {
                        return moved;
                    }
                    if keep {
                        self.in_flight.push_back(Item::Gap(*gap));
                    }
                }
                Item::Run(run) => {
                    let start = run.from;
                    while let Some(message) = send(run, sink) {
                        Self::sent_first(&mut self.latest, message);
                        self.amount.take(run.batch.size(run.from));
                        self.extra.take(run.batch.size(run.from));
                        run.from += 1;
                    }
                    let sent = run.from - start;
                    if sent > 0 {
                        moved.messages += sent;
                        moved.oldest.get_or_insert(run.batch.accepted);
                        if keep {
                            keep_run(&mut self.in_flight, &run.batch, start, run.from);
                        }
                    }
                    if run.from < run.to {
                        return moved;
                    }
                }
            }
            self.pop_first();
        }
        moved
    }

    /// All up to `received` has come: it need not be kept.
    pub(crate) fn confirm(&mut self, received: u64) {
        while let Some(item) = self.in_flight.front_mut() {
            match item {
                Item::Gap(gap) if gap.last > received => return,
                Item::Gap(_) => {}
                Item::Run(run) => {
                    while run.from < run.to && run.batch.sequence(run.from) <= received {
                        run.from += 1;
                    }
                    if run.from < run.to {
                        return;
                    }
                }
            }
            self.in_flight.pop_front();
        }
    }

    /// The connection ended: what was sent and not confirmed waits again, before the rest.
    pub(crate) fn rewind(&mut self) {
        while let Some(item) = self.in_flight.pop_back() {
            if let Item::Run(run) = &item {
                for index in run.from..run.to {
                    self.amount.add(run.batch.size(index));
                }
            }
            self.push_first(item);
        }
    }

    /// Drops what waits, and what is kept as not confirmed; returns what waited as one gap.
    pub(crate) fn clear(&mut self, reason: GapReason) -> Option<Gap> {
        self.in_flight.clear();
        self.latest = None;
        self.extra = Amount::default();
        let mut all: Option<Gap> = None;
        for item in self.waiting.drain(..) {
            let (first, last, messages) = match item {
                Item::Gap(gap) => (gap.first, gap.last, gap.messages),
                Item::Run(run) => {
                    let messages = u64::try_from(run.to - run.from).unwrap_or(u64::MAX);
                    (run.batch.sequence(run.from), run.batch.sequence(run.to - 1), messages)
                }
            };
            let gap = all.get_or_insert(Gap { first, last, messages: 0, reason });
            gap.last = last;
            gap.messages = gap.messages.saturating_add(messages);
        }
        self.amount = Amount::default();
        all
    }
}

/// The next message of the run, when the sink took it.
fn send<'a>(run: &'a Run, sink: &mut impl Sink) -> Option<&'a Message> {
    let message = run.batch.messages.get(run.from).filter(|_| run.from < run.to)?;
    sink.message(run.batch.sequence(run.from), message).then_some(message)
}

fn push_run(items: &mut VecDeque<Item>, batch: &Arc<Batch>, index: usize) {
    keep_run(items, batch, index, index + 1);
}

/// Appends `from..to` of `batch`, to the last run where they are neighbours.
fn keep_run(items: &mut VecDeque<Item>, batch: &Arc<Batch>, from: usize, to: usize) {
    if let Some(Item::Run(last)) = items.back_mut()
        && Arc::ptr_eq(&last.batch, batch)
        && last.to == from
    {
        last.to = to;
        return;
    }
    items.push_back(Item::Run(Run { batch: Arc::clone(batch), from, to }));
}

#[cfg(test)]
mod tests;
