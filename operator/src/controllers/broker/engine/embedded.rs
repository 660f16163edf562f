//! The Embedded engine: our own program, one node. Pure.

use super::{CONFIG_FOLDER, CONTAINER, DATA_FOLDER, Node, TLS_FOLDER};
use crate::{
    context::Settings,
    controllers::broker::{
        KAFKA_PORT,
        objects::{nodes_name, services::ADMIN_PORT},
    },
};
use api::Broker;
use control::ObjectName;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The file with its settings.
const FILE: &str = "broker.properties";
const GRACE_SECONDS: u32 = 30;
/// A node with much to recover may take so long to start, in periods of the startup probe.
const STARTUP_FAILURES_MAX: u32 = 600;

pub(super) fn files(broker: &Broker) -> BTreeMap<&'static str, String> {
    let lines = broker.spec.config.iter().map(|(name, value)| format!("{name}={value}\n"));
    BTreeMap::from([(FILE, lines.collect())])
}

/// What a node asks for when the Broker does not say.
fn default_resources() -> Value {
    json!({ "requests": { "cpu": "50m", "memory": "64Mi" } })
}

pub(super) fn node(broker: &Broker, own: &ObjectName, settings: &Settings) -> Node {
    let container = json!({
        "name": CONTAINER,
        "image": settings.broker_image,
        "args": arguments(own, settings),
        "env": [{ "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }],
        "ports": [
            { "name": "kafka", "containerPort": KAFKA_PORT, "protocol": "TCP" },
            { "name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP" },
        ],
        "resources": broker.spec.resources.as_ref().map_or_else(default_resources, |resources| json!(resources)),
        "securityContext": super::security_context(),
        "startupProbe": probe("/ready", 1, STARTUP_FAILURES_MAX),
        "readinessProbe": probe("/ready", 5, 2),
        "livenessProbe": probe("/live", 10, 6),
        "volumeMounts": super::mounts(),
    });
    Node {
        init_containers: Vec::new(),
        container,
        volumes: Vec::new(),
        is_spread: false,
        grace_seconds: GRACE_SECONDS,
    }
}

fn probe(path: &str, period_seconds: u32, failures_max: u32) -> Value {
    json!({
        "httpGet": { "path": path, "port": "admin" },
        "periodSeconds": period_seconds,
        "timeoutSeconds": 5,
        "failureThreshold": failures_max,
    })
}

fn arguments(own: &ObjectName, settings: &Settings) -> Vec<String> {
    let nodes = nodes_name(&own.name);
    vec![
        format!("--data={DATA_FOLDER}/log"),
        format!("--tls-listen=0.0.0.0:{KAFKA_PORT}"),
        format!("--tls-dir={TLS_FOLDER}"),
        format!("--advertise=$(POD_NAME).{nodes}.{}.svc:{KAFKA_PORT}", own.namespace),
        format!("--admin-listen=0.0.0.0:{ADMIN_PORT}"),
        format!("--super-user={}", settings.identity),
        format!("--config={CONFIG_FOLDER}/{FILE}"),
        "--log-format=json".to_owned(),
    ]
}
