//! The journal through the whole broker: many partitions share a sync, and a kill or a clean end at any time loses
//! nothing that was acknowledged.

use std::{collections::BTreeMap, fs, path::Path};

use bytes::Bytes;
use kafka_wire::{
    messages::{
        CreateTopicsRequest, FetchRequest, ProduceRequest,
        create_topics::CreatableTopic,
        fetch::{FetchPartition, FetchTopic},
        produce::{PartitionProduceData, TopicProduceData},
    },
    records::{BatchBuilder, Record},
};

use crate::support::{Broker, Wire, wait_for};

const PARTITIONS: i32 = 40;

fn create(wire: &mut Wire) {
    let topic = CreatableTopic {
        name: "many".to_owned(),
        num_partitions: PARTITIONS,
        replication_factor: 1,
        ..Default::default()
    };
    let made = wire.call(&CreateTopicsRequest { topics: vec![topic], ..Default::default() }, 7);
    assert_eq!(made.topics[0].error_code, 0, "{made:?}");
}

/// One message to each of some partitions; the offsets that were acknowledged.
fn produce(wire: &mut Wire, partitions: &[i32], payload: &str) -> BTreeMap<i32, i64> {
    let data = |index: &i32| {
        let value = Some(Bytes::from(format!("{index} {payload}")));
        let record = Record { value, timestamp_ms: runtime::clock::unix_ms(), ..Default::default() };
        PartitionProduceData {
            index: *index,
            records: Some(BatchBuilder::default().build(&[record]).unwrap()),
        }
    };
    let topic = TopicProduceData {
        name: "many".to_owned(),
        partition_data: partitions.iter().map(data).collect(),
        ..Default::default()
    };
    let request =
        ProduceRequest { acks: -1, timeout_ms: 1_000, topic_data: vec![topic], ..Default::default() };
    let response = wire.call(&request, 9);
    let parts = response.responses.into_iter().flat_map(|topic| topic.partition_responses);
    parts
        .map(|part| {
            assert_eq!(part.error_code, 0, "{part:?}");
            (part.index, part.base_offset)
        })
        .collect()
}

/// The first record at an offset, as bytes of its batch.
fn fetch(wire: &mut Wire, partition: i32, offset: i64) -> Bytes {
    let partition =
        FetchPartition { partition, fetch_offset: offset, partition_max_bytes: 1, ..Default::default() };
    let topic = FetchTopic { topic: "many".to_owned(), partitions: vec![partition], ..Default::default() };
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms: 0,
        min_bytes: 0,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    let response = wire.call(&request, 11);
    let part = &response.responses[0].partitions[0];
    assert_eq!(part.error_code, 0, "{part:?}");
    part.records.clone().unwrap_or_default()
}

fn journal_bytes(folder: &Path) -> u64 {
    let Ok(files) = fs::read_dir(folder.join("data/journal")) else { return 0 };
    files.filter_map(|file| file.ok()?.metadata().ok()).map(|file| file.len()).sum()
}

/// Goal: over kills and clean ends in turn, with a small journal that goes round, every acknowledged message of many
/// partitions is at its offset.
#[test]
fn many_partitions_survive_kills() {
    let folder = tempfile::tempdir().unwrap();
    let start = || Broker::start_with(folder.path(), "log.journal.bytes=1048576\n");
    let broker = start();
    create(&mut broker.connect());
    broker.stop();
    let mut acknowledged: Vec<(i32, i64, String)> = Vec::new();
    for life in 0..4 {
        let broker = start();
        let mut wire = broker.connect();
        for round in 0..60 {
            let payload = format!("{life} {round} {}", "x".repeat(700));
            let some: Vec<i32> = (0..PARTITIONS).filter(|partition| (partition + round) % 3 == 0).collect();
            for (partition, offset) in produce(&mut wire, &some, &payload) {
                acknowledged.push((partition, offset, format!("{partition} {payload}")));
            }
        }
        if life % 2 == 0 { broker.kill() } else { broker.stop() }
    }
    let broker = start();
    let mut wire = broker.connect();
    for (partition, offset, payload) in &acknowledged {
        let batch = fetch(&mut wire, *partition, *offset);
        let found = batch.windows(payload.len()).any(|window| window == payload.as_bytes());
        assert!(found, "partition {partition}, offset {offset}");
    }
    assert!(journal_bytes(folder.path()) >= 1 << 18, "the journal was used");
    assert!(journal_bytes(folder.path()) <= 1 << 20, "and kept its size");
}

/// Goal: without a journal the same promise holds.
#[test]
fn a_broker_without_a_journal_keeps_its_promise() {
    let folder = tempfile::tempdir().unwrap();
    let start = || Broker::start_with(folder.path(), "log.journal.bytes=0\n");
    let broker = start();
    create(&mut broker.connect());
    let offsets = produce(&mut broker.connect(), &[0, 1, 2], "kept");
    broker.kill();
    let broker = start();
    for (partition, offset) in offsets {
        assert!(!fetch(&mut broker.connect(), partition, offset).is_empty());
    }
    assert_eq!(journal_bytes(folder.path()), 0);
}

/// Goal: what is acknowledged and has to wait behind a long poll on the same connection is readable by others at once.
#[test]
fn pipelined_behind_a_long_poll_is_not_held_up() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut wire = broker.connect();
    create(&mut wire);
    let poll = FetchRequest {
        replica_id: -1,
        max_wait_ms: 60_000,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: "many".to_owned(),
            partitions: vec![FetchPartition { partition: 1, partition_max_bytes: 1, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut other = broker.connect();
    wire.send(&poll, 11);
    let record = Record { value: Some(Bytes::from_static(b"now")), ..Default::default() };
    let data =
        PartitionProduceData { index: 0, records: Some(BatchBuilder::default().build(&[record]).unwrap()) };
    let topic =
        TopicProduceData { name: "many".to_owned(), partition_data: vec![data], ..Default::default() };
    wire.send(&ProduceRequest { acks: -1, topic_data: vec![topic], ..Default::default() }, 9);
    wait_for("the record", || (!fetch(&mut other, 0, 0).is_empty()).then_some(()));
}
