//! The Embedded engine, which syncs before every acknowledgement, against Apache Kafka 4.4, not syncing and
//! syncing, on the same disk with the same client, load by load in turn.
//!
//! Rates come from librdkafka's own `rdkafka_performance`, latencies from the file it writes, CPU and memory
//! from the broker's process. Every load says how many messages it sent; a lost one fails the benchmark.

mod client;
mod kafka;
mod process;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use self::client::{Client, Load};
use self::process::{Broker, TICKS_PER_SECOND, cpu_seconds};
use super::Report;
use crate::cache::Cache;
use crate::conformance::broker::build as build_broker;
use crate::tools;
use crate::wait::{self, Stopwatch};

/// Times that each load runs; the median counts.
const ROUNDS: usize = 3;
/// Partitions of a topic that is not said otherwise.
pub(super) const PARTITIONS: u32 = 6;
/// Messages a second of the latency loads. At the first the client's threads rest between two messages; at the
/// second one of them spins, and what is late queues.
const PACES: [u32; 2] = [100, 1_000];
/// The messages, and what their size is called.
const SIZES: [(&str, u32); 2] = [("100_bytes", 100), ("1_kib", 1024)];
/// Times that a round produces messages of one size to one broker.
const LOADS_PER_SIZE: usize = 2;
const BROKERS: usize = 3;
/// Appends of the probe of the disk, and their size.
const PROBES: usize = 500;
const PROBE_BYTES: usize = 4096;
const MEBIBYTE: usize = 1024 * 1024;
/// How long the brokers are left alone for their cost when idle.
const IDLE: Duration = Duration::from_secs(10);

/// The goals of the design, as ratios of ours to Kafka's.
struct Goal {
    name: &'static str,
    figure: &'static str,
    peer: &'static str,
    goal: f64,
    more_is_better: bool,
}

const GOALS: [Goal; 10] = [
    at_least(
        "produce_100_bytes_to_kafka_synced",
        "produce_100_bytes_6_partitions_per_second",
        "kafka_synced",
        1.3,
    ),
    at_least("produce_1_kib_to_kafka_synced", "produce_1_kib_6_partitions_per_second", "kafka_synced", 1.3),
    at_least("produce_100_bytes_to_kafka", "produce_100_bytes_6_partitions_per_second", "kafka", 1.0),
    at_least("produce_1_kib_to_kafka", "produce_1_kib_6_partitions_per_second", "kafka", 1.0),
    at_most("produce_cpu_to_kafka", "produce_1_kib_6_partitions_cpu_microseconds", "kafka", 0.5),
    at_least("consume_to_kafka", "consume_1_kib_per_second", "kafka", 1.0),
    at_most("consume_cpu_to_kafka", "consume_1_kib_cpu_microseconds", "kafka", 1.2),
    at_most("latency_p50_to_kafka", "latency_at_1000_per_second_p50_milliseconds", "kafka", 1.0),
    at_most(
        "latency_p99_to_kafka_synced",
        "latency_at_1000_per_second_p99_milliseconds",
        "kafka_synced",
        1.0 / 3.0,
    ),
    at_most("resident_after_load_to_kafka", "resident_after_load_mebibytes", "kafka", 1.0 / 16.0),
];

/// The goals of the design that are bounds of our own: 12 MB, no cost that the counter sees, 50 ms.
const BOUNDS: [(&str, f64); 3] = [
    ("pinnace_resident_idle_mebibytes", 12e6 / 1_048_576.0),
    ("pinnace_cpu_idle_percent_of_a_core", 0.1),
    ("pinnace_start_to_first_acknowledgement_seconds", 0.05),
];

const fn at_least(name: &'static str, figure: &'static str, peer: &'static str, goal: f64) -> Goal {
    Goal { name, figure, peer, goal, more_is_better: true }
}

const fn at_most(name: &'static str, figure: &'static str, peer: &'static str, goal: f64) -> Goal {
    Goal { name, figure, peer, goal, more_is_better: false }
}

/// Measures all brokers; `program` is a release build of ours, else one is made.
pub(super) fn measure(root: &Path, cache: &Cache, program: Option<&Path>, quick: bool) -> Result<Report> {
    let client = Client::build(root, cache)?;
    let ours = match program {
        Some(program) => program.to_owned(),
        None => build_broker(root, &["--release", "--package", "broker"])?,
    };
    let kafka = kafka::install(cache)?;
    let folder = std::env::temp_dir().join(format!("pinnace-bench-{}", std::process::id()));
    let mut bench =
        Bench { client, brokers: Vec::new(), rounds: if quick { 1 } else { ROUNDS }, folder, quick };
    let outcome = bench.all(&ours, &kafka);
    bench.brokers.clear();
    crate::cache::remove_folder(&bench.folder)?;
    outcome
}

