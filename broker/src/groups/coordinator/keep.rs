//! What is kept of groups, what is deleted, and what is forgotten when nobody came for long.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use kafka_wire::ErrorCode;
use runtime::clock;

use super::{Coordinator, Entry, Kind};
use crate::{
    groups::{
        consumer_group::{self, ConsumerGroup},
        group::{self, Group},
        offsets::{Committed, Offsets, Place},
        pending::Pending,
    },
    store::{Change, Store, StoreError, json_change},
};

const CLASSIC_PREFIX: &str = "group/";
const CONSUMER_PREFIX: &str = "consumer-group/";
const MEMBER_PREFIX: &str = "consumer-member/";

/// A group as it is stored, with the last time that it had members.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    used_ms: i64,
    group: T,
}

fn member_key(group: &str, member: &str) -> String {
    format!("{MEMBER_PREFIX}{group}\0{member}")
}

/// Removes what is stored of a group without members.
pub(super) fn removal(id: &str) -> Vec<Change> {
    vec![(format!("{CLASSIC_PREFIX}{id}"), None), (format!("{CONSUMER_PREFIX}{id}"), None)]
}

pub(super) fn classic_changes(id: &str, group: &Group, used_ms: i64) -> Result<Vec<Change>, StoreError> {
    let kept = Kept { used_ms, group: group.to_stored() };
    Ok(vec![json_change(format!("{CLASSIC_PREFIX}{id}"), &kept)?])
}

/// All that a consumer group wants stored, as one change.
pub(super) fn consumer_changes(
    id: &str,
    group: &mut ConsumerGroup,
    used_ms: i64,
) -> Result<Option<Vec<Change>>, StoreError> {
    let mut changes = Vec::new();
    while let Some(output) = group.poll_output() {
        match output {
            consumer_group::Output::StoreGroup => {
                let kept = Kept { used_ms, group: group.to_stored() };
                changes.push(json_change(format!("{CONSUMER_PREFIX}{id}"), &kept)?);
            }
            consumer_group::Output::StoreMember(member) => {
                if let Some(stored) = group.member_to_stored(&member) {
                    changes.push(json_change(member_key(id, &member), &stored)?);
                }
            }
            consumer_group::Output::RemoveMember(member) => changes.push((member_key(id, &member), None)),
        }
    }
    Ok((!changes.is_empty()).then_some(changes))
}

pub(super) fn load_classic(store: &Store, limits: group::Limits) -> Result<Vec<(String, Entry)>, StoreError> {
    let all = store.load::<Kept<group::StoredGroup>>(CLASSIC_PREFIX)?.into_iter();
    let entries = all.map(|(id, kept)| {
        let group = Group::from_stored(limits, kept.group, 0);
        (id, Entry::new(Kind::Classic(group), kept.used_ms))
    });
    Ok(entries.collect())
}

pub(super) fn load_consumer(
    store: &Store,
    limits: &dyn Fn(&str) -> consumer_group::Limits,
) -> Result<Vec<(String, Entry)>, StoreError> {
    let mut groups: std::collections::BTreeMap<String, (ConsumerGroup, i64)> = store
        .load::<Kept<consumer_group::StoredGroup>>(CONSUMER_PREFIX)?
        .into_iter()
        .map(|(id, kept)| {
            let group = ConsumerGroup::from_stored(limits(&id), kept.group);
            (id, (group, kept.used_ms))
        })
        .collect();
    for (key, member) in store.load::<consumer_group::StoredMember>(MEMBER_PREFIX)? {
        let Some((group, id)) = key.split_once('\0') else { continue };
        let Some((group, _)) = groups.get_mut(group) else {
            return Err(StoreError::Damaged(format!("{MEMBER_PREFIX}{key} is of no group")));
        };
        group.restore_member(id.to_owned(), member, 0);
    }
    let entries =
        groups.into_iter().map(|(id, (group, used_ms))| (id, Entry::new(Kind::Consumer(group), used_ms)));
    Ok(entries.collect())
}

/// How the offsets of a group age.
enum Age {
    /// By when they were committed; those of these topics do not.
    Committed(Subscribed),
    /// All from when the last member went.
    Since(i64),
    /// Not at all.
    Never,
}

enum Subscribed {
    Unknown,
    To(BTreeSet<String>),
}

