//! What stands between the apps of the peers, for as long as the benchmark runs.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::programs::given_or_built;
use super::way::Way;
use crate::bench::nats;
use crate::cache::Cache;
use crate::process::{Process, free_address};
use crate::wait;

const PATIENCE: Duration = Duration::from_secs(30);

/// What is started.
pub(super) struct PeerPrograms {
    nats: PathBuf,
    /// An app or a relay that speaks gRPC.
    grpc_load: PathBuf,
}

impl PeerPrograms {
    /// Builds what is not there yet; `grpc-load` unless one is given.
    pub(super) fn prepare(root: &Path, cache: &Cache, grpc_load: Option<&Path>) -> Result<Self> {
        let grpc_load = given_or_built(root, "grpc-load", grpc_load)?;
        Ok(Self { nats: nats::install(cache)?, grpc_load })
    }
}

/// Where apps find the peers.
pub(super) struct Addresses {
    pub(super) nats: SocketAddr,
    /// Of each relay, the door for apps.
    pub(super) relays: [SocketAddr; 2],
}

pub(super) struct Peers {
    nats: Process,
    relays: [Process; 2],
    pub(super) addresses: Addresses,
    pub(super) grpc_load: PathBuf,
}

impl Peers {
    /// Starts them and waits until they listen.
    pub(super) fn start(programs: PeerPrograms, folder: &Path) -> Result<Self> {
        let nats_address = free_address()?;
        let mut command = Command::new(&programs.nats);
        command.args(["--addr", "127.0.0.1", "--port", &nats_address.port().to_string()]);
        let mut nats = Process::start("nats-server", command, folder)?;
        listens(&mut nats, nats_address)?;
        let (apps, doors) = ([free_address()?, free_address()?], [free_address()?, free_address()?]);
        let relay = |name: &str, own: usize, other: usize| {
            let mut command = Command::new(&programs.grpc_load);
            command.args(["relay", "grpc", "life=7200", &format!("app={}", apps[own])]);
            command.args([format!("listen={}", doors[own]), format!("peer={}", doors[other])]);
            Process::start(name, command, folder)
        };
        let mut relays = [relay("relay-1", 0, 1)?, relay("relay-2", 1, 0)?];
        for (process, address) in relays.iter_mut().zip(apps) {
            listens(process, address)?;
        }
        let addresses = Addresses { nats: nats_address, relays: apps };
        Ok(Self { nats, relays, addresses, grpc_load: programs.grpc_load })
    }

    /// The processes on this way that no app finds by itself.
    pub(super) fn processes(&self, way: Way) -> Vec<u32> {
        match way {
            Way::Nats => vec![self.nats.id()],
            Way::Relays => self.relays.iter().map(Process::id).collect(),
            _ => Vec::new(),
        }
    }

    /// Ends them in order.
    pub(super) fn end(self) -> Result<()> {
        let [first, second] = self.relays;
        // The second one may end by itself when the first one is gone.
        drop(second);
        drop(first);
        self.nats.end_somehow()
    }
}

fn listens(process: &mut Process, address: SocketAddr) -> Result<()> {
    wait::until("a peer to listen", PATIENCE, || {
        process.runs()?;
        Ok(TcpStream::connect(address).ok().map(drop))
    })
}
