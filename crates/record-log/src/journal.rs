//! The journal: what many logs were given at a time is written and synced here once, in a few files that were
//! filled with zeros before, so that a sync changes no metadata.
//!
//! A log's own file has the same bytes, not synced yet. A journal file is used again only when every log with
//! batches in it has them in its own file, synced, and that file's header page says so. A journal that fails
//! is not used again by this process; nothing that it had acknowledged depends on its next sync.
//! It never decides what is acknowledged, and starts no thread.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io,
    sync::Arc,
};

use crate::{
    scan::to_u64,
    storage::{File, Storage},
};

mod frame;
mod plan;
mod recover;
mod round;

pub use frame::{Entry, Met, Round, decode};
pub use plan::{LARGE_ALONE_BYTES, LARGE_BYTES, ROUND_BYTES_MAX, plan};
pub use recover::{Recovered, Redo};
pub use round::{Done, Member, Place, Syncing, run_round, store};

use frame::{FileHead, Needed, Numbers, PAGE_BYTES};

/// The journal's folder.
pub const FOLDER: &str = "journal";
const SUFFIX: &str = ".journal";
/// Bytes of zeros written at a time when a file is made.
const ZEROS: usize = 256 * 1024;
/// A round's room is told with so much less for each log: its entry in the table.
const ENTRY_ROOM: u64 = 192;
/// The buffer of a round that was larger is given back.
const BUFFER_BYTES_KEPT: usize = 256 * 1024;

/// How large the journal may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of one file; at most [`FILE_BYTES_MAX`].
    pub file_bytes: u64,
    /// Files, at most [`FILES_MAX`]; 0 means no journal.
    pub files_max: usize,
}

/// Files of a journal.
pub const FILES_MAX: usize = frame::RANGES_MAX;
/// A journal file is read as a whole at a start.
pub const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A round was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is no file with enough room; nothing was done.
    #[error("the journal has no room")]
    NoRoom,
    /// The storage failed; the journal is not used any more.
    #[error("cannot write to the journal")]
    Storage(#[source] io::Error),
}

/// A file of the journal.
struct Slot<F> {
    name: String,
    file: Arc<F>,
    length: u64,
    /// What its first page says; `None` when it was never used.
    head: Option<FileHead>,
    /// The first round in it, and the one after its last.
    rounds: std::ops::Range<u64>,
    /// Logs by folder: up to which offset their own file has to have it before this one is used again.
    needs: HashMap<String, i64>,
    /// Something in it cannot be read: it is put aside and not used again.
    damaged: bool,
}

impl<F: File> Slot<F> {
    fn is_of(&self, generation: u64) -> bool {
        self.head.as_ref().is_some_and(|head| head.generation == generation)
    }

    fn write_head(&mut self, head: FileHead) -> io::Result<()> {
        self.file.write_at(0, &head.encode())?;
        self.file.sync()?;
        self.head = Some(head);
        Ok(())
    }
}

/// The journal of one data folder.
pub struct Journal<S: Storage> {
    storage: S,
    settings: Settings,
    generation: u64,
    salt: u64,
    /// Number of the next round.
    sequence: u64,
    slots: Vec<Slot<S::File>>,
    current: Option<usize>,
    /// Where the next round goes in the current file.
    position: u64,
    /// What the current file has from the last whole page before `position` on.
    tail: Vec<u8>,
    buffer: Vec<u8>,
    failed: bool,
}

impl<S: Storage> Journal<S> {
    /// Bytes of batches of `logs` logs that the next round can take at most; 0 when it can take none.
    #[must_use]
    pub fn room(&self, logs: usize) -> u64 {
        if self.failed {
            return 0;
        }
        let capacity = |slot: &Slot<S::File>| slot.length.saturating_sub(to_u64(PAGE_BYTES));
        let here = self.current.and_then(|at| self.slots.get(at));
        let here = here.map_or(0, |slot| slot.length.saturating_sub(self.position));
        let there = self.free().and_then(|at| self.slots.get(at)).map_or(0, capacity);
        let overhead = 1024 + ENTRY_ROOM.saturating_mul(to_u64(logs));
        here.max(there).saturating_sub(overhead)
    }

