//! The last messages that overflowed: those that the Topic does not have yet, and of those that it has as many as a
//! subscriber's buffer holds, so that one who has nearly caught up need not read them back. Pure.

use super::super::buffer::{Amount, Batch};
use super::cursor::Place;
use crate::messaging::Message;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Written at once, whichever is reached first.
const BATCH: Amount = Amount { messages: 1000, bytes: 1 << 20 };

/// One message that overflowed.
#[derive(Debug)]
pub(in crate::delivery) struct Entry {
    pub(super) sequence: u64,
    pub(super) message: Message,
    pub(super) size: usize,
    /// When it was published, on the sidecar's monotonic clock.
    pub(super) accepted: Duration,
}

/// What becomes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Waits,
    At(i64),
    /// The Topic does not take it.
    Refused,
}

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Window {
    entries: VecDeque<(Arc<Entry>, Fate)>,
    /// Of those that wait for the Topic.
    waiting: Amount,
    /// Of those that do not any more; they come first.
    settled: Amount,
    /// The writer has so many of those that wait in hand.
    writing: usize,
    written: Option<Place>,
}

impl Window {
    pub(super) const fn waiting(&self) -> Amount {
        self.waiting
    }

    /// The last place that the writer knows.
    pub(super) const fn written(&self) -> Option<Place> {
        self.written
    }

    /// How many of `sizes` there is room for, in order. One that is alone always fits.
    pub(super) fn fitting(&self, sizes: &[usize], limits: Amount) -> usize {
        let mut load = self.waiting;
        let fits = sizes.iter().take_while(|size| {
            load.add(**size);
            load.messages == 1 || (load.messages <= limits.messages && load.bytes <= limits.bytes)
        });
        fits.count()
    }

    /// Takes a batch from message `from` on.
    pub(super) fn take(&mut self, batch: &Batch, from: usize) {
        for (sequence, message, size) in batch.from(from) {
            self.waiting.add(size);
            let entry = Entry { sequence, message: message.clone(), size, accepted: batch.accepted() };
            self.entries.push_back((Arc::new(entry), Fate::Waits));
        }
    }

    /// The first of those that wait, for the writer.
    pub(super) fn oldest(&mut self) -> Vec<Arc<Entry>> {
        let mut load = Amount::default();
        let waiting = self.entries.iter().skip(self.settled.messages).map(|(entry, _)| entry);
        let oldest: Vec<Arc<Entry>> = waiting
            .take_while(|entry| {
                load.add(entry.size);
                load.messages == 1 || (load.messages <= BATCH.messages && load.bytes <= BATCH.bytes)
            })
            .cloned()
            .collect();
        self.writing = oldest.len();
        oldest
    }

    /// The writer is done with the first of those that wait.
    pub(super) fn settle(&mut self, offset: Option<i64>) {
        let Some((entry, fate)) = self.entries.get_mut(self.settled.messages) else { return };
        *fate = offset.map_or(Fate::Refused, Fate::At);
        self.waiting.take(entry.size);
        self.settled.add(entry.size);
        self.writing = self.writing.saturating_sub(1);
        if let Some(offset) = offset {
            self.written = Some(Place { sequence: entry.sequence, offset });
        }
    }

    /// Lets go of what the Topic has beyond `limits`, from the oldest on; each with its offset, if the Topic has it.
    pub(super) fn evict(&mut self, limits: Amount) -> Option<(u64, Option<i64>)> {
        let within = self.settled.messages <= limits.messages && self.settled.bytes <= limits.bytes;
        if within || self.settled.messages == 0 {
            return None;
        }
        let (entry, fate) = self.entries.pop_front()?;
        self.settled.take(entry.size);
        let offset = match fate {
            Fate::At(offset) => Some(offset),
            Fate::Waits | Fate::Refused => None,
        };
        Some((entry.sequence, offset))
    }

