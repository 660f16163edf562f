//! The local doors: gRPC and HTTP on one port and one Unix socket, ZMTP on sockets by Channel.
//!
//! A door translates and refuses; it decides nothing about delivery. All of them speak to the
//! same [`Channels`] and [`Topics`], and none of them keeps a message longer than it takes to
//! write it: what an app does not read stays with the publisher or with the broker.

mod grpc;
mod http;
mod publish;
mod push;
mod session;
mod socket;
#[cfg(test)]
mod testing;
mod zmtp;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use runtime::tasks::Tasks;

use crate::durable::Topics;
use crate::messaging::Channels;
use crate::metrics::Metrics;
use crate::view::ViewReceiver;

pub use push::{PushError, PushTarget};
pub use zmtp::{AppSocket, TcpDoor, ZmqFlagError};

/// What the doors work with. Clones share everything.
#[derive(Clone)]
pub struct Doors {
    pub channels: Channels,
    pub topics: Topics,
    pub view: ViewReceiver,
    /// The app's own namespace: what a name without a namespace means.
    pub namespace: Arc<str>,
    pub metrics: Metrics,
    pub tasks: Tasks,
}

/// Where the doors are.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// gRPC and HTTP; port 0 = a free one.
    pub listen: Option<SocketAddr>,
    /// gRPC and HTTP.
    pub socket: Option<PathBuf>,
    /// The folder of the ZMTP sockets; made when it is missing.
    pub zmq_dir: Option<PathBuf>,
    /// ZMTP doors on TCP besides.
    pub zmq_listen: Vec<TcpDoor>,
    /// Sockets of the app that bind, for us to connect to.
    pub zmq_connect: Vec<AppSocket>,
    /// What is POSTed to the app.
    pub push: Vec<PushTarget>,
}

/// Where the doors really are.
#[derive(Debug, Clone, Default)]
pub struct Opened {
    pub listen: Option<SocketAddr>,
    /// In the order of [`Settings::zmq_listen`].
    pub zmq_listen: Vec<SocketAddr>,
}

/// A door could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DoorError {
    #[error("failed to listen on {address}: is another program there? set {flag}")]
    Listen { address: String, flag: &'static str, source: std::io::Error },
}

/// Opens all doors; they are served by tasks until the shutdown begins.
///
/// # Errors
/// When an address or a path cannot be had.
pub async fn open(doors: Doors, settings: Settings) -> Result<Opened, DoorError> {
    let service = http::service(doors.clone());
    let limit = socket::ConnectionLimit::default();
    let mut opened = Opened::default();
    if let Some(address) = settings.listen {
        let listener = socket::tcp(address, "--app-listen").await?;
        opened.listen = listener.local_addr().ok();
        let server = socket::Server::new(service.clone(), limit.clone(), doors.tasks.clone());
        doors.tasks.spawn_until_shutdown("app door", server.accept_tcp(listener));
    }
    if let Some(path) = &settings.socket {
        let listener = socket::unix(path, "--app-socket")?;
        let server = socket::Server::new(service, limit, doors.tasks.clone());
        doors.tasks.spawn_until_shutdown("app socket", server.accept_unix(listener));
    }
    opened.zmq_listen = zmtp::open(&doors, settings.zmq_dir, settings.zmq_listen).await?;
    zmtp::connect(&doors, settings.zmq_connect);
    push::start(&doors, settings.push);
    Ok(opened)
}

#[cfg(test)]
mod tests;
