//! Starts what the arguments ask for, on a runtime that fits it, and ends it on SIGTERM or Ctrl-C.

use crate::args::{Cli, Command};
use crate::{certificates, local, tools};
use runtime::shutdown::{Shutdown, signalled};
use std::process::ExitCode;

/// Threads for data of the Embedded engine, as in its own program.
const BROKER_THREADS: usize = 2;

/// Runs one command to its end.
///
/// # Errors
/// What failed and what to do next.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    runtime::tls::install_provider();
    let log = match &cli.command {
        Command::Up(args) => Some(args.log()),
        Command::Broker(args) => Some(args.log.clone()),
        Command::Sidecar(args) => Some(args.log.clone()),
        _ => None,
    };
    if let Some(log) = &log {
        runtime::telemetry::init(log)?;
    }
    let mut builder = match &cli.command {
        Command::Reaper => {
            local::run_reaper();
            return Ok(ExitCode::SUCCESS);
        }
        Command::Broker(_) => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(BROKER_THREADS);
            builder
        }
        // One thread: `up` mostly waits for its children, a sidecar has one for data.
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = builder.enable_all().build()?;
    let outcome = runtime.block_on(async {
        let shutdown = Shutdown::new();
        let ending = shutdown.clone();
        let signals = async move {
            let signal = signalled().await?;
            tracing::debug!(signal, "ending");
            ending.begin();
            std::future::pending::<std::io::Result<ExitCode>>().await
        };
        tokio::select! {
            outcome = start(cli.command, shutdown) => outcome,
            failed = signals => Ok(failed?),
        }
    });
    // A thread that waits for standard input must not keep the process.
    runtime.shutdown_background();
    outcome
}

async fn start(command: Command, shutdown: Shutdown) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(args) => local::up(args, shutdown).await?,
        Command::Broker(args) => broker::run::run(args, shutdown).await?,
        Command::Sidecar(args) => sidecar::run::run(*args, shutdown).await?,
        Command::Run(args) => return local::run_as(args, shutdown).await,
        Command::Publish(args) => tools::publish(args, shutdown).await?,
        Command::Subscribe(args) => tools::subscribe(args, shutdown).await?,
        Command::Request(args) => tools::request(&args)?,
        Command::Certificates(args) => return certificates::certificates(&args).await,
        Command::Reaper => local::run_reaper(),
    }
    Ok(ExitCode::SUCCESS)
}
