//! ZeroMQ sockets of the app that bind: we connect to them, again and again for as long as the
//! sidecar runs. Once connected, all is as with a socket that connected to us.
//!
//! Only while the view lets the app use the Channel: a bound socket that we connected to in order
//! to refuse it would be told so without end.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use runtime::backoff::Backoff;
use runtime::clock;
use runtime::shutdown::Shutdown;
use runtime::tasks::OnError;
use tokio::net::{TcpStream, UnixStream};

use super::endpoint::Endpoint;
use super::flags::{AppAddress, AppSocket};
use crate::app::Doors;

/// Pauses between two tries: the app may not have started yet, or starts again.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a connect on loopback may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
/// A connection that lived so long was a success: the next pause is a first one again.
const HEALTHY_AFTER: Duration = Duration::from_secs(1);

/// Starts a task for each socket; it ends with the doors.
pub(in crate::app) fn connect(doors: &Doors, sockets: Vec<AppSocket>) {
    for socket in sockets {
        let endpoint = Endpoint::new(socket.endpoint(&doors.namespace), doors.clone());
        let dial = Dial {
            endpoint: Arc::new(endpoint),
            address: socket.address,
            ended: doors.tasks.shutdown().child(),
        };
        drop(doors.tasks.spawn("zmtp connect", OnError::Log, async move {
            dial.run().await;
            Ok::<(), Infallible>(())
        }));
    }
}

struct Dial {
    endpoint: Arc<Endpoint>,
    address: AppAddress,
    ended: Shutdown,
}

impl Dial {
    async fn run(self) {
        let mut pauses = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
        while self.ended.or(self.admitted()).await.is_some() {
            let began = clock::now();
            if let Err(error) = self.once().await
                && pauses.tries() == 0
            {
                // Once for each time that it went away: an app that is not there yet is no fault.
                let address = &self.address;
                tracing::info!(%error, %address, endpoint = %self.endpoint.name(), "the app's socket is not there; trying again");
            }
            if clock::now().saturating_duration_since(began) >= HEALTHY_AFTER {
                pauses.reset();
            }
            self.ended.or(tokio::time::sleep(pauses.next_pause())).await;
        }
    }

    /// Waits until the view lets the app use the Channel in this role.
    async fn admitted(&self) {
        let mut view = self.endpoint.doors().view.clone();
        loop {
            let is_known = view.borrow_and_update().is_known();
            match self.endpoint.admit() {
                Ok(_) => return,
                Err(reason) if is_known => self.endpoint.refused("refused", &reason),
                Err(_) => {}
            }
            if view.changed().await.is_err() {
                // Nobody sends views any more: the sidecar is about to end.
                return std::future::pending().await;
            }
        }
    }

    /// One connection from its beginning to its end.
    async fn once(&self) -> io::Result<()> {
        let ended = self.ended.clone();
        match &self.address {
            AppAddress::Tcp(address) => {
                let Some(stream) = self.in_time(TcpStream::connect(address)).await? else { return Ok(()) };
                if stream.local_addr()? == *address {
                    // The kernel gave us the very port that nobody listens on, and joined us to ourselves.
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                stream.set_nodelay(true)?;
                self.endpoint.serve(stream, ended).await
            }
            AppAddress::Ipc(path) => {
                let Some(stream) = self.in_time(UnixStream::connect(path)).await? else { return Ok(()) };
                self.endpoint.serve(stream, ended).await
            }
        }
    }

    /// `None` = the end has begun.
    async fn in_time<S>(&self, connect: impl Future<Output = io::Result<S>>) -> io::Result<Option<S>> {
        let connect = tokio::time::timeout(CONNECT_DEADLINE, connect);
        match self.ended.or(connect).await {
            None => Ok(None),
            Some(Ok(connected)) => connected.map(Some),
            Some(Err(_)) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}
