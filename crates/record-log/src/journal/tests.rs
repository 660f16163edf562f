//! Logs with a journal over a storage that crashes, fills up and fails: what was acknowledged stays, in order, in
//! its own log; what is lost to damage is told.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    sync::{Arc, Mutex},
};

use super::*;
use crate::{
    AppendError, Log, SyncTicket, batch,
    storage::memory::{Chance, Fault, MemoryStorage},
};

const LOGS: usize = 4;
const LOG_SETTINGS: crate::Settings = crate::Settings { segment_bytes: 30_000, segment_ms: i64::MAX };
const SETTINGS: Settings = Settings { file_bytes: 24 * 1024, files_max: 3 };

struct TestMember {
    folder: String,
    log: Mutex<Log<MemoryStorage>>,
}

impl Member<MemoryStorage> for TestMember {
    fn folder(&self) -> &str {
        &self.folder
    }

    fn begin_sync(&self) -> Option<SyncTicket<<MemoryStorage as Storage>::File>> {
        self.log.lock().unwrap().begin_sync()
    }

    fn begin_store(&self) -> Option<SyncTicket<<MemoryStorage as Storage>::File>> {
        self.log.lock().unwrap().begin_store()
    }

    fn begin_note(&self) -> Option<SyncTicket<<MemoryStorage as Storage>::File>> {
        self.log.lock().unwrap().begin_note()
    }

    fn finish(&self, ticket: &SyncTicket<<MemoryStorage as Storage>::File>, outcome: io::Result<Place>) {
        let mut log = self.log.lock().unwrap();
        match outcome {
            Ok(Place::File) => log.finish_sync(ticket),
            Ok(Place::Journal) => log.finish_journaled(ticket),
            Err(error) => log.fail(&error.to_string()),
        }
    }

    fn noted_offset(&self) -> Option<i64> {
        Some(self.log.lock().unwrap().noted_offset())
    }
}

/// A run of a process.
struct Node {
    journal: Mutex<Journal<MemoryStorage>>,
    members: Vec<Arc<TestMember>>,
    lost: Vec<Option<String>>,
    redone: u64,
}

fn plain(sync: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
    sync()
}

impl Node {
    fn open(storage: &MemoryStorage, salt: u64) -> Option<Self> {
        let (mut journal, recovered) = Journal::open(storage.clone(), SETTINGS, salt).ok()?;
        let (mut members, mut lost, mut redone) = (Vec::new(), Vec::new(), 0);
        for number in 0..LOGS {
            let folder = format!("topics/{number}");
            let opened = Log::open_for_redo(storage.clone(), &folder, LOG_SETTINGS, 0, &mut |_, _| ());
            let (mut log, _) = opened.ok()?;
            let redo = recovered.redo(&mut log, &mut |_, _| ()).ok()?;
            redone += redo.batches;
            lost.push(redo.lost);
            members.push(Arc::new(TestMember { folder, log: Mutex::new(log) }));
        }
        let known: HashSet<String> = members.iter().map(|member| member.folder.clone()).collect();
        let gone: HashSet<String> = members
            .iter()
            .zip(&lost)
            .filter(|(_, lost)| lost.is_some())
            .map(|(it, _)| it.folder.clone())
            .collect();
        let aside = journal.settle(&known, &gone).ok()?;
        let node = Self { journal: Mutex::new(journal), members, lost, redone };
        if aside {
            node.store_all();
            node.journal.lock().unwrap().put_aside().ok()?;
        }
        Some(node)
    }

    fn append(&self, at: usize, payload: &[u8]) -> Result<(i64, i64), AppendError> {
        let mut log = self.members[at].log.lock().unwrap();
        let mut bytes = batch::wrap(payload, 0).unwrap();
        if log.wants_roll(bytes.len(), 0) {
            log.roll(0)?;
        }
        log.append(&mut bytes, 3).map(|appended| (appended.base_offset, log.synced_offset()))
    }

    fn round(&self) -> Option<WriteError> {
        run_round(&self.members, &self.journal, &mut plain).failure
    }

    fn store_all(&self) {
        self.members.iter().for_each(|member| store(&**member, &self.journal, &mut plain));
    }

    fn grow(&self) {
        let wanted = self.journal.lock().unwrap().wants_file();
        if let Some(Ok(made)) = wanted.map(NewFile::make) {
            self.journal.lock().unwrap().add(made);
        }
    }

    fn close(&self) {
        for member in &self.members {
            drop(member.log.lock().unwrap().close());
            store(&**member, &self.journal, &mut plain);
        }
        drop(self.journal.lock().unwrap().close());
    }

    fn end(&self, at: usize) -> i64 {
        self.members[at].log.lock().unwrap().end_offset()
    }

