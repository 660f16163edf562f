//! Compacted topics, with a real client and over kills: the newest value of each key is there, the rest goes, and
//! every reader gets to the end.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use kafka_wire::{
    ErrorCode,
    messages::{
        CreateTopicsRequest, DeleteRecordsRequest, ProduceRequest,
        create_topics::{CreatableTopic, CreatableTopicConfig},
        delete_records::{DeleteRecordsPartition, DeleteRecordsTopic},
        produce::{PartitionProduceData, PartitionProduceResponse, TopicProduceData},
    },
    records::{BatchBuilder, Codec, Record},
};
use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    producer::{FutureProducer, FutureRecord},
};

use crate::support::{Broker, DEADLINE, Wire, wait_for};

const TOPIC: &str = "prices";
const SETTINGS: &str = "log.cleaner.backoff.ms=20";

fn create(wire: &mut Wire, configs: &[(&str, &str)]) -> i16 {
    let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
    });
    let topic = CreatableTopic {
        name: TOPIC.to_owned(),
        num_partitions: 1,
        replication_factor: -1,
        configs: configs.collect(),
        ..Default::default()
    };
    let made = wire.call(&CreateTopicsRequest { topics: vec![topic], ..Default::default() }, 7);
    made.topics[0].error_code
}

/// All that a client reads up to the end of the partition, which it gets to.
fn read(broker: &Broker) -> Vec<(i64, String, Option<String>)> {
    let mut config = broker.client();
    let consumer: BaseConsumer =
        config.set("group.id", "reader").set("enable.partition.eof", "true").create().unwrap();
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(TOPIC, 0, Offset::Beginning).unwrap();
    consumer.assign(&from).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut all = Vec::new();
    wait_for("the end of the partition", || match consumer.poll(Duration::from_millis(200)) {
        Some(Ok(message)) => {
            all.push((message.offset(), text(message.key().unwrap()), message.payload().map(text)));
            None
        }
        Some(Err(KafkaError::PartitionEOF(_))) => Some(()),
        Some(Err(error)) => panic!("{error}"),
        None => None,
    });
    all
}

async fn write(broker: &Broker, codec: &str, records: &[(String, Option<String>)]) {
    let producer: FutureProducer =
        broker.client().set("compression.type", codec).set("enable.idempotence", "true").create().unwrap();
    let sent = records.iter().map(|(key, value)| {
        let record = FutureRecord::<String, String>::to(TOPIC).key(key);
        let record = if let Some(value) = value { record.payload(value) } else { record };
        producer.send_result(record).unwrap()
    });
    for delivery in sent.collect::<Vec<_>>() {
        tokio::time::timeout(DEADLINE, delivery).await.unwrap().unwrap().unwrap();
    }
}

/// The records of a round: values of twenty keys, and a tombstone for every fifth of them at the end.
fn round(number: usize) -> Vec<(String, Option<String>)> {
    let value =
        |turn: usize| (format!("key {}", turn % 20), Some(format!("{number}-{turn}-{}", "x".repeat(100))));
    let tombstones = (0..20).step_by(5).map(|key| (format!("key {key}"), None));
    (0..400).map(value).chain(tombstones).collect()
}

/// Goal: of each key the newest value is read at its offset, older ones go, and tombstones go after their time; while
/// the broker is killed again and again, with several codecs, to the end of the partition.
#[tokio::test]
async fn the_newest_value_of_each_key_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::start_with(folder.path(), SETTINGS);
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "16384"),
        ("segment.ms", "50"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("delete.retention.ms", "100"),
    ];
    assert_eq!(create(&mut broker.connect(), &configs), 0);
    let mut newest = BTreeMap::new();
    for (number, codec) in ["none", "gzip", "snappy", "lz4"].into_iter().enumerate() {
        let records = round(number);
        write(&broker, codec, &records).await;
        newest.extend(records);
        broker.kill();
        broker = Broker::start_on(folder.path(), 0);
        let found = read(&broker);
        assert!(found.is_sorted_by_key(|it| it.0));
        let last: BTreeMap<String, Option<String>> =
            found.into_iter().map(|(_, key, value)| (key, value)).collect();
        for (key, value) in &newest {
            // A tombstone may be gone already, and then no value of its key is left.
            assert_eq!(last.get(key).cloned().flatten(), *value, "{key} after {codec}");
        }
    }
    let values: Vec<(String, Option<String>)> =
        newest.into_iter().filter(|(_, value)| value.is_some()).collect();
    wait_for("nothing but the newest values", || {
        let mut found: Vec<_> = read(&broker).into_iter().map(|(_, key, value)| (key, value)).collect();
        found.sort();
        (found == values).then_some(())
    });
    broker.stop();
    let broker = Broker::start_on(folder.path(), 0);
    assert_eq!(read(&broker).len(), values.len());
}

fn produce(wire: &mut Wire, version: i16, records: Bytes) -> PartitionProduceResponse {
    let data = PartitionProduceData { index: 0, records: Some(records) };
    let topic = TopicProduceData { name: TOPIC.to_owned(), partition_data: vec![data], ..Default::default() };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 1_000, topic_data: vec![topic], ..Default::default() };
    wire.call(&request, version).responses.remove(0).partition_responses.remove(0)
}

/// Goal: in a compacted topic a record without a key is refused by its number, with the rest of its batch; deleting
/// the beginning is against the policy; policies that do not exist are refused.
#[test]
fn a_compacted_topic_asks_for_keys() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut wire = broker.connect();
    assert_eq!(create(&mut wire, &[("cleanup.policy", "compress")]), ErrorCode::InvalidConfig.code());
    assert_eq!(create(&mut wire, &[("cleanup.policy", "compact")]), 0);
    let record = |key: Option<&'static str>| Record { key: key.map(Bytes::from), ..Default::default() };
    let builder = BatchBuilder { codec: Codec::Lz4, ..Default::default() };
    let mixed = builder.build(&[record(Some("a")), record(None)]).unwrap();
    let refused = produce(&mut wire, 9, mixed.clone());
    assert_eq!(refused.error_code, ErrorCode::InvalidRecord.code());
    let numbers: Vec<i32> = refused.record_errors.iter().map(|error| error.batch_index).collect();
    assert_eq!(numbers, [1]);
    assert!(refused.error_message.unwrap().contains("key"));
    let old = produce(&mut wire, 7, mixed);
    assert_eq!(old.error_code, ErrorCode::InvalidRecord.code(), "an old version has no room for numbers");
    assert_eq!(produce(&mut wire, 9, builder.build(&[record(Some("a"))]).unwrap()).base_offset, 0);
    let partitions = vec![DeleteRecordsPartition { partition_index: 0, offset: 1 }];
    let topic = DeleteRecordsTopic { name: TOPIC.to_owned(), partitions };
    let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 1_000 };
    let deleted = wire.call(&request, 2);
    assert_eq!(deleted.topics[0].partitions[0].error_code, ErrorCode::PolicyViolation.code());
}
