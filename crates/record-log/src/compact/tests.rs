//! Compaction against a model: what was appended, and which record of each key must be there. Over a disk that stops,
//! fills up or fails at any change.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use kafka_wire::records::{BatchBuilder, Codec, Record, Records};

use super::*;
use crate::{
    Settings, batch,
    segment::file_name,
    storage::memory::{Chance, Fault, MemoryStorage},
};

mod model;

const FOLDER: &str = "topics/one";
const SETTINGS: Settings = Settings { segment_bytes: 7_000, segment_ms: i64::MAX };
const RETENTION_MS: i64 = 1_000;
const POLICY: Policy =
    Policy { dirty_ratio_min: 0.0, lag_ms_min: 0, lag_ms_max: i64::MAX, delete_retention_ms: RETENTION_MS };

type Log = crate::Log<MemoryStorage>;
/// Offset, key and value of each record that can be read.
type Found = Vec<(i64, String, Option<String>)>;

fn open(storage: &MemoryStorage) -> Log {
    let (log, recovery) = Log::open(storage.clone(), FOLDER, SETTINGS, 0, &mut |_, _| ()).unwrap();
    assert_eq!(recovery.read_only, None);
    log
}

fn append(log: &mut Log, builder: BatchBuilder, records: &[(&str, Option<&str>)]) -> i64 {
    let record = |(key, value): &(&str, Option<&str>)| Record {
        key: Some(Bytes::copy_from_slice(key.as_bytes())),
        value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
        timestamp_ms: 50,
        ..Record::default()
    };
    let records: Vec<Record> = records.iter().map(record).collect();
    let mut bytes = BytesMut::from(&builder.build(&records).unwrap()[..]);
    if log.wants_roll(bytes.len(), 0) {
        log.roll(0).unwrap();
    }
    log.append(&mut bytes, 3).unwrap().base_offset
}

/// All records from `offset` on; each read moves on.
fn read_from(log: &mut Log, mut offset: i64, max_bytes: usize) -> Found {
    let mut found = Found::new();
    let start = offset;
    while offset < log.synced_offset() {
        let slice = log.locate(offset).unwrap().unwrap().read(max_bytes).unwrap();
        assert!(slice.next_offset > offset, "a read at {offset} moves on");
        let mut rest = slice.bytes.clone();
        while let Some(header) = batch::header(&rest) {
            let bytes = rest.split_to(header.size);
            assert!(batch::is_intact(&bytes));
            if header.is_control() {
                continue;
            }
            let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
            for record in Records::open(&bytes, 1 << 20).unwrap() {
                let record = record.unwrap();
                assert_eq!(record.timestamp_ms, 50, "a time never changes");
                if record.offset >= start {
                    found.push((record.offset, text(record.key.unwrap()), record.value.map(text)));
                }
            }
        }
        offset = slice.next_offset;
    }
    assert_eq!(offset, log.synced_offset(), "a reader gets to the end");
    found
}

fn read(log: &mut Log) -> Found {
    let start = log.start_offset();
    read_from(log, start, 4_000)
}

fn begin(log: &Log, writers: Writers, now_ms: i64, key_memory_bytes: usize) -> Option<Pass<MemoryStorage>> {
    let limits = Limits { stable_offset: log.synced_offset(), key_memory_bytes };
    log.begin_compaction(limits, &POLICY, writers, now_ms)
}

/// Runs a compaction to its end; says whether it got there.
fn run(log: &mut Log, writers: Writers, now_ms: i64, memory_bytes: usize) -> Result<Option<Done>, String> {
    let Some(mut pass) = begin(log, writers, now_ms, memory_bytes) else { return Ok(None) };
    loop {
        match pass.step().map_err(|error| error.to_string())? {
            Step::Working => {}
            Step::Finished(made) => {
                assert!(log.put_compacted(made).map_err(|error| error.to_string())?);
            }
            Step::Done(done) => return Ok(Some(done)),
        }
    }
}

