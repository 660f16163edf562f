//! What an open costs: the tail that no page vouches for, and not the log.

use super::*;

/// Goal: an open shows only the batches behind what was written down as synced; a walk shows all.
#[test]
fn an_open_walks_the_tail_only() {
    let storage = MemoryStorage::default();
    let (mut log, _) = open(&storage);
    for number in 0..1_000 {
        append(&mut log, &payload(number, 100), 0).unwrap();
        if number == 900 {
            log.close().unwrap();
        }
    }
    sync(&mut log).unwrap();
    let mut shown = Vec::new();
    let storage = storage.after_kill();
    let opened = Log::open(storage, FOLDER, SETTINGS, 0, &mut |header, batch| {
        assert!(batch::is_intact(batch));
        shown.push(header.base_offset);
    });
    let (mut log, recovery) = opened.unwrap();
    assert_eq!((recovery.read_only, log.end_offset(), log.synced_offset()), (None, 1_000, 1_000));
    assert!(shown.first().is_some_and(|first| *first > 0), "{shown:?}");
    assert_eq!(shown.last(), Some(&999));
    let mut walked = Vec::new();
    log.walk(17, &mut |header, _| walked.push(header.base_offset)).unwrap();
    assert_eq!(walked, (17..1_000).collect::<Vec<_>>());
    // The times and places of all of them are known all the same.
    assert_eq!(read_all(&mut log, 5_000).unwrap().len(), 1_000);
}

/// Goal: the index of the last segment is in its file as far as it was saved, and complete after it is asked for.
#[test]
fn the_last_index_is_kept() {
    let storage = MemoryStorage::default();
    let settings = Settings { segment_bytes: i32::MAX as u64, segment_ms: i64::MAX };
    let open = |storage: &MemoryStorage| {
        Log::open(storage.clone(), FOLDER, settings, 0, &mut |_, _| ()).expect("the storage works").0
    };
    let mut log = open(&storage);
    for number in 0..900_u64 {
        let time_ms = i64::try_from(number).unwrap() * 10;
        append(&mut log, &payload(number, 900), time_ms).unwrap();
        if number % 100 == 0 {
            sync(&mut log).unwrap();
            log.save_index().unwrap();
        }
    }
    sync(&mut log).unwrap();
    let whole = log.active().index.clone();
    let mut log = open(&storage.after_kill());
    assert!(log.active().index.floor > crate::header::PAGE_LENGTH, "it was not walked");
    for offset in [0, 1, 450, 899] {
        let slice = log.locate(offset).unwrap().unwrap().read(1).unwrap();
        assert_eq!(slice.next_offset, offset + 1);
        let found = log.search_time(offset * 10 - 5).unwrap().unwrap().run().unwrap().unwrap();
        assert_eq!(found.next_offset, offset + 1);
    }
    assert_eq!(log.active().index.floor, crate::header::PAGE_LENGTH);
    for offset in 0..900 {
        assert_eq!(log.active().index.before_offset(offset).is_some(), whole.before_offset(offset).is_some());
    }
}

/// Goal: a time whose batch was deleted is found in a later segment, and the largest time is one that is there.
#[test]
fn times_of_deleted_records_are_passed_over() {
    let storage = MemoryStorage::default();
    let (mut log, _) = open(&storage);
    for number in 0..100_u64 {
        let time_ms = if number == 50 { 9_000 } else { i64::try_from(number).unwrap() };
        append(&mut log, &payload(number, 900), time_ms).unwrap();
    }
    sync(&mut log).unwrap();
    assert_eq!(log.max_timestamp().unwrap(), Some((9_000, 50)));
    log.delete_before(51, 0).unwrap();
    assert_eq!(log.max_timestamp().unwrap(), Some((99, 99)));
    let found = log.search_time(90).unwrap().unwrap().run().unwrap();
    assert_eq!(found.map(|slice| slice.next_offset), Some(91));
    log.delete_before(100, 0).unwrap();
    assert_eq!(log.max_timestamp().unwrap(), None);
}

/// Goal: the largest time is one of a synced record, whatever was written behind it.
#[test]
fn the_largest_time_is_synced() {
    let storage = MemoryStorage::default();
    let (mut log, _) = open(&storage);
    append(&mut log, b"one", 10).unwrap();
    sync(&mut log).unwrap();
    append(&mut log, b"two", 20).unwrap();
    assert_eq!(log.max_timestamp().unwrap(), Some((10, 0)));
    let ticket = log.begin_sync().unwrap();
    append(&mut log, b"three", 30).unwrap();
    ticket.run().unwrap();
    log.finish_sync(&ticket);
    assert_eq!(log.max_timestamp().unwrap(), Some((20, 1)));
}
