//! What a Broker means: the objects that run its engine, and whether it serves.
//!
//! Steps: observe → validate → desired (child objects) → apply in order, prune → status.

mod certificate;
mod desired;
mod objects;
mod observe;
mod reconcile;
mod status;
mod turn;
mod validate;

pub use observe::Engines;

#[cfg(test)]
mod tests;

use super::ReconcileError;
use crate::controllers::Action;
use crate::{context::Context, guard::Guarded, kafka::Address};
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

/// Whether the engine answered the operator when it was last asked.
#[must_use]
pub fn serves(broker: &Broker) -> bool {
    let status = broker.status.as_ref();
    status
        .and_then(|status| find(&status.conditions, SERVING))
        .is_some_and(|serving| serving.status == "True")
}