    /// Writes a round and syncs it: what it carries is durable when this ends well.
    ///
    /// # Errors
    /// See [`WriteError`]. After [`WriteError::Storage`] nothing may be assumed of this round.
    pub fn write(&mut self, entries: &[Entry]) -> Result<(), WriteError> {
        let mut numbers = Numbers { salt: self.salt, needed: self.needed_without(usize::MAX) };
        let at = self.place(to_u64(frame::encoded_bytes(&numbers.needed, entries)))?;
        // What the file had before is not needed any more.
        numbers.needed = self.needed_without(usize::MAX);
        let start = self.position - to_u64(self.tail.len());
        self.buffer.clear();
        self.buffer.extend_from_slice(&self.tail);
        frame::encode(&numbers, entries, &mut self.buffer);
        let end = self.buffer.len();
        self.buffer.resize(end.next_multiple_of(PAGE_BYTES), 0);
        let slot = self.slots.get_mut(at).expect("it was just placed");
        let outcome = slot.file.write_at(start, &self.buffer).and_then(|()| slot.file.sync());
        if let Err(error) = outcome {
            self.failed = true;
            return Err(WriteError::Storage(error));
        }
        for entry in entries {
            match slot.needs.get_mut(&entry.folder) {
                Some(needed) => *needed = entry.next_offset.max(*needed),
                None => drop(slot.needs.insert(entry.folder.clone(), entry.next_offset)),
            }
        }
        self.position = start + to_u64(end);
        self.sequence += 1;
        slot.rounds.end = self.sequence;
        let whole = end - end % PAGE_BYTES;
        self.tail.clear();
        self.tail.extend_from_slice(self.buffer.get(whole..end).unwrap_or_default());
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// The file for a round of so many bytes: the current one, or the next that is free.
    fn place(&mut self, size: u64) -> Result<usize, WriteError> {
        if self.failed {
            return Err(WriteError::NoRoom);
        }
        if let Some((at, slot)) = self.current.and_then(|at| Some((at, self.slots.get(at)?)))
            && self.position + size <= slot.length
        {
            return Ok(at);
        }
        let Some(at) = self.free() else { return Err(WriteError::NoRoom) };
        let length = self.slots.get(at).map_or(0, |slot| slot.length);
        if to_u64(PAGE_BYTES) + size > length {
            return Err(WriteError::NoRoom);
        }
        if let Err(error) = self.turn_to(at) {
            self.failed = true;
            return Err(WriteError::Storage(error));
        }
        Ok(at)
    }

    /// Starts a file anew. Its page says first, durably, that what it had is not needed any more.
    fn turn_to(&mut self, at: usize) -> io::Result<()> {
        let old = self.slots.get(at).and_then(|slot| slot.head.as_ref());
        if let Some(old) = old.filter(|old| !old.clean && old.generation != self.generation) {
            let generation = old.generation;
            self.mark_clean(generation)?;
        }
        let needed = self.needed_without(at);
        let head = FileHead { generation: self.generation, salt: self.salt, clean: false, needed };
        let first = self.sequence;
        if let Some(slot) = self.slots.get_mut(at) {
            slot.write_head(head)?;
            slot.rounds = first..first;
        }
        self.current = Some(at);
        self.position = to_u64(PAGE_BYTES);
        self.tail.clear();
        Ok(())
    }

    /// Has all files of a generation say that nothing in it is needed: before any of them is used again, or the
    /// rounds in it would be missed.
    fn mark_clean(&mut self, generation: u64) -> io::Result<()> {
        for slot in self.slots.iter_mut().filter(|slot| slot.is_of(generation)) {
            if let Some(head) = slot.head.clone().filter(|head| !head.clean) {
                slot.write_head(FileHead { clean: true, ..head })?;
            }
        }
        Ok(())
    }

    /// A file that may be started anew.
    fn free(&self) -> Option<usize> {
        let busy = |generation: u64| {
            self.slots.iter().any(|slot| slot.is_of(generation) && (!slot.needs.is_empty() || slot.damaged))
        };
        let is_free = |slot: &Slot<S::File>| {
            let others = match &slot.head {
                Some(head) if !head.clean && head.generation != self.generation => busy(head.generation),
                _ => false,
            };
            slot.needs.is_empty() && !slot.damaged && !others
        };
        let other =
            |(at, slot): (usize, &Slot<S::File>)| (Some(at) != self.current && is_free(slot)).then_some(at);
        self.slots
            .iter()
            .enumerate()
            .find_map(other)
            .or_else(|| self.current.filter(|at| self.slots.get(*at).is_some_and(is_free)))
    }

    /// The rounds of this run that are needed, without those of one file.
    fn needed_without(&self, without: usize) -> Needed {
        let of_now = self.slots.iter().enumerate().filter(|(at, slot)| {
            *at != without && slot.is_of(self.generation) && !slot.needs.is_empty() && !slot.rounds.is_empty()
        });
        let range = |(_, slot): (usize, &Slot<S::File>)| (slot.rounds.start, slot.rounds.end - 1);
        Needed::new(self.sequence, of_now.map(range).collect())
    }

    /// Takes note that a log has everything below `offset` in its own file, and that this file says so.
    pub fn confirm(&mut self, folder: &str, offset: i64) {
        for slot in &mut self.slots {
            if slot.needs.get(folder).is_some_and(|needed| *needed <= offset) {
                slot.needs.remove(folder);
            }
        }
    }

    /// The folders of all logs whose batches a journal file is kept for, in order.
    #[must_use]
    pub fn needed(&self) -> Vec<String> {
        let all: BTreeSet<&String> = self.slots.iter().flat_map(|slot| slot.needs.keys()).collect();
        all.into_iter().cloned().collect()
    }

    /// How much of the journal cannot be written to now, in percent; 100 when it failed.
    #[must_use]
    pub fn used_percent(&self) -> u64 {
        let total = to_u64(self.settings.files_max).saturating_mul(self.settings.file_bytes);
        if self.failed || total == 0 {
            return 100;
        }
        (self.used_bytes().saturating_mul(100) / total).min(100)
    }

    /// Bytes of the journal that are kept for logs.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        let used =
            self.slots.iter().enumerate().map(|(at, slot)| match slot.needs.is_empty() && !slot.damaged {
                true => 0,
                false if Some(at) == self.current => self.position,
                false => slot.length,
            });
        used.sum()
    }

