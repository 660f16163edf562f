//! What a Channel means to the operator: whether it can be used, and who is there. Delivery is the sidecars';
//! the control plane hands them the Channel.

#[cfg(test)]
mod tests;

use super::{ReconcileError, report_invalid};
use crate::controllers::Action;
use crate::{apply::Writer, cluster::name_of, context::Context, guard::Guarded};
use api::{
    Channel, ChannelStatus, Topic,
    channel::{conditions::*, not_supported, validate},
    condition::{Part, REASON_INVALID, REASON_NOT_SUPPORTED, conditions},
    field::join,
};
use control::{ObjectName, index::ChannelMembers};
use futures::future::BoxFuture;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::sync::Arc;

/// Field manager of this controller.
const MANAGER: &str = "pinnace-channel";

/// One reconcile.
pub(crate) fn reconcile(
    channel: Arc<Guarded<Channel>>,
    context: Arc<Context>,
) -> BoxFuture<'static, Result<Action, ReconcileError>> {
    Box::pin(async move {
        match &channel.0 {
            Ok(channel) => report(channel, &context).await,
            Err(invalid) => report_invalid::<Channel>(MANAGER, invalid, &context).await,
        }
    })
}

async fn report(channel: &Channel, context: &Context) -> Result<Action, ReconcileError> {
    if channel.metadata.deletion_timestamp.is_some() {
        context.writer.forget(channel.metadata.uid.as_deref());
        return Ok(Action::await_change());
    }
    let members = context.membership.members_of(&name_of(channel));
    let before = channel.status.clone().unwrap_or_default();
    let find = |name: &ObjectName| {
        let topic = context.cluster.topics.get(name)?;
        // One that cannot be decoded is there, and cannot be used.
        Some(topic.decoded().is_some_and(|topic| is_ready(topic)))
    };
    let parts: Vec<Part> = [accepted(channel)].into_iter().chain(topics(channel, find)).collect();
    let after = status(&before, channel, (&members, &parts), &context.now());
    write(channel, (&before, &after), &context.writer).await?;
    Ok(Action::await_change())
}

async fn write(
    channel: &Channel,
    (before, after): (&ChannelStatus, &ChannelStatus),
    writer: &Writer,
) -> Result<(), ReconcileError> {
    let json =
        |status| serde_json::to_value(status).map_err(|error| ReconcileError::Build("a status", error));
    writer.status(MANAGER, channel, (&json(before)?, &json(after)?)).await?;
    writer.event(channel, &before.conditions, &after.conditions).await?;
    Ok(())
}

/// Whether a Topic can be used; also what of it matters to the Channels that name it.
pub(super) fn is_ready(topic: &Topic) -> bool {
    let conditions = topic.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    topic.metadata.deletion_timestamp.is_none()
        && api::condition::is_ready(conditions, topic.metadata.generation)
}

/// Pure: whether the Topics that the Channel names can be used. `find`: whether one is ready, if it exists.
fn topics(channel: &Channel, find: impl Fn(&ObjectName) -> Option<bool>) -> Option<Part> {
    let namespace = channel.metadata.namespace.as_deref().unwrap_or_default();
    let (mut missing, mut waiting, mut named) = (Vec::new(), Vec::new(), false);
    for (field, reference) in channel.spec.topics() {
        named = true;
        let name = ObjectName::new(namespace, reference.topic.as_str());
        match find(&name) {
            None => {
                missing.push(format!("{field}: there is no Topic {name}; create it, or correct the name"))
            }
            Some(false) => {
                waiting.push(format!("{field}: Topic {name} is not ready; its own conditions say why"))
            }
            Some(true) => {}
        }
    }
    if !missing.is_empty() {
        return Some(Part::bad(TOPICS_READY, REASON_TOPIC_NOT_FOUND, missing.join("; ")));
    }
    if !waiting.is_empty() {
        return Some(Part::bad(TOPICS_READY, REASON_TOPIC_NOT_READY, waiting.join("; ")));
    }
    named.then(|| Part::good(TOPICS_READY, REASON_TOPICS_READY, "the Topics that it names are ready"))
}

/// Pure: a Channel and who is there → its status.
fn status(
    before: &ChannelStatus,
    channel: &Channel,
    (members, parts): (&ChannelMembers, &[Part]),
    now: &Time,
) -> ChannelStatus {
    let count = |members: &[String]| i32::try_from(members.len()).ok();
    let generation = channel.metadata.generation;
    ChannelStatus {
        observed_generation: generation,
        publishers: count(&members.publishers),
        subscribers: count(&members.subscribers),
        conditions: conditions(&before.conditions, parts, generation, now),
    }
}

fn accepted(channel: &Channel) -> Part {
    let wrong = validate(channel);
    if !wrong.is_empty() {
        return Part::bad(ACCEPTED, REASON_INVALID, join(&wrong));
    }
    let missing = not_supported(&channel.spec);
    if !missing.is_empty() {
        return Part::bad(ACCEPTED, REASON_NOT_SUPPORTED, join(&missing));
    }
    Part::good(ACCEPTED, REASON_ACCEPTED, "the spec is valid and supported")
}
