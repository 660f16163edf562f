//! The log over a storage that crashes: synced batches stay, none are invented, the order is kept.

use std::collections::BTreeMap;

use crate::{
    AppendError, Log, ReadError, Recovery, Retention, Settings, batch,
    storage::{
        Storage,
        memory::{Chance, Fault, MemoryStorage},
    },
};

mod damage;
mod fast;

const SETTINGS: Settings = Settings { segment_bytes: 20_000, segment_ms: i64::MAX };
const FOLDER: &str = "topics/one";

fn open(storage: &MemoryStorage) -> (Log<MemoryStorage>, Recovery) {
    Log::open(storage.clone(), FOLDER, SETTINGS, 0, &mut |_, _| ()).expect("the storage works")
}

fn payload(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.resize(length.max(8), u8::try_from(number % 251).unwrap());
    bytes
}

fn append(log: &mut Log<MemoryStorage>, payload: &[u8], time_ms: i64) -> Result<i64, AppendError> {
    let mut batch = batch::wrap(payload, time_ms).unwrap();
    if log.wants_roll(batch.len(), 0) {
        log.roll(0)?;
    }
    log.append(&mut batch, 3).map(|appended| appended.base_offset)
}

fn sync(log: &mut Log<MemoryStorage>) -> std::io::Result<()> {
    if let Some(ticket) = log.begin_sync() {
        match ticket.run() {
            Ok(()) => log.finish_sync(&ticket),
            Err(error) => {
                log.fail(&error.to_string());
                return Err(error);
            }
        }
    }
    Ok(())
}

fn read_all(log: &mut Log<MemoryStorage>, max_bytes: usize) -> Result<Vec<(i64, Vec<u8>)>, ReadError> {
    let mut offset = log.start_offset();
    let mut all = Vec::new();
    while let Some(location) = log.locate(offset)? {
        let slice = location.read(max_bytes)?;
        assert!(slice.next_offset > offset, "a read moves on");
        let mut rest = &slice.bytes[..];
        while let Some(header) = batch::header(rest) {
            assert!(batch::is_intact(&rest[..header.size]));
            all.push((header.base_offset, rest[batch::HEADER_BYTES..header.size].to_vec()));
            rest = &rest[header.size..];
        }
        offset = slice.next_offset;
    }
    Ok(all)
}

/// Goal: what is appended over many segments and synced is read back, whatever the read size.
#[test]
fn appends_come_back_in_order() {
    let storage = MemoryStorage::default();
    let (mut log, _) = open(&storage);
    for number in 0..300 {
        let length = usize::try_from(number * 37 % 900).unwrap();
        assert_eq!(append(&mut log, &payload(number, length), 0).unwrap(), i64::try_from(number).unwrap());
    }
    sync(&mut log).unwrap();
    for max_bytes in [1, 100, 5_000, 1 << 20] {
        let all = read_all(&mut log, max_bytes).unwrap();
        assert_eq!(all.len(), 300);
        for (at, (offset, bytes)) in all.iter().enumerate() {
            let length = at * 37 % 900;
            assert_eq!((*offset, bytes), (i64::try_from(at).unwrap(), &payload(at as u64, length)));
        }
    }
    log.close().unwrap();
    let (mut again, recovery) = open(&storage);
    assert_eq!(recovery, Recovery::default());
    assert_eq!(read_all(&mut again, 1 << 20).unwrap().len(), 300);
}

/// Goal: records that are not synced are not read, and an end is not out of range.
#[test]
fn only_synced_records_are_read() {
    let (mut log, _) = open(&MemoryStorage::default());
    append(&mut log, b"first", 0).unwrap();
    assert!(log.locate(0).unwrap().is_none());
    sync(&mut log).unwrap();
    append(&mut log, b"second", 0).unwrap();
    assert_eq!(read_all(&mut log, 1000).unwrap().len(), 1);
    assert!(log.locate(2).unwrap().is_none());
    assert!(matches!(log.locate(3), Err(ReadError::OutOfRange { offset: 3, start: 0, end: 1 })));
}

/// What a run of the workload did before it ended.
#[derive(Default)]
struct Story {
    written: BTreeMap<i64, Vec<u8>>,
    synced: i64,
}

/// Appends, syncs and rolls until something fails; remembers what was promised.
fn work(storage: &MemoryStorage, chance: &mut Chance, story: &mut Story) {
    let Ok((mut log, _)) = Log::open(storage.clone(), FOLDER, SETTINGS, 0, &mut |_, _| ()) else { return };
    for _ in 0..60 {
        if chance.below(4) == 0 {
            if sync(&mut log).is_err() {
                return;
            }
            story.synced = story.synced.max(log.synced_offset());
        } else {
            let bytes = payload(chance.below(1 << 40), usize::try_from(chance.below(3000)).unwrap());
            // An append that fails at the stop may have reached the disk all the same.
            story.written.insert(log.end_offset(), bytes.clone());
            if append(&mut log, &bytes, 0).is_err() {
                return;
            }
            story.synced = story.synced.max(log.synced_offset());
        }
    }
}

