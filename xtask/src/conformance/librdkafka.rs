//! librdkafka's own suite: every entry that talks to a broker, one process a test number, in full mode, each
//! in the set-up that it asks for. A test that fails is run once more, and both outcomes are told.

mod build;
mod entries;
mod setups;
mod summary;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;

use anyhow::{Context as _, Result};
use clap::Args;

use super::EmbeddedBroker;
use super::java_tools;
use super::outcome::{Outcome, Verdict};
use crate::cache::Cache;
use crate::tools;
use entries::Entry;
use setups::{SETUPS, Setup};

/// The version of the broker that the suite believes to see: it gates its tests by that.
const KAFKA_VERSION: &str = "4.4.0";
/// Seconds that one process may take; the suite's own time-outs are shorter.
const PROCESS_SECONDS: u32 = 600;

/// What of the suite to run, and how.
#[derive(Args)]
pub(crate) struct LibrdkafkaArgs {
    /// Numbers of librdkafka's tests to run, such as 0103,0098; all when not given.
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS")]
    tests: Vec<String>,
    /// Set-ups of librdkafka's suite to run: plain, alone, authorizer, noautocreate, consumer; all when not
    /// given.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    setups: Vec<String>,
    /// Processes of librdkafka's suite at a time.
    #[arg(long, default_value_t = 2, value_name = "NUMBER")]
    jobs: usize,
    /// Multiplies librdkafka's own time-outs, for a machine that is busy with other things.
    #[arg(long, default_value = "1", value_name = "FACTOR")]
    patience: String,
}

/// One process: the entries of one number in one set-up.
struct Work {
    number: String,
    entries: Vec<String>,
}

/// What all processes of a run share.
struct Run<'a> {
    args: &'a LibrdkafkaArgs,
    /// The built suite.
    suite: PathBuf,
    kafka_path: PathBuf,
    /// Where each process's output goes.
    logs: PathBuf,
}

pub(super) fn run(root: &Path, program: &Path, cache: &Cache, args: &LibrdkafkaArgs) -> Result<Outcome> {
    let suite = build::build(root, cache)?;
    let kafka_path = java_tools::install(cache)?;
    let source =
        std::fs::read_to_string(suite.join("tests/test.c")).context("cannot read the list of tests")?;
    let entries = entries::of_source(&source)?;
    let folder = std::env::temp_dir().join(format!("pinnace-librdkafka-{}", std::process::id()));
    let logs = folder.join("logs");
    std::fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
    let run = Run { args, suite, kafka_path, logs };
    let mut outcome = Outcome::default();
    for setup in &SETUPS {
        let work = run.work(setup, &entries);
        if work.is_empty() {
            continue;
        }
        println!("librdkafka, set-up {}: {} processes", setup.name, work.len());
        let broker = EmbeddedBroker::with_settings(program, folder.join(setup.name), setup.settings)?;
        let all = Mutex::new((VecDeque::from(work), &mut outcome));
        let jobs = if setup.alone { 1 } else { args.jobs };
        std::thread::scope(|scope| {
            for _ in 0..jobs.max(1) {
                scope.spawn(|| run.drain(setup, &broker, &all));
            }
        });
        broker.end(false)?;
    }
    println!("what each process printed is in {}", run.logs.display());
    Ok(outcome)
}

impl Run<'_> {
    fn work(&self, setup: &Setup, entries: &[Entry]) -> Vec<Work> {
        let wanted = |list: &[String], word: &str| list.is_empty() || list.iter().any(|item| item == word);
        if !wanted(&self.args.setups, setup.name) {
            return Vec::new();
        }
        let mut work: Vec<Work> = Vec::new();
        for entry in entries.iter().filter(|entry| setup.takes(entry)) {
            let number = entry.number();
            if !wanted(&self.args.tests, number) {
                continue;
            }
            match work.iter_mut().find(|work| work.number == number) {
                Some(same) => same.entries.push(entry.name.clone()),
                None => work.push(Work { number: number.to_owned(), entries: vec![entry.name.clone()] }),
            }
        }
        work
    }

    /// Takes work until there is none.
    fn drain(&self, setup: &Setup, broker: &EmbeddedBroker, all: &Mutex<(VecDeque<Work>, &mut Outcome)>) {
        let lock = || all.lock().expect("no holder of the lock panics");
        loop {
            let Some(work) = lock().0.pop_front() else { return };
            let first = self.attempt(setup, broker, &work, "1");
            let again = first.iter().any(|(_, verdict)| matches!(verdict, Verdict::Failed(_)));
            let second = if again { self.attempt(setup, broker, &work, "2") } else { first.clone() };
            for ((name, before), (_, after)) in first.into_iter().zip(second) {
                let name = format!("{}{name}", setup.prefix);
                lock().1.record(&name, before.and_again(after));
            }
        }
    }

    /// One process; a verdict for each entry of `work`, in its order.
    fn attempt(
        &self,
        setup: &Setup,
        broker: &EmbeddedBroker,
        work: &Work,
        attempt: &str,
    ) -> Vec<(String, Verdict)> {
        let log = self.logs.join(format!("{}-{}-{attempt}.log", setup.name, work.number));
        let ended = self.process(setup, broker, &work.number, &log);
        let printed = std::fs::read(&log).unwrap_or_default();
        let printed = String::from_utf8_lossy(&printed);
        let verdicts = summary::verdicts(&printed);
        let of = |name: &String| {
            let missing = || match &ended {
                Ok(how) => Verdict::Failed(summary::last_words(&printed).unwrap_or_else(|| how.clone())),
                Err(error) => Verdict::Failed(format!("{error:#}")),
            };
            (name.clone(), verdicts.get(name).cloned().unwrap_or_else(missing))
        };
        work.entries.iter().map(of).collect()
    }

    fn process(&self, setup: &Setup, broker: &EmbeddedBroker, number: &str, log: &Path) -> Result<String> {
        let settings = log.with_extension("conf");
        let text = format!(
            "bootstrap.servers={}\ntest.topic.random=true\ntest.timeout.multiplier={}\n",
            broker.address(),
            self.args.patience
        );
        std::fs::write(&settings, text).context("cannot write the suite's settings")?;
        let output = std::fs::File::create(log).context("cannot make the log of a test")?;
        let libraries = [self.suite.join("src"), self.suite.join("src-cpp")];
        let limit = PROCESS_SECONDS.to_string();
        let mut command =
            tools::command("timeout", ["--kill-after=10", &limit, "./test-runner", "-p1", "-L"]);
        command
            .current_dir(self.suite.join("tests"))
            .env("TESTS", number)
            .env("TEST_KAFKA_VERSION", KAFKA_VERSION)
            .env("RDKAFKA_TEST_CONF", &settings)
            .env("LD_LIBRARY_PATH", std::env::join_paths(libraries).context("a folder's name has a colon")?)
            .env(build::REPLICATION_FACTOR_MAX, "1")
            .envs(setup.environment.iter().copied())
            .stdout(output.try_clone()?)
            .stderr(output)
            .stdin(Stdio::null());
        if setup.tools {
            command.env("KAFKA_PATH", &self.kafka_path).env("BROKERS", broker.address());
        }
        let status = command.status().context("cannot start the test")?;
        Ok(format!("the process ended, {status}"))
    }
}
