//! The processes of the operator, as the machine sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

/// The operator, as the kernel cuts its name.
const NAME: &str = "pinnace-operato";
/// Where a replica finds the name of its Pod.
const POD_NAME: &[u8] = b"POD_NAME=";
const MEGABYTE: f64 = 1e6;
const KIBIBYTE: f64 = 1024.0;
/// Units of processor time in a second, on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// What a process took so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) resident_megabytes: f64,
    pub(crate) resident_megabytes_most: f64,
    pub(crate) cpu_seconds: f64,
}

/// The processes of those of these Pods that run on this machine; another cluster may run here too.
pub(crate) fn processes(pods: &BTreeSet<String>) -> Result<BTreeMap<String, i32>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").context("cannot list the processes")?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // Processes end while they are looked at.
        if std::fs::read_to_string(entry.path().join("comm")).is_ok_and(|name| name.trim() == NAME)
            && let Some(pod) = pod_of(&entry.path())
            && pods.contains(&pod)
        {
            found.insert(pod, id);
        }
    }
    Ok(found)
}

fn pod_of(process: &Path) -> Option<String> {
    let environment = std::fs::read(process.join("environ")).ok()?;
    let value = environment.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(POD_NAME))?;
    String::from_utf8(value.to_vec()).ok()
}

/// What a process took so far.
pub(crate) fn usage(process: i32) -> Result<Usage> {
    let read = |file: &str| {
        std::fs::read_to_string(format!("/proc/{process}/{file}"))
            .with_context(|| format!("process {process} is gone"))
    };
    let (status, stat) = (read("status")?, read("stat")?);
    Ok(Usage {
        resident_megabytes: kibibytes(&status, "VmRSS:")?,
        resident_megabytes_most: kibibytes(&status, "VmHWM:")?,
        cpu_seconds: cpu_seconds(&stat).context("the kernel's line about a process is not understood")?,
    })
}

fn kibibytes(status: &str, name: &str) -> Result<f64> {
    let value =
        status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    value.map(|value: f64| value * KIBIBYTE / MEGABYTE).with_context(|| format!("the kernel tells no {name}"))
}

/// The 14th and 15th fields; the 2nd is a name in brackets that may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let (user, system) = (fields.next()?.parse::<f64>().ok()?, fields.next()?.parse::<f64>().ok()?);
    Some((user + system) / TICKS)
}

/// Ends a process as the kernel ends one that took too much memory.
pub(crate) fn kill(process: i32) -> Result<()> {
    let process = Pid::from_raw(process).context("no process id")?;
    kill_process(process, Signal::KILL).context("cannot kill the operator")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: processor time is read behind a name with spaces and brackets, memory in megabytes.
    #[test]
    fn the_kernels_lines_are_read() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 0 0 20 0";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(kibibytes("VmHWM:\t 1000 kB\nVmRSS:\t 500 kB\n", "VmRSS:").unwrap(), 0.512);
        assert!(kibibytes("", "VmRSS:").is_err());
    }
}
