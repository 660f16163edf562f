//! A long story of a log that is appended to in and out of transactions, compacted, cut off at the beginning, stopped
//! and opened again; against what a table of all that was ever written says.

use std::collections::{BTreeMap, HashMap};

use bytes::{Bytes, BytesMut};
use kafka_wire::records::{BatchBuilder, Codec, Marker, Record, Records};

use super::{FOLDER, Log, MemoryStorage, SETTINGS, open};
use crate::{
    batch,
    compact::{AbortedTransaction, LastOfProducer, Limits, Policy, Step, Writers},
    storage::memory::{Chance, Fault},
};

const DELETE_RETENTION_MS: i64 = 40;
const PRODUCERS: u64 = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    key: String,
    value: Option<String>,
    time_ms: i64,
    /// `None` while its transaction is open.
    committed: Option<bool>,
}

#[derive(Default)]
struct Story {
    now_ms: i64,
    /// By offset; of markers there is nothing.
    written: BTreeMap<i64, Written>,
    /// First offset of the open transaction, by producer.
    open: BTreeMap<i64, i64>,
    writers: Writers,
    sequences: HashMap<i64, i32>,
    /// Sequence of the last record of each producer.
    last_sequences: HashMap<i64, i32>,
    /// When each tombstone was first below the end of a compaction.
    tombstone_seen_ms: BTreeMap<i64, i64>,
}

impl Story {
    fn policy(chance: &mut Chance) -> Policy {
        let lag_ms_min = if chance.below(3) == 0 { 20 } else { 0 };
        Policy {
            dirty_ratio_min: 0.0,
            lag_ms_min,
            lag_ms_max: i64::MAX,
            delete_retention_ms: DELETE_RETENTION_MS,
        }
    }

    fn stable_offset(&self, log: &Log) -> i64 {
        self.open.values().min().copied().unwrap_or(i64::MAX).min(log.synced_offset())
    }

    fn put(&self, log: &mut Log, bytes: &Bytes) -> i64 {
        let mut bytes = BytesMut::from(&bytes[..]);
        if log.wants_roll(bytes.len(), self.now_ms) {
            log.roll(self.now_ms).unwrap();
        }
        log.append(&mut bytes, 3).unwrap().base_offset
    }

    fn append(&mut self, log: &mut Log, chance: &mut Chance) {
        const CODECS: [Codec; 3] = [Codec::None, Codec::Lz4, Codec::Zstd];
        let codec = CODECS[usize::try_from(chance.below(3)).unwrap()];
        // Producer 0 is none; the odd ones use transactions.
        let id = i64::try_from(chance.below(PRODUCERS)).unwrap();
        let transactional = id % 2 == 1;
        let records: Vec<Record> = (0..1 + chance.below(5))
            .map(|_| Record {
                key: Some(Bytes::from(format!("key {}", chance.below(8)))),
                value: (chance.below(3) > 0)
                    .then(|| Bytes::from("v".repeat(1 + usize::try_from(chance.below(90)).unwrap()))),
                timestamp_ms: self.now_ms - i64::try_from(chance.below(10)).unwrap(),
                ..Record::default()
            })
            .collect();
        let mut builder = BatchBuilder { codec, transactional, ..Default::default() };
        let count = i32::try_from(records.len()).unwrap();
        if id > 0 {
            let sequence = self.sequences.entry(id).or_insert(0);
            (builder.producer_id, builder.producer_epoch, builder.base_sequence) = (id, 0, *sequence);
            *sequence += count;
            self.last_sequences.insert(id, *sequence - 1);
        }
        let base = self.put(log, &builder.build(&records).unwrap());
        if id > 0 {
            self.writers.producers.insert(id, LastOfProducer::Record(base + i64::from(count) - 1));
        }
        if transactional {
            self.open.entry(id).or_insert(base);
        }
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        for (offset, record) in (base..).zip(&records) {
            let written = Written {
                key: text(record.key.as_ref().unwrap()),
                value: record.value.as_ref().map(text),
                time_ms: record.timestamp_ms,
                committed: (!transactional).then_some(true),
            };
            self.written.insert(offset, written);
        }
    }

    fn end_transaction(&mut self, log: &mut Log, chance: &mut Chance) {
        let Some((&id, &first_offset)) = self.open.iter().next() else { return };
        let committed = chance.below(2) == 0;
        let marker = Marker { committed, coordinator_epoch: 0 };
        let last_offset = self.put(log, &marker.batch((id, 0), self.now_ms).unwrap());
        self.open.remove(&id);
        // The model's producers write by turns, so all of the producer's undecided records are of this transaction.
        let mine = self.mine(log, id, first_offset);
        for offset in mine {
            if let Some(written) = self.written.get_mut(&offset) {
                written.committed = Some(committed);
            }
        }
        if !committed {
            self.writers.aborted.push(AbortedTransaction { producer_id: id, first_offset, last_offset });
        }
    }

