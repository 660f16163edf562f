//! Hands out producer ids. None is ever given twice, over restarts too: blocks are reserved durably.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::store::{Store, StoreError};

const KEY: &str = "producer-ids";
/// Ids reserved at a time.
const BLOCK: i64 = 1_000;

struct Block {
    next: i64,
    end: i64,
}

/// The ids.
pub(crate) struct ProducerIds {
    store: Arc<Store>,
    block: Mutex<Block>,
}

impl ProducerIds {
    pub(crate) fn open(store: &Arc<Store>) -> Result<Self, StoreError> {
        let reserved = match store.get(KEY) {
            None => 0,
            Some(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| StoreError::Damaged(format!("{KEY}: {error}")))?,
        };
        Ok(Self { store: Arc::clone(store), block: Mutex::new(Block { next: reserved, end: reserved }) })
    }

    /// An id that nobody has had.
    pub(crate) async fn next(&self) -> Result<i64, StoreError> {
        let mut block = self.block.lock().await;
        if block.next == block.end {
            let end = block.end + BLOCK;
            self.store.put(KEY.to_owned(), &end).await?;
            block.end = end;
        }
        let id = block.next;
        block.next += 1;
        Ok(id)
    }
}
