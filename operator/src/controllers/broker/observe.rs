//! Reads what is there of a Broker: its children, its volume, its Topics, and what the engine says.

use super::{
    objects::{claim_name, secret_name, service_name},
    restarts::{self, Restarts},
    scaling::{self, Scaling},
    turn::{self, Turn},
};
use crate::{
    apply::ApplyError,
    context::Context,
    health::Said,
    kafka::{ClusterState, KafkaError},
};
use api::{Broker, broker::Engine, quantity::Quantity};
use control::ObjectName;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Secret},
};
use runtime::random::jittered;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// See the module.
pub(super) struct Observed {
    pub(super) stateful_set: Option<Arc<StatefulSet>>,
    /// Those volume claims of the nodes that are there, by node.
    pub(super) claims: Vec<Claim>,
    pub(super) secret: Option<Secret>,
    /// Whether the StatefulSet may be written.
    pub(super) turn: Turn,
    /// Which nodes have to start again.
    pub(super) restarts: Restarts,
    /// How many nodes there are to be, and which copies have to move.
    pub(super) scaling: Scaling,
    /// Whether the namespace says which users its Pods run as.
    pub(super) users_assigned: bool,
    /// Topic objects that live here.
    pub(super) topics: usize,
    /// What the engine said; `None` while no node is ready.
    pub(super) engine: Option<Result<ClusterState, KafkaError>>,
    /// How it is, as it told last.
    pub(super) health: Said,
}

/// The volume claim of a node.
pub(super) struct Claim {
    pub(super) node: i32,
    claim: Arc<PersistentVolumeClaim>,
}

impl Claim {
    /// Size that it asks for.
    pub(super) fn claimed(&self) -> Option<&str> {
        let requests = self.claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
        Some(&requests.get("storage")?.0)
    }

    /// Size of the volume, once it is bound.
    fn capacity(&self) -> Option<&str> {
        Some(&self.claim.status.as_ref()?.capacity.as_ref()?.get("storage")?.0)
    }
}

pub(super) async fn observe(
    broker: &Broker,
    own: &ObjectName,
    context: &Context,
) -> Result<Observed, ApplyError> {
    let child = |name: String| ObjectName::new(&own.namespace, name);
    let cluster = &context.cluster;
    let stateful_set = cluster.stateful_sets.get(&child(service_name(&own.name)));
    let engine = match stateful_set.as_deref().filter(|set| is_ready(set)) {
        Some(set) => Some(context.engines.describe((broker, own), set, context).await),
        None => None,
    };
    let restarts = restarts::plan((broker, own), stateful_set.as_deref(), context).await?;
    let is_restarting = restarts != Restarts::Done;
    let scaling = scaling::plan((broker, own), stateful_set.as_deref(), is_restarting, context).await;
    Ok(Observed {
        claims: (0..scaling.scale.nodes)
            .filter_map(|node| {
                let claim = cluster.volume_claims.get(&child(claim_name(&own.name, node)))?;
                Some(Claim { node, claim })
            })
            .collect(),
        secret: context.writer.read(&child(secret_name(&own.name))).await?,
        turn: match broker.spec.engine {
            Engine::Embedded => turn_of(own, stateful_set.as_deref(), context),
            // Its nodes take their turns among themselves.
            Engine::Kafka => Turn::Now,
        },
        restarts,
        scaling,
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
            let broker = cluster.broker(&name)?;
            (broker.spec.engine == Engine::Embedded).then_some((name, broker, set))
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

/// How often a cluster is asked, and after which pause: whoever answered before may be the node that went.
const CLUSTER_TRIES: u32 = 8;
const CLUSTER_PAUSE: Duration = Duration::from_millis(500);

impl Engines {
    async fn describe(
        &self,
        (broker, own): (&Broker, &ObjectName),
        set: &StatefulSet,
        context: &Context,
    ) -> Result<ClusterState, KafkaError> {
        let version = &set.metadata.resource_version;
        if let Some((said_at, said)) = self.lock().get(own)
            && said_at == version
        {
            return Ok(said.clone());
        }
        let address = super::address(own);
        let mut said = context.brokers.describe(&address).await;
        let tries = if broker.spec.nodes() > 1 { CLUSTER_TRIES } else { 1 };
        for _ in 1..tries {
            if !matches!(said, Err(KafkaError::Unreachable { .. })) {
                break;
            }
            tokio::time::sleep(jittered(CLUSTER_PAUSE)).await;
            said = context.brokers.describe(&address).await;
        }
        let said = said?;
        let mut all = self.lock();
        all.retain(|broker, _| context.cluster.brokers.get(broker).is_some());
        all.insert(own.clone(), (version.clone(), said.clone()));
        Ok(said)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectName, (Option<String>, ClusterState)>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a node serves, as its readiness probe says.
pub(super) fn is_ready(set: &StatefulSet) -> bool {
    ready_nodes(set) > 0
}

/// How many nodes serve.
pub(super) fn ready_nodes(set: &StatefulSet) -> i32 {
    set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0)
}

impl Observed {
    /// Size in the template for claims of the StatefulSet that is there.
    pub(super) fn template_size(&self) -> Option<String> {
        let templates = self.stateful_set.as_ref()?.spec.as_ref()?.volume_claim_templates.as_ref()?;
        let requests = templates.first()?.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
        Some(requests.get("storage")?.0.clone())
    }

    /// Size of the smallest volume; `None` while one of `nodes` has none.
    pub(super) fn capacity(&self, nodes: i32) -> Option<String> {
        let sizes = self.claims.iter().filter_map(Claim::capacity);
        let mut sizes: Vec<(u64, &str)> =
            sizes.filter_map(|size| Some((size.parse::<Quantity>().ok()?.bytes(), size))).collect();
        sizes.sort_unstable();
        let all = usize::try_from(nodes).is_ok_and(|nodes| sizes.len() >= nodes);
        sizes.first().filter(|_| all).map(|(_, size)| (*size).to_owned())
    }
}
