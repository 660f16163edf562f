//! A compacted partition: what its readers and producers get, before a compaction, after it, and after a kill.

use std::{fs, sync::Arc};

use bytes::Bytes;
use kafka_wire::{
    ErrorCode,
    records::{BatchBuilder, Batches, Marker, Record, Records},
};
use record_log::compact::Done;

use super::{config, open};
use crate::partition::{Partition, compaction::Turn, read::Isolation, topic_folder};

const COMPACTED: [(&str, &str); 2] = [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0")];
const SHORT: (&str, &str) = ("segment.ms", "1");
const ABORT: Marker = Marker { committed: false, coordinator_epoch: 1 };
const COMMIT: Marker = Marker { committed: true, coordinator_epoch: 1 };

fn keyed(builder: BatchBuilder, pairs: &[(&str, Option<&str>)]) -> Bytes {
    let record = |(key, value): &(&str, Option<&str>)| Record {
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
        timestamp_ms: runtime::clock::unix_ms(),
        ..Default::default()
    };
    builder.build(&pairs.iter().map(record).collect::<Vec<_>>()).unwrap()
}

fn of(producer_id: i64, base_sequence: i32, transactional: bool) -> BatchBuilder {
    BatchBuilder { producer_id, producer_epoch: 0, base_sequence, transactional, ..Default::default() }
}

/// Compacts until nothing is due; says what the last compaction did.
fn compact(partition: &Partition) -> Option<Done> {
    let mut last = None;
    while partition.compaction_worth().is_some_and(|(_, is_due)| is_due) {
        let mut pass = partition.begin_compaction(1 << 20).unwrap();
        last = loop {
            match partition.compact(&mut pass) {
                Turn::More => {}
                Turn::Done(done) => break Some(done),
                other => panic!("{other:?}"),
            }
        };
    }
    last
}

/// Offset, key and value of all that a reader of committed records sees from `offset` on; it gets to the end.
fn read(partition: &Partition, mut offset: i64) -> Vec<(i64, String, Option<String>)> {
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let mut found = Vec::new();
    while offset < partition.bounds().last_stable {
        let fetched = partition.fetch(offset, 1, Isolation::Committed).unwrap();
        assert!(fetched.next_offset > offset, "a reader moves on");
        for (header, bytes) in Batches::new(fetched.bytes).map(Result::unwrap) {
            let is_aborted = fetched.aborted.iter().any(|it| it.producer_id == header.producer_id);
            if header.is_control() || is_aborted {
                continue;
            }
            let records = Records::open(&bytes, 1 << 20).unwrap().map(Result::unwrap);
            found.extend(records.map(|it| (it.offset, text(it.key.unwrap()), it.value.map(text))));
        }
        offset = fetched.next_offset;
    }
    found
}

fn text(offset: i64, key: &str, value: &str) -> (i64, String, Option<String>) {
    (offset, key.to_owned(), Some(value.to_owned()))
}

/// Has all that is there synced, and a new segment started by the look of a compaction.
async fn seal(partition: &Arc<Partition>) {
    partition.submit().await;
    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    partition.set_config(&config(&[COMPACTED[0], COMPACTED[1], SHORT]));
    assert!(partition.compaction_worth().is_some());
    partition.set_config(&config(&COMPACTED));
}

/// Goal: readers of committed records see the last value of each key and no aborted one; producers go on where they
/// were; nothing holds readers back that is decided: after a compaction, after a kill, and with the producers' files
/// lost as well.
#[tokio::test]
async fn readers_and_producers_see_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, _commit, metrics) = open(folder.path(), &COMPACTED);
    partition.append(keyed(BatchBuilder::default(), &[("a", Some("1")), ("b", Some("1"))]), 9).unwrap();
    partition.append_checked(keyed(of(1, 0, true), &[("a", Some(&"aborted".repeat(99)))]), 9).unwrap();
    partition.append_marker((1, 0), ABORT).unwrap();
    partition.append_checked(keyed(of(2, 0, true), &[("b", Some("2")), ("c", Some("1"))]), 9).unwrap();
    partition.append_marker((2, 0), COMMIT).unwrap();
    partition.append(keyed(of(3, 0, false), &[("c", Some("2"))]), 9).unwrap();
    partition.append(keyed(BatchBuilder::default(), &[("c", Some("3")), ("d", None)]), 9).unwrap();
    partition.append_checked(keyed(of(4, 0, true), &[("a", Some("open"))]), 9).unwrap();
    seal(&partition).await;
    assert_eq!(compact(&partition), None, "one segment, with something undecided");
    let size = partition.size();
    partition.append_marker((4, 0), ABORT).unwrap();
    seal(&partition).await;
    let done = compact(&partition).unwrap();
    assert_eq!((done.clean_offset, done.keyless_records), (12, 0));
    assert!(partition.size() < size);
    let expected = [text(0, "a", "1"), text(4, "b", "2"), text(8, "c", "3"), (9, "d".to_owned(), None)];
    let check = |partition: &Partition| {
        assert_eq!(read(partition, 0), expected);
        assert_eq!(read(partition, 6), expected[2..]);
        assert_eq!(partition.bounds().last_stable, 12);
        let repeated = partition.append(keyed(of(3, 0, false), &[("c", Some("2"))]), 9).unwrap();
        assert_eq!(repeated.base_offset, 7, "a repeat is known");
        let gap = partition.append(keyed(of(3, 5, false), &[("c", Some("2"))]), 9).unwrap_err();
        assert_eq!(gap.code, ErrorCode::OutOfOrderSequenceNumber);
    };
    check(&partition);
    assert!(
        partition.fetch(0, 1 << 20, Isolation::Committed).unwrap().aborted.is_empty(),
        "they are forgotten"
    );
    assert_eq!(metrics.compaction.uncleanable_partitions.get(), 0);
    drop(partition);
    let (again, _commit, _) = open(folder.path(), &COMPACTED);
    check(&again);
    drop(again);
    let files = folder.path().join(topic_folder(uuid::Uuid::nil())).join("0");
    for file in fs::read_dir(files).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_some_and(|it| it == "producers" || it == "index") {
            fs::remove_file(file).unwrap();
        }
    }
    let (again, _commit, _) = open(folder.path(), &COMPACTED);
    check(&again);
}

