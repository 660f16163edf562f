//! A Channel between two apps, each with a sidecar, TLS between the two, against libzmq without any sidecar:
//! the same client program on both paths, path by path in turn.
//!
//! The sidecars are those of local mode: one `pinnace up`, and a `pinnace run` for each app. The apps are the
//! load generator in `benches/channel`. It counts what arrives; what is lost is reported, never left out.

mod local;
mod programs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use self::local::Local;
use self::programs::Programs;
use super::Report;
use crate::cache::{Cache, remove_folder};
use crate::process::{Process, free_endpoint};

/// Times that each path is taken; the median counts.
const ROUNDS: usize = 5;
/// What a batching client is to get through, in messages of 100 bytes a second.
const GOAL_PER_SECOND: f64 = 3e6;
/// What the way through two sidecars may cost, as a multiple of libzmq's own round trip.
const GOAL_ROUND_TRIP: f64 = 1.2;

/// A client and the way that its messages take.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// libzmq to libzmq over TCP: the peer.
    Libzmq,
    /// libzmq at both ends, the sidecars between.
    Sidecars,
    /// ZMTP written a batch at a time, the sidecars between.
    SidecarsBatching,
}

impl Way {
    const ALL: [Self; 3] = [Self::Libzmq, Self::Sidecars, Self::SidecarsBatching];

    const fn name(self) -> &'static str {
        match self {
            Self::Libzmq => "libzmq",
            Self::Sidecars => "libzmq_over_sidecars",
            Self::SidecarsBatching => "batching_over_sidecars",
        }
    }

    const fn client(self) -> &'static str {
        match self {
            Self::Libzmq | Self::Sidecars => "libzmq",
            Self::SidecarsBatching => "raw",
        }
    }
}

/// Measures all ways.
pub(super) fn measure(root: &Path, cache: &Cache, quick: bool) -> Result<Report> {
    let programs = Programs::prepare(root, cache)?;
    let folder = std::env::temp_dir().join(format!("pinnace-bench-channel-{}", std::process::id()));
    remove_folder(&folder)?;
    let local = Local::start(&programs.pinnace, &folder.join("local"))?;
    let mut bench = Bench { programs, local, folder, round: 0, values: BTreeMap::new() };
    let (rounds, messages, round_trips) =
        if quick { (1, 200_000, 2_000) } else { (ROUNDS, 5_000_000, 20_000) };
    let outcome = bench.rounds(rounds, messages, round_trips);
    outcome.with_context(|| format!("what the programs printed is in {}", bench.folder.display()))?;
    let mut report = Report::default();
    report.figure("peer", format!("libzmq {}, PUB and SUB over TCP loopback", bench.programs.libzmq_version));
    report.figure(
        "client",
        "libzmq: PUB and SUB with defaults and ZMQ_XPUB_NODROP, 1 frame of 100 bytes; batching: ZMTP in writes of 64 KiB",
    );
    report.figure("rounds", rounds);
    report.figure("throughput_messages", messages);
    report.figure("round_trips", round_trips);
    let Bench { local, folder, values, .. } = bench;
    local.end()?;
    remove_folder(&folder)?;
    summarise(&values, &mut report);
    Ok(report)
}

/// Of each way and figure, what each round gave.
type Values = BTreeMap<(&'static str, &'static str), Vec<f64>>;

struct Bench {
    programs: Programs,
    local: Local,
    folder: PathBuf,
    round: usize,
    values: Values,
}

impl Bench {
    fn rounds(&mut self, rounds: usize, messages: u32, round_trips: u32) -> Result<()> {
        for round in 1..=rounds {
            for way in Way::ALL {
                println!("round {round} of {rounds}: throughput of {}", way.name());
                self.throughput(way, messages).with_context(|| format!("throughput of {}", way.name()))?;
            }
            for way in Way::ALL {
                println!("round {round} of {rounds}: round trip of {}", way.name());
                self.round_trip(way, round_trips).with_context(|| format!("round trip of {}", way.name()))?;
            }
        }
        Ok(())
    }

