//! `cargo xtask simulate`: the whole broker in one thread on a made-up disk and clock, over many seeds. The simulation
//! itself and its judge are in `broker/src/simulation.rs`; this builds it and tells it the seeds.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::tools;

/// Which seeds.
#[derive(Args)]
pub(crate) struct SimulateArgs {
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
    let test = ["test", "--release", "--package", "broker", "--lib", "--quiet", "--"];
    let mut cargo = tools::command("cargo", test);
    cargo.args(["simulation::given_seeds", "--exact", "--nocapture"]).current_dir(root);
    cargo.env("PINNACE_SIMULATE", format!("{}..{end}", args.first));
    if tools::visible(&mut cargo).is_err() {
        bail!("a seed failed, or the simulation could not be built: see above");
    }
    Ok(())
}
