//! What a restart keeps: ids, offsets, groups with generation and members, sequence numbers.

use bytes::Bytes;
use kafka_wire::{
    ErrorCode,
    messages::{
        CreateTopicsRequest, FindCoordinatorRequest, HeartbeatRequest, InitProducerIdRequest,
        JoinGroupRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest, OffsetFetchRequest,
        ProduceRequest, SyncGroupRequest,
        create_topics::CreatableTopic,
        join_group::JoinGroupRequestProtocol,
        list_offsets::{ListOffsetsPartition, ListOffsetsTopic},
        metadata::MetadataRequestTopic,
        offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch::OffsetFetchRequestTopic,
        produce::{PartitionProduceData, PartitionProduceResponse, TopicProduceData},
        sync_group::SyncGroupRequestAssignment,
    },
    records::{BatchBuilder, Record},
};

use crate::support::{Broker, Wire};

impl Broker {
    /// The offset behind the last record of partition 0.
    pub(crate) fn end_of(&self, topic: &str) -> i64 {
        let partition = ListOffsetsPartition { timestamp: -1, ..Default::default() };
        let topic = ListOffsetsTopic { name: topic.to_owned(), partitions: vec![partition] };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        self.connect().call(&request, 5).topics[0].partitions[0].offset
    }
}

/// A topic with two partitions.
pub(crate) fn create(wire: &mut Wire, name: &str) {
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: 2,
        replication_factor: 1,
        ..Default::default()
    };
    let made = wire.call(&CreateTopicsRequest { topics: vec![topic], ..Default::default() }, 7);
    assert_eq!(made.topics[0].error_code, 0, "{made:?}");
}

/// Cluster id, topic id and leader epoch.
fn identity(wire: &mut Wire, topic: &str) -> (String, uuid::Uuid, i32) {
    let wanted = MetadataRequestTopic { name: Some(topic.to_owned()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![wanted]), ..Default::default() };
    let answer = wire.call(&request, 12);
    let topic = &answer.topics[0];
    (answer.cluster_id.unwrap(), topic.topic_id, topic.partitions[0].leader_epoch)
}

fn produce(wire: &mut Wire, producer_id: i64, base_sequence: i32, count: i32) -> PartitionProduceResponse {
    let record = |number: i32| Record {
        value: Some(Bytes::from(format!("{number}"))),
        timestamp_ms: runtime::clock::unix_ms(),
        ..Default::default()
    };
    let records: Vec<Record> = (0..count).map(record).collect();
    let builder = BatchBuilder { producer_id, producer_epoch: 0, base_sequence, ..BatchBuilder::default() };
    let data = PartitionProduceData { index: 0, records: Some(builder.build(&records).unwrap()) };
    let topic =
        TopicProduceData { name: "kept".to_owned(), partition_data: vec![data], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 1_000, topic_data: vec![topic], ..Default::default() };
    wire.call(&request, 9).responses.remove(0).partition_responses.remove(0)
}

/// Goal: cluster id and topic ids stay, the leader epoch grows, after a kill and after a clean stop.
#[test]
fn ids_stay_and_epochs_grow() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    create(&mut broker.connect(), "kept");
    let first = identity(&mut broker.connect(), "kept");
    broker.kill();
    let broker = Broker::start(folder.path());
    let second = identity(&mut broker.connect(), "kept");
    broker.stop();
    let broker = Broker::start(folder.path());
    let third = identity(&mut broker.connect(), "kept");
    assert_eq!((&first.0, first.1), (&second.0, second.1));
    assert_eq!((&first.0, first.1), (&third.0, third.1));
    assert!(first.2 < second.2 && second.2 < third.2, "{first:?} {second:?} {third:?}");
}

