//! The storage of logs on files of a folder. Blocks; never retries.

use std::{
    fs::{self, File as StdFile, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use record_log::storage::{File, Storage};

/// A folder of files; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct DiskStorage {
    root: Arc<Path>,
}

/// An open file.
#[derive(Debug)]
pub(crate) struct DiskFile(StdFile);

impl DiskStorage {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: Arc::from(root) }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Removes a folder and all that is in it, and syncs its parent.
    pub(crate) fn remove_folder(&self, folder: &str) -> io::Result<()> {
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

impl Storage for DiskStorage {
    type File = DiskFile;

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

    fn open(&self, path: &str) -> io::Result<DiskFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.open(self.path(path)).map(DiskFile)
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

impl File for DiskFile {
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
