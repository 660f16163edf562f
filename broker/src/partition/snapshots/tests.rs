//! What producers sent is known again after a kill, whatever happened to the files that say so.

use std::{fs, path::Path};

use bytes::Bytes;
use kafka_wire::{ErrorCode, records::BatchBuilder};

use crate::partition::{
    Partition,
    tests::{batch, open},
};

fn numbered(base_sequence: i32) -> Bytes {
    batch(BatchBuilder { producer_id: 7, producer_epoch: 0, base_sequence, ..BatchBuilder::default() })
}

fn large() -> Bytes {
    let value = Bytes::from(vec![9; 600_000]);
    let timestamp_ms = runtime::clock::unix_ms();
    let record = kafka_wire::records::Record { value: Some(value), timestamp_ms, ..Default::default() };
    BatchBuilder::default().build(&[record]).unwrap()
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let partition = fs::read_dir(folder.join("topics")).unwrap().next().unwrap().unwrap().path().join("0");
    let files = fs::read_dir(partition).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|it| it == "producers")).collect();
    files.sort();
    files
}

/// A producer's two batches, then enough bytes for files to be written; killed.
async fn written(folder: &Path) -> i64 {
    let (partition, _commit, _) = open(folder, &[]);
    partition.append(numbered(0), 9).unwrap();
    partition.append(numbered(2), 9).unwrap();
    let mut next = 0;
    for _ in 0..20 {
        next = partition.append(large(), 9).unwrap().next_offset;
    }
    partition.submit().await;
    assert!(partition.is_durable(next));
    next
}

fn check(partition: &Partition, end: i64) {
    assert_eq!(partition.bounds().high_watermark, end);
    assert_eq!(partition.append(numbered(2), 9).unwrap().base_offset, 2, "a repeat");
    assert_eq!(partition.append(numbered(9), 9).unwrap_err().code, ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(partition.append(numbered(4), 9).unwrap().base_offset, end);
}

/// Goal: a file is written every few megabytes, two are kept, and with each kind of damage to any of them the
/// producers are the same.
#[tokio::test]
async fn damaged_files_change_nothing() {
    for what in 0..6 {
        let folder = tempfile::tempdir().unwrap();
        let end = written(folder.path()).await;
        let there = files(folder.path());
        assert_eq!(there.len(), 2, "{there:?}");
        for file in &there[usize::from(what % 2 == 0)..] {
            let mut bytes = fs::read(file).unwrap();
            match what {
                0 | 1 => bytes[90] ^= 1,
                2 | 3 => bytes.truncate(50),
                _ => bytes.clear(),
            }
            fs::write(file, &bytes).unwrap();
        }
        let (again, _commit, metrics) = open(folder.path(), &[]);
        check(&again, end);
        assert_eq!(metrics.read_only_partitions.get(), 0);
    }
}

/// Goal: a file that is ahead of its log is of records that are lost: it is forgotten and not taken for what comes
/// in their place; nor is one of another partition.
#[tokio::test]
async fn a_file_ahead_of_the_log_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let end = written(folder.path()).await;
    let there = files(folder.path());
    let ahead = there[0].with_file_name(format!("{:020}.producers", end + 1));
    fs::copy(&there[1], &ahead).unwrap();
    let (again, _commit, _) = open(folder.path(), &[]);
    check(&again, end);
    assert!(!ahead.exists());
    let foreign = String::from_utf8_lossy(&fs::read(&there[1]).unwrap()).contains("topics/");
    assert!(foreign, "it says whose it is");
}
