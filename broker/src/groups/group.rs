//! One consumer group of the classic protocol, as a pure state machine.
//!
//! `handle_*` takes a request or the passing of time, `poll_output` gives what is to be answered or stored,
//! `poll_timeout` says when time matters next. Time is in milliseconds of a clock that only goes forward.
//! Requests that have to wait (join, sync) are named by a ticket that their answer carries.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use kafka_wire::ErrorCode;
use serde::{Deserialize, Serialize};

use super::subscription;

mod join;
mod member;
mod stored;
mod sync;

pub(crate) use join::{Join, Joined};
pub(crate) use member::Member;
pub(crate) use stored::StoredGroup;
pub(crate) use sync::{Sync, Synced};

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    /// No members.
    Empty,
    /// Members are (re)joining.
    PreparingRebalance,
    /// All have joined; the leader still has to say who gets what.
    CompletingRebalance,
    /// Everybody has an assignment.
    Stable,
}

impl State {
    /// As Kafka's clients know it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// What a group allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) initial_delay_ms: u64,
    pub(crate) session_timeout_ms_min: i32,
    pub(crate) session_timeout_ms_max: i32,
    pub(crate) size_max: usize,
}

/// Something to do for whoever drives the group; in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Answer a join.
    Join(u64, Result<Joined, (ErrorCode, String)>),
    /// Answer a sync.
    Sync(u64, Result<Synced, ErrorCode>),
    /// Store the group before anything that comes after this is done.
    Store,
}

/// Until when a rebalance waits for joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Joining {
    deadline_ms: u64,
    /// A group that was empty waits for company: until when at most, and whether somebody came since.
    initial: Option<(u64, bool)>,
}

/// A group.
#[derive(Debug)]
pub(crate) struct Group {
    limits: Limits,
    state: State,
    generation: i32,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Ids that were handed out and did not join yet, with the end of their time.
    pending: BTreeMap<String, u64>,
    joining: Option<Joining>,
    /// Until when the members may take to sync.
    sync_deadline_ms: Option<u64>,
    outputs: VecDeque<Output>,
}

