//! Reads what surrounds a Topic: its Broker, its namespace, others that claim its name or room. Stores only.

use crate::cluster::{Cluster, name_of};
use api::{
    Broker, Topic,
    quota::{Limits, Used, exceeded, held},
};
use control::{
    ObjectName,
    topics::{Claim, Wanted, holder},
};
use kube::ResourceExt as _;
use std::{collections::BTreeMap, sync::Arc};

/// See the module.
pub(super) struct Surroundings {
    /// Why the Broker that the Topic names cannot be looked at.
    pub(super) outside: Option<String>,
    /// The Broker that the Topic names.
    pub(super) broker: Option<Arc<Broker>>,
    /// Labels of the Topic's namespace.
    pub(super) namespace_labels: BTreeMap<String, String>,
    /// Who has the name on the broker: this Topic, or an older one.
    pub(super) holder: ObjectName,
    /// What the Topic asks of that Broker; `None` while the service accounts that it lets in are not known.
    pub(super) wanted: Option<Wanted>,
    /// What Topics of its namespace that come before it take of the Broker. Only where the Broker has a quota.
    pub(super) used: Used,
}

pub(super) fn surroundings(topic: &Topic, cluster: &Cluster) -> Surroundings {
    let namespace = topic.namespace().unwrap_or_default();
    let name = super::broker_name(topic);
    let broker = cluster.broker(&name);
    let engine = broker.as_ref().map(|broker| broker.spec.engine).unwrap_or_default();
    Surroundings {
        outside: cluster.scope.outside(&name.namespace),
        wanted: super::wanted_on(engine, topic, cluster),
        used: used(topic, broker.as_deref(), cluster),
        broker,
        namespace_labels: cluster.namespace_labels(&namespace).unwrap_or_default(),
        holder: holder_of(topic, cluster),
    }
}

/// What comes before a Topic: others that have their topics, with what they have, and older ones, with all that they ask
/// for; so of two that ask at once the older one gets it, whoever is looked at first. Where there is room for all, as
/// nearly always, nobody needs to be put in order.
fn used(topic: &Topic, broker: Option<&Broker>, cluster: &Cluster) -> Used {
    let Some(limits) = broker.and_then(|broker| Limits::of(&broker.spec)) else { return Used::default() };
    let name = super::broker_name(topic);
    let others = cluster.homes.others(&name, &name_of(topic));
    if exceeded(limits, topic, held(topic), &others).is_empty() {
        return others;
    }
    cluster.homes.ahead(&name, &claim(topic))
}

/// The Topic that has the name on the broker that `topic` claims. One that is being deleted keeps it until it is gone.
pub(super) fn holder_of(topic: &Topic, cluster: &Cluster) -> ObjectName {
    let own = name_of(topic);
    let log_name = topic.spec.log_name(&own.namespace, &own.name);
    let others = cluster.topics_claiming(&super::broker_name(topic), &log_name);
    holder(others.iter().map(|other| claim(other)).chain([claim(topic)])).unwrap_or(own)
}

fn claim(topic: &Topic) -> Claim {
    let created = topic.metadata.creation_timestamp.as_ref();
    Claim { created_seconds: created.map_or(i64::MAX, |time| time.0.as_second()), object: name_of(topic) }
}