    fn throughput(&mut self, way: Way, messages: u32) -> Result<()> {
        let place = match way {
            Way::Libzmq => free_endpoint()?,
            Way::Sidecars | Way::SidecarsBatching => "ping".to_owned(),
        };
        let (out, into) = match way {
            Way::Libzmq => (format!("bind={place}"), format!("connect={place}")),
            Way::Sidecars | Way::SidecarsBatching => (format!("sidecar={place}"), format!("sidecar={place}")),
        };
        let subscriber: Vec<&str> = vec!["subscribe", way.client(), &into];
        let publisher: Vec<&str> = vec!["publish", way.client(), &out];
        let (received, sent) = self.pair(way, (&subscriber, &publisher), messages)?;
        let count = value(&received, "received")?;
        ensure!(count > 0.0, "no message arrived");
        let microseconds = |name| -> Result<f64> {
            Ok((value(&received, name)? + value(&sent, name)?) * 1e6 / f64::from(messages))
        };
        let app = microseconds("app_cpu_seconds")?;
        let sidecar = microseconds("sidecar_cpu_seconds")?;
        self.keep(way, "messages_per_second", count / value(&received, "seconds")?);
        self.keep(way, "apps_cpu_microseconds", app);
        if way != Way::Libzmq {
            self.keep(way, "sidecars_cpu_microseconds", sidecar);
        }
        self.keep(way, "lost_messages", value(&received, "lost")?);
        self.keep(way, "disordered_messages", value(&received, "disordered")?);
        Ok(())
    }

    fn round_trip(&mut self, way: Way, round_trips: u32) -> Result<()> {
        let [there, back] = match way {
            Way::Libzmq => [free_endpoint()?, free_endpoint()?],
            Way::Sidecars | Way::SidecarsBatching => ["ping".to_owned(), "pong".to_owned()],
        };
        let (first, second) = match way {
            Way::Libzmq => ("connect", "bind"),
            Way::Sidecars | Way::SidecarsBatching => ("sidecar", "sidecar"),
        };
        let places =
            |prefix: &str, out: &str, into: &str| [format!("{prefix}={out}"), format!("{prefix}={into}")];
        let (ping, pong) = (places(first, &there, &back), places(second, &back, &there));
        let pong: Vec<&str> = vec!["pong", way.client(), &pong[0], &pong[1]];
        let ping: Vec<&str> = vec!["ping", way.client(), &ping[0], &ping[1]];
        let (_, times) = self.pair(way, (&pong, &ping), round_trips)?;
        for name in ["p50", "p99"] {
            let figure =
                if name == "p50" { "round_trip_p50_microseconds" } else { "round_trip_p99_microseconds" };
            self.keep(way, figure, value(&times, &format!("{name}_microseconds"))?);
        }
        self.keep(way, "lost_round_trips", value(&times, "lost")?);
        Ok(())
    }

    /// Runs the two apps to their end and gives what each printed; the first one receives.
    fn pair(&mut self, way: Way, apps: (&[&str], &[&str]), count: u32) -> Result<(String, String)> {
        self.round += 1;
        let folder = self.folder.join(format!("{}-{}", self.round, way.name()));
        std::fs::create_dir_all(&folder).context("cannot make the folder of a round")?;
        let start = |identity: &str, arguments: &[&str]| -> Result<Process> {
            let mut command = match way {
                Way::Libzmq => std::process::Command::new(&self.programs.load),
                Way::Sidecars | Way::SidecarsBatching => self.local.run(identity, &self.programs.load),
            };
            command.args(arguments).arg(count.to_string()).arg(&folder);
            Process::start(identity, command, &folder)
        };
        let first = start("subscriber", apps.0)?;
        let second = start("publisher", apps.1)?;
        let second = second.finish()?;
        Ok((first.finish()?, second))
    }

