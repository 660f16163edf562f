//! One partition: its log, its producers' sequence numbers, and who waits for its next record.
//!
//! The log is opened when something is there or comes: a partition that was never written to costs no file.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use kafka_wire::ErrorCode;
use record_log::{
    Log, SyncTicket,
    journal::{Member, Place},
};
use runtime::clock;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    commit::{Committer, Durable, Synced},
    disk::{DiskFile, DiskStorage},
    metrics::{Metrics, TopicMetrics},
    topic_config::TopicConfig,
};

pub(crate) mod append;
pub(crate) mod compaction;
mod epochs;
pub(crate) mod producers;
pub(crate) mod read;
pub(crate) mod retention;
pub(crate) mod scrub;
mod snapshots;
pub(crate) mod transactions;

use compaction::Compactions;
use producers::Producers;
use snapshots::{Due, Files};

/// Waiters that are gone are swept when there are more than this.
const WAITERS_SWEEP: usize = 64;

/// An answer for one partition that is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) message: Option<String>,
    /// Which records of a batch are to blame, by their number in it.
    pub(crate) records: Vec<i32>,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()), records: Vec::new() }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, records: Vec::new() }
    }
}

/// What partitions need of the process.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) storage: DiskStorage,
    pub(crate) committer: Committer,
    pub(crate) metrics: Metrics,
    /// One for the whole run of the process, and larger than in any run before.
    pub(crate) leader_epoch: i32,
    /// A producer that was quiet for so long is forgotten.
    pub(crate) producer_expiration_ms: i64,
}

struct State {
    log: Option<Log<DiskStorage>>,
    producers: Producers,
    /// When the producers are to be written down again.
    due: Due,
    compactions: Compactions,
    config: Arc<TopicConfig>,
    /// The topic was deleted.
    gone: bool,
    /// An earlier run left a log.
    existing: bool,
    /// It was synced to here at least.
    known_end: i64,
    /// The log could not even be opened.
    unusable: Option<String>,
}

/// A partition; shared by all that use it.
pub(crate) struct Partition {
    pub(crate) topic: Arc<str>,
    pub(crate) index: i32,
    folder: String,
    ground: Ground,
    metrics: TopicMetrics,
    state: Mutex<State>,
    waiters: Mutex<Vec<Weak<Notify>>>,
}

/// The folder of all partitions of a topic.
pub(crate) fn topic_folder(topic_id: Uuid) -> String {
    format!("topics/{}", topic_id.simple())
}

impl Partition {
    /// A partition of a topic. `earlier` says that an earlier run left a log, and to which offset it was synced at
    /// least. It is opened when somebody asks for it.
    pub(crate) fn new(
        ground: &Ground,
        topic: (&Arc<str>, Uuid),
        index: i32,
        config: Arc<TopicConfig>,
        earlier: Option<i64>,
    ) -> Arc<Self> {
        let state = State {
            log: None,
            producers: Producers::default(),
            due: Due::default(),
            compactions: Compactions::default(),
            config,
            gone: false,
            existing: earlier.is_some(),
            known_end: earlier.unwrap_or(0),
            unusable: None,
        };
        let partition = Self {
            topic: Arc::clone(topic.0),
            index,
            folder: format!("{}/{index}", topic_folder(topic.1)),
            ground: ground.clone(),
            metrics: ground.metrics.topic(topic.0),
            state: Mutex::new(state),
            waiters: Mutex::default(),
        };
        Arc::new(partition)
    }

    /// Opens the log that an earlier run left, if it is there and not open yet.
    pub(crate) fn open_existing(self: &Arc<Self>) {
        let opened = self.lock().log.is_some();
        if opened {
            self.ground.committer.opened(&self.durable());
        }
    }

