//! Drives the transactions: finds them, has them stored, lets time pass. What they decide is theirs.
//!
//! Whoever changes a transaction holds its lock until the change is written, so that the table has the order of
//! the changes. Appending a transactional batch happens under that lock too: no batch slips in behind a marker.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use kafka_wire::ErrorCode;
use runtime::{clock, tasks::Tasks};
use tokio::time::{sleep, timeout};

use super::{
    complete, stored,
    transaction::{End, Init, Producer, Started, State, Transaction},
};
use crate::{
    broker::Broker,
    groups::{
        offsets::{Committed, Place},
        pending::Pending,
    },
    metrics::Metrics,
    partition::{Refusal, append::Taken},
    store::{Change, Store, StoreError},
};

/// An end is answered when all is done, or after so long when it is decided at least.
const END_WAIT: Duration = Duration::from_secs(10);
/// From this version on Produce adds its partitions to the transaction.
const PRODUCE_ADDS_SINCE: i16 = 12;
/// From this version on its clients know `TransactionAbortable`.
const PRODUCE_ABORTABLE_SINCE: i16 = 11;
/// Length of a transactional id in bytes.
const ID_LENGTH_MAX: usize = 32 * 1024;

/// What transactions may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) timeout_ms_max: i32,
    /// An id that was not used for so long is forgotten.
    pub(crate) expiration_ms: i64,
    pub(crate) ids_max: usize,
    /// Partitions and groups of one transaction.
    pub(crate) size_max: usize,
    /// How often time is looked at.
    pub(crate) check: Duration,
}

/// One transactional id; shared by all that use it.
pub(super) struct Entry {
    pub(super) id: Arc<str>,
    state: Mutex<Transaction>,
}