    fn keep(&mut self, way: Way, figure: &'static str, value: f64) {
        self.values.entry((way.name(), figure)).or_default().push(value);
    }
}

/// The number behind a name that the load generator printed.
fn value(printed: &str, name: &str) -> Result<f64> {
    let number = printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let number = number.with_context(|| format!("the load generator printed no {name}"))?;
    number.trim().parse().with_context(|| format!("{name} is no number: {number}"))
}

/// Medians of what is measured, sums of what is lost, and the ratios of the design.
fn summarise(values: &Values, report: &mut Report) {
    let mut figures = BTreeMap::new();
    for ((way, figure), values) in values {
        let counts = figure.starts_with("lost") || figure.starts_with("disordered");
        let value = if counts { values.iter().sum() } else { median(values.clone()) };
        figures.insert((*way, *figure), value);
        report.figure(format!("{way}_{figure}"), value);
    }
    let of = |way: Way, figure| figures.get(&(way.name(), figure)).copied().unwrap_or(f64::NAN);
    let rate = |way| of(way, "messages_per_second");
    let lost = |way| of(way, "lost_messages") + of(way, "lost_round_trips");
    report.figure("sidecars_lost_messages", lost(Way::Sidecars) + lost(Way::SidecarsBatching));
    report.figure("throughput_libzmq_over_sidecars_to_libzmq", rate(Way::Sidecars) / rate(Way::Libzmq));
    report.figure(
        "throughput_batching_over_sidecars_to_libzmq",
        rate(Way::SidecarsBatching) / rate(Way::Libzmq),
    );
    let throughput = rate(Way::SidecarsBatching) / GOAL_PER_SECOND;
    report.at_least("throughput_batching_to_3_million_per_second", throughput, 1.0);
    for (name, way) in [
        ("round_trip_p50_libzmq_apps_to_libzmq", Way::Sidecars),
        ("round_trip_p50_batching_apps_to_libzmq", Way::SidecarsBatching),
    ] {
        let figure = "round_trip_p50_microseconds";
        report.at_most(name, of(way, figure) / of(Way::Libzmq, figure), GOAL_ROUND_TRIP);
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: numbers are found under their own name, and a missing or broken one is an error.
    #[test]
    fn numbers_are_read() {
        let printed = "received 20\nseconds 0.5\nlost x\n";
        assert!((value(printed, "seconds").unwrap() - 0.5).abs() < f64::EPSILON);
        assert!(value(printed, "second").is_err());
        assert!(value(printed, "lost").is_err());
    }

    /// Goal: rates are medians, losses are sums, and the ratios divide ours by the peer's.
    #[test]
    fn rounds_become_figures_and_ratios() {
        let mut values = Values::new();
        for (way, rate, time) in
            [(Way::Libzmq, 2e6, 100.0), (Way::Sidecars, 1e6, 130.0), (Way::SidecarsBatching, 6e6, 110.0)]
        {
            values.insert((way.name(), "messages_per_second"), vec![1.0, rate, rate * 2.0]);
            values.insert((way.name(), "round_trip_p50_microseconds"), vec![time]);
            values.insert((way.name(), "lost_messages"), vec![1.0, 0.0, 2.0]);
            values.insert((way.name(), "lost_round_trips"), vec![0.0]);
        }
        let mut report = Report::default();
        summarise(&values, &mut report);
        assert_eq!(report.figures["sidecars_lost_messages"], 6.0);
        assert_eq!(report.figures["throughput_libzmq_over_sidecars_to_libzmq"], 0.5);
        assert_eq!(report.ratios["throughput_batching_to_3_million_per_second"]["value"], 2.0);
        assert_eq!(report.ratios["round_trip_p50_libzmq_apps_to_libzmq"]["ok"], false);
        assert_eq!(report.ratios["round_trip_p50_batching_apps_to_libzmq"]["ok"], true);
    }
}
