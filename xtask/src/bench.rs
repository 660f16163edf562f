//! `cargo xtask bench`: measures ourselves and the named peers in one run on one machine, since
//! only ratios carry over from machine to machine. Prints what it does, and last one JSON object.

mod broker;
pub(crate) mod channel;
mod kafka_door;
mod nats;
mod operator;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::cache::CacheArgs;

/// What to measure, and how long.
#[derive(Args)]
pub(crate) struct BenchArgs {
    #[arg(value_enum)]
    name: Name,
    /// The last line is one JSON object: {"figures": {…}, "ratios": {NAME: {"value","goal","ok"}}}.
    #[arg(long)]
    json: bool,
    /// Few messages: shows that it runs. Its figures mean little: it meets no goal and misses none.
    #[arg(long)]
    quick: bool,
    /// Times that each case is measured, the median counts [default: 3, with --quick 1]
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: Option<u8>,
    /// A pinnace-broker, built as it is shipped, to measure instead of one built from the checkout.
    #[arg(long, value_name = "FILE")]
    broker: Option<PathBuf>,
    #[command(flatten)]
    programs: channel::GivenPrograms,
    /// The apps that speak gRPC, built as it is shipped, to measure with instead of those built from the checkout.
    #[arg(long, value_name = "FILE")]
    grpc_load: Option<PathBuf>,
    /// Only this part of the benchmark; may be repeated.
    #[arg(long = "part", value_enum)]
    parts: Vec<Part>,
    #[command(flatten)]
    cache: CacheArgs,
    #[arg(long, env = "PATH", hide = true, default_value = "/usr/sbin:/usr/bin:/sbin:/bin")]
    path: String,
}

/// Rounds of a benchmark that nobody has set.
const ROUNDS: u8 = 3;

impl BenchArgs {
    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { ROUNDS }).into()
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// The Embedded engine against Apache Kafka.
    Broker,
    /// A Channel through two sidecars against libzmq, NATS and relays of gRPC.
    Channel,
    /// The Kafka door of a sidecar against the same client that speaks TLS to the broker itself.
    KafkaDoor,
    /// The operator on a real cluster, with thousands of objects and sidecars. Once, whatever the rounds.
    Operator,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Broker: starts of small ones, and what all take when idle.
    Start,
    /// Broker: acknowledgements of one partition at a pace. Channel: round trips, one at a time. Kafka door: both ways at a pace.
    Latency,
    /// Flat out. Broker, Kafka door: producing and consuming. Channel: one pair, all sizes.
    Throughput,
    /// Broker: a thousand partitions at a pace.
    Partitions,
    /// Broker: a thousand topics made, and a start with them.
    Topics,
    /// Broker: starts after a kill with ten gibibytes.
    Recovery,
    /// Channel: one publisher to eight subscribers, and eight to one.
    Shapes,
    /// Channel: latencies at a pace.
    OpenLoop,
    /// Channel: one publisher to two hundred subscribers.
    FanOut,
    /// Channel: sidecars that have nothing to do.
    Memory,
}

impl Part {
    const BROKER: [Self; 6] =
        [Self::Start, Self::Latency, Self::Throughput, Self::Partitions, Self::Topics, Self::Recovery];
    const KAFKA_DOOR: [Self; 2] = [Self::Latency, Self::Throughput];
    const CHANNEL: [Self; 6] =
        [Self::Memory, Self::Latency, Self::OpenLoop, Self::Throughput, Self::Shapes, Self::FanOut];
}

/// What a benchmark hands back.
#[derive(Default)]
pub(crate) struct Report {
    figures: BTreeMap<String, Value>,
    ratios: BTreeMap<String, Value>,
}

impl Report {
    /// A measured value; the name ends in its unit. It is printed at once, so that what fails later takes nothing
    /// with it.
    pub(crate) fn figure(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        println!("{name:48} {value}");
        self.figures.insert(name, value);
    }

    /// A value measured several times: the median, with the least and the most beside it.
    pub(crate) fn spread(&mut self, name: impl Into<String>, values: Vec<f64>) {
        let name = name.into();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.figure(format!("{name}_least"), least);
        self.figure(format!("{name}_most"), most);
        self.figure(name, broker::median(values));
    }

    /// Ours divided by the peer's, where more is better.
    pub(crate) fn at_least(&mut self, name: impl Into<String>, value: f64, goal: f64) {
        self.ratios.insert(name.into(), json!({"value": value, "goal": goal, "ok": value >= goal}));
    }

    /// Ours divided by the peer's, or ours alone where the goal is a bound; less is better.
    pub(crate) fn at_most(&mut self, name: impl Into<String>, value: f64, goal: f64) {
        self.ratios.insert(name.into(), json!({"value": value, "goal": goal, "ok": value <= goal}));
    }

    /// Says of no goal whether it is met.
    fn judge_nothing(&mut self) {
        for ratio in self.ratios.values_mut() {
            ratio["ok"] = Value::Null;
        }
    }
}

/// Measures, then prints.
pub(crate) fn run(root: &Path, args: &BenchArgs) -> Result<()> {
    let (parts, name) = match args.name {
        Name::Broker => (Part::BROKER.as_slice(), "broker"),
        Name::Channel => (Part::CHANNEL.as_slice(), "channel"),
        Name::KafkaDoor => (Part::KAFKA_DOOR.as_slice(), "kafka-door"),
        Name::Operator => ([].as_slice(), "operator"),
    };
    if let Some(part) = args.parts.iter().find(|part| !parts.contains(part)) {
        bail!("the benchmark {name} has no part {part:?}, it has {parts:?}");
    }
    let cache = args.cache.open()?;
    let load = load_average();
    let mut report = match args.name {
        Name::Broker => broker::measure(root, &cache, args),
        Name::Channel => channel::measure(root, &cache, args),
        Name::KafkaDoor => kafka_door::measure(root, &cache, args),
        Name::Operator => operator::measure(root, args),
    }
    .context("failed to measure")?;
    report.figure("quick", args.quick);
    if args.quick {
        report.judge_nothing();
    }
    report.figure("machine_cores", std::thread::available_parallelism().map_or(0, NonZeroUsize::get));
    report.figure("machine_load_before", load);
    for (name, ratio) in &report.ratios {
        println!("{name:48} {} (goal {}, ok {})", ratio["value"], ratio["goal"], ratio["ok"]);
    }
    if args.json {
        println!("{}", json!({"figures": report.figures, "ratios": report.ratios}));
    }
    Ok(())
}

/// Processes that wanted a core in the last minute, before we began: above 0 there is someone else on the
/// machine, and the figures say less.
fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
}
