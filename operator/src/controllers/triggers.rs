//! Who is reconciled when what changes. Only changes that matter to the reconcile count: a status never does,
//! except a Broker's towards its Topics.

use crate::{
    cluster::{Change, Cluster, fingerprint},
    context::Context,
    guard::Guarded,
};
use api::{Broker, Channel, Topic, broker::Engine, labels};
use control::ObjectName;
use futures::{
    FutureExt as _, StreamExt as _,
    stream::{self, BoxStream},
};
use kube::Resource;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// How often Channels' members are looked at.
const MEMBERSHIP_PERIOD: Duration = Duration::from_secs(10);

/// Topics that come or go within this time make one reconcile of their Broker: its status is written for a number that
/// nobody waits for, as that of a Channel.
const COUNT_PAUSE: Duration = Duration::from_secs(10);

type Names = BoxStream<'static, ObjectName>;

/// What of an object means work: its spec, whether it is going, whether it is another one, whether somebody asks. Our own
/// finalizer is not among it, or each new Topic would be reconciled twice.
fn meaning<R: Resource>(object: &R) -> u64 {
    let meta = object.meta();
    let asked = meta.annotations.as_ref().and_then(|annotations| annotations.get(labels::RECONCILE));
    fingerprint(&(meta.generation, &meta.uid, meta.deletion_timestamp.is_some(), asked))
}

/// Objects of ours whose children changed: version of the child's spec, and what its status says.
fn version<R: Resource>(object: &R) -> u64 {
    fingerprint(&object.meta().resource_version)
}

fn own<K>(kind: &crate::cluster::Kind<Guarded<K>>) -> Names
where
    K: Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let applied = |change: Change<Guarded<K>>| match change {
        Change::Applied(object) => Some(crate::cluster::name_of(object.as_ref())),
        Change::Gone(_) => None,
    };
    kind.follow(meaning).into_stream().filter_map(move |change| std::future::ready(applied(change))).boxed()
}

/// Of a child, the Broker that its label names.
fn broker_of_child<R: Resource>(change: &Change<R>) -> Option<ObjectName> {
    match change {
        Change::Applied(object) => {
            let meta = object.meta();
            let broker = meta.labels.as_ref()?.get(labels::BROKER)?;
            Some(ObjectName::new(meta.namespace.clone()?, broker))
        }
        // A deleted child is known by its name alone.
        Change::Gone(name) => {
            // BROKER-broker, or data-BROKER-broker-NODE.
            let set = match name.name.strip_prefix("data-").and_then(|claim| claim.rsplit_once('-')) {
                Some((set, node)) if node.parse::<u32>().is_ok() => set,
                _ => name.name.as_str(),
            };
            set.strip_suffix("-broker").map(|broker| ObjectName::new(&name.namespace, broker))
        }
    }
}

/// A Broker's own changes, those of its StatefulSet and volumes, the number of its Topics, and what its engine says.
pub(crate) fn brokers(context: &Arc<Context>) -> Names {
    let cluster = &context.cluster;
    let sets = cluster.stateful_sets.follow(version).into_stream();
    let sets = sets.filter_map(|change| std::future::ready(broker_of_child(&change)));
    let claims = cluster.volume_claims.follow(version).into_stream();
    let claims = claims.filter_map(|change| std::future::ready(broker_of_child(&change)));
    let all = cluster.clone();
    let roots = stream::unfold(context.authority.clone(), |mut authority| async move {
        authority.changed().await.ok()?;
        Some(((), authority))
    });
    let roots = roots.flat_map(move |()| stream::iter(all_brokers(&all)));
    let topics = counted(cluster);
    let told = context.health.told.news();
    stream::select_all([own(&cluster.brokers), sets.boxed(), claims.boxed(), roots.boxed(), topics, told])
        .boxed()
}

/// A store has no order; a run that is repeated has one.
fn sorted(names: impl Iterator<Item = ObjectName>) -> Vec<ObjectName> {
    let mut names: Vec<ObjectName> = names.collect();
    names.sort();
    names
}

fn all_brokers(cluster: &Cluster) -> Vec<ObjectName> {
    sorted(cluster.brokers.all().iter().map(|broker| crate::cluster::name_of(broker.as_ref())))
}

/// Brokers whose number of Topics changed; many changes within a pause are one.
fn counted(cluster: &Cluster) -> Names {
    let follow = cluster.topics.follow(topic_home);
    let cluster = cluster.clone();
    stream::unfold((follow, cluster), |(mut follow, cluster)| async move {
        let mut homes: BTreeSet<ObjectName> = homes_of(&cluster, &follow.next().await?).into_iter().collect();
        tokio::time::sleep(COUNT_PAUSE).await;
        while let Some(change) = follow.next().now_or_never() {
            homes.extend(homes_of(&cluster, &change?));
        }
        Some((stream::iter(homes), (follow, cluster)))
    })
    .flatten()
    .boxed()
}

fn topic_home(topic: &Guarded<Topic>) -> u64 {
    let namespace = topic.meta().namespace.as_deref().unwrap_or_default();
    fingerprint(&topic.decoded().map(|topic| topic.spec.broker_of(namespace)))
}

