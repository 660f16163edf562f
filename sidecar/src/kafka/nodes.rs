//! Which local port stands for which node of the Broker.
//!
//! A lone node (the Embedded engine, always) is behind the door's own port. Each node of a cluster gets a
//! port of its own, since a client chooses the node it talks to by address.

use super::rewrite::Node;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;

/// Ports that the door opens at most for nodes.
const NODES_MAX: usize = 256;

/// Why a node cannot be offered to clients.
#[derive(Debug, thiserror::Error)]
pub(super) enum NodesError {
    #[error("the Broker names more than {NODES_MAX} nodes, the Kafka door carries {NODES_MAX}")]
    TooMany,
    #[error("failed to open a loopback port for a node of the Broker")]
    Bind(#[from] std::io::Error),
}

#[derive(Debug)]
pub(super) struct Nodes {
    /// The door itself.
    door: SocketAddr,
    known: Mutex<BTreeMap<i32, Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    /// Where the broker said it is.
    address: String,
    port: u16,
}

/// How much of the cluster an answer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named {
    /// Some nodes; there may be others.
    Some,
    /// All, and there is one.
    Lone,
    /// All, and there are several.
    All,
}

/// A port that was opened for a node.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) node: i32,
    pub(super) listener: TcpListener,
}

impl Nodes {
    pub(super) fn new(door: SocketAddr) -> Self {
        Self { door, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<i32, Known>> {
        // Nothing under the lock can panic half-way.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the nodes that an answer names; the caller serves the ports that had to be opened.
    pub(super) async fn learn(&self, nodes: &[Node], all: bool) -> Result<Vec<Opened>, NodesError> {
        let named = match nodes.len() {
            _ if !all => Named::Some,
            1 => Named::Lone,
            _ => Named::All,
        };
        let mut opened = Vec::new();
        for node in nodes {
            let address = address(&node.host, node.port);
            if self.keep(node.id, &address, named) {
                continue;
            }
            if self.known().len() >= NODES_MAX {
                return Err(NodesError::TooMany);
            }
            let listener = TcpListener::bind((self.door.ip(), 0)).await?;
            let port = listener.local_addr()?.port();
            let own_port = |known: &Known| known.port != self.door.port();
            let mut known = self.known();
            // Another connection may have been faster.
            if !known.get(&node.id).is_some_and(own_port) {
                known.insert(node.id, Known { address, port });
                opened.push(Opened { node: node.id, listener });
            }
        }
        Ok(opened)
    }

    /// Renews the address of a node that has a port it may keep; a lone node gets the door's.
    fn keep(&self, node: i32, address: &str, named: Named) -> bool {
        let door = self.door.port();
        let mut known = self.known();
        if named == Named::Lone {
            known.retain(|other, found| *other == node || found.port != door);
        }
        match known.get_mut(&node) {
            Some(found) if found.port != door || named != Named::All => {
                address.clone_into(&mut found.address);
                true
            }
            None if named == Named::Lone => {
                known.insert(node, Known { address: address.to_owned(), port: door });
                true
            }
            // The door leads to any node: one of several needs a port that leads to it alone.
            Some(_) | None => false,
        }
    }

    /// The local port of a node.
    pub(super) fn port(&self, node: i32) -> Option<u16> {
        self.known().get(&node).map(|known| known.port)
    }

    /// Where a node is.
    pub(super) fn address(&self, node: i32) -> Option<String> {
        self.known().get(&node).map(|known| known.address.clone())
    }

    /// Forgets where the nodes are: the door now leads to another Broker. Ports stay open for them.
    pub(super) fn forget(&self) {
        let mut known = self.known();
        known.retain(|_, node| node.port != self.door.port());
        known.values_mut().for_each(|node| node.address.clear());
    }
}

fn address(host: &str, port: i32) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
