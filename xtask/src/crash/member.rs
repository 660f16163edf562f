//! A consumer in a group: joins, shares the partitions out when it leads, reads, commits, and goes on in its
//! generation after a kill.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use kafka_wire::messages::join_group::{JoinGroupRequestProtocol, JoinGroupResponse};
use kafka_wire::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_wire::messages::sync_group::SyncGroupRequestAssignment;
use kafka_wire::messages::{HeartbeatRequest, JoinGroupRequest, OffsetCommitRequest, SyncGroupRequest};

use super::reader;
use super::world::{World, count, lock};
use crate::link::{Broken, Link};
use testkit::chance::Chance;

/// The group.
pub(crate) const GROUP: &str = "readers";
const JOIN_VERSION: i16 = 5;
const SYNC_VERSION: i16 = 3;
const HEARTBEAT_VERSION: i16 = 3;
const COMMIT_VERSION: i16 = 7;
const SESSION_TIMEOUT_MS: i32 = 10_000;
const REBALANCE_TIMEOUT_MS: i32 = 3_000;
const FETCH_WAIT_MS: i32 = 20;

const ILLEGAL_GENERATION: i16 = 22;
const UNKNOWN_MEMBER: i16 = 25;
const REBALANCE_IN_PROGRESS: i16 = 27;
const MEMBER_ID_REQUIRED: i16 = 79;

struct Member<'a> {
    world: &'a World,
    chance: Chance,
    id: String,
    generation: i32,
    /// Track and the next offset.
    assigned: Vec<(usize, i64)>,
    joined: bool,
}

/// Consumes until the end.
pub(crate) fn run(world: &World, part: u64) {
    let chance = Chance::new(world.seed, part);
    let mut member =
        Member { world, chance, id: String::new(), generation: -1, assigned: Vec::new(), joined: false };
    let mut seen = 0;
    while let Some((life, mut link)) = world.connect(seen) {
        seen = life;
        if let Err(broken) = member.work(&mut link) {
            world.lost(life, "consuming", broken);
        }
    }
}

fn refused(what: &str, code: i16) -> Broken {
    Broken::Wrong(format!("{what} was refused with error {code}"))
}

