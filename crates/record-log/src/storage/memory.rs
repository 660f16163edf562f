//! A storage in memory that can crash: un-synced writes are lost, torn or reordered, un-synced names go.
//!
//! For tests of this crate and of those that use it. Chance comes from a seed that the caller gives.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{File, Storage};

/// Bytes that a disk writes at once or not at all.
const SECTOR: usize = 512;
/// Bytes for which a disk gives out space at once.
const BLOCK: usize = 1024;

/// What goes wrong at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No space: the call and all writes after it fail until [`MemoryStorage::heal`].
    Full,
    /// No space to reserve until [`MemoryStorage::heal`], while writes are taken: as on a file system that gives blocks
    /// out only when it syncs.
    Unreserved,
    /// The call fails once; a sync that fails forgets which bytes it did not write.
    Broken,
    /// The machine stops: this call and all after it fail.
    Crash,
}

#[derive(Clone)]
enum Pending {
    Write(usize, Vec<u8>),
    Length(usize),
}

#[derive(Clone, Default)]
struct Content {
    durable: Vec<u8>,
    current: Vec<u8>,
    pending: Vec<Pending>,
    /// Blocks that have space; the others are holes.
    blocks: BTreeSet<usize>,
}

impl Content {
    fn blocks_of(position: usize, length: usize) -> Range<usize> {
        position / BLOCK..(position + length).div_ceil(BLOCK)
    }

    fn has_space(&self, position: usize, length: usize) -> bool {
        Self::blocks_of(position, length).all(|block| self.blocks.contains(&block))
    }

    fn take_space(&mut self, position: usize, length: usize) {
        self.blocks.extend(Self::blocks_of(position, length));
    }

    fn resize(&mut self, length: usize) {
        self.current.resize(length, 0);
        self.blocks.retain(|block| block * BLOCK < length);
    }
}

#[derive(Clone)]
enum Naming {
    Set(String, usize),
    Unset(String),
}

#[derive(Default)]
struct State {
    files: Vec<Content>,
    durable_names: BTreeMap<String, usize>,
    names: BTreeMap<String, usize>,
    pending_names: Vec<Naming>,
    changes: u64,
    fault_at: Option<(u64, Fault)>,
    full: bool,
    /// Nothing can be reserved.
    unreserved: bool,
    crashed: bool,
}

/// The storage; clones are the same one.
#[derive(Clone, Default)]
pub struct MemoryStorage {
    state: Arc<Mutex<State>>,
}

/// A file of it.
pub struct MemoryFile {
    state: Arc<Mutex<State>>,
    file: usize,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A small generator (splitmix64): the same seed gives the same crash.
pub struct Chance(u64);

impl Chance {
    /// Starts from a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`, which must not be 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}

impl MemoryStorage {
    /// How many calls that change something were made.
    #[must_use]
    pub fn changes(&self) -> u64 {
        lock(&self.state).changes
    }

    /// Lets the `count`-th change from now on go wrong; 0 is the next.
    pub fn fail_at(&self, count: u64, fault: Fault) {
        let mut state = lock(&self.state);
        state.fault_at = Some((state.changes + count, fault));
    }

    /// Gives space again and takes back a fault that has not come yet.
    pub fn heal(&self) {
        let mut state = lock(&self.state);
        state.full = false;
        state.unreserved = false;
        state.fault_at = None;
    }

    /// Whether a [`Fault::Crash`] has come.
    #[must_use]
    pub fn has_crashed(&self) -> bool {
        lock(&self.state).crashed
    }

    /// Removes a folder with all that is in it.
    ///
    /// # Errors
    /// The storage has crashed; some of the names may be gone then.
    pub fn remove_folder(&self, folder: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        let prefix = format!("{folder}/");
        let gone: Vec<String> =
            state.names.keys().filter(|path| path.starts_with(&prefix)).cloned().collect();
        for path in gone {
            state.change(false)?;
            state.name(Naming::Unset(path));
        }
        // As on a real disk: the parent is synced, the folder and what was in it are gone with it.
        state.change(false)?;
        let kept = |naming: &Naming| !naming.folder().starts_with(folder);
        state.pending_names.retain(kept);
        state.durable_names.retain(|path, _| !path.starts_with(&prefix));
        Ok(())
    }

    /// What a disk may hold after a stop of the machine now. This storage stays as it is.
    #[must_use]
    pub fn after_crash(&self, chance: &mut Chance) -> Self {
        let state = lock(&self.state);
        let mut after = State { durable_names: state.durable_names.clone(), ..State::default() };
        for content in &state.files {
            let durable = crashed_content(content, chance);
            let blocks = Content::blocks_of(0, durable.len()).collect();
            after.files.push(Content { current: durable.clone(), durable, pending: Vec::new(), blocks });
        }
        let kept = usize::try_from(chance.below(state.pending_names.len() as u64 + 1)).unwrap_or(0);
        for naming in state.pending_names.iter().take(kept) {
            naming.apply(&mut after.durable_names);
        }
        after.names = after.durable_names.clone();
        Self { state: Arc::new(Mutex::new(after)) }
    }

    /// What is there after the process was killed: everything that was written. What was not synced may still be lost
    /// when the machine stops.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        let state = lock(&self.state);
        let after = State {
            files: state.files.clone(),
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            pending_names: state.pending_names.clone(),
            ..State::default()
        };
        Self { state: Arc::new(Mutex::new(after)) }
    }

