//! What happens in a cluster to a StatefulSet: its volume is made and its node becomes ready.

use super::FakeApi;
use serde_json::{Value, json};
use std::time::Duration;

/// How long it takes at most.
const PERIOD: Duration = Duration::from_millis(700);

/// Runs until it is dropped.
pub(crate) async fn run(api: FakeApi) {
    let mut changes = api.changes();
    while changes.changed().await.is_ok() {
        tokio::time::sleep(PERIOD).await;
        changes.borrow_and_update();
        step(&api);
    }
}

fn step(api: &FakeApi) {
    for set in api.objects().into_iter().filter(|object| object["kind"] == "StatefulSet") {
        let claim = claim_of(&set);
        if api.find("PersistentVolumeClaim", claim["metadata"]["name"].as_str().unwrap()).is_none() {
            api.put(claim);
        } else if set["status"]["readyReplicas"].is_null() {
            let mut set = set;
            set["status"] = json!({"replicas": 1, "readyReplicas": 1});
            api.put(set);
        }
    }
}

fn claim_of(set: &Value) -> Value {
    let template = &set["spec"]["volumeClaimTemplates"][0];
    let name = format!(
        "{}-{}-0",
        template["metadata"]["name"].as_str().unwrap(),
        set["metadata"]["name"].as_str().unwrap()
    );
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": set["metadata"]["namespace"], "labels": template["metadata"]["labels"]},
        "spec": template["spec"],
        "status": {"phase": "Bound", "capacity": template["spec"]["resources"]["requests"]},
    })
}
