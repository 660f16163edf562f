//! Groups of the new protocol (KIP-848): real clients, restarts, and what administrators are told.

use std::{collections::BTreeSet, time::Duration};

use kafka_wire::{
    ErrorCode,
    messages::{
        ApiVersionsRequest, ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest,
        ConsumerGroupHeartbeatResponse, DeleteGroupsRequest, DescribeGroupsRequest, JoinGroupRequest,
        ListGroupsRequest, MetadataRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
        join_group::JoinGroupRequestProtocol,
        metadata::MetadataRequestTopic,
        offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_delete::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
        offset_fetch::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    },
};
use rdkafka::{
    Message as _,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
};
use runtime::clock;
use uuid::Uuid;

use crate::support::{Broker, DEADLINE, Wire, payloads};

const GROUP: &str = "new";

async fn make_topic(broker: &Broker, name: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> = broker.client().create().unwrap();
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    admin.create_topics([&topic], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
}

fn beat(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        group_id: GROUP.to_owned(),
        member_id: member.to_owned(),
        member_epoch: epoch,
        ..Default::default()
    }
}

fn join(wire: &mut Wire, member: &str, topic: &str) -> ConsumerGroupHeartbeatResponse {
    let request = ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: 30_000,
        subscribed_topic_names: Some(vec![topic.to_owned()]),
        topic_partitions: Some(Vec::new()),
        ..beat(member, 0)
    };
    let answer = wire.call(&request, 1);
    assert_eq!(answer.error_code, 0, "{answer:?}");
    answer
}

fn topic_id(wire: &mut Wire, topic: &str) -> Uuid {
    let wanted = MetadataRequestTopic { name: Some(topic.to_owned()), ..Default::default() };
    wire.call(&MetadataRequest { topics: Some(vec![wanted]), ..Default::default() }, 12).topics[0].topic_id
}

fn commit(wire: &mut Wire, topic: Uuid, (member, epoch): (&str, i32), offset: i64) -> i16 {
    let partition = OffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
    let topic =
        OffsetCommitRequestTopic { topic_id: topic, partitions: vec![partition], ..Default::default() };
    let request = OffsetCommitRequest {
        group_id: GROUP.to_owned(),
        member_id: member.to_owned(),
        generation_id_or_member_epoch: epoch,
        topics: vec![topic],
        ..Default::default()
    };
    wire.call(&request, 10).topics[0].partitions[0].error_code
}

fn committed(wire: &mut Wire, topic: Uuid, (member, epoch): (&str, i32)) -> (i16, i64) {
    let topic =
        OffsetFetchRequestTopics { topic_id: topic, partition_indexes: vec![0], ..Default::default() };
    let group = OffsetFetchRequestGroup {
        group_id: GROUP.to_owned(),
        member_id: Some(member.to_owned()),
        member_epoch: epoch,
        topics: Some(vec![topic]),
    };
    let answer = wire.call(&OffsetFetchRequest { groups: vec![group], ..Default::default() }, 10);
    let group = &answer.groups[0];
    let found = group.topics.first().map(|topic| &topic.partitions[0]);
    (
        found.map_or(group.error_code, |partition| partition.error_code),
        found.map_or(-1, |partition| partition.committed_offset),
    )
}

