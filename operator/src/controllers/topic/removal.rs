//! A Topic that is being deleted: closes the topic or deletes it, then frees the object. A Broker or namespace
//! that is gone never holds it; a short outage or a pause of the Broker does, or the topic would stay behind.

use super::{desired::change_all, observe::holder_of, reconcile::report, shared, status::Outcome};
use crate::controllers::Action;
use crate::{
    apply::ApplyError,
    cluster::name_of,
    context::Context,
    controllers::{ReconcileError, broker},
    guard::Guarded,
    kafka::KafkaError,
};
use api::{
    Broker, Topic,
    labels::TOPIC_FINALIZER,
    topic::{DeletionPolicy, ManagementPolicy},
};
use control::topics::{Change, plan_removal};
use kube::Resource as _;

pub(super) async fn remove(topic: &Topic, context: &Context) -> Result<Action, ReconcileError> {
    let held = topic.metadata.finalizers.iter().flatten().any(|name| name == TOPIC_FINALIZER);
    if !held {
        return Ok(Action::await_change());
    }
    // What follows cannot be undone, and the stores may be behind: another policy, a Broker that was made anew.
    let fresh = context.writer.read::<Topic>(&name_of(topic)).await?;
    let Some(topic) = fresh.filter(|fresh| fresh.metadata.uid == topic.metadata.uid) else {
        return Ok(Action::await_change());
    };
    let broker = super::broker_name(&topic);
    let broker = if context.cluster.scope.serves(&broker.namespace) {
        context.writer.read::<Guarded<Broker>>(&broker).await?
    } else {
        // It may not even be read: whoever serves it cleans up there.
        None
    };
    if is_ours_to_clean(&topic, broker.as_ref(), context) {
        if broker.as_ref().and_then(Guarded::decoded).is_some_and(|broker| broker.spec.paused()) {
            // We are told when it goes on.
            report(&topic, &Outcome::Held, context).await?;
            return Ok(Action::await_change());
        }
        let cleaned = match close(&topic, context).await {
            Ok(true) if is_to_be_deleted(&topic, context).await? => delete(&topic, context).await,
            closed => closed.map(drop),
        };
        if let Err(error) = cleaned {
            report(&topic, &Outcome::Leaving(&error), context).await?;
            return Err(error.into());
        }
    }
    context.writer.finalizer(&topic, TOPIC_FINALIZER, false).await?;
    context.writer.forget(topic.metadata.uid.as_deref());
    Ok(Action::await_change())
}

fn is_ours_to_clean(topic: &Topic, broker: Option<&Guarded<Broker>>, context: &Context) -> bool {
    let broker_stays = broker.is_some_and(|broker| broker.meta().deletion_timestamp.is_none());
    broker_stays
        && topic.spec.management_policy == ManagementPolicy::Full
        && holder_of(topic, &context.cluster) == name_of(topic)
        // A Topic that never reached its Broker has nothing there, and the name may be somebody else's.
        && topic.status.as_ref().is_some_and(|status| status.topic_id.is_some())
}

/// Nobody may use the topic any more. Whether it is there.
async fn close(topic: &Topic, context: &Context) -> Result<bool, KafkaError> {
    let own = name_of(topic);
    let address = broker::address(&super::broker_name(topic));
    let log_name = topic.spec.log_name(&own.namespace, &own.name);
    let state = context.brokers.observe(&address, &log_name).await?;
    let changes = plan_removal(&log_name, false, state.topic.is_some(), &state.acls);
    change_all(&address, &changes, &context.brokers, &context.metrics.reconciles).await?;
    shared::take_away(topic, &state.acls, Some(&own), context).await?;
    Ok(state.topic.is_some())
}

/// Whether the topic goes with its object. Closing may have taken long, and whoever thought better of it meanwhile is heard:
/// it is asked right before.
async fn is_to_be_deleted(topic: &Topic, context: &Context) -> Result<bool, ApplyError> {
    if topic.spec.deletion_policy != DeletionPolicy::Delete {
        return Ok(false);
    }
    let now = context.writer.read::<Topic>(&name_of(topic)).await?;
    Ok(now.is_some_and(|now| {
        now.metadata.uid == topic.metadata.uid && now.spec.deletion_policy == DeletionPolicy::Delete
    }))
}

async fn delete(topic: &Topic, context: &Context) -> Result<(), KafkaError> {
    let own = name_of(topic);
    let change = Change::Delete { name: topic.spec.log_name(&own.namespace, &own.name) };
    let address = broker::address(&super::broker_name(topic));
    change_all(&address, &[change], &context.brokers, &context.metrics.reconciles).await
}
