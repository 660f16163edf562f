//! One member of a group, and what it waits for.

use bytes::Bytes;

use super::Protocol;

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout_ms: u64,
    pub(crate) rebalance_timeout_ms: u64,
    /// In the order of preference.
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) assignment: Bytes,
    pub(crate) join_ticket: Option<u64>,
    pub(crate) sync_ticket: Option<u64>,
    pub(super) last_seen_ms: u64,
}

impl Member {
    pub(super) fn keep_alive(&mut self, now_ms: u64) {
        self.last_seen_ms = self.last_seen_ms.max(now_ms);
    }

    /// When it counts as dead; a member that waits for an answer of ours cannot send heartbeats.
    pub(super) fn session_deadline_ms(&self) -> Option<u64> {
        let waits = self.join_ticket.is_some() || self.sync_ticket.is_some();
        (!waits).then(|| self.last_seen_ms.saturating_add(self.session_timeout_ms))
    }

    /// Its metadata for a protocol.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map_or_else(Bytes::new, |(_, metadata)| metadata.clone())
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }
}
