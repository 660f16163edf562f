//! Channel: brokerless messages straight from pod to pod. Fields and what they mean; nothing that acts.
#![expect(unreachable_pub, reason = "KubeSchema repeats each public struct inside a function")]

pub mod conditions;
mod defaults;
mod support;
mod validation;

pub use support::not_supported;
pub use validation::{validate, validate_update};

use crate::{access::Access, duration::Duration, names::ObjectName, quantity::Quantity};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a Channel should be.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "pinnace.dev",
    version = "v1alpha1",
    kind = "Channel",
    plural = "channels",
    shortname = "pchannel",
    category = "pinnace",
    namespaced,
    status = "ChannelStatus",
    derive = "PartialEq",
    doc = "Brokerless messages: the sidecar of the sender speaks straight to the sidecar of the receiver. Nothing in between, nothing stored unless asked for.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether apps can use the Channel"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "Why it is ready or not"),
    printcolumn(name = "Pattern", type_ = "string", json_path = ".spec.pattern", description = "Who gets a message"),
    printcolumn(name = "Publishers", type_ = "integer", json_path = ".status.publishers", description = "Pods that publish"),
    printcolumn(name = "Subscribers", type_ = "integer", json_path = ".status.subscribers", description = "Pods that subscribe"),
    printcolumn(name = "Overflow", type_ = "string", json_path = ".spec.delivery.overflow", description = "What happens when a subscriber is slow", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 63").message("the name of a Channel has no dots and at most 63 characters, since apps write channels/NAME.NAMESPACE")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.requestTimeout) || self.pattern == 'RequestReply'").message("requestTimeout is only for pattern RequestReply: remove it").field_path(".requestTimeout")
)]
pub struct ChannelSpec {
    /// Who gets a message: `PubSub` every subscriber, `Pipeline` one of them, `RequestReply` one of them, which answers. Cannot change. Default: PubSub.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("pattern cannot change: make a new Channel"))]
    pub pattern: Pattern,
    /// How messages reach each subscriber.
    #[serde(default)]
    pub delivery: Delivery,
    /// Also copy every message into a Topic of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<TopicReference>,
    /// How long a request waits for its reply. For pattern RequestReply; then the default is 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<Duration>,
    /// What must be there before a publish is accepted. It waits for blockTimeout, or for 5s where overflow is not Block, and then fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<ReadyWhen>,
    /// Largest message: all parts, headers, subject and key together. Default: 1Mi.
    #[serde(default = "defaults::max_message_size")]
    pub max_message_size: Quantity,
    /// Who may publish and subscribe. Omitted: every service account of this namespace may do both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
}

/// Who gets a message.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
pub enum Pattern {
    /// Every subscriber.
    #[default]
    PubSub,
    /// One of the subscribers.
    Pipeline,
    /// One of the subscribers, which answers.
    RequestReply,
}

/// How messages reach each subscriber.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.blockTimeout) || self.overflow == 'Block'").message("blockTimeout is only for overflow Block: remove it").field_path(".blockTimeout"),
    validation = Rule::new("has(self.spill) == (self.overflow == 'Spill')").message("spill names the Topic of overflow Spill: set both or neither").field_path(".spill"),
    validation = Rule::new("!has(self.redeliver) || self.acknowledge == 'Required'").message("redeliver needs acknowledge Required").field_path(".redeliver"),
    validation = Rule::new("!has(self.deadLetter) || self.acknowledge == 'Required'").message("deadLetter needs acknowledge Required").field_path(".deadLetter")
)]
pub struct Delivery {
    /// What happens when a subscriber's buffer is full: `Block` has the publish wait, `DropNewest`, `DropOldest` and `KeepLatest` (per key) lose messages and tell the subscriber, `Spill` sends the overflow through a Topic. Default: Block.
    #[serde(default)]
    pub overflow: Overflow,
    /// How long a publish waits for a full buffer; then it fails, it is never dropped in silence. For overflow Block; then the default is 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_timeout: Option<Duration>,
    /// Buffer per subscriber at the publisher's sidecar; whichever limit is reached first counts.
    #[serde(default)]
    pub buffer: Buffer,
    /// `None` delivers once; `Required` delivers again until the subscriber acknowledges. Default: None.
    #[serde(default)]
    pub acknowledge: Acknowledge,
    /// When and how often a message without acknowledgement is sent again. For acknowledge Required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redeliver: Option<Redeliver>,
    /// Topic for messages that used up their attempts. For acknowledge Required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<TopicReference>,
    /// Topic through which the overflow goes, in order. For overflow Spill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spill: Option<TopicReference>,
    /// What the publisher's sidecar keeps for late joiners and for gaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Replay>,
}

