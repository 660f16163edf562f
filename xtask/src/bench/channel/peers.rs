//! What stands between the apps of the peers, for as long as the benchmark runs.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::programs::Programs;
use crate::process::Process;
use crate::wait;

const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Peers {
    pub(super) nats: Process,
    pub(super) nats_address: String,
}

impl Peers {
    /// Starts them and waits until they listen.
    pub(super) fn start(programs: &Programs, folder: &Path) -> Result<Self> {
        let address = free_address()?;
        let mut command = Command::new(&programs.nats);
        command.args(["--addr", "127.0.0.1", "--port", &address.port().to_string()]);
        let mut nats = Process::start("nats-server", command, folder)?;
        listens(&mut nats, address)?;
        Ok(Self { nats, nats_address: address.to_string() })
    }

    /// Ends them in order.
    pub(super) fn end(self) -> Result<()> {
        self.nats.end_somehow()
    }
}

fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot find a free port")?;
    Ok(listener.local_addr()?)
}

fn listens(process: &mut Process, address: SocketAddr) -> Result<()> {
    wait::until("a peer to listen", PATIENCE, || {
        process.runs()?;
        Ok(TcpStream::connect(address).ok().map(drop))
    })
}
