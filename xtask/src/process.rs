//! A program that runs beside us, its output in files; it is asked to end when dropped, then made to.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::tools;
use crate::wait;

/// How long a round may take: longer than the load generator's own deadline.
const LIFE: Duration = Duration::from_secs(330);
/// How long a program may take to end once asked to.
const GOODBYE: Duration = Duration::from_secs(30);
/// Lines of a failed program's output that an error repeats.
const TAIL_LINES: usize = 10;

/// A running program.
pub(crate) struct Process {
    name: String,
    child: Child,
    output: PathBuf,
    log: PathBuf,
}

/// A port on loopback that was free a moment ago: for programs that cannot say which one they took.
pub(crate) fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot find a free port")?;
    Ok(listener.local_addr()?)
}

/// The same as an endpoint.
pub(crate) fn free_endpoint() -> Result<String> {
    Ok(format!("tcp://{}", free_address()?))
}

impl Process {
    /// Starts it; `folder` takes its output.
    pub(crate) fn start(name: &str, mut command: Command, folder: &Path) -> Result<Self> {
        let (output, log) = (folder.join(format!("{name}.out")), folder.join(format!("{name}.log")));
        let file =
            |path: &Path| File::create(path).with_context(|| format!("cannot make {}", path.display()));
        command.stdin(Stdio::null()).stdout(file(&output)?).stderr(file(&log)?);
        let child = command.spawn().with_context(|| format!("cannot start {}", tools::line(&command)))?;
        Ok(Self { name: name.to_owned(), child, output, log })
    }

    /// The kernel's number of it.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it runs still; an end is an error that says what it printed.
    pub(crate) fn runs(&mut self) -> Result<()> {
        let status = self.child.try_wait()?;
        ensure!(status.is_none(), "{} ended too early: {}", self.name, self.said());
        Ok(())
    }

    /// Whether it has ended, well or not.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for the end, which must be a good one, and gives what was printed.
    pub(crate) fn finish(self) -> Result<String> {
        self.finish_within(LIFE)
    }

    /// The same, where it may take longer or shorter than a round of a benchmark.
    pub(crate) fn finish_within(mut self, limit: Duration) -> Result<String> {
        let status = self.wait(limit)?;
        ensure!(status.success(), "{} failed, {status}: {}", self.name, self.said());
        std::fs::read_to_string(&self.output)
            .with_context(|| format!("cannot read {}", self.output.display()))
    }

    /// Asks it to end and waits until it has, which must be a good end.
    pub(crate) fn end(mut self) -> Result<()> {
        self.runs()?;
        self.ask()?;
        let status = self.wait(GOODBYE)?;
        ensure!(status.success(), "{} did not end well, {status}: {}", self.name, self.said());
        Ok(())
    }

    /// Asks it to end and waits until it has, however it says that it did: of programs that are not ours.
    pub(crate) fn end_somehow(mut self) -> Result<()> {
        self.runs()?;
        self.ask()?;
        self.wait(GOODBYE).map(drop)
    }

    fn ask(&self) -> Result<()> {
        let process = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let process = process.with_context(|| format!("{} has no process id", self.name))?;
        kill_process(process, Signal::TERM).with_context(|| format!("cannot end {}", self.name))
    }

    fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        wait::until(&format!("the end of {}", self.name), limit, || Ok(self.child.try_wait()?))
    }

    fn said(&self) -> String {
        tools::tail(&std::fs::read_to_string(&self.log).unwrap_or_default(), TAIL_LINES)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // It takes what it has started with it, if it is given the time.
        if self.ask().and_then(|()| self.wait(GOODBYE)).is_err() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str, folder: &Path) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start("script", command, folder).unwrap()
    }

    /// Goal: a good end gives the output, a bad one the reason, and a program that is dropped is gone.
    #[test]
    fn programs_end() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(start("echo lost 0", folder.path()).finish().unwrap(), "lost 0\n");
        let failure = start("echo the reason >&2; exit 3", folder.path()).finish().unwrap_err();
        assert!(failure.to_string().contains("the reason"), "{failure}");
        let sleeper = start("exec sleep 600", folder.path());
        let process = i32::try_from(sleeper.child.id()).ok().and_then(Pid::from_raw).unwrap();
        drop(sleeper);
        assert!(kill_process(process, Signal::TERM).is_err());
    }
}
