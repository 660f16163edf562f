//! The child objects of a Broker, one file each. Pure: what they are called, what they carry in common.

pub(super) mod config_map;
pub(super) mod disruption_budget;
pub(super) mod secret;
pub(super) mod services;
pub(super) mod stateful_set;
pub(super) mod volume_claim;

use api::{Broker, labels};
use control::ObjectName;
use kube::Resource;
use serde_json::{Value, json};

/// Value of the component label.
const COMPONENT: &str = "broker";

/// The Service that clients dial first; also the name of the StatefulSet.
pub(super) fn service_name(broker: &str) -> String {
    format!("{broker}-broker")
}

/// The headless Service that gives each pod its name.
pub(super) fn nodes_name(broker: &str) -> String {
    format!("{broker}-broker-nodes")
}

/// The Secret with the server's certificate.
pub(super) fn secret_name(broker: &str) -> String {
    format!("{broker}-broker-tls")
}

/// The ConfigMap with the engine's settings.
pub(super) fn config_name(broker: &str) -> String {
    format!("{broker}-broker-config")
}

/// The volume claim of a node.
pub(super) fn claim_name(broker: &str, node: i32) -> String {
    format!("data-{broker}-broker-{node}")
}

/// What selects the pods of a Broker; it can never change.
pub(super) fn selector(broker: &str) -> Value {
    json!({ labels::BROKER: broker, labels::COMPONENT: COMPONENT })
}

/// Labels of everything that a Broker owns.
pub(super) fn labels(broker: &str) -> Value {
    json!({
        labels::NAME: "pinnace-broker",
        labels::INSTANCE: broker,
        labels::COMPONENT: COMPONENT,
        labels::MANAGED_BY: labels::MANAGER,
        labels::BROKER: broker,
    })
}

/// Metadata of a child called `name`.
pub(super) fn metadata(broker: &Broker, own: &ObjectName, name: &str) -> Value {
    json!({
        "name": name,
        "namespace": own.namespace,
        "labels": labels(&own.name),
        "ownerReferences": [broker.controller_owner_ref(&())],
    })
}
