//! An application that copies a partition with transactions: reads, writes what it read to two places, commits how far
//! it read, all or nothing. It speaks the older protocol or that of KIP-890, aborts now and then, walks away, or is
//! too slow; and it compares what is there with what it was told whenever it starts.
//!
//! Knows neither sockets nor how time passes: those are its [`Caller`]'s.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kafka_wire::{
    Request,
    messages::{
        AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest,
        OffsetFetchRequest, ProduceRequest, TxnOffsetCommitRequest,
        add_partitions_to_txn::AddPartitionsToTxnTopic,
        offset_fetch::OffsetFetchRequestTopic,
        produce::{PartitionProduceData, TopicProduceData},
        txn_offset_commit::{TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic},
    },
    records::{BatchBuilder, Record},
};

use crate::chance::Chance;
use crate::copies::{Copies, Ends, Side};

mod reading;

use reading::{fetch, parse, readable, text};

/// Messages of one transaction.
const MESSAGES_MAX: u64 = 5;
/// What the broker may refuse and take the next time, is tried so often.
const TRIES: usize = 4;
const RETRY_MS: u64 = 10;

const INVALID_PRODUCER_EPOCH: i16 = 47;
const CONCURRENT_TRANSACTIONS: i16 = 51;
const UNSTABLE_OFFSET_COMMIT: i16 = 88;
const PRODUCER_FENCED: i16 = 90;

/// Brings requests to a broker and lets time pass.
pub trait Caller {
    /// Why there is no answer.
    type Error;

    /// Sends a request and waits for its answer.
    fn call<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> impl Future<Output = Result<R::Response, Self::Error>>;

    /// Waits.
    fn rest(&mut self, milliseconds: u64) -> impl Future<Output = ()>;

    /// The time, in milliseconds since 1970.
    fn unix_ms(&self) -> i64;
}

/// Why a step did not come to its end.
#[derive(Debug)]
pub enum Trouble<E> {
    /// There was no answer.
    Call(E),
    /// The broker refused something that a working disk lets it do.
    Refused(&'static str, i16),
    /// What must never be.
    Wrong(String),
}

/// A partition of a topic.
pub type Place = (String, i32);

/// Who copies what.
#[derive(Clone, Debug)]
pub struct Task {
    /// Tells copiers apart in what they share.
    pub which: u32,
    /// What is copied. Its offsets have no gaps.
    pub input: Place,
    /// Where only this one copies to.
    pub own: Place,
    /// Where others copy to as well.
    pub shared: Place,
    /// Whose offset says how far it is.
    pub group: String,
    /// The transactional id.
    pub id: String,
    /// Transactions are aborted after so long.
    pub timeout_ms: i32,
}

/// The versions of requests that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// Partitions and groups are added by requests of their own; an epoch lasts.
    First,
    /// What is written is added; each transaction has its epoch (KIP-890).
    Second,
}

#[derive(Clone, Copy, Debug)]
struct Producer {
    protocol: Protocol,
    id: i64,
    epoch: i16,
    /// The next sequence number of both places.
    sequence: i32,
}

/// A transaction that is about to end.
#[derive(Clone, Copy, Debug)]
struct Ending {
    producer: Producer,
    attempt: usize,
    commits: bool,
    tried: bool,
    to: i64,
}

/// The application. After an error of its caller it can go on with a new one.
pub struct Copier {
    task: Task,
    copies: Arc<Mutex<Copies>>,
    chance: Chance,
    producer: Option<Producer>,
    ending: Option<Ending>,
    next: i64,
}

fn code_of<E>(what: &'static str, code: i16) -> Result<bool, Trouble<E>> {
    match code {
        0 => Ok(true),
        // It was too slow, and the transaction is aborted.
        INVALID_PRODUCER_EPOCH | PRODUCER_FENCED => Ok(false),
        code => Err(Trouble::Refused(what, code)),
    }
}

impl Copier {
    /// One that was just started; `copies` is what the ones before it were told.
    #[must_use]
    pub fn new(task: Task, copies: Arc<Mutex<Copies>>, chance: Chance) -> Self {
        Self { task, copies, chance, producer: None, ending: None, next: 0 }
    }

