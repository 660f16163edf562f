//! The requests of the new protocol (KIP-848), and what both kinds are asked about offsets.

use std::sync::Arc;

use kafka_wire::ErrorCode;
use runtime::clock;

use super::{Coordinator, Entry, GROUPS_MAX, Inner, Kind, keep, perform};
use crate::groups::consumer_group::{Answer, Beat, ConsumerGroup, Refused, Surroundings, TopicsView};

/// The first version of OffsetCommit that knows member epochs.
const EPOCHS_SINCE: i16 = 9;

/// Who commits or reads offsets.
pub(crate) struct Committer<'a> {
    pub(crate) member: &'a str,
    pub(crate) instance: Option<&'a str>,
    pub(crate) generation: i32,
    pub(crate) version: i16,
}

impl Coordinator {
    /// A heartbeat; the answer is given when what it says is durable.
    pub(crate) async fn heartbeat(
        &self,
        group: &str,
        beat: &Beat,
        topics: &TopicsView,
        allows: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<(Answer, i32), Refused> {
        let now_ms = self.now_ms();
        let limits = self.consumer_limits(group);
        let (result, steps) = {
            let mut inner = self.lock();
            let id = self.make_consumer(&mut inner, group, beat.epoch == 0)?;
            let gone = || not_found(group);
            let entry = inner.groups.get_mut(&id).ok_or_else(gone)?;
            let Kind::Consumer(group) = &mut entry.kind else { return Err(gone()) };
            group.use_limits(limits);
            let interval_ms = limits.heartbeat_interval_ms;
            let result =
                group.handle_heartbeat(beat, &Surroundings { topics, allows: &|name| allows(name), now_ms });
            (result.map(|answer| (answer, interval_ms)), self.collect(&mut inner, &id))
        };
        let unstored = |code| Refused::new(code, "the group could not be written to disk");
        perform(steps).await.map_err(unstored)?;
        result
    }

    /// Sees to it that there is a consumer group; one is made for who joins.
    fn make_consumer(&self, inner: &mut Inner, id: &str, joins: bool) -> Result<Arc<str>, Refused> {
        match inner.groups.get(id).map(|entry| (&entry.kind, entry.kind.is_empty())) {
            Some((Kind::Consumer(_), _)) => return inner.name(id).ok_or_else(|| not_found(id)),
            Some((Kind::Classic(_), false)) if joins => {
                let text = format!(
                    "Group {id} is not a consumer group: it has members of the classic protocol, and a group \
                     with members of both is not supported. Stop them first."
                );
                return Err(Refused::new(ErrorCode::GroupIdNotFound, text));
            }
            Some((Kind::Classic(_), true)) if joins => {
                self.forget(inner, id);
                drop(self.store.write(keep::removal(id)));
            }
            Some((Kind::Classic(_), _)) => {
                let text = format!("Group {id} is not a consumer group.");
                return Err(Refused::new(ErrorCode::GroupIdNotFound, text));
            }
            None if !joins => return Err(not_found(id)),
            None => {}
        }
        if inner.groups.len() >= GROUPS_MAX {
            return Err(Refused::new(ErrorCode::GroupMaxSizeReached, "there are too many groups"));
        }
        let id: Arc<str> = Arc::from(id);
        let entry = Entry::new(Kind::Consumer(ConsumerGroup::new(self.limits.consumer)), clock::unix_ms());
        inner.groups.insert(Arc::clone(&id), entry);
        Ok(id)
    }

    /// Does something with a consumer group that is there, and waits until it is durable.
    pub(crate) async fn with_consumer_group<T>(
        &self,
        group: &str,
        work: impl FnOnce(&mut ConsumerGroup) -> T,
    ) -> Result<Option<T>, ErrorCode> {
        let (result, steps) = {
            let mut inner = self.lock();
            let Some(id) = inner.name(group) else { return Ok(None) };
            let Some(entry) = inner.groups.get_mut(&id) else { return Ok(None) };
            let Kind::Consumer(group) = &mut entry.kind else { return Ok(None) };
            (work(group), self.collect(&mut inner, &id))
        };
        perform(steps).await?;
        Ok(Some(result))
    }

    /// Whether somebody may commit to a group now.
    pub(crate) fn check_commit(&self, group: &str, by: &Committer<'_>) -> Result<(), ErrorCode> {
        if let Some(entry) = self.lock().groups.get(group)
            && let Kind::Consumer(group) = &entry.kind
        {
            group.check_offsets(by.member, by.generation)?;
            let speaks_epochs = by.version >= EPOCHS_SINCE || group.is_empty();
            return if speaks_epochs { Ok(()) } else { Err(ErrorCode::UnsupportedVersion) };
        }
        let caller = (by.member, by.instance);
        let allowed =
            self.with_group(group, |group, now_ms| group.handle_commit(caller, by.generation, now_ms));
        match allowed {
            Some(outcome) => outcome,
            // Somebody who only keeps offsets here.
            None if by.generation < 0 => Ok(()),
            None if by.version >= EPOCHS_SINCE => Err(ErrorCode::GroupIdNotFound),
            None => Err(ErrorCode::IllegalGeneration),
        }
    }

    /// Whether a member may commit with a transaction now.
    pub(crate) fn check_transactional_commit(
        &self,
        group: &str,
        (member, instance): (&str, Option<&str>),
        generation: i32,
    ) -> Result<(), ErrorCode> {
        let by = Committer { member, instance, generation, version: EPOCHS_SINCE };
        match self.check_commit(group, &by) {
            // What was read before a rebalance may be committed while the group settles.
            Err(ErrorCode::RebalanceInProgress) => Ok(()),
            // Producers know only the errors of the classic protocol.
            Err(ErrorCode::StaleMemberEpoch | ErrorCode::GroupIdNotFound) => {
                Err(ErrorCode::IllegalGeneration)
            }
            outcome => outcome,
        }
    }

    /// Whether somebody may read a group's offsets: only members of consumer groups are looked at.
    pub(crate) fn check_fetch(&self, group: &str, member: Option<&str>, epoch: i32) -> Result<(), ErrorCode> {
        let inner = self.lock();
        let Some(Entry { kind: Kind::Consumer(group), .. }) = inner.groups.get(group) else { return Ok(()) };
        match member {
            None if epoch < 0 => Ok(()),
            member => group.check_member_epoch(member.unwrap_or_default(), epoch),
        }
    }
}

fn not_found(id: &str) -> Refused {
    Refused::new(ErrorCode::GroupIdNotFound, format!("Group {id} not found."))
}
