//! Accepts TLS connections for the gRPC server, a bounded number at once, and says who called.

use crate::serve::Settings;
use control::Identity;
use runtime::tasks::{OnError, Tasks};
use runtime::tls::{ClientAuth, Credentials};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// How long to wait after a failed accept, which means that files or memory ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Handshakes that are done and wait for the server.
const READY_CONNECTIONS_MAX: usize = 64;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Of its certificate, when it showed one that we signed.
    pub(crate) identity: Option<Identity>,
}

/// An accepted connection.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    caller: Caller,
    _permit: OwnedSemaphorePermit,
}

/// Accepts in a task until the shutdown.
pub(crate) fn accept(
    listener: TcpListener,
    credentials: Credentials,
    settings: &Settings,
    tasks: &Tasks,
) -> mpsc::Receiver<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(READY_CONNECTIONS_MAX);
    // One for the Follow of each sidecar, and as many again for those that certify or reconnect.
    let permits =
        Arc::new(Semaphore::new(settings.sidecars_max.saturating_mul(2).min(Semaphore::MAX_PERMITS)));
    let handshakes = tasks.clone();
    drop(tasks.spawn_until_shutdown("control accept", async move {
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, address)) => {
                    let (credentials, sender) = (credentials.clone(), sender.clone());
                    drop(handshakes.spawn("control handshake", OnError::Log, async move {
                        match handshake(stream, address, &credentials, permit).await {
                            Ok(connection) => drop(sender.send(Ok(connection)).await),
                            Err(error) => tracing::debug!(%address, %error, "handshake failed"),
                        }
                        Ok::<_, std::convert::Infallible>(())
                    }));
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }));
    receiver
}

async fn handshake(
    stream: TcpStream,
    address: SocketAddr,
    credentials: &Credentials,
    permit: OwnedSemaphorePermit,
) -> io::Result<Connection> {
    stream.set_nodelay(true)?;
    let config = credentials.server_config(ClientAuth::Optional, &[b"h2"]).map_err(io::Error::other)?;
    let accepting = TlsAcceptor::from(config).accept(stream);
    let stream = tokio::time::timeout(HANDSHAKE_DEADLINE, accepting).await??;
    let (_, session) = stream.get_ref();
    let identity = session.peer_certificates().and_then(|chain| chain.first()).and_then(|leaf| {
        match runtime::tls::Identity::from_certificate(leaf) {
            Ok(identity) => Some(Identity::new(identity.namespace, identity.service_account)),
            Err(error) => {
                tracing::warn!(%address, %error, "a caller's certificate names nobody");
                None
            }
        }
    });
    Ok(Connection { stream, caller: Caller { identity }, _permit: permit })
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
