//! One transactional id, as a pure state machine.
//!
//! `handle_*` takes a request, the passing of time or the end of work, `poll_output` gives what is to be stored, in
//! order. It knows neither clocks nor disks: times are milliseconds since 1970, and whoever drives it waits for what
//! it stores.

use std::collections::{BTreeSet, VecDeque};

use kafka_wire::ErrorCode;
use serde::{Deserialize, Serialize};

use crate::groups::offsets::Place;

mod end;

pub(crate) use end::{End, Ending};

/// No producer id, or none yet.
const NO_ID: i64 = -1;
/// No epoch, or none yet.
const NO_EPOCH: i16 = -1;
/// The last epoch that a client is given; the one above is for its fencing.
const EPOCH_LAST: i16 = i16::MAX - 1;

/// Where a transactional id stands, under Kafka's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
    /// Forgotten; only who still holds it sees that.
    Dead,
}

impl State {
    const ALL: [Self; 7] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
        Self::Dead,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
            Self::Dead => "Dead",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// It is decided how the transaction ends, and not yet done.
    pub(crate) fn is_ending(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }
}

/// A producer as it names itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Producer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// What is stored of a transactional id besides its partitions and groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) producer: Producer,
    /// The epoch that the client had before, when it may come again with it.
    last_epoch: i16,
    /// The id before this one.
    previous_id: i64,
    /// The id after this transaction, when the epochs have run out.
    next_id: i64,
    pub(crate) timeout_ms: i32,
    pub(crate) state: State,
    /// When the transaction began, or -1.
    pub(crate) started_ms: i64,
    pub(crate) updated_ms: i64,
}

/// Something to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// The head as it is now.
    Head,
    /// One more partition.
    Place(Place),
    /// One more group.
    Group(String),
    /// Neither partitions nor groups any more; these were.
    Cleared(BTreeSet<Place>, BTreeSet<String>),
}

/// What somebody who starts with a transactional id asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Init {
    pub(crate) timeout_ms: i32,
    /// Who it is, when it only wants another epoch.
    pub(crate) expected: Option<Producer>,
    /// An id that nobody has had, for when the epochs have run out.
    pub(crate) spare_id: Option<i64>,
}

/// The answer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Started {
    Ready(Producer),
    /// An open transaction has to be aborted first.
    Aborting,
}

/// A transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transaction {
    head: Head,
    places: BTreeSet<Place>,
    groups: BTreeSet<String>,
    outputs: VecDeque<Output>,
}

impl Transaction {
    /// One that nobody has started with yet.
    pub(crate) fn new(producer_id: i64, now_ms: i64) -> Self {
        let head = Head {
            producer: Producer { id: producer_id, epoch: NO_EPOCH },
            last_epoch: NO_EPOCH,
            previous_id: NO_ID,
            next_id: NO_ID,
            timeout_ms: 0,
            state: State::Empty,
            started_ms: -1,
            updated_ms: now_ms,
        };
        Self::from_stored(head, BTreeSet::new(), BTreeSet::new())
    }

    pub(crate) fn from_stored(head: Head, places: BTreeSet<Place>, groups: BTreeSet<String>) -> Self {
        Self { head, places, groups, outputs: VecDeque::new() }
    }

    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    pub(crate) fn state(&self) -> State {
        self.head.state
    }

    pub(crate) fn places(&self) -> &BTreeSet<Place> {
        &self.places
    }

    /// The next thing to store.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// All that is to be stored.
    pub(crate) fn outputs(&self) -> &VecDeque<Output> {
        &self.outputs
    }

    /// What was taken out could not be stored.
    pub(crate) fn wants_again(&mut self, outputs: VecDeque<Output>) {
        self.outputs = outputs;
    }

    /// What it is has to be stored, perhaps once more.
    pub(crate) fn save_again(&mut self) {
        if !self.outputs.contains(&Output::Head) {
            self.outputs.push_back(Output::Head);
        }
    }

