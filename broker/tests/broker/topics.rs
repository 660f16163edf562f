//! Topics: made, configured, looked up by time, shortened, deleted, made again.

use std::time::Duration;

use bytes::Bytes;
use kafka_wire::{
    ErrorCode,
    messages::{
        CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
        DescribeConfigsRequest, FetchRequest, FetchResponse, IncrementalAlterConfigsRequest,
        ListOffsetsRequest, MetadataRequest, ProduceRequest,
        create_partitions::CreatePartitionsTopic,
        create_topics::{CreatableTopic, CreatableTopicConfig},
        delete_records::{DeleteRecordsPartition, DeleteRecordsTopic},
        describe_configs::DescribeConfigsResource,
        fetch::{FetchPartition, FetchTopic, PartitionData},
        incremental_alter_configs::{AlterConfigsResource, AlterableConfig},
        list_offsets::{ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsTopic},
        metadata::MetadataRequestTopic,
        produce::{PartitionProduceData, PartitionProduceResponse, TopicProduceData},
    },
    records::{BatchBuilder, Codec, Record},
};
use uuid::Uuid;

use crate::support::{Broker, Wire, wait_for};

const TOPIC: i8 = 2;

fn create(wire: &mut Wire, name: &str, configs: &[(&str, &str)]) -> (i16, String, Uuid) {
    let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
    });
    let topic = CreatableTopic {
        name: name.to_owned(),
        num_partitions: 1,
        replication_factor: -1,
        configs: configs.collect(),
        ..Default::default()
    };
    let mut made = wire.call(&CreateTopicsRequest { topics: vec![topic], ..Default::default() }, 7);
    let made = made.topics.remove(0);
    (made.error_code, made.error_message.unwrap_or_default(), made.topic_id)
}

fn batch(times: &[i64], codec: Codec) -> Bytes {
    let record = |timestamp_ms: &i64| Record {
        value: Some(Bytes::from_static(b"x")),
        timestamp_ms: *timestamp_ms,
        ..Default::default()
    };
    let records: Vec<Record> = times.iter().map(record).collect();
    BatchBuilder { codec, ..BatchBuilder::default() }.build(&records).unwrap()
}

fn produce(wire: &mut Wire, topic: &str, records: Bytes) -> PartitionProduceResponse {
    let data = PartitionProduceData { index: 0, records: Some(records) };
    let topic = TopicProduceData { name: topic.to_owned(), partition_data: vec![data], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 1_000, topic_data: vec![topic], ..Default::default() };
    wire.call(&request, 9).responses.remove(0).partition_responses.remove(0)
}

fn fetch_request(topic: &str, topic_id: Uuid, offset: i64, max_wait_ms: i32) -> FetchRequest {
    let partition =
        FetchPartition { fetch_offset: offset, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: topic.to_owned(), topic_id, partitions: vec![partition] };
    FetchRequest { max_wait_ms, min_bytes: 1, topics: vec![topic], ..Default::default() }
}

fn only(mut response: FetchResponse) -> PartitionData {
    assert_eq!(response.session_id, 0, "no fetch sessions");
    response.responses.remove(0).partitions.remove(0)
}

fn offset_at(wire: &mut Wire, topic: &str, timestamp: i64) -> ListOffsetsPartitionResponse {
    let partition = ListOffsetsPartition { timestamp, ..Default::default() };
    let topic = ListOffsetsTopic { name: topic.to_owned(), partitions: vec![partition] };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    wire.call(&request, 7).topics.remove(0).partitions.remove(0)
}

/// Goal: what cannot be kept is refused with the config's name and what it may be.
#[test]
fn configs_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let wire = &mut broker.connect();
    let invalid = ErrorCode::InvalidConfig.code();
    for (name, value) in [("no.such", "1"), ("retention.ms", "long"), ("cleanup.policy", "compress")] {
        let (code, message, _) = create(wire, "refused", &[(name, value)]);
        assert!(code == invalid && message.contains(name), "{code} {message}");
    }
    assert_eq!(create(wire, "bad name", &[]).0, ErrorCode::InvalidTopicException.code());
    assert_eq!(create(wire, "good", &[("retention.ms", "5000")]).0, 0);
    assert_eq!(create(wire, "good", &[]).0, ErrorCode::TopicAlreadyExists.code());

    let change = |name: &str, value: &str| AlterableConfig {
        name: name.to_owned(),
        config_operation: 0,
        value: Some(value.to_owned()),
    };
    let alter = |config: AlterableConfig| {
        let resource = AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: "good".to_owned(),
            configs: vec![config],
        };
        let request = IncrementalAlterConfigsRequest { resources: vec![resource], ..Default::default() };
        broker.connect().call(&request, 1).responses.remove(0)
    };
    assert_eq!(alter(change("segment.bytes", "100")).error_code, invalid);
    assert_eq!(alter(change("max.message.bytes", "100")).error_code, 0);
    let describe = |broker: &Broker| {
        let resource = DescribeConfigsResource {
            resource_type: TOPIC,
            resource_name: "good".to_owned(),
            configuration_keys: Some(vec!["max.message.bytes".to_owned(), "retention.ms".to_owned()]),
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let configs = broker.connect().call(&request, 4).results.remove(0).configs;
        configs.into_iter().map(|it| (it.value.unwrap(), it.config_source)).collect::<Vec<_>>()
    };
    let expected = [("100".to_owned(), 1), ("5000".to_owned(), 1)];
    assert_eq!(describe(&broker), expected);
    broker.kill();
    let broker = Broker::start(folder.path());
    assert_eq!(describe(&broker), expected, "kept over a kill");
    let now_ms = runtime::clock::unix_ms();
    let large = produce(&mut broker.connect(), "good", batch(&[now_ms; 50], Codec::None));
    assert_eq!(large.error_code, ErrorCode::MessageTooLarge.code());
}

