//! `cargo xtask conformance`: other people's clients and test suites against the Embedded engine and against
//! sidecars. Ends with one JSON object a suite: `{"suite","passed","failed","skipped","failures":[…],"flaky":[…]}`.
//!
//! The suites themselves are in the modules below; none of them is changed to make us look better, and what a
//! suite needs beside the broker (versions, settings) is pinned there.

pub(crate) mod broker;
mod java;
mod java_tools;
mod kafka_python;
mod kcat;
mod librdkafka;
mod outcome;
mod rust_rdkafka;
pub(crate) mod scoreboard;
mod zeromq;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::cache::{Cache, CacheArgs};
use crate::tools;

use broker::EmbeddedBroker;
pub(crate) use librdkafka::LibrdkafkaArgs;
use outcome::Outcome;

/// Which suite to run.
#[derive(Args)]
pub(crate) struct ConformanceArgs {
    #[arg(value_enum)]
    suite: Suite,
    /// A pinnace-broker to run instead of one built from the checkout.
    #[arg(long, value_name = "FILE")]
    broker: Option<PathBuf>,
    /// A pinnace to run instead of one built from the checkout; for zeromq.
    #[arg(long, value_name = "FILE")]
    pinnace: Option<PathBuf>,
    /// Write the outcomes into docs/protocol/kafka-conformance, test by test, and make its page. For the suites of
    /// Kafka clients.
    #[arg(long)]
    record: bool,
    #[command(flatten)]
    librdkafka: LibrdkafkaArgs,
    #[command(flatten)]
    java: java::JavaArgs,
    #[command(flatten)]
    cache: CacheArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// kcat, an old client, as a person uses it.
    Kcat,
    /// The integration tests of kafka-python.
    KafkaPython,
    /// librdkafka's own suite.
    Librdkafka,
    /// The tests of the crate rdkafka.
    RustRdkafka,
    /// Kafka's own Java programs, and Streams.
    Java,
    /// ZeroMQ clients through two sidecars, and pyzmq's own tests.
    Zeromq,
    /// One after the other.
    All,
}

/// The suites that there are.
const SUITES: [Suite; 6] =
    [Suite::Kcat, Suite::KafkaPython, Suite::Librdkafka, Suite::RustRdkafka, Suite::Java, Suite::Zeromq];

impl Suite {
    /// The name on the command line, in the JSON and in the findings.
    const fn name(self) -> &'static str {
        match self {
            Self::Kcat => "kcat",
            Self::KafkaPython => "kafka-python",
            Self::Librdkafka => "librdkafka",
            Self::RustRdkafka => "rust-rdkafka",
            Self::Java => "java",
            Self::Zeromq => "zeromq",
            Self::All => "all",
        }
    }
}

/// Runs the suites; a test that fails and has no finding is a failed command.
pub(crate) fn run(root: &Path, args: &ConformanceArgs) -> Result<()> {
    let cache = args.cache.open()?;
    let mut lines = Vec::new();
    let mut unexplained = Vec::new();
    for suite in SUITES.into_iter().filter(|suite| args.suite == *suite || args.suite == Suite::All) {
        let outcome = run_one(suite, root, &program(suite, root, args)?, (&cache, args))?;
        // What that page compares with is Apache Kafka.
        if args.record && suite != Suite::Zeromq {
            scoreboard::record(root, suite.name(), &outcome)?;
        }
        unexplained.extend(scoreboard::unexplained(root, suite.name(), &outcome)?);
        lines.push(outcome.line(suite.name()));
    }
    for line in lines {
        println!("{line}");
    }
    if !unexplained.is_empty() {
        bail!("failed, and no finding says why: {}", unexplained.join(", "));
    }
    Ok(())
}

/// What the suite runs against: as it was given, or else built; what was built already is not built again.
fn program(suite: Suite, root: &Path, args: &ConformanceArgs) -> Result<PathBuf> {
    let given = if suite == Suite::Zeromq { &args.pinnace } else { &args.broker };
    match given {
        Some(program) => Ok(std::path::absolute(program)?),
        None if suite == Suite::Zeromq => {
            tools::build(root, "pinnace", &["--release", "--package", "pinnace"])
        }
        None => tools::build(root, "pinnace-broker", &["--release", "--package", "broker"]),
    }
}

fn run_one(
    suite: Suite,
    root: &Path,
    program: &Path,
    (cache, args): (&Cache, &ConformanceArgs),
) -> Result<Outcome> {
    match suite {
        Suite::KafkaPython => kafka_python::run(program, cache),
        Suite::Librdkafka => librdkafka::run(root, program, cache, &args.librdkafka),
        Suite::RustRdkafka => rust_rdkafka::run(root, program, cache),
        Suite::Java => java::run(program, cache, &args.java),
        Suite::Zeromq => zeromq::run(program, cache),
        Suite::Kcat | Suite::All => kcat::run(program),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a suite has one name everywhere.
    #[test]
    fn names_are_those_of_the_command_line() {
        for suite in SUITES {
            assert_eq!(suite.to_possible_value().unwrap().get_name(), suite.name());
        }
    }
}
