//! The story of a Broker.

use super::{
    MANAGER, certificate,
    desired::{Children, desired},
    objects,
    observe::{Observed, observe},
    restarts::{self, Restarts},
    scaling,
    status::{Outcome, status},
    turn::Turn,
    validate::validate,
};
use crate::controllers::Action;
use crate::{
    apply::{Applied, ApplyError, Writer},
    cluster::name_of,
    context::Context,
    controllers::{ReconcileError, report_invalid},
    guard::Guarded,
};
use api::{Broker, broker::conditions::REASON_ADOPTED, labels};
use control::ObjectName;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use runtime::random::jittered;
use std::{collections::BTreeSet, time::Duration};

/// Children that are not watched are looked at so often, in case somebody else changed them. It costs reads alone.
const LOOK_AGAIN: Duration = Duration::from_secs(600);

/// How often a Broker that waits for its turn looks whether it has come.
const LOOK_WHOSE_TURN: Duration = Duration::from_secs(10);

/// How often a cluster is looked at whose nodes start again or whose copies move: nobody tells when a copy has caught up.
const LOOK_WHILE_CHANGING: Duration = Duration::from_secs(5);

pub(super) async fn reconcile(broker: &Guarded<Broker>, context: &Context) -> Result<Action, ReconcileError> {
    let broker = match &broker.0 {
        Ok(broker) => broker.as_ref(),
        Err(invalid) => return report_invalid::<Broker>(MANAGER, invalid, context).await,
    };
    if broker.metadata.deletion_timestamp.is_some() {
        // The children go with it; whether the volume does is the StatefulSet's to know.
        context.writer.forget(broker.metadata.uid.as_deref());
        return Ok(Action::await_change());
    }
    if let Err(refused) = validate(broker) {
        report(broker, &Outcome::Refused(&refused), context).await?;
        return Ok(Action::await_change());
    }
    let own = name_of(broker);
    let mut observed = observe(broker, &own, context).await?;
    if broker.spec.paused() {
        report(broker, &Outcome::Observed { observed: &observed, growth: &Ok(()), context }, context).await?;
        return Ok(Action::await_change());
    }
    let now = runtime::clock::unix_seconds();
    let authority = context.authority.borrow().clone();
    let certificate = certificate::current((broker, &own), observed.secret.as_ref(), &authority, now)?;
    let children = desired(broker, &own, &observed, (&certificate, &context.settings))?;
    if let Some(note) = adopted(broker, &observed) {
        context.writer.tell(broker, REASON_ADOPTED, &note).await?;
    }
    let mut moved = Ok(());
    let (written, growth) = apply(&children, &observed.turn, &context.writer).await?;
    if written == Applied::Unchanged {
        observed.restarts = restarts::act(broker, observed.restarts, context).await?;
        moved = scaling::act(&own, &observed.scaling.scale, context).await;
    }
    prune(broker, &own, &context.writer).await?;
    report(broker, &Outcome::Observed { observed: &observed, growth: &growth, context }, context).await?;
    moved?;
    let is_still = observed.restarts == Restarts::Done && observed.scaling.scale.is_steady();
    let look_again = match (&observed.turn, is_still) {
        (Turn::Waits(_), _) => LOOK_WHOSE_TURN,
        (Turn::Now, false) => LOOK_WHILE_CHANGING,
        (Turn::Now, true) => LOOK_AGAIN,
    };
    match observed.engine {
        Some(Err(error)) => Err(error.into()),
        _ => Ok(Action::requeue(certificate.renew_in(now).min(jittered(look_again)))),
    }
}

/// What the owner of a Broker should know when its volume was there before it, as after a deletion that retained it.
fn adopted(broker: &Broker, observed: &Observed) -> Option<String> {
    let is_new = broker.status.is_none() && observed.stateful_set.is_none();
    let found = observed.claims.first().filter(|_| is_new)?;
    let claim = objects::claim_name(&name_of(broker).name, found.node);
    Some(format!(
        "volume claim {claim} was there already: the Broker goes on with the topics and messages on it"
    ))
}

/// Writes the children in order; a claim that cannot grow stops nothing but the others. Says what became of the
/// StatefulSet, and of the claims.
async fn apply(
    children: &Children,
    turn: &Turn,
    writer: &Writer,
) -> Result<(Applied, Result<(), ApplyError>), ReconcileError> {
    writer.apply(MANAGER, &children.secret).await?;
    writer.apply(MANAGER, &children.config_map).await?;
    writer.apply(MANAGER, &children.nodes).await?;
    writer.apply(MANAGER, &children.bootstrap).await?;
    if let Some(budget) = &children.disruption_budget {
        writer.apply(MANAGER, budget).await?;
    }
    let written = match turn {
        Turn::Now => writer.apply(MANAGER, &children.stateful_set).await?,
        Turn::Waits(_) => Applied::Unchanged,
    };
    for claim in &children.claims {
        if let Err(error) = writer.apply(MANAGER, claim).await {
            return Ok((written, Err(error)));
        }
    }
    Ok((written, Ok(())))
}

/// Deletes what an earlier spec or an earlier version of us made, once per change of the spec. Secrets are
/// left alone: listing them is a right that the operator does without.
async fn prune(broker: &Broker, own: &ObjectName, writer: &Writer) -> Result<(), ReconcileError> {
    let seen = broker.status.as_ref().and_then(|status| status.observed_generation);
    if seen == broker.metadata.generation {
        return Ok(());
    }
    let selector = format!("{}={}", labels::BROKER, own.name);
    let place = (own.namespace.as_str(), selector.as_str());
    let uid = broker.metadata.uid.as_deref().unwrap_or_default();
    let keep = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    let services = keep(&[objects::service_name(&own.name), objects::nodes_name(&own.name)]);
    writer.prune::<Service>(place, uid, &services).await?;
    writer.prune::<ConfigMap>(place, uid, &keep(&[objects::config_name(&own.name)])).await?;
    Ok(())
}

async fn report(broker: &Broker, outcome: &Outcome<'_>, context: &Context) -> Result<(), ReconcileError> {
    let before = broker.status.clone().unwrap_or_default();
    let after = status(&before, broker, outcome, &context.now());
    let json =
        |status| serde_json::to_value(status).map_err(|error| ReconcileError::Build("a status", error));
    context.writer.status(MANAGER, broker, (&json(&before)?, &json(&after)?)).await?;
    context.writer.event(broker, &before.conditions, &after.conditions).await?;
    Ok(())
}
