//! Puts the service together and runs it: limits, the own certificate and its renewal, the task
//! that computes views, the end.

#[cfg(test)]
mod tests;

use crate::authority::{Authority, AuthorityError, SIDECAR_LIFETIME, ServerNames};
use crate::listen;
use crate::metrics::Metrics;
use crate::objects::Objects;
use crate::review::TokenReviewer;
use crate::service::Service;
use crate::state::State;
use proto::control::control_server::ControlServer;
use runtime::shutdown::Shutdown;
use runtime::tasks::Tasks;
use runtime::tls::{Credentials, Material, TlsError};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;

/// The largest message from a sidecar, in bytes.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Inputs that come within this time are answered by one view.
const FLUSH_PAUSE: Duration = Duration::from_millis(5);
/// The own certificate's life; renewed at half of it.
const SERVER_LIFETIME: Duration = Duration::from_secs(30 * 86_400);
const RENEWAL_RETRY: Duration = Duration::from_secs(60);
/// How long streams may take to end.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// A sidecar needs one stream for Follow and one for Certify.
const STREAMS_PER_CONNECTION_MAX: u32 = 8;

/// Limits and patience of a control plane.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a new one waits for sidecars to report before it takes peers from one that
    /// already has a view. Zero where nobody can have one.
    pub settle: Duration,
    /// How long a sidecar whose stream ended is still taken for alive.
    pub linger: Duration,
    /// The most sidecars it follows.
    pub sidecars_max: usize,
    /// The most channels in one report.
    pub channels_per_report_max: usize,
    /// The names that sidecars dial it by.
    pub server_names: ServerNames,
    /// How long a sidecar's certificate lives; 90 days at most.
    pub certificate_lifetime: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(10),
            linger: Duration::from_secs(10),
            sidecars_max: 10_000,
            channels_per_report_max: 4_096,
            server_names: ServerNames::default(),
            certificate_lifetime: SIDECAR_LIFETIME,
        }
    }
}

/// Why it ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Its own certificate could not be made.
    #[error("failed to make the control plane's certificate")]
    Authority(#[from] AuthorityError),
    /// Its own certificate could not be used.
    #[error("failed to use the control plane's certificate")]
    Tls(#[from] TlsError),
    /// The gRPC server failed.
    #[error("the control plane's server failed")]
    Transport(#[from] tonic::transport::Error),
}

/// A control plane that is not serving yet.
pub struct ControlPlane {
    state: Arc<State>,
    reviewer: Arc<dyn TokenReviewer>,
    settings: Settings,
}

impl std::fmt::Debug for ControlPlane {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ControlPlane").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl ControlPlane {
    /// One that knows no object and no sidecar.
    #[must_use]
    pub fn new(
        settings: Settings,
        authority: Authority,
        reviewer: Arc<dyn TokenReviewer>,
        metrics: Metrics,
    ) -> Self {
        let patience = control::Settings { settle: settings.settle, linger: settings.linger };
        let state = Arc::new(State::new(patience, authority, metrics));
        Self { state, reviewer, settings }
    }

    /// The handle for objects, the membership and the authority; usable before and while it serves.
    #[must_use]
    pub fn objects(&self) -> Objects {
        Objects { state: Arc::clone(&self.state) }
    }

    /// Serves on `listener` until `shutdown` begins, then ends the streams in order.
    ///
    /// # Errors
    /// When its certificate cannot be made or the server fails.
    pub async fn serve(self, listener: TcpListener, shutdown: Shutdown) -> Result<(), ServeError> {
        let tasks = Tasks::new(shutdown.child());
        let credentials = Credentials::empty();
        let renewal = self.renew_certificate(&credentials)?;
        drop(tasks.spawn_until_shutdown(
            "control certificate",
            keep_certificate(Arc::clone(&self.state), self.settings.clone(), credentials.clone(), renewal),
        ));
        drop(tasks.spawn_until_shutdown("views", keep_views(Arc::clone(&self.state))));
        let connections = listen::accept(listener, credentials, &self.settings, &tasks);
        let state = Arc::clone(&self.state);
        let service = Service {
            state: Arc::clone(&self.state),
            reviewer: self.reviewer,
            settings: self.settings,
            tasks: tasks.clone(),
        };
        let ended = {
            let state = Arc::clone(&state);
            let shutdown = shutdown.clone();
            async move {
                shutdown.begun().await;
                state.close();
            }
        };
        let served = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
            .add_service(ControlServer::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX))
            .serve_with_incoming_shutdown(ReceiverStream::new(connections), ended);
        let deadline = async {
            shutdown.begun().await;
            tokio::time::sleep(DRAIN_DEADLINE).await;
        };
        let result = tokio::select! {
            result = served => result,
            () = deadline => Ok(()),
        };
        tasks.shutdown().begin();
        state.close();
        tasks.drain(DRAIN_DEADLINE).await;
        result.map_err(ServeError::from)
    }

    fn renew_certificate(&self, credentials: &Credentials) -> Result<Duration, ServeError> {
        renew(&self.state, &self.settings, credentials)
    }
}

/// Makes the server's certificate anew; returns when to do it again.
fn renew(state: &State, settings: &Settings, credentials: &Credentials) -> Result<Duration, ServeError> {
    let now = runtime::clock::unix_seconds();
    let authority = state.authority();
    let issued = authority.issue_server(&settings.server_names, SERVER_LIFETIME, now)?;
    credentials.replace(Material::from_pem(&issued.chain_pem, &issued.key_pem, &authority.bundle_pem())?);
    let expiration = &state.metrics.certificate_expiration;
    expiration.with_label_values(&["control_plane"]).set(issued.not_after);
    expiration.with_label_values(&["root"]).set(authority.root_not_after(now));
    let left = u64::try_from(issued.not_after.saturating_sub(now)).unwrap_or(0);
    Ok(Duration::from_secs(left / 2).max(Duration::from_secs(1)))
}

async fn keep_certificate(state: Arc<State>, settings: Settings, credentials: Credentials, first: Duration) {
    let mut pause = first;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = state.authority_changed.notified() => {}
        }
        pause = renew(&state, &settings, &credentials).unwrap_or_else(|error| {
            tracing::error!(%error, "failed to renew the control plane's certificate; the old one stays");
            RENEWAL_RETRY
        });
    }
}

async fn keep_views(state: Arc<State>) {
    loop {
        let again = state.flush();
        let timeout = async {
            match again {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = state.changed.notified() => tokio::time::sleep(FLUSH_PAUSE).await,
            () = timeout => {}
        }
    }
}
