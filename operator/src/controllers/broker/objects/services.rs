//! The two Services: one that clients dial first, one that names each pod. Pure.

use crate::controllers::broker::{KAFKA_PORT, engine::CONTROLLER_PORT};
use api::{Broker, broker::Engine};
use control::ObjectName;
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

/// Where every program of ours serves metrics and probes.
pub(in super::super) const ADMIN_PORT: u16 = 7402;

/// What the Pods of an engine serve beside Kafka's protocol.
fn other_port(engine: Engine) -> Value {
    match engine {
        Engine::Embedded => port("admin", ADMIN_PORT),
        Engine::Kafka => port("controller", CONTROLLER_PORT),
    }
}

fn port(name: &str, port: u16) -> Value {
    json!({ "name": name, "port": port, "targetPort": name, "protocol": "TCP" })
}

/// What clients dial first: ready pods only.
pub(in super::super) fn bootstrap(broker: &Broker, own: &ObjectName) -> Result<Service, serde_json::Error> {
    serde_json::from_value(json!({
        "metadata": super::metadata(broker, own, &super::service_name(&own.name)),
        "spec": {
            "type": "ClusterIP",
            "selector": super::selector(&own.name),
            "ports": [port("kafka", KAFKA_PORT)],
        },
    }))
}

/// Names of the pods, known before they are ready: the operator must reach a node that is starting.
pub(in super::super) fn nodes(broker: &Broker, own: &ObjectName) -> Result<Service, serde_json::Error> {
    serde_json::from_value(json!({
        "metadata": super::metadata(broker, own, &super::nodes_name(&own.name)),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": true,
            "selector": super::selector(&own.name),
            "ports": [port("kafka", KAFKA_PORT), other_port(broker.spec.engine)],
        },
    }))
}