    /// Whether the next start or end needs an id that nobody has had.
    pub(crate) fn needs_id(&self) -> bool {
        self.head.producer.epoch >= EPOCH_LAST
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<i64> {
        let open = self.head.state == State::Ongoing;
        open.then(|| self.head.started_ms.saturating_add(i64::from(self.head.timeout_ms)))
    }

    /// Nothing has happened since `before_ms`, and nothing is open.
    pub(crate) fn is_expired(&self, before_ms: i64) -> bool {
        let idle = matches!(self.head.state, State::Empty | State::CompleteCommit | State::CompleteAbort);
        idle && self.head.updated_ms < before_ms
    }

    /// It is forgotten.
    pub(crate) fn handle_expired(&mut self) {
        self.head.state = State::Dead;
    }

    fn changed(&mut self, now_ms: i64) {
        self.head.updated_ms = now_ms;
        self.save_again();
    }

    /// Somebody starts with this transactional id: whoever did before is fenced.
    pub(crate) fn handle_init(&mut self, init: Init, now_ms: i64) -> Result<Started, ErrorCode> {
        if !self.is_expected(init.expected) {
            return Err(ErrorCode::ProducerFenced);
        }
        match self.head.state {
            State::Dead => Err(ErrorCode::InvalidProducerIdMapping),
            State::PrepareCommit | State::PrepareAbort => Err(ErrorCode::ConcurrentTransactions),
            State::Ongoing => {
                let named = init.expected.is_none_or(|expected| expected == self.head.producer);
                if !named {
                    return Err(ErrorCode::ProducerFenced);
                }
                self.fence(now_ms);
                Ok(Started::Aborting)
            }
            State::Empty | State::CompleteCommit | State::CompleteAbort => {
                self.renew(init)?;
                self.head.timeout_ms = init.timeout_ms;
                self.head.state = State::Empty;
                self.head.started_ms = -1;
                self.changed(now_ms);
                Ok(Started::Ready(self.head.producer))
            }
        }
    }

    /// A caller that says who it is must be that, or the one before whose epochs had run out.
    fn is_expected(&self, expected: Option<Producer>) -> bool {
        let Some(expected) = expected else { return true };
        let head = &self.head;
        let before = expected.id == head.previous_id && expected.epoch >= EPOCH_LAST;
        head.producer.epoch == NO_EPOCH || expected.id == head.producer.id || before
    }

    /// The next epoch, or the next id when there is none.
    fn renew(&mut self, init: Init) -> Result<(), ErrorCode> {
        let head = &mut self.head;
        let epoch = head.producer.epoch;
        let expected = init.expected.map(|producer| producer.epoch);
        if epoch >= EPOCH_LAST && expected.is_none_or(|expected| expected == epoch) {
            let id = init.spare_id.ok_or(ErrorCode::CoordinatorNotAvailable)?;
            head.previous_id = head.producer.id;
            head.producer = Producer { id, epoch: 0 };
            head.last_epoch = expected.map_or(NO_EPOCH, |_| epoch);
            return Ok(());
        }
        match expected {
            None => head.last_epoch = NO_EPOCH,
            Some(expected) if epoch == NO_EPOCH || expected == epoch => head.last_epoch = epoch,
            // The answer to the first time got lost.
            Some(expected) if expected == head.last_epoch => return Ok(()),
            Some(_) => return Err(ErrorCode::ProducerFenced),
        }
        head.producer.epoch = epoch.saturating_add(1);
        Ok(())
    }

    /// The producer is shut out and its transaction is to be aborted.
    fn fence(&mut self, now_ms: i64) {
        self.head.producer.epoch = self.head.producer.epoch.saturating_add(1);
        self.head.last_epoch = NO_EPOCH;
        self.head.state = State::PrepareAbort;
        self.changed(now_ms);
    }

    /// Whether a producer may add to a transaction now.
    pub(crate) fn check(&self, producer: Producer) -> Result<(), ErrorCode> {
        let head = &self.head;
        if head.state == State::Dead || head.producer.id != producer.id {
            return Err(ErrorCode::InvalidProducerIdMapping);
        }
        if head.producer.epoch != producer.epoch {
            return Err(ErrorCode::ProducerFenced);
        }
        if head.state.is_ending() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        Ok(())
    }

    /// Whether a partition is in the open transaction of a producer.
    pub(crate) fn check_place(&self, producer: Producer, place: &Place) -> Result<(), ErrorCode> {
        self.check(producer)?;
        let known = self.head.state == State::Ongoing && self.places.contains(place);
        if known { Ok(()) } else { Err(ErrorCode::TransactionAbortable) }
    }

    /// Whether a group is in the open transaction of a producer.
    pub(crate) fn check_group(&self, producer: Producer, group: &str) -> Result<(), ErrorCode> {
        self.check(producer)?;
        let known = self.head.state == State::Ongoing && self.groups.contains(group);
        if known { Ok(()) } else { Err(ErrorCode::TransactionAbortable) }
    }

    /// How many partitions and groups there would be with one more.
    pub(crate) fn size_with(&self, places: &[Place]) -> usize {
        if self.head.state != State::Ongoing {
            return places.len();
        }
        let new = places.iter().filter(|place| !self.places.contains(*place)).count();
        self.places.len() + self.groups.len() + new
    }

    /// Partitions are added to the transaction, which begins when there is none.
    pub(crate) fn handle_add_places(
        &mut self,
        producer: Producer,
        places: Vec<Place>,
        now_ms: i64,
    ) -> Result<(), ErrorCode> {
        self.check(producer)?;
        self.begin(now_ms);
        for place in places {
            if self.places.insert(place.clone()) {
                self.outputs.push_back(Output::Place(place));
            }
        }
        Ok(())
    }

    /// A group is added to the transaction, which begins when there is none.
    pub(crate) fn handle_add_group(
        &mut self,
        producer: Producer,
        group: &str,
        now_ms: i64,
    ) -> Result<(), ErrorCode> {
        self.check(producer)?;
        self.begin(now_ms);
        if self.groups.insert(group.to_owned()) {
            self.outputs.push_back(Output::Group(group.to_owned()));
        }
        Ok(())
    }

    fn begin(&mut self, now_ms: i64) {
        if self.head.state != State::Ongoing {
            self.head.state = State::Ongoing;
            self.head.started_ms = now_ms;
            self.changed(now_ms);
        }
    }

    /// After a start: a partition has an open transaction of a producer with this epoch. Whether it is this one's;
    /// it may have been killed before it could store that.
    pub(crate) fn handle_found(&mut self, place: &Place, epoch: i16, now_ms: i64) -> bool {
        let current = self.head.producer.epoch;
        let ours = if self.head.state.is_ending() { epoch <= current } else { epoch == current };
        if !ours {
            return false;
        }
        if !self.head.state.is_ending() {
            self.begin(now_ms);
        }
        if self.places.insert(place.clone()) {
            self.outputs.push_back(Output::Place(place.clone()));
        }
        true
    }
}

#[cfg(test)]
mod tests;
