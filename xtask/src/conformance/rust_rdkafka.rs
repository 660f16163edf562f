//! The tests of the crate `rdkafka` that the lock file names, built as a package of its own with its own lock
//! file. They know the broker by port 9092, so both live in a network of their own.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::MetadataCommand;

use super::EmbeddedBroker;
use super::outcome::{Outcome, Verdict};
use crate::cache::{Cache, key};
use crate::cluster::install_packages;
use crate::tools;

/// The tests compare with this port.
const ADDRESS: &str = "127.0.0.1:9092";
/// The tests create no topic by themselves and expect three partitions of it.
const SETTINGS: [&str; 2] = ["auto.create.topics.enable=true", "num.partitions=3"];
const KAFKA_VERSION: &str = "4.4";
/// Seconds that the tests of one file may take.
const FILE_SECONDS: &str = "600";
/// What is needed on the machine, by its program.
const PROGRAMS: [(&str, &str); 5] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("ip", "iproute2"),
    ("make", "make"),
    ("gcc", "gcc"),
];

pub(super) fn run(root: &Path, program: &Path, cache: &Cache) -> Result<Outcome> {
    let missing = PROGRAMS.iter().filter(|(program, _)| tools::which(program).is_none());
    install_packages(&missing.map(|(_, package)| *package).collect::<Vec<_>>())?;
    let place = unpack(root, cache)?;
    let tests = build(&place)?;
    let folder = std::env::temp_dir().join(format!("pinnace-rust-rdkafka-{}", std::process::id()));
    let broker = EmbeddedBroker::on_own_network(program, folder, (ADDRESS, &SETTINGS))?;
    let mut outcome = Outcome::default();
    for (name, test) in tests {
        let mut command = broker.beside(Path::new("timeout"));
        command.args(["--kill-after=10", FILE_SECONDS]).arg(&test).args(["--test-threads", "2"]);
        command.current_dir(place.join("rdkafka")).env("KAFKA_HOST", ADDRESS);
        let printed = command
            .env("KAFKA_VERSION", KAFKA_VERSION)
            .stderr(Stdio::null())
            .output()
            .with_context(|| format!("cannot start the tests {name}"))?;
        let printed = String::from_utf8_lossy(&printed.stdout);
        for (test, verdict) in verdicts(&printed) {
            outcome.record(&format!("{name}::{test}"), verdict);
        }
        ensure!(
            printed.contains("test result: "),
            "{name} did not end within {FILE_SECONDS} s:\n{}",
            tools::tail(&printed, 10)
        );
    }
    broker.end(outcome.number("failed") > 0)?;
    ensure!(!outcome.tests.is_empty(), "the crate rdkafka has no test");
    Ok(outcome)
}

/// The crate's sources as a package of its own, outside of the registry, which nobody should write to.
fn unpack(root: &Path, cache: &Cache) -> Result<PathBuf> {
    let metadata = MetadataCommand::new().current_dir(root).exec().context("cannot read the workspace")?;
    let package = metadata.packages.iter().find(|package| package.name.as_str() == "rdkafka");
    let package = package.context("the workspace has no rdkafka")?;
    let source = package.manifest_path.parent().context("a manifest has a folder")?;
    let key = key([("version", package.version.to_string().as_bytes())]);
    cache.folder("rust-rdkafka", &key, |folder| {
        let target = folder.join("rdkafka");
        tools::output(&mut tools::command("cp", ["-r", source.as_str(), &target.display().to_string()]))
            .map(drop)
    })
}

/// Builds the tests; name and program of each file.
fn build(place: &Path) -> Result<Vec<(String, PathBuf)>> {
    println!("building the tests of the crate rdkafka");
    let mut cargo = tools::command("cargo", ["test", "--locked", "--tests", "--no-run", "--quiet"]);
    cargo.arg("--message-format=json-render-diagnostics").current_dir(place.join("rdkafka"));
    cargo.env("CARGO_TARGET_DIR", place.join("target")).stderr(Stdio::inherit());
    let printed = tools::output(&mut cargo)?;
    let test = |line: &str| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let name = message.get("target")?.get("name")?.as_str()?.to_owned();
        Some((name, PathBuf::from(message.get("executable")?.as_str()?)))
    };
    Ok(printed.lines().filter_map(test).collect())
}

/// Reads `test NAME ... ok` and the like.
fn verdicts(printed: &str) -> Vec<(String, Verdict)> {
    let verdict = |line: &str| {
        let (name, state) = line.strip_prefix("test ")?.split_once(" ... ")?;
        // Another test's output may follow on the same line.
        let verdict = match state.split([' ', ',']).next()? {
            "ok" => Verdict::Passed,
            "ignored" => Verdict::Skipped("ignored by the suite".to_owned()),
            "FAILED" => Verdict::Failed(panic_of(printed, name)),
            _ => return None,
        };
        Some((name.to_owned(), verdict))
    };
    printed.lines().filter_map(verdict).collect()
}

/// What a test printed about its end: two lines after the head of its section.
fn panic_of(printed: &str, name: &str) -> String {
    let section = printed.split(&format!("---- {name} stdout ----")).nth(1).unwrap_or_default();
    let lines = section.lines().skip_while(|line| !line.contains("panicked at"));
    lines.take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: passed, ignored and failed tests are told apart, a failure with its panic.
    #[test]
    fn the_output_of_a_test_program_is_read() {
        let printed = "\nrunning 3 tests\ntest one ... ok\ntest two ... ignored, later\ntest three ... FAILED\n\nfailures:\n\n---- three stdout ----\nlog\n\nthread 'three' panicked at tests/x.rs:1:1:\nboom\nnote\n\ntest result: FAILED. 1 passed; 1 failed; 1 ignored;\n";
        let wanted = [
            ("one".to_owned(), Verdict::Passed),
            ("two".to_owned(), Verdict::Skipped("ignored by the suite".into())),
            ("three".to_owned(), Verdict::Failed("thread 'three' panicked at tests/x.rs:1:1: boom".into())),
        ];
        assert_eq!(verdicts(printed), wanted);
    }
}
