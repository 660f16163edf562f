//! `cargo xtask conformance`: other people's clients and test suites against the Embedded engine. Ends with
//! one JSON object a suite: `{"suite","passed","failed","skipped","failures":[…]}`.
//!
//! The suites themselves are in the modules below; none of them is changed to make us look better, and what a
//! suite needs beside the broker (versions, settings) is pinned there.

pub(crate) mod broker;
mod kafka_python;
mod kcat;

use std::path::Path;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::cache::CacheArgs;

use broker::EmbeddedBroker;

/// Which suite to run.
#[derive(Args)]
pub(crate) struct ConformanceArgs {
    #[arg(value_enum)]
    suite: Suite,
    /// A pinnace-broker to run instead of one built from the checkout.
    #[arg(long, value_name = "FILE")]
    broker: Option<std::path::PathBuf>,
    #[command(flatten)]
    cache: CacheArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// kcat, an old client, as a person uses it.
    Kcat,
    /// The integration tests of kafka-python.
    KafkaPython,
    /// One after the other.
    All,
}

/// How a suite came out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    passed: usize,
    skipped: usize,
    /// Name and reason of each.
    failures: Vec<String>,
}

impl Outcome {
    /// Counts one test.
    fn count(&mut self, name: &str, outcome: Result<()>) {
        match outcome {
            Ok(()) => {
                println!("passed  {name}");
                self.passed += 1;
            }
            Err(error) => {
                println!("failed  {name}: {error:#}");
                self.failures.push(format!("{name}: {error:#}"));
            }
        }
    }

    fn line(&self, suite: &str) -> String {
        let failed = self.failures.len();
        json!({"suite": suite, "passed": self.passed, "failed": failed, "skipped": self.skipped, "failures": self.failures})
            .to_string()
    }
}

/// Runs the suites; a failed test is a failed command.
pub(crate) fn run(root: &Path, args: &ConformanceArgs) -> Result<()> {
    let cache = args.cache.open()?;
    let program = match &args.broker {
        Some(program) => program.clone(),
        None => broker::build(root, &["--package", "broker"])?,
    };
    let mut lines = Vec::new();
    let mut failed = 0;
    for (suite, name) in [(Suite::Kcat, "kcat"), (Suite::KafkaPython, "kafka-python")] {
        if args.suite != suite && args.suite != Suite::All {
            continue;
        }
        let outcome = match suite {
            Suite::KafkaPython => kafka_python::run(&program, &cache)?,
            Suite::Kcat | Suite::All => kcat::run(&program)?,
        };
        failed += outcome.failures.len();
        lines.push(outcome.line(name));
    }
    for line in lines {
        println!("{line}");
    }
    if failed > 0 {
        bail!("{failed} tests of other people's suites failed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the last line is one JSON object with the agreed keys, and a failure is counted by its text.
    #[test]
    fn an_outcome_is_one_line() {
        let mut outcome = Outcome::default();
        outcome.count("one", Ok(()));
        outcome.count("two", Err(anyhow::anyhow!("the \"reason\"")));
        let line: serde_json::Value = serde_json::from_str(&outcome.line("kcat")).unwrap();
        let wanted = json!({"suite": "kcat", "passed": 1, "failed": 1, "skipped": 0, "failures": ["two: the \"reason\""]});
        assert_eq!(line, wanted);
    }
}