struct Bench {
    client: Client,
    brokers: Vec<(&'static str, Broker)>,
    rounds: usize,
    folder: PathBuf,
    quick: bool,
}

impl Bench {
    fn all(&mut self, ours: &Path, kafka: &Path) -> Result<Report> {
        let mut report = Report::default();
        report.figure("kafka_version", kafka::VERSION);
        report.figure("client", "rdkafka_performance of librdkafka, acks=all, linger 5 ms");
        self.room()?;
        self.start(ours, kafka, &mut report)?;
        self.idle(&mut report)?;
        self.size(&mut report, "idle")?;
        self.disk(&mut report)?;
        self.produce_and_consume(&mut report)?;
        self.latency(&mut report)?;
        self.size(&mut report, "after_load")?;
        ratios(&mut report);
        Ok(report)
    }

    /// Starts the brokers, each in a new folder.
    fn start(&mut self, ours: &Path, kafka: &Path, report: &mut Report) -> Result<()> {
        for name in ["pinnace", "kafka", "kafka_synced"] {
            println!("starting {name}");
            let folder = self.folder.join(name);
            let broker = match name {
                "pinnace" => Broker::embedded(ours, folder)?,
                name => kafka::start(kafka, folder, name == "kafka_synced")?,
            };
            self.client.first_message(broker.address()).with_context(|| broker.last_words())?;
            report
                .figure(format!("{name}_start_to_first_acknowledgement_seconds"), broker.age().as_secs_f64());
            self.brokers.push((name, broker));
        }
        Ok(())
    }

    /// Refuses to begin what would fill the disk.
    fn room(&self) -> Result<()> {
        let runs = u64::try_from(self.rounds * LOADS_PER_SIZE * BROKERS)?;
        let bytes: u64 =
            SIZES.iter().map(|(_, size)| u64::from(*size) * u64::from(self.messages(*size)) * runs).sum();
        std::fs::create_dir_all(&self.folder).context("cannot make the folder of the benchmark")?;
        let disk = rustix::fs::statvfs(&self.folder).context("cannot ask for the room on the disk")?;
        let free = disk.f_bavail * disk.f_frsize;
        let needed = bytes + bytes / 2;
        ensure!(
            free > needed,
            "{} has {free} bytes left and {needed} are needed: set TMPDIR to a larger disk, or use --quick",
            self.folder.display()
        );
        Ok(())
    }

    /// What the disk itself takes: an append and a sync, alone (no acknowledgement comes sooner), and much at once.
    fn disk(&self, report: &mut Report) -> Result<()> {
        let path = self.folder.join("probe");
        let mut file = File::create(&path).context("cannot make the probe of the disk")?;
        let mut milliseconds = Vec::new();
        for _ in 0..PROBES {
            let clock = Stopwatch::start();
            file.write_all(&[0; PROBE_BYTES])?;
            file.sync_data().context("cannot sync the probe of the disk")?;
            milliseconds.push(clock.elapsed().as_secs_f64() * 1e3);
        }
        milliseconds.sort_by(f64::total_cmp);
        for percent in [50, 99] {
            let value = percentile(&milliseconds, percent);
            report.figure(format!("disk_append_4_kib_and_sync_p{percent}_milliseconds"), value);
        }
        let block = vec![0_u8; MEBIBYTE];
        let blocks = if self.quick { 64 } else { 1024 };
        let clock = Stopwatch::start();
        for _ in 0..blocks {
            file.write_all(&block)?;
        }
        file.sync_data().context("cannot sync the probe of the disk")?;
        let rate = f64::from(blocks) / clock.elapsed().as_secs_f64();
        report.figure("disk_write_and_sync_at_the_end_mebibytes_per_second", rate);
        std::fs::remove_file(&path).context("cannot remove the probe of the disk")
    }

    /// Nobody pays for what others left to be written.
    fn settle(&self) -> Result<()> {
        tools::output(tools::command("sync", ["--file-system"]).arg(&self.folder)).map(drop)
    }

    const fn messages(&self, bytes: u32) -> u32 {
        match (self.quick, bytes) {
            (true, _) => 50_000,
            (false, 100) => 5_000_000,
            (false, _) => 500_000,
        }
    }

    fn produce_and_consume(&self, report: &mut Report) -> Result<()> {
        for (size, bytes) in SIZES {
            let messages = self.messages(bytes);
            for (spread, partition) in [("1_partition", Some(0)), ("6_partitions", None)] {
                let load = Load { topic: format!("{size}-{spread}"), bytes, messages, partition };
                let name = format!("produce_{size}_{spread}");
                self.rounds(report, &name, messages, |address| self.client.produce(address, &load))?;
            }
            let load = Load { topic: format!("{size}-1_partition"), bytes, messages, partition: Some(0) };
            let name = format!("consume_{size}");
            self.rounds(report, &name, messages, |address| self.client.consume(address, &load))?;
        }
        Ok(())
    }

