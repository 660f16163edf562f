//! How a transaction ends: asked for by its producer, by time, and when all is done.

use std::collections::BTreeSet;

use kafka_wire::ErrorCode;

use super::{EPOCH_LAST, NO_EPOCH, NO_ID, Output, Producer, State, Transaction};
use crate::groups::offsets::Place;

/// What comes of asking for an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It had ended so before. The producer goes on as this one.
    Already(Producer),
    /// It is decided now; markers have to be written. The producer goes on as this one then.
    Begun(Producer),
}

/// A transaction that is decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Whose markers.
    pub(crate) producer: Producer,
    pub(crate) committed: bool,
    pub(crate) places: BTreeSet<Place>,
    pub(crate) groups: BTreeSet<String>,
}

impl Transaction {
    /// The producer ends its transaction. `bumps` says that it speaks the second version of the protocol, in which
    /// each end comes with a new epoch; `spare_id` is an id that nobody has had, for when there is none.
    pub(crate) fn handle_end(
        &mut self,
        producer: Producer,
        committed: bool,
        bumps: Option<Option<i64>>,
        now_ms: i64,
    ) -> Result<End, ErrorCode> {
        match bumps {
            Some(spare_id) => self.end_second(producer, committed, spare_id, now_ms),
            None => self.end_first(producer, committed, now_ms),
        }
    }

    fn end_first(&mut self, producer: Producer, committed: bool, now_ms: i64) -> Result<End, ErrorCode> {
        if self.head.state == State::Dead || producer.id != self.head.producer.id {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        if producer.epoch != self.head.producer.epoch {
            return Err(ErrorCode::ProducerFenced);
        }
        match (self.head.state, committed) {
            (State::Ongoing, _) => {
                self.decide(committed, now_ms);
                Ok(End::Begun(self.head.producer))
            }
            (State::CompleteCommit, true) | (State::CompleteAbort, false) => {
                Ok(End::Already(self.head.producer))
            }
            (State::PrepareCommit, true) | (State::PrepareAbort, false) => {
                Err(ErrorCode::ConcurrentTransactions)
            }
            _ => Err(ErrorCode::InvalidTxnState),
        }
    }

    fn end_second(
        &mut self,
        producer: Producer,
        committed: bool,
        spare_id: Option<i64>,
        now_ms: i64,
    ) -> Result<End, ErrorCode> {
        let head = self.head;
        let current = head.producer;
        let bumped = producer.id == current.id && head.last_epoch == producer.epoch && producer.epoch >= 0;
        let rotated = producer.id == head.previous_id && producer.epoch == EPOCH_LAST && current.epoch == 0;
        if head.state == State::Dead || (producer.id != current.id && !rotated) {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        let again = match head.state {
            State::PrepareCommit | State::PrepareAbort => bumped,
            State::CompleteCommit | State::CompleteAbort => bumped || rotated,
            State::Empty | State::Ongoing | State::Dead => false,
        };
        if !again && (producer != current || head.state.is_ending()) {
            return Err(ErrorCode::ProducerFenced);
        }
        match (head.state, committed, again) {
            (State::CompleteCommit, true, true) | (State::CompleteAbort, false, true) => {
                Ok(End::Already(current))
            }
            (State::PrepareCommit, true, _) | (State::PrepareAbort, false, _) => {
                Err(ErrorCode::ConcurrentTransactions)
            }
            // Aborting what never began is how a producer gets a new epoch after an error.
            (State::Ongoing, ..)
            | (State::Empty, false, _)
            | (State::CompleteCommit | State::CompleteAbort, false, false) => {
                self.bump(spare_id)?;
                self.decide(committed, now_ms);
                Ok(End::Begun(self.after()))
            }
            _ => Err(ErrorCode::InvalidTxnState),
        }
    }

    fn bump(&mut self, spare_id: Option<i64>) -> Result<(), ErrorCode> {
        let epoch = self.head.producer.epoch;
        if epoch >= EPOCH_LAST {
            self.head.next_id = spare_id.ok_or(ErrorCode::CoordinatorNotAvailable)?;
        }
        self.head.last_epoch = epoch;
        self.head.producer.epoch = epoch.saturating_add(1);
        Ok(())
    }

    fn decide(&mut self, committed: bool, now_ms: i64) {
        self.head.state = if committed { State::PrepareCommit } else { State::PrepareAbort };
        self.changed(now_ms);
    }

    /// Who the producer is once all is done.
    fn after(&self) -> Producer {
        match self.head.next_id {
            NO_ID => self.head.producer,
            id => Producer { id, epoch: 0 },
        }
    }

    /// Time has passed: a transaction that is open for too long is aborted, its producer fenced. Whether it is.
    pub(crate) fn handle_timeout(&mut self, now_ms: i64) -> bool {
        let late = self.poll_timeout().is_some_and(|deadline_ms| deadline_ms <= now_ms);
        if late {
            self.fence(now_ms);
        }
        late
    }

    /// What has to be done for it to end, when it is decided how.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.head.state.is_ending().then(|| Ending {
            producer: self.head.producer,
            committed: self.head.state == State::PrepareCommit,
            places: self.places.clone(),
            groups: self.groups.clone(),
        })
    }

    /// All markers are durable.
    pub(crate) fn handle_marked(&mut self, now_ms: i64) {
        self.head.state = match self.head.state {
            State::PrepareCommit => State::CompleteCommit,
            State::PrepareAbort => State::CompleteAbort,
            other => return self.head.state = other,
        };
        let after = self.after();
        if after.id != self.head.producer.id {
            self.head.previous_id = self.head.producer.id;
            self.head.next_id = NO_ID;
        }
        self.head.producer = after;
        self.head.started_ms = -1;
        self.outputs
            .push_back(Output::Cleared(std::mem::take(&mut self.places), std::mem::take(&mut self.groups)));
        self.changed(now_ms);
        debug_assert!(self.head.producer.epoch != NO_EPOCH, "a transaction has a producer");
    }
}
