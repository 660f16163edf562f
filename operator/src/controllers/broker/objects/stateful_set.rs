//! The StatefulSet that runs the engine, clean under `restricted` Pod Security. Pure.

use crate::{
    context::Settings,
    controllers::broker::{
        certificate::Certificate,
        engine::{self, Node},
    },
};
use api::{
    Broker,
    broker::{Engine, Template},
    labels,
    topic::DeletionPolicy,
};
use control::ObjectName;
use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::{Map, Value, json};

/// The user that all our images run as, and that any other can.
const USER: u32 = 65_532;

/// What a StatefulSet depends on beside its Broker.
pub(in super::super) struct Present<'a> {
    /// How many nodes there are to be for now.
    pub(in super::super) nodes: i32,
    /// That of the StatefulSet that is there, whose template for claims cannot change.
    pub(in super::super) claim_size: Option<&'a str>,
    /// The certificate, for an engine that reads it at its start alone: a new one starts the nodes again.
    pub(in super::super) certificate: Option<&'a Certificate>,
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
    // A node of several is started again by us, when the others go on without it.
    let strategy = match broker.spec.engine {
        Engine::Embedded => "RollingUpdate",
        Engine::Kafka => "OnDelete",
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
            "replicas": present.nodes,
            "serviceName": super::nodes_name(&own.name),
            "podManagementPolicy": "Parallel",
            "updateStrategy": { "type": strategy },
            "selector": { "matchLabels": super::selector(&own.name) },
            "persistentVolumeClaimRetentionPolicy": { "whenDeleted": retain, "whenScaled": retain },
            "template": pod(broker, own, settings, present),
            "volumeClaimTemplates": [{
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": { "name": "data", "labels": super::labels(&own.name) },
                "spec": claim,
            }],
        },
    }))
}

fn pod(broker: &Broker, own: &ObjectName, settings: &Settings, present: &Present<'_>) -> Value {
    let template = broker.spec.template.clone().unwrap_or_default();
    let mut pod_labels = json!(template.labels);
    merge(&mut pod_labels, super::labels(&own.name));
    merge(&mut pod_labels, json!({ labels::ENGINE: broker.spec.engine }));
    let mut annotations = json!(template.annotations);
    let files = engine::files(broker, own, settings);
    merge(&mut annotations, json!({ labels::CONFIG_HASH: super::config_map::hash(&files) }));
    if let Some(certificate) = present.certificate {
        let hash = crate::hash::hash(&[certificate.chain_pem.as_str(), &certificate.bundle_pem].concat(), 8);
        merge(&mut annotations, json!({ labels::CERTIFICATE_HASH: hash }));
    }
    let Node { init_containers, container, volumes, is_spread, grace_seconds } =
        engine::node(broker, own, settings);
    let mut all_volumes = vec![
        json!({ "name": "tls", "secret": { "secretName": super::secret_name(&own.name), "defaultMode": 0o440 } }),
        json!({ "name": "config", "configMap": { "name": super::config_name(&own.name) } }),
    ];
    all_volumes.extend(volumes);
    let pulled = |container| with_pull_policy(container, settings);
    let mut spec = json!({
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": grace_seconds,
        "securityContext": security_context(present.users_assigned),
        "containers": [pulled(container)],
        "volumes": all_volumes,
    });
    if !init_containers.is_empty() {
        let init: Vec<Value> = init_containers.into_iter().map(pulled).collect();
        merge(&mut spec, json!({ "initContainers": init }));
    }
    merge(&mut spec, placement(&template));
    if is_spread {
        let spread = |key: &str| {
            json!({
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": { "matchLabels": super::selector(&own.name) },
            })
        };
        let spread = [spread("topology.kubernetes.io/zone"), spread("kubernetes.io/hostname")];
        merge(&mut spec, json!({ "topologySpreadConstraints": spread }));
    }
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

fn with_pull_policy(mut container: Value, settings: &Settings) -> Value {
    if !settings.image_pull_policy.is_empty() {
        merge(&mut container, json!({ "imagePullPolicy": settings.image_pull_policy }));
    }
    container
}
