//! Members of a consumer group of the new protocol (KIP-848): they take what they are told to, give it back when they
//! are told to, leave, die, and hear nothing for a while. What one has, no other may be given.

use std::{collections::BTreeSet, sync::Arc};

use kafka_wire::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    consumer_group_heartbeat::OwnedTopicPartitions,
};
use record_log::storage::memory::MemoryStorage;
use uuid::Uuid;

use super::{
    groups,
    world::{TOPICS, World, context},
};
use crate::broker::{Broker, Context};

/// The group.
pub(super) const GROUP: &str = "heirs";
const HEARTBEAT_VERSION: i16 = 1;
/// The first version of OffsetCommit that knows epochs.
const COMMIT_VERSION: i16 = 9;
/// Longer than all lives: nobody is thrown out for giving back late.
const REBALANCE_TIMEOUT_MS: i32 = 600_000;
const UNKNOWN_MEMBER: i16 = 25;
const FENCED_EPOCH: i16 = 110;
const STALE_EPOCH: i16 = 113;

type Part = (Uuid, i32);

/// A member over all lives.
#[derive(Clone, Default)]
pub(super) struct Heir {
    id: String,
    /// 0 until it has joined.
    epoch: i32,
    /// The largest that it was ever told under this id.
    told: i32,
    owned: BTreeSet<Part>,
    /// What it was told to have.
    target: BTreeSet<Part>,
    /// What it said last that it has.
    said: Option<BTreeSet<Part>>,
    names: usize,
    /// An answer did not come: everything has to be said again.
    unheard: bool,
    /// The broker may have thrown it out for reasons of the disk.
    doubt: bool,
}

impl Heir {
    pub(super) fn doubts(&mut self, excuses: bool) {
        self.doubt |= excuses;
        self.unheard = true;
    }

    fn joined(world: &World) -> Self {
        let named = world.named.replace(world.named.get() + 1);
        Self { id: format!("heir-{named}"), names: world.index(3), ..Self::default() }
    }

    /// Nothing is its own any more, and it joins again.
    fn abandon(&mut self) {
        self.owned.clear();
        self.target.clear();
        self.said = None;
        self.epoch = 0;
    }

    fn beat(&mut self, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        let mut request = ConsumerGroupHeartbeatRequest {
            group_id: GROUP.to_owned(),
            member_id: self.id.clone(),
            member_epoch: epoch,
            ..Default::default()
        };
        let full = epoch == 0 || self.unheard;
        if full {
            request.rebalance_timeout_ms = REBALANCE_TIMEOUT_MS;
            request.subscribed_topic_names = Some(names(self.names));
        }
        if full || self.said.as_ref() != Some(&self.owned) {
            let mut owned: Vec<OwnedTopicPartitions> = Vec::new();
            for (topic_id, partition) in &self.owned {
                match owned.last_mut().filter(|last| last.topic_id == *topic_id) {
                    Some(last) => last.partitions.push(*partition),
                    None => {
                        owned.push(OwnedTopicPartitions { topic_id: *topic_id, partitions: vec![*partition] })
                    }
                }
            }
            request.topic_partitions = Some(owned);
            self.said = Some(self.owned.clone());
        }
        self.unheard = true;
        request
    }
}

/// One topic, the other, or both.
fn names(which: usize) -> Vec<String> {
    let wanted = |(at, _): &(usize, _)| which == 2 || *at == which;
    TOPICS.iter().enumerate().filter(wanted).map(|(_, (name, ..))| (*name).to_owned()).collect()
}

/// Is a member as long as the life lasts.
pub(super) async fn inherit(world: &World, broker: &Arc<Broker>, storage: &MemoryStorage, which: usize) {
    let context = context(broker);
    loop {
        world.pause(12).await;
        match step(world, &context, storage, which).await {
            Err(what) if !world.excused(storage) => return world.wrong(&what),
            _ => {}
        }
    }
}

async fn step(world: &World, context: &Context, storage: &MemoryStorage, which: usize) -> Result<(), String> {
    let request = {
        let heir = &mut world.heirs.borrow_mut()[which];
        if heir.id.is_empty() || world.below(80) == 0 {
            // It dies, and somebody else starts.
            *heir = Heir::joined(world);
        }
        if world.below(40) == 0 {
            heir.names = world.index(3);
            heir.unheard = true;
        }
        if heir.epoch > 0 && world.below(60) == 0 {
            heir.abandon();
            heir.beat(-1)
        } else {
            let epoch = heir.epoch;
            heir.beat(epoch)
        }
    };
    let answer = world.call(context, &request, HEARTBEAT_VERSION).await;
    world.note((which, answer.error_code, answer.member_epoch));
    if request.member_epoch == -1 {
        let heir = std::mem::replace(&mut world.heirs.borrow_mut()[which], Heir::joined(world));
        return match answer.error_code {
            0 => Ok(()),
            UNKNOWN_MEMBER | FENCED_EPOCH if heir.doubt => Ok(()),
            _ => Err(format!("{} leaves: {answer:?}", heir.id)),
        };
    }
    hear(world, storage, which, &answer)?;
    if world.below(3) == 0 {
        commit(world, context, which).await?;
    }
    Ok(())
}

