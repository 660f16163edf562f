//! What the kernel tells of a sidecar. Decides nothing.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::judge::Sample;

const BYTES_PER_KIBIBYTE: f64 = 1024.0;

/// The sidecar that a `pinnace run` has started.
pub(super) fn sidecar_of(parent: u32) -> Result<u32> {
    let entries = std::fs::read_dir("/proc").context("cannot read /proc")?;
    let mut processes = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let found = processes.find(|process| {
        let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        let separate = words.next().is_some_and(|program| program.ends_with(b"/pinnace-sidecar"));
        (separate || words.next() == Some(b"sidecar")) && parent_of(&stat) == Some(parent)
    });
    found.with_context(|| format!("process {parent} has no sidecar"))
}

/// The second field behind the name, which may hold spaces.
fn parent_of(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Looks at a process once.
pub(super) fn look(process: u32) -> Result<Sample> {
    let folder = Path::new("/proc").join(process.to_string());
    let gone = || format!("the sidecar, process {process}, is gone");
    let status = std::fs::read_to_string(folder.join("status")).with_context(gone)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).with_context(gone)?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS is no number")?;
    let descriptors = std::fs::read_dir(folder.join("fd")).with_context(gone)?.count();
    Ok(Sample { resident_bytes: kibibytes * BYTES_PER_KIBIBYTE, descriptors })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: this very process is looked at, a name with spaces hides no parent, and who is gone is an error.
    #[test]
    fn processes_are_looked_at() {
        let own = look(std::process::id()).unwrap();
        assert!(own.resident_bytes > 100_000.0 && own.descriptors >= 3, "{own:?}");
        assert_eq!(parent_of("7 (a (b) c) S 42 7 7"), Some(42));
        assert!(look(u32::MAX).is_err());
        assert!(sidecar_of(std::process::id()).is_err());
    }
}
