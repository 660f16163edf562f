//! A Pod that asks for a sidecar, and of it only what somebody looks at: there may be ten thousand of them.

mod sidecar;

pub use sidecar::{Begun, Sidecar};

use crate::admission::inject::{Missed, missed};
use k8s_openapi::{
    NamespaceResourceScope, api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::ObjectMeta,
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::Resource;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use std::borrow::Cow;

/// What is kept of `metadata`; of the owners, only the one that controls it.
const KEPT: &[&str] = &[
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "ownerReferences",
];
/// Phases of a Pod that does not run any more.
const OVER: [&str; 2] = ["Succeeded", "Failed"];

/// See the module.
#[derive(Clone, Debug)]
pub struct LabelledPod {
    metadata: ObjectMeta,
    /// The service account that it runs as.
    pub service_account: Box<str>,
    /// It runs no more, or is about to end.
    pub is_over: bool,
    /// It has no sidecar, and what of the Pod itself keeps it out.
    pub missed: Option<Missed>,
    /// The sidecar, where our webhook put it in.
    pub sidecar: Option<Sidecar>,
}

impl LabelledPod {
    /// Takes out of a Pod what is kept.
    fn from_value(pod: &Value) -> Result<Self, serde_json::Error> {
        let all = pod.pointer("/metadata").and_then(Value::as_object);
        let kept = all.into_iter().flatten().filter(|(key, _)| KEPT.contains(&key.as_str()));
        let kept = kept.map(|(key, value)| (key.clone(), value.clone()));
        let mut metadata: ObjectMeta = serde_json::from_value(Value::Object(kept.collect()))?;
        if let Some(owners) = &mut metadata.owner_references {
            owners.retain(|owner| owner.controller == Some(true));
        }
        let phase = pod.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
        let is_over = metadata.deletion_timestamp.is_some() || OVER.contains(&phase);
        let account = pod.pointer("/spec/serviceAccountName").and_then(Value::as_str).unwrap_or_default();
        let (missed, sidecar) = (missed(pod), Sidecar::read(pod));
        Ok(Self { metadata, service_account: account.into(), is_over, missed, sidecar })
    }

    /// Who makes such Pods; `None` when somebody made it by hand.
    #[must_use]
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.metadata.owner_references.as_ref()?.first()
    }

    /// The same, or the Pod itself.
    #[must_use]
    pub fn made_by(&self) -> OwnerReference {
        self.controller().cloned().unwrap_or_else(|| OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            name: self.metadata.name.clone().unwrap_or_default(),
            uid: self.metadata.uid.clone().unwrap_or_default(),
            ..OwnerReference::default()
        })
    }
}

impl<'de> Deserialize<'de> for LabelledPod {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_value(&Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Resource for LabelledPod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Pod::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        Pod::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        Pod::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        Pod::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Goal: of a large Pod only what somebody looks at is kept.
    #[test]
    fn little_of_a_pod_is_kept() {
        let pod = json!({
            "metadata": {
                "name": "a", "namespace": "shop", "uid": "u", "labels": {"pinnace.dev/inject": "true", "app": "x"},
                "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "long"},
                "managedFields": [{"manager": "x"}],
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "X", "name": "x", "uid": "1"},
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a-1", "uid": "2", "controller": true},
                ],
            },
            "spec": {"serviceAccountName": "checkout", "containers": [{"name": "app", "env": [{"name": "A", "value": "long"}]}]},
            "status": {"phase": "Running"},
        });
        let kept = LabelledPod::from_value(&pod).unwrap();
        let metadata = serde_json::to_value(kept.meta()).unwrap();
        assert_eq!(
            metadata.as_object().unwrap().keys().collect::<Vec<_>>(),
            ["name", "namespace", "ownerReferences", "uid"]
        );
        assert_eq!(kept.controller().unwrap().name, "a-1");
        assert_eq!((kept.is_over, kept.missed), (false, Some(Missed::Unseen)));
        assert_eq!(&*kept.service_account, "checkout");
    }
}
