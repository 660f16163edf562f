//! From the kinds of `api` to the objects of the index: defaults are filled in, and what cannot be
//! used yet becomes a problem that names the field.

use super::{Channel, Grants, Topic};
use crate::names::ObjectName;
use crate::view::Delivery;
use api::access::{Access, Action, grants};
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

impl Channel {
    /// A Channel as the API server or a file has it. An object without a namespace is in `default`.
    #[must_use]
    pub fn from_object(channel: &api::Channel) -> Self {
        let name = object_name(&channel.metadata);
        let delivery = &channel.spec.delivery;
        let wrong = api::channel::validate(channel);
        let unsupported = api::channel::not_supported(&channel.spec);
        Self {
            delivery: Delivery {
                pattern: format!("{:?}", channel.spec.pattern),
                overflow: format!("{:?}", delivery.overflow),
                block_timeout_ms: saturated(delivery.block_timeout_ms()),
                buffer_messages: u32::try_from(delivery.buffer.messages).unwrap_or(1),
                buffer_bytes: delivery.buffer.size.bytes(),
                max_message_bytes: saturated(channel.spec.max_message_size.bytes()),
            },
            grants: all_grants(channel.spec.access.as_ref(), &name.namespace),
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
