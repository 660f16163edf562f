//! The ZMTP door: one socket for each Channel and each role an app may have with its pattern.
//!
//! PubSub: `ZMQ_DIR/NAME.pub` is for apps with a PUB (or XPUB) socket, `NAME.sub` for SUB (or XSUB).
//! Pipeline: `NAME.push` is for PUSH, `NAME.pull` for PULL. RequestReply: `NAME.req` and `NAME.dealer` are for who
//! asks, `NAME.rep` and `NAME.router` for who answers.
//! Channels of other namespaces are `NAME.NAMESPACE.ROLE`. Sockets come and go with the view.
//! Where the app's own socket binds, we connect to it instead: see `dial.rs`.
//!
//! **Frames and messages.** PubSub: the first frame is the subject, the others are the parts: a message
//! of one frame is a subject without parts, and goes out as that one frame again. Pipeline: all frames are
//! parts; a message without parts goes out as one empty frame, a subject is left out. RequestReply: the same behind
//! the envelope, which is all frames up to the first empty one. Key, headers and timestamp have no place in ZeroMQ and
//! are not sent to it.
//!
//! **Back-pressure.** Towards SUB and PULL, the credit of the subscription comes back as the app's socket
//! takes bytes; towards REP and ROUTER, with the replies. Towards PUB and PUSH, we stop reading while a publish waits;
//! towards REQ and DEALER, while too many requests wait. The app's own high-water mark then decides, as it would with
//! any slow ZeroMQ peer.

mod dial;
mod endpoint;
mod flags;
mod link;
mod publisher;
mod requester;
mod responder;
mod subscriber;
mod worker;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use runtime::shutdown::Shutdown;
use runtime::tasks::TaskGuard;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

use super::{DoorError, Doors, socket};
use endpoint::{Endpoint, EndpointName};

pub use flags::{AppSocket, TcpDoor, ZmqFlagError};

pub(super) use dial::connect;

/// Connections of ZeroMQ apps at a time, over all sockets.
const CONNECTIONS_MAX: usize = 1024;
/// After a failed accept (no descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Opens the TCP doors, and starts to follow the view with the sockets of `folder`.
pub(super) async fn open(
    doors: &Doors,
    folder: Option<PathBuf>,
    tcp_doors: Vec<TcpDoor>,
) -> Result<Vec<SocketAddr>, DoorError> {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut addresses = Vec::new();
    for door in tcp_doors {
        let listener = socket::tcp(door.address, "--zmq-listen").await?;
        addresses.extend(listener.local_addr());
        let endpoint = Arc::new(Endpoint::new(door.endpoint(&doors.namespace), doors.clone()));
        let accept =
            Accept { endpoint, connections: Arc::clone(&connections), ended: doors.tasks.shutdown().child() };
        doors.tasks.spawn_until_shutdown("zmtp tcp door", accept.tcp(listener));
    }
    if let Some(folder) = folder {
        std::fs::create_dir_all(&folder).map_err(|source| DoorError::Listen {
            address: folder.display().to_string(),
            flag: "--zmq-dir",
            source,
        })?;
        let follow = Follow { doors: doors.clone(), folder, connections, open: HashMap::new() };
        doors.tasks.spawn_until_shutdown("zmtp sockets", follow.run());
    }
    Ok(addresses)
}

/// Keeps the sockets of the folder as the view has the Channels.
struct Follow {
    doors: Doors,
    folder: PathBuf,
    connections: Arc<Semaphore>,
    /// `None` = could not be opened; tried again only after it left the view.
    open: HashMap<EndpointName, Option<Listening>>,
}

/// One socket that is there. Dropping it ends its connections and removes the file.
struct Listening {
    path: PathBuf,
    ended: Shutdown,
    _accepting: TaskGuard,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.ended.begin();
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "socket not removed");
        }
    }
}

impl Follow {
    async fn run(mut self) {
        let mut view = self.doors.view.clone();
        loop {
            let wanted = endpoint::wanted(&view.borrow_and_update());
            self.open.retain(|name, _| wanted.contains(name));
            for name in wanted {
                if !self.open.contains_key(&name) {
                    let listening = self.listen(&name);
                    self.open.insert(name, listening);
                }
            }
            if view.changed().await.is_err() {
                return;
            }
        }
    }

    fn listen(&self, name: &EndpointName) -> Option<Listening> {
        let path = self.folder.join(name.file_name(&self.doors.namespace));
        let listener = match socket::bind_unix(&path) {
            Ok(listener) => listener,
            Err(error) => {
                explain(&error, &path);
                return None;
            }
        };
        let ended = self.doors.tasks.shutdown().child();
        let endpoint = Arc::new(Endpoint::new(name.clone(), self.doors.clone()));
        let connections = Arc::clone(&self.connections);
        let accept = Accept { endpoint, connections, ended: ended.clone() };
        let accepting = self.doors.tasks.spawn_guarded("zmtp socket", accept.unix(listener));
        Some(Listening { path, ended, _accepting: accepting })
    }
}

fn explain(error: &std::io::Error, path: &Path) {
    tracing::error!(
        %error,
        path = %path.display(),
        "failed to open a ZMTP socket; a path has at most 107 bytes: use a shorter --zmq-dir or --zmq-listen"
    );
}

/// Accepts the connections of one endpoint.
struct Accept {
    endpoint: Arc<Endpoint>,
    connections: Arc<Semaphore>,
    ended: Shutdown,
}

impl Accept {
    async fn unix(self, listener: UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.serve(stream),
                Err(error) => accept_failed(&error).await,
            }
        }
    }

    async fn tcp(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // Without it a small batch waits for the peer's delayed ack.
                    drop(stream.set_nodelay(true));
                    self.serve(stream);
                }
                Err(error) => accept_failed(&error).await,
            }
        }
    }

    /// Past the limit, a connection is closed at once: a waiting one would look alive to its app.
    fn serve<S: link::Stream>(&self, stream: S) {
        let Ok(permit) = Arc::clone(&self.connections).try_acquire_owned() else {
            self.endpoint
                .refused("too_many_connections", &format!("more than {CONNECTIONS_MAX} connections"));
            return;
        };
        let endpoint = Arc::clone(&self.endpoint);
        let ended = self.ended.clone();
        self.endpoint.tasks().spawn("zmtp connection", runtime::tasks::OnError::Log, async move {
            let _permit = permit;
            let served = endpoint.serve(stream, ended).await;
            if let Err(error) = served {
                // An app that goes away in the middle is its own business.
                tracing::debug!(%error, endpoint = %endpoint.name(), "a ZeroMQ app's connection ended");
            }
            Ok::<(), std::convert::Infallible>(())
        });
    }
}

async fn accept_failed(error: &std::io::Error) {
    tracing::warn!(%error, "failed to accept a ZeroMQ app's connection");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

#[cfg(test)]
mod tests;
