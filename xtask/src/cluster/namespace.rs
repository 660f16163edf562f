//! The namespaces that hold a cluster: network, mounts and process ids, made with one first
//! process that does nothing but hold them. Whoever ends that process ends everything in them.
//! Knows nothing about Kubernetes.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::layout::{Layout, NODE_ADDRESS};
use super::processes::{Recorded, child_of};
use super::{CannotRun, Cluster};
use crate::{tools, wait};

/// How long the namespaces may take to come up or to go.
const LIMIT: Duration = Duration::from_secs(60);
/// What `unshare` is asked for; the last one ends the first process with its parent.
const UNSHARE: &[&str] = &["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"];
/// Folders of the machine that the cluster's programs write to by habit: they see empty ones.
const COVERED: &[&str] = &["/run", "/var/log", "/var/lib"];
/// Where the cluster's programs look for others.
const SYSTEM_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// The exit code of a shell for a program that was ended by signal 0.
const SIGNALLED: i32 = 128;

/// What the first process does: cover the machine's folders, but for the cluster's own, make a network that leads nowhere,
/// say so, and hold all that. A child that loses its parent comes to it; with the signal ignored
/// the kernel buries such children by itself.
fn first_process(layout: &Layout) -> String {
    format!(
        "set -e\n\
         own='{}'\n\
         cover() {{ mount -t tmpfs -o mode=0755 cluster \"$1\"; }}\n\
         cover /run\n\
         mkdir /run/own\n\
         mount --bind \"$own\" /run/own\n\
         cover /var/log\n\
         cover /var/lib\n\
         mkdir -p \"$own\"\n\
         mount --bind /run/own \"$own\"\n\
         umount /run/own\n\
         mount --make-rshared /\n\
         ip link set lo up\n\
         ip link add node0 type bridge\n\
         ip address add {NODE_ADDRESS}/24 dev node0\n\
         ip link set node0 up\n\
         ip route add default dev node0\n\
         echo 1 > /proc/sys/net/ipv4/ip_forward\n\
         trap '' CHLD\n\
         : > '{}'\n\
         exec sleep infinity\n",
        layout.root().display(),
        ready_file(layout).display()
    )
}

fn ready_file(layout: &Layout) -> PathBuf {
    layout.root().join("namespaces-ready")
}

/// Refuses where namespaces cannot be made: another system, another user, a locked-down kernel.
pub(crate) fn check_machine() -> Result<()> {
    if std::env::consts::OS != "linux" {
        bail!(CannotRun(format!("it needs Linux, this is {}", std::env::consts::OS)));
    }
    if !rustix::process::geteuid().is_root() {
        bail!(CannotRun("it needs root, to make network namespaces and mounts".to_owned()));
    }
    let probe = UNSHARE.iter().chain(&["--", "true"]);
    if let Err(error) = tools::output(&mut tools::command("unshare", probe)) {
        bail!(CannotRun(format!("namespaces cannot be made: {error}")));
    }
    Ok(())
}

/// Makes the namespaces of a cluster whose root folder exists.
pub(crate) fn create(layout: &Layout) -> Result<()> {
    let log = layout.log("namespaces");
    let mut command = tools::command("setsid", ["unshare"]);
    command.args(UNSHARE).args(["--", "sh", "-c"]).arg(first_process(layout));
    write_to(&mut command, &log)?;
    let child = command.spawn().context("cannot start unshare (package util-linux)")?;
    let holder = Recorded::now(child.id()).context("unshare ended at once")?;
    holder.save(&layout.records().join("holder"))?;
    wait::until("the cluster's namespaces", LIMIT, || {
        if !holder.is_alive() {
            let said = fs::read_to_string(&log).unwrap_or_default();
            bail!("the namespaces could not be made:\n{}", tools::tail(&said, 5));
        }
        Ok(ready_file(layout).exists().then_some(()))
    })?;
    let first = child_of(child.id()).and_then(Recorded::now);
    first.context("the namespaces have no first process")?.save(&layout.records().join("first"))
}

/// Refuses programs that the cluster would not see, because their folder is covered in it.
pub(crate) fn check_visible(program: &Path) -> Result<()> {
    if let Some(folder) = COVERED.iter().find(|folder| program.starts_with(folder)) {
        bail!("the cache must not be below {folder}: set PINNACE_CACHE to another folder");
    }
    Ok(())
}

/// The process that holds the namespaces, when it runs.
pub(crate) fn holder(layout: &Layout) -> Option<Recorded> {
    Recorded::load(&layout.records().join("holder")).filter(Recorded::is_alive)
}