impl Coordinator {
    /// Whether a group's offsets of topics may be deleted, and of which topics not.
    pub(crate) fn check_offset_delete(&self, group: &str) -> Result<BTreeSet<String>, ErrorCode> {
        match self.lock().groups.get(group).map(|entry| &entry.kind) {
            Some(Kind::Classic(group)) if group.is_empty() => Ok(BTreeSet::new()),
            Some(Kind::Classic(group)) => group.subscribed_topics().ok_or(ErrorCode::NonEmptyGroup),
            Some(Kind::Consumer(group)) => Ok(group.subscribed_topics()),
            None if self.offsets.has(group) => Ok(BTreeSet::new()),
            None => Err(ErrorCode::GroupIdNotFound),
        }
    }

    /// Deletes a group that has no members, with its offsets, also those of transactions that have not ended.
    pub(crate) async fn delete(&self, group: &str, pending: &Pending) -> Result<(), ErrorCode> {
        let known = {
            let mut inner = self.lock();
            match inner.groups.get(group) {
                Some(entry) if !entry.kind.is_empty() => return Err(ErrorCode::NonEmptyGroup),
                Some(_) => self.forget(&mut inner, group).is_some(),
                None => false,
            }
        };
        let places: Vec<_> = self.offsets.of_group(group).into_iter().map(|(place, _)| place).collect();
        let open = pending.removal_of_group(group);
        if !known && places.is_empty() && open.is_empty() {
            return Err(ErrorCode::GroupIdNotFound);
        }
        let mut changes = Offsets::removal(group, &places);
        changes.extend(open);
        changes.extend(removal(group));
        let written = self.store.write(changes).map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
        written.await.map_err(|_| ErrorCode::CoordinatorNotAvailable)?;
        pending.forget_group(group);
        Ok(())
    }

    /// Forgets offsets whose time is over, and empty groups that have none.
    pub(crate) async fn expire(&self, retention_ms: i64, pending: &Pending) {
        let now_ms = clock::unix_ms();
        let mut ids = self.offsets.groups();
        ids.extend(self.lock().groups.keys().map(ToString::to_string));
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let (age, empty) = self.age(&id);
            let all = self.offsets.of_group(&id);
            let over = |place: &Place, committed: &Committed| {
                is_over(&age, place, committed, (now_ms, retention_ms))
            };
            let (gone, kept): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|(place, committed)| over(place, committed));
            if kept.is_empty() && empty && !pending.has_group(&id) {
                match self.delete(&id, pending).await {
                    // It has members again, or is gone.
                    Ok(()) | Err(ErrorCode::NonEmptyGroup | ErrorCode::GroupIdNotFound) => {}
                    Err(code) => tracing::warn!(group = id, %code, "cannot forget an empty group"),
                }
                continue;
            }
            let gone: Vec<Place> = gone.into_iter().map(|(place, _)| place).collect();
            if !gone.is_empty()
                && let Err(error) = self.offsets.remove(&id, &gone).await
            {
                tracing::warn!(group = id, error = crate::error_text(&error), "cannot forget old offsets");
            }
        }
    }

    /// How a group's offsets age, and whether it may go without them.
    fn age(&self, id: &str) -> (Age, bool) {
        let inner = self.lock();
        let Some(entry) = inner.groups.get(id) else {
            return (Age::Committed(Subscribed::To(BTreeSet::new())), true);
        };
        if entry.kind.is_empty() {
            return (Age::Since(entry.used_ms), true);
        }
        let age = match &entry.kind {
            Kind::Classic(group) if group.protocol_type() != "consumer" => Age::Never,
            Kind::Classic(group) => {
                Age::Committed(group.subscribed_topics().map_or(Subscribed::Unknown, Subscribed::To))
            }
            Kind::Consumer(group) => Age::Committed(Subscribed::To(group.subscribed_topics())),
        };
        (age, false)
    }
}

/// Whether an offset's time is over, with the time now and how long offsets are kept.
fn is_over(age: &Age, (topic, _): &Place, committed: &Committed, (now_ms, retention_ms): (i64, i64)) -> bool {
    let since_ms = match age {
        Age::Never | Age::Committed(Subscribed::Unknown) => return false,
        Age::Committed(Subscribed::To(topics)) if topics.contains(topic) => return false,
        Age::Committed(_) => committed.committed_ms,
        Age::Since(used_ms) => committed.committed_ms.max(*used_ms),
    };
    match committed.expire_ms {
        Some(expire_ms) => expire_ms <= now_ms,
        None => since_ms.saturating_add(retention_ms) <= now_ms,
    }
}

#[cfg(test)]
mod tests;
