//! Apache Kafka in KRaft mode: nodes that are broker and controller at once, of which the first ones vote. Of the image nothing
//! is relied on but a `java` on its path and the jars in `/opt/kafka/libs`, so any image with these will do. Pure.
//!
//! Two files and the volume make a node: `server.properties`, whose node id and host name come from the environment, and the
//! format of its storage, which an init container writes once. Ids of the cluster and of the nodes' folders are made from the
//! Broker's name, so a Broker of the same name goes on with the volumes that it finds.

mod identity;
mod properties;

pub(in super::super) use identity::principal;

use super::{CONFIG_FOLDER, CONTAINER, DATA_FOLDER, Node, TLS_FOLDER};
use crate::{
    context::Settings,
    controllers::broker::{KAFKA_PORT, objects::nodes_name},
};
use api::{Broker, quantity::Quantity};
use control::ObjectName;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Port of the controllers' listener, for the nodes alone.
pub(in super::super) const CONTROLLER_PORT: u16 = 9094;

const PROPERTIES_FILE: &str = "server.properties";
const LOG_FILE: &str = "log4j2.properties";
/// An empty folder for what Java and the compression libraries unpack.
const TEMPORARY_FOLDER: &str = "/tmp";
/// A controlled shutdown moves leaders away first, which takes some seconds; without a quorum it waits in vain.
const GRACE_SECONDS: u32 = 60;
/// A node with much to recover may take so long to start, in periods of the startup probe.
const STARTUP_FAILURES_MAX: u32 = 600;
/// Bounds of the heap, in mebibytes.
const HEAP_MIB_MIN: u64 = 256;
const HEAP_MIB_MAX: u64 = 6 * 1024;
/// What a node may use when the Broker does not say.
const MEMORY_DEFAULT: &str = "1Gi";

pub(super) fn files(
    broker: &Broker,
    own: &ObjectName,
    settings: &Settings,
) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        (PROPERTIES_FILE, properties::server(broker, own, settings)),
        (LOG_FILE, properties::LOGGING.to_owned()),
    ])
}

fn default_resources() -> Value {
    json!({
        "requests": { "cpu": "250m", "memory": MEMORY_DEFAULT },
        "limits": { "memory": MEMORY_DEFAULT },
    })
}

pub(super) fn node(broker: &Broker, own: &ObjectName, settings: &Settings) -> Node {
    let mut volumes = super::mounts();
    if let Some(volumes) = volumes.as_array_mut() {
        volumes.push(json!({ "name": "tmp", "mountPath": TEMPORARY_FOLDER }));
    }
    let resources =
        broker.spec.resources.as_ref().map_or_else(default_resources, |resources| json!(resources));
    let shared = |name: &str, command: Vec<String>| {
        json!({
            "name": name,
            "image": settings.kafka_image,
            "command": command,
            "env": environment(),
            "resources": resources,
            "securityContext": super::security_context(),
            "volumeMounts": volumes,
        })
    };
    let mut container = shared(CONTAINER, start(heap_mib(broker)));
    if let Some(container) = container.as_object_mut() {
        container.insert(
            "ports".into(),
            json!([
                { "name": "kafka", "containerPort": KAFKA_PORT, "protocol": "TCP" },
                { "name": "controller", "containerPort": CONTROLLER_PORT, "protocol": "TCP" },
            ]),
        );
        container.insert("startupProbe".into(), probe("kafka", 1, STARTUP_FAILURES_MAX));
        container.insert("readinessProbe".into(), probe("kafka", 5, 2));
        // Its clients' port is closed while there is no quorum, for which a node is not to blame.
        container.insert("livenessProbe".into(), probe("controller", 10, 6));
    }
    Node {
        is_spread: true,
        init_containers: vec![shared("format", format(broker, own))],
        container,
        volumes: vec![json!({ "name": "tmp", "emptyDir": { "sizeLimit": "1Gi" } })],
        grace_seconds: GRACE_SECONDS,
    }
}

/// Half of the memory, the other half is the page cache's; whole mebibytes.
fn heap_mib(broker: &Broker) -> u64 {
    let resources = broker.spec.resources.as_ref();
    let memory = |list: Option<
        &BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>,
    >| { list?.get("memory")?.0.parse::<Quantity>().ok() };
    let asked = resources.and_then(|resources| {
        memory(resources.limits.as_ref()).or_else(|| memory(resources.requests.as_ref()))
    });
    let bytes = asked.or_else(|| MEMORY_DEFAULT.parse().ok()).map_or(0, |quantity| quantity.bytes());
    (bytes / 2 / (1 << 20)).clamp(HEAP_MIB_MIN, HEAP_MIB_MAX)
}

