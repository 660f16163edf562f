//! Follows the control plane: reports what the apps do, takes views, keeps the last one. Protobuf of the control plane
//! ends here and in `identity.rs`.

mod translate;

use crate::delivery::{ChannelUse, Core};
use crate::metrics::Metrics;
use crate::state::StateDir;
use crate::view::View;
use hyper_util::rt::TokioIo;
use proto::control::control_client::ControlClient;
use proto::control::{self as wire, Report};
use runtime::backoff::Backoff;
use runtime::tls::{Expect, TlsError};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::transport::{Channel, Endpoint};

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Over an idle stream, so that a control plane that vanished is noticed.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_MAX: Duration = Duration::from_secs(10);
/// Largest view that is taken.
const VIEW_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where the control plane is.
#[derive(Debug, Clone)]
pub(crate) struct Address {
    /// `HOST:PORT`.
    pub(crate) target: String,
    /// What its certificate must name.
    pub(crate) server_name: String,
}

/// Opens a connection to the control plane.
pub(crate) async fn connect(
    address: &Address,
    config: Arc<ClientConfig>,
) -> Result<Channel, tonic::transport::Error> {
    let target = address.target.clone();
    let name = address.server_name.clone();
    let connector = tower::service_fn(move |_| {
        let (target, name, config) = (target.clone(), name.clone(), Arc::clone(&config));
        async move {
            let name = ServerName::try_from(name).map_err(std::io::Error::other)?;
            let stream = TcpStream::connect(target).await?;
            stream.set_nodelay(true)?;
            let stream = tokio_rustls::TlsConnector::from(config).connect(name, stream).await?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    Endpoint::from_static("http://control")
        .connect_timeout(CONNECT_MAX)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_MAX)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
}

/// Why the stream of views ended.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("failed to reach the control plane: {0}")]
    Connect(#[from] tonic::transport::Error),
    #[error("the control plane ended the stream: {}: {}", .0.code(), .0.message())]
    Status(#[from] Box<tonic::Status>),
    #[error("the control plane closed the stream")]
    Closed,
}

/// What the follower is made from.
pub(crate) struct Parts {
    pub(crate) core: Arc<Core>,
    pub(crate) address: Address,
    pub(crate) state: StateDir,
    pub(crate) views: watch::Sender<Arc<View>>,
    /// Seconds since the Unix epoch; 0 = no certificate yet.
    pub(crate) not_after: watch::Receiver<i64>,
    /// `HOST:PORT` where peers reach us.
    pub(crate) peer_address: String,
    /// The Broker that was asked for by name; empty = the default one.
    pub(crate) broker: String,
}

/// The view that was saved, for a start while the control plane is away.
pub(crate) fn saved_view(state: &StateDir) -> Option<View> {
    state.view().map(translate::view)
}

/// See the head of the file.
pub(crate) struct Follower {
    parts: Parts,
    metrics: Metrics,
}

impl Follower {
    pub(crate) fn new(parts: Parts) -> Self {
        let metrics = parts.core.metrics().clone();
        Self { parts, metrics }
    }

    /// Follows for ever; a control plane that is away changes nothing.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new(PAUSE_FIRST, PAUSE_MAX);
        loop {
            if self.parts.not_after.wait_for(|seconds| *seconds > 0).await.is_err() {
                return;
            }
            let outcome = self.follow(&mut backoff).await;
            self.metrics.control_connected.set(0);
            let tries = backoff.tries();
            if let Err(error) = outcome {
                tracing::warn!(%error, tries, "no control plane; going on with the last view");
            }
            tokio::time::sleep(backoff.next_pause()).await;
        }
    }

    async fn follow(&self, backoff: &mut Backoff) -> Result<(), FollowError> {
        let core = &self.parts.core;
        let expect = Expect::Names(vec![self.parts.address.server_name.clone()]);
        let config = core.credentials().client_config(expect, &[b"h2"])?;
        let channel = connect(&self.parts.address, config).await?;
        let mut changes = core.changes();
        changes.mark_unchanged();
        let (reports, receiver) = watch::channel(self.report());
        let mut client = ControlClient::new(channel).max_decoding_message_size(VIEW_BYTES_MAX);
        let mut views = client.follow(WatchStream::new(receiver)).await.map_err(Box::new)?.into_inner();
        self.metrics.control_connected.set(1);
        loop {
            tokio::select! {
                message = views.message() => {
                    let view = message.map_err(Box::new)?.ok_or(FollowError::Closed)?;
                    backoff.reset();
                    self.take(view).await;
                }
                changed = changes.changed() => if changed.is_err() { return Ok(()) },
            }
            let report = self.report();
            reports.send_if_modified(|current| {
                let same = *current == report;
                *current = report;
                !same
            });
        }
    }

    async fn take(&self, view: wire::View) {
        tracing::debug!(version = view.version, channels = view.channels.len(), "view came");
        self.metrics.view_version.set(i64::try_from(view.version).unwrap_or(i64::MAX));
        let state = self.parts.state.clone();
        let copy = view.clone();
        self.parts.views.send_replace(Arc::new(translate::view(view)));
        // After it is in use: the disk may be slow.
        let saved = tokio::task::spawn_blocking(move || state.save_view(&copy)).await;
        if let Ok(Err(error)) = saved {
            tracing::warn!(%error, "the view is not saved; a restart will need the control plane");
        }
    }

    fn report(&self) -> Report {
        let core = &self.parts.core;
        Report {
            sidecar: core.sidecar().to_string(),
            peer_address: self.parts.peer_address.clone(),
            channels: core.usage().into_iter().map(channel_use).collect(),
            view_version: core.view().version,
            broker: self.parts.broker.clone(),
        }
    }
}

fn channel_use(used: ChannelUse) -> wire::ChannelUse {
    wire::ChannelUse {
        namespace: used.name.namespace.to_string(),
        name: used.name.name.to_string(),
        publishes: used.publishes,
        subscribes: used.subscribes,
    }
}