/// The Brokers whose number of Topics may have changed.
fn homes_of(cluster: &Cluster, change: &Change<Guarded<Topic>>) -> Vec<ObjectName> {
    match change {
        Change::Applied(topic) => {
            topic.decoded().map(|topic| super::topic::broker_name(topic)).into_iter().collect()
        }
        // Where it lived is no longer known; Brokers are few.
        Change::Gone(_) => all_brokers(cluster),
    }
}

/// A Topic's own changes, those of its Broker that matter to it, and of its namespace's labels.
pub(crate) fn topics(cluster: &Cluster) -> Names {
    let all = cluster.clone();
    let brokers = cluster.brokers.follow(broker_face).into_stream();
    let brokers = brokers.flat_map(move |change| {
        let topics = all.topics_on(&change.name());
        stream::iter(sorted(topics.iter().map(|topic| crate::cluster::name_of(topic.as_ref()))))
    });
    let all = cluster.clone();
    let namespaces =
        cluster.namespaces.follow(|namespace| fingerprint(&namespace.metadata.labels)).into_stream();
    let namespaces = namespaces.flat_map(move |change| {
        let namespace = change.name().name;
        let topics = all.decoded_topics();
        let names = topics.iter().map(|topic| crate::cluster::name_of(topic.as_ref()));
        stream::iter(sorted(names.filter(|name| name.namespace == namespace)))
    });
    let all = cluster.clone();
    let accounts =
        cluster.service_accounts.follow(|account| fingerprint(&account.metadata.uid)).into_stream();
    let accounts = accounts.flat_map(move |change| stream::iter(topics_for(&all, &change.name().namespace)));
    stream::select_all([own(&cluster.topics), brokers.boxed(), namespaces.boxed(), accounts.boxed()]).boxed()
}

/// The Topics on Kafka that let in all service accounts of a namespace.
fn topics_for(cluster: &Cluster, namespace: &str) -> Vec<ObjectName> {
    let brokers = cluster.brokers.all();
    let of_kafka = brokers.iter().filter_map(|broker| {
        let broker = broker.decoded().filter(|broker| broker.spec.engine == Engine::Kafka)?;
        Some(crate::cluster::name_of(broker.as_ref()))
    });
    let topics = of_kafka.flat_map(|broker| cluster.topics_on(&broker));
    let open = topics.filter(|topic| {
        let own = crate::cluster::name_of(topic.as_ref());
        control::topics::wanted(&topic.spec, &own).whole_namespaces().contains(namespace)
    });
    sorted(open.map(|topic| crate::cluster::name_of(topic.as_ref())))
}

/// What of a Broker matters to its Topics.
fn broker_face(broker: &Guarded<Broker>) -> u64 {
    let Some(broker) = broker.decoded() else { return 0 };
    let status = broker.status.as_ref();
    let rules = (&broker.spec.allowed_namespaces, broker.spec.namespace_quota());
    fingerprint(&(
        super::broker::serves(broker),
        serde_json::to_string(&rules).unwrap_or_default(),
        broker.spec.paused(),
        status.and_then(|status| status.cluster_id.clone()),
        broker.metadata.deletion_timestamp.is_some(),
    ))
}

/// A Channel's own changes, those of its members, looked at every 10 s, and those of the Topics that it names.
pub(crate) fn channels(context: &Arc<Context>) -> Names {
    let context = Arc::clone(context);
    let all = context.cluster.channels.clone();
    let topics = context.cluster.topics.follow(topic_face).into_stream();
    let topics = topics.flat_map(move |change| stream::iter(channels_with(&all.all(), &change.name())));
    let channels = context.cluster.channels.clone();
    let members = stream::unfold(context.membership.snapshot(), move |before| {
        let context = Arc::clone(&context);
        async move {
            tokio::time::sleep(MEMBERSHIP_PERIOD).await;
            let now = context.membership.snapshot();
            let changed: Vec<ObjectName> = now
                .keys()
                .chain(before.keys())
                .filter(|name| now.get(*name) != before.get(*name))
                .cloned()
                .collect();
            Some((stream::iter(changed), now))
        }
    });
    stream::select_all([own(&channels), members.flatten().boxed(), topics.boxed()]).boxed()
}

/// What of a Topic matters to the Channels that name it.
fn topic_face(topic: &Guarded<Topic>) -> u64 {
    fingerprint(&(
        topic.meta().uid.as_deref(),
        topic.decoded().is_some_and(|topic| super::channel::is_ready(topic)),
    ))
}

/// The Channels that name a Topic.
fn channels_with(channels: &[Arc<Guarded<Channel>>], topic: &ObjectName) -> Vec<ObjectName> {
    let names = channels.iter().filter(|channel| {
        let of_namespace = channel.meta().namespace.as_deref() == Some(topic.namespace.as_str());
        let names_it =
            |channel: &Arc<Channel>| channel.spec.topics().any(|(_, its)| its.topic.as_str() == topic.name);
        of_namespace && channel.decoded().is_some_and(names_it)
    });
    sorted(names.map(|channel| crate::cluster::name_of(channel.as_ref())))
}

/// A Subscription's own changes.
pub(super) fn subscriptions(cluster: &Cluster) -> Names {
    own(&cluster.subscriptions)
}
