//! The one door for automation: parses the command line, starts the command, turns its error
//! into one line and an exit code. Every command lives in a module of its own.

mod bench;
mod cache;
mod ci;
mod cluster;
mod conformance;
mod crash;
mod deny;
mod e2e;
mod fuzz;
mod generate;
mod images;
mod link;
mod maven;
mod process;
mod python;
mod simulate;
mod soak;
mod steps;
mod tidy;
mod tools;
mod wait;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

/// Automation for this repository.
#[derive(Parser)]
enum Command {
    /// The quick loop: format, house rules, lints, unit tests.
    Check,
    /// Measures ourselves and the named peers in one run.
    Bench(bench::BenchArgs),
    /// Messages without end through two sidecars: nothing lost, nothing grows.
    Soak(soak::SoakArgs),
    /// Everything that CI runs; ends in one line of counts.
    Ci(ci::CiArgs),
    /// The house rules that no compiler checks.
    Tidy,
    /// Writes, or compares, everything checked in that is made from something else.
    Generate(generate::GenerateArgs),
    /// A real Kubernetes on this machine, for the tests.
    Cluster(cluster::ClusterArgs),
    /// Other people's clients and test suites against our programs.
    Conformance(conformance::ConformanceArgs),
    /// Hostile bytes for every decoder.
    Fuzz(fuzz::FuzzArgs),
    /// Kills the broker under load, again and again, and checks what it promised.
    Crash(crash::CrashArgs),
    /// Proves the promises on a real cluster.
    E2e(e2e::E2eArgs),
    /// Runs the broker on a simulated disk, or sidecars over a simulated network, over many seeds.
    Simulate(simulate::SimulateArgs),
    /// The container images, as OCI archives, without a container engine.
    Images(images::ImagesArgs),
}

fn main() -> ExitCode {
    let root = root();
    let done = |outcome: anyhow::Result<()>| outcome.map(|()| ExitCode::SUCCESS);
    let outcome = match Command::parse() {
        Command::Check => done(ci::check(&root)),
        Command::Bench(args) => done(bench::run(&root, &args)),
        Command::Soak(args) => done(soak::run(&root, &args)),
        Command::Ci(args) => done(ci::ci(&root, &args)),
        Command::Tidy => done(tidy::run(&root)),
        Command::Generate(args) => done(generate::run(&root, &args)),
        Command::Cluster(args) => cluster::run(args),
        Command::Conformance(args) => done(conformance::run(&root, &args)),
        Command::Fuzz(args) => done(fuzz::run(&root, &args)),
        Command::Crash(args) => done(crash::run(&root, &args)),
        Command::E2e(args) => e2e::run(&args),
        Command::Simulate(args) => done(simulate::run(&root, &args)),
        Command::Images(args) => done(images::run(&args)),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        cluster::exit_code(&error)
    })
}

/// The checkout that this xtask belongs to.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}
