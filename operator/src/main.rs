//! The program `pinnace-operator`: arguments, logs, runtime; everything else is in the library.

use clap::Parser as _;
use operator::{args::Args, run};
use runtime::{shutdown, shutdown::Shutdown, telemetry};
use std::process::ExitCode;

fn main() -> ExitCode {
    match start(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pinnace-operator: {error:#}");
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
        let running = run::run(args, shutdown.clone());
        tokio::pin!(running);
        tokio::select! {
            outcome = &mut running => return outcome,
            signal = shutdown::signalled() => tracing::info!(signal = signal?, "ending"),
        }
        shutdown.begin();
        running.await
    })
}