/// What `server.properties` refers to.
fn environment() -> Value {
    let field =
        |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    json!([
        field("POD_NAME", "metadata.name"),
        field("NODE_ID", "metadata.labels['apps.kubernetes.io/pod-index']"),
        // Kubernetes copies it from the machine (KEP-4742, on since 1.35); before, and without zones, it is empty: one rack for all.
        field("RACK", "metadata.labels['topology.kubernetes.io/zone']"),
    ])
}

/// Java with what every run of it has.
fn java(flags: &[String], main: &str) -> Vec<String> {
    let mut words = vec!["java".to_owned()];
    words.extend_from_slice(flags);
    words.extend([
        format!("-Djava.io.tmpdir={TEMPORARY_FOLDER}"),
        "-XX:-UsePerfData".to_owned(),
        format!("-Dlog4j2.configurationFile={CONFIG_FOLDER}/{LOG_FILE}"),
        "-cp".to_owned(),
        // Java expands it, not a shell.
        "/opt/kafka/libs/*".to_owned(),
        main.to_owned(),
    ]);
    words
}

fn start(heap_mib: u64) -> Vec<String> {
    let flags = [
        format!("-Xms{heap_mib}m"),
        format!("-Xmx{heap_mib}m"),
        "-XX:+ExitOnOutOfMemoryError".to_owned(),
        "-Djava.awt.headless=true".to_owned(),
        // A node that was started again has another address.
        "-Dsun.net.inetaddr.ttl=5".to_owned(),
        "-Dsun.net.inetaddr.negative.ttl=1".to_owned(),
    ];
    let mut words = java(&flags, "kafka.Kafka");
    words.push(format!("{CONFIG_FOLDER}/{PROPERTIES_FILE}"));
    words
}

/// Formats the node's storage, unless it is formatted. Every node gets the same first voters, those that come later too, which are
/// not among them.
fn format(broker: &Broker, own: &ObjectName) -> Vec<String> {
    let mut words = java(&["-Xmx128m".to_owned()], "kafka.tools.StorageTool");
    let controllers = (0..broker.spec.controllers()).map(|id| {
        format!("{id}@{}:{CONTROLLER_PORT}:{}", host(own, &id.to_string()), identity::directory_id(own, id))
    });
    words.extend([
        "format".to_owned(),
        "--ignore-formatted".to_owned(),
        "--config".to_owned(),
        format!("{CONFIG_FOLDER}/{PROPERTIES_FILE}"),
        "--cluster-id".to_owned(),
        identity::cluster_id(own),
        "--initial-controllers".to_owned(),
        controllers.collect::<Vec<_>>().join(","),
    ]);
    words
}

/// The name of a node in DNS, by its number.
fn host(own: &ObjectName, number: &str) -> String {
    format!("{}-broker-{number}.{}.{}.svc", own.name, nodes_name(&own.name), own.namespace)
}

fn probe(port: &str, period_seconds: u32, failures_max: u32) -> Value {
    json!({
        "tcpSocket": { "port": port },
        "periodSeconds": period_seconds,
        "timeoutSeconds": 5,
        "failureThreshold": failures_max,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(spec: &str) -> Broker {
        serde_yaml::from_str(&format!("metadata: {{name: default, namespace: shop}}\nspec: {spec}")).unwrap()
    }

    /// Goal: the heap is half of the memory, within bounds, whatever says how much that is.
    #[test]
    fn the_heap_is_half_of_the_memory() {
        for (resources, mebibytes) in [
            ("{}", 512),
            ("{limits: {memory: 4Gi}, requests: {memory: 2Gi}}", 2048),
            ("{requests: {memory: 2Gi}}", 1024),
            ("{limits: {memory: 100Mi}}", 256),
            ("{limits: {memory: 64Gi}}", 6144),
        ] {
            assert_eq!(
                heap_mib(&broker(&format!("{{engine: Kafka, resources: {resources}}}"))),
                mebibytes,
                "{resources}"
            );
        }
    }

    /// Goal: each node is among the first controllers under its name in DNS, with an id of its own.
    #[test]
    fn all_nodes_are_controllers() {
        let words = format(&broker("{engine: Kafka, replicas: 3}"), &ObjectName::new("shop", "default"));
        let controllers: Vec<&str> = words.last().unwrap().split(',').collect();
        assert_eq!(controllers.len(), 3);
        for (id, controller) in controllers.iter().enumerate() {
            let start = format!("{id}@default-broker-{id}.default-broker-nodes.shop.svc:9094:");
            assert_eq!(controller.strip_prefix(&start).unwrap().len(), 22, "{controller}");
        }
        assert_eq!(words[words.len() - 3], identity::cluster_id(&ObjectName::new("shop", "default")));
    }
}
