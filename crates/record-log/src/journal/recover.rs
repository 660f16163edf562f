//! Reading the journal at a start, and putting back into each log what its own file lost.
//!
//! Rounds are numbered without gaps, and one is only written when the one before it is synced. So of all that is
//! found, only the last may be torn; one that is missing before it was acknowledged, and the logs that it may
//! have been about are told.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    sync::Arc,
};

use super::{
    FILE_BYTES_MAX, FOLDER, Journal, SUFFIX, Settings, Slot,
    frame::{self, FileHead, Needed, PAGE_BYTES, Round, SECTOR_BYTES},
};
use crate::{
    batch::{self, BatchHeader},
    error::AppendError,
    log::Log,
    redo::Redone,
    scan::to_u64,
    storage::{File, Storage},
};

/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// A round by generation and number.
type Number = (u64, u64);

/// By number: the file, the position in it, the round.
type Rounds = BTreeMap<u64, (usize, u64, Round)>;

/// Batches of one log that the journal has.
struct Found<F> {
    number: Number,
    base_offset: i64,
    next_offset: i64,
    file: Arc<F>,
    position: u64,
    length: usize,
    intact: bool,
}

/// What the journal had at the start.
pub struct Recovered<F> {
    /// By folder, in order.
    entries: HashMap<String, Vec<Found<F>>>,
    /// Rounds that were acknowledged and cannot be read, so that nobody knows which logs they were about; of those
    /// in a row the last.
    missing: Vec<Number>,
    /// Of some file even the first page cannot be read.
    unreadable: bool,
}

/// What was done to a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redo {
    /// Batches that were put back.
    pub batches: u64,
    /// Why acknowledged records of the log are lost, or may be.
    pub lost: Option<String>,
}

impl<S: Storage> Journal<S> {
    /// Opens the journal of a storage. `salt` must differ from that of every run before, and nobody may guess it.
    ///
    /// # Errors
    /// Whatever the storage says.
    pub fn open(storage: S, settings: Settings, salt: u64) -> io::Result<(Self, Recovered<S::File>)> {
        storage.create_folder(FOLDER)?;
        let mut names = storage.list(FOLDER)?;
        names.retain(|name| name.ends_with(SUFFIX));
        names.sort_unstable();
        let mut recovered = Recovered { entries: HashMap::new(), missing: Vec::new(), unreadable: false };
        let mut slots = Vec::new();
        for name in names {
            match open_slot(&storage, name)? {
                Opened::Used(slot) => {
                    recovered.unreadable |= slot.damaged;
                    slots.push(slot);
                }
                Opened::Unfinished(name) => storage.remove(&format!("{FOLDER}/{name}"))?,
            }
        }
        let generations = slots.iter().filter_map(|slot| slot.head.as_ref()).map(|head| head.generation);
        let generations: std::collections::BTreeSet<u64> = generations.collect();
        let last = generations.last().copied().unwrap_or(0);
        let mut journal = Self {
            storage,
            settings,
            generation: last + 1,
            salt,
            sequence: 0,
            slots,
            current: None,
            position: 0,
            tail: Vec::new(),
            buffer: Vec::new(),
            failed: false,
        };
        for generation in generations {
            journal.recover(generation, &mut recovered)?;
        }
        Ok((journal, recovered))
    }

    fn recover(&mut self, generation: u64, recovered: &mut Recovered<S::File>) -> io::Result<()> {
        let heads = self.slots.iter().filter_map(|slot| slot.head.as_ref());
        let heads: Vec<&FileHead> = heads.filter(|head| head.generation == generation).collect();
        if heads.iter().any(|head| head.clean) {
            return self.mark_clean(generation);
        }
        let known = heads.iter().map(|head| &head.needed).max_by_key(|needed| needed.next).cloned();
        let rounds = self.rounds(generation)?;
        let Some((last, needed)) = last_intact(&rounds) else { return Ok(()) };
        // The latest word on what is needed: it only ever gets less.
        let needed = known.filter(|known| known.next > needed.next).unwrap_or(needed);
        let mut expected = needed.ranges.first().map_or(needed.next, |(first, _)| *first);
        for (sequence, (at, position, round)) in rounds {
            if sequence > last || !needed.has(sequence) {
                continue;
            }
            let missing = (expected..sequence).rev().find(|missing| needed.has(*missing));
            recovered.missing.extend(missing.map(|missing| (generation, missing)));
            let damaged = missing.is_some() || !round.is_intact();
            expected = sequence + 1;
            if let Some(slot) = self.slots.get_mut(at) {
                slot.damaged |= damaged;
                recovered.take((generation, sequence), slot, position, round);
            }
        }
        Ok(())
    }

