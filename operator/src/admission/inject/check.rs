//! Finds what stands in the way of a sidecar in one Pod. Pure.
//!
//! A Pod that carries the label and cannot have what it asks for is refused with the reason,
//! since a Pod that starts without its sidecar fails later and says less.

use api::labels::INJECT;
use serde_json::Value;

use super::HOST_NETWORK;
use super::settings::{CONTAINER, PORTS, RUN_PATH, VOLUMES};

/// Both lists of containers that an app brings.
pub(super) const CONTAINER_LISTS: [&str; 2] = ["initContainers", "containers"];

/// The containers of one list.
pub(super) fn containers<'pod>(pod: &'pod Value, list: &str) -> &'pod [Value] {
    pod.pointer(&format!("/spec/{list}")).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A member of a container or volume as text, empty where there is none.
pub(super) fn text<'item>(item: &'item Value, member: &str) -> &'item str {
    item.get(member).and_then(Value::as_str).unwrap_or_default()
}

/// Whether an earlier call already put the sidecar in.
pub(super) fn has_sidecar(pod: &Value) -> bool {
    containers(pod, "initContainers")
        .iter()
        .any(|container| text(container, "name") == CONTAINER && text(container, "restartPolicy") == "Always")
}

/// All reasons why this Pod cannot have a sidecar.
pub(super) fn obstacles(pod: &Value) -> Vec<String> {
    let mut obstacles = Vec::new();
    if pod.pointer(HOST_NETWORK) == Some(&Value::Bool(true)) {
        obstacles.push(format!(
            "spec.hostNetwork is true: the sidecar's doors on 127.0.0.1 would be open to the whole node; \
             remove hostNetwork or the label {INJECT}"
        ));
    }
    if pod.pointer("/spec/os/name").and_then(Value::as_str) == Some("windows") {
        obstacles
            .push(format!("spec.os.name is windows: the sidecar runs on Linux; remove the label {INJECT}"));
    }
    for list in CONTAINER_LISTS {
        for container in containers(pod, list) {
            taken_by_container(&mut obstacles, list, container);
        }
    }
    if !has_sidecar(pod) {
        taken_names(&mut obstacles, pod);
    }
    obstacles
}

fn taken_by_container(obstacles: &mut Vec<String>, list: &str, container: &Value) {
    let name = text(container, "name");
    if name == CONTAINER {
        return;
    }
    for port in container.get("ports").and_then(Value::as_array).into_iter().flatten() {
        let number = port.get("containerPort").and_then(Value::as_u64).unwrap_or_default();
        if PORTS.iter().any(|ours| u64::from(*ours) == number) {
            obstacles.push(format!(
                "spec.{list}[{name}].ports: {number} is a port of the sidecar in the same network; choose another"
            ));
        }
    }
    for mount in container.get("volumeMounts").and_then(Value::as_array).into_iter().flatten() {
        let (path, volume) = (text(mount, "mountPath").trim_end_matches('/'), text(mount, "name"));
        if path == RUN_PATH && !VOLUMES.contains(&volume) {
            obstacles.push(format!(
                "spec.{list}[{name}].volumeMounts: {RUN_PATH} holds the sidecar's sockets; mount {volume} elsewhere"
            ));
        }
    }
}

fn taken_names(obstacles: &mut Vec<String>, pod: &Value) {
    for list in CONTAINER_LISTS {
        if containers(pod, list).iter().any(|container| text(container, "name") == CONTAINER) {
            obstacles
                .push(format!("spec.{list}: the name {CONTAINER} is kept for the sidecar; choose another"));
        }
    }
    for volume in containers(pod, "volumes") {
        let name = text(volume, "name");
        if VOLUMES.contains(&name) {
            obstacles.push(format!("spec.volumes: the name {name} is kept for the sidecar; choose another"));
        }
    }
}
