//! Of a Pod, its sidecar: what runs, whether it is well, and the upgrade in place that was begun last.

use crate::admission::inject::{CONTAINER, LABEL_INJECTED};
use api::labels::{SIDECAR_IMAGE, SIDECAR_SETTINGS, SIDECAR_UPGRADE, SIDECAR_UPGRADE_BEGUN};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The sidecar that our webhook put into a Pod.
#[derive(Clone, Debug)]
pub struct Sidecar {
    /// The image that we asked for. What the container has may be what another webhook made of it.
    pub image: String,
    /// What of it the node has, with its digest; empty before it runs.
    pub image_id: String,
    /// How often the container was started again.
    pub restarts: u64,
    /// Why it does not run, in the kubelet's word, such as `ImagePullBackOff`.
    pub waiting: Option<String>,
    /// When the container was started, in milliseconds since 1970; 0 while it does not run.
    pub started_ms: i64,
    /// Whether the Pod, with all its containers, is Ready.
    pub is_ready: bool,
    /// When that changed, in milliseconds since 1970.
    pub ready_changed_ms: i64,
    /// What of all its settings but the image the injection was made with.
    pub settings: String,
    /// The Pod's owner wants it left alone.
    pub is_disabled: bool,
    /// The last upgrade in place.
    pub begun: Option<Begun>,
}

/// An upgrade in place that was begun: an annotation of the Pod, written with the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// Of the Pod: a copy of it was not upgraded.
    pub uid: String,
    /// When.
    pub at: jiff::Timestamp,
    /// How often the container had been started again before.
    pub restarts: u64,
}

/// The container of this name in a list of the spec or the status.
fn find<'a>(pod: &'a Value, list: &str) -> Option<&'a Value> {
    pod.pointer(list)?.as_array()?.iter().find(|container| container["name"] == CONTAINER)
}

impl Sidecar {
    /// `None` when the Pod has none, or it is somebody else's.
    pub(super) fn read(pod: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &pod["metadata"];
        let container = find(pod, "/spec/initContainers")?;
        if container["restartPolicy"] != "Always" || metadata["labels"][LABEL_INJECTED] != "true" {
            return None;
        }
        let nothing = Value::Null;
        let status = find(pod, "/status/initContainerStatuses").unwrap_or(&nothing);
        let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
        let ready = conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready");
        let ready = ready.unwrap_or(&nothing);
        let time = |value: &Value| {
            let time = text(value).parse::<jiff::Timestamp>();
            time.map_or(0, |time| time.as_millisecond())
        };
        let annotations = &metadata["annotations"];
        let begun = serde_json::from_str::<Begun>(&text(&annotations[SIDECAR_UPGRADE_BEGUN])).ok();
        Some(Self {
            // Older versions left no annotation.
            image: text(annotations.get(SIDECAR_IMAGE).unwrap_or_else(|| &container["image"])),
            image_id: text(&status["imageID"]),
            restarts: status["restartCount"].as_u64().unwrap_or(0),
            waiting: status.pointer("/state/waiting/reason").and_then(Value::as_str).map(str::to_owned),
            is_ready: ready["status"] == "True",
            started_ms: status.pointer("/state/running/startedAt").map_or(0, time),
            ready_changed_ms: time(&ready["lastTransitionTime"]),
            settings: text(&metadata["labels"][SIDECAR_SETTINGS]),
            is_disabled: annotations[SIDECAR_UPGRADE] == "disabled",
            begun: begun.filter(|begun| metadata["uid"] == *begun.uid),
        })
    }
}
