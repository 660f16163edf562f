//! The HTTPS listener of the webhooks: accepts, shakes hands with the certificate of the moment,
//! hands the connection to HTTP. Knows nothing about what is asked.
//!
//! Everything is bounded: connections, the handshake, how long a request may take to arrive.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use runtime::tasks::{OnError, Tasks};
use runtime::tls::{ClientAuth, Credentials};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

/// The API server keeps a handful open; more is somebody else.
const CONNECTIONS_MAX: usize = 256;
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// After a failed accept (out of descriptors), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The port could not be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "failed to open the webhook listener on {address}: is the port taken? choose another with --webhook-listen"
)]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Opens `address` (port 0 = any), serves until the shutdown begins, and returns the real address.
///
/// # Errors
/// When the port cannot be opened.
pub(super) async fn serve(
    address: SocketAddr,
    credentials: Credentials,
    app: Router,
    tasks: &Tasks,
) -> Result<SocketAddr, ListenError> {
    let failed = |source| ListenError { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    let door =
        Door { credentials, app, tasks: tasks.clone(), places: Arc::new(Semaphore::new(CONNECTIONS_MAX)) };
    drop(tasks.spawn_until_shutdown("webhook listener", door.accept(listener)));
    Ok(local)
}

struct Door {
    credentials: Credentials,
    app: Router,
    tasks: Tasks,
    places: Arc<Semaphore>,
}

impl Door {
    async fn accept(self, listener: TcpListener) {
        loop {
            // The semaphore is never closed, so this only waits.
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((socket, peer)) => self.start(socket, peer, place),
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a webhook connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn start(&self, socket: TcpStream, peer: SocketAddr, place: OwnedSemaphorePermit) {
        let (credentials, app, shutdown) =
            (self.credentials.clone(), self.app.clone(), self.tasks.shutdown().clone());
        drop(self.tasks.spawn("webhook connection", OnError::Log, async move {
            let _place = place;
            if let Some(Err(problem)) = shutdown.or(serve_connection(socket, &credentials, app)).await {
                // A port scan is no reason to write a warning.
                tracing::debug!(%peer, problem, "webhook connection ended");
            }
            Ok::<_, std::convert::Infallible>(())
        }));
    }
}

async fn serve_connection(socket: TcpStream, credentials: &Credentials, app: Router) -> Result<(), String> {
    let config = credentials
        .server_config(ClientAuth::None, &[b"h2", b"http/1.1"])
        .map_err(|error| error.to_string())?;
    let handshake = TlsAcceptor::from(config).accept(socket);
    let stream = tokio::time::timeout(HANDSHAKE_DEADLINE, handshake)
        .await
        .map_err(|_| "the TLS handshake took too long".to_owned())?
        .map_err(|error| error.to_string())?;
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_DEADLINE);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(Some(Duration::from_secs(30)));
    builder
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app))
        .await
        .map_err(|error| error.to_string())
}
