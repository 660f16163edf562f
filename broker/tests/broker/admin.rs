//! What a tool asks of a cluster with one node: every answer as Apache Kafka with one node gives it.

use bytes::Bytes;
use kafka_wire::{
    ErrorCode,
    messages::{
        AlterConfigsRequest, AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest,
        ConsumerGroupHeartbeatRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
        DescribeLogDirsRequest, DescribeTopicPartitionsRequest, ElectLeadersRequest, FetchRequest,
        IncrementalAlterConfigsRequest, ListConfigResourcesRequest, ListOffsetsRequest,
        ListPartitionReassignmentsRequest, MetadataRequest, OffsetForLeaderEpochRequest, ProduceRequest,
        alter_configs,
        alter_partition_reassignments::{ReassignablePartition, ReassignableTopic},
        alter_replica_log_dirs::{AlterReplicaLogDir, AlterReplicaLogDirTopic},
        create_topics::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicResult},
        delete_topics::DeleteTopicState,
        describe_configs::{DescribeConfigsResource, DescribeConfigsResourceResult},
        describe_topic_partitions::{Cursor, TopicRequest},
        elect_leaders::TopicPartitions,
        incremental_alter_configs::{AlterConfigsResource, AlterableConfig},
        list_offsets::{ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsTopic},
        offset_for_leader_epoch::{OffsetForLeaderPartition, OffsetForLeaderTopic},
        produce::{PartitionProduceData, PartitionProduceResponse, TopicProduceData},
    },
    records::{BatchBuilder, Record},
};
use uuid::Uuid;

use crate::support::{Broker, Wire};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

fn create(wire: &mut Wire, topic: CreatableTopic) -> CreatableTopicResult {
    wire.call(&CreateTopicsRequest { topics: vec![topic], ..Default::default() }, 7).topics.remove(0)
}

fn named(name: &str, num_partitions: i32) -> CreatableTopic {
    CreatableTopic { name: name.to_owned(), num_partitions, replication_factor: 1, ..Default::default() }
}

fn produce(wire: &mut Wire, topic_id: Uuid) -> PartitionProduceResponse {
    let record = Record { value: Some(Bytes::from_static(b"x")), timestamp_ms: 1_000, ..Default::default() };
    let records = BatchBuilder::default().build(&[record]).unwrap();
    let data = PartitionProduceData { index: 0, records: Some(records) };
    let topic = TopicProduceData { topic_id, partition_data: vec![data], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 1_000, topic_data: vec![topic], ..Default::default() };
    let mut topic = wire.call(&request, 13).responses.remove(0);
    assert_eq!(topic.topic_id, topic_id);
    topic.partition_responses.remove(0)
}

/// Goal: Produce by id takes records of the topic with this id, and says so when it is not there any more.
#[test]
fn produce_by_id_knows_the_incarnation() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let wire = &mut broker.connect();
    let id = create(wire, named("one", 1)).topic_id;
    assert_eq!((produce(wire, id).error_code, produce(wire, id).base_offset), (0, 1));
    let gone = DeleteTopicState { name: None, topic_id: id };
    let both = DeleteTopicState { name: Some("one".to_owned()), topic_id: id };
    let neither = DeleteTopicState { name: None, topic_id: Uuid::nil() };
    let request = DeleteTopicsRequest { topics: vec![both, neither, gone], ..Default::default() };
    let codes: Vec<i16> = wire.call(&request, 6).responses.iter().map(|it| it.error_code).collect();
    let invalid = ErrorCode::InvalidRequest.code();
    assert_eq!(codes, [invalid, invalid, 0]);
    create(wire, named("one", 1));
    assert_eq!(produce(wire, id).error_code, ErrorCode::UnknownTopicId.code());
}