    /// Offsets of the producer's records from `first` on.
    fn mine(&self, log: &mut Log, id: i64, first: i64) -> Vec<i64> {
        sync(log);
        let mut mine = Vec::new();
        log.walk(first, &mut |header, _| {
            if header.producer_id == id && !header.is_control() {
                mine.extend(header.base_offset..header.next_offset());
            }
        })
        .unwrap();
        mine
    }

    /// Runs a compaction until it ends or something stops it.
    fn compact(&mut self, log: &mut Log, chance: &mut Chance) {
        let key_memory_bytes = if chance.below(2) == 0 { 300 } else { 1 << 20 };
        let limits = Limits { stable_offset: self.stable_offset(log), key_memory_bytes };
        let policy = Self::policy(chance);
        let pass = log.begin_compaction(limits, &policy, self.writers.clone(), self.now_ms);
        let Some(mut pass) = pass else { return };
        for offset in self.written.range(..limits.stable_offset).map(|(offset, _)| *offset) {
            self.tombstone_seen_ms.entry(offset).or_insert(self.now_ms);
        }
        loop {
            match pass.step() {
                Ok(Step::Working) => {}
                Ok(Step::Finished(made)) => {
                    if !log.put_compacted(made).is_ok_and(|put| put) {
                        return;
                    }
                }
                Ok(Step::Done(done)) => return self.check_clean(log, done.clean_offset),
                Err(_) => return,
            }
        }
    }

    /// After a compaction there is one record of each key at most, and none of an aborted transaction.
    fn check_clean(&self, log: &mut Log, clean_offset: i64) {
        let found = self.found(log, log.start_offset());
        let clean: Vec<_> = found.iter().filter(|(offset, _)| **offset < clean_offset).collect();
        let keys: BTreeMap<&str, i64> =
            clean.iter().map(|(offset, it)| (it.key.as_str(), **offset)).collect();
        assert_eq!(keys.len(), clean.len(), "one of each key below {clean_offset}");
        assert!(clean.iter().all(|(_, it)| it.committed == Some(true)));
    }

    /// Reads everything from `offset` on; what the records say about transactions is the model's.
    fn found(&self, log: &mut Log, offset: i64) -> BTreeMap<i64, Written> {
        let (mut at, mut found) = (offset, BTreeMap::new());
        while at < log.synced_offset() {
            let slice = log.locate(at).unwrap().unwrap().read(700).unwrap();
            assert!(slice.next_offset > at, "a read at {at} moves on");
            let mut rest = slice.bytes.clone();
            while let Some(header) = batch::header(&rest) {
                let bytes = rest.split_to(header.size);
                if header.is_control() {
                    continue;
                }
                for record in Records::open(&bytes, 1 << 20).unwrap().map(Result::unwrap) {
                    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
                    let written = Written {
                        key: text(record.key.unwrap()),
                        value: record.value.map(text),
                        time_ms: record.timestamp_ms,
                        committed: self.written.get(&record.offset).and_then(|it| it.committed),
                    };
                    assert_eq!(self.written.get(&record.offset), Some(&written), "as it was written");
                    if record.offset >= offset {
                        found.insert(record.offset, written);
                    }
                }
            }
            at = slice.next_offset;
        }
        assert_eq!(at, log.synced_offset());
        found
    }

    fn check(&self, log: &mut Log, chance: &mut Chance) {
        sync(log);
        let start = log.start_offset();
        let all = self.found(log, start);
        let mut newest: BTreeMap<&str, (i64, &Written)> = BTreeMap::new();
        for (offset, written) in self.written.range(start..).filter(|(_, it)| it.committed == Some(true)) {
            newest.insert(&written.key, (*offset, written));
        }
        let committed = all.iter().filter(|(_, it)| it.committed == Some(true));
        let of_log: BTreeMap<&str, i64> = committed.map(|(offset, it)| (it.key.as_str(), *offset)).collect();
        for (key, (offset, written)) in newest {
            match of_log.get(key) {
                Some(found) => assert_eq!(*found, offset, "the newest of {key}"),
                None => {
                    assert_eq!(written.value, None, "the value of {key} at {offset} stays");
                    let seen_ms = self.tombstone_seen_ms.get(&offset).copied();
                    let due = seen_ms.is_some_and(|seen_ms| self.now_ms >= seen_ms + DELETE_RETENTION_MS);
                    assert!(due, "the tombstone of {key} at {offset} stays for its time");
                }
            }
        }
        let undecided = self.written.range(start..).filter(|(_, it)| it.committed.is_none());
        assert!(undecided.into_iter().all(|(offset, _)| all.contains_key(offset)), "nothing undecided goes");
        let offset = start
            + i64::try_from(chance.below(u64::try_from(log.end_offset() - start + 1).unwrap())).unwrap();
        let rest: BTreeMap<i64, Written> = all.range(offset..).map(|(at, it)| (*at, it.clone())).collect();
        assert_eq!(self.found(log, offset), rest, "from any offset the same");
        self.check_times(log, &all, chance);
        self.check_producers(log);
    }

