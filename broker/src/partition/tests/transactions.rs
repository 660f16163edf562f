//! Transactions in one partition: what readers of committed records get, now and after a kill.

use std::sync::Arc;

use bytes::Bytes;
use kafka_wire::{
    ErrorCode,
    records::{BatchBuilder, Batches, Marker},
};

use super::{batch, open};
use crate::partition::{Partition, read::Isolation, topic_folder};

const COMMIT: Marker = Marker { committed: true, coordinator_epoch: 1 };
const ABORT: Marker = Marker { committed: false, coordinator_epoch: 1 };

fn of(producer_id: i64, base_sequence: i32) -> Bytes {
    let transactional = true;
    batch(BatchBuilder { producer_id, producer_epoch: 0, base_sequence, transactional, ..Default::default() })
}

/// Base offsets of the batches, and the aborted list, that a reader of committed records gets from `offset` on.
fn read(partition: &Partition, offset: i64) -> (Vec<i64>, Vec<(i64, i64)>) {
    let fetched = partition.fetch(offset, 1_000_000, Isolation::Committed).unwrap();
    let bases = Batches::new(fetched.bytes).map(|batch| batch.unwrap().0.base_offset).collect();
    (bases, fetched.aborted.iter().map(|aborted| (aborted.producer_id, aborted.first_offset)).collect())
}

fn check_all(partition: &Arc<Partition>) {
    assert_eq!(partition.bounds().last_stable, 6);
    assert_eq!(read(partition, 0), (vec![0, 2, 4, 5], vec![(1, 0)]));
    assert_eq!(read(partition, 4), (vec![4, 5], vec![(1, 0)]), "it began before what is read");
    assert_eq!(read(partition, 5), (vec![5], vec![]));
    assert_eq!(read(partition, 7), (vec![], vec![]), "behind the last stable offset there is nothing yet");
    let all = partition.fetch(0, 1_000_000, Isolation::Uncommitted).unwrap();
    assert_eq!(Batches::new(all.bytes).count(), 5);
    assert_eq!(partition.offset_at(-1, Isolation::Committed).unwrap().offset, 6);
    assert_eq!(partition.offset_at(-1, Isolation::Uncommitted).unwrap().offset, 8);
}

/// Goal: readers of committed records get all up to the first open transaction with the aborted ones named, after a
/// kill too; markers have no sequence, and a batch outside of the open transaction is refused.
#[tokio::test]
async fn readers_of_committed_records_wait_for_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (partition, _commit, _) = open(folder.path(), &[]);
    partition.append_checked(of(1, 0), 9).unwrap();
    partition.append_checked(of(2, 0), 9).unwrap();
    assert_eq!(partition.append(of(1, 2), 9).unwrap_err().code, ErrorCode::InvalidTxnState);
    let outside = BatchBuilder { producer_id: 1, producer_epoch: 0, base_sequence: 2, ..Default::default() };
    assert_eq!(partition.append_checked(batch(outside), 9).unwrap_err().code, ErrorCode::InvalidTxnState);
    partition.submit().await;
    assert_eq!(read(&partition, 0), (vec![], vec![]));
    assert_eq!(partition.append_marker((1, 0), ABORT).unwrap().base_offset, 4);
    assert_eq!(partition.append_marker((2, 0), COMMIT).unwrap().base_offset, 5);
    assert_eq!(partition.bounds().last_stable, 0, "a marker counts when it is durable");
    assert_eq!(partition.append_checked(of(1, 2), 9).unwrap().base_offset, 6);
    partition.submit().await;
    check_all(&partition);
    let (again, _commit, _) = open(folder.path(), &[]);
    check_all(&again);
    assert_eq!(again.append_checked(of(1, 2), 9).unwrap().base_offset, 6, "a repeat");
    let old = Marker { coordinator_epoch: 0, ..COMMIT };
    assert_eq!(again.append_marker((1, 0), old).unwrap_err().code, ErrorCode::TransactionCoordinatorFenced);
    again.append_marker((1, 1), COMMIT).unwrap();
    assert_eq!(again.append_checked(of(1, 4), 9).unwrap_err().code, ErrorCode::InvalidProducerEpoch);
    again.submit().await;
    assert_eq!(again.bounds().last_stable, 9);
}

/// Goal: transactions that are open or aborted in sealed segments are known after a kill, with and without the file
/// that says so, and deleting records moves on what held readers back.
#[tokio::test]
async fn transactions_survive_new_segments_and_deletions() {
    let folder = tempfile::tempdir().unwrap();
    let sized = [("segment.bytes", "16384")];
    let (partition, _commit, _) = open(folder.path(), &sized);
    partition.append_checked(of(1, 0), 9).unwrap();
    partition.append_marker((1, 0), ABORT).unwrap();
    partition.append_checked(of(2, 0), 9).unwrap();
    for number in 0..500 {
        partition.append_checked(of(3, number * 2), 9).unwrap();
    }
    partition.append_marker((3, 0), COMMIT).unwrap();
    partition.submit().await;
    for keep_file in [true, false] {
        if !keep_file {
            let topic = folder.path().join(topic_folder(uuid::Uuid::nil())).join("0");
            let files = std::fs::read_dir(topic).unwrap().map(|entry| entry.unwrap().path());
            let written: Vec<_> =
                files.filter(|path| path.extension().is_some_and(|it| it == "producers")).collect();
            assert!(!written.is_empty());
            written.iter().for_each(|path| std::fs::remove_file(path).unwrap());
        }
        let (again, _commit, _) = open(folder.path(), &sized);
        assert_eq!(again.bounds().last_stable, 3, "{keep_file}");
        assert_eq!(read(&again, 0), (vec![0, 2], vec![(1, 0)]));
    }
    let (again, _commit, _) = open(folder.path(), &sized);
    again.delete_before(100).unwrap();
    assert_eq!(again.bounds().last_stable, 100, "nothing before the start is waited for");
    assert_eq!(again.append_marker((2, 0), ABORT).unwrap().base_offset, 1_006);
    again.submit().await;
    assert_eq!(again.bounds().last_stable, 1_007);
    let (bases, aborted) = read(&again, 999);
    assert_eq!((bases.first(), aborted), (Some(&999), vec![(2, 3)]));
}

/// Goal: where a sealed segment is damaged and nothing else says which transactions were open, readers of committed
/// records go no further; what the damage hides is never taken for committed.
#[tokio::test]
async fn damage_ends_what_is_known_to_be_committed() {
    let folder = tempfile::tempdir().unwrap();
    let sized = [("segment.bytes", "16384")];
    let (partition, _commit, _) = open(folder.path(), &sized);
    for number in 0..200 {
        partition.append_checked(of(3, number * 2), 9).unwrap();
    }
    partition.append_marker((3, 0), COMMIT).unwrap();
    partition.submit().await;
    drop(partition);
    let topic = folder.path().join(topic_folder(uuid::Uuid::nil())).join("0");
    let files = std::fs::read_dir(topic).unwrap().map(|entry| entry.unwrap().path());
    let (mut first, mut written) = (None, Vec::new());
    for file in files {
        match file.extension().and_then(|it| it.to_str()) {
            Some("log") => first = first.into_iter().chain([file]).min(),
            Some("producers") => written.push(file),
            _ => {}
        }
    }
    written.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    let first = first.unwrap();
    let mut bytes = std::fs::read(&first).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 200].fill(0xff);
    std::fs::write(&first, bytes).unwrap();
    let (again, _commit, _) = open(folder.path(), &sized);
    assert!(again.bounds().high_watermark == 401 && again.bounds().last_stable < 200);
}
