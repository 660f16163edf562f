//! Sequence numbers of idempotent producers: what is a repeat, what is a gap, what comes next.
//!
//! The table is pure; how it survives a restart is in `snapshots.rs`.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use kafka_wire::{ErrorCode, records::Marker};
use record_log::batch::{self, BatchHeader};
use serde::{Deserialize, Serialize};

use super::transactions::Transactions;

/// Batches remembered for each producer: what may be in flight at a time.
const BATCHES: usize = 5;
/// Producers remembered for each partition; the one that was quiet longest goes first.
const PRODUCERS_MAX: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Batch {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    last_offset: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Producer {
    epoch: i16,
    batches: VecDeque<Batch>,
    last_ms: i64,
    /// Where its open transaction began.
    first_offset: Option<i64>,
    /// Epoch of the coordinator that ended its last transaction, -1 before.
    coordinator_epoch: i32,
}

impl Producer {
    fn new(epoch: i16) -> Self {
        Self { epoch, batches: VecDeque::new(), last_ms: 0, first_offset: None, coordinator_epoch: -1 }
    }

    /// The batch that this one repeats.
    fn repeated(&self, header: &BatchHeader) -> Option<&Batch> {
        let (first, last) = (header.base_sequence, header.last_sequence());
        self.batches.iter().find(|batch| batch.first_sequence == first && batch.last_sequence == last)
    }

    /// A newer epoch counts its sequence from 0.
    fn use_epoch(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }
}

/// What is known of a producer, for those who ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) last_sequence: i32,
    pub(crate) last_ms: i64,
    pub(crate) coordinator_epoch: i32,
    /// Where its open transaction began.
    pub(crate) first_offset: Option<i64>,
    /// Of its last record; `None` when nothing but markers is known.
    pub(crate) last_offset: Option<i64>,
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Append it.
    Next,
    /// It is there already, from this offset to that.
    Repeat(i64, i64),
}

/// The producers of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
    pub(crate) transactions: Transactions,
    /// Producers that went though their time was not over, since somebody last asked.
    #[serde(skip)]
    evicted: u64,
}

/// Sequence numbers go round after `i32::MAX`.
fn advance(sequence: i32, by: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(by);
    i32::try_from(sum % (i64::from(i32::MAX) + 1)).unwrap_or(0)
}

impl Producers {
    /// Looks at the header of a batch of an idempotent producer.
    /// `from_zero` says that a producer that is not known has to start at 0.
    pub(crate) fn check(&self, header: &BatchHeader, from_zero: bool) -> Result<Verdict, ErrorCode> {
        let Some(producer) = self.by_id.get(&header.producer_id) else {
            let wrong = from_zero && header.base_sequence != 0;
            return if wrong { Err(ErrorCode::OutOfOrderSequenceNumber) } else { Ok(Verdict::Next) };
        };
        if header.producer_epoch < producer.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        let next = if header.producer_epoch > producer.epoch {
            0
        } else if let Some(batch) = producer.repeated(header) {
            return Ok(Verdict::Repeat(batch.base_offset, batch.last_offset));
        } else {
            producer.batches.back().map_or(0, |batch| advance(batch.last_sequence, 1))
        };
        if header.base_sequence != next {
            return Err(ErrorCode::OutOfOrderSequenceNumber);
        }
        if producer.first_offset.is_some() && !header.is_transactional() {
            return Err(ErrorCode::InvalidTxnState);
        }
        Ok(Verdict::Next)
    }

    /// Whether the transaction of a producer may be ended by a marker of this epoch, from this coordinator.
    pub(crate) fn check_marker(&self, producer: (i64, i16), coordinator_epoch: i32) -> Result<(), ErrorCode> {
        let Some(known) = self.by_id.get(&producer.0) else { return Ok(()) };
        if producer.1 < known.epoch {
            return Err(ErrorCode::InvalidProducerEpoch);
        }
        if coordinator_epoch < known.coordinator_epoch {
            return Err(ErrorCode::TransactionCoordinatorFenced);
        }
        Ok(())
    }

    /// Takes note of a batch that was appended; its header has its offset. The times in it are the client's.
    /// `marker` is what a control batch says; it has no sequence.
    pub(crate) fn took(&mut self, header: &BatchHeader, marker: Option<Marker>, now_ms: i64) {
        if header.producer_id < 0 {
            return;
        }
        self.make_room(header.producer_id);
        let fresh = || Producer::new(header.producer_epoch);
        let producer = self.by_id.entry(header.producer_id).or_insert_with(fresh);
        producer.use_epoch(header.producer_epoch);
        producer.last_ms = producer.last_ms.max(now_ms);
        if header.is_control() {
            if let Some(marker) = marker {
                producer.coordinator_epoch = marker.coordinator_epoch;
                if let Some(first_offset) = producer.first_offset.take() {
                    self.transactions.ended(first_offset, header.base_offset, marker.committed);
                }
            }
            return;
        }
        // One that compaction emptied belongs to nothing any more.
        if header.is_transactional() && header.record_count > 0 && producer.first_offset.is_none() {
            producer.first_offset = Some(header.base_offset);
            self.transactions.began(header.base_offset, header.producer_id);
        }
        if producer.batches.len() == BATCHES {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Batch {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
        });
    }

    /// One more producer than the limit: the one that was quiet longest goes, unless it has an open transaction.
    fn make_room(&mut self, producer_id: i64) {
        if self.by_id.len() < PRODUCERS_MAX || self.by_id.contains_key(&producer_id) {
            return;
        }
        let idle = self.by_id.iter().filter(|(_, producer)| producer.first_offset.is_none());
        let quietest = idle.min_by_key(|(_, producer)| producer.last_ms).map(|(id, _)| *id);
        if quietest.and_then(|id| self.by_id.remove(&id)).is_some() {
            self.evicted += 1;
        }
    }

    /// How many producers went since this was last asked, only to make room for others.
    pub(crate) fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
    }

    /// All producers.
    pub(crate) fn known(&self) -> impl Iterator<Item = Known> {
        self.by_id.iter().map(|(producer_id, producer)| Known {
            producer_id: *producer_id,
            epoch: producer.epoch,
            last_sequence: producer.batches.back().map_or(-1, |batch| batch.last_sequence),
            last_ms: producer.last_ms,
            coordinator_epoch: producer.coordinator_epoch,
            first_offset: producer.first_offset,
            last_offset: producer.batches.back().map(|batch| batch.last_offset),
        })
    }

    /// Forgets producers that were quiet since `before_ms` and have no open transaction.
    pub(crate) fn expire(&mut self, before_ms: i64) {
        self.by_id.retain(|_, producer| producer.last_ms >= before_ms || producer.first_offset.is_some());
    }

    /// After it was read from a file: the open transactions are those of the producers.
    pub(super) fn reopen(mut self) -> Self {
        for (producer_id, producer) in &self.by_id {
            if let Some(first_offset) = producer.first_offset {
                self.transactions.began(first_offset, *producer_id);
            }
        }
        self
    }
}

/// What a control batch says. A damaged one says nothing: its transaction stays open.
pub(crate) fn read_marker(header: &BatchHeader, bytes: &[u8]) -> Option<Marker> {
    let readable = header.is_control() && batch::is_intact(bytes);
    if readable { Marker::read(&Bytes::copy_from_slice(bytes)) } else { None }
}

#[cfg(test)]
mod tests;
