//! Topic: a durable, ordered, partitioned log on a Broker. Fields and what they mean; nothing that acts.
#![expect(unreachable_pub, reason = "KubeSchema repeats each public struct inside a function")]

pub mod conditions;
pub mod config;
mod defaults;
mod support;
mod validation;

pub use defaults::BROKER_NAME as DEFAULT_BROKER;
pub use support::not_supported;
pub use validation::{validate, validate_update};

use crate::{
    access::Access,
    duration::Duration,
    names::{LogName, NamespaceName, ObjectName},
    quantity::Quantity,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a Topic should be.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "pinnace.dev",
    version = "v1alpha1",
    kind = "Topic",
    plural = "topics",
    shortname = "ptopic",
    category = "pinnace",
    namespaced,
    status = "TopicStatus",
    derive = "PartialEq",
    doc = "A durable, ordered, partitioned log on a Broker. A message is on disk before it is acknowledged; any Kafka client can read it.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether apps can use the Topic"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "Why it is ready or not"),
    printcolumn(name = "Partitions", type_ = "integer", json_path = ".status.partitions", description = "Partitions on the broker"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.replicas", description = "Copies of each partition"),
    printcolumn(name = "Under-Replicated", type_ = "integer", json_path = ".status.underReplicatedPartitions", description = "Partitions that lack a copy", priority = 1),
    printcolumn(name = "Size", type_ = "string", json_path = ".status.size", description = "Bytes on disk, rounded", priority = 1),
    printcolumn(name = "Topic Name", type_ = "string", json_path = ".status.topicName", description = "Name on the broker", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 63").message("the name of a Topic has no dots and at most 63 characters, since apps write topics/NAME.NAMESPACE")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.topicName) == has(oldSelf.topicName) && (!has(self.topicName) || self.topicName == oldSelf.topicName)").message("topicName cannot change: make a new Topic and move the apps to it").field_path(".topicName"),
    validation = Rule::new("has(self.broker) == has(oldSelf.broker) && (!has(self.broker) || self.broker == oldSelf.broker)").message("broker cannot change, since the data would stay behind: make a new Topic and move the apps to it").field_path(".broker"),
    validation = Rule::new("!has(self.access) || !has(self.access.mode) || self.access.mode == 'Enforce'").message("access.mode Audit is for Channels: a Topic's lists become rules of its broker, which has no audit mode; remove mode").field_path(".access.mode")
)]
pub struct TopicSpec {
    /// The Broker that keeps the Topic. Omitted: the Broker `default` of this namespace, which is made on first use. Cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker: Option<BrokerReference>,
    /// Name on the broker, as Kafka clients see it. Omitted: this object's name, or `NAMESPACE.NAME` when the Broker is in another namespace. Cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<LogName>,
    /// Number of partitions: how many consumers of a group can work at once. Can grow, never shrink.
    #[serde(default = "defaults::partitions")]
    #[schemars(range(min = 1, max = 10_000))]
    #[x_kube(validation = Rule::new("self >= oldSelf").message("partitions cannot shrink, since messages would be lost: make a new Topic"))]
    pub partitions: i32,
    /// Copies of each partition. Omitted: the Broker's default. More than 1 needs a Broker with engine Kafka, where it can change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub replicas: Option<i32>,
    /// How long and how much is kept. Omitted: as the Broker is configured (7 days unless said otherwise).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// What happens to old messages: `Delete` removes them by retention, `Compact` keeps the last one of each key and refuses messages without a key; with both, retention removes what compaction left. Default: `Delete` alone.
    #[serde(default = "defaults::cleanup")]
    #[schemars(length(min = 1, max = 2))]
    pub cleanup: Vec<Cleanup>,
    /// Largest message, with its headers. Omitted: as the Broker is configured (1Mi unless said otherwise).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_message_size: Option<Quantity>,
    /// Any other topic configuration of the engine, by Kafka's names (`segment.ms: "3600000"`). Fields of this object win over it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub config: BTreeMap<String, String>,
    /// Who may publish and subscribe. Omitted: every service account of this namespace may do both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// What happens to the topic on the broker, with its messages, when this object is deleted: `Retain` keeps it, `Delete` deletes it. Default: Retain.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Who is in charge: `Full` makes and changes the topic, `Adopt` takes over one that exists, `Observe` only reports. Default: Full.
    #[serde(default)]
    pub management_policy: ManagementPolicy,
}

/// A Broker, in this namespace or another.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BrokerReference {
    /// Name of the Broker. Default: default.
    #[serde(default = "defaults::broker_name")]
    pub name: ObjectName,
    /// Namespace of the Broker. Omitted: this object's namespace. The Broker's `allowedNamespaces` must allow this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<NamespaceName>,
}

/// How long and how much is kept of each partition; whichever is reached first removes the oldest messages.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retention {
    /// How long a message is kept, such as `7d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Duration>,
    /// How many bytes are kept per partition, such as `10Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
}

/// What happens to old messages.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[schemars(inline)]
pub enum Cleanup {
    /// Old messages are removed by retention.
    Delete,
    /// The last message of each key is kept.
    Compact,
}

/// What happens to the data when the object is deleted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
pub enum DeletionPolicy {
    /// The data stays.
    #[default]
    Retain,
    /// The data is deleted.
    Delete,
}

/// Who is in charge of the topic on the broker.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
pub enum ManagementPolicy {
    /// Made and changed as this object says.
    #[default]
    Full,
    /// Taken over as it is; only fields that are set are changed.
    Adopt,
    /// Only reported.
    Observe,
}

/// What a Topic is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Name on the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    /// Id on the broker: another id means that somebody deleted and made it anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// Partitions on the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// Copies of each partition; of the one that has fewest while they change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Bytes on disk, rounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Retention size of each partition that the quota of the Broker last let in, `0` without one. Only where there is a quota for size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_retention_size: Option<Quantity>,
    /// Partitions that lack a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_replicated_partitions: Option<i32>,
    /// Ready and its parts, each with a reason and the next step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl TopicSpec {
    /// Namespace and name of the Broker of a Topic in `own_namespace`.
    #[must_use]
    pub fn broker_of<'a>(&'a self, own_namespace: &'a str) -> (&'a str, &'a str) {
        self.broker.as_ref().map_or((own_namespace, defaults::BROKER_NAME), |broker| {
            (broker.namespace.as_ref().map_or(own_namespace, |name| name.as_str()), broker.name.as_str())
        })
    }

    /// Name on the broker of a Topic `own_name` in `own_namespace`.
    #[must_use]
    pub fn log_name(&self, own_namespace: &str, own_name: &str) -> String {
        match &self.topic_name {
            Some(name) => name.to_string(),
            None if self.broker_of(own_namespace).0 == own_namespace => own_name.to_owned(),
            None => format!("{own_namespace}.{own_name}"),
        }
    }
}

#[cfg(test)]
mod tests;
