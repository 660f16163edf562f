//! Cluster objects → the values that crate `control` takes. Reads the watched stores; writes
//! nothing. Kubernetes types stop here.

#[cfg(test)]
mod tests;

use api::topic::conditions as topic_reasons;
use api::{Broker, Channel, Topic};
use control_plane::{ObjectName, Objects};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use runtime::tasks::{OnError, Tasks};

use crate::cluster::{Change, Cluster, Follow, fingerprint};
use crate::guard::Guarded;

/// The TLS listener of every Broker.
const BROKER_PORT: u16 = 9093;
/// Reasons for which a Topic cannot be used at all. With any other it may well be there already
/// and in use, so apps are not cut off while the operator or the broker restarts.
const FINAL_REASONS: [&str; 5] = [
    topic_reasons::REASON_BROKER_NOT_SERVED,
    topic_reasons::REASON_NAMESPACE_NOT_ALLOWED,
    topic_reasons::REASON_CONFLICT,
    topic_reasons::REASON_REFUSED,
    topic_reasons::REASON_TOPIC_NOT_FOUND,
];

/// The watch of a kind ended before the shutdown.
#[derive(Debug, thiserror::Error)]
#[error("the control plane no longer hears of {0}")]
struct Deaf(&'static str);

/// Fills `objects` from the stores, which must be complete, and keeps it up to date.
pub fn start(cluster: &Cluster, objects: &Objects, tasks: &Tasks) {
    for topic in cluster.topics.all() {
        put_topic(objects, &topic);
    }
    for channel in cluster.channels.all() {
        put_channel(objects, &channel);
    }
    for broker in cluster.brokers.all() {
        put_broker(objects, &broker);
    }
    follow("topics", cluster.topics.follow(print_topic), objects, tasks, (put_topic, Objects::remove_topic));
    follow(
        "channels",
        cluster.channels.follow(print_channel),
        objects,
        tasks,
        (put_channel, Objects::remove_channel),
    );
    follow(
        "brokers",
        cluster.brokers.follow(print_broker),
        objects,
        tasks,
        (put_broker, Objects::remove_broker),
    );
}

/// What is done with an object that is there, and with the name of one that is gone.
type Actions<K> = (fn(&Objects, &Guarded<K>), fn(&Objects, &ObjectName));

fn follow<K>(
    kind: &'static str,
    mut changes: Follow<Guarded<K>>,
    objects: &Objects,
    tasks: &Tasks,
    (put, remove): Actions<K>,
) where
    Guarded<K>: kube::Resource<DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + Sync,
    K: Send + Sync + 'static,
{
    let (objects, shutdown) = (objects.clone(), tasks.shutdown().clone());
    drop(tasks.spawn(kind, OnError::Shutdown, async move {
        let feeding = async {
            while let Some(change) = changes.next().await {
                match change {
                    Change::Applied(object) => put(&objects, &object),
                    Change::Gone(name) => remove(&objects, &name),
                }
            }
        };
        match shutdown.or(feeding).await {
            Some(()) if !shutdown.has_begun() => Err(Deaf(kind)),
            _ => Ok(()),
        }
    }));
}

fn put_topic(objects: &Objects, topic: &Guarded<Topic>) {
    match topic.decoded() {
        Some(topic) => objects.upsert_topic(translate_topic(topic)),
        None => objects.remove_topic(&crate::cluster::name_of(topic)),
    }
}

fn put_channel(objects: &Objects, channel: &Guarded<Channel>) {
    match channel.decoded() {
        Some(channel) => objects.upsert_channel(control_plane::Channel::from_object(channel)),
        None => objects.remove_channel(&crate::cluster::name_of(channel)),
    }
}

fn put_broker(objects: &Objects, broker: &Guarded<Broker>) {
    match broker.decoded() {
        Some(broker) => objects.upsert_broker(translate_broker(broker)),
        None => objects.remove_broker(&crate::cluster::name_of(broker)),
    }
}

fn translate_topic(topic: &Topic) -> control_plane::Topic {
    let mut translated = control_plane::Topic::from_object(topic);
    if translated.problem.is_empty()
        && let Some(condition) = final_condition(topic)
    {
        let name = &translated.name;
        translated.problem = format!("Topic {name}: {}", condition.message);
    }
    translated
}

/// The reason why a Topic cannot be used, as its controller found it for the spec of now.
fn final_condition(topic: &Topic) -> Option<&Condition> {
    let status = topic.status.as_ref()?;
    let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready")?;
    let current = ready.observed_generation.is_none_or(|seen| Some(seen) == topic.metadata.generation);
    // One that may not grow is there as it was.
    let never_made = ready.reason == topic_reasons::REASON_QUOTA_EXCEEDED && status.topic_id.is_none();
    let is_final = never_made || FINAL_REASONS.contains(&ready.reason.as_str());
    (current && ready.status == "False" && is_final).then_some(ready)
}

fn translate_broker(broker: &Broker) -> control_plane::Broker {
    let name = ObjectName::new(broker.namespace().unwrap_or_default(), broker.name_any());
    let host = format!("{}-broker.{}.svc", name.name, name.namespace);
    control_plane::Broker {
        bootstrap: vec![format!("{host}:{BROKER_PORT}")],
        server_names: vec![host],
        name,
        problem: String::new(),
    }
}

fn print_topic(topic: &Guarded<Topic>) -> u64 {
    let condition = topic.decoded().and_then(|topic| final_condition(topic));
    let problem = condition.map(|condition| (condition.reason.clone(), condition.message.clone()));
    fingerprint(&(identity(topic), problem))
}

fn print_channel(channel: &Guarded<Channel>) -> u64 {
    fingerprint(&identity(channel))
}

fn print_broker(broker: &Guarded<Broker>) -> u64 {
    fingerprint(&identity(broker))
}

/// Changes with the spec, and when an object is deleted and made anew.
fn identity(object: &impl kube::Resource) -> (Option<String>, Option<i64>) {
    (object.meta().uid.clone(), object.meta().generation)
}