/// Appends random values to few keys, in all codecs; a quarter are tombstones.
fn fill(log: &mut Log, chance: &mut Chance, count: u64) {
    const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
    for _ in 0..count {
        let codec = CODECS[usize::try_from(chance.below(5)).unwrap()];
        let records: Vec<(String, Option<String>)> = (0..1 + chance.below(6))
            .map(|_| {
                let value =
                    (chance.below(4) > 0).then(|| format!("{}-{}", chance.below(1 << 40), "x".repeat(60)));
                (format!("key {}", chance.below(12)), value)
            })
            .collect();
        let records: Vec<(&str, Option<&str>)> =
            records.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        append(log, BatchBuilder { codec, ..Default::default() }, &records);
    }
    log.roll(0).unwrap();
}

fn newest(found: &Found) -> BTreeMap<String, (i64, Option<String>)> {
    found.iter().map(|(offset, key, value)| (key.clone(), (*offset, value.clone()))).collect()
}

/// A log is right when each record was there before at its offset, and the last of each key is.
fn check(before: &Found, after: &Found, seed: u64) {
    assert!(after.iter().all(|record| before.contains(record)), "seed {seed}: nothing is invented");
    assert!(after.is_sorted_by_key(|record| record.0), "seed {seed}: the order stays");
    assert_eq!(newest(before), newest(after), "seed {seed}: the last of each key stays");
}

/// Goal: after a compaction there is exactly the last record of each key, in few files; tombstones go once their time
/// is up and not before; nothing is due then; all survives a stop. With little memory it takes several.
#[test]
fn the_last_record_of_each_key_stays() {
    for seed in 0..30 {
        let storage = MemoryStorage::default();
        let mut chance = Chance::new(seed);
        let mut log = open(&storage);
        fill(&mut log, &mut chance, 60);
        let before = read(&mut log);
        let is_little = seed % 3 == 0;
        let (memory, end) = (if is_little { 300 } else { 1 << 20 }, log.synced_offset());
        for turn in 0.. {
            let done = run(&mut log, Writers::default(), 100, memory).unwrap().unwrap();
            if done.clean_offset == end {
                break;
            }
            assert!(is_little && turn < 100, "seed {seed}: enough memory for all");
        }
        let after = read(&mut log);
        check(&before, &after, seed);
        assert_eq!(after.len(), newest(&before).len(), "seed {seed}: one of each key");
        // What fits together is told from the sizes before, so it takes one more.
        run(&mut log, Writers::default(), 101, 1 << 20).unwrap();
        assert_eq!(log.segments.len(), 2, "seed {seed}: small files become one");
        assert_eq!(read(&mut log), after, "seed {seed}: and nothing else changes");
        let worth = log.compaction_worth(end, &POLICY, 99 + RETENTION_MS).unwrap();
        assert_eq!(worth, Worth::default(), "seed {seed}: nothing to do");
        run(&mut log, Writers::default(), 99 + RETENTION_MS, 1 << 20).unwrap();
        assert_eq!(read(&mut log), after, "seed {seed}: tombstones stay for their time");
        let late = 100 + RETENTION_MS;
        let has_tombstones = after.iter().any(|record| record.2.is_none());
        assert_eq!(log.compaction_worth(end, &POLICY, late).unwrap().is_late, has_tombstones);
        run(&mut log, Writers::default(), late, 1 << 20).unwrap();
        let values: Found = after.into_iter().filter(|record| record.2.is_some()).collect();
        assert_eq!(read(&mut log), values, "seed {seed}: tombstones are gone");
        assert!(!log.compaction_worth(end, &POLICY, i64::MAX - 1).unwrap().is_late);
        let mut again = open(&storage.after_crash(&mut chance));
        assert_eq!(read(&mut again), values, "seed {seed}: after a stop");
        assert_eq!((again.start_offset(), again.end_offset()), (log.start_offset(), log.end_offset()));
        assert_eq!(again.compaction_worth(end, &POLICY, late).unwrap(), Worth::default());
    }
}

