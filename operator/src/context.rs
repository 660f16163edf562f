//! What a reconciler may touch: the stores, the writer, the brokers, the authority, settings and the clock.

use crate::{
    apply::Writer, cluster::Cluster, controllers::broker::Engines, health, kafka::FencedBrokers,
    leadership::Leadership, metrics::Metrics, workloads::upgrade,
};
use control_plane::{Authority, Objects};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::sync::Arc;
use tokio::sync::watch;

/// See the module. One for all controllers.
pub struct Context {
    /// What the cluster holds.
    pub cluster: Cluster,
    /// The only way to write to Kubernetes.
    pub writer: Writer,
    /// The way to brokers.
    pub brokers: FencedBrokers,
    /// Who signs certificates; changes when a root does.
    pub authority: watch::Receiver<Arc<Authority>>,
    /// Who publishes and subscribes.
    pub membership: Objects,
    /// What engines last said of themselves.
    pub engines: Engines,
    /// What engines say of how they are.
    pub health: health::Engines,
    /// Whether this replica may write.
    pub leadership: Leadership,
    /// What is counted.
    pub metrics: Metrics,
    /// The same for all reconciles.
    pub settings: Settings,
}

/// Settings of the reconcilers.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Image of the Embedded engine.
    pub broker_image: String,
    /// Image of Apache Kafka.
    pub kafka_image: String,
    /// How many Brokers may get another image at a time.
    pub broker_upgrades_max: usize,
    /// When the image is pulled; empty is Kubernetes' default.
    pub image_pull_policy: String,
    /// Names of Secrets for pulling images; they must exist in the Broker's namespace.
    pub image_pull_secrets: Vec<String>,
    /// Of SPIFFE ids.
    pub trust_domain: String,
    /// Our own service account, `NAMESPACE/NAME`: super user of every broker.
    pub identity: String,
    /// Namespaces whose Pods no webhook of ours sees.
    pub excluded_namespaces: Vec<String>,
    /// What is wanted of all sidecars.
    pub sidecars: upgrade::Policy,
}

impl Context {
    /// Now, for conditions: whole seconds, since that is what the API server keeps.
    #[must_use]
    pub fn now(&self) -> Time {
        let seconds = runtime::clock::unix_seconds();
        Time(jiff::Timestamp::from_second(seconds).unwrap_or_default())
    }
}