/// Goal: a batch that is sent again after a kill keeps its offset, a gap is refused, ids are never given twice.
#[test]
fn sequence_numbers_survive() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut wire = broker.connect();
    create(&mut wire, "kept");
    let new_id = |wire: &mut Wire| {
        let request = InitProducerIdRequest { transactional_id: None, ..Default::default() };
        wire.call(&request, 4).producer_id
    };
    let id = new_id(&mut wire);
    assert_eq!(produce(&mut wire, id, 0, 3).base_offset, 0);
    assert_eq!(produce(&mut wire, id, 3, 2).base_offset, 3);
    broker.kill();
    let broker = Broker::start(folder.path());
    let mut wire = broker.connect();
    let again = produce(&mut wire, id, 3, 2);
    assert_eq!((again.error_code, again.base_offset), (0, 3), "a repeat has its first offset");
    let gap = produce(&mut wire, id, 9, 1);
    assert_eq!(gap.error_code, ErrorCode::OutOfOrderSequenceNumber.code());
    assert_eq!(gap.base_offset, -1, "never an offset with an error");
    assert_eq!(produce(&mut wire, id, 5, 1).base_offset, 5);
    assert_ne!(new_id(&mut wire), id);
    broker.stop();
    let broker = Broker::start(folder.path());
    assert_eq!(produce(&mut broker.connect(), id, 5, 1).base_offset, 5);
    assert_eq!(broker.end_of("kept"), 6);
}

fn join(wire: &mut Wire, member: &str) -> (i16, String, i32) {
    let request = JoinGroupRequest {
        group_id: "group".to_owned(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        member_id: member.to_owned(),
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".to_owned(), metadata: Bytes::new() }],
        ..Default::default()
    };
    let answer = wire.call(&request, 7);
    (answer.error_code, answer.member_id, answer.generation_id)
}

/// Goal: a restart is no rebalance: the member goes on in its generation, and its offsets are there.
#[test]
fn groups_and_offsets_survive() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut wire = broker.connect();
    create(&mut wire, "kept");
    let found = wire.call(&FindCoordinatorRequest { key: "group".to_owned(), ..Default::default() }, 2);
    assert_eq!((found.error_code, found.port), (0, i32::from(broker.kafka.port())));
    let (code, member, _) = join(&mut wire, "");
    assert_eq!(code, ErrorCode::MemberIdRequired.code());
    let (code, member, generation) = join(&mut wire, &member);
    assert_eq!((code, generation), (0, 1));
    let sync = SyncGroupRequest {
        group_id: "group".to_owned(),
        generation_id: generation,
        member_id: member.clone(),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: member.clone(),
            assignment: Bytes::from_static(b"all"),
        }],
        ..Default::default()
    };
    assert_eq!(wire.call(&sync, 3).assignment, "all");
    let partition = OffsetCommitRequestPartition { committed_offset: 42, ..Default::default() };
    let topic = OffsetCommitRequestTopic {
        name: "kept".to_owned(),
        partitions: vec![partition],
        ..Default::default()
    };
    let commit = OffsetCommitRequest {
        group_id: "group".to_owned(),
        generation_id_or_member_epoch: generation,
        member_id: member.clone(),
        topics: vec![topic],
        ..Default::default()
    };
    assert_eq!(wire.call(&commit, 7).topics[0].partitions[0].error_code, 0);
    broker.kill();

    let broker = Broker::start(folder.path());
    let mut wire = broker.connect();
    let beat = HeartbeatRequest {
        group_id: "group".to_owned(),
        generation_id: generation,
        member_id: member.clone(),
        ..Default::default()
    };
    assert_eq!(wire.call(&beat, 3).error_code, 0, "the generation goes on");
    let again = SyncGroupRequest { assignments: Vec::new(), ..sync };
    assert_eq!(wire.call(&again, 3).assignment, "all");
    let wanted = OffsetFetchRequestTopic { name: "kept".to_owned(), partition_indexes: vec![0, 1] };
    let fetch =
        OffsetFetchRequest { group_id: "group".to_owned(), topics: Some(vec![wanted]), ..Default::default() };
    let answer = wire.call(&fetch, 5);
    let offsets: Vec<i64> = answer.topics[0].partitions.iter().map(|it| it.committed_offset).collect();
    assert_eq!(offsets, [42, -1]);
    let stale = HeartbeatRequest { generation_id: generation + 1, ..beat };
    assert_eq!(wire.call(&stale, 3).error_code, ErrorCode::IllegalGeneration.code());
    broker.stop();
}
