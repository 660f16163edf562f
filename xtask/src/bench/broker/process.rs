//! A broker as a process: where it listens, what it costs. Killed when dropped.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::PARTITIONS;
use super::wire::Wire;
use crate::process::free_address;
use crate::tools;
use crate::wait::{self, Stopwatch};

/// Ticks of the kernel's CPU counters in a second: the same on every Linux that we run on.
pub(super) const TICKS_PER_SECOND: f64 = 100.0;
/// A cost of fewer ticks is mostly rounding.
const TICKS_MIN: f64 = 20.0;
/// How long a broker may take to start.
const START_LIMIT: Duration = Duration::from_secs(120);
const KIBIBYTES_PER_MEBIBYTE: f64 = 1024.0;

/// A running broker.
pub(super) struct Broker {
    child: Child,
    started: Stopwatch,
    log: PathBuf,
    address: SocketAddr,
    text: String,
}

impl Broker {
    /// Starts the program, whose output goes into a file of `folder`.
    pub(super) fn spawn(mut command: Command, folder: &Path, address: SocketAddr) -> Result<Self> {
        let log = folder.join("broker.log");
        let file = File::create(&log).context("cannot make the broker's log")?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let started = Stopwatch::start();
        let child = command.spawn().with_context(|| format!("cannot start {}", tools::line(&command)))?;
        Ok(Self { child, started, log, address, text: address.to_string() })
    }

    /// Starts the Embedded engine, on a folder that may hold what an earlier one left.
    pub(super) fn embedded(program: &Path, folder: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&folder).context("cannot make the broker's folder")?;
        let address = free_address()?;
        let mut command = Command::new(program);
        command.arg("--data").arg(folder.join("data")).args(["--listen", &address.to_string()]);
        command.args(["--admin-listen", "127.0.0.1:0", "--auto-create-topics"]);
        command.args(["--default-partitions", &PARTITIONS.to_string()]);
        Self::spawn(command, &folder, address)
    }

    /// Time from the start of the process until a message was acknowledged, of a client that tries every
    /// millisecond. The topic is made when it is not there.
    pub(super) fn first_acknowledgement(&self, topic: &str) -> Result<Duration> {
        let acknowledged = self.wire().and_then(|mut wire| {
            if wire.led(&[topic.to_owned()])? == 0 {
                wire.create(&[topic.to_owned()], 1)?;
            }
            let sent = || Ok(wire.produce(topic)?.then_some(()));
            wait::closely("the first acknowledgement", START_LIMIT, sent)
        });
        acknowledged.with_context(|| self.last_words())?;
        Ok(self.age())
    }

    /// A connection to a broker that may be about to listen.
    pub(super) fn wire(&self) -> Result<Wire> {
        let connected = || Ok(Wire::connect(self.address).ok());
        wait::closely("the broker to listen", START_LIMIT, connected)
    }

    pub(super) fn socket(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn address(&self) -> &str {
        debug_assert!(self.address.port() != 0, "a broker is started on a known port");
        &self.text
    }

    /// How long ago the process was started.
    pub(super) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// The end of what it printed, for an error.
    pub(super) fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        format!("the broker printed last: {}", tools::tail(&text, 10))
    }

    /// CPU time of the process so far, of all its threads, for [`cpu_seconds`].
    pub(super) fn cpu_ticks(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.child.id());
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        cpu_ticks(&text)
    }

    /// Resident memory in MiB.
    pub(super) fn resident_mebibytes(&self) -> Result<f64> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kibibytes = line.trim().trim_end_matches(" kB").parse::<f64>().context("VmRSS is no number")?;
        Ok(kibibytes / KIBIBYTES_PER_MEBIBYTE)
    }
}

/// The time between two counts in seconds; not a number when the kernel's counter is too coarse for it.
pub(super) fn cpu_seconds(before: f64, after: f64) -> f64 {
    let ticks = after - before;
    if ticks < TICKS_MIN { f64::NAN } else { ticks / TICKS_PER_SECOND }
}

/// User and system time; the fields are counted behind the name, which may hold spaces.
fn cpu_ticks(stat: &str) -> Result<f64> {
    let fields: Vec<&str> =
        stat.rsplit_once(')').context("no process name")?.1.split_ascii_whitespace().collect();
    let field = |index: usize| -> Result<f64> {
        Ok(fields.get(index).context("a short line of process times")?.parse()?)
    };
    Ok(field(11)? + field(12)?)
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: user and system time are found although the name holds spaces and brackets.
    #[test]
    fn process_times_are_read() {
        let stat = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 1 0 99 1 1";
        assert!((cpu_ticks(stat).unwrap() - 200.0).abs() < f64::EPSILON);
        assert!(cpu_ticks("7 (a) S 1").is_err());
    }

    /// Goal: a cost that the counter cannot tell is no figure, rather than a flattering one.
    #[test]
    fn a_cost_below_the_counter_is_no_figure() {
        assert!(cpu_seconds(100.0, 101.0).is_nan());
        assert!((cpu_seconds(100.0, 300.0) - 2.0).abs() < f64::EPSILON);
    }
}