    /// Nobody needs any of it. What the writer has in hand stays until it is done.
    pub(super) fn clear(&mut self) {
        self.entries.drain(..self.settled.messages);
        self.settled = Amount::default();
        for (entry, _) in self.entries.drain(self.writing.min(self.entries.len())..) {
            self.waiting.take(entry.size);
        }
        self.written = None;
    }

    /// Up to `most` messages from number `next` on; none if they are not here.
    pub(super) fn from(&self, next: u64, most: usize) -> Vec<Arc<Entry>> {
        let first = self.entries.partition_point(|(entry, _)| entry.sequence < next);
        let found = self.entries.iter().skip(first).map(|(entry, _)| entry);
        let mut expected = next;
        let neighbours = found.take_while(|entry| {
            let is_next = entry.sequence == expected;
            expected = expected.saturating_add(1);
            is_next
        });
        neighbours.take(most).cloned().collect()
    }

    /// The first number here that is not below `next`.
    pub(super) fn first_from(&self, next: u64) -> Option<u64> {
        let first = self.entries.partition_point(|(entry, _)| entry.sequence < next);
        self.entries.get(first).map(|(entry, _)| entry.sequence)
    }

    /// Whether anything waits for the Topic.
    pub(super) fn is_written(&self) -> bool {
        self.waiting.messages == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    const LIMITS: Amount = Amount { messages: 3, bytes: 1000 };
    const NONE: Amount = Amount { messages: 0, bytes: 0 };

    fn batch(first: u64, count: usize) -> Batch {
        let message = Message { parts: vec![Bytes::from_static(b"1234567890")], ..Message::default() };
        Batch::new(first, Duration::ZERO, vec![message; count], vec![10; count])
    }

    fn numbers(entries: &[Arc<Entry>]) -> Vec<u64> {
        entries.iter().map(|entry| entry.sequence).collect()
    }

    /// Goal: only what waits for the Topic takes room, and a message that is alone always has it.
    #[test]
    fn room_is_for_what_waits() {
        let mut window = Window::default();
        assert_eq!(window.fitting(&[2000, 1], LIMITS), 1);
        window.take(&batch(1, 2), 0);
        assert_eq!(window.fitting(&[10, 10], LIMITS), 1);
        window.oldest();
        window.settle(Some(7));
        window.settle(None);
        assert_eq!(window.fitting(&[10, 10, 10, 10], LIMITS), 3);
        assert_eq!(window.written(), Some(Place { sequence: 1, offset: 7 }));
        assert!(window.is_written());
    }

    /// Goal: what was written is kept up to the limits, goes in order with its offset, and what waits never goes.
    #[test]
    fn the_oldest_go_first() {
        let mut window = Window::default();
        window.take(&batch(1, 5), 0);
        assert_eq!(window.evict(NONE), None);
        window.oldest();
        for offset in 20..24 {
            window.settle(Some(offset));
        }
        assert_eq!(window.evict(LIMITS), Some((1, Some(20))));
        assert_eq!(window.evict(LIMITS), None);
        assert_eq!(window.first_from(1), Some(2));
        assert_eq!(numbers(&window.from(2, 10)), [2, 3, 4, 5]);
        assert_eq!(numbers(&window.from(3, 2)), [3, 4]);
        assert_eq!(numbers(&window.oldest()), [5]);
    }

    /// Goal: when nobody is behind any more, only what is being written stays, and later numbers need not follow it.
    #[test]
    fn what_is_being_written_stays() {
        let mut window = Window::default();
        window.take(&batch(1, 2), 0);
        assert_eq!(numbers(&window.oldest()), [1, 2]);
        window.take(&batch(3, 2), 1);
        window.clear();
        assert_eq!(window.waiting().messages, 2);
        window.take(&batch(9, 2), 0);
        assert_eq!(numbers(&window.from(1, 10)), [1, 2]);
        assert_eq!(numbers(&window.from(9, 10)), [9, 10]);
        assert!(window.from(3, 10).is_empty());
        window.settle(Some(4));
        window.settle(Some(5));
        assert_eq!(numbers(&window.oldest()), [9, 10]);
    }
}
