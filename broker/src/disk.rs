//! The storage of logs: files of a folder, or a simulated disk. Blocks; never retries.
//!
//! Which of the two it is, nobody who uses it can tell: a simulation runs the code that a broker runs.

use std::{io, path::Path, sync::Arc};

use record_log::storage::{File, Storage};

mod folder;

use folder::Folder;

/// What the broker asks of a place for files, whatever the place is.
pub(crate) trait Disk: Send + Sync {
    fn create_folder(&self, folder: &str) -> io::Result<()>;
    fn remove_folder(&self, folder: &str) -> io::Result<()>;
    fn open(&self, path: &str) -> io::Result<DiskFile>;
    fn remove(&self, path: &str) -> io::Result<()>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
}

/// Removing a folder is the one thing that logs do not ask for.
pub(crate) trait RemoveFolder: Storage {
    /// Removes a folder and all that is in it, and syncs its parent.
    fn remove_folder(&self, folder: &str) -> io::Result<()>;
}

impl<S: RemoveFolder> Disk for S {
    fn create_folder(&self, folder: &str) -> io::Result<()> {
        Storage::create_folder(self, folder)
    }

    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        RemoveFolder::remove_folder(self, folder)
    }

    fn open(&self, path: &str) -> io::Result<DiskFile> {
        Storage::open(self, path).map(|file| DiskFile(Box::new(file)))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        Storage::remove(self, path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Storage::rename(self, from, to)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        Storage::list(self, folder)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        Storage::sync_folder(self, folder)
    }
}

/// Where files are; clones share it.
#[derive(Clone)]
pub(crate) struct DiskStorage(Arc<dyn Disk>);

/// An open file.
pub(crate) struct DiskFile(Box<dyn File>);

impl DiskStorage {
    /// The files of a folder, of which about `open_max` are open at a time, however many there are.
    pub(crate) fn new(root: &Path, open_max: usize) -> Self {
        Self::over(Folder::new(root, open_max))
    }

    /// Any place.
    pub(crate) fn over(place: impl RemoveFolder) -> Self {
        Self(Arc::new(place))
    }

    /// Removes a folder and all that is in it, and syncs its parent.
    pub(crate) fn remove_folder(&self, folder: &str) -> io::Result<()> {
        self.0.remove_folder(folder)
    }
}

impl Storage for DiskStorage {
    type File = DiskFile;

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        self.0.create_folder(folder)
    }

    fn open(&self, path: &str) -> io::Result<DiskFile> {
        self.0.open(path)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.0.remove(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.0.list(folder)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.0.sync_folder(folder)
    }
}

impl File for DiskFile {
    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(position, bytes)
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(position, buffer)
    }

    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.truncate(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        self.0.allocate(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}

#[cfg(test)]
impl RemoveFolder for record_log::storage::memory::MemoryStorage {
    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        Self::remove_folder(self, folder)
    }
}
