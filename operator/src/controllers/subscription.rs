//! What a Subscription means: nothing yet, and it says so. Never ignored in silence.

use super::{ReconcileError, report_invalid};
use crate::controllers::Action;
use crate::{context::Context, guard::Guarded};
use api::{
    Subscription, SubscriptionStatus,
    condition::{Part, REASON_INVALID, REASON_NOT_SUPPORTED, conditions},
    field::join,
    subscription::{conditions::ACCEPTED, not_supported, validate},
};
use futures::future::BoxFuture;
use std::sync::Arc;

/// Field manager of this controller.
const MANAGER: &str = "pinnace-subscription";

/// One reconcile.
pub(super) fn reconcile(
    subscription: Arc<Guarded<Subscription>>,
    context: Arc<Context>,
) -> BoxFuture<'static, Result<Action, ReconcileError>> {
    Box::pin(async move {
        match &subscription.0 {
            Ok(subscription) => report(subscription, &context).await,
            Err(invalid) => report_invalid::<Subscription>(MANAGER, invalid, &context).await,
        }
    })
}

async fn report(subscription: &Subscription, context: &Context) -> Result<Action, ReconcileError> {
    if subscription.metadata.deletion_timestamp.is_some() {
        context.writer.forget(subscription.metadata.uid.as_deref());
        return Ok(Action::await_change());
    }
    let wrong = validate(subscription);
    let part = if wrong.is_empty() {
        Part::bad(ACCEPTED, REASON_NOT_SUPPORTED, join(&not_supported(&subscription.spec)))
    } else {
        Part::bad(ACCEPTED, REASON_INVALID, join(&wrong))
    };
    let before = subscription.status.clone().unwrap_or_default();
    let generation = subscription.metadata.generation;
    let after = SubscriptionStatus {
        observed_generation: generation,
        conditions: conditions(&before.conditions, &[part], generation, &context.now()),
    };
    let json =
        |status| serde_json::to_value(status).map_err(|error| ReconcileError::Build("a status", error));
    context.writer.status(MANAGER, subscription, (&json(&before)?, &json(&after)?)).await?;
    context.writer.event(subscription, &before.conditions, &after.conditions).await?;
    Ok(Action::await_change())
}
