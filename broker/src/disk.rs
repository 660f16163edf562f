//! The storage of logs: files of a folder, or a simulated disk. Blocks; never retries.
//!
//! Which of the two it is, nobody who uses it can tell: a simulation runs the code that a broker runs.

use std::{
    fs::{self, File as StdFile, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use record_log::storage::{File, Storage};

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
    /// The files of a folder.
    pub(crate) fn new(root: &Path) -> Self {
        Self::over(Folder { root: Arc::from(root) })
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

/// A folder of files.
#[derive(Clone)]
struct Folder {
    root: Arc<Path>,
}

/// An open file of a folder.
struct RealFile(StdFile);

impl Folder {
    fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }
}

impl RemoveFolder for Folder {
    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        let path = self.path(folder);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        path.parent().map_or(Ok(()), sync_path)
    }
}

fn sync_path(folder: &Path) -> io::Result<()> {
    StdFile::open(folder)?.sync_all()
}

impl Storage for Folder {
    type File = RealFile;

    fn create_folder(&self, folder: &str) -> io::Result<()> {
        let mut path = self.root.to_path_buf();
        for part in folder.split('/') {
            let parent = path.clone();
            path.push(part);
            match fs::create_dir(&path) {
                Ok(()) => sync_path(&parent)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn open(&self, path: &str) -> io::Result<RealFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.open(self.path(path)).map(RealFile)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(folder))? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        sync_path(&self.path(folder))
    }
}

impl File for RealFile {
    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, position)
    }

    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let at = position.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
            match self.0.read_at(rest, at) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let now = self.length()?;
        if length <= now {
            return Ok(());
        }
        let flags = rustix::fs::FallocateFlags::empty();
        Ok(rustix::fs::fallocate(&self.0, flags, now, length - now)?)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

#[cfg(test)]
impl RemoveFolder for record_log::storage::memory::MemoryStorage {
    fn remove_folder(&self, folder: &str) -> io::Result<()> {
        Self::remove_folder(self, folder)
    }
}
