//! The requests of the classic protocol: joins and syncs that wait, and what is answered at once.

use std::sync::Arc;

use kafka_wire::ErrorCode;
use runtime::clock;
use tokio::sync::oneshot;

use super::{Coordinator, Entry, GROUPS_MAX, Inner, JoinAnswer, Kind, Step, SyncAnswer, Waiting, keep};
use crate::groups::group::{Group, Join, Sync};

impl Coordinator {
    /// Lets `work` change a group.
    fn change<T>(
        &self,
        inner: &mut Inner,
        id: &str,
        work: impl FnOnce(&mut Group, u64) -> T,
    ) -> Option<(T, Vec<Step>)> {
        let now_ms = self.now_ms();
        let id = inner.name(id)?;
        let Kind::Classic(group) = &mut inner.groups.get_mut(&id)?.kind else { return None };
        let result = work(group, now_ms);
        let steps = self.collect(inner, &id);
        Some((result, steps))
    }

    /// Joins, and waits for the others.
    pub(crate) async fn join(&self, group: &str, join: Join) -> JoinAnswer {
        let (sender, receiver) = oneshot::channel();
        let steps = {
            let mut inner = self.lock();
            self.make_classic(&mut inner, group, &join)?;
            let ticket = inner.ticket(Waiting::Join(sender));
            let joined = |group: &mut Group, now_ms| group.handle_join(join, ticket, now_ms);
            self.change(&mut inner, group, joined).map_or_else(Vec::new, |((), steps)| steps)
        };
        self.perform(steps);
        receiver.await.unwrap_or(Err((ErrorCode::CoordinatorNotAvailable, String::new())))
    }

    /// Sees to it that there is a classic group to join.
    fn make_classic(&self, inner: &mut Inner, id: &str, join: &Join) -> Result<(), (ErrorCode, String)> {
        let was_consumer = match inner.groups.get(id).map(|entry| (&entry.kind, entry.kind.is_empty())) {
            Some((Kind::Classic(_), _)) => return Ok(()),
            // Clients of both protocols in one group are not supported: one after the other is.
            Some((Kind::Consumer(_), false)) => {
                return Err((ErrorCode::InconsistentGroupProtocol, join.member.clone()));
            }
            Some((Kind::Consumer(_), true)) => true,
            None => false,
        };
        if !join.member.is_empty() {
            return Err((ErrorCode::UnknownMemberId, join.member.clone()));
        }
        if was_consumer {
            self.forget(inner, id);
            drop(self.store.write(keep::removal(id)));
        }
        if inner.groups.len() >= GROUPS_MAX {
            return Err((ErrorCode::GroupMaxSizeReached, join.member.clone()));
        }
        let entry = Entry::new(Kind::Classic(Group::new(self.limits.classic)), clock::unix_ms());
        inner.groups.insert(Arc::from(id), entry);
        Ok(())
    }

    /// Syncs, and waits for the leader.
    pub(crate) async fn sync(&self, group: &str, sync: Sync) -> SyncAnswer {
        let (sender, receiver) = oneshot::channel();
        let steps = {
            let mut inner = self.lock();
            if !inner.groups.get(group).is_some_and(|entry| matches!(entry.kind, Kind::Classic(_))) {
                return Err(ErrorCode::UnknownMemberId);
            }
            let ticket = inner.ticket(Waiting::Sync(sender));
            let synced = |group: &mut Group, now_ms| group.handle_sync(sync, ticket, now_ms);
            self.change(&mut inner, group, synced).map_or_else(Vec::new, |((), steps)| steps)
        };
        self.perform(steps);
        receiver.await.unwrap_or(Err(ErrorCode::CoordinatorNotAvailable))
    }

    /// Does something with a classic group that is there.
    pub(crate) fn with_group<T>(&self, group: &str, work: impl FnOnce(&mut Group, u64) -> T) -> Option<T> {
        let (result, steps) = self.change(&mut self.lock(), group, work)?;
        self.perform(steps);
        Some(result)
    }

    /// A member leaves or is sent away.
    pub(crate) async fn leave(
        &self,
        group: &str,
        member: &str,
        instance: Option<&str>,
    ) -> Result<String, ErrorCode> {
        let classic = self.with_group(group, |group, now_ms| group.handle_leave(member, instance, now_ms));
        if let Some(left) = classic {
            return left;
        }
        let removed = self.with_consumer_group(group, |group| group.handle_removal(member, instance)).await;
        removed?.unwrap_or(Err(ErrorCode::UnknownMemberId))
    }
}