    /// The offset of the next message to copy: what is before is not read any more.
    #[must_use]
    pub const fn next(&self) -> i64 {
        self.next
    }

    fn judge(&self) -> MutexGuard<'_, Copies> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts, copies some messages, or ends what it could not end before.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn step<C: Caller>(&mut self, caller: &mut C) -> Result<(), Trouble<C::Error>> {
        if self.ending.is_some() {
            return self.end(caller).await;
        }
        match self.producer.take() {
            Some(producer) => self.copy(caller, producer).await,
            None => self.start(caller).await,
        }
    }

    /// Everything that was ever read is read again.
    ///
    /// # Errors
    /// See [`Trouble`].
    pub async fn read_again<C: Caller>(&self, caller: &mut C) -> Result<(), Trouble<C::Error>> {
        self.read(caller, Side::Own, true).await?;
        self.read(caller, Side::Shared, true).await
    }

    async fn start<C: Caller>(&mut self, caller: &mut C) -> Result<(), Trouble<C::Error>> {
        let protocol = if self.chance.one_in(3) { Protocol::First } else { Protocol::Second };
        let request = InitProducerIdRequest {
            transactional_id: Some(self.task.id.clone()),
            transaction_timeout_ms: self.task.timeout_ms,
            ..Default::default()
        };
        let answer = caller.call(&request, 4).await.map_err(Trouble::Call)?;
        match answer.error_code {
            0 => {}
            CONCURRENT_TRANSACTIONS => {
                caller.rest(RETRY_MS).await;
                return Ok(());
            }
            code => return Err(Trouble::Refused("starting with a transactional id", code)),
        }
        if !self.compare(caller).await? {
            return Err(self.wrong("its offset is still open after its start"));
        }
        let (id, epoch) = (answer.producer_id, answer.producer_epoch);
        self.producer = Some(Producer { protocol, id, epoch, sequence: 0 });
        Ok(())
    }

    /// Copies and offset are in step when nothing of this copier is open; `false` when something is.
    async fn compare<C: Caller>(&mut self, caller: &mut C) -> Result<bool, Trouble<C::Error>> {
        let task = &self.task;
        let topic =
            OffsetFetchRequestTopic { name: task.input.0.clone(), partition_indexes: vec![task.input.1] };
        let request = OffsetFetchRequest {
            group_id: task.group.clone(),
            topics: Some(vec![topic]),
            require_stable: true,
            ..Default::default()
        };
        let answer = caller.call(&request, 7).await.map_err(Trouble::Call)?;
        let found = answer.topics.first().and_then(|topic| topic.partitions.first());
        let offset = match found {
            Some(found) if found.error_code == 0 => found.committed_offset.max(0),
            Some(found) if found.error_code == UNSTABLE_OFFSET_COMMIT => return Ok(false),
            Some(found) => return Err(Trouble::Refused("an offset", found.error_code)),
            other => return Err(Trouble::Wrong(format!("{}: its offset is {other:?}", task.id))),
        };
        for side in [Side::Own, Side::Shared] {
            self.read(caller, side, false).await?;
            self.judge().settle(side, offset).map_err(|what| self.wrong(&what))?;
        }
        self.next = offset;
        Ok(true)
    }

    fn wrong<E>(&self, what: &str) -> Trouble<E> {
        Trouble::Wrong(format!("{}: {what}", self.task.id))
    }

    async fn copy<C: Caller>(
        &mut self,
        caller: &mut C,
        mut producer: Producer,
    ) -> Result<(), Trouble<C::Error>> {
        let wanted = 1 + usize::try_from(self.chance.below(MESSAGES_MAX)).unwrap_or(0);
        let found = fetch(caller, &self.task.input, self.next, 0).await?;
        let (records, _) = readable(&found, self.next).map_err(|what| self.wrong(&what))?;
        let count = records.len().min(wanted);
        if count == 0 {
            self.producer = Some(producer);
            return Ok(());
        }
        let to = self.next + i64::try_from(count).unwrap_or(0);
        let attempt = self.judge().begin(self.next, to);
        if !self.write(caller, &mut producer, attempt, to).await? {
            return Ok(());
        }
        if self.chance.one_in(12) {
            // It dies here; whoever starts next with its id, or time, aborts what it left.
            return Ok(());
        }
        if self.chance.one_in(15) {
            caller.rest(u64::try_from(self.task.timeout_ms).unwrap_or(0) * 3 / 2).await;
        }
        if !self.commit_offset(caller, producer, to).await? {
            return Ok(());
        }
        let commits = !self.chance.one_in(5);
        self.ending = Some(Ending { producer, attempt, commits, tried: false, to });
        self.end(caller).await
    }

    /// Writes copies to both places; `false` when it was too slow.
    async fn write<C: Caller>(
        &self,
        caller: &mut C,
        producer: &mut Producer,
        attempt: usize,
        to: i64,
    ) -> Result<bool, Trouble<C::Error>> {
        let task = &self.task;
        let places = [&task.own, &task.shared];
        if producer.protocol == Protocol::First {
            let topic = |(name, partition): &Place| AddPartitionsToTxnTopic {
                name: name.clone(),
                partitions: vec![*partition],
            };
            let request = AddPartitionsToTxnRequest {
                v3_and_below_transactional_id: task.id.clone(),
                v3_and_below_producer_id: producer.id,
                v3_and_below_producer_epoch: producer.epoch,
                v3_and_below_topics: places.map(topic).to_vec(),
                ..Default::default()
            };
            let answer = caller.call(&request, 3).await.map_err(Trouble::Call)?;
            let results = answer.results_by_topic_v3_and_below.iter();
            let codes = results.flat_map(|topic| &topic.results_by_partition);
            let code = codes.map(|result| result.partition_error_code).find(|code| *code != 0);
            if !code_of("adding partitions", code.unwrap_or(0))? {
                return Ok(false);
            }
        }
        let records: Vec<Record> = (self.next..to)
            .map(|input| Record {
                timestamp_ms: caller.unix_ms(),
                value: Some(text(task.which, attempt, input).into_bytes().into()),
                ..Record::default()
            })
            .collect();
        let builder = BatchBuilder {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence: producer.sequence,
            transactional: true,
            ..BatchBuilder::default()
        };
        let batch = builder.build(&records).map_err(|error| self.wrong(&error.to_string()))?;
        let data = |(name, index): &Place| TopicProduceData {
            name: name.clone(),
            partition_data: vec![PartitionProduceData { index: *index, records: Some(batch.clone()) }],
            ..Default::default()
        };
        let request = ProduceRequest {
            transactional_id: Some(task.id.clone()),
            acks: -1,
            timeout_ms: 30_000,
            topic_data: places.map(data).to_vec(),
        };
        let version = if producer.protocol == Protocol::First { 9 } else { 12 };
        let mut outcome = Ok(false);
        for _ in 0..TRIES {
            let answer = caller.call(&request, version).await.map_err(Trouble::Call)?;
            let answers = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
            let code = answers.map(|answer| answer.error_code).find(|code| *code != 0);
            outcome = code_of("copies", code.unwrap_or(0));
            if outcome.is_ok() {
                break;
            }
            caller.rest(RETRY_MS).await;
        }
        producer.sequence = producer.sequence.wrapping_add(i32::try_from(records.len()).unwrap_or(0));
        outcome
    }

    /// Has the group's offset committed with the transaction; `false` when it was too slow.
    async fn commit_offset<C: Caller>(
        &self,
        caller: &mut C,
        producer: Producer,
        to: i64,
    ) -> Result<bool, Trouble<C::Error>> {
        let task = &self.task;
        if producer.protocol == Protocol::First {
            let request = AddOffsetsToTxnRequest {
                transactional_id: task.id.clone(),
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                group_id: task.group.clone(),
            };
            let answer = caller.call(&request, 3).await.map_err(Trouble::Call)?;
            if !code_of("adding a group", answer.error_code)? {
                return Ok(false);
            }
        }
        let partition = TxnOffsetCommitRequestPartition {
            partition_index: task.input.1,
            committed_offset: to,
            ..Default::default()
        };
        let topic = TxnOffsetCommitRequestTopic { name: task.input.0.clone(), partitions: vec![partition] };
        let request = TxnOffsetCommitRequest {
            transactional_id: task.id.clone(),
            group_id: task.group.clone(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            topics: vec![topic],
            ..Default::default()
        };
        let version = if producer.protocol == Protocol::First { 3 } else { 5 };
        let mut outcome = Ok(false);
        for _ in 0..TRIES {
            let answer = caller.call(&request, version).await.map_err(Trouble::Call)?;
            let answers = answer.topics.iter().flat_map(|topic| &topic.partitions);
            let code = answers.map(|answer| answer.error_code).find(|code| *code != 0);
            outcome = code_of("an offset with a transaction", code.unwrap_or(0));
            if outcome.is_ok() {
                break;
            }
            caller.rest(RETRY_MS).await;
        }
        outcome
    }

    /// Ends a transaction; what gets no answer is asked for again in the next step.
    async fn end<C: Caller>(&mut self, caller: &mut C) -> Result<(), Trouble<C::Error>> {
        let Some(ending) = self.ending else { return Ok(()) };
        let Ending { mut producer, attempt, commits, tried, to } = ending;
        if commits {
            self.judge().ask(attempt);
        }
        self.ending = Some(Ending { tried: true, ..ending });
        let request = EndTxnRequest {
            transactional_id: self.task.id.clone(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            committed: commits,
        };
        let version = if producer.protocol == Protocol::First { 3 } else { 5 };
        let mut answer = caller.call(&request, version).await.map_err(Trouble::Call)?;
        if answer.error_code == 0 && self.chance.one_in(4) {
            // As if the answer had got lost.
            answer = caller.call(&request, version).await.map_err(Trouble::Call)?;
        }
        if answer.error_code == CONCURRENT_TRANSACTIONS {
            caller.rest(RETRY_MS).await;
            return Ok(());
        }
        let in_time = code_of("an end", answer.error_code)?;
        self.ending = None;
        if !in_time {
            // Aborted before it was first asked for, or nobody knows.
            if commits && !tried {
                self.judge().abort(attempt);
            }
            return Ok(());
        }
        if commits {
            self.judge().commit(attempt);
            self.next = to;
        }
        if producer.protocol == Protocol::Second {
            (producer.id, producer.epoch, producer.sequence) = (answer.producer_id, answer.producer_epoch, 0);
        }
        // The end is decided when it is answered, and may take longer on a disk that takes no writes.
        let _in_step = self.compare(caller).await?;
        self.producer = Some(producer);
        Ok(())
    }

    /// Reads what can be read of the copies, as a reader of committed messages.
    async fn read<C: Caller>(
        &self,
        caller: &mut C,
        side: Side,
        from_start: bool,
    ) -> Result<(), Trouble<C::Error>> {
        let place = if side == Side::Own { &self.task.own } else { &self.task.shared };
        let (first, mut offset) = if from_start { (0, 0) } else { self.judge().frontier(side) };
        let mut copies = Vec::new();
        let ends = loop {
            let found = fetch(caller, place, offset, 1).await?;
            let (records, next) = readable(&found, offset).map_err(|what| self.wrong(&what))?;
            for record in records {
                let copy = parse(&record).ok_or_else(|| self.wrong(&format!("{record:?} of nobody")))?;
                if copy.0 == self.task.which {
                    copies.push(copy.1);
                }
            }
            let ends = Ends { stable: found.last_stable_offset, high: found.high_watermark };
            if next >= ends.stable {
                break ends;
            }
            if next == offset {
                let what = format!("nothing is read of {place:?} at {offset}, below {ends:?}");
                return Err(self.wrong(&what));
            }
            offset = next;
        };
        let outcome = self.judge().read(side, first, &copies, ends);
        outcome.map_err(|what| self.wrong(&format!("{place:?}: {what}")))
    }
}