/// Goal: after a kill the member goes on in its epoch with its partitions and offsets: a restart is no rebalance.
#[tokio::test]
async fn consumer_groups_survive() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    make_topic(&broker, "kept", 3).await;
    let mut wire = broker.connect();
    let id = topic_id(&mut wire, "kept");
    let joined = join(&mut wire, "m1", "kept");
    assert_eq!(joined.member_epoch, 1);
    assert_eq!(joined.assignment.as_ref().unwrap().topic_partitions[0].partitions, [0, 1, 2]);
    assert_eq!(commit(&mut wire, id, ("m1", 1), 42), 0);
    broker.kill();

    let broker = Broker::start(folder.path());
    let mut wire = broker.connect();
    let answer = wire.call(&beat("m1", 1), 1);
    assert_eq!(
        (answer.error_code, answer.member_epoch, &answer.assignment),
        (0, 1, &None),
        "nothing changed"
    );
    assert_eq!(committed(&mut wire, id, ("m1", 1)), (0, 42));
    assert_eq!(committed(&mut wire, id, ("m1", 2)), (ErrorCode::StaleMemberEpoch.code(), -1));
    assert_eq!(committed(&mut wire, Uuid::from_u128(7), ("m1", 1)).0, ErrorCode::UnknownTopicId.code());
    assert_eq!(commit(&mut wire, id, ("m1", 0), 43), ErrorCode::StaleMemberEpoch.code());
    assert_eq!(commit(&mut wire, id, ("m9", 1), 43), ErrorCode::UnknownMemberId.code());
    assert_eq!(wire.call(&beat("m1", 7), 1).error_code, ErrorCode::FencedMemberEpoch.code());
    assert_eq!(wire.call(&beat("m9", 1), 1).error_code, ErrorCode::UnknownMemberId.code());
    broker.stop();
}

/// Goal: each question about groups answers for the right kind; an empty group may change its kind, others not.
#[tokio::test]
async fn both_kinds_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    make_topic(&broker, "kinds", 1).await;
    let mut wire = broker.connect();
    let features = wire.call(&ApiVersionsRequest::default(), 4).finalized_features;
    assert!(
        features.iter().any(|it| it.name == "group.version" && it.max_version_level == 1),
        "{features:?}"
    );
    let id = topic_id(&mut wire, "kinds");
    let unknown = wire.call(&beat("m1", 1), 1);
    assert_eq!(unknown.error_code, ErrorCode::GroupIdNotFound.code());
    join(&mut wire, "m1", "kinds");
    assert_eq!(commit(&mut wire, id, ("m1", 1), 5), 0);

    let listed = wire.call(&ListGroupsRequest::default(), 5).groups;
    let facts = (listed[0].group_id.as_str(), listed[0].group_type.as_str(), listed[0].group_state.as_str());
    assert_eq!(facts, (GROUP, "consumer", "Stable"));
    let classic = ListGroupsRequest { types_filter: vec!["classic".to_owned()], ..Default::default() };
    assert_eq!(wire.call(&classic, 5).groups, []);
    let groups = vec![GROUP.to_owned()];
    let described =
        wire.call(&ConsumerGroupDescribeRequest { group_ids: groups.clone(), ..Default::default() }, 1);
    let group = &described.groups[0];
    assert_eq!((group.error_code, group.group_epoch, group.assignor_name.as_str()), (0, 1, "uniform"));
    assert_eq!(group.members[0].assignment.topic_partitions[0].topic_name, "kinds");
    let describe = DescribeGroupsRequest { groups: groups.clone(), ..Default::default() };
    assert_eq!(wire.call(&describe, 6).groups[0].error_code, ErrorCode::GroupIdNotFound.code());
    let old = &wire.call(&describe, 5).groups[0];
    assert_eq!((old.error_code, old.group_state.as_str()), (0, "Dead"));

    let classic_join = JoinGroupRequest {
        group_id: GROUP.to_owned(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".to_owned(), ..Default::default() }],
        ..Default::default()
    };
    let refused = wire.call(&classic_join, 7);
    assert_eq!(refused.error_code, ErrorCode::InconsistentGroupProtocol.code());
    let delete = DeleteGroupsRequest { groups_names: groups };
    assert_eq!(wire.call(&delete, 2).results[0].error_code, ErrorCode::NonEmptyGroup.code());
    let partition = OffsetDeleteRequestPartition { partition_index: 0 };
    let topic = OffsetDeleteRequestTopic { name: "kinds".to_owned(), partitions: vec![partition] };
    let offsets = OffsetDeleteRequest { group_id: GROUP.to_owned(), topics: vec![topic] };
    let in_use = wire.call(&offsets, 0);
    let code = in_use.topics[0].partitions[0].error_code;
    assert_eq!(code, ErrorCode::GroupSubscribedToTopic.code());

    assert_eq!(wire.call(&beat("m1", -1), 1).member_epoch, -1);
    let deleted = wire.call(&offsets, 0);
    assert_eq!((deleted.error_code, deleted.topics[0].partitions[0].error_code), (0, 0));
    assert_eq!(wire.call(&classic_join, 7).error_code, ErrorCode::MemberIdRequired.code());
    assert_eq!(wire.call(&classic_join, 3).error_code, 0, "the empty group is a classic one now");
    let refused = ConsumerGroupHeartbeatRequest {
        rebalance_timeout_ms: 1_000,
        subscribed_topic_names: Some(Vec::new()),
        topic_partitions: Some(Vec::new()),
        ..beat("m2", 0)
    };
    assert_eq!(wire.call(&refused, 1).error_code, ErrorCode::GroupIdNotFound.code());
    broker.stop();
}