    /// Runs a load on each broker in turn, round by round, and reports the medians.
    fn rounds(
        &self,
        report: &mut Report,
        name: &str,
        messages: u32,
        run: impl Fn(&str) -> Result<f64>,
    ) -> Result<()> {
        let mut results = vec![(Vec::new(), Vec::new()); self.brokers.len()];
        for _ in 0..self.rounds {
            for ((broker_name, broker), (rates, costs)) in self.brokers.iter().zip(&mut results) {
                println!("{name} on {broker_name}");
                self.settle()?;
                let before = broker.cpu_ticks()?;
                let rate = run(broker.address())
                    .with_context(|| format!("{name} on {broker_name}; {}", broker.last_words()))?;
                rates.push(rate);
                let cost = cpu_seconds(before, broker.cpu_ticks()?);
                costs.push(cost * 1e6 / f64::from(messages));
            }
        }
        for ((broker_name, _), (rates, costs)) in self.brokers.iter().zip(results) {
            report.figure(format!("{broker_name}_{name}_per_second"), median(rates));
            report.figure(format!("{broker_name}_{name}_cpu_microseconds"), median(costs));
        }
        report.figure(format!("{name}_messages"), messages);
        Ok(())
    }

    /// Latencies at each pace on each broker in turn, round by round; the medians of the rounds.
    fn latency(&self, report: &mut Report) -> Result<()> {
        let seconds = if self.quick { 4 } else { 8 };
        for pace in PACES {
            let load = Load {
                topic: format!("latency-{pace}"),
                bytes: 1024,
                messages: seconds * pace,
                partition: Some(0),
            };
            let mut results = vec![[const { Vec::new() }; 3]; self.brokers.len()];
            for _ in 0..self.rounds {
                for ((name, broker), [reached, p50, p99]) in self.brokers.iter().zip(&mut results) {
                    println!("latency at {pace} messages a second on {name}");
                    self.settle()?;
                    let file = self.folder.join(format!("{name}.latency"));
                    let (latencies, rate) = self.client.latencies(broker.address(), &load, (pace, &file))?;
                    reached.push(rate);
                    p50.push(percentile(&latencies, 50));
                    p99.push(percentile(&latencies, 99));
                }
            }
            for ((name, _), [reached, p50, p99]) in self.brokers.iter().zip(results) {
                let figure = format!("{name}_latency_at_{pace}_per_second");
                report.figure(format!("{figure}_reached"), median(reached));
                report.figure(format!("{figure}_p50_milliseconds"), median(p50));
                report.figure(format!("{figure}_p99_milliseconds"), median(p99));
            }
        }
        Ok(())
    }

    /// What each takes of a core while nobody asks anything; the kernel counts in steps of 0.1 %.
    fn idle(&self, report: &mut Report) -> Result<()> {
        println!("all idle");
        let ticks = || self.brokers.iter().map(|(_, broker)| broker.cpu_ticks()).collect::<Result<Vec<_>>>();
        let (clock, before) = (Stopwatch::start(), ticks()?);
        let over = || Ok((clock.elapsed() >= IDLE).then_some(()));
        wait::until("the idle time", 2 * IDLE, over)?;
        let seconds = clock.elapsed().as_secs_f64();
        for (((name, _), before), after) in self.brokers.iter().zip(before).zip(ticks()?) {
            let percent = (after - before) / TICKS_PER_SECOND / seconds * 100.0;
            report.figure(format!("{name}_cpu_idle_percent_of_a_core"), percent);
        }
        Ok(())
    }

    fn size(&self, report: &mut Report, when: &str) -> Result<()> {
        for (name, broker) in &self.brokers {
            report.figure(format!("{name}_resident_{when}_mebibytes"), broker.resident_mebibytes()?);
        }
        Ok(())
    }
}

fn ratios(report: &mut Report) {
    for (figure, goal) in BOUNDS {
        if let Some(value) = report.figures.get(figure).and_then(Value::as_f64) {
            report.at_most(figure, value, goal);
        }
    }
    for goal in &GOALS {
        let figure = |broker: &str| report.figures.get(&format!("{broker}_{}", goal.figure))?.as_f64();
        let (Some(ours), Some(theirs)) = (figure("pinnace"), figure(goal.peer)) else { continue };
        let value = ours / theirs;
        if goal.more_is_better {
            report.at_least(goal.name, value, goal.goal);
        } else {
            report.at_most(goal.name, value, goal.goal);
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The smallest value that at least `percent` of the sorted values do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: medians and percentiles are values that were measured, at the right rank.
    #[test]
    fn ranks() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert!((percentile(&hundred, 99) - 99.0).abs() < f64::EPSILON);
        assert!((percentile(&hundred, 50) - 50.0).abs() < f64::EPSILON);
        assert!(percentile(&[], 50).is_nan());
    }

    /// Goal: every goal is about figures that are measured under that name.
    #[test]
    fn goals_become_ratios() {
        let mut report = Report::default();
        for goal in &GOALS {
            report.figure(format!("pinnace_{}", goal.figure), 2.0);
            report.figure(format!("{}_{}", goal.peer, goal.figure), 4.0);
        }
        for (figure, _) in BOUNDS {
            report.figure(figure, 0.0);
        }
        ratios(&mut report);
        assert_eq!(report.ratios.len(), GOALS.len() + BOUNDS.len());
        assert_eq!(report.ratios["latency_p50_to_kafka"]["value"], 0.5);
        assert_eq!(report.ratios["latency_p50_to_kafka"]["ok"], true);
        assert_eq!(report.ratios["consume_to_kafka"]["ok"], false);
    }
}
