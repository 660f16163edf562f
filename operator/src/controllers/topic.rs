//! What a Topic means: a topic on its Broker, configured and opened as the object says.
//!
//! Steps: observe (stores, then the broker) → validate → desired (a plan of changes) → apply → status.

mod copies;
mod desired;
mod observe;
mod reconcile;
mod removal;
mod shared;
mod status;
mod validate;

#[cfg(test)]
mod tests;

use super::ReconcileError;
use crate::controllers::Action;
use crate::{
    cluster::{Cluster, name_of},
    context::Context,
    guard::Guarded,
};
use api::{Topic, broker::Engine};
use control::{ObjectName, topics::Wanted};
use futures::future::BoxFuture;
use kube::ResourceExt as _;
use std::sync::Arc;

/// Field manager of this controller.
const MANAGER: &str = "pinnace-topic";

/// One reconcile.
pub(crate) fn reconcile(
    topic: Arc<Guarded<Topic>>,
    context: Arc<Context>,
) -> BoxFuture<'static, Result<Action, ReconcileError>> {
    Box::pin(async move { reconcile::reconcile(&topic, &context).await })
}

/// The Broker that a Topic names.
pub(super) fn broker_name(topic: &Topic) -> ObjectName {
    let namespace = topic.namespace().unwrap_or_default();
    let (broker_namespace, name) = topic.spec.broker_of(&namespace);
    ObjectName::new(broker_namespace, name)
}

/// What a Topic asks of a Broker with this engine; `None` while the service accounts that it lets in are not known.
fn wanted_on(engine: Engine, topic: &Topic, cluster: &Cluster) -> Option<Wanted> {
    let wanted = control::topics::wanted(&topic.spec, &name_of(topic));
    match engine {
        Engine::Embedded => Some(wanted),
        // Its authorizer knows single names alone.
        Engine::Kafka => {
            let accounts = cluster.accounts_of(&wanted.whole_namespaces())?;
            Some(wanted.for_each_account(&accounts))
        }
    }
}