/// Takes an answer in, all at once.
fn hear(
    world: &World,
    storage: &MemoryStorage,
    which: usize,
    answer: &ConsumerGroupHeartbeatResponse,
) -> Result<(), String> {
    let mut heirs = world.heirs.borrow_mut();
    let others: BTreeSet<Part> = heirs
        .iter()
        .enumerate()
        .filter(|(at, heir)| *at != which && !heir.doubt)
        .flat_map(|(_, heir)| heir.owned.iter().copied())
        .collect();
    let heir = &mut heirs[which];
    match answer.error_code {
        0 => {}
        UNKNOWN_MEMBER | FENCED_EPOCH if heir.doubt => {
            heir.abandon();
            return Ok(());
        }
        _ => return Err(format!("a heartbeat of {} in epoch {}: {answer:?}", heir.id, heir.epoch)),
    }
    if answer.member_epoch < heir.told {
        return Err(format!("{} was in epoch {} and is in {}", heir.id, heir.told, answer.member_epoch));
    }
    heir.unheard = false;
    heir.doubt = world.excused(storage);
    heir.epoch = answer.member_epoch;
    heir.told = answer.member_epoch;
    world.epoch.set(world.epoch.get().max(answer.member_epoch));
    if let Some(assignment) = &answer.assignment {
        let topics = assignment.topic_partitions.iter();
        heir.target =
            topics.flat_map(|topic| topic.partitions.iter().map(|part| (topic.topic_id, *part))).collect();
    }
    if let Some(taken) = heir.target.iter().find(|part| others.contains(part)) {
        return Err(format!("{} is given {taken:?}, which another still has", heir.id));
    }
    // Giving back takes a while; nothing new is taken before.
    let gives_back = heir.owned.iter().any(|part| !heir.target.contains(part));
    if !gives_back || world.below(2) == 0 {
        heir.owned = heir.target.clone();
    }
    Ok(())
}

/// Commits in the member's epoch.
async fn commit(world: &World, context: &Context, which: usize) -> Result<(), String> {
    let (id, epoch, doubt) = {
        let heir = &world.heirs.borrow()[which];
        (heir.id.clone(), heir.epoch, heir.doubt)
    };
    let at = world.index(world.tracks.len());
    let known = world.committed.borrow().get(&(GROUP, at)).copied().unwrap_or_default();
    let code =
        groups::commit(world, context, (GROUP, epoch, &id), &[(at, known.sent + 1)], COMMIT_VERSION).await;
    match code {
        0 => Ok(()),
        UNKNOWN_MEMBER | STALE_EPOCH if doubt => Ok(()),
        code => Err(format!("a commit of {id} in epoch {epoch}: error {code}")),
    }
}

/// After a start: the group is no younger than its members were told, and no partition has two owners.
pub(super) async fn look(world: &World, context: &Context) -> Result<(), String> {
    let epoch = world.epoch.get();
    if epoch == 0 {
        return Ok(());
    }
    let request = ConsumerGroupDescribeRequest { group_ids: vec![GROUP.to_owned()], ..Default::default() };
    let mut answer = world.call(context, &request, 1).await;
    let group = answer.groups.pop().ok_or("a group was not described")?;
    world.note((group.error_code, group.group_epoch, group.members.len()));
    if group.error_code != 0 || group.group_epoch < epoch {
        return Err(format!("members were told epoch {epoch}, the group is {group:?}"));
    }
    let mut owners = BTreeSet::new();
    for member in &group.members {
        let heirs = world.heirs.borrow();
        if let Some(heir) = heirs.iter().find(|heir| heir.id == member.member_id)
            && !heir.doubt
            && member.member_epoch < heir.told
        {
            return Err(format!("{} was told epoch {} and has {}", heir.id, heir.told, member.member_epoch));
        }
        for topic in &member.assignment.topic_partitions {
            for partition in &topic.partitions {
                if !owners.insert((topic.topic_id, *partition)) {
                    return Err(format!("two members have {partition} of {}: {group:?}", topic.topic_name));
                }
            }
        }
    }
    Ok(())
}
