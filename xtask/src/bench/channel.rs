//! A Channel between two apps, each with a sidecar, TLS between the two, against libzmq without any sidecar, against
//! NATS and against two relays of gRPC: all in one run, case by case, each case on one way after the other.
//!
//! The sidecars are those of local mode: one `pinnace up`, and a `pinnace run` for each app. The apps are the
//! load generators in `benches`. It counts what arrives; what is lost is reported, never left out. A case that
//! cannot be finished is told as a figure and fails its goals; the others go on.

mod apps;
mod cases;
mod goals;
mod local;
mod peers;
mod programs;
mod way;
mod work;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use self::apps::Apps;
use self::cases::Case;
use self::peers::{PeerPrograms, Peers};
use super::{BenchArgs, Part, Report};
use crate::cache::{Cache, remove_folder};
use crate::wait::Stopwatch;

pub(crate) use self::apps::value;
pub(crate) use self::local::Local;
pub(crate) use self::programs::{GivenPrograms, Programs};

/// Measures what is wanted.
pub(super) fn measure(root: &Path, cache: &Cache, args: &BenchArgs) -> Result<Report> {
    let programs = Programs::prepare(root, cache, &args.programs)?;
    let folder = std::env::temp_dir().join(format!("pinnace-bench-channel-{}", std::process::id()));
    remove_folder(&folder)?;
    let local = Local::start(&programs, &folder.join("local"))?;
    let peer_programs = PeerPrograms::prepare(root, cache, args.grpc_load.as_deref())?;
    let peers = Peers::start(peer_programs, &folder)?;
    let rounds = args.rounds();
    let mut report = Report::default();
    describe(&programs, rounds, &mut report);
    let is_wanted = |part: Part| args.parts.is_empty() || args.parts.contains(&part);
    let cases: Vec<Case> = cases::all(args.quick).into_iter().filter(|case| is_wanted(case.part)).collect();
    let mut apps = Apps::new(programs, local, peers, folder.clone());
    let (values, failures) = take(&mut apps, &cases, rounds);
    apps.end()?;
    if failures.is_empty() {
        remove_folder(&folder)?;
    } else {
        println!("what the programs printed is in {}", folder.display());
    }
    report.figure("failed_cases", failures);
    summarise(&values, &cases, &mut report);
    goals::judge(&mut report, is_wanted);
    Ok(report)
}

fn describe(programs: &Programs, rounds: usize, report: &mut Report) {
    let nats = super::nats::VERSION;
    report.figure("peer_libzmq", format!("libzmq {}, over TCP loopback", programs.libzmq_version));
    report.figure("peer_nats", format!("nats-server {nats}, its defaults, core publish and subscribe"));
    report.figure(
        "peer_dapr",
        "not measured: go install refuses daprd 1.18.1, since its go.mod replaces modules, and a build of its source \
         had not ended after 20 minutes beside other work on two cores",
    );
    report.figure("client_libzmq", "a message a call, defaults and ZMQ_XPUB_NODROP, 1 frame up to 64 KiB");
    report.figure("client_batching", "ZMTP, and the text protocol of NATS, in writes of at most 64 KiB");
    report.figure("peer_tonic_relays", "two relays of tonic 0.14, streams of batches, no TLS, no credit");
    report.figure(
        "client_grpc",
        "PublishStream with at most 64 KiB a request and 48 on their way, and Subscribe",
    );
    report.figure("client_http", "a POST for each message, pipelined, and a subscription as JSON in lines");
    report.figure("rounds", rounds);
}

/// Of each figure, what each round gave.
type Values = BTreeMap<String, Vec<f64>>;

/// Goes through all cases, round by round. A failure is told and the others go on.
fn take(apps: &mut Apps, cases: &[Case], rounds: usize) -> (Values, Vec<String>) {
    let (mut values, mut failures) = (Values::new(), Vec::new());
    for round in 1..=rounds {
        for case in cases.iter().filter(|case| round == 1 || !case.once) {
            let name = format!("{}_{}", case.way.name(), case.name);
            let clock = Stopwatch::start();
            let outcome = work::measure(apps, case);
            println!("round {round} of {rounds}: {name}, {:.1} s", clock.elapsed().as_secs_f64());
            match outcome {
                Ok(figures) => {
                    for (figure, value) in figures {
                        values.entry(format!("{name}_{figure}")).or_default().push(value);
                    }
                }
                Err(error) => {
                    println!("{name} failed: {error:#}");
                    failures.push(format!("{name} in round {round}: {error:#}"));
                }
            }
        }
    }
    (values, failures)
}

/// Sums of what is lost, medians of all else, with the least and the most beside what goals are about.
fn summarise(values: &Values, cases: &[Case], report: &mut Report) {
    for (figure, values) in values {
        if goals::is_sum(figure) {
            report.figure(figure.as_str(), values.iter().sum::<f64>());
        } else if figure.ends_with("messages_per_second") || figure.contains("_p50_") {
            report.spread(figure.as_str(), values.clone());
        } else {
            report.figure(figure.as_str(), super::broker::median(values.clone()));
        }
    }
    for (way, case) in cases.iter().map(|case| (case.way.name(), case)) {
        if report.figures.contains_key(&format!("{way}_{}_lost_messages", case.name)) {
            report.figure(format!("{way}_{}_messages", case.name), case.count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: rates are medians with their spread, losses are sums.
    #[test]
    fn rounds_become_figures() {
        let mut values = Values::new();
        values.insert("nats_100_bytes_messages_per_second".to_owned(), vec![1.0, 4.0, 2.0]);
        values.insert("nats_100_bytes_lost_messages".to_owned(), vec![1.0, 0.0, 2.0]);
        let mut report = Report::default();
        summarise(&values, &cases::all(false), &mut report);
        assert_eq!(report.figures["nats_100_bytes_messages_per_second"], 2.0);
        assert_eq!(report.figures["nats_100_bytes_messages_per_second_most"], 4.0);
        assert_eq!(report.figures["nats_100_bytes_lost_messages"], 3.0);
        assert_eq!(report.figures["nats_100_bytes_messages"], 5_000_000);
    }
}
