//! What the disk itself takes, alone: no acknowledgement comes sooner and no load goes faster.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::percentile;
use crate::bench::Report;
use crate::wait::Stopwatch;

/// Appends and overwrites of the probe, and their size.
const PROBES: usize = 500;
const PROBE_BYTES: usize = 4096;
const MEBIBYTE: usize = 1024 * 1024;

/// Small synced appends, small synced overwrites, and much at once with one sync.
pub(super) fn probe(folder: &Path, quick: bool, report: &mut Report) -> Result<()> {
    let path = folder.join("probe");
    let mut file = File::create(&path).context("cannot make the probe of the disk")?;
    latencies(report, "append", || file.write_all(&[0; PROBE_BYTES]).and_then(|()| file.sync_data()))?;
    let mut at = 0;
    latencies(report, "overwrite", || {
        at = (at + PROBE_BYTES) % (PROBES * PROBE_BYTES);
        file.write_all_at(&[1; PROBE_BYTES], at as u64).and_then(|()| file.sync_data())
    })?;
    let block = vec![0_u8; MEBIBYTE];
    let blocks = if quick { 64 } else { 1024 };
    let clock = Stopwatch::start();
    for _ in 0..blocks {
        file.write_all(&block)?;
    }
    file.sync_data().context("cannot sync the probe of the disk")?;
    let rate = f64::from(blocks) / clock.elapsed().as_secs_f64();
    report.figure("disk_write_and_sync_at_the_end_mebibytes_per_second", rate);
    std::fs::remove_file(&path).context("cannot remove the probe of the disk")
}

fn latencies(report: &mut Report, what: &str, mut one: impl FnMut() -> std::io::Result<()>) -> Result<()> {
    let mut milliseconds = Vec::with_capacity(PROBES);
    for _ in 0..PROBES {
        let clock = Stopwatch::start();
        one().context("cannot write and sync the probe of the disk")?;
        milliseconds.push(clock.elapsed().as_secs_f64() * 1e3);
    }
    milliseconds.sort_by(f64::total_cmp);
    for percent in [50, 99] {
        let value = percentile(&milliseconds, percent);
        report.figure(format!("disk_{what}_4_kib_and_sync_p{percent}_milliseconds"), value);
    }
    Ok(())
}
