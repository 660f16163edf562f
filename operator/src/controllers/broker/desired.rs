//! Pure: a valid Broker → its child objects.

use super::{
    certificate::Certificate,
    objects::{config_map, secret, services, stateful_set, volume_claim},
    observe::Observed,
};
use crate::{context::Settings, controllers::ReconcileError};
use api::{Broker, quantity::Quantity};
use control::ObjectName;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service},
};

/// The child objects, in the order in which they are applied: what a pod mounts comes before the pod.
pub(super) struct Children {
    pub(super) secret: Secret,
    pub(super) config_map: ConfigMap,
    pub(super) nodes: Service,
    pub(super) bootstrap: Service,
    pub(super) stateful_set: StatefulSet,
    /// Set when the claim that is there must grow.
    pub(super) claim: Option<PersistentVolumeClaim>,
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
        claim_size: template_size.as_deref(),
        users_assigned: observed.users_assigned,
    };
    Ok(Children {
        secret: secret::build(broker, own, certificate).map_err(failed("a Secret"))?,
        config_map: config_map::build(broker, own).map_err(failed("a ConfigMap"))?,
        nodes: services::nodes(broker, own).map_err(failed("a Service"))?,
        bootstrap: services::bootstrap(broker, own).map_err(failed("a Service"))?,
        stateful_set: stateful_set::build(broker, own, settings, &present)
            .map_err(failed("a StatefulSet"))?,
        claim: growth(broker, observed)
            .map(|size| volume_claim::grown(own, size.as_str()).map_err(failed("a PersistentVolumeClaim")))
            .transpose()?,
    })
}

/// The size that the claim must grow to. A claim never shrinks.
pub(super) fn growth<'a>(broker: &'a Broker, observed: &Observed) -> Option<&'a Quantity> {
    let claimed: Quantity = observed.claimed_size()?.parse().ok()?;
    let wanted = &broker.spec.storage.size;
    (wanted.bytes() > claimed.bytes()).then_some(wanted)
}
