//! The StatefulSet that runs the Embedded engine: one node, clean under `restricted` Pod Security. Pure.

use super::{config_map, services::ADMIN_PORT};
use crate::{
    context::Settings,
    controllers::broker::{KAFKA_PORT, turn::CONTAINER},
};
use api::{Broker, broker::Template, labels, topic::DeletionPolicy};
use control::ObjectName;
use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::{Map, Value, json};

/// The user that all our images run as.
const USER: u32 = 65_532;
const DATA_FOLDER: &str = "/var/lib/pinnace";
const TLS_FOLDER: &str = "/etc/pinnace/tls";
const CONFIG_FOLDER: &str = "/etc/pinnace/config";
/// Time to close connections and sync, before the node is killed.
const GRACE_SECONDS: u32 = 30;
/// A node with much to recover may take so long to start, in periods of the startup probe.
const STARTUP_FAILURES_MAX: u32 = 600;

/// What a node asks for when the Broker does not say.
fn default_resources() -> Value {
    json!({ "requests": { "cpu": "50m", "memory": "64Mi" } })
}

/// What a StatefulSet depends on beside its Broker.
pub(in super::super) struct Present<'a> {
    /// That of the StatefulSet that is there, whose template for claims cannot change.
    pub(in super::super) claim_size: Option<&'a str>,
    /// Whether the namespace assigns users and groups to its Pods (OpenShift): then we name none.
    pub(in super::super) users_assigned: bool,
}

pub(in super::super) fn build(
    broker: &Broker,
    own: &ObjectName,
    settings: &Settings,
    present: &Present<'_>,
) -> Result<StatefulSet, serde_json::Error> {
    let storage = &broker.spec.storage;
    let size = present.claim_size.unwrap_or_else(|| storage.size.as_str());
    let retain = match storage.deletion_policy {
        DeletionPolicy::Retain => "Retain",
        DeletionPolicy::Delete => "Delete",
    };
    let mut claim = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": { "requests": { "storage": size } },
    });
    if let (Some(class), Some(claim)) = (&storage.class_name, claim.as_object_mut()) {
        claim.insert("storageClassName".into(), json!(class));
    }
    serde_json::from_value(json!({
        "metadata": super::metadata(broker, own, &super::service_name(&own.name)),
        "spec": {
            "replicas": 1,
            "serviceName": super::nodes_name(&own.name),
            "podManagementPolicy": "Parallel",
            "selector": { "matchLabels": super::selector(&own.name) },
            "persistentVolumeClaimRetentionPolicy": { "whenDeleted": retain, "whenScaled": "Retain" },
            "template": pod(broker, own, settings, present.users_assigned),
            "volumeClaimTemplates": [{
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": { "name": "data", "labels": super::labels(&own.name) },
                "spec": claim,
            }],
        },
    }))
}

fn pod(broker: &Broker, own: &ObjectName, settings: &Settings, users_assigned: bool) -> Value {
    let template = broker.spec.template.clone().unwrap_or_default();
    let mut pod_labels = json!(template.labels);
    merge(&mut pod_labels, super::labels(&own.name));
    let mut annotations = json!(template.annotations);
    merge(&mut annotations, json!({ labels::CONFIG_HASH: config_map::hash(broker) }));
    let mut spec = json!({
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": security_context(users_assigned),
        "containers": [container(broker, own, settings)],
        "volumes": [
            { "name": "tls", "secret": { "secretName": super::secret_name(&own.name), "defaultMode": 0o440 } },
            { "name": "config", "configMap": { "name": super::config_name(&own.name) } },
        ],
    });
    merge(&mut spec, placement(&template));
    if !settings.image_pull_secrets.is_empty() {
        let secrets: Vec<Value> =
            settings.image_pull_secrets.iter().map(|name| json!({ "name": name })).collect();
        merge(&mut spec, json!({ "imagePullSecrets": secrets }));
    }
    json!({ "metadata": { "labels": pod_labels, "annotations": annotations }, "spec": spec })
}

/// As the `restricted` standard wants it.
fn security_context(users_assigned: bool) -> Value {
    let mut context = json!({
        "runAsNonRoot": true,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": { "type": "RuntimeDefault" },
    });
    if !users_assigned {
        merge(&mut context, json!({ "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER }));
    }
    context
}

/// Where the pod may run. What was not asked for is left out, so that it is not ours.
fn placement(template: &Template) -> Value {
    let mut placement = Map::new();
    if !template.node_selector.is_empty() {
        placement.insert("nodeSelector".into(), json!(template.node_selector));
    }
    if let Some(affinity) = &template.affinity {
        placement.insert("affinity".into(), affinity.clone());
    }
    if !template.tolerations.is_empty() {
        placement.insert("tolerations".into(), json!(template.tolerations));
    }
    if let Some(name) = &template.priority_class_name {
        placement.insert("priorityClassName".into(), json!(name));
    }
    Value::Object(placement)
}

fn merge(into: &mut Value, from: Value) {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}

fn container(broker: &Broker, own: &ObjectName, settings: &Settings) -> Value {
    let mut container = json!({
        "name": CONTAINER,
        "image": settings.broker_image,
        "args": arguments(own, settings),
        "env": [{ "name": "POD_NAME", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }],
        "ports": [
            { "name": "kafka", "containerPort": KAFKA_PORT, "protocol": "TCP" },
            { "name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP" },
        ],
        "resources": broker.spec.resources.as_ref().map_or_else(default_resources, |resources| json!(resources)),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] },
        },
        "startupProbe": probe("/ready", 1, STARTUP_FAILURES_MAX),
        "readinessProbe": probe("/ready", 5, 2),
        "livenessProbe": probe("/live", 10, 6),
        "volumeMounts": [
            { "name": "data", "mountPath": DATA_FOLDER },
            { "name": "tls", "mountPath": TLS_FOLDER, "readOnly": true },
            { "name": "config", "mountPath": CONFIG_FOLDER, "readOnly": true },
        ],
    });
    if !settings.image_pull_policy.is_empty() {
        merge(&mut container, json!({ "imagePullPolicy": settings.image_pull_policy }));
    }
    container
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
    let nodes = super::nodes_name(&own.name);
    vec![
        format!("--data={DATA_FOLDER}/log"),
        format!("--tls-listen=0.0.0.0:{KAFKA_PORT}"),
        format!("--tls-dir={TLS_FOLDER}"),
        format!("--advertise=$(POD_NAME).{nodes}.{}.svc:{KAFKA_PORT}", own.namespace),
        format!("--admin-listen=0.0.0.0:{ADMIN_PORT}"),
        format!("--super-user={}", settings.identity),
        format!("--config={CONFIG_FOLDER}/{}", config_map::FILE),
        "--log-format=json".to_owned(),
    ]
}
