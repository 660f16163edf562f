//! Who can be behind: a subscriber with its own queue, or all receivers of a Pipeline together.

use super::super::buffer::{Amount, Batch};
use super::super::prefixes::Prefixes;
use super::super::queue::Queue;
use super::super::work::Work;
use super::behind::Behind;
use crate::messaging::Message;
use peer_wire::{Gap, GapReason};
use std::sync::Arc;
use tokio::sync::Notify;

/// See the head of the file.
#[derive(Clone)]
pub(in crate::delivery) enum Lane {
    Queue(Arc<Queue>),
    Work(Arc<Work>),
}

impl Lane {
    pub(super) fn behind(&self) -> &Behind {
        match self {
            Self::Queue(queue) => queue.behind(),
            Self::Work(work) => work.behind(),
        }
    }

    /// Told when there may be more room.
    pub(super) fn room(&self) -> &Notify {
        match self {
            Self::Queue(queue) => queue.room(),
            Self::Work(work) => work.room(),
        }
    }

    /// Whether all of it has room for certain.
    pub(super) fn has_room(&self, messages: &[Message], sizes: &[usize]) -> bool {
        match self {
            Self::Queue(queue) => queue.fits(messages, sizes),
            Self::Work(work) => work.fits(messages, sizes),
        }
    }

    /// What it wants of a batch from message `from` on.
    pub(super) fn wanted(&self, batch: &Batch, from: usize) -> Amount {
        match self {
            Self::Queue(queue) => queue.wanted(batch, from),
            Self::Work(_) => batch.wanted(from, &Prefixes::default()),
        }
    }

    /// Takes messages in order while there is room; returns the index of the first that it did not take.
    pub(super) fn fill(&self, batch: &Arc<Batch>) -> usize {
        match self {
            Self::Queue(queue) => queue.fill(batch),
            Self::Work(work) => work.fill(batch),
        }
    }

    /// It never gets these; returns how many it would have got, 0 = nobody knows, because it has a filter.
    pub(super) fn lose(&self, first: u64, last: u64) -> u64 {
        let reason = GapReason::SpillLost;
        let gap = match self {
            Self::Queue(queue) => queue.missed(first, last, reason),
            Self::Work(_) => {
                Gap { first, last, messages: last.saturating_sub(first).saturating_add(1), reason }
            }
        };
        match self {
            Self::Queue(queue) => queue.lose(gap),
            Self::Work(work) => work.with(|desk| desk.tell(gap, 0)),
        }
        gap.messages
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Queue(one), Self::Queue(other)) => Arc::ptr_eq(one, other),
            (Self::Work(one), Self::Work(other)) => Arc::ptr_eq(one, other),
            (Self::Queue(_), Self::Work(_)) | (Self::Work(_), Self::Queue(_)) => false,
        }
    }
}