fn check(storage: &MemoryStorage, story: &Story, seed: u64) {
    let (mut log, recovery) = open(storage);
    assert_eq!(recovery.read_only, None, "seed {seed}: a crash is no damage");
    let all = read_all(&mut log, 4_000).unwrap();
    for (at, (offset, bytes)) in all.iter().enumerate() {
        assert_eq!(*offset, i64::try_from(at).unwrap(), "seed {seed}: order");
        assert_eq!(Some(bytes), story.written.get(offset), "seed {seed}: nothing is invented");
    }
    assert!(i64::try_from(all.len()).unwrap() >= story.synced, "seed {seed}: {} synced", story.synced);
    // It goes on from there.
    append(&mut log, b"after", 0).unwrap();
    sync(&mut log).unwrap();
    assert_eq!(read_all(&mut log, 4_000).unwrap().len(), all.len() + 1);
}

/// Goal: a stop of the machine at any change, with any subset of un-synced sectors and names on the disk,
/// loses no synced batch, invents none and keeps the order; twice in a row.
#[test]
fn crash_at_any_change_keeps_what_was_synced() {
    for seed in 0..1500 {
        let storage = MemoryStorage::default();
        let mut chance = Chance::new(seed);
        storage.fail_at(chance.below(150), Fault::Crash);
        let mut story = Story::default();
        work(&storage, &mut chance, &mut story);
        let first = storage.after_crash(&mut chance);
        check(&first.after_kill(), &story, seed);
        // A crash while recovering, then once more.
        first.fail_at(chance.below(4), Fault::Crash);
        drop(Log::open(first.clone(), FOLDER, SETTINGS, 0, &mut |_, _| ()));
        check(&first.after_crash(&mut chance), &story, seed);
    }
}

/// Goal: killing the process at any change loses nothing that was written whole.
#[test]
fn kill_at_any_change_keeps_what_was_synced() {
    for seed in 0..500 {
        let storage = MemoryStorage::default();
        let mut chance = Chance::new(seed);
        storage.fail_at(chance.below(150), Fault::Crash);
        let mut story = Story::default();
        work(&storage, &mut chance, &mut story);
        check(&storage.after_kill(), &story, seed);
    }
}

