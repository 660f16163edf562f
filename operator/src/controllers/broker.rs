//! What a Broker means: the objects that run its engine, and whether it serves.
//!
//! Steps: observe → validate → desired (child objects) → apply in order, prune → status.

mod certificate;
mod desired;
mod engine;
mod health;
mod objects;
mod observe;
mod reconcile;
mod restarts;
mod roll;
mod scale;
mod scaling;
mod status;
mod turn;
mod validate;

pub use observe::Engines;

#[cfg(test)]
mod tests;

use super::ReconcileError;
use crate::controllers::Action;
use crate::{cluster::Cluster, context::Context, guard::Guarded, kafka::Address};
use api::{Broker, broker::conditions::SERVING, condition::find};
use control::ObjectName;
use futures::future::BoxFuture;
use std::sync::Arc;

/// Field manager of this controller.
const MANAGER: &str = "pinnace-broker";
/// Port of the mTLS listener.
pub const KAFKA_PORT: u16 = 9093;

/// One reconcile.
pub(crate) fn reconcile(
    broker: Arc<Guarded<Broker>>,
    context: Arc<Context>,
) -> BoxFuture<'static, Result<Action, ReconcileError>> {
    Box::pin(async move { reconcile::reconcile(&broker, &context).await })
}

/// Where the Broker of this name is spoken to.
#[must_use]
pub fn address(broker: &ObjectName) -> Address {
    let service = objects::service_name(&broker.name);
    let server_name = format!("{service}.{}.svc", broker.namespace);
    Address { bootstrap: format!("{server_name}:{KAFKA_PORT}"), server_name }
}

/// Where the engine of the Broker of this name tells how it is, as `HOST:PORT`.
#[must_use]
pub(crate) fn health_address(broker: &ObjectName) -> String {
    let nodes = objects::nodes_name(&broker.name);
    format!("{nodes}.{}.svc:{}", broker.namespace, objects::services::ADMIN_PORT)
}

/// Whether the node of the Broker of this name is ready, as its readiness probe says.
pub(crate) fn has_ready_node(broker: &ObjectName, cluster: &Cluster) -> bool {
    let set = ObjectName::new(&broker.namespace, objects::service_name(&broker.name));
    cluster.stateful_sets.get(&set).is_some_and(|set| observe::is_ready(&set))
}

/// Whether the engine answered the operator when it was last asked.
#[must_use]
pub fn serves(broker: &Broker) -> bool {
    let status = broker.status.as_ref();
    status
        .and_then(|status| find(&status.conditions, SERVING))
        .is_some_and(|serving| serving.status == "True")
}
