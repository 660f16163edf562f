//! Nothing is left behind, even when `up` itself is killed: a second small process holds the other
//! end of a pipe, knows every process group that was started, and ends them when the pipe closes.
//!
//! Lines of the pipe: `+GROUP`, `-GROUP`, `/FOLDER` (to remove). The reaper does nothing else.

use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeSet;
use std::io::{BufRead as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long the groups get between the two signals.
const GRACE: Duration = Duration::from_secs(5);

/// Sends a signal to a group; one that is gone already is as good.
pub(crate) fn signal_group(group: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(group).ok().and_then(Pid::from_raw)
        && let Err(error) = kill_process_group(pid, signal)
    {
        tracing::trace!(group, %error, "the group is gone");
    }
}

/// The near end of the pipe. Dropping the last clone ends what is still registered.
#[derive(Clone, Debug)]
pub(crate) struct Reaper {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    pipe: Option<ChildStdin>,
    child: Child,
}

impl Reaper {
    /// Starts the second process; `program` is this very executable.
    pub(crate) fn start(program: &Path) -> std::io::Result<Self> {
        let mut child = Command::new(program)
            .arg("reaper")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let pipe = child.stdin.take();
        Ok(Self { inner: Arc::new(Mutex::new(Inner { pipe, child })) })
    }

    fn say(&self, line: &str) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let written = inner.pipe.as_mut().map(|pipe| writeln!(pipe, "{line}").and_then(|()| pipe.flush()));
        if let Some(Err(error)) = written {
            tracing::warn!(%error, "the process that cleans up after a crash is gone");
        }
    }

    /// A process group was started.
    pub(crate) fn add(&self, group: u32) {
        self.say(&format!("+{group}"));
    }

    /// It has ended.
    pub(crate) fn remove(&self, group: u32) {
        self.say(&format!("-{group}"));
    }

    /// Remove this folder when all else is gone.
    pub(crate) fn add_folder(&self, folder: &Path) {
        self.say(&folder.display().to_string());
    }

    /// Closes the pipe and waits for the second process. All groups have ended by now.
    pub(crate) fn stop(&self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.pipe = None;
        if let Err(error) = inner.child.wait() {
            tracing::warn!(%error, "failed to wait for the process that cleans up after a crash");
        }
    }
}

/// The second process: reads until the pipe closes, then ends what is left.
pub(crate) fn run() {
    let mut groups = BTreeSet::new();
    let mut folders: Vec<PathBuf> = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let (word, rest) = line.split_at_checked(1).unwrap_or_default();
        match (word, rest.parse::<u32>()) {
            ("+", Ok(group)) => drop(groups.insert(group)),
            ("-", Ok(group)) => drop(groups.remove(&group)),
            ("/", _) => folders.push(PathBuf::from(&line)),
            _ => {}
        }
    }
    if !groups.is_empty() {
        groups.iter().for_each(|group| signal_group(*group, Signal::TERM));
        wait(GRACE);
        groups.iter().for_each(|group| signal_group(*group, Signal::KILL));
    }
    for folder in folders {
        // It may be gone already: then all is as it should be.
        drop(std::fs::remove_dir_all(folder));
    }
}

#[expect(clippy::disallowed_methods, reason = "this process has no runtime: it only waits once")]
fn wait(pause: Duration) {
    std::thread::sleep(pause);
}
