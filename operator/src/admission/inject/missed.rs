//! Pods that ask for a sidecar and have none: what of the Pod itself keeps it out. Pure.

use super::{HOST_NETWORK, annotations, check, is_static, metadata};
use api::labels;
use serde_json::Value;

/// What of a Pod itself keeps its sidecar out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missed {
    /// A kubelet runs it by itself, and no webhook is asked.
    StaticPod,
    /// It is in the node's network; what to change.
    HostNetwork(String),
    /// The webhook would refuse it for another reason; what to change.
    Refused(String),
    /// Nothing: the webhook did not see it, or not with its label.
    Unseen,
}

/// `None` when the Pod has its sidecar, or did not ask.
#[must_use]
pub fn missed(pod: &Value) -> Option<Missed> {
    if metadata(pod, "labels", labels::INJECT) != Some("true") || check::has_sidecar(pod) {
        return None;
    }
    if is_static(pod) {
        return Some(Missed::StaticPod);
    }
    let mut problems = check::obstacles(pod);
    let wishes = annotations::read(pod.pointer("/metadata/annotations").and_then(Value::as_object));
    problems.extend(wishes.err().into_iter().flatten());
    let problems = problems.join("; ");
    if pod.pointer(HOST_NETWORK) == Some(&Value::Bool(true)) {
        return Some(Missed::HostNetwork(problems));
    }
    Some(if problems.is_empty() { Missed::Unseen } else { Missed::Refused(problems) })
}