    /// The state, with the log open if there is one. A failure is told to whoever asks for the partition.
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock_as_it_is();
        let to_open = state.existing && state.log.is_none() && !state.gone && state.unusable.is_none();
        if to_open && let Err(refusal) = self.open(&mut state) {
            let reason = refusal.message.unwrap_or_default();
            tracing::error!(topic = %self.topic, partition = self.index, reason, "cannot open a partition");
            self.ground.metrics.read_only_partitions.inc();
            state.unusable = Some(reason);
        }
        state
    }

    fn lock_as_it_is(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn files(&self) -> Files<'_> {
        Files { storage: &self.ground.storage, folder: &self.folder }
    }

    /// Opens the log, making it when there is none.
    fn open<'a>(&self, state: &'a mut State) -> Result<&'a mut Log<DiskStorage>, Refusal> {
        if state.gone {
            return Err(ErrorCode::UnknownTopicOrPartition.into());
        }
        if let Some(reason) = &state.unusable {
            return Err(Refusal::new(ErrorCode::KafkaStorageError, reason.clone()));
        }
        if state.log.is_none() {
            let storage = self.ground.storage.clone();
            let segments = state.config.segments;
            let opened =
                Log::open_for_redo(storage, &self.folder, segments, clock::unix_ms(), &mut |_, _| ());
            let (mut log, recovery) = opened
                .map_err(|error| Refusal::new(ErrorCode::KafkaStorageError, crate::error_text(&error)))?;
            if recovery.truncated_bytes > 0 {
                let bytes = recovery.truncated_bytes;
                tracing::info!(topic = %self.topic, partition = self.index, bytes, "cut off a torn write");
            }
            let redo = self.ground.committer.redo(&self.folder, &mut log, &mut |_, _| ());
            redo.map_err(|error| Refusal::new(ErrorCode::KafkaStorageError, crate::error_text(&error)))?;
            log.expect_end(state.known_end);
            (state.producers, state.due) = self.files().restore(&mut log);
            if let Some(reason) = log.read_only_reason() {
                tracing::error!(topic = %self.topic, partition = self.index, reason, "read-only for damage");
                self.ground.metrics.read_only_partitions.inc();
            }
            self.metrics.log_size.add(i64::try_from(log.size()).unwrap_or(0));
            state.log = Some(log);
        }
        Ok(state.log.as_mut().expect("it was just set"))
    }

    /// Takes no more writes, and says so once.
    fn fail(&self, log: &mut Log<DiskStorage>, reason: &str) {
        if log.read_only_reason().is_none() {
            self.ground.metrics.read_only_partitions.inc();
            tracing::error!(topic = %self.topic, partition = self.index, reason, "the partition is read-only now");
        }
        log.fail(reason);
    }

    /// Takes no more writes until the damage is deleted, and says so once.
    fn damaged(&self, log: &mut Log<DiskStorage>, reason: &str) {
        if log.read_only_reason().is_none() {
            self.ground.metrics.read_only_partitions.inc();
            tracing::error!(topic = %self.topic, partition = self.index, reason, "the partition is read-only for damage now");
        }
        log.fail_damaged(reason);
    }

    /// How far the log is synced, when that is more than was asked for last.
    pub(crate) fn news_of_end(&self) -> Option<i64> {
        let mut state = self.lock_as_it_is();
        let end = state.log.as_ref()?.synced_offset();
        if end <= state.known_end {
            return None;
        }
        state.known_end = end;
        Some(end)
    }

    /// Uses another config from now on.
    pub(crate) fn set_config(&self, config: &Arc<TopicConfig>) {
        let mut state = self.lock_as_it_is();
        state.config = Arc::clone(config);
        if let Some(log) = &mut state.log {
            log.set_settings(config.segments);
        }
        self.may_compact(&mut state);
    }

    /// Bytes of batches.
    pub(crate) fn size(&self) -> u64 {
        self.lock().log.as_ref().map_or(0, Log::size)
    }

    /// The topic is deleted: nothing is read or written any more, and nobody waits in vain.
    pub(crate) fn go(&self) {
        let mut state = self.lock_as_it_is();
        state.gone = true;
        self.may_compact(&mut state);
        let read_only = state.log.take().is_some_and(|log| log.read_only_reason().is_some());
        if read_only || state.unusable.is_some() {
            self.ground.metrics.read_only_partitions.dec();
        }
        drop(state);
        self.wake();
    }

    /// As the committer knows it.
    pub(crate) fn durable(self: &Arc<Self>) -> Arc<Durable> {
        Arc::clone(self) as Arc<Durable>
    }

    /// Has the log synced; what is returned ends when that was done or failed.
    pub(crate) fn submit(self: &Arc<Self>) -> Synced {
        self.ground.committer.submit([self.durable()], 0)
    }

    /// For a clean end.
    pub(crate) fn close(&self) {
        let mut state = self.lock_as_it_is();
        let State { log: Some(log), producers, due, .. } = &mut *state else { return };
        if let Err(error) = log.close() {
            tracing::error!(topic = %self.topic, partition = self.index, %error, "cannot close a log");
        } else if due.bytes > 0 {
            self.save(log, (producers, due), false);
        }
    }

    /// Has `waiter` notified when there is more to read, or the partition goes. Once.
    pub(crate) fn wait(&self, waiter: &Arc<Notify>) {
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        if waiters.iter().any(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(waiter))) {
            return;
        }
        if waiters.len() >= WAITERS_SWEEP {
            waiters.retain(|known| known.strong_count() > 0);
        }
        waiters.push(Arc::downgrade(waiter));
    }

    fn wake(&self) {
        let waiters = std::mem::take(&mut *self.waiters.lock().unwrap_or_else(PoisonError::into_inner));
        for waiter in waiters.iter().filter_map(Weak::upgrade) {
            waiter.notify_one();
        }
    }
}

impl Member<DiskStorage> for Partition {
    fn folder(&self) -> &str {
        &self.folder
    }

    fn begin_sync(&self) -> Option<SyncTicket<DiskFile>> {
        self.lock_as_it_is().log.as_mut().and_then(Log::begin_sync)
    }

    fn begin_store(&self) -> Option<SyncTicket<DiskFile>> {
        self.lock_as_it_is().log.as_mut().and_then(Log::begin_store)
    }

    fn begin_note(&self) -> Option<SyncTicket<DiskFile>> {
        self.lock_as_it_is().log.as_mut().and_then(Log::begin_note)
    }

    fn finish(&self, ticket: &SyncTicket<DiskFile>, outcome: io::Result<Place>) {
        let mut state = self.lock_as_it_is();
        let Some(log) = &mut state.log else { return };
        match outcome {
            Ok(Place::File) => log.finish_sync(ticket),
            Ok(Place::Journal) => log.finish_journaled(ticket),
            Err(error) => self.fail(log, &format!("sync failed: {error}")),
        }
        drop(state);
        self.wake();
    }

    fn noted_offset(&self) -> Option<i64> {
        let state = self.lock_as_it_is();
        match &state.log {
            Some(log) => Some(log.noted_offset()),
            // One that could not be opened may need what the journal has.
            None if !state.gone => Some(0),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests;
