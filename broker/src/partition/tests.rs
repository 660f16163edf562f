//! A partition on real files: what a batch must be, and what follows when the disk fails.

use std::{collections::BTreeMap, io, path::Path, sync::Arc};

use bytes::Bytes;
use kafka_wire::{
    ErrorCode,
    records::{BatchBuilder, Batches, Codec, Record},
};
use prometheus::Registry;
use record_log::journal::Member as _;
use uuid::Uuid;

use super::{Ground, Partition, read::Isolation};
use crate::{
    commit::{self, CommitThread, Committer},
    disk::DiskStorage,
    metrics::Metrics,
    topic_config::TopicConfig,
};

mod compaction;
mod transactions;

fn config(pairs: &[(&str, &str)]) -> Arc<TopicConfig> {
    let set: BTreeMap<String, String> =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Arc::new(TopicConfig::parse(&BTreeMap::new(), &set).unwrap())
}

pub(super) fn open(folder: &Path, pairs: &[(&str, &str)]) -> (Arc<Partition>, CommitThread, Metrics) {
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let storage = DiskStorage::new(folder, 64);
    let commit = Committer::start(storage, commit::settings(1 << 22, u64::MAX), metrics.clone()).unwrap();
    let ground = Ground {
        storage: DiskStorage::new(folder, 64),
        committer: commit.committer(),
        metrics: metrics.clone(),
        leader_epoch: 3,
        producer_expiration_ms: i64::MAX,
    };
    let topic: Arc<str> = Arc::from("orders");
    let partition = Partition::new(&ground, (&topic, Uuid::nil()), 0, config(pairs), Some(0));
    (partition, commit, metrics)
}

pub(super) fn batch(builder: BatchBuilder) -> Bytes {
    let timestamp_ms = runtime::clock::unix_ms();
    let record = Record { value: Some(Bytes::from_static(b"value")), timestamp_ms, ..Default::default() };
    builder.build(&[record.clone(), record]).unwrap()
}

fn refusal(partition: &Partition, records: Bytes) -> ErrorCode {
    partition.append(records, 9).unwrap_err().code
}

/// Goal: after a sync that failed nothing is acknowledged, the partition takes no more writes and says why, and
/// the sync is never tried again.
#[test]
fn a_failed_sync_takes_the_partition_offline() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, _commit, metrics) = open(folder.path(), &[]);
    let taken = partition.append(batch(BatchBuilder::default()), 9).unwrap();
    assert!(!partition.is_durable(taken.next_offset));
    let ticket = partition.begin_sync().unwrap();
    partition.finish(&ticket, Err(io::Error::other("the disk is gone")));
    assert!(!partition.is_durable(taken.next_offset));
    assert!(partition.begin_sync().is_none());
    let refused = partition.append(batch(BatchBuilder::default()), 9).unwrap_err();
    assert_eq!(refused.code, ErrorCode::KafkaStorageError);
    assert!(refused.message.unwrap().contains("the disk is gone"));
    assert_eq!(metrics.read_only_partitions.get(), 1);
    assert_eq!(partition.bounds().high_watermark, 0, "nobody reads what is not durable");
}

/// Goal: what is submitted becomes durable, is readable then and not before, and carries the leader epoch.
#[tokio::test]
async fn submitted_batches_become_durable() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, _commit, _) = open(folder.path(), &[]);
    let taken = partition.append(batch(BatchBuilder::default()), 9).unwrap();
    assert!(partition.fetch(0, 1_000, Isolation::Uncommitted).unwrap().bytes.is_empty());
    partition.submit().await;
    assert!(partition.is_durable(taken.next_offset));
    let fetched = partition.fetch(0, 1_000, Isolation::Uncommitted).unwrap();
    assert_eq!(fetched.bytes[12..16], 3_i32.to_be_bytes());
    assert_eq!(fetched.bounds.high_watermark, 2);
    let (refusal, _) = partition.fetch(3, 1_000, Isolation::Uncommitted).unwrap_err();
    assert_eq!(refusal.code, ErrorCode::OffsetOutOfRange);
}

