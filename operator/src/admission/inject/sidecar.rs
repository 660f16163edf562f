//! The sidecar's container and its volumes, as JSON. Pure.
//!
//! Clean under the `restricted` Pod Security Standard whatever the rest of the Pod looks like.

use serde_json::{Map, Value, json};

use super::annotations::Wishes;
use super::settings::{
    ADMIN_PORT, API_TOKEN_PATH, APP_PORT, CONTAINER, KAFKA_PORT, PEER_PORT, RUN_PATH, STATE_PATH, Settings,
    TOKEN_PATH, USER_ID, VOLUME_RUN, VOLUME_STATE, VOLUME_TOKEN,
};

/// Kubernetes' smallest; the kubelet asks for a new token at 80 % of it.
const TOKEN_LIFE_S: u32 = 3600;
/// Probes of a starting sidecar, one a second (the kubelet knows no shorter period).
const START_ATTEMPTS: u32 = 120;

/// The native sidecar: an init container that stays.
pub(super) fn container(settings: &Settings, wishes: &Wishes) -> Value {
    json!({
        "name": CONTAINER,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "restartPolicy": "Always",
        "args": arguments(settings, wishes),
        "env": environment(settings),
        "ports": [
            {"name": "pinnace-peer", "containerPort": PEER_PORT, "protocol": "TCP"},
            {"name": "pinnace-admin", "containerPort": ADMIN_PORT, "protocol": "TCP"},
        ],
        "resources": resources(settings, wishes),
        "securityContext": security_context(settings.user_id),
        // The next container waits for this one, so it is asked as often as the kubelet can.
        "startupProbe": probe("/ready", 1, START_ATTEMPTS),
        "readinessProbe": probe("/ready", 5, 3),
        "livenessProbe": probe("/live", 10, 6),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": VOLUME_RUN, "mountPath": RUN_PATH},
            {"name": VOLUME_STATE, "mountPath": STATE_PATH},
            {"name": VOLUME_TOKEN, "mountPath": TOKEN_PATH, "readOnly": true},
            // The sidecar never talks to the Kubernetes API. With this path taken, the API server
            // gives it no token for it either.
            {"name": VOLUME_TOKEN, "mountPath": API_TOKEN_PATH, "readOnly": true},
        ],
    })
}

/// A hash of all that a sidecar is injected with and that cannot be changed while its Pod runs: not the image, nor the
/// roots, which it is told of later, nor what a Pod asks for itself or its namespace says.
#[must_use]
pub fn settings_hash(settings: &Settings) -> String {
    let same = Settings {
        image: String::new(),
        trust_bundle_pem: String::new(),
        user_id: USER_ID,
        ..settings.clone()
    };
    let all = json!([container(&same, &Wishes::default()), volumes(&same).map(|(_, volume)| volume)]);
    crate::hash::hash(&all.to_string(), 5)
}

/// The volumes behind the mounts.
pub(super) fn volumes(settings: &Settings) -> [(&'static str, Value); 3] {
    // In memory: sockets and a key have no business on a disk.
    [
        (VOLUME_RUN, json!({"name": VOLUME_RUN, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}})),
        (VOLUME_STATE, json!({"name": VOLUME_STATE, "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}})),
        (
            VOLUME_TOKEN,
            json!({"name": VOLUME_TOKEN, "projected": {"sources": [{"serviceAccountToken": {
                "audience": settings.audience, "expirationSeconds": TOKEN_LIFE_S, "path": "token",
            }}]}}),
        ),
    ]
}

/// What the app's containers are told; each only where the app says nothing itself.
pub(super) fn app_environment() -> [(&'static str, String); 4] {
    [
        ("PINNACE_ADDRESS", format!("127.0.0.1:{APP_PORT}")),
        ("PINNACE_SOCKET", format!("{RUN_PATH}/api.sock")),
        ("KAFKA_BOOTSTRAP_SERVERS", format!("127.0.0.1:{KAFKA_PORT}")),
        ("PINNACE_ZMQ_DIR", format!("{RUN_PATH}/zmq")),
    ]
}

fn arguments(settings: &Settings, wishes: &Wishes) -> Vec<String> {
    let mut arguments = vec![
        "--name=$(POD_NAMESPACE)/$(POD_NAME)".to_owned(),
        "--namespace=$(POD_NAMESPACE)".to_owned(),
        format!("--app-listen=127.0.0.1:{APP_PORT}"),
        format!("--app-socket={RUN_PATH}/api.sock"),
        format!("--kafka-listen=127.0.0.1:{KAFKA_PORT}"),
        format!("--zmq-dir={RUN_PATH}/zmq"),
        format!("--peer-listen=0.0.0.0:{PEER_PORT}"),
        format!("--peer-advertise=$(POD_IP):{PEER_PORT}"),
        format!("--admin-listen=0.0.0.0:{ADMIN_PORT}"),
        format!("--control={}", settings.control_address),
        format!("--control-server-name={}", settings.control_server_name),
        format!("--token-file={TOKEN_PATH}/token"),
        format!("--state-dir={STATE_PATH}"),
        format!("--log-level={}", wishes.log_level.as_deref().unwrap_or(&settings.log_level)),
        "--log-format=json".to_owned(),
    ];
    arguments.extend(wishes.broker.iter().map(|broker| format!("--broker-ref={broker}")));
    arguments.extend(wishes.zmq_listen.iter().map(|door| format!("--zmq-listen={door}")));
    arguments.extend(wishes.push.iter().map(|target| format!("--push={target}")));
    arguments.extend(wishes.zmq_connect.iter().map(|socket| format!("--zmq-connect={socket}")));
    arguments
}

fn environment(settings: &Settings) -> Value {
    let field =
        |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    json!([
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        field("POD_IP", "status.podIP"),
        field("PINNACE_NODE", "spec.nodeName"),
        // Kubernetes 1.35 and newer put the node's label on the Pod; empty where they do not.
        field("PINNACE_ZONE", "metadata.labels['topology.kubernetes.io/zone']"),
        {"name": "PINNACE_TRUST_BUNDLE", "value": settings.trust_bundle_pem},
    ])
}

fn resources(settings: &Settings, wishes: &Wishes) -> Value {
    let mut resources = settings.resources.clone();
    for (part, amounts) in wishes.resources.iter().flatten() {
        let present = resources.entry(part.clone()).or_insert_with(|| Value::Object(Map::new()));
        let (Some(present), Some(amounts)) = (present.as_object_mut(), amounts.as_object()) else {
            continue;
        };
        for (resource, amount) in amounts {
            present.insert(resource.clone(), amount.clone());
        }
    }
    Value::Object(resources)
}

fn security_context(user_id: u32) -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "privileged": false,
        "readOnlyRootFilesystem": true,
        "runAsGroup": USER_ID,
        "runAsNonRoot": true,
        "runAsUser": user_id,
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

fn probe(path: &str, period_s: u32, failures: u32) -> Value {
    json!({
        "httpGet": {"path": path, "port": ADMIN_PORT, "scheme": "HTTP"},
        "periodSeconds": period_s,
        "timeoutSeconds": period_s.min(3),
        "failureThreshold": failures,
    })
}
