//! What a full buffer does to take more: the oldest goes, or of each key only the latest stays. Pure.
//!
//! Only what waits is touched. What was sent stays until it is confirmed, whatever comes after it.

use super::losses::Losses;
use super::{Amount, Batch, Buffer, Item, Run};
use crate::delivery::prefixes::Prefixes;
use bytes::Bytes;
use peer_wire::{Gap, GapReason, Message};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The places of gaps are cleared away when there are so many more of them than messages.
const SLACK: usize = 64;

/// What happened to a batch, and to what had waited before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    /// Messages that were put into the buffer.
    pub(crate) taken: usize,
    /// Messages that were not.
    pub(crate) refused: u64,
    /// Messages that were in it and made room.
    pub(crate) dropped_oldest: u64,
    /// Messages that were in it and gave way to a later one of their key.
    pub(crate) replaced: u64,
}

/// What tells messages apart under `KeepLatest`: the key, or the subject of a message without a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    Key(Bytes),
    Subject(Bytes),
}

impl Name {
    fn of(message: &Message) -> Self {
        match &message.key {
            Some(key) => Self::Key(key.clone()),
            None => Self::Subject(message.subject.clone()),
        }
    }
}

/// Where the latest message of each name waits. Places are numbered from any start and keep their number while
/// others come and go before them.
#[derive(Debug, Default)]
pub(super) struct Latest {
    places: HashMap<Name, i64>,
    /// The number of the first place.
    first: i64,
    /// How many places there may be before gaps are cleared away.
    places_max: usize,
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Latest {
    fn index(&self, place: i64) -> Option<usize> {
        usize::try_from(place.saturating_sub(self.first)).ok()
    }

    /// A message leaves the first place.
    fn forget_first(&mut self, message: &Message) {
        let name = Name::of(message);
        if self.places.get(&name) == Some(&self.first) {
            self.places.remove(&name);
        }
    }
}

impl Buffer {
    /// Takes what matches; what waits longest makes room. Every loss is a gap in its place.
    pub(crate) fn push_dropping_oldest(
        &mut self,
        batch: &Arc<Batch>,
        prefixes: &Prefixes,
        limits: Amount,
    ) -> Outcome {
        self.latest = None;
        let mut outcome = Outcome::default();
        for index in (0..batch.len()).filter(|index| batch.wants(*index, prefixes)) {
            outcome.dropped_oldest += self.make_room(batch.size(index), limits);
            self.push_one(batch, index);
            outcome.taken += 1;
        }
        outcome
    }

    /// Takes what matches; an earlier message of the same name that still waits becomes a gap in its place. When
    /// the buffer is full of other names, the one that was written longest ago makes room.
    pub(crate) fn push_keeping_latest(
        &mut self,
        batch: &Arc<Batch>,
        prefixes: &Prefixes,
        limits: Amount,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        for index in (0..batch.len()).filter(|index| batch.wants(*index, prefixes)) {
            let Some(message) = batch.messages.get(index) else { continue };
            let name = Name::of(message);
            outcome.replaced += self.replace(&name);
            outcome.dropped_oldest += self.make_room(batch.size(index), limits);
            self.amount.add(batch.size(index));
            self.waiting.push_back(Item::Run(Run { batch: Arc::clone(batch), from: index, to: index + 1 }));
            let place = number(self.waiting.len() - 1);
            let latest = self.latest.get_or_insert_default();
            latest.places.insert(name, latest.first.saturating_add(place));
            outcome.taken += 1;
            self.clear_away();
        }
        outcome
    }

    /// Turns the waiting message of that name into a gap; returns how many there were.
    fn replace(&mut self, name: &Name) -> u64 {
        let place = self.latest.as_mut().and_then(|latest| {
            let place = latest.places.remove(name)?;
            latest.index(place)
        });
        let Some(item) = place.and_then(|place| self.waiting.get_mut(place)) else { return 0 };
        let Item::Run(run) = item else { return 0 };
        let (sequence, size) = (run.batch.sequence(run.from), run.batch.size(run.from));
        *item = Item::Gap(Gap { first: sequence, last: sequence, messages: 1, reason: GapReason::Replaced });
        self.amount.take(size);
        1
    }

    /// Drops from the front until one message of that size fits; returns how many were dropped.
    fn make_room(&mut self, bytes: usize, limits: Amount) -> u64 {
        let mut dropped = 0;
        while !self.fits(Amount { messages: 1, bytes }, limits) && self.drop_first() {
            dropped += 1;
        }
        dropped
    }

    /// Turns the first message that waits into a gap; false when none waits.
    fn drop_first(&mut self) -> bool {
        let mut losses = Losses::default();
        let found = loop {
            match self.waiting.front_mut() {
                None => break false,
                Some(Item::Gap(gap)) => {
                    losses.add(gap);
                    self.pop_first();
                }
                Some(Item::Run(run)) => {
                    losses.add_message(run.batch.sequence(run.from), GapReason::DroppedOldest);
                    self.amount.take(run.batch.size(run.from));
                    if let (Some(latest), Some(message)) =
                        (&mut self.latest, run.batch.messages.get(run.from))
                    {
                        latest.forget_first(message);
                    }
                    run.from += 1;
                    if run.from == run.to {
                        self.pop_first();
                    }
                    break true;
                }
            }
        };
        for gap in losses.take().into_iter().rev() {
            self.push_first(Item::Gap(gap));
        }
        found
    }

    pub(super) fn push_first(&mut self, item: Item) {
        if let Some(latest) = &mut self.latest {
            latest.first = latest.first.saturating_sub(1);
        }
        self.waiting.push_front(item);
    }

    pub(super) fn pop_first(&mut self) {
        if let Some(latest) = &mut self.latest {
            latest.first = latest.first.saturating_add(1);
        }
        self.waiting.pop_front();
    }

    /// A message was sent from the first place, before it moved on.
    pub(super) fn sent_first(latest: &mut Option<Latest>, message: &Message) {
        if let Some(latest) = latest {
            latest.forget_first(message);
        }
    }

    /// Joins gaps between messages, when many of them came in places where messages were. So the places are
    /// bounded by the messages, and the work by what came since the last time.
    fn clear_away(&mut self) {
        let Some(latest) = &mut self.latest else { return };
        let most = latest.places_max.max(self.amount.messages.saturating_mul(2) + SLACK);
        if self.waiting.len() <= most {
            return;
        }
        let mut kept = VecDeque::with_capacity(self.amount.messages.saturating_mul(2));
        let mut losses = Losses::default();
        for (index, item) in std::mem::take(&mut self.waiting).into_iter().enumerate() {
            let run = match item {
                Item::Gap(gap) => {
                    losses.add(&gap);
                    continue;
                }
                Item::Run(run) => run,
            };
            kept.extend(losses.take().into_iter().map(Item::Gap));
            if let Some(message) = run.batch.messages.get(run.from) {
                let (old, new) = (number(index), number(kept.len()));
                if let Some(place) = latest.places.get_mut(&Name::of(message))
                    && *place == latest.first.saturating_add(old)
                {
                    *place = latest.first.saturating_add(new);
                }
            }
            kept.push_back(Item::Run(run));
        }
        kept.extend(losses.take().into_iter().map(Item::Gap));
        latest.places_max = kept.len().saturating_mul(2);
        self.waiting = kept;
    }
}

#[cfg(test)]
mod tests;