/// Goal: a full disk at any change fails the append, harms nothing and heals by itself.
#[test]
fn full_disk_heals() {
    for seed in 0..500 {
        let storage = MemoryStorage::default();
        let mut chance = Chance::new(seed);
        let (mut log, _) = open(&storage);
        storage.fail_at(chance.below(100), Fault::Full);
        let mut written = Vec::new();
        for number in 0..80 {
            let bytes = payload(number, 700);
            match append(&mut log, &bytes, 0) {
                Ok(_) => written.push(bytes),
                Err(AppendError::Full { .. }) => storage.heal(),
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
        storage.heal();
        let (mut log, recovery) = open(&storage.after_kill());
        assert_eq!(recovery.read_only, None, "seed {seed}");
        let all = read_all(&mut log, 4_000).unwrap();
        assert_eq!(all.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>(), written, "seed {seed}");
    }
}

/// Goal: on a full disk a log notes what is synced, whichever of its header's slots has its turn: a log that cannot is
/// read-only until it is opened again.
#[test]
fn notes_need_no_space() {
    let storage = MemoryStorage::default();
    let (mut log, _) = open(&storage);
    append(&mut log, &payload(1, 100), 0).unwrap();
    storage.fail_at(0, Fault::Full);
    sync(&mut log).unwrap();
    for _ in 0..2 {
        let ticket = log.begin_note().expect("the last sync is not noted");
        ticket.run().unwrap();
        log.finish_sync(&ticket);
        storage.heal();
        append(&mut log, &payload(2, 100), 0).unwrap();
        storage.fail_at(0, Fault::Full);
        sync(&mut log).unwrap();
    }
}

/// Goal: where no space can be reserved nothing is written: a file system that gives blocks out late would take it and
/// fail the sync, and a sync that failed is never forgiven.
#[test]
fn what_has_no_space_is_not_written() {
    let storage = MemoryStorage::default();
    let (mut log, _) = open(&storage);
    let bytes = payload(1, 700);
    append(&mut log, &bytes, 0).unwrap();
    storage.fail_at(0, Fault::Unreserved);
    let mut taken = 1;
    let refused = loop {
        match append(&mut log, &bytes, 0) {
            Ok(_) if taken < 10_000 => taken += 1,
            other => break other,
        }
    };
    assert!(matches!(refused, Err(AppendError::Full { .. })), "{refused:?}");
    storage.heal();
    append(&mut log, &bytes, 0).unwrap();
    sync(&mut log).unwrap();
    assert_eq!(read_all(&mut log, 1 << 20).unwrap().len(), taken + 1);
}

/// Goal: after a sync that failed the log takes no more writes, and says why.
#[test]
fn failed_sync_ends_writing() {
    let storage = MemoryStorage::default();
    let (mut log, _) = open(&storage);
    append(&mut log, b"first", 0).unwrap();
    let ticket = log.begin_sync().unwrap();
    storage.fail_at(0, Fault::Broken);
    let error = ticket.run().unwrap_err();
    log.fail(&format!("sync failed: {error}"));
    assert!(log.begin_sync().is_none(), "never synced again");
    assert!(matches!(append(&mut log, b"second", 0), Err(AppendError::ReadOnly { reason, .. })
        if reason.contains("sync failed")));
    assert_eq!(log.synced_offset(), 0);
}

/// Goal: retention removes whole old segments, by size and by time, and future times do not hold it up.
#[test]
fn retention_by_size_and_time() {
    let storage = MemoryStorage::default();
    let (mut log, _) = open(&storage);
    for number in 0..100 {
        let time_ms = if number < 30 { i64::MAX / 2 } else { 1_000 + i64::try_from(number).unwrap() };
        append(&mut log, &payload(number, 900), time_ms).unwrap();
    }
    sync(&mut log).unwrap();
    let segments = log.segments.len();
    assert!(segments > 4);
    let keep = Retention { time_ms: None, bytes: Some(log.size() - 20_000) };
    assert_eq!(log.expire(keep, 0).unwrap(), 1);
    assert!(log.start_offset() > 0);
    let start = log.start_offset();
    assert!(matches!(log.locate(start - 1), Err(ReadError::OutOfRange { .. })));
    assert_eq!(log.expire(Retention { time_ms: Some(10_000), bytes: None }, 5_000).unwrap(), 0);
    let removed = log.expire(Retention { time_ms: Some(10_000), bytes: None }, 50_000).unwrap();
    assert_eq!(removed, segments - 2, "all but the one that grows, future times too");
    assert!(log.is_expired(Retention { time_ms: Some(10_000), bytes: None }, 50_000));
    log.roll(50_000).unwrap();
    log.expire(Retention { time_ms: Some(10_000), bytes: None }, 50_000).unwrap();
    assert_eq!((log.start_offset(), log.end_offset(), log.size()), (100, 100, 0));
    let (log, recovery) = open(&storage.after_kill());
    assert_eq!((log.start_offset(), log.end_offset(), recovery.read_only), (100, 100, None));
}

/// Goal: records deleted on request stay deleted after a crash, and the offsets go on.
#[test]
fn deleted_records_stay_deleted() {
    let storage = MemoryStorage::default();
    let (mut log, _) = open(&storage);
    for number in 0..100 {
        append(&mut log, &payload(number, 900), 0).unwrap();
    }
    sync(&mut log).unwrap();
    assert_eq!(log.delete_before(57, 0).unwrap(), 57);
    assert_eq!(log.delete_before(3, 0).unwrap(), 57);
    let (mut log, _) = open(&storage.after_crash(&mut Chance::new(1)));
    assert_eq!((log.start_offset(), log.end_offset()), (57, 100));
    assert_eq!(read_all(&mut log, 1000).unwrap().len(), 43);
    assert_eq!(log.delete_before(1_000, 0).unwrap(), 100);
}

/// Goal: a search by time finds the first batch at or after it, in sealed segments and in the last, with the
/// index file and without it, although times go up and down.
#[test]
fn search_by_time() {
    let storage = MemoryStorage::default();
    let (mut log, _) = open(&storage);
    let times: Vec<i64> = (0..120).map(|number| number * 10 + (number * 7 % 5) * 8).collect();
    for (number, time_ms) in times.iter().enumerate() {
        append(&mut log, &payload(number as u64, 900), *time_ms).unwrap();
    }
    sync(&mut log).unwrap();
    for rebuilt in [false, true] {
        for wanted in (0..1_300).step_by(7) {
            let expected = times.iter().position(|time_ms| *time_ms >= wanted);
            let found = log.search_time(wanted).unwrap().and_then(|search| search.run().unwrap());
            let found = found.map(|slice| usize::try_from(slice.next_offset - 1).unwrap());
            assert_eq!(found, expected, "time {wanted}, rebuilt {rebuilt}");
        }
        log.recent_index = None;
        for name in storage.list(FOLDER).unwrap().iter().filter(|name| name.ends_with(".index")) {
            storage.remove(&format!("{FOLDER}/{name}")).unwrap();
        }
    }
    let largest = times.iter().max().copied().unwrap();
    assert_eq!(log.max_timestamp().unwrap().map(|(time_ms, _)| time_ms), Some(largest));
}
