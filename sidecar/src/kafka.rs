//! The Kafka door: unmodified Kafka clients on loopback, carried to the Broker of the view over mTLS.
//!
//! Frames go through as they are. Looked into are only the answers that name addresses (see `rewrite`): a
//! client must come back through this door, never dial a broker itself. What the door does not do: decode
//! messages, cache answers, or decide who may do what (the broker does, by our certificate).

mod flight;
mod listen;
mod nodes;
mod relay;
mod rewrite;
mod scan;
mod upstream;

#[cfg(test)]
mod tests;

use crate::metrics::Metrics;
use crate::view::ViewReceiver;
use runtime::tasks::Tasks;
use runtime::tls::Credentials;
use std::net::SocketAddr;
use std::time::Duration;

pub use listen::KafkaDoor;

/// What may be set from outside.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where clients connect: loopback, port 0 for any free one.
    pub listen: SocketAddr,
    /// Connections of clients at a time, over all nodes.
    pub connections_max: usize,
    /// Time for reaching a broker, TLS handshake included.
    pub dial_deadline: Duration,
    /// Time that answers on their way have when the door closes.
    pub drain_deadline: Duration,
}

impl Options {
    /// The usual limits.
    #[must_use]
    pub const fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            connections_max: 512,
            dial_deadline: Duration::from_secs(10),
            drain_deadline: Duration::from_secs(5),
        }
    }
}

/// What the door works with.
#[derive(Clone, Debug)]
pub struct Context {
    /// Names the Broker.
    pub view: ViewReceiver,
    /// Our certificate.
    pub credentials: Credentials,
    /// Starts the tasks of connections.
    pub tasks: Tasks,
    /// Where connections and refusals are counted.
    pub metrics: Metrics,
}
