//! The Embedded engine, which syncs before every acknowledgement, against Apache Kafka 4.4, not syncing and
//! syncing, on the same disk with the same client, load by load in turn.
//!
//! Rates come from librdkafka's own `rdkafka_performance`, latencies from the file it writes, CPU and memory
//! from the broker's process; a thousand partitions at a pace from Kafka's own `ProducerPerformance`. Every
//! load says how many messages it sent; a lost one fails the benchmark.

pub(super) mod client;
mod disk;
mod goals;
mod kafka;
mod many;
mod nats;
mod perf;
mod process;
mod wire;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use self::client::{Client, Load};
use self::process::{Broker, TICKS_PER_SECOND, cpu_seconds};
use super::{BenchArgs, Part, Report};
use crate::cache::{Cache, remove_folder};
use crate::wait::{self, Stopwatch};
use crate::{maven, tools};

/// Partitions of a topic that is not said otherwise.
pub(super) const PARTITIONS: u32 = 6;
/// Messages a second of the latency loads. At the first the client's threads rest between two messages; at the
/// second one of them spins, and what is late queues.
const PACES: [u32; 2] = [100, 1_000];
/// The messages, and what their size is called.
const SIZES: [(&str, u32); 2] = [("100_bytes", 100), ("1_kib", 1024)];
/// Codecs, and how each is named in a figure.
const CODECS: [(&str, Option<&str>); 2] = [("", None), ("_lz4", Some("lz4"))];
/// Uncompressed loads of one size in a round.
const PLAIN_LOADS_PER_SIZE: usize = 2;
const BROKERS: usize = 3;
/// How long the brokers are left alone for their cost when idle.
const IDLE: Duration = Duration::from_secs(10);

/// Measures all brokers.
pub(super) fn measure(root: &Path, cache: &Cache, args: &BenchArgs) -> Result<Report> {
    let quick = args.quick;
    let programs = Programs {
        ours: match &args.broker {
            Some(program) => program.clone(),
            None => tools::build(root, "pinnace-broker", &["--profile", "dist", "--package", "broker"])?,
        },
        client: Client::build(root, cache)?,
        kafka: maven::cached(cache, "kafka", &maven::kafka())?,
        nats: super::nats::install(cache)?,
        tools: perf::Tools::install(cache)?,
    };
    let folder = std::env::temp_dir().join(format!("pinnace-bench-{}", std::process::id()));
    let mut bench = Bench { programs, brokers: Vec::new(), rounds: args.rounds(), folder, quick };
    let outcome = bench.run(|part| args.parts.is_empty() || args.parts.contains(&part));
    bench.brokers.clear();
    remove_folder(&bench.folder)?;
    outcome
}

/// All that is started.
struct Programs {
    ours: PathBuf,
    client: Client,
    kafka: PathBuf,
    nats: PathBuf,
    tools: perf::Tools,
}

struct Bench {
    programs: Programs,
    brokers: Vec<(&'static str, Broker)>,
    rounds: usize,
    folder: PathBuf,
    quick: bool,
}

impl Bench {
    fn run(&mut self, is_wanted: impl Fn(Part) -> bool) -> Result<Report> {
        let mut report = Report::default();
        report.figure("kafka_version", maven::KAFKA_VERSION);
        report.figure("kafka_tools_version", maven::KAFKA_TOOLS_VERSION);
        report.figure("nats_version", super::nats::VERSION);
        report.figure("client", "rdkafka_performance of librdkafka, acks=all, linger 5 ms");
        report.figure("rounds", self.rounds);
        self.room(&is_wanted)?;
        if is_wanted(Part::Start) {
            self.starts(&mut report)?;
        }
        self.start(&mut report)?;
        disk::probe(&self.folder, self.quick, &mut report)?;
        if is_wanted(Part::Start) {
            self.idle(&mut report)?;
            self.size(&mut report, "idle")?;
        }
        if is_wanted(Part::Latency) {
            self.latency(&mut report)?;
        }
        if is_wanted(Part::Throughput) {
            self.produce(&mut report)?;
            self.consume(&mut report)?;
            self.size(&mut report, "after_load")?;
        }
        if is_wanted(Part::Partitions) {
            self.thousand_partitions(&mut report)?;
        }
        if is_wanted(Part::Topics) {
            self.thousand_topics(&mut report)?;
        }
        // The others would keep the disk and the memory busy.
        self.brokers.clear();
        if is_wanted(Part::Recovery) {
            self.recovery(&mut report)?;
        }
        goals::ratios(&mut report);
        Ok(report)
    }

    /// From the start of the process to the first acknowledged message, on a new folder, of a client that is
    /// ready; of nats-server, to its first answer.
    fn starts(&self, report: &mut Report) -> Result<()> {
        println!("starts of small brokers");
        let folder = self.folder.join("starts");
        let (mut ours, mut nats) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            remove_folder(&folder)?;
            let broker = Broker::embedded(&self.programs.ours, folder.clone())?;
            ours.push(broker.first_acknowledgement("first")?.as_secs_f64());
            drop(broker);
            nats.push(nats::start(&self.programs.nats, &folder)?);
        }
        report.spread("pinnace_start_seconds", ours);
        report.spread("nats_start_seconds", nats);
        remove_folder(&folder)
    }