/// Goal: manual assignments are taken when they are of the one node and without a hole.
#[test]
fn manual_assignments_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let wire = &mut broker.connect();
    let mut manual = |indexes: &[i32], node: i32| {
        let assign = |partition_index: &i32| CreatableReplicaAssignment {
            partition_index: *partition_index,
            broker_ids: vec![node],
        };
        let assignments = indexes.iter().map(assign).collect();
        create(wire, CreatableTopic { assignments, replication_factor: -1, ..named("manual", -1) })
    };
    let wrong = ErrorCode::InvalidReplicaAssignment.code();
    assert_eq!(manual(&[0, 2], 0).error_code, wrong);
    assert_eq!(manual(&[0, 0], 0).error_code, wrong);
    assert_eq!(manual(&[0], 1).error_code, wrong);
    let made = manual(&[1, 0], 0);
    assert_eq!((made.error_code, made.num_partitions), (0, 2));
    assert!(made.configs.unwrap().iter().any(|config| config.name == "retention.ms"));
    let many = create(wire, CreatableTopic { replication_factor: 3, ..named("many", 1) });
    assert_eq!(many.error_code, ErrorCode::InvalidReplicationFactor.code());
}

/// Goal: what moves replicas and leaders between nodes is answered as a cluster of one node does.
#[test]
fn nothing_moves_on_one_node() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let wire = &mut broker.connect();
    create(wire, named("one", 1));
    let wanted = TopicPartitions { topic: "one".to_owned(), partitions: vec![0, 1] };
    let request = ElectLeadersRequest { topic_partitions: Some(vec![wanted]), ..Default::default() };
    let elected = wire.call(&request, 2).replica_election_results.remove(0).partition_result;
    let codes: Vec<i16> = elected.iter().map(|it| it.error_code).collect();
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!(codes, [ErrorCode::ElectionNotNeeded.code(), unknown]);
    let all = ElectLeadersRequest { topic_partitions: None, ..Default::default() };
    assert_eq!(wire.call(&all, 2), Default::default());

    let move_to = |partition_index: i32, replicas: Option<Vec<i32>>| ReassignablePartition {
        partition_index,
        replicas,
    };
    let partitions =
        vec![move_to(0, Some(vec![0])), move_to(0, Some(vec![1])), move_to(0, None), move_to(7, None)];
    let topics = vec![ReassignableTopic { name: "one".to_owned(), partitions }];
    let request = AlterPartitionReassignmentsRequest { topics, ..Default::default() };
    let answer = wire.call(&request, 1).responses.remove(0).partitions;
    let codes: Vec<i16> = answer.iter().map(|it| it.error_code).collect();
    let wrong = ErrorCode::InvalidReplicaAssignment.code();
    assert_eq!(codes, [0, wrong, ErrorCode::NoReassignmentInProgress.code(), unknown]);
    let request = ListPartitionReassignmentsRequest::default();
    assert!(wire.call(&request, 0).topics.is_empty());

    let dirs = wire.call(&DescribeLogDirsRequest { topics: None }, 5).results;
    assert!(dirs.len() == 1 && dirs[0].total_bytes > dirs[0].usable_bytes && dirs[0].usable_bytes > 0);
    let topics = vec![AlterReplicaLogDirTopic { name: "one".to_owned(), partitions: vec![0, 5] }];
    let here = AlterReplicaLogDir { path: dirs[0].log_dir.clone(), topics: topics.clone() };
    let there = AlterReplicaLogDir { path: "/elsewhere".to_owned(), topics };
    let answer = wire.call(&AlterReplicaLogDirsRequest { dirs: vec![here, there] }, 2).results;
    let codes: Vec<i16> = answer.iter().flat_map(|it| &it.partitions).map(|it| it.error_code).collect();
    let not_found = ErrorCode::LogDirNotFound.code();
    assert_eq!(codes, [0, ErrorCode::ReplicaNotAvailable.code(), not_found, not_found]);
}