/// What happens when a subscriber's buffer is full.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
pub enum Overflow {
    /// The publish waits, then fails.
    #[default]
    Block,
    /// The new message is lost for this subscriber, who is told.
    DropNewest,
    /// The oldest message is lost for this subscriber, who is told.
    DropOldest,
    /// Only the last message of each key waits for this subscriber, who is told of the others. A message without a key counts by its subject. When the buffer is full of other keys, the one written longest ago is lost.
    KeepLatest,
    /// The overflow goes through a Topic, in order.
    Spill,
}

/// Whether subscribers acknowledge.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
pub enum Acknowledge {
    /// They do not.
    #[default]
    None,
    /// They do; else the message is sent again.
    Required,
}

/// Buffer per subscriber.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Buffer {
    /// Messages. Default: 10000.
    #[serde(default = "defaults::buffer_messages")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub messages: i32,
    /// Bytes. Default: 16Mi.
    #[serde(default = "defaults::buffer_size")]
    pub size: Quantity,
}

/// When and how often a message without acknowledgement is sent again.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Redeliver {
    /// How long to wait for the acknowledgement. Default: 30s.
    #[serde(default = "defaults::redeliver_after")]
    pub after: Duration,
    /// How often to try in all. Default: 5.
    #[serde(default = "defaults::redeliver_attempts")]
    #[schemars(range(min = 1, max = 1000))]
    pub attempts: i32,
}

/// What the publisher's sidecar keeps; whichever limit is reached first counts.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.messages) || has(self.size) || has(self.time)").message("set at least one of messages, size and time"))]
pub struct Replay {
    /// Messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub messages: Option<i32>,
    /// Bytes: payloads, and what it costs to keep them. Default: 64Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
    /// Age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Duration>,
}

/// A Topic of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TopicReference {
    /// Name of the Topic.
    pub topic: ObjectName,
}

/// What must be there before a publish is accepted.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadyWhen {
    /// Subscriptions, in this pod or in others, that are connected to the publisher's sidecar.
    #[schemars(range(min = 1, max = 10_000))]
    pub subscribers: i32,
}

/// What a Channel is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ChannelStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Pods that publish. Written at most every 10 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publishers: Option<i32>,
    /// Pods that subscribe. Written at most every 10 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscribers: Option<i32>,
    /// Ready and its parts, each with a reason and the next step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl Delivery {
    /// How long a publish waits for a full buffer, in milliseconds; 0 when it does not wait.
    #[must_use]
    pub fn block_timeout_ms(&self) -> u64 {
        match self.overflow {
            Overflow::Block => {
                self.block_timeout.as_ref().map_or(defaults::BLOCK_TIMEOUT_MS, Duration::milliseconds)
            }
            _ => 0,
        }
    }

    /// When and how often messages are sent again; `None` when nobody acknowledges.
    #[must_use]
    pub fn redelivery(&self) -> Option<Redeliver> {
        match self.acknowledge {
            Acknowledge::None => None,
            Acknowledge::Required => Some(self.redeliver.clone().unwrap_or_default()),
        }
    }
}

impl Replay {
    /// The most bytes that are kept.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.size.as_ref().map_or(defaults::REPLAY_BYTES, Quantity::bytes)
    }
}

impl ChannelSpec {
    /// The Topics of its namespace that it names, each with the field that does.
    pub fn topics(&self) -> impl Iterator<Item = (&'static str, &TopicReference)> {
        let delivery = &self.delivery;
        let named = [
            ("spec.record", &self.record),
            ("spec.delivery.deadLetter", &delivery.dead_letter),
            ("spec.delivery.spill", &delivery.spill),
        ];
        named.into_iter().filter_map(|(field, topic)| Some((field, topic.as_ref()?)))
    }

    /// How long a request waits for its reply, in milliseconds; 0 for other patterns than RequestReply.
    #[must_use]
    pub fn request_timeout_ms(&self) -> u64 {
        match self.pattern {
            Pattern::RequestReply => {
                self.request_timeout.as_ref().map_or(defaults::REQUEST_TIMEOUT_MS, Duration::milliseconds)
            }
            Pattern::PubSub | Pattern::Pipeline => 0,
        }
    }
}

#[cfg(test)]
mod tests;