/// Goal: a stop of the machine at any change of a compaction leaves a log that opens, in which each record is at its
/// offset and the last of each key is there; and a compaction after it ends as one without the stop, with no file too
/// many.
#[test]
fn a_crash_at_any_change_loses_nothing() {
    for seed in 0..8 {
        for stop in 0.. {
            let storage = MemoryStorage::default();
            let mut chance = Chance::new(seed);
            let mut log = open(&storage);
            fill(&mut log, &mut chance, 40);
            let before = read(&mut log);
            storage.fail_at(stop, Fault::Crash);
            let outcome = run(&mut log, Writers::default(), 100, 1 << 20);
            let mut chance = Chance::new(stop);
            let killed = stop % 2 == 0;
            let after = if killed { storage.after_kill() } else { storage.after_crash(&mut chance) };
            let mut log = open(&after);
            check(&before, &read(&mut log), seed);
            for _ in 0..3 {
                run(&mut log, Writers::default(), 100, 1 << 20).unwrap();
            }
            let found = read(&mut log);
            check(&before, &found, seed);
            assert_eq!(found.len(), newest(&before).len(), "seed {seed}, stop {stop}");
            let names = after.list(FOLDER).unwrap();
            let logs = names.iter().filter(|name| name.ends_with(".log")).count();
            assert_eq!(logs, 2, "seed {seed}, stop {stop}: {names:?}");
            assert!(!names.iter().any(|name| name.ends_with(UNFINISHED_SUFFIX)), "{names:?}");
            if outcome.is_ok() {
                assert!(stop > 10, "there were changes to stop at");
                break;
            }
        }
    }
}

/// Goal: a full or broken disk ends a compaction and loses nothing; a full one does not even end writing.
#[test]
fn a_failing_disk_loses_nothing() {
    for (seed, fault) in (0..40).flat_map(|seed| [(seed, Fault::Full), (seed, Fault::Broken)]) {
        let storage = MemoryStorage::default();
        let mut chance = Chance::new(seed);
        let mut log = open(&storage);
        fill(&mut log, &mut chance, 40);
        let before = read(&mut log);
        storage.fail_at(chance.below(20), fault);
        let outcome = run(&mut log, Writers::default(), 100, 1 << 20);
        storage.heal();
        check(&before, &read(&mut log), seed);
        if fault == Fault::Full && outcome.is_err() {
            assert_eq!(log.read_only_reason(), None, "seed {seed}");
            run(&mut log, Writers::default(), 100, 1 << 20).unwrap();
            check(&before, &read(&mut log), seed);
        }
        check(&before, &read(&mut open(&storage.after_kill())), seed);
    }
}

fn of_producer(producer_id: i64, transactional: bool, control: bool) -> BatchBuilder {
    let base_sequence = if control { -1 } else { 0 };
    BatchBuilder {
        producer_id,
        producer_epoch: 0,
        base_sequence,
        transactional,
        control,
        ..Default::default()
    }
}

/// The base offsets and numbers of records of all batches.
fn batches(log: &mut Log) -> Vec<(i64, i32)> {
    let mut found = Vec::new();
    log.walk(log.start_offset(), &mut |header, _| found.push((header.base_offset, header.record_count)))
        .unwrap();
    found
}

/// Goal: records of aborted transactions go and hide no key, markers stay for as long as their transaction has
/// records and then for a tombstone's time, and the last batch of a known producer stays, empty.
#[test]
fn transactions_and_producers() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    append(&mut log, BatchBuilder::default(), &[("a", Some("old")), ("b", Some("old"))]);
    append(&mut log, of_producer(1, true, false), &[("a", Some("aborted"))]);
    append(&mut log, of_producer(2, true, false), &[("b", Some("committed"))]);
    let aborted = append(&mut log, of_producer(1, true, true), &[("marker", Some(""))]);
    let committed = append(&mut log, of_producer(2, true, true), &[("marker", Some(""))]);
    append(&mut log, of_producer(3, false, false), &[("c", Some("old"))]);
    append(&mut log, BatchBuilder::default(), &[("c", Some("new"))]);
    log.roll(0).unwrap();
    let writers = || Writers {
        aborted: vec![AbortedTransaction { producer_id: 1, first_offset: 2, last_offset: aborted }],
        producers: HashMap::from([(3, LastOfProducer::Record(6)), (9, LastOfProducer::Marker(0))]),
    };
    run(&mut log, writers(), 100, 1 << 20).unwrap();
    let text = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
    let found: Vec<(String, Option<String>)> =
        read(&mut log).into_iter().map(|(_, key, value)| (key, value)).collect();
    assert_eq!(found, [text("a", "old"), text("b", "committed"), text("c", "new")]);
    let both = [(0, 1), (3, 1), (aborted, 1), (committed, 1), (6, 0), (7, 1)];
    assert_eq!(batches(&mut log), both, "both markers, and producer 3's last batch");
    assert!(log.compaction_worth(i64::MAX, &POLICY, 100 + RETENTION_MS).unwrap().is_late);
    run(&mut log, writers(), 100 + RETENTION_MS, 1 << 20).unwrap();
    assert_eq!(batches(&mut log), [(0, 1), (3, 1), (committed, 1), (6, 0), (7, 1)]);
    run(&mut log, Writers::default(), 100 + RETENTION_MS, 1 << 20).unwrap();
    assert_eq!(batches(&mut log), [(0, 1), (3, 1), (committed, 1), (7, 1)], "a producer is forgotten");
}