    fn check_times(&self, log: &mut Log, all: &BTreeMap<i64, Written>, chance: &mut Chance) {
        let time_ms = self.now_ms - i64::try_from(chance.below(60)).unwrap();
        let expected = all.iter().find(|(_, it)| it.time_ms >= time_ms).map(|(offset, _)| *offset);
        let found = log.search_time(time_ms).unwrap().and_then(|search| search.run().unwrap());
        // Of markers the model knows nothing: one may come first.
        if let (Some(expected), Some(found)) = (expected, &found) {
            let header = batch::header(&found.bytes).unwrap();
            assert!(header.base_offset <= expected && header.max_timestamp_ms >= time_ms);
        } else {
            assert!(expected.is_none(), "a record at {expected:?} is found by its time {time_ms}");
        }
    }

    fn check_producers(&self, log: &mut Log) {
        let mut last: HashMap<i64, (i64, i32)> = HashMap::new();
        log.walk(log.start_offset(), &mut |header, _| {
            if header.producer_id > 0 && !header.is_control() {
                last.insert(header.producer_id, (header.last_offset(), header.last_sequence()));
            }
        })
        .unwrap();
        for (id, known) in &self.writers.producers {
            let LastOfProducer::Record(offset) = known else { continue };
            if *offset >= log.start_offset() {
                assert_eq!(last.get(id), Some(&(*offset, self.last_sequences[id])), "producer {id} is known");
            }
        }
    }
}

fn sync(log: &mut Log) {
    if let Some(ticket) = log.begin_sync() {
        ticket.run().unwrap();
        log.finish_sync(&ticket);
    }
}

fn cut_off(log: &mut Log, story: &Story, chance: &mut Chance) {
    let offset = log.start_offset() + i64::try_from(chance.below(30)).unwrap();
    log.delete_before(offset.min(story.stable_offset(log)), story.now_ms).unwrap();
}

/// A compaction that the machine stops in, at any change; what is on the disk then is opened.
fn stop_in_compaction(
    storage: &MemoryStorage,
    log: &mut Log,
    story: &mut Story,
    chance: &mut Chance,
) -> MemoryStorage {
    sync(log);
    storage.fail_at(chance.below(40), Fault::Crash);
    story.compact(log, chance);
    if chance.below(2) == 0 { storage.after_kill() } else { storage.after_crash(chance) }
}

/// Goal: whatever happens to a log, its readers see the newest record of each key from every offset on, nothing that
/// was not written, tombstones for their time, all that is undecided, and each producer's last sequence.
#[test]
fn a_long_story() {
    for seed in 0..25 {
        let mut chance = Chance::new(seed);
        let mut storage = MemoryStorage::default();
        let mut log = open(&storage);
        let mut story = Story { now_ms: 1_000, ..Story::default() };
        for _ in 0..120 {
            story.now_ms += i64::try_from(chance.below(12)).unwrap();
            match chance.below(16) {
                0 | 1 => story.compact(&mut log, &mut chance),
                2 => log.roll(story.now_ms).unwrap(),
                3 | 4 => story.end_transaction(&mut log, &mut chance),
                5 if chance.below(4) == 0 => cut_off(&mut log, &story, &mut chance),
                6 => {
                    sync(&mut log);
                    storage = storage.after_crash(&mut chance);
                    log =
                        Log::open(storage.clone(), FOLDER, SETTINGS, story.now_ms, &mut |_, _| ()).unwrap().0;
                }
                7 => {
                    storage = stop_in_compaction(&storage, &mut log, &mut story, &mut chance);
                    let (again, recovery) =
                        Log::open(storage.clone(), FOLDER, SETTINGS, story.now_ms, &mut |_, _| ()).unwrap();
                    assert_eq!(recovery.read_only, None, "seed {seed}");
                    log = again;
                }
                _ => story.append(&mut log, &mut chance),
            }
            story.check(&mut log, &mut chance);
        }
    }
}
