//! Syncing: the leader says who gets what, everybody hears its part.

use bytes::Bytes;
use kafka_wire::ErrorCode;

use super::{Group, Output, State};

/// A request to sync.
#[derive(Clone, Debug)]
pub(crate) struct Sync {
    pub(crate) member: String,
    pub(crate) instance: Option<String>,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    /// From the leader: member and assignment.
    pub(crate) assignments: Vec<(String, Bytes)>,
}

/// The answer to a sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Synced {
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) assignment: Bytes,
}

impl Group {
    /// A member asks for its assignment. The answer comes as an [`Output::Sync`] with the ticket.
    pub(crate) fn handle_sync(&mut self, sync: Sync, ticket: u64, now_ms: u64) {
        if let Err(code) = self.try_sync(sync, ticket, now_ms) {
            self.outputs.push_back(Output::Sync(ticket, Err(code)));
        }
    }

    fn try_sync(&mut self, sync: Sync, ticket: u64, now_ms: u64) -> Result<(), ErrorCode> {
        self.check_member((&sync.member, sync.instance.as_deref()))?;
        if sync.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let other = |wanted: &Option<String>, is: &str| wanted.as_deref().is_some_and(|wanted| wanted != is);
        if other(&sync.protocol_type, self.protocol_type()) || other(&sync.protocol, self.protocol()) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        self.keep_alive(&sync.member, now_ms);
        match self.state {
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance => {
                let leads = self.leader.as_ref() == Some(&sync.member);
                self.await_sync(&sync.member, ticket);
                if leads {
                    self.assign(sync.assignments, now_ms);
                }
                Ok(())
            }
            State::Stable => {
                self.await_sync(&sync.member, ticket);
                self.answer_sync(&sync.member);
                Ok(())
            }
        }
    }

    fn await_sync(&mut self, id: &str, ticket: u64) {
        let before = self.members.get_mut(id).and_then(|member| member.sync_ticket.replace(ticket));
        if let Some(before) = before {
            self.outputs.push_back(Output::Sync(before, Err(ErrorCode::RebalanceInProgress)));
        }
    }

    fn assign(&mut self, assignments: Vec<(String, Bytes)>, now_ms: u64) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&id) {
                // Its own bytes: a slice would keep the whole request in memory.
                member.assignment = Bytes::copy_from_slice(&assignment);
            }
        }
        self.state = State::Stable;
        self.sync_deadline_ms = None;
        self.outputs.push_back(Output::Store);
        for id in self.ids(|_, member| member.sync_ticket.is_some()) {
            self.keep_alive(&id, now_ms);
            self.answer_sync(&id);
        }
    }

    fn answer_sync(&mut self, id: &str) {
        let Some(member) = self.members.get_mut(id) else { return };
        let Some(ticket) = member.sync_ticket.take() else { return };
        let assignment = member.assignment.clone();
        let synced = Synced {
            protocol_type: self.protocol_type().to_owned(),
            protocol: self.protocol().to_owned(),
            assignment,
        };
        self.outputs.push_back(Output::Sync(ticket, Ok(synced)));
    }
}
