//! The test cluster itself: another one beside the one that the scenarios run in.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::kube;

/// The name of the other cluster.
const NAME: &str = "lifecycle";
/// Folders of the machine that programs of a cluster write to by habit.
const WATCHED: &[&str] = &[
    "/run",
    "/run/netns",
    "/var/lib",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/lib/pinnace-cluster",
    "/var/log",
    "/opt",
    "/etc",
    "/etc/cni",
    "/mnt",
];

fn xtask(arguments: &[&str]) -> Result<String> {
    let program = setting("PINNACE_XTASK")?;
    let mut words = vec!["cluster", "--name", NAME];
    words.extend_from_slice(arguments);
    kube::run(&program, &words)
}

/// What `cargo xtask e2e` says to the scenarios.
#[expect(clippy::disallowed_methods, reason = "the only argument that a test program can get")]
pub(crate) fn setting(name: &str) -> Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set: run cargo xtask e2e"))
}

/// Everything that a cluster could leave: entries of the machine's folders, mounts, cgroups.
fn traces() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for folder in WATCHED {
        found.extend(entries(Path::new(folder)).iter().map(|path| path.display().to_string()));
    }
    for hierarchy in entries(Path::new("/sys/fs/cgroup")) {
        found.extend(entries(&hierarchy).iter().map(|path| path.display().to_string()));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    found.extend(mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(str::to_owned));
    found
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().map(|entry| entry.path()).collect()
}

/// The processes whose command line names the other cluster's folder.
fn processes() -> Vec<u32> {
    let folder = format!("/var/lib/pinnace-cluster/{NAME}/");
    let names_it = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&folder)
    };
    let pids = entries(Path::new("/proc"));
    let pids = pids.iter().filter_map(|path| path.file_name()?.to_str()?.parse().ok());
    pids.filter(names_it).collect()
}

fn nothing_is_left(before: &BTreeSet<String>) -> Result<()> {
    let after = traces();
    let left: Vec<_> = after.difference(before).collect();
    ensure!(left.is_empty(), "the cluster left these behind: {left:?}");
    ensure!(processes().is_empty(), "the cluster left processes behind: {:?}", processes());
    ensure!(xtask(&["status"]).is_err(), "the cluster still has a status");
    Ok(())
}

/// Promise: `up` twice is one cluster, pods of it start and reach its API server by name, and
/// `down` leaves no process, mount, cgroup or folder.
#[test]
fn cluster_down_leaves_nothing_behind() -> Result<()> {
    xtask(&["down"])?;
    let before = traces();
    xtask(&["up"])?;
    ensure!(xtask(&["up"])?.contains("up already"), "up is not idempotent");
    xtask(&["load"])?;
    let image = "--image=pinnace.dev/test/busybox:0.0.0";
    let script = "nslookup kubernetes.default.svc.cluster.local && echo found";
    xtask(&["kubectl", "run", "one", image, "--restart=Never", "--command", "--", "sh", "-c", script])?;
    xtask(&["kubectl", "wait", "pod/one", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"])?;
    ensure!(xtask(&["kubectl", "logs", "one"])?.contains("found"), "the name was not found");
    xtask(&["down"])?;
    nothing_is_left(&before)
}

/// Promise: the same after a crash, whichever of the cluster's processes were killed: some of
/// them, or all.
#[test]
fn cluster_down_leaves_nothing_behind_after_a_crash() -> Result<()> {
    xtask(&["down"])?;
    let before = traces();
    for crash in ["containerd", "/"] {
        xtask(&["up"])?;
        let killed: Vec<String> = processes()
            .into_iter()
            .filter(|pid| {
                let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains(crash)
            })
            .map(|pid| pid.to_string())
            .collect();
        ensure!(!killed.is_empty(), "no process of the cluster was found");
        let mut words = vec!["-KILL"];
        words.extend(killed.iter().map(String::as_str));
        // Some end with those that were killed before them.
        drop(kube::attempt("kill", &words, "")?);
        ensure!(xtask(&["status"]).is_err(), "a crashed cluster is called well");
        xtask(&["down"])?;
        nothing_is_left(&before)?;
    }
    Ok(())
}
