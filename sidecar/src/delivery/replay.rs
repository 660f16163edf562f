//! What a publisher keeps of its last messages, for late joiners and for gaps. Pure: no locks, no clock.
//!
//! Messages, bytes and time are limits, whichever is reached first. Bytes count what keeping a message costs beside
//! its payload too, so that many empty messages have an end. Messages that were published together share memory, which
//! is free when the last of them goes: at most one batch, which a subscriber's buffer bounds, is held longer.

use super::buffer::Batch;
use crate::view::Replay;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// What a message costs beside subject, key, headers and parts.
const OVERHEAD_BYTES: usize = 160;

/// The rest of a batch.
#[derive(Debug)]
struct Kept {
    batch: Arc<Batch>,
    from: usize,
}

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    kept: VecDeque<Kept>,
    messages: usize,
    bytes: usize,
}

fn cost(batch: &Batch, index: usize) -> usize {
    batch.size(index).saturating_add(OVERHEAD_BYTES)
}

impl Ring {
    pub(crate) const fn messages(&self) -> usize {
        self.messages
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps what was just published, as far as the limits allow. Batches come in the order of their numbers, and
    /// none is left out: what is kept has no hole.
    pub(crate) fn push(&mut self, batch: &Arc<Batch>, limits: Option<Replay>, now: Duration) {
        if limits.is_some() {
            self.messages += batch.len();
            self.bytes += (0..batch.len()).map(|index| cost(batch, index)).sum::<usize>();
            self.kept.push_back(Kept { batch: Arc::clone(batch), from: 0 });
        }
        self.limit(limits, now);
    }

    /// Lets go of what the limits do not allow at `now`, from the oldest on.
    pub(crate) fn limit(&mut self, limits: Option<Replay>, now: Duration) {
        let Some(limits) = limits else {
            *self = Self::default();
            return;
        };
        while let Some(first) = self.kept.front_mut() {
            let too_old = now.saturating_sub(first.batch.accepted()) > limits.time;
            if !too_old && self.messages <= limits.messages && self.bytes <= limits.bytes {
                return;
            }
            self.messages = self.messages.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(cost(&first.batch, first.from));
            first.from += 1;
            if first.from >= first.batch.len() {
                self.kept.pop_front();
            }
        }
    }

    /// The sequence number of the oldest message that is kept.
    pub(crate) fn first(&self) -> Option<u64> {
        self.kept.front().map(|first| first.batch.sequence(first.from))
    }

    /// What is kept and comes after `received`: batches, and from which message on.
    pub(crate) fn after(&self, received: u64) -> impl Iterator<Item = (&Arc<Batch>, usize)> {
        self.kept.iter().filter_map(move |kept| {
            let next = received.saturating_add(1).saturating_sub(kept.batch.sequence(0));
            let from = kept.from.max(usize::try_from(next).unwrap_or(usize::MAX));
            (from < kept.batch.len()).then_some((&kept.batch, from))
        })
    }
}

#[cfg(test)]
mod tests;