/// Goal: pages of partitions come in order, none twice and none left out.
#[test]
fn topics_are_described_in_pages() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let wire = &mut broker.connect();
    for (name, partitions) in [("b", 3), ("a", 2), ("c", 1)] {
        create(wire, named(name, partitions));
    }
    let mut all = Vec::new();
    let mut cursor: Option<Cursor> = None;
    loop {
        let request =
            DescribeTopicPartitionsRequest { cursor, response_partition_limit: 2, ..Default::default() };
        let page = wire.call(&request, 0);
        let count: usize = page.topics.iter().map(|topic| topic.partitions.len()).sum();
        assert!((1..=2).contains(&count));
        for topic in page.topics {
            let name = topic.name.unwrap();
            all.extend(topic.partitions.iter().map(|it| (name.clone(), it.partition_index)));
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    let expected = [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2), ("c", 0)];
    assert_eq!(all, expected.map(|(name, index)| (name.to_owned(), index)));
    let topics = vec![TopicRequest { name: "none".to_owned() }];
    let none = wire.call(&DescribeTopicPartitionsRequest { topics, ..Default::default() }, 0);
    assert_eq!(none.topics[0].error_code, ErrorCode::UnknownTopicOrPartition.code());
}

fn describe(wire: &mut Wire, resource_type: i8, name: &str, config: &str) -> DescribeConfigsResourceResult {
    let resource = DescribeConfigsResource {
        resource_type,
        resource_name: name.to_owned(),
        configuration_keys: Some(vec![config.to_owned()]),
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: true,
    };
    let mut result = wire.call(&request, 4).results.remove(0);
    assert_eq!(result.error_code, 0, "{:?}", result.error_message);
    result.configs.pop().unwrap_or_default()
}

fn change(wire: &mut Wire, kind: i8, name: &str, config: (&str, i8, &str)) -> (i16, String) {
    let config = AlterableConfig {
        name: config.0.to_owned(),
        config_operation: config.1,
        value: Some(config.2.to_owned()),
    };
    let resource =
        AlterConfigsResource { resource_type: kind, resource_name: name.to_owned(), configs: vec![config] };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer = wire.call(&request, 1).responses.remove(0);
    (answer.error_code, answer.error_message.unwrap_or_default())
}

/// Goal: defaults that are changed for the node count for its topics, survive a restart, and go away again; what
/// cannot change while it runs is refused by name.
#[test]
fn the_brokers_configs_change_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let wire = &mut broker.connect();
    create(wire, named("one", 1));
    assert_eq!(change(wire, BROKER, "0", ("log.retention.ms", 0, "7000")).0, 0);
    assert_eq!(change(wire, BROKER, "", ("log.retention.ms", 0, "8000")).0, 0);
    let (code, text) = change(wire, BROKER, "0", ("num.partitions", 0, "7"));
    assert!(code == ErrorCode::InvalidRequest.code() && text.contains("settings file"), "{text}");
    assert_eq!(change(wire, BROKER, "3", ("log.retention.ms", 0, "1")).0, ErrorCode::InvalidRequest.code());
    assert_eq!(change(wire, BROKER, "0", ("log.retention.ms", 0, "x")).0, ErrorCode::InvalidConfig.code());
    assert_eq!(change(wire, BROKER, "0", ("sasl.kerberos.min.time.before.relogin", 0, "58000")).0, 0);
    drop(broker);
    let broker = Broker::start(folder.path());
    let wire = &mut broker.connect();
    let found = describe(wire, TOPIC, "one", "retention.ms");
    assert_eq!((found.value.as_deref(), found.config_source), (Some("7000"), 2));
    let names: Vec<(&str, i8)> = found.synonyms.iter().map(|it| (it.name.as_str(), it.source)).collect();
    assert_eq!(names, [("log.retention.ms", 2), ("log.retention.ms", 3), ("log.retention.ms", 5)]);
    assert_eq!(change(wire, BROKER, "0", ("log.retention.ms", 1, "")).0, 0);
    assert_eq!(describe(wire, TOPIC, "one", "retention.ms").value.as_deref(), Some("8000"));
    let listeners = describe(wire, BROKER, "0", "advertised.listeners");
    let expected = format!("PLAINTEXT://{}", broker.kafka);
    assert_eq!((listeners.value, listeners.read_only), (Some(expected), true));
}

