//! Reads what is there of a Broker: its children, its volume, its Topics, and what the engine says.

use super::{
    objects::{claim_name, secret_name, service_name},
    turn::{self, Turn},
};
use crate::{
    apply::ApplyError,
    context::Context,
    health::Said,
    kafka::{ClusterState, KafkaError},
};
use control::ObjectName;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Secret},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// See the module.
pub(super) struct Observed {
    pub(super) stateful_set: Option<Arc<StatefulSet>>,
    pub(super) claim: Option<Arc<PersistentVolumeClaim>>,
    pub(super) secret: Option<Secret>,
    /// Whether the StatefulSet may be written.
    pub(super) turn: Turn,
    /// Whether the namespace says which users its Pods run as.
    pub(super) users_assigned: bool,
    /// Topic objects that live here.
    pub(super) topics: usize,
    /// What the engine said; `None` while no node is ready.
    pub(super) engine: Option<Result<ClusterState, KafkaError>>,
    /// How it is, as it told last.
    pub(super) health: Said,
}

pub(super) async fn observe(own: &ObjectName, context: &Context) -> Result<Observed, ApplyError> {
    let child = |name: String| ObjectName::new(&own.namespace, name);
    let cluster = &context.cluster;
    let stateful_set = cluster.stateful_sets.get(&child(service_name(&own.name)));
    let engine = match stateful_set.as_deref().filter(|set| is_ready(set)) {
        Some(set) => Some(context.engines.describe(own, set, context).await),
        None => None,
    };
    Ok(Observed {
        claim: cluster.volume_claims.get(&child(claim_name(&own.name))),
        secret: context.writer.read(&child(secret_name(&own.name))).await?,
        turn: turn_of(own, stateful_set.as_deref(), context),
        users_assigned: cluster.uid_range(&own.namespace).is_some(),
        topics: cluster.homes.count(own),
        stateful_set,
        engine,
        health: context.health.told.of(own),
    })
}

/// The others are looked at only when it runs another image than it should.
fn turn_of(own: &ObjectName, set: Option<&StatefulSet>, context: &Context) -> Turn {
    let settings = &context.settings;
    if set.is_none_or(|set| turn::image(set) == Some(settings.broker_image.as_str())) {
        return Turn::Now;
    }
    let (sets, cluster) = (context.cluster.stateful_sets.all(), &context.cluster);
    let fleet: Vec<_> = sets
        .iter()
        .filter_map(|set| {
            let name = turn::owner(set)?;
            Some((name.clone(), cluster.broker(&name)?, set))
        })
        .collect();
    let wanted = turn::Wanted {
        image: &settings.broker_image,
        at_once_max: settings.broker_upgrades_max,
        now: runtime::clock::unix_seconds(),
    };
    let fleet = fleet.iter().map(|(name, broker, set)| (name.clone(), broker.as_ref(), set.as_ref()));
    turn::turn(own, fleet, &wanted)
}

/// What engines last said of themselves. It holds while the StatefulSet does not change: a Broker that is looked at
/// again is not asked again. Of Brokers that are gone nothing is kept once another one is asked.
#[derive(Debug, Default)]
pub struct Engines {
    said: Mutex<HashMap<ObjectName, (Option<String>, ClusterState)>>,
}

impl Engines {
    async fn describe(
        &self,
        own: &ObjectName,
        set: &StatefulSet,
        context: &Context,
    ) -> Result<ClusterState, KafkaError> {
        let version = &set.metadata.resource_version;
        if let Some((said_at, said)) = self.lock().get(own)
            && said_at == version
        {
            return Ok(said.clone());
        }
        let said = context.brokers.describe(&super::address(own)).await?;
        let mut all = self.lock();
        all.retain(|broker, _| context.cluster.brokers.get(broker).is_some());
        all.insert(own.clone(), (version.clone(), said.clone()));
        Ok(said)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectName, (Option<String>, ClusterState)>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the node serves, as its readiness probe says.
pub(super) fn is_ready(set: &StatefulSet) -> bool {
    set.status.as_ref().is_some_and(|status| status.ready_replicas.unwrap_or(0) > 0)
}

impl Observed {
    /// Size in the template for claims of the StatefulSet that is there.
    pub(super) fn template_size(&self) -> Option<String> {
        let templates = self.stateful_set.as_ref()?.spec.as_ref()?.volume_claim_templates.as_ref()?;
        let requests = templates.first()?.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
        Some(requests.get("storage")?.0.clone())
    }

    /// Size that the claim asks for.
    pub(super) fn claimed_size(&self) -> Option<String> {
        let requests = self.claim.as_ref()?.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
        Some(requests.get("storage")?.0.clone())
    }

    /// Size of the volume.
    pub(super) fn capacity(&self) -> Option<String> {
        Some(self.claim.as_ref()?.status.as_ref()?.capacity.as_ref()?.get("storage")?.0.clone())
    }
}
