//! Offsets that were committed with transactions which have not ended: kept apart until it is known whether they count.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::offsets::{Committed, Offsets, Place, parse_place};
use crate::store::{Change, Store, StoreError, json_change};

const PREFIX: &str = "pending-offset/";

/// By producer, what it committed of a group.
type OfGroup = BTreeMap<i64, BTreeMap<Place, Committed>>;

/// The pending offsets of all groups.
pub(crate) struct Pending {
    by_group: Mutex<HashMap<String, OfGroup>>,
}

fn key(group: &str, producer_id: i64, (topic, partition): &Place) -> String {
    format!("{PREFIX}{group}\0{producer_id}\0{topic}\0{partition}")
}

impl Pending {
    pub(crate) fn open(store: &Arc<Store>) -> Result<Self, StoreError> {
        let mut by_group: HashMap<String, OfGroup> = HashMap::new();
        for (key, committed) in store.load::<Committed>(PREFIX)? {
            let damaged = || StoreError::Damaged(format!("{PREFIX}{key:?} names no place"));
            let (group, rest) = key.split_once('\0').ok_or_else(damaged)?;
            let (producer_id, place) = rest.split_once('\0').ok_or_else(damaged)?;
            let producer_id: i64 = producer_id.parse().map_err(|_| damaged())?;
            let place = parse_place(place).ok_or_else(damaged)?;
            let of_group = by_group.entry(group.to_owned()).or_default();
            of_group.entry(producer_id).or_default().insert(place, committed);
        }
        Ok(Self { by_group: Mutex::new(by_group) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, OfGroup>> {
        self.by_group.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Offsets come with a producer's transaction; the changes that store them.
    pub(crate) fn add(
        &self,
        group: &str,
        producer_id: i64,
        offsets: Vec<(Place, Committed)>,
    ) -> Result<Vec<Change>, StoreError> {
        let store =
            |(place, committed): &(Place, Committed)| json_change(key(group, producer_id, place), committed);
        let changes = offsets.iter().map(store).collect();
        let mut by_group = self.lock();
        by_group.entry(group.to_owned()).or_default().entry(producer_id).or_default().extend(offsets);
        changes
    }

    /// Whether it is open what a group has committed for a partition.
    pub(crate) fn is_pending(&self, group: &str, place: &Place) -> bool {
        self.lock().get(group).is_some_and(|group| group.values().any(|offsets| offsets.contains_key(place)))
    }

    /// The partitions for which it is open what a group has committed.
    pub(crate) fn places(&self, group: &str) -> Vec<Place> {
        let by_group = self.lock();
        let open = by_group.get(group).into_iter().flat_map(BTreeMap::values);
        open.flat_map(|offsets| offsets.keys().cloned()).collect()
    }

    /// The changes that end a producer's pending offsets of a group: they go, and count if it committed. What was
    /// committed since without a transaction stays.
    pub(crate) fn end(
        &self,
        offsets: &Offsets,
        (group, producer_id): (&str, i64),
        committed: bool,
    ) -> Result<Vec<Change>, StoreError> {
        let by_group = self.lock();
        let Some(ended) = by_group.get(group).and_then(|group| group.get(&producer_id)) else {
            return Ok(Vec::new());
        };
        let mut changes = Vec::with_capacity(ended.len());
        let mut counting = Vec::new();
        for (place, offset) in ended {
            changes.push((key(group, producer_id, place), None));
            let is_newer = |known: Committed| known.committed_ms > offset.committed_ms;
            if committed && !offsets.get(group, place).is_some_and(is_newer) {
                counting.push((place.clone(), offset.clone()));
            }
        }
        changes.extend(Offsets::changes(group, &counting));
        Ok(changes)
    }

    /// The changes that remove what is pending of a topic.
    pub(crate) fn removal_of_topic(&self, topic: &str) -> Vec<Change> {
        let by_group = self.lock();
        let mut changes = Vec::new();
        for (group, of_group) in &*by_group {
            for (producer_id, offsets) in of_group {
                let gone = offsets.keys().filter(|place| place.0 == topic);
                changes.extend(gone.map(|place| (key(group, *producer_id, place), None)));
            }
        }
        changes
    }

    /// Whether it is open what a group has committed at all.
    pub(crate) fn has_group(&self, group: &str) -> bool {
        self.lock().contains_key(group)
    }

    /// The changes that remove what is pending of a group.
    pub(crate) fn removal_of_group(&self, group: &str) -> Vec<Change> {
        let by_group = self.lock();
        let of_group = by_group.get(group).into_iter().flatten();
        let keys = of_group
            .flat_map(|(producer_id, offsets)| offsets.keys().map(|place| key(group, *producer_id, place)));
        keys.map(|key| (key, None)).collect()
    }

    /// A group is gone, durably: whatever its transactions come to, nothing of it counts.
    pub(crate) fn forget_group(&self, group: &str) {
        self.lock().remove(group);
    }

    /// A topic is gone, durably.
    pub(crate) fn forget_topic(&self, topic: &str) {
        self.lock().values_mut().flat_map(BTreeMap::values_mut).for_each(|offsets| {
            offsets.retain(|place, _| place.0 != topic);
        });
    }

    /// A producer's pending offsets of a group have ended, durably.
    pub(crate) fn forget(&self, group: &str, producer_id: i64) {
        let mut by_group = self.lock();
        if let Some(of_group) = by_group.get_mut(group) {
            of_group.remove(&producer_id);
            if of_group.is_empty() {
                by_group.remove(group);
            }
        }
    }
}
