//! Committed offsets: how far each group has come. Kept in the broker's own table, nowhere else.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::store::{Change, Store, StoreError, json_change};

const PREFIX: &str = "offset/";

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
    pub(crate) committed_ms: i64,
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
    format!("{}{topic}\0{partition}", group_prefix(group))
}

pub(crate) fn parse_place(text: &str) -> Option<Place> {
    let (topic, partition) = text.split_once('\0')?;
    Some((topic.to_owned(), partition.parse().ok()?))
}

impl Offsets {
    pub(crate) fn new(store: &Arc<Store>) -> Self {
        Self { store: Arc::clone(store) }
    }

    /// The changes that a commit comes to.
    pub(crate) fn changes(group: &str, offsets: &[(Place, Committed)]) -> Result<Vec<Change>, StoreError> {
        offsets.iter().map(|(place, committed)| json_change(key(group, place), committed)).collect()
    }

    /// Commits; durable when it ends well.
    pub(crate) async fn commit(
        &self,
        group: &str,
        offsets: Vec<(Place, Committed)>,
    ) -> Result<(), StoreError> {
        self.store.write(Self::changes(group, &offsets)?)?.await
    }

    /// What a group committed for a partition.
    pub(crate) fn get(&self, group: &str, place: &Place) -> Option<Committed> {
        self.store.get(&key(group, place)).and_then(|bytes| serde_json::from_slice(&bytes).ok())
    }

    /// All that a group committed.
    pub(crate) fn of_group(&self, group: &str) -> Vec<(Place, Committed)> {
        let all = self.store.scan(&group_prefix(group)).into_iter();
        all.filter_map(|(place, bytes)| Some((parse_place(&place)?, serde_json::from_slice(&bytes).ok()?)))
            .collect()
    }

    /// The groups that committed anything.
    pub(crate) fn groups(&self) -> Vec<String> {
        let keys = self.store.scan(PREFIX).into_iter();
        let mut groups: Vec<String> =
            keys.filter_map(|(key, _)| key.split_once('\0').map(|(group, _)| group.to_owned())).collect();
        groups.dedup();
        groups
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
