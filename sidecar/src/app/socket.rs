//! Sockets of the gRPC and HTTP door: listening, the connection limit, and hyper's settings.
//! It knows nothing of what is served.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use http::Response;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use runtime::clock::{self, Instant};
use runtime::tasks::{OnError, Tasks};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use super::DoorError;

/// Connections of apps at a time, over all addresses of this door.
const CONNECTIONS_MAX: usize = 1024;
/// How long a client may take to say what it speaks, and to send the head of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 200;
const STREAMS_MAX: u32 = 256;
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const SEND_BUFFER_BYTES: usize = 256 * 1024;
/// After a failed accept (no descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A service for both kinds of request.
pub(super) type Service = axum::Router;

/// How many connections may stand. Clones share the count.
#[derive(Clone)]
pub(super) struct ConnectionLimit(Arc<Semaphore>);

impl Default for ConnectionLimit {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(CONNECTIONS_MAX)))
    }
}

pub(super) async fn tcp(address: SocketAddr, flag: &'static str) -> Result<TcpListener, DoorError> {
    TcpListener::bind(address).await.map_err(|source| DoorError::Listen {
        address: address.to_string(),
        flag,
        source,
    })
}

/// Listens on `path`, in place of a socket that an earlier process left there; every user of the
/// pod may connect, since app and sidecar run as different users.
pub(super) fn unix(path: &Path, flag: &'static str) -> Result<UnixListener, DoorError> {
    bind_unix(path).map_err(|source| DoorError::Listen { address: path.display().to_string(), flag, source })
}

pub(super) fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "a file that is no socket is there"));
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Serves the connections of one listener.
pub(super) struct Server {
    service: Service,
    limit: ConnectionLimit,
    tasks: Tasks,
}

impl Server {
    pub(super) fn new(service: Service, limit: ConnectionLimit, tasks: Tasks) -> Self {
        Self { service, limit, tasks }
    }

    pub(super) async fn accept_tcp(self, listener: TcpListener) {
        loop {
            let permit = self.permit().await;
            match listener.accept().await {
                Ok((stream, _)) => {
                    // Without it a small answer waits for the client's delayed ack.
                    drop(stream.set_nodelay(true));
                    self.serve(stream, permit);
                }
                Err(error) => accept_failed(&error).await,
            }
        }
    }

    pub(super) async fn accept_unix(self, listener: UnixListener) {
        loop {
            let permit = self.permit().await;
            match listener.accept().await {
                Ok((stream, _)) => self.serve(stream, permit),
                Err(error) => accept_failed(&error).await,
            }
        }
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.limit.0).acquire_owned().await.ok()
    }

    fn serve<S: Stream>(&self, stream: S, permit: Option<OwnedSemaphorePermit>) {
        let service = self.service.clone();
        let shutdown = self.tasks.shutdown().clone();
        self.tasks.spawn("app connection", OnError::Log, async move {
            let _permit = permit;
            let builder = builder();
            let io = TokioIo::new(FirstBytes::new(stream, clock::now() + HEAD_DEADLINE));
            let connection = builder.serve_connection(io, TowerToHyperService::new(service));
            tokio::pin!(connection);
            let served = tokio::select! {
                served = connection.as_mut() => served,
                () = shutdown.begun() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = served {
                // A client that goes away in the middle is its own business.
                tracing::debug!(error, "an app's connection ended");
            }
            Ok::<(), std::convert::Infallible>(())
        });
    }
}

/// What both kinds of socket are.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl Stream for TcpStream {}
impl Stream for UnixStream {}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX));
    builder
}

async fn accept_failed(error: &io::Error) {
    tracing::warn!(%error, "failed to accept an app's connection");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// Ends a connection that does not say in time whether it speaks HTTP/1 or HTTP/2; from then on
/// hyper has its own deadlines.
struct FirstBytes<S> {
    inner: S,
    deadline: Option<Pin<Box<Sleep>>>,
    seen: usize,
}

impl<S> FirstBytes<S> {
    fn new(inner: S, deadline: Instant) -> Self {
        let deadline = Box::pin(tokio::time::sleep_until(deadline));
        Self { inner, deadline: Some(deadline), seen: 0 }
    }

    /// Whether `new` settles the question: another byte than the preface has, or all of it.
    fn look(&mut self, new: &[u8]) {
        let expected = HTTP2_PREFACE.get(self.seen..).unwrap_or_default();
        let same = new.iter().zip(expected).take_while(|(one, other)| one == other).count();
        self.seen += same;
        if same < new.len() || self.seen == HTTP2_PREFACE.len() {
            self.deadline = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstBytes<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        let Some(deadline) = &mut self.deadline else {
            return polled;
        };
        if polled.is_pending() {
            return deadline.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        self.look(buffer.filled().get(before..).unwrap_or_default());
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstBytes<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// The HTTP response type of the doors.
pub(super) type HttpResponse = Response<Body>;

#[cfg(test)]
mod tests;
