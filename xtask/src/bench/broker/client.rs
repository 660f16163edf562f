//! `rdkafka_performance`, built once from the sources of the crate `rdkafka-sys` that the lock file names.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::MetadataCommand;

use super::PARTITIONS;
use crate::cache::{Cache, key};
use crate::tools;

/// Seconds that one load may take.
const LOAD_SECONDS: &str = "600";
/// What librdkafka is built without: nothing here uses it.
const CONFIGURE: [&str; 4] = ["--disable-curl", "--disable-sasl", "--disable-zstd", "--disable-ssl"];
/// The same of the client that also speaks TLS.
const CONFIGURE_TLS: [&str; 4] = ["--disable-curl", "--disable-sasl", "--disable-zstd", "--enable-ssl"];

/// What is sent or read.
pub(in crate::bench) struct Load {
    pub(in crate::bench) topic: String,
    pub(in crate::bench) bytes: u32,
    pub(in crate::bench) messages: u32,
    /// `None`: all, by librdkafka's random choice.
    pub(in crate::bench) partition: Option<u32>,
    /// How the client compresses.
    pub(in crate::bench) codec: Option<&'static str>,
}

/// The built program.
#[derive(Clone)]
pub(in crate::bench) struct Client {
    program: PathBuf,
    /// Of the crate, and behind the plus of librdkafka.
    pub(in crate::bench) version: String,
    /// What it is told in every run.
    settings: Vec<String>,
}

impl Client {
    pub(super) fn build(root: &Path, cache: &Cache) -> Result<Self> {
        Self::configured(root, cache, ("rdkafka-performance", &CONFIGURE))
    }

    /// One that can also speak TLS, with the OpenSSL of this machine.
    pub(in crate::bench) fn build_with_tls(root: &Path, cache: &Cache) -> Result<Self> {
        Self::configured(root, cache, ("rdkafka-performance-tls", &CONFIGURE_TLS))
            .context("cannot build the client; install the Debian package libssl-dev")
    }

    /// The same client with more settings of librdkafka, each `NAME=VALUE`.
    pub(in crate::bench) fn with(&self, settings: impl IntoIterator<Item = String>) -> Self {
        let more = settings.into_iter().flat_map(|setting| ["-X".to_owned(), setting]);
        Self { settings: self.settings.iter().cloned().chain(more).collect(), ..self.clone() }
    }

    fn configured(root: &Path, cache: &Cache, (name, configure): (&str, &[&str; 4])) -> Result<Self> {
        let metadata =
            MetadataCommand::new().current_dir(root).exec().context("cannot read the workspace")?;
        let package = metadata.packages.iter().find(|package| package.name.as_str() == "rdkafka-sys");
        let package = package.context("the workspace has no rdkafka-sys")?;
        let version = package.version.to_string();
        let source = package.manifest_path.with_file_name("librdkafka");
        let key = key([("version", version.as_bytes()), ("configure", configure.join(" ").as_bytes())]);
        let place = cache.folder(name, &key, |folder| {
            println!("building {name} of rdkafka-sys {version}");
            let run = |program: &str, arguments: &[&str]| {
                tools::output(tools::command(program, arguments).current_dir(folder.join("librdkafka")))
            };
            tools::output(&mut tools::command("cp", ["-r", source.as_str(), &folder.display().to_string()]))?;
            run("./configure", configure)?;
            run("make", &["-j2", "libs"])?;
            run("make", &["-C", "examples", "rdkafka_performance"])?;
            std::fs::copy(folder.join("librdkafka/examples/rdkafka_performance"), folder.join("program"))
                .context("cannot keep the built program")?;
            crate::cache::remove_folder(&folder.join("librdkafka"))
        })?;
        Ok(Self { program: place.join("program"), version, settings: Vec::new() })
    }

    fn run(&self, address: &str, load: &Load, more: &[&str]) -> Result<String> {
        tools::output(&mut self.command(address, load, more))
    }

    fn command(&self, address: &str, load: &Load, more: &[&str]) -> Command {
        let messages = load.messages.to_string();
        let mut command = tools::command("timeout", [LOAD_SECONDS]);
        command.arg(&self.program).args(["-b", address, "-c", &messages, "-q"]);
        command.args(&self.settings).args(more);
        command
    }

    /// Reads what [`Self::latencies`] sends to a new topic, and writes how long each message was on its way, in microseconds.
    pub(in crate::bench) fn reader(&self, address: &str, load: &Load, file: &Path) -> Command {
        let file = file.display().to_string();
        let arguments = ["-C", "-t", &load.topic, "-p", "0", "-o", "beginning", "-l", "-A", &file];
        self.command(address, load, &arguments)
    }

    fn produce_with(&self, address: &str, load: &Load, more: &[&str]) -> Result<String> {
        let bytes = load.bytes.to_string();
        let partition = load.partition.map(|partition| partition.to_string());
        let mut arguments = vec!["-P", "-t", &load.topic, "-s", &bytes, "-a", "-1"];
        arguments.extend(partition.iter().flat_map(|partition| ["-p", partition]));
        arguments.extend(load.codec.iter().flat_map(|codec| ["-z", codec]));
        arguments.extend(more);
        let printed = self.run(address, load, &arguments)?;
        ensure!(
            printed.contains(&format!(" {} delivered", load.messages)),
            "not every message was acknowledged: {}",
            tools::tail(&printed, 3)
        );
        Ok(printed)
    }

    /// Sends the load as fast as it goes; messages a second.
    pub(in crate::bench) fn produce(&self, address: &str, load: &Load) -> Result<f64> {
        rate(&self.produce_with(address, load, &["-X", "linger.ms=5"])?)
    }

