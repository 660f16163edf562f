//! `fleet`: thousands of objects, and sidecars that are made up, for `cargo xtask bench operator`. It does what the
//! teams of a large cluster do, waits until the operator has done its part, and prints what it took as one JSON
//! object; what it is doing goes to standard error.

mod args;
mod census;
mod crowd;
mod figures;
mod machine;
mod meter;
mod objects;
mod run;
mod samples;
mod sidecars;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    runtime::tls::install_provider();
    let args = args::Args::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run::run(&args)));
    match outcome {
        Ok(figures) => {
            println!("{}", figures.into_json());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("fleet: {error:#}");
            ExitCode::FAILURE
        }
    }
}