    /// All rounds of a generation that are there, by number: in which file, where.
    fn rounds(&self, generation: u64) -> io::Result<Rounds> {
        let mut rounds = BTreeMap::new();
        for (at, slot) in self.slots.iter().enumerate() {
            if let Some(head) = slot.head.as_ref().filter(|head| head.generation == generation) {
                // What was written and not synced may go yet: it counts only once it is synced.
                slot.file.sync()?;
                let bytes = read_all(&*slot.file, slot.length);
                each_round(&bytes, head.salt, &mut |position, round| {
                    rounds.insert(round.sequence, (at, to_u64(position), round));
                });
            }
        }
        Ok(rounds)
    }

    /// After all logs were opened: forgets what is kept for logs that are not there, which are deleted. `known` are
    /// the folders of those that are, `lost` those that lost records. Says whether files should be
    /// [put aside](Self::put_aside) once the other logs are stored.
    ///
    /// # Errors
    /// Whatever the storage says.
    pub fn settle(&mut self, known: &HashSet<String>, lost: &HashSet<String>) -> io::Result<bool> {
        for folder in self.needed() {
            if known.contains(&folder) {
                continue;
            }
            let is_gone = match self.storage.list(&folder) {
                Ok(names) => names.is_empty(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => true,
                Err(error) => return Err(error),
            };
            if is_gone {
                self.confirm(&folder, i64::MAX);
            }
        }
        for slot in &mut self.slots {
            slot.damaged |= slot.needs.keys().any(|folder| lost.contains(folder));
        }
        Ok(self.slots.iter().any(|slot| slot.damaged))
    }
}

/// The last round that is whole: all before it were acknowledged.
fn last_intact(rounds: &Rounds) -> Option<(u64, Needed)> {
    let intact = rounds.iter().rev().find(|(_, (_, _, round))| round.is_intact());
    intact.map(|(last, (_, _, round))| (*last, round.needed.clone()))
}

enum Opened<F> {
    Used(Slot<F>),
    /// The process ended while it was being made.
    Unfinished(String),
}

fn open_slot<S: Storage>(storage: &S, name: String) -> io::Result<Opened<S::File>> {
    let file = storage.open(&format!("{FOLDER}/{name}"))?;
    let length = file.length()?.min(FILE_BYTES_MAX);
    let mut page = vec![0; PAGE_BYTES];
    let read = file.read_at(0, &mut page).unwrap_or(0);
    page.truncate(read);
    let head = FileHead::decode(&page);
    let is_zero = page.iter().all(|byte| *byte == 0);
    if head.is_none() && is_zero && read_all(&file, length).iter().all(|byte| *byte == 0) {
        return Ok(Opened::Unfinished(name));
    }
    let damaged = head.is_none();
    let needs = HashMap::new();
    Ok(Opened::Used(Slot { name, file: Arc::new(file), length, head, rounds: 0..0, needs, damaged }))
}

/// The whole file; what cannot be read is zero, so that what stood there is missed.
fn read_all<F: File>(file: &F, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    for (at, chunk) in bytes.chunks_mut(CHUNK).enumerate() {
        if file.read_at(to_u64(at * CHUNK), chunk).is_err() {
            chunk.fill(0);
        }
    }
    bytes
}

fn each_round(bytes: &[u8], salt: u64, visit: &mut dyn FnMut(usize, Round)) {
    let mut at = PAGE_BYTES;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let size = match frame::decode(rest, salt) {
            Some(round) => {
                let size = round.size;
                visit(at, round);
                size
            }
            None => SECTOR_BYTES,
        };
        at = at.saturating_add(size);
    }
}