fn member(broker: &Broker, topic: &str, instance: Option<&str>) -> BaseConsumer {
    let mut config = broker.client();
    config.set("group.id", GROUP).set("group.protocol", "consumer").set("auto.offset.reset", "earliest");
    if let Some(instance) = instance {
        config.set("group.instance.id", instance);
    }
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&[topic]).unwrap();
    consumer
}

fn poll_until(consumers: &[&BaseConsumer], what: &str, mut done: impl FnMut(Option<String>) -> bool) {
    let deadline = clock::now() + DEADLINE;
    while !done(None) {
        assert!(clock::now() < deadline, "waited in vain for {what}");
        for consumer in consumers {
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(20)) {
                consumer.commit_message(&message, CommitMode::Async).unwrap();
                done(Some(String::from_utf8(message.payload().unwrap().to_vec()).unwrap()));
            }
        }
    }
}

/// Goal: librdkafka with the new protocol shares partitions among members, by names and by pattern, follows a
/// topic that grows, goes on over a kill of the broker, and takes over from a member that left.
#[tokio::test]
async fn librdkafka_shares_with_the_new_protocol() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start_with(
        folder.path(),
        "group.consumer.min.heartbeat.interval.ms=300\ngroup.consumer.heartbeat.interval.ms=300\n\
         group.consumer.min.session.timeout.ms=10000\ngroup.consumer.session.timeout.ms=10000\n",
    );
    make_topic(&broker, "shared", 4).await;
    let (one, two) = (member(&broker, "shared", None), member(&broker, "^shar.*", Some("i")));
    let mut seen = BTreeSet::new();
    broker.produce(&broker.client(), "shared", &payloads(0..300)).await;
    poll_until(&[&one, &two], "all messages", |message| {
        seen.extend(message);
        seen.len() == 300
    });
    let share = |consumer: &BaseConsumer| consumer.assignment().unwrap().count();
    poll_until(&[&one, &two], "equal shares", |_| (share(&one), share(&two)) == (2, 2));
    let admin: AdminClient<DefaultClientContext> = broker.client().create().unwrap();
    let grown = rdkafka::admin::NewPartitions::new("shared", 6);
    admin.create_partitions([&grown], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    poll_until(&[&one, &two], "the new partitions", |_| (share(&one), share(&two)) == (3, 3));
    let port = broker.kafka.port();
    broker.kill();
    let broker = Broker::start_on(folder.path(), port);
    broker.produce(&broker.client(), "shared", &payloads(300..500)).await;
    poll_until(&[&one, &two], "what came after the kill", |message| {
        seen.extend(message);
        seen.len() == 500
    });
    assert_eq!((share(&one), share(&two)), (3, 3), "nobody lost its place");
    drop(one);
    poll_until(&[&two], "the partitions of the one who left", |_| share(&two) == 6);
    drop(two);
    broker.stop();
}
