//! Starts the sidecar: see the library of the same name.

use anyhow::Context as _;
use clap::Parser as _;
use runtime::shutdown::{self, Shutdown};
use sidecar::{args::Args, run};

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    runtime::telemetry::init(&args.log)?;
    run::install_provider();
    // One thread for data; admin has its own. Several sidecars on a node must not fight over cores.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let shutdown = Shutdown::new();
        let ending = shutdown.clone();
        let running = run::run(args, shutdown);
        let signals = async move {
            let signal = shutdown::signalled().await.context("failed to listen for signals")?;
            tracing::info!(signal, "ending");
            ending.begin();
            std::future::pending::<anyhow::Result<()>>().await
        };
        tokio::select! {
            outcome = running => Ok(outcome?),
            failed = signals => failed,
        }
    })
}