impl Member<'_> {
    fn work(&mut self, link: &mut Link) -> Result<(), Broken> {
        loop {
            if !self.joined {
                self.join(link)?;
                continue;
            }
            let request = HeartbeatRequest {
                group_id: GROUP.to_owned(),
                generation_id: self.generation,
                member_id: self.id.clone(),
                ..Default::default()
            };
            let code = link.call(&request, HEARTBEAT_VERSION)?.error_code;
            if !self.stays("a heartbeat", code)? {
                continue;
            }
            self.consume(link)?;
            if self.chance.one_in(2) {
                self.commit(link)?;
            }
            if self.chance.one_in(60) {
                // Now and then one rejoins, so that generations come and go.
                self.joined = false;
            }
        }
    }

    /// Whether the member is still in its generation.
    fn stays(&mut self, what: &str, code: i16) -> Result<bool, Broken> {
        match code {
            0 => return Ok(true),
            REBALANCE_IN_PROGRESS | ILLEGAL_GENERATION => {}
            UNKNOWN_MEMBER => {
                count(&self.world.counts.evictions);
                self.id.clear();
            }
            code => return Err(refused(what, code)),
        }
        self.joined = false;
        Ok(false)
    }

    fn join(&mut self, link: &mut Link) -> Result<(), Broken> {
        let request = JoinGroupRequest {
            group_id: GROUP.to_owned(),
            session_timeout_ms: SESSION_TIMEOUT_MS,
            rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
            member_id: self.id.clone(),
            protocol_type: "crash".to_owned(),
            protocols: vec![JoinGroupRequestProtocol { name: "share".to_owned(), metadata: Bytes::new() }],
            ..Default::default()
        };
        let answer = link.call(&request, JOIN_VERSION)?;
        match answer.error_code {
            0 => {}
            MEMBER_ID_REQUIRED => {
                self.id.clone_from(&answer.member_id);
                return Ok(());
            }
            code => return self.stays("joining", code).map(|_| ()),
        }
        self.id.clone_from(&answer.member_id);
        self.generation = answer.generation_id;
        let request = SyncGroupRequest {
            group_id: GROUP.to_owned(),
            generation_id: self.generation,
            member_id: self.id.clone(),
            assignments: if answer.leader == answer.member_id { self.share(&answer) } else { Vec::new() },
            ..Default::default()
        };
        let answer = link.call(&request, SYNC_VERSION)?;
        if !self.stays("syncing", answer.error_code)? {
            return Ok(());
        }
        count(&self.world.counts.rebalances);
        self.joined = true;
        let tracks: Vec<usize> = answer.assignment.iter().map(|at| usize::from(*at)).collect();
        self.own(&tracks)?;
        self.assigned = reader::committed(self.world, link, GROUP, &tracks)?;
        Ok(())
    }

    /// Every partition to one member, as its index.
    fn share(&self, answer: &JoinGroupResponse) -> Vec<SyncGroupRequestAssignment> {
        let members = answer.members.len().max(1);
        let of = |nth: usize| {
            let tracks = (0..self.world.tracks.len()).filter(|at| at % members == nth);
            tracks.filter_map(|at| u8::try_from(at).ok()).collect::<Vec<u8>>()
        };
        let assignment =
            |(nth, member): (usize, &kafka_wire::messages::join_group::JoinGroupResponseMember)| {
                SyncGroupRequestAssignment {
                    member_id: member.member_id.clone(),
                    assignment: Bytes::from(of(nth)),
                }
            };
        answer.members.iter().enumerate().map(assignment).collect()
    }

    /// A partition has one owner in a generation, and generations do not go back.
    fn own(&self, tracks: &[usize]) -> Result<(), Broken> {
        let mut owners = lock(&self.world.owners);
        for at in tracks {
            if let Some((generation, member)) = owners.get(at)
                && *generation == self.generation
                && *member != self.id
            {
                let what =
                    format!("generation {generation} gives partition {at} to {member} and {}", self.id);
                return Err(Broken::Wrong(what));
            }
            let newer = owners.get(at).is_none_or(|(generation, _)| *generation <= self.generation);
            if newer {
                owners.insert(*at, (self.generation, self.id.clone()));
            }
        }
        Ok(())
    }

    fn consume(&mut self, link: &mut Link) -> Result<(), Broken> {
        let Some(which) = usize::try_from(self.chance.below(self.assigned.len() as u64)).ok() else {
            return Ok(());
        };
        let Some((at, next)) = self.assigned.get_mut(which) else { return Ok(()) };
        let Some(track) = self.world.tracks.get(*at) else { return Ok(()) };
        let fetched = reader::fetch(link, (*at, track), (*next).max(0), FETCH_WAIT_MS)?;
        if fetched.out_of_range {
            *next = fetched.start;
            return Ok(());
        }
        let line = lock(&track.line);
        for (offset, message) in &fetched.messages {
            line.read_again(*offset, *message).map_err(Broken::Wrong)?;
            *next = offset + 1;
        }
        Ok(())
    }

    fn commit(&mut self, link: &mut Link) -> Result<(), Broken> {
        let offsets: Vec<(usize, i64)> =
            self.assigned.iter().copied().filter(|(_, offset)| *offset >= 0).collect();
        let code = commit(self.world, link, (GROUP, self.generation, &self.id), &offsets)?;
        self.stays("a commit", code).map(|_| ())
    }
}

/// Commits offsets and remembers what was sent and acknowledged; returns the first error of the answer.
pub(crate) fn commit(
    world: &World,
    link: &mut Link,
    (group, generation, member): (&'static str, i32, &str),
    offsets: &[(usize, i64)],
) -> Result<i16, Broken> {
    let mut request = OffsetCommitRequest {
        group_id: group.to_owned(),
        generation_id_or_member_epoch: generation,
        member_id: member.to_owned(),
        ..Default::default()
    };
    for (at, offset) in offsets {
        let Some(track) = world.tracks.get(*at) else { continue };
        let partition = OffsetCommitRequestPartition {
            partition_index: track.partition,
            committed_offset: *offset,
            // The table of the broker grows by it, and is written anew the sooner.
            committed_metadata: Some("x".repeat(500)),
            ..Default::default()
        };
        request.topics.push(OffsetCommitRequestTopic {
            name: track.topic.to_owned(),
            partitions: vec![partition],
            ..Default::default()
        });
        let mut committed = lock(&world.committed);
        let committed = committed.entry((group, *at)).or_default();
        committed.sent = committed.sent.max(*offset);
    }
    let answer = link.call(&request, COMMIT_VERSION)?;
    let mut codes = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|found| found.error_code);
    if let Some(code) = codes.find(|code| *code != 0) {
        return Ok(code);
    }
    let mut known = lock(&world.committed);
    for (at, offset) in offsets {
        let committed = known.entry((group, *at)).or_default();
        committed.acknowledged = committed.acknowledged.max(*offset);
    }
    world.counts.commits.fetch_add(1, Ordering::Relaxed);
    Ok(0)
}
