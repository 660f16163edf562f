//! Which records of a partition belong to transactions that are open, and which to aborted ones. Pure.
//!
//! It follows batches and markers in the order of their offsets, and knows nothing of how transactions end.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

/// An aborted transaction: the records of its producer from its first to its marker do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    /// Its marker.
    pub(crate) last_offset: i64,
    /// All below was decided once the marker was there.
    stable_offset: i64,
}

/// A transaction that has its marker: where it began, and where the marker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Closing {
    first_offset: i64,
    marker_offset: i64,
}

/// The transactions of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transactions {
    /// First offsets of open transactions, with their producers.
    #[serde(skip)]
    open: BTreeMap<i64, i64>,
    /// Those whose marker may not be durable yet, in the order of the markers.
    #[serde(skip)]
    closing: VecDeque<Closing>,
    /// In the order of their markers.
    aborted: Vec<Aborted>,
    /// From here on something could not be read: what is decided there is not known.
    #[serde(skip)]
    lost_from: Option<i64>,
}

impl Transactions {
    /// A transaction began, or was known to be open when a log was opened.
    pub(crate) fn began(&mut self, first_offset: i64, producer_id: i64) {
        self.open.insert(first_offset, producer_id);
    }

    /// The marker of a transaction that began at `first_offset` was appended.
    pub(crate) fn ended(&mut self, first_offset: i64, marker_offset: i64, committed: bool) {
        let Some(producer_id) = self.open.remove(&first_offset) else { return };
        self.closing.push_back(Closing { first_offset, marker_offset });
        if !committed {
            let first_open = self.open.first_key_value().map(|(first, _)| *first);
            let stable_offset = first_open.unwrap_or(i64::MAX).min(marker_offset.saturating_add(1));
            self.aborted.push(Aborted {
                producer_id,
                first_offset,
                last_offset: marker_offset,
                stable_offset,
            });
        }
    }

    /// Something could not be read from this offset on.
    pub(crate) fn lost_from(&mut self, offset: i64) {
        self.lost_from = Some(offset);
    }

    /// What could not be read was deleted.
    pub(crate) fn nothing_lost(&mut self) {
        self.lost_from = None;
    }

    /// How far a reader of committed records may go: everything below is decided, and durably so.
    pub(crate) fn last_stable(&mut self, start: i64, high_watermark: i64) -> i64 {
        while self.closing.front().is_some_and(|closing| closing.marker_offset < high_watermark) {
            self.closing.pop_front();
        }
        let closing = self.closing.iter().map(|closing| closing.first_offset);
        let first = self.open.keys().next().copied().into_iter().chain(closing).chain(self.lost_from).min();
        first.unwrap_or(high_watermark).min(high_watermark).max(start)
    }

    /// The aborted transactions with records from `from` up to `to`, in the order of their first offsets.
    pub(crate) fn aborted_between(&self, from: i64, to: i64) -> Vec<Aborted> {
        let begin = self.aborted.partition_point(|aborted| aborted.last_offset < from);
        let mut found = Vec::new();
        for aborted in self.aborted.iter().skip(begin) {
            if aborted.first_offset < to {
                found.push(*aborted);
            }
            // What was aborted later began where nothing was decided then.
            if aborted.stable_offset >= to {
                break;
            }
        }
        found.sort_unstable_by_key(|aborted| aborted.first_offset);
        found
    }

    /// Forgets what ended before `start`.
    pub(crate) fn forget_before(&mut self, start: i64) {
        let gone = self.aborted.partition_point(|aborted| aborted.last_offset < start);
        self.aborted.drain(..gone);
    }
}

#[cfg(test)]
mod tests;
