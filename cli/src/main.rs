//! Starts `pinnace`: see the library of the same name.

use clap::Parser as _;
use pinnace::args::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    match pinnace::run::run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("pinnace: {error:#}");
            ExitCode::FAILURE
        }
    }
}