impl<F: File> Recovered<F> {
    fn take(&mut self, number: Number, slot: &mut Slot<F>, position: u64, round: Round) {
        for met in round.entries {
            let needed = slot.needs.entry(met.folder.clone()).or_insert(met.next_offset);
            *needed = met.next_offset.max(*needed);
            self.entries.entry(met.folder).or_default().push(Found {
                number,
                base_offset: met.base_offset,
                next_offset: met.next_offset,
                file: Arc::clone(&slot.file),
                position: position + to_u64(met.position),
                length: met.length,
                intact: met.intact,
            });
        }
    }

    /// Whether the journal had nothing at all to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.missing.is_empty() && !self.unreadable
    }

    /// Puts back into a log that was just opened what the journal has of it, and syncs what the log has beyond its
    /// last note where the journal does not have it. `visit` sees each batch that was put
    /// back. When acknowledged records are lost, or may be, the log is read-only from then on, at the next
    /// starts too, and the reason is told.
    ///
    /// # Errors
    /// The log's storage refused: the log must not be used then, and the journal keeps what it has.
    pub fn redo<S: Storage<File = F>>(
        &self,
        log: &mut Log<S>,
        visit: &mut dyn FnMut(&BatchHeader, &[u8]),
    ) -> Result<Redo, AppendError> {
        let mut redo = Redo::default();
        let mut proven = None;
        let found = self.entries.get(&*log.folder).map_or(&[][..], Vec::as_slice);
        if vouched_until(found, log.synced_offset()) >= log.end_offset() {
            log.vouch_for_tail();
        } else {
            log.sync_tail().map_err(|source| log.broken(source))?;
        }
        for found in found {
            if found.base_offset <= log.end_offset() {
                proven = proven.max(Some(found.number));
            }
            if found.next_offset <= log.end_offset() {
                continue;
            }
            match found.put_back(log, visit)? {
                Some(batches) => redo.batches += batches,
                None => {
                    let (from, to) = (log.end_offset(), found.next_offset - 1);
                    let why = format!("records {from} to {to} cannot be read in the journal");
                    redo.lost.get_or_insert(why);
                }
            }
        }
        if self.missing.iter().any(|missing| proven.is_none_or(|proven| proven < *missing)) || self.unreadable
        {
            let why = "a part of the journal cannot be read, and the last records may have been in it";
            redo.lost.get_or_insert_with(|| why.to_owned());
        }
        if let Some(reason) = &redo.lost
            && let Err(source) = log.mark_lost(reason)
        {
            return Err(AppendError::Storage { folder: log.folder.to_string(), source });
        }
        if redo.batches > 0 && log.read_only_reason().is_some() {
            log.store_redone().map_err(|source| log.broken(source))?;
        }
        Ok(redo)
    }
}

/// How far the journal has all of a log's batches, from `synced` on.
fn vouched_until<F>(found: &[Found<F>], synced: i64) -> i64 {
    found.iter().filter(|found| found.intact).fold(synced, |until, found| {
        if found.base_offset <= until { until.max(found.next_offset) } else { until }
    })
}

impl<F: File> Found<F> {
    /// Puts the batches back that the log does not have; `None` when they cannot be read or do not fit.
    fn put_back<S: Storage>(
        &self,
        log: &mut Log<S>,
        visit: &mut dyn FnMut(&BatchHeader, &[u8]),
    ) -> Result<Option<u64>, AppendError> {
        let mut bytes = vec![0; self.length];
        let read = self.file.read_at(self.position, &mut bytes);
        if !self.intact || !read.is_ok_and(|read| read == self.length) {
            return Ok(None);
        }
        let mut rest = &bytes[..];
        let mut count = 0;
        while let Some(header) = batch::header(rest) {
            let Some((whole, behind)) = rest.split_at_checked(header.size) else { return Ok(None) };
            match log.redo(whole)? {
                Redone::Known => {}
                Redone::Appended(header) => {
                    count += 1;
                    visit(&header, whole);
                }
                Redone::Misfit => return Ok(None),
            }
            rest = behind;
        }
        Ok(rest.is_empty().then_some(count))
    }
}