impl Group {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            pending: BTreeMap::new(),
            joining: None,
            sync_deadline_ms: None,
            outputs: VecDeque::new(),
        }
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    pub(crate) fn generation(&self) -> i32 {
        self.generation
    }

    pub(crate) fn protocol_type(&self) -> &str {
        self.protocol_type.as_deref().unwrap_or_default()
    }

    pub(crate) fn protocol(&self) -> &str {
        self.protocol.as_deref().unwrap_or_default()
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (&String, &Member)> {
        self.members.iter()
    }

    /// Nobody is in it and nobody was told to come back.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.pending.is_empty()
    }

    /// The topics that members of the protocol type `consumer` are subscribed to; `None` if that is not known.
    pub(crate) fn subscribed_topics(&self) -> Option<BTreeSet<String>> {
        let mut topics = BTreeSet::new();
        if self.protocol_type() != "consumer" {
            return None;
        }
        for member in self.members.values() {
            let protocol =
                self.protocol.as_ref().or_else(|| member.protocols.first().map(|(name, _)| name))?;
            topics.extend(subscription::topics(&member.metadata(protocol))?);
        }
        Some(topics)
    }

    /// The next thing to do.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do next.
    pub(crate) fn poll_timeout(&self) -> Option<u64> {
        let sessions = self.members.values().filter_map(Member::session_deadline_ms);
        let joining = self.joining.map(|joining| joining.deadline_ms);
        sessions.chain(self.pending.values().copied()).chain(joining).chain(self.sync_deadline_ms).min()
    }

    /// A member says that it is alive.
    pub(crate) fn handle_heartbeat(
        &mut self,
        caller: (&str, Option<&str>),
        generation: i32,
        now_ms: u64,
    ) -> Result<(), ErrorCode> {
        if self.pending.contains_key(caller.0) && caller.1.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(caller)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        self.keep_alive(caller.0, now_ms);
        match self.state {
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
            State::Empty => Err(ErrorCode::UnknownMemberId),
        }
    }

    /// A member leaves: by its id, or by its instance id alone.
    pub(crate) fn handle_leave(
        &mut self,
        member: &str,
        instance: Option<&str>,
        now_ms: u64,
    ) -> Result<String, ErrorCode> {
        let id = match instance {
            Some(instance) if member.is_empty() => {
                self.instance_member(instance).ok_or(ErrorCode::UnknownMemberId)?
            }
            _ => member.to_owned(),
        };
        if self.pending.remove(&id).is_some() {
            self.complete_join_if_all_are_here(now_ms);
            return Ok(id);
        }
        self.check_member((&id, instance))?;
        self.remove(&id, ErrorCode::UnknownMemberId);
        self.members_changed(now_ms);
        Ok(id)
    }

    /// Whether somebody may commit offsets now. Outside of a generation only an empty group's may be set.
    pub(crate) fn handle_commit(
        &mut self,
        caller: (&str, Option<&str>),
        generation: i32,
        now_ms: u64,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        self.check_member(caller)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        self.keep_alive(caller.0, now_ms);
        if self.state == State::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now_ms: u64) {
        let awaited = self.pending.len();
        self.pending.retain(|_, deadline_ms| *deadline_ms > now_ms);
        if self.pending.len() < awaited {
            // The others may have waited for nobody else.
            self.complete_join_if_all_are_here(now_ms);
        }
        let expired =
            |member: &Member| member.session_deadline_ms().is_some_and(|deadline| deadline <= now_ms);
        let gone: Vec<String> = self.ids(|_, member| expired(member));
        if !gone.is_empty() {
            for id in &gone {
                self.remove(id, ErrorCode::UnknownMemberId);
            }
            self.members_changed(now_ms);
        }
        if self.sync_deadline_ms.is_some_and(|deadline| deadline <= now_ms) {
            self.sync_deadline_ms = None;
            let silent = self.ids(|_, member| member.sync_ticket.is_none());
            for id in &silent {
                self.remove(id, ErrorCode::UnknownMemberId);
            }
            self.members_changed(now_ms);
        }
        self.handle_join_deadline(now_ms);
    }

    fn ids(&self, which: impl Fn(&String, &Member) -> bool) -> Vec<String> {
        self.members.iter().filter(|(id, member)| which(id, member)).map(|(id, _)| id.clone()).collect()
    }

    /// The member that has an instance id.
    fn instance_member(&self, instance: &str) -> Option<String> {
        let mut all = self.members.iter();
        all.find(|(_, member)| member.instance.as_deref() == Some(instance)).map(|(id, _)| id.clone())
    }

    /// Whether a caller is who it says.
    fn check_member(&self, (id, instance): (&str, Option<&str>)) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            return match self.instance_member(instance) {
                None => Err(ErrorCode::UnknownMemberId),
                Some(holder) if holder != id => Err(ErrorCode::FencedInstanceId),
                Some(_) => Ok(()),
            };
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    fn keep_alive(&mut self, id: &str, now_ms: u64) {
        if let Some(member) = self.members.get_mut(id) {
            member.keep_alive(now_ms);
        }
    }

    /// Takes a member out and answers what it waits for.
    fn remove(&mut self, id: &str, code: ErrorCode) {
        let Some(mut member) = self.members.remove(id) else { return };
        self.answer_waiting(&mut member, code);
        if self.leader.as_deref() == Some(id) {
            self.leader = None;
        }
    }

    fn answer_waiting(&mut self, member: &mut Member, code: ErrorCode) {
        if let Some(ticket) = member.join_ticket.take() {
            self.outputs.push_back(Output::Join(ticket, Err((code, String::new()))));
        }
        if let Some(ticket) = member.sync_ticket.take() {
            self.outputs.push_back(Output::Sync(ticket, Err(code)));
        }
    }

    /// After somebody left: a settled group rebalances, one that waits for joins may have all.
    fn members_changed(&mut self, now_ms: u64) {
        match self.state {
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(now_ms),
            State::PreparingRebalance => self.complete_join_if_all_are_here(now_ms),
            State::Empty => {}
        }
    }

    /// What everybody gets is as long as the slowest member may take.
    fn rebalance_timeout_ms(&self) -> u64 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0)
    }
}

/// A member's metadata for one protocol.
pub(crate) type Protocol = (String, Bytes);

#[cfg(test)]
mod tests;
