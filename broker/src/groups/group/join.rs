//! Joining: who may, when all are there, and who is told what.

use bytes::Bytes;
use kafka_wire::ErrorCode;

use super::{Group, Joining, Member, Output, Protocol, State};

/// A request to join.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    /// Empty for somebody new.
    pub(crate) member: String,
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<Protocol>,
    /// Somebody new is first told its id and joins with it.
    pub(crate) id_required: bool,
    /// The one who joins can be told to leave the assignment as it is.
    pub(crate) can_skip: bool,
    /// An id for somebody new that nobody has had.
    pub(crate) fresh_id: String,
}

/// A member as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinedMember {
    pub(crate) id: String,
    pub(crate) instance: Option<String>,
    pub(crate) metadata: Bytes,
}

/// The answer to a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    pub(crate) member: String,
    /// For the leader alone.
    pub(crate) members: Vec<JoinedMember>,
    /// The leader is not to assign: all stays as it is.
    pub(crate) skip_assignment: bool,
}

impl Group {
    /// Somebody wants to join, or to join again. The answer comes as an [`Output::Join`] with the ticket.
    pub(crate) fn handle_join(&mut self, join: Join, ticket: u64, now_ms: u64) {
        if let Err(code) = self.try_join(join, ticket, now_ms) {
            self.outputs.push_back(Output::Join(ticket, Err(code)));
        }
    }

    fn try_join(&mut self, join: Join, ticket: u64, now_ms: u64) -> Result<(), (ErrorCode, String)> {
        let plain = |code: ErrorCode| (code, join.member.clone());
        let limits = self.limits;
        if !(limits.session_timeout_ms_min..=limits.session_timeout_ms_max).contains(&join.session_timeout_ms)
        {
            return Err(plain(ErrorCode::InvalidSessionTimeout));
        }
        if !self.fits(&join) {
            return Err(plain(ErrorCode::InconsistentGroupProtocol));
        }
        if join.member.is_empty() {
            return self.join_new(join, ticket, now_ms);
        }
        if join.instance.is_none() && self.pending.remove(&join.member).is_some() {
            self.check_size().map_err(plain)?;
            let id = join.member.clone();
            self.add(id, join, ticket, now_ms);
            return Ok(());
        }
        self.check_member((&join.member, join.instance.as_deref())).map_err(plain)?;
        self.join_again(&join, ticket, now_ms);
        Ok(())
    }

    /// Whether the group could still agree on a protocol with the one who joins.
    fn fits(&self, join: &Join) -> bool {
        if join.protocols.is_empty() || join.protocol_type.is_empty() {
            return false;
        }
        let rejoins = |id: &String, member: &Member| {
            *id == join.member || (join.instance.is_some() && member.instance == join.instance)
        };
        let mut others = self.members.iter().filter(|(id, member)| !rejoins(id, member)).peekable();
        if others.peek().is_none() {
            return true;
        }
        let agreed = |name: &String| others.clone().all(|(_, member)| member.supports(name));
        self.protocol_type() == join.protocol_type && join.protocols.iter().any(|(name, _)| agreed(name))
    }

    fn check_size(&self) -> Result<(), ErrorCode> {
        let size = self.members.len() + self.pending.len();
        if size >= self.limits.size_max { Err(ErrorCode::GroupMaxSizeReached) } else { Ok(()) }
    }

    fn join_new(&mut self, join: Join, ticket: u64, now_ms: u64) -> Result<(), (ErrorCode, String)> {
        let id = join.fresh_id.clone();
        if let Some(instance) = &join.instance {
            if let Some(old) = self.instance_member(instance) {
                self.replace(&old, &join, ticket, now_ms);
                return Ok(());
            }
        } else if join.id_required {
            self.check_size().map_err(|code| (code, String::new()))?;
            self.pending.insert(id.clone(), now_ms.saturating_add(timeout(join.session_timeout_ms)));
            return Err((ErrorCode::MemberIdRequired, id));
        }
        self.check_size().map_err(|code| (code, String::new()))?;
        self.add(id, join, ticket, now_ms);
        Ok(())
    }

