//! Accepts peers: TLS 1.3 with a certificate of the mesh's authority, then the session. Nobody without one gets further.

use super::ALPN;
use super::accepted::Accepted;
use super::drive::{DriveError, Ended, drive};
use super::link::{Link, Parts};
use crate::delivery::Core;
use runtime::backoff::Backoff;
use runtime::shutdown::Shutdown;
use runtime::tls::{ClientAuth, Identity, ReadAhead};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Most connections of peers at once.
const CONNECTIONS_MAX: usize = 8192;
/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(5);

/// The port could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen for peers on {address}: is the port taken? choose another with --peer-listen")]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

/// The open port.
pub(crate) struct Listener {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Listener {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, ListenError> {
        let failed = |source| ListenError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Accepts until the shutdown begins.
    pub(crate) async fn run(self, core: Arc<Core>, accepted: Arc<Accepted>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    backoff.reset();
                    let connection = serve(stream, from, Arc::clone(&core), Arc::clone(&accepted));
                    core.connections().spawn("peer accepted", runtime::tasks::OnError::Log, async move {
                        connection.await;
                        drop(place);
                        Ok::<_, std::convert::Infallible>(())
                    });
                }
                // Out of descriptors, for example: others must end first.
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a peer");
                    tokio::time::sleep(backoff.next_pause()).await;
                }
            }
        }
    }
}

/// Why a caller did not become a peer.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("the TLS handshake failed: {0}")]
    Tls(#[from] std::io::Error),
    #[error("the TLS handshake took longer than {HANDSHAKE_MAX:?}")]
    Slow,
    #[error(transparent)]
    Credentials(#[from] runtime::tls::TlsError),
    #[error("the caller's certificate is not one of a sidecar: {0}")]
    Identity(#[from] runtime::tls::IdentityError),
}

async fn serve(stream: TcpStream, from: SocketAddr, core: Arc<Core>, accepted: Arc<Accepted>) {
    let (stream, identity) = match handshake(stream, &core).await {
        Ok(done) => done,
        Err(error) => {
            tracing::info!(%from, %error, "caller on the peer port refused");
            return;
        }
    };
    let identity: Arc<str> = Arc::from(identity.to_string());
    match carry(stream, Arc::clone(&identity), core, accepted).await {
        Ok(ended) => tracing::debug!(%from, %identity, ?ended, "peer connection ended"),
        Err(error @ DriveError::Link(super::link::LinkError::Protocol(_))) => {
            tracing::warn!(%from, %identity, %error, "peer connection cut");
        }
        Err(error) => tracing::debug!(%from, %identity, %error, "peer connection ended"),
    }
}

/// Carries a connection of a caller that has proved to be `identity`.
pub(super) async fn carry<S>(
    stream: S,
    identity: Arc<str>,
    core: Arc<Core>,
    accepted: Arc<Accepted>,
) -> Result<Ended, DriveError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connections = core.metrics().peer_connections.with_label_values(&["accepted"]);
    connections.inc();
    let (sender, wanted) = watch::channel(Arc::default());
    let link = Link::new(Parts {
        core,
        identity,
        expected: None,
        wanted,
        replaced: Shutdown::new(),
        accepted: Some((accepted, sender)),
    });
    let outcome = drive(stream, link).await;
    connections.dec();
    outcome
}

async fn handshake(
    stream: TcpStream,
    core: &Core,
) -> Result<(tokio_rustls::server::TlsStream<ReadAhead<TcpStream>>, Identity), HandshakeError> {
    stream.set_nodelay(true)?;
    let config = core.credentials().server_config(ClientAuth::Required, &[ALPN])?;
    let accepting = tokio_rustls::TlsAcceptor::from(config).accept(ReadAhead::new(stream));
    let stream = tokio::time::timeout(HANDSHAKE_MAX, accepting).await.map_err(|_| HandshakeError::Slow)??;
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let leaf = certificates.first().ok_or(runtime::tls::IdentityError::Missing)?;
    let identity = Identity::from_certificate(leaf)?;
    Ok((stream, identity))
}
