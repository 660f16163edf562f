//! Brings a Kafka cluster to another number of nodes, as `scale` decides.

use super::{
    address,
    scale::{self, Nodes, Scale},
};
use crate::{context::Context, kafka::KafkaError};
use api::{
    Broker,
    broker::{
        Engine,
        conditions::{COPIES_PLACED, REASON_LEAVING, REASON_SPREADING},
    },
    condition::find,
};
use control::ObjectName;
use k8s_openapi::api::apps::v1::StatefulSet;
use tokio::sync::OwnedMutexGuard;

/// How the cluster gets to its number of nodes. While that is being looked at and done nobody else moves copies.
pub(super) struct Scaling {
    /// What comes next.
    pub(super) scale: Scale,
    /// Kept until the moves are told.
    _alone: Option<OwnedMutexGuard<()>>,
}

impl From<Scale> for Scaling {
    fn from(scale: Scale) -> Self {
        Self { scale, _alone: None }
    }
}

/// Looks how many nodes there are and, when that is not what is wanted, at the cluster. `is_restarting`: its nodes start again, so
/// copies wait.
pub(super) async fn plan(
    (broker, own): (&Broker, &ObjectName),
    set: Option<&StatefulSet>,
    is_restarting: bool,
    context: &Context,
) -> Scaling {
    let wanted = broker.spec.nodes();
    let present = set.and_then(|set| set.spec.as_ref()?.replicas);
    let Some(present) = present.filter(|_| broker.spec.engine == Engine::Kafka) else {
        return Scale::steady(wanted).into();
    };
    let nodes = Nodes { present, wanted };
    let reason = if wanted < present { REASON_LEAVING } else { REASON_SPREADING };
    let waits = |told: String| Scaling::from(Scale { nodes: present, moves: Vec::new(), reason, told });
    let is_spreading = is_spreading(broker, present);
    if broker.spec.paused() && (is_spreading || wanted != present) {
        return waits("waits until spec.maintenance.paused is false".to_owned());
    }
    if let Some(scale) = scale::begin(nodes, is_spreading) {
        return scale.into();
    }
    if is_restarting {
        return waits("waits until all nodes run with the newest settings".to_owned());
    }
    let address = address(own);
    let alone = context.brokers.moves(&address).lock_owned().await;
    match context.brokers.layout(&address).await {
        Ok(layout) => Scaling { scale: scale::decide(nodes, &layout), _alone: Some(alone) },
        Err(error) => waits(format!("waits for the cluster to tell: {error}")),
    }
}

/// Whether new nodes have not got their share yet: the status says so, or is from before they came.
fn is_spreading(broker: &Broker, present: i32) -> bool {
    let Some(status) = &broker.status else { return false };
    let known = i32::try_from(status.brokers.len()).unwrap_or(i32::MAX);
    let is_told =
        find(&status.conditions, COPIES_PLACED).is_some_and(|placed| placed.reason == REASON_SPREADING);
    is_told || (known > 0 && known < present)
}

/// Has copies move.
pub(super) async fn act(own: &ObjectName, scale: &Scale, context: &Context) -> Result<(), KafkaError> {
    if scale.moves.is_empty() {
        return Ok(());
    }
    context.brokers.reassign(&address(own), &scale.moves).await
}
