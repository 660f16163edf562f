//! The files that the engine reads. Pure.

use api::Broker;
use control::ObjectName;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;
use std::collections::BTreeMap;

/// Files by name.
type Files = BTreeMap<&'static str, String>;

/// Changes when the engine must be started anew to see the files.
pub(in super::super) fn hash(files: &Files) -> String {
    crate::hash::hash(&json!(files).to_string(), 8)
}

pub(in super::super) fn build(
    broker: &Broker,
    own: &ObjectName,
    files: &Files,
) -> Result<ConfigMap, serde_json::Error> {
    serde_json::from_value(json!({
        "metadata": super::metadata(broker, own, &super::config_name(&own.name)),
        "data": files,
    }))
}
