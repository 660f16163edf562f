//! What one subscription has delivered, what was acknowledged, what must come again. Pure.
//!
//! An offset may be committed only when everything before it was acknowledged: what is kept here
//! is, per partition, the deliveries in order, and the acknowledged ones are taken off the front.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use runtime::clock::Instant;

use super::Delivery;
use crate::messaging::{Message, Position};

/// Unacknowledged deliveries that are kept for one subscription, whatever its credit.
const OPEN_MESSAGES_MAX: usize = 100_000;
/// The same, in bytes of messages.
const OPEN_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Up to where a partition may be committed: the offset after the last acknowledged one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) partition: i32,
    pub(super) last_offset: i64,
}

#[derive(Debug)]
struct Open {
    position: Position,
    message: Message,
    attempt: u32,
}

/// What makes a delivery count as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DoneBy {
    /// Nothing is committed, so nothing is kept.
    Nothing,
    /// The app took it.
    HandOver,
    /// The app acknowledged it; the message is kept until then, since it may be refused.
    Ack,
}

/// The state of one subscription.
#[derive(Debug)]
pub(super) struct Progress {
    done_by: DoneBy,
    credit: u32,
    last_id: u64,
    open: BTreeMap<u64, Open>,
    open_bytes: usize,
    /// Offsets in delivery order, with whether they are acknowledged.
    partitions: HashMap<i32, VecDeque<(i64, bool)>>,
    again: BTreeSet<(Instant, u64)>,
}

impl Progress {
    pub(super) fn new(done_by: DoneBy, credit: u32) -> Self {
        Self {
            done_by,
            credit,
            last_id: 0,
            open: BTreeMap::new(),
            open_bytes: 0,
            partitions: HashMap::new(),
            again: BTreeSet::new(),
        }
    }

    /// Whether one more message may be delivered.
    pub(super) fn has_room(&self) -> bool {
        self.credit > 0 && self.open.len() < OPEN_MESSAGES_MAX && self.open_bytes < OPEN_BYTES_MAX
    }

    /// Whether a message that is due again may go out.
    pub(super) fn has_credit(&self) -> bool {
        self.credit > 0
    }

    pub(super) fn grant(&mut self, messages: u32) {
        self.credit = self.credit.saturating_add(messages).min(super::CREDIT_MAX);
    }

    /// Takes a new record; call it only while [`Progress::has_room`].
    pub(super) fn deliver(&mut self, position: Position, message: Message) -> Delivery {
        self.credit = self.credit.saturating_sub(1);
        self.last_id += 1;
        if self.done_by != DoneBy::Nothing {
            let order = self.partitions.entry(position.partition).or_default();
            // Only after a reset to an earlier offset; what was before it no longer counts.
            if order.back().is_some_and(|(last, _)| *last >= position.offset) {
                order.clear();
            }
            order.push_back((position.offset, false));
            let message = if self.done_by == DoneBy::Ack { message.clone() } else { Message::default() };
            self.open_bytes = self.open_bytes.saturating_add(message.size_bytes());
            self.open.insert(self.last_id, Open { position: position.clone(), message, attempt: 1 });
        }
        Delivery { id: self.last_id, position, message, attempt: 1 }
    }

    /// Takes an acknowledgement; says what may be committed now. Ids that are not open are ignored:
    /// their partition may have moved to another reader meanwhile.
    pub(super) fn ack(&mut self, id: u64) -> Option<Done> {
        let open = self.open.remove(&id)?;
        self.open_bytes = self.open_bytes.saturating_sub(open.message.size_bytes());
        let order = self.partitions.get_mut(&open.position.partition)?;
        let index = order.binary_search_by_key(&open.position.offset, |(offset, _)| *offset).ok()?;
        if let Some((_, acked)) = order.get_mut(index) {
            *acked = true;
        }
        let mut last_offset = None;
        while let Some((offset, true)) = order.front() {
            last_offset = Some(*offset);
            order.pop_front();
        }
        last_offset.map(|last_offset| Done { partition: open.position.partition, last_offset })
    }

    /// Takes the news that the app has taken everything up to `id`; says what may be committed now.
    pub(super) fn handed_over(&mut self, id: u64) -> Vec<Done> {
        if self.done_by != DoneBy::HandOver {
            return Vec::new();
        }
        let ids: Vec<u64> = self.open.range(..=id).map(|(id, _)| *id).collect();
        let mut done = HashMap::new();
        for step in ids.into_iter().filter_map(|id| self.ack(id)) {
            done.insert(step.partition, step.last_offset);
        }
        done.into_iter().map(|(partition, last_offset)| Done { partition, last_offset }).collect()
    }

    /// Takes a refusal: the message comes again at `due`.
    pub(super) fn nack(&mut self, id: u64, due: Instant) {
        if self.done_by == DoneBy::Ack && self.open.contains_key(&id) {
            self.again.insert((due, id));
        }
    }

    /// When the next refused message is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.again.first().map(|(due, _)| *due)
    }

    /// The next message that is due again, under a new id; `None` while there is none or no credit.
    pub(super) fn redeliver(&mut self, now: Instant) -> Option<Delivery> {
        if self.credit == 0 {
            return None;
        }
        loop {
            let (due, id) = *self.again.first()?;
            if due > now {
                return None;
            }
            self.again.pop_first();
            // Acknowledged or revoked meanwhile: nothing to do.
            let Some(mut open) = self.open.remove(&id) else {
                continue;
            };
            open.attempt = open.attempt.saturating_add(1);
            self.credit = self.credit.saturating_sub(1);
            self.last_id += 1;
            let delivery = Delivery {
                id: self.last_id,
                position: open.position.clone(),
                message: open.message.clone(),
                attempt: open.attempt,
            };
            self.open.insert(self.last_id, open);
            return Some(delivery);
        }
    }

    /// Forgets partitions that belong to another reader now.
    pub(super) fn revoke(&mut self, partitions: &[i32]) {
        for partition in partitions {
            self.partitions.remove(partition);
        }
        self.open.retain(|_, open| !partitions.contains(&open.position.partition));
        self.open_bytes = self.open.values().map(|open| open.message.size_bytes()).sum();
    }
}

#[cfg(test)]
mod tests;
