//! Starts the apps of a case, each as its way wants it, waits for their end, and gives what they printed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::local::Local;
use super::peers::Peers;
use super::programs::Programs;
use super::way::Way;
use crate::process::Process;

/// All that runs for as long as the benchmark does.
pub(super) struct Apps {
    programs: Programs,
    local: Local,
    peers: Peers,
    folder: PathBuf,
    cases: usize,
}

/// What an app is told.
pub(super) struct App {
    /// `publish`, `subscribe`, …
    pub(super) role: &'static str,
    /// The service account, where there is a sidecar.
    pub(super) identity: &'static str,
    pub(super) options: Vec<String>,
}

/// Where the apps of one case tell each other how far they are.
pub(super) struct Place {
    pub(super) folder: PathBuf,
    started: usize,
}

impl Apps {
    pub(super) const fn new(programs: Programs, local: Local, peers: Peers, folder: PathBuf) -> Self {
        Self { programs, local, peers, folder, cases: 0 }
    }

    /// A new folder for one case.
    pub(super) fn place(&mut self, way: Way) -> Result<Place> {
        self.cases += 1;
        let folder = self.folder.join(format!("{}-{}", self.cases, way.name()));
        std::fs::create_dir_all(&folder).context("cannot make the folder of a case")?;
        Ok(Place { folder, started: 0 })
    }

    /// What messages of this name meet at.
    pub(super) fn meet(&self, way: Way, name: &str, place: &Place) -> Result<String> {
        way.meet(name, &place.folder, &self.peers.addresses)
    }

    /// The processes between the apps that no app finds by itself.
    pub(super) fn beside(&self, way: Way) -> Vec<u32> {
        self.peers.processes(way)
    }

    /// Starts one app.
    pub(super) fn start(&self, way: Way, app: &App, place: &mut Place) -> Result<Process> {
        let program: &Path = if way.client() == "grpc" { &self.peers.grpc_load } else { &self.programs.load };
        let mut command =
            if way.has_sidecars() { self.local.run(app.identity, program) } else { Command::new(program) };
        command.args([app.role, way.client()]).args(&app.options);
        command.arg(format!("folder={}", place.folder.display()));
        place.started += 1;
        Process::start(&format!("{}-{}", app.role, place.started), command, &place.folder)
    }

    /// Ends in order what all cases used.
    pub(super) fn end(self) -> Result<()> {
        self.peers.end()?;
        self.local.end()
    }
}

/// The number behind a name that the load generator printed.
pub(crate) fn value(printed: &str, name: &str) -> Result<f64> {
    let number = printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let number = number.with_context(|| format!("the load generator printed no {name}"))?;
    number.trim().parse().with_context(|| format!("{name} is no number: {number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: numbers are found under their own name, and a missing or broken one is an error.
    #[test]
    fn numbers_are_read() {
        let printed = "received 20\nseconds 0.5\nlost x\n";
        assert!((value(printed, "seconds").unwrap() - 0.5).abs() < f64::EPSILON);
        assert!(value(printed, "second").is_err());
        assert!(value(printed, "lost").is_err());
    }
}