/// Goal: a group has configs of its own within the broker's bounds; its members are told at once, also after a restart.
#[test]
fn a_group_has_its_own_configs() {
    let folder = tempfile::tempdir().unwrap();
    let settings =
        "group.consumer.max.session.timeout.ms=50000\ngroup.consumer.max.heartbeat.interval.ms=50000\n";
    let broker = Broker::start_with(folder.path(), settings);
    let wire = &mut broker.connect();
    let invalid = ErrorCode::InvalidConfig.code();
    let (session, heartbeat) = ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms");
    for (name, value) in [(session, "44999"), (session, "50001"), (session, "x"), (heartbeat, "45000")] {
        assert_eq!(change(wire, GROUP, "g", (name, 0, value)).0, invalid, "{name}={value}");
    }
    assert_eq!(change(wire, GROUP, "g", (session, 0, "50000")).0, 0);
    assert_eq!(change(wire, GROUP, "g", (heartbeat, 0, "45000")).0, 0, "it is less than the session by now");
    assert_eq!(change(wire, GROUP, "g", (session, 1, "")).0, invalid, "it would be no more");
    let told = describe(wire, GROUP, "g", session);
    assert_eq!((told.value.as_deref(), told.config_source), (Some("50000"), 8));
    assert_eq!(describe(wire, GROUP, "other", session).config_source, 5);
    let interval_ms = |wire: &mut Wire, group: &str| {
        let request = ConsumerGroupHeartbeatRequest {
            group_id: group.to_owned(),
            member_id: "m".to_owned(),
            rebalance_timeout_ms: 60_000,
            subscribed_topic_names: Some(vec!["one".to_owned()]),
            topic_partitions: Some(Vec::new()),
            ..Default::default()
        };
        wire.call(&request, 1).heartbeat_interval_ms
    };
    assert_eq!((interval_ms(wire, "g"), interval_ms(wire, "other")), (45_000, 5_000));
    broker.kill();
    let broker = Broker::start_on(folder.path(), 0);
    let wire = &mut broker.connect();
    assert_eq!(interval_ms(wire, "g"), 45_000);
    let listed = wire.call(&ListConfigResourcesRequest { resource_types: vec![GROUP] }, 1).config_resources;
    assert_eq!(listed.iter().map(|it| it.resource_name.as_str()).collect::<Vec<_>>(), ["g"]);
    assert_eq!(change(wire, GROUP, "g", (heartbeat, 1, "")).0, 0);
    assert_eq!(interval_ms(wire, "g"), 5_000);
}

/// Goal: what is no config of a group is refused with the reason, AlterConfigs replaces all of a resource, and all are listed.
#[test]
fn configs_of_groups_and_topics() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let wire = &mut broker.connect();
    create(wire, named("one", 1));
    let invalid = ErrorCode::InvalidConfig.code();
    let refused = change(wire, GROUP, "g", ("share.session.timeout.ms", 0, "50000"));
    assert_eq!(refused.0, invalid, "what has no effect is refused");
    assert_eq!(describe(wire, GROUP, "g", "consumer.session.timeout.ms").config_source, 5);
    assert_eq!(change(wire, TOPIC, "one", ("retention.ms", 2, "1")).0, invalid, "it is no list");
    assert_eq!(change(wire, TOPIC, "one", ("retention.ms", 0, "5000")).0, 0);
    let config =
        alter_configs::AlterableConfig { name: "segment.ms".to_owned(), value: Some("60000".to_owned()) };
    let resource = alter_configs::AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: "one".to_owned(),
        configs: vec![config],
    };
    let request = AlterConfigsRequest { resources: vec![resource.clone()], ..Default::default() };
    assert_eq!(wire.call(&request, 2).responses.remove(0).error_code, 0);
    assert_eq!(describe(wire, TOPIC, "one", "retention.ms").config_source, 5);
    assert_eq!(describe(wire, TOPIC, "one", "segment.ms").value.as_deref(), Some("60000"));
    let twice = AlterConfigsRequest { resources: vec![resource.clone(), resource], ..Default::default() };
    let codes: Vec<i16> = wire.call(&twice, 2).responses.iter().map(|it| it.error_code).collect();
    assert_eq!(codes, [ErrorCode::InvalidRequest.code(); 2]);
    let listed = wire.call(&ListConfigResourcesRequest::default(), 1).config_resources;
    let listed: Vec<(&str, i8)> =
        listed.iter().map(|it| (it.resource_name.as_str(), it.resource_type)).collect();
    assert_eq!(listed, [("one", TOPIC), ("0", BROKER), ("0", 8)]);
    let unknown = ListConfigResourcesRequest { resource_types: vec![99] };
    assert_eq!(wire.call(&unknown, 1).error_code, ErrorCode::UnsupportedVersion.code());
}

