//! Keeps one connection to one publisher's sidecar for as long as it is wanted.

use super::ALPN;
use super::drive::{DriveError, Ended, drive};
use super::link::{Link, Parts, Wanted};
use crate::delivery::Core;
use crate::view::PeerView;
use runtime::backoff::Backoff;
use runtime::shutdown::Shutdown;
use runtime::tls::{Expect, Identity};
use rustls_pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// The first pause before dialling again, and the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long connecting and the handshake may take.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// A connection that stood for this long makes the next pause short again.
const STOOD_MIN: Duration = Duration::from_secs(1);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("failed to connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("connecting took longer than {CONNECT_MAX:?}")]
    Slow,
    #[error(transparent)]
    Credentials(#[from] runtime::tls::TlsError),
    #[error("the view names a peer wrongly: {0}")]
    Identity(#[from] runtime::tls::IdentityError),
}

/// Dials, carries, dials again, until nothing is wanted.
pub(super) async fn run(
    core: Arc<Core>,
    peer: PeerView,
    wanted: watch::Receiver<Wanted>,
    replaced: Shutdown,
) {
    let mut backoff = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
    loop {
        let since = core.now();
        match once(&core, &peer, wanted.clone(), &replaced).await {
            Ok(Ok(Ended::Unneeded)) if wanted.borrow().is_empty() => return,
            Ok(Ok(Ended::Replaced)) => return,
            Ok(Ok(ended)) => tracing::debug!(peer = %peer.sidecar, ?ended, "peer connection ended"),
            Ok(Err(error)) => tracing::info!(peer = %peer.sidecar, %error, "peer connection ended"),
            Err(error) => {
                tracing::info!(peer = %peer.sidecar, address = %peer.address, %error, "peer not reached");
            }
        }
        if core.draining().has_begun()
            || replaced.has_begun()
            || (wanted.borrow().is_empty() && wanted.has_changed().is_err())
        {
            return;
        }
        if core.now().saturating_sub(since) >= STOOD_MIN {
            backoff.reset();
        }
        replaced.or(tokio::time::sleep(backoff.next_pause())).await;
        if wanted.borrow().is_empty() || replaced.has_begun() {
            return;
        }
    }
}

async fn once(
    core: &Arc<Core>,
    peer: &PeerView,
    wanted: watch::Receiver<Wanted>,
    replaced: &Shutdown,
) -> Result<Result<Ended, DriveError>, DialError> {
    let stream =
        tokio::time::timeout(CONNECT_MAX, connect(core, peer)).await.map_err(|_| DialError::Slow)??;
    let connections = core.metrics().peer_connections.with_label_values(&["dialled"]);
    connections.inc();
    let link = Link::new(Parts {
        core: Arc::clone(core),
        identity: Arc::clone(&peer.identity),
        expected: Some(Arc::clone(&peer.sidecar)),
        wanted,
        replaced: replaced.clone(),
        accepted: None,
    });
    let outcome = drive(stream, link).await;
    connections.dec();
    Ok(outcome)
}

async fn connect(
    core: &Core,
    peer: &PeerView,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, DialError> {
    let identity: Identity = peer.identity.parse()?;
    let config = core.credentials().client_config(Expect::Identity(identity), &[ALPN])?;
    let stream = TcpStream::connect(&*peer.address).await?;
    stream.set_nodelay(true)?;
    let address = stream.peer_addr()?.ip();
    // The verifier asks for the identity; the name is only what TLS wants to have.
    let name = ServerName::IpAddress(address.into());
    Ok(tokio_rustls::TlsConnector::from(config).connect(name, stream).await?)
}
