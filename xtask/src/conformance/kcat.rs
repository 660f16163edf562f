//! kcat 1.7.1 (librdkafka of a Debian release): what a person does on the first day.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};

use super::{EmbeddedBroker, Outcome};
use crate::tools;

/// Seconds that one call may take.
const CALL_SECONDS: &str = "60";

pub(super) fn run(program: &Path) -> Result<Outcome> {
    if tools::which("kcat").is_none() {
        println!("installing kcat");
        tools::output(&mut tools::command("apt-get", ["install", "--yes", "kcat"]))
            .context("kcat is missing and cannot be installed; install the Debian package kcat")?;
    }
    let folder = std::env::temp_dir().join(format!("pinnace-kcat-{}", std::process::id()));
    let broker =
        EmbeddedBroker::start(program, folder, &["--auto-create-topics", "--default-partitions", "4"])?;
    let kcat = Kcat { address: broker.address() };
    let mut outcome = Outcome::default();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        outcome.count(&format!("produce and consume, {codec}"), kcat.round_trip(codec));
    }
    outcome.count("metadata", kcat.metadata());
    outcome.count("keys, headers and tombstones", kcat.keys_and_headers());
    outcome.count("a group reads on where it stopped", kcat.group());
    outcome.count("offsets by time", kcat.offsets_by_time());
    outcome.count("idempotent producer", kcat.idempotent());
    outcome.count("acks none, one, all", kcat.acks());
    broker.end(outcome.number("failed") > 0)?;
    Ok(outcome)
}

struct Kcat<'a> {
    address: &'a str,
}

impl Kcat<'_> {
    /// Runs kcat with `input` and gives what it prints.
    fn call(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = tools::command("timeout", [CALL_SECONDS, "kcat", "-b", self.address]);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start kcat")?;
        let mut stdin = child.stdin.take().context("kcat has no input")?;
        let input = input.to_owned();
        // Written from a thread: kcat may fill its output before it has read its input.
        let writer = std::thread::scope(|scope| {
            let writer = scope.spawn(move || stdin.write_all(input.as_bytes()));
            let output = child.wait_with_output();
            (output, writer.join())
        });
        let output = writer.0?;
        if !output.status.success() {
            bail!(
                "kcat {arguments:?}, {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn read_all(&self, topic: &str, more: &[&str]) -> Result<Vec<String>> {
        let mut arguments = vec!["-C", "-t", topic, "-o", "beginning", "-e", "-q"];
        arguments.extend(more);
        Ok(self.call(&arguments, "")?.lines().map(ToOwned::to_owned).collect())
    }

    fn round_trip(&self, codec: &str) -> Result<()> {
        let topic = format!("codec-{codec}");
        let sent: Vec<String> = (0..2_000).map(|number| format!("message {number:05}")).collect();
        self.call(&["-P", "-t", &topic, "-z", codec], &(sent.join("\n") + "\n"))?;
        let mut read = self.read_all(&topic, &[])?;
        read.sort();
        ensure!(read == sent, "{} of {} messages came back", read.len(), sent.len());
        Ok(())
    }

    fn metadata(&self) -> Result<()> {
        self.call(&["-P", "-t", "listed"], "one\n")?;
        let listed = self.call(&["-L", "-t", "listed"], "")?;
        ensure!(listed.contains("topic \"listed\" with 4 partitions"), "{listed}");
        Ok(())
    }

    fn keys_and_headers(&self) -> Result<()> {
        let produce = ["-P", "-t", "keyed", "-K", ":", "-Z", "-H", "colour=blue", "-H", "colour=green"];
        self.call(&produce, "a:1\nb:\n")?;
        let mut read = self.read_all("keyed", &["-Z", "-f", "%k=%s (%h)\n"])?;
        read.sort();
        ensure!(read == ["a=1 (colour=blue,colour=green)", "b=NULL (colour=blue,colour=green)"], "{read:?}");
        Ok(())
    }

    fn group(&self) -> Result<()> {
        self.call(&["-P", "-t", "grouped"], "one\ntwo\n")?;
        let read = || -> Result<Vec<String>> {
            let arguments = ["-G", "readers", "-e", "-q", "-X", "auto.offset.reset=earliest", "grouped"];
            let mut read: Vec<_> = self.call(&arguments, "")?.lines().map(ToOwned::to_owned).collect();
            read.sort();
            Ok(read)
        };
        let first = read()?;
        ensure!(first == ["one", "two"], "first {first:?}");
        self.call(&["-P", "-t", "grouped"], "three\n")?;
        let then = read()?;
        ensure!(then == ["three"], "then {then:?}");
        Ok(())
    }

    fn offsets_by_time(&self) -> Result<()> {
        self.call(&["-P", "-t", "timed", "-p", "0"], "one\ntwo\n")?;
        let first = self.call(&["-Q", "-t", "timed:0:1"], "")?;
        ensure!(first.trim() == "timed [0] offset 0", "{first}");
        let end = self.call(&["-Q", "-t", "timed:0:-1"], "")?;
        ensure!(end.trim() == "timed [0] offset 2", "{end}");
        Ok(())
    }

    fn idempotent(&self) -> Result<()> {
        self.call(&["-P", "-t", "once", "-p", "0", "-X", "enable.idempotence=true"], "one\ntwo\n")?;
        let read = self.read_all("once", &[])?;
        ensure!(read == ["one", "two"], "{read:?}");
        Ok(())
    }

    fn acks(&self) -> Result<()> {
        for acks in ["0", "1", "all"] {
            let setting = format!("request.required.acks={acks}");
            self.call(&["-P", "-t", "acked", "-p", "0", "-X", &setting], &format!("{acks}\n"))?;
        }
        let read = self.read_all("acked", &[])?;
        ensure!(read == ["0", "1", "all"], "{read:?}");
        Ok(())
    }
}