impl Entry {
    pub(super) fn lock(&self) -> MutexGuard<'_, Transaction> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All transactional ids.
pub(crate) struct Transactions {
    entries: RwLock<BTreeMap<Arc<str>, Arc<Entry>>>,
    limits: Limits,
    pub(super) store: Arc<Store>,
    pub(super) tasks: Tasks,
    pub(super) metrics: Metrics,
    /// Offsets that are committed with a transaction that is not committed yet.
    pub(crate) pending: Pending,
}

impl Transactions {
    pub(crate) fn open(
        store: &Arc<Store>,
        limits: Limits,
        tasks: Tasks,
        metrics: Metrics,
    ) -> Result<Self, StoreError> {
        let mut entries = BTreeMap::new();
        for (id, transaction) in stored::load(store)? {
            let id: Arc<str> = id.into();
            let entry = Entry { id: Arc::clone(&id), state: Mutex::new(transaction) };
            entries.insert(id, Arc::new(entry));
        }
        metrics.transactional_ids.set(i64::try_from(entries.len()).unwrap_or(i64::MAX));
        Ok(Self {
            entries: RwLock::new(entries),
            limits,
            store: Arc::clone(store),
            tasks,
            metrics,
            pending: Pending::open(store)?,
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<Arc<str>, Arc<Entry>>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<Arc<str>, Arc<Entry>>> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no transactional id is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    pub(super) fn all(&self) -> Vec<Arc<Entry>> {
        self.read().values().cloned().collect()
    }

    fn get(&self, id: &str) -> Result<Arc<Entry>, ErrorCode> {
        self.read().get(id).cloned().ok_or(ErrorCode::InvalidProducerIdMapping)
    }

    /// The transactional id, made with this producer id when it is not there.
    fn get_or_make(&self, id: &str, producer_id: i64) -> Result<Arc<Entry>, ErrorCode> {
        let mut entries = self.write();
        if let Some(entry) = entries.get(id) {
            return Ok(Arc::clone(entry));
        }
        if entries.len() >= self.limits.ids_max {
            let max = self.limits.ids_max;
            tracing::warn!(max, "a transactional id is refused: raise max.transactional.ids");
            return Err(ErrorCode::PolicyViolation);
        }
        let id: Arc<str> = id.into();
        let state = Mutex::new(Transaction::new(producer_id, clock::unix_ms()));
        let entry = Arc::new(Entry { id: Arc::clone(&id), state });
        entries.insert(id, Arc::clone(&entry));
        self.count(entries.len());
        Ok(entry)
    }

    fn count(&self, ids: usize) {
        self.metrics.transactional_ids.set(i64::try_from(ids).unwrap_or(i64::MAX));
    }

    /// Writes what a transaction wants stored; it is in the order of the calls when its lock is held.
    pub(super) fn save(
        &self,
        id: &str,
        transaction: &mut Transaction,
    ) -> Result<impl Future<Output = Result<(), StoreError>> + Send + use<>, StoreError> {
        let written = self.write_changes(id, transaction, Vec::new())?;
        Ok(async move {
            match written {
                Some(written) => written.await,
                None => Ok(()),
            }
        })
    }

    /// Writes what a transaction wants stored, and more. What cannot be written now is still wanted later.
    fn write_changes(
        &self,
        id: &str,
        transaction: &mut Transaction,
        more: Vec<Change>,
    ) -> Result<Option<impl Future<Output = Result<(), StoreError>> + Send + use<>>, StoreError> {
        let wanted = transaction.outputs().clone();
        let written = stored::changes(id, transaction).and_then(|mut changes| {
            changes.extend(more);
            (!changes.is_empty()).then(|| self.store.write(changes)).transpose()
        });
        if written.is_err() {
            transaction.wants_again(wanted);
        }
        written
    }

    /// Changes a transaction and waits until that is durable.
    async fn change<T>(
        &self,
        entry: &Entry,
        work: impl FnOnce(&mut Transaction) -> Result<T, ErrorCode>,
    ) -> Result<T, ErrorCode> {
        let (result, saved) = {
            let mut transaction = entry.lock();
            let result = work(&mut transaction)?;
            (result, self.save(&entry.id, &mut transaction).map_err(unstored)?)
        };
        saved.await.map_err(unstored)?;
        Ok(result)
    }

    /// Somebody starts with a transactional id.
    pub(crate) async fn start(
        &self,
        broker: &Arc<Broker>,
        id: &str,
        timeout_ms: i32,
        expected: Option<Producer>,
    ) -> Result<Producer, ErrorCode> {
        if id.is_empty() || id.len() > ID_LENGTH_MAX || id.contains('\0') {
            return Err(ErrorCode::InvalidRequest);
        }
        if timeout_ms <= 0 || timeout_ms > self.limits.timeout_ms_max {
            return Err(ErrorCode::InvalidTransactionTimeout);
        }
        let entry = match self.get(id) {
            Ok(entry) => entry,
            Err(_) => self.get_or_make(id, new_id(broker).await?)?,
        };
        let spare_id = spare_id(broker, &entry).await?;
        let init = Init { timeout_ms, expected, spare_id };
        let started = {
            let mut transaction = entry.lock();
            match transaction.handle_init(init, clock::unix_ms())? {
                Started::Ready(producer) => {
                    Some((producer, self.save(id, &mut transaction).map_err(unstored)?))
                }
                Started::Aborting => None,
            }
        };
        let Some((producer, saved)) = started else {
            drop(complete::begin(broker, &entry));
            return Err(ErrorCode::ConcurrentTransactions);
        };
        saved.await.map_err(unstored)?;
        Ok(producer)
    }

    /// Adds partitions to a transaction, durably.
    pub(crate) async fn add_places(
        &self,
        id: &str,
        producer: Producer,
        places: Vec<Place>,
    ) -> Result<(), ErrorCode> {
        let entry = self.get(id)?;
        self.change(&entry, |transaction| {
            transaction.check(producer)?;
            self.check_size(id, transaction.size_with(&places))?;
            transaction.handle_add_places(producer, places, clock::unix_ms())
        })
        .await
    }

    fn check_size(&self, id: &str, size: usize) -> Result<(), ErrorCode> {
        let max = self.limits.size_max;
        if size <= max {
            return Ok(());
        }
        tracing::warn!(id, max, "a transaction is too large: raise max.transaction.partitions");
        Err(ErrorCode::PolicyViolation)
    }

    /// Whether partitions are in a producer's open transaction.
    pub(crate) fn check_place(&self, id: &str, producer: Producer, place: &Place) -> Result<(), ErrorCode> {
        self.get(id)?.lock().check_place(producer, place)
    }

    /// Adds a group to a transaction, durably.
    pub(crate) async fn add_group(&self, id: &str, producer: Producer, group: &str) -> Result<(), ErrorCode> {
        let entry = self.get(id)?;
        self.change(&entry, |transaction| self.add_group_to(id, transaction, producer, group)).await
    }

    fn add_group_to(
        &self,
        id: &str,
        transaction: &mut Transaction,
        producer: Producer,
        group: &str,
    ) -> Result<(), ErrorCode> {
        transaction.check(producer)?;
        self.check_size(id, transaction.size_with(&[]).saturating_add(1))?;
        transaction.handle_add_group(producer, group, clock::unix_ms())
    }

    /// Commits offsets of a group with the transaction, durably. `adds` says that the group need not be in it.
    pub(crate) async fn commit_offsets(
        &self,
        (id, producer): (&str, Producer),
        group: &str,
        offsets: Vec<(Place, Committed)>,
        adds: bool,
    ) -> Result<(), ErrorCode> {
        let entry = self.get(id)?;
        let written = {
            let mut transaction = entry.lock();
            if adds {
                self.add_group_to(id, &mut transaction, producer, group)?;
            } else {
                transaction.check_group(producer, group)?;
            }
            let pending = self.pending.add(group, producer.id, offsets).map_err(unstored)?;
            self.write_changes(id, &mut transaction, pending).map_err(unstored)?
        };
        match written {
            Some(written) => written.await.map_err(unstored),
            None => Ok(()),
        }
    }

    /// Appends a transactional batch by `work` if the transaction is open. In newer versions of Produce the
    /// partition is added to it: what is stored of that need not be durable before the batch is, since a start
    /// finds what partitions have open.
    pub(crate) fn append(
        &self,
        (id, producer): (&str, Producer),
        place: Place,
        version: i16,
        work: impl FnOnce() -> Result<Taken, Refusal>,
    ) -> Result<Taken, Refusal> {
        let entry = self.get(id)?;
        let mut transaction = entry.lock();
        if version < PRODUCE_ADDS_SINCE {
            transaction.check_place(producer, &place).map_err(|code| for_produce(code, version))?;
            return work();
        }
        transaction.check(producer).map_err(|code| for_produce(code, version))?;
        let places = vec![place];
        self.check_size(id, transaction.size_with(&places))?;
        let taken = work()?;
        transaction.handle_add_places(producer, places, clock::unix_ms())?;
        if let Err(error) = self.save(id, &mut transaction) {
            tracing::warn!(
                id,
                error = crate::error_text(&error),
                "cannot write down a partition of a transaction"
            );
        }
        Ok(taken)
    }

    /// Ends a transaction; answered when its markers are there, so that the next one can begin.
    pub(crate) async fn end(
        &self,
        broker: &Arc<Broker>,
        (id, producer): (&str, Producer),
        committed: bool,
        bumps: bool,
    ) -> Result<Producer, ErrorCode> {
        let entry = self.get(id)?;
        let bumps = if bumps { Some(spare_id(broker, &entry).await?) } else { None };
        let end = entry.lock().handle_end(producer, committed, bumps, clock::unix_ms())?;
        match end {
            End::Already(producer) => Ok(producer),
            End::Begun(producer) => {
                let mut steps = complete::begin(broker, &entry);
                let decided = timeout(END_WAIT, &mut steps.decided).await;
                if !decided.is_ok_and(|decided| decided.is_ok()) {
                    return Err(ErrorCode::CoordinatorNotAvailable);
                }
                // What takes longer goes on by itself: the decision stands.
                drop(timeout(END_WAIT, steps.done).await);
                Ok(producer)
            }
        }
    }

    /// What `read` tells of a transaction.
    pub(crate) fn describe<T>(&self, id: &str, read: impl FnOnce(&Transaction) -> T) -> Option<T> {
        let entry = self.get(id).ok()?;
        let transaction = entry.lock();
        (transaction.state() != State::Dead).then(|| read(&transaction))
    }

    /// What `read` tells of all transactions, by id.
    pub(crate) fn list<T>(&self, read: impl Fn(&str, &Transaction) -> Option<T>) -> Vec<T> {
        self.all().iter().filter_map(|entry| read(&entry.id, &entry.lock())).collect()
    }

    /// Gives the transactions time, until the process ends.
    pub(crate) async fn run(&self, broker: &Arc<Broker>) {
        loop {
            sleep(self.limits.check).await;
            let now_ms = clock::unix_ms();
            let mut open = 0;
            for entry in self.all() {
                let (late, state) = {
                    let mut transaction = entry.lock();
                    (transaction.handle_timeout(now_ms), transaction.state())
                };
                open += i64::from(state == State::Ongoing || state.is_ending());
                if late {
                    tracing::info!(id = %entry.id, "a transaction was open for too long and is aborted");
                    self.metrics.timed_out_transactions.inc();
                    drop(complete::begin(broker, &entry));
                }
            }
            self.metrics.open_transactions.set(open);
            self.expire(now_ms.saturating_sub(self.limits.expiration_ms));
        }
    }

    /// Forgets the ids that were not used since `before_ms`.
    fn expire(&self, before_ms: i64) {
        let expired = |entry: &Arc<Entry>| entry.lock().is_expired(before_ms);
        let gone: Vec<Arc<Entry>> = self.all().into_iter().filter(expired).collect();
        if gone.is_empty() {
            return;
        }
        // Nobody makes one of the same name in between.
        let mut entries = self.write();
        for entry in gone {
            let mut transaction = entry.lock();
            if !transaction.is_expired(before_ms) {
                continue;
            }
            if let Err(error) = self.store.write(stored::removal(&entry.id)) {
                tracing::warn!(id = %entry.id, error = crate::error_text(&error), "cannot forget a transactional id");
                return;
            }
            transaction.handle_expired();
            entries.remove(&entry.id);
            tracing::info!(id = %entry.id, "forgot a transactional id that was not used for long");
        }
        self.count(entries.len());
    }
}

async fn new_id(broker: &Broker) -> Result<i64, ErrorCode> {
    broker.producer_ids.next().await.map_err(unstored)
}

/// An id for a transaction that may need one.
async fn spare_id(broker: &Broker, entry: &Entry) -> Result<Option<i64>, ErrorCode> {
    let needs_id = entry.lock().needs_id();
    if needs_id { new_id(broker).await.map(Some) } else { Ok(None) }
}

fn unstored(error: StoreError) -> ErrorCode {
    tracing::error!(error = crate::error_text(&error), "cannot store a transaction");
    ErrorCode::CoordinatorNotAvailable
}

/// What a producer is told in a version of Produce.
fn for_produce(code: ErrorCode, version: i16) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if version < PRODUCE_ABORTABLE_SINCE => ErrorCode::InvalidTxnState,
        // Older clients try again with this one only.
        ErrorCode::ConcurrentTransactions if version < PRODUCE_ADDS_SINCE => ErrorCode::NotEnoughReplicas,
        other => other,
    }
}
