//! What the nodes of each engine run, and the files that they read. Pure.

mod embedded;
mod kafka;

pub(super) use kafka::{CONTROLLER_PORT, principal};

use crate::context::Settings;
use api::{Broker, broker::Engine};
use control::ObjectName;
use serde_json::Value;
use std::collections::BTreeMap;

/// The container of the engine.
pub(super) const CONTAINER: &str = "broker";
/// The part of each node's volume that the engine has for itself is a folder below.
const DATA_FOLDER: &str = "/var/lib/pinnace";
/// Where the Secret is mounted.
const TLS_FOLDER: &str = "/etc/pinnace/tls";
/// Where the ConfigMap is mounted.
const CONFIG_FOLDER: &str = "/etc/pinnace/config";

/// What a Pod of the engine has beside what all of ours have.
pub(super) struct Node {
    /// Run before, in this order.
    pub(super) init_containers: Vec<Value>,
    /// The engine.
    pub(super) container: Value,
    /// Beside the Secret and the ConfigMap.
    pub(super) volumes: Vec<Value>,
    /// Whether its nodes should be on different machines and in different zones, as far as there are any.
    pub(super) is_spread: bool,
    /// Time to close connections and sync, before a node is killed.
    pub(super) grace_seconds: u32,
}

/// What a Pod of this Broker runs.
pub(super) fn node(broker: &Broker, own: &ObjectName, settings: &Settings) -> Node {
    match broker.spec.engine {
        Engine::Embedded => embedded::node(broker, own, settings),
        Engine::Kafka => kafka::node(broker, own, settings),
    }
}

/// The files of the ConfigMap, by name.
pub(super) fn files(
    broker: &Broker,
    own: &ObjectName,
    settings: &Settings,
) -> BTreeMap<&'static str, String> {
    match broker.spec.engine {
        Engine::Embedded => embedded::files(broker),
        Engine::Kafka => kafka::files(broker, own, settings),
    }
}

/// The image of the engine.
pub(super) fn image<'a>(broker: &Broker, settings: &'a Settings) -> &'a str {
    match broker.spec.engine {
        Engine::Embedded => &settings.broker_image,
        Engine::Kafka => &settings.kafka_image,
    }
}

/// As the `restricted` standard wants it.
fn security_context() -> Value {
    serde_json::json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    })
}

/// What all engines mount.
fn mounts() -> Value {
    serde_json::json!([
        { "name": "data", "mountPath": DATA_FOLDER },
        { "name": "tls", "mountPath": TLS_FOLDER, "readOnly": true },
        { "name": "config", "mountPath": CONFIG_FOLDER, "readOnly": true },
    ])
}
