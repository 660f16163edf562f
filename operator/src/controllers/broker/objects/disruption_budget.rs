//! How many nodes a drain may take at a time: one, of an engine that goes on without it. Pure.

use api::Broker;
use control::ObjectName;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde_json::json;

pub(in super::super) fn build(
    broker: &Broker,
    own: &ObjectName,
) -> Result<PodDisruptionBudget, serde_json::Error> {
    serde_json::from_value(json!({
        "metadata": super::metadata(broker, own, &super::service_name(&own.name)),
        "spec": {
            "maxUnavailable": 1,
            "selector": { "matchLabels": super::selector(&own.name) },
            // One that does not get well by itself must not hold a node that is to go.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }))
}