    fn synced(&self, at: usize) -> i64 {
        self.members[at].log.lock().unwrap().synced_offset()
    }
}

/// What was promised, by log.
#[derive(Default)]
struct Story {
    /// All that was ever tried at an offset.
    written: Vec<BTreeMap<i64, Vec<Vec<u8>>>>,
    acknowledged: Vec<i64>,
}

impl Story {
    fn new() -> Self {
        Self { written: vec![BTreeMap::new(); LOGS], acknowledged: vec![0; LOGS] }
    }

    /// Works until the storage stops.
    fn work(&mut self, node: &Node, storage: &MemoryStorage, chance: &mut Chance, steps: u64) {
        for _ in 0..steps {
            let at = usize::try_from(chance.below(LOGS as u64)).unwrap();
            match chance.below(20) {
                0 => node.grow(),
                1 | 2 => store(&*node.members[at], &node.journal, &mut plain),
                3 => storage.heal(),
                4..=9 => drop(node.round()),
                _ => {
                    let length = usize::try_from(chance.below(2_000)).unwrap();
                    let mut payload = chance.below(u64::MAX).to_be_bytes().to_vec();
                    payload.resize(8 + length, u8::try_from(at).unwrap());
                    self.written[at].entry(node.end(at)).or_default().push(payload.clone());
                    drop(node.append(at, &payload));
                }
            }
            for at in 0..LOGS {
                self.acknowledged[at] = self.acknowledged[at].max(node.synced(at));
            }
        }
    }

    fn check(&self, node: &Node, seed: u64) {
        for (at, member) in node.members.iter().enumerate() {
            assert_eq!(node.lost[at], None, "seed {seed}: a crash is no damage");
            let mut log = member.log.lock().unwrap();
            assert_eq!(log.read_only_reason(), None, "seed {seed}");
            assert_eq!(log.synced_offset(), log.end_offset(), "seed {seed}");
            let promised = self.acknowledged[at];
            assert!(
                log.end_offset() >= promised,
                "seed {seed}: log {at} has {} of {promised}",
                log.end_offset()
            );
            let mut offset = 0;
            while let Some(location) = log.locate(offset).unwrap() {
                let slice = location.read(5_000).unwrap();
                let mut rest = &slice.bytes[..];
                while let Some(header) = batch::header(rest) {
                    assert_eq!(header.base_offset, offset, "seed {seed}: order");
                    let payload = rest[batch::HEADER_BYTES..header.size].to_vec();
                    assert!(
                        self.written[at][&offset].contains(&payload),
                        "seed {seed}: invented or of another log"
                    );
                    rest = &rest[header.size..];
                    offset += 1;
                }
            }
        }
    }
}

fn lives(seed: u64, fault: Option<Fault>) -> u64 {
    let mut storage = MemoryStorage::default();
    let mut chance = Chance::new(seed);
    let mut story = Story::new();
    let mut redone = 0;
    for life in 0..4 {
        let salt = seed * 10 + life;
        let node = Node::open(&storage, salt).expect("nothing fails yet");
        story.check(&node, seed);
        redone += node.redone;
        if chance.below(3) > 0 {
            node.grow();
        }
        if let Some(fault) = fault {
            storage.fail_at(chance.below(120), fault);
        }
        let steps = 20 + chance.below(150);
        story.work(&node, &storage, &mut chance, steps);
        if chance.below(4) == 0 {
            storage.heal();
            node.close();
        }
        storage = if chance.below(4) == 0 { storage.after_kill() } else { storage.after_crash(&mut chance) };
        if chance.below(3) == 0 {
            // A crash in the middle of recovery.
            storage.fail_at(chance.below(20), Fault::Crash);
            drop(Node::open(&storage, salt + 5));
            storage = storage.after_crash(&mut chance);
        }
    }
    let node = Node::open(&storage, seed * 10 + 9).expect("nothing fails");
    story.check(&node, seed);
    redone + node.redone
}

/// Goal: over several lives that end in kills and crashes of the machine, also while recovering, with the ring going
/// round and logs stored in between, every acknowledged batch is there, in its log, in order.
#[test]
fn acknowledged_batches_survive_crashes() {
    let mut redone = 0;
    for seed in 0..60 {
        redone += lives(seed, None);
        redone += lives(seed, Some(Fault::Crash));
    }
    assert!(redone > 50, "the journal was needed: {redone}");
}

/// Goal: the same when the disk fills up.
#[test]
fn acknowledged_batches_survive_a_full_disk() {
    (0..60).for_each(|seed| assert!(lives(seed, Some(Fault::Full)) < u64::MAX));
}

/// Goal: the same when any one write or sync fails, of a log or of the journal.
#[test]
fn acknowledged_batches_survive_a_failed_sync() {
    (0..100).for_each(|seed| assert!(lives(seed, Some(Fault::Broken)) < u64::MAX));
}

