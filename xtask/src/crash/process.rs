//! The broker as a process that is started and killed over and over on one folder.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::tools;
use crate::wait::{self, Stopwatch};

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(2);
/// Small limits, so that everything that happens seldom happens all the time.
const SETTINGS: &str = "group.initial.rebalance.delay.ms=50
log.retention.check.interval.ms=100
disk.free.bytes.min=1048576
transaction.abort.timed.out.transaction.cleanup.interval.ms=50
";
/// Words of a log that no kill explains.
const BAD_WORDS: [&str; 2] = ["ERROR", "panicked"];

/// A folder with the broker's data and what it printed.
pub(crate) struct Home {
    program: PathBuf,
    folder: PathBuf,
}

/// A broker that was started.
pub(crate) struct Running<'a> {
    home: &'a Home,
    child: Child,
    started: Stopwatch,
}

impl Home {
    pub(crate) fn new(program: PathBuf, folder: &Path) -> Result<Self> {
        std::fs::write(folder.join("settings"), SETTINGS).context("cannot write the broker's settings")?;
        Ok(Self { program, folder: folder.to_owned() })
    }

    pub(crate) fn start(&self) -> Result<Running<'_>> {
        let ready = self.folder.join("ready.json");
        drop(std::fs::remove_file(&ready));
        let log = File::create(self.folder.join("broker.log")).context("cannot make the broker's log")?;
        let mut command = Command::new(&self.program);
        command.args(["--listen", "127.0.0.1:0", "--data"]).arg(self.folder.join("data"));
        command.arg("--config").arg(self.folder.join("settings")).arg("--ready-file").arg(&ready);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let started = Stopwatch::start();
        let child = command.spawn().with_context(|| format!("cannot start {}", tools::line(&command)))?;
        Ok(Running { home: self, child, started })
    }
}

impl Running<'_> {
    /// Waits until it serves: where, and how long the start took.
    pub(crate) fn ready(&mut self) -> Result<(SocketAddr, Duration)> {
        while self.started.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                bail!("the broker ended by itself, {status}:\n{}", tools::tail(&self.log(), 20));
            }
            if let Ok(text) = std::fs::read_to_string(self.home.folder.join("ready.json")) {
                let value: serde_json::Value =
                    serde_json::from_str(&text).context("cannot read the ready file")?;
                let address = value.get("kafka").and_then(|address| address.as_str());
                let address = address.context("the ready file has no address")?.parse()?;
                return Ok((address, self.started.elapsed()));
            }
            wait::rest(LOOK);
        }
        bail!("the broker did not start in {} s:\n{}", PATIENCE.as_secs(), tools::tail(&self.log(), 20))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.folder.join("broker.log")).unwrap_or_default()
    }

    /// SIGKILL. Returns lines of its log that should not be there, and an end that came before.
    pub(crate) fn kill(mut self) -> Result<Vec<String>> {
        let mut bad = Vec::new();
        if let Some(status) = self.child.try_wait()? {
            bad.push(format!("the broker ended by itself, {status}:\n{}", tools::tail(&self.log(), 20)));
        }
        self.child.kill().context("cannot kill the broker")?;
        self.child.wait()?;
        let log = self.log();
        let lines = log.lines().filter(|line| BAD_WORDS.iter().any(|word| line.contains(word)));
        bad.extend(lines.map(|line| format!("the broker's log says: {line}")));
        Ok(bad)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // After a kill there is nothing left to end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