/// Goal: the marker of a producer of whom nothing else is known stays, as its epoch would be forgotten; the last
/// batch of a file stays without records, so that readers get to the end.
#[test]
fn what_ends_a_file_stays() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    append(&mut log, of_producer(1, true, true), &[("marker", Some(""))]);
    append(&mut log, of_producer(2, true, true), &[("marker", Some(""))]);
    append(&mut log, BatchBuilder::default(), &[("a", Some("old")), ("a", None)]);
    log.roll(0).unwrap();
    let producers = HashMap::from([(1, LastOfProducer::Marker(0)), (2, LastOfProducer::Marker(1))]);
    let writers = Writers { producers, ..Writers::default() };
    run(&mut log, writers.clone(), 100, 1 << 20).unwrap();
    assert_eq!(batches(&mut log), [(0, 1), (1, 1), (2, 1)]);
    run(&mut log, writers, 100 + RETENTION_MS, 1 << 20).unwrap();
    assert_eq!(batches(&mut log), [(0, 1), (2, 0)]);
    let slice = log.locate(1).unwrap().unwrap().read(1).unwrap();
    assert_eq!(slice.next_offset, 4);
    assert_eq!(
        log.search_time(0).unwrap().and_then(|search| search.run().unwrap()).map(|it| it.next_offset),
        Some(1)
    );
}

/// Goal: with damage in a segment nothing is made of it, and it stays as it is.
#[test]
fn damage_is_left_alone() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    fill(&mut log, &mut Chance::new(1), 40);
    storage.flip_bit(&format!("{FOLDER}/{}", file_name(0)), 4096 + 80).unwrap();
    let mut pass = begin(&log, Writers::default(), 100, 1 << 20).unwrap();
    assert!(matches!(pass.step(), Err(CompactError::Damaged { segment: 0, .. })));
}

/// Goal: a record is left alone while it is younger than the policy's lag, and nothing behind it is touched; when it
/// is older than the largest lag, it is time whatever the ratio.
#[test]
fn lags_are_kept() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    append(&mut log, BatchBuilder::default(), &[("a", Some("old")), ("a", Some("new"))]);
    log.roll(1_000).unwrap();
    let policy = Policy { dirty_ratio_min: 1.0, lag_ms_min: 100, lag_ms_max: 500, ..POLICY };
    let worth = |now_ms| log.compaction_worth(i64::MAX, &policy, now_ms).unwrap();
    assert_eq!(worth(149).dirty_bytes, 0);
    assert!(worth(150).dirty_bytes > 0 && !worth(150).is_due(&policy));
    assert!(!worth(550).is_due(&policy) && worth(551).is_due(&policy));
    let undecided = log.compaction_worth(1, &policy, 10_000).unwrap();
    assert_eq!(undecided, Worth::default(), "not before all of a segment is decided");
}

/// Goal: when retention takes a segment away while it is compacted, nothing is put in its place, and no file is left.
#[test]
fn what_is_gone_is_not_put_back() {
    let storage = MemoryStorage::default();
    let mut log = open(&storage);
    fill(&mut log, &mut Chance::new(1), 40);
    let mut pass = begin(&log, Writers::default(), 100, 1 << 20).unwrap();
    let made = loop {
        if let Step::Finished(made) = pass.step().unwrap() {
            break made;
        }
    };
    log.delete_before(log.segments[1].base_offset, 0).unwrap();
    let before = read(&mut log);
    assert!(!log.put_compacted(made).unwrap());
    assert_eq!(read(&mut log), before);
    assert!(!storage.list(FOLDER).unwrap().iter().any(|name| name.ends_with(UNFINISHED_SUFFIX)));
}
