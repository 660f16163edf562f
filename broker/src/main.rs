//! The program `pinnace-broker`: arguments, logs, runtime; everything else is in the library.

use std::process::ExitCode;

use broker::{args::Args, run};
use clap::Parser as _;
use runtime::{shutdown, shutdown::Shutdown, telemetry};

fn main() -> ExitCode {
    let args = Args::parse();
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pinnace-broker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args) -> anyhow::Result<()> {
    telemetry::init(&args.log)?;
    runtime::tls::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let shutdown = Shutdown::new();
        let signals = async {
            let signal = shutdown::signalled().await?;
            tracing::info!(signal, "ending");
            shutdown.begin();
            std::future::pending::<anyhow::Result<()>>().await
        };
        tokio::select! {
            outcome = run::run(args, shutdown.clone()) => Ok(outcome?),
            outcome = signals => outcome,
        }
    })
}