/// Goal: a batch that is damaged, of an old format, doubled, transactional, a control batch or out of time is
/// refused by its own code, and the partition is as it was.
#[test]
fn wrong_batches_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, _commit, _) = open(folder.path(), &[]);
    let good = batch(BatchBuilder::default());
    let changed = |at: usize, value: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = value;
        Bytes::from(bytes)
    };
    assert_eq!(refusal(&partition, changed(70, 99)), ErrorCode::CorruptMessage);
    assert_eq!(refusal(&partition, changed(16, 1)), ErrorCode::UnsupportedForMessageFormat);
    assert_eq!(refusal(&partition, good.slice(..30)), ErrorCode::CorruptMessage);
    assert_eq!(refusal(&partition, Bytes::from([&good[..], &good[..]].concat())), ErrorCode::InvalidRecord);
    let control = BatchBuilder { control: true, ..BatchBuilder::default() };
    assert_eq!(refusal(&partition, batch(control)), ErrorCode::InvalidRecord);
    let transactional = BatchBuilder { transactional: true, ..BatchBuilder::default() };
    assert_eq!(refusal(&partition, batch(transactional)), ErrorCode::InvalidTxnState);
    let no_sequence = BatchBuilder { producer_id: 5, producer_epoch: 0, ..BatchBuilder::default() };
    assert_eq!(refusal(&partition, batch(no_sequence)), ErrorCode::InvalidRecord);
    let future = Record { timestamp_ms: runtime::clock::unix_ms() + 7_200_000, ..Default::default() };
    let future = BatchBuilder::default().build(&[future]).unwrap();
    assert_eq!(refusal(&partition, future), ErrorCode::InvalidTimestamp);
    assert_eq!(partition.append(good, 9).unwrap().base_offset, 0);
}

/// Goal: a topic that asks for a codec keeps every batch in it, whatever the producer used; a batch that grows
/// beyond the topic's limit is refused.
#[tokio::test]
async fn a_topic_keeps_its_own_codec() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, _commit, _) = open(folder.path(), &[("compression.type", "lz4")]);
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        partition.append(batch(BatchBuilder { codec, ..Default::default() }), 9).unwrap();
    }
    partition.submit().await;
    let kept = partition.fetch(0, 1_000_000, Isolation::Uncommitted).unwrap().bytes;
    let codecs: Vec<Codec> = Batches::new(kept).map(|batch| batch.unwrap().0.codec().unwrap()).collect();
    assert_eq!(codecs, [Codec::Lz4; 5]);

    let folder = tempfile::tempdir().unwrap();
    let settings = [("compression.type", "uncompressed"), ("max.message.bytes", "200")];
    let (partition, _commit, _) = open(folder.path(), &settings);
    let record = Record {
        value: Some(Bytes::from(vec![7; 1_000])),
        timestamp_ms: runtime::clock::unix_ms(),
        ..Default::default()
    };
    let small = BatchBuilder { codec: Codec::Gzip, ..Default::default() }.build(&[record]).unwrap();
    assert!(small.len() < 200, "{}", small.len());
    assert_eq!(refusal(&partition, small), ErrorCode::MessageTooLarge);
}

/// Goal: with LogAppendTime the broker's time counts, and the batch is intact.
#[tokio::test]
async fn log_append_time_is_the_brokers() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, _commit, _) = open(folder.path(), &[("message.timestamp.type", "LogAppendTime")]);
    let old = Record { timestamp_ms: 5, value: Some(Bytes::from_static(b"x")), ..Default::default() };
    let old = BatchBuilder { codec: Codec::Gzip, ..BatchBuilder::default() }.build(&[old]).unwrap();
    let taken = partition.append(old, 9).unwrap();
    assert!(taken.log_append_time_ms > 1_600_000_000_000);
    partition.submit().await;
    let bytes = partition.fetch(0, 1_000, Isolation::Uncommitted).unwrap().bytes;
    assert!(record_log::batch::is_intact(&bytes));
    let found = partition.offset_at(1_000, Isolation::Uncommitted).unwrap();
    assert_eq!((found.offset, found.timestamp_ms), (0, taken.log_append_time_ms));
}

/// Goal: sequence numbers are known again after segments were sealed and the process was killed.
#[tokio::test]
async fn producers_survive_new_segments() {
    let folder = tempfile::tempdir().unwrap();
    let sized = [("segment.bytes", "16384")];
    let (partition, _commit, _) = open(folder.path(), &sized);
    let of = |producer_id: i64, base_sequence: i32| {
        batch(BatchBuilder { producer_id, producer_epoch: 0, base_sequence, ..BatchBuilder::default() })
    };
    assert_eq!(partition.append(of(1, 0), 9).unwrap().base_offset, 0);
    for number in 0..500 {
        partition.append(of(2, number * 2), 9).unwrap();
    }
    partition.submit().await;
    let (again, _commit, _) = open(folder.path(), &sized);
    assert_eq!(again.append(of(1, 0), 9).unwrap().base_offset, 0, "a repeat from a sealed segment");
    assert_eq!(again.append(of(2, 998), 9).unwrap().base_offset, 1_000);
    assert_eq!(again.append(of(1, 7), 9).unwrap_err().code, ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(again.append(of(1, 2), 9).unwrap().base_offset, 1_002);
}