/// Ends everything in the namespaces, and with it the namespaces; fine when there are none.
pub(crate) fn destroy(layout: &Layout) -> Result<()> {
    for name in ["first", "holder"] {
        let Some(recorded) = Recorded::load(&layout.records().join(name)) else { continue };
        recorded.kill();
        wait::until("the cluster's processes to end", LIMIT, || Ok((!recorded.is_alive()).then_some(())))?;
    }
    Ok(())
}

/// A program inside all of the namespaces, with nothing of the caller's environment.
pub(crate) fn inside<I>(layout: &Layout, program: impl AsRef<OsStr>, arguments: I) -> Result<Command>
where
    I: IntoIterator,
    I::Item: AsRef<OsStr>,
{
    let holder = holder(layout).context("the cluster does not run: cargo xtask cluster up")?;
    let namespaces = format!("/proc/{}/ns", holder.pid);
    let mut command = tools::command("setsid", ["nsenter"]);
    command
        .arg(format!("--net={namespaces}/net"))
        .arg(format!("--mount={namespaces}/mnt"))
        .arg(format!("--pid={namespaces}/pid_for_children"))
        .arg("--")
        .arg(program.as_ref())
        .args(arguments)
        .env_clear()
        .env("PATH", format!("{}:{SYSTEM_PATH}", layout.programs().display()))
        .env("HOME", "/root");
    Ok(command)
}

/// Starts a program of the cluster in the background, with a log file and a record.
pub(crate) fn start<I>(layout: &Layout, name: &str, arguments: I) -> Result<()>
where
    I: IntoIterator,
    I::Item: AsRef<OsStr>,
{
    let mut command = inside(layout, layout.program(name), arguments)?;
    write_to(&mut command, &layout.log(name))?;
    let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    let recorded = Recorded::now(child.id()).with_context(|| died(layout, name))?;
    recorded.save(&layout.records().join(name))
}

/// Kills a program of the cluster, which may stand still, and waits until it is gone.
pub(crate) fn kill(layout: &Layout, name: &str) -> Result<()> {
    let recorded = Recorded::load(&layout.records().join(name));
    let recorded = recorded.with_context(|| format!("{name} was never started: cargo xtask cluster up"))?;
    // The recorded process is nsenter, whose child is the program.
    for process in [child_of(recorded.pid).and_then(Recorded::now), Some(recorded)].into_iter().flatten() {
        process.kill();
        wait::until(&format!("{name} to end"), LIMIT, || Ok((!process.is_alive()).then_some(())))?;
    }
    Ok(())
}

/// What to say about a program that ended by itself.
pub(crate) fn died(layout: &Layout, name: &str) -> String {
    let log = layout.log(name);
    let said = fs::read_to_string(&log).unwrap_or_default();
    format!("{name} has died; the end of {}:\n{}", log.display(), tools::tail(&said, 20))
}

fn write_to(command: &mut Command, log: &PathBuf) -> Result<()> {
    let file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot open the log {}", log.display()))?;
    let same = file.try_clone().context("cannot share the log between output and errors")?;
    command.stdin(Stdio::null()).stdout(file).stderr(same);
    Ok(())
}

/// A program of the caller in the cluster's network alone: the caller's files and environment,
/// with the cluster's programs first in PATH and the settings that find it.
pub(crate) fn beside<I>(cluster: &Cluster, words: I) -> Result<Command>
where
    I: IntoIterator,
    I::Item: AsRef<OsStr>,
{
    let layout = &cluster.layout;
    let holder = holder(layout).context("the cluster does not run: cargo xtask cluster up")?;
    let mut command = Command::new("nsenter");
    command
        .arg(format!("--net=/proc/{}/ns/net", holder.pid))
        .args(["--", "env"])
        .arg(format!("PATH={}:{}", layout.programs().display(), cluster.path))
        .arg(format!("KUBECONFIG={}", layout.kubeconfig("admin").display()))
        .arg(format!("CONTAINERD_ADDRESS={}", layout.containerd_socket().display()))
        .arg("CONTAINERD_NAMESPACE=k8s.io")
        .args(words);
    Ok(command)
}

/// kubectl as the cluster's administrator.
pub(crate) fn kubectl<I>(cluster: &Cluster, arguments: I) -> Result<Command>
where
    I: IntoIterator,
    I::Item: AsRef<OsStr>,
{
    let mut command = beside(cluster, [cluster.layout.program("kubectl")])?;
    command.args(arguments).stdin(Stdio::null());
    Ok(command)
}

/// Runs a program beside the cluster to its end: its input, output and exit code are the
/// caller's.
pub(crate) fn pass_on(cluster: &Cluster, words: impl IntoIterator<Item = OsString>) -> Result<ExitCode> {
    let status = beside(cluster, words)?.status().context("cannot start nsenter")?;
    let code = status.code().or_else(|| status.signal().map(|signal| SIGNALLED + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
