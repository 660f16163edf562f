//! One member of a consumer group: what it wants, what it has, what it is to have.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{super::assignor::Assignment, parts};

/// How far a member is on the way to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// It has what it was told.
    Stable,
    /// It still has to give back.
    Revoking,
    /// It waits for what others still have.
    Waiting,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) instance: Option<String>,
    pub(crate) rack: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) rebalance_timeout_ms: u64,
    /// The topics that it named.
    pub(crate) names: BTreeSet<String>,
    /// The pattern that it gave.
    pub(crate) regex: Option<String>,
    /// The topics that the pattern matches, of those that the member may know of.
    pub(crate) matched: BTreeSet<String>,
    pub(crate) assignor: Option<String>,
    pub(crate) epoch: i32,
    /// The epoch before, for a member that did not hear of the last one.
    pub(crate) previous_epoch: i32,
    pub(crate) state: MemberState,
    pub(crate) assigned: Assignment,
    /// What it was told to give back and may still have.
    pub(crate) revoking: Assignment,
    pub(crate) target: Assignment,
    pub(super) session_deadline_ms: u64,
    /// Until when it has to have given back.
    pub(super) revoke_deadline_ms: Option<u64>,
    /// When the pattern was last matched, and against which view of the topics.
    pub(super) matched_ms: u64,
    pub(super) matched_version: u64,
}

impl Member {
    pub(super) fn deadline_ms(&self) -> u64 {
        self.revoke_deadline_ms.map_or(self.session_deadline_ms, |at_ms| at_ms.min(self.session_deadline_ms))
    }

    pub(super) fn is_settled(&self, target_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == target_epoch
    }

    /// The topics that it wants, there or not.
    pub(super) fn topics(&self) -> impl Iterator<Item = &String> {
        self.names.iter().chain(self.matched.difference(&self.names))
    }

    /// What nobody else may have.
    pub(super) fn held(&self) -> impl Iterator<Item = (Uuid, i32)> {
        parts(&self.assigned).chain(parts(&self.revoking))
    }
}
