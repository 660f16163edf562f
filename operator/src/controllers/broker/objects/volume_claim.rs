//! A volume claim, when it has to grow. A StatefulSet cannot change its own template for claims. Pure.

use control::ObjectName;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::json;

/// The part of the claim that asks for `size`.
pub(in super::super) fn grown(
    (own, node): (&ObjectName, i32),
    size: &str,
) -> Result<PersistentVolumeClaim, serde_json::Error> {
    serde_json::from_value(json!({
        "metadata": { "name": super::claim_name(&own.name, node), "namespace": own.namespace },
        "spec": { "resources": { "requests": { "storage": size } } },
    }))
}