fn filled(rounds: u64) -> (MemoryStorage, Node) {
    let storage = MemoryStorage::default();
    let node = Node::open(&storage, 7).unwrap();
    node.grow();
    for number in 0..rounds {
        node.append(usize::try_from(number % 2).unwrap(), &[1; 100]).unwrap();
        assert!(node.round().is_none());
    }
    (storage, node)
}

/// Goal: a round needs one sync of the journal and none of the logs, and the logs' bytes are lost in a crash and put
/// back.
#[test]
fn small_rounds_go_through_the_journal() {
    let (storage, node) = filled(10);
    let mut syncs = 0;
    node.append(0, &[2; 100]).unwrap();
    node.append(1, &[2; 100]).unwrap();
    let done = run_round(&node.members, &node.journal, &mut |sync| {
        syncs += 1;
        sync()
    });
    assert_eq!((syncs, done.together, done.alone), (1, 2, 0));
    assert!(done.together_bytes > 200, "{done:?}");
    assert_eq!((node.synced(0), node.synced(1)), (6, 6));
    assert_eq!(node.members[0].log.lock().unwrap().noted_offset(), 0);
    let mut redone = 0;
    for seed in 0..20 {
        redone += Node::open(&storage.after_crash(&mut Chance::new(seed)), 8).unwrap().redone;
    }
    assert!(redone > 0);
}

/// Goal: a start after a kill syncs no log whose batches the journal has, and may rely on the journal from then on;
/// what nobody was told of is synced before it can be read.
#[test]
fn a_start_syncs_only_what_the_journal_has_not() {
    let (storage, node) = filled(10);
    node.append(0, b"nobody was told of this").unwrap();
    let killed = storage.after_kill();
    let node = Node::open(&killed, 8).unwrap();
    assert_eq!((node.redone, node.synced(0), node.synced(1)), (0, 6, 5));
    let mut redone = 0;
    for seed in 0..20 {
        let node = Node::open(&killed.after_crash(&mut Chance::new(seed)), 9).unwrap();
        assert_eq!((node.end(0), node.end(1)), (6, 5));
        redone += node.redone;
    }
    assert!(redone > 0, "the log that the journal has was not synced");
}