    /// Whether a write or sync of the journal failed, so that this process does not use it any more.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Whether another file should be made: there is none to go on in when the current one is full.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        let may = !self.failed && self.slots.len() < self.settings.files_max.min(FILES_MAX);
        let enough = self.current.is_some() && self.position < self.settings.file_bytes / 2;
        may && !enough && self.free().is_none_or(|at| Some(at) == self.current)
    }

    /// A file to be made ahead of need, when one is wanted and allowed. Making it takes a while.
    #[must_use]
    pub fn wants_file(&self) -> Option<NewFile<S>> {
        if !self.wants_more() {
            return None;
        }
        let number = |slot: &Slot<S::File>| slot.name.strip_suffix(SUFFIX)?.parse::<u64>().ok();
        let number = self.slots.iter().filter_map(number).max().map_or(0, |last| last + 1);
        let page = to_u64(PAGE_BYTES);
        let (storage, length) =
            (self.storage.clone(), self.settings.file_bytes.min(FILE_BYTES_MAX) / page * page);
        Some(NewFile { storage, name: format!("{number:04}{SUFFIX}"), length })
    }

    /// Takes a file that was made.
    pub fn add(&mut self, file: MadeFile<S::File>) {
        let MadeFile { name, file, length } = file;
        let needs = HashMap::new();
        self.slots.push(Slot {
            name,
            file: Arc::new(file),
            length,
            head: None,
            rounds: 0..0,
            needs,
            damaged: false,
        });
    }

    /// Puts files aside that could not be read as a whole, once their logs have what could be read. They are
    /// never read again; their bytes stay for a person to look at.
    ///
    /// # Errors
    /// Whatever the storage says.
    pub fn put_aside(&mut self) -> io::Result<Vec<String>> {
        let bad: HashSet<u64> = self
            .slots
            .iter()
            .filter(|slot| slot.damaged)
            .filter_map(|slot| Some(slot.head.as_ref()?.generation))
            .collect();
        let mut kept = Vec::new();
        for slot in &self.slots {
            let of_bad = slot.head.as_ref().is_some_and(|head| bad.contains(&head.generation));
            if slot.damaged || of_bad {
                let generation = slot.head.as_ref().map_or(0, |head| head.generation);
                let to = format!("{FOLDER}/kept-{generation}-{}", slot.name.trim_end_matches(SUFFIX));
                self.storage.rename(&format!("{FOLDER}/{}", slot.name), &to)?;
                kept.push((slot.name.clone(), to));
            }
        }
        if !kept.is_empty() {
            self.storage.sync_folder(FOLDER)?;
            self.slots.retain(|slot| !kept.iter().any(|(name, _)| *name == slot.name));
        }
        Ok(kept.into_iter().map(|(_, to)| to).collect())
    }

    /// For a clean end, after all logs were closed: the next start has nothing to read here.
    ///
    /// # Errors
    /// Whatever the storage says; the next start reads the journal then.
    pub fn close(&mut self) -> io::Result<()> {
        let idle = self.slots.iter().all(|slot| slot.needs.is_empty() && !slot.damaged);
        if self.failed || !idle {
            return Ok(());
        }
        self.failed = true;
        let generations: BTreeSet<u64> =
            self.slots.iter().filter_map(|slot| slot.head.as_ref()).map(|head| head.generation).collect();
        generations.into_iter().try_for_each(|generation| self.mark_clean(generation))
    }
}

/// A file to be made.
pub struct NewFile<S> {
    storage: S,
    name: String,
    length: u64,
}

/// A file that was made.
pub struct MadeFile<F> {
    name: String,
    file: F,
    length: u64,
}

impl<S: Storage> NewFile<S> {
    /// Makes the file and fills it with zeros, so that writing to it later changes no metadata.
    ///
    /// # Errors
    /// Whatever the storage says; nothing is left of the file then.
    pub fn make(self) -> io::Result<MadeFile<S::File>> {
        let path = format!("{FOLDER}/{}", self.name);
        let outcome = self.fill(&path);
        if outcome.is_err() {
            // What is left is removed at the next start at the latest.
            drop(self.storage.remove(&path));
        }
        outcome.map(|file| MadeFile { name: self.name, file, length: self.length })
    }

    fn fill(&self, path: &str) -> io::Result<S::File> {
        let file = self.storage.open(path)?;
        file.truncate(0)?;
        file.allocate(self.length)?;
        let zeros = vec![0; ZEROS];
        let mut done = 0;
        while done < self.length {
            let part = usize::try_from(self.length - done).unwrap_or(ZEROS).min(ZEROS);
            file.write_at(done, zeros.get(..part).unwrap_or(&zeros))?;
            // In small steps: one large one would hold up the syncs of everybody else.
            file.sync()?;
            done += to_u64(part);
        }
        self.storage.sync_folder(FOLDER)?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests;
