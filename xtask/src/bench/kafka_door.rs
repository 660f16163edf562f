//! A sidecar's Kafka door against a direct connection of the same client, with TLS, to the same Embedded broker: what the way
//! over the sidecar costs. Load by load, each way in turn, and each round begins with the other one.
//!
//! The client is librdkafka's `rdkafka_performance`. The data is in memory where the machine lets it: the time of a disk
//! would hide that of the door. A lost message fails the benchmark.

mod site;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use self::site::Site;
use super::broker::client::{Client, Load, written};
use super::broker::{median, percentile};
use super::{BenchArgs, Part, Report};
use crate::cache::{Cache, remove_folder};
use crate::process::Process;

/// Where files are in memory on most machines.
const MEMORY: &str = "/dev/shm";
/// The messages, and what their size is called.
const SIZES: [(&str, u32); 2] = [("100_bytes", 100), ("1_kib", 1024)];
/// Bytes of one throughput load: small enough that all of them fit into memory.
const LOAD_BYTES: u32 = 200_000_000;
/// Messages a second when it is about time; at more the client spins between two of them.
const PACE: u32 = 100;
/// How long what was sent may take to be read.
const READ_LIMIT: Duration = Duration::from_secs(60);
/// What the door may cost.
const THROUGHPUT_GOAL: f64 = 0.9;
const ROUND_TRIP_GOAL_MICROSECONDS: f64 = 60.0;
/// The two ways, as figures call them.
const WAYS: [&str; 2] = ["direct", "door"];

/// Measures both ways.
pub(super) fn measure(root: &Path, cache: &Cache, args: &BenchArgs) -> Result<Report> {
    let client = Client::build_with_tls(root, cache)?;
    let programs = args.programs.or_built(root)?;
    let memory = Path::new(MEMORY);
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let folder = place.join(format!("pinnace-bench-kafka-door-{}", std::process::id()));
    remove_folder(&folder)?;
    let rounds = args.rounds();
    let topics = SIZES.map(|(size, _)| size.replace('_', "-")).into_iter().chain(trips(rounds));
    let outcome = Site::start(programs, &client, (&folder, &topics.collect::<Vec<_>>())).and_then(|site| {
        let bench = Bench { site, rounds, folder: folder.clone(), quick: args.quick };
        bench.run(|part| args.parts.is_empty() || args.parts.contains(&part))
    });
    match &outcome {
        Ok(_) => remove_folder(&folder)?,
        Err(_) => println!("what the programs printed is in {}", folder.display()),
    }
    outcome
}

/// Each round of each way has a topic of its own, that it reads from the beginning.
fn trip(way: &str, round: usize) -> String {
    format!("trip-{way}-{round}")
}

fn trips(rounds: usize) -> impl Iterator<Item = String> {
    (0..rounds).flat_map(|round| WAYS.map(|way| trip(way, round)))
}

struct Bench {
    site: Site,
    rounds: usize,
    folder: PathBuf,
    quick: bool,
}

impl Bench {
    fn run(self, is_wanted: impl Fn(Part) -> bool) -> Result<Report> {
        let mut report = Report::default();
        report.figure("client", "rdkafka_performance of librdkafka, acks=all, linger 5 ms, with OpenSSL");
        report.figure("client_version", self.site.way(0).0.version.clone());
        report.figure("rounds", self.rounds);
        report.figure("data_folder", self.folder.display().to_string());
        if is_wanted(Part::Latency) {
            self.latency(&mut report)?;
        }
        if is_wanted(Part::Throughput) {
            self.throughput(&mut report)?;
        }
        self.site.end()?;
        Ok(report)
    }

    /// Runs a load on each way in turn; what each round gave, by way.
    fn by_turns<T>(
        &self,
        name: &str,
        mut run: impl FnMut((&Client, &str), usize) -> Result<T>,
    ) -> Result<[Vec<T>; 2]> {
        let mut results = [Vec::new(), Vec::new()];
        for round in 0..self.rounds {
            for turn in 0..WAYS.len() {
                let at = (round + turn) % WAYS.len();
                println!("{name} {}", WAYS[at]);
                let value = run(self.site.way(at), at).with_context(|| format!("{name} {}", WAYS[at]))?;
                results[at].push(value);
            }
        }
        Ok(results)
    }

    fn throughput(&self, report: &mut Report) -> Result<()> {
        for (size, bytes) in SIZES {
            let messages = if self.quick { 50_000 } else { LOAD_BYTES / bytes };
            let topic = size.replace('_', "-");
            let load = Load { topic, bytes, messages, partition: None, codec: None };
            report.figure(format!("{size}_messages"), messages);
            let produced = self.by_turns(&format!("produce_{size}"), |(client, address), _| {
                client.produce(address, &load)
            })?;
            rates(&format!("produce_{size}"), produced, report);
            let consumed = self.by_turns(&format!("consume_{size}"), |(client, address), _| {
                client.consume(address, &load)
            })?;
            rates(&format!("consume_{size}"), consumed, report);
        }
        Ok(())
    }

    /// From the call until the acknowledgement, and from the call until another client has the message.
    fn latency(&self, report: &mut Report) -> Result<()> {
        let seconds = if self.quick { 3 } else { 8 };
        let mut round = [0; 2];
        let results = self.by_turns("latency", |(client, address), at| {
            let topic = trip(WAYS[at], round[at]);
            round[at] += 1;
            let load = Load { topic, bytes: 100, messages: seconds * PACE, partition: Some(0), codec: None };
            let (sent, received) = (self.folder.join("sent"), self.folder.join("received"));
            let reader = Process::start("reader", client.reader(address, &load, &received), &self.folder)?;
            let (acknowledged, _) = client.latencies(address, &load, (PACE, &sent))?;
            reader.finish_within(READ_LIMIT)?;
            let received = written(&received, PACE)?;
            Ok([percentile(&acknowledged, 50), percentile(&received, 50)].map(|p50| p50 * 1000.0))
        })?;
        for (kind, which) in [("acknowledgement", 0), ("delivery", 1)] {
            let p50 = |at: usize| results[at].iter().map(|round| round[which]).collect::<Vec<f64>>();
            for (at, way) in WAYS.into_iter().enumerate() {
                report.spread(format!("{way}_{kind}_p50_microseconds"), p50(at));
            }
            let difference = median(p50(1)) - median(p50(0));
            report.at_most(
                format!("{kind}_p50_difference_microseconds"),
                difference,
                ROUND_TRIP_GOAL_MICROSECONDS,
            );
        }
        Ok(())
    }
}

/// Tells the rates of both ways, and how much of the direct one is left over the door.
fn rates(name: &str, [direct, door]: [Vec<f64>; 2], report: &mut Report) {
    let ratio = median(door.clone()) / median(direct.clone());
    report.spread(format!("direct_{name}_per_second"), direct);
    report.spread(format!("door_{name}_per_second"), door);
    report.at_least(format!("{name}_door_to_direct"), ratio, THROUGHPUT_GOAL);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the door is divided by the direct way, and each way has a topic for each round.
    #[test]
    fn the_door_is_judged_by_the_direct_way() {
        let mut report = Report::default();
        rates("produce", [vec![100.0, 90.0, 110.0], vec![80.0, 70.0, 95.0]], &mut report);
        let ratio = &report.ratios["produce_door_to_direct"];
        assert_eq!((ratio["value"].as_f64(), ratio["ok"].as_bool()), (Some(0.8), Some(false)));
        let topics: std::collections::BTreeSet<String> = trips(3).collect();
        assert_eq!(topics.len(), 6);
    }
}