fn end_of_epoch(wire: &mut Wire, leader_epoch: i32) -> (i32, i64) {
    let partition = OffsetForLeaderPartition { leader_epoch, ..Default::default() };
    let topic = OffsetForLeaderTopic { topic: "one".to_owned(), partitions: vec![partition] };
    let request = OffsetForLeaderEpochRequest { topics: vec![topic], replica_id: -1 };
    let found = wire.call(&request, 4).topics.remove(0).partitions.remove(0);
    assert_eq!(found.error_code, 0);
    (found.leader_epoch, found.end_offset)
}

fn offset_at(wire: &mut Wire, timestamp: i64, version: i16) -> ListOffsetsPartitionResponse {
    let partition = ListOffsetsPartition { timestamp, ..Default::default() };
    let topic = ListOffsetsTopic { name: "one".to_owned(), partitions: vec![partition] };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    wire.call(&request, version).topics.remove(0).partitions.remove(0)
}

/// Goal: each run is an epoch that ends where the next one wrote first, and offsets tell their epoch.
#[test]
fn epochs_end_where_the_next_run_began() {
    let folder = tempfile::tempdir().unwrap();
    let mut id = Uuid::nil();
    // Runs 0, 1, 2, 3, 4 write 3, 0, 2, 0, 1 records.
    for (run, records) in [3, 0, 2, 0, 1].into_iter().enumerate() {
        let broker = Broker::start(folder.path());
        let wire = &mut broker.connect();
        if run == 0 {
            id = create(wire, named("one", 1)).topic_id;
        }
        for _ in 0..records {
            assert_eq!(produce(wire, id).error_code, 0);
        }
        if run == 4 {
            let ends: Vec<(i32, i64)> = (0..7).map(|epoch| end_of_epoch(wire, epoch)).collect();
            assert_eq!(ends, [(0, 3), (0, 3), (2, 5), (2, 5), (4, 6), (-1, -1), (-1, -1)]);
            let (first, last) = (offset_at(wire, -2, 11), offset_at(wire, -1, 11));
            assert_eq!((first.offset, first.leader_epoch, last.offset, last.leader_epoch), (0, 0, 6, 4));
            let timed = offset_at(wire, 1_000, 11);
            assert_eq!((timed.offset, timed.leader_epoch), (0, 0));
            assert_eq!((offset_at(wire, -4, 8).offset, offset_at(wire, -4, 7).error_code), (0, 35));
            for tiered in [-5, -6] {
                let none = offset_at(wire, tiered, 11);
                assert_eq!((none.error_code, none.offset, none.leader_epoch), (0, -1, -1));
            }
            assert_eq!(offset_at(wire, -6, 10).error_code, ErrorCode::UnsupportedVersion.code());
        }
        broker.stop();
    }
}

/// Goal: a session is never given, and who believes to have one is told to begin anew.
#[test]
fn fetch_sessions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let wire = &mut broker.connect();
    let mut fetch = |session_id: i32, session_epoch: i32, version: i16| {
        let request = FetchRequest { session_id, session_epoch, ..Default::default() };
        let answer = wire.call(&request, version);
        (answer.session_id, answer.error_code)
    };
    let unknown = ErrorCode::FetchSessionIdNotFound.code();
    for version in [7, 12, 17, 18] {
        assert_eq!(fetch(0, 0, version), (0, 0));
        assert_eq!(fetch(0, -1, version), (0, 0));
        assert_eq!(fetch(5, -1, version), (0, 0));
        assert_eq!(fetch(5, 3, version), (0, unknown));
    }
    let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    assert!(wire.call(&request, 13).topics.is_empty());
}
