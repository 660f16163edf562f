//! Broker: what keeps Topics. Fields and what they mean; nothing that acts.
#![expect(unreachable_pub, reason = "KubeSchema repeats each public struct inside a function")]

pub mod conditions;
pub mod config;
mod defaults;
mod validation;

pub use validation::{NAME_LENGTH_MAX, affinity, validate, validate_update};

use crate::{names::LogName, quantity::Quantity};
use k8s_openapi::{
    api::core::v1::{ResourceRequirements, Toleration},
    apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector},
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a Broker should be.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "pinnace.dev",
    version = "v1alpha1",
    kind = "Broker",
    plural = "brokers",
    shortname = "pbroker",
    category = "pinnace",
    namespaced,
    status = "BrokerStatus",
    derive = "PartialEq",
    doc = "Keeps Topics: a durable message broker that speaks the Kafka protocol, run by the operator.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status", description = "Whether the Broker serves"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason", description = "Why it is ready or not"),
    printcolumn(name = "Engine", type_ = "string", json_path = ".spec.engine", description = "What is behind it"),
    printcolumn(name = "Topics", type_ = "integer", json_path = ".status.topics", description = "Topics that live here"),
    printcolumn(name = "Storage", type_ = "string", json_path = ".status.storage.capacity", description = "Size of the volume"),
    printcolumn(name = "Used%", type_ = "integer", json_path = ".status.storage.usedPercent", description = "How full its file system is"),
    printcolumn(name = "Used", type_ = "string", json_path = ".status.storage.used", description = "Bytes in use on the volume's file system", priority = 1),
    printcolumn(name = "Bootstrap", type_ = "string", json_path = ".status.bootstrap", description = "Where Kafka clients connect", priority = 1),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.engineVersion", description = "Version of the engine", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 40").message("the name of a Broker has no dots and at most 40 characters, since its pods and Services are named after it")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.engine != 'Embedded' || !has(self.replicas) || self.replicas == 1").message("engine Embedded is one node and does not replicate: remove replicas, or use engine Kafka").field_path(".replicas")
)]
pub struct BrokerSpec {
    /// What is behind it: `Embedded` is our own broker, one small node; `Kafka` is Apache Kafka. Cannot change. Default: Embedded.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("engine cannot change: make a new Broker"))]
    pub engine: Engine,
    /// Number of nodes. For engine Kafka; Embedded is one node. Three of them are controllers too, or one where there are fewer. From 3 nodes or more it can change to 3 or more: new nodes get their share of the copies, and nodes that leave are emptied first. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub replicas: Option<i32>,
    /// The volume of each node.
    #[serde(default)]
    pub storage: Storage,
    /// CPU and memory of each node, as in a Pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// What the pods should carry, and where they may run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// Settings of the engine, by its own names: `server.properties` for Kafka, without those that the operator writes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub config: BTreeMap<String, String>,
    /// Whose Topics may live here.
    #[serde(default)]
    pub allowed_namespaces: AllowedNamespaces,
    /// How much each namespace may use. It is asked when a Topic is made or grows: a lower quota takes nothing away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// For work by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
}

/// What is behind a Broker.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
pub enum Engine {
    /// Our own broker: one node.
    #[default]
    Embedded,
    /// Apache Kafka, KRaft.
    Kafka,
}

/// The volume of each node.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.className) == has(oldSelf.className) && (!has(self.className) || self.className == oldSelf.className)").message("className cannot change: make a new Broker").field_path(".className")
)]
pub struct Storage {
    /// Size of the volume. Can grow, if the storage class allows it. Default: 10Gi.
    #[serde(default = "defaults::storage_size")]
    #[x_kube(validation = Rule::new("quantity(self).compareTo(quantity(oldSelf)) >= 0").message("size cannot shrink: volumes only grow"))]
    pub size: Quantity,
    /// Storage class. Omitted: the cluster's default. Cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_name: Option<LogName>,
    /// What happens to the volume when the Broker is deleted: `Retain` keeps it, and a Broker of the same name takes it over; `Delete` deletes it. Default: Retain.
    #[serde(default)]
    pub deletion_policy: crate::topic::DeletionPolicy,
}

/// What the pods should carry, and where they may run.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Template {
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Affinity, as in a Pod. Checked by the operator, not by the schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "opaque_object")]
    pub affinity: Option<serde_json::Value>,
    /// Tolerations, as in a Pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub tolerations: Vec<Toleration>,
    /// Further annotations of the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Further labels of the pods. Labels of ours cannot be replaced.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Priority class of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
}

fn opaque_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "nullable": true,
        "x-kubernetes-preserve-unknown-fields": true
    })
}

/// Whose Topics may live here.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.selector) == (self.from == 'Selector')").message("selector belongs to from Selector: set both or neither").field_path(".selector")
)]
pub struct AllowedNamespaces {
    /// `Same` this namespace, `All` every one, `Selector` those that `selector` matches. Default: Same.
    #[serde(default)]
    pub from: NamespacesFrom,
    /// Labels that a namespace must have. For from Selector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Which namespaces.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[schemars(inline)]
pub enum NamespacesFrom {
    /// The Broker's own.
    #[default]
    Same,
    /// Every one.
    All,
    /// Those that the selector matches.
    Selector,
}

/// How much may be used.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Quota {
    /// Limits for each namespace, this Broker's own among them. A Topic that would go over one is refused; what is there stays, and may not grow. Topics with managementPolicy Observe do not count, nor those that are being deleted and leave their messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_namespace: Option<NamespaceQuota>,
}

