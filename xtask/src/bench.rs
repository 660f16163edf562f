//! `cargo xtask bench`: measures ourselves and the named peers in one run on one machine, since
//! only ratios carry over from machine to machine. Prints what it does, and last one JSON object.

mod broker;
mod channel;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
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
    /// Few messages: shows that it runs; its figures mean little, and say so.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    cache: CacheArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// The Embedded engine against Apache Kafka.
    Broker,
    /// A Channel through two sidecars against libzmq.
    Channel,
}

/// What a benchmark hands back.
#[derive(Default)]
pub(crate) struct Report {
    figures: BTreeMap<String, Value>,
    ratios: BTreeMap<String, Value>,
}

impl Report {
    /// A measured value; the name ends in its unit.
    pub(crate) fn figure(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.figures.insert(name.into(), value.into());
    }

    /// Ours divided by the peer's, where more is better.
    pub(crate) fn at_least(&mut self, name: impl Into<String>, value: f64, goal: f64) {
        self.ratios.insert(name.into(), json!({"value": value, "goal": goal, "ok": value >= goal}));
    }

    /// Ours divided by the peer's, where less is better.
    pub(crate) fn at_most(&mut self, name: impl Into<String>, value: f64, goal: f64) {
        self.ratios.insert(name.into(), json!({"value": value, "goal": goal, "ok": value <= goal}));
    }
}

/// Measures, then prints.
pub(crate) fn run(root: &Path, args: &BenchArgs) -> Result<()> {
    let cache = args.cache.open()?;
    let mut report = match args.name {
        Name::Broker => broker::measure(root, &cache, args.quick),
        Name::Channel => channel::measure(root, &cache, args.quick),
    }
    .context("failed to measure")?;
    report.figure("quick", args.quick);
    for (name, value) in &report.figures {
        println!("{name:48} {value}");
    }
    for (name, ratio) in &report.ratios {
        println!("{name:48} {} (goal {}, ok {})", ratio["value"], ratio["goal"], ratio["ok"]);
    }
    if args.json {
        println!("{}", json!({"figures": report.figures, "ratios": report.ratios}));
    }
    Ok(())
}