    fn add(&mut self, id: String, join: Join, ticket: u64, now_ms: u64) {
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        let member = Member {
            instance: join.instance.clone(),
            client_id: join.client_id.clone(),
            client_host: join.client_host.clone(),
            session_timeout_ms: timeout(join.session_timeout_ms),
            rebalance_timeout_ms: rebalance_timeout(&join),
            protocols: join.protocols,
            assignment: Bytes::new(),
            join_ticket: Some(ticket),
            sync_ticket: None,
            last_seen_ms: now_ms,
        };
        self.members.insert(id, member);
        if let Some(Joining { initial: Some((_, somebody_came)), .. }) = &mut self.joining {
            *somebody_came = true;
        }
        self.want_rebalance(now_ms);
    }

    /// A known member joins again.
    fn join_again(&mut self, join: &Join, ticket: u64, now_ms: u64) {
        let id = &join.member;
        let leads = self.leader.as_ref() == Some(id);
        let unchanged = self.members.get(id).is_some_and(|member| member.protocols == join.protocols);
        let settled = match self.state {
            State::CompletingRebalance => unchanged,
            State::Stable => unchanged && !leads,
            State::PreparingRebalance | State::Empty => false,
        };
        self.update(id, join, ticket, now_ms);
        if settled {
            self.answer_join(&join.member.clone());
        } else {
            self.want_rebalance(now_ms);
        }
    }

