//! The story of a cluster: up, down, and whether it is well. Each step is done elsewhere.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::{Cluster, certificates, cgroups, load, namespace, packages, parts, programs, storage};
use crate::cluster::layout::Layout;
use crate::cluster::processes::Recorded;
use crate::wait::{self, Stopwatch};
use crate::{cache, images, tools};

/// How long a step of the start may take on a busy machine.
const STEP_LIMIT: Duration = Duration::from_secs(180);
/// The answer of a command that must not hang when the cluster is half dead.
const REQUEST_TIMEOUT: &str = "--request-timeout=5s";
/// kubectl's answer format: whether each node is Ready.
const NODE_READY: &str = r#"jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}"#;
/// Where CoreDNS says that it has read the cluster's objects.
const DNS_READY: &str = "http://127.0.0.1:8181/ready";

/// How a cluster is.
pub(crate) enum Health {
    /// It runs and answers.
    Well,
    /// There is none, and nothing of one.
    Absent,
    /// There is something of one, and what is wrong with it.
    Unwell(String),
}

impl Health {
    pub(crate) fn is_well(&self) -> bool {
        matches!(self, Self::Well)
    }
}

impl std::fmt::Display for Health {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Well => write!(out, "the cluster is up and well"),
            Self::Absent => write!(out, "there is no cluster: cargo xtask cluster up"),
            Self::Unwell(what) => write!(out, "the cluster is not well: {what}"),
        }
    }
}

/// Starts the cluster, or does nothing when it is well; one that is not well is begun anew.
pub(crate) fn up(cluster: &Cluster) -> Result<()> {
    let _alone = cluster.cache.lock("cluster")?;
    packages::ensure()?;
    let programs = parts::all(&cluster.cache)?;
    match health(cluster) {
        Health::Well => {
            storage::prepare(cluster)?;
            println!("the cluster is up already");
            return Ok(());
        }
        Health::Absent => {}
        Health::Unwell(what) => {
            println!("what is left of a cluster is taken down first: {what}");
            tear_down(&cluster.layout)?;
        }
    }
    let clock = Stopwatch::start();
    start(cluster, &programs)?;
    println!(
        "the cluster is up after {:.1} s; KUBECONFIG={} (inside its network: cargo xtask cluster run -- CMD)",
        clock.elapsed().as_secs_f64(),
        cluster.layout.kubeconfig("admin").display()
    );
    Ok(())
}

/// Stops the cluster and deletes all of it; fine when there is none.
pub(crate) fn down(cluster: &Cluster) -> Result<()> {
    if !cluster.layout.root().exists() {
        println!("there is no cluster");
        return Ok(());
    }
    namespace::check_machine()?;
    let _alone = cluster.cache.lock("cluster")?;
    tear_down(&cluster.layout)?;
    println!("the cluster is gone");
    Ok(())
}

/// Kills one of the cluster's programs and starts it again; returns when the API server answers.
pub(crate) fn restart(cluster: &Cluster, name: &str) -> Result<()> {
    let layout = &cluster.layout;
    let mut all = programs::first(layout).into_iter().chain(programs::second(layout));
    let program = all.find(|program| program.name == name);
    let program = program
        .with_context(|| format!("there is no program {name}; there are {}", names(layout).join(", ")))?;
    namespace::kill(layout, name)?;
    run(layout, vec![program])?;
    wait_for_api_server(cluster)
}

/// Looks at the processes, then asks the API server about the node.
pub(crate) fn health(cluster: &Cluster) -> Health {
    let layout = &cluster.layout;
    if !layout.root().exists() {
        return Health::Absent;
    }
    if namespace::holder(layout).is_none() {
        return Health::Unwell("none of its processes runs".to_owned());
    }
    if let Err(error) = all_alive(layout, &names(layout)) {
        return Health::Unwell(format!("{error:#}"));
    }
    match node_is_ready(cluster) {
        Ok(true) => Health::Well,
        Ok(false) => Health::Unwell("its node is not ready".to_owned()),
        Err(error) => Health::Unwell(format!("{error:#}")),
    }
}

