//! Puts the sidecar into a Pod: raw Pod and settings in, JSON patch out. Pure.
//!
//! Must not ask anybody anything: what it needs is in the Pod and in the settings. Calling it
//! again on its own result changes nothing, apart from containers that came in between.

mod annotations;
mod check;
mod editor;
mod missed;
mod settings;
mod sidecar;
#[cfg(test)]
mod tests;

use api::labels;
use json_patch::Patch;
use serde_json::{Value, json};

pub use missed::{Missed, missed};
pub use settings::{CONTAINER, LABEL_INJECTED, LOG_LEVELS, Settings, USER_ID};
pub use sidecar::settings_hash;

use annotations::Wishes;
use check::{CONTAINER_LISTS, containers, has_sidecar, obstacles, text};
use editor::{EditError, Editor};
use settings::{RUN_PATH, VOLUME_RUN, VOLUME_STATE};

const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
/// Where a Pod says that it is in the node's network.
const HOST_NETWORK: &str = "/spec/hostNetwork";
/// On the copies that a kubelet makes of its own static Pods.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// What became of one Pod.
#[derive(Debug)]
pub enum Outcome {
    /// Apply this.
    Patched {
        /// Never empty.
        patch: Patch,
        /// For the user who made the Pod.
        warnings: Vec<String>,
    },
    /// Leave the Pod as it is.
    Skipped(Skip),
    /// Do not let the Pod in.
    Refused {
        /// All that is wrong, with the fields to change.
        problems: Vec<String>,
    },
}

/// Why a Pod is left as it is. A label value of a metric, so the set is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skip {
    /// It does not carry the label.
    NotLabelled,
    /// A kubelet runs it and no API object can change it.
    StaticPod,
    /// It has all of it already.
    AlreadyInjected,
}

impl Skip {
    /// The value for metrics and audit annotations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NotLabelled => "not_labelled",
            Self::StaticPod => "static_pod",
            Self::AlreadyInjected => "already_injected",
        }
    }
}

/// Decides about one Pod.
#[must_use]
pub fn inject(pod: &Value, settings: &Settings) -> Outcome {
    if metadata(pod, "labels", labels::INJECT) != Some("true") {
        return Outcome::Skipped(Skip::NotLabelled);
    }
    if is_static(pod) {
        return Outcome::Skipped(Skip::StaticPod);
    }
    let mut problems = obstacles(pod);
    let annotations = pod.pointer("/metadata/annotations").and_then(Value::as_object);
    let mut wishes = match annotations::read(annotations) {
        Ok(wishes) => wishes,
        Err(more) => {
            problems.extend(more);
            return Outcome::Refused { problems };
        }
    };
    if !problems.is_empty() {
        return Outcome::Refused { problems };
    }
    wishes.warnings.extend(name_resolution(pod));
    match edit(pod, settings, &wishes) {
        Ok(patch) if patch.0.is_empty() => Outcome::Skipped(Skip::AlreadyInjected),
        Ok(patch) => Outcome::Patched { patch, warnings: wishes.warnings },
        Err(error) => Outcome::Refused { problems: vec![error.to_string()] },
    }
}

fn edit(pod: &Value, settings: &Settings, wishes: &Wishes) -> Result<Patch, EditError> {
    let mut editor = Editor::new(pod.clone());
    if !has_sidecar(pod) {
        editor.prepend(&["spec", "initContainers"], sidecar::container(settings, wishes))?;
        editor.set(&["metadata", "labels", labels::SIDECAR_SETTINGS], json!(settings_hash(settings)))?;
        editor.set(&["metadata", "annotations", labels::SIDECAR_IMAGE], json!(settings.image))?;
    }
    for (name, volume) in sidecar::volumes(settings) {
        if !containers(editor.pod(), "volumes").iter().any(|present| text(present, "name") == name) {
            editor.append(&["spec", "volumes"], volume)?;
        }
    }
    for list in CONTAINER_LISTS {
        for index in 0..containers(editor.pod(), list).len() {
            equip(&mut editor, list, index)?;
        }
    }
    describe(&mut editor)?;
    Ok(editor.into_patch())
}

/// Gives one of the app's containers the sockets and the environment.
fn equip(editor: &mut Editor, list: &str, index: usize) -> Result<(), EditError> {
    let Some(container) = containers(editor.pod(), list).get(index) else { return Ok(()) };
    if text(container, "name") == CONTAINER {
        return Ok(());
    }
    let has = |array: &str, member: &str, wanted: &str| {
        let items = container.get(array).and_then(Value::as_array);
        items.into_iter().flatten().any(|item| text(item, member).trim_end_matches('/') == wanted)
    };
    let wants_mount = !has("volumeMounts", "mountPath", RUN_PATH);
    let missing: Vec<_> =
        sidecar::app_environment().into_iter().filter(|(name, _)| !has("env", "name", name)).collect();
    let index = index.to_string();
    if wants_mount {
        let mount = json!({"name": VOLUME_RUN, "mountPath": RUN_PATH});
        editor.append(&["spec", list, &index, "volumeMounts"], mount)?;
    }
    // Ours come first, so that the app's own variables can refer to them.
    for (name, value) in missing.into_iter().rev() {
        editor.prepend(&["spec", list, &index, "env"], json!({"name": name, "value": value}))?;
    }
    Ok(())
}

fn describe(editor: &mut Editor) -> Result<(), EditError> {
    editor.set(&["metadata", "labels", LABEL_INJECTED], json!("true"))?;
    let present = metadata(editor.pod(), "annotations", SAFE_TO_EVICT).unwrap_or_default();
    let mut volumes: Vec<&str> = present.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    for ours in [VOLUME_RUN, VOLUME_STATE] {
        if !volumes.contains(&ours) {
            volumes.push(ours);
        }
    }
    let volumes = volumes.join(",");
    editor.set(&["metadata", "annotations", SAFE_TO_EVICT], json!(volumes))?;
    if metadata(editor.pod(), "annotations", DEFAULT_CONTAINER).is_none()
        && let Some(app) = containers(editor.pod(), "containers").first()
    {
        let name = text(app, "name").to_owned();
        editor.set(&["metadata", "annotations", DEFAULT_CONTAINER], json!(name))?;
    }
    Ok(())
}

fn is_static(pod: &Value) -> bool {
    let owners = pod.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    metadata(pod, "annotations", MIRROR).is_some()
        || owners.into_iter().flatten().any(|owner| text(owner, "kind") == "Node")
}

fn name_resolution(pod: &Value) -> Option<String> {
    let policy = pod.pointer("/spec/dnsPolicy").and_then(Value::as_str)?;
    ["Default", "None"].contains(&policy).then(|| {
        format!(
            "spec.dnsPolicy is {policy}: the sidecar finds the control plane and the brokers by their cluster names, \
             which this Pod may not be able to look up"
        )
    })
}

fn metadata<'pod>(pod: &'pod Value, map: &str, name: &str) -> Option<&'pod str> {
    pod.pointer(&format!("/metadata/{map}"))?.get(name)?.as_str()
}
