//! What a Channel means to the operator: whether it can be used, and who is there. Delivery is the sidecars';
//! the control plane hands them the Channel.

#[cfg(test)]
mod tests;

use super::{ReconcileError, report_invalid};
use crate::{apply::Writer, cluster::name_of, context::Context, guard::Guarded};
use api::{
    Channel, ChannelStatus,
    channel::{conditions::*, not_supported, validate},
    condition::{Part, REASON_INVALID, REASON_NOT_SUPPORTED, conditions},
    field::join,
};
use control::index::ChannelMembers;
use futures::future::BoxFuture;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::runtime::controller::Action;
use std::sync::Arc;

/// Field manager of this controller.
const MANAGER: &str = "pinnace-channel";

/// One reconcile.
pub(super) fn reconcile(
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
    let after = status(&before, channel, &members, &context.now());
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

/// Pure: a Channel and who is there → its status.
fn status(before: &ChannelStatus, channel: &Channel, members: &ChannelMembers, now: &Time) -> ChannelStatus {
    let count = |members: &[String]| i32::try_from(members.len()).ok();
    let generation = channel.metadata.generation;
    ChannelStatus {
        observed_generation: generation,
        publishers: count(&members.publishers),
        subscribers: count(&members.subscribers),
        conditions: conditions(&before.conditions, &[accepted(channel)], generation, now),
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