fn start(cluster: &Cluster, binaries: &[(&str, std::path::PathBuf)]) -> Result<()> {
    let layout = &cluster.layout;
    let pause = images::test_image(&cluster.cache, "pause")?;
    for folder in [layout.programs(), layout.certificates(), layout.logs(), layout.records()] {
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    for (name, binary) in binaries {
        namespace::check_visible(binary)?;
        std::os::unix::fs::symlink(binary, layout.program(name))
            .with_context(|| format!("cannot link {name} into the cluster's folder"))?;
    }
    certificates::write(layout)?;
    programs::write_settings(layout)?;
    cgroups::create(&layout.cgroup())?;
    println!("making the namespaces");
    namespace::create(layout)?;
    run(layout, programs::first(layout))?;
    wait_for_api_server(cluster)?;
    load::wait_for_containerd(cluster)?;
    load::load_one(cluster, &pause)?;
    run(layout, programs::second(layout))?;
    storage::prepare(cluster)?;
    wait_for(cluster, "the node to be ready", || node_is_ready(cluster))?;
    wait_for(cluster, "the first service account", || {
        let arguments = ["get", "serviceaccount", "default", REQUEST_TIMEOUT];
        Ok(tools::succeeds(&mut namespace::kubectl(cluster, arguments)?))
    })?;
    wait_for(cluster, "the name server to be ready", || {
        let words = ["busybox", "wget", "-q", "-O", "-", DNS_READY];
        Ok(tools::succeeds(&mut namespace::inside(layout, words[0], &words[1..])?))
    })
}

fn run(layout: &Layout, programs: Vec<programs::Program>) -> Result<()> {
    for program in programs {
        println!("starting {}", program.name);
        namespace::start(layout, program.name, &program.arguments)?;
    }
    Ok(())
}

fn wait_for_api_server(cluster: &Cluster) -> Result<()> {
    wait_for(cluster, "the API server to answer", || {
        Ok(tools::succeeds(&mut namespace::kubectl(cluster, ["get", "--raw=/readyz", REQUEST_TIMEOUT])?))
    })
}

/// Waits for something, as long as none of the programs dies meanwhile.
fn wait_for(cluster: &Cluster, what: &str, mut look: impl FnMut() -> Result<bool>) -> Result<()> {
    let layout = &cluster.layout;
    println!("waiting for {what}");
    wait::until(what, STEP_LIMIT, || {
        all_alive(layout, &started(layout))?;
        Ok(look()?.then_some(()))
    })
    .with_context(|| format!("the logs are in {}", layout.logs().display()))
}

/// The names of all programs.
fn names(layout: &Layout) -> Vec<String> {
    let programs = programs::first(layout).into_iter().chain(programs::second(layout));
    programs.map(|program| program.name.to_owned()).collect()
}

/// The names of the programs that were started so far.
fn started(layout: &Layout) -> Vec<String> {
    let mut names = names(layout);
    names.retain(|name| layout.records().join(name).exists());
    names
}

fn all_alive(layout: &Layout, names: &[String]) -> Result<()> {
    for name in names {
        let record = Recorded::load(&layout.records().join(name));
        if !record.is_some_and(|recorded| recorded.is_alive()) {
            bail!(namespace::died(layout, name));
        }
    }
    Ok(())
}

fn node_is_ready(cluster: &Cluster) -> Result<bool> {
    let arguments = ["get", "nodes", "-o", NODE_READY, REQUEST_TIMEOUT];
    Ok(tools::output(&mut namespace::kubectl(cluster, arguments)?)
        .is_ok_and(|answer| answer.trim() == "True"))
}

/// Ends the processes, then deletes what they leave: cgroups, mounts, files.
fn tear_down(layout: &Layout) -> Result<()> {
    namespace::destroy(layout)?;
    cgroups::remove(&layout.cgroup())?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot list the mounts")?;
    for mount in mounts_below(&mounts, layout.root()) {
        tools::output(&mut tools::command("umount", ["--lazy", &mount]))?;
    }
    cache::remove_folder(layout.root())?;
    if let Some(parent) = layout.root().parent() {
        // Another cluster may live there; then the folder is not empty and stays.
        drop(fs::remove_dir(parent));
    }
    Ok(())
}

/// The mount points below a folder, deepest first. The cluster's own mounts end with its
/// namespace; these would be someone else's, and deleting the folder would delete what they show.
fn mounts_below(mountinfo: &str, folder: &Path) -> Vec<String> {
    let mut points: Vec<String> = mountinfo
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| Path::new(point).starts_with(folder))
        .map(str::to_owned)
        .collect();
    points.sort_by_key(|point| std::cmp::Reverse(point.matches('/').count()));
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: only mounts below the folder are taken, and a mount on another one comes off first.
    #[test]
    fn mounts_come_off_deepest_first() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/x rw\n\
             2 1 0:5 / /var/lib/pinnace-cluster/one/a rw - tmpfs t rw\n\
             3 2 0:6 / /var/lib/pinnace-cluster/one/a/b/c rw - tmpfs t rw\n\
             4 1 0:7 / /var/lib/pinnace-cluster/one-more rw - tmpfs t rw\n";
        let found = mounts_below(mounts, Path::new("/var/lib/pinnace-cluster/one"));
        assert_eq!(found, ["/var/lib/pinnace-cluster/one/a/b/c", "/var/lib/pinnace-cluster/one/a"]);
    }
}
