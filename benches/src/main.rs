//! `grpc-load`: an app, or a relay, of `cargo xtask bench channel` that speaks gRPC. What it is told and what it prints
//! is what the load generator in `benches/channel` is told and prints.

mod args;
mod connect;
mod cost;
mod flow;
mod head;
mod inlet;
mod marks;
mod outlet;
mod pace;
mod relay;
mod times;
mod trip;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match args::Args::parse().options().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("grpc-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &args::Options) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let life = options.life;
    let work = async { tokio::time::timeout(life, flow::run(options)).await };
    runtime.block_on(work).map_err(|_| anyhow::anyhow!("it took longer than {} s", life.as_secs()))?
}
