//! Kafka's own Java programs against the Embedded engine: what people have on their machines, and the clients
//! that define the protocol. Each check looks at totals, not only at the exit code.

mod clients;
mod tools_checks;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;

use super::outcome::Outcome;
use super::{EmbeddedBroker, java_tools};
use crate::cache::Cache;
use crate::tools;

/// The Streams program.
const WORD_COUNT: &str = include_str!("java/WordCount.java");
/// Seconds that one program may take.
const PROGRAM_SECONDS: &str = "300";
/// Like Kafka's own defaults for a single node, and an authorizer so that rules can be kept.
const SETTINGS: [&str; 4] = [
    "auto.create.topics.enable=true",
    "num.partitions=4",
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found=true",
];

/// What of the Java checks to run.
#[derive(Args)]
pub(crate) struct JavaArgs {
    /// Run only the Java checks whose name contains this.
    #[arg(long, value_name = "TEXT")]
    check: Option<String>,
}

/// A check by its name in the findings.
type Check = (&'static str, fn(&Java<'_>) -> Result<()>);

pub(super) fn run(program: &Path, cache: &Cache, args: &JavaArgs) -> Result<Outcome> {
    let installed = java_tools::install(cache)?;
    let folder = std::env::temp_dir().join(format!("pinnace-java-{}", std::process::id()));
    let broker = EmbeddedBroker::with_settings(program, folder, &SETTINGS)?;
    let files = broker.folder().join("files");
    std::fs::create_dir_all(&files).context("cannot make a folder for files")?;
    let java = Java { address: broker.address(), libraries: installed.join("libs"), files };
    let mut outcome = Outcome::default();
    let wanted = |name: &str| args.check.as_ref().is_none_or(|text| name.contains(text.as_str()));
    for (name, check) in clients::CHECKS.iter().chain(&tools_checks::CHECKS) {
        if wanted(name) {
            outcome.count(name, check(&java));
        }
    }
    broker.end(outcome.number("failed") > 0)?;
    Ok(outcome)
}

/// Java programs and the broker that they are pointed at.
struct Java<'a> {
    address: &'a str,
    libraries: PathBuf,
    files: PathBuf,
}

impl Java<'_> {
    /// Runs a class with `--bootstrap-server` and gives what it printed.
    fn tool(&self, class: &str, arguments: &[&str]) -> Result<String> {
        let arguments = [["--bootstrap-server", self.address].as_slice(), arguments].concat();
        self.class(class, &arguments, "")
    }

    /// Runs a class with an input and gives what it printed.
    fn class(&self, class: &str, arguments: &[&str], input: &str) -> Result<String> {
        let file = self.file("input", input)?;
        let mut command = tools::command("timeout", ["--kill-after=10", PROGRAM_SECONDS, "java"]);
        command.args(java_tools::JVM).arg("-cp").arg(self.class_path()).arg(class).args(arguments);
        command.stdin(std::fs::File::open(file).context("cannot open an input")?);
        tools::output(&mut command)
    }

    fn class_path(&self) -> String {
        format!("{}:{}/*", self.files.display(), self.libraries.display())
    }

    /// A file with this text; programs take their settings from such.
    fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.files.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path.display().to_string())
    }

    fn create_topic(&self, topic: &str, partitions: &str) -> Result<()> {
        let arguments = ["--create", "--topic", topic, "--partitions", partitions];
        self.tool("org.apache.kafka.tools.TopicCommand", &arguments).map(drop)
    }

    /// The sum of the ends of a topic's partitions, as `kafka-get-offsets` tells them.
    fn end_offsets(&self, topic: &str) -> Result<u64> {
        let printed = self.tool("org.apache.kafka.tools.GetOffsetShell", &["--topic", topic])?;
        let ends = printed.lines().filter(|line| line.starts_with(&format!("{topic}:")));
        ends.map(|line| Ok(line.rsplit(':').next().unwrap_or_default().parse::<u64>()?)).sum()
    }

    /// The values of a topic, sorted, as `kafka-console-consumer` prints them.
    fn read(&self, topic: &str, count: usize) -> Result<Vec<String>> {
        let count = count.to_string();
        let arguments = [
            "--topic",
            topic,
            "--from-beginning",
            "--isolation-level",
            "read_committed",
            "--max-messages",
            &count,
            "--timeout-ms",
            "60000",
        ];
        let printed = self.tool("org.apache.kafka.tools.consumer.ConsoleConsumer", &arguments)?;
        let mut lines: Vec<String> = printed.lines().map(ToOwned::to_owned).collect();
        lines.sort();
        Ok(lines)
    }

    /// Compiles the Streams program beside the other files.
    fn compile_word_count(&self) -> Result<()> {
        let source = self.file("WordCount.java", WORD_COUNT)?;
        let mut javac = tools::command("javac", ["-d", &self.files.display().to_string()]);
        tools::output(javac.arg("-cp").arg(self.class_path()).arg(source)).map(drop)
    }
}
