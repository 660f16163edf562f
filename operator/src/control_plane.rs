//! The control plane in a cluster: crate `control-plane` with roots from a Secret, tokens checked
//! by the Kubernetes API or with its keys, and one replica that serves.
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
use control_plane::{AuthorityError, ControlPlane, Identity, Metrics, Objects, Settings, TokenReviewer};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ObjectMeta;
use kube::{Api, Client};
use runtime::tasks::{OnError, Tasks};
use tokio::net::TcpListener;

use crate::apply;
use crate::cluster::Cluster;
use crate::scope::Scope;
use reviewer::{KubernetesReviewer, OfflineReviewer};
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
    /// How long a sidecar's certificate lives.
    pub certificate_lifetime: Duration,
}

/// Starts to lead: a control plane that knows what the cluster holds (its stores must be complete)
/// and serves. Call it when this replica gets the Lease and not before, since from here on it is
/// counted how long sidecars had to report. The handle also tells who publishes and subscribes.
///
/// # Errors
/// When the port cannot be opened, or the roots cannot be used.
pub async fn lead(
    (client, roots): (Client, &Roots),
    cluster: &Cluster,
    place: Place,
    metrics: Metrics,
    tasks: &Tasks,
) -> Result<Objects, StartError> {
    let failed = |source| StartError::Listen { address: place.listen, source };
    let settings = Settings {
        settle: SETTLE,
        certificate_lifetime: place.certificate_lifetime,
        server_names: ServerNames {
            dns: place.server_names,
            identity: Some(place.identity),
            ..ServerNames::default()
        },
        ..Settings::default()
    };
    let reviewer: Arc<dyn TokenReviewer> = match cluster.scope {
        Scope::Cluster => Arc::new(KubernetesReviewer::new(client)),
        Scope::Namespace(_) => Arc::new(OfflineReviewer::new(client, cluster.pods.clone())),
    };
    let control = ControlPlane::new(settings, roots.current().as_ref().clone(), reviewer, metrics);
    let objects = control.objects();
    watch::start(cluster, &objects, tasks);
    let listener = TcpListener::bind(place.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let shutdown = tasks.shutdown().clone();
    drop(tasks.spawn("control plane", OnError::Shutdown, control.serve(listener, shutdown)));
    drop(tasks.spawn_until_shutdown("roots for sidecars", follow_roots(roots.clone(), objects.clone())));
    tracing::info!(%address, "the control plane serves");
    Ok(objects)
}

/// Tells the Service of the control plane whether this Pod is the leader. Say no before a term: the
/// Pod may carry the label from before a restart of its container, or from the term before.
///
/// # Errors
/// When the API server refuses.
pub async fn label_pod(
    client: &Client,
    (namespace, pod): (&str, &str),
    leads: bool,
) -> Result<(), kube::Error> {
    let label = leads.then(|| (LEADER_LABEL.to_owned(), "true".to_owned()));
    let metadata = ObjectMeta {
        name: Some(pod.to_owned()),
        namespace: Some(namespace.to_owned()),
        labels: Some(label.into_iter().collect()),
        ..ObjectMeta::default()
    };
    let part = Pod { metadata, ..Pod::default() };
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    apply::apply_part(&pods, &part, "pinnace-leader").await.map(drop)
}

/// Hands changes of the roots to the control plane. Runs for ever; drop it to end it.
async fn follow_roots(roots: Roots, objects: Objects) {
    let mut changes = roots.subscribe();
    while changes.changed().await.is_ok() {
        let authority = changes.borrow_and_update().clone();
        objects.replace_authority(authority.as_ref().clone());
    }
}