    /// Flips one bit of a file.
    ///
    /// # Errors
    /// `NotFound` when there is no such file or byte.
    pub fn flip_bit(&self, path: &str, position: usize) -> io::Result<()> {
        let mut state = lock(&self.state);
        let file = state.names.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
        let byte = state.files[file].current.get_mut(position).ok_or(io::ErrorKind::NotFound)?;
        *byte ^= 1;
        Ok(())
    }
}

fn crashed_content(content: &Content, chance: &mut Chance) -> Vec<u8> {
    let mut bytes = content.durable.clone();
    for pending in &content.pending {
        match pending {
            Pending::Length(length) => {
                if chance.below(2) == 0 {
                    bytes.resize(*length, 0);
                }
            }
            Pending::Write(at, written) => {
                // Whole, lost, or some of its sectors.
                let mode = chance.below(4);
                for (sector, part) in written.chunks(SECTOR).enumerate() {
                    if mode == 0 || (mode > 1 && chance.below(2) == 0) {
                        put(&mut bytes, at + sector * SECTOR, part);
                    }
                }
            }
        }
    }
    bytes
}

fn put(bytes: &mut Vec<u8>, at: usize, part: &[u8]) {
    if bytes.len() < at + part.len() {
        bytes.resize(at + part.len(), 0);
    }
    bytes[at..at + part.len()].copy_from_slice(part);
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Set(name, file) => names.insert(name.clone(), *file),
            Self::Unset(name) => names.remove(name),
        };
    }

    fn folder(&self) -> &str {
        let (Self::Set(name, _) | Self::Unset(name)) = self;
        name.rsplit_once('/').map_or("", |(folder, _)| folder)
    }
}

impl State {
    /// Counts a change and says how it goes wrong, if it does.
    fn change(&mut self, needs_space: bool) -> io::Result<()> {
        let now = self.changes;
        self.changes += 1;
        match self.fault_at {
            Some((at, Fault::Crash)) if now >= at => self.crashed = true,
            Some((at, Fault::Full)) if now >= at => self.full = true,
            Some((at, Fault::Unreserved)) if now >= at => self.unreserved = true,
            Some((at, Fault::Broken)) if now == at => return Err(io::Error::other("broken")),
            _ => {}
        }
        if self.crashed {
            return Err(io::Error::other("crashed"));
        }
        if self.full && needs_space {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn name(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.pending_names.push(naming);
    }
}

impl Storage for MemoryStorage {
    type File = MemoryFile;

    fn create_folder(&self, _: &str) -> io::Result<()> {
        lock(&self.state).change(false)
    }

    fn open(&self, path: &str) -> io::Result<MemoryFile> {
        let mut state = lock(&self.state);
        let known = state.names.get(path).copied();
        let file = match known {
            Some(file) => file,
            None => {
                state.change(true)?;
                state.files.push(Content::default());
                let file = state.files.len() - 1;
                state.name(Naming::Set(path.to_owned(), file));
                file
            }
        };
        Ok(MemoryFile { state: Arc::clone(&self.state), file })
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.change(false)?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.name(Naming::Unset(path.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.change(false)?;
        let file = state.names.get(from).copied().ok_or(io::ErrorKind::NotFound)?;
        state.name(Naming::Set(to.to_owned(), file));
        state.name(Naming::Unset(from.to_owned()));
        Ok(())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let state = lock(&self.state);
        let prefix = format!("{folder}/");
        let inside = state.names.keys().filter_map(|path| path.strip_prefix(&prefix));
        let mut names: Vec<String> =
            inside.filter_map(|path| path.split('/').next()).map(str::to_owned).collect();
        names.dedup();
        Ok(names)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.change(false)?;
        let (synced, kept) =
            state.pending_names.iter().cloned().partition::<Vec<_>, _>(|naming| naming.folder() == folder);
        state.pending_names = kept;
        for naming in synced {
            naming.apply(&mut state.durable_names);
        }
        Ok(())
    }
}

impl File for MemoryFile {
    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = lock(&self.state);
        let position = usize::try_from(position).map_err(io::Error::other)?;
        let has_space = state.files[self.file].has_space(position, bytes.len());
        let outcome = state.change(!has_space);
        // A write that fails may have written its first half. No sector is written in part, as at a loss of power.
        let half = bytes.len() / 2 / SECTOR * SECTOR;
        let written = if outcome.is_ok() { bytes } else { &bytes[..half] };
        let content = &mut state.files[self.file];
        content.take_space(position, written.len());
        put(&mut content.current, position, written);
        content.pending.push(Pending::Write(position, written.to_vec()));
        outcome
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let state = lock(&self.state);
        let position = usize::try_from(position).map_err(io::Error::other)?;
        let available = state.files[self.file].current.get(position..).unwrap_or_default();
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        Ok(length)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(lock(&self.state).files[self.file].current.len() as u64)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.change(false)?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let content = &mut state.files[self.file];
        content.resize(length);
        content.pending.push(Pending::Length(length));
        Ok(())
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.change(true)?;
        if state.unreserved {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let content = &mut state.files[self.file];
        let known = content.current.len();
        if known < length {
            content.take_space(known, length - known);
            content.resize(length);
            content.pending.push(Pending::Length(length));
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        let outcome = state.change(false);
        let crashed = state.crashed;
        let content = &mut state.files[self.file];
        if outcome.is_ok() {
            // What an earlier sync gave up on is not written by this one either.
            for pending in std::mem::take(&mut content.pending) {
                match pending {
                    Pending::Length(length) => content.durable.resize(length, 0),
                    Pending::Write(at, written) => put(&mut content.durable, at, &written),
                }
            }
        } else if !crashed {
            // Like a page cache: the bytes read as written and are no longer going to the disk.
            content.pending.clear();
        }
        outcome
    }
}
