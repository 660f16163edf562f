//! Settings of the engine as the file that it reads. Pure.

use api::Broker;
use control::ObjectName;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

/// Name of the file.
pub(in super::super) const FILE: &str = "broker.properties";

fn text(broker: &Broker) -> String {
    broker.spec.config.iter().map(|(name, value)| format!("{name}={value}\n")).collect()
}

/// Changes when the engine must be started anew to see the settings.
pub(in super::super) fn hash(broker: &Broker) -> String {
    crate::hash::hash(&text(broker), 8)
}

pub(in super::super) fn build(broker: &Broker, own: &ObjectName) -> Result<ConfigMap, serde_json::Error> {
    serde_json::from_value(json!({
        "metadata": super::metadata(broker, own, &super::config_name(&own.name)),
        "data": { FILE: text(broker) },
    }))
}
