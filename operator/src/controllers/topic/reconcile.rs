//! The story of a Topic.

use super::{
    MANAGER, desired, observe, removal,
    status::{Outcome, adopted, status},
    validate::{Next, broker_refused, validate},
};
use crate::controllers::Action;
use crate::{
    apply::Writer,
    cluster::name_of,
    context::Context,
    controllers::{ReconcileError, report_invalid},
    guard::Guarded,
    kafka::KafkaError,
};
use api::{
    Topic,
    labels::TOPIC_FINALIZER,
    topic::{
        TopicStatus,
        conditions::{REASON_ADOPTED, REASON_MOVING},
    },
};
use runtime::random::jittered;
use std::time::Duration;

/// A topic that was made and is not there is looked for again after so long.
const VANISHED_PAUSE: Duration = Duration::from_secs(10);
/// Copies that are on their way, or wait for a node, are looked at again after so long. Nobody tells us of them.
const MOVING_PAUSE: Duration = Duration::from_secs(5);
/// A topic that the broker refused is tried again after so long.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

pub(super) async fn reconcile(topic: &Guarded<Topic>, context: &Context) -> Result<Action, ReconcileError> {
    let topic = match &topic.0 {
        Ok(topic) => topic.as_ref(),
        Err(invalid) => return report_invalid::<Topic>(MANAGER, invalid, context).await,
    };
    if topic.metadata.deletion_timestamp.is_some() {
        return removal::remove(topic, context).await;
    }
    let surroundings = observe::surroundings(topic, &context.cluster);
    let valid = match validate(topic, &surroundings) {
        Ok(valid) => valid,
        Err(mut blocked) => {
            if let Next::MakeBroker(broker) = &blocked.next
                && let Err(error) = context.writer.create(broker.as_ref()).await
            {
                // It is looked at again, and is no error of ours: who set the limit knows of it, or is told here.
                let Some(why) = error.refusal() else { return Err(error.into()) };
                blocked = broker_refused(&name_of(broker.as_ref()), why);
            }
            report(topic, &Outcome::Blocked(&blocked), context).await?;
            return Ok(blocked.next.action());
        }
    };
    context.writer.finalizer(topic, TOPIC_FINALIZER, valid.managed).await?;
    match desired::bring_about(topic, &valid, context).await {
        Ok(reached) => {
            if reached.adopted {
                let note = adopted(topic, &valid, &reached);
                context.writer.tell(topic, REASON_ADOPTED, &note).await?;
            }
            report(topic, &Outcome::Reached(&valid, &reached), context).await?;
            // Somebody deletes it, or the cluster is far behind.
            let vanished = valid.managed && reached.topic.is_none();
            let is_moving = reached.copies.is_some_and(|copies| copies.reason == REASON_MOVING);
            Ok(match (vanished, is_moving) {
                (true, _) => Action::requeue(VANISHED_PAUSE),
                (false, true) => Action::requeue(jittered(MOVING_PAUSE)),
                (false, false) => Action::await_change(),
            })
        }
        Err(error @ KafkaError::Refused { .. }) => {
            report(topic, &Outcome::Failed(&valid, &error), context).await?;
            Ok(Action::requeue(REFUSED_PAUSE))
        }
        Err(error) => {
            report(topic, &Outcome::Failed(&valid, &error), context).await?;
            Err(error.into())
        }
    }
}

pub(super) async fn report(
    topic: &Topic,
    outcome: &Outcome<'_>,
    context: &Context,
) -> Result<(), ReconcileError> {
    let before = topic.status.clone().unwrap_or_default();
    let after = status(&before, topic, outcome, &context.now());
    write(topic, (&before, &after), &context.writer).await
}

async fn write(
    topic: &Topic,
    (before, after): (&TopicStatus, &TopicStatus),
    writer: &Writer,
) -> Result<(), ReconcileError> {
    let json =
        |status| serde_json::to_value(status).map_err(|error| ReconcileError::Build("a status", error));
    writer.status(MANAGER, topic, (&json(before)?, &json(after)?)).await?;
    writer.event(topic, &before.conditions, &after.conditions).await?;
    Ok(())
}