/// Goal: an id belongs to one life of a topic: made again under the same name it is another, empty topic, and the
/// old id gives an error and no data.
#[test]
fn a_topic_made_again_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let wire = &mut broker.connect();
    let (_, _, first) = create(wire, "again", &[]);
    let now_ms = runtime::clock::unix_ms();
    assert_eq!(produce(wire, "again", batch(&[now_ms; 3], Codec::None)).base_offset, 0);
    let request = DeleteTopicsRequest { topic_names: vec!["again".to_owned()], ..Default::default() };
    assert_eq!(wire.call(&request, 5).responses[0].error_code, 0);
    let (_, _, second) = create(wire, "again", &[]);
    assert_ne!(first, second);
    let old = only(wire.call(&fetch_request("", first, 0, 0), 13));
    assert_eq!(old.error_code, ErrorCode::UnknownTopicId.code());
    let new = only(wire.call(&fetch_request("", second, 0, 0), 13));
    assert_eq!((new.error_code, new.high_watermark), (0, 0));
    let name = MetadataRequestTopic { name: Some("again".to_owned()), ..Default::default() };
    let metadata = wire.call(&MetadataRequest { topics: Some(vec![name]), ..Default::default() }, 12);
    assert_eq!(metadata.topics[0].topic_id, second);
}

/// Goal: a fetch that finds nothing waits, and is answered when a record comes.
#[test]
fn a_fetch_waits_for_records() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    create(&mut broker.connect(), "waited", &[]);
    let kafka = &broker;
    let fetched = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let request = fetch_request("waited", Uuid::nil(), 0, 60_000);
            only(kafka.connect().call(&request, 11))
        });
        let now_ms = runtime::clock::unix_ms();
        assert_eq!(produce(&mut kafka.connect(), "waited", batch(&[now_ms; 2], Codec::Lz4)).base_offset, 0);
        waiting.join().unwrap()
    });
    assert_eq!((fetched.error_code, fetched.high_watermark), (0, 2));
    assert!(!fetched.records.unwrap().is_empty());
}

/// Goal: a stop does not wait for fetches that wait for records: they are answered.
#[test]
fn a_stop_answers_those_who_wait() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    create(&mut broker.connect(), "waited", &[]);
    let mut wire = broker.connect();
    let mut other = broker.connect();
    let waiting = std::thread::Builder::new();
    let waiting =
        waiting.spawn(move || only(wire.call(&fetch_request("waited", Uuid::nil(), 0, 290_000), 11)));
    // Once this is answered the fetch, which was sent before, is most likely under way.
    assert_eq!(offset_at(&mut other, "waited", -1).offset, 0);
    std::thread::park_timeout(Duration::from_millis(300));
    broker.stop();
    assert_eq!(waiting.unwrap().join().unwrap().error_code, 0);
}

/// Goal: the offset of a time is that of the first record at or after it, inside of compressed batches too.
#[test]
fn offsets_by_time() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let wire = &mut broker.connect();
    create(wire, "timed", &[]);
    let base = runtime::clock::unix_ms() - 100_000;
    assert_eq!(offset_at(wire, "timed", base).offset, -1);
    for (number, codec) in [Codec::None, Codec::Gzip, Codec::Lz4].into_iter().enumerate() {
        let start = base + i64::try_from(number).unwrap() * 1_000;
        assert_eq!(produce(wire, "timed", batch(&[start, start + 300, start + 600], codec)).error_code, 0);
    }
    for (time, offset, found) in
        [(0, 0, 0), (300, 1, 300), (301, 2, 600), (1_100, 4, 1_300), (2_600, 8, 2_600)]
    {
        let answer = offset_at(wire, "timed", base + time);
        assert_eq!((answer.offset, answer.timestamp), (offset, base + found), "time {time}");
    }
    assert_eq!(offset_at(wire, "timed", base + 2_601).offset, -1);
    assert_eq!(offset_at(wire, "timed", -3).offset, 8, "the newest");
    assert_eq!(offset_at(wire, "timed", -2).offset, 0);
    assert_eq!(offset_at(wire, "timed", -1).offset, 9);
}

