//! How full the disk is. Below a mark of free bytes nothing is produced any more, until there is room again. A reserve
//! is kept for when there is no room at all: it goes so that deletions and commits can go on, and comes back later.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    health::{Health, Storage, Teller},
    metrics::Metrics,
};

/// Taking records again needs this much more room than refusing them, in percent, so that it does not flicker.
const RECOVERED_PERCENT: u64 = 110;
/// The file in the data folder that only takes up room.
const RESERVE_NAME: &str = "reserve";
/// Its size: enough for the broker's own table to be written anew, and no more than this part of a small disk.
const RESERVE_BYTES_MAX: u64 = 16 * 1024 * 1024;
const RESERVE_PARTS: u64 = 64;

/// The size of a folder's file system in bytes; 0 when it cannot be told.
pub(crate) fn capacity_bytes(folder: &Path) -> u64 {
    rustix::fs::statvfs(folder).map_or(0, |stat| stat.f_blocks.saturating_mul(stat.f_frsize))
}

/// Watches the file system of the data folder.
pub(crate) struct Space {
    folder: PathBuf,
    free_bytes_min: u64,
    low: AtomicBool,
    /// Whether the reserve is there; unknown before it was looked for. One check at a time.
    reserve: Mutex<Option<bool>>,
    metrics: Metrics,
    teller: Arc<Teller>,
}

impl Space {
    /// `free_bytes_min` is cut to a twentieth of the file system, or a small one could never be written to.
    pub(crate) fn new(
        folder: PathBuf,
        free_bytes_min: u64,
        (metrics, teller): (Metrics, Arc<Teller>),
    ) -> Self {
        let low = AtomicBool::new(false);
        let space = Self { folder, free_bytes_min, low, reserve: Mutex::default(), metrics, teller };
        space.check();
        space
    }

    /// Whether producing is refused.
    pub(crate) fn is_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    /// Looks at the file system, and tells how the broker is. Blocks shortly.
    pub(crate) fn check(&self) {
        let stat = match rustix::fs::statvfs(&self.folder) {
            Ok(stat) => stat,
            Err(error) => {
                tracing::warn!(%error, folder = %self.folder.display(), "cannot tell how full the disk is");
                return;
            }
        };
        let capacity = stat.f_blocks.saturating_mul(stat.f_frsize);
        let used = capacity.saturating_sub(stat.f_bfree.saturating_mul(stat.f_frsize));
        self.metrics.disk.capacity_bytes.set(i64::try_from(capacity).unwrap_or(i64::MAX));
        self.metrics.disk.used_bytes.set(i64::try_from(used).unwrap_or(i64::MAX));
        self.judge(capacity, stat.f_bavail.saturating_mul(stat.f_frsize));
        self.teller.tell(Health {
            storage: Storage { capacity_bytes: capacity, used_bytes: used },
            disk_nearly_full: self.is_low(),
            read_only_partitions: u64::try_from(self.metrics.read_only_partitions.get()).unwrap_or(0),
        });
    }

    fn judge(&self, capacity: u64, free: u64) {
        let mark = self.free_bytes_min.min(capacity / 20);
        let recovered = mark / 100 * RECOVERED_PERCENT;
        let was_low = self.is_low();
        let low = if was_low { free < recovered } else { free < mark };
        let reserve_bytes = RESERVE_BYTES_MAX.min(capacity / RESERVE_PARTS);
        if low && free < reserve_bytes {
            self.let_go();
        } else if !low && free >= recovered.saturating_add(reserve_bytes) {
            self.keep_back(reserve_bytes);
        }
        if low != was_low {
            self.low.store(low, Ordering::Relaxed);
            self.metrics.disk.low.set(i64::from(low));
            if low {
                tracing::error!(free, mark, "the disk is nearly full: produce requests are refused");
            } else {
                tracing::info!(free, "the disk has room again: produce requests are taken");
            }
        }
    }

    /// Gives the reserve up, for deletions and commits: nothing is produced any more.
    fn let_go(&self) {
        let mut there = self.reserve.lock().unwrap_or_else(PoisonError::into_inner);
        if *there == Some(false) {
            return;
        }
        match fs::remove_file(self.folder.join(RESERVE_NAME)) {
            Ok(()) => tracing::warn!("the disk is full: the reserve is used for deletions and commits"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::error!(%error, "the disk is full, and the reserve cannot be used");
                return;
            }
        }
        *there = Some(false);
    }

    /// Makes the reserve when there is room for it. It is only for room: whether it survives a crash is no matter.
    fn keep_back(&self, bytes: u64) {
        let mut there = self.reserve.lock().unwrap_or_else(PoisonError::into_inner);
        if *there == Some(true) {
            return;
        }
        let path = self.folder.join(RESERVE_NAME);
        if let Err(error) = reserve(&path, bytes) {
            // A file system that cannot reserve has none; the next start tries again.
            tracing::warn!(%error, file = %path.display(), "cannot keep room back for when the disk is full");
            drop(fs::remove_file(&path));
        }
        *there = Some(true);
    }
}

fn reserve(path: &Path, bytes: u64) -> io::Result<()> {
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    if bytes == 0 || file.metadata()?.len() == bytes {
        return Ok(());
    }
    file.set_len(0)?;
    Ok(rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    /// Goal: the reserve is there while there is room, goes when there is none, and comes back only when producing
    /// goes on and it fits; producing is refused below the mark and taken again above it.
    #[test]
    fn the_reserve_comes_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        let space = Space {
            folder: folder.path().to_owned(),
            free_bytes_min: 20 * MIB,
            low: AtomicBool::new(false),
            reserve: Mutex::default(),
            metrics,
            teller: Arc::default(),
        };
        let reserve = folder.path().join(RESERVE_NAME);
        let mut seen = Vec::new();
        for free in [100, 19, 9, 21, 23, 40, 40] {
            space.judge(640 * MIB, free * MIB);
            seen.push((space.is_low(), fs::metadata(&reserve).ok().map(|found| found.len() / MIB)));
        }
        let there = Some(10);
        let wanted = [
            (false, there),
            (true, there),
            (true, None),
            (true, None),
            (false, None),
            (false, there),
            (false, there),
        ];
        assert_eq!(seen, wanted);
    }
}
