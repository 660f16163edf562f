//! The broker's own durable table: topics, groups, offsets, ACLs, producer ids. Keys are text, values bytes.
//!
//! It is a log of changes in the folder `meta`, replayed at the start. When the changes outgrow what they
//! add up to, a new segment starts with all values, and the older segments go.

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use record_log::{
    AppendError, Log, OpenError, ReadError, Settings, SyncTicket, batch,
    journal::{Member, Place},
};
use runtime::clock;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    commit::{Committer, Durable, JournalError, Synced},
    disk::{DiskFile, DiskStorage},
};

mod entry;

pub(crate) use entry::Change;
use entry::{decode, encode};

const FOLDER: &str = "meta";
/// No snapshot before this many bytes of changes.
const SNAPSHOT_BYTES_MIN: u64 = 1024 * 1024;
/// Bytes of values in one batch of a snapshot.
const SNAPSHOT_CHUNK: usize = 256 * 1024;
/// Segments end with a snapshot only.
const SETTINGS: Settings = Settings { segment_bytes: i32::MAX as u64, segment_ms: i64::MAX };

/// The table cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("cannot open the broker's own table")]
    Open(#[from] OpenError),
    #[error("cannot read the broker's own table")]
    Read(#[source] ReadError),
    #[error(
        "the broker's own table is damaged ({0}): nothing was changed; restore the folder from a copy, or move \
         the named file away to go on without what it says"
    )]
    Damaged(String),
    #[error("the broker's own table has an entry of a newer version or a damaged one at offset {0}")]
    Entry(i64),
    #[error("cannot write to the broker's own table")]
    Append(#[from] AppendError),
    #[error("cannot write down {key}")]
    Encode { key: String, source: serde_json::Error },
    #[error("a change is too large: {0} bytes")]
    TooLarge(usize),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the change could not be synced to disk")]
    NotSynced,
}

impl From<ReadError> for StoreError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged { .. } | ReadError::Missing { .. } => Self::Damaged(error.to_string()),
            _ => Self::Read(error),
        }
    }
}

struct Inner {
    log: Log<DiskStorage>,
    values: BTreeMap<String, Bytes>,
    /// Bytes of all values and keys.
    live: u64,
}

/// The table; shared by all that keep something in it.
pub(crate) struct Store {
    inner: Mutex<Inner>,
    committer: Committer,
}

impl Store {
    /// Opens the table of a data folder and reads it all.
    pub(crate) fn open(storage: DiskStorage, committer: Committer) -> Result<Arc<Self>, StoreError> {
        let (mut log, recovery) =
            Log::open_for_redo(storage, FOLDER, SETTINGS, clock::unix_ms(), &mut |_, _| ())?;
        if let Some(reason) = recovery.read_only {
            return Err(StoreError::Damaged(reason));
        }
        if recovery.truncated_bytes > 0 {
            tracing::info!(
                bytes = recovery.truncated_bytes,
                "cut off a torn write of the broker's own table"
            );
        }
        let redo = committer.redo(FOLDER, &mut log, &mut |_, _| ())?;
        if let Some(reason) = redo.lost {
            return Err(StoreError::Damaged(format!("{FOLDER}/lost: {reason}")));
        }
        let mut inner_values = BTreeMap::new();
        let mut offset = log.start_offset();
        while let Some(location) = log.locate(offset)? {
            let slice = location.read(SNAPSHOT_CHUNK)?;
            let mut rest = slice.bytes.clone();
            while let Some(header) = batch::header(&rest) {
                let payload = rest.split_to(header.size.min(rest.len())).slice(batch::HEADER_BYTES..);
                let changes = decode(payload).ok_or(StoreError::Entry(header.base_offset))?;
                apply(&mut inner_values, changes);
            }
            offset = slice.next_offset;
        }
        let live = inner_values.iter().map(|(key, value)| size(key, value)).sum();
        let inner = Mutex::new(Inner { log, values: inner_values, live });
        let store = Arc::new(Self { inner, committer });
        store.committer.opened(&(Arc::clone(&store) as Arc<Durable>));
        Ok(store)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing was ever written.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().values.is_empty()
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<Bytes> {
        self.lock().values.get(key).cloned()
    }

    /// The keys that start with `prefix`, without it, and their values, in order.
    pub(crate) fn scan(&self, prefix: &str) -> Vec<(String, Bytes)> {
        let inner = self.lock();
        let from = inner.values.range(prefix.to_owned()..);
        let under =
            from.map_while(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), value.clone())));
        under.collect()
    }

    /// All values under `prefix`, read back from JSON.
    pub(crate) fn load<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<(String, T)>, StoreError> {
        let read = |(key, value): (String, Bytes)| match serde_json::from_slice(&value) {
            Ok(value) => Ok((key, value)),
            Err(error) => Err(StoreError::Damaged(format!("{prefix}{key}: {error}"))),
        };
        self.scan(prefix).into_iter().map(read).collect()
    }

    /// Writes changes, all or none. They are in the order of the calls, and durable when what is returned ends well.
    pub(crate) fn write(
        self: &Arc<Self>,
        changes: Vec<Change>,
    ) -> Result<impl Future<Output = Result<(), StoreError>> + Send + use<>, StoreError> {
        let mut bytes = batch::wrap(&encode(&changes), clock::unix_ms()).map_err(StoreError::TooLarge)?;
        let written = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let next_offset = {
            let mut inner = self.lock();
            let appended = inner.log.append(&mut bytes, 0)?;
            let (before, after) = apply(&mut inner.values, changes);
            inner.live = (inner.live + after).saturating_sub(before);
            appended.last_offset + 1
        };
        Ok(self.durable(next_offset, written))
    }

    /// Ends well when all changes that were written so far are durable; `None` when they are already.
    pub(crate) fn unsettled(
        self: &Arc<Self>,
    ) -> Option<impl Future<Output = Result<(), StoreError>> + Send + use<>> {
        let next_offset = {
            let inner = self.lock();
            Some(inner.log.end_offset()).filter(|end| inner.log.synced_offset() < *end)?
        };
        Some(self.durable(next_offset, 0))
    }

    fn durable(
        self: &Arc<Self>,
        next_offset: i64,
        written: u64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        let this = Arc::clone(self);
        let synced: Synced = self.committer.submit([Arc::clone(self) as Arc<Durable>], written);
        async move {
            synced.await;
            let done = this.lock().log.synced_offset() >= next_offset;
            if done { Ok(()) } else { Err(StoreError::NotSynced) }
        }
    }

    /// Writes one change and waits until it is durable.
    pub(crate) async fn put<T: Serialize>(
        self: &Arc<Self>,
        key: String,
        value: &T,
    ) -> Result<(), StoreError> {
        let change = json_change(key, value)?;
        self.write(vec![change])?.await
    }

    /// How many batches of changes there were, in all runs.
    pub(crate) fn end_offset(&self) -> i64 {
        self.lock().log.end_offset()
    }

    /// For a clean end.
    pub(crate) fn close(&self) {
        if let Err(error) = self.lock().log.close() {
            tracing::error!(%error, "cannot close the broker's own table");
        }
    }
}

