//! From the kinds of `api` to the objects of the index: defaults are filled in, and what cannot be
//! used yet becomes a problem that names the field.

use super::{Channel, Grants, Topic};
use crate::names::ObjectName;
use crate::view::{Delivery, Replay};
use api::access::{Access, Action, grants, is_audited};
use api::channel::TopicReference;
use api::field::{FieldError, join};

/// The largest message of a Topic that sets no limit, in bytes: Kafka's own default.
const TOPIC_MESSAGE_BYTES_DEFAULT: u32 = 1_048_588;

fn all_grants(access: Option<&Access>, namespace: &str) -> Grants {
    Grants {
        publish: grants(access, namespace, Action::Publish),
        subscribe: grants(access, namespace, Action::Subscribe),
    }
}

fn saturated(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// What is wrong with an object, as one text; empty when nothing is.
fn problem(kind: &str, name: &ObjectName, wrong: &[FieldError], unsupported: &[FieldError]) -> String {
    let found = if wrong.is_empty() { unsupported } else { wrong };
    if found.is_empty() { String::new() } else { format!("{kind} {name}: {}", join(found)) }
}

fn delivery(spec: &api::channel::ChannelSpec, namespace: &str) -> Delivery {
    let delivery = &spec.delivery;
    let topic = |reference: &Option<TopicReference>| {
        reference.as_ref().map(|reference| ObjectName::new(namespace, reference.topic.as_str()))
    };
    let redelivery = delivery.redelivery();
    Delivery {
        pattern: format!("{:?}", spec.pattern),
        overflow: format!("{:?}", delivery.overflow),
        block_timeout_ms: saturated(delivery.block_timeout_ms()),
        buffer_messages: u32::try_from(delivery.buffer.messages).unwrap_or(1),
        buffer_bytes: delivery.buffer.size.bytes(),
        max_message_bytes: saturated(spec.max_message_size.bytes()),
        acknowledge: format!("{:?}", delivery.acknowledge),
        redeliver_after_ms: redelivery.as_ref().map_or(0, |found| saturated(found.after.milliseconds())),
        redeliver_attempts: redelivery.map_or(0, |found| u32::try_from(found.attempts).unwrap_or(1)),
        replay: delivery.replay.as_ref().map(replay).unwrap_or_default(),
        ready_subscribers: spec
            .ready
            .as_ref()
            .map_or(0, |ready| u32::try_from(ready.subscribers).unwrap_or(0)),
        request_timeout_ms: saturated(spec.request_timeout_ms()),
        dead_letter: topic(&delivery.dead_letter),
        record: topic(&spec.record),
        spill: topic(&delivery.spill),
    }
}

fn replay(replay: &api::channel::Replay) -> Replay {
    Replay {
        messages: replay.messages.map_or(0, |messages| u32::try_from(messages).unwrap_or(1)),
        bytes: replay.bytes(),
        time_ms: replay.time.as_ref().map_or(0, |time| time.milliseconds()),
    }
}

impl Channel {
    /// A Channel as the API server or a file has it. An object without a namespace is in `default`.
    #[must_use]
    pub fn from_object(channel: &api::Channel) -> Self {
        let name = object_name(&channel.metadata);
        let wrong = api::channel::validate(channel);
        let unsupported = api::channel::not_supported(&channel.spec);
        Self {
            delivery: delivery(&channel.spec, &name.namespace),
            grants: all_grants(channel.spec.access.as_ref(), &name.namespace),
            audit: is_audited(channel.spec.access.as_ref()),
            problem: problem("Channel", &name, &wrong, &unsupported),
            name,
        }
    }
}

impl Topic {
    /// A Topic as the API server or a file has it. Whether its Broker takes it is the caller's to
    /// say, with [`Topic::problem`].
    #[must_use]
    pub fn from_object(topic: &api::Topic) -> Self {
        let name = object_name(&topic.metadata);
        let (broker_namespace, broker) = topic.spec.broker_of(&name.namespace);
        let created = topic.metadata.creation_timestamp.as_ref();
        let wrong = api::topic::validate(topic);
        let unsupported = api::topic::not_supported(&topic.spec);
        let max_message = topic.spec.max_message_size.as_ref();
        Self {
            created_seconds: created.map_or(i64::MAX, |time| time.0.as_second()),
            topic_name: topic.spec.log_name(&name.namespace, &name.name),
            broker: ObjectName::new(broker_namespace, broker),
            partitions: u32::try_from(topic.spec.partitions).unwrap_or(1),
            max_message_bytes: max_message
                .map_or(TOPIC_MESSAGE_BYTES_DEFAULT, |size| saturated(size.bytes())),
            grants: all_grants(topic.spec.access.as_ref(), &name.namespace),
            problem: problem("Topic", &name, &wrong, &unsupported),
            name,
        }
    }
}

/// The name of an object; without a namespace it is in `default`.
#[must_use]
fn object_name(metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> ObjectName {
    let namespace = metadata.namespace.as_deref().unwrap_or("default");
    ObjectName::new(namespace, metadata.name.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery_of(spec: &str) -> Delivery {
        let yaml = format!(
            "apiVersion: pinnace.dev/v1alpha1\nkind: Channel\nmetadata: {{name: a, namespace: shop}}\nspec: {spec}"
        );
        Channel::from_object(&serde_yaml::from_str(&yaml).unwrap()).delivery
    }

    /// Goal: every field of a Channel's delivery arrives, with Topics under the Channel's namespace.
    #[test]
    fn every_field_arrives() {
        let found = delivery_of(
            "{ready: {subscribers: 3}, record: {topic: log}, delivery: {overflow: Spill, spill: {topic: over}, \
             acknowledge: Required, redeliver: {after: 2s, attempts: 7}, deadLetter: {topic: dead}, \
             replay: {messages: 10, size: 1Ki, time: 1m}}}",
        );
        let topic = |name| Some(ObjectName::new("shop", name));
        assert_eq!(
            found,
            Delivery {
                pattern: "PubSub".to_owned(),
                overflow: "Spill".to_owned(),
                block_timeout_ms: 0,
                buffer_messages: 10_000,
                buffer_bytes: 16 << 20,
                max_message_bytes: 1 << 20,
                acknowledge: "Required".to_owned(),
                redeliver_after_ms: 2_000,
                redeliver_attempts: 7,
                replay: Replay { messages: 10, bytes: 1_024, time_ms: 60_000 },
                ready_subscribers: 3,
                request_timeout_ms: 0,
                dead_letter: topic("dead"),
                record: topic("log"),
                spill: topic("over"),
            }
        );
    }

    /// Goal: what is omitted is nothing where it means nothing, and its default where it matters.
    #[test]
    fn omitted_fields_are_nothing_or_their_default() {
        let plain = delivery_of("{}");
        assert_eq!(
            (plain.acknowledge.as_str(), plain.redeliver_after_ms, plain.redeliver_attempts),
            ("None", 0, 0)
        );
        assert_eq!((plain.replay, plain.ready_subscribers), (Replay::default(), 0));
        let asking = delivery_of("{pattern: RequestReply, delivery: {acknowledge: Required}}");
        assert_eq!(
            (asking.request_timeout_ms, asking.redeliver_after_ms, asking.redeliver_attempts),
            (5_000, 30_000, 5)
        );
        let timed = delivery_of("{delivery: {replay: {time: 1m}}}").replay;
        assert_eq!(
            timed,
            Replay { messages: 0, bytes: 64 << 20, time_ms: 60_000 },
            "memory is always bounded"
        );
    }
}
