//! The control plane in a cluster: crate `control-plane` with roots from a Secret, tokens checked
//! by the Kubernetes API, and one replica that serves.
//!
//! The leader alone serves. It labels its own Pod, and the Service in front of port 7410 selects
//! that label: a sidecar that dials always meets the leader or nobody.

pub mod reviewer;
pub mod roots;
pub mod watch;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use control_plane::authority::ServerNames;
use control_plane::{Authority, AuthorityError, ControlPlane, Identity, Metrics, Objects, Settings};
use kube::Client;
use runtime::tasks::{OnError, Tasks};
use tokio::net::TcpListener;

use reviewer::KubernetesReviewer;
use roots::Roots;

/// On the Pod whose replica holds the Lease.
pub const LEADER_LABEL: &str = "pinnace.dev/leader";
/// The longest that a starting leader waits for sidecars to report, before it takes peers away.
const SETTLE: Duration = Duration::from_secs(30);

/// Why the control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port could not be opened.
    #[error(
        "failed to open the control plane's listener on {address}: is the port taken? choose another with --control-listen"
    )]
    Listen {
        /// The port.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The stored roots do not make an authority any more.
    #[error("failed to use the roots")]
    Roots(#[from] AuthorityError),
}

/// Where the control plane is and who runs it.
#[derive(Debug, Clone)]
pub struct Place {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The names that sidecars dial.
    pub server_names: Vec<String>,
    /// The operator's own service account.
    pub identity: Identity,
}

/// Builds a control plane that knows nothing and serves nobody yet. Build it when this replica
/// becomes the leader and not before: it counts from here how long sidecars had to report.
///
/// # Errors
/// When the roots cannot be used.
pub fn build(
    client: Client,
    roots: &Roots,
    place: &Place,
    metrics: Metrics,
) -> Result<ControlPlane, StartError> {
    let settings = Settings {
        settle: SETTLE,
        server_names: ServerNames {
            dns: place.server_names.clone(),
            identity: Some(place.identity.clone()),
            ..ServerNames::default()
        },
        ..Settings::default()
    };
    let reviewer = Arc::new(KubernetesReviewer::new(client));
    Ok(ControlPlane::new(settings, copy(&roots.current())?, reviewer, metrics))
}

/// Opens the port and serves until the shutdown begins. For the leader, once its watches are
/// complete: before that a view would lack what exists.
///
/// # Errors
/// When the port cannot be opened.
pub async fn serve(control: ControlPlane, place: &Place, tasks: &Tasks) -> Result<SocketAddr, StartError> {
    let failed = |source| StartError::Listen { address: place.listen, source };
    let listener = TcpListener::bind(place.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let shutdown = tasks.shutdown().clone();
    drop(tasks.spawn("control plane", OnError::Shutdown, control.serve(listener, shutdown)));
    Ok(address)
}

/// Hands changes of the roots to the control plane. Runs for ever; drop it to end it.
pub async fn follow_roots(roots: Roots, objects: Objects) {
    let mut changes = roots.subscribe();
    while changes.changed().await.is_ok() {
        let authority = changes.borrow_and_update().clone();
        match copy(&authority) {
            Ok(authority) => objects.replace_authority(authority),
            Err(error) => tracing::error!(%error, "the changed roots cannot be used"),
        }
    }
}

fn copy(authority: &Authority) -> Result<Authority, AuthorityError> {
    Authority::load(authority.trust_domain(), authority.stored())
}
