//! One consumer group of the new protocol (KIP-848), as a pure state machine: the broker assigns, members follow.
//!
//! `handle_*` takes a request or the passing of time, `poll_output` says what is to be stored before the answer
//! is given, `poll_timeout` when time matters next. Time is in milliseconds of a clock that only goes forward.
//! The invariant: a partition is given to a member only when no other has it, where a member has a partition
//! from when it is told so until it says that it has it no longer, leaves, or is taken for dead.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use kafka_wire::ErrorCode;
use uuid::Uuid;

use super::assignor::{Assignment, Assignor};

mod heartbeat;
mod join;
mod leave;
mod member;
mod reconcile;
mod stored;
mod target;

pub(crate) use heartbeat::{Answer, Beat};
pub(crate) use member::Member;
pub(crate) use stored::{StoredGroup, StoredMember};
pub(crate) use target::{Surroundings, TopicsView};

/// The epoch of a static member that is away and will come back.
pub(crate) const AWAY_EPOCH: i32 = -2;
/// The epoch of a member that leaves.
pub(crate) const LEAVE_EPOCH: i32 = -1;

/// What a group allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) session_timeout_ms: u64,
    pub(crate) heartbeat_interval_ms: i32,
    pub(crate) size_max: usize,
}

/// A request that was not followed, with what its sender should read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: ErrorCode,
    pub(crate) text: String,
}

impl Refused {
    pub(crate) fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// Something to store; all that comes of one call belongs together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// The group itself.
    StoreGroup,
    /// A member.
    StoreMember(String),
    /// A member that is gone.
    RemoveMember(String),
}

/// A group.
#[derive(Debug)]
pub(crate) struct ConsumerGroup {
    limits: Limits,
    epoch: i32,
    /// The epoch of the targets: behind `epoch` until somebody asks.
    target_epoch: i32,
    assignor: Assignor,
    members: BTreeMap<String, Member>,
    instances: HashMap<String, String>,
    /// Who has a partition, or has not yet said that it has it no longer.
    holders: HashMap<(Uuid, i32), String>,
    /// The subscribed topics that there were when the targets were made, with the numbers of their partitions.
    topics: BTreeMap<String, (Uuid, i32)>,
    /// The version of the view that `topics` was last compared with.
    seen_version: u64,
    /// No member's time is over before.
    earliest_ms: Option<u64>,
    outputs: VecDeque<Output>,
}

impl ConsumerGroup {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            epoch: 0,
            target_epoch: 0,
            assignor: Assignor::Uniform,
            members: BTreeMap::new(),
            instances: HashMap::new(),
            holders: HashMap::new(),
            topics: BTreeMap::new(),
            seen_version: 0,
            earliest_ms: None,
            outputs: VecDeque::new(),
        }
    }

    pub(crate) fn epoch(&self) -> i32 {
        self.epoch
    }

    pub(crate) fn target_epoch(&self) -> i32 {
        self.target_epoch
    }

    pub(crate) fn assignor(&self) -> Assignor {
        self.assignor
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (&String, &Member)> {
        self.members.iter()
    }

    pub(crate) fn member_count(&self) -> usize {
        self.members.len()
    }

    /// From now on these hold; a member has the session that it was last told of.
    pub(crate) fn use_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Nobody is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Where it stands, as Kafka's clients know it.
    pub(crate) fn state_name(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.target_epoch {
            "Assigning"
        } else if self.members.values().all(|member| member.is_settled(self.target_epoch)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// The topics that members are subscribed to.
    pub(crate) fn subscribed_topics(&self) -> BTreeSet<String> {
        self.members.values().flat_map(Member::topics).cloned().collect()
    }

    /// The next thing to do.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) may have something to do next; never too late.
    pub(crate) fn poll_timeout(&self) -> Option<u64> {
        self.earliest_ms
    }

    /// Time has passed: members that were silent or kept what they should give back are out.
    pub(crate) fn handle_timeout(&mut self, now_ms: u64) {
        if self.earliest_ms.is_none_or(|earliest_ms| earliest_ms > now_ms) {
            return;
        }
        let over = |member: &Member| member.deadline_ms() <= now_ms;
        let gone: Vec<String> =
            self.members.iter().filter(|(_, member)| over(member)).map(|(id, _)| id.clone()).collect();
        for id in gone {
            self.remove(&id);
        }
        self.earliest_ms = self.members.values().map(Member::deadline_ms).min();
    }

    /// Whether somebody may commit offsets now. Outside of an epoch only an empty group's may be set.
    pub(crate) fn check_offsets(&self, member: &str, epoch: i32) -> Result<(), ErrorCode> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        self.check_member_epoch(member, epoch)
    }

    /// Whether a member is in it, in this epoch.
    pub(crate) fn check_member_epoch(&self, member: &str, epoch: i32) -> Result<(), ErrorCode> {
        let member = self.members.get(member).ok_or(ErrorCode::UnknownMemberId)?;
        if member.epoch == epoch { Ok(()) } else { Err(ErrorCode::StaleMemberEpoch) }
    }

    fn bump(&mut self) {
        self.epoch = self.epoch.saturating_add(1);
        self.store_group();
    }

    fn store_group(&mut self) {
        if !self.outputs.contains(&Output::StoreGroup) {
            self.outputs.push_back(Output::StoreGroup);
        }
    }

    fn store_member(&mut self, id: &str) {
        let output = Output::StoreMember(id.to_owned());
        if !self.outputs.contains(&output) {
            self.outputs.push_back(output);
        }
    }

    fn deadline(&mut self, at_ms: u64) {
        self.earliest_ms = Some(self.earliest_ms.map_or(at_ms, |earliest_ms| earliest_ms.min(at_ms)));
    }

    /// Takes a member out: what it had is free, and the others get a new epoch.
    fn remove(&mut self, id: &str) {
        let Some(member) = self.members.remove(id) else { return };
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        for part in member.held() {
            self.holders.remove(&part);
        }
        let stored = Output::StoreMember(id.to_owned());
        self.outputs.retain(|output| *output != stored);
        self.outputs.push_back(Output::RemoveMember(id.to_owned()));
        self.bump();
    }
}

/// The single partitions of an assignment.
fn parts(assignment: &Assignment) -> impl Iterator<Item = (Uuid, i32)> {
    assignment.iter().flat_map(|(topic, partitions)| partitions.iter().map(|it| (*topic, *it)))
}

fn add(assignment: &mut Assignment, (topic, partition): (Uuid, i32)) {
    assignment.entry(topic).or_default().insert(partition);
}

fn has(assignment: &Assignment, (topic, partition): &(Uuid, i32)) -> bool {
    assignment.get(topic).is_some_and(|partitions: &BTreeSet<i32>| partitions.contains(partition))
}

#[cfg(test)]
mod tests;
