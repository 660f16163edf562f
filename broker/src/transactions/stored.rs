//! How transactions are kept in the broker's own table: a head, and an entry for each partition and group.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::transaction::{Head, Output, Transaction};
use crate::{
    groups::offsets::{Place, parse_place},
    store::{Change, Store, StoreError, json_change},
};

const HEAD: &str = "txn/";
const PLACE: &str = "txn-place/";
const GROUP: &str = "txn-group/";

fn place_key(id: &str, (topic, partition): &Place) -> String {
    format!("{PLACE}{id}\0{topic}\0{partition}")
}

fn group_key(id: &str, group: &str) -> String {
    format!("{GROUP}{id}\0{group}")
}

/// All transactional ids.
pub(super) fn load(store: &Store) -> Result<Vec<(String, Transaction)>, StoreError> {
    let damaged = |key: &str| StoreError::Damaged(format!("{key:?} is not of a transaction"));
    let mut places: BTreeMap<String, BTreeSet<Place>> = BTreeMap::new();
    for (key, _) in store.scan(PLACE) {
        let (id, place) = key.split_once('\0').ok_or_else(|| damaged(&key))?;
        let place = parse_place(place).ok_or_else(|| damaged(&key))?;
        places.entry(id.to_owned()).or_default().insert(place);
    }
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (key, _) in store.scan(GROUP) {
        let (id, group) = key.split_once('\0').ok_or_else(|| damaged(&key))?;
        groups.entry(id.to_owned()).or_default().insert(group.to_owned());
    }
    let heads = store.load::<Head>(HEAD)?.into_iter();
    Ok(heads
        .map(|(id, head)| {
            let places = places.remove(&id).unwrap_or_default();
            let groups = groups.remove(&id).unwrap_or_default();
            (id, Transaction::from_stored(head, places, groups))
        })
        .collect())
}

/// The changes that a transaction wants stored.
pub(super) fn changes(id: &str, transaction: &mut Transaction) -> Result<Vec<Change>, StoreError> {
    let mut changes = Vec::new();
    while let Some(output) = transaction.poll_output() {
        match output {
            Output::Head => changes.push(json_change(format!("{HEAD}{id}"), transaction.head())?),
            Output::Place(place) => changes.push((place_key(id, &place), Some(Bytes::new()))),
            Output::Group(group) => changes.push((group_key(id, &group), Some(Bytes::new()))),
            Output::Cleared(places, groups) => {
                changes.extend(places.iter().map(|place| (place_key(id, place), None)));
                changes.extend(groups.iter().map(|group| (group_key(id, group), None)));
            }
        }
    }
    Ok(changes)
}

/// The changes that forget one that has neither partitions nor groups.
pub(super) fn removal(id: &str) -> Vec<Change> {
    vec![(format!("{HEAD}{id}"), None)]
}