/// Goal: deleted records are gone for readers, after a kill too, and offsets go on; partitions only grow.
#[test]
fn records_are_deleted_and_partitions_grow() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let wire = &mut broker.connect();
    create(wire, "cut", &[]);
    let now_ms = runtime::clock::unix_ms();
    for _ in 0..5 {
        produce(wire, "cut", batch(&[now_ms; 10], Codec::None));
    }
    let partition = DeleteRecordsPartition { partition_index: 0, offset: 25 };
    let topic = DeleteRecordsTopic { name: "cut".to_owned(), partitions: vec![partition] };
    let request = DeleteRecordsRequest { topics: vec![topic], ..Default::default() };
    assert_eq!(wire.call(&request, 2).topics[0].partitions[0].low_watermark, 25);
    let grow = |count: i32| {
        let topic = CreatePartitionsTopic { name: "cut".to_owned(), count, assignments: None };
        let request = CreatePartitionsRequest { topics: vec![topic], ..Default::default() };
        broker.connect().call(&request, 3).results[0].error_code
    };
    assert_eq!(grow(3), 0);
    assert_eq!(grow(2), ErrorCode::InvalidPartitions.code());
    broker.kill();
    let broker = Broker::start(folder.path());
    let wire = &mut broker.connect();
    let below = only(wire.call(&fetch_request("cut", Uuid::nil(), 24, 0), 11));
    assert_eq!(below.error_code, ErrorCode::OffsetOutOfRange.code());
    assert_eq!(only(wire.call(&fetch_request("cut", Uuid::nil(), 25, 0), 11)).log_start_offset, 25);
    assert_eq!(produce(wire, "cut", batch(&[now_ms], Codec::None)).base_offset, 50);
}

/// Goal: retention lets go of old segments while the broker runs.
#[test]
fn retention_lets_go() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("settings");
    std::fs::write(&settings, "log.retention.check.interval.ms=200\n").unwrap();
    let mut command = crate::support::command(folder.path());
    command.args(["--listen", "127.0.0.1:0", "--config"]).arg(&settings);
    let broker = Broker::run(command, folder.path());
    let wire = &mut broker.connect();
    create(wire, "short", &[("retention.ms", "1000"), ("segment.bytes", "16384")]);
    let old_ms = runtime::clock::unix_ms() - 60_000;
    for _ in 0..10 {
        assert_eq!(produce(wire, "short", batch(&[old_ms; 300], Codec::None)).error_code, 0);
    }
    wait_for("retention", || (offset_at(wire, "short", -2).offset == 3_000).then_some(()));
    assert_eq!(offset_at(wire, "short", -1).offset, 3_000);
}

/// Goal: a flipped bit in synced records makes the partition read-only with its reason, keeps the bytes, and
/// leaves the records before it and all other partitions in use.
#[test]
fn damage_makes_a_partition_read_only() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let wire = &mut broker.connect();
    let (_, _, id) = create(wire, "hurt", &[]);
    create(wire, "well", &[]);
    let now_ms = runtime::clock::unix_ms();
    for _ in 0..5 {
        produce(wire, "hurt", batch(&[now_ms; 10], Codec::None));
    }
    broker.stop();
    let file = folder.path().join(format!("data/topics/{}/0/{:020}.log", id.simple(), 0));
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = 4096 + (bytes.len() - 4096) / 2;
    bytes[middle] ^= 4;
    std::fs::write(&file, &bytes).unwrap();
    let broker = Broker::start(folder.path());
    let wire = &mut broker.connect();
    let first = only(wire.call(&fetch_request("hurt", Uuid::nil(), 0, 0), 11));
    assert_eq!(first.error_code, 0);
    let hurt = only(wire.call(&fetch_request("hurt", Uuid::nil(), 20, 0), 11));
    assert_eq!(hurt.error_code, ErrorCode::CorruptMessage.code());
    let refused = produce(wire, "hurt", batch(&[now_ms], Codec::None));
    assert_eq!(refused.error_code, ErrorCode::KafkaStorageError.code());
    assert!(refused.error_message.unwrap().contains("damaged at position"));
    let behind = only(wire.call(&fetch_request("hurt", Uuid::nil(), 30, 0), 11));
    assert_eq!((behind.error_code, behind.high_watermark), (0, 50));
    assert_eq!(produce(wire, "well", batch(&[now_ms], Codec::None)).error_code, 0);
    assert_eq!(std::fs::read(&file).unwrap(), bytes, "every byte is kept");
}
