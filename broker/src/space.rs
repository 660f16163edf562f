//! How full the disk is. Below a mark of free bytes nothing is produced any more, until there is room again.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use crate::metrics::Metrics;

/// Taking records again needs this much more room than refusing them, in percent, so that it does not flicker.
const RECOVERED_PERCENT: u64 = 110;

/// The size of a folder's file system in bytes; 0 when it cannot be told.
pub(crate) fn capacity_bytes(folder: &Path) -> u64 {
    rustix::fs::statvfs(folder).map_or(0, |stat| stat.f_blocks.saturating_mul(stat.f_frsize))
}

/// Watches the file system of the data folder.
pub(crate) struct Space {
    folder: PathBuf,
    free_bytes_min: u64,
    low: AtomicBool,
    metrics: Metrics,
}

impl Space {
    /// `free_bytes_min` is cut to a twentieth of the file system, or a small one could never be written to.
    pub(crate) fn new(folder: PathBuf, free_bytes_min: u64, metrics: Metrics) -> Self {
        let space = Self { folder, free_bytes_min, low: AtomicBool::new(false), metrics };
        space.check();
        space
    }

    /// Whether producing is refused.
    pub(crate) fn is_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    /// Looks at the file system.
    pub(crate) fn check(&self) {
        let stat = match rustix::fs::statvfs(&self.folder) {
            Ok(stat) => stat,
            Err(error) => {
                tracing::warn!(%error, folder = %self.folder.display(), "cannot tell how full the disk is");
                return;
            }
        };
        let capacity = stat.f_blocks.saturating_mul(stat.f_frsize);
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let used = capacity.saturating_sub(stat.f_bfree.saturating_mul(stat.f_frsize));
        self.metrics.disk_capacity.set(i64::try_from(capacity).unwrap_or(i64::MAX));
        self.metrics.disk_used.set(i64::try_from(used).unwrap_or(i64::MAX));
        let mark = self.free_bytes_min.min(capacity / 20);
        let was_low = self.is_low();
        let low = if was_low { free < mark / 100 * RECOVERED_PERCENT } else { free < mark };
        if low != was_low {
            self.low.store(low, Ordering::Relaxed);
            self.metrics.disk_low.set(i64::from(low));
            if low {
                tracing::error!(free, mark, "the disk is nearly full: produce requests are refused");
            } else {
                tracing::info!(free, "the disk has room again: produce requests are taken");
            }
        }
    }
}
