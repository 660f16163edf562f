//! The one door for automation: parses the command line, starts the command, turns its error
//! into one line and an exit code. Every command lives in a module of its own.

mod cache;
mod cluster;
mod images;
mod tools;
mod wait;

use std::process::ExitCode;

use clap::Parser;

/// Automation for this repository.
#[derive(Parser)]
enum Command {
    /// A real Kubernetes on this machine, for the tests.
    Cluster(cluster::ClusterArgs),
    /// The container images, as OCI archives, without a container engine.
    Images(images::ImagesArgs),
}

fn main() -> ExitCode {
    let outcome = match Command::parse() {
        Command::Cluster(args) => cluster::run(args),
        Command::Images(args) => images::run(&args).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        cluster::exit_code(&error)
    })
}
