//! `cargo xtask simulate`: the whole broker in one thread on a made-up disk and clock, several sidecars over a made-up
//! network, or the operator's controllers against a made-up API server, over many seeds. The simulations and their judges are
//! in `broker/src/simulation.rs`, `sidecar/src/peer/simulation.rs` and `operator/src/simulation.rs`; this builds them and
//! tells them the seeds.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::tools;

/// What is simulated.
#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// The broker, on a disk.
    Broker,
    /// Sidecars, over a network.
    Peers,
    /// The operator's controllers, against an API server and brokers.
    Operator,
}

/// Which seeds.
#[derive(Args)]
pub(crate) struct SimulateArgs {
    /// What.
    #[arg(default_value = "broker")]
    part: Part,
    /// How many.
    #[arg(long, default_value_t = 300)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    first: u64,
}

/// Runs them; a seed that fails is named, with the command that repeats it.
pub(crate) fn run(root: &Path, args: &SimulateArgs) -> Result<()> {
    let end = args.first.checked_add(args.seeds).context("there are not so many seeds")?;
    let (package, test) = match args.part {
        Part::Broker => ("broker", "simulation::given_seeds"),
        Part::Peers => ("sidecar", "peer::simulation::given_seeds"),
        Part::Operator => ("operator", "simulation::given_seeds"),
    };
    let mut cargo =
        tools::command("cargo", ["test", "--release", "--package", package, "--lib", "--quiet", "--"]);
    cargo.args([test, "--exact", "--nocapture"]).current_dir(root);
    cargo.env("PINNACE_SIMULATE", format!("{}..{end}", args.first));
    if tools::visible(&mut cargo).is_err() {
        bail!("a seed failed, or the simulation could not be built: see above");
    }
    Ok(())
}