/// A change to a value that is kept as JSON.
pub(crate) fn json_change<T: Serialize>(key: String, value: &T) -> Result<Change, StoreError> {
    match serde_json::to_vec(value) {
        Ok(bytes) => Ok((key, Some(Bytes::from(bytes)))),
        Err(source) => Err(StoreError::Encode { key, source }),
    }
}

impl Member<DiskStorage> for Store {
    fn folder(&self) -> &str {
        FOLDER
    }

    fn begin_sync(&self) -> Option<SyncTicket<DiskFile>> {
        self.lock().log.begin_sync()
    }

    fn begin_store(&self) -> Option<SyncTicket<DiskFile>> {
        self.lock().log.begin_store()
    }

    fn begin_note(&self) -> Option<SyncTicket<DiskFile>> {
        self.lock().log.begin_note()
    }

    fn noted_offset(&self) -> Option<i64> {
        Some(self.lock().log.noted_offset())
    }

    fn finish(&self, ticket: &SyncTicket<DiskFile>, outcome: io::Result<Place>) {
        let mut inner = self.lock();
        let place = match outcome {
            Ok(place) => place,
            Err(error) => {
                tracing::error!(%error, "cannot sync the broker's own table; it takes no more changes");
                inner.log.fail(&format!("sync failed: {error}"));
                return;
            }
        };
        match place {
            Place::File => inner.log.finish_sync(ticket),
            Place::Journal => inner.log.finish_journaled(ticket),
        }
        if inner.log.size() > SNAPSHOT_BYTES_MIN.max(inner.live.saturating_mul(4))
            && let Err(error) = inner.snapshot()
        {
            tracing::warn!(%error, "cannot shorten the broker's own table; it goes on growing");
        }
    }
}

impl Inner {
    /// Starts a new segment with all values and lets the older ones go.
    fn snapshot(&mut self) -> Result<(), AppendError> {
        let now_ms = clock::unix_ms();
        self.log.roll(now_ms)?;
        let mut chunk = Vec::new();
        let mut bytes = 0;
        let values = std::mem::take(&mut self.values);
        let mut outcome = Ok(());
        for (key, value) in &values {
            bytes += key.len() + value.len();
            chunk.push((key.clone(), Some(value.clone())));
            if bytes >= SNAPSHOT_CHUNK {
                outcome = outcome.and_then(|()| self.append(&chunk, now_ms));
                chunk.clear();
                bytes = 0;
            }
        }
        outcome = outcome.and_then(|()| self.append(&chunk, now_ms));
        self.values = values;
        outcome?;
        if self.log.close().is_ok() {
            self.log.keep_last_segment()?;
        }
        Ok(())
    }

    fn append(&mut self, changes: &[Change], now_ms: i64) -> Result<(), AppendError> {
        let mut bytes = batch::wrap(&encode(changes), now_ms).map_err(|_| AppendError::Malformed)?;
        self.log.append(&mut bytes, 0).map(|_| ())
    }
}

fn size(key: &str, value: &Bytes) -> u64 {
    u64::try_from(key.len() + value.len()).unwrap_or(u64::MAX)
}

/// Applies changes; says how many bytes went and came.
fn apply(values: &mut BTreeMap<String, Bytes>, changes: Vec<Change>) -> (u64, u64) {
    let (mut before, mut after) = (0, 0);
    for (key, value) in changes {
        let old = match value {
            Some(value) => {
                after += size(&key, &value);
                values.insert(key.clone(), value)
            }
            None => values.remove(&key),
        };
        before += old.map_or(0, |old| size(&key, &old));
    }
    (before, after)
}

#[cfg(test)]
mod tests;
