//! How a connection to a peer is opened: over TCP, with TLS and the identity that the view names. A simulation has
//! another way, which is why it is a parameter: nothing else of a connection knows what is under it.

use super::ALPN;
use crate::delivery::Core;
use crate::view::PeerView;
use runtime::tls::{Expect, Identity, ReadAhead};
use rustls_pki_types::ServerName;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// How long connecting and the handshake may take.
pub(super) const CONNECT_MAX: Duration = Duration::from_secs(3);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("failed to connect: {0}")]
    Connect(#[from] std::io::Error),
    #[error("connecting took longer than {CONNECT_MAX:?}")]
    Slow,
    #[error(transparent)]
    Credentials(#[from] runtime::tls::TlsError),
    #[error("the view names a peer wrongly: {0}")]
    Identity(#[from] runtime::tls::IdentityError),
}

/// Opens connections. Whoever is at the other end has proved that it is the peer of the view.
pub(crate) trait Connect: Clone + Send + Sync + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn connect(
        &self,
        core: &Core,
        peer: &PeerView,
    ) -> impl Future<Output = Result<Self::Stream, DialError>> + Send;
}

/// The way of the real mesh.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tls;

impl Connect for Tls {
    type Stream = tokio_rustls::client::TlsStream<ReadAhead<TcpStream>>;

    async fn connect(&self, core: &Core, peer: &PeerView) -> Result<Self::Stream, DialError> {
        let identity: Identity = peer.identity.parse()?;
        let config = core.credentials().client_config(Expect::Identity(identity), &[ALPN])?;
        let stream = TcpStream::connect(&*peer.address).await?;
        stream.set_nodelay(true)?;
        let address = stream.peer_addr()?.ip();
        // The verifier asks for the identity; the name is only what TLS wants to have.
        let name = ServerName::IpAddress(address.into());
        Ok(tokio_rustls::TlsConnector::from(config).connect(name, ReadAhead::new(stream)).await?)
    }
}