/// Goal: a reader of committed records who found his place before a compaction and reads after it looks again: what he
/// has may be of a transaction that is forgotten as aborted.
#[tokio::test]
async fn who_spans_a_compaction_looks_again() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, _commit, _) = open(folder.path(), &COMPACTED);
    partition.append_checked(keyed(of(1, 0, true), &[("a", Some("aborted"))]), 9).unwrap();
    partition.append_marker((1, 0), ABORT).unwrap();
    partition.append(keyed(BatchBuilder::default(), &[("a", Some("1"))]), 9).unwrap();
    seal(&partition).await;
    let (committed, all) = (Isolation::Committed, (0, 1 << 20));
    let [early, late] = [(); 2].map(|()| partition.begin_look(0).unwrap());
    let seen = partition.finish_look(early, all, committed).unwrap().unwrap();
    assert_eq!(seen.aborted.len(), 1);
    compact(&partition).unwrap();
    assert_eq!(partition.finish_look(late, all, committed).unwrap(), None);
    assert_eq!(read(&partition, 0), [text(2, "a", "1")]);
}

/// Goal: a record without a key is refused with its number in the batch, whatever the codec, and nothing of its batch
/// is taken; without compaction it is welcome. Deleting the beginning is refused until the policy says delete too.
#[tokio::test]
async fn what_compaction_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, _commit, _) = open(folder.path(), &COMPACTED);
    let record = |key: Option<&'static str>| Record { key: key.map(Bytes::from), ..Default::default() };
    let records = [record(Some("a")), record(None), record(Some("b")), record(None)];
    let builder = BatchBuilder { codec: kafka_wire::records::Codec::Zstd, ..Default::default() };
    let mixed = builder.build(&records).unwrap();
    let refused = partition.append(mixed.clone(), 9).unwrap_err();
    assert_eq!((refused.code, refused.records), (ErrorCode::InvalidRecord, vec![1, 3]));
    assert_eq!(partition.append(keyed(builder, &[("a", None)]), 9).unwrap().base_offset, 0);
    partition.submit().await;
    assert_eq!(partition.delete_before(-1).unwrap_err().code, ErrorCode::PolicyViolation);
    partition.set_config(&config(&[("cleanup.policy", "compact,delete")]));
    assert_eq!(partition.delete_before(-1).unwrap(), 1);
    partition.set_config(&config(&[]));
    assert_eq!(partition.append(mixed, 9).unwrap().base_offset, 1);
}

/// Goal: a partition that cannot be compacted is counted and not tried again until its config is changed; damage makes
/// it read-only, as for a reader.
#[tokio::test]
async fn a_failure_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, _commit, metrics) = open(folder.path(), &COMPACTED);
    partition.append(keyed(BatchBuilder::default(), &[("a", Some("1"))]), 9).unwrap();
    seal(&partition).await;
    partition.append(keyed(BatchBuilder::default(), &[("a", Some("2"))]), 9).unwrap();
    partition.submit().await;
    let file = folder.path().join(topic_folder(uuid::Uuid::nil())).join("0").join(format!("{:020}.log", 0));
    let mut bytes = fs::read(&file).unwrap();
    bytes[4096 + 65] ^= 1;
    fs::write(&file, bytes).unwrap();
    let mut pass = partition.begin_compaction(1 << 20).unwrap();
    assert_eq!(partition.compact(&mut pass), Turn::Failed);
    assert_eq!(partition.compaction_worth(), None);
    assert_eq!(metrics.compaction.uncleanable_partitions.get(), 1);
    assert_eq!(metrics.read_only_partitions.get(), 1);
    // Deleting the damage is the way out, though the policy does not say delete.
    assert_eq!(partition.delete_before(1).unwrap(), 1);
    assert_eq!((metrics.compaction.uncleanable_partitions.get(), metrics.read_only_partitions.get()), (0, 0));
    assert!(partition.compaction_worth().is_some());
}
