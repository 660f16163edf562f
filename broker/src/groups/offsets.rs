//! Committed offsets: how far each group has come. Kept in the broker's own table, nowhere else: there is no
//! topic `__consumer_offsets`, in no list and under no id, and a name like any other if somebody makes one.
//!
//! A group of 10 000 partitions is nothing special, so a value is a few bytes and no text.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use serde::{Deserialize, Serialize};

use crate::store::{Change, Store, StoreError};

const PREFIX: &str = "offset/";
/// Version of the values' form.
const VERSION: u8 = 1;

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
    pub(crate) committed_ms: i64,
    /// When it is to be forgotten, if its committer said so.
    #[serde(default)]
    pub(crate) expire_ms: Option<i64>,
}

/// A partition of a topic, by name.
pub(crate) type Place = (String, i32);

/// The offsets of all groups.
#[derive(Clone)]
pub(crate) struct Offsets {
    store: Arc<Store>,
}

fn group_prefix(group: &str) -> String {
    format!("{PREFIX}{group}\0")
}

fn key(group: &str, (topic, partition): &Place) -> String {
    format!("{PREFIX}{group}\0{topic}\0{partition}")
}

pub(crate) fn parse_place(text: &str) -> Option<Place> {
    let (topic, partition) = text.split_once('\0')?;
    Some((topic.to_owned(), partition.parse().ok()?))
}

impl Committed {
    fn encode(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(29 + self.metadata.len());
        bytes.put_u8(VERSION);
        bytes.put_i64(self.offset);
        bytes.put_i32(self.leader_epoch);
        bytes.put_i64(self.committed_ms);
        bytes.put_i64(self.expire_ms.unwrap_or(-1));
        bytes.put_slice(self.metadata.as_bytes());
        Bytes::from(bytes)
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        if bytes.try_get_u8().ok()? != VERSION {
            return None;
        }
        let offset = bytes.try_get_i64().ok()?;
        let leader_epoch = bytes.try_get_i32().ok()?;
        let committed_ms = bytes.try_get_i64().ok()?;
        let expire_ms = Some(bytes.try_get_i64().ok()?).filter(|expire_ms| *expire_ms >= 0);
        let metadata = std::str::from_utf8(bytes).ok()?.to_owned();
        Some(Self { offset, leader_epoch, metadata, committed_ms, expire_ms })
    }
}

impl Offsets {
    pub(crate) fn new(store: &Arc<Store>) -> Self {
        Self { store: Arc::clone(store) }
    }

    /// The changes that a commit comes to.
    pub(crate) fn changes(group: &str, offsets: &[(Place, Committed)]) -> Vec<Change> {
        offsets.iter().map(|(place, committed)| (key(group, place), Some(committed.encode()))).collect()
    }

    /// Commits; durable when it ends well.
    pub(crate) async fn commit(&self, group: &str, offsets: &[(Place, Committed)]) -> Result<(), StoreError> {
        self.store.write(Self::changes(group, offsets))?.await
    }

    /// What a group committed for a partition.
    pub(crate) fn get(&self, group: &str, place: &Place) -> Option<Committed> {
        self.store.get(&key(group, place)).and_then(|bytes| Committed::decode(&bytes))
    }

    /// All that a group committed.
    pub(crate) fn of_group(&self, group: &str) -> Vec<(Place, Committed)> {
        let all = self.store.scan(&group_prefix(group)).into_iter();
        all.filter_map(|(place, bytes)| Some((parse_place(&place)?, Committed::decode(&bytes)?))).collect()
    }

    /// Whether a group committed anything.
    pub(crate) fn has(&self, group: &str) -> bool {
        !self.store.scan(&group_prefix(group)).is_empty()
    }

    /// The groups that committed anything.
    pub(crate) fn groups(&self) -> Vec<String> {
        let keys = self.store.scan(PREFIX).into_iter();
        let mut groups: Vec<String> =
            keys.filter_map(|(key, _)| key.split_once('\0').map(|(group, _)| group.to_owned())).collect();
        groups.dedup();
        groups
    }

    /// Forgets some; durable when it ends well.
    pub(crate) async fn remove(&self, group: &str, places: &[Place]) -> Result<(), StoreError> {
        self.store.write(Self::removal(group, places))?.await
    }

    /// Changes that remove offsets.
    pub(crate) fn removal(group: &str, places: &[Place]) -> Vec<Change> {
        places.iter().map(|place| (key(group, place), None)).collect()
    }

    /// Changes that remove what all groups committed for a topic.
    pub(crate) fn removal_of_topic(&self, topic: &str) -> Vec<Change> {
        let is_of_topic = |key: &str| {
            let mut parts = key.split('\0');
            parts.nth(1) == Some(topic)
        };
        let all = self.store.scan(PREFIX).into_iter();
        all.filter(|(key, _)| is_of_topic(key)).map(|(key, _)| (format!("{PREFIX}{key}"), None)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Goal: what is committed is what is read; anything else is refused, not guessed.
        #[test]
        fn offsets_survive(
            numbers: (i64, i32, i64),
            expire_ms in proptest::option::of(0..i64::MAX),
            metadata: String,
            junk: Vec<u8>,
        ) {
            let (offset, leader_epoch, committed_ms) = numbers;
            let committed = Committed { offset, leader_epoch, metadata, committed_ms, expire_ms };
            let bytes = committed.encode();
            prop_assert_eq!(Committed::decode(&bytes), Some(committed));
            prop_assert_eq!(Committed::decode(&bytes[..28]), None);
            drop(Committed::decode(&junk));
        }
    }
}
