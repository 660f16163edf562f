//! Pods that ask for a sidecar and run without: why, and who is told. Pure.
//!
//! Told is the workload that made the Pod, once for each cause: whoever reads it restarts all of its Pods.

use crate::{
    admission::inject::Missed,
    apply::event,
    cluster::{LabelledPod, name_of},
};
use api::labels::INJECT;
use control::ObjectName;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::runtime::events::{Event, EventType};
use std::{collections::BTreeMap, fmt};

/// Why a Pod has no sidecar: the values of the label `reason`.
pub const REASONS: [&str; 5] = [NAMESPACE_EXCLUDED, STATIC_POD, HOST_NETWORK, REFUSED, NOT_SEEN];
const NAMESPACE_EXCLUDED: &str = "namespace_excluded";
const STATIC_POD: &str = "static_pod";
const HOST_NETWORK: &str = "host_network";
const REFUSED: &str = "refused";
const NOT_SEEN: &str = "not_seen";

/// The reason of the Event.
const EVENT_REASON: &str = "SidecarMissing";
/// Pods that a note names.
const NAMED_MAX: usize = 3;

/// What is told once: a workload has Pods without their sidecar for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cause {
    /// Of the Pods' controller, or of a Pod that has none.
    pub uid: String,
    /// One of [`REASONS`].
    pub reason: &'static str,
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{EVENT_REASON}/{}", self.uid, self.reason)
    }
}

/// The Pods of one workload that one cause concerns.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Name of the Pods' controller, or of a Pod that has none.
    pub name: ObjectName,
    /// The controller, or the Pod.
    pub made_by: OwnerReference,
    /// Names, sorted.
    pub pods: Vec<String>,
    /// What it is and what to do, without the Pods.
    text: String,
}

/// Why a Pod runs without the sidecar that it asked for; `None` when it has it, or runs no more.
#[must_use]
pub fn reason(pod: &LabelledPod, excluded_namespaces: &[String]) -> Option<&'static str> {
    let missed = pod.missed.as_ref().filter(|_| !pod.is_over)?;
    if excluded_namespaces.contains(&name_of(pod).namespace) {
        return Some(NAMESPACE_EXCLUDED);
    }
    Some(match missed {
        Missed::StaticPod => STATIC_POD,
        Missed::HostNetwork(_) => HOST_NETWORK,
        Missed::Refused(_) => REFUSED,
        Missed::Unseen => NOT_SEEN,
    })
}

/// What is to be told.
#[must_use]
pub fn reports<'a>(
    pods: impl Iterator<Item = &'a LabelledPod>,
    excluded_namespaces: &[String],
) -> BTreeMap<Cause, Report> {
    let mut reports = BTreeMap::<Cause, Report>::new();
    for pod in pods {
        let Some(reason) = reason(pod, excluded_namespaces) else { continue };
        let made_by = pod.made_by();
        let cause = Cause { uid: made_by.uid.clone(), reason };
        let name = name_of(pod);
        let report = reports.entry(cause).or_insert_with(|| Report {
            name: ObjectName::new(&name.namespace, &made_by.name),
            text: text(reason, pod, &name.namespace),
            made_by,
            pods: Vec::new(),
        });
        report.pods.push(name.name);
    }
    for report in reports.values_mut() {
        report.pods.sort();
    }
    reports
}

fn text(reason: &str, pod: &LabelledPod, namespace: &str) -> String {
    match (reason, &pod.missed) {
        (NAMESPACE_EXCLUDED, _) => format!(
            "no Pod of namespace {namespace} gets one (kube-system, the operator's own namespace, and the chart value \
             webhook.excludedNamespaces); run it in another namespace, or remove the label"
        ),
        (STATIC_POD, _) => format!(
            "it is a static Pod, which no webhook can change; make it a DaemonSet, or remove the label {INJECT}"
        ),
        (_, Some(Missed::HostNetwork(problems) | Missed::Refused(problems))) => {
            format!("the webhook did not see it, and would have refused it: {problems}")
        }
        _ => "it was made while no webhook answered, or got the label afterwards; make it anew (kubectl rollout restart, \
              or delete the Pod). With the chart value webhook.requireSidecar such Pods are refused until the webhook answers"
            .to_owned(),
    }
}

impl Report {
    /// What the workload is told.
    #[must_use]
    pub fn event(&self) -> Event {
        let mut names = self.pods.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
        let more = self.pods.len().saturating_sub(NAMED_MAX);
        if more > 0 {
            names = format!("{names} and {more} more");
        }
        let note = format!("{names}: the label {INJECT} asks for a sidecar and there is none: {}", self.text);
        event(EventType::Warning, EVENT_REASON, "Inject", &note)
    }
}