    fn update(&mut self, id: &str, join: &Join, ticket: u64, now_ms: u64) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.protocols.clone_from(&join.protocols);
        member.client_id.clone_from(&join.client_id);
        member.client_host.clone_from(&join.client_host);
        member.session_timeout_ms = timeout(join.session_timeout_ms);
        member.rebalance_timeout_ms = rebalance_timeout(join);
        member.keep_alive(now_ms);
        // A second join of the same member: the first one's connection is gone.
        if let Some(before) = member.join_ticket.replace(ticket) {
            let answer = Err((ErrorCode::RebalanceInProgress, id.to_owned()));
            self.outputs.push_back(Output::Join(before, answer));
        }
    }

    /// A static member came back under a new id: the old one is fenced. A settled group stays so unless it would
    /// choose another protocol now: whatever else is new waits for the next rebalance. A leader is told not to
    /// assign anew, or, if it cannot be told so, that another leads.
    fn replace(&mut self, old: &str, join: &Join, ticket: u64, now_ms: u64) {
        let id = join.fresh_id.clone();
        let Some(mut member) = self.members.remove(old) else { return };
        self.answer_waiting(&mut member, ErrorCode::FencedInstanceId);
        let led = self.leader.as_deref() == Some(old);
        if led {
            self.leader = Some(id.clone());
        }
        self.members.insert(id.clone(), member);
        self.update(&id, join, ticket, now_ms);
        if self.state != State::Stable || self.vote() != self.protocol {
            self.want_rebalance(now_ms);
            return;
        }
        self.outputs.push_back(Output::Store);
        if let Some(member) = self.members.get_mut(&id) {
            member.join_ticket = None;
        }
        let skips = led && join.can_skip;
        let leader = if led && !skips { old.to_owned() } else { self.leader.clone().unwrap_or_default() };
        let joined = Joined {
            generation: self.generation,
            protocol_type: self.protocol_type().to_owned(),
            protocol: self.protocol().to_owned(),
            leader,
            member: id,
            members: if skips { self.joined_members() } else { Vec::new() },
            skip_assignment: skips,
        };
        self.outputs.push_back(Output::Join(ticket, Ok(joined)));
    }

    fn want_rebalance(&mut self, now_ms: u64) {
        if self.state == State::PreparingRebalance {
            self.complete_join_if_all_are_here(now_ms);
        } else {
            self.prepare_rebalance(now_ms);
        }
    }

    pub(super) fn prepare_rebalance(&mut self, now_ms: u64) {
        for member in self.members.values_mut() {
            if let Some(ticket) = member.sync_ticket.take() {
                self.outputs.push_back(Output::Sync(ticket, Err(ErrorCode::RebalanceInProgress)));
                member.keep_alive(now_ms);
            }
        }
        self.sync_deadline_ms = None;
        let timeout_ms = self.rebalance_timeout_ms();
        let joining = if self.state == State::Empty {
            let delay_ms = self.limits.initial_delay_ms.min(timeout_ms);
            let initial = Some((now_ms.saturating_add(timeout_ms), false));
            Joining { deadline_ms: now_ms.saturating_add(delay_ms), initial }
        } else {
            Joining { deadline_ms: now_ms.saturating_add(timeout_ms), initial: None }
        };
        self.joining = Some(joining);
        self.state = State::PreparingRebalance;
        self.complete_join_if_all_are_here(now_ms);
        if self.limits.initial_delay_ms == 0 {
            self.handle_join_deadline(now_ms);
        }
    }

    pub(super) fn complete_join_if_all_are_here(&mut self, now_ms: u64) {
        let waits_for_company = self.joining.is_some_and(|joining| joining.initial.is_some());
        let all = self.pending.is_empty() && self.members.values().all(|member| member.join_ticket.is_some());
        let deserted = self.members.is_empty() && self.pending.is_empty();
        if self.state == State::PreparingRebalance && all && (!waits_for_company || deserted) {
            self.complete_join(now_ms);
        }
    }

    /// The time for joining may be over; a new group waits on while members keep coming.
    pub(super) fn handle_join_deadline(&mut self, now_ms: u64) {
        let Some(joining) = self.joining.filter(|joining| joining.deadline_ms <= now_ms) else { return };
        if let Some((hard_ms, true)) = joining.initial
            && hard_ms > now_ms
        {
            let deadline_ms = now_ms.saturating_add(self.limits.initial_delay_ms).min(hard_ms);
            self.joining = Some(Joining { deadline_ms, initial: Some((hard_ms, false)) });
            return;
        }
        self.complete_join(now_ms);
    }

    fn complete_join(&mut self, now_ms: u64) {
        self.joining = None;
        let late = self.ids(|_, member| member.join_ticket.is_none() && member.instance.is_none());
        for id in &late {
            self.remove(id, ErrorCode::UnknownMemberId);
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        if self.members.is_empty() {
            self.state = State::Empty;
            self.protocol = None;
            self.leader = None;
            self.outputs.push_back(Output::Store);
            return;
        }
        self.protocol = self.vote();
        let here = |id: &String| self.members.get(id).is_some_and(|member| member.join_ticket.is_some());
        if !self.leader.as_ref().is_some_and(here) {
            let first = self.members.keys().find(|id| here(id)).or_else(|| self.members.keys().next());
            self.leader = first.cloned();
        }
        self.state = State::CompletingRebalance;
        self.sync_deadline_ms = Some(now_ms.saturating_add(self.rebalance_timeout_ms()));
        for id in self.ids(|_, _| true) {
            self.keep_alive(&id, now_ms);
            self.answer_join(&id);
        }
    }

    /// The protocol that all know and most want.
    fn vote(&self) -> Option<String> {
        let first = self.members.values().next()?;
        let candidates = first.protocols.iter().map(|(name, _)| name);
        let candidates: Vec<&String> =
            candidates.filter(|name| self.members.values().all(|member| member.supports(name))).collect();
        let mut votes = vec![0_usize; candidates.len()];
        for member in self.members.values() {
            let wanted = member.protocols.iter().find(|(name, _)| candidates.contains(&name));
            if let Some((name, _)) = wanted
                && let Some(at) = candidates.iter().position(|candidate| *candidate == name)
                && let Some(count) = votes.get_mut(at)
            {
                *count += 1;
            }
        }
        let most = votes.iter().max()?;
        let at = votes.iter().position(|count| count == most)?;
        candidates.get(at).map(|name| (*name).clone())
    }

    /// The members as their leader sees them.
    fn joined_members(&self) -> Vec<JoinedMember> {
        let all = self.members.iter().map(|(id, member)| JoinedMember {
            id: id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(self.protocol()),
        });
        all.collect()
    }

    /// Tells a member about the generation, if it waits for that.
    fn answer_join(&mut self, id: &str) {
        let protocol = self.protocol().to_owned();
        let leader = self.leader.clone().unwrap_or_default();
        let Some(ticket) = self.members.get_mut(id).and_then(|member| member.join_ticket.take()) else {
            return;
        };
        let members = if leader == id { self.joined_members() } else { Vec::new() };
        let joined = Joined {
            generation: self.generation,
            protocol_type: self.protocol_type().to_owned(),
            protocol,
            leader,
            member: id.to_owned(),
            members,
            skip_assignment: false,
        };
        self.outputs.push_back(Output::Join(ticket, Ok(joined)));
    }
}

fn timeout(timeout_ms: i32) -> u64 {
    u64::try_from(timeout_ms).unwrap_or(0)
}

/// Old clients have one timeout for both.
fn rebalance_timeout(join: &Join) -> u64 {
    if join.rebalance_timeout_ms < 0 {
        timeout(join.session_timeout_ms)
    } else {
        timeout(join.rebalance_timeout_ms)
    }
}
