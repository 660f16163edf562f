//! What one subscriber, or all receivers of a Pipeline together, have not got yet because it overflowed. It is changed
//! under the lock of the Channel's outlet, or by the one who reads back.

use super::super::buffer::Amount;
use crate::metrics::ChannelMetrics;
use peer_wire::{Gap, GapReason};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// From where on it is read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Backlog {
    /// The number that comes next.
    pub(super) next: u64,
    /// Where the Topic has it, when it is not in memory any more.
    pub(super) offset: Option<i64>,
    /// The last number that overflowed.
    last: u64,
    /// What is wanted of all that.
    waiting: Amount,
}

impl Backlog {
    pub(super) fn last(&self) -> u64 {
        self.last.max(self.next)
    }
}

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Behind {
    backlog: Mutex<Option<Backlog>>,
    metrics: Arc<ChannelMetrics>,
}

impl Behind {
    pub(crate) fn new(metrics: Arc<ChannelMetrics>) -> Self {
        Self { backlog: Mutex::default(), metrics }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Backlog>> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_behind(&self) -> bool {
        self.lock().is_some()
    }

    pub(super) fn backlog(&self) -> Option<Backlog> {
        *self.lock()
    }

    fn note_more(&self, messages: usize) {
        let messages = i64::try_from(messages).unwrap_or(i64::MAX);
        self.metrics.lag.add(messages);
        self.metrics.spill_waiting.add(messages);
    }

    fn note_less(&self, messages: usize) {
        let messages = i64::try_from(messages).unwrap_or(i64::MAX);
        self.metrics.lag.sub(messages);
        self.metrics.spill_waiting.sub(messages);
    }

    /// Everything from `first` to `last` overflows; of it, `more` is wanted. Returns whether it was not behind before.
    pub(super) fn add(&self, first: u64, last: u64, more: Amount) -> bool {
        let mut guard = self.lock();
        let new = guard.is_none();
        let beginning = Backlog { next: first, offset: None, last, waiting: Amount::default() };
        let backlog = guard.get_or_insert(beginning);
        backlog.last = last;
        backlog.waiting.messages = backlog.waiting.messages.saturating_add(more.messages);
        backlog.waiting.bytes = backlog.waiting.bytes.saturating_add(more.bytes);
        self.note_more(more.messages);
        new
    }

    /// Everything before `next` came, `less` of it wanted; what comes next is at `offset` of the Topic, or in memory.
    pub(super) fn advance(&self, next: u64, offset: Option<i64>, less: Amount) {
        let mut guard = self.lock();
        let Some(backlog) = guard.as_mut() else { return };
        backlog.next = next;
        backlog.offset = offset;
        // Filters may have changed since it was counted.
        let went = less.messages.min(backlog.waiting.messages);
        backlog.waiting.messages -= went;
        backlog.waiting.bytes = backlog.waiting.bytes.saturating_sub(less.bytes);
        self.note_less(went);
    }

    /// `sequence` leaves the memory; whoever has not got it, or one before it that the Topic did not take, finds it at
    /// `offset`.
    pub(super) fn evicted(&self, sequence: u64, offset: i64) {
        if let Some(backlog) = self.lock().as_mut()
            && backlog.next <= sequence
            && backlog.offset.is_none()
        {
            backlog.offset = Some(offset);
        }
    }

    /// It has caught up, or is gone.
    pub(super) fn end(&self) {
        if let Some(backlog) = self.lock().take() {
            self.note_less(backlog.waiting.messages);
        }
    }

    /// Nobody is there any more: what it was behind by, as a gap.
    pub(crate) fn give_up(&self, reason: GapReason) -> Option<Gap> {
        let Backlog { next, last, waiting, .. } = self.lock().take()?;
        self.note_less(waiting.messages);
        let messages = u64::try_from(waiting.messages).unwrap_or(u64::MAX);
        Some(Gap { first: next, last: last.max(next), messages, reason })
    }
}

/// One gap of both.
pub(crate) fn joined(earlier: Option<Gap>, later: Option<Gap>) -> Option<Gap> {
    match (earlier, later) {
        (Some(earlier), Some(later)) => Some(Gap {
            first: earlier.first.min(later.first),
            last: earlier.last.max(later.last),
            messages: earlier.messages.saturating_add(later.messages),
            reason: earlier.reason,
        }),
        (gap, None) | (None, gap) => gap,
    }
}