/// Limits for each namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespaceQuota {
    /// Most Topics of a namespace. 0 is none, omitted is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub topics: Option<i32>,
    /// Most partitions of all Topics of a namespace together. 0 is none, omitted is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub partitions: Option<i32>,
    /// Most bytes that all Topics of a namespace may keep together, as they declare: partitions times `spec.retention.size`, times replicas. A Topic without `spec.retention.size` is then refused. 0 is none, omitted is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Quantity>,
}

/// For work by hand.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Maintenance {
    /// While true, the operator changes neither this Broker's objects nor its topics. Default: false.
    #[serde(default)]
    pub paused: bool,
}

/// What a Broker is.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BrokerStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where Kafka clients connect, as `HOST:PORT`. TLS with a client certificate of the cluster's authority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<String>,
    /// Version of the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine_version: Option<String>,
    /// Id of the Kafka cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// The nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub brokers: Vec<NodeStatus>,
    /// Topic objects that live here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topics: Option<i32>,
    /// The volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageStatus>,
    /// Ready and its parts, each with a reason and the next step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// One node.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Kafka's id of the node.
    pub id: i32,
    /// Whether it serves.
    pub ready: bool,
}

/// The volumes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StorageStatus {
    /// Size of the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<String>,
    /// Bytes in use on its file system, rounded, as the engine tells. Volumes that share a file system share this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
    /// How much of its file system that is, in percent, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_percent: Option<i32>,
}

/// Nodes of a Kafka cluster when nothing is said: the fewest that go on without one of them.
const KAFKA_NODES: i32 = 3;

/// Controllers of a cluster that has as many nodes.
const KAFKA_CONTROLLERS: i32 = 3;

/// Copies of a partition on Kafka when nobody says how many: with three one node may be away.
const KAFKA_COPIES: i32 = 3;

impl BrokerSpec {
    /// Copies of each partition when neither the Topic nor `config` says how many.
    #[must_use]
    pub fn default_copies(&self) -> i32 {
        match self.engine {
            Engine::Embedded => 1,
            Engine::Kafka => self.nodes().min(KAFKA_COPIES),
        }
    }

    /// Number of nodes.
    #[must_use]
    pub fn nodes(&self) -> i32 {
        match self.engine {
            Engine::Embedded => 1,
            Engine::Kafka => self.replicas.unwrap_or(KAFKA_NODES),
        }
    }

    /// How many of the nodes, the first ones, are controllers that vote: with three one may be away.
    #[must_use]
    pub fn controllers(&self) -> i32 {
        if self.nodes() < KAFKA_CONTROLLERS { 1 } else { KAFKA_CONTROLLERS }
    }

    /// Whether a cluster of this number of nodes can be brought to the number of the spec.
    ///
    /// # Errors
    /// Why not: with fewer than three nodes there are other controllers and other copies.
    pub fn can_come_from(&self, nodes: i32) -> Result<(), String> {
        let wanted = self.nodes();
        if wanted == nodes || wanted.min(nodes) >= KAFKA_CONTROLLERS {
            return Ok(());
        }
        Err(format!(
            "cannot change from {nodes} to {wanted}: only between {KAFKA_CONTROLLERS} nodes and more; set it to {nodes}"
        ))
    }

    /// What each namespace may take; `None` when nothing is limited.
    #[must_use]
    pub fn namespace_quota(&self) -> Option<&NamespaceQuota> {
        let quota = self.quota.as_ref()?.per_namespace.as_ref()?;
        (*quota != NamespaceQuota::default()).then_some(quota)
    }

    /// Whether the operator must keep its hands off.
    #[must_use]
    pub fn paused(&self) -> bool {
        self.maintenance.as_ref().is_some_and(|maintenance| maintenance.paused)
    }

    /// Whether a Topic of `namespace`, which carries `labels`, may live on this Broker of `own_namespace`.
    #[must_use]
    pub fn allows_namespace(
        &self,
        own_namespace: &str,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> bool {
        if own_namespace == namespace {
            return true;
        }
        match self.allowed_namespaces.from {
            NamespacesFrom::Same => false,
            NamespacesFrom::All => true,
            NamespacesFrom::Selector => {
                self.allowed_namespaces.selector.as_ref().is_some_and(|selector| matches(selector, labels))
            }
        }
    }
}

/// Whether labels match a selector, by Kubernetes' rules; an unknown operator matches nothing.
fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    equal
        && selector.match_expressions.iter().flatten().all(|expression| {
            let value = labels.get(&expression.key);
            let listed =
                value.is_some_and(|value| expression.values.iter().flatten().any(|allowed| allowed == value));
            match expression.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests;
