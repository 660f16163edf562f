//! A real folder of files. There may be more files than a process may have open: those that were not used for long
//! are closed and opened again when they are needed, and nobody who has one can tell.
//!
//! What was written to a file is synced before it is closed, and an error of that is kept for the next sync: an error
//! of the disk must not be lost with the descriptor that it would have been told to.

use std::{
    collections::{HashMap, VecDeque},
    fs::{self, File as StdFile, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use record_log::storage::{File, Storage};

use super::RemoveFolder;

/// When the process has no descriptor left after all, so many files are closed before it is given up.
const CLOSED_FOR_WANT: usize = 16;

/// A folder of files; clones are the same one.
#[derive(Clone)]
pub(super) struct Folder {
    root: Arc<Path>,
    files: Arc<Files>,
}

/// The files that somebody has.
struct Files {
    open_max: usize,
    open: AtomicUsize,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Files that still have their names.
    by_path: HashMap<PathBuf, Weak<Held>>,
    /// Files that were opened, the one to be closed next in front.
    order: VecDeque<Weak<Held>>,
}

/// A file that somebody has, open or not.
struct Held {
    files: Arc<Files>,
    /// Since it was last thought of closing it.
    used: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Its name now.
    path: PathBuf,
    file: Option<Arc<StdFile>>,
    /// It was written to since the last sync.
    dirty: bool,
    /// Its name is gone or another's: it could not be opened again.
    stays: bool,
    /// A sync before a close failed, which nobody was told yet.
    failed: Option<io::Error>,
}

/// A file of a folder.
pub(super) struct RealFile(Arc<Held>);

fn is_want_of_descriptors(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE]
        .iter()
        .any(|errno| code == Some(errno.raw_os_error()))
}

impl Files {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes files until there is room for one more. When all are in use, there is one more.
    fn make_room(&self) {
        while self.open.load(Ordering::Relaxed) >= self.open_max && self.close_one() {}
    }

    /// Closes the file that was not used for longest, or says that none can be closed.
    fn close_one(&self) -> bool {
        // What is looked at may be the last of its kind; it goes when the lock is free again.
        let mut looked_at = Vec::new();
        let mut known = self.lock();
        // Twice: in the first round they may all have been used.
        for _ in 0..known.order.len().saturating_mul(2) {
            let Some(weak) = known.order.pop_front() else { break };
            let Some(held) = weak.upgrade() else { continue };
            let closed =
                if held.used.swap(false, Ordering::Relaxed) { Some(false) } else { held.try_close() };
            looked_at.push(held);
            match closed {
                Some(true) => return true,
                Some(false) => known.order.push_back(weak),
                None => {}
            }
        }
        false
    }

    /// Does what needs a descriptor, with fewer files open when the process has none left.
    fn with_descriptor<T>(&self, mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        let mut left = CLOSED_FOR_WANT;
        loop {
            match work() {
                Err(error) if is_want_of_descriptors(&error) && left > 0 && self.close_one() => left -= 1,
                outcome => return outcome,
            }
        }
    }

    /// Opens a file; `known` has to hear of it.
    fn open(&self, path: &Path, create: bool) -> io::Result<StdFile> {
        self.make_room();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(create).truncate(false);
        let file = self.with_descriptor(|| options.open(path))?;
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(file)
    }

    fn opened(&self, held: &Arc<Held>) {
        let mut known = self.lock();
        known.order.push_back(Arc::downgrade(held));
        // Those that are gone are swept when they are the larger part.
        if known.order.len() > 64 + self.open.load(Ordering::Relaxed).saturating_mul(2) {
            known.order.retain(|held| held.strong_count() > 0);
        }
    }

    /// A file has this name from now on.
    fn named(&self, path: PathBuf, held: &Arc<Held>) {
        let mut known = self.lock();
        if known.by_path.len() >= known.by_path.capacity() {
            known.by_path.retain(|_, held| held.strong_count() > 0);
        }
        known.by_path.insert(path, Arc::downgrade(held));
    }

    /// The file of a path loses its name: who has it keeps it.
    fn unname(&self, path: &Path) {
        let held = self.lock().by_path.remove(path);
        if let Some(held) = held.and_then(|held| held.upgrade()) {
            let mut state = held.lock();
            // One that cannot be opened now cannot be read later; the reader is told then.
            drop(held.descriptor(&mut state));
            state.stays = true;
        }
    }
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The descriptor, opened again if it was closed.
    fn descriptor(self: &Arc<Self>, state: &mut State) -> io::Result<Arc<StdFile>> {
        self.used.store(true, Ordering::Relaxed);
        if let Some(file) = &state.file {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(self.files.open(&state.path, false)?);
        state.file = Some(Arc::clone(&file));
        self.files.opened(self);
        Ok(file)
    }

    /// Closes it unless somebody is using it; `None` when it is not to be asked again.
    fn try_close(&self) -> Option<bool> {
        let Ok(mut state) = self.state.try_lock() else { return Some(false) };
        if state.stays {
            return None;
        }
        let file = state.file.take()?;
        if Arc::strong_count(&file) > 1 {
            state.file = Some(file);
            return Some(false);
        }
        if state.dirty {
            state.dirty = false;
            if let Err(error) = file.sync_data() {
                state.failed.get_or_insert(error);
            }
        }
        self.files.open.fetch_sub(1, Ordering::Relaxed);
        Some(true)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.lock().file.is_some() {
            self.files.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Folder {
    pub(super) fn new(root: &Path, open_max: usize) -> Self {
        let files = Files { open_max, open: AtomicUsize::new(0), known: Mutex::default() };
        Self { root: Arc::from(root), files: Arc::new(files) }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    fn sync_path(&self, folder: &Path) -> io::Result<()> {
        self.files.with_descriptor(|| StdFile::open(folder)?.sync_all())
    }
}

impl RemoveFolder for Folder {
    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        let path = self.path(folder);
        match self.files.with_descriptor(|| fs::remove_dir_all(&path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        path.parent().map_or(Ok(()), |parent| self.sync_path(parent))
    }
}

impl Storage for Folder {
    type File = RealFile;

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        let mut path = self.root.to_path_buf();
        for part in folder.split('/') {
            let parent = path.clone();
            path.push(part);
            match fs::create_dir(&path) {
                Ok(()) => self.sync_path(&parent)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn open(&self, path: &str) -> io::Result<RealFile> {
        let path = self.path(path);
        let known = self.files.lock().by_path.get(&path).and_then(Weak::upgrade);
        if let Some(held) = known {
            return Ok(RealFile(held));
        }
        let file = self.files.open(&path, true)?;
        let state = State { path: path.clone(), file: Some(Arc::new(file)), ..State::default() };
        let held = Arc::new(Held {
            files: Arc::clone(&self.files),
            used: AtomicBool::new(true),
            state: Mutex::new(state),
        });
        self.files.named(path, &held);
        self.files.opened(&held);
        Ok(RealFile(held))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        self.files.unname(&path);
        fs::remove_file(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path(from), self.path(to));
        self.files.unname(&to);
        let held = self.files.lock().by_path.get(&from).and_then(Weak::upgrade);
        let Some(held) = held else { return fs::rename(from, to) };
        // Nobody opens it again while it has neither name.
        let mut state = held.lock();
        fs::rename(&from, &to)?;
        state.path.clone_from(&to);
        drop(state);
        self.files.lock().by_path.remove(&from);
        self.files.named(to, &held);
        Ok(())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let path = self.path(folder);
        let mut names = Vec::new();
        for entry in self.files.with_descriptor(|| fs::read_dir(&path))? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.sync_path(&self.path(folder))
    }
}

impl RealFile {
    fn read(&self) -> io::Result<Arc<StdFile>> {
        self.0.descriptor(&mut self.0.lock())
    }

    /// For what has to be synced afterwards.
    fn change(&self) -> io::Result<Arc<StdFile>> {
        let mut state = self.0.lock();
        let file = self.0.descriptor(&mut state)?;
        state.dirty = true;
        Ok(file)
    }
}

impl File for RealFile {
    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.change()?.write_all_at(bytes, position)
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = self.read()?;
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = position.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
            match file.read_at(rest, at) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.read()?.metadata()?.len())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.change()?.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let now = self.length()?;
        if length <= now {
            return Ok(());
        }
        let flags = rustix::fs::FallocateFlags::empty();
        Ok(rustix::fs::fallocate(&*self.change()?, flags, now, length - now)?)
    }

    fn sync(&self) -> io::Result<()> {
        let file = {
            let mut state = self.0.lock();
            if let Some(error) = state.failed.take() {
                return Err(error);
            }
            state.dirty = false;
            // One that is closed was synced before.
            match &state.file {
                Some(file) => Arc::clone(file),
                None => return Ok(()),
            }
        };
        file.sync_data()
    }
}

#[cfg(test)]
mod tests;