    fn consume_with(&self, address: &str, load: &Load, more: &[&str]) -> Result<f64> {
        // The default of this setting is a pause of up to a second when the client's queue is full.
        let arguments = [more, &["-X", "fetch.queue.backoff.ms=1"]].concat();
        let printed = self.run(address, load, &arguments)?;
        // It stops at the end of a fetched batch, so a topic that has more gives it some more.
        let read = consumed(&printed).is_some_and(|read| read >= load.messages);
        ensure!(read, "not every message was read: {}", tools::tail(&printed, 3));
        rate(&printed)
    }

    /// Reads as many messages from the start; messages a second.
    pub(in crate::bench) fn consume(&self, address: &str, load: &Load) -> Result<f64> {
        let partitions: Vec<String> = match load.partition {
            Some(partition) => vec![partition.to_string()],
            None => (0..PARTITIONS).map(|partition| partition.to_string()).collect(),
        };
        let mut arguments = vec!["-C", "-t", &load.topic, "-o", "beginning"];
        arguments.extend(partitions.iter().flat_map(|partition| ["-p", partition]));
        self.consume_with(address, load, &arguments)
    }

    /// The same as the only member of a new group; the time counts from the first message.
    pub(super) fn consume_in_group(&self, address: &str, load: &Load, group: &str) -> Result<f64> {
        let earliest = "auto.offset.reset=earliest";
        self.consume_with(address, load, &["-G", group, "-t", &load.topic, "-X", earliest])
    }

    /// Waits for the first acknowledgement of a broker that is about to start.
    pub(in crate::bench) fn first_message(&self, address: &str) -> Result<()> {
        let load = Load { topic: "first".into(), bytes: 1, messages: 1, partition: Some(0), codec: None };
        let quickly =
            ["-X", "reconnect.backoff.ms=5", "-X", "reconnect.backoff.max.ms=20", "-X", "linger.ms=0"];
        let soon = ["-X", "retry.backoff.ms=5", "-X", "retry.backoff.max.ms=20"];
        self.produce_with(address, &load, &[quickly.as_slice(), soon.as_slice()].concat()).map(drop)
    }

    /// Sends the load at a pace; the sorted latencies in milliseconds, without the first second's worth, and
    /// the messages a second that came about. The client never catches up on a message that it was late for,
    /// and spins between two of them: where cores are few, it falls behind its own pace.
    pub(in crate::bench) fn latencies(
        &self,
        address: &str,
        load: &Load,
        (pace, file): (u32, &Path),
    ) -> Result<(Vec<f64>, f64)> {
        let (pace_text, file_text) = (pace.to_string(), file.display().to_string());
        let arguments = ["-l", "-r", &pace_text, "-A", &file_text, "-X", "linger.ms=0"];
        let reached = rate(&self.produce_with(address, load, &arguments)?)?;
        Ok((written(file, pace)?, reached))
    }
}

/// The latencies in a file of the client, sorted, in milliseconds, without those of the first second at this pace.
pub(in crate::bench) fn written(file: &Path, pace: u32) -> Result<Vec<f64>> {
    let text = std::fs::read_to_string(file).context("rdkafka_performance wrote no latencies")?;
    let microseconds = text.lines().filter_map(|line| line.trim().parse::<f64>().ok());
    let warm = microseconds.skip(usize::try_from(pace).unwrap_or_default());
    let mut latencies: Vec<f64> = warm.map(|latency| latency / 1000.0).collect();
    ensure!(!latencies.is_empty(), "rdkafka_performance wrote no latencies");
    latencies.sort_by(f64::total_cmp);
    Ok(latencies)
}

/// The messages in the last summary of a consumer: `% 123 messages (…) consumed in …`.
fn consumed(printed: &str) -> Option<u32> {
    let summary = printed.lines().rev().find(|line| line.contains(" consumed in "))?;
    summary.strip_prefix("% ")?.split(' ').next()?.parse().ok()
}

/// The rate in the last summary line: `…ms: 123456 msgs/s …`.
fn rate(printed: &str) -> Result<f64> {
    let summary = printed.lines().rev().find(|line| line.contains(" msgs/s")).unwrap_or_default();
    let before = summary.split(" msgs/s").next().unwrap_or_default();
    let number = before.rsplit(' ').next().unwrap_or_default();
    number
        .parse()
        .with_context(|| format!("rdkafka_performance printed no rate: {}", tools::tail(printed, 3)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the rate is found in both kinds of summary, and its absence is an error.
    #[test]
    fn rates_are_read() {
        let produced = "% 50 messages produced (5000 bytes), 50 delivered (offset 0, 0 failed) in 20ms: 2500 msgs/s and 0.25 MB/s, 0 produce failures\n";
        assert!((rate(produced).unwrap() - 2500.0).abs() < f64::EPSILON);
        let consumed = "% 9 messages (90 bytes) consumed in 3ms: 3000 msgs/s (0.03 MB/s)\n";
        assert!((rate(consumed).unwrap() - 3000.0).abs() < f64::EPSILON);
        assert!(rate("% no such line").is_err());
    }

    /// Goal: what a consumer read is found, and what was only sent is not taken for it.
    #[test]
    fn counts_are_read() {
        let consumed_line =
            "% 5006060 messages (500606000 bytes) consumed in 3738ms: 1339070 msgs/s (133.91 MB/s)\n";
        assert_eq!(
            consumed(&format!("{consumed_line}% Average application fetch latency: 0us\n")),
            Some(5_006_060)
        );
        assert_eq!(consumed("% 50 messages produced (5000 bytes), 50 delivered\n"), None);
    }
}
