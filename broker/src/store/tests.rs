//! The broker's own table on real files: what was written is there again, and the log does not grow for ever.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use prometheus::Registry;

use super::{Store, StoreError};
use crate::{
    commit::{self, CommitThread, Committer},
    disk::DiskStorage,
    metrics::Metrics,
};

fn open(folder: &Path) -> (Result<Arc<Store>, StoreError>, CommitThread) {
    let metrics = Metrics::new(&Registry::new()).unwrap();
    let journal = commit::settings(1 << 22, u64::MAX);
    let commit = Committer::start(DiskStorage::new(folder, 64), journal, metrics).unwrap();
    (Store::open(DiskStorage::new(folder, 64), commit.committer()), commit)
}

fn set(key: &str, value: &[u8]) -> super::Change {
    (key.to_owned(), Some(Bytes::copy_from_slice(value)))
}

fn log_bytes(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder.join("meta")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// Goal: changes, removals and their order are there again without a clean end.
#[tokio::test]
async fn changes_are_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _commit) = open(folder.path());
    let store = store.unwrap();
    assert!(store.is_empty());
    store.write(vec![set("a/1", b"one"), set("a/2", b"two"), set("b", b"x")]).unwrap().await.unwrap();
    store.write(vec![set("a/1", b"uno"), ("b".to_owned(), None)]).unwrap().await.unwrap();
    let (again, _commit) = open(folder.path());
    let again = again.unwrap();
    let expected = [("1".to_owned(), Bytes::from("uno")), ("2".to_owned(), Bytes::from("two"))];
    assert_eq!(again.scan("a/"), expected);
    assert_eq!(again.get("b"), None);
}

/// Goal: the same keys written over and over leave a short log and all their last values.
#[tokio::test]
async fn the_log_is_shortened() {
    let folder = tempfile::tempdir().unwrap();
    let (store, commit) = open(folder.path());
    let store = store.unwrap();
    store.write(vec![set("kept", b"from the beginning")]).unwrap().await.unwrap();
    let value = vec![7; 10_000];
    for number in 0..1_000 {
        store.write(vec![set(&format!("key/{}", number % 20), &value)]).unwrap().await.unwrap();
    }
    store.write(vec![set("key/3", b"last")]).unwrap().await.unwrap();
    commit.stop();
    store.close();
    let size = log_bytes(folder.path());
    assert!(size < 3 * 1024 * 1024, "10 MB of changes to 200 kB of values take {size} bytes");
    let (again, _commit) = open(folder.path());
    let again = again.unwrap();
    assert_eq!(again.get("kept").unwrap(), "from the beginning");
    assert_eq!(again.get("key/3").unwrap(), "last");
    assert_eq!(again.scan("key/").len(), 20);
}

/// Goal: damage to what was synced is told, and nothing is changed.
#[tokio::test]
async fn damage_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (store, commit) = open(folder.path());
    let store = store.unwrap();
    for number in 0..10 {
        store.write(vec![set("key", &[number; 100])]).unwrap().await.unwrap();
    }
    commit.stop();
    store.close();
    let file = folder.path().join("meta").join(format!("{:020}.log", 0));
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[4096 + 500] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let (again, _commit) = open(folder.path());
    assert!(matches!(again, Err(StoreError::Damaged(reason)) if reason.contains("position")));
    assert_eq!(std::fs::read(&file).unwrap(), bytes);
}
