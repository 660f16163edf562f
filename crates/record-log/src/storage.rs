//! What a log asks of the place where its bytes live.
//!
//! Paths are relative, with `/` between their parts. An implementation does nothing behind the caller's
//! back: what was not synced may be lost at a crash, in part and out of order, and a name that was
//! created, renamed or removed is only sure to be so after its folder was synced.

use std::io;

pub mod memory;

/// Whether an error says that there is no room, on the disk or in a quota: there may be some later.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A place for files.
pub trait Storage: Clone + Send + Sync + 'static {
    /// An open file.
    type File: File;

    /// Makes `folder` and its parents, and syncs the folders that name them. Existing folders are fine.
    ///
    /// # Errors
    /// Whatever the storage says.
    fn create_folder(&self, folder: &str) -> io::Result<()>;

    /// Opens a file to read and write it, making it when it is not there.
    ///
    /// # Errors
    /// Whatever the storage says.
    fn open(&self, path: &str) -> io::Result<Self::File>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// Whatever the storage says; `NotFound` when it is not there.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Gives a file another name, in place of any file that had it.
    ///
    /// # Errors
    /// Whatever the storage says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// The names of the files in a folder, without the folder, in no order.
    ///
    /// # Errors
    /// Whatever the storage says; `NotFound` when the folder is not there.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// Whatever the storage says.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
}

/// An open file. Calls take `&self`: reads go on while another thread writes.
pub trait File: Send + Sync + 'static {
    /// Writes all of `bytes` at `position`.
    ///
    /// # Errors
    /// Whatever the storage says; some of the bytes may have been written then.
    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads into `buffer` and says how many bytes it read; fewer than asked only at the end of the file.
    ///
    /// # Errors
    /// Whatever the storage says.
    fn read_at(&self, position: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// The length in bytes.
    ///
    /// # Errors
    /// Whatever the storage says.
    fn length(&self) -> io::Result<u64>;

    /// Cuts the file off, or fills it with zeros, so that it is `length` bytes long.
    ///
    /// # Errors
    /// Whatever the storage says.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Reserves space so that the file is at least `length` bytes long; new bytes read as zeros.
    ///
    /// # Errors
    /// Whatever the storage says; the file is as it was then.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Makes all that was written durable. After an error nothing may be assumed of un-synced bytes,
    /// and a second try that succeeds proves nothing.
    ///
    /// # Errors
    /// Whatever the storage says.
    fn sync(&self) -> io::Result<()>;
}
