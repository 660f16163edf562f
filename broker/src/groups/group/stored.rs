//! What of a group outlives the process: a restart of the broker is no rebalance.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Group, Limits, Member, Protocol, State};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct StoredMember {
    id: String,
    instance: Option<String>,
    client_id: String,
    client_host: String,
    session_timeout_ms: u64,
    rebalance_timeout_ms: u64,
    protocols: Vec<(String, Vec<u8>)>,
    assignment: Vec<u8>,
}

/// A group as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredGroup {
    generation: i32,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: Option<String>,
    members: Vec<StoredMember>,
}

impl Group {
    /// What is to be stored now.
    pub(crate) fn to_stored(&self) -> StoredGroup {
        let members = self.members.iter().map(|(id, member)| StoredMember {
            id: id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            session_timeout_ms: member.session_timeout_ms,
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            protocols: member.protocols.iter().map(|(name, bytes)| (name.clone(), bytes.to_vec())).collect(),
            assignment: member.assignment.to_vec(),
        });
        StoredGroup {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            members: members.collect(),
        }
    }

    /// The group as it was; its members have their whole session timeout to come back.
    pub(crate) fn from_stored(limits: Limits, stored: StoredGroup, now_ms: u64) -> Self {
        let protocols = |protocols: Vec<(String, Vec<u8>)>| -> Vec<Protocol> {
            protocols.into_iter().map(|(name, bytes)| (name, Bytes::from(bytes))).collect()
        };
        let members = stored.members.into_iter().map(|member| {
            let restored = Member {
                instance: member.instance,
                client_id: member.client_id,
                client_host: member.client_host,
                session_timeout_ms: member.session_timeout_ms,
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                protocols: protocols(member.protocols),
                assignment: Bytes::from(member.assignment),
                join_ticket: None,
                sync_ticket: None,
                last_seen_ms: now_ms,
            };
            (member.id, restored)
        });
        let members: std::collections::BTreeMap<_, _> = members.collect();
        let state = if members.is_empty() { State::Empty } else { State::Stable };
        Self {
            state,
            generation: stored.generation,
            protocol_type: stored.protocol_type,
            protocol: stored.protocol,
            leader: stored.leader,
            members,
            ..Self::new(limits)
        }
    }
}
