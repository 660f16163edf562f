//! What of a consumer group outlives the process: a restart of the broker is no rebalance.
//!
//! Each member is stored by itself, so that a step of one of many is a small write.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    super::assignor::{Assignment, Assignor},
    ConsumerGroup, Limits,
    member::{Member, MemberState},
};

type Parts = Vec<(u128, Vec<i32>)>;

/// A group as it is stored, without its members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredGroup {
    epoch: i32,
    target_epoch: i32,
    assignor: String,
    topics: Vec<(String, u128, i32)>,
}

/// A member as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredMember {
    instance: Option<String>,
    rack: Option<String>,
    client_id: String,
    client_host: String,
    rebalance_timeout_ms: u64,
    names: BTreeSet<String>,
    regex: Option<String>,
    matched: BTreeSet<String>,
    assignor: Option<String>,
    epoch: i32,
    previous_epoch: i32,
    state: u8,
    assigned: Parts,
    revoking: Parts,
    target: Parts,
}

fn written(assignment: &Assignment) -> Parts {
    assignment.iter().map(|(topic, all)| (topic.as_u128(), all.iter().copied().collect())).collect()
}

fn read(parts: Parts) -> Assignment {
    parts.into_iter().map(|(topic, all)| (Uuid::from_u128(topic), all.into_iter().collect())).collect()
}

impl ConsumerGroup {
    /// What is to be stored of the group now.
    pub(crate) fn to_stored(&self) -> StoredGroup {
        StoredGroup {
            epoch: self.epoch,
            target_epoch: self.target_epoch,
            assignor: self.assignor.name().to_owned(),
            topics: self
                .topics
                .iter()
                .map(|(name, (id, count))| (name.clone(), id.as_u128(), *count))
                .collect(),
        }
    }

    /// What is to be stored of a member now.
    pub(crate) fn member_to_stored(&self, id: &str) -> Option<StoredMember> {
        let member = self.members.get(id)?.clone();
        Some(StoredMember {
            assigned: written(&member.assigned),
            revoking: written(&member.revoking),
            target: written(&member.target),
            state: match member.state {
                MemberState::Stable => 0,
                MemberState::Revoking => 1,
                MemberState::Waiting => 2,
            },
            instance: member.instance,
            rack: member.rack,
            client_id: member.client_id,
            client_host: member.client_host,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            names: member.names,
            regex: member.regex,
            matched: member.matched,
            assignor: member.assignor,
            epoch: member.epoch,
            previous_epoch: member.previous_epoch,
        })
    }

    /// The group as it was, still without members.
    pub(crate) fn from_stored(limits: Limits, stored: StoredGroup) -> Self {
        let topics = stored.topics.into_iter();
        let topics: BTreeMap<_, _> =
            topics.map(|(name, id, count)| (name, (Uuid::from_u128(id), count))).collect();
        Self {
            epoch: stored.epoch,
            target_epoch: stored.target_epoch,
            assignor: Assignor::from_name(&stored.assignor).unwrap_or(Assignor::Uniform),
            topics,
            ..Self::new(limits)
        }
    }

    /// A member as it was; it has its whole time to come back.
    pub(crate) fn restore_member(&mut self, id: String, stored: StoredMember, now_ms: u64) {
        let state = match stored.state {
            0 => MemberState::Stable,
            1 => MemberState::Revoking,
            _ => MemberState::Waiting,
        };
        let session_deadline_ms = now_ms.saturating_add(self.limits.session_timeout_ms);
        let revoke_deadline_ms = now_ms.saturating_add(stored.rebalance_timeout_ms);
        let member = Member {
            instance: stored.instance,
            rack: stored.rack,
            client_id: stored.client_id,
            client_host: stored.client_host,
            rebalance_timeout_ms: stored.rebalance_timeout_ms,
            names: stored.names,
            regex: stored.regex,
            matched: stored.matched,
            assignor: stored.assignor,
            epoch: stored.epoch,
            previous_epoch: stored.previous_epoch,
            state,
            assigned: read(stored.assigned),
            revoking: read(stored.revoking),
            target: read(stored.target),
            session_deadline_ms,
            revoke_deadline_ms: (state == MemberState::Revoking).then_some(revoke_deadline_ms),
            matched_ms: now_ms,
            matched_version: 0,
        };
        for part in member.held() {
            self.holders.insert(part, id.clone());
        }
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.deadline(member.deadline_ms());
        self.members.insert(id, member);
    }
}