    /// Starts the brokers, each in a new folder.
    fn start(&mut self, report: &mut Report) -> Result<()> {
        for name in ["pinnace", "kafka", "kafka_synced"] {
            println!("starting {name}");
            let folder = self.folder.join(name);
            let broker = match name {
                "pinnace" => Broker::embedded(&self.programs.ours, folder)?,
                name => kafka::start(&self.programs.kafka, folder, name == "kafka_synced")?,
            };
            self.programs.client.first_message(broker.address()).with_context(|| broker.last_words())?;
            report
                .figure(format!("{name}_start_to_first_acknowledgement_seconds"), broker.age().as_secs_f64());
            self.brokers.push((name, broker));
        }
        Ok(())
    }

    /// Refuses to begin what would fill the disk.
    fn room(&self, is_wanted: impl Fn(Part) -> bool) -> Result<()> {
        let runs = u64::try_from(self.rounds * PLAIN_LOADS_PER_SIZE * BROKERS)?;
        let mut bytes: u64 = 0;
        if is_wanted(Part::Throughput) {
            bytes += SIZES
                .map(|(_, size)| u64::from(size) * u64::from(self.messages(size)) * runs)
                .iter()
                .sum::<u64>();
        }
        if is_wanted(Part::Recovery) {
            bytes += u64::from(self.recovered_messages()) * 1024;
        }
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

    fn produce(&self, report: &mut Report) -> Result<()> {
        for (size, bytes) in SIZES {
            for (codec_name, codec) in CODECS {
                for (spread, partition) in [("1_partition", Some(0)), ("6_partitions", None)] {
                    let messages = self.messages(bytes);
                    let topic = format!("{size}{codec_name}-{spread}");
                    let load = Load { topic, bytes, messages, partition, codec };
                    let name = format!("produce_{size}{codec_name}_{spread}");
                    let produce = |address: &str, _| self.programs.client.produce(address, &load);
                    self.rounds(name, messages, produce)?.tell(report);
                }
            }
        }
        Ok(())
    }

    fn consume(&self, report: &mut Report) -> Result<()> {
        for (size, bytes) in SIZES {
            let messages = self.messages(bytes);
            for (spread, partition) in [("1_partition", Some(0)), ("6_partitions", None)] {
                let load =
                    Load { topic: format!("{size}-{spread}"), bytes, messages, partition, codec: None };
                let consume = |address: &str, _| self.programs.client.consume(address, &load);
                self.rounds(format!("consume_{size}_{spread}"), messages, consume)?.tell(report);
            }
            let topic = format!("{size}-6_partitions");
            let load = Load { topic, bytes, messages, partition: None, codec: None };
            let name = format!("consume_{size}_in_a_group");
            let consume = |address: &str, round: usize| {
                self.programs.client.consume_in_group(address, &load, &format!("group-{size}-{round}"))
            };
            self.rounds(name, messages, consume)?.tell(report);
        }
        Ok(())
    }

    /// Runs a load on each broker in turn, round by round; each round begins with another one.
    fn rounds(
        &self,
        name: String,
        messages: u32,
        run: impl Fn(&str, usize) -> Result<f64>,
    ) -> Result<Rounds> {
        let mut results = vec![(Vec::new(), Vec::new()); self.brokers.len()];
        for round in 0..self.rounds {
            for turn in 0..self.brokers.len() {
                let at = (round + turn) % self.brokers.len();
                let ((broker_name, broker), (rates, costs)) = (&self.brokers[at], &mut results[at]);
                println!("{name} on {broker_name}");
                self.settle()?;
                let before = broker.cpu_ticks()?;
                let rate = run(broker.address(), round)
                    .with_context(|| format!("{name} on {broker_name}; {}", broker.last_words()))?;
                rates.push(rate);
                let cost = cpu_seconds(before, broker.cpu_ticks()?);
                costs.push(cost * 1e6 / f64::from(messages));
            }
        }
        let names = self.brokers.iter().map(|(broker, _)| *broker);
        let results = names.zip(results).map(|(broker, (rates, costs))| (broker, rates, costs)).collect();
        Ok(Rounds { name, messages, results })
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
                codec: None,
            };
            let mut results = vec![[const { Vec::new() }; 3]; self.brokers.len()];
            for _ in 0..self.rounds {
                for ((name, broker), [reached, p50, p99]) in self.brokers.iter().zip(&mut results) {
                    println!("latency at {pace} messages a second on {name}");
                    self.settle()?;
                    let file = self.folder.join(format!("{name}.latency"));
                    let latencies = self.programs.client.latencies(broker.address(), &load, (pace, &file));
                    let (latencies, rate) = latencies?;
                    reached.push(rate);
                    p50.push(percentile(&latencies, 50));
                    p99.push(percentile(&latencies, 99));
                }
            }
            for ((name, _), [reached, p50, p99]) in self.brokers.iter().zip(results) {
                let figure = format!("{name}_latency_at_{pace}_per_second");
                report.figure(format!("{figure}_reached"), median(reached));
                report.spread(format!("{figure}_p50_milliseconds"), p50);
                report.spread(format!("{figure}_p99_milliseconds"), p99);
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

/// What the rounds of one load came to: for each broker its rates, and its CPU microseconds a message.
struct Rounds {
    name: String,
    messages: u32,
    results: Vec<(&'static str, Vec<f64>, Vec<f64>)>,
}

impl Rounds {
    fn tell(self, report: &mut Report) {
        for (broker, rates, costs) in self.results {
            report.spread(format!("{broker}_{}_per_second", self.name), rates);
            report.figure(format!("{broker}_{}_cpu_microseconds", self.name), median(costs));
        }
        report.figure(format!("{}_messages", self.name), self.messages);
    }
}

/// The middle of what was measured; of an even number, the upper one.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The smallest value that at least `percent` of the sorted values do not exceed.
pub(super) fn percentile(sorted: &[f64], percent: usize) -> f64 {
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
}
