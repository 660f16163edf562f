//! Runs the steps of `check` and `ci` one after the other, shows what they print, and counts the
//! tests that they ran. Knows no step by name.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::tools;
use crate::wait::Stopwatch;

/// How a run came out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Counts {
    const fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Reads one line of a Rust test run: `test result: ok. 8 passed; 0 failed; 1 ignored; …`.
    fn of_line(line: &str) -> Option<Self> {
        let rest = line.trim().strip_prefix("test result: ")?;
        let number = |word: &str| {
            rest.split([';', '.'])
                .find_map(|part| part.trim().strip_suffix(word)?.trim().parse::<usize>().ok())
                .unwrap_or(0)
        };
        Some(Self { passed: number("passed"), failed: number("failed"), skipped: number("ignored") })
    }
}

/// One thing to do.
pub(crate) enum Work {
    /// A program; the tests that it says it ran are counted.
    Program(Command),
    /// A program that may say, with exit code 3 and a line, that this machine cannot run it.
    Optional(Command),
    /// Our own code.
    Own(Box<dyn FnOnce() -> Result<()>>),
}

/// The exit code of our own commands for "this machine cannot run it".
const CANNOT_RUN: i32 = 3;

/// A named piece of work.
pub(crate) struct Step {
    name: &'static str,
    work: Work,
}

impl Step {
    /// A program with its arguments.
    pub(crate) fn program(name: &'static str, program: &str, arguments: &[&str]) -> Self {
        Self::command(name, tools::command(program, arguments))
    }

    /// A prepared program.
    pub(crate) const fn command(name: &'static str, command: Command) -> Self {
        Self { name, work: Work::Program(command) }
    }

    /// Our own code.
    pub(crate) fn own(name: &'static str, work: impl FnOnce() -> Result<()> + 'static) -> Self {
        Self { name, work: Work::Own(Box::new(work)) }
    }

    /// A prepared program that may not be able to run on this machine.
    pub(crate) const fn optional(name: &'static str, command: Command) -> Self {
        Self { name, work: Work::Optional(command) }
    }
}

/// Runs all steps, also after one failed, and ends with one line of counts. `strict`: a skipped
/// step or test is a failure.
pub(crate) fn run(steps: Vec<Step>, strict: bool) -> Result<()> {
    let mut total = Counts::default();
    let mut unwell = Vec::new();
    let whole = Stopwatch::start();
    for step in steps {
        let clock = Stopwatch::start();
        println!("── {}", step.name);
        let (counts, problem) = run_one(step.work);
        total.add(counts);
        match &problem {
            None => println!("── {}: ok, {} s", step.name, clock.elapsed().as_secs()),
            Some(problem) => {
                println!("── {}: {problem}", step.name);
                unwell.push(format!("{}: {problem}", step.name));
            }
        }
    }
    println!("── took {} s in all", whole.elapsed().as_secs());
    for line in &unwell {
        println!("{line}");
    }
    println!("{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
    if total.failed > 0 || (strict && total.skipped > 0) {
        bail!("not green: {} failed, {} skipped", total.failed, total.skipped);
    }
    Ok(())
}

/// A step counts as one, plus the tests it ran.
fn run_one(work: Work) -> (Counts, Option<String>) {
    let outcome = match work {
        Work::Own(work) => work().map(|()| (Counts::default(), Ended::Well)),
        Work::Program(command) => watch(command, None),
        Work::Optional(command) => watch(command, Some(CANNOT_RUN)),
    };
    match outcome {
        Ok((mut counts, Ended::Well)) => {
            counts.passed += 1;
            (counts, None)
        }
        Ok((mut counts, Ended::CannotRun)) => {
            counts.skipped += 1;
            (counts, Some("skipped: this machine cannot run it, the reason is above".to_owned()))
        }
        Ok((mut counts, Ended::Badly(how))) => {
            counts.failed += 1;
            (counts, Some(format!("failed: {how}")))
        }
        Err(error) => (Counts { failed: 1, ..Counts::default() }, Some(format!("failed: {error:#}"))),
    }
}

/// How a step's work ended.
enum Ended {
    Well,
    CannotRun,
    Badly(String),
}

/// Runs a program, repeats its output line by line, and reads test results out of it.
fn watch(mut command: Command, skip_code: Option<i32>) -> Result<(Counts, Ended)> {
    let line = tools::line(&command);
    println!("$ {line}");
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {line}"))?;
    let output = child.stdout.take().context("the output was asked for")?;
    let mut counts = Counts::default();
    for text in BufReader::new(output).split(b'\n') {
        let text = text.with_context(|| format!("cannot read the output of {line}"))?;
        let text = String::from_utf8_lossy(&text);
        println!("{text}");
        if let Some(more) = Counts::of_line(&text) {
            counts.add(more);
        }
    }
    let status = child.wait()?;
    let ended = if status.success() {
        Ended::Well
    } else if status.code().is_some() && status.code() == skip_code {
        Ended::CannotRun
    } else {
        Ended::Badly(format!("{line}, {status}"))
    };
    Ok((counts, ended))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the counts of a test run are read; other lines are not.
    #[test]
    fn reads_the_counts_of_a_test_run() {
        let line = "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.1s";
        assert_eq!(Counts::of_line(line), Some(Counts { passed: 12, failed: 1, skipped: 2 }));
        assert_eq!(Counts::of_line("12 passed; 1 failed"), None);
    }

    /// Goal: a failing program, own code that fails, and a skip each show in the outcome.
    #[test]
    fn nothing_unwell_is_called_green() {
        assert!(run(vec![Step::program("true", "true", &[])], true).is_ok());
        assert!(run(vec![Step::program("false", "false", &[])], false).is_err());
        assert!(run(vec![Step::own("own", || anyhow::bail!("no"))], false).is_err());
        let cannot = || Step::optional("cannot", tools::command("sh", ["-c", "exit 3"]));
        assert!(run(vec![cannot()], false).is_ok());
        assert!(run(vec![cannot()], true).is_err());
        assert!(run(vec![Step::program("three", "sh", &["-c", "exit 3"])], false).is_err());
        assert!(run(vec![Step::program("gone", "/nonexistent", &[])], false).is_err());
    }
}
