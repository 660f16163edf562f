//! Consumers in a group, who share partitions out, read and commit.

use std::sync::Arc;

use bytes::Bytes;
use kafka_wire::messages::{
    HeartbeatRequest, JoinGroupRequest, OffsetCommitRequest, SyncGroupRequest,
    join_group::{JoinGroupRequestProtocol, JoinGroupResponse},
    offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    sync_group::SyncGroupRequestAssignment,
};
use record_log::storage::memory::MemoryStorage;

use super::{
    clients,
    world::{World, context},
};
use crate::broker::{Broker, Context};

/// The last version of OffsetCommit that knows no epochs.
pub(super) const COMMIT_VERSION: i16 = 7;
/// The group.
pub(super) const GROUP: &str = "readers";

/// A member over all lives.
#[derive(Clone, Default)]
pub(super) struct Member {
    id: String,
    generation: i32,
    joined: bool,
    assigned: Vec<(usize, i64)>,
}

/// Consumes as long as the life lasts.
pub(super) async fn consume(world: &World, broker: &Arc<Broker>, storage: &MemoryStorage, which: usize) {
    let context = context(broker);
    loop {
        world.pause(10).await;
        let mut member = world.members.borrow()[which].clone();
        let outcome = step(world, &context, &mut member).await;
        world.members.borrow_mut()[which] = member;
        match outcome {
            Err(what) if !world.excused(storage) => return world.wrong(&what),
            _ => {}
        }
    }
}

async fn step(world: &World, context: &Context, member: &mut Member) -> Result<(), String> {
    if !member.joined {
        return join(world, context, member).await;
    }
    let request = HeartbeatRequest {
        group_id: GROUP.to_owned(),
        generation_id: member.generation,
        member_id: member.id.clone(),
        ..Default::default()
    };
    let code = world.call(context, &request, 3).await.error_code;
    if !member.stays("a heartbeat", code)? || member.assigned.is_empty() {
        return Ok(());
    }
    let which = world.index(member.assigned.len());
    let (at, next) = member.assigned[which];
    let track = &world.tracks[at];
    let found = clients::fetch(world, context, track, next.max(0)).await;
    match found.error_code {
        0 => {
            let line = track.line.borrow();
            for (offset, message) in clients::messages(at, next, &found)? {
                line.read_again(offset, message)?;
                member.assigned[which].1 = offset + 1;
            }
        }
        1 if found.log_start_offset > next => member.assigned[which].1 = found.log_start_offset,
        code => return Err(format!("a member's fetch: error {code}")),
    }
    let offsets: Vec<(usize, i64)> =
        member.assigned.iter().copied().filter(|(_, offset)| *offset >= 0).collect();
    let by = (GROUP, member.generation, member.id.as_str());
    let code = commit(world, context, by, &offsets, COMMIT_VERSION).await;
    member.stays("a commit", code)?;
    if world.below(40) == 0 {
        member.joined = false;
    }
    Ok(())
}

impl Member {
    fn stays(&mut self, what: &str, code: i16) -> Result<bool, String> {
        match code {
            0 => return Ok(true),
            22 | 27 => {}
            25 => self.id.clear(),
            code => return Err(format!("{what} was refused with error {code}")),
        }
        self.joined = false;
        Ok(false)
    }
}

async fn join(world: &World, context: &Context, member: &mut Member) -> Result<(), String> {
    let request = JoinGroupRequest {
        group_id: GROUP.to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 1_000,
        member_id: member.id.clone(),
        protocol_type: "simulated".to_owned(),
        protocols: vec![JoinGroupRequestProtocol { name: "share".to_owned(), metadata: Bytes::new() }],
        ..Default::default()
    };
    let answer = world.call(context, &request, 5).await;
    world.note(("join", answer.error_code, answer.generation_id, answer.members.len()));
    if answer.error_code == 79 {
        member.id = answer.member_id;
        return Ok(());
    }
    if !member.stays("joining", answer.error_code)? {
        return Ok(());
    }
    member.id.clone_from(&answer.member_id);
    member.generation = answer.generation_id;
    let request = SyncGroupRequest {
        group_id: GROUP.to_owned(),
        generation_id: member.generation,
        member_id: member.id.clone(),
        assignments: if answer.leader == answer.member_id { share(world, &answer) } else { Vec::new() },
        ..Default::default()
    };
    let answer = world.call(context, &request, 3).await;
    if !member.stays("syncing", answer.error_code)? {
        return Ok(());
    }
    let tracks: Vec<usize> = answer.assignment.iter().map(|at| usize::from(*at)).collect();
    world.note(("sync", &tracks));
    for at in &tracks {
        let mut owners = world.owners.borrow_mut();
        let owner = owners.entry(*at).or_insert((0, String::new()));
        if owner.0 == member.generation && owner.1 != member.id {
            return Err(format!(
                "generation {} gives partition {at} to {} and {}",
                owner.0, owner.1, member.id
            ));
        }
        if owner.0 < member.generation {
            *owner = (member.generation, member.id.clone());
        }
    }
    member.assigned = clients::committed(world, context, GROUP, &tracks).await?;
    member.joined = true;
    Ok(())
}

fn share(world: &World, answer: &JoinGroupResponse) -> Vec<SyncGroupRequestAssignment> {
    let members = answer.members.len();
    let of = |nth: usize| -> Vec<u8> {
        let tracks = (0..world.tracks.len()).filter(|at| at % members == nth);
        tracks.map(|at| u8::try_from(at).expect("there are few")).collect()
    };
    let given = answer.members.iter().enumerate().map(|(nth, member)| SyncGroupRequestAssignment {
        member_id: member.member_id.clone(),
        assignment: Bytes::from(of(nth)),
    });
    given.collect()
}

/// Commits offsets; returns the first error.
pub(super) async fn commit(
    world: &World,
    context: &Context,
    (group, generation, member): (&'static str, i32, &str),
    offsets: &[(usize, i64)],
    version: i16,
) -> i16 {
    let mut request = OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: generation,
        member_id: member.to_owned(),
        ..Default::default()
    };
    for (at, offset) in offsets {
        let track = &world.tracks[*at];
        let partition = OffsetCommitRequestPartition {
            partition_index: track.partition,
            committed_offset: *offset,
            // The table grows by it, and is written anew the sooner.
            committed_metadata: Some("x".repeat(2_000)),
            ..Default::default()
        };
        request.topics.push(OffsetCommitRequestTopic {
            name: track.topic.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        });
        let mut committed = world.committed.borrow_mut();
        let committed = committed.entry((group, *at)).or_default();
        committed.sent = committed.sent.max(*offset);
    }
    let answer = world.call(context, &request, version).await;
    let mut codes = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|found| found.error_code);
    let code = codes.find(|code| *code != 0).unwrap_or(0);
    world.note((group, generation, code));
    if code == 0 {
        for (at, offset) in offsets {
            let mut committed = world.committed.borrow_mut();
            let committed = committed.entry((group, *at)).or_default();
            committed.acknowledged = committed.acknowledged.max(*offset);
        }
        world.commits.set(world.commits.get() + 1);
    }
    code
}
