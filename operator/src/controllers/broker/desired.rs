//! Pure: a valid Broker → its child objects.

use super::{
    certificate::Certificate,
    engine,
    objects::{config_map, disruption_budget, secret, services, stateful_set, volume_claim},
    observe::Observed,
};
use crate::{context::Settings, controllers::ReconcileError};
use api::{Broker, broker::Engine, quantity::Quantity};
use control::ObjectName;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service},
    policy::v1::PodDisruptionBudget,
};

/// The child objects, in the order in which they are applied: what a pod mounts comes before the pod.
pub(super) struct Children {
    pub(super) secret: Secret,
    pub(super) config_map: ConfigMap,
    pub(super) nodes: Service,
    pub(super) bootstrap: Service,
    /// Set when the engine goes on without one of its nodes.
    pub(super) disruption_budget: Option<PodDisruptionBudget>,
    pub(super) stateful_set: StatefulSet,
    /// The claims that are there and must grow.
    pub(super) claims: Vec<PersistentVolumeClaim>,
}

pub(super) fn desired(
    broker: &Broker,
    own: &ObjectName,
    observed: &Observed,
    (certificate, settings): (&Certificate, &Settings),
) -> Result<Children, ReconcileError> {
    let failed = |what: &'static str| move |error| ReconcileError::Build(what, error);
    let template_size = observed.template_size();
    let present = stateful_set::Present {
        nodes: observed.scaling.scale.nodes,
        claim_size: template_size.as_deref(),
        certificate: (broker.spec.engine == Engine::Kafka).then_some(certificate),
        users_assigned: observed.users_assigned,
    };
    Ok(Children {
        secret: secret::build(broker, own, certificate).map_err(failed("a Secret"))?,
        config_map: config_map::build(broker, own, &engine::files(broker, own, settings))
            .map_err(failed("a ConfigMap"))?,
        nodes: services::nodes(broker, own).map_err(failed("a Service"))?,
        bootstrap: services::bootstrap(broker, own).map_err(failed("a Service"))?,
        disruption_budget: (broker.spec.engine == Engine::Kafka)
            .then(|| disruption_budget::build(broker, own).map_err(failed("a PodDisruptionBudget")))
            .transpose()?,
        stateful_set: stateful_set::build(broker, own, settings, &present)
            .map_err(failed("a StatefulSet"))?,
        claims: growing(broker, observed)
            .map(|node| {
                let size = broker.spec.storage.size.as_str();
                volume_claim::grown((own, node), size).map_err(failed("a PersistentVolumeClaim"))
            })
            .collect::<Result<_, _>>()?,
    })
}

/// The nodes whose claims must grow. A claim never shrinks.
fn growing(broker: &Broker, observed: &Observed) -> impl Iterator<Item = i32> {
    let wanted = broker.spec.storage.size.bytes();
    observed.claims.iter().filter_map(move |claim| {
        let claimed: Quantity = claim.claimed()?.parse().ok()?;
        (wanted > claimed.bytes()).then_some(claim.node)
    })
}