/// Where the journal's rounds start.
fn round_positions(storage: &MemoryStorage) -> Vec<usize> {
    let file = storage.open("journal/0000.journal").unwrap();
    let mut bytes = vec![0; usize::try_from(file.length().unwrap()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    (0..bytes.len()).step_by(512).filter(|at| bytes[*at..].starts_with(b"PJRD")).collect()
}

/// Storage after a crash that kept nothing which was not synced.
fn bare(storage: &MemoryStorage) -> MemoryStorage {
    (0..)
        .map(|seed| storage.after_crash(&mut Chance::new(seed)))
        .find(|it| {
            let log = Log::open(it.after_kill(), "topics/0", LOG_SETTINGS, 0, &mut |_, _| ()).unwrap().0;
            log.end_offset() == 0
        })
        .unwrap()
}

/// Goal: one flipped bit in a batch that only the journal has makes that log read-only, at every start from then on,
/// says which records, keeps the bytes, and leaves the other logs alone.
#[test]
fn damage_is_told_for_the_log() {
    let (storage, _) = filled(10);
    let crashed = bare(&storage);
    let third = round_positions(&crashed)[2];
    crashed.flip_bit("journal/0000.journal", third + 200).unwrap();
    let node = Node::open(&crashed, 8).unwrap();
    assert!(node.lost[0].as_ref().unwrap().contains("records 1 to 1"), "{:?}", node.lost);
    assert_eq!((node.end(0), node.end(1)), (1, 5));
    assert!(node.lost[1..].iter().all(Option::is_none), "{:?}", node.lost);
    let names = crashed.list("journal").unwrap();
    assert_eq!(names, ["kept-1-0000"]);
    for life in 9..12 {
        let node = Node::open(&crashed.after_crash(&mut Chance::new(life)), life).unwrap();
        let reasons: Vec<bool> =
            node.members.iter().map(|it| it.log.lock().unwrap().read_only_reason().is_some()).collect();
        assert_eq!(reasons, [true, false, false, false]);
        assert_eq!(node.end(1), 5);
    }
}

/// Goal: a round that cannot be read at all makes every log read-only that may have been in it, and no other.
#[test]
fn a_missing_round_is_told_for_all_that_may_be_in_it() {
    let (storage, _) = filled(10);
    let crashed = bare(&storage);
    let eighth = round_positions(&crashed)[8];
    crashed.flip_bit("journal/0000.journal", eighth + 20).unwrap();
    let node = Node::open(&crashed, 8).unwrap();
    // Log 1 has a later round that fits; the records of log 0 were in the one that is gone; 2 and 3 may have been.
    let lost: Vec<bool> = node.lost.iter().map(Option::is_some).collect();
    assert_eq!(lost, [true, false, true, true]);
    assert_eq!((node.end(0), node.end(1)), (4, 5));
}

/// Goal: damage to the last round cannot be told from a torn one; damage to what the logs have already harms nobody.
#[test]
fn damage_to_what_is_not_needed_harms_nobody() {
    let (storage, node) = filled(10);
    node.store_all();
    node.append(0, b"more").unwrap();
    assert!(node.round().is_none());
    let crashed = storage.after_crash(&mut Chance::new(3));
    let third = round_positions(&crashed)[2];
    crashed.flip_bit("journal/0000.journal", third + 20).unwrap();
    // The file is still in use: the damage is met, and every log has its records.
    let node = Node::open(&crashed, 8).unwrap();
    assert_eq!((node.end(0), node.end(1)), (6, 5));
}

/// Goal: a message that looks like a round is not taken for one.
#[test]
fn messages_are_not_taken_for_rounds() {
    let (storage, node) = filled(1);
    let fake = Entry { folder: "topics/2".to_owned(), base_offset: 0, next_offset: 1, bytes: vec![1; 100] };
    let mut payload = vec![0; 512 - 60 - 34 - batch::HEADER_BYTES];
    for salt in [0, 8, 9] {
        payload.resize(payload.len().next_multiple_of(512), 0);
        frame::encode(
            &Numbers { salt, needed: Needed::default() },
            std::slice::from_ref(&fake),
            &mut payload,
        );
    }
    node.append(0, &payload).unwrap();
    assert!(node.round().is_none());
    let node = Node::open(&storage.after_kill(), 8).unwrap();
    assert_eq!((node.end(0), node.end(2)), (2, 0));
    assert_eq!(node.lost, [None, None, None, None]);
}

/// Goal: what was encoded is decoded, every shorter piece of it is refused, and so is every flipped bit of its head
/// and table; a flipped bit of the batches is known by its log.
#[test]
fn rounds_are_read_back() {
    let mut chance = Chance::new(5);
    for count in 0..6_usize {
        let entry = |number: usize| Entry {
            folder: format!("topics/{number}"),
            base_offset: i64::try_from(number).unwrap(),
            next_offset: i64::try_from(number).unwrap() + 3,
            bytes: vec![u8::try_from(number).unwrap(); 37 * number],
        };
        let entries: Vec<Entry> = (0..count).map(entry).collect();
        let mut bytes = Vec::new();
        let ranges = (0..3).map(|at| (4 * at, 4 * at + 1)).take(count).collect();
        let numbers = Numbers { salt: 9, needed: Needed::new(12, ranges) };
        frame::encode(&numbers, &entries, &mut bytes);
        assert_eq!(bytes.len(), frame::encoded_bytes(&numbers.needed, &entries));
        let round = decode(&bytes, 9).unwrap();
        assert_eq!((round.sequence, &round.needed), (12, &numbers.needed));
        assert_eq!((round.size, round.is_intact()), (bytes.len(), true));
        for (met, entry) in round.entries.iter().zip(&entries) {
            assert_eq!(bytes[met.position..met.position + met.length], entry.bytes);
        }
        assert_eq!(decode(&bytes, 8), None);
        let data_at = round.entries.first().map_or(60, |first| first.position).max(60);
        for _ in 0..300 {
            let at = usize::try_from(chance.below(bytes.len() as u64)).unwrap();
            assert!(decode(&bytes[..at], 9).is_none_or(|round| !round.is_intact() || at >= data_at));
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << chance.below(8);
            let read = decode(&flipped, 9);
            assert!(at >= data_at || read.is_none());
        }
    }
}

/// Goal: hostile bytes, also with a right checksum, neither panic nor take memory that is not there.
#[test]
fn hostile_rounds_are_refused() {
    let mut chance = Chance::new(6);
    for _ in 0..5_000 {
        let mut bytes = Vec::new();
        let entry = Entry { folder: "a".to_owned(), base_offset: 0, next_offset: 1, bytes: vec![3; 40] };
        frame::encode(&Numbers { salt: 1, needed: Needed::new(1, Vec::new()) }, &[entry], &mut bytes);
        for _ in 0..4 {
            let at = 8 + usize::try_from(chance.below(120)).unwrap();
            bytes[at] = u8::try_from(chance.below(256)).unwrap();
        }
        let table = crc32c::crc32c(&bytes[60..87]);
        bytes[48..52].copy_from_slice(&table.to_be_bytes());
        let head = crc32c::crc32c(&bytes[..56]);
        bytes[56..60].copy_from_slice(&head.to_be_bytes());
        drop(decode(&bytes, 1));
    }
}
